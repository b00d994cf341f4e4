"""Generic mutants that no case tells from the kernel, by name with the reason, read from equivalents.toml."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LISTS = Path(__file__).with_name("equivalents.toml")


def _by_name(groups: Iterable[dict[str, Any]]) -> dict[str, str]:
    """The reason of each mutant, from groups that share one."""
    return {name: group["reason"] for group in groups for name in group["mutants"]}


_lists = tomllib.loads(LISTS.read_text())
EQUIVALENTS = _by_name(_lists["equivalent"])
OUT_OF_REACH = _by_name(_lists["out_of_reach"])
