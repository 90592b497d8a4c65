"""The order of locks where epics have parents and many links: what stores epics looks below them, and then
joins runs, so whoever does both takes the lock of parents first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import text

from app import pipeline
from app.runtime import Runtime
from mappings.locks import LOCK_PARENTS
from mappings.sources.operations import delete_disconnected_sources
from tests.support.clock import Clock
from tests.support.hierarchies import Hierarchy, part
from tests.support.locks import holding
from tests.support.tracker_drivers import TrackerDriver, on_jira
from tests.support.world import World

pytestmark = pytest.mark.database

# What a sync of another source does after its look at what is below.
JOIN = (
    "INSERT INTO runs (source_id, mode, evaluates, due_at, created_at)"
    " VALUES (1, 'evaluate', 'affected', now(), now()) ON CONFLICT (source_id, evaluates)"
    " WHERE state = 'queued' AND evaluates IS NOT NULL DO UPDATE SET due_at = excluded.due_at"
)


async def _race(database_url: str, other: Callable[[], Awaitable[object]]) -> None:
    """`other` begins while a page of epics is stored, whose transaction then joins a run of source 1."""
    async with holding(database_url) as storing:
        await storing.hold(f"SELECT pg_advisory_xact_lock({LOCK_PARENTS})")
        racing = asyncio.ensure_future(other())
        await storing.until_waiting(1, for_="advisory")
        await storing.hold(JOIN)
        await storing.let_go()
        await racing


async def _company(world: World, runtime: Runtime, clock: Clock) -> Hierarchy:
    """SHOP-1 below CORE-1, in one source."""
    world.site.add_project("CORE", "Core")
    await world.goal("KR-1")
    await world.connect_jira(scope={"projects": ["SHOP", "CORE"]})
    company = Hierarchy(world, runtime, clock)
    await company.store("jira", part("CORE-1", labels=("kr:KR-1",)), part("SHOP-1", "CORE-1"))
    await company.settle()
    return company


async def test_a_narrower_scope_while_epics_are_stored(
    world: World, runtime: Runtime, clock: Clock, database_url: str
) -> None:
    company = await _company(world, runtime, clock)
    narrower = {"scope": {"projects": ["SHOP"]}}
    await _race(database_url, lambda: world.send("PATCH", "/sources/jira", narrower))
    await pipeline.execute_run(runtime, await _affected(runtime))
    assert await company.links("SHOP-1") == {"SHOP-1": []}


async def test_a_source_gets_another_tracker_while_epics_are_stored(
    world: World, runtime: Runtime, clock: Clock, database_url: str
) -> None:
    """Else a child that is stored meanwhile would not see its parent, nor the change the child."""
    await _company(world, runtime, clock)
    credentials = {"type": "api_token", "email": "bot@acme.com", "token": "a-token"}
    moved = {"base_url": "http://127.0.0.1:9/", "credentials": credentials}
    await _race(database_url, lambda: world.send("PATCH", "/sources/jira", moved))


async def _affected(runtime: Runtime) -> int:
    async with runtime.sessions() as session:
        query = "SELECT id FROM runs WHERE evaluates = 'affected' ORDER BY id DESC LIMIT 1"
        return int((await session.execute(text(query))).scalar_one())


async def test_a_source_is_deleted_while_epics_are_stored(
    world: World, runtime: Runtime, clock: Clock, database_url: str
) -> None:
    await _company(world, runtime, clock)
    async with runtime.sessions.begin() as session:
        await session.execute(text("UPDATE sources SET disconnecting_at = now()"))

    async def delete() -> None:
        async with runtime.sessions.begin() as session:
            await delete_disconnected_sources(session, clock.now)

    await _race(database_url, delete)
    assert (await world.send("GET", "/sources"))["items"] == []


@on_jira
async def test_a_ticket_that_was_moved_and_linked_is_written_while_epics_are_stored(
    world: World, runtime: Runtime, driver: TrackerDriver, database_url: str
) -> None:
    top, other, low = (driver.add(title) for title in ("Top", "Other", "Low"))
    driver.put_below(low, top)
    run = await world.send("POST", "/sources/jira/sync", {"mode": "full"})
    await pipeline.execute_run(runtime, run["id"])
    driver.put_below(top, other)
    driver.describe(top, "Key-Result: KR-1")
    await _race(database_url, lambda: pipeline.write_tickets(runtime, 1))
    await world.drain()
    (link,) = (await driver.epic(low))["links"]
    assert (link["origin"], link["inherited_from"]["key"]) == ("inherited", top)


async def test_a_transfer_waits_for_links_that_many_epics_get(
    world: World, runtime: Runtime, clock: Clock, database_url: str
) -> None:
    """Links refer to epics in the order of their ids; a transfer deletes one and gives another one its id."""
    await world.connect_github(scope={"repositories": ["acme/shop"]})
    company = Hierarchy(world, runtime, clock)
    await company.store("github", part("acme/shop#1"))
    moved = part("acme/plan#5", id="new-id")
    await company.store("github", moved)
    async with holding(database_url) as linking:
        refer = "SELECT 1 FROM epics WHERE id = %s FOR KEY SHARE"
        await linking.hold(refer, 1)
        transfer = asyncio.create_task(company.transfer("github", "id-acme/shop#1", moved))
        await linking.until_waiting(1)
        await linking.hold(refer, 2)
        await linking.let_go()
        await transfer
    assert await world.keys("github") == ["acme/plan#5"]
