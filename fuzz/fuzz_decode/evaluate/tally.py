"""From measurements to the table: a row for each mutant and class, and the totals."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fuzz_decode.evaluate.measurements import Measurement
from fuzz_decode.evaluate.mutant_inventory import STRIDES, Subject
from fuzz_decode.evaluate.statistics import quantile, upper_bound
from fuzz_decode_kernels.mutants import KINDS


@dataclass(frozen=True, slots=True)
class Row:
    """A mutant, or several together: runs that killed it, out of `runs`; cases until half and nine in ten of them had (None:
    beyond what was run); the oracle that did so most often; of `asked` diagnoses those that named the fault with confidence, and
    those that named another one so."""

    name: str
    kind: str
    killed: int
    runs: int
    median: int | None
    p90: int | None
    oracle: str
    right: int
    wrong: int
    asked: int
    equivalent: str = ""
    beyond: str = ""

    @property
    def survived(self) -> bool:
        return self.runs > 0 and self.killed == 0


@dataclass(frozen=True, slots=True)
class Tally:
    """`rows` by mutant, `classes` by kind. `detected` of `mutants` were killed by some seed; those that no case can tell from the
    kernel count in neither. `stride_median`: of the `strides` ones in classes S*. `alarms` in `clean` cases on the kernel
    itself; `alarm_rate` is the 95% bound.
    """

    rows: tuple[Row, ...]
    classes: tuple[Row, ...]
    mutants: int
    detected: int
    median: int | None
    strides: int
    stride_median: int | None
    clean: int
    alarms: int
    alarm_rate: float

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def tally(subjects: Sequence[Subject], measured: Iterable[Measurement], clean: Sequence[Measurement] = ()) -> Tally:
    """The table of what was measured so far; mutants of which nothing is known are left out."""
    of: dict[str, list[Measurement]] = {subject.name: [] for subject in subjects if subject.beyond or subject.equivalent}
    for measurement in measured:
        of.setdefault(measurement.subject, []).append(measurement)
    run = [subject for subject in subjects if subject.name in of]
    counted = [subject for subject in run if not subject.equivalent]
    strides = [subject for subject in counted if subject.kind.startswith(STRIDES)]
    rows = tuple(_row(subject.name, subject.kind, [subject], of) for subject in run)
    kinds = sorted({subject.kind for subject in counted})
    cases, alarms = sum(each.cases - each.rejected for each in clean), sum(each.failures for each in clean)
    return Tally(
        rows=tuple(sorted(rows, key=lambda row: row.kind)),
        classes=tuple(_row(KINDS.get(kind, kind), kind, [each for each in counted if each.kind == kind], of) for kind in kinds),
        mutants=len(counted),
        detected=sum(any(each.killed for each in of[subject.name]) for subject in counted),
        median=_quantile(counted, of, 0.5),
        strides=len(strides),
        stride_median=_quantile(strides, of, 0.5),
        clean=cases,
        alarms=alarms,
        alarm_rate=upper_bound(alarms, cases),
    )


def _row(name: str, kind: str, subjects: Sequence[Subject], of: dict[str, list[Measurement]]) -> Row:
    runs = [(subject, each) for subject in subjects for each in of[subject.name]]
    oracles = Counter(each.oracle for _, each in runs if each.killed)
    return Row(
        name=name,
        kind=kind,
        killed=sum(each.killed for _, each in runs),
        runs=len(runs),
        median=_quantile(subjects, of, 0.5),
        p90=_quantile(subjects, of, 0.9),
        oracle=oracles.most_common(1)[0][0] if oracles else "",
        right=sum(each.confident and each.diagnosed in subject.faults for subject, each in runs),
        wrong=sum(each.confident and each.diagnosed not in subject.faults for subject, each in runs),
        asked=sum(each.asked for _, each in runs),
        equivalent=subjects[0].equivalent if len(subjects) == 1 else "",
        beyond=subjects[0].beyond if len(subjects) == 1 else "",
    )


def _quantile(subjects: Sequence[Subject], of: dict[str, list[Measurement]], share: float) -> int | None:
    return quantile(((each.cases, each.killed) for subject in subjects for each in of[subject.name]), share)
