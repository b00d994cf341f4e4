"""Faults of addresses: strides rebuilt from shapes, taken from another tensor, or left out (classes S1-S6, B1 and I1)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from fuzz_decode.cases.case import Case
from fuzz_decode.diagnose.access_model import AccessModel, TensorView, replace
from fuzz_decode.diagnose.faults.fault import AXES, Fault, misplaced, together
from fuzz_decode.diagnose.memory import bytes_counted
from fuzz_decode.problems.problem import Problem

# (problem, the tensor's correct strides, its row length) -> a stride
Rule = Callable[[Case, tuple[int, ...], int], int]

BLOCK, SLOT, HEAD, DIM = range(4)
# name, axis, how the stride came about, in words, and as a function
CACHE_RULES: tuple[tuple[str, int, str, Rule], ...] = (
    ("block-stride-dense", BLOCK, "block_size * slot stride", lambda c, s, d: c.block_size * s[SLOT]),
    ("head-stride-dense", HEAD, "{row}, as in a dense NHD cache", lambda c, s, d: d),
    ("head-stride-dense-HND", HEAD, "block_size * {row}, as in a dense HND cache", lambda c, s, d: c.block_size * d),
    ("slot-stride-dense", SLOT, "num_kv_heads * {row}, as in a dense NHD cache", lambda c, s, d: c.num_kv_heads * d),
    ("slot-stride-dense-HND", SLOT, "{row}, as in a dense HND cache", lambda c, s, d: d),
    ("dim-stride-one", DIM, "contiguous rows", lambda c, s, d: 1),
    ("block-stride-of-shape", BLOCK, "block_size * num_kv_heads * {row}", lambda c, s, d: c.block_size * c.num_kv_heads * d),
    ("block-stride-of-heads", BLOCK, "num_kv_heads * head stride", lambda c, s, d: c.num_kv_heads * s[HEAD]),
    ("block-stride-truncated", BLOCK, "a whole number of slots", lambda c, s, d: s[BLOCK] // max(1, s[SLOT]) * s[SLOT]),
    (
        "block-stride-of-pair",
        BLOCK,
        "2 * block_size * num_kv_heads * {row}",
        lambda c, s, d: 2 * c.block_size * c.num_kv_heads * d,
    ),
    ("slot-stride-of-other-rows", SLOT, "num_kv_heads * {other}", lambda c, s, d: c.num_kv_heads * _other(c, d)),
    ("head-stride-of-other-rows", HEAD, "{other}", lambda c, s, d: _other(c, d)),
    ("slot-stride-of-heads", SLOT, "num_kv_heads * head stride", lambda c, s, d: c.num_kv_heads * s[HEAD]),
    ("head-stride-of-slots", HEAD, "block_size * slot stride", lambda c, s, d: c.block_size * s[SLOT]),
    ("head-stride-of-dims", HEAD, "{row} * dim stride", lambda c, s, d: d * s[DIM]),
    ("block-stride-ignored", BLOCK, "left out", lambda c, s, d: 0),
    ("slot-stride-ignored", SLOT, "left out", lambda c, s, d: 0),
    ("head-stride-ignored", HEAD, "left out", lambda c, s, d: 0),
)
OTHER_ROW = {"k": "value_head_dim", "v": "head_dim"}
ROW = {"q": "head_dim", "k": "head_dim", "v": "value_head_dim", "out": "value_head_dim"}


def _other(case: Case, row: int) -> int:
    """The length of the rows of the other cache."""
    return case.head_dim + case.value_head_dim - row


def cache_faults() -> Iterator[Fault]:
    """Of K alone, V alone, both."""
    for suffix, axis, why, rule in CACHE_RULES:
        yield from _of_both(suffix, *(_restrided(f"{tensor}-{suffix}", tensor, axis, why, rule) for tensor in ("k", "v")))
    for suffix, why, strides in WHOLE_CACHE:
        yield from _of_both(suffix, *(_replaced(f"{tensor}-{suffix}", tensor, why, strides) for tensor in ("k", "v")))
    yield from _exchanged()
    for bits in WRAPS:
        suffix = bits.replace(" ", "-")
        yield from _of_both(suffix, *(_wrapped(f"{tensor}-{suffix}", tensor, bits) for tensor in ("k", "v")))


def _of_both(suffix: str, k: Fault, v: Fault) -> Iterator[Fault]:
    yield from (k, v, _with_v_in_k(k), together(f"kv-{suffix}", k, v))


def _with_v_in_k(k: Fault) -> Fault:
    """A fault of K in a kernel that takes V from the rows of K that it has loaded, where V lies in them."""

    def change(problem: Problem, correct: AccessModel) -> AccessModel | None:
        faulty = k.change(problem, correct)
        if faulty is None or not problem.case.v_prefix_of_k:
            return faulty
        return replace(faulty, "addresses", v=faulty.addresses.k)

    return Fault(k.name, change, k.words)


def _dense_nhd(case: Case, strides: tuple[int, ...], row: int) -> tuple[int, ...]:
    return case.block_size * case.num_kv_heads * row, case.num_kv_heads * row, row, 1


def _dense_hnd(case: Case, strides: tuple[int, ...], row: int) -> tuple[int, ...]:
    return case.block_size * case.num_kv_heads * row, row, case.block_size * row, 1


def _swapped(case: Case, strides: tuple[int, ...], row: int) -> tuple[int, ...]:
    return strides[BLOCK], strides[HEAD], strides[SLOT], strides[DIM]


def _slot_rows(case: Case, strides: tuple[int, ...], row: int) -> tuple[int, ...]:
    """A pool of token slots, each slot's heads side by side."""
    return case.block_size * strides[SLOT], strides[SLOT], row, 1


