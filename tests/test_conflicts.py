"""Conflicts on epics and goals: recorded, escalated by their working days, changed, withdrawn."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from app.runtime import Runtime
from mappings.epics.transfers import merge_transferred
from mappings.errors import StaleVersion
from mappings.governance.conflicts import (
    OPEN_ON_ONE_AT_MOST,
    change_conflict,
    load_open_conflicts,
    raise_conflict,
)
from mappings.policy.operations import load_policy
from mappings.tables import ConflictRow, DecisionRow, EpicRow, SourceRow
from tests.support.clock import Clock
from tests.support.goals_api import fields_refused, send
from tests.support.locks import holding
from tests.support.stored_epics import source_with, store, stored_epic

pytestmark = pytest.mark.database

SIDES = {"technical": "Not before March", "business": "Before Christmas"}
MONDAY = datetime(2026, 11, 23, 15, tzinfo=UTC)


async def _company(api: httpx.AsyncClient, runtime: Runtime, clock: Clock) -> str:
    """Two epics, SHOP-1 linked to a key result; that one's key."""
    clock.now = MONDAY
    await source_with(api, runtime, [stored_epic(1), stored_epic(1, "OPS")])
    people = {"title": "Pay", "owner": "Ann", "sponsor": "Sue"}
    objective = (await send(api, "POST", "/objectives", people, 201))["key"]
    path = f"/objectives/{objective}/key-results"
    goal: str = (await send(api, "POST", path, {"title": "Conversion", "owner": "Kim"}, 201))["key"]
    link = {"epic": {"source": "jira", "key": "SHOP-1"}, "key_result": goal}
    await send(api, "POST", "/links", link, 201)
    return goal


async def _raise(api: httpx.AsyncClient, key: str = "SHOP-1", **members: Any) -> Any:
    body = {"epic": {"source": "jira", "key": key}, **SIDES, **members}
    return await send(api, "POST", "/conflicts", body, 201)


async def _ids(api: httpx.AsyncClient, query: str = "") -> list[int]:
    return [one["id"] for one in (await send(api, "GET", f"/conflicts?{query}"))["items"]]


async def _decide(runtime: Runtime, id: int) -> None:
    async with runtime.transaction() as session:
        row = await session.get_one(ConflictRow, id)
        decision = DecisionRow(
            conflict_id=id,
            epic_id=row.epic_id,
            decision="defer",
            reason="After the move",
            decided_by=[{"name": "Sue", "side": "business"}],
            decided_at=await runtime.now(session),
            effects={},
        )
        session.add(decision)
        await session.flush()
        row.decided_at, row.decision_id = decision.decided_at, decision.id


async def test_one_is_recorded_on_an_epic(api: httpx.AsyncClient, runtime: Runtime, clock: Clock) -> None:
    await _company(api, runtime, clock)
    made = await _raise(api, "shop-1", technical="  Not before March\n")
    assert made == {
        "id": 1,
        "epic": {
            "source": "jira",
            "key": "SHOP-1",
            "title": "Epic 1",
            "url": "https://t/SHOP-1",
            "removed": False,
        },
        "goal": None,
        **SIDES,
        "state": "open",
        "raised_by": "admin token",
        "raised_at": "2026-11-23T15:00:00Z",
        "step": "lead",
        "who": None,
        "since": "2026-11-23T15:00:00Z",
        "next": {"to": "sponsor", "at": "2026-11-30T15:00:00Z", "who": "Sue"},
        "decision": None,
        "version": 1,
    }
    assert await send(api, "GET", "/conflicts/1") == made
    assert (await send(api, "GET", "/conflicts"))["items"] == [made]


async def test_its_days_take_it_up(api: httpx.AsyncClient, runtime: Runtime, clock: Clock) -> None:
    await _company(api, runtime, clock)
    await _raise(api)

    async def position() -> tuple[Any, ...]:
        one = await send(api, "GET", "/conflicts/1")
        return one["step"], one["who"], one["since"][:10], one["next"] and one["next"]["to"]

    clock.advance(days=7)
    assert await position() == ("sponsor", "Sue", "2026-11-30", "committee")
    clock.advance(days=7)
    assert await position() == ("committee", None, "2026-12-07", None)
    owner = [{"to": "owner", "after": "PT0S"}]
    await send(api, "PATCH", "/policy", {"scopes": [{"project": "SHOP", "escalation": owner}]})
    assert await position() == ("owner", "Kim", "2026-11-23", None)
    await send(api, "PATCH", "/policy", {"scopes": [], "escalation": [{"to": "lead", "after": "P30D"}]})
    assert await position() == (None, None, "2026-11-23", "lead")


