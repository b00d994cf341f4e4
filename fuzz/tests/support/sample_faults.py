"""Targets with faults of their own, in plain torch, for what tells faults apart."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from typing import Any

import torch
from sample_targets import honest
from torch import Tensor

from fuzz_decode.targets import target


def v_heads_taken_to_be_dense(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """The head stride of V is rebuilt from its shape."""
    return honest(q, k_cache, _with_dense_heads(v_cache), block_table, seq_lens, scale)


def k_heads_taken_to_be_dense(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    return honest(q, _with_dense_heads(k_cache), v_cache, block_table, seq_lens, scale)


def _with_dense_heads(cache: Tensor) -> Tensor:
    s_block, s_slot, _, s_dim = cache.stride()
    return cache.as_strided(cache.shape, (s_block, s_slot, cache.shape[3], s_dim), cache.storage_offset())


def v_taken_to_be_dense_hnd(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """Right in that layout only."""
    _, size, heads, dims = v_cache.shape
    v = v_cache.as_strided(v_cache.shape, (size * heads * dims, dims, size * dims, 1), v_cache.storage_offset())
    return honest(q, k_cache, v, block_table, seq_lens, scale)


def k_and_v_blocks_taken_to_be_dense(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float
) -> Tensor:
    """One formula for both caches: block_size * slot stride."""
    dense = []
    for cache in (k_cache, v_cache):
        _, s_slot, s_head, s_dim = cache.stride()
        dense.append(cache.as_strided(cache.shape, (cache.shape[1] * s_slot, s_slot, s_head, s_dim), cache.storage_offset()))
    return honest(q, *dense, block_table, seq_lens, scale)[0]


def out_rows_taken_to_be_dense(q: Tensor, *rest: Any, out: Tensor) -> Tensor:
    _, heads, dims = out.shape
    out.as_strided(out.shape, (heads * dims, *out.stride()[1:]), out.storage_offset()).copy_(honest(q, *rest)[0])
    return out


def v_heads_and_out_rows_taken_to_be_dense(q: Tensor, *rest: Any, out: Tensor) -> Tensor:
    """Two faults at once."""
    _, heads, dims = out.shape
    right = v_heads_taken_to_be_dense(q, *rest)[0]
    out.as_strided(out.shape, (heads * dims, *out.stride()[1:]), out.storage_offset()).copy_(right)
    return out


def five_percent_too_much(q: Tensor, *rest: Any) -> Tensor:
    """Nothing that is read wrongly explains it."""
    return honest(q, *rest)[0] * 1.05


def blocks_in_a_cipher(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float
) -> Tensor:
    """Another block than the table's, by a rule that nobody would guess."""
    table = (block_table * 5 + 3) % k_cache.shape[0]
    return honest(q, k_cache, v_cache, table, seq_lens, scale)[0]


def dense_blocks_when_short(q: Tensor, *rest: Any) -> Tensor:
    """A fault of one path only: that for few tokens."""
    return k_and_v_blocks_taken_to_be_dense(q, *rest) if rest[3].max() < 4 else honest(q, *rest)[0]


