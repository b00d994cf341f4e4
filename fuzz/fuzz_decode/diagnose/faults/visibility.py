"""Faults of visibility: which tokens a row sees (classes T2, W1, P1, K1 and Q2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from fuzz_decode.cases.case import Case
from fuzz_decode.diagnose.access_model import AccessModel, Span, replace, row_ends, span, visible
from fuzz_decode.diagnose.faults.fault import Fault, simple
from fuzz_decode.problems.problem import Problem

TILES = (16, 32, 64, 128, 256, 512, 1024)


def queries() -> Iterator[Fault]:
    """Several query tokens in a sequence: what each of them sees, and where it is (class Q2)."""
    for name, words, rule in (
        (
            "causal-mask-missing",
            "every query token sees what the last one of its sequence may see",
            lambda c, n, last: _cut(c, n, last),
        ),
        (
            "query-window-of-last",
            "every query token uses the last one's window and end",
            lambda c, n, last: visible(last, c.window),
        ),
        ("query-window-start-of-last", "the window of every query token starts where the last one's does", _late_start),
        ("query-window-start-of-first", "the window of every query token starts where the first one's does", _early_start),
        (
            "query-end-of-first",
            "every query token sees what the first one may see",
            lambda c, n, last: visible(last - c.q_len + 1, c.window),
        ),
        (
            "query-from-length",
            "query token i sees i tokens more than there are",
            lambda c, n, last: visible(n + c.q_len - 1, c.window),
        ),
        ("causal-mask-one-less", "a query token does not see itself", lambda c, n, last: _cut(c, n, n - 1)),
    ):
        yield simple(name, words, _per_query(rule))
    for name, words, packed_row in (
        ("query-major", "token by token, not sequence by sequence", lambda c, row: row % c.q_len * c.num_seqs + row // c.q_len),
        (
            "padded-to-4",
            "as if q_len were padded to a multiple of 4",
            lambda c, row: row // c.q_len * (-(-c.q_len // 4) * 4) + row % c.q_len,
        ),
        (
            "reversed-queries",
            "with each sequence's query tokens in reverse",
            lambda c, row: row // c.q_len * c.q_len + c.q_len - 1 - row % c.q_len,
        ),
        ("one-query", "as if each sequence had one query token", lambda c, row: row // c.q_len),
    ):
        single = name == "padded-to-4"  # the one that moves single query tokens, too
        yield simple(f"q-{name}", f"q is read {words}", _repacked(packed_row, ("q_row",), single))
        yield simple(f"out-{name}", f"out is written {words}", _repacked(packed_row, ("out_row",)))
        yield simple(f"q-and-out-{name}", f"q and out are packed {words}", _repacked(packed_row, ("q_row", "out_row")))
    by_number = _repacked(lambda c, row: row % c.num_seqs, ("table_row",))
    yield simple("table-by-query", "row r of q uses the block table row r % num_seqs", by_number)
    first = _repacked(lambda c, row: row // c.q_len * c.q_len, ("table_row",))
    yield simple("table-row-for-each-query", "sequence i uses the block table row i * q_len", first)
    words = "seq_lens is taken not to count the query tokens"
    for within in (False, True):
        beside = resized(lambda c, seq: c.seq_lens[seq] + c.q_len * (c.q_len > 1), within)
        yield simple("query-tokens-beside-seq-len", words, beside)
    clipped = _repacked(lambda c, row: min(row, c.num_seqs - 1), ("table_row",))
    yield simple("table-by-row", "row r of q uses the block table row r", _repacked(lambda c, row: row, ("table_row",)))
    yield simple("table-by-row", "row r of q uses the block table row r", clipped)


def tokens() -> Iterator[Fault]:
    """Which tokens are visible."""
    # the end alone moves, or the length and with it the window, within the table or not: one fault to a user
    for further in (
        _moved_end(lambda c, n: n + 1),
        _moved_end(lambda c, n: min(n + 1, _table_tokens(c))),
        resized(lambda c, seq: c.seq_lens[seq] + 1),
        resized(lambda c, seq: min(c.seq_lens[seq] + 1, _table_tokens(c))),
        resized(lambda c, seq: c.seq_lens[seq] + 1, within_table=True),
    ):
        yield simple("tail-one-more", "one token past the end of the sequence is visible", further)
    yield from _wide_mask("block", lambda c: c.block_size)
    words = "the last token of the sequence is not visible"
    yield simple("tail-one-less", words, _moved_end(lambda c, n: n - 1))
    yield simple("tail-one-less", words, resized(lambda c, seq: c.seq_lens[seq] - 1))
    yield simple("window-ignored", "the window is ignored: all tokens are visible", _respanned(lambda c, n: visible(n, None)))
    more, less = _windowed(lambda w, n: visible(n, w + 1)), _windowed(lambda w, n: visible(n, w - 1))
    yield simple("window-one-more", "one token before the window is visible", more)
    yield simple("window-one-less", "the first token of the window is not visible", less)
    yield simple(
        "window-wrong-end", "the window holds the oldest tokens, not the last", _windowed(lambda w, n: span(0, min(n, w)))
    )
    yield simple("window-from-block", "the window starts at a block's start", _window_to_multiple(lambda c: c.block_size))
    yield simple("first-token-skipped", "the first visible token is skipped", _respanned(lambda c, n: _first(c, n, 1)))
    yield simple(
        "tail-to-block-end",
        "all slots of the last block are visible",
        _moved_end(lambda c, n: -(-n // c.block_size) * c.block_size),
    )
    yield simple(
        "partial-block-dropped",
        "tokens in the last, partly filled block are not visible",
        _moved_end(lambda c, n: n // c.block_size * c.block_size),
    )
    yield simple(
        "last-block-dropped", "the last block is not visible", _moved_end(lambda c, n: (n - 1) // c.block_size * c.block_size)
    )
    yield simple(
        "only-last-block",
        "only the last block is visible",
        _respanned(lambda c, n: span((n - 1) // c.block_size * c.block_size, n)),
    )
    yield simple("only-first-block", "only the first block is visible", _moved_end(lambda c, n: min(n, c.block_size)))
    yield simple("first-block-dropped", "the first block is not visible", _respanned(lambda c, n: span(c.block_size, n)))
    yield simple("first-and-last-block", "only the first and the last block are visible", _respanned(_ends))
    yield simple(
        "length-of-table",
        "the whole width of the block table is visible",
        _respanned(lambda c, n: visible(_table_tokens(c), c.window)),
    )
    for tile in TILES:
        yield from _tiled(tile)


def _tiled(tile: int) -> Iterator[Fault]:
    """Ends and starts at multiples of what a program handles at once."""
    up = _moved_end(lambda c, n: -(-n // tile) * tile)
    yield simple(f"tail-to-{tile}", f"tokens up to the next multiple of {tile} are visible", up)
    down = _moved_end(lambda c, n: n // tile * tile)
    yield simple(f"partial-{tile}-dropped", f"tokens beyond the last multiple of {tile} are not visible", down)
    yield simple(f"only-first-{tile}", f"only the first {tile} tokens are visible", _moved_end(lambda c, n: min(n, tile)))
    yield from _wide_mask(f"tile of {tile}", lambda c: tile)
    last = _respanned(lambda c, n: visible(n, min(tile, c.window or tile)))
    yield simple(f"only-last-{tile}", f"only the last {tile} tokens are visible", last)


def _wide_mask(unit: str, size: Callable[[Case], int]) -> Iterator[Fault]:
    """A loop over whole blocks or tiles whose mask has `<=` for `<`: where the last one is filled, nothing is wrong."""
    words = f"token seq_len is visible if it lies in the last, partly filled {unit}: the mask is `<=` instead of `<`"
    yield simple("tail-mask-one-more", words, _one_more_below(lambda c, last: -(-last // size(c)) * size(c)))
    within_table = _one_more_below(lambda c, last: min(-(-last // size(c)) * size(c), _table_tokens(c)))
    yield simple("tail-mask-one-more", words, within_table)


def _one_more_below(limit: Callable[[Case, int], int]) -> Callable[[Problem, AccessModel], AccessModel]:
    """One more token for each row that sees any, below a limit given the length of its sequence."""

    def change(problem: Problem, model: AccessModel) -> AccessModel:
        case = problem.case
        ends = [(end, limit(case, case.seq_lens[row // case.q_len])) for row, end in enumerate(row_ends(case))]
        spans = (_cut(case, end, min(end + 1, most)) if end > 0 else () for end, most in ends)
        return replace(model, "visibility", spans=tuple(spans))

    return change


def _respanned(rule: Callable[[Case, int], tuple[Span, ...]]) -> Callable[[Problem, AccessModel], AccessModel]:
    """Visible tokens from the number of tokens up to the row; a row that sees nothing still sees nothing."""

    def change(problem: Problem, model: AccessModel) -> AccessModel:
        spans = (rule(problem.case, end) if end > 0 else () for end in row_ends(problem.case))
        return replace(model, "visibility", spans=tuple(spans))

    return change


def _per_query(rule: Callable[[Case, int, int], tuple[Span, ...]]) -> Callable[[Problem, AccessModel], AccessModel | None]:
    """Visible tokens from the row's own end and that of its sequence's last row; only where they differ."""

    def change(problem: Problem, model: AccessModel) -> AccessModel | None:
        case, ends = problem.case, row_ends(problem.case)
        if case.q_len == 1:
            return None
        spans = (rule(case, end, case.seq_lens[row // case.q_len]) for row, end in enumerate(ends))
        return replace(model, "visibility", spans=tuple(spans))

    return change


def _cut(case: Case, own: int, end: int) -> tuple[Span, ...]:
    """From the row's own window start to another end."""
    return span(0 if case.window is None else own - case.window, end)


