"""A comment as its tracker shows it: read back from what the tracker stores, as a `Document` for a page.

It has no HTML and no addresses but those of http and https. What our own texts never have (a heading, a
quotation, a table) is shown as paragraphs: all its words, without its looks.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, Any

from markdown_it import MarkdownIt

from connectors.document import Block, Bullets, Document, Inline, Link, Paragraph, Text
from connectors.markup import JOINER, MARKDOWN_LIMIT, clean, to_adf, to_markdown, web_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from markdown_it.token import Token

_PARSER = MarkdownIt("commonmark", {"html": True})
_MOST_READ = MARKDOWN_LIMIT + 1_000  # the text and its marker lines
_HTML_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_DEEPEST = 20  # lists in lists; ours have one


def shown_on_github(document: Document) -> Document:
    """What a reader of the issue sees of a comment with this text."""
    return shown_markdown(to_markdown(document))


def shown_on_jira(document: Document) -> Document:
    """What a reader of the ticket sees of a comment with this text."""
    return shown_adf(to_adf(document))


def shown_markdown(markdown: str) -> Document:
    """What GitHub shows of the body of a comment: no HTML comments, so none of our markers."""
    return _MarkdownReader().read(_PARSER.parse(markdown[:_MOST_READ]))


def shown_plain(text: str) -> Document:
    """The words of a comment, of which nothing else is known; lines that begin with "- " are a list."""
    blocks: list[Block] = []
    for part in text.split("\n\n"):
        for is_item, group in groupby(filter(None, part.split("\n")), lambda line: line.startswith("- ")):
            lines = [(Text(clean(line.removeprefix("- ") if is_item else line)),) for line in group]
            blocks += [Bullets(tuple(lines))] if is_item else map(Paragraph, lines)
    return Document(tuple(blocks))


def _text(value: str, style: Any = "plain") -> Text:
    return Text(clean(value.replace(JOINER, "")), style)


def _joined(content: Iterable[Inline]) -> tuple[Inline, ...]:
    """Without empty texts, neighbours of the same style in one."""
    joined: list[Inline] = []
    for style, group in groupby(content, lambda one: one.style if isinstance(one, Text) else None):
        if style is None:
            joined += group
        elif value := "".join(one.value for one in group if isinstance(one, Text)):
            joined.append(Text(value, style))
    return tuple(joined)


# --- Markdown -------------------------------------------------------------------------------


class _MarkdownReader:
    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._items: list[tuple[Inline, ...]] = []
        self._lists = 0

    def read(self, tokens: Iterable[Token]) -> Document:
        for token in tokens:
            if token.type == "inline":
                self._line(*_inlines(token.children or ()))
            elif token.type in ("fence", "code_block"):
                self._line([_text(token.content, "code")])
            elif token.type == "html_block":
                self._line([_text(_HTML_COMMENT.sub("", token.content).strip())])
            elif token.type.endswith("list_open"):
                self._lists += 1
            elif token.type.endswith("list_close"):
                self._lists -= 1
                if not self._lists and self._items:
                    self._blocks.append(Bullets(tuple(self._items)))
                    self._items = []
        return Document(tuple(self._blocks))

    def _line(self, content: Iterable[Inline], small: bool = False) -> None:
        line = _joined(content)
        if line and self._lists:
            self._items.append(line)
        elif line:
            self._blocks.append(Paragraph(line, small))


def _inlines(tokens: Sequence[Token]) -> tuple[list[Inline], bool]:
    """The content of a line, and whether it is small print."""
    found: list[Inline] = []
    strong, url, label, small = 0, None, "", False
    for token in tokens:
        kind, words = token.type, ""
        if kind in ("strong_open", "strong_close"):
            strong += 1 if kind == "strong_open" else -1
        elif kind == "link_open":
            url, label = web_url(str(token.attrs.get("href", ""))), ""
        elif kind == "link_close":
            if url is not None:
                found.append(Link(_text(label).value.strip() or url, url))
            url = None
        elif kind in ("softbreak", "hardbreak"):
            words = " "
        elif kind == "html_inline":
            small = small or token.content == "<sub>"
            words = "" if token.content in ("<sub>", "</sub>") else _HTML_COMMENT.sub("", token.content)
        else:  # text, code_inline, and a picture by its words
            words = token.content
        if url is not None:
            label += words
        elif words:
            found.append(_text(words, "code" if kind == "code_inline" else "strong" if strong else "plain"))
    return found, small


# --- ADF ------------------------------------------------------------------------------------


def shown_adf(document: Any) -> Document:
    """What Jira shows of an Atlassian Document Format `doc`."""
    blocks: list[Block] = []
    for node in _children(document):
        if node.get("type") in ("bulletList", "orderedList"):
            items = tuple(line for item in _lines(node) if (line := _joined(_runs(item))))
            blocks += [Bullets(items)] if items else []
        else:
            for paragraph in _lines(node):
                content = _joined(_runs(paragraph))
                marks = (mark for one in _children(paragraph) for mark in _marks(one))
                small = any(mark.get("type") == "subsup" for mark in marks)
                blocks += [Paragraph(content, small)] if content else []
    return Document(tuple(blocks))


def _children(node: Any) -> list[dict[str, Any]]:
    content = node.get("content") if isinstance(node, dict) else None
    return [one for one in content if isinstance(one, dict)] if isinstance(content, list) else []


def _marks(node: dict[str, Any]) -> list[dict[str, Any]]:
    marks = node.get("marks")
    return [one for one in marks if isinstance(one, dict)] if isinstance(marks, list) else []


def _lines(node: dict[str, Any], depth: int = 0) -> Iterator[dict[str, Any]]:
    """The nodes whose children are text."""
    children = _children(node)
    if any(one.get("type") == "text" for one in children):
        yield node
    elif depth < _DEEPEST:
        for one in children:
            yield from _lines(one, depth + 1)


def _runs(line: dict[str, Any]) -> Iterator[Inline]:
    for node in _children(line):
        words = node.get("text")
        if not isinstance(words, str):
            yield Text(" ")  # a line break, or something that only Jira can show
            continue
        marks = {str(mark.get("type")): mark for mark in _marks(node)}
        attributes = marks.get("link", {}).get("attrs")
        url = web_url(str(attributes.get("href", ""))) if isinstance(attributes, dict) else None
        if url is not None:
            yield Link(_text(words).value.strip() or url, url)
        else:
            yield _text(words, "code" if "code" in marks else "strong" if "strong" in marks else "plain")
