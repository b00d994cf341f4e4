"""A whole score: the tasks, those that are not yet measured, and the measurements so far."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from fuzz_decode.errors import UnsupportedKernel
from fuzz_decode.evaluate.measure import EvaluationPool
from fuzz_decode.evaluate.measurements import Measurement, MeasurementStore, key
from fuzz_decode.evaluate.mutant_inventory import CLEAN, Subject, clean
from fuzz_decode.evaluate.settings import CLEAN_SEED, EvaluationSettings
from fuzz_decode.evaluate.tally import Tally, tally
from fuzz_decode.evaluate.task import Task
from fuzz_decode.workers.protocol import WorkerConfig
from fuzz_decode_kernels.mutants import KINDS

CLEAN_RUN_CASES = 100  # of one run of the unmutated kernel: few, so that an interruption loses little


@dataclass(slots=True)
class Score:
    """Runs of mutants and of the unmutated kernel: iterate over `events()` to measure those that the journal lacks."""

    subjects: Sequence[Subject]
    """The mutants."""
    setting: EvaluationSettings
    seeds: int
    """Runs of every mutant."""
    clean_cases: int
    """Cases on the unmutated kernel, in all its runs."""
    journal: MeasurementStore
    jobs: int
    diagnosed_seeds: int = 0
    """The failures of the first so many seeds are diagnosed."""
    measured: list[Measurement] = field(default_factory=list)
    """Of mutants."""
    clean: list[Measurement] = field(default_factory=list)
    """Of the unmutated kernel."""
    remembered: int = 0
    """Measurements that the journal had."""

    def tasks(self) -> list[Task]:
        """Seed by seed, so that an interrupted score has measurements of every mutant; on CUDA mutant by mutant, since a process
        takes all seeds of one. Mutants that no campaign detects, and equivalent ones, are not run."""
        runnable = [subject for subject in self.subjects if not subject.beyond and not subject.equivalent]
        if self.setting.device == "cuda":
            runs = [self._task(subject, seed) for subject in runnable for seed in range(self.seeds)]
        else:
            runs = [self._task(subject, seed) for seed in range(self.seeds) for subject in runnable]
        return runs + list(clean_tasks(self.setting, self.clean_cases))

    def _task(self, subject: Subject, seed: int) -> Task:
        """A diagnosis is only made where the right one is known: of mutants with a fault of a released kernel."""
        diagnose = seed < self.diagnosed_seeds and subject.kind in KINDS and not self.setting.grid
        return Task(subject, seed, self.setting, diagnose)

    def events(self) -> Iterator[Measurement]:
        """Each measurement, first those of the journal. If the engine cannot run a kernel, all are made again in the interpreter,
        since one table compares what one engine ran. Raises UsageError if the kernel cannot be imported."""
        try:
            yield from self._events()
        except UnsupportedKernel as error:
            self.setting = dataclasses.replace(self.setting, engine=self._plan().interpreted(error).engine)
            self.measured, self.clean, self.remembered = [], [], 0
            yield from self._events()

    def _events(self) -> Iterator[Measurement]:
        missing: list[Task] = []
        for task in self.tasks():
            known = self.journal.get(key(task.subject, task.seed, task.setting, task.diagnose))
            if known is None:
                missing.append(task)
            else:
                self.remembered += 1
                yield self._note(known)
        if missing:
            with contextlib.closing(EvaluationPool(self._plan(), self.jobs)) as pool:
                for task, measurement in pool.measurements(missing):
                    self.journal.add(key(task.subject, task.seed, task.setting, task.diagnose), measurement)
                    yield self._note(measurement)

    def _plan(self) -> WorkerConfig:
        last = self.subjects[-1].target  # listing generic mutants takes a second: once before forking, not in every fork
        setting = self.setting
        return WorkerConfig(CLEAN, setting.device, setting.timeout, preload=last, engine=setting.engine)

    def tally(self) -> Tally:
        return tally(self.subjects, self.measured, self.clean)

    def _note(self, measurement: Measurement) -> Measurement:
        (self.clean if measurement.subject == CLEAN else self.measured).append(measurement)
        return measurement


def clean_tasks(setting: EvaluationSettings, cases: int) -> Iterator[Task]:
    """Runs of the unmutated kernel that have so many cases in all; whole grids, if a grid is measured."""
    per_run = setting.limit if setting.grid else CLEAN_RUN_CASES
    for number, first in enumerate(range(0, cases, per_run)):
        run_setting = setting if setting.grid else dataclasses.replace(setting, cases=min(per_run, cases - first))
        yield Task(clean(), CLEAN_SEED + number, run_setting)