def _late_start(case: Case, own: int, last: int) -> tuple[Span, ...]:
    return span(0 if case.window is None else last - case.window, own)


def _early_start(case: Case, own: int, last: int) -> tuple[Span, ...]:
    return span(0 if case.window is None else last - case.q_len + 1 - case.window, own)


def _repacked(
    rule: Callable[[Case, int], int], fields: tuple[str, ...], single: bool = False
) -> Callable[[Problem, AccessModel], AccessModel | None]:
    """Another row of some tensors for each row. If each sequence has one row: unchanged, unless `single`."""

    def change(problem: Problem, model: AccessModel) -> AccessModel | None:
        if problem.case.q_len == 1 and not single:
            return None
        used = tuple(rule(problem.case, row) for row in range(problem.case.num_rows))
        return replace(model, "lookup", **dict.fromkeys(fields, used))

    return change


def _moved_end(rule: Callable[[Case, int], int]) -> Callable[[Problem, AccessModel], AccessModel]:
    """Another end; the first visible token stays."""
    return _respanned(lambda case, n: span(0 if case.window is None else n - case.window, rule(case, n)))


def resized(rule: Callable[[Case, int], int], within_table: bool = False) -> Callable[[Problem, AccessModel], AccessModel]:
    """Another length for each sequence, given its index: the start of its window and ALiBi's positions follow, and an empty one
    may get tokens. `within_table`: a row sees the last tokens, at most as many as a row of the block table has columns for."""

    def change(problem: Problem, model: AccessModel) -> AccessModel:
        case = problem.case
        lengths = tuple(rule(case, seq) for seq in range(case.num_seqs))
        ends = row_ends(dataclasses.replace(case, seq_lens=lengths))
        window = min(case.window or _table_tokens(case), _table_tokens(case)) if within_table else case.window
        spans, positions = tuple(visible(end, window) for end in ends), tuple(end - 1 for end in ends)
        return replace(replace(model, "visibility", spans=spans), "scores", position=positions)

    return change


def _windowed(rule: Callable[[int, int], tuple[Span, ...]]) -> Callable[[Problem, AccessModel], AccessModel | None]:
    def change(problem: Problem, model: AccessModel) -> AccessModel | None:
        window = problem.case.window
        return None if window is None else _respanned(lambda case, n: rule(window, n))(problem, model)

    return change


def _window_to_multiple(size: Callable[[Case], int]) -> Callable[[Problem, AccessModel], AccessModel]:
    return _respanned(lambda case, n: span((n - (case.window or n)) // size(case) * size(case), n))


def _table_tokens(case: Case) -> int:
    """Tokens that a row of the block table has columns for."""
    return case.table_width * case.block_size


def _first(case: Case, length: int, skipped: int) -> tuple[Span, ...]:
    return span((0 if case.window is None else max(0, length - case.window)) + skipped, length)


def _ends(case: Case, length: int) -> tuple[Span, ...]:
    size = case.block_size
    last = (length - 1) // size * size
    return span(last, length) if last == 0 else (*span(0, size), *span(last, length))
