"""What a ticket's fields say of its plan: days, story points, when it was done. Pure.

Fields are filled in by people and other programs. A value that cannot be read is no reason to lose the
epic: it counts as empty, and the epic says of which field that is so.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from connectors.base import UnreadableField

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from connectors.base import Epic, FieldKind

# A plan has no days beyond these: they are slips, and placeholders such as 0001-01-01 and 9999-12-31.
FIRST_YEAR, LAST_YEAR = 1970, 2199
MOST_POINTS = 1_000_000

Day = TypeVar("Day", date, datetime)

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NUMBER = re.compile(r"[0-9]{1,7}(?:\.[0-9]{1,15})?")


def day_of(value: Any) -> date:
    """A day such as `2026-11-30`. Raises `ValueError`, also for a time: its day depends on a time zone."""
    if not isinstance(value, str) or not _DAY.fullmatch(value.strip()):
        raise ValueError("is no day")
    return _within(date.fromisoformat(value.strip()))


def day_of_time(value: Any) -> date:
    """The day in UTC of a time with a time zone. Raises `ValueError`."""
    return moment_of(value).date()


def moment_of(value: Any) -> datetime:
    """A time with a time zone, in UTC. Raises `ValueError`."""
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is not None:
            return _within(moment.astimezone(UTC))
    except (OverflowError, TypeError):
        pass
    raise ValueError("is no time with a time zone")


def points_of(value: Any) -> float:
    """A number from 0 to `MOST_POINTS`, also one that is written as a text. Raises `ValueError`."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("is no number")
    if not 0 <= value <= MOST_POINTS:  # nor where it is no number at all, such as NaN
        raise ValueError("is no number of points")
    return float(value)


def _within(day: Day) -> Day:
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise ValueError("is beyond any plan")
    return day


# By the member of `epics` that names a field: the member of an epic that it fills, and how it is read.
PLANNED: dict[str, tuple[str, FieldKind, Callable[[Any], date | float]]] = {
    "start_field": ("starts_on", "date", day_of),
    "due_field": ("due_on", "date", day_of),
    "points_field": ("points", "number", points_of),
}


def set_planned(
    epic: Epic,
    member: str,
    name: str,
    values: Iterable[Any],
    read: Callable[[Any], date | float] | None = None,
) -> None:
    """Give `epic` what the field says that `epics.{member}` names: the first of `values` that can be read.

    Where there is a value and none can be read, the epic gets none and names the field among its
    `unreadable_fields`. `name`: the field's, as a person knows it. `read`: how, where not as usual.
    """
    filled, kind, usual = PLANNED[member]
    there = [value for value in values if value not in (None, "", [])]
    for value in there:
        try:
            setattr(epic, filled, (read or usual)(value))
        except ValueError:
            continue
        return
    if there:
        epic.unreadable_fields = (*epic.unreadable_fields, UnreadableField(f"epics.{member}", name, kind))


def first_moment(*values: Any) -> datetime | None:
    """The first of `values` that is a time, in UTC; None where none is."""
    for value in values:
        try:
            return moment_of(value)
        except ValueError:
            continue
    return None
