"""How far a key result should be by now, when its next check-in is due, and when it is at risk. Pure."""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mappings.goals.values import Review

Trend = Literal["rising", "falling", "steady"]

# Months between two check-ins, by how often the cycle is reviewed.
MONTHS: dict[Review, int] = {"monthly": 1, "quarterly": 3}
LAST_DAYS = timedelta(days=7)  # of a cycle: its review needs a value that is not older
LEAST_CONFIDENCE = 0.5
FURTHEST_BEHIND = 0.25

# Shown beside the lists that they define.
WHEN_DUE = (
    "A check-in is due a month after the last one, or after the start where there is none; three months in a "
    "cycle that is reviewed quarterly; and once more in the last seven days of the cycle. Only active key "
    "results of a running cycle, or of none, are asked for."
)
WHEN_AT_RISK = (
    "A key result is at risk when its latest confidence is below 0.5, or its progress is more than 25 points "
    "behind a steady pace."
)


def starts_at(day: date) -> datetime:
    """The first moment of a day, UTC."""
    return datetime.combine(day, time.min, UTC)


def ends_at(day: date) -> datetime:
    """The first moment after a day, UTC."""
    return starts_at(day) + timedelta(days=1)


def share_gone(start: datetime, end: datetime, now: datetime) -> float:
    """How much of the time is over, 0..1."""
    if end <= start:
        return 1.0 if now >= end else 0.0
    return min(1.0, max(0.0, (now - start) / (end - start)))


def next_check_in(
    *, start: datetime, end: datetime | None, review: Review | None, last: datetime | None
) -> datetime:
    """When the next check-in is due. `start` and `end` are those of the cycle, `end` the first moment after
    it, None without one; a key result made later than its cycle starts when it was made. `review`: None
    without a cycle, which is as monthly. `last`: the moment of the latest measurement."""
    begun = start if last is None else max(start, last)
    due = months_later(begun, MONTHS[review or "monthly"])
    if end is not None and (last is None or last < end - LAST_DAYS):
        due = min(due, max(end - LAST_DAYS, start))
    return due


def months_later(at: datetime, months: int) -> datetime:
    """The same time of the same day of the month, or of its last day where it has fewer."""
    total = at.month - 1 + months
    year, month = at.year + total // 12, total % 12 + 1
    return at.replace(year=year, month=month, day=min(at.day, calendar.monthrange(year, month)[1]))


def is_at_risk(progress: float | None, steady: float | None, confidence: float | None) -> bool:
    """`steady`: the progress that a steady pace would have reached, None where nothing says so."""
    if confidence is not None and confidence < LEAST_CONFIDENCE:
        return True
    # Rounded, because 0.63 - 0.38 is more than 0.25 for a float.
    return progress is not None and steady is not None and round(steady - progress, 6) > FURTHEST_BEHIND


def trend(latest: float | None, before: float | None) -> Trend | None:
    """Of the confidence since the check-in before; None where there are no two."""
    if latest is None or before is None:
        return None
    return "rising" if latest > before else "falling" if latest < before else "steady"
