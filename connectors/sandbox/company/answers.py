"""What people of the company do about their tickets: commands in comments, and links made by hand. Plain
data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Literal

from connectors.sandbox.company.goals import GITHUB_SOURCE, JIRA_SOURCE

if TYPE_CHECKING:
    from collections.abc import Sequence

Json = dict[str, Any]

# GitHub goes live with the one project first; a run that would then comment on more tickets comments on none.
FIRST_LIVE = ["acme/docs"]
GITHUB_PER_RUN = 4


@dataclass(frozen=True, slots=True)
class Answer:
    """A command that a person comments on the epic of this title, and the state that it gives the finding;
    `resolved` where a link closes the gap."""

    source: str
    title: str
    person: str
    command: str
    state: Literal["resolved", "disputed", "waived", "snoozed"]


LINKED = Answer(JIRA_SOURCE, "Loyalty points, second attempt", "dev-lead", "/northing link KR-1", "resolved")
DISPUTED = Answer(
    GITHUB_SOURCE,
    "Style guide & **tone** of voice [draft](https://example.com)",
    "docs-lead",
    "/northing dispute This is how we write",
    "disputed",
)


def other_answers(today: date) -> Sequence[Answer]:
    """A waiver of eight weeks, and a snooze."""
    until = today + timedelta(weeks=8)
    waive = f"/northing waive until {until.isoformat()} because it is an idea of the spring fair, to be sized"
    return (
        Answer(JIRA_SOURCE, "Outfits: show what goes together 🎯", "product-owner", waive, "waived"),
        Answer(
            JIRA_SOURCE,
            "Event bus: rename topics to the new scheme",
            "platform-lead",
            "/northing snooze 14d",
            "snoozed",
        ),
    )


# title of the epic, key result, weight: where one epic serves two, twice as much the first
BY_HAND = (
    (JIRA_SOURCE, "Second acquirer for card payments", "KR-3", 2),
    (JIRA_SOURCE, "Second acquirer for card payments", "KR-11", 1),
)
