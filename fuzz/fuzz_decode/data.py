"""The values of a case, independent of where they lie: one row of K and V for every token slot that some sequence uses.

Four modes. `gaussian`: independent normals. `uniform`: q = 0, so that every visible token weighs the same. `large`: |score|
beyond 88 (exp overflows) and below -5e4 (finite mask sentinels), on an integer grid that float32 sums exactly. `tagged`: each
query row attends to one chosen token with weight 1 to the last bit, and V there spells its own address, so that the output
names what was read.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from fuzz_decode.case import Case

TAG_BASE = 64  # every digit is exact in bfloat16, with room to see a rounding
TAG_DIGITS = (("block", 4), ("slot", 2), ("head", 2))
TAG_LENGTH = sum(digits for _, digits in TAG_DIGITS)
# one number for each dim, so that no shifted row decodes
TAG_SHIFT = torch.randint(0, TAG_BASE, (2**12,), generator=torch.Generator().manual_seed(0))
WINNING_MARGIN = 40.0  # exp(-40) vanishes beside 1 in float32
LARGE = 128.0


@dataclass(frozen=True, slots=True)
class Tokens:
    """The token slots that some sequence can see: page and slot [num_live], and for each sequence the indices of its visible
    tokens among them, oldest first."""

    page: Tensor
    slot: Tensor
    of_seq: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Values:
    """float32 values on the CPU: q [num_seqs, num_q_heads, head_dim], k and v [num_live, num_kv_heads, dim], and, in tagged
    data, the index of the chosen token of each query row [num_seqs, num_q_heads] (-1 for an empty sequence)."""

    tokens: Tokens
    q: Tensor
    k: Tensor
    v: Tensor
    chosen: Tensor | None = None


def make_values(case: Case) -> Values:
    """The case's values; the same on every machine."""
    tokens = live_tokens(case)
    rng = torch.Generator().manual_seed(case.seed)
    shape = (len(tokens.page), case.num_kv_heads)
    q = torch.randn(case.num_seqs, case.num_q_heads, case.head_dim, generator=rng)
    k = torch.randn(*shape, case.head_dim, generator=rng)
    v = torch.randn(*shape, case.value_head_dim, generator=rng)
    values = Values(tokens, q, k, v)
    if case.data == "uniform":
        values = dataclasses.replace(values, q=torch.zeros_like(q))
    if case.data == "large":
        values = _large(case, values, rng)
    if case.data == "tagged":
        values = _tagged(case, values, rng)
    if case.v_prefix_of_k:
        values = dataclasses.replace(values, v=values.k[..., : case.value_head_dim])
    return values


