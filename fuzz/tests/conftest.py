"""What every test starts from: Triton's interpreter where there is no GPU, and the markers that choose tests by device."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from machine import DEVICE

pytest_plugins = ["pytester"]

os.environ.pop("GITHUB_ACTIONS", None)  # output must not depend on where these tests run
torch.set_num_threads(1)  # xdist's workers fill the cores already
if DEVICE == "cpu":
    # At import, not in a fixture: triton.jit decides once, when a test module is imported and its kernels are decorated, whether
    # they are interpreted; libdevice's functions are imported by name as well. A fixture would come too late for both.
    os.environ["TRITON_INTERPRET"] = "1"
    from fuzz_decode.triton_interpreter import patch_triton_interpreter

    patch_triton_interpreter()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip `gpu` tests on a machine without a GPU, and `no_gpu` tests on one that has a GPU."""
    unfit, reason = ("gpu", "needs a GPU") if DEVICE == "cpu" else ("no_gpu", "there is a GPU")
    for item in items:
        if item.get_closest_marker(unfit):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def heeded_interrupts() -> Iterator[None]:
    """SIGINT as in a terminal. A background job of a shell ignores it, and there only a target raises KeyboardInterrupt."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def repo() -> Path:
    """The root of the checkout."""
    return Path(__file__).parents[2]
