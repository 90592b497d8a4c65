"""CSV as spreadsheet programs write it: four encodings, three separators. Pure."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator

from mappings.errors import Invalid
from mappings.files.harmless import as_written
from mappings.files.table import (
    COLUMNS_AT_MOST,
    FILE_AT_MOST,
    HEADER_WITHIN,
    LINES_AT_MOST,
    BadCell,
    Cell,
    CountColumns,
    Row,
    Table,
    checked,
    header_row,
    is_empty,
    too_many_lines,
)

SEPARATORS = (",", ";", "\t")
# The names that people and programs use, by the codec that reads them.
CHARSETS = {
    "utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "utf-8", "ascii": "utf-8",
    "utf-16": "utf-16", "utf16": "utf-16", "utf-16le": "utf-16-le", "utf-16be": "utf-16-be",
    "windows-1252": "windows-1252", "cp1252": "windows-1252",
    "iso-8859-1": "windows-1252", "latin1": "windows-1252", "iso-8859-15": "iso-8859-15",
}  # fmt: skip
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_MULTIBYTE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
# One cell may be as long as the file: its line gets the error, and the others are read.
csv.field_size_limit(FILE_AT_MOST)


def read_csv(data: bytes, known_columns: CountColumns, *, charset: str | None = None) -> Table:
    """The table; `charset` as in `read_table`. Raises `Invalid` on `file`."""
    text, encoding = decode(data, charset)
    named, text = _named_separator(text)
    separator = named or _best_separator(text, known_columns)
    rows: list[Row] = []
    for number, cells in enumerate(_records(text, separator), 1):
        if not all(map(is_empty, cells)):
            rows.append(Row(number, cells))
        if len(rows) > LINES_AT_MOST + HEADER_WITHIN:
            break
    if len(rows) - 1 - header_row(rows, known_columns) > LINES_AT_MOST:
        raise Invalid("file", too_many_lines())
    return Table(
        rows=rows,
        format="csv",
        encoding=encoding,
        separator=separator,
        decimal_comma=separator == ";",
    )


def decode(data: bytes, charset: str | None = None) -> tuple[str, str]:
    """The text, and its encoding: by its mark, else as `charset` says, else UTF-8 where it is that, else
    Windows-1252. Raises `Invalid` on `file`."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _decoded(data[len(mark) :], encoding), encoding
    if charset is not None and charset.lower() not in ("utf-8", "utf8"):
        codec = CHARSETS.get(charset.lower())
        if codec is None:
            known = "utf-8, utf-16, windows-1252 or iso-8859-15"
            raise Invalid("file", f"has the charset {charset!r}, which is not known here; send {known}")
        return _decoded(data, codec), codec
    for odd, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        start = data[:2000]
        if len(data) % 2 == 0 and start[odd::2].count(0) > len(start) * 0.4:
            return _decoded(data, encoding), encoding
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError as error:
        if 0 in data:
            raise Invalid("file", "is neither CSV nor an XLSX workbook") from None
        line = data.count(b"\n", 0, error.start) + 1
        # Windows-1252 can read nearly anything, also a UTF-8 file with one broken character.
        if charset is not None or _MULTIBYTE.search(data):
            raise Invalid("file", f"is not UTF-8 in line {line}; save it again as UTF-8") from None
    return _decoded(data, "windows-1252"), "windows-1252"


def _decoded(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Invalid("file", f"is not {encoding} in line {line}; save it again as UTF-8") from None


def _named_separator(text: str) -> tuple[str | None, str]:
    """The separator that a first line `sep=;` names, and the text without that line, which spreadsheet
    programs do not show."""
    found = re.match(r'"?sep=([,;\t])"?\r?\n', text, re.IGNORECASE)
    return (found[1], text[found.end() :]) if found else (None, text)


def _best_separator(text: str, known_columns: CountColumns) -> str:
    """The separator with which most names of columns are found in one line, then the one with most cells."""

    def found(separator: str) -> tuple[int, int]:
        rows = []
        try:
            for number, cells in enumerate(_records(text, separator), 1):
                rows.append(Row(number, cells))
                if number == HEADER_WITHIN:
                    break
        except Invalid:
            pass  # what is wrong is said when all of it is read
        if not rows:
            return 0, 0
        header = rows[header_row(rows, known_columns)].cells
        return known_columns(header), len(header)

    return max(SEPARATORS, key=found)


def _records(text: str, separator: str) -> Iterator[list[Cell]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    number = 0
    while True:
        number += 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise Invalid("file", f"{_csv_error(str(error), separator)} in line {number}") from None
        if len(cells) > COLUMNS_AT_MOST and not all(map(is_empty, cells[COLUMNS_AT_MOST:])):
            where = f"line {number} has {len(cells):,} cells"
            raise Invalid("file", f"may have {COLUMNS_AT_MOST} columns at most, and {where}")
        yield [_cell(cell) for cell in cells[:COLUMNS_AT_MOST]]


def _csv_error(message: str, separator: str) -> str:
    if "unexpected end of data" in message:
        return "ends inside a quoted cell that starts"
    if "expected after" in message:
        shown = "a tab" if separator == "\t" else f"`{separator}`"
        return f"has text after a closing quote, where {shown} should stand,"
    return f"cannot be read ({message})"


def _cell(text: str) -> Cell:
    cell = checked(text)
    return cell if isinstance(cell, BadCell) else as_written(text)
