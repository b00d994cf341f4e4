"""GitHub Actions: findings as annotations and in the step's summary. Outside of it nothing is printed.

GitHub's runner executes lines of the output that begin with ::command:: (leading blanks are ignored), and ##[command] anywhere.
The output quotes files and targets, which are untrusted: commands are stopped except around the lines of this module.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator, Sequence

from fuzz_decode.errors import complain
from fuzz_decode.report.ci.check import BROKEN, FAILED, Check
from fuzz_decode.text import one_line

RESUME = secrets.token_hex(16)  # ends stop-commands; random, so that no quoted text can
MAX_CELL = 300  # characters
MAX_ROWS = 50  # GitHub shows ten annotations of a step, and no summary beyond a megabyte


@contextlib.contextmanager
def commands_stopped() -> Iterator[None]:
    """Within GitHub Actions, keep the runner from executing commands in the output meanwhile."""
    if not inside():
        yield
        return
    print(f"::stop-commands::{RESUME}", flush=True)
    try:
        yield
    finally:
        print(f"::{RESUME}::", flush=True)


def report(title: str, lines: Sequence[str], checks: Sequence[Check]) -> None:
    """Within GitHub Actions, annotate the run with the failures, and append the lines and a table to the step's summary."""
    if not inside():
        return
    bad = [check for check in checks if check.status in (FAILED, BROKEN)]
    print("\n".join([f"::{RESUME}::", *map(annotation, bad[:MAX_ROWS]), f"::stop-commands::{RESUME}"]), flush=True)
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with open(path, "a", encoding="utf-8") as file:
                file.write(summary(title, lines, bad))
        except OSError as error:  # the result is in the exit code, too
            complain(f"GITHUB_STEP_SUMMARY {path} cannot be written: {error.strerror}")


def inside() -> bool:
    return os.environ.get("GITHUB_ACTIONS") == "true"


def annotation(check: Check) -> str:
    """The workflow command that shows the check on the run's page."""
    title = _escaped(one_line(f"fuzz-decode: {check.signature or check.path or check.name}", MAX_CELL))
    message = "\n".join(one_line(text, 1000) for text in (check.message, check.repro) if text)
    return f"::error title={title.replace(':', '%3A').replace(',', '%2C')}::{_escaped(message)}"


def summary(title: str, lines: Sequence[str], bad: Sequence[Check]) -> str:
    """Markdown: the lines, a table of the failures, and the commands that reproduce them."""
    parts = [f"### {_literally(title)}", *map(_literally, lines)]
    if bad:
        rows = [(check.signature or check.status, str(check.count), check.message, check.path) for check in bad[:MAX_ROWS]]
        cells = ["| " + " | ".join(map(_literally, row)) + " |" for row in rows]
        parts.append("\n".join(["| finding | cases | message | case file |", "|---|---|---|---|", *cells]))
    if len(bad) > MAX_ROWS:
        parts.append(f"and {len(bad) - MAX_ROWS} more")
    if commands := [one_line(check.repro) for check in bad[:MAX_ROWS] if check.repro]:
        parts.append("\n".join(["```console", *commands, "```"]))
    return "\n\n".join(parts) + "\n\n"


def _escaped(data: str) -> str:
    return data.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _literally(text: str) -> str:
    """A line that Markdown shows literally: punctuation as character references has no meaning in Markdown or HTML."""
    return re.sub(r"[!-/:-@\[-`{-~]", lambda mark: f"&#{ord(mark[0])};", one_line(text, MAX_CELL))
