"""Operations of triton.language, traced once for each signature and then replayed.

An operation is a compiler's front end: what it has its builder create depends on the types of its tensors and on constants, never
on a tensor's values. The interpreter runs the front end again for every operation of every program, which is nearly all of its
time. Here the first call with a signature runs it on tensors without values and records what the builder is to create, as Python
source; that call and every later one run the recording, with the same builder. A front end that needs a value after all, that
raises, or that is given anything but tensors and plain constants runs as before.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from fuzz_decode.triton_interpreter.speed.call_signatures import Signatures

FOLDED = {  # run while recording if all arguments are constants: the result is one, too
    *("create_splat", "create_make_range", "create_int_cast", "create_si_to_fp", "create_fp_trunc", "create_fp_ext"),
}
SIGNATURES = 4096  # remembered for an operation; a loop counter makes a new one in each round

Replay = Callable[..., Any]
# The recorder, while there is one. Module state, because an operation that is being recorded calls others, and those learn of it
# nowhere else: Triton's front end passes no argument of ours through. The interpreter runs in one thread.
_at_work: list[Recorder] = []


class ValueNeeded(Exception):
    """The front end needs a value, which only a running program has."""


class Value:
    """Stands for a handle while an operation is recorded."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, name: str) -> Any:
        raise ValueNeeded

    def __bool__(self) -> bool:
        raise ValueNeeded


class Recorder:
    """A builder that records what it is to create, as Python source; types and constants are the real builder's."""

    def __init__(self, builder: Any) -> None:
        self._builder = builder
        self.lines: list[str] = []
        self.constants: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._builder, name)
        return functools.partial(self._create, name) if name.startswith("create_") else member

    def _create(self, name: str, *args: Any, **options: Any) -> Any:
        if name in FOLDED and not any(isinstance(arg, Value) for arg in args):
            return getattr(self._builder, name)(*args, **options)
        given = [*map(self.text, args), *(f"{key}={self.text(value)}" for key, value in options.items())]
        created = Value(f"h{len(self.lines)}")
        self.lines.append(f"{created.name} = builder.{name}({', '.join(given)})")
        return created

    def text(self, value: Any) -> str:
        """The source of a handle, of several or of a constant."""
        if isinstance(value, Value):
            return value.name
        if value.__class__ in (list, tuple) and any(isinstance(part, (Value, list, tuple)) for part in value):
            return f"{value.__class__.__name__}([{', '.join(map(self.text, value))}])"
        if any(isinstance(part, Value) for part in (*_parts(value), *getattr(value, "__dict__", {}).values())):
            raise ValueNeeded  # it hides a handle, so that it is not constant
        self.constants.append(value)
        return f"c{len(self.constants) - 1}"

    def replay(self, number: int, tensor: type) -> Replay:
        """A function of `number` tensors x0, x1 and so on that does what was recorded."""
        takes = [f"i{place} = x{place}.handle" for place in range(number)]
        return _compiled(
            f"def bind(builder, tensor, new{''.join(f', c{place}' for place in range(len(self.constants)))}):\n"
            f" def replay({', '.join(f'x{place}' for place in range(number))}):\n"
            f"  {'; '.join([*takes, *self.lines])}\n"
            f" return replay\n"
        )(self._builder, tensor, object.__new__, *self.constants)


def _parts(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else ()


@functools.cache
def _compiled(source: str) -> Callable[..., Replay]:
    space: dict[str, Any] = {}
    exec(source, space)
    bind: Callable[..., Replay] = space["bind"]
    return bind


class Operations:
    """Turns Triton's builtins, which need a compiler, into functions that run in the interpreter."""

    def __init__(self, interpreter: Any) -> None:
        self.tl = interpreter.tl
        self.made_by = functools.cache(self._operation)
        self._builder = interpreter.interpreter_builder
        self._keyword = "_semantic" if hasattr(interpreter, "interpreter_semantic") else "_builder"  # up to 3.3
        self._compiler = getattr(interpreter, f"interpreter{self._keyword}")
        self._signatures = Signatures(self.tl)

    def _operation(self, builtin: Callable[..., Any]) -> Callable[..., Any]:
        keyword, signatures, tensor = self._keyword, self._signatures, self.tl.tensor
        real = {keyword: self._compiler}
        replays: dict[Any, Replay | None] = {}

        def operation(*args: Any, **options: Any) -> Any:
            options.pop(keyword, None)
            if _at_work:
                return builtin(*args, **options, **self._recording())
            if (
                not options and len(args) == 2 and args[0].__class__ is args[1].__class__ is tensor
            ):  # most operations: the key without its detours
                replay = replays.get((id(args[0].type), id(args[1].type)))
                if replay is not None:
                    return replay(*args)
            inputs: list[Any] = []
            try:
                key = signatures.of_call(args, options, inputs)
            except KeyError:
                return builtin(*args, **options, **real)
            if key not in replays:  # or a type in it is equal to a known one but another object
                key = signatures.of_known(args, options)
            if key not in replays:
                if len(replays) >= SIGNATURES:
                    replays.clear()
                replays[key] = self._recorded(builtin, args, options)
            replay = replays[key]
            return builtin(*args, **options, **real) if replay is None else replay(*inputs)

        return operation

    def _recording(self) -> dict[str, Any]:
        return {self._keyword: _at_work[-1] if self._compiler is self._builder else type(self._compiler)(_at_work[-1])}

    def _recorded(self, builtin: Callable[..., Any], args: Any, options: dict[str, Any]) -> Replay | None:
        """None if the operation has to run as it is."""
        inputs: list[Any] = []
        args, options = self._without_values(args, inputs), {k: self._without_values(v, inputs) for k, v in options.items()}
        recorder = Recorder(self._builder)
        _at_work.append(recorder)
        try:
            result = builtin(*args, **options, **self._recording())
            self._return(result, inputs, recorder)
            return recorder.replay(len(inputs), self.tl.tensor)
        except Exception:  # whatever it is, the operation is about to run as it is, and raises it then
            return None
        finally:
            _at_work.pop()

    def _without_values(self, value: Any, inputs: list[Any]) -> Any:
        if isinstance(value, self.tl.tensor):
            inputs.append(self.tl.tensor(Value(f"i{len(inputs)}"), value.type))
            return inputs[-1]
        if isinstance(value, (list, tuple)):
            return type(value)([self._without_values(part, inputs) for part in value])
        return value

    def _return(self, result: Any, inputs: list[Any], recorder: Recorder) -> None:
        """Record the operation's result: one of its inputs, a new tensor or nothing."""
        place = next((place for place, tensor in enumerate(inputs) if tensor is result), None)
        if place is not None or result is None:
            recorder.lines.append("return None" if place is None else f"return x{place}")
            return
        if not isinstance(result, self.tl.tensor):
            raise ValueNeeded
        result.type, result.dtype = self._signatures.known(result.type), self._signatures.known(result.dtype)
        parts = [f"made.{name} = {recorder.text(value)}" for name, value in vars(result).items()]
        recorder.lines += ["made = new(tensor)", *parts, "return made"]


def truth(of_values: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """The interpreter's tensor.__bool__, which is True for any block of several elements and needs no values there."""
    return lambda tensor: (isinstance(tensor.handle, Value) and tensor.numel.value > 1) or of_values(tensor)
