"""Operations of triton.language, compiled once for each signature.

An operation is a compiler's front end: what it tells its builder depends on the types of its tensors and on constants, never on
a tensor's values. The interpreter runs the front end anew for every operation of every program, which is nearly all the time it
takes. Here the first call with a signature runs it on tensors without values and records what the builder was told to create;
this and every later call carry that out. A front end that asks for a value after all, raises, or is given anything but tensors
and plain constants runs as before.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

FOLDED = {"create_splat", "create_make_range", "create_int_cast", "create_fp_trunc", "create_fp_ext", "create_si_to_fp"}
WHOLE = slice(None)
SIGNATURES = 4096  # remembered for an operation; numbers in a kernel's loops make new ones

Replay = Callable[..., Any]
_recorders: list[Recorder] = []  # the one at work, if any


class ValueNeeded(Exception):
    """The front end asked for what only a running program knows."""


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
    """A builder that writes down what it is to create; types and constants are the real builder's."""

    def __init__(self, builder: Any) -> None:
        self._builder = builder
        self.lines: list[str] = []
        self.constants: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._builder, name)
        return functools.partial(self._create, name, member) if name.startswith("create_") else member

    def _create(self, name: str, member: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if name in FOLDED and not any(isinstance(arg, Value) for arg in args):
            return member(*args, **options)
        given = [*map(self.text, args), *(f"{key}={self.text(value)}" for key, value in options.items())]
        created = Value(f"h{len(self.lines)}")
        self.lines.append(f"{created.name} = builder.{name}({', '.join(given)})")
        return created

    def text(self, value: Any) -> str:
        """What stands for a handle, a list of handles or a constant in the code of the recording."""
        if isinstance(value, Value):
            return value.name
        if isinstance(value, (list, tuple)) and any(isinstance(part, (Value, list, tuple)) for part in value):
            return f"{type(value).__name__}([{', '.join(map(self.text, value))}])"
        self.constants.append(value)
        return f"c{len(self.constants) - 1}"


class Signatures:
    """What of an operation's arguments its front end can see, as keys of a dictionary."""

    def __init__(self, tl: Any) -> None:
        self.tensor = tl.tensor
        self.types: dict[int, Any] = {}  # by id, which no other object gets while they are here
        self._alike: dict[str, list[Any]] = {}
        self._plain: dict[type, Callable[[Any, list[Any]], Any]] = {
            **dict.fromkeys((int, bool, str, type(None)), lambda value, _: (value.__class__, value)),
            float: lambda value, _: (float, value.hex()),  # -0.0 is not 0.0, and NaN is NaN
            slice: lambda value, _: slice if value == WHOLE else (slice, repr(value)),
            tl.constexpr: lambda value, inputs: (tl.constexpr, self.of(value.value, inputs)),
            **dict.fromkeys((list, tuple), self._of_several),
            **dict.fromkeys((tl.dtype, tl.pointer_type, tl.block_type), lambda value, _: (tl.dtype, id(self.known(value)))),
        }
        for value in vars(tl).values():
            if isinstance(value, tl.dtype):
                self.known(value)

    def of(self, value: Any, inputs: list[Any]) -> Any:
        """The key of an argument; its tensors are added to `inputs`. Raises KeyError for what is neither tensor nor constant."""
        if value.__class__ is not self.tensor:
            return self._plain[value.__class__](value, inputs)
        inputs.append(value)
        if id(value.type) not in self.types:
            value.type = self.known(value.type)
        return id(value.type)

    def _of_several(self, values: Any, inputs: list[Any]) -> Any:
        return values.__class__, *[self.of(value, inputs) for value in values]

    def known(self, found: Any) -> Any:
        """The one that is kept of all equal types."""
        if id(found) in self.types:
            return found
        alike = self._alike.setdefault(str(found), [])
        for other in alike:
            if other.__class__ is found.__class__ and other == found:
                return other
        alike.append(found)
        self.types[id(found)] = found
        return found


class Operations:
    """Makes operations that run in the interpreter."""

    def __init__(self, interpreter: Any) -> None:
        self.tl = interpreter.tl
        self.builder = interpreter.interpreter_builder
        self.keyword = "_semantic" if hasattr(interpreter, "interpreter_semantic") else "_builder"
        self.compiler = getattr(interpreter, f"interpreter{self.keyword}")
        self.signatures = Signatures(interpreter.tl)
        self.tensor = interpreter.tl.tensor
        self.operation = functools.cache(self._operation)

    def _operation(self, member: Callable[..., Any]) -> Callable[..., Any]:
        """The builtin as the interpreter calls it."""
        keyword, of, types, tensor = self.keyword, self.signatures.of, self.signatures.types, self.tensor
        replays: dict[Any, Replay | None] = {}

        def operate(*args: Any, **options: Any) -> Any:
            if options:
                options.pop(keyword, None)
            if _recorders:
                return member(*args, **options, **{keyword: self._front_end()})
            parts: list[Any] = []
            inputs: list[Any] = []
            try:
                for arg in args:
                    if arg.__class__ is tensor and id(arg.type) in types:
                        inputs.append(arg)
                        parts.append(id(arg.type))
                    else:
                        parts.append(of(arg, inputs))
                for name in options:
                    parts.append(name)
                    parts.append(of(options[name], inputs))
            except KeyError:
                return member(*args, **options, **{keyword: self.compiler})
            key = tuple(parts)
            try:
                replay = replays[key]
            except KeyError:
                if len(replays) >= SIGNATURES:
                    replays.clear()
                replay = replays[key] = self._recorded(member, args, options)
            return replay(*inputs) if replay else member(*args, **options, **{keyword: self.compiler})

        return operate

    def _front_end(self) -> Any:
        return _recorders[-1] if self.compiler is self.builder else type(self.compiler)(_recorders[-1])

    def _recorded(self, member: Callable[..., Any], args: Any, options: Any) -> Replay | None:
        """None if it cannot be recorded."""
        inputs: list[Any] = []
        args, options = self._without_values(args, inputs), {key: self._without_values(options[key], inputs) for key in options}
        recorder = Recorder(self.builder)
        _recorders.append(recorder)
        try:
            result = self._text(recorder, member(*args, **options, **{self.keyword: self._front_end()}), inputs)
        except Exception:  # whatever it is: the operation is about to run as it is and to raise it in earnest
            return None
        finally:
            _recorders.pop()
        names = ", ".join(f"x{number}" for number in range(len(inputs)))
        takes = [f"{tensor.handle.name} = x{number}.handle" for number, tensor in enumerate(inputs)]
        body = "\n        ".join([*takes, *recorder.lines, f"return {result}"])
        constants = ", ".join(f"c{number}" for number in range(len(recorder.constants)))
        return _compiled(f"def bind(builder, made, {constants}):\n    def replay({names}):\n        {body}\n    return replay")(
            self.builder, self._made, *recorder.constants
        )

    def _without_values(self, value: Any, inputs: list[Any]) -> Any:
        if isinstance(value, self.tensor):
            inputs.append(self.tensor(Value(f"i{len(inputs)}"), value.type))
            return inputs[-1]
        if isinstance(value, (list, tuple)):
            return type(value)([self._without_values(part, inputs) for part in value])
        return value

    def _text(self, recorder: Recorder, result: Any, inputs: list[Any]) -> str:
        """Code for an operation's result."""
        for number, tensor in enumerate(inputs):
            if result is tensor:
                return f"x{number}"
        if isinstance(result, self.tensor):
            result.type, result.dtype = self.signatures.known(result.type), self.signatures.known(result.dtype)
            rest = {name: value for name, value in vars(result).items() if name != "handle"}
            return f"made({recorder.text(result.handle)}, {recorder.text(rest)})"
        if result is None:
            return "None"
        raise ValueNeeded

    def _made(self, handle: Any, rest: dict[str, Any]) -> Any:
        made = object.__new__(self.tensor)
        made.__dict__.update(rest, handle=handle)
        return made


def truth(of_values: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """tensor.__bool__ of the interpreter, which calls a block of several elements true whatever they are."""
    return lambda tensor: (isinstance(tensor.handle, Value) and tensor.numel.value > 1) or of_values(tensor)


@functools.cache
def _compiled(source: str) -> Callable[..., Replay]:
    space: dict[str, Any] = {}
    exec(source, space)
    bind: Callable[..., Replay] = space["bind"]
    return bind
