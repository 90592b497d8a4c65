"""Key results as the judge sees them: if they count, how far they are, what a ticket may call them. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from functools import lru_cache
from typing import Literal

State = Literal["draft", "active", "achieved", "missed", "archived"]
Visibility = Literal["public", "internal", "confidential"]
CLOSED: frozenset[State] = frozenset(("achieved", "missed", "archived"))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyResult:
    """A key result with what its objective says of it: driver, visibility, label, cycle.

    `cycle_ends` is the cycle's last day, inclusive, UTC; None without a cycle.
    """

    id: int
    key: str
    title: str
    objective_key: str
    objective_title: str
    driver: str | None = None
    visibility: Visibility = "internal"
    public_label: str | None = None
    state: State = "active"
    objective_state: State = "active"
    cycle_ends: date | None = None

    @property
    def closed_by_hand(self) -> bool:
        """A person closed it or its objective, whatever the calendar says."""
        return self.state in CLOSED or self.objective_state in CLOSED


@lru_cache(maxsize=1024)
def _end_of(cycle_ends: date) -> datetime:
    return datetime.combine(cycle_ends + timedelta(days=1), time.min, UTC)


def live_until(goal: KeyResult) -> datetime | None:
    """The moment the calendar ends it: the start of the day after its cycle's last. None for never."""
    if goal.cycle_ends is None or goal.cycle_ends == date.max:
        return None
    return _end_of(goal.cycle_ends)


def _cycle_is_over(goal: KeyResult, now: datetime) -> bool:
    end = live_until(goal)
    return end is not None and end <= now


def is_live(goal: KeyResult, now: datetime) -> bool:
    """Whether a link to it aligns an epic. A draft is live; so is a goal without a cycle."""
    return not goal.closed_by_hand and not _cycle_is_over(goal, now)


def died_of_cycle(goal: KeyResult, now: datetime) -> bool:
    """It would be live but for the calendar, so its links have the longer grace."""
    return not goal.closed_by_hand and _cycle_is_over(goal, now)


def why_not_live(goal: KeyResult, now: datetime) -> str | None:
    """In words that name no title, so that they may stand on any ticket; None where it is live."""
    if goal.state in CLOSED:
        return f"it is {goal.state}"
    if goal.objective_state in CLOSED:
        return f"its objective {goal.objective_key} is {goal.objective_state}"
    if goal.cycle_ends is not None and _cycle_is_over(goal, now):
        return f"its cycle ended on {goal.cycle_ends.isoformat()}"
    return None


# --- how far ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CheckIn:
    at: datetime
    value: float


def current_value(check_ins: Iterable[CheckIn], baseline: float | None) -> float | None:
    """The latest check-in's value (of two at one moment the later given), else the baseline."""
    latest: CheckIn | None = None
    for check_in in check_ins:
        if latest is None or check_in.at >= latest.at:
            latest = check_in
    return baseline if latest is None else latest.value


def progress(baseline: float | None, target: float | None, current: float | None) -> float | None:
    """The share of the way from baseline to target, up or down, cut to 0..1; None where there is no way."""
    if baseline is None or target is None or current is None or baseline == target:
        return None
    if not all(map(math.isfinite, (baseline, target, current))):
        return None
    # Exact, since the difference of two finite floats may be infinite or zero.
    way = Fraction(target) - Fraction(baseline)
    return float(min(max((Fraction(current) - Fraction(baseline)) / way, Fraction(0)), Fraction(1)))


# --- on a ticket --------------------------------------------------------------------------------


def may_name(goal: KeyResult, ticket_is_public: bool) -> bool:
    """Whether its title, and anything worked out from the title, may stand on such a ticket."""
    return goal.visibility == "public" or (goal.visibility == "internal" and not ticket_is_public)


def public_words(goal: KeyResult, ticket_is_public: bool) -> str:
    """The words that such a ticket may show of it: title, else public label, else none."""
    return goal.title if may_name(goal, ticket_is_public) else goal.public_label or ""


def name_on_ticket(goal: KeyResult, ticket_is_public: bool) -> str:
    """`KR-12 (title)`, `KR-12 (public label)`, or `KR-12` alone."""
    words = public_words(goal, ticket_is_public).strip()
    return f"{goal.key} ({words})" if words else goal.key
