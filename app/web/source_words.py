"""What to do about a source in the words of its pages: advice that names calls of the API names buttons."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import quote


class Advice(NamedTuple):
    """What to do, in words, and the pages where it is done: each its words and its path below the base."""

    words: str
    ways: list[tuple[str, str]]


def _notices(name: str) -> tuple[str, str]:
    return "Held notices", f"/notices?state=held&source={quote(name)}"


def _deliveries(name: str) -> tuple[str, str]:
    return "Failed deliveries", f"/deliveries?state=failed&source={quote(name)}"


_CALLS: tuple[tuple[str, str, Callable[[str], tuple[str, str]] | None], ...] = (
    (
        r"Read them with GET /api/v1/notices\S*; POST /api/v1/notices/approve .*? releases them\.",
        "Read them, then approve or withdraw them.",
        _notices,
    ),
    (
        r"GET /api/v1/deliveries\S* says why for each; once that is fixed, POST \S+/replay\.",
        "The list says why for each; once that is fixed, replay them there.",
        _deliveries,
    ),
    (
        r"an admin allows it with POST /api/v1/runs/.*?/accept-removals(?: and \d+ more)?\.",
        "an admin allows it on the page of the run.",
        None,
    ),
    (r"send the credentials again with PATCH", "give the login again, under Address and login", None),
    (r"by PATCH of the source", "on the page of the source", None),
    (r"is changed with PATCH", "is changed", None),
    (r" and, by PATCH of webhook_secret, here;", " and here, under Webhook;", None),
    (r", by PATCH of webhook_secret\.", ", under Webhook.", None),
)


def advice_for(name: str, what_to_do: str) -> Advice:
    """`what_to_do` of the health of the source `name`, for a person in front of its pages."""
    ways = []
    for call, words, way in _CALLS:
        what_to_do, found = re.subn(call, words, what_to_do)
        if found and way is not None:
            ways.append(way(name))
    return Advice(what_to_do, ways)


def every_words(every: str | None) -> str:
    """A duration of a timetable, such as PT15M, in words; as it is, where it has more than one part."""
    if not every:
        return "no timetable"
    parts = re.fullmatch(r"P(?:T(\d+)([MHS])|(\d+)(D))", every)
    if parts is None:
        return f"every {every}"
    count, unit = int(parts[1] or parts[3]), _UNITS[parts[2] or parts[4]]
    return f"every {unit}" if count == 1 else f"every {count} {unit}s"


_UNITS = {"S": "second", "M": "minute", "H": "hour", "D": "day"}


def cron_words(cron: str) -> str:
    """A cron line of once a day in words; others as they are."""
    parts = re.fullmatch(r"(\d{1,2}) (\d{1,2}) \* \* \*", cron)
    return f"at {int(parts[2]):02}:{int(parts[1]):02} UTC" if parts else cron
