"""A table of cells as a file holds it, and the bounds of a file. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

MB = 1024 * 1024
FILE_AT_MOST = 8 * MB
LINES_AT_MOST = 20_000  # below the header
COLUMNS_AT_MOST = 100
CELL_AT_MOST = 32_767  # characters: what a spreadsheet program holds
HEADER_WITHIN = 20  # lines; above the header may stand a title
# What `#N/A` and the like are called in a file of text.
SPREADSHEET_ERRORS = frozenset(
    ("#N/A", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!", "#DIV/0!", "#SPILL!", "#CALC!", "#FIELD!")
)


@dataclass(frozen=True, slots=True)
class BadCell:
    """A cell that cannot be taken; `message` says why."""

    message: str


Cell = str | float | bool | date | datetime | BadCell | None  # None and "" are empty


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the file; `number` is the one that a spreadsheet program shows beside it."""

    number: int
    cells: Sequence[Cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The rows of a file, empty ones left out, and how it was read. `decimal_comma`: what the file's
    separator says of its numbers."""

    rows: Sequence[Row]
    format: Literal["csv", "xlsx"]
    encoding: str | None = None
    separator: str | None = None
    sheet: str | None = None
    decimal_comma: bool = False


CountColumns = Callable[[Sequence[Cell]], int]  # how many of a row's cells name a column that is known


def header_row(rows: Sequence[Row], known_columns: CountColumns) -> int:
    """The index of the row with most names of columns among the first ones; 0 where none has any."""
    counts = [known_columns(row.cells) for row in rows[:HEADER_WITHIN]]
    return counts.index(max(counts)) if counts else 0


def checked(cell: Cell) -> Cell:
    """The cell, or what is wrong with it whatever its column is."""
    if not isinstance(cell, str):
        return cell
    if len(cell) > CELL_AT_MOST:
        return BadCell(f"has {len(cell):,} characters; a cell may have {CELL_AT_MOST:,}")
    if cell.strip() in SPREADSHEET_ERRORS:
        return BadCell(f"is {cell.strip()}, the spreadsheet's word for a formula that failed")
    return cell


def plain_name(name: str) -> str:
    """A name of a column or sheet without what people vary: case, blanks, underscores and hyphens."""
    return re.sub(r"[\s_\-]+", "", unicodedata.normalize("NFKC", name)).casefold()


def is_empty(cell: Cell) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def too_many_lines() -> str:
    return f"has more than {LINES_AT_MOST:,} lines; split it into files of {LINES_AT_MOST:,} at most"
