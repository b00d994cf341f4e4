"""A whole score: the tasks, those that are still to be measured, and what is known so far."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from fuzz_decode.evaluate.measure import EvaluationPool
from fuzz_decode.evaluate.measurements import Measurement, MeasurementStore, key
from fuzz_decode.evaluate.mutant_inventory import CLEAN, Subject, clean
from fuzz_decode.evaluate.settings import CLEAN_SEED, EvaluationSettings
from fuzz_decode.evaluate.tally import Tally, tally
from fuzz_decode.evaluate.task import Task
from fuzz_decode.workers.protocol import WorkerConfig
from fuzz_decode_kernels.mutants.load import KINDS

CLEAN_CASES = 100  # a run of the clean kernel: short, so that an interruption costs little


@dataclass(slots=True)
class Score:
    """`seeds` runs of every subject, those of the first `diagnosed_seeds` diagnosed, and `clean_cases` of the kernel itself;
    iterate over `events()` to measure what the journal lacks, `remembered` counts what it had."""

    subjects: Sequence[Subject]
    setting: EvaluationSettings
    seeds: int
    clean_cases: int
    journal: MeasurementStore
    jobs: int
    diagnosed_seeds: int = 0
    measured: list[Measurement] = field(default_factory=list)
    clean: list[Measurement] = field(default_factory=list)
    remembered: int = 0

    def tasks(self) -> list[Task]:
        """Seed by seed, so that an interrupted score knows something of every mutant; on CUDA mutant by mutant. What no campaign
        reaches, or what cannot be told from the kernel, is not run."""
        within = [subject for subject in self.subjects if not subject.beyond and not subject.equivalent]
        if self.setting.device == "cuda":
            runs = [self._task(subject, seed) for subject in within for seed in range(self.seeds)]
        else:
            runs = [self._task(subject, seed) for seed in range(self.seeds) for subject in within]
        return runs + list(clean_tasks(self.setting, self.clean_cases))

    def _task(self, subject: Subject, seed: int) -> Task:
        """Where nobody said what a right diagnosis would be, none is asked for."""
        wanted = seed < self.diagnosed_seeds and subject.kind in KINDS and not self.setting.grid
        return Task(subject, seed, self.setting, wanted)

    def events(self) -> Iterator[Measurement]:
        """Each measurement, first those that were made before. Raises UsageError if the kernel cannot be imported."""
        missing: list[Task] = []
        for task in self.tasks():
            known = self.journal.get(key(task.subject, task.seed, task.setting, task.diagnose))
            if known is None:
                missing.append(task)
            else:
                self.remembered += 1
                yield self._note(known)
        if missing:
            last = self.subjects[-1].target  # making the list of generic mutants takes a second: once, not in every fork
            plan = WorkerConfig(CLEAN, self.setting.device, self.setting.timeout, preload=last)
            with contextlib.closing(EvaluationPool(plan, self.jobs)) as bench:
                for task, measurement in bench.measurements(missing):
                    self.journal.add(key(task.subject, task.seed, task.setting, task.diagnose), measurement)
                    yield self._note(measurement)

    def tally(self) -> Tally:
        return tally(self.subjects, self.measured, self.clean)

    def _note(self, measurement: Measurement) -> Measurement:
        (self.clean if measurement.subject == CLEAN else self.measured).append(measurement)
        return measurement


def clean_tasks(setting: EvaluationSettings, cases: int) -> Iterator[Task]:
    """Runs of the kernel itself that make so many cases; whole grids, if it is a grid that is measured."""
    each = setting.limit if setting.grid else CLEAN_CASES
    for number, first in enumerate(range(0, cases, each)):
        own = setting if setting.grid else dataclasses.replace(setting, cases=min(each, cases - first))
        yield Task(clean(), CLEAN_SEED + number, own)
