"""The check `closed-goal`: an epic is linked to key results, and none of them is live. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectors.document import Bullets, Paragraph, Text
from mappings.checks.check import Check, EpicFacts, TicketWords
from mappings.goals.key_results import name_on_ticket, why_not_live, why_not_live_on_ticket

if TYPE_CHECKING:
    from datetime import datetime


def _find(facts: EpicFacts, now: datetime) -> str | None:
    links = facts.resolution.links
    if not links or facts.resolution.aligned:
        return None
    reasons = "; ".join(f"{link.key_result.key}: {why_not_live(link.key_result, now)}" for link in links)
    return f"No linked key result is live ({reasons}).{facts.unknown_keys}"


def _words(facts: EpicFacts, public: bool, now: datetime) -> TicketWords:
    goals = tuple(link.key_result for link in facts.resolution.links)
    reasons = tuple(
        (Text(f"{name_on_ticket(goal, public)}: {why_not_live_on_ticket(goal, public, now) or ''}"),)
        for goal in goals
    )
    first = Paragraph((Text("The key results this epic is linked to no longer count.", "strong"),))
    return TicketWords((first, Bullets(reasons)), goals)


CHECK = Check(
    name="closed-goal",
    about="epic",
    find=_find,
    words=_words,
    channel="comment",
    bears_on_alignment=True,
)
