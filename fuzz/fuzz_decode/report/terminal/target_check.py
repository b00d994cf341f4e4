"""A check of a target on the terminal: its declaration, a line for each probe, the first failure, and the next command."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fuzz_decode.campaign.make_entry import raw_entry
from fuzz_decode.campaign.smoke_test import Answer, Suggestion
from fuzz_decode.cases.domain import FINITE_PLACES
from fuzz_decode.outcome import Status
from fuzz_decode.report.terminal.finding import clean, show_panel
from fuzz_decode.report.terminal.header import show_header
from fuzz_decode.targets.description import Description
from fuzz_decode.workers.engines import NATIVE, EngineChoice
from fuzz_decode.workers.protocol import WorkerConfig, WorkerInfo

VERDICTS = {Status.PASSED: ("passes", "green"), Status.REJECTED: ("is rejected", "yellow"), Status.FAILED: ("FAILS", "bold red")}


def show_check(console: Console, plan: WorkerConfig, events: Iterable[WorkerInfo | Answer | Suggestion]) -> bool:
    """Print a check while it runs; True if a probe failed."""
    statuses: list[str] = []
    for event in events:
        if isinstance(event, WorkerInfo):
            _show_declaration(console, plan, event)
            continue
        if isinstance(event, Suggestion):
            _show_suggestion(console, event)
            continue
        _show_answer(console, event)
        if event.outcome.findings and Status.FAILED not in statuses:
            show_panel(console, raw_entry(plan, (event.probe.case,), event.outcome, {}), event.outcome.signature)
        statuses.append(event.outcome.status)
    _show_next(console, plan, statuses)
    return Status.FAILED in statuses


def _show_declaration(console: Console, plan: WorkerConfig, ready: WorkerInfo) -> None:
    show_header(console, plan, ready)
    for title, rows in _sections(ready.description):
        console.print(Text(f"\n{title}", "dim"))
        console.print(_grid(rows))
    console.print()


def _sections(description: Description) -> Iterator[tuple[str, Sequence[tuple[str, ...]]]]:
    yield "passed by position", description.arguments
    if description.options:
        yield "passed by keyword", description.options
    if description.never_passed:
        yield "never passed", [(name, "keeps its default") for name in description.never_passed]
    yield "returned", [("out, or (out, lse)", "lse: natural log, float32 [num_seqs * q_len, num_q_heads]")]
    if description.limits:
        yield "declared limits, and cases that are therefore never generated", description.limits
    yield "declared arithmetic", [(phrase,) for phrase in description.arithmetic]
    yield "on a GPU, one kernel is compiled for each", [(description.compiled_for,)]


def _grid(rows: Sequence[tuple[str, ...]]) -> Padding:
    table = Table.grid(padding=(0, 2))
    for row in rows:
        table.add_row(*map(clean, row))
    return Padding(table, (0, 0, 0, 2), expand=False)


def _show_answer(console: Console, answer: Answer) -> None:
    probe, outcome = answer.probe, answer.outcome
    verdict, style = VERDICTS[outcome.status]
    reason = outcome.signature or outcome.reason
    words = f"{probe.question}: {probe.setting}"
    console.print(Text.assemble((f"{verdict:<13}", style), words, clean(reason and f" - {reason}", style)), soft_wrap=True)


def _show_suggestion(console: Console, suggestion: Suggestion) -> None:
    """The declaration to paste."""
    places = suggestion.needs_finite
    words = " and ".join(FINITE_PLACES[place] for place in places)
    console.print(f"\nmore passes if {words} hold finite numbers, not NaN; mask what is read there, or declare", soft_wrap=True)
    console.print(clean(f"  @fuzz_decode.target(needs_finite={places!r})", "bold"), soft_wrap=True)
    console.print(clean(f"  --needs-finite {','.join(places)}", "bold"), soft_wrap=True)


def _show_next(console: Console, plan: WorkerConfig, statuses: list[str]) -> None:
    failed = statuses.count(Status.FAILED)
    engine = " --engine native" if plan.engine == EngineChoice(NATIVE) else ""
    run = f"fuzz-decode --iters 300 --target {shlex.quote(plan.target)} --device {plan.device}{engine}"
    if failed:
        verdict, command = f"{failed} of {len(statuses)} fail; find and minimize the failure with", f"{run} --stop-after 1"
    elif Status.PASSED not in statuses:
        verdict, command = "nothing ran: every case was rejected; see the cases that a campaign draws with", run
    else:
        verdict, command = "nothing fails; fuzz the target with", run
    console.print(f"\n{verdict}")
    console.print(clean(f"  {command}", "bold"), soft_wrap=True)
