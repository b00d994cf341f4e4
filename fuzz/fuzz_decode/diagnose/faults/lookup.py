"""Faults of lookup: which block, head, or row of the batch is read (classes B1, P1, G1)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial

from fuzz_decode.cases.case import Case
from fuzz_decode.diagnose.access_model import AccessModel, replace
from fuzz_decode.diagnose.faults.fault import Fault, simple
from fuzz_decode.diagnose.faults.visibility import resized
from fuzz_decode.diagnose.memory import BLOCK_IDS
from fuzz_decode.problems.problem import Problem

TILES = (16, 32, 64, 128)
HEAD_TILES = (16, 32, 64)

BLOCK_ID_WORDS = {
    "& 0xFFFF": ("block-id-16-bits", "block ids are cut to their low 16 bits"),
    "int16": ("block-id-int16", "block ids are cut to signed 16-bit numbers"),
    "& 0xFF": ("block-id-8-bits", "block ids are cut to their low 8 bits"),
    "next block": ("block-id-plus-one", "the block after the one in the table is read"),
    "previous block": ("block-id-minus-one", "the block before the one in the table is read"),
    "column": ("table-ignored", "the block table is ignored: the block of a token is its number within the sequence"),
    "row and column": ("table-ignored-dense", "the block table is ignored: blocks are numbered by row and column"),
}


def table_use() -> Iterator[Fault]:
    """How a token's block and slot are found."""
    for transform, (name, words) in BLOCK_ID_WORDS.items():
        yield simple(name, words, _transformed(transform))
    yield simple(
        "table-by-token", "the block table is indexed by token, not by block", lambda p, r: replace(r, "lookup", column_tokens=1)
    )
    for limit in (1, 2, 4, 8, 16, 32, 64, 128):
        words = f"blocks after number {limit} of a sequence are taken to be that one"
        yield simple(f"table-beyond-{limit}", words, _set("last_column", limit - 1))
    for filled in (1, 2, 4, 8, 16, 32, 64):
        words = f"entries of the block table from column {filled} on are read as 0"
        yield simple(f"table-entries-from-{filled}-are-0", words, _set("filled_columns", filled))
    words = "only the first entry of a table row is read, and the blocks are taken to follow it"
    yield simple("blocks-consecutive", words, lambda p, r: replace(r, "lookup", last_column=0, block_id="consecutive"))
    for tile in TILES:
        yield simple(f"tile-{tile}-straddles-block", f"one block id serves a tile of {tile} tokens", _set("tile", tile))
        yield simple(f"v-tile-{tile}-straddles-block", f"one block id serves V of a tile of {tile} tokens", _set("v_tile", tile))
    for slots in (16, 32, 64, 128):
        words = f"slots within a block are counted modulo {slots}"
        yield simple(f"slots-modulo-{slots}", words, _beyond("slots_modulo", slots))
        words = f"V beyond slot {slots - 1} of a block is taken to be 0"
        yield simple(f"v-slots-from-{slots}-dropped", words, _beyond("v_slots", slots))
    yield from _packings()
    yield simple("token-modulo-16", "a token's slot is its number modulo 16", _set("block_size", 16))
    yield simple("table-column-of-16", "a table column is taken to hold 16 tokens", _set("column_tokens", 16))
    for name, words, size in (
        ("block-size-power-of-two", "the next power of two", lambda n: _power_above(n)),
        ("block-size-power-of-two-below", "the power of two below it", lambda n: _power_above(n + 1) // 2),
        ("block-size-16", "16", lambda n: 16),
        ("block-size-one", "1", lambda n: 1),
    ):
        yield _block_size(name, words, size)


def _packings() -> Iterator[Fault]:
    """K packed as [blocks, heads, dim / x, slots, x] and unpacked with another x: 16 bytes of some dtype, 1 or a whole row."""
    for stored, read in itertools.permutations((1, 4, 8, 16, 0), 2):
        name = f"k-packed-by-{stored or 'row'}-read-by-{read or 'row'}"
        written, taken = (length or "head_dim" for length in (stored, read))
        words = f"K, packed as [blocks, heads, dim / x, slots, x] with x = {written}, is read with x = {taken}"
        yield simple(name, words, _repacked(stored, read))


def _repacked(stored: int, read: int) -> Callable[[Problem, AccessModel], AccessModel | None]:
    """0 stands for whole rows. Only where rows consist of whole parts of both lengths, and something lies elsewhere."""

    def change(problem: Problem, model: AccessModel) -> AccessModel | None:
        case = problem.case
        lengths = (stored or case.head_dim, read or case.head_dim)
        if case.block_size == 1 or len(set(lengths)) == 1 or any(case.head_dim % length for length in lengths):
            return None
        return replace(model, "lookup", k_packing=lengths)

    return change


def heads() -> Iterator[Fault]:
    """Which KV head a query head reads."""
    for name, words, rule in (
        ("gqa-modulo", "h % num_kv_heads", lambda c, h: h % c.num_kv_heads),
        ("kv-head-zero", "0", lambda c, h: 0),
        ("kv-head-by-count", "h // num_kv_heads", lambda c, h: min(h // c.num_kv_heads, c.num_kv_heads - 1)),
        ("kv-head-is-q-head", "min(h, num_kv_heads - 1)", lambda c, h: min(h, c.num_kv_heads - 1)),
        ("kv-head-power-of-two", "h // (power of two >= group)", lambda c, h: h // _power_above(c.group)),
        (
            "kv-head-tiles-of-16",
            "h // (group rounded up to tiles of 16, where it exceeds 16)",
            lambda c, h: h // (-(-c.group // 16) * 16 if c.group > 16 else c.group),
        ),
        *_heads_in_tiles(),
        (
            "kv-head-power-of-two-below",
            "h // (power of two <= group)",
            lambda c, h: min(h // (_power_above(c.group + 1) // 2), c.num_kv_heads - 1),
        ),
        ("kv-head-next", "h // group + 1", lambda c, h: (h // c.group + 1) % c.num_kv_heads),
        ("kv-head-reversed", "num_kv_heads - 1 - h // group", lambda c, h: c.num_kv_heads - 1 - h // c.group),
        ("kv-head-last", "num_kv_heads - 1", lambda c, h: c.num_kv_heads - 1),
    ):
        for prefix, which, fields in (
            ("", "KV head", ("k_head", "v_head")),
            ("k-", "K of KV head", ("k_head",)),
            ("v-", "V of KV head", ("v_head",)),
        ):
            text = f"query head h reads {which} {words} instead of h // group"
            yield simple(prefix + name, text, _heads(rule, fields))


def _heads_in_tiles() -> Iterator[tuple[str, str, Callable[[Case, int], int]]]:
    """Programs that take tiles of query heads, with one KV head each; a group that fits into a tile has one of its own."""
    for tile in HEAD_TILES:
        words = f"h // {tile} * {tile} // group (that of the first head of its tile of {tile}, in groups beyond {tile})"
        yield f"kv-head-of-tile-of-{tile}", words, partial(_of_first_in_tile, tile)
        words = f"h // {tile} (the number of its tile of {tile}, in groups beyond {tile})"
        yield f"kv-head-is-tile-of-{tile}", words, partial(_number_of_tile, tile)


def _of_first_in_tile(tile: int, case: Case, head: int) -> int:
    return (head // tile * tile if case.group > tile else head) // case.group


def _number_of_tile(tile: int, case: Case, head: int) -> int:
    return head // min(tile, case.group)


def query_heads() -> Iterator[Fault]:
    """Which head of q a row of out is made of."""
    for name, words, rule in (
        (
            "q-head-beyond-8",
            "after the eighth of a group repeat the first ones",
            lambda c, h: h // c.group * c.group + h % c.group % 8,
        ),
        (
            "q-head-beyond-16",
            "after the 16th of a group repeat the first ones",
            lambda c, h: h // c.group * c.group + h % c.group % 16,
        ),
        ("q-head-of-kv-head", "are read at the number of their KV head", lambda c, h: h // c.group),
        ("q-head-zero", "are all read as the first one", lambda c, h: 0),
        (
            "q-heads-transposed",
            "are read in the order of swapped group and KV head",
            lambda c, h: h % c.group * c.num_kv_heads + h // c.group,
        ),
    ):
        yield simple(name, f"query heads {words}", _heads(rule, ("q_head",)))


def rows() -> Iterator[Fault]:
    """Which row of the batch a sequence uses."""
    for suffix, words, rule in (
        ("row-zero", "of sequence 0", lambda n, seq: 0),
        ("next-row", "of the next sequence", lambda n, seq: (seq + 1) % n),
        ("previous-row", "of the sequence before", lambda n, seq: (seq - 1) % n),
        ("last-row", "of the last sequence", lambda n, seq: n - 1),
        ("reversed-rows", "of the sequences in reverse", lambda n, seq: n - 1 - seq),
    ):
        yield simple(f"seq-len-{suffix}", f"each sequence uses the length {words}", _lengths_of(rule))
        yield simple(f"table-{suffix}", f"each sequence uses the block table row {words}", _tables_of(rule))
        yield simple(f"q-{suffix}", f"each sequence uses the q {words}", _queries_of(rule))
        yield simple(f"cache-{suffix}", f"each sequence uses the block table row and length {words}", _both(rule))
    yield simple("seq-len-longest", "each sequence uses the longest one's length", resized(lambda c, n: max(c.seq_lens)))
    yield simple("seq-len-shortest", "each sequence uses the shortest one's length", resized(lambda c, n: min(c.seq_lens)))


def _transformed(name: str) -> Callable[[Problem, AccessModel], AccessModel]:
    assert name in BLOCK_IDS
    return lambda problem, model: replace(model, "lookup", block_id=name)


def _set(field: str, value: int) -> Callable[[Problem, AccessModel], AccessModel]:
    return lambda problem, model: replace(model, "lookup", **{field: value})


def _beyond(field: str, slots: int) -> Callable[[Problem, AccessModel], AccessModel | None]:
    """Only where a block has more slots: elsewhere nothing changes."""
    return lambda problem, model: _set(field, slots)(problem, model) if problem.case.block_size > slots else None


def _block_size(name: str, words: str, size: Callable[[int], int]) -> Fault:
    def change(problem: Problem, model: AccessModel) -> AccessModel:
        taken = size(problem.case.block_size)
        return replace(model, "lookup", block_size=taken, column_tokens=taken)

    return simple(name, f"block_size taken to be {words}", change)


def _heads(rule: Callable[[Case, int], int], fields: tuple[str, ...]) -> Callable[[Problem, AccessModel], AccessModel]:
    def change(problem: Problem, model: AccessModel) -> AccessModel:
        read = tuple(rule(problem.case, head) for head in range(problem.case.num_q_heads))
        return replace(model, "lookup", **dict.fromkeys(fields, read))

    return change


def _tables_of(rule: Callable[[int, int], int]) -> Callable[[Problem, AccessModel], AccessModel]:
    def change(problem: Problem, model: AccessModel) -> AccessModel:
        case = problem.case
        return replace(model, "lookup", table_row=tuple(rule(case.num_seqs, row // case.q_len) for row in range(case.num_rows)))

    return change


def _queries_of(rule: Callable[[int, int], int]) -> Callable[[Problem, AccessModel], AccessModel]:
    def change(problem: Problem, model: AccessModel) -> AccessModel:
        case, n = problem.case, problem.case.q_len
        used = tuple(rule(case.num_seqs, row // n) * n + row % n for row in range(case.num_rows))
        return replace(model, "lookup", q_row=used)

    return change


def _lengths_of(rule: Callable[[int, int], int]) -> Callable[[Problem, AccessModel], AccessModel]:
    return resized(lambda case, seq: case.seq_lens[rule(case.num_seqs, seq)])


def _both(rule: Callable[[int, int], int]) -> Callable[[Problem, AccessModel], AccessModel]:
    return lambda problem, model: _lengths_of(rule)(problem, _tables_of(rule)(problem, model))


def _power_above(number: int) -> int:
    """The smallest power of two that is not below the number."""
    return 1 << max(0, number - 1).bit_length()
