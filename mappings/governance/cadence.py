"""When a cycle is reviewed: once each calendar month, or quarter, within it. Pure; all days are UTC."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Protocol

from mappings.goals.pace import MONTHS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mappings.goals.values import Review

# How long after the end of its cycle the last review may still be held.
AFTER_THE_END = timedelta(days=31)


class ReviewedCycle(Protocol):
    """`starts` and `ends` are the first and the last day, both inclusive."""

    @property
    def starts(self) -> date: ...

    @property
    def ends(self) -> date: ...

    @property
    def review(self) -> str: ...


@dataclass(frozen=True, slots=True)
class DueReview:
    """The first review that is missing. `since` and `due_on`: the first and the last day of its period.
    `begun`: the period has begun; `late`: it is over."""

    since: date
    due_on: date
    begun: bool
    late: bool


def periods(cycle: ReviewedCycle) -> Iterator[tuple[date, date]]:
    """The first and the last day of each calendar month or quarter, as far as it lies in the cycle."""
    months = MONTHS["quarterly" if cycle.review == "quarterly" else "monthly"]
    first = cycle.starts
    while first <= cycle.ends:
        last_month = (first.month - 1) // months * months + months
        last = date(first.year, last_month, calendar.monthrange(first.year, last_month)[1])
        yield first, min(last, cycle.ends)
        first = last + timedelta(days=1)


def period_of(cycle: ReviewedCycle, held_on: date) -> tuple[date, date]:
    """The period that a review held on this day is of: of one held after the cycle's end, the last."""
    found = list(periods(cycle))
    return next((period for period in found if held_on <= period[1]), found[-1])


def held_on_error(cycle: ReviewedCycle, held_on: date) -> str | None:
    """A review is held in its cycle, or soon after it."""
    latest = cycle.ends + AFTER_THE_END
    if cycle.starts <= held_on <= latest:
        return None
    return f"must lie between {cycle.starts}, where the cycle begins, and {latest}, 31 days after its end"


def due_review(cycle: ReviewedCycle, last: date | None, today: date) -> DueReview | None:
    """The next review that is to be held. `last`: when the latest one was held, None for never; the reviews
    before that one are missed no longer. None where the cycle needs no more: its last review was held, or
    may no longer be held."""
    if today > cycle.ends + AFTER_THE_END:
        return None
    done = None if last is None else period_of(cycle, last)[0]
    for since, due_on in periods(cycle):
        if done is None or since > done:
            return DueReview(since, due_on, begun=since <= today, late=due_on < today)
    return None


def next_review_day(cycle: ReviewedCycle, held_on: date) -> date:
    """Until when the review after the one on this day is held: the end of the next period of the cycle, else
    the end of a period later."""
    _, end = period_of(cycle, held_on)
    following = next((last for first, last in periods(cycle) if first > end), None)
    if following is not None:
        return following
    review: Review = "quarterly" if cycle.review == "quarterly" else "monthly"
    return max(end, held_on) + timedelta(days=31 * MONTHS[review])
