"""What a kernel does wrong, in one sentence, tested numerically.

A case is run on memory that holds another finite number in every place (`build(memory="random")`), so that whatever a kernel
reads shows in its output. A hypothesis (`Fault`) is a change of the `Reading`, which is everything that a kernel computes
addresses, visibility and scores from; `predict` says what the kernel would then give. The one that predicts every run names
the bug. Where none does, only what is known is said.

This module is light: what looks at tensors is imported by whoever runs a diagnosis.
"""

from fuzz_decode.diagnose.diagnosis import DiagnoseRequest, Diagnosis, Trace, TraceRequest

__all__ = ["DiagnoseRequest", "Diagnosis", "Trace", "TraceRequest"]
