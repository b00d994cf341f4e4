"""Numbers for the table: quantiles where some never failed, and how many false alarms there may be at most."""

from __future__ import annotations

import math
from collections.abc import Iterable

BISECTIONS = 100


def quantile(observations: Iterable[tuple[int, bool]], share: float) -> int | None:
    """Cases after which `share` of the runs have been killed; None if beyond what was measured.

    An observation is (cases, killed); one that was not killed is censored: it would have taken more cases than that. This
    is the product-limit estimate of Kaplan and Meier, which is the plain quantile when all were killed.
    """
    measured = sorted(observations)
    alive = 1.0
    for cases in sorted({cases for cases, killed in measured if killed}):
        at_risk = sum(other >= cases for other, _ in measured)
        killed_here = sum(other == cases and killed for other, killed in measured)
        alive *= 1 - killed_here / at_risk
        if alive <= 1 - share + 1e-12:
            return cases
    return None


def upper_bound(events: int, trials: int, confidence: float = 0.95) -> float:
    """The largest rate that `events` in `trials` leave possible at this confidence: Clopper and Pearson, one-sided, exact.

    About 3 / trials when there were none. 1.0 without trials.
    """
    if events >= trials:
        return 1.0
    low, high = events / trials, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(events, trials, middle) > 1 - confidence else (low, middle)
    return high


def _at_most(events: int, trials: int, rate: float) -> float:
    """Probability of so many events or fewer."""
    if rate >= 1.0:
        return 0.0
    log_rate, log_rest = math.log(rate) if rate > 0 else -math.inf, math.log1p(-rate)
    return sum(
        math.exp(_log_choose(trials, k) + (k * log_rate if k else 0.0) + (trials - k) * log_rest) for k in range(events + 1)
    )


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
