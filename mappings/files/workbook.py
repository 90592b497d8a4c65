"""XLSX, read by calamine, which is given only what has been measured before. Pure.

A few kilobytes can unpack to gigabytes, and two cells in opposite corners make calamine allocate all that lie
between them, which ends the process. So each part of the workbook is unpacked under a bound, the sheets are
scanned for their extent, and calamine reads a new archive of just these parts.
"""

from __future__ import annotations

import io
import math
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from datetime import date, time, timedelta
from typing import Any

import python_calamine as calamine

from mappings.errors import Invalid
from mappings.files.harmless import as_written
from mappings.files.sheet_scan import (
    CELLS_AT_MOST,
    ScanRefused,
    SheetPart,
    SheetScan,
    check_part,
    scan_sheet,
    sheets_in,
)
from mappings.files.table import (
    COLUMNS_AT_MOST,
    LINES_AT_MOST,
    MB,
    BadCell,
    Cell,
    CountColumns,
    Row,
    Table,
    checked,
    header_row,
    is_empty,
    plain_name,
    too_many_lines,
)

MEMBERS_AT_MOST = 2_000
SHEETS_AT_MOST = 50
UNPACKED_AT_MOST = 64 * MB  # of all parts together
# What calamine reads of a workbook, each with the bytes that it may have unpacked.
_SHEET = re.compile(r"xl/worksheets/[^/]+\.xml")
_PARTS = (
    (_SHEET, 48 * MB),
    (re.compile(r"xl/sharedstrings\.xml"), 24 * MB),
    (re.compile(r"(\[content_types\]\.xml|_rels/\.rels|xl/workbook\.xml|xl/styles\.xml)"), 4 * MB),
    (re.compile(r"xl/(_rels/workbook|worksheets/_rels/[^/]+)\.xml\.rels"), 4 * MB),
)
_OLD = "is a workbook of another format"
_OTHER_FORMATS = {
    "content.xml": f"{_OLD} (.ods); save it as .xlsx or CSV",
    "xl/workbook.bin": f"{_OLD} (.xlsb); save it as .xlsx or CSV",
    "word/document.xml": "is a text document (.docx); save the table as .xlsx or CSV",
}
_WRITTEN = {"[content_types].xml": "[Content_Types].xml", "xl/sharedstrings.xml": "xl/sharedStrings.xml"}
NOT_READABLE = "is not a whole XLSX workbook; save it again as .xlsx, or as CSV"


def read_workbook(
    data: bytes, known_columns: CountColumns, *, sheet: str | None = None, sheet_named: str = ""
) -> Table:
    """The table on one sheet; `sheet` and `sheet_named` as in `read_table`. Raises `Invalid`."""
    parts = _unpacked(data)
    try:
        for name, part in parts.items():
            if not _SHEET.fullmatch(name):
                check_part(part)
        chosen, scan = _chosen(sheets_in(parts), parts, sheet, sheet_named)
    except ScanRefused as error:
        raise Invalid("file", str(error) or NOT_READABLE) from None
    try:
        with calamine.CalamineWorkbook.from_filelike(io.BytesIO(_packed(parts, chosen.part))) as book:
            found = book.get_sheet_by_name(chosen.name)
            cells, merged = found.to_python(skip_empty_area=False), found.merged_cell_ranges or []
    except calamine.CalamineError as error:
        raise Invalid("file", NOT_READABLE) from error
    except BaseException as error:
        # A panic of calamine's is no `Exception`; anything else goes on.
        if type(error).__name__ != "PanicException":
            raise
        raise Invalid("file", NOT_READABLE) from None
    return _table(chosen.name, cells, merged, scan, known_columns)


# --- unpacking --------------------------------------------------------------------------------


def _unpacked(data: bytes) -> dict[str, bytes]:
    """The parts that calamine reads, by their names in lower case. Raises `Invalid` for what is too large."""
    parts: dict[str, bytes] = {}
    left = UNPACKED_AT_MOST
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) > MEMBERS_AT_MOST:
                raise Invalid("file", f"is a workbook of more than {MEMBERS_AT_MOST:,} parts")
            names = [member.filename.lstrip("/").lower() for member in members]
            for other, message in _OTHER_FORMATS.items():
                if other in names:
                    raise Invalid("file", message)
            for name, member in zip(names, members, strict=True):
                most = next((most for pattern, most in _PARTS if pattern.fullmatch(name)), 0)
                if not most:
                    continue
                if name in parts:
                    raise Invalid("file", NOT_READABLE)
                parts[name] = _part(archive, member, min(most, left))
                left -= len(parts[name])
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        raise Invalid("file", NOT_READABLE) from error
    if "xl/workbook.xml" not in parts:
        raise Invalid("file", "is an archive, and no XLSX workbook")
    return parts


