"""The sizes that a failure needs: those that the shrinker's runs tell, and the numbers from which on they are needed, by some
more runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fuzz_decode.cases.call_sequence import CallSequence, differences, sort_key
from fuzz_decode.cases.case import DEFAULTS
from fuzz_decode.outcome import Outcome, Status
from fuzz_decode.shrink.threshold import Probe, needed_values

NO_TOKENS = (0,)
# field -> fields that may change with it: some targets take rows of one length only
SIZES: dict[str, tuple[str, ...]] = {
    "seq_lens": (),
    "num_kv_heads": (),
    "group": (),
    "head_dim": ("value_head_dim",),
    "value_head_dim": (),
    "block_size": (),
    "dtype": (),
}


def needed_sizes(best: CallSequence, seen: Mapping[CallSequence, Outcome], probe: Probe) -> dict[str, str]:
    """Each size that is not the default, and the dtype, with the nearest one tried that passes, and what `probe` tells of others:
    `passes with 16; needs more than 16, and no multiple of 16`."""
    passed = {calls: _changed_fields(best, calls) for calls, outcome in seen.items() if outcome.status is Status.PASSED}
    found = {}
    for name, others in SIZES.items():
        near = [calls for calls, changed in passed.items() if {name} <= changed <= {name, *others}]
        if near and getattr(best[-1], name) not in (DEFAULTS[name], NO_TOKENS):
            values = (size_in_words(getattr(calls[-1], name)) for calls in _nearest(near, best))
            found[name] = f"passes with {' or '.join(values)}{needed_values(name, best, near, probe)}"
    return found


def _changed_fields(calls: CallSequence, others: CallSequence) -> set[str]:
    """Fields that differ; none that could tell anything between another number of calls, or without any token."""
    if len(calls) != len(others) or (any(calls[-1].seq_lens) and not any(others[-1].seq_lens)):
        return set()
    pairs = zip(calls, others, strict=True)
    return {name for case, other in pairs for name in differences(case, other)}


def _nearest(calls: list[CallSequence], best: CallSequence) -> list[CallSequence]:
    """The ones next to the best: with fewer sequences, and with as many."""
    fewer = [each for each in calls if each[-1].num_seqs < best[-1].num_seqs]
    as_many = [each for each in calls if each[-1].num_seqs == best[-1].num_seqs]
    return [max(group, key=sort_key) for group in (fewer, as_many) if group]


def size_in_words(value: Any) -> str:
    """A size, or the lengths of sequences."""
    return str(list(value)) if isinstance(value, tuple) else str(value)


def in_words(outcome: Outcome) -> str:
    """An outcome as a case file has it."""
    if outcome.findings:
        return f"fails as {outcome.signature}"
    return "passes" if outcome.status is Status.PASSED else f"is {outcome.status}: {outcome.reason}"
