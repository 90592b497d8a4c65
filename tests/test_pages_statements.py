"""How many statements each page costs, whatever the number of epics: a number that grows is seen here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import event

from app.runtime import Runtime
from tests.support.clock import Clock
from tests.support.pages import Visitor, visiting
from tests.support.world import World

# Of the session and the frame of each page one statement each.
AROUND = 2
# By the page's address: what it may cost beside these.
AT_MOST = {
    "/": 29,
    "/epics": 22,
    "/epics/jira/SHOP-1": 35,
    "/goals": 8,
    "/goals/KR-1": 16,
    "/goals/O-1": 13,
    "/audit": 13,
    "/allocation": 9,
    "/allocation/epics": 4,
    "/outcomes": 12,
    "/roadmap": 14,
    "/priorities": 6,
    "/conflicts": 4,
    "/rules": 6,
    "/rules?add=1": 2,
    "/rules?edit=1": 4,
    "/rules?delete=1": 28,
    "/notices": 3,
    "/notices?state=shadow": 4,
    "/sources": 11,
    "/sources/jira": 21,
    "/sources/new": 0,
    "/runs/1": 9,
    "/deliveries": 1,
    "/reviews": 6,
    "/reviews?open=2026": 9,
    "/reviews/1": 10,
    "/reviews/1/items/1": 11,
    "/reviews/1/items/2": 25,
    "/reviews/1/epics": 3,
    "/decisions": 4,
    "/import": 0,
    "/audit-log": 1,
    "/tokens": 1,
}


@pytest.fixture
async def visitor(application: FastAPI) -> AsyncIterator[Visitor]:
    async with visiting(application) as somebody:
        yield somebody


async def test_each_page_costs_a_bounded_number_of_statements(
    world: World, runtime: Runtime, visitor: Visitor, clock: Clock
) -> None:
    await world.goal()
    for number in range(3):
        world.site.create("SHOP", f"Checkout, part {number}")
    rule = {"name": "Checkout", "key_result": "KR-1", "when": {"title": "part 2"}}
    await world.send("POST", "/rules", rule)
    await world.connect_jira(scope={"projects": ["SHOP"]})
    await world.sync("jira", "full")
    await _review(world, clock)
    await visitor.sign_in()
    executed: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: Any) -> None:
        executed.append(statement)

    event.listen(runtime.engine.sync_engine, "before_cursor_execute", note)
    found = {}
    try:
        for address in AT_MOST:
            await visitor.get(address)  # the first of all reads what is kept for the others
            executed.clear()
            await visitor.get(address)
            found[address] = len(executed) - AROUND
    finally:
        event.remove(runtime.engine.sync_engine, "before_cursor_execute", note)
    more = {address: number for address, number in found.items() if number > AT_MOST[address]}
    assert more == {}, "more statements than the page may cost"


async def _review(world: World, clock: Clock) -> None:
    """With a line of the agenda about an epic, and a decision."""
    today = clock().date()
    cycle = {
        "key": "2026",
        "title": "A year",
        "starts": f"{today.year}-01-01",
        "ends": f"{today.year}-12-31",
        "review": "quarterly",
    }
    await world.send("POST", "/cycles", cycle)
    conflict = {"epic": {"source": "jira", "key": "SHOP-1"}, "technical": "Not yet", "business": "At once"}
    await world.send("POST", "/conflicts", conflict)
    clock.advance(days=20)
    people = [{"name": "Ann", "side": "business"}, {"name": "Bo", "side": "it"}]
    body = {"cycle": "2026", "held_on": clock().date().isoformat(), "attendees": people}
    made = await world.send("POST", "/reviews", body)
    assert made["items"][1]["kind"] == "conflict"
    decision = {
        "epic": {"source": "jira", "key": "SHOP-3"},
        "decision": "keep",
        "reason": "It stays",
        "decided_by": people,
    }
    await world.send("POST", "/reviews/1/decisions", decision)
