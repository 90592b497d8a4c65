"""The form of the company's tickets, and the conversion of days before now to times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Epic:
    """One epic; `age` and `idle` are the days since its creation and since its last change.

    `expects` is the key of the key result that a rule or the ticket's own text links, or empty; only tests of
    this data use it.
    """

    home: str
    title: str
    state: str
    labels: str
    people: str
    age: int
    idle: int
    text: str = ""
    expects: str = ""
    parts: str = ""  # components in Jira, a milestone on GitHub


def days_before(now: datetime, days: int, number: int) -> datetime:
    """A time in working hours, `days` before `now`, different for each number, never after `now`."""
    moment = (now - timedelta(days=days)).replace(
        hour=8 + number % 9, minute=number * 7 % 60, second=number * 13 % 60, microsecond=0
    )
    return min(moment, now.replace(microsecond=0) - timedelta(minutes=5))
