"""Small targets for tests: one honest, and others wrong in one way each.

Those that crash, hang or talk do so on cases of exactly two sequences, so that a test can choose.
"""

from __future__ import annotations

import ctypes
import functools
import os
import time
from collections.abc import Callable
from itertools import count
from typing import Any, NoReturn

import torch
from torch import Tensor

from fuzz_decode.targets import Arithmetic, target

_calls = count()
_plans: dict[Any, Any] = {}


def honest(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    block_table: Tensor,
    seq_lens: Tensor,
    scale: float,
    *,
    out: Tensor | None = None,
    window: int | None = None,
    softcap: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Gather, softmax in float32, store. What every other function here is measured against."""
    found = torch.zeros(*q.shape[:2], v_cache.shape[3], device=q.device)
    lse = torch.full(q.shape[:2], -torch.inf, device=q.device)
    group, block_size = q.shape[1] // k_cache.shape[2], k_cache.shape[1]
    for seq, length in enumerate(seq_lens.tolist()):
        if length == 0:
            continue
        tokens = torch.arange(max(0, length - (window or length)), length, device=q.device)
        blocks, slots = block_table[seq, tokens // block_size].long(), tokens % block_size
        k = k_cache[blocks, slots].float().repeat_interleave(group, dim=1)
        v = v_cache[blocks, slots].float().repeat_interleave(group, dim=1)
        scores = (q[seq].float() * k).sum(dim=-1).T * scale
        if softcap is not None:
            scores = softcap * torch.tanh(scores / softcap)
        lse[seq] = scores.logsumexp(dim=-1)
        found[seq] = (scores.softmax(dim=-1).T[:, :, None] * v).sum(dim=0)
    result = torch.empty(found.shape, dtype=q.dtype, device=q.device) if out is None else out
    return result.copy_(found), lse


def honest_in_everything(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    block_table: Tensor,
    seq_lens: Tensor,
    scale: float,
    *,
    out: Tensor | None = None,
    window: int | None = None,
    softcap: float | None = None,
    alibi_slopes: Tensor | None = None,
    sinks: Tensor | None = None,
    k_scale: float | None = None,
    v_scale: float | None = None,
    q_len: int = 1,
) -> tuple[Tensor, Tensor]:
    """Every option that there is: each query token against its whole sequence, and a mask. K and V are scaled in float32."""
    arguments = q, k_cache, v_cache, block_table, seq_lens, scale, out
    return _everything(*arguments, window, softcap, alibi_slopes, sinks, k_scale, v_scale, q_len, causal=True)


def _everything(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    block_table: Tensor,
    seq_lens: Tensor,
    scale: float,
    out: Tensor | None,
    window: int | None,
    softcap: float | None,
    alibi_slopes: Tensor | None,
    sinks: Tensor | None,
    k_scale: float | None,
    v_scale: float | None,
    q_len: int,
    *,
    causal: bool,
) -> tuple[Tensor, Tensor]:
    found = torch.zeros(*q.shape[:2], v_cache.shape[3], device=q.device)
    lse = torch.full(q.shape[:2], -torch.inf, device=q.device)
    group, block_size = q.shape[1] // k_cache.shape[2], k_cache.shape[1]
    for row in range(len(q)):
        seq, query = divmod(row, q_len)
        length = int(seq_lens[seq])
        position = length - q_len + query
        start, end = max(0, position + 1 - window) if window else 0, position + 1 if causal else length
        if end <= start:
            continue
        tokens = torch.arange(start, end, device=q.device)
        blocks, slots = block_table[seq, tokens // block_size].long(), tokens % block_size
        k = k_cache[blocks, slots].float().repeat_interleave(group, dim=1)
        v = v_cache[blocks, slots].float().repeat_interleave(group, dim=1) * (v_scale or 1.0)
        scores = (q[row].float() * k).sum(dim=-1).T * (scale * (k_scale or 1.0))
        scores = scores if softcap is None else softcap * torch.tanh(scores / softcap)
        scores = scores if alibi_slopes is None else scores + alibi_slopes[:, None] * (tokens - position)
        lse[row] = scores.logsumexp(dim=-1)
        lse[row] = lse[row] if sinks is None else torch.logaddexp(lse[row], sinks)
        found[row] = ((scores - lse[row][:, None]).exp().T[:, :, None] * v).sum(dim=0)
    result = torch.empty(found.shape, dtype=q.dtype, device=q.device) if out is None else out
    return result.copy_(found), lse


def _ignoring(**neutral: Any) -> Callable[..., Any]:
    """A target with the same signature that takes some options for others."""

    @functools.wraps(honest_in_everything)
    def decode(*arguments: Any, **options: Any) -> Any:
        return honest_in_everything(*arguments, **{**options, **neutral})

    return decode


ignores_the_sinks = _ignoring(sinks=None)
ignores_the_slopes = _ignoring(alibi_slopes=None)
ignores_k_scale = _ignoring(k_scale=1.0)
ignores_v_scale = _ignoring(v_scale=1.0)


@functools.wraps(honest_in_everything)
def lets_query_tokens_see_later_ones(*arguments: Any, **options: Any) -> Any:
    """No causal mask: the first query tokens see the last."""
    names = ("out", "window", "softcap", "alibi_slopes", "sinks", "k_scale", "v_scale")
    return _everything(*arguments, *(options.get(name) for name in names), options.get("q_len", 1), causal=False)


@functools.wraps(honest_in_everything)
def one_number_off(*arguments: Any, **options: Any) -> tuple[Tensor, Tensor]:
    """By a twentieth of the largest of its row, which is the first of the longest sequence."""
    out, lse = honest_in_everything(*arguments, **options)
    row = int(arguments[4].argmax()) * options.get("q_len", 1)
    out[row, 0, 1] += 0.05 * out[row, 0].abs().max()
    return out, lse


def only_out(q: Tensor, *rest: Any) -> Tensor:
    return honest(q, *rest)[0]


def five_percent_off(q: Tensor, *rest: Any, out: Tensor) -> None:
    honest(q, *rest, out=out)[0][-1, -1, -1] *= 1.05


def leaves_the_last_row(q: Tensor, *rest: Any, out: Tensor) -> None:
    out[:-1] = honest(q, *rest)[0][:-1]


def stores_nan(q: Tensor, *rest: Any, out: Tensor) -> None:
    honest(q, *rest, out=out)[0][0, 0, -1] = torch.nan


def lse_of_the_empty_is_zero(q: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    out, lse = honest(q, *rest)
    return out, lse.clamp(min=0)


def writes_one_past_out(q: Tensor, *rest: Any, out: Tensor) -> None:
    honest(q, *rest, out=out)
    out.as_strided((1,), (1,), out.storage_offset() + out.numel()).zero_()


def writes_one_before_out(q: Tensor, *rest: Any, out: Tensor) -> None:
    honest(q, *rest, out=out)
    out.as_strided((1,), (1,), out.storage_offset() - 1).zero_()


def writes_between_the_rows_of_out(q: Tensor, *rest: Any, out: Tensor) -> None:
    honest(q, *rest, out=out)
    out.as_strided((1,), (1,), out.storage_offset() + out.shape[2]).zero_()


def clears_the_block_table(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    result = honest(q, k_cache, v_cache, block_table, seq_lens, scale)
    block_table.fill_(7)
    return result


def scales_q_in_place(q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float) -> Tensor:
    out = honest(q, k_cache, v_cache, block_table, seq_lens, scale)[0]
    q.mul_(scale)
    return out


def shortens_the_sequences(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float
) -> Tensor:
    out = honest(q, k_cache, v_cache, block_table, seq_lens, scale)[0]
    seq_lens -= 1
    return out


def writes_into_a_gap_of_k(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float
) -> Tensor:
    k_cache.as_strided((1,), (1,), k_cache.storage_offset() + k_cache.stride(0) - 1).zero_()
    return honest(q, k_cache, v_cache, block_table, seq_lens, scale)[0]


def writes_a_live_v(q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float) -> Tensor:
    out = honest(q, k_cache, v_cache, block_table, seq_lens, scale)[0]
    v_cache[block_table[0, 0], 0, 0, 0] = 3.0
    return out


def flickers(q: Tensor, *rest: Any) -> Tensor:
    """Every second call is one unit in the last place higher."""
    out = honest(q, *rest)[0]
    return torch.nextafter(out, torch.tensor(torch.inf)) if next(_calls) % 2 else out


@target(arithmetic=Arithmetic(deterministic=False))
def flickers_and_says_so(q: Tensor, *rest: Any) -> Tensor:
    return flickers(q, *rest)


@target(arithmetic=Arithmetic(same_bits_anywhere=True))
def minds_the_block_stride(q: Tensor, k_cache: Tensor, *rest: Any) -> Tensor:
    """The last bit depends on where blocks of K lie."""
    out = honest(q, k_cache, *rest)[0]
    dense = k_cache.stride(0) == k_cache[0].numel()
    return out if dense else torch.nextafter(out, torch.tensor(torch.inf))


@target(dtypes=("bfloat16",), arithmetic=Arithmetic(scores="input"))
def reads_the_next_slot(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """V of the slot beside the right one."""
    return honest(q, k_cache, v_cache.roll(1, dims=1), block_table, seq_lens, scale)


def raises_key_error(q: Tensor, *rest: Any) -> NoReturn:
    raise KeyError("no such\nkernel")


def asserts_other_strides(q: Tensor, k_cache: Tensor, v_cache: Tensor, *rest: Any) -> Tensor:
    assert k_cache.stride() != v_cache.stride()
    return q


def cannot(q: Tensor, *rest: Any) -> NoReturn:
    raise NotImplementedError("head_dim of 16")


def returns_none(q: Tensor, *rest: Any) -> None:
    return None


def returns_double(q: Tensor, *rest: Any) -> Tensor:
    return honest(q, *rest)[0].double()


def returns_three(q: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    return q, q, q


def returns_a_list_for_lse(q: Tensor, *rest: Any) -> tuple[Tensor, list[Tensor]]:
    return honest(q, *rest)[0], [q, q]


def returns_out_elsewhere(q: Tensor, *rest: Any) -> Tensor:
    return honest(q, *rest)[0].to("meta")


def returns_a_flat_out(q: Tensor, *rest: Any) -> Tensor:
    return honest(q, *rest)[0].flatten(1)


def returns_a_half_lse(q: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    out, lse = honest(q, *rest)
    return out, lse.half()


def returns_a_transposed_lse(q: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    out, lse = honest(q, *rest)
    return out, lse.T


def returns_no_lse(q: Tensor, *rest: Any) -> tuple[Tensor, None]:
    return honest(q, *rest)[0], None


def remembers_the_scale(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float
) -> Tensor:
    """A plan is prepared for each set of shapes; its key lacks the scale."""
    scale = _plans.setdefault((q.shape, k_cache.shape, v_cache.shape, block_table.shape), scale)
    return honest(q, k_cache, v_cache, block_table, seq_lens, scale)[0]


def remembers_the_lengths(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float
) -> Tensor:
    """The same with the lengths."""
    seq_lens = _plans.setdefault((q.shape, k_cache.shape, v_cache.shape, block_table.shape), seq_lens.clone())
    return honest(q, k_cache, v_cache, block_table, seq_lens, scale)[0]


def remembers_the_first_scale(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float
) -> Tensor:
    """One plan for everything, so that any two scales in one process show it."""
    return honest(q, k_cache, v_cache, block_table, seq_lens, _plans.setdefault("first", scale))[0]


def segfaults_on_two(q: Tensor, *rest: Any) -> Tensor:
    if len(q) == 2:
        ctypes.string_at(0)
    return honest(q, *rest)[0]


def hangs_on_two(q: Tensor, *rest: Any) -> Tensor:
    while len(q) == 2:
        time.sleep(0.01)
    return honest(q, *rest)[0]


def leaves_on_two(q: Tensor, *rest: Any) -> Tensor:
    if len(q) == 2:
        print("goodbye, cruel world", flush=True)
        os._exit(3)
    return honest(q, *rest)[0]


def talks_a_lot(q: Tensor, *rest: Any) -> Tensor:
    """More than any pipe holds, on both streams."""
    os.write(1, b"blah " * 100_000)
    os.write(2, b"bleh " * 100_000)
    return honest(q, *rest)[0]
