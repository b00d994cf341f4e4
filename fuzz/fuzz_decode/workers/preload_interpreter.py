"""What the server that forks workers for the CPU imports once, for all of them: patching and testing Triton's interpreter takes
a second."""

from __future__ import annotations

import contextlib
import os
import warnings


def _preload() -> None:
    warnings.simplefilter("ignore")  # as in a worker
    os.environ["TRITON_INTERPRET"] = "1"
    import torch

    import fuzz_decode.diagnose.examine
    import fuzz_decode.execute.run_case  # noqa: F401  only imported
    from fuzz_decode.workers.devices import refused_dtypes

    torch.set_num_threads(1)
    with contextlib.suppress(Exception):  # a worker tries again, and tells
        refused_dtypes("cpu")


_preload()
