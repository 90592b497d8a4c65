"""How the company's tickets are written down, and how days before today become times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Epic:
    """One large piece of work; `age` and `idle` are the days since its creation and its last change.

    `expects` is the key result that rules or its own words tie it to, or nothing; it is for the tests of
    this data only.
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
    """Some time in working hours, different for each number, never after `now`."""
    moment = (now - timedelta(days=days)).replace(
        hour=8 + number % 9, minute=number * 7 % 60, second=number * 13 % 60, microsecond=0
    )
    return min(moment, now.replace(microsecond=0) - timedelta(minutes=5))
