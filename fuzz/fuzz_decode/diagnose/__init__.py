"""What a kernel does wrong, in one sentence, tested numerically.

A case is run on memory that holds a distinct finite number at every address (`build_problem(memory="random")`), so that whatever
a kernel reads shows in its output. An `AccessModel` is everything from which a kernel computes addresses, visibility, scores and
results; a hypothesis (`Fault`) is a change of the correct one, and `predict` says what a kernel would then put out. The fault
that predicts every run names the bug. If none does, only what is certain is said.

This module is light: what imports torch is imported by whoever runs a diagnosis.
"""

from fuzz_decode.diagnose.diagnosis import DiagnoseRequest, Diagnosis, ExplainRequest, Explanation, Trace, TraceRequest

__all__ = ["DiagnoseRequest", "Diagnosis", "ExplainRequest", "Explanation", "Trace", "TraceRequest"]
