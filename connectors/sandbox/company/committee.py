"""What the company's steering committee agrees, asks and decides, as bodies of Northing's API.

Plain data. Epics are named by source and title, for their keys are the tracker's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from connectors.sandbox.company.goals import GITHUB_SOURCE, JIRA_SOURCE

if TYPE_CHECKING:
    from collections.abc import Sequence

Json = dict[str, Any]

INITIATIVES: Json = {"types": [], "labels": ["initiative"]}
ATTENDEES: list[Json] = [
    {"name": "coo", "side": "business"},
    {"name": "cfo", "side": "business"},
    {"name": "head-of-commerce", "side": "business"},
    {"name": "cto", "side": "it"},
    {"name": "head-of-platform", "side": "it"},
]
CRITERIA: list[Json] = [
    {"key": "OUTCOME", "title": "Moves a key result of this quarter", "weight": 4},
    {"key": "CUSTOMER", "title": "Customers notice it", "weight": 2},
    {"key": "URGENCY", "title": "Waiting makes it dearer", "weight": 2},
    {"key": "EASE", "title": "Can be done with the people at hand", "weight": 1},
]


@dataclass(frozen=True, slots=True)
class Steered:
    """What is known of one epic: its answer to the value question with the driver, its scores in the order of
    `CRITERIA`, and its planned value in EUR."""

    source: str
    title: str
    answer: tuple[str, str] | None = None
    scores: tuple[float, ...] = ()
    planned: float | None = None
    realised: float | None = None


STEERED: Sequence[Steered] = (
    Steered(JIRA_SOURCE, "One-page checkout",
            ("Fewer baskets are left at the checkout, so more visits become orders.", "growth"),
            (5, 5, 4, 3), 900_000, 210_000),
    Steered(JIRA_SOURCE, "Guest checkout without an account", None, (5, 4, 3, 4)),
    Steered(JIRA_SOURCE, "Search that forgives typing errors",
            ("One search in six finds nothing today; these visitors leave.", "growth"), (4, 5, 3, 3),
            350_000),
    Steered(JIRA_SOURCE, "Move nightly jobs to spare capacity",
            ("Night jobs run at a third of the price.", "cost"), (4, 1, 3, 4), 240_000, 95_000),
    Steered(JIRA_SOURCE, "Last services off the old sign-on",
            ("The old sign-on gets no more security fixes from its maker.", "risk"), (2, 1, 5, 4)),
    Steered(JIRA_SOURCE, "Retry failed card payments",
            ("A payment that fails once is mostly an order that is lost.", "growth"), (5, 4, 4, 4), 420_000),
    Steered(JIRA_SOURCE, "Second acquirer for card payments",
            ("When our bank's lines are down, every card payment of that hour is lost.", "growth"),
            (4, 3, 3, 2), 310_000),
    Steered(JIRA_SOURCE, "Refunds without a person in between",
            ("A refund takes eleven minutes of work; most are clear at once.", "cost"), (4, 4, 2, 3),
            180_000),
    Steered(GITHUB_SOURCE, "Reorder in two taps",
            ("Regular customers order more often when it takes two taps.", "growth"), (5, 5, 3, 4), 500_000),
    Steered(GITHUB_SOURCE, "Crash-free sessions above 99.7 %",
            ("One bad review in three is about a crash.", "experience"), (3, 5, 4, 3)),
    Steered(GITHUB_SOURCE, "Help centre in nine languages",
            ("Six of nine languages have no answers yet, so these customers write to us.", "experience"),
            (3, 4, 2, 2), 150_000),
    Steered(GITHUB_SOURCE, "Dependency updates every week, by machine",
            ("Most critical findings are old libraries; nobody has to think of them any more.", "risk"),
            (4, 0, 3, 4)),
    Steered(GITHUB_SOURCE, "Build images on spot machines",
            ("Building images costs a third of what it does now.", "cost"), (3, 0, 2, 5), 60_000),
)  # fmt: skip
# Asked for, and not answered yet.
ASKED = (
    (JIRA_SOURCE, "Order service in smaller pieces", "dev-lead"),
    (JIRA_SOURCE, "Invoices in the new national format", "finance-lead"),
)

CONFLICT: Json = {
    "technical": "Each change of the order service takes a week until it is cut into smaller pieces.",
    "business": "Loyalty points are promised for spring, and they change every order.",
}
CONFLICT_ON = (JIRA_SOURCE, "Order service in smaller pieces")

PILOT_ON, PILOT_MEASURE, PILOT_DAYS = (JIRA_SOURCE, "One-page checkout"), "KR-1", 20
# Of the others at risk nobody has said yet what is done.
MITIGATIONS = {
    "KR-1": "Payment joins the one page on 10 % of the visits this week, and all of them next month.",
    "KR-5": "Refunds up to 500 EUR go through by themselves once the cfo has signed the new limit.",
    "KR-6": "The three worst crashes of old phones are mended first; new features wait two weeks.",
    "KR-8": "Two writers of the shop help with the next three languages for six weeks.",
}


@dataclass(frozen=True, slots=True)
class Decided:
    source: str
    title: str
    decision: str
    reason: str
    by: Sequence[str]
    days: int | None = None
    members: Json = field(default_factory=dict)


DECISIONS: Sequence[Decided] = (
    Decided(GITHUB_SOURCE, "Crash-free sessions above 99.7 %", "keep",
            "The rating is behind, and this is what moves it.", ("coo", "cto")),
    Decided(GITHUB_SOURCE, "Log sampling for chatty services", "remap",
            "Fewer log lines are a smaller bill; that is what it is for.", ("cfo", "head-of-platform"),
            members={"key_result": "KR-4"}),
    Decided(JIRA_SOURCE, "Chat hours until ten at night", "defer",
            "No measure yet; come back with one.", ("cfo", "head-of-platform"), days=40),
)  # fmt: skip


def body_of(decided: Decided, key: str, today: date) -> Json:
    """`key`: the epic's, at its tracker."""
    sides = {one["name"]: one["side"] for one in ATTENDEES}
    body: Json = {
        "epic": {"source": decided.source, "key": key},
        "decision": decided.decision,
        "reason": decided.reason,
        "decided_by": [{"name": name, "side": sides[name]} for name in decided.by],
        **decided.members,
    }
    if decided.days is not None:
        body["by"] = (today + timedelta(days=decided.days)).isoformat()
    return body
