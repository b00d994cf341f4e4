"""Every fault that is known, the most likely first: of two that predict the same, the earlier one is named.

Add one to the file of what it changes: `addresses`, `lookup`, `visibility`, `options` or `scores_and_sums`.
"""

from __future__ import annotations

from collections.abc import Iterable

from fuzz_decode.diagnose.access_model import AccessModel
from fuzz_decode.diagnose.faults import addresses, lookup, options, scores_and_sums, visibility
from fuzz_decode.diagnose.faults.fault import Fault
from fuzz_decode.problems.problem import Problem

FAULTS: tuple[Fault, ...] = (
    *addresses.cache_faults(),
    *visibility.tokens(),
    *lookup.heads(),
    *lookup.query_heads(),
    *scores_and_sums.returned(),
    *addresses.table_faults(),
    *addresses.query_faults(),
    *lookup.table_use(),
    *lookup.rows(),
    *visibility.queries(),
    *options.alibi(),
    *options.sinks(),
    *options.scales(),
    *scores_and_sums.scores(),
    *scores_and_sums.dims(),
)


def faults_named(name: str) -> tuple[Fault, ...]:
    """The fault with the name, or both of `one+other`; none if it is not in the catalogue."""
    return tuple(fault for part in name.split("+") for fault in FAULTS if fault.name == part)


def models_with_faults(names: Iterable[str], problem: Problem, correct: AccessModel) -> tuple[AccessModel, ...]:
    """The models with all of these faults, as far as they are in the catalogue and apply. Forms of one name are alternatives, so
    that there may be several models, the likeliest first."""
    models = [correct]
    for forms in (faults_named(part) for name in names for part in name.split("+")):
        if forms:
            models = list(dict.fromkeys(form.apply(problem, model) or model for model in models for form in forms))
    return tuple(models)
