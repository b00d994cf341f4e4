"""Sphinx configuration. Build with `sphinx-build -W --keep-going -n docs docs/_build`; nothing is fetched meanwhile."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / name) for name in ("fuzz", "kernels", "reference")]  # the docstrings of this checkout

import fuzz_decode  # noqa: E402

project = "fuzz-decode"
author = "the fuzz-decode authors"
copyright = f"{author}. Apache-2.0"
version = release = fuzz_decode.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
root_doc = "index"
html_theme = "furo"
html_title = f"{project} {version}"
smartquotes = False
default_role = "code"  # docstrings write names in single backticks
highlight_language = "none"  # indented blocks are commands and output

myst_heading_anchors = 3  # links such as page.md#section work here as they do on a code host

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
# names in signatures (Tensor, Callable, types of private modules): there is no inventory of other projects offline
nitpick_ignore_regex = [("py:.*", ".*")]


def keep_aligned_text(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text: a paragraph with indented lines, such as a table of shapes, is shown as it stands."""
    kept: list[str] = []
    for blank, group in groupby(lines, lambda line: not line.strip()):
        paragraph = list(group)
        if not blank and any(line.startswith(" ") for line in paragraph):
            paragraph = ["::", "", *(f"    {line}" for line in paragraph)]
        kept += paragraph
    lines[:] = kept


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", keep_aligned_text)
