"""Targets that answer right but do to their process what they must not, or return what they must not."""

from __future__ import annotations

import atexit
import ctypes
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from typing import Any, NoReturn

import numpy as np
import torch
from sample_targets import honest
from torch import Tensor

from fuzz_decode.targets import target

_numbers = itertools.count()


def right(q: Tensor, *rest: Any) -> Tensor:
    return honest(q, *rest)[0]


# what they set


def default_device_meta(*arguments: Any) -> Tensor:
    torch.set_default_device("cpu")
    result = right(*arguments)
    torch.set_default_device("meta")
    return result


def default_device_cuda(*arguments: Any) -> Tensor:
    result = right(*arguments)
    torch.set_default_device("cuda")
    return result


def default_dtype(*arguments: Any) -> Tensor:
    torch.set_default_dtype(torch.float64)
    return right(*arguments)


def grad_mode(*arguments: Any) -> Tensor:
    torch.set_grad_enabled(False)
    return right(*arguments)


def deterministic_mode(*arguments: Any) -> Tensor:
    torch.use_deterministic_algorithms(True)
    return right(*arguments)


def many_threads(*arguments: Any) -> Tensor:
    torch.set_num_threads(64)
    return right(*arguments)


def other_folder(*arguments: Any) -> Tensor:
    os.chdir("/")
    return right(*arguments)


def closed_streams(*arguments: Any) -> Tensor:
    for descriptor in (0, 1, 2):
        os.close(descriptor)
    return right(*arguments)


def other_environment(*arguments: Any) -> Tensor:
    os.environ.clear()
    return right(*arguments)


def low_recursion_limit(*arguments: Any) -> Tensor:
    result = right(*arguments)
    depth = next(number for number in itertools.count() if not _has_frame(number))
    sys.setrecursionlimit(depth + 30)
    return result


def _has_frame(number: int) -> bool:
    try:
        sys._getframe(number)
    except ValueError:
        return False
    return True


def warnings_are_errors(*arguments: Any) -> Tensor:
    result = right(*arguments)
    warnings.simplefilter("error")
    return result


def signal_handlers(*arguments: Any) -> Tensor:
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return right(*arguments)


def raises_at_exit(*arguments: Any) -> Tensor:
    atexit.register(lambda: 1 / 0)
    return right(*arguments)


def thread_left_running(*arguments: Any) -> Tensor:
    threading.Thread(target=time.sleep, args=(3600,)).start()
    return right(*arguments)


def random_seed(*arguments: Any) -> Tensor:
    torch.manual_seed(next(_numbers))
    random.seed(1)
    np.random.seed(1)
    return right(*arguments)


def closed_stdout_object(*arguments: Any) -> Tensor:
    sys.stdout.close()
    sys.stderr.close()
    return right(*arguments)


def child_left_running(*arguments: Any) -> Tensor:
    subprocess.Popen(["sleep", "3600"])
    return right(*arguments)


def patched_torch(*arguments: Any) -> Tensor:
    result = right(*arguments)
    torch.zeros = torch.full = torch.arange = torch.tensor = None  # type: ignore[assignment]
    return result


# what they return


def returns_sparse(*arguments: Any) -> Tensor:
    return right(*arguments).to_sparse()


def returns_quantised(*arguments: Any) -> Tensor:
    return torch.quantize_per_tensor(right(*arguments).float(), 0.1, 0, torch.quint8)


def returns_nested(*arguments: Any) -> Tensor:
    return torch.nested.nested_tensor(list(right(*arguments)))


def returns_meta(*arguments: Any) -> Tensor:
    return right(*arguments).to("meta")


def returns_numpy(*arguments: Any) -> Any:
    return right(*arguments).float().numpy()


def returns_new_subclass(*arguments: Any) -> Tensor:
    kind = type(f"Tensor{next(_numbers)}", (Tensor,), {})
    return right(*arguments).as_subclass(kind)


def returns_subclass_that_raises(*arguments: Any) -> Tensor:
    def raises(*_: Any, **__: Any) -> NoReturn:
        raise RuntimeError("hands off")

    return right(*arguments).as_subclass(type("Shy", (Tensor,), {"__torch_function__": classmethod(raises)}))


def returns_wrapper(*arguments: Any) -> Tensor:
    return _Wrapper(right(*arguments))


