"""The shrinker's passes: each proposes simpler cases, the boldest first. The shrinker decides which to keep."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.domain import DTYPES, HEAD_DIMS
from fuzz_decode.cases.layout import CACHE_AXES, FAMILIES, QUERY_AXES, Layout, dense
from fuzz_decode.cases.optional_arguments import all_options, answer_options
from fuzz_decode.cases.simplicity import features_of, in_plain_layout, without_feature

Pass = Callable[[Case], Iterator[Case]]


def one_sequence(case: Case) -> Iterator[Case]:
    """One sequence alone; the same number with equal lengths, so that any one may go; half of them; all but one."""
    lengths, half = case.seq_lens, case.num_seqs // 2
    for number in dict.fromkeys((1, case.num_seqs)):
        for length in sorted(set(lengths)):
            yield _replace(case, seq_lens=(length,) * number)
    if half:
        yield _replace(case, seq_lens=lengths[half:])
        yield _replace(case, seq_lens=lengths[:half])
        for index in range(case.num_seqs):
            yield _replace(case, seq_lens=lengths[:index] + lengths[index + 1 :])


def usual_suspects(case: Case) -> Iterator[Case]:
    """One head and a few tokens in the simplest layouts that stride faults show on: a jump out of layouts that need more."""
    small = _replace(in_plain_layout(case), num_kv_heads=1, group=1, table=BlockTable())
    two_blocks = _replace(small, seq_lens=(2 * case.block_size,))
    second_block = _replace(small, seq_lens=(1,), table=BlockTable(first_block=1))
    for base in (two_blocks, second_block):
        for bare in (_replace(_without_options(base), data="gaussian"), base):
            yield _replace(bare, k=Layout(FAMILIES["interleaved"]), v=None)
            for axis in range(3):
                padded = Layout(FAMILIES["NHD"], tuple(int(axis == index) for index in range(4)))
                yield _replace(bare, k=padded, v=padded)
                yield _replace(bare, k=padded)
                yield _replace(bare, v=padded)


def plain_tensors(case: Case) -> Iterator[Case]:
    """Many features at once: everything plain, then everything but the caches, the table, the options."""
    relaxed = _replace(_without_options(case), data="gaussian", dtype="float32")
    for base in (relaxed, case):
        bare = in_plain_layout(base)
        yield bare
        yield _replace(bare, k=base.k, v=base.v, layers=base.layers, layer=base.layer)
        yield _replace(bare, table=base.table)
        yield _replace(base, q=dense(QUERY_AXES), out=dense(QUERY_AXES), table=BlockTable())
        yield base


def fewer_heads(case: Case) -> Iterator[Case]:
    for number in _smaller(case.num_kv_heads, 1):
        yield _replace(case, num_kv_heads=number)
    for number in _smaller(case.group, 1):
        yield _replace(case, group=number)


def smaller_rows(case: Case) -> Iterator[Case]:
    """head_dim and value_head_dim together, then each, from the dims that kernels have."""
    for dim in sorted(HEAD_DIMS):
        yield _replace(case, head_dim=dim, value_head_dim=dim)
        yield _replace(case, value_head_dim=dim)
        yield _replace(case, head_dim=dim)


def smaller_blocks(case: Case) -> Iterator[Case]:
    """A smaller block with as many tokens, or with as many blocks."""
    for size in _smaller(case.block_size, 1):
        yield _replace(case, block_size=size, seq_lens=tuple(-(-length * size // case.block_size) for length in case.seq_lens))
        yield _replace(case, block_size=size)


def shorter_sequences(case: Case) -> Iterator[Case]:
    for index, length in enumerate(case.seq_lens):
        for shorter in _smaller(length, 0):
            yield _replace(case, seq_lens=(*case.seq_lens[:index], shorter, *case.seq_lens[index + 1 :]))


def drop_features(case: Case) -> Iterator[Case]:
    """Each feature back at its default: the pass that makes the result 1-minimal."""
    for feature in features_of(case):
        yield without_feature(case, feature)


def simpler_caches(case: Case) -> Iterator[Case]:
    """K and V apart instead of in one buffer, like each other, in a family's order, without the layer axis."""
    yield _replace(case, k=dense(CACHE_AXES), v=dense(CACHE_AXES), layers=1, layer=0)
    apart = _without_axes(case.k, "kv", "layer")
    yield _replace(case, k=apart, v=dense(CACHE_AXES), layers=1, layer=0)
    yield _replace(case, k=apart, v=apart, layers=1, layer=0)
    yield _replace(case, k=_without_axes(case.k, "layer"), v=case.v and _without_axes(case.v, "layer"), layers=1, layer=0)
    for name in ("NHD", "HND", "interleaved", "packed"):
        order = FAMILIES[name]
        yield _replace(case, k=Layout(order), v=None if "kv" in order else case.v or Layout(order), layers=1, layer=0)
    if case.v is not None:
        yield _replace(case, v=case.k)


