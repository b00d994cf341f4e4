"""Figures of the README are those of the evaluation pages, and the pages agree with themselves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()
DETECTION = (ROOT / "docs" / "evaluation" / "detection.md").read_text()
PERFORMANCE = (ROOT / "docs" / "evaluation" / "performance.md").read_text()
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")


def section(text: str, title: str) -> str:
    return re.split(r"^## ", text.partition(f"\n## {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def numbers(text: str) -> list[str]:
    return NUMBER.findall(re.sub(r"\]\([^)]*\)|H\d+", "", text))


def rows(text: str) -> dict[str, list[str]]:
    """Lines of tables by their first cell."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return {cells[0].strip().strip("*"): [cell.strip() for cell in cells[1:]] for cells in lines}


REAL_BUGS = rows(section(DETECTION, "Real bugs, and other projects' test grids on the same mutants"))
CLASSES = {name: cells for name, cells in REAL_BUGS.items() if re.match(r"[A-Z]\d (?!to )", name)}


def counts(cell: str) -> tuple[int, int]:
    killed, _, total = cell.partition("/")
    return int(killed), int(total)


@pytest.mark.parametrize("number", numbers(section(README, "Numbers")))
def test_each_number_of_the_readme_is_one_of_an_evaluation_page(number: str) -> None:
    assert number in numbers(DETECTION + PERFORMANCE)


def test_the_readme_has_the_totals_of_the_table_of_real_bugs() -> None:
    said = " ".join(section(README, "Numbers").split())
    (killed, total), (median, p90, slowest) = counts(REAL_BUGS["all"][1]), REAL_BUGS["all"][2:5]
    assert f"{killed:,} of {total:,} runs" in said
    assert f"({REAL_BUGS['all'][0]} mutants" in said
    assert f"median {median}, 90% within {p90}, slowest {slowest}." in said
    assert "Stride faults: median {}, 90% within {}, slowest {}.".format(*REAL_BUGS["S1 to S6"][2:5]) in said


def test_the_summary_has_the_totals_of_the_table_of_real_bugs() -> None:
    summary = section(DETECTION, "Summary")
    (killed, total), (median, p90, slowest) = counts(REAL_BUGS["all"][1]), REAL_BUGS["all"][2:5]
    assert f"{killed:,} of {total:,} runs of {REAL_BUGS['all'][0]} mutants" in summary
    assert f"median {median};" in summary
    assert f"90% within {p90}; slowest run that killed {slowest} " in summary
    assert "median {}, 90% within {}, slowest run {} ".format(*REAL_BUGS["S1 to S6"][2:5]) in summary


@pytest.mark.parametrize(("total", "prefix"), [("all", ""), ("S1 to S6", "S")])
def test_totals_are_the_sums_of_the_classes(total: str, prefix: str) -> None:
    mine = [cells for name, cells in CLASSES.items() if name.startswith(prefix)]
    assert int(REAL_BUGS[total][0]) == sum(int(cells[0]) for cells in mine)
    assert int(REAL_BUGS[total][4]) == max(int(cells[4]) for cells in mine)
    for column in (1, *range(5, 10)):
        parts = [counts(cells[column]) for cells in mine]
        assert counts(REAL_BUGS[total][column]) == (sum(k for k, _ in parts), sum(n for _, n in parts))


def test_the_slowest_run_of_each_mutant_is_within_that_of_its_class() -> None:
    mutants = rows(section(DETECTION, "Every mutant")).items()
    for name, cells in mutants:
        if name not in ("mutant", "") and not name.startswith("-"):
            (slowest,) = (row[4] for title, row in CLASSES.items() if title.startswith(f"{cells[0]} "))
            assert int(cells[4]) <= int(slowest), name


def test_false_alarms_are_the_sum_of_the_campaigns() -> None:
    found = re.search(r"0 in ([\d,]+) cases, in rounds: ([\d,]+) on an H100 \(seed 21\) and ([\d,]+) on two H200", DETECTION)
    assert found
    total, *parts = (int(number.replace(",", "")) for number in found.groups())
    assert total == sum(parts)


def test_the_diagnosis_page_has_the_totals_of_the_evaluation() -> None:
    page = " ".join((ROOT / "docs" / "explanation" / "diagnosis.md").read_text().split())
    right, unsure, unknown, _, wrong = rows(section(DETECTION, "Diagnosis"))["all"]
    assert f"{right} are named right with confidence, {unsure} are named without confidence, {unknown} are not named" in page
    assert wrong == "0"
    assert "none is named wrongly" in page