UNITS = {"int32": "", "bytes": " in bytes", "floats": " in bytes of float32"}
WRAPS = tuple(f"{what} int32{unit}" for unit in ("", " bytes", " floats") for what in ("block-offset", "address"))

WHOLE_CACHE = (
    ("strides-dense", "a dense NHD cache", _dense_nhd),
    ("strides-dense-HND", "a dense HND cache", _dense_hnd),
    ("slot-and-head-stride-swapped", "slot and head stride swapped", _swapped),
    ("strides-of-slots", "a pool of slots with heads side by side", _slot_rows),
)


def _exchanged() -> Iterator[Fault]:
    """V read at the address or with the strides of K, and the other way round."""
    for tensor, other in (("v", "k"), ("k", "v")):
        whose = f"{other.upper()}'s"
        yield misplaced(f"{tensor}-uses-{other}-strides", tensor, f"{whose} strides", _borrowed(tensor, other, strides=range(4)))
        for axis, name in enumerate(AXES["k"]):
            why = f"{whose} {name} stride"
            yield misplaced(f"{tensor}-uses-{other}-{name}-stride", tensor, why, _borrowed(tensor, other, strides=(axis,)))
        yield misplaced(
            f"{tensor}-uses-{other}-start", tensor, f"where {other.upper()} starts", _borrowed(tensor, other, start=True)
        )
        why = f"{other.upper()} instead"
        yield misplaced(f"{tensor}-is-{other}", tensor, why, _borrowed(tensor, other, strides=range(4), start=True))
        yield misplaced(f"{tensor}-offset-ignored", tensor, "where its memory starts", _from_start(tensor))
    yield misplaced("v-start-after-k", "v", "right behind a block of K", _behind_k)
    why = "K's rows, as in MLA, where head_dim is larger than value_head_dim"
    yield misplaced("v-from-k-rows", "v", why, _prefix_of_k)


def _prefix_of_k(problem: Problem, correct: AccessModel) -> TensorView | None:
    return correct.addresses.k if problem.case.head_dim > problem.case.value_head_dim else None


def _behind_k(problem: Problem, correct: AccessModel) -> TensorView | None:
    """V right behind K's part of a block, if both are in one buffer."""
    case, k, v = problem.case, correct.addresses.k, correct.addresses.v
    after = k.offset + case.block_size * case.num_kv_heads * case.head_dim
    return dataclasses.replace(v, offset=after) if v.buffer == k.buffer else None


def query_faults() -> Iterator[Fault]:
    """Of q and out."""
    for tensor, other in (("q", "out"), ("out", "q")):
        row = ROW[tensor]
        rules: tuple[tuple[str, int, str, Rule], ...] = (
            ("row-stride-dense", 0, f"num_q_heads * {row}", lambda c, s, d: c.num_q_heads * d),
            ("head-stride-dense", 1, row, lambda c, s, d: d),
            ("dim-stride-one", 2, "contiguous rows", lambda c, s, d: 1),
            ("row-stride-of-heads", 0, "num_q_heads * head stride", lambda c, s, d: c.num_q_heads * s[1]),
            ("row-stride-ignored", 0, "left out", lambda c, s, d: 0),
            ("head-stride-ignored", 1, "left out", lambda c, s, d: 0),
            (
                "head-stride-of-head-dim",
                1,
                f"{ROW[other]}",
                lambda c, s, d: _other(c, d),
            ),
        )
        for suffix, axis, why, rule in rules:
            yield _restrided(f"{tensor}-{suffix}", tensor, axis, why, rule)
        yield _replaced(f"{tensor}-strides-dense", tensor, "contiguous", lambda c, s, d: (c.num_q_heads * d, d, 1))
        yield _replaced(f"{tensor}-strides-swapped", tensor, "row and head stride swapped", lambda c, s, d: (s[1], s[0], s[2]))
        yield _replaced(f"{tensor}-head-major", tensor, "heads outermost", lambda c, s, d: (d, c.num_rows * d, 1))
        yield misplaced(
            f"{tensor}-uses-{other}-strides", tensor, f"{other}'s strides", _borrowed(tensor, other, strides=range(3))
        )
        for axis, name in enumerate(AXES[tensor]):
            why = f"{other}'s {name} stride"
            yield misplaced(f"{tensor}-uses-{other}-{name}-stride", tensor, why, _borrowed(tensor, other, strides=(axis,)))
        yield misplaced(f"{tensor}-offset-ignored", tensor, "where its memory starts", _from_start(tensor))


