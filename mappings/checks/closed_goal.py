"""The check `closed-goal`: an epic is linked to key results, and none of them is live. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mappings.checks.check import WHICH_KEY_RESULT, Check, EpicFacts, TicketWords
from mappings.goals.key_results import why_not_live, why_not_live_on_ticket

if TYPE_CHECKING:
    from datetime import datetime


def _find(facts: EpicFacts, now: datetime) -> str | None:
    links = facts.resolution.links
    if not links or facts.resolution.aligned:
        return None
    reasons = "; ".join(f"{link.key_result.key}: {why_not_live(link.key_result, now)}" for link in links)
    return f"No linked key result is live ({reasons}).{facts.unknown_keys}"


def _words(facts: EpicFacts, public: bool, now: datetime) -> TicketWords:
    goals = tuple(
        (link.key_result, why_not_live_on_ticket(link.key_result, public, now) or "")
        for link in facts.resolution.links
    )
    which = (
        "The one it is linked to no longer counts:"
        if len(goals) == 1
        else "Those it is linked to no longer count:"
    )
    return TicketWords(WHICH_KEY_RESULT, "Link one that counts:", which, goals)


CHECK = Check(
    name="closed-goal",
    about="epic",
    find=_find,
    words=_words,
    channel="comment",
    bears_on_alignment=True,
)