class _Wrapper(Tensor):
    @staticmethod
    def __new__(cls, held: Tensor) -> Any:
        return Tensor._make_wrapper_subclass(cls, held.shape, dtype=held.dtype, device=held.device)

    def __init__(self, held: Tensor) -> None:
        self.held = held

    @classmethod
    def __torch_dispatch__(cls, func: Any, *_: Any, **__: Any) -> NoReturn:
        raise RuntimeError("hands off")


def returns_parameter(*arguments: Any) -> Tensor:
    return torch.nn.Parameter(right(*arguments))


def returns_negative_view(*arguments: Any) -> Tensor:
    return torch._neg_view(-right(*arguments))


def returns_liar(*arguments: Any) -> Any:
    return _Liar()


class _Liar:
    @property
    def __class__(self) -> type:  # type: ignore[override]
        return Tensor


def returns_hostile_tuple(*arguments: Any) -> Any:
    return _Tuple((right(*arguments), None))


class _Tuple(tuple):  # type: ignore[type-arg]
    def __len__(self) -> int:
        raise RuntimeError("no length")


def freed_storage(*arguments: Any) -> Tensor:
    result = right(*arguments).clone()
    result.untyped_storage().resize_(0)
    return result


# what they raise


def exits(*_: Any) -> NoReturn:
    sys.exit(0)


def exits_at_once(*_: Any) -> NoReturn:
    os._exit(0)


def interrupts(*_: Any) -> NoReturn:
    raise KeyboardInterrupt


class Odd(BaseException):
    def __init__(self, one: object, two: object) -> None:
        super().__init__("odd")

    def __reduce__(self) -> NoReturn:
        raise RuntimeError("cannot be pickled")


def raises_unpicklable(*_: Any) -> NoReturn:
    raise Odd(1, 2)


class Unprintable(NotImplementedError):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def rejects_unprintably(*_: Any) -> NoReturn:
    raise Unprintable


def raises_with_a_steering_name(*_: Any) -> NoReturn:
    raise type("X\x1b[2J\n:out", (Exception,), {})("\ud800\x1b[2J")


def raises_with_a_long_name(*_: Any) -> NoReturn:
    raise type("X" * 10_000, (Exception,), {})("x" * 10**6)


def raises_without_end(*_: Any) -> NoReturn:
    raises_without_end()
    raise AssertionError


def dies_of_a_realtime_signal(*_: Any) -> NoReturn:
    os.kill(os.getpid(), 35)
    time.sleep(60)
    raise AssertionError


def kills_its_parent(*_: Any) -> NoReturn:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
    raise AssertionError


def kills_its_group(*_: Any) -> NoReturn:
    os.killpg(0, signal.SIGKILL)
    time.sleep(60)
    raise AssertionError


def closes_every_descriptor(*arguments: Any) -> Tensor:
    os.closerange(3, 1024)
    return right(*arguments)


def alarm_after_the_call(*arguments: Any) -> Tensor:
    def rings(*_: Any) -> NoReturn:
        raise RuntimeError("rings")

    result = right(*arguments)
    signal.signal(signal.SIGALRM, rings)
    signal.setitimer(signal.ITIMER_REAL, 2.0)  # while the harness, or a later case, runs
    return result


def last_words(*_: Any) -> NoReturn:
    libc = ctypes.CDLL(None)
    block = b"flood" * 13107 + b"\n"
    for _number in range(2000):
        libc.write(1, block, len(block))
    libc.write(2, b"the last word\n", 14)
    ctypes.string_at(0)
    raise AssertionError


@target(supports=lambda case: exec("raise SystemExit(3)"))  # type: ignore[arg-type]
def supports_exits(*arguments: Any) -> Tensor:
    return right(*arguments)


class _Reason(str):
    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        raise RuntimeError("cannot be pickled")


@target(supports=lambda case: _Reason("not for me"))
def supports_gives_an_unpicklable_reason(*arguments: Any) -> Tensor:
    return right(*arguments)


def _arithmetic(case: object) -> NoReturn:
    raise KeyboardInterrupt


@target(arithmetic=_arithmetic)
def arithmetic_interrupts(*arguments: Any) -> Tensor:
    return right(*arguments)
