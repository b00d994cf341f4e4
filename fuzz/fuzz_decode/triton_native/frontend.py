"""Triton IR of a kernel, as the compiler's front end makes it: without a GPU, a driver, or specialisation on values.

This is the one module that knows how the compiler's calls differ between releases of Triton.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from fuzz_decode.triton_native.parameters import Constant, Kind, constants_of, signature_of

EXACT = (int, bool, str, type(None))  # types of which equal values have equal texts; 0.0 and -0.0 do not
COMPUTE_CAPABILITY, WARP_SIZE = 90, 32  # has every type; what depends on it comes after this stage
OPTIONS = {
    "enable_fp_fusion": False,
    "sanitize_overflow": False,  # checks that only debug mode keeps; making and dropping them takes half of the front end's time
}


def triton_ir(function: Any, types: Mapping[str, Kind], constexprs: Mapping[str, object]) -> str:
    """The kernel's module in Triton IR, with locations, for these types of its parameters; the others have a value."""
    from triton._C.libtriton import ir
    from triton.backends.compiler import GPUTarget
    from triton.compiler.compiler import ASTSource, make_backend

    target = GPUTarget("cuda", COMPUTE_CAPABILITY, WARP_SIZE)
    backend = make_backend(target)
    options = backend.parse_options(OPTIONS)
    context = ir.context()
    ir.load_dialects(context)
    backend.load_dialects(context)
    offered = {
        "target": target,
        "options": options,
        "context": context,
        "codegen_fns": _code_generation(backend, options),
        "module_map": backend.get_module_map() if hasattr(backend, "get_module_map") else {},
    }
    source = ASTSource(function, *_signature(function, types, constexprs))
    module = _with_known_arguments(source.make_ir, offered)
    _without_descriptors(module)
    stages: dict[str, Callable[[Any, dict[str, Any]], Any]] = {}
    _with_known_arguments(backend.add_stages, {"stages": stages, "options": options, "language": _language()})
    return str(stages["ttir"](module, {}))


def source_key(function: Any, types: Mapping[str, Kind], constexprs: Mapping[str, object]) -> str:
    """A text that differs where the IR may: sources of the function and of its callees, its file, the types and the values."""
    import triton

    values = {name: _stable(value) for name, value in constexprs.items()}
    kinds = {name: _stable_kind(kind) for name, kind in types.items()}
    file = function.fn.__code__.co_filename  # lines are reported with it
    return repr((triton.__version__, function.cache_key, file, sorted(kinds.items()), sorted(values.items())))


def parse_once() -> None:
    """Have Triton parse the source of a function once, not again for each kernel that calls it; harmless when repeated."""
    from triton.runtime.jit import JITFunction

    parse = JITFunction.parse
    if hasattr(parse, "__wrapped__"):
        return

    @functools.wraps(parse)
    def parsed(self: Any) -> Any:
        source, tree = vars(self).get("_parsed", (None, None))
        if source != self.src:
            source, tree = self.src, parse(self)
            self._parsed = source, tree
        return tree

    JITFunction.parse = parsed


def launch_key(function: Any, types: Mapping[str, Kind], constexprs: Mapping[str, object]) -> object:
    """What differs where `source_key` does, for use in this process: made for every launch, and so without its text."""
    values = [(type(value), value if type(value) in EXACT else _stable(value)) for value in constexprs.values()]
    file = function.fn.__code__.co_filename
    kinds = [kind if type(kind) is str else _stable_kind(kind) for kind in types.values()]
    return function.cache_key, file, tuple(types), tuple(kinds), tuple(constexprs), tuple(values)


def _stable(value: object) -> str:
    """The same text in every process: a function as a constexpr counts with its source."""
    if isinstance(value, tuple):
        return repr([_stable(part) for part in value])
    return str(value.cache_key) if hasattr(value, "cache_key") else f"{type(value).__name__} {value!r}"


def _stable_kind(kind: Kind) -> str:
    if isinstance(kind, Constant):
        return _stable(kind.value)
    if isinstance(kind, tuple):
        return repr((getattr(kind, "_fields", ()), [_stable_kind(part) for part in kind]))
    return str(kind)


def _signature(
    function: Any, types: Mapping[str, Kind], constexprs: Mapping[str, object]
) -> tuple[dict[str, Any], dict[Any, Any]]:
    """Types and constants by name, in the order of the parameters."""
    named = {name: signature_of(types.get(name, "constexpr")) for name in function.arg_names}
    constants: dict[Any, Any] = {name: constexprs.get(name) for name, type in named.items() if type == "constexpr"}
    for number, name in enumerate(function.arg_names):
        constants.update(constants_of(types.get(name), (number,)))
    return named, constants


def _with_known_arguments(call: Callable[..., Any], offered: Mapping[str, Any]) -> Any:
    """The call with those of the arguments that its parameters name in this release."""
    return call(**{name: offered[name] for name in inspect.signature(call).parameters if name in offered})


def _code_generation(backend: Any, options: Any) -> Any:
    return _with_known_arguments(backend.get_codegen_implementation, {"options": options})


@functools.cache
def _language() -> Any:
    from triton.backends import compiler

    return compiler.Language.TRITON if hasattr(compiler, "Language") else None


def _without_descriptors(module: Any) -> None:
    """Tensor descriptors and block pointers become blocks of pointers with masks, those that helpers are given, too."""
    from triton._C.libtriton import ir, passes

    manager = ir.pass_manager(module.context)
    passes.common.add_inliner(manager)
    for name in ("add_rewrite_tensor_descriptor_to_pointer", "add_rewrite_tensor_pointer"):
        if hasattr(passes.ttir, name):
            getattr(passes.ttir, name)(manager)
    names_a_run = "str" in (manager.run.__doc__ or "")
    manager.run(module, *["rewrite_pointers"] * names_a_run)