def live_tokens(case: Case) -> Tokens:
    """Every (page, slot) that holds a visible token of some sequence. What lies before the window may be freed and reused."""
    size = case.block_size
    keys = [
        (torch.tensor(row, dtype=torch.long)[:, None] * size + torch.arange(size)).flatten()[
            _first_visible(case, length) : length
        ]
        for row, length in zip(case.pages(), case.seq_lens, strict=True)
    ]
    live, inverse = torch.unique(torch.cat(keys), return_inverse=True)
    return Tokens(live // size, live % size, tuple(inverse.split([len(key) for key in keys])))


def _first_visible(case: Case, length: int) -> int:
    return 0 if case.window is None else max(0, length - case.window)


def _large(case: Case, values: Values, rng: torch.Generator) -> Values:
    """Rows of K near one corner of a cube; q is that corner or its opposite, at three magnitudes."""
    corner = _signs((case.num_kv_heads, case.head_dim), rng)
    jitter = torch.randint(0, 16, values.k.shape, generator=rng)
    strength = torch.tensor([1.0, 8.0, LARGE])[torch.randint(0, 3, values.q.shape[:2], generator=rng)]
    sign = _signs(values.q.shape[:2], rng)
    q = (sign * strength)[..., None] * corner.repeat_interleave(case.group, dim=0)
    return dataclasses.replace(values, q=q, k=corner * (LARGE - jitter))


def _tagged(case: Case, values: Values, rng: torch.Generator) -> Values:
    """K rows are distinct sign vectors, q is the chosen token's row times a margin, V rows are addresses."""
    code = _distinct_signs(len(values.k), case.head_dim, rng)
    of_head = _signs((case.num_kv_heads, case.head_dim), rng)
    k = code[:, None, :] * of_head
    chosen = torch.full(values.q.shape[:2], -1, dtype=torch.long)
    q = torch.zeros_like(values.q)
    margin = _power_of_two_above(WINNING_MARGIN / 2 / case.softmax_scale)
    for seq, tokens in enumerate(values.tokens.of_seq):
        if len(tokens):
            chosen[seq] = tokens[_interesting_positions(case, case.seq_lens[seq], rng)]
            heads = torch.arange(case.num_q_heads) // case.group
            q[seq] = margin * k[chosen[seq], heads]
    blocks = torch.tensor(case.blocks(), dtype=torch.long)[values.tokens.page]
    return dataclasses.replace(values, q=q, k=k, v=_tags(case, blocks, values.tokens.slot), chosen=chosen)


def _interesting_positions(case: Case, length: int, rng: torch.Generator) -> Tensor:
    """For each q head the place of a token among the visible ones: first, last, at a block edge, anywhere."""
    first = _first_visible(case, length)
    edges = {
        first,
        length - 1,
        first + (case.block_size - first % case.block_size),
        (length - 1) // case.block_size * case.block_size,
    }
    anywhere = torch.randint(first, length, (4,), generator=rng).tolist()
    places = torch.tensor([*sorted(place for place in edges if first <= place < length), *anywhere]) - first
    return places[torch.randint(0, len(places), (case.num_q_heads,), generator=rng)]


def _tags(case: Case, blocks: Tensor, slots: Tensor) -> Tensor:
    """V rows [num_live, num_kv_heads, value_head_dim] that spell (block, slot, head) in base 64, shifted by dim."""
    heads = torch.arange(case.num_kv_heads).expand(len(blocks), -1)
    address = {"block": blocks[:, None].expand_as(heads), "slot": slots[:, None].expand_as(heads), "head": heads}
    digits = torch.stack([address[name] // TAG_BASE**i % TAG_BASE for name, count in TAG_DIGITS for i in range(count)], dim=-1)
    dims = torch.arange(case.value_head_dim)
    return ((digits[..., dims % TAG_LENGTH] + TAG_SHIFT[dims]) % TAG_BASE).float()


def read_tag(row: Tensor) -> dict[str, int] | None:
    """The address that a row [value_head_dim] of a tagged output spells, or None if it is no address."""
    dims = torch.arange(len(row))
    rounded = row.double().cpu().round()
    if not bool(((rounded - row.double().cpu()).abs() < 0.26).all()):
        return None
    digits = (rounded.long() - TAG_SHIFT[dims]) % TAG_BASE
    spelled = digits[:TAG_LENGTH]
    if not bool((digits == spelled[dims % TAG_LENGTH]).all()) or not bool(((rounded >= 0) & (rounded < TAG_BASE)).all()):
        return None
    found, at = {}, 0
    for name, count in TAG_DIGITS:
        found[name] = sum(int(spelled[at + i]) * TAG_BASE**i for i in range(count))
        at += count
    return found


def _signs(shape: tuple[int, ...] | torch.Size, rng: torch.Generator) -> Tensor:
    return torch.randint(0, 2, tuple(shape), generator=rng) * 2.0 - 1.0


def _distinct_signs(count: int, dim: int, rng: torch.Generator) -> Tensor:
    """`count` distinct sign vectors [count, dim]: the row number in binary, then random signs."""
    code = _signs((count, dim), rng)
    bits = min(dim, max(1, (count - 1).bit_length()))
    code[:, :bits] = (torch.arange(count)[:, None] >> torch.arange(bits) & 1) * 2.0 - 1.0
    return code


def _power_of_two_above(number: float) -> float:
    power = 1.0
    while power < number:
        power *= 2
    return power
