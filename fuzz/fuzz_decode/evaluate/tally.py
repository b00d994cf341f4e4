"""The table of an evaluation from its measurements: a row for each mutant and class, and the totals."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fuzz_decode.evaluate.measurements import Measurement
from fuzz_decode.evaluate.mutant_inventory import STRIDE_CLASSES, Subject
from fuzz_decode.evaluate.statistics import quantile, upper_bound
from fuzz_decode_kernels.mutants import KINDS


@dataclass(frozen=True, slots=True)
class TallyRow:
    """One mutant, or all mutants of a class."""

    name: str
    kind: str
    killed: int
    """Runs that killed it, out of `runs`."""
    runs: int
    median: int | None
    """Cases after which half of the runs had killed it; None: more than were run."""
    p90: int | None
    """The same for nine in ten runs."""
    oracle: str
    """The oracle that killed it most often."""
    right: int
    """Confident diagnoses that named the fault, out of `asked`."""
    wrong: int
    """Confident diagnoses that named another fault."""
    asked: int
    """Diagnoses that were made."""
    equivalent: str = ""
    """Of one mutant: why no case can tell it from the kernel."""
    beyond: str = ""
    """Of one mutant: why no campaign detects it."""

    @property
    def survived(self) -> bool:
        return self.runs > 0 and self.killed == 0


@dataclass(frozen=True, slots=True)
class Tally:
    """The rows and the totals. Equivalent mutants count in no total."""

    rows: tuple[TallyRow, ...]
    """One for each mutant."""
    classes: tuple[TallyRow, ...]
    """One for each class of faults."""
    mutants: int
    detected: int
    """Mutants that some seed killed, out of `mutants`."""
    median: int | None
    """Cases to kill, over all runs of all mutants."""
    strides: int
    """Mutants in the stride classes."""
    stride_median: int | None
    """Cases to kill, over the runs of those."""
    clean: int
    """Cases on the unmutated kernel that were not rejected."""
    alarms: int
    """Failures among them."""
    alarm_rate: float
    """Upper 95% confidence limit of the rate of false alarms."""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def tally(subjects: Sequence[Subject], measured: Iterable[Measurement], clean: Sequence[Measurement] = ()) -> Tally:
    """The table of the measurements so far; mutants without any are left out."""
    by_name: dict[str, list[Measurement]] = {subject.name: [] for subject in subjects if subject.beyond or subject.equivalent}
    for measurement in measured:
        by_name.setdefault(measurement.subject, []).append(measurement)
    run = [subject for subject in subjects if subject.name in by_name]
    counted = [subject for subject in run if not subject.equivalent]
    strides = [subject for subject in counted if subject.kind.startswith(STRIDE_CLASSES)]
    rows = tuple(_row(subject.name, subject.kind, [subject], by_name) for subject in run)
    kinds = sorted({subject.kind for subject in counted})
    cases, alarms = sum(each.cases - each.rejected for each in clean), sum(each.failures for each in clean)
    return Tally(
        rows=tuple(sorted(rows, key=lambda row: row.kind)),
        classes=tuple(_class_row(kind, counted, by_name) for kind in kinds),
        mutants=len(counted),
        detected=sum(any(each.killed for each in by_name[subject.name]) for subject in counted),
        median=_quantile(counted, by_name, 0.5),
        strides=len(strides),
        stride_median=_quantile(strides, by_name, 0.5),
        clean=cases,
        alarms=alarms,
        alarm_rate=upper_bound(alarms, cases),
    )


def _class_row(kind: str, subjects: Sequence[Subject], by_name: dict[str, list[Measurement]]) -> TallyRow:
    return _row(KINDS.get(kind, kind), kind, [subject for subject in subjects if subject.kind == kind], by_name)


def _row(name: str, kind: str, subjects: Sequence[Subject], by_name: dict[str, list[Measurement]]) -> TallyRow:
    runs = [(subject, each) for subject in subjects for each in by_name[subject.name]]
    oracles = Counter(each.oracle for _, each in runs if each.killed)
    return TallyRow(
        name=name,
        kind=kind,
        killed=sum(each.killed for _, each in runs),
        runs=len(runs),
        median=_quantile(subjects, by_name, 0.5),
        p90=_quantile(subjects, by_name, 0.9),
        oracle=oracles.most_common(1)[0][0] if oracles else "",
        right=sum(each.confident and each.diagnosed in subject.faults for subject, each in runs),
        wrong=sum(each.confident and each.diagnosed not in subject.faults for subject, each in runs),
        asked=sum(each.asked for _, each in runs),
        equivalent=subjects[0].equivalent if len(subjects) == 1 else "",
        beyond=subjects[0].beyond if len(subjects) == 1 else "",
    )


def _quantile(subjects: Sequence[Subject], by_name: dict[str, list[Measurement]], share: float) -> int | None:
    return quantile(((each.cases, each.killed) for subject in subjects for each in by_name[subject.name]), share)
