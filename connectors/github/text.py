"""The lines of a GitHub issue's text, as a reader sees them. Pure."""

from __future__ import annotations

import re
from html import unescape
from itertools import pairwise
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

from connectors.github.html import HtmlReader
from connectors.line_writer import LineWriter, Tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from markdown_it.token import Token

    from connectors.ticket_text import Line

LONGEST = 65_536  # the longest text that GitHub accepts
MOST_READ = 4 * LONGEST  # of a host that accepts longer ones; what is beyond may be an attack

# GitHub strikes out between single tildes too.
_PARSER = MarkdownIt("commonmark", {"strikethrough_single_tilde": True}).enable(["table", "strikethrough"])

# What the parser does for each sign, in about three microseconds. The parser takes up to twelve times as long
# for 65,536 characters of `![` as for as many of prose; a text that would cost more than `MOST_WORK` is read
# line by line instead.
_WORK = {
    "[": 10, "*": 2, "_": 2, "`": 1, "<": 2, "&": 1, "!": 1, "]": 1, "\\": 1, "\n": 4, "\r": 4, "~": 2,
    "|": 4, "- ": 4, "* ": 4, "+ ": 4,
}  # fmt: skip
MOST_WORK = 75_000

_TASK = re.compile(r"\s*\[[ xX]\]\s+")
_FOOTNOTE = re.compile(r"\[\^[^\[\]\s]{1,80}\]")  # GitHub shows a number in its place


def work_of(markdown: str) -> int:
    """About how much work it is to parse `markdown`, counted without parsing it."""
    return sum(weight * markdown.count(sign) for sign, weight in _WORK.items())


def lines_of(markdown: str | None) -> tuple[Line, ...]:
    """The lines that are not empty. Paragraphs, headings, list items, cells and line breaks start a line.

    https://github.github.com/gfm/; in an issue, GitHub shows a single line break as a line break.
    """
    if not markdown:
        return ()
    markdown = markdown[:MOST_READ]
    if work_of(markdown) > MOST_WORK:
        return _plain_lines(markdown)
    return _TokenReader().read(_PARSER.parse(markdown))


class _TokenReader:
    def __init__(self) -> None:
        self._lines, self._tables = LineWriter(), Tables()
        self._html = HtmlReader(self._lines, self._tables)
        self._skipped = 0  # open quotations and struck-out words
        self._in_item = False  # the next words are the first of a list item

    def read(self, tokens: Iterable[Token]) -> tuple[Line, ...]:
        for token in tokens:
            if token.type == "inline":
                self._inline(token.children or ())
            elif token.type == "html_block":
                if not self._skipped:
                    self._html.read(token.content)
                self._lines.end()
            else:
                self._block(token.type)
        return tuple(self._lines.lines)

    def _block(self, kind: str) -> None:
        if kind.startswith("blockquote_"):
            self._skipped += 1 if kind.endswith("open") else -1
        elif kind in {"heading_open", "heading_close"}:
            self._lines.kind = "heading" if kind.endswith("open") else "text"
        elif kind == "list_item_open":
            self._in_item = True
        elif kind == "table_open":
            self._tables.open()
        elif kind == "table_close":
            self._tables.close()
        elif kind == "tr_open":
            self._tables.row()
        elif kind in {"th_open", "td_open"}:
            self._lines.cell = self._tables.enter()
        elif kind in {"th_close", "td_close"}:
            self._lines.cell = None

    def _inline(self, tokens: Iterable[Token]) -> None:
        """Words, and ends the line. A picture gives none, a link its text, and inline code what is in it."""
        for token in tokens:
            kind = token.type
            if kind in {"s_open", "s_close"}:
                self._skipped += 1 if kind == "s_open" else -1
            elif self._skipped:
                continue
            elif kind == "text":
                words = _TASK.sub("", token.content, count=1) if self._in_item else token.content
                self._html.words(_FOOTNOTE.sub("", words))
            elif kind in {"softbreak", "hardbreak"}:
                self._lines.end()
            elif kind == "code_inline":
                self._html.words(token.content, code=True)
            elif kind == "html_inline":
                self._html.read(token.content)
            self._in_item = self._in_item and kind == "text" and not token.content
        self._lines.end()


