"""A stored case as a script of its own, which needs torch, Triton and the target, but not fuzz-decode.

`script` puts it together: what it says of itself (`words`), how the target is loaded (`loading`), the very tensors of the case
(`tensors`), the call and what it must give (`verdict`, `limits`). `literals` writes numbers and strings. What a corpus file says
gets into string literals only.
"""
