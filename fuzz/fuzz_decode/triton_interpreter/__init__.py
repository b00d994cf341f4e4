"""Triton's interpreter made fit for other people's kernels: right in narrow formats, quick, and content without a GPU.

`mend()` patches triton.runtime in this process. `self_test.refused()` then says which dtypes still come out wrong, so that
no kernel is blamed for its interpreter.
"""

from __future__ import annotations

import functools

from fuzz_decode.triton_interpreter.fake_device import pretend_device
from fuzz_decode.triton_interpreter.libdevice import provide_libdevice
from fuzz_decode.triton_interpreter.narrow_floats import mend_narrow_floats
from fuzz_decode.triton_interpreter.speed.builder_shortcuts import take_shortcuts
from fuzz_decode.triton_interpreter.speed.install import is_known, mend_speed


@functools.cache
def mend() -> None:
    """Call after TRITON_INTERPRET is set and before any kernel is imported; harmless when repeated."""
    from triton.runtime import interpreter

    known = is_known(interpreter)
    if known:
        mend_speed()
    mend_narrow_floats()
    if known:
        take_shortcuts(interpreter)
    provide_libdevice()
    pretend_device()


__all__ = ["mend"]
