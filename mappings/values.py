"""What a value must be that a person gives: a key, a line, a text, one of some words, a number, a moment.

An error is what is wrong, in words, and None where nothing is. None as a value was left out and is never
wrong: the types say where it may be. Bounds have the names and the meaning of pydantic's. Pure.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import date, datetime

KEY_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
NOT_A_KEY = "must be 1 to 64 letters, digits, dots, underscores or hyphens, the first a letter or digit"
# PostgreSQL's text cannot hold U+0000.
NO_NUL_PATTERN = r"^[^\x00]*$"
HOLDS_NUL = "must not hold U+0000"
# White space as Unicode and pydantic have it; Python alone adds U+001C to U+001F.
BLANK = re.compile(r"[^\S\x1c-\x1f]*")
LINE_AT_MOST = 500
TEXT_AT_MOST = 20_000
# A day before or after these is a mistyped year; and near 9999 Python cannot hold every moment in UTC.
FIRST_YEAR, LAST_YEAR = 1970, 2100
OUT_OF_YEARS = f"must lie between {FIRST_YEAR} and {LAST_YEAR}"

FieldErrors = list[tuple[str, str | None]]  # each field with what is wrong with it


@dataclass(frozen=True, slots=True)
class FieldWarning:
    """What is probably not meant, though it is saved: the field, as the caller names it, and why, in
    words."""

    field: str
    message: str


class Bounds(TypedDict, total=False):
    """The least number (`ge`), or one below it (`gt`); the greatest (`le`), or one above it (`lt`)."""

    ge: int
    gt: int
    le: int
    lt: int


def key_error(key: str | None) -> str | None:
    # Not `match`: for Python a `$` also stands before a final line break.
    return None if key is None or re.fullmatch(KEY_PATTERN[1:-1], key) else NOT_A_KEY


def text_error(text: str | None, most: int = TEXT_AT_MOST) -> str | None:
    """`most` is in characters."""
    if text is None:
        return None
    if len(text) > most:
        return f"must have {most} characters at most"
    return HOLDS_NUL if "\x00" in text else None


def is_blank(text: str) -> bool:
    return BLANK.fullmatch(text) is not None


def line_error(line: str | None, most: int = LINE_AT_MOST) -> str | None:
    """As `text_error`; blank is wrong too."""
    if line is not None and is_blank(line):
        return "must not be empty"
    return text_error(line, most)


def one_of_error(word: str | None, known: Collection[str]) -> str | None:
    return None if word is None or word in known else f"must be one of {', '.join(known)}"


def number_error(number: float | None, bounds: Bounds | None = None) -> str | None:
    if number is None:
        return None
    # Python cannot make a float of every integer.
    if isinstance(number, float) and not math.isfinite(number):
        return "must be a number, neither infinite nor NaN"
    bounds = bounds or {}
    if "ge" in bounds and number < bounds["ge"]:
        return f"must be at least {bounds['ge']}"
    if "gt" in bounds and number <= bounds["gt"]:
        return f"must be more than {bounds['gt']}"
    if "le" in bounds and number > bounds["le"]:
        return f"must be at most {bounds['le']}"
    if "lt" in bounds and number >= bounds["lt"]:
        return f"must be less than {bounds['lt']}"
    return None


def moment_error(at: datetime | None) -> str | None:
    if at is None:
        return None
    if at.tzinfo is None:
        return "must say its time zone, such as 2026-12-31T12:00:00Z"
    return day_error(at)


def day_error(day: date | None) -> str | None:
    return None if day is None or FIRST_YEAR <= day.year <= LAST_YEAR else OUT_OF_YEARS