def multiplies_the_tail_by_zero(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float
) -> Tensor:
    """V of a sequence's whole last block takes part, with weight 0 beyond the end."""
    out, size = honest(q, k_cache, v_cache, block_table, seq_lens, scale)[0], k_cache.shape[1]
    group = q.shape[1] // v_cache.shape[2]
    for seq, length in enumerate(seq_lens.tolist()):
        if length % size:
            tail = v_cache[block_table[seq, length // size], length % size :].float().sum(0) * 0.0
            out[seq] += tail.repeat_interleave(group, dim=0)
    return out


def multiplies_the_tail_by_zero_in_base_2(*arguments: Any) -> tuple[Tensor, Tensor]:
    return multiplies_the_tail_by_zero(*arguments), honest(*arguments)[1] / math.log(2)


def multiplies_all_blocks_by_zero(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float, *, window: int | None = None
) -> Tensor:
    """V of all tokens of a sequence's blocks takes part, with weight 0 beyond the end and before the window."""
    out, group, size = q.new_zeros(*q.shape[:2], v_cache.shape[3]), q.shape[1] // k_cache.shape[2], k_cache.shape[1]
    for seq, length in enumerate(seq_lens.tolist()):
        blocks = block_table[seq, : -(-length // size)].long()
        k, v = (cache[blocks].flatten(0, 1).float().repeat_interleave(group, 1) for cache in (k_cache, v_cache))
        tokens = torch.arange(len(k))
        seen = (tokens < length) & (tokens >= (0 if window is None else length - window))
        scores = (torch.einsum("hd,thd->ht", q[seq].float(), k) * scale).masked_fill(~seen, -torch.inf)
        if length:
            out[seq] = torch.einsum("ht,thd->hd", torch.softmax(scores, 1), v).to(q.dtype)
    return out


def raises_in_large_groups(q: Tensor, k_cache: Tensor, *rest: Any) -> Tensor:
    """Beside wrong values with two KV heads."""
    if q.shape[1] // k_cache.shape[2] > 4:
        raise ValueError("negative shift count")
    return honest(q, k_cache, *rest)[0] * (1.05 if k_cache.shape[2] > 1 else 1.0)


def adds_to_unwritten_scratch(q: Tensor, *rest: Any) -> Tensor:
    out = honest(q, *rest)[0]
    return out + torch.empty_like(out)


@target(dtypes=("float32",), supports=lambda case: None if case.num_seqs < 3 else "too many")
def wrong_and_wild(q: Tensor, k_cache: Tensor, v_cache: Tensor, *rest: Any) -> Tensor:
    """Wrong on one sequence; dies of two."""
    if len(q) == 2:
        ctypes.string_at(0)
    return v_heads_taken_to_be_dense(q, k_cache, v_cache, *rest)[0]


def sees_one_more_within_blocks(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """A loop over the blocks of a sequence whose mask is `token <= seq_len`: a full last block hides it."""
    return honest(q, k_cache, v_cache, block_table, _one_more(seq_lens, k_cache.shape[1]), scale)


def sees_one_more_within_tiles(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """The same in a loop over tiles of 16 tokens, of which those beyond the table's last block read its last column."""
    lengths = torch.minimum(_one_more(seq_lens, 16), torch.tensor(block_table.shape[1] * k_cache.shape[1]))
    return honest(q, k_cache, v_cache, block_table, lengths, scale)


def sees_one_more_with_wrapped_ids(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """One token too many; what lies in a block that does not exist is what a product in too few bits leads to."""
    return honest(q, k_cache, v_cache, block_table % k_cache.shape[0], seq_lens + 1, scale)


def k_blocks_and_out_rows_taken_to_be_dense(q: Tensor, k_cache: Tensor, *rest: Any, out: Tensor) -> Tensor:
    """Two faults at once; V is loaded for itself, also where it lies in K's rows."""
    _, s_slot, s_head, s_dim = k_cache.stride()
    k = k_cache.as_strided(k_cache.shape, (k_cache.shape[1] * s_slot, s_slot, s_head, s_dim), k_cache.storage_offset())
    return out_rows_taken_to_be_dense(q, k, *rest, out=out)


def _one_more(seq_lens: Tensor, size: int) -> Tensor:
    return seq_lens + (seq_lens % size != 0).int()


def counts_the_last_token_in_every_split(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """Splits of 8 tokens, each of which takes the last token of the sequence, too."""
    return _counting(q, k_cache, v_cache, block_table, seq_lens, scale, lambda n: [*range(n), *[n - 1] * (-(-n // 8) - 1)])


def splits_with_gaps(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """Splits of 8 tokens that begin 10 tokens apart."""
    return _counting(q, k_cache, v_cache, block_table, seq_lens, scale, lambda n: [token for token in range(n) if token % 10 < 8])


def _counting(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    block_table: Tensor,
    seq_lens: Tensor,
    scale: float,
    counted: Callable[[int], list[int]],
) -> tuple[Tensor, Tensor]:
    """Attention over the tokens that a rule lists, of sequences given by their length."""
    size, out, lse = k_cache.shape[1], [], []
    for seq, length in enumerate(seq_lens.tolist()):
        tokens = torch.tensor(counted(length), dtype=torch.long)
        blocks, slots = block_table[seq, tokens // size].long(), tokens % size
        k, v = (cache[blocks, slots][:, None] for cache in (k_cache, v_cache))
        table, n = torch.arange(len(tokens), dtype=torch.int32)[None], torch.tensor([len(tokens)], dtype=torch.int32)
        found = honest(q[seq : seq + 1], k, v, table, n, scale)
        out.append(found[0])
        lse.append(found[1])
    return torch.cat(out), torch.cat(lse)


def _with_kv_heads(
    rounded_group: int, q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float
) -> Tensor:
    """Query head h reads KV head h // rounded_group."""
    heads = torch.arange(q.shape[1], device=q.device) // rounded_group
    return honest(q, k_cache[:, :, heads], v_cache[:, :, heads], block_table, seq_lens, scale)[0]


def groups_in_tiles_of_16(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float
) -> Tensor:
    """Tiles of at most 16 query heads, which cross KV heads where groups above 16 do not fill them."""
    group = q.shape[1] // k_cache.shape[2]
    rounded = -(-group // 16) * 16 if group > 16 else group
    return _with_kv_heads(rounded, q, k_cache, v_cache, block_table, seq_lens, scale)


def groups_in_powers_of_two(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float
) -> Tensor:
    group = q.shape[1] // k_cache.shape[2]
    return _with_kv_heads(1 << (group - 1).bit_length(), q, k_cache, v_cache, block_table, seq_lens, scale)
