"""Triton's interpreter repaired for other people's kernels.

`patch_triton_interpreter()` patches triton.runtime in this process, once, in two parts:

- correctness: bfloat16 and float8 (`narrow_floats`), loop bounds (`loop_bounds`), libdevice (`libdevice`), and a driver where
  there is no GPU (`fake_device`). `self_test.refused()` then says which dtypes still come out wrong, so that no fault of the
  interpreter is reported as one of a kernel.
- speed: the package `speed`, which changes no result and can be left out.

`memory_fence()` is up only while it is entered: it contains accesses outside of a launch's tensors.
"""

from __future__ import annotations

import functools

from fuzz_decode.launches.fake_device import install_fake_device
from fuzz_decode.triton_interpreter.compiler_semantics import patch_compiler_semantics
from fuzz_decode.triton_interpreter.libdevice import provide_libdevice
from fuzz_decode.triton_interpreter.loop_bounds import patch_loop_bounds
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
    patch_loop_bounds()
    if known:
        install_speedups()
    patch_compiler_semantics(interpreter)
    patch_narrow_floats()
    if known:  # after narrow_floats, to whose methods the shortcuts leave bfloat16
        install_builder_shortcuts(interpreter)
    provide_libdevice()
    install_fake_device()


__all__ = ["patch_triton_interpreter"]
