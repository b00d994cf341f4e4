"""A self-contained page about failures: no script, no network, for any width, in light and dark."""

from fuzz_decode.report.html.page import Page

__all__ = ["Page"]
