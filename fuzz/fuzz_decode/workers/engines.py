"""The engines that run Triton kernels on the CPU, and the one that is meant by a choice of the user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fuzz_decode.errors import UsageError
from fuzz_decode.triton_native.build import COMPILERS, compiler

Engine = Literal["interpreter", "native"]
INTERPRETER: Engine = "interpreter"
NATIVE: Engine = "native"

NO_COMPILER = f"there is no {', '.join(COMPILERS)}, and CC names none"


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """What workers run kernels with."""

    engine: Engine = INTERPRETER
    replaceable: bool = False
    """Whether the interpreter takes over where the engine cannot run a kernel."""
    reason: str = ""
    """Why it is the interpreter, if the native engine would have been better; empty: there is no reason to name."""


def pick_engine(wanted: str, device: str) -> EngineChoice:
    """The engine for auto, native or interpreter; on a GPU there is no choice. Auto is native where there is a C compiler, until
    a worker finds that it fails its self-test or cannot run a kernel. Raises UsageError if native cannot be."""
    if wanted == NATIVE and device != "cpu":
        raise UsageError(f"engine native runs kernels on the CPU, not on {device}; it needs device cpu")
    if wanted == NATIVE and compiler() is None:
        raise UsageError(f"engine native needs a C compiler: {NO_COMPILER}; engine interpreter needs none")
    if wanted == "auto" and device == "cpu":
        return EngineChoice(NATIVE, replaceable=True) if compiler() else EngineChoice(reason=NO_COMPILER)
    return EngineChoice(NATIVE if wanted == NATIVE else INTERPRETER)
