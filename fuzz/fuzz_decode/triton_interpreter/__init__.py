"""Triton's interpreter made fit for other people's kernels: right in narrow formats, quick, and content without a GPU.

`mend()` patches triton.runtime in this process. `self_test.refused()` then says which dtypes still come out wrong, so that
no kernel is blamed for its interpreter.
"""

from __future__ import annotations

import functools

from fuzz_decode.triton_interpreter.compiler_semantics import patch_compiler_semantics
from fuzz_decode.triton_interpreter.fake_device import install_fake_device
from fuzz_decode.triton_interpreter.libdevice import provide_libdevice
from fuzz_decode.triton_interpreter.narrow_floats import patch_narrow_floats
from fuzz_decode.triton_interpreter.older_releases import patch_older_releases
from fuzz_decode.triton_interpreter.speed.builder_shortcuts import install_builder_shortcuts
from fuzz_decode.triton_interpreter.speed.install import install_speedups, is_known


@functools.cache
def patch_triton_interpreter() -> None:
    """Call after TRITON_INTERPRET is set and before any kernel is imported; harmless when repeated."""
    from triton.runtime import interpreter

    patch_older_releases(interpreter)
    known = is_known(interpreter)
    if known:
        install_speedups()
    patch_compiler_semantics(interpreter)
    patch_narrow_floats()
    if known:
        install_builder_shortcuts(interpreter)
    provide_libdevice()
    install_fake_device()


__all__ = ["patch_triton_interpreter"]
