"""How often each token of a row counts, told by its output: splits that overlap, leave gaps, or take the place of others.

Out is a weighted mean of V, in which a token that counts n times has n times its weight. Each element of out and each lse is thus
a linear equation for the counts of all tokens.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from fuzz_decode.diagnose.access_model import AccessModel, Span, replace
from fuzz_decode.diagnose.checks.fitting import Fit, FittedFault, nearest_run, token_range, weights_of, wrong_heads
from fuzz_decode.diagnose.gather import gather_row
from fuzz_decode.diagnose.observation import Observation

MAX_TOKENS = 2048  # of a row: the equations are solved for all of them
MAX_COUNT = 64
COUNTED = 0.25  # of the largest count: what is below may be an error of a token that does not count

Counts = tuple[int, ...]  # of the tokens that a row may see, the first one first


def _fit(run: Observation) -> AccessModel | None:
    """The counts that explain every wrong row: of one simple kind for all rows, or whatever the equations give."""
    wrong, visible = wrong_heads(run), run.experiment.correct.visibility.spans
    if any(len(visible[row]) != 1 or visible[row][0][1] - visible[row][0][0] > MAX_TOKENS for row in wrong):
        return None
    models = (_with_counts(run, wrong, counts_of) for counts_of in (_one_run_alone, _last_token_again, _nearest_counts))
    return next((model for model in models if run.is_explained_by(model)), None)


def _with_counts(run: Observation, wrong: dict[int, int], counts_of: Callable[[Observation, int, int], Counts]) -> AccessModel:
    spans = list(run.experiment.correct.visibility.spans)
    for row, head in wrong.items():
        spans[row] = _spans(spans[row][0][0], counts_of(run, row, head))
    return replace(run.experiment.correct, "visibility", spans=tuple(spans))


def _one_run_alone(run: Observation, row: int, head: int) -> Counts:
    """[a, b) counts as often as lse says, everything else does not."""
    weights, _ = weights_of(run, row, head)
    a, b = nearest_run(run, row, head, times=1, others=0)
    return (*[0] * a, *[_times(run, row, head, float(weights[1 + a : 1 + b].sum()))] * (b - a), *[0] * (len(weights) - 1 - b))


def _times(run: Observation, row: int, head: int, weight: float) -> int:
    """How often tokens of a weight, relative to the largest one, count if they make up lse."""
    if run.lse is None:
        return 1
    right = run.experiment.predict(run.experiment.correct).lse[row, head]
    weights, _ = weights_of(run, row, head)
    total = float((run.lse[row, head] - right).exp()) * float(weights.sum()) - float(weights[0])
    return max(1, min(MAX_COUNT, round(total / weight))) if weight > 0 and math.isfinite(total) else 1


def _last_token_again(run: Observation, row: int, head: int) -> Counts:
    """The last token counts as often as comes nearest to out, everything else once."""
    weights, values = weights_of(run, row, head)
    times = torch.arange(1, MAX_COUNT + 1)[:, None]
    out = (values.sum(0) + (times - 1) * values[-1]) / (weights.sum() + (times - 1) * weights[-1])
    error = torch.nan_to_num((out - run.out[row, head]).abs().amax(-1), nan=torch.inf)
    return (*[1] * (len(values) - 1), int(error.argmin()) + 1)


def _nearest_counts(run: Observation, row: int, head: int) -> Counts:
    """Those that solve the equations of all heads."""
    factors, values = _equations(run, row)
    found = _solve(factors, values, 1.0)
    if run.lse is None:  # a multiple of all counts gives the same out: most tokens count once
        unit = float(found[found > COUNTED * found.max()].median()) if float(found.max()) > 0 else 1.0
        found = _solve(factors, values, unit) / unit
    return tuple(found.round().clamp(0, MAX_COUNT).int().tolist())


def _has_enough_equations(run: Observation) -> bool:
    tokens = (sum(end - first for first, end in run.experiment.correct.visibility.spans[row]) for row in wrong_heads(run))
    _, heads, dims = run.out.shape
    return heads * (dims + (run.lse is not None)) >= max(tokens, default=0)


def _equations(run: Observation, row: int) -> tuple[Tensor, Tensor]:
    """Factors of the counts [equations, tokens], and what they add up to, in units of the error that is allowed."""
    experiment = run.experiment
    right = experiment.predict(experiment.correct)
    seen = gather_row(experiment.memory, experiment.correct, row, slice(0, run.out.shape[1]))
    top = seen.scores.amax(-1)
    weights = (seen.scores - top[:, None]).exp()
    sinks = torch.zeros_like(top) if seen.sinks is None else (seen.sinks - top).exp()
    total = weights.sum(-1) + sinks
    group = run.out.shape[1] // seen.v.shape[1]
    v, out = (seen.v * seen.v_scale).permute(1, 2, 0).repeat_interleave(group, dim=0), run.out[row]
    factors = weights[:, None] * (v - out[..., None])  # [heads, dims, tokens]
    error = right.out_bound[row] * total[:, None]
    equations = [(factors / error[..., None]).flatten(0, 1)], [(out * sinks[:, None] / error).flatten()]
    if run.lse is not None:
        sums = (run.lse[row] - top).exp()
        error = right.lse_bound[row] * torch.maximum(sums, total)
        equations[0].append(weights / error[:, None])
        equations[1].append((sums - sinks) / error)
    factors, values = torch.cat(equations[0]), torch.cat(equations[1])
    usable = torch.isfinite(values) & torch.isfinite(factors).all(-1)
    return factors[usable], values[usable]


def _solve(factors: Tensor, values: Tensor, usual: float) -> Tensor:
    """The counts by least squares; one that no equation tells is the usual one."""
    tokens = factors.shape[1]
    normal = factors.T @ factors + torch.eye(tokens, dtype=torch.float64)
    solution: Tensor = torch.linalg.solve(normal, factors.T @ values + usual)
    return solution


def _spans(first: int, counts: Counts) -> tuple[Span, ...]:
    """Runs of tokens; one that counts n times is in n of them."""
    levels = range(1, max(counts, default=0) + 1)
    return tuple((first + a, first + b) for level in levels for a, b in _runs(counts, lambda n, least=level: n >= least))  # type: ignore[misc]


def _runs(counts: Counts, belongs: Callable[[int], bool]) -> Iterator[Span]:
    """Runs [a, b) of tokens with a count that belongs."""
    for chosen, run in itertools.groupby(enumerate(counts), lambda numbered: belongs(numbered[1])):
        if chosen:
            places = [place for place, _ in run]
            yield places[0], places[-1] + 1


def _describe(fits: list[Fit]) -> tuple[str, str]:
    rows = [(fit, row, _counts_of(fit, row)) for fit in fits for row in fit.changed_rows]
    all_counts = [counts for _, _, counts in rows]
    fit, row, counts = rows[0]
    first, end = fit.correct.visibility.spans[row][0]
    parts = (_words(first, counts, number) for number in sorted({*counts} - {1}))
    return _name(all_counts), f"of {fit.case.row_name(row)}, which sees {end - first}, {', and '.join(parts)}{_as_if(all_counts)}"


def _counts_of(fit: Fit, row: int) -> Counts:
    ((first, end),) = fit.correct.visibility.spans[row]
    spans = fit.faulty.visibility.spans[row]
    return tuple(sum(a <= token < b for a, b in spans) for token in range(first, end))


def _words(first: int, counts: Counts, number: int) -> str:
    """`tokens 3 to 5 and token 9 count twice`."""
    runs = list(_runs(counts, lambda n: n == number))
    where = " and ".join(token_range(first + a, first + b) for a, b in runs[:3]) + " and others" * (len(runs) > 3)
    one = len(runs) == 1 and runs[0][1] - runs[0][0] == 1
    if number == 0:
        return f"{where} do{'es' * one} not count"
    return f"{where} count{'s' * one} {'twice' if number == 2 else f'{number} times'}"


def _name(rows: list[Counts]) -> str:
    dropped, repeated = any(0 in counts for counts in rows), any(max(counts) > 1 for counts in rows)
    if dropped and repeated:
        return "tokens-miscounted"
    return "tokens-dropped" if dropped else "tokens-twice" if max(map(max, rows)) == 2 else "tokens-repeated"


def _as_if(rows: list[Counts]) -> str:
    """What all rows have in common."""
    if all({*counts[:-1]} <= {1} and counts[-1] > 1 for counts in rows):
        return ": the last token, as if each split counted it"
    if all({*counts} == {0, counts[-1]} and counts[-1] > 0 and len([*_runs(counts, bool)]) == 1 for counts in rows):
        return ": as if the last split took the place of every split"
    dropped, repeated = any(0 in counts for counts in rows), any(max(counts) > 1 for counts in rows)
    how = " and ".join(["left gaps"] * dropped + ["overlapped"] * repeated)
    return f": as if the splits of a sequence {how}"


TOKEN_COUNTS = FittedFault(
    _fit, _describe, ("tokens-dropped", "tokens-twice", "tokens-repeated", "tokens-miscounted"), _has_enough_equations
)
