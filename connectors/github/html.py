"""HTML in the text of a GitHub issue: tags are dropped, their words read as those around them. Pure."""

from __future__ import annotations

import re
from collections import Counter
from html import unescape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from connectors.line_writer import LineWriter, Tables
    from connectors.ticket_text import Cell

# What counts for nothing: code, quotations, struck-out words.
_SKIPPED = {"pre", "blockquote", "del", "s", "strike", "script", "style", "textarea"}
_BLOCKS = {
    "address", "article", "aside", "blockquote", "br", "caption", "center", "dd", "details", "dialog", "div",
    "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6",
    "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section", "summary", "table", "tbody", "td",
    "tfoot", "th", "thead", "tr", "ul",
}  # fmt: skip
_HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}
# Each part ends before the next sign that begins one, so the work is linear in the length.
_PARTS = re.compile(r"<(?P<end>/?)(?P<name>[A-Za-z][A-Za-z0-9-]*)[^<>]*>|<!--|-->|<[!?/][^<>]*>")


class HtmlReader:
    """Reads tags into `lines`; what they open goes on until it is closed, over all parts of the text."""

    def __init__(self, lines: LineWriter, tables: Tables) -> None:
        self._lines, self._tables = lines, tables
        self._open: Counter[str] = Counter()
        self._in_comment = False
        self._around: list[Cell | None] = []  # the cells around the open tables

    @property
    def skips(self) -> bool:
        """Whether words here count for nothing."""
        return self._in_comment or self._open.total() > 0

    def words(self, text: str, *, code: bool = False) -> None:
        if not self.skips:
            self._lines.add(text, code=code)

    def read(self, html: str) -> None:
        """Tags with the words between them, in which a line break starts a line."""
        at = 0
        for found in _PARTS.finditer(html):
            self.words(unescape(html[at : found.start()]))
            at = found.end()
            if found[0] == "<!--":
                self._in_comment = True
            elif found[0] == "-->" and self._in_comment:
                self._in_comment = False
            elif found[0] == "-->":
                self.words("-->")
            elif found["name"] is not None and not self._in_comment:
                self._tag(found["name"].lower(), is_end=bool(found["end"]))
        self.words(unescape(html[at:]))

    def _tag(self, name: str, *, is_end: bool) -> None:
        if name in _BLOCKS:
            self._lines.end()
        if name in _SKIPPED:
            self._open[name] = max(self._open[name] + (-1 if is_end else 1), 0)
        elif not self.skips and name in _HEADINGS:
            self._lines.kind = "text" if is_end else "heading"
        elif not self.skips:
            self._table(name, is_end=is_end)

    def _table(self, name: str, *, is_end: bool) -> None:
        if name == "table" and not is_end:
            self._around.append(self._lines.cell)
            self._tables.open()
            self._lines.cell = None
        elif name == "table" and self._around:
            self._tables.close()
            self._lines.cell = self._around.pop()
        elif self._around and name == "tr" and not is_end:
            self._tables.row()
            self._lines.cell = None
        elif self._around and name in {"td", "th"}:
            self._lines.cell = None if is_end else self._tables.enter()
