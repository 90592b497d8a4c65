"""From a cell, as a file has it, to a value of its column. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any

from mappings.files.table import BadCell, Cell, Row, is_empty

if TYPE_CHECKING:
    from mappings.imports.columns import Column, Header, Kind

_YES = frozenset(("true", "yes", "y", "x", "1"))
_NO = frozenset(("false", "no", "n", "0"))
_BLANKS_IN_NUMBERS = re.compile(r"(?<=\d)[ '’\u00a0\u2009\u202f](?=\d{3}(?!\d))")
_PLAIN_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d{1,3})?", re.IGNORECASE | re.ASCII)


class CellError(ValueError):
    """The text says what is wrong with the cell, as the errors of `mappings.values` do."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file: its values by column, None for an empty cell, and what is wrong with its cells.
    A column that the file does not have is in neither."""

    number: int
    values: dict[str, Any]
    errors: Sequence[tuple[str, str]] = ()


def read_line(kind: Kind, header: Header, row: Row, *, decimal_comma: bool) -> Line:
    values: dict[str, Any] = {}
    errors: list[tuple[str, str]] = []
    for name, index in header.places.items():
        cell = row.cells[index] if index < len(row.cells) else None
        try:
            values[name] = value_of(kind.by_name[name], cell, decimal_comma=decimal_comma)
        except CellError as error:
            errors.append((name, str(error)))
    beyond = (index for index, cell in enumerate(row.cells) if not is_empty(cell))
    if any(index not in header.named for index in beyond):
        errors.append(("file", "the line has a cell below no column name"))
    return Line(row.number, values, errors)


def value_of(column: Column, cell: Cell, *, decimal_comma: bool) -> Any:
    """The value, None for an empty cell. Raises `CellError`."""
    if isinstance(cell, BadCell):
        raise CellError(cell.message)
    if is_empty(cell):
        return None
    match column.holds:
        case "number":
            return _number(cell, decimal_comma)
        case "day":
            return _day(cell)
        case "yes_no":
            return _yes_no(cell)
        case "word":
            return _text(cell).strip().lower().replace(" ", "_")
        case "text":
            return _text(cell)
        case "key" | "line":
            return _text(cell).strip()


def _text(cell: Cell) -> str:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float | int):
        return str(int(cell)) if cell == int(cell) and abs(cell) < 2**53 else repr(cell)
    if isinstance(cell, datetime) and cell.time() == time.min:
        return cell.date().isoformat()
    return cell.isoformat() if isinstance(cell, date) else str(cell)


# --- numbers ----------------------------------------------------------------------------------


def _number(cell: Cell, decimal_comma: bool) -> float:
    if isinstance(cell, bool):
        raise CellError("must be a number, and is yes or no")
    if isinstance(cell, float | int):
        return float(cell)
    if isinstance(cell, date):
        raise CellError("must be a number, and is a date; format the cell as a number")
    return number_of(str(cell), decimal_comma=decimal_comma)


def number_of(text: str, *, decimal_comma: bool) -> float:
    """The number that a text writes. `decimal_comma`: a comma is the decimal sign, and a full stop may group
    thousands. Raises `CellError`, also where a sign could be either."""
    plain = _BLANKS_IN_NUMBERS.sub("", text.strip().replace("−", "-"))
    point, group = (",", ".") if decimal_comma else (".", ",")
    whole, _, after = plain.partition(point)
    parts = whole.split(group)
    if len(parts) > 1:
        if not _is_grouped(parts):
            return _other_sign(text, plain, decimal_comma)
        if len(parts) == 2 and point not in plain:
            raise CellError(f"is {text.strip()!r}, which may be {_both(parts)}; {_advice(decimal_comma)}")
        plain = "".join(parts) + (f"{point}{after}" if point in plain else "")
    plain = plain.replace(point, ".", 1)
    if not _PLAIN_NUMBER.fullmatch(plain):
        raise CellError(f"must be a number, and is {text.strip()[:40]!r}")
    return float(plain)


def _is_grouped(parts: Sequence[str]) -> bool:
    return bool(re.fullmatch(r"[+-]?[1-9]\d{0,2}", parts[0])) and all(
        re.fullmatch(r"\d{3}", part) for part in parts[1:]
    )


def _other_sign(text: str, plain: str, decimal_comma: bool) -> float:
    """A number with the other decimal sign: a full stop is read where it can be nothing else."""
    if decimal_comma and _PLAIN_NUMBER.fullmatch(plain):
        return float(plain)
    hint = "" if decimal_comma else "; `decimal=,` reads a comma as the decimal sign"
    raise CellError(f"must be a number, and is {text.strip()[:40]!r}{hint}")


def _both(parts: Sequence[str]) -> str:
    return f"{''.join(parts)} or {'.'.join(parts)}"


def _advice(decimal_comma: bool) -> str:
    if decimal_comma:
        return "write it without the full stop, or with a comma before its decimals"
    return "write it without the comma, or send `decimal=,` where that is the decimal sign"


# --- days, yes and no -------------------------------------------------------------------------


def _day(cell: Cell) -> date:
    if isinstance(cell, datetime):
        if cell.time() != time.min:
            raise CellError(f"must be a day, and is a time: {cell.isoformat(' ')}")
        return cell.date()
    if isinstance(cell, date):
        return cell
    if isinstance(cell, float | int):
        raise CellError("must be a day, and is a number; format the cell as a date")
    text = str(cell).strip()
    found = re.fullmatch(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})([T ]00:00(:00(\.0+)?)?Z?)?", text, re.ASCII)
    parts = found.group(1, 2, 3) if found else ()
    if not parts and (dotted := re.fullmatch(r"(\d{1,2})\.(\d{1,2})\.(\d{4})", text, re.ASCII)):
        parts = dotted.group(3, 2, 1)
    if not parts:
        raise CellError(f"must be a day such as 2026-12-31, and is {text[:40]!r}")
    try:
        return date(*map(int, parts))
    except ValueError:
        raise CellError(f"{text!r} is no day of the calendar") from None


def _yes_no(cell: Cell) -> bool:
    if isinstance(cell, bool):
        return cell
    word = _text(cell).strip().lower()
    if word in _YES or word in _NO:
        return word in _YES
    raise CellError(f"must be yes or no, and is {word[:40]!r}")
