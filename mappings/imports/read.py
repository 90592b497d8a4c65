"""A file's bytes as lines of one kind: the table, its header, and each cell as a value. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from mappings.errors import Invalid
from mappings.files.read import read_table
from mappings.files.table import header_row, plain_name
from mappings.imports.cells import Line, read_line
from mappings.imports.columns import FileColumn, file_columns, known_columns, read_header, read_maps

if TYPE_CHECKING:
    from mappings.files.table import Table
    from mappings.imports.columns import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """What the caller says of the file: other names of its columns as `theirs:ours`, its decimal sign, its
    charset and its sheet; None where the file itself is to tell."""

    maps: Sequence[str] = ()
    decimal: Literal[",", "."] | None = None
    charset: str | None = None
    sheet: str | None = None


@dataclass(frozen=True, slots=True)
class Lines:
    """`header_line` is the number of the line of column names; `columns` are ours, in the file's order."""

    kind: Kind
    table: Table
    header_line: int
    columns: Sequence[str]
    lines: Sequence[Line]
    of_epics: bool
    decimal: Literal[",", "."]


def _open(kind: Kind, data: bytes, options: ReadOptions) -> tuple[Table, int, Mapping[str, str]]:
    """The table, the index of its header, and the names that the caller gives. Raises `Invalid`."""
    maps = read_maps(kind, options.maps)
    counted = partial(known_columns, kind, maps)
    table = read_table(
        data, counted, charset=options.charset, sheet=options.sheet, sheet_named=plain_name(kind.name)
    )
    if not table.rows:
        raise Invalid("file", "is empty; it needs a line of column names, and lines below it")
    return table, header_row(table.rows, counted), maps


def read_columns(kind: Kind, data: bytes, options: ReadOptions) -> list[FileColumn]:
    """The columns that the file has, also where some are unknown. Raises `Invalid` as `read_lines` does
    where there is no table to read."""
    table, at, maps = _open(kind, data, options)
    return file_columns(kind, table.rows[at].cells, maps)


def read_lines(kind: Kind, data: bytes, options: ReadOptions) -> Lines:
    """Raises `Invalid` on `file`, `map` or `sheet` where the file cannot be read as a whole; what is wrong
    with one line is in that line."""
    table, at, maps = _open(kind, data, options)
    header = read_header(kind, table.rows[at].cells, maps)
    comma = table.decimal_comma if options.decimal is None else options.decimal == ","
    lines = [read_line(kind, header, row, decimal_comma=comma) for row in table.rows[at + 1 :]]
    columns = sorted(header.places, key=lambda name: header.places[name])
    return Lines(kind, table, table.rows[at].number, columns, lines, header.of_epics, "," if comma else ".")
