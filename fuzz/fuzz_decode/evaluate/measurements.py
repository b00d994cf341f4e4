"""Measurements on disk, one line of JSON each, so that an interrupted score goes on where it was."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuzz_decode.errors import UsageError
from fuzz_decode.evaluate.mutant_inventory import Subject
from fuzz_decode.evaluate.settings import EvaluationSettings


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run of one kernel on the cases of one seed."""

    subject: str
    """the kernel's name"""
    kind: str
    """its class in the table of mutants"""
    seed: int
    cases: int
    """number of cases until the first failure, or of all cases"""
    failures: int = 0
    """number of failures: more than one only for the clean kernel, which goes on"""
    rejected: int = 0
    """number of cases that the kernel rejected"""
    oracle: str = ""
    """of the first failure, like the next three"""
    signature: str = ""
    message: str = ""
    case: str = ""
    """digest"""
    asked: bool = False
    """the first failure was diagnosed"""
    diagnosed: str = ""
    """name of the fault that the diagnosis found; empty: none"""
    confident: bool = False
    """the diagnosis is confident"""
    seconds: float = 0.0

    @property
    def killed(self) -> bool:
        return self.failures > 0


def key(subject: Subject, seed: int, setting: EvaluationSettings, diagnose: bool = False) -> str:
    """Names a measurement: another source, seed, device or set of cases is another one."""
    what = {
        "source": subject.digest,
        "name": subject.name,
        "seed": seed,
        **setting.key(),
        **({"diagnose": True} if diagnose else {}),
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


class MeasurementStore:
    """Measurements by key, kept in `path` if there is one. Raises UsageError if the file is something else."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._known: dict[str, Measurement] = {}
        text = path.read_text() if path is not None and path.exists() else ""
        whole, _, unfinished = text.rpartition("\n")
        for number, line in enumerate(whole.splitlines(), 1):
            self._load(number, line)
        if path is not None and unfinished:
            self._drop(path, unfinished)

    def get(self, key: str) -> Measurement | None:
        return self._known.get(key)

    def add(self, key: str, measurement: Measurement) -> None:
        self._known[key] = measurement
        if self.path is not None:
            with self.path.open("a") as file:  # closed each time, so that a line is whole or missing
                file.write(json.dumps({"key": key, **dataclasses.asdict(measurement)}, sort_keys=True) + "\n")

    def _load(self, number: int, line: str) -> None:
        try:
            data: dict[str, Any] = json.loads(line)
            name = data.pop("key")
            self._known[name] = Measurement(**data)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UsageError(
                f"--resume {self.path}: line {number} is no measurement ({type(error).__name__}: {error})"
            ) from error

    def _drop(self, path: Path, unfinished: str) -> None:
        """Cut off the line that was being written when a process died."""
        if not unfinished.startswith('{"asked": '):
            raise UsageError(f"--resume {path}: is not a file that fuzz-decode wrote")
        with path.open("rb+") as file:
            file.truncate(path.stat().st_size - len(unfinished.encode()))
