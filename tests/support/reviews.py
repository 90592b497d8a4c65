"""A committee of a small company in November: its goals, epics to decide about, and a review of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from app.runtime import Runtime
from tests.support.clock import Clock
from tests.support.company_goals import TODAY, company_goals
from tests.support.disputes import dispute
from tests.support.goals_api import send
from tests.support.stored_epics import evaluate_due_epics, source_with, stored_epic

PEOPLE = [
    {"name": "coo", "side": "business"},
    {"name": "cfo", "side": "business"},
    {"name": "head-of-commerce", "side": "business"},
    {"name": "cto", "side": "it"},
    {"name": "head-of-platform", "side": "it"},
]
DISPUTED = (
    "It keeps the shop changeable. No single key result fits, and I would not want to pretend one does."
)
_AT = datetime(2026, 6, 5, tzinfo=UTC)
# Number, project, title, owner, the key result that it is linked to.
EPICS = (
    (1, "SHOP", "Faster checkout on phones", "ana", "KR-1"),
    (2, "SHOP", "Orders from the app in one step", "ana", "KR-2"),
    (3, "SHOP", "Loyalty points, second attempt 🎯", "", None),
    (4, "CORE", "Order service in smaller pieces", "dev-lead", None),
    (5, "CORE", "Developer portal", "bo", None),
    (6, "CORE", "Cloud cost of an order by team", "bo", "KR-4"),
    (7, "HELP", "Search that knows the customers' words", "kim", "KR-8"),
    (8, "HELP", "Augmented reality in the help app", "kim", None),
)


async def committee(runtime: Runtime, api: httpx.AsyncClient, clock: Clock, **titles: str) -> None:
    """`acme-jira` with eight open epics, four of them aligned; CORE-4 is disputed, CORE-5 was deferred until
    two days ago, SHOP-3 is the matter of a conflict that the committee has. `titles`: others, as `SHOP_3`."""
    await company_goals(runtime, clock)
    clock.now = TODAY - timedelta(days=20)
    epics = [
        replace(
            stored_epic(number, project, title=titles.get(f"{project}_{number}", title)),
            created_at=_AT + timedelta(days=number),
            updated_at=TODAY - timedelta(days=number),
            assignees=(owner,) if owner else (),
        )
        for number, project, title, owner, _ in EPICS
    ]
    await source_with(api, runtime, epics, "acme-jira")
    links = [
        {"epic": name(f"{project}-{number}"), "key_result": key_result}
        for number, project, _, _, key_result in EPICS
        if key_result is not None
    ]
    await send(api, "POST", "/links/bulk", {"links": links})
    await evaluate_due_epics(runtime)
    await dispute(runtime, "CORE-4", DISPUTED, clock())
    conflict = {
        "epic": name("SHOP-3"),
        "technical": "The points need the new customer database, which is there in March at the earliest.",
        "business": "Marketing has promised the points for the Christmas business.",
    }
    await send(api, "POST", "/conflicts", conflict, 201)
    clock.now = TODAY


def name(key: str) -> dict[str, str]:
    return {"source": "acme-jira", "key": key}


async def open_review(api: httpx.AsyncClient, *, people: Any = None, **members: Any) -> Any:
    """Of 2026-Q4, today."""
    body = {"cycle": "2026-Q4", "held_on": "2026-11-27", "attendees": PEOPLE if people is None else people}
    return await send(api, "POST", "/reviews", {**body, **members}, 201)


async def decide(api: httpx.AsyncClient, review: Any, key: str, decision: str, **members: Any) -> Any:
    body = {
        "epic": name(key),
        "decision": decision,
        "reason": "As the committee sees it.",
        "decided_by": [PEOPLE[0], PEOPLE[3]],
        **members,
    }
    return await send(api, "POST", f"/reviews/{review['id']}/decisions", body, 201)


def line_of(review: Any, kind: str, key: str | None = None) -> Any:
    """The line of the agenda of this kind, about this epic or key result."""
    named = (
        item
        for item in review["items"]
        if item["kind"] == kind
        and key in (None, item["about"].get("epic", {}).get("key"), item["about"].get("key_result"))
    )
    return next(named)
