"""Fixtures, and Triton's interpreter for all tests of a machine without a GPU."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from fuzz_decode.workers.devices import pick_device

pytest_plugins = ["pytester"]

os.environ.pop("GITHUB_ACTIONS", None)  # where these tests run is no matter for what they print
torch.set_num_threads(1)  # more of them fight over the cores
if pick_device("auto") == "cpu":
    # At import, not in a fixture: triton.jit decides once, when a test module is imported and its kernels are decorated, whether
    # they are interpreted; libdevice's functions are imported by name as well. A fixture would come too late for both.
    os.environ["TRITON_INTERPRET"] = "1"
    from fuzz_decode.triton_interpreter import patch_triton_interpreter

    patch_triton_interpreter()


@pytest.fixture(scope="session")
def repo() -> Path:
    """The root of the checkout."""
    return Path(__file__).parents[2]
