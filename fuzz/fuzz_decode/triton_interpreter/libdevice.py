"""libdevice in Triton's interpreter, which has none: tanh for softcap, fast_expf and the like, computed by numpy.

A function that is not listed raises NotImplementedError, so that the case is rejected instead of reported as a kernel's fault.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from fuzz_decode.triton_interpreter.narrow_floats import narrow, wide

MODULES = ("libdevice", "cuda.libdevice", "hip.libdevice")
NUMPY_NAMES = (
    *("tanh", "sinh", "cosh", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "sin", "cos", "tan"),
    *("floor", "ceil", "trunc", "rint", "copysign", "abs"),
)
FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: getattr(np, name) for name in NUMPY_NAMES},
    "pow": np.power,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "fast_tanhf": np.tanh,
    "fast_expf": np.exp,
    "fast_exp10f": lambda x: np.power(np.float32(10), x),
    "fast_logf": np.log,
    "fast_log2f": np.log2,
    "fast_powf": np.power,
    "fast_dividef": np.divide,
    "div_rn": np.divide,
    "rcp_rn": np.reciprocal,
    "sqrt_rn": np.sqrt,
}


def provide_libdevice() -> None:
    """Replace libdevice's functions in this process, before a kernel's module imports them by name."""
    for path in MODULES:
        module = importlib.import_module(f"triton.language.extra.{path}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if inspect.unwrap(function).__module__ == module.__name__:
                setattr(module, name, _elementwise(FUNCTIONS[name]) if name in FUNCTIONS else _missing(name))


def _elementwise(function: Callable[..., Any]) -> Callable[..., Any]:
    """On tensors and numbers alike; the result has the dtype of the first tensor."""

    def compute(*operands: Any, **_: Any) -> Any:
        from triton.runtime.interpreter import tl

        tensors = [operand for operand in operands if isinstance(operand, tl.core.tensor)]
        values = function(*(wide(o.handle).data if isinstance(o, tl.core.tensor) else np.float32(o) for o in operands))
        handle = narrow(values, tensors[0].dtype)
        blocks = any(tensor.type.is_block() for tensor in tensors)
        return tl.core.tensor(handle, tl.core.block_type(handle.dtype, list(values.shape)) if blocks else handle.dtype)

    return compute


def _missing(name: str) -> Callable[..., NoReturn]:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError(f"libdevice.{name} in Triton's interpreter")

    return refuse
