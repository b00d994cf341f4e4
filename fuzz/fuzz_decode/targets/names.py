"""Names of targets that need no import of user code. This module imports nothing, so that reports and the corpus may use it."""

from __future__ import annotations

BUNDLED = "bundled"
MUTANT_PREFIX = "mutant:"


def is_mutant(name: str) -> bool:
    """Whether the target is the bundled kernel with a fault."""
    return name.startswith(MUTANT_PREFIX)


def is_bundled(name: str) -> bool:
    """Whether the target is the bundled kernel, with or without a fault."""
    return name == BUNDLED or is_mutant(name)


def mutant_target(mutant: str) -> str:
    """The target's name of a mutant."""
    return MUTANT_PREFIX + mutant


def imports_user_code(name: str) -> bool:
    """Whether resolving the target imports a module that the name says: only names with a colon do, mutants apart."""
    return ":" in name and not is_mutant(name)
