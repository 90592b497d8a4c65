"""Operations that read a row before it changed, and operations that race: what they answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.runtime import Runtime
from mappings.errors import StaleVersion
from mappings.goals.operations import change_cycle, change_key_result, change_objective
from mappings.locks import LOCK_SOURCE_NOTICES
from mappings.policy.operations import change_policy
from mappings.rules.operations import change_rule
from mappings.runs.queue import open_run
from mappings.sources.operations import change_source
from mappings.tables import CycleRow, InstallationRow, KeyResultRow, ObjectiveRow, RuleRow, SourceRow
from tests.support.locks import holding
from tests.support.world import World

pytestmark = pytest.mark.database

WAIVER = {"until": f"{datetime.now(UTC).date() + timedelta(days=30)}", "reason": "Agreed"}


def _unreached(_: Any) -> NoReturn:
    raise AssertionError("the version is stale, so nothing is changed")


# --- a row that the session holds already -----------------------------------------------------

Change = Callable[[AsyncSession, Any, Sequence[int]], Awaitable[Any]]
CHANGES: list[tuple[type[Any], str, dict[str, Any], Change]] = [
    (
        CycleRow,
        "/cycles/Q",
        {"title": "New"},
        lambda db, now, seen: change_cycle(db, "Q", _unreached, now, versions=seen),
    ),
    (
        ObjectiveRow,
        "/objectives/O-1",
        {"title": "New"},
        lambda db, now, seen: change_objective(db, "O-1", _unreached, now, versions=seen),
    ),
    (
        KeyResultRow,
        "/key-results/KR-1",
        {"title": "New"},
        lambda db, now, seen: change_key_result(db, "KR-1", _unreached, now, versions=seen),
    ),
    (
        RuleRow,
        "/rules/1",
        {"priority": 7},
        lambda db, now, seen: change_rule(db, 1, _unreached, now, versions=seen),
    ),
    (
        InstallationRow,
        "/policy",
        {"grace": "P9D"},
        lambda db, now, seen: change_policy(db, _unreached, now, versions=seen),
    ),
    (
        SourceRow,
        "/sources/jira",
        {"schedule": {"full": "0 4 * * *"}},
        lambda db, now, seen: change_source(db, "jira", _unreached, now, versions=seen),
    ),
]


@pytest.mark.parametrize(("table", "path", "patch", "change"), CHANGES)
async def test_a_version_that_the_session_holds_from_before_is_stale(
    world: World, runtime: Runtime, table: type[Any], path: str, patch: dict[str, Any], change: Change
) -> None:
    cycle = {"key": "Q", "title": "Q", "starts": "2026-10-01", "ends": "2026-12-31", "review": "monthly"}
    await world.send("POST", "/cycles", cycle)
    await world.goal()
    await world.connect_jira()
    rule = {"name": "Shop", "when": {"project": "SHOP"}, "key_result": "KR-1"}
    await world.send("POST", "/rules", rule)
    async with runtime.sessions() as session:
        row = (await session.scalars(select(table))).one()
        version = row.policy_version if isinstance(row, InstallationRow) else row.version
        await world.send("PATCH", path, patch)
        with pytest.raises(StaleVersion):
            await change(session, await runtime.now(session), (version,))


# --- races ------------------------------------------------------------------------------------


async def _after(
    world: World, database_url: str, held: Sequence[str], path: str, body: Any = None, method: str = "POST"
) -> tuple[int, str]:
    """The answer to a request that waits for the transaction `held`, and goes on once that is committed."""
    async with holding(database_url) as holder:
        for statement in held:
            await holder.hold(statement)
        asked = asyncio.create_task(world.api.request(method, f"/api/v1{path}", json=body))
        await holder.until_waiting(1)
        await holder.let_go()
        answer = await asked
        return answer.status_code, answer.json()["detail"]


async def _finding(world: World) -> int:
    world.site.create("SHOP", "An epic")
    await world.connect_jira()
    await world.sync("jira")
    ((found,),) = [(await world.send("GET", "/findings"))["items"]]
    return int(found["id"])


async def test_sources_of_one_name_connected_at_once(world: World) -> None:
    body = {
        "name": "jira",
        "kind": "jira",
        "base_url": "http://127.0.0.1:1",
        "credentials": {"type": "api_token", "email": "ada@example.com", "token": "secret"},
    }
    answers = await asyncio.gather(*(world.api.post("/api/v1/sources", json=body) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert {one.json()["detail"] for one in answers if one.status_code == 409} == {
        "name 'jira' is taken; choose another."
    }


@pytest.mark.parametrize(
    ("change", "status", "detail"),
    [
        ("DELETE FROM sources", 404, "There is no source jira."),
        ("UPDATE sources SET disconnecting_at = now()", 409, "jira is being disconnected since "),
    ],
)
async def test_a_sync_while_its_source_goes(
    world: World, database_url: str, change: str, status: int, detail: str
) -> None:
    await world.connect_jira()
    answered, text = await _after(world, database_url, [change], "/sources/jira/sync", {})
    assert (answered, text.startswith(detail)) == (status, True)
    assert (await world.send("GET", "/runs"))["items"] == []


@pytest.mark.parametrize("verb", ["waive", "snooze", "reopen"])
async def test_a_finding_while_its_source_is_deleted(world: World, database_url: str, verb: str) -> None:
    path = f"/findings/{await _finding(world)}/{verb}"
    body = None if verb == "reopen" else WAIVER
    answer = await _after(world, database_url, ["DELETE FROM sources"], path, body)
    assert answer == (404, "There is no finding 1.")


async def test_a_finding_that_an_evaluation_has_resolved_meanwhile(world: World, database_url: str) -> None:
    id = await _finding(world)
    resolving = ["SELECT FROM epics FOR UPDATE", "UPDATE findings SET state = 'resolved'"]
    status, detail = await _after(world, database_url, resolving, f"/findings/{id}/waive", WAIVER)
    assert (status, detail.startswith("The finding is resolved")) == (409, True)


async def test_a_withdrawal_while_its_source_is_deleted(world: World, database_url: str) -> None:
    await _finding(world)
    held = [f"SELECT pg_advisory_xact_lock({LOCK_SOURCE_NOTICES}, 1)", "DELETE FROM sources"]
    assert await _after(world, database_url, held, "/runs/1/withdraw") == (404, "There is no run 1.")


async def test_a_token_deleted_twice_at_once(world: World, database_url: str) -> None:
    id = (await world.send("POST", "/tokens", {"name": "x", "role": "viewer"}))["id"]
    answer = await _after(world, database_url, ["DELETE FROM tokens"], f"/tokens/{id}", method="DELETE")
    assert answer == (404, f"There is no token {id}.")


async def test_removals_of_a_source_that_is_being_disconnected(world: World, runtime: Runtime) -> None:
    await _finding(world)
    async with runtime.sessions.begin() as session:
        source = await session.get_one(SourceRow, 1)
        source.disconnecting_at = await runtime.now(session)
    detail = (await world.send("POST", "/runs/1/accept-removals", expect=409))["detail"]
    assert detail.startswith("jira is being disconnected since ")


@pytest.mark.parametrize(
    ("first", "second", "mode"),
    [
        ("incremental", "incremental", "incremental"),
        ("incremental", "full", "full"),
        ("full", "incremental", "full"),
    ],
)
async def test_two_reading_runs_asked_for_at_once_are_one(
    world: World, runtime: Runtime, database_url: str, first: str, second: str, mode: str
) -> None:
    await world.connect_jira()
    async with runtime.sessions() as session:
        source_id = (await session.scalars(select(SourceRow.id))).one()

    async def ask(mode: str) -> int:
        async with runtime.sessions.begin() as session:
            return (await open_run(session, source_id, mode, await runtime.now(session))).id

    async with holding(database_url) as holder, runtime.sessions.begin() as session:
        opened = (await open_run(session, source_id, first, await runtime.now(session))).id
        asking = asyncio.create_task(ask(second))
        await holder.until_waiting(1)
        await session.commit()
        assert await asking == opened
    runs = (await world.send("GET", "/runs"))["items"]
    assert [(run["id"], run["mode"], run["state"]) for run in runs] == [(opened, mode, "queued")]
