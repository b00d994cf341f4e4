"""Generic mutants that compute what the kernel computes, one by one, with the reason. A test wants each to exist, so that whoever
edits the line that one stands in looks at it again.
"""

from __future__ import annotations

EQUIVALENTS: dict[str, str] = {
    "off-by-one:_attend_split:i_split:pid -> (pid + 1):83b0": "every split still has its program, only another one",
    "off-by-one:_attend_split:i_kv:pid -> (pid + 1):3e81": "every KV head still has its program, only another one",
    "off-by-one:_attend_split:i_tile:pid -> (pid + 1):477e": "every tile still has its program, only another one",
    "drop-cast:_attend_split:o_d:tl.arange(0, BLOCK_D).to(tl.int64) -> tl.arange(0, BLOCK_D):129e": (
        "small numbers, and an address multiplies them by strides, which are int64"
    ),
    "drop-cast:_attend_split:o_dv:tl.arange(0, BLOCK_DV).to(tl.int64) -> tl.arange(0, BLOCK_DV):2c5b": (
        "small numbers, and an address multiplies them by strides or adds them to rows, which are int64"
    ),
    "drop-cast:_attend_split:o_tile:tl.arange(0, TILE).to(tl.int64) -> tl.arange(0, TILE):0835": (
        "small numbers, added to i_t, which is int64 since i_split is"
    ),
    "drop-cast:_merge_splits:o_dv:tl.arange(0, BLOCK_DV).to(tl.int64) -> tl.arange(0, BLOCK_DV):2c5b": (
        "small numbers, and an address multiplies them by strides or adds them to rows, which are int64"
    ),
    "drop-cast:_merge_splits:tl.store:b_out.to(out.dtype.element_ty) -> b_out:afb8": "a store converts to its pointer's type",
    "change-constant:_attend_split:b_sum:0.0 -> 1.0:13df": (
        "the first tile multiplies it by exp(-inf) = 0; without one, b_max = -inf keeps the LSE at -inf, and the partial is 0 / 1"
    ),
    "change-constant:_attend_split:b_out:0.0 -> 1.0:e1d8": (
        "the first tile multiplies it by exp(-inf) = 0; without a tile the merge weighs the partial with exp(-inf) = 0"
    ),
    "change-constant:_attend_split:i_block:0 -> 1:7fe2": "the block of masked tokens, whose K and V are masked with them",
    "change-constant:_attend_split:b_k:0.0 -> 1.0:5a67": "dims beyond head_dim meet zeros of q, masked tokens score -inf",
    "change-constant:_attend_split:b_v:0.0 -> 1.0:b4ae": (
        "masked tokens have weight exp(-inf) = 0, and what is beyond value_head_dim is not stored"
    ),
    "replace-name:_attend_split:b_out:b_v -> b_k:0d9b": "only their dtype is asked for, and K and V have the same",
    "change-constant:_merge_splits:b_sum:0.0 -> 1.0:ea7b": "the first split, and there is one, multiplies it by exp(-inf) = 0",
    "change-constant:_merge_splits:b_out:0.0 -> 1.0:9529": "the first split, and there is one, multiplies it by exp(-inf) = 0",
    'change-constant:_merge_splits:b_lse:float("-inf") -> 0.0:a29a': "stands for rows beyond the last, which are not stored",
    'drop-mask:_merge_splits:b_lse:, other=float("-inf"):8954': "stands for rows beyond the last, which are not stored",
    "change-constant:_merge_splits:b_part:0.0 -> 1.0:7516": "stands for rows and dims beyond the last, which are not stored",
    "drop-mask:_merge_splits:b_part:, other=0.0:e4a7": "stands for rows and dims beyond the last, which are not stored",
    "change-constant:_merge_splits:b_pivot:0.0 -> 1.0:ce8a": "any finite pivot will do: exp(-inf - pivot) = 0",
    "change-constant:_merge_splits:b_out:0.0 -> 1.0:a143": "the largest LSE has weight exp(0) = 1, so a sum is 0 or at least 1",
}
