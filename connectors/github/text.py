"""The lines of a GitHub issue's text that may link to key results: those outside code, quotes and HTML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

from connectors.markup import storable

if TYPE_CHECKING:
    from markdown_it.token import Token

MAX_LINES = 2_000
MAX_LINE = 1_000
_LONGEST = 65_536  # the longest text that GitHub accepts

# Replaces code, pictures and HTML at the start of a line, so that the text behind them does not count as
# the start of the line.
_NOT_WORDS = "\ufffc"

_PARSER = MarkdownIt("commonmark")


def lines_of(markdown: str | None) -> tuple[str, ...]:
    """The lines that are not empty. Paragraphs, headings, list items and line breaks start a line.

    https://github.github.com/gfm/; in an issue, GitHub shows a single line break as a line break.
    """
    if not markdown:
        return ()
    shown = (_shown(line) for line in _raw_lines(_PARSER.parse(markdown[:_LONGEST])))
    return tuple(line[:MAX_LINE] for line in shown if line)[:MAX_LINES]


def _shown(line: str) -> str:
    line = re.sub(r"\s+", " ", storable(line)).strip()
    line = line[:1] + line[1:].replace(_NOT_WORDS, " ").rstrip()
    return "" if line == _NOT_WORDS else line


def _raw_lines(tokens: list[Token]) -> Iterator[str]:
    quoted = 0
    for token in tokens:
        if token.type == "blockquote_open":
            quoted += 1
        elif token.type == "blockquote_close":
            quoted -= 1
        elif token.type == "inline" and not quoted:
            yield from "".join(map(_inline, token.children or ())).split("\n")


def _inline(token: Token) -> str:
    if token.type == "text":
        return token.content
    if token.type in {"softbreak", "hardbreak"}:
        return "\n"
    # The words inside emphasis and links are tokens of their own; code, pictures and HTML count as no words.
    return _NOT_WORDS if token.type in {"code_inline", "image", "html_inline"} else ""
