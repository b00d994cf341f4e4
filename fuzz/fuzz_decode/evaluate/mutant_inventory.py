"""What is scored: mutants of the bundled kernel, by group or by name, and the kernel itself."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fuzz_decode.errors import UsageError
from fuzz_decode.targets.names import BUNDLED, mutant_target
from fuzz_decode_kernels.mutants.load import MUTANTS, SOURCE, Mutant, mutant_source

REAL, GENERIC, ALL = "real", "generic", "all"
CLEAN = BUNDLED
STRIDES = "S"  # first letter of the classes of stride faults


@dataclass(frozen=True, slots=True)
class Subject:
    """One kernel to score. `target` is what `targets.resolve` takes, `kind` its class ("S1"), `digest` that of its source,
    `faults` the names of diagnoses that are right, `equivalent` why no case can tell it from the kernel (empty: one can),
    `beyond` why no campaign reaches it."""

    name: str
    target: str
    kind: str
    digest: str
    faults: tuple[str, ...] = ()
    equivalent: str = ""
    beyond: str = ""


def subjects(wanted: str) -> tuple[Subject, ...]:
    """Those of a group (real, generic, all), or of names with commas between. Raises UsageError if there is no such mutant."""
    groups = {REAL: (real,), GENERIC: (generic,), ALL: (real, generic)}
    known = {name: subject for group in groups.get(wanted, groups[ALL]) for name, subject in group().items()}
    if wanted in groups:
        if not known:
            raise UsageError(f"--mutants {wanted}: there are none")
        return tuple(known.values())
    names = [wanted] if wanted in known else wanted.split(",")
    for name in names:
        if name not in known:
            raise UsageError(f"--mutants: there is no mutant {name!r}; there are {', '.join(real())}, and generic ones")
    return tuple(known[name] for name in dict.fromkeys(names))


def real() -> dict[str, Subject]:
    """Faults that released kernels had."""
    return {name: _subject(name, mutant_target(name), mutant, mutant_source(name)) for name, mutant in MUTANTS.items()}


def generic() -> dict[str, Subject]:
    """Edits that nobody chose; none if their module is not there."""
    try:
        module: Any = importlib.import_module("fuzz_decode_kernels.mutation.generic")
    except ModuleNotFoundError:
        return {}
    try:
        equivalent: Mapping[str, str] = module.equivalents()
        beyond: Mapping[str, str] = module.out_of_reach()
    except ValueError as error:
        raise UsageError(str(error)) from error
    return {
        name: Subject(
            name,
            mutant_target(name),
            mutant.operator,
            _digest(module.generic_source(name)),
            equivalent=equivalent.get(name, ""),
            beyond=beyond.get(name, ""),
        )
        for name, mutant in module.generic_mutants().items()
    }


def clean() -> Subject:
    """The kernel itself."""
    return Subject(CLEAN, CLEAN, "", _digest(SOURCE.read_text()))


def _subject(name: str, target: str, mutant: Mutant, source: str) -> Subject:
    return Subject(name, target, mutant.kind, _digest(source), mutant.diagnosis, beyond=mutant.beyond)


def _digest(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()[:16]
