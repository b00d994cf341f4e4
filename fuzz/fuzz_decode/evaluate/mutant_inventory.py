"""The kernels that are scored: mutants of the bundled kernel, by group or by name, and the kernel itself."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from fuzz_decode.errors import UsageError
from fuzz_decode.targets.names import BUNDLED, mutant_target
from fuzz_decode.text import did_you_mean
from fuzz_decode_kernels.mutants import MUTANTS, Mutant, mutant_source
from fuzz_decode_kernels.mutants.load import SOURCE
from fuzz_decode_kernels.mutation import generic as mutation

REAL, GENERIC, ALL = "real", "generic", "all"
CLEAN = BUNDLED
STRIDE_CLASSES = "S"  # first letter of the classes of stride faults


@dataclass(frozen=True, slots=True)
class Subject:
    """One kernel to score."""

    name: str
    target: str
    """Its name for `targets.resolve`."""
    kind: str
    """Class of the fault, such as S1, or the mutation operator."""
    digest: str
    """Of the source."""
    faults: tuple[str, ...] = ()
    """Names of the diagnoses that are right."""
    equivalent: str = ""
    """Why no case can tell it from the kernel; empty: a case can."""
    beyond: str = ""
    """Why no campaign detects it; empty: one can."""


def subjects(mutants: str) -> tuple[Subject, ...]:
    """The mutants of a group (real, generic, all), or of names separated by commas. Raises UsageError for an unknown name."""
    groups = {REAL: (real,), GENERIC: (generic,), ALL: (real, generic)}
    known = {name: subject for group in groups.get(mutants, groups[ALL]) for name, subject in group().items()}
    if mutants in groups:
        if not known:
            raise UsageError(f"--mutants {mutants}: there are none")
        return tuple(known.values())
    names = [mutants] if mutants in known else mutants.split(",")  # names of generic mutants contain commas
    for name in names:
        if name not in known:
            close = did_you_mean(name, known) or "; `fuzz-decode targets --mutants` lists those of released kernels"
            raise UsageError(f"--mutants: there is no mutant {name!r}{close}")
    return tuple(known[name] for name in dict.fromkeys(names))


def real() -> dict[str, Subject]:
    """Mutants with faults that released kernels had."""
    return {name: _subject(name, mutant_target(name), mutant, mutant_source(name)) for name, mutant in MUTANTS.items()}


def generic() -> dict[str, Subject]:
    """Mutants from the mutation operators."""
    try:
        equivalent, beyond = mutation.equivalents(), mutation.out_of_reach()
    except ValueError as error:
        raise UsageError(str(error)) from error
    return {
        name: Subject(
            name,
            mutant_target(name),
            mutant.operator,
            _digest(mutation.generic_source(name)),
            equivalent=equivalent.get(name, ""),
            beyond=beyond.get(name, ""),
        )
        for name, mutant in mutation.generic_mutants().items()
    }


def clean() -> Subject:
    """The unmutated kernel."""
    return Subject(CLEAN, CLEAN, "", _digest(SOURCE.read_text()))


def _subject(name: str, target: str, mutant: Mutant, source: str) -> Subject:
    return Subject(name, target, mutant.kind, _digest(source), mutant.diagnosis, beyond=mutant.beyond)


def _digest(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()[:16]
