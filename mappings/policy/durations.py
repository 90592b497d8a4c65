"""Grace and deadlines: working days, and when a waiver or snooze ends. Pure; all times UTC."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

LONGEST_DAYS = 366
_DURATION = re.compile(
    r"P(?:(?P<weeks>\d{1,6})W)?(?:(?P<days>\d{1,6})D)?"
    r"(?P<time>T(?:(?P<hours>\d{1,6})H)?(?:(?P<minutes>\d{1,6})M)?(?:(?P<seconds>\d{1,9})S)?)?",
    re.ASCII,
)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Duration:
    """A number of working days (Monday to Friday, UTC), followed by a plain span of time."""

    working_days: int = 0
    span: timedelta = timedelta(0)

    def __str__(self) -> str:
        """ISO 8601, as `parse_duration` reads it."""
        minutes, seconds = divmod(int(self.span.total_seconds()), 60)
        hours, minutes = divmod(minutes, 60)
        days = f"{self.working_days}D" if self.working_days else ""
        parts = "".join(f"{n}{unit}" for n, unit in ((hours, "H"), (minutes, "M"), (seconds, "S")) if n)
        return f"P{days}T{parts}" if parts else f"P{days}" if days else "PT0S"


def parse_duration(text: str) -> Duration:
    """Read an ISO 8601 duration. Raises `ValueError` that says what to write instead.

    A week is five working days, a day is one working day, and the time part is plain time. So `P1D`
    is not `PT24H`; the package isodate treats them as the same and cannot be used here.
    """
    numbers = _numbers(text)
    days = 5 * numbers.pop("weeks", 0) + numbers.pop("days", 0)
    span = timedelta(**numbers)
    _check_length(max(timedelta(days=days), span))
    return Duration(days, span)


def parse_span(text: str) -> timedelta:
    """Read an ISO 8601 duration as plain time: `P1D` is `PT24H`. Raises as `parse_duration` does."""
    span = timedelta(**_numbers(text))
    _check_length(span)
    return span


def _numbers(text: str) -> dict[str, int]:
    """The number of each unit that is given: `weeks`, `days`, `hours`, `minutes`, `seconds`."""
    parts = _DURATION.fullmatch(text) if len(text) <= 40 else None
    numbers = (
        {}
        if parts is None
        else {name: int(n) for name, n in parts.groupdict().items() if name != "time" and n}
    )
    if parts is None or not numbers or parts["time"] == "T":
        if re.match(r"P\d+[YM]", text[:40], re.ASCII):
            raise ValueError("months and years have no fixed length; say it in weeks or days, such as P20D")
        raise ValueError("must be an ISO 8601 duration in whole numbers, such as P5D, P2W, PT4H or PT0S")
    return numbers


def _check_length(span: timedelta) -> None:
    if span > timedelta(days=LONGEST_DAYS):
        raise ValueError(f"is longer than {LONGEST_DAYS} days; use a shorter one")


def add_grace(start: datetime, grace: Duration) -> datetime:
    """The end, in UTC, of a grace that starts at `start`.

    P5D from Friday 15:00 ends the next Friday 15:00. Working days that start on a weekend are
    counted from Monday 00:00; a span alone is plain time on any day.
    """
    moment = start.astimezone(UTC)
    if grace.working_days:
        if moment.weekday() >= 5:
            monday = moment.date() + timedelta(days=7 - moment.weekday())
            moment = datetime.combine(monday, time.min, UTC)
        weeks, days = divmod(grace.working_days, 5)
        over_a_weekend = moment.weekday() + days >= 5
        moment += timedelta(weeks=weeks, days=days + (2 if over_a_weekend else 0))
    return moment + grace.span


def start_of_day(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def end_of_day(day: date) -> datetime:
    """The exclusive end: the start of the next day."""
    return start_of_day(day) + timedelta(days=1)


def last_date(until: datetime) -> date:
    """The last day before an exclusive end: 31 December for 1 January 00:00 UTC."""
    return (until.astimezone(UTC) - timedelta(microseconds=1)).date()


def last_day(until: datetime) -> str:
    """The same as in ISO 8601."""
    return last_date(until).isoformat()


def parse_until(value: str | date | datetime, now: datetime) -> datetime:
    """The exclusive end of a waiver or snooze, UTC; a date means the end of that day.

    Raises `ValueError`, which says what to give instead, for what is unreadable, past, without a time zone or
    more than 366 days ahead.
    """
    until = _parse_moment(value) if isinstance(value, str) else value
    if isinstance(until, datetime):
        if until.tzinfo is None:
            raise ValueError("has no time zone; end it with Z, or give a date such as 2026-12-31")
        past, far = until <= now, until - now > timedelta(days=LONGEST_DAYS)
    else:
        today = now.astimezone(UTC).date()
        past, far = until < today, until - today > timedelta(days=LONGEST_DAYS)
    if past:
        raise ValueError("is past; give a day or time to come")
    if far:
        raise ValueError(f"is more than {LONGEST_DAYS} days ahead; give an earlier one, it can be renewed")
    return until.astimezone(UTC) if isinstance(until, datetime) else end_of_day(until)


def _parse_moment(text: str) -> date | datetime:
    with suppress(ValueError):
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
        if len(text) <= 40 and _MOMENT.fullmatch(text):
            return datetime.fromisoformat(text.upper())
    raise ValueError("must be a date such as 2026-12-31 or a time such as 2026-12-31T12:00:00Z")
