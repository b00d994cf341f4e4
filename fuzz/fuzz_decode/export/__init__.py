"""A stored case as a stand-alone script, which needs torch, Triton and the target, but not fuzz-decode.

`script` assembles it: its docstring (`docstring`), the lines that load the target (`loading`), the tensors of the case
(`tensors`), the call and the judgement (`verdict`, `error_bound`). `literals` writes numbers and strings. Texts of a corpus file
are untrusted: they only get into string literals.
"""
