"""Checks as JUnit XML, in the subset that GitHub, GitLab and Jenkins share."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from fuzz_decode.outcome import Status
from fuzz_decode.report.ci.check import BROKEN, FAILED, SKIPPED, Check

TAGS = {FAILED: "failure", SKIPPED: "skipped", BROKEN: "error"}
# XML 1.0 allows these nowhere, not even as references
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(suite: str, checks: Sequence[Check], seconds: float, properties: Mapping[str, str]) -> str:
    """One suite, a test case for each check."""
    counts = Counter(TAGS.get(check.status) for check in checks)
    numbers = {"tests": len(checks), "failures": counts["failure"], "errors": counts["error"], "skipped": counts["skipped"]}
    totals = {**{name: str(number) for name, number in numbers.items()}, "time": f"{seconds:.3f}"}
    root = ElementTree.Element("testsuites", totals)
    suite_element = ElementTree.SubElement(root, "testsuite", {"name": legal(suite), **totals})
    listed = ElementTree.SubElement(suite_element, "properties")
    for name, value in properties.items():
        ElementTree.SubElement(listed, "property", {"name": legal(name), "value": legal(value)})
    suite_element.extend(_test_case(suite, check) for check in checks)
    ElementTree.indent(root, " ")
    text: bytes = ElementTree.tostring(root, "utf-8", xml_declaration=True)
    return text.decode() + "\n"


def legal(text: str) -> str:
    """The text with a question mark for each character that XML forbids."""
    return FORBIDDEN.sub("?", text)


def _test_case(suite: str, check: Check) -> ElementTree.Element:
    attributes = {"classname": suite, "name": check.name, "time": f"{check.seconds:.3f}"}
    element = ElementTree.Element("testcase", {name: legal(value) for name, value in attributes.items()})
    if check.path:
        element.set("file", legal(check.path))
    if check.status != Status.PASSED:
        result = ElementTree.SubElement(element, TAGS[check.status], {"message": legal(check.message)})
        if check.signature:
            result.set("type", legal(check.signature))
        result.text = legal(check.details)
    return element
