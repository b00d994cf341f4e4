"""Where these tests run."""

from __future__ import annotations

from fuzz_decode.workers.devices import pick_device

DEVICE = pick_device("auto")  # for kernels that run on a GPU and in the interpreter
