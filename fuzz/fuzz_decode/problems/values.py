"""The values of a case, independent of where they lie: one row of K and V for every token slot that some sequence uses.

Four modes. `gaussian`: independent normals. `uniform`: q = 0, so that every visible token weighs the same. `large`: |score|
beyond 88 (exp overflows) and below -5e4 (finite mask sentinels), on an integer grid that float32 sums exactly. `tagged`: each
query row attends to one chosen token with weight 1 to the last bit, and V there spells its own address, so that the output
names the address that was read.
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from fuzz_decode.cases.case import Case

TAG_BITS = {"block": 24, "slot": 12, "head": 12}  # of an address
TAG_BASE = {"float8_e4m3fn": 16, "float8_e5m2": 8}  # of a tag's digits: the format holds each of them exactly
WIDE_BASE = (
    64  # the same for 16 and 32 bits; bfloat16 holds quarters beside the digits, so that a value between two of them shows
)
TAG_NOISE = 0.26  # largest distance of an output's digit from a whole number
# digits repeat along a row: each dim adds a number of its own, so that a row that is read some dims too early or too late, which
# would still spell an address without it, decodes to none
TAG_SHIFT = torch.randint(0, WIDE_BASE, (2**12,), generator=torch.Generator().manual_seed(0))
WINNING_MARGIN = 40.0  # exp(-40) vanishes beside 1 in float32
LARGE_NUMBER = 128.0  # magnitude of K in `large` data, and the largest of q


@dataclass(frozen=True, slots=True)
class Tokens:
    """The token slots that some sequence can see."""

    page: Tensor
    """[num_live]"""
    slot: Tensor
    """[num_live], within the page."""
    of_seq: tuple[Tensor, ...]
    """For each sequence the indices of its visible tokens among them, oldest first."""


@dataclass(frozen=True, slots=True)
class Values:
    """The numbers of a case, float32 on the CPU."""

    tokens: Tokens
    """Where the rows of K and V lie."""
    q: Tensor
    """[num_rows, num_q_heads, head_dim]"""
    k: Tensor
    """[num_live, num_kv_heads, head_dim], as stored: not yet multiplied by k_scale."""
    v: Tensor
    """[num_live, num_kv_heads, value_head_dim], as stored: not yet multiplied by v_scale."""
    alibi_slopes: Tensor
    """[num_q_heads], drawn whether used or not."""
    sinks: Tensor
    """[num_q_heads], drawn whether used or not."""
    chosen: Tensor | None = None
    """[num_rows, num_q_heads]: in tagged data the index of the token that a query row attends to, -1 where it sees none."""


def make_values(case: Case) -> Values:
    """The case's values; the same on every machine."""
    tokens = live_tokens(case)
    rng = torch.Generator().manual_seed(case.seed)
    shape = (len(tokens.page), case.num_kv_heads)
    q = torch.randn(case.num_rows, case.num_q_heads, case.head_dim, generator=rng)
    k = torch.randn(*shape, case.head_dim, generator=rng)
    v = torch.randn(*shape, case.value_head_dim, generator=rng)
    values = Values(tokens, q, k, v, *_per_head(case))
    if case.data == "uniform":
        values = dataclasses.replace(values, q=torch.zeros_like(q))
    if case.data == "large":
        values = _large(case, values, rng)
    if case.data == "tagged":
        values = _tagged(case, values, rng)
    if case.v_prefix_of_k:
        values = dataclasses.replace(values, v=values.k[..., : case.value_head_dim])
    return values


def without_overflow(case: Case, values: Values, largest: float) -> Values:
    """The values with q divided by a power of two, so that no sum of |q_i k_i|, and none scaled before, exceeds `largest`."""
    k = values.k.repeat_interleave(case.group, dim=1)
    sums = torch.einsum("rhd,thd->rht", values.q.abs().double(), k.abs().double())
    factor = max(1.0, case.k_scale or 1.0, case.softmax_scale * (case.k_scale or 1.0))
    excess = float(sums.max()) * factor / largest if sums.numel() else 0.0
    if excess <= 1.0:
        return values
    q = values.q / _power_of_two_above(excess)
    return dataclasses.replace(values, q=q, chosen=_still_chosen(case, values, q))


def _still_chosen(case: Case, values: Values, q: Tensor) -> Tensor | None:
    """The chosen tokens, -1 where a smaller q makes another token weigh something: rows of many dims differ in many of them."""
    if values.chosen is None:
        return None
    k = values.k.repeat_interleave(case.group, dim=1)
    best = torch.einsum("rhd,thd->rht", q, k).sort(dim=-1, descending=True).values
    lead = (best[..., 0] - best[..., 1]) * case.softmax_scale * (case.k_scale or 1.0) if len(k) > 1 else WINNING_MARGIN
    return torch.where(torch.as_tensor(lead) >= WINNING_MARGIN, values.chosen, -1)


def _per_head(case: Case) -> tuple[Tensor, Tensor]:
    """ALiBi slopes between 1/32 and 1, which few tokens show, and sinks about as large as scores are. They have a generator of
    their own, so that q, K and V are the same with and without them."""
    rng = torch.Generator().manual_seed(case.seed + 2)
    slopes = torch.exp2(-5 * torch.rand(case.num_q_heads, generator=rng))
    return slopes, 2 * torch.randn(case.num_q_heads, generator=rng)


