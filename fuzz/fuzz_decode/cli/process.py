"""What reaches the program from outside while a subcommand runs: signals that end it, and a stdout that cannot be written."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn, TypeVar, cast

from fuzz_decode.errors import UsageError

ENDING = (signal.SIGTERM, signal.SIGHUP)  # beside SIGINT
PATIENCE = 5.0  # seconds in which more of the same signals are ignored: `timeout` sends two, and a closed terminal may

Value = TypeVar("Value")


class Terminated(KeyboardInterrupt):
    """A signal that ends the program as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextlib.contextmanager
def ending_signals() -> Iterator[None]:
    """Meanwhile SIGTERM and SIGHUP raise Terminated, unless they are ignored, as `nohup` has it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = _Handler()
    before = {number: signal.getsignal(number) for number in ENDING}
    changed = [number for number in ENDING if before[number] is signal.SIG_DFL]
    for number in changed:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, before[number])


class _Handler:
    def __init__(self) -> None:
        self._again_from = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if time.monotonic() >= self._again_from:
            self._again_from = time.monotonic() + PATIENCE
            raise Terminated(number)


@contextlib.contextmanager
def checked_stdout() -> Iterator[None]:
    """Meanwhile a stdout that cannot be written, on a full disk or into a closed pipe, raises UsageError once; from then on it
    discards everything, so that reports in other files are still written."""
    stream = sys.stdout
    sys.stdout = checked = cast(Any, _CheckedStream(stream))
    try:
        yield
        checked.flush()
    finally:
        with contextlib.suppress(UsageError):  # another error is more telling
            checked.flush()
        sys.stdout = stream


class _CheckedStream:
    """Writes to a stream until that fails."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._checked(lambda: cast(int, self._stream.write(text)))

    def flush(self) -> None:
        self._checked(lambda: self._stream.flush())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _checked(self, write: Callable[[], Value]) -> Value:
        try:
            return write()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> NoReturn:
        with contextlib.suppress(OSError, ValueError):  # it has no descriptor
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        raise UsageError(f"stdout cannot be written: {error.strerror}; give it a file or a pipe that takes the output") from None
