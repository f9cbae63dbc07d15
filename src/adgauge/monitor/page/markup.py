"""HTML and SVG as a tree, so that no text can become markup: titles and URLs come from strangers."""

from __future__ import annotations

import unicodedata
from xml.etree.ElementTree import Element, tostring

Node = Element | str | None
"""None is left out."""
_INVISIBLE = frozenset({"Cc", "Cs", "Cn"})
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def tag(name: str, /, *children: Node, **attributes: str | float | None) -> Element:
    """`<name attribute="…">children</name>`, all of it escaped when it is written.

    In names of attributes `_` stands for `-`, and one at the end for nothing (`class_`); None is left out.
    """
    shown = {_name(key): clean(str(value)) for key, value in attributes.items() if value is not None}
    made = Element(name, shown)
    for child in children:
        _append(made, child)
    return made


def foreign(text: str, most: int = 300) -> Element:
    """What others wrote, cut short; its direction of writing changes nothing around it."""
    shown = text if len(text) <= most else f"{text[: most - 1]}…"
    return tag("bdi", shown)


def clean(text: str) -> str:
    """Without control characters, which no document may hold."""
    if text.isprintable():
        return text
    return "".join(
        _REPLACEMENT if unicodedata.category(letter) in _INVISIBLE and letter not in "\n\t" else letter
        for letter in text
    )


def written(root: Element) -> str:
    """The document, as HTML 5."""
    return f"<!doctype html>\n{tostring(root, encoding='unicode', method='html')}\n"


def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _append(parent: Element, child: Node) -> None:
    if child is None:
        return
    if not isinstance(child, str):
        parent.append(child)
    elif len(parent):
        parent[-1].tail = (parent[-1].tail or "") + clean(child)
    else:
        parent.text = (parent.text or "") + clean(child)