def less_padding(case: Case) -> Iterator[Case]:
    """Each padding and offset to nothing, to 1, to half; of K and V together where their layouts are equal, as a target may
    demand."""
    if case.v == case.k:
        for simpler in _less_padded(case.k):
            yield _replace(case, k=simpler, v=simpler)
    for name in ("k", "v", "q", "out"):
        layout = getattr(case, name)
        if layout is not None:
            for simpler in _less_padded(layout):
                yield _replace(case, **{name: simpler})
    for simpler in _less_padded(case.table.layout):
        yield _replace(case, table=dataclasses.replace(case.table, layout=simpler))


def smaller_numbers(case: Case) -> Iterator[Case]:
    """Pool, table, window, q_len, layers and seed."""
    for name in ("first_block", "spare_blocks", "shared_blocks", "extra_columns"):
        for number in _smaller(getattr(case.table, name), 0):
            yield _replace(case, table=dataclasses.replace(case.table, **{name: number}))  # type: ignore[arg-type]  # all int
    for placement in ("identity", "reversed"):
        yield _replace(case, table=dataclasses.replace(case.table, placement=placement))
    for name in (option.field for option in all_options() if option.is_count and option.is_used(case)):
        for number in _smaller(getattr(case, name), 1):
            yield _replace(case, **{name: number})
    for number in _smaller(case.layers, 1):
        yield _replace(case, layers=number, layer=min(case.layer, number - 1))
    for number in _smaller(case.layer, 0):
        yield _replace(case, layer=number)
    for number in _smaller(case.seed, 0):
        yield _replace(case, seed=number)


def plainer_choices(case: Case) -> Iterator[Case]:
    for dtype in DTYPES:
        yield _replace(case, dtype=dtype)
    for option in all_options():
        for name, values in option.simpler.items() if option.is_used(case) else ():
            yield from (_replace(case, **{name: value}) for value in values)
    for data in ("gaussian", "uniform", "tagged"):
        yield _replace(case, data=data)


PASSES: tuple[Pass, ...] = (
    one_sequence,
    usual_suspects,
    plain_tensors,
    fewer_heads,
    smaller_rows,
    smaller_blocks,
    shorter_sequences,
    drop_features,
    simpler_caches,
    less_padding,
    smaller_numbers,
    plainer_choices,
)


def _replace(case: Case, **changes: object) -> Case:
    return dataclasses.replace(case, **changes)  # type: ignore[arg-type]  # fields differ in type


def _without_options(case: Case) -> Case:
    unused = {name: value for option in answer_options() for name, value in zip(option.fields, option.unused, strict=True)}
    return _replace(case, **unused)


def _smaller(number: int, low: int) -> list[int]:
    """Smaller values to try, boldest first: a bisection that also tries one less."""
    tries = [low, low + 1, low + 2, (low + number) // 2, number - (number - low) // 4, number - 1]
    return list(dict.fromkeys(n for n in tries if low <= n < number))


def _less_padded(layout: Layout) -> Iterator[Layout]:
    yield dataclasses.replace(layout, pad=(0,) * len(layout.order), offset=0)
    yield dataclasses.replace(layout, offset=0)
    for index, pad in enumerate(layout.pad):
        for smaller in _smaller(pad, 0) if pad > 0 else [0] * (pad < 0):
            yield dataclasses.replace(layout, pad=(*layout.pad[:index], smaller, *layout.pad[index + 1 :]))
    for offset in _smaller(layout.offset, 0):
        yield dataclasses.replace(layout, offset=offset)


def _without_axes(layout: Layout, *axes: str) -> Layout:
    kept = [(axis, pad) for axis, pad in zip(layout.order, layout.pad, strict=True) if axis not in axes]
    return Layout(tuple(axis for axis, _ in kept), tuple(pad for _, pad in kept), layout.offset)
