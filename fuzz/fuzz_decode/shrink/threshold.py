"""From which number on a size makes a case fail, and whether multiples of some number pass: found by a few runs."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

from fuzz_decode.cases.call_sequence import CallSequence
from fuzz_decode.cases.case import Case

# whether the calls fail like the shrunk ones; None: they were not run, or tell nothing
Probe = Callable[[CallSequence], bool | None]
Fails = Callable[[int], bool | None]

MAX_BISECTIONS = 12  # runs for one size
LARGEST = {"seq_lens": 2**13, "num_kv_heads": 32, "group": 128, "head_dim": 1024, "value_head_dim": 1024, "block_size": 2048}
MULTIPLES = (32, 16, 8)


def needed_values(name: str, best: CallSequence, passing: Sequence[CallSequence], probe: Probe) -> str:
    """`; needs more than 2,047 tokens`; empty where that is no single number, or could not be tried.

    `passing` are calls that differ from the best in this size alone, and pass.
    """
    if name not in LARGEST or len(best) > 1 or best[-1].num_seqs > 1:
        return ""
    size = _size_of(name, best[-1])
    below = [value for calls in passing if (value := _size_of(name, calls[-1])) < size]
    fails = _remembered(lambda value: probe((_with_size(name, best[-1], value),)) if value <= LARGEST[name] else None)
    words = _words(size, below, fails) if below else ""
    if not words:
        return ""
    unit = " tokens" if name == "seq_lens" else ""
    return f"; needs {words}{unit}".replace("more than 1 tokens", "more than 1 token")


def _words(size: int, below: list[int], fails: Fails) -> str:
    """What all sizes that fail have in common, as far as tried; empty: nothing that has a name."""
    low, high = _bisect(max(below), size, fails)
    above = fails(_power_above(max(size, max(MULTIPLES) // 2)))
    if above is None or (high > low + 1 and fails((low + high) // 2) is not None):
        return ""
    if above:
        return f"more than {low:,}"
    other = next(number for number in (size + 1, size + 2) if number % 8 and not _is_power(number))
    if not fails(other):
        return ""
    multiple = _passing_multiple(size, fails)
    named = [value % multiple == 0 if multiple else _is_power(value) for value in below]
    words = f"no multiple of {multiple}" if multiple else "no power of two"
    return words if all(named) else f"more than {low:,}, and {words}"


def _bisect(passes: int, fails_with: int, fails: Fails) -> tuple[int, int]:
    """The largest size that passes and the smallest that fails between these two; further apart where no run tells."""
    low, high = passes, fails_with
    for _ in range(MAX_BISECTIONS):
        if high - low <= 1 or (middle := fails((low + high) // 2)) is None:
            break
        low, high = (low, (low + high) // 2) if middle else ((low + high) // 2, high)
    return low, high


def _passing_multiple(size: int, fails: Fails) -> int:
    """The number whose multiples pass, as far as tried, where a large power of two does; 0: none, only the powers do."""
    multiple = 0
    for number in MULTIPLES:
        if fails(_odd_multiple_above(size, number)) is not False:
            break
        multiple = number
    return multiple


def _remembered(fails: Fails) -> Fails:
    return functools.lru_cache(maxsize=None)(fails)


def _odd_multiple_above(size: int, number: int) -> int:
    """The smallest multiple above the size that is no power of two and no multiple of twice the number."""
    return next(each for each in range(number * 3, size + 5 * number, 2 * number) if each > size)


def _power_above(number: int) -> int:
    """The smallest power of two above the number."""
    return 1 << number.bit_length()


def _is_power(number: int) -> bool:
    return number & (number - 1) == 0


def _size_of(name: str, case: Case) -> int:
    size: int = max(case.seq_lens) if name == "seq_lens" else getattr(case, name)
    return size


def _with_size(name: str, case: Case, value: int) -> Case:
    """V's rows stay as long as K's."""
    if name == "seq_lens":
        return dataclasses.replace(case, seq_lens=(value,))
    both = name == "head_dim" and case.head_dim == case.value_head_dim
    changes = {name: value, **({"value_head_dim": value} if both else {})}
    return dataclasses.replace(case, **changes)  # type: ignore[arg-type]  # sizes are numbers
