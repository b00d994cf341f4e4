"""Loop bounds that a kernel loaded or computed, in Triton's interpreter.

Up to Triton 3.6 the interpreter converts them with `int(array)`, which current numpy refuses for arrays of one element.
"""

from __future__ import annotations

import functools
from typing import Any


def patch_loop_bounds() -> None:
    """Patch triton.runtime.interpreter in this process, if it converts tensors in the known place."""
    from triton.runtime import interpreter

    if original := getattr(interpreter, "_patch_lang_tensor", None):
        interpreter._patch_lang_tensor = functools.partial(_patch_lang_tensor, original)


def _patch_lang_tensor(original: Any, tensor: Any, *scope: Any) -> None:
    """Triton's own patch of tl.tensor, and then `__index__`. `scope`: where 3.6 and later note what to restore."""
    original(tensor, *scope)
    assign = scope[0].set_attr if scope else setattr
    assign(tensor, "__index__", lambda self: int(self.handle.data.item()))
