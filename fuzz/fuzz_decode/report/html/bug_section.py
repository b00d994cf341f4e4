"""One bug on the page."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from fuzz_decode.campaign.triage import Triaged
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.report.facts import (
    call_facts,
    case_facts,
    headline,
    message,
    message_details,
    required_features,
    tensor_facts,
    with_the_default,
    worst_index,
    worst_numbers,
)
from fuzz_decode.report.html.elements import Child, el, table
from fuzz_decode.report.html.memory_svg import memory_svg
from fuzz_decode.report.memory_map import MemoryMap, memory_maps, tells_of_memory, why_no_map
from fuzz_decode.report.terminal.triage import repro, title


def bug_section(number: int, triaged: Triaged) -> Element:
    """One bug: the fault, the memory that the kernel reads, the case, and the command that reproduces it."""
    entry = triaged.entry
    reason = f": {triaged.reason}" if triaged.reason else ""
    parts: list[Child] = [
        el("h2", {}, f"{number}. {headline(entry)}"),
        el("p", {"class": "bad" if triaged.failing else "good"}, title(triaged) + reason),
        el("p", {}, entry.note) if entry.note else None,
        el("p", {}, message(entry)) if entry.diagnosis else None,
        el("pre", {}, message_details(entry)) if message_details(entry) else None,
        _worst(triaged),
        el("div", {"class": "sides"}, *_sides(triaged)),
        el("h3", {}, "Reproduce"),
        el("pre", {"class": "command"}, *_unbroken(repro(triaged))),
        el("p", {"class": "faint"}, "the same bug: " + ", ".join(map(str, triaged.others))) if triaged.others else None,
    ]
    return el("section", {"id": f"bug-{number}"}, *parts)


def _unbroken(command: str) -> list[Child]:
    """Its words, none of which is broken where a line ends, as browsers do after a hyphen."""
    first, *words = command.split(" ")
    return [el("span", {}, first), *(part for word in words for part in (" ", el("span", {}, word)))]


def _worst(triaged: Triaged) -> Element | None:
    index = worst_index(triaged.entry)
    numbers = ", ".join(f"{word} {'±' * (word == 'allowed')}{number}" for word, number in worst_numbers(triaged.entry).items())
    return el("p", {}, el("code", {}, index), f" {numbers}") if index else None


def _sides(triaged: Triaged) -> list[Child]:
    """The memory beside the case; without it, the strides beside the rest."""
    memory, required = _memory(triaged), _required(triaged.entry)
    strides, case = _strides_table(triaged), _case(triaged.entry)
    if memory:
        return [el("div", {}, *memory, *required), el("div", {"class": "facts"}, *strides, *case)]
    return [el("div", {"class": "facts"}, *strides), el("div", {}, *case, *required)]


def _memory(triaged: Triaged) -> list[Child]:
    if triaged.trace is None or not tells_of_memory(triaged.entry, triaged.trace):
        return []
    maps = memory_maps(triaged.entry.case, triaged.trace)
    parts: list[Child] = [el("p", {"class": "faint"}, why) for why in why_no_map(triaged.trace, maps)]
    for memory in maps:
        parts += [el("h3", {}, f"Memory of {memory.tensors}"), memory_svg(memory)]
        parts.append(el("p", {"class": "faint"}, f"by address, for {memory.whose}{_key(memory)}"))
    return parts


def _key(memory: MemoryMap) -> str:
    """The meaning of dashed frames, if there are any."""
    kinds = {"between rows" if cell.kind == "padding" else "unreferenced" for cell in memory.cells if not cell.holds}
    poison = memory.unused and f", {memory.unused}"
    return f"; dashed: {' or '.join(sorted(kinds, reverse=True))}{poison}" if kinds else ""


def _strides_table(triaged: Triaged) -> list[Child]:
    entry = triaged.entry
    used = triaged.trace.strides if triaged.trace else {}
    rows: list[tuple[Child, ...]] = []
    for facts in tensor_facts(entry.case):
        wrong = used.get(facts.name)
        name = el("span", {"class": "wrong-stride"}, facts.name) if wrong else facts.name
        rows.append((name, str(list(facts.shape)), _strides(facts.strides, wrong), facts.layout))
    return [el("h3", {}, "Strides"), table(("tensor", "shape", "strides", "layout"), rows)]


def _case(entry: Entry) -> list[Child]:
    parts: list[Child] = [el("h3", {}, "Case"), table(("", ""), [(name, value) for name, value in case_facts(entry.case)])]
    if entry.before:
        parts += [el("h3", {}, "Requires the calls before it"), *(el("p", {}, facts) for facts in call_facts(entry))]
    return parts


def _required(entry: Entry) -> list[Child]:
    required: list[tuple[Child, ...]] = [(name, with_the_default(verdict)) for name, verdict in required_features(entry)]
    return [el("h3", {}, "Required"), table(("feature", "otherwise"), required)] if required else []


def _strides(passed: tuple[int, ...], used: tuple[int, ...] | None) -> Element:
    if used is None:
        return el("span", {}, str(passed))
    parts: list[Child] = []
    for right, number in zip(passed, used, strict=True):
        shown = el("span", {"class": "wrong-stride"}, str(number)) if right != number else str(number)
        parts += [", " if parts else None, shown]
    return el("span", {}, str(passed), el("br"), "kernel uses (", *parts, ")")
