"""Tasks for contributors: `nox -l` lists them, `nox` runs lint, typecheck and test; what follows `--` is passed on.

They run in the environment that nox is called from (`pip install -c constraints.txt -e '.[dev]'`), since one environment per
task would be as many copies of torch. `.ci/run` says what must pass, in an environment of its own.
"""

from __future__ import annotations

import nox

nox.needs_version = ">=2024.4.15"
nox.options.sessions = ["lint", "typecheck", "test"]


@nox.session(python=False)
def lint(session: nox.Session) -> None:
    """Ruff and its formatter; `pre-commit run --all-files` adds the bans."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(python=False)
def typecheck(session: nox.Session) -> None:
    """mypy, strict."""
    session.run("mypy", *session.posargs)


@nox.session(python=False)
def test(session: nox.Session) -> None:
    """The tests that one runs between two edits: a few minutes on two cores."""
    session.run("pytest", "-n", "auto", *session.posargs)


@nox.session(python=False)
def test_slow(session: nox.Session) -> None:
    """Every test that needs no GPU, as .ci/run does."""
    session.run("pytest", "-n", "auto", "-m", "not gpu", *session.posargs)


@nox.session(python=False)
def docs(session: nox.Session) -> None:
    """The documentation, into dist/docs; a warning is an error."""
    session.run("sphinx-build", "-W", "--keep-going", "-n", "docs", "dist/docs", *session.posargs)


@nox.session(python=False)
def bench(session: nox.Session) -> None:
    """The bundled kernel beside its peers, on a GPU."""
    session.run("fuzz-decode", "bench", *session.posargs)


@nox.session(python=False)
def triton_matrix(session: nox.Session) -> None:
    """The interpreter's tests with every minor version of Triton from 3.2 on, or with those given."""
    session.run("python", "scripts/triton_matrix.py", *session.posargs)
