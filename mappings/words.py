"""Figures and days in words, as pages, files and tickets alike say them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mappings.goals.progress import whole_percent

if TYPE_CHECKING:
    from datetime import date


def percent(share: float | None) -> str:
    """A share of 1 as whole per cent, halves up; a dash for none."""
    return "–" if share is None else f"{whole_percent(share)}%"


def number_words(value: float | None) -> str:
    """With thousands apart and no more digits than it has; a dash for none."""
    if value is None:
        return "–"
    return f"{value:,.10g}" if abs(value) < 1e10 else f"{value:,.0f}"


def day_words(day: date, today: date | None = None) -> str:
    """`30 Oct 2026`, without the year where it is that of `today`; of a moment in UTC its day."""
    if today is not None and day.year == today.year:
        return f"{day.day} {day:%b}"
    return f"{day.day} {day:%b} {day.year}"


def cut_to(most: int, text: str) -> str:
    """The text with at most so many characters; where some are left out the last is an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
