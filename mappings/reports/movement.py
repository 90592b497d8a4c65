"""How far coverage moved, in the whole points that are shown, and since which frozen day. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from mappings.goals.progress import whole_percent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from mappings.reports.counts import Counts, CoverageDay

FOUR_WEEKS = timedelta(days=28)
ONE_WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Movement:
    """`points`: what is shown now less what was shown on the day `since`. `more_epics` and `more_sources`:
    how many more are counted now."""

    points: int
    since: date
    more_epics: int
    more_sources: int


def movement(
    days: Sequence[CoverageDay], counts: Counts, sources: int, now: datetime, back: timedelta
) -> Movement | None:
    """Since the last frozen day that is at least `back` ago, else since the first one, if that is before
    today. None where one of both has no coverage. `days` oldest first; `counts` of now, of `sources`."""
    today = now.astimezone(UTC).date()
    earlier = [day for day in days if day.day < today]
    long_ago = [day for day in earlier if day.day <= today - back]
    then = long_ago[-1] if long_ago else earlier[0] if earlier else None
    if then is None or then.counts.rate is None or counts.rate is None:
        return None
    return Movement(
        points=whole_percent(counts.rate) - whole_percent(then.counts.rate),
        since=then.day,
        more_epics=counts.total - then.counts.total,
        more_sources=sources - then.sources,
    )


Segment = list[tuple["datetime", float]]


def segments(days: Sequence[CoverageDay], counts: Counts, now: datetime, share: str) -> list[Segment]:
    """The values of `share`, `rate` or `steered` in per cent by moment, now's at the end; a new part begins
    where a day is missing or has no value, so that no line is drawn over what is not known."""
    values = [(day.day, day.at, getattr(day.counts, share)) for day in days if day.at <= now]
    values.append((now.astimezone(UTC).date(), now, getattr(counts, share)))
    found: list[Segment] = [[]]
    last = values[0][0]
    for day, at, value in values:
        if value is None or day - last > timedelta(days=1):
            found.append([])
        if value is not None:
            found[-1].append((at, value * 100))
        last = day
    return [segment for segment in found if segment]