async def test_one_on_a_goal_and_what_the_filters_leave(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock
) -> None:
    goal = await _company(api, runtime, clock)
    assert (await send(api, "POST", "/conflicts", {"goal": goal.lower(), **SIDES}, 201))["goal"] == {
        "kind": "key_result",
        "key": goal,
        "title": "Conversion",
    }
    clock.advance(days=7)
    made = await send(api, "POST", "/conflicts", {"goal": "O-1", **SIDES}, 201)
    assert (made["goal"]["kind"], made["next"]["who"]) == ("objective", "Sue")
    await _raise(api)
    await _raise(api, "OPS-1")
    await _decide(runtime, 4)
    assert await _ids(api) == [1, 2, 3, 4]
    assert await _ids(api, "state=open") == [1, 2, 3]
    assert await _ids(api, "state=decided") == [4]
    assert await _ids(api, "step=sponsor") == [1]
    assert await _ids(api, f"goal={goal}") == [1]
    assert await _ids(api, "goal=o-1") == [2]
    assert await _ids(api, "epic_source=JIRA") == [3, 4]
    assert await _ids(api, "epic_source=jira&epic_key=shop-1") == [3]
    assert await _ids(api, "epic_source=jira&epic_key=SHOP-9") == []
    first = await send(api, "GET", "/conflicts?limit=3&state=open")
    assert ([one["id"] for one in first["items"]], first["next"]) == ([1, 2, 3], None)
    paged = await send(api, "GET", "/conflicts?limit=3")
    assert await _ids(api, f"cursor={paged['next']}") == [4]
    for query, field in (
        ("epic_key=SHOP-1", "epic_source"),
        ("epic_source=none", "epic_source"),
        ("goal=O-9", "goal"),
        ("step=boss", "step"),
        ("state=closed", "state"),
    ):
        assert await fields_refused(api, "GET", f"/conflicts?{query}", None) == [field]


EPIC = {"source": "jira", "key": "SHOP-1"}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (SIDES, ["epic"]),
        ({**SIDES, "epic": EPIC, "goal": "KR-1"}, ["epic"]),
        ({**SIDES, "epic": EPIC | {"key": "SHOP-9"}}, ["epic.key"]),
        ({**SIDES, "epic": EPIC | {"source": "none"}}, ["epic.source"]),
        ({**SIDES, "goal": "KR-9"}, ["goal"]),
        ({**SIDES, "goal": "BOTH"}, ["goal"]),
        ({"epic": EPIC}, ["technical", "business"]),
        ({**SIDES, "epic": EPIC, "technical": "  "}, ["technical"]),
        ({**SIDES, "epic": EPIC, "business": "a\0"}, ["business"]),
        ({**SIDES, "epic": EPIC, "business": "a" * 2001}, ["business"]),
        ({**SIDES, "epic": EPIC, "colour": "red"}, ["colour"]),
    ],
)
async def test_what_is_refused(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock, body: Any, fields: list[str]
) -> None:
    await _company(api, runtime, clock)
    await send(api, "POST", "/objectives", {"title": "O", "key": "BOTH"}, 201)
    await send(api, "POST", "/objectives/O-1/key-results", {"title": "K", "key": "BOTH"}, 201)
    assert await fields_refused(api, "POST", "/conflicts", body) == fields
    assert await _ids(api) == []


async def test_so_many_are_open_and_no_more(api: httpx.AsyncClient, runtime: Runtime, clock: Clock) -> None:
    await _company(api, runtime, clock)
    for _ in range(OPEN_ON_ONE_AT_MOST):
        await _raise(api)
    body = {"epic": {"source": "jira", "key": "SHOP-1"}, **SIDES}
    refused = await send(api, "POST", "/conflicts", body, 409)
    assert refused["detail"] == "20 conflicts are open on this. Decide or withdraw one of them first."
    assert (await api.delete("/api/v1/conflicts/1")).status_code == 204
    await _raise(api)


async def test_it_is_changed_and_withdrawn_as_long_as_nothing_is_decided(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock
) -> None:
    await _company(api, runtime, clock)
    await _raise(api)
    await _raise(api)
    seen = (await api.get("/api/v1/conflicts/1")).headers["etag"]
    changed = await api.patch("/api/v1/conflicts/1", json={"business": "By May"}, headers={"If-Match": seen})
    assert (changed.json()["technical"], changed.json()["business"]) == (SIDES["technical"], "By May")
    for method in ("PATCH", "DELETE"):
        stale = await api.request(method, "/api/v1/conflicts/1", json={}, headers={"If-Match": seen})
        assert stale.status_code == 412
    assert await fields_refused(api, "PATCH", "/conflicts/1", {"technical": None}) == ["technical"]
    await send(api, "DELETE", "/conflicts/1", status=204)
    await send(api, "GET", "/conflicts/1", status=404)
    await _decide(runtime, 2)
    decided = await send(api, "GET", "/conflicts/2")
    assert (decided["state"], decided["next"], decided["decision"]["decision"]) == ("decided", None, "defer")
    await send(api, "PATCH", "/conflicts/2", {"business": "x"}, 409)
    await send(api, "DELETE", "/conflicts/2", status=409)
    async with runtime.transaction() as session:  # as undoing the decision leaves it
        (await session.get_one(ConflictRow, 2)).decided_at = None
    assert "stays" in (await send(api, "DELETE", "/conflicts/2", status=409))["detail"]


async def test_the_days_stop_with_the_decision(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock
) -> None:
    await _company(api, runtime, clock)
    await _raise(api)
    clock.advance(days=7)
    await _decide(runtime, 1)
    clock.advance(days=70)
    one = await send(api, "GET", "/conflicts/1")
    assert (one["step"], one["since"], one["next"]) == ("sponsor", "2026-11-30T15:00:00Z", None)


