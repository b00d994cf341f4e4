"""Kernels with two faults at once: does one campaign report both?

Each pair is fuzzed by a campaign of its own, in a process of the command line. The minimized case of each finding is then run on
either mutant alone, which tells whose fault it shows; a diagnosis decides nothing here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuzz_decode.corpus.entry import Entry
from fuzz_decode.corpus.read import load
from fuzz_decode.errors import HarnessError, UsageError
from fuzz_decode.evaluate.measurements import JsonLines
from fuzz_decode.evaluate.settings import EvaluationSettings
from fuzz_decode.outcome import Status
from fuzz_decode.targets.names import mutant_target
from fuzz_decode.workers.protocol import WorkerConfig
from fuzz_decode.workers.resilient_worker import ResilientWorker
from fuzz_decode_kernels.mutants import AND, MUTANTS, mutant_source

PAIR_CASES = 600  # of a campaign, unless others are given


@dataclass(frozen=True, slots=True)
class PairFinding:
    """What one finding of the campaign shows."""

    signature: str
    fault: str
    """Named by its diagnosis with confidence; empty: none."""
    diagnosis: str
    first_case_index: int
    count: int
    """Cases that the campaign counts as this bug."""
    shows: tuple[str, ...]
    """The mutants that fail on its minimized case alone. None: it takes both faults at once."""


@dataclass(frozen=True, slots=True)
class PairMeasurement:
    """One campaign on a kernel with some faults."""

    mutants: tuple[str, ...]
    """Names of the faults: two, one, or none for the unmutated kernel."""
    seed: int
    cases: int
    findings: tuple[PairFinding, ...]
    seconds: float

    @property
    def name(self) -> str:
        return AND.join(self.mutants) or "bundled"

    @property
    def missed(self) -> tuple[str, ...]:
        """The faults that no finding is left for, if each finding stands for one fault at most."""
        none = PairFinding("", "", "", 0, 0, ())
        chosen = itertools.permutations([*self.findings, *[none] * len(self.mutants)], len(self.mutants))
        return min(map(self._left, chosen), key=len)

    @property
    def extra(self) -> int:
        """Findings beyond one for each fault that was reported."""
        return len(self.findings) - (len(self.mutants) - len(self.missed))

    @property
    def named_apart(self) -> bool:
        """Whether every finding names a fault with confidence, each another one."""
        names = [finding.fault for finding in self.findings]
        return all(names) and len(set(names)) == len(names)

    def _left(self, findings: Sequence[PairFinding]) -> tuple[str, ...]:
        """The faults that their finding, in the same order, does not show."""
        return tuple(name for name, finding in zip(self.mutants, findings, strict=True) if name not in finding.shows)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PairMeasurement:
        found = (PairFinding(**{**each, "shows": tuple(each["shows"])}) for each in data["findings"])
        return cls(**{**data, "mutants": tuple(data["mutants"]), "findings": tuple(found)})


def draw_pairs(number: int, seed: int, mutants: Sequence[str]) -> list[tuple[str, ...]]:
    """Random pairs of mutants that have no diagnosis in common, whose edits do not overlap, and which a campaign can detect.
    Raises UsageError if there are none."""
    pairs = [pair for pair in itertools.combinations(_within_reach(mutants), 2) if _are_unlike(*pair) and _compose(*pair)]
    if not pairs:
        raise UsageError("--pairs: there are no two mutants of different causes among these; --mutants real has thousands")
    return random.Random(seed).sample(pairs, min(number, len(pairs)))


def draw_alone(number: int, seed: int, mutants: Sequence[str]) -> list[tuple[str, ...]]:
    """Random mutants that a campaign can detect."""
    names = _within_reach(mutants)
    return [(name,) for name in random.Random(seed).sample(names, min(number, len(names)))]


def _within_reach(mutants: Sequence[str]) -> list[str]:
    """The real bugs among them that a campaign can detect."""
    return [name for name in mutants if name in MUTANTS and not MUTANTS[name].beyond]


def _are_unlike(one: str, other: str) -> bool:
    return set(MUTANTS[one].diagnosis or (one,)).isdisjoint(MUTANTS[other].diagnosis or (other,))


def _compose(one: str, other: str) -> bool:
    try:
        mutant_source(one + AND + other)
    except ValueError:
        return False
    return True


def measure_pairs(
    pairs: Sequence[tuple[str, ...]],
    setting: EvaluationSettings,
    seed: int,
    jobs: int,
    journal: JsonLines[PairMeasurement],
) -> Iterator[PairMeasurement]:
    """A campaign on each that the journal lacks, `jobs` of them at once; measurements come as they are done."""
    keys = {pair: _key(pair, setting, seed) for pair in pairs}
    known = {pair: journal.get(key) for pair, key in keys.items()}
    yield from (measurement for measurement in known.values() if measurement)
    with ThreadPoolExecutor(jobs) as threads:
        running = [threads.submit(measure_pair, pair, setting, seed) for pair in pairs if known[pair] is None]
        try:
            for done in as_completed(running):
                measurement = done.result()
                journal.add(keys[measurement.mutants], measurement)
                yield measurement
        finally:
            for each in running:
                each.cancel()


def _key(mutants: tuple[str, ...], setting: EvaluationSettings, seed: int) -> str:
    """It changes with the source, the seed, the device and the number of cases."""
    source = mutant_source(AND.join(mutants)) if mutants else ""
    parts = {**setting.key(), "cases": setting.cases or PAIR_CASES, "seed": seed, "mutants": mutants, "source": source}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def measure_pair(mutants: tuple[str, ...], setting: EvaluationSettings, seed: int) -> PairMeasurement:
    """A campaign on the kernel with these faults. Raises HarnessError if the campaign could not be run."""
    target = mutant_target(AND.join(mutants)) if mutants else "bundled"
    with tempfile.TemporaryDirectory(prefix="fuzz-decode-pair-") as folder:
        report = _campaign(target, setting, seed, Path(folder))
        entries = [load(Path(finding["case_file"])) for finding in report["findings"]]
    shown = {mutant: _failing(mutant, entries, setting) for mutant in mutants}
    numbered = enumerate(zip(report["findings"], entries, strict=True))
    found = (_finding(data, entry, number, shown) for number, (data, entry) in numbered)
    return PairMeasurement(mutants, seed, report["cases"], tuple(found), report["seconds"])


def _campaign(target: str, setting: EvaluationSettings, seed: int, folder: Path) -> dict[str, Any]:
    """The report of `fuzz-decode run`."""
    options = {
        "target": target,
        "iters": setting.cases or PAIR_CASES,
        "seed": seed,
        "jobs": 1,
        "device": setting.device,
        "engine": setting.engine.engine if setting.device == "cpu" else "auto",
        "timeout": setting.timeout,
        "corpus": folder / "corpus",
        "json": folder / "report.json",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    done = subprocess.run([sys.executable, "-m", "fuzz_decode", "run", *words], capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise HarnessError(f"the campaign on {target} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report


def _failing(mutant: str, entries: Sequence[Entry], setting: EvaluationSettings) -> list[bool]:
    """Whether the mutant alone fails on each of the cases."""
    if not entries:
        return []
    with ResilientWorker(WorkerConfig(mutant_target(mutant), setting.device, setting.timeout, engine=setting.engine)) as worker:
        return [worker.run_fresh(entry.calls).status == Status.FAILED for entry in entries]


def _finding(data: Mapping[str, Any], entry: Entry, number: int, shown: Mapping[str, Sequence[bool]]) -> PairFinding:
    return PairFinding(
        signature=str(entry.signature),
        fault=entry.fault,
        diagnosis=entry.diagnosis,
        first_case_index=data["first_case_index"],
        count=data["count"],
        shows=tuple(mutant for mutant, fails in shown.items() if fails[number]),
    )


def to_json(measured: Sequence[PairMeasurement]) -> dict[str, Any]:
    """The totals and every campaign."""
    pairs = [each for each in measured if len(each.mutants) == 2]
    return {
        "pairs": len(pairs),
        "both_reported": sum(not each.missed for each in pairs),
        "with_extra_findings": sum(each.extra > 0 for each in measured),
        "named_apart": sum(each.named_apart and not each.missed for each in pairs),
        "campaigns": [
            {**dataclasses.asdict(each), "missed": each.missed, "extra": each.extra}
            for each in sorted(measured, key=lambda each: each.mutants)
        ],
    }