def live_tokens(case: Case) -> Tokens:
    """Every (page, slot) that holds a visible token of some sequence. Tokens before the window are not live: an engine may have
    freed and reused their slots."""
    size, pages = case.block_size, case.pages()
    starts = torch.tensor([_first_visible(case, length) for length in case.seq_lens])
    counts = torch.tensor(case.seq_lens) - starts
    seq = torch.arange(case.num_seqs).repeat_interleave(counts)  # of each visible token, those of a sequence together
    token = torch.arange(len(seq)) - (counts.cumsum(dim=0) - counts)[seq] + starts[seq]
    first_page = torch.tensor([0, *itertools.accumulate(map(len, pages))])
    page = torch.tensor([*itertools.chain(*pages)], dtype=torch.long)[first_page[seq] + token // size]
    live, inverse = torch.unique(page * size + token % size, return_inverse=True)
    return Tokens(live // size, live % size, tuple(inverse.split(counts.tolist())))


def _first_visible(case: Case, length: int) -> int:
    """The oldest token that the first query token sees."""
    return 0 if case.window is None else max(0, length - case.q_len + 1 - case.window)


def _large(case: Case, values: Values, rng: torch.Generator) -> Values:
    """Rows of K near one corner of a cube; q is that corner or its opposite, at three magnitudes."""
    corner = _signs((case.num_kv_heads, case.head_dim), rng)
    jitter = torch.randint(0, 16, values.k.shape, generator=rng)
    strength = torch.tensor([1.0, 8.0, LARGE_NUMBER])[torch.randint(0, 3, values.q.shape[:2], generator=rng)]
    sign = _signs(values.q.shape[:2], rng)
    q = (sign * strength)[..., None] * corner.repeat_interleave(case.group, dim=0)
    return dataclasses.replace(values, q=q, k=corner * (LARGE_NUMBER - jitter))


def _tagged(case: Case, values: Values, rng: torch.Generator) -> Values:
    """K rows are distinct sign vectors, q is the chosen token's row times a margin, V rows are addresses."""
    code = _distinct_signs(len(values.k), case.head_dim, rng)
    of_head = _signs((case.num_kv_heads, case.head_dim), rng)
    k = code[:, None, :] * of_head
    chosen = torch.full(values.q.shape[:2], -1, dtype=torch.long)
    margin = _power_of_two_above(WINNING_MARGIN / 2 / case.softmax_scale / (case.k_scale or 1.0))
    for row in range(case.num_rows):
        seq, query = divmod(row, case.q_len)
        end = case.seq_lens[seq] - case.q_len + 1 + query
        if end > 0:
            first = 0 if case.window is None else max(0, end - case.window)
            positions = _interesting_positions(case, first, end, rng) - _first_visible(case, case.seq_lens[seq])
            chosen[row] = values.tokens.of_seq[seq][positions]
    q = torch.zeros_like(values.q)
    rows, heads = (chosen >= 0).nonzero(as_tuple=True)
    q[rows, heads] = margin * k[chosen[rows, heads], heads // case.group]
    blocks = torch.tensor(case.blocks(), dtype=torch.long)[values.tokens.page]
    return dataclasses.replace(values, q=q, k=k, v=_tags(case, blocks, values.tokens.slot), chosen=chosen)


def _interesting_positions(case: Case, first: int, length: int, rng: torch.Generator) -> Tensor:
    """For each q head the position of a token in `first` to `length` - 1: first, last, at a block edge, or any."""
    edges = {
        first,
        length - 1,
        first + (case.block_size - first % case.block_size),
        (length - 1) // case.block_size * case.block_size,
    }
    anywhere = torch.randint(first, length, (4,), generator=rng).tolist()
    positions = torch.tensor([*sorted(edge for edge in edges if first <= edge < length), *anywhere])
    return positions[torch.randint(0, len(positions), (case.num_q_heads,), generator=rng)]


def _tags(case: Case, blocks: Tensor, slots: Tensor) -> Tensor:
    """V rows [num_live, num_kv_heads, value_head_dim] that spell (block, slot, head) digit by digit, shifted by dim."""
    base = tag_base(case)
    heads = torch.arange(case.num_kv_heads).expand(len(blocks), -1)
    address = {"block": blocks[:, None].expand_as(heads), "slot": slots[:, None].expand_as(heads), "head": heads}
    digits = torch.stack([address[name] // base**i % base for name, count in _digits(base) for i in range(count)], dim=-1)
    dims = torch.arange(case.value_head_dim)
    return ((digits[..., dims % digits.shape[-1]] + TAG_SHIFT[dims]) % base).float()


def tag_base(case: Case) -> int:
    """The base of the digits that the cache's dtype holds exactly."""
    return TAG_BASE.get(case.cache_dtype or "", WIDE_BASE)


def _digits(base: int) -> list[tuple[str, int]]:
    """The number of digits of each part of an address: at most 16 in all, since no row is shorter."""
    return [(name, bits // (base.bit_length() - 1)) for name, bits in TAG_BITS.items()]


def read_tag(row: Tensor, base: int = WIDE_BASE) -> dict[str, int] | None:
    """The address that a row [value_head_dim] of a tagged output spells, or None if it is no address."""
    length = sum(count for _, count in _digits(base))
    dims = torch.arange(len(row))
    rounded = row.double().cpu().round()
    if not bool(((rounded - row.double().cpu()).abs() < TAG_NOISE).all()):
        return None
    digits = (rounded.long() - TAG_SHIFT[dims]) % base
    spelled = digits[:length]
    if not bool((digits == spelled[dims % length]).all()) or not bool(((rounded >= 0) & (rounded < base)).all()):
        return None
    address, start = {}, 0
    for name, count in _digits(base):
        address[name] = sum(int(spelled[start + i]) * base**i for i in range(count))
        start += count
    return address


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
