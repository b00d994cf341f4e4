"""Decode problems, drawn: valid by construction, simplest value first.

`draw_case` draws a campaign's cases; `decode_cases()` is the same as a Hypothesis strategy, for `@given` in your own tests. Every
number below is a value that an engine uses or that a bug needed (layouts: `fuzz_decode.cases.layout`); small values come first
and most often, since tiny cases show most faults, and the interpreter's time grows with the number of programs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.case_space import CaseSpace
from fuzz_decode.cases.domain import (
    BEYOND,
    BLOCK_SIZES,
    CACHE_DTYPES,
    DTYPES,
    GROUPS,
    HEAD_DIMS,
    MAX_COMMON_GROUP,
    NUM_KV_HEADS,
    VALUE_HEAD_DIMS,
)
from fuzz_decode.cases.finite_places import places_in_order
from fuzz_decode.cases.layout import QUERY_AXES, dense
from fuzz_decode.cases.optional_arguments import OptionalArgument, all_options, generated_parameters, option_of
from fuzz_decode.cases.stride_rules import StrideRules
from fuzz_decode.cases.validity import tags_fit
from fuzz_decode.generate.choices import Choices, early, happens, sometimes
from fuzz_decode.generate.layouts import LATENT, draw_block_table, draw_query_layout, with_cache, with_huge_span

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Q_LENS = (2, 3, 4, 5, 8)
FP8_SCALES = (0.5, 2.0, 0.3, 1.7)  # never 1, which hides a kernel that ignores them
SPLIT_EDGES = (16, 32, 64, 128, 256, 512)
MAX_ROWS = 6  # sequences * KV heads: one program each in most kernels, milliseconds each in the interpreter
LARGE_BATCHES = (9, 33, 130)  # sequences of a few tokens, now and then: some kernels reduce over 8, 32 or 128 of them at once
LARGE_BATCH_LENGTH = 3
MAX_LARGE_BATCH = 2**22  # elements of K and V in the blocks of a large batch
MAX_ELEMENTS = 2**20  # of K and V that are really used, unless a single token has more

T = TypeVar("T")


def draw_case(source: Choices, space: CaseSpace) -> Case:
    """Any decode problem that a target with this space can get. The order of draws belongs to the meaning of a seed."""
    large_batch = sometimes(source, 1, LARGE_BATCHES)
    every_num_kv_heads = _or_all(space.num_kv_heads, NUM_KV_HEADS)
    heads = min(every_num_kv_heads) if large_batch else early(source, every_num_kv_heads)
    head_dim = early(source, _or_all(space.head_dims, HEAD_DIMS))
    value_head_dim = _value_head_dim(source, head_dim, space.value_head_dims)
    block_size = early(source, _or_all(space.block_sizes, BLOCK_SIZES))
    token = heads * (head_dim + value_head_dim)  # elements
    max_seqs = MAX_LARGE_BATCH // (block_size * token) if large_batch else MAX_ROWS // heads
    num_seqs = min(large_batch or source.one_of((1, 2, 3, 4)), max(1, max_seqs))
    longest = LARGE_BATCH_LENGTH if large_batch else space.max_seq_len
    longest = max(1, space.min_seq_len, min(longest, space.max_seq_len, MAX_ELEMENTS // (num_seqs * token)))
    q_len = min((sometimes(source, 20, Q_LENS) or 1) if "q_len" in space.options else 1, longest)
    lengths = [_length(source, block_size, space.min_seq_len, longest) for _ in range(num_seqs)]
    case = Case(
        seq_lens=tuple(_holding(length, q_len) for length in lengths),
        q_len=q_len,
        num_kv_heads=heads,
        group=_group(source, _or_all(space.groups, GROUPS)),
        head_dim=head_dim,
        value_head_dim=value_head_dim,
        block_size=block_size,
        dtype=source.one_of(space.dtypes),
        window=_window(source, space.max_seq_len) if "window" in space.options else None,
        **_listed_options(source, space),
        q=draw_query_layout(source),
        out=draw_query_layout(source) if "out" in space.options else dense(QUERY_AXES),
        table=draw_block_table(source),
        seed=source.integer(0, 2**16),
    )
    if space.takes(option_of("k_scale")) and happens(source, 50 if head_dim > LATENT else 20):
        case = _with_float8(source, case, space.cache_dtypes)
    case = with_cache(source, case)
    if space.huge_spans and happens(source, 4):
        case = with_huge_span(source, case)
    case = space.strides.nearest(case)
    beyond = BEYOND[case.seed % len(BEYOND)]  # no draw of its own: all later ones of a seed would change
    return dataclasses.replace(case, data=source.one_of(_data_modes(case)), beyond=beyond, finite=space.finite)


def decode_cases(
    *,
    dtypes: Sequence[str] = DTYPES,
    cache_dtypes: Sequence[str] = CACHE_DTYPES,
    head_dims: Sequence[int] | None = None,
    value_head_dims: Sequence[int] | Literal["head_dim"] | None = None,
    block_sizes: Sequence[int] | None = None,
    groups: Sequence[int] | None = None,
    num_kv_heads: Sequence[int] | None = None,
    options: Collection[str] | None = None,
    min_seq_len: int = 0,
    max_seq_len: int = 2048,
    huge_spans: bool = True,
    strides: StrideRules = StrideRules(),
    finite: Sequence[str] = (),
) -> SearchStrategy[Case]:
    """A Hypothesis strategy of any decode problem that a target with these limits can get; they are those of a CaseSpace.

    `options` are optional parameters of the target; an option without its parameters is never drawn. Float8 caches, of
    `cache_dtypes`, need `k_scale` and `v_scale`. `value_head_dims=None` mostly draws the head_dim itself, and any other of
    VALUE_HEAD_DIMS now and then; "head_dim" draws nothing else, and a sequence restricts it. `huge_spans` allows caches that
    reach beyond 2**31 elements on few touched pages. `strides` are the target's assumptions. `finite` are places among
    FINITE_PLACES that hold finite numbers in place of NaN.
    """
    from fuzz_decode.generate.hypothesis_choices import strategy_of  # takes as long to import as the whole command line

    space = CaseSpace(
        dtypes=tuple(dtypes),
        cache_dtypes=tuple(cache_dtypes),
        head_dims=_as_tuple(head_dims),
        value_head_dims="head_dim" if value_head_dims == "head_dim" else _as_tuple(value_head_dims),
        block_sizes=_as_tuple(block_sizes),
        groups=_as_tuple(groups),
        num_kv_heads=_as_tuple(num_kv_heads),
        options=generated_parameters() if options is None else frozenset(options),
        min_seq_len=min_seq_len,
        max_seq_len=max_seq_len,
        huge_spans=huge_spans,
        strides=strides,
        finite=places_in_order(finite),
    )
    return strategy_of(lambda choices: draw_case(choices, space))


def _as_tuple(values: Sequence[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)


def _or_all(values: Sequence[T] | None, every: Sequence[T]) -> Sequence[T]:
    """The values of a limit; every value if there is no limit."""
    return every if values is None else values


def _value_head_dim(source: Choices, head_dim: int, allowed: Sequence[int] | Literal["head_dim"] | None) -> int:
    if allowed == "head_dim":
        return head_dim
    if allowed is None and not happens(source, 20):
        return min(head_dim, LATENT)
    return early(source, VALUE_HEAD_DIMS if allowed is None else allowed)


def _group(source: Choices, groups: Sequence[int]) -> int:
    """One of the groups; all large ones together are as likely as one other."""
    large = [group for group in groups if group > MAX_COMMON_GROUP]
    group = early(source, [group for group in groups if group not in large[1:]])
    return source.one_of(large) if group in large else group


def _length(source: Choices, block_size: int, low: int, high: int) -> int:
    """Lengths that bugs depend on: tiny, at a block edge, at a split edge, and anywhere, now and then long."""
    kind = source.integer(0, 19)
    if kind < 4:
        length = source.one_of((1, 0, 2, 3, 0, 5))
    elif kind < 11:
        length = source.integer(1, 4) * block_size + source.one_of((0, 1, -1))
    elif kind < 15:
        length = source.one_of(SPLIT_EDGES[:4]) + source.one_of((0, 1, -1))
    elif kind < 19:
        length = source.integer(1, 100)
    else:
        length = source.one_of(SPLIT_EDGES) * source.integer(1, 4) + source.integer(-1, 1)
    return max(low, min(length, high))


def _listed_options(source: Choices, space: CaseSpace) -> dict[str, Any]:
    """Fields of the options that are drawn from a list of values."""
    return {option.field: _listed_option(source, space, option) for option in all_options() if option.chance}


def _listed_option(source: Choices, space: CaseSpace, option: OptionalArgument) -> object:
    if not space.takes(option) or not happens(source, option.chance):
        return option.unused[0]
    return source.one_of(option.values) if len(option.values) > 1 else option.values[0]


def _holding(length: int, q_len: int) -> int:
    """A sequence holds its query tokens, or is an empty row of a padded batch."""
    return max(length, q_len) if length else 0


def _with_float8(source: Choices, case: Case, cache_dtypes: Sequence[str]) -> Case:
    k_scale, v_scale = source.one_of(FP8_SCALES), source.one_of(FP8_SCALES)
    return dataclasses.replace(case, cache_dtype=early(source, cache_dtypes), k_scale=k_scale, v_scale=v_scale)


def _window(source: Choices, high: int) -> int | None:
    if not happens(source, 30):
        return None
    kind = source.integer(0, 2)
    if kind == 0:
        return source.integer(1, 20)
    return source.one_of((16, 17, 31, 32, 64, 100)) if kind == 1 else source.integer(1, max(1, min(high, 200)))


def _data_modes(case: Case) -> Sequence[str]:
    modes = ("gaussian", "uniform", "large", "tagged", "tagged")
    return modes if tags_fit(case) else modes[:3]
