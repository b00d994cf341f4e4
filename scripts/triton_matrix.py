"""Run the tests of Triton's interpreter against several Triton versions, and print a table.

    python scripts/triton_matrix.py                 # the newest patch of every minor version that pip offers, from 3.2 on
    python scripts/triton_matrix.py 3.2 3.6.0       # these
    python scripts/triton_matrix.py newest nightly  # nightly: from the package index in $TRITON_NIGHTLY_INDEX

Each version is installed without its dependencies into a temporary folder that precedes the environment's own Triton on
PYTHONPATH; torch stays as it is. Exit code 1 if a version cannot be installed, fails a test, or runs none.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

REPO = Path(__file__).parents[1]
TESTS = REPO / "fuzz" / "tests" / "interpreter"
SOURCES = tuple(REPO / name for name in ("fuzz", "kernels", "reference"))
OLDEST = (3, 2)
NIGHTLY_INDEX = "TRITON_NIGHTLY_INDEX"
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
CANNOT_INSTALL = "cannot be installed"


@dataclass(frozen=True, slots=True)
class Row:
    """What one version came to; `failures` has a line for each failed test."""

    version: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return self.passed > 0 and not self.failed and not self.failures


def offered() -> list[str]:
    """The newest patch of each minor version from OLDEST on that pip finds for this Python, oldest first."""
    listing = subprocess.run([*PIP, "index", "versions", "triton"], check=True, capture_output=True, text=True).stdout
    available = re.search(r"^Available versions: (.*)$", listing, re.MULTILINE)
    numbers = [tuple(map(int, text.split("."))) for text in (available[1] if available else "").split(", ") if text]
    newest = {number[:2]: number for number in sorted(numbers) if number >= OLDEST}
    return [".".join(map(str, number)) for number in newest.values()]


def requirement(version: str) -> list[str]:
    """What pip is asked for: 3.2.0, 3.2 (its newest patch), newest or nightly."""
    if version == "newest":
        return ["triton"]
    if version == "nightly":
        if not os.environ.get(NIGHTLY_INDEX):
            sys.exit(f"nightly needs the address of a package index in {NIGHTLY_INDEX}")
        return ["--pre", "--index-url", os.environ[NIGHTLY_INDEX], "triton"]
    return [f"triton=={version}" if version.count(".") > 1 else f"triton=={version}.*"]


def run_tests(version: str, tests: Sequence[Path]) -> Row:
    """Install one version beside the environment's, and run the tests with it."""
    with tempfile.TemporaryDirectory(prefix="triton-") as folder:
        site, report = Path(folder, "site"), Path(folder, "report.xml")
        install = [*PIP, "install", "--quiet", "--no-deps", "--target", str(site), *requirement(version)]
        if subprocess.run(install).returncode:
            return Row(version, failures=(CANNOT_INSTALL,))
        path = os.pathsep.join([str(site), *map(str, SOURCES), *filter(None, [os.environ.get("PYTHONPATH")])])
        options = ["-q", "-p", "no:cacheprovider", "-m", "not gpu", "--continue-on-collection-errors", f"--junit-xml={report}"]
        command = [sys.executable, "-m", "pytest", *options, *map(str, tests)]
        environment = {**os.environ, "PYTHONPATH": path}
        ran = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True)
        exact = next(site.glob("triton-*.dist-info"), Path(version)).name.removeprefix("triton-").removesuffix(".dist-info")
        crashed = Row(exact, failures=(f"pytest ended with exit code {ran.returncode}",))
        row = counted(exact, report) if report.exists() else crashed
        if not row.ok:
            print(f"--- Triton {exact}\n{ran.stdout}{ran.stderr}", file=sys.stderr)
        return row


def counted(version: str, report: Path) -> Row:
    """A row from pytest's JUnit report; errors (of collection, say) are failures."""
    kinds: Counter[str] = Counter()
    failures = []
    for test in ElementTree.parse(report).iter("testcase"):
        problem = next((child for child in test if child.tag in ("failure", "error")), None)
        kinds["failed" if problem is not None else "skipped" if test.find("skipped") is not None else "passed"] += 1
        if problem is not None:
            reason = (problem.get("message") or "").partition("\n")[0]
            failures.append(f"{test.get('classname', '')}::{test.get('name')}: {reason}".removeprefix("::"))
    return Row(version, kinds["passed"], kinds["failed"], kinds["skipped"], tuple(failures))


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the interpreter's tests against several Triton versions.")
    parser.add_argument("versions", nargs="*", metavar="VERSION", help="3.2, 3.2.0, newest or nightly; default: all of them")
    parser.add_argument("--tests", action="append", type=Path, metavar="PATH", help="files or folders to run instead")
    chosen = parser.parse_args()
    rows = [run_tests(version, chosen.tests or [TESTS]) for version in chosen.versions or offered()]
    print(f"{'triton':<12} {'passed':>6} {'failed':>6} {'skipped':>7}")
    for row in rows:
        print(f"{row.version:<12} {row.passed:>6} {row.failed:>6} {row.skipped:>7}")
    for row in rows:
        for failure in row.failures:
            print(f"{row.version}: {failure}")
    return 0 if rows and all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
