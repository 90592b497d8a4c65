"""Key results as an evaluation uses them: whether they are live, and what a ticket may call them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal

GoalState = Literal["draft", "active", "achieved", "missed", "archived"]
Visibility = Literal["public", "internal", "confidential"]
NO_LONGER_COUNTS = "no longer counts"
CLOSED: frozenset[GoalState] = frozenset(("achieved", "missed", "archived"))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyResult:
    """A key result with the facts of its objective: driver, visibility, label, cycle.

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
    state: GoalState = "active"
    objective_state: GoalState = "active"
    cycle_ends: date | None = None

    @property
    def closed_by_person(self) -> bool:
        """Whether a person closed it or its objective; the calendar does not matter."""
        return self.state in CLOSED or self.objective_state in CLOSED


@lru_cache(maxsize=1024)
def _end_of(cycle_ends: date) -> datetime:
    return datetime.combine(cycle_ends + timedelta(days=1), time.min, UTC)


def live_until(goal: KeyResult) -> datetime | None:
    """The moment its cycle is over: the start of the day after the cycle's last, UTC. None for never."""
    if goal.cycle_ends is None or goal.cycle_ends == date.max:
        return None
    return _end_of(goal.cycle_ends)


def _cycle_is_over(goal: KeyResult, now: datetime) -> bool:
    end = live_until(goal)
    return end is not None and end <= now


def is_live(goal: KeyResult, now: datetime) -> bool:
    """Whether a link to it aligns an epic. A draft is live, and so is a goal without a cycle."""
    return not goal.closed_by_person and not _cycle_is_over(goal, now)


def ended_with_cycle(goal: KeyResult, now: datetime) -> bool:
    """Whether only the end of its cycle makes it not live; its links then have the longer grace."""
    return not goal.closed_by_person and _cycle_is_over(goal, now)


def why_not_live(goal: KeyResult, now: datetime) -> str | None:
    """The reason in words, for the API and pages behind the login; None where it is live."""
    if goal.state in CLOSED:
        return f"it is {goal.state}"
    if goal.objective_state in CLOSED:
        return f"its objective {goal.objective_key} is {goal.objective_state}"
    if goal.cycle_ends is not None and _cycle_is_over(goal, now):
        return f"its cycle ended on {goal.cycle_ends.isoformat()}"
    return None


# --- on a ticket --------------------------------------------------------------------------------


def may_name(goal: KeyResult, ticket_is_public: bool) -> bool:
    """Whether such a ticket may show its title, and anything derived from the title."""
    return goal.visibility == "public" or (goal.visibility == "internal" and not ticket_is_public)


def why_not_live_on_ticket(goal: KeyResult, ticket_is_public: bool, now: datetime) -> str | None:
    """The reason in words that such a ticket may show. Where the goal may not be named, it shows neither its
    state, nor its cycle's end, nor its objective."""
    why = why_not_live(goal, now)
    return why if why is None or may_name(goal, ticket_is_public) else NO_LONGER_COUNTS


def public_words(goal: KeyResult, ticket_is_public: bool) -> str:
    """The words that such a ticket may show for it: its title, else its public label, else none."""
    return goal.title if may_name(goal, ticket_is_public) else goal.public_label or ""


def name_on_ticket(goal: KeyResult, ticket_is_public: bool) -> str:
    """`KR-12 (title)`, `KR-12 (public label)`, or `KR-12` alone."""
    words = public_words(goal, ticket_is_public).strip()
    return f"{goal.key} ({words})" if words else goal.key
