"""Where a case could hold finite numbers in place of NaN, and the case that does."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.domain import FINITE_PLACES


def places_in_order(places: Iterable[str]) -> tuple[str, ...]:
    """The places, each once, in the order that a case has them in."""
    named = set(places)
    return tuple(place for place in FINITE_PLACES if place in named)


def with_finite(case: Case, places: Iterable[str]) -> Case:
    """The case with finite numbers at these places, too."""
    finite = places_in_order((*case.finite, *places))
    return case if finite == case.finite else dataclasses.replace(case, finite=finite)


def poisoned_places(case: Case) -> tuple[str, ...]:
    """The places that the case has and that hold NaN: those that `with_finite` can take the poison from."""
    has = {
        "tail": any(length % case.block_size for length in case.seq_lens),
        "before_window": case.window is not None and max(case.seq_lens) - case.q_len + 1 > case.window,
        "unreferenced": case.num_blocks > case.num_pages,
    }
    return tuple(place for place in FINITE_PLACES if has.get(place, True) and place not in case.finite)


def needed_places(case: Case, passes: Callable[[Case], bool]) -> tuple[str, ...]:
    """The fewest places of a failing case that must be finite for it to pass, as far as leaving out one at a time tells; none if
    it fails with finite numbers at all of them. It runs one case more than there are places, at most."""
    needed = poisoned_places(case)
    if not needed or not passes(with_finite(case, needed)):
        return ()
    for place in reversed(needed):  # the last ones are the least likely
        fewer = tuple(other for other in needed if other != place)
        if passes(with_finite(case, fewer)):
            needed = fewer
    return needed
