"""Faults with numbers that only the output tells, found anew in every run: runs of tokens that do not count or count twice,
and parts without tokens that count. What is found must predict the whole output, so that it cannot be found by chance.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.diagnose.access_model import AccessModel, Span, span
from fuzz_decode.diagnose.diagnosis import Diagnosis
from fuzz_decode.diagnose.observation import Observation
from fuzz_decode.diagnose.predict import gather

MAX_TOKENS = 512  # of a sequence: pairs of tokens are tried
MAX_PHANTOMS = 64
MAX_SINKS = 32
MORE_RUNS = 10
CONFIRMATIONS = 2


@dataclass(frozen=True, slots=True)
class Found:
    """The correct reading of a run and the one that explains it."""

    case: Case
    correct: AccessModel
    faulty: AccessModel

    @property
    def changed(self) -> list[int]:
        """Rows that see other tokens."""
        return [row for row, spans in enumerate(self.correct.spans) if self.faulty.spans[row] != spans]


@dataclass(frozen=True, slots=True)
class Latent:
    """`find` gives the reading that may explain a run; `words` names and says what was found in all that are wrong."""

    find: Callable[[Observation], AccessModel | None]
    words: Callable[[list[Found]], tuple[str, str]]


def search(seen: list[Observation], more: Iterable[Observation], deadline: float) -> Diagnosis | None:
    """The first latent fault that explains every run, those of `more` included, which are made until enough of them are wrong."""
    found: dict[Latent, list[Found | None]] = {}
    for latent in LATENTS:
        found[latent] = [None if time.monotonic() > deadline else _explained(latent, run) for run in seen]
    alive = [latent for latent, readings in found.items() if None not in readings]
    confirmed = 0
    if alive:
        for number, run in enumerate(more, 1):
            for latent in alive:
                found[latent].append(_explained(latent, run))
            alive = [latent for latent in alive if found[latent][-1] is not None]
            confirmed += not run.is_explained_by(run.scene.correct)
            if not alive or confirmed >= CONFIRMATIONS or number >= MORE_RUNS:
                break
    if not alive:
        return None
    readings = [one for one in found[alive[0]] if one is not None and one.correct != one.faulty]
    evidence = tuple(f"explained: {run.label}" for run in seen)
    return Diagnosis(*alive[0].words(readings), True, evidence)


def _explained(latent: Latent, run: Observation) -> Found | None:
    """None if the run cannot be explained so; one that is right needs no fault."""
    case, correct = run.scene.problem.case, run.scene.correct
    if run.is_explained_by(correct):
        return Found(case, correct, correct)
    reading = latent.find(run)
    return Found(case, correct, reading) if reading is not None and run.is_explained_by(reading) else None


def wrong_heads(run: Observation) -> dict[int, int]:
    """The first q head that is wrong, for each row that has one."""
    right = run.scene.predict(run.scene.correct)
    close = ((run.out - right.out).abs() <= right.out_bound).all(-1)
    if run.lse is not None:
        close &= ((run.lse - right.lse).abs() <= right.lse_bound) | (run.lse == right.lse)
    return {row: int((~heads).int().argmax()) for row, heads in enumerate(close) if not bool(heads.all())}


def _weights(run: Observation, row: int, head: int) -> tuple[Tensor, Tensor]:
    """Of the tokens that a row sees, relative to the largest: weights [tokens + 1], first that of the sink, and weighted V."""
    reading = run.scene.correct
    ((first, end),) = reading.spans[row]
    seen, _ = gather(run.scene.problem, reading, row, slice(head, head + 1), torch.arange(first, end))
    scores = seen.scores()[0]
    sink = torch.full((1,), -torch.inf, dtype=torch.float64) if seen.sinks is None else seen.sinks
    weights = (torch.cat([sink, scores]) - scores.max()).exp()
    return weights, weights[1:, None] * seen.v[:, 0] * seen.v_scale


def _counted(times: int) -> Callable[[Observation], AccessModel | None]:
    """For each wrong row the run of tokens [a, b) that, counted so many times, comes nearest to the output."""

    def find(run: Observation) -> AccessModel | None:
        reading = run.scene.correct
        spans = list(reading.spans)
        for row, head in wrong_heads(run).items():
            if len(spans[row]) != 1 or spans[row][0][1] - spans[row][0][0] > MAX_TOKENS:
                return None
            spans[row] = _respanned(spans[row][0], *_nearest(run, row, head, times - 1), times)
        return dataclasses.replace(reading, spans=tuple(spans))

    return find


def _nearest(run: Observation, row: int, head: int, added: int) -> tuple[int, int]:
    """a and b, as places among the visible tokens, for which out comes nearest when [a, b) counts `added` times more."""
    weights, values = _weights(run, row, head)
    start = torch.cat([weights[:1], torch.zeros(values.shape[1])])  # the sink counts as it should
    sums = start + torch.cat([torch.zeros(1, len(start)), torch.cat([weights[1:, None], values], 1).cumsum(0)])
    best = (torch.inf, 0, 0)
    for a in range(len(values)):
        total = sums[-1] + added * (sums[a + 1 :] - sums[a])
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
    correct = run.scene.correct
    if not correct.sink:
        return None
    readings = [dataclasses.replace(correct, sink=())]
    readings += [dataclasses.replace(correct, sink_count=count) for count in range(2, MAX_SINKS + 1)]
    return next((reading for reading in readings if run.is_explained_by(reading)), None)


def _phantoms(run: Observation) -> AccessModel | None:
    """How many tokens of score 0 and value 0 each row must have seen besides its own."""
    counts = [0] * run.scene.problem.case.num_rows
    for row, head in wrong_heads(run).items():
        counts[row] = _phantoms_of(run, row, head)
        if not 1 <= counts[row] <= MAX_PHANTOMS:
            return None
    return dataclasses.replace(run.scene.correct, phantoms=tuple(counts))


def _phantoms_of(run: Observation, row: int, head: int) -> int:
    """They make the denominator larger, by 1 each: out = exact * e**lse / (e**lse + n)."""
    right = run.scene.predict(run.scene.correct)
    if not run.scene.correct.spans[row]:
        alone = torch.tensor(0.0) if run.lse is None else run.lse[row, head].exp()
        return round(float(torch.nan_to_num(alone, 0.0, 0.0, 0.0)))
    exact, got = right.out[row, head], run.out[row, head]
    share = (exact * got).sum() / (got * got).sum().clamp(min=1e-300)
    extra = float((share - 1) * right.lse[row, head].exp())
    return round(extra) if abs(extra) <= MAX_PHANTOMS else 0


def _dropped_words(pairs: list[Found]) -> tuple[str, str]:
    parts = [_missing(found.correct.spans[row][0], found.faulty.spans[row]) for found in pairs for row in found.changed]
    row = pairs[0].changed[0]
    (a, b), (first, end) = parts[0], pairs[0].correct.spans[row][0]
    words = f"{_range(a, b)} of {pairs[0].case.row_name(row)}, which sees {end - first}, do{'es' * (b - a == 1)} not count"
    ends = [found.correct.spans[row][0][1] for found in pairs for row in found.changed]
    if all(b == end for (_, b), end in zip(parts, ends, strict=True)):
        unit = next((unit for unit in (256, 128, 64, 32, 16) if all(a % unit == 0 for a, _ in parts)), None)
        words += ": the newest ones are left out"
        if unit:
            words += f", from a multiple of {unit} on, as if the last split or tile were not merged"
    return "tokens-dropped", words


def _twice_words(pairs: list[Found]) -> tuple[str, str]:
    row = pairs[0].changed[0]
    a, b = pairs[0].faulty.spans[row][1]
    return "tokens-twice", f"{_range(a, b)} of {pairs[0].case.row_name(row)} count{'s' * (b - a == 1)} twice"


def _phantom_words(pairs: list[Found]) -> tuple[str, str]:
    row, count = next((row, count) for row, count in enumerate(pairs[0].faulty.phantoms) if count)
    what = f"{count} token{'s' * (count > 1)} of score 0 and value 0 count{'s' * (count == 1)}"
    what += f" beside those of {pairs[0].case.row_name(row)}"
    totals = [
        found.correct.position[row] + 1 + count for found in pairs for row, count in enumerate(found.faulty.phantoms) if count
    ]
    if all(total % 16 == 0 for total in totals):
        return "tail-weighs-in", f"{what}: as if lanes past the end, up to a multiple of 16, scored 0 instead of -inf"
    return "empty-split-not-neutral", f"{what}: as if splits without a visible token took part in the merge with lse 0, not -inf"


def _sink_words(pairs: list[Found]) -> tuple[str, str]:
    counts = sorted({found.faulty.sink_count if found.faulty.sink else 0 for found in pairs})
    if counts == [0]:
        return "sinks-ignored", "sinks are ignored, though not always"
    times = " or ".join(map(str, counts))
    return "sink-for-each-split", f"sinks count {times} times, which depends on the case: as if once for each split"


def _missing(visible: Span, left: tuple[Span, ...]) -> Span:
    first, end = visible
    if not left:
        return visible
    if len(left) == 2:
        return left[0][1], left[1][0]
    return (first, left[0][0]) if left[0][0] > first else (left[0][1], end)


def _range(a: int, b: int) -> str:
    return f"token {a}" if b - a == 1 else f"tokens {a} to {b - 1}"


LATENTS = (
    Latent(_counted(0), _dropped_words),
    Latent(_counted(2), _twice_words),
    Latent(_phantoms, _phantom_words),
    Latent(_sinks, _sink_words),
)
