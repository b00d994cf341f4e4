"""What the server that forks workers for the CPU does once, for all of them: importing Triton, and testing an engine for kernels,
take seconds."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import warnings
from collections.abc import Iterator

from fuzz_decode.triton_native.library import begin_build
from fuzz_decode.workers.engines import INTERPRETER, NATIVE, Engine


def preload(engine: Engine) -> None:
    """In a new process; Triton decides when it is imported whether kernels are interpreted."""
    warnings.simplefilter("ignore")  # as in a worker
    os.environ["TRITON_INTERPRET"] = "1" if engine == INTERPRETER else "0"
    if engine == NATIVE:
        begin_build()
    with _without_collections():
        _import_and_test(engine)


def _import_and_test(engine: Engine) -> None:
    import torch

    import fuzz_decode.diagnose.find_fault
    import fuzz_decode.execute.run_and_judge  # noqa: F401  only imported
    from fuzz_decode.workers.devices import refused_dtypes

    torch.set_num_threads(1)
    with contextlib.suppress(Exception):  # a worker tries again, and tells
        refused_dtypes("cpu", engine)


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """What is made meanwhile stays until the process ends: no collection looks for garbage in it, here or in a fork. Triton's
    bindings complain if the last one does not, either."""
    atexit.register(gc.unfreeze)
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
