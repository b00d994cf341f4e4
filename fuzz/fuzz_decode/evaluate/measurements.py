"""Measurements on disk, one line of JSON each, so that an interrupted score resumes where it stopped."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from fuzz_decode.errors import UsageError
from fuzz_decode.evaluate.mutant_inventory import Subject
from fuzz_decode.evaluate.settings import EvaluationSettings


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run of one kernel on the cases of one seed."""

    subject: str
    """Name of the mutant or the kernel."""
    kind: str
    """Class of the mutant's fault."""
    seed: int
    cases: int
    """Cases until the first failure, or all of the run."""
    failures: int = 0
    """More than one only for the unmutated kernel, which does not stop at the first."""
    rejected: int = 0
    """Cases that were rejected."""
    oracle: str = ""
    """Of the first failure."""
    signature: str = ""
    """Of the first failure."""
    message: str = ""
    """Of the first failure."""
    case: str = ""
    """Digest of the first failing case."""
    asked: bool = False
    """Whether the first failure was diagnosed."""
    diagnosed: str = ""
    """The fault that the diagnosis named; empty: none."""
    confident: bool = False
    """Whether no other fault explains the failure."""
    seconds: float = 0.0

    @property
    def killed(self) -> bool:
        return self.failures > 0


def key(subject: Subject, seed: int, setting: EvaluationSettings, diagnose: bool = False) -> str:
    """The key of a measurement: it changes with the source, the seed, the device and the set of cases."""
    parts = {
        "source": subject.digest,
        "name": subject.name,
        "seed": seed,
        **setting.key(),
        **({"diagnose": True} if diagnose else {}),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


Record = TypeVar("Record")


class JsonLines(Generic[Record]):
    """Dataclasses by key, stored in `path` if it is given, a line each. Raises UsageError if the file holds something else."""

    def __init__(self, path: Path | None, kind: type[Record], decode: Callable[[dict[str, Any]], Record]) -> None:
        self.path, self._decode = path, decode
        self._first = min("key", *(field.name for field in dataclasses.fields(kind)))  # type: ignore[arg-type]  # a dataclass
        self._known: dict[str, Record] = {}
        text = path.read_text() if path is not None and path.exists() else ""
        whole, _, unfinished = text.rpartition("\n")
        for number, line in enumerate(whole.splitlines(), 1):
            self._load(number, line)
        if path is not None and unfinished:
            self._drop(path, unfinished)

    def get(self, key: str) -> Record | None:
        return self._known.get(key)

    def add(self, key: str, record: Record) -> None:
        self._known[key] = record
        if self.path is not None:
            with self.path.open("a") as file:  # closed each time, so that a line is complete or missing
                data = dataclasses.asdict(record)  # type: ignore[call-overload]  # a dataclass
                file.write(json.dumps({"key": key, **data}, sort_keys=True) + "\n")

    def _load(self, number: int, line: str) -> None:
        try:
            data: dict[str, Any] = json.loads(line)
            name = data.pop("key")
            self._known[name] = self._decode(data)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UsageError(
                f"--resume {self.path}: line {number} is not a measurement ({type(error).__name__}: {error})"
            ) from error

    def _drop(self, path: Path, unfinished: str) -> None:
        """Cut off the line that was being written when a process died."""
        if not unfinished.startswith(f'{{"{self._first}": '):
            raise UsageError(f"--resume {path}: is not a file that fuzz-decode wrote")
        with path.open("rb+") as file:
            file.truncate(path.stat().st_size - len(unfinished.encode()))


class MeasurementStore(JsonLines[Measurement]):
    """Measurements by key."""

    def __init__(self, path: Path | None) -> None:
        super().__init__(path, Measurement, lambda data: Measurement(**data))
