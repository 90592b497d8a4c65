"""The members of a tracker's JSON, each read as what the vendor describes or refused in words. Pure.

A member that is missing, null or empty is the empty value, as vendors leave out what does not apply.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from connectors.base import Children
from connectors.markup import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

_NUMBER = re.compile(r"[1-9][0-9]{0,18}")
_LARGEST = 2**63 - 1  # both trackers use 64-bit ids
_MOST_CHILDREN = 2**31 - 1

# What reading a value of another shape raises.
MISREADINGS = (KeyError, TypeError, OverflowError, ValueError, AttributeError)


class NotAsDescribed(ValueError):
    """A member of an answer has another shape than the vendor describes. The message can be shown."""


def reason_of(error: Exception) -> str:
    """Why a row could not be read, as one bounded line of visible characters."""
    return str(error) if isinstance(error, NotAsDescribed) else quoted(error, 200)


def remote_number(value: object) -> str | None:
    """An id of a tracker as a string: a positive 64-bit number or its digits; None for anything else."""
    if isinstance(value, str):
        return value if _NUMBER.fullmatch(value) and (len(value) < 19 or int(value) <= _LARGEST) else None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if 0 < value <= _LARGEST else None
    return None


def children_of(total: object, done: object) -> Children | None:
    """The counts where both are counts, and not more are done than there are; else None."""
    if type(total) is not int or type(done) is not int or not 0 <= done <= total <= _MOST_CHILDREN:
        return None
    return Children(total, done)


def row_of(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise NotAsDescribed(f"it is no object but {quoted(value)}")
    return value


def number_in(row: Mapping[str, Any], name: str) -> str:
    """The id `row[name]`, which may not be missing. Raises `NotAsDescribed`."""
    number = remote_number(row.get(name))
    if number is None:
        raise NotAsDescribed(f"its {name} is no number but {quoted(row.get(name))}")
    return number


def moment_in(row: Mapping[str, Any], name: str) -> datetime:
    """The time `row[name]` in UTC, such as `2024-01-15T10:30:00.000+0800`; it may not be missing.

    Raises `NotAsDescribed`, also for a time without a time zone.
    """
    try:
        moment = datetime.fromisoformat(row[name])
        if moment.tzinfo is not None:
            return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    except MISREADINGS:
        pass
    raise NotAsDescribed(f"its {name} is no time but {quoted(row.get(name))}")


def text_in(row: Mapping[str, Any], name: str) -> str:
    """The text `row[name]`; a number as it is written. Raises `NotAsDescribed` for a list or an object."""
    value = row.get(name)
    return value if isinstance(value, str) else text_of(value, name)


def text_of(value: Any, name: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (dict, list)) and value:
        raise NotAsDescribed(f"its {name} is no text but {quoted(value)}")
    return str(value) if value else ""


def object_in(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = row.get(name) or {}
    if not isinstance(value, dict):
        raise NotAsDescribed(f"its {name} is no object but {quoted(value)}")
    return value


def list_in(row: Mapping[str, Any], name: str) -> list[Any]:
    value = row.get(name) or []
    if not isinstance(value, list):
        raise NotAsDescribed(f"its {name} is no list but {quoted(value)}")
    return value
