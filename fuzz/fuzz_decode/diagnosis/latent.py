"""Faults with numbers that only the output tells, found anew in every run: runs of tokens that do not count or count twice,
and parts without tokens that count. What is found must predict the whole output, so that it cannot be found by chance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from fuzz_decode.diagnosis.model import gather
from fuzz_decode.diagnosis.observation import Observation
from fuzz_decode.diagnosis.reading import Reading, Span, span
from fuzz_decode.diagnosis.result import Diagnosis
from fuzz_decode_reference.gather_attention import attention_scores

MAX_TOKENS = 512  # of a sequence: pairs of tokens are tried
MAX_PHANTOMS = 64
MORE_RUNS = 10
CONFIRMATIONS = 2


@dataclass(frozen=True, slots=True)
class Latent:
    """`find` gives the reading that may explain a run; `words` says what it found, given all readings that explained."""

    name: str
    find: Callable[[Observation], Reading | None]
    words: Callable[[list[tuple[Reading, Reading]]], str]


def search(seen: list[Observation], more: Iterable[Observation]) -> Diagnosis | None:
    """The first latent fault that explains every run, those of `more` included, which are made until enough of them are wrong."""
    found = {latent: [_explained(latent, run) for run in seen] for latent in LATENTS}
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
    readings = [pair for pair in found[alive[0]] if pair is not None and pair[0] != pair[1]]
    evidence = tuple(f"explained: {run.label}" for run in seen)
    return Diagnosis(alive[0].name, alive[0].words(readings), True, evidence)


def _explained(latent: Latent, run: Observation) -> tuple[Reading, Reading] | None:
    """The correct reading and the one that explains the run; None if none is found."""
    correct = run.scene.correct
    if run.is_explained_by(correct):
        return correct, correct
    reading = latent.find(run)
    return (correct, reading) if reading is not None and run.is_explained_by(reading) else None


def wrong_heads(run: Observation) -> dict[int, int]:
    """The first q head that is wrong, for each sequence that has one."""
    right = run.scene.predict(run.scene.correct)
    close = ((run.out - right.out).abs() <= right.out_bound).all(-1)
    if run.lse is not None:
        close &= ((run.lse - right.lse).abs() <= right.lse_bound) | (run.lse == right.lse)
    return {seq: int((~row).int().argmax()) for seq, row in enumerate(close) if not bool(row.all())}


def _weights(run: Observation, seq: int, head: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of the visible tokens: weights, relative to the largest, weighted V [tokens, dim], and the largest score."""
    reading = run.scene.correct
    ((first, end),) = reading.spans[seq]
    rows = gather(run.scene.problem, reading, seq, slice(head, head + 1), torch.arange(first, end))
    scores = attention_scores(rows.q, rows.k, reading.scale, reading.softcap)[0]
    weights = (scores - scores.max()).exp()
    return weights, weights[:, None] * rows.v[:, 0], scores.max()


def _counted(times: int) -> Callable[[Observation], Reading | None]:
    """For each wrong sequence the run of tokens [a, b) that, counted so many times, comes nearest to the output."""

    def find(run: Observation) -> Reading | None:
        reading = run.scene.correct
        spans = list(reading.spans)
        for seq, head in wrong_heads(run).items():
            if len(spans[seq]) != 1 or spans[seq][0][1] - spans[seq][0][0] > MAX_TOKENS:
                return None
            spans[seq] = _respanned(spans[seq][0], *_nearest(run, seq, head, times - 1), times)
        return dataclasses.replace(reading, spans=tuple(spans))

    return find


def _nearest(run: Observation, seq: int, head: int, added: int) -> tuple[int, int]:
    """a and b, as places among the visible tokens, for which out comes nearest when [a, b) counts `added` times more."""
    weights, values, _ = _weights(run, seq, head)
    sums = torch.cat([torch.zeros(1, values.shape[1] + 1), torch.cat([weights[:, None], values], 1).cumsum(0)])
    best = (torch.inf, 0, 0)
    for a in range(len(weights)):
        total = sums[-1] + added * (sums[a + 1 :] - sums[a])
        out = total[:, 1:] / total[:, :1].clamp(min=1e-300)
        error = torch.nan_to_num((out - run.out[seq, head]).abs().amax(-1), nan=torch.inf)
        least = int(error.argmin())
        best = min(best, (float(error[least]), a, a + 1 + least))
    return best[1:]


