"""Whether this process has the native engine: a question that costs no import of the engine, or of Triton."""

from __future__ import annotations

import sys


def is_native() -> bool:
    """Whether launches of this process run in the native engine."""
    jit = sys.modules.get("triton.runtime.jit")
    return jit is not None and str(jit.JITFunction.run.__module__).startswith(f"{__package__}.")
