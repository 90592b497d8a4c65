"""What a workbook's XML says before calamine reads it: the part of each sheet, and how far a sheet goes.

calamine gives an empty cell for a formula that failed and for one whose value was never computed. An empty
cell clears a value, so these two are found here. Pure.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from posixpath import join, normpath
from typing import Any
from xml.parsers import expat

from mappings.files.table import BadCell

CELLS_AT_MOST = 1_500_000  # of the rectangle around all cells with values: calamine allocates each
_ELEMENTS_AT_MOST = 3_000_000
_COUNTED_AT_MOST = 3_000_000
_REFERENCE = re.compile(r"([A-Z]{1,3})([1-9][0-9]{0,6})")
FAILED = BadCell("holds a formula that failed; mend it or empty the cell")
UNCOMPUTED = BadCell("holds a formula without a value; open the file in a spreadsheet program and save it")


class ScanRefused(Exception):
    """The text says why; empty where the XML cannot be read."""


@dataclass(frozen=True, slots=True)
class SheetScan:
    """`height` and `width` of the cells with values, from A1; `bad` by row and column, from 0."""

    height: int
    width: int
    bad: Mapping[tuple[int, int], BadCell]


@dataclass(frozen=True, slots=True)
class SheetPart:
    name: str
    part: str
    visible: bool


def sheets_in(parts: Mapping[str, bytes]) -> list[SheetPart]:
    """The worksheets, in the workbook's order; the parts' names are in lower case. Raises `ScanRefused`."""
    targets: dict[str, str] = {}
    found: list[SheetPart] = []

    def relation(name: str, values: dict[str, str]) -> None:
        if name == "Relationship" and values.get("Type", "").endswith("/worksheet"):
            target = values.get("Target", "")
            path = target.lstrip("/") if target.startswith("/") else normpath(join("xl", target))
            targets[values.get("Id", "")] = path.lower()

    def sheet(name: str, values: dict[str, str]) -> None:
        if name == "sheet":
            id = next((value for key, value in values.items() if key.endswith(":id")), "")
            part = targets.get(id, "")
            if part in parts:
                found.append(
                    SheetPart(values.get("name", ""), part, values.get("state", "visible") == "visible")
                )

    _parse(parts.get("xl/_rels/workbook.xml.rels", b""), relation)
    _parse(parts.get("xl/workbook.xml", b""), sheet)
    return found


def scan_sheet(part: bytes) -> SheetScan:
    """Raises `ScanRefused` for a sheet that reaches too far, or that cannot be read."""
    scan = _Scan()
    _parse(part, scan.start, scan.end)
    return SheetScan(scan.height, scan.width, scan.bad)


@dataclass(slots=True)
class _Scan:
    height: int = 0
    width: int = 0
    bad: dict[tuple[int, int], BadCell] = field(default_factory=dict)
    row: int = -1
    column: int = -1
    kind: str = ""
    formula: bool = False
    value: bool = False
    rows_numbered: bool | None = None
    cells_numbered: bool | None = None
    elements: int = 0

    def start(self, name: str, values: dict[str, str]) -> None:
        self.elements += 1
        if self.elements > _ELEMENTS_AT_MOST:
            raise ScanRefused("has too many cells; save the table alone as a workbook or CSV")
        if name == "c":
            self._place(values.get("r"))
            self.kind, self.formula, self.value = values.get("t", ""), False, False
        elif name in ("v", "is"):
            self.value = True
        elif name == "f":
            self.formula = True
        elif name == "row":
            self._next_row(values.get("r"))

    def _next_row(self, number: str | None) -> None:
        # Where some have numbers and others have none, two readers may count differently.
        if self.rows_numbered not in (None, number is not None):
            raise ScanRefused
        self.rows_numbered, self.cells_numbered = number is not None, None
        if number is not None and not re.fullmatch(r"[1-9][0-9]{0,6}", number):
            raise ScanRefused
        self.row = self.row + 1 if number is None else int(number) - 1
        self.column = -1

    def _place(self, reference: str | None) -> None:
        if self.cells_numbered not in (None, reference is not None):
            raise ScanRefused
        self.cells_numbered = reference is not None
        if reference is None:
            self.column += 1
            return
        found = _REFERENCE.fullmatch(reference)
        if found is None or int(found[2]) - 1 != self.row:
            raise ScanRefused
        column = 0
        for letter in found[1]:
            column = column * 26 + ord(letter) - 64
        self.column = column - 1

    def end(self, name: str) -> None:
        if name != "c" or not (self.value or self.formula):
            return
        if self.kind == "e":
            self.bad[self.row, self.column] = FAILED
        elif self.formula and not self.value:
            self.bad[self.row, self.column] = UNCOMPUTED
        self.height, self.width = max(self.height, self.row + 1), max(self.width, self.column + 1)
        if self.height * self.width > CELLS_AT_MOST:
            far = f"line {self.row + 1:,}, column {self.column + 1:,}"
            raise ScanRefused(f"has a value far from the others, in {far}; delete what stands there")


def check_part(part: bytes) -> None:
    """Raises `ScanRefused` for XML that cannot be read, or that announces more than it may have."""
    _parse(part, lambda _, values: None)


def _check_announced(values: dict[str, str]) -> None:
    # calamine allocates memory for as many as are announced.
    for name in ("count", "uniqueCount"):
        announced = values.get(name, "0")
        if not re.fullmatch("[0-9]{1,9}", announced) or int(announced) > _COUNTED_AT_MOST:
            raise ScanRefused


def _parse(xml: bytes, start: Any, end: Any = None) -> None:
    """Give the elements to the functions, their names without prefixes."""
    # Whatever encoding the file names: calamine reads UTF-8, and must not see other elements than these.
    if xml[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) or 0 in xml[:4]:
        raise ScanRefused
    parser = expat.ParserCreate("utf-8")

    def started(name: str, values: dict[str, str]) -> None:
        if "count" in values or "uniqueCount" in values:
            _check_announced(values)
        start(name.rpartition(":")[2], values)

    parser.StartElementHandler = started
    if end is not None:
        parser.EndElementHandler = lambda name: end(name.rpartition(":")[2])

    def refuse(*_: object) -> None:
        raise ScanRefused  # no spreadsheet program writes one, and entities may unfold without end

    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(xml, True)
    except expat.ExpatError:
        raise ScanRefused from None
