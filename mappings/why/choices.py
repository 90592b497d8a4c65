"""The key results that somebody may choose from for an epic, some at a time. Pure.

Only those that its ticket may name take part: the others move nothing here, not even a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mappings.goals.key_results import KeyResult, is_live, may_name

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping
    from datetime import datetime

ON_A_PAGE = 20
MOST_LISTED = 100
LONGEST_SEARCH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """One page of a list. `pages` is at least 1, `page` begins with 1. `words`: what was searched for, empty
    for no search. `total`: how many fit, `left_out`: how many of them are beyond the most that are listed."""

    items: tuple[KeyResult, ...]
    page: int
    pages: int
    words: str
    total: int
    left_out: int


def choices(
    goals: Iterable[KeyResult],
    *,
    later: Container[int],
    linked: Mapping[int, int],
    ticket_is_public: bool,
    now: datetime,
    words: str = "",
    page: int = 1,
) -> Choices:
    """The live key results that such a ticket may name: first those that epics of the project serve
    (`linked`: the number of epics by key result id), most first, then the others of the present cycle.

    `later` are the ids of those whose cycle has not begun; one of no cycle is of every cycle. With `words`
    only those that have each of them in key or title, in any case. Beyond the last page comes the last one.
    """
    asked = words[:LONGEST_SEARCH].casefold().split()
    found = [
        goal
        for goal in goals
        if is_live(goal, now)
        and may_name(goal, ticket_is_public)
        and (goal.id not in later or linked.get(goal.id))
        and _has(goal, asked)
    ]
    found.sort(key=lambda goal: (-linked.get(goal.id, 0), goal.id))
    listed = found[:MOST_LISTED]
    pages = max(1, -(-len(listed) // ON_A_PAGE))
    page = min(max(1, page), pages)
    return Choices(
        items=tuple(listed[(page - 1) * ON_A_PAGE : page * ON_A_PAGE]),
        page=page,
        pages=pages,
        words=words[:LONGEST_SEARCH].strip(),
        total=len(found),
        left_out=len(found) - len(listed),
    )


def _has(goal: KeyResult, words: Iterable[str]) -> bool:
    text = f"{goal.key} {goal.title}".casefold()
    return all(word in text for word in words)
