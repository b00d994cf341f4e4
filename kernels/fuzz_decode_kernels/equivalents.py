"""Generic mutants that compute what the kernel computes, one by one, with the reason. A test wants each to exist, so that whoever
edits the line that one stands in looks at it again.
"""

from __future__ import annotations

EQUIVALENTS: dict[str, str] = {}
