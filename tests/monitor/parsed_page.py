"""A page as a browser reads it: elements with their attributes, and the text in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = frozenset({"meta", "br", "img", "hr", "input", "link", "base", "source", "embed", "area", "col"})


@dataclass
class Node:
    """One element; `text` is all that is in it."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    contents: list[Node | str] = field(default_factory=list)

    @property
    def children(self) -> list[Node]:
        """The elements in it."""
        return [each for each in self.contents if isinstance(each, Node)]

    @property
    def text(self) -> str:
        """Of the element and what it holds, spaces made one."""
        texts = (each if isinstance(each, str) else each.text for each in self.contents)
        return " ".join(" ".join(texts).split())

    def all(self, tag: str | None = None, class_: str | None = None) -> Iterator[Node]:
        """Every element below it, in order."""
        for child in self.children:
            named = tag in (None, child.tag)
            if named and (class_ is None or class_ in child.attributes.get("class", "").split()):
                yield child
            yield from child.all(tag, class_)

    def one(self, tag: str, class_: str | None = None) -> Node:
        """The only one."""
        (found,) = self.all(tag, class_)
        return found


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open = [Node("document")]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs})
        self.open[-1].contents.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].contents.append(data)


def parsed(page: str) -> Node:
    """The document; fails where elements are not closed in their order."""
    parser = _Parser()
    parser.feed(page)
    parser.close()
    (document,) = parser.open
    return document
