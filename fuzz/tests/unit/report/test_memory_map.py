"""A memory map names every row of a buffer by its address, and says what should be read and what is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from rich.console import Console

from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.layout import FAMILIES, Layout
from fuzz_decode.cases.validity import validate
from fuzz_decode.diagnose import TraceRequest
from fuzz_decode.diagnose.access_trace import trace
from fuzz_decode.generate.draw_case import decode_cases
from fuzz_decode.report.memory_map import EXPECTED, RIGHT, SHOWN_ROWS, WRONG, MemoryMap, memory_maps, why_no_map
from fuzz_decode.report.memory_rows import BUFFERS, LAYOUT_OF, Rows
from fuzz_decode.report.terminal.memory_map import memory_text

INTERLEAVED = Case(k=Layout(FAMILIES["interleaved"]), v=None, table=BlockTable(first_block=1))
some = settings(max_examples=40, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])


def maps(case: Case, fault: str) -> tuple[MemoryMap, ...]:
    return memory_maps(case, trace(TraceRequest(case, fault)))


def marks(memory: MemoryMap) -> dict[int, list[str]]:
    return {cell.start: [mark.kind for mark in cell.marks] for cell in memory.cells if cell.marks}


def rendered(memory: MemoryMap, width: int = 76) -> str:
    console = Console(width=width, no_color=True, force_terminal=False, highlight=False)
    with console.capture() as capture:
        console.print(memory_text(memory))
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def test_the_aiter_bug_is_seen_at_a_glance() -> None:
    (memory,) = maps(INTERLEAVED, "k-block-stride-dense")

    assert (
        rendered(memory)
        == """\
memory of k_cache and v_cache by address, for sequence 0, q head 0
 0 ▒▒ K block 0: unreferenced
16 ▒▒ V block 0: unreferenced ✗ is read as K of token 0

32 ██ K block 1: token 0      ◄ should be read as K of token 0
48 ██ V block 1: token 0      ✓ read as V of token 0
█ in use   ▒ unreferenced: NaN"""
    )


def test_only_buffers_in_which_something_is_wrong_are_shown() -> None:
    case = Case((1, 2), table=BlockTable(extra_columns=1))

    assert [memory.tensors for memory in maps(case, "table-row-stride-needed-width")] == ["block_table", "k_cache", "v_cache"]
    assert [memory.tensors for memory in maps(Case(block_size=2), "tail-v-unmasked")] == ["v_cache"]


def test_wrong_arithmetic_on_the_right_numbers_has_no_map() -> None:
    found = trace(TraceRequest(Case(), "lse-base-2"))

    assert memory_maps(Case(), found) == ()
    assert why_no_map(found, ()) == ["every address is right: the fault is in the computation"]


def test_where_the_fault_is_unknown_only_what_should_be_read_is_marked() -> None:
    found = trace(TraceRequest(Case(), ""))
    shown = memory_maps(Case(), found)

    assert why_no_map(found, shown) == ["the addresses that are read instead are not known"]
    assert [marks(memory) for memory in shown] == [{0: [EXPECTED]}, {0: [EXPECTED]}]


def test_what_a_kernel_was_seen_to_read_is_shown_for_all_rows() -> None:
    found = replace(trace(TraceRequest(INTERLEAVED, "")), reads={"k": ((16, 32), (48, 64))})
    (memory,) = memory_maps(INTERLEAVED, found)

    assert (memory.whose, why_no_map(found, (memory,))) == ("all rows", [])
    assert marks(memory) == {16: [WRONG], 32: [EXPECTED], 48: [RIGHT]}


def test_a_kernel_that_was_seen_to_read_the_right_rows_has_no_map() -> None:
    found = replace(trace(TraceRequest(INTERLEAVED, "")), reads={"k": ((32, 64),)})

    assert memory_maps(INTERLEAVED, found) == ()
    assert why_no_map(found, ())[0].startswith("all expected rows are read, and no others, by all query heads together")


def test_a_large_pool_is_shown_around_what_is_wrong() -> None:
    case = replace(INTERLEAVED, seq_lens=(40,), table=BlockTable(first_block=1, spare_blocks=10**6))
    (memory,) = maps(case, "k-block-stride-dense")

    assert len(memory.cells) < 4 * SHOWN_ROWS
    assert memory.more > 0
    assert "more rows like these" in rendered(memory)
    assert {kind for kinds in marks(memory).values() for kind in kinds} <= {EXPECTED, WRONG, RIGHT}


def test_what_lies_outside_is_shown_too() -> None:
    case = validate(Case(k=Layout(("dim", "slot", "head", "block")), table=BlockTable(first_block=20)))
    memory = maps(case, "k-block-stride-dense")[0]

    assert [cell.name for cell in memory.cells if cell.marks] == ["", "beyond the allocation"]


def test_padding_and_layers_are_named() -> None:
    order = ("layer", "block", "slot", "head", "dim")
    case = validate(Case(block_size=2, k=Layout(order, (0, 0, 3, 0, 0)), v=Layout(FAMILIES["NHD"]), layers=2, layer=1))

    assert [(cell.kind, cell.name, cell.holds) for cell in Rows.of(case, "k").all()] == [
        ("K", "layer 0 block 0 slot 0", ""),
        ("padding", "padding", ""),
        ("K", "layer 0 block 0 slot 1", ""),
        ("padding", "padding", ""),
        ("K", "layer 1 block 0 slot 0", "token 0"),
        ("padding", "padding", ""),
        ("K", "layer 1 block 0 slot 1", ""),
        ("padding", "padding", ""),
    ]


@pytest.mark.parametrize("name", BUFFERS)
@some
@given(case=decode_cases(max_seq_len=60))
def test_every_element_is_in_one_cell(name: str, case: Case) -> None:
    if LAYOUT_OF.get(name, name) not in case.layouts():
        return
    rows = Rows.of(case, name)
    for address in {0, rows.extent // 3, rows.extent // 2, rows.extent - 1}:
        cell = rows.at(address)
        assert cell.start <= address < cell.end
        assert rows.at(cell.start) == rows.at(cell.end - 1) == cell
    if rows.is_small:
        cells = list(rows.all())
        assert [cell.start for cell in cells] == [0, *(cell.end for cell in cells[:-1])]
        assert cells[-1].end == rows.extent


@some
@given(case=decode_cases(max_seq_len=60, huge_spans=False))
def test_a_row_is_found_by_its_address(case: Case) -> None:
    """What should be read for a row is in cells that hold a token of its sequence."""
    found = trace(TraceRequest(case))
    for access in found.wanted:
        if access.tensor in ("k", "v"):
            cell = Rows.of(case, access.buffer).at(access.address)
            assert cell.holds
            assert cell.kind in ("K", "V", "K, V")
