"""GitHub Actions: findings as annotations and in the step's summary; nothing of it elsewhere.

GitHub's runner obeys lines of the output that begin with ::command:: (blanks before it count for nothing), and ##[command]
wherever it stands. What we print quotes files and targets, so that commands are stopped while we print anything else than ours.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator, Sequence

from fuzz_decode.errors import print_error
from fuzz_decode.report.ci.check import BROKEN, FAILED, Check
from fuzz_decode.text import one_line

RESUME = secrets.token_hex(16)  # nobody can guess it, so that no text can end what stop-commands begins
CELL = 300  # characters
MOST = 50  # rows; GitHub shows ten annotations of a step, and no summary beyond a megabyte


@contextlib.contextmanager
def commands_stopped() -> Iterator[None]:
    """Within GitHub Actions, keep the runner from obeying what is printed meanwhile."""
    if not inside():
        yield
        return
    print(f"::stop-commands::{RESUME}", flush=True)
    try:
        yield
    finally:
        print(f"::{RESUME}::", flush=True)


def tell(title: str, lines: Sequence[str], checks: Sequence[Check]) -> None:
    """Within GitHub Actions, annotate the run with what failed, and append the lines and a table of it to the step's summary."""
    if not inside():
        return
    bad = [check for check in checks if check.status in (FAILED, BROKEN)]
    print("\n".join([f"::{RESUME}::", *map(annotation, bad[:MOST]), f"::stop-commands::{RESUME}"]), flush=True)
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with open(path, "a", encoding="utf-8") as file:
                file.write(summary(title, lines, bad))
        except OSError as error:  # the answer is in the exit code
            print_error(f"GITHUB_STEP_SUMMARY {path} cannot be written: {error.strerror}")


def inside() -> bool:
    return os.environ.get("GITHUB_ACTIONS") == "true"


def annotation(check: Check) -> str:
    """The workflow command that shows the check on the run's page."""
    title = _escaped(one_line(f"fuzz-decode: {check.signature or check.path or check.name}", CELL))
    message = "\n".join(one_line(text, 1000) for text in (check.message, check.repro) if text)
    return f"::error title={title.replace(':', '%3A').replace(',', '%2C')}::{_escaped(message)}"


def summary(title: str, lines: Sequence[str], bad: Sequence[Check]) -> str:
    """Markdown: what was done, a table of what failed, and how to see it again."""
    parts = [f"### {_literally(title)}", *map(_literally, lines)]
    if bad:
        rows = [(check.signature or check.status, str(check.count), check.message, check.path) for check in bad[:MOST]]
        cells = ["| " + " | ".join(map(_literally, row)) + " |" for row in rows]
        parts.append("\n".join(["| finding | cases | what is wrong | case file |", "|---|---|---|---|", *cells]))
    if len(bad) > MOST:
        parts.append(f"and {len(bad) - MOST} more")
    if again := [one_line(check.repro) for check in bad[:MOST] if check.repro]:
        parts.append("\n".join(["```console", *again, "```"]))
    return "\n\n".join(parts) + "\n\n"


def _escaped(data: str) -> str:
    return data.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _literally(text: str) -> str:
    """A line that Markdown shows as it is: a punctuation mark written as a reference has no meaning to it, nor to HTML."""
    return re.sub(r"[!-/:-@\[-`{-~]", lambda mark: f"&#{ord(mark[0])};", one_line(text, CELL))
