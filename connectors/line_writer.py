"""Makes the lines of a ticket's text, for the readers of each tracker's markup. Pure."""

from __future__ import annotations

import unicodedata
from typing import Literal

from connectors.markup import storable
from connectors.ticket_text import Cell, Line


class LineWriter:
    """Makes lines of words, in the order in which a reader meets them."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.kind: Literal["text", "heading", "cell"] = "text"
        self.cell: Cell | None = None
        self._words: list[str] = []
        self._in_code = False

    def add(self, words: str, *, code: bool = False) -> None:
        """Words of the current line. A line break in them starts a line."""
        if "\n" in words:
            first, *others = words.split("\n")
            self._add(first, code)
            for other in others:
                self.end()
                self._add(other, code)
        elif code:
            self._add(words, code)
        else:
            self._words.append(words)

    def _add(self, words: str, code: bool) -> None:
        if code and not any(map(str.strip, self._words)):
            self._in_code = True
        self._words.append(words)

    def end(self) -> None:
        """Ends the line; one without words is left out."""
        if self._words:
            text = one_line("".join(self._words))
            if text:
                kind = "cell" if self.cell is not None and self.kind == "text" else self.kind
                self.lines.append(Line(text, kind, self._in_code, self.cell if kind == "cell" else None))
            self._words, self._in_code = [], False


def one_line(text: str) -> str:
    """`text` without invisible characters (Unicode Cf) and without double blanks."""
    if text.isascii():
        if text.isprintable() and "  " not in text:  # the usual line
            return text.strip(" ")
    else:
        text = "".join(char for char in text if unicodedata.category(char) != "Cf")
    return " ".join(storable(text).split())


class Tables:
    """Counts the tables of a text, which may be nested, their rows and columns: the place of each cell."""

    def __init__(self) -> None:
        self._made = 0
        self._open: list[list[int]] = []  # of each open table: its number, row, next column

    def open(self) -> None:
        self._open.append([self._made, -1, 0])
        self._made += 1

    def row(self) -> None:
        if self._open:
            self._open[-1][1:] = [self._open[-1][1] + 1, 0]

    def enter(self, columns: int = 1) -> Cell | None:
        """The next cell of the row, as wide as so many columns; None outside a table."""
        if not self._open:
            return None
        table, row, column = self._open[-1]
        self._open[-1][2] += columns
        return Cell(table, max(row, 0), column)

    def close(self) -> None:
        if self._open:
            self._open.pop()
