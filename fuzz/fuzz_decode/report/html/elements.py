"""HTML as an element tree of the standard library, which escapes all text from files and targets."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, tostring

from fuzz_decode.text import printable

Child = Element | str | None


def el(tag: str, attributes: dict[str, object] | None = None, *children: Child) -> Element:
    """An element with text and elements in it; None is left out."""
    element = Element(tag, {name: printable(str(value)) for name, value in (attributes or {}).items()})
    for child in children:
        if isinstance(child, str):
            _append_text(element, printable(child))
        elif child is not None:
            element.append(child)
    return element


def table(heads: tuple[str, ...], rows: list[tuple[Child, ...]]) -> Element:
    """A table that scrolls horizontally if it is too wide."""
    head = el("tr", {}, *(el("th", {}, word) for word in heads))
    body = [el("tr", {}, *(el("td", {}, cell) for cell in row)) for row in rows]
    return el("div", {"class": "wide"}, el("table", {}, el("thead", {}, head), el("tbody", {}, *body)))


def document(title: str, style: str, *body: Child) -> str:
    """The whole page."""
    head = el(
        "head",
        {},
        el("meta", {"charset": "utf-8"}),
        el("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        el("meta", {"name": "color-scheme", "content": "light dark"}),
        el("title", {}, title),
    )
    SubElement(head, "style").text = style
    page = el("html", {"lang": "en"}, head, el("body", {}, *body))
    return "<!DOCTYPE html>\n" + tostring(page, encoding="unicode", method="html") + "\n"


def _append_text(element: Element, text: str) -> None:
    if len(element):
        element[-1].tail = (element[-1].tail or "") + text
    else:
        element.text = (element.text or "") + text
