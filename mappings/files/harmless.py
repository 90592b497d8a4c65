"""Texts that a spreadsheet program would take for a formula. Pure.

A program that opens a CSV file runs a cell that starts with one of these signs, some after blanks too, and
the text may be a stranger's: a ticket's title. An apostrophe before it makes the program show it as text.
What starts with apostrophes already gets one more, so that reading takes back exactly what writing added.
"""

from __future__ import annotations

import re
import unicodedata

# The full-width signs count as their usual ones in East Asian versions.
_FORMULA = re.compile("[' ]*[=+\\-@\t\r\n＝＋－＠]")


def starts_formula(text: str) -> bool:
    return _FORMULA.match(text) is not None


def harmless(text: str) -> str:
    return f"'{text}" if starts_formula(text) else text


def as_written(text: str) -> str:
    """The text whose harmless form this is; any other text is itself."""
    return text[1:] if text.startswith("'") and starts_formula(text) else text


def visible(text: str) -> str:
    """One line without what controls a terminal or turns the words around it; the joiners of emoji and of
    Persian or Indic words stay."""
    if text.isprintable():
        return text
    return "".join(" " if char.isspace() else char for char in text if char.isspace() or _is_seen(char))


def _is_seen(char: str) -> bool:
    return unicodedata.category(char) not in ("Cc", "Cf", "Cs") or char in "\u200c\u200d"
