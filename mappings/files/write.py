"""Tables written: CSV piece by piece, and XLSX into a file. Both come in again as they went out. Pure but for
the file that is written to."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import date
from typing import IO, Any

import xlsxwriter

from mappings.files.harmless import harmless, starts_formula

ROWS_AT_MOST = 1_048_575  # of a sheet, below its header
CHARACTERS_AT_MOST = 32_767  # of a cell
FIRST_YEAR = 1900  # of a date in a sheet
Value = str | float | bool | date | None


def csv_rows(rows: Iterable[Sequence[Value]]) -> str:
    """RFC 4180: commas, CRLF, and quotes where they are needed."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerows([_as_text(value) for value in row] for row in rows)
    return file.getvalue()


def _as_text(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return harmless(value)
    return value.isoformat() if isinstance(value, date) else number_text(value)


def number_text(number: float) -> str:
    """The shortest text that reads as the same number."""
    return str(int(number)) if number == int(number) and abs(number) < 1e15 else repr(float(number))


class WorkbookWriter:
    """A workbook with one sheet, row after row; rows that are written are in a temporary file in `folder`."""

    def __init__(self, file: IO[bytes], folder: str, sheet: str, columns: Sequence[str]) -> None:
        options = {
            "constant_memory": True,
            "tmpdir": folder,
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
        }
        self._book = xlsxwriter.Workbook(file, options)
        self._sheet = self._book.add_worksheet(sheet)
        self._day = self._book.add_format({"num_format": "yyyy-mm-dd"})
        # So that a person who edits the cell does not make a formula of it.
        self._quoted = self._book.add_format({"quote_prefix": True})
        self._sheet.freeze_panes(1, 0)
        self._row = 0
        self._write_row(columns, self._book.add_format({"bold": True}))

    def write(self, rows: Iterable[Sequence[Value]]) -> None:
        for row in rows:
            self._write_row(row)

    def close(self) -> None:
        self._book.close()

    def _write_row(self, row: Sequence[Value], style: Any = None) -> None:
        for column, value in enumerate(row):
            if value is not None and value != "":
                self._write(column, value, style)
        self._row += 1

    def _write(self, column: int, value: Value, style: Any) -> None:
        place = self._row, column
        if isinstance(value, bool):
            self._sheet.write_boolean(*place, value)
        elif isinstance(value, str):
            self._write_text(column, value, style)
        elif isinstance(value, date):
            if value.year < FIRST_YEAR:
                self._sheet.write_string(*place, value.isoformat())
            else:
                self._sheet.write_datetime(*place, value, self._day)
        elif value is not None and float(f"{value:.16G}") == value:
            self._sheet.write_number(*place, value)
        elif value is not None:
            self._sheet.write_string(*place, repr(value))  # a cell's number would lose its last digit

    def _write_text(self, column: int, text: str, style: Any) -> None:
        if starts_formula(text):
            # With an apostrophe of its own it would lose that when it is read.
            text, style = (harmless(text) if text.startswith("'") else text), self._quoted
        if len(text) > CHARACTERS_AT_MOST:
            text = text[: CHARACTERS_AT_MOST - 1] + "…"
        self._sheet.write_string(self._row, column, text, style)
