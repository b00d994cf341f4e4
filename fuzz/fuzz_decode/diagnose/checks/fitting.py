"""Faults whose numbers are fitted to a run's output, and the sentences that say them: runs of tokens that do not count or count
twice, tokens that do not exist but count, and sinks that count several times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.diagnose.access_model import AccessModel, Span, replace, span
from fuzz_decode.diagnose.gather import gather_row
from fuzz_decode.diagnose.observation import Observation

MAX_TOKENS = 4096  # of a sequence: all pairs of tokens are tried
MAX_EXTRA_TOKENS = 64
MAX_SINK_COUNT = 32


@dataclass(frozen=True, slots=True)
class Fit:
    """The correct model of a run and the one that explains it; the same where the run is right."""

    case: Case
    correct: AccessModel
    faulty: AccessModel

    @property
    def changed_rows(self) -> list[int]:
        """Rows that see other tokens."""
        return [row for row, spans in enumerate(self.correct.visibility.spans) if self.faulty.visibility.spans[row] != spans]


@dataclass(frozen=True, slots=True)
class FittedFault:
    """A fault whose numbers are fitted to each run."""

    fit: Callable[[Observation], AccessModel | None]
    """The model that may explain a run; None if there is none."""
    describe: Callable[[list[Fit]], tuple[str, str]]
    """The fault's name and sentence, from the fits of all wrong runs."""
    names: tuple[str, ...]
    """Names that `describe` may give."""
    tells: Callable[[Observation], bool] = lambda run: True
    """Whether the output of a run is enough to find the numbers."""


def wrong_heads(run: Observation) -> dict[int, int]:
    """The first q head that is wrong, for each row that has one."""
    right = run.experiment.predict(run.experiment.correct)
    close = ((run.out - right.out).abs() <= right.out_bound).all(-1)
    if run.lse is not None:
        close &= ((run.lse - right.lse).abs() <= right.lse_bound) | (run.lse == right.lse)
    return {row: int((~heads).int().argmax()) for row, heads in enumerate(close) if not bool(heads.all())}


def weights_of(run: Observation, row: int, head: int) -> tuple[Tensor, Tensor]:
    """Of the tokens that a row sees, relative to the largest: weights [tokens + 1], first that of the sink, and weighted V."""
    experiment = run.experiment
    seen = gather_row(experiment.memory, experiment.correct, row, slice(head, head + 1))
    scores = seen.scores[0]
    sink = torch.full((1,), -torch.inf, dtype=torch.float64) if seen.sinks is None else seen.sinks
    weights = (torch.cat([sink, scores]) - scores.max()).exp()
    return weights, weights[1:, None] * seen.v[:, 0] * seen.v_scale


def _counted(times: int) -> Callable[[Observation], AccessModel | None]:
    """For each wrong row the run of tokens [a, b) that, counted that many times, comes nearest to the output."""

    def fit(run: Observation) -> AccessModel | None:
        correct = run.experiment.correct
        spans = list(correct.visibility.spans)
        for row, head in wrong_heads(run).items():
            if len(spans[row]) != 1 or spans[row][0][1] - spans[row][0][0] > MAX_TOKENS:
                return None
            spans[row] = _respanned(spans[row][0], *nearest_run(run, row, head, times), times)
        return replace(correct, "visibility", spans=tuple(spans))

    return fit


def nearest_run(run: Observation, row: int, head: int, times: int, others: int = 1) -> Span:
    """a and b, as indices among the visible tokens, for which out comes nearest when [a, b) counts `times` times, the others
    `others` times.

    Out is a quotient of two sums over tokens, so that with prefix sums of both each pair (a, b) costs one subtraction.
    """
    weights, values = weights_of(run, row, head)
    start = torch.cat([weights[:1], torch.zeros(values.shape[1])])  # the sink counts as it should
    sums = torch.cat([torch.zeros(1, len(start)), torch.cat([weights[1:, None], values], 1).cumsum(0)])
    best = (torch.inf, 0, 0)
    for a in range(len(values)):
        total = start + others * sums[-1] + (times - others) * (sums[a + 1 :] - sums[a])
        out = total[:, 1:] / total[:, :1].clamp(min=1e-300)
        error = torch.nan_to_num((out - run.out[row, head]).abs().amax(-1), nan=torch.inf)
        least = int(error.argmin())
        best = min(best, (float(error[least]), a, a + 1 + least))
    return best[1:]


def _respanned(visible: Span, a: int, b: int, times: int) -> tuple[Span, ...]:
    first, end = visible
    if times == 0:
        return (*span(first, first + a), *span(first + b, end))
    return (visible, (first + a, first + b))


def _sinks(run: Observation) -> AccessModel | None:
    """How many times the sinks count, 0 included."""
    correct = run.experiment.correct
    if not correct.scores.sink_head:
        return None
    models = [replace(correct, "scores", sink_head=())]
    models += [replace(correct, "scores", sink_count=count) for count in range(2, MAX_SINK_COUNT + 1)]
    return next((model for model in models if run.is_explained_by(model)), None)


