"""Links between pages, and to files, lead somewhere; reference pages name every public parameter and field."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

import pytest

from fuzz_decode import FAMILIES, Arithmetic, BlockTable, Case, Strides, target

ROOT = Path(__file__).parents[3]
PAGES = sorted((*ROOT.glob("*.md"), *(ROOT / "corpus").glob("*.md"), *(ROOT / "docs").rglob("*.md")))
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
PRIVATE = re.compile(r"/work/|/home/|/root/|/tmp/|localhost|file://")


def slug(heading: str) -> str:
    """The anchor that a code host, and MyST, make of a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", text).strip().replace(" ", "-")


def anchors(path: Path) -> set[str]:
    return {slug(title) for title in re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)}


def links(path: Path) -> list[str]:
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [link for link in LINK.findall(text) if "://" not in link]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link in links(page):
        name, _, anchor = link.partition("#")
        goal = (page.parent / name).resolve() if name else page
        assert goal.is_relative_to(ROOT), link
        assert goal.exists(), link
        assert not anchor or anchor in anchors(goal), link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pages_name_no_place_of_one_machine(page: Path) -> None:
    assert not PRIVATE.search(page.read_text())


def test_lines_of_the_readme_fit() -> None:
    assert max(len(line) for line in (ROOT / "README.md").read_text().splitlines()) <= 125


def test_every_page_is_listed_in_the_index() -> None:
    docs = ROOT / "docs"
    listed = set(re.findall(r"^([\w/-]+)$", (docs / "index.md").read_text(), re.MULTILINE))
    pages = {path.relative_to(docs).with_suffix("").as_posix() for path in docs.rglob("*.md")} - {"index"}
    assert pages <= listed


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("reference/target.md", [*inspect.signature(target).parameters]),
        ("reference/target.md", [field.name for field in dataclasses.fields(Strides)]),
        ("reference/target.md", [field.name for field in dataclasses.fields(Arithmetic)]),
        ("reference/case-file.md", [field.name for field in (*dataclasses.fields(Case), *dataclasses.fields(BlockTable))]),
    ],
    ids=["target", "stride rules", "arithmetic", "case"],
)
def test_a_reference_page_names_every_field(page: str, names: list[str]) -> None:
    text = (ROOT / "docs" / page).read_text()
    code = {word for part in CODE.findall(text) for word in re.findall(r"\w+", part)}
    assert not set(names) - code


def test_the_page_on_generation_names_every_layout_family() -> None:
    text = (ROOT / "docs" / "explanation" / "generation.md").read_text()
    assert all(f"`{name}`" in text for name in FAMILIES)