# --- a text that is too much work to parse ----------------------------------------------------

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_MARKS = re.compile(r"\s*(?:(?:[-+*]|\d{1,9}[.)])\s+(?:\[[ xX]\]\s+)?)*")
_HEADING = re.compile(r" {0,3}#{1,6}(?:\s+|$)")
_UNDERLINE = re.compile(r" {0,3}(?:=+|-+)[ \t]*")
_PARAGRAPH = re.compile(r" {0,3}(?![-+*][ \t]|\d{1,9}[.)][ \t])\S")
# None of these looks at a character twice.
_PICTURE = re.compile(r"!\[[^\[\]]*\]\([^()]*\)")
_LINK = re.compile(r"\[([^\[\]]*)\](?:\([^()]*\)|\[[^\[\]]*\])")
_STRUCK = re.compile(r"~~[^~]+~~|(?<![~\w])~(?=[^~\s])[^~]+~(?![~\w])")
_ADDRESS = re.compile(r"<(https?://[^<>\s]*)>")
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")


def _plain_lines(markdown: str) -> tuple[Line, ...]:
    """The lines without fences, quotes, comments and struck-out words, in one pass.

    An indented line behind an empty one counts as code, and each line that begins with `>` as a quotation.
    """
    lines, tables = LineWriter(), Tables()
    html = HtmlReader(lines, tables)
    rows = [*_with_sharps(list(_outside_code(markdown))), ""]
    in_table = False
    for at, line in enumerate(rows[:-1]):
        if in_table and "|" not in line:
            tables.close()
            in_table = False
        if not in_table and "|" in line and _is_delimiter(rows[at + 1]):
            tables.open()
            in_table = True
        if in_table and _is_delimiter(line):
            continue
        if in_table:
            tables.row()
            for cell in line.strip().removeprefix("|").removesuffix("|").split("|"):
                lines.cell = tables.enter()
                _plain_words(cell, html)
                lines.end()
            lines.cell = None
            continue
        if (heading := _HEADING.match(line)) is not None:
            lines.kind = "heading"
            _plain_words(line[heading.end() :].rstrip().rstrip("#"), html)
        else:
            marks = _MARKS.match(line)
            _plain_words(line[marks.end() if marks else 0 :], html)
        lines.end()
        if heading is not None:
            lines.kind = "text"
    return tuple(lines.lines)


def _with_sharps(rows: list[str]) -> Iterator[str]:
    """The rows, with `#` before a heading of one line in place of the signs under it; no rules."""
    before = ""
    for row, after in pairwise([*rows, ""]):
        if _UNDERLINE.fullmatch(after) and not before.strip() and _PARAGRAPH.match(row):
            yield f"# {row.lstrip()}"
        elif not _UNDERLINE.fullmatch(row):
            yield row
        before = row


def _plain_words(text: str, html: HtmlReader) -> None:
    text = _FOOTNOTE.sub("", _PICTURE.sub("", text))
    text = _ADDRESS.sub(r"\1", _STRUCK.sub("", _LINK.sub(r"\1", text))).strip()
    in_code = text.lstrip("* _").startswith("`")
    # An underscore may be part of a key, an asterisk not.
    text = _ESCAPED.sub(r"\1", text.replace("*", "")).replace("`", "")
    text = text.strip("_") if text.startswith("_") else text
    if "<" in text or "-->" in text:
        html.read(text)
    else:
        html.words(unescape(text), code=in_code)


def _is_delimiter(line: str) -> bool:
    """Whether it is the line below the head of a table."""
    return "-" in line and "|" in line and not line.strip(" \t|:-")


def _outside_code(markdown: str) -> Iterator[str]:
    fence, behind_empty = "", True
    for line in _without_comments(markdown).splitlines():
        found = _FENCE.match(line)
        if fence:
            if found and found[1].startswith(fence) and not line[found.end() :].strip():
                fence = ""
        elif found:
            fence = found[1]
        elif not line.lstrip().startswith(">") and not (behind_empty and line.startswith(("    ", "\t"))):
            yield line
        behind_empty = not line.strip()


def _without_comments(markdown: str) -> str:
    """`markdown` without HTML comments; one without an end goes to the end of the text."""
    head, *parts = markdown.split("<!--")
    return head + "".join(part.partition("-->")[2] for part in parts)
