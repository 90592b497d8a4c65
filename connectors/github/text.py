"""The lines of a GitHub issue's text that may link to key results: those outside code, quotes and HTML."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

from connectors.markup import storable
from connectors.ticket_text import Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.token import Token

MAX_LINES = 2_000
MAX_LINE = 1_000
LONGEST = 65_536  # the longest text that GitHub accepts

# Replaces code, pictures and HTML at the start of a line, so that the text behind them does not count as
# the start of the line.
_NOT_WORDS = "\ufffc"

_PARSER = MarkdownIt("commonmark")

# What the parser does for each sign, in about three microseconds. The parser takes up to twelve times as long
# for 65,536 characters of `![` as for as many of prose; a text that would cost more than `MOST_WORK` is read
# line by line instead.
_WORK = {
    "[": 10, "*": 2, "_": 2, "`": 1, "<": 2, "&": 1, "!": 1, "]": 1, "\\": 1, "\n": 4, "\r": 4,
    "- ": 4, "* ": 4, "+ ": 4,
}  # fmt: skip
MOST_WORK = 75_000

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_CODE = re.compile(r"`+[^`]*+(?:`+|\Z)")
_MARKS = re.compile(r"\s*(?:(?:[-+*]|\d{1,9}[.)])\s+|#{1,6}\s+)*")


def work_of(markdown: str) -> int:
    """About how much work it is to parse `markdown`, counted without parsing it."""
    return sum(weight * markdown.count(sign) for sign, weight in _WORK.items())


def lines_of(markdown: str | None) -> tuple[Line, ...]:
    """The lines that are not empty. Paragraphs, headings, list items and line breaks start a line.

    https://github.github.com/gfm/; in an issue, GitHub shows a single line break as a line break.
    """
    if not markdown:
        return ()
    markdown = markdown[:LONGEST]
    plain = work_of(markdown) > MOST_WORK
    raw = _plain_lines(markdown) if plain else _raw_lines(_PARSER.parse(markdown))
    shown = map(_shown, raw)
    return tuple(Line(line[:MAX_LINE]) for line in shown if line)[:MAX_LINES]


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


def _plain_lines(markdown: str) -> Iterator[str]:
    """The lines of a text that is too much work to parse: without fences, quotes, comments and code.

    An indented line behind an empty one counts as code, and each line that begins with `>` as a quotation.
    """
    fence, behind_empty = "", True
    for line in _without_comments(markdown).splitlines():
        found = _FENCE.match(line)
        if fence:
            if found and found[1].startswith(fence) and not line[found.end() :].strip():
                fence = ""
        elif found:
            fence = found[1]
        elif not line.lstrip().startswith(">") and not (behind_empty and line.startswith(("    ", "\t"))):
            # An underscore may be part of a key, an asterisk not.
            yield _CODE.sub(_NOT_WORDS, line[_end_of_marks(line) :]).replace("*", "").lstrip("_")
        behind_empty = not line.strip()


def _end_of_marks(line: str) -> int:
    marks = _MARKS.match(line)
    return marks.end() if marks else 0


def _without_comments(markdown: str) -> str:
    """`markdown` without HTML comments; one without an end goes to the end of the text."""
    head, *parts = markdown.split("<!--")
    return head + "".join(_NOT_WORDS + part.partition("-->")[2] for part in parts)


def _inline(token: Token) -> str:
    if token.type == "text":
        return token.content
    if token.type in {"softbreak", "hardbreak"}:
        return "\n"
    # The words inside emphasis and links are tokens of their own; code, pictures and HTML count as no words.
    return _NOT_WORDS if token.type in {"code_inline", "image", "html_inline"} else ""
