"""The moments of a timetable. Pure, all UTC; none depends on when a process was started.

An interval counts from 1970-01-01T00:00:00Z, so every replica computes the same moments. Every
moment is a whole second.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from mappings.policy.durations import parse_span

if TYPE_CHECKING:
    from collections.abc import Iterator

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MISSED_AFTER = timedelta(seconds=10)
# 29 February comes at least once in eight years; a moment that does not come in nine years never comes.
HORIZON = timedelta(days=9 * 366)
LONGEST_CRON = 200
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def next_moment(line: str, after: datetime) -> datetime | None:
    """The first moment strictly after `after`; None where none ever comes.

    `line` is an ISO 8601 duration of whole seconds (`PT15M`) or a cron line. Raises `ValueError`, which
    says what is wrong with it.
    """
    start = after.astimezone(UTC).replace(microsecond=0) + SECOND
    trigger = _interval(line) if line.startswith("P") else _cron(line, start + HORIZON)
    moment: datetime | None = trigger.get_next_fire_time(None, start)
    return moment


def due_moment(line: str, since: datetime, now: datetime) -> datetime | None:
    """The next moment to act on, if all up to `since` are done; None where none ever comes.

    Of the moments missed by more than ten seconds only the latest is made up for.
    """
    first = next_moment(line, since)
    if first is None or first >= now - MISSED_AFTER:
        return first
    low, high = first, now  # `low` is a moment; there is none after `high` and up to `now`
    while high - low >= SECOND:
        middle = low + (high - low) / 2
        found = next_moment(line, middle)
        if found is None or found > now:
            high = middle
        else:
            low = found
    return low


def _interval(line: str) -> Any:
    span = parse_span(line)
    if span < SECOND:
        raise ValueError("must be at least PT1S, such as PT15M or P1D")
    return IntervalTrigger(seconds=int(span.total_seconds()), start_date=EPOCH)


def _cron(line: str, until: datetime) -> Any:
    """APScheduler's trigger with cron's meaning of the line.

    APScheduler counts weekdays from Monday and requires that day and weekday both match; cron accepts either
    if both are given. https://man7.org/linux/man-pages/man5/crontab.5.html
    """
    parts = line.split()
    if len(line) > LONGEST_CRON or len(parts) != 5:
        raise ValueError("it has five parts: minute, hour, day, month, weekday")
    minute, hour, day, month, weekday = parts
    weekday = "*" if weekday == "*" else ",".join(_weekdays(weekday))
    common = {"minute": minute, "hour": hour, "month": month, "timezone": UTC, "end_date": until}
    if parts[2].startswith("*") or parts[4].startswith("*"):
        return CronTrigger(day=day, day_of_week=weekday, **common)
    return OrTrigger([CronTrigger(day=day, **common), CronTrigger(day_of_week=weekday, **common)])


def _weekdays(field: str) -> Iterator[str]:
    """The name of each day that a weekday field covers; 0 and 7 are Sunday."""
    for part in field.lower().split(","):
        found = re.fullmatch(r"(?:\*|([0-7]|[a-z]+)(?:-([0-7]|[a-z]+))?)(?:/([1-7]))?", part)
        if found is None:
            raise ValueError(f"{part!r} is no weekday; they are 0 to 7 or sun to sat")
        first, last, step = found.groups()
        start = 0 if first is None else _weekday(first)
        end = _weekday(last) if last else 6 if first is None or step else start
        if last and end == 0:
            end = 7  # sat-sun
        if end < start:
            raise ValueError(f"{part!r} ends before it starts")
        yield from (DAYS[number % 7] for number in range(start, end + 1, int(step or 1)))


def _weekday(text: str) -> int:
    if text.isdigit():
        return int(text)
    if text not in DAYS:
        raise ValueError(f"{text!r} is no weekday; they are 0 to 7 or sun to sat")
    return DAYS.index(text)