def _respanned(visible: Span, a: int, b: int, times: int) -> tuple[Span, ...]:
    first, end = visible
    if times == 0:
        return (*span(first, first + a), *span(first + b, end))
    return (visible, (first + a, first + b))


def _phantoms(run: Observation) -> Reading | None:
    """How many tokens of score 0 and value 0 each sequence must have seen besides its own."""
    counts = [0] * run.scene.problem.case.num_seqs
    for seq, head in wrong_heads(run).items():
        counts[seq] = _phantoms_of(run, seq, head)
        if not 1 <= counts[seq] <= MAX_PHANTOMS:
            return None
    return dataclasses.replace(run.scene.correct, phantoms=tuple(counts))


def _phantoms_of(run: Observation, seq: int, head: int) -> int:
    """They make the denominator larger, by 1 each: out = exact * e**lse / (e**lse + n)."""
    right = run.scene.predict(run.scene.correct)
    if not run.scene.correct.spans[seq]:
        alone = torch.tensor(0.0) if run.lse is None else run.lse[seq, head].exp()
        return round(float(torch.nan_to_num(alone, 0.0, 0.0, 0.0)))
    exact, got = right.out[seq, head], run.out[seq, head]
    share = (exact * got).sum() / (got * got).sum().clamp(min=1e-300)
    extra = float((share - 1) * right.lse[seq, head].exp())
    return round(extra) if abs(extra) <= MAX_PHANTOMS else 0


def _dropped_words(pairs: list[tuple[Reading, Reading]]) -> str:
    parts = [_missing(correct.spans[seq][0], faulty.spans[seq]) for correct, faulty in pairs for seq in _changed(correct, faulty)]
    correct, faulty = pairs[0]
    seq = _changed(correct, faulty)[0]
    (a, b), (first, end) = parts[0], correct.spans[seq][0]
    words = f"{_range(a, b)} of sequence {seq}, which sees {end - first}, do{'es' * (b - a == 1)} not count"
    if all(b == end for (_, b), end in zip(parts, _ends(pairs), strict=True)):
        unit = next((unit for unit in (256, 128, 64, 32, 16) if all(a % unit == 0 for a, _ in parts)), None)
        words += ": the newest ones are left out"
        if unit:
            words += f", from a multiple of {unit} on, as if the last split or tile were not merged"
    return words


def _twice_words(pairs: list[tuple[Reading, Reading]]) -> str:
    correct, faulty = pairs[0]
    seq = _changed(correct, faulty)[0]
    a, b = faulty.spans[seq][1]
    return f"{_range(a, b)} of sequence {seq} count{'s' * (b - a == 1)} twice"


def _phantom_words(pairs: list[tuple[Reading, Reading]]) -> str:
    most = max(max(faulty.phantoms) for _, faulty in pairs)
    seq, count = next((seq, count) for seq, count in enumerate(pairs[0][1].phantoms) if count)
    more = f"{count} token{'s' * (count > 1)} of score 0 and value 0 count{'s' * (count == 1)} beside those of sequence {seq}"
    return (
        f"{more}: splits without a visible token take part in the merge with lse 0 instead of -inf"
        + f" (up to {most} of them)" * (most > count)
    )


def _changed(correct: Reading, faulty: Reading) -> list[int]:
    return [seq for seq, spans in enumerate(correct.spans) if faulty.spans[seq] != spans]


def _ends(pairs: list[tuple[Reading, Reading]]) -> list[int]:
    return [correct.spans[seq][0][1] for correct, faulty in pairs for seq in _changed(correct, faulty)]


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
    Latent("tokens-dropped", _counted(0), _dropped_words),
    Latent("tokens-twice", _counted(2), _twice_words),
    Latent("empty-split-not-neutral", _phantoms, _phantom_words),
)
