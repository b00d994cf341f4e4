"""Checks as JUnit XML, as far as GitHub, GitLab and Jenkins agree on what that is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from fuzz_decode.outcome import PASSED
from fuzz_decode.report.ci.check import BROKEN, FAILED, SKIPPED, Check

TAGS = {FAILED: "failure", SKIPPED: "skipped", BROKEN: "error"}
# XML 1.0 has no place for these, not even as references
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(suite: str, checks: Sequence[Check], seconds: float, properties: Mapping[str, str]) -> str:
    """One suite, a test case for each check."""
    counts = Counter(TAGS.get(check.status) for check in checks)
    numbers = {"tests": len(checks), "failures": counts["failure"], "errors": counts["error"], "skipped": counts["skipped"]}
    totals = {**{name: str(number) for name, number in numbers.items()}, "time": f"{seconds:.3f}"}
    root = ElementTree.Element("testsuites", totals)
    within = ElementTree.SubElement(root, "testsuite", {"name": legal(suite), **totals})
    listed = ElementTree.SubElement(within, "properties")
    for name, value in properties.items():
        ElementTree.SubElement(listed, "property", {"name": legal(name), "value": legal(value)})
    within.extend(_test_case(suite, check) for check in checks)
    ElementTree.indent(root, " ")
    text: bytes = ElementTree.tostring(root, "utf-8", xml_declaration=True)
    return text.decode() + "\n"


def legal(text: str) -> str:
    """The text with a question mark for each character that XML forbids."""
    return FORBIDDEN.sub("?", text)


def _test_case(suite: str, check: Check) -> ElementTree.Element:
    about = {"classname": suite, "name": check.name, "time": f"{check.seconds:.3f}"}
    element = ElementTree.Element("testcase", {name: legal(value) for name, value in about.items()})
    if check.path:
        element.set("file", legal(check.path))
    if check.status != PASSED:
        why = ElementTree.SubElement(element, TAGS[check.status], {"message": legal(check.message)})
        if check.signature:
            why.set("type", legal(check.signature))
        why.text = legal(check.story)
    return element