async def test_of_two_changes_at_one_moment_one_is_stale(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock
) -> None:
    await _company(api, runtime, clock)
    await _raise(api)

    async def change(text: str) -> None:
        async with runtime.transaction() as session:
            await change_conflict(session, 1, business=text, versions=[1])

    results = await asyncio.gather(change("A"), change("B"), return_exceptions=True)
    assert [type(one) for one in results if one is not None] == [StaleVersion]


async def test_one_that_is_withdrawn_while_it_is_decided_is_not_found(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock, database_url: str
) -> None:
    await _company(api, runtime, clock)
    await _raise(api)
    decision = {"decision": "keep", "reason": "Agreed", "decided_by": [{"name": "Sue", "side": "it"}]}
    async with holding(database_url) as holder:
        await holder.hold("DELETE FROM conflicts")
        asked = asyncio.create_task(api.post("/api/v1/conflicts/1/decisions", json=decision))
        await holder.until_waiting(1)
        await holder.let_go()
        assert (await asked).status_code == 404


async def test_one_on_a_removed_epic_waits_until_it_is_back(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock
) -> None:
    await _company(api, runtime, clock)
    await _raise(api)

    async def removed(at: datetime | None) -> list[int]:
        async with runtime.transaction() as session:
            row = (await session.scalars(select(EpicRow).where(EpicRow.key == "SHOP-1"))).one()
            row.removed_at, row.removal_reason = at, None if at is None else "deleted"
        async with runtime.transaction() as session:
            now = await runtime.now(session)
            listed = await load_open_conflicts(session, await load_policy(session), now)
        return [one.row.id for one in listed]

    assert await removed(clock.now) == await _ids(api) == []
    assert (await send(api, "GET", "/conflicts/1"))["epic"]["removed"] is True
    clock.advance(days=7)
    assert await removed(None) == [1]
    assert (await send(api, "GET", "/conflicts/1"))["step"] == "sponsor"
    await _decide(runtime, 1)
    assert await removed(clock.now) == []
    assert await _ids(api) == [1]  # what was decided stays in the list


async def test_a_goal_with_conflicts_is_not_deleted(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock
) -> None:
    await _company(api, runtime, clock)
    await send(api, "POST", "/objectives", {"title": "Bare"}, 201)
    await send(api, "POST", "/objectives/O-2/key-results", {"title": "Bare"}, 201)
    await send(api, "POST", "/conflicts", {"goal": "KR-2", **SIDES}, 201)
    await send(api, "POST", "/conflicts", {"goal": "O-2", **SIDES}, 201)
    refused = await send(api, "DELETE", "/key-results/KR-2", status=409)
    assert refused["detail"].startswith("KR-2 is still used by the conflict 1.")
    await send(api, "DELETE", "/conflicts/1", status=204)
    await send(api, "DELETE", "/key-results/KR-2", status=204)
    refused = await send(api, "DELETE", "/objectives/O-2", status=409)
    assert "the conflict 2" in refused["detail"]


async def test_conflicts_and_scores_move_with_a_transferred_epic(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock
) -> None:
    """What was recorded on the ticket's new form meanwhile is joined to what the kept epic has."""
    await _company(api, runtime, clock)
    await store(runtime, "jira", [stored_epic(2)])
    await send(api, "PUT", "/criteria", [{"key": key, "title": key, "weight": 1} for key in ("A", "B")])
    await send(api, "PUT", "/epics/jira/SHOP-1/scores", {"A": 1})
    await send(api, "PUT", "/epics/jira/SHOP-2/scores", {"A": 5, "B": 5})
    await _raise(api, "SHOP-1")
    await _raise(api, "SHOP-2")
    async with runtime.transaction() as session:
        source = (await session.scalars(select(SourceRow))).one()
        moved = stored_epic(2)
        await merge_transferred(session, source.id, source.tracker, "001SHOP", moved, clock.now)
    listed = (await send(api, "GET", "/conflicts?epic_source=jira&epic_key=SHOP-2"))["items"]
    assert [(one["id"], one["epic"]["key"]) for one in listed] == [(1, "SHOP-2"), (2, "SHOP-2")]
    assert (await send(api, "GET", "/epics/jira/SHOP-2/scores"))["scores"] == {"A": 1, "B": 5}


async def test_a_goal_is_not_deleted_while_a_conflict_on_it_is_recorded(
    api: httpx.AsyncClient, runtime: Runtime, database_url: str
) -> None:
    goal = (await send(api, "POST", "/objectives", {"title": "Pay"}, 201))["key"]
    async with holding(database_url) as watched:
        async with runtime.transaction() as session:
            await raise_conflict(session, MONDAY, goal=goal, technical="Not yet", business="Now")
            deleting = asyncio.create_task(api.delete(f"/api/v1/objectives/{goal}"))
            await watched.until_waiting(1)
        answer = await deleting
    assert (answer.status_code, "conflict" in answer.json()["detail"]) == (409, True)
