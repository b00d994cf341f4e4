"""What the README and the documentation show is run: Python snippets as they stand, command lines through the real parser."""

from __future__ import annotations

import argparse
import ast
import importlib.util
import inspect
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import fuzz_decode
from fuzz_decode.__main__ import main

ROOT = Path(__file__).parents[3]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in sorted((*ROOT.glob("*.md"), *(ROOT / "corpus").glob("*.md"), *(ROOT / "docs").rglob("*.md")))
}
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(r"(?<![\w/.'-])fuzz-decode(?![\w/.:\[-])([^`]*)")


def python_snippets(text: str) -> list[str]:
    return [code for language, code in FENCE.findall(text) if language == "python"]


def imported_names(code: str) -> set[str]:
    """The public names of fuzz_decode that a snippet imports."""
    nodes = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom) and node.module == "fuzz_decode"]
    return {alias.name for node in nodes for alias in node.names}


def run_snippets(path: Path, snippets: list[str]) -> ModuleType:
    """One namespace for a page, as a module of a file: Triton reads the source of kernels."""
    path.write_text("\n\n".join(snippets))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[path.stem]
    return module


@pytest.mark.slow  # campaigns, as the pages show them
@pytest.mark.parametrize("page", [name for name, text in PAGES.items() if python_snippets(text)])
def test_python_snippets_run_in_order(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that a page defines are called, too."""
    monkeypatch.chdir(tmp_path)
    later = {name for code in python_snippets(PAGES[page]) for name in imported_names(code)} - set(fuzz_decode.__all__)
    if later:
        pytest.skip(f"fuzz_decode does not export {', '.join(sorted(later))} yet")

    module = run_snippets(tmp_path / f"snippets_of_{Path(page).stem.replace('-', '_')}.py", python_snippets(PAGES[page]))

    for name, function in inspect.getmembers(module, inspect.isfunction):
        if name.startswith("test_"):
            function()


def parser() -> argparse.ArgumentParser:
    """The real one: the command line makes it where `main` is."""
    made: argparse.ArgumentParser = sys.modules[main.__module__]._parser()
    return made


def subcommands() -> dict[str, argparse.ArgumentParser]:
    (action,) = (action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(action.choices)


def command_lines(text: str) -> Iterator[str]:
    """Each `fuzz-decode ...` of a code block or of code within a line, without the name of the program; a line of text may name a
    command without its arguments."""
    fenced = [line for _, code in FENCE.findall(text) for line in code.splitlines()]
    rest = FENCE.sub("", text).splitlines()
    indented = [line for line in rest if line.startswith("    ")]
    inline = [code for line in rest if not line.startswith("    ") for code in INLINE.findall(line)]
    named = {f"fuzz-decode {name}" for name in subcommands()}
    for line in (*fenced, *indented, *(code for code in inline if code not in named)):
        for found in COMMAND.findall(line.partition("repository:")[0]):
            yield re.split(r"&&|\|", found)[0].strip()


LINES = sorted({(page, line) for page, text in PAGES.items() for line in command_lines(text)})


@pytest.mark.parametrize(("page", "line"), LINES, ids=[f"{page}: {line}" for page, line in LINES])
def test_command_lines_parse(page: str, line: str) -> None:
    words = shlex.split(line.replace("$GITHUB_RUN_NUMBER", "1"), comments=True)
    if words and words[0].startswith("["):
        return  # the scheme of a command line
    if not words or words[0] not in (*subcommands(), "--help", "--version"):
        words.insert(0, "run")
    if {"--help", "--version"} & set(words):
        with pytest.raises(SystemExit, match=r"^0$"):
            parser().parse_args(words)
    else:
        parser().parse_args(words)


def section(text: str, title: str) -> str:
    return re.split(r"^## ", text.partition(f"\n## {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


@pytest.mark.parametrize("command", subcommands())
def test_the_command_line_page_has_the_options_of_each_command(command: str) -> None:
    """All of them, and no others."""
    page = section(PAGES["docs/reference/cli.md"], command)
    options = {name for action in subcommands()[command]._actions for name in action.option_strings} - {"-h", "--help"}

    named = {word for code in INLINE.findall(page) for word in re.findall(r"(?<![\w-])--?[a-z][\w-]*", code)}

    assert named >= options
    assert not {name for name in named - options if name.startswith("--")}