def table_faults() -> Iterator[Fault]:
    rules: tuple[tuple[str, int, str, Rule], ...] = (
        (
            "table-row-stride-needed-width",
            0,
            "the blocks that the longest sequence needs",
            lambda c, s, d: c.table_width - c.table.extra_columns,
        ),
        ("table-row-stride-width", 0, "its width", lambda c, s, d: c.table_width),
        ("table-column-stride-one", 1, "contiguous rows", lambda c, s, d: 1),
        ("table-row-stride-longest", 0, "the longest sequence", lambda c, s, d: max(c.seq_lens)),
        ("table-row-stride-pool", 0, "the number of blocks", lambda c, s, d: c.num_blocks),
        ("table-row-stride-ignored", 0, "left out", lambda c, s, d: 0),
    )
    for name, axis, why, rule in rules:
        yield _restrided(name, "table", axis, why, rule)
    yield _replaced("table-strides-swapped", "table", "row and column stride swapped", lambda c, s, d: (s[1], s[0]))
    yield _replaced("table-strides-dense", "table", "contiguous", lambda c, s, d: (c.table_width, 1))
    yield _replaced("table-transposed", "table", "contiguous columns", lambda c, s, d: (1, c.num_seqs))
    yield misplaced("table-offset-ignored", "table", "where its memory starts", _from_start("table"))


def _row_of(tensor: str, case: Case) -> int:
    return case.head_dim if ROW.get(tensor) == "head_dim" else case.value_head_dim


def _restrided(name: str, tensor: str, axis: int, why: str, rule: Rule) -> Fault:
    def move(problem: Problem, correct: AccessModel) -> TensorView:
        view: TensorView = getattr(correct.addresses, tensor)
        stride = rule(problem.case, view.strides, _row_of(tensor, problem.case))
        return dataclasses.replace(view, strides=(*view.strides[:axis], stride, *view.strides[axis + 1 :]))

    return misplaced(name, tensor, why.format(row=ROW.get(tensor, ""), other=OTHER_ROW.get(tensor, "")), move)


def _replaced(name: str, tensor: str, why: str, strides: Callable[[Case, tuple[int, ...], int], tuple[int, ...]]) -> Fault:
    def move(problem: Problem, correct: AccessModel) -> TensorView:
        view: TensorView = getattr(correct.addresses, tensor)
        return dataclasses.replace(view, strides=strides(problem.case, view.strides, _row_of(tensor, problem.case)))

    return misplaced(name, tensor, why, move)


def _borrowed(
    tensor: str, other: str, strides: range | tuple[int, ...] = (), start: bool = False
) -> Callable[[Problem, AccessModel], TensorView]:
    def move(problem: Problem, correct: AccessModel) -> TensorView:
        view, source = getattr(correct.addresses, tensor), getattr(correct.addresses, other)
        taken = tuple(source.strides[axis] if axis in strides else stride for axis, stride in enumerate(view.strides))
        if start:
            return TensorView(source.buffer, source.offset, taken)
        return TensorView(view.buffer, view.offset, taken)

    return move


def _from_start(tensor: str) -> Callable[[Problem, AccessModel], TensorView | None]:
    def move(problem: Problem, correct: AccessModel) -> TensorView | None:
        view: TensorView = getattr(correct.addresses, tensor)
        buffer = problem.buffers.get(view.buffer)
        return None if buffer is None else dataclasses.replace(view, offset=buffer.guard)

    return move


def _wrapped(name: str, tensor: str, bits: str) -> Fault:
    """The offset of a block or of an element, computed in 32 bits."""

    def change(problem: Problem, correct: AccessModel) -> AccessModel | None:
        view: TensorView = getattr(correct.addresses, tensor)
        far = _first_beyond(problem, view, bits) is not None
        return replace(correct, "addresses", **{tensor: dataclasses.replace(view, bits=bits)}) if far else None

    def words(problem: Problem, correct: AccessModel, faulty: AccessModel) -> str:
        view: TensorView = getattr(correct.addresses, tensor)
        block, unit = _first_beyond(problem, view, bits), UNITS[bits.split()[-1]]
        what = "addresses" if bits.startswith("address") else "block id * block stride"
        return f"{what} of {tensor.upper()} computed in 32 bits{unit}: block {block} * {view.strides[BLOCK]} wraps"

    return Fault(name, change, words)


def _first_beyond(problem: Problem, view: TensorView, bits: str) -> int | None:
    """The first block in use whose offset exceeds 32 bits."""
    limit, size = 2**31 // bytes_counted(bits, problem), problem.case.block_size * abs(view.strides[SLOT])
    slots = size if bits.startswith("address") else 0
    return next((block for block in problem.case.blocks() if block * abs(view.strides[BLOCK]) + slots >= limit), None)