def _part(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> bytes:
    # The size in the archive's directory may be a lie, so it is the reading that is bounded.
    with archive.open(member) as packed:
        part = packed.read(most + 1)
    if len(part) > most:
        raise Invalid(
            "file",
            f"unpacks to more than {UNPACKED_AT_MOST // MB} MB; save the one sheet as a workbook or CSV",
        )
    return part


def _packed(parts: Mapping[str, bytes], sheet: str) -> bytes:
    """An archive of the parts that the sheet needs."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, part in parts.items():
            if name == sheet or not _SHEET.fullmatch(name):
                archive.writestr(_WRITTEN.get(name, name), part)
    return file.getvalue()


# --- the sheet --------------------------------------------------------------------------------


def _chosen(
    sheets: Sequence[SheetPart], parts: Mapping[str, bytes], named: str | None, kind: str
) -> tuple[SheetPart, SheetScan]:
    """The sheet to take and its scan. Raises `Invalid` and `ScanRefused`."""
    if named is not None:
        fitting = [sheet for sheet in sheets if plain_name(sheet.name) == plain_name(named)]
        if not fitting:
            names = ", ".join(sheet.name for sheet in sheets)
            raise Invalid("sheet", f"there is no sheet {named!r}; there are {names}")
    else:
        visible = [sheet for sheet in sheets if sheet.visible]
        fitting = [sheet for sheet in visible if plain_name(sheet.name) == kind] or visible
    for sheet in fitting[:SHEETS_AT_MOST]:
        scan = scan_sheet(parts[sheet.part])
        if scan.height:
            return sheet, scan
    raise Invalid("file", "has no visible sheet with cells; `?sheet=` takes a hidden one")


def _table(
    name: str,
    cells: list[list[Any]],
    merged: Sequence[tuple[tuple[int, int], tuple[int, int]]],
    scan: SheetScan,
    known_columns: CountColumns,
) -> Table:
    _fill_merged(cells, merged)
    _make_room(cells, scan)
    rows: list[Row] = []
    for index, line in enumerate(cells):
        row = [
            scan.bad.get((index, column)) or _cell(cell) for column, cell in enumerate(line[:COLUMNS_AT_MOST])
        ]
        if not all(map(is_empty, row)):
            rows.append(Row(index + 1, row))
    if len(rows) - 1 - header_row(rows, known_columns) > LINES_AT_MOST:
        raise Invalid("file", too_many_lines())
    return Table(rows=rows, format="xlsx", sheet=name)


def _make_room(cells: list[list[Any]], scan: SheetScan) -> None:
    """calamine ends where the last value does; a formula without one may stand beyond."""
    for row, column in scan.bad:
        cells += [[] for _ in range(row + 1 - len(cells))]
        cells[row] += [""] * (column + 1 - len(cells[row]))


def _fill_merged(cells: list[list[Any]], merged: Sequence[tuple[tuple[int, int], tuple[int, int]]]) -> None:
    """A cell that is merged over several lines counts for each of them."""
    left = CELLS_AT_MOST
    for (top, column), (bottom, _) in merged:
        if top >= len(cells) or column >= len(cells[top]):
            continue
        lines = cells[top + 1 : bottom + 1]
        left -= len(lines) + 1
        if left < 0:  # cells that are merged do not overlap, so these are no spreadsheet program's
            raise Invalid("file", NOT_READABLE)
        for line in lines:
            if is_empty(line[column]):
                line[column] = cells[top][column]


def _cell(cell: Any) -> Cell:
    if isinstance(cell, str):
        checked_cell = checked(cell)
        return as_written(checked_cell) if isinstance(checked_cell, str) else checked_cell
    if isinstance(cell, time | timedelta):
        return BadCell("is a time of day; write it as text")
    if isinstance(cell, float) and not math.isfinite(cell):
        return BadCell("is a number larger than any; write another")
    if isinstance(cell, bool | float | int | date):
        return cell
    return BadCell("holds what is neither a text, a number, a date nor yes or no")
