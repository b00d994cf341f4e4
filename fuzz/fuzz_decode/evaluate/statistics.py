"""Statistics of the table: quantiles of censored observations, and an upper bound on the rate of false alarms."""

from __future__ import annotations

import math
from collections.abc import Iterable

BISECTIONS = 100  # more than float64 has bits


def quantile(observations: Iterable[tuple[int, bool]], share: float) -> int | None:
    """Number of cases after which `share` of the runs have been killed; None if more than were run.

    An observation is (cases, killed); one that was not killed is censored: it would have taken more cases than that. This
    is the product-limit estimate of Kaplan and Meier, which is the ordinary quantile when all were killed.
    """
    measured = sorted(observations)
    survival = 1.0
    for cases in sorted({cases for cases, killed in measured if killed}):
        at_risk = sum(other >= cases for other, _ in measured)
        killed_now = sum(other == cases and killed for other, killed in measured)
        survival *= 1 - killed_now / at_risk
        if survival <= 1 - share + 1e-12:
            return cases
    return None


def upper_bound(events: int, trials: int, confidence: float = 0.95) -> float:
    """Upper confidence limit of a rate after `events` in `trials`: Clopper and Pearson, one-sided, exact.

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
    """Probability of `events` or fewer."""
    if rate >= 1.0:
        return 0.0
    log_rate, log_rest = math.log(rate) if rate > 0 else -math.inf, math.log1p(-rate)
    return sum(
        math.exp(_log_choose(trials, k) + (k * log_rate if k else 0.0) + (trials - k) * log_rest) for k in range(events + 1)
    )


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