def _extra_tokens(run: Observation) -> AccessModel | None:
    """How many tokens of score 0 and value 0 each row must have seen besides its own."""
    counts = [0] * run.experiment.problem.case.num_rows
    for row, head in wrong_heads(run).items():
        counts[row] = _extra_tokens_of(run, row, head)
        if not 1 <= counts[row] <= MAX_EXTRA_TOKENS:
            return None
    return replace(run.experiment.correct, "visibility", extra_tokens=tuple(counts))


def _extra_tokens_of(run: Observation, row: int, head: int) -> int:
    """They make the denominator larger, by 1 each: out = exact * e**lse / (e**lse + n)."""
    right = run.experiment.predict(run.experiment.correct)
    if not run.experiment.correct.visibility.spans[row]:
        alone = torch.tensor(0.0) if run.lse is None else run.lse[row, head].exp()
        return round(float(torch.nan_to_num(alone, 0.0, 0.0, 0.0)))
    exact, got = right.out[row, head], run.out[row, head]
    share = (exact * got).sum() / (got * got).sum().clamp(min=1e-300)  # least squares over the dims
    extra = float((share - 1) * right.lse[row, head].exp())
    return round(extra) if abs(extra) <= MAX_EXTRA_TOKENS else 0


def _describe_dropped(fits: list[Fit]) -> tuple[str, str]:
    spans = [(fit.correct.visibility.spans[row][0], fit.faulty.visibility.spans[row]) for fit in fits for row in fit.changed_rows]
    dropped = [_missing(visible, left) for visible, left in spans]
    (a, b), (first, end) = dropped[0], spans[0][0]
    name = fits[0].case.row_name(fits[0].changed_rows[0])
    words = f"{token_range(a, b)} of {name}, which sees {end - first}, do{'es' * (b - a == 1)} not count"
    if all(b == end for (_, b), ((_, end), _) in zip(dropped, spans, strict=True)):
        unit = next((unit for unit in (256, 128, 64, 32, 16) if all(a % unit == 0 for a, _ in dropped)), None)
        words += ": the newest ones are left out"
        if unit:
            words += f", from a multiple of {unit} on, as if the last split or tile were not merged"
    return "tokens-dropped", words


def _describe_twice(fits: list[Fit]) -> tuple[str, str]:
    row = fits[0].changed_rows[0]
    a, b = fits[0].faulty.visibility.spans[row][1]
    return "tokens-twice", f"{token_range(a, b)} of {fits[0].case.row_name(row)} count{'s' * (b - a == 1)} twice"


def _describe_extra(fits: list[Fit]) -> tuple[str, str]:
    row, count = next((row, count) for row, count in enumerate(fits[0].faulty.visibility.extra_tokens) if count)
    what = (
        f"{count} extra token{'s' * (count > 1)} of score 0 and value 0 count{'s' * (count == 1)} in {fits[0].case.row_name(row)}"
    )
    totals = [
        fit.correct.scores.position[row] + 1 + count
        for fit in fits
        for row, count in enumerate(fit.faulty.visibility.extra_tokens)
        if count
    ]
    if all(total % 16 == 0 for total in totals):
        return "tail-weighs-in", f"{what}: as if lanes past the end, up to a multiple of 16, scored 0 instead of -inf"
    return "empty-split-not-neutral", f"{what}: as if splits without a visible token took part in the merge with lse 0, not -inf"


def _describe_sinks(fits: list[Fit]) -> tuple[str, str]:
    counts = sorted({fit.faulty.scores.sink_count if fit.faulty.scores.sink_head else 0 for fit in fits})
    if counts == [0]:
        return "sinks-ignored", "sinks are ignored, though not always"
    times = " or ".join(map(str, counts))
    return "sink-for-each-split", f"sinks count {times} times, which depends on the case: as if once for each split"


def _missing(visible: Span, left: tuple[Span, ...]) -> Span:
    """The run of tokens that was taken out of the visible ones."""
    first, end = visible
    if not left:
        return visible
    if len(left) == 2:
        return left[0][1], left[1][0]
    return (first, left[0][0]) if left[0][0] > first else (left[0][1], end)


def token_range(a: int, b: int) -> str:
    """The tokens of a run [a, b), in words."""
    return f"token {a}" if b - a == 1 else f"tokens {a} to {b - 1}"


SIMPLE_FAULTS = (
    FittedFault(_counted(0), _describe_dropped, ("tokens-dropped",)),
    FittedFault(_counted(2), _describe_twice, ("tokens-twice",)),
    FittedFault(_extra_tokens, _describe_extra, ("tail-weighs-in", "empty-split-not-neutral")),
    FittedFault(_sinks, _describe_sinks, ("sinks-ignored", "sink-for-each-split")),
)
