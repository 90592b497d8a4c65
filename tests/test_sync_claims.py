"""Runs whose worker dies, sleeps or is late: taken up where they stopped, and never written by two."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from app import heartbeat, pipeline
from app.jobs.sweep import sweep
from app.runtime import Runtime
from connectors.sandbox import faults
from mappings.leases import LEASE, ClaimLost
from mappings.runs.queue import claim_run, mark_stalled, renew_lease
from mappings.tables import EpicRow, RunRow
from tests.support.clock import Clock, later
from tests.support.queries import all_of, gone, number_of
from tests.support.tracker_requests import Pause, searches
from tests.support.world import OFF, World

pytestmark = pytest.mark.database

SHOP = {"projects": ["SHOP"]}


async def _six(world: World) -> int:
    """Six epics, two a page; the id of a queued run that is to read them."""
    start = world.site.clock() - timedelta(days=1)
    for number in range(6):
        world.site.create("SHOP", f"Epic {number}", created=start + timedelta(hours=number))
    world.site.page_cap = 2
    await world.connect_jira(notices=OFF, scope=SHOP)
    run_id: int = (await world.send("POST", "/sources/jira/sync", {"mode": "full"}))["id"]
    return run_id


async def _killed(world: World, runtime: Runtime, run_id: int, pages: int) -> None:
    """A worker that takes the run and is killed after so many pages."""
    pause = Pause()
    world.jira.faults.add("POST */search/jql", pause, skip=pages)
    worker = asyncio.create_task(pipeline.execute_run(runtime, run_id))
    await pause.reached.wait()
    await _stored(runtime, 2 * pages)
    worker.cancel()
    pause.go_on.set()
    await asyncio.gather(worker, return_exceptions=True)
    assert worker.cancelled()


async def _stored(runtime: Runtime, epics: int) -> None:
    async with asyncio.timeout(10):
        while await number_of(runtime, EpicRow) != epics:
            await asyncio.sleep(0)


async def _versions(runtime: Runtime) -> list[tuple[Any, ...]]:
    """The transaction that wrote each row last of those that a run may write."""
    tables = ("runs", "sources", "source_projects", "run_cursors", "epics")
    union = " UNION ALL ".join(f"SELECT '{name}' AS name, xmin::text AS by FROM {name}" for name in tables)
    return await all_of(runtime, f"{union} ORDER BY name, by")


async def test_a_killed_run_is_taken_up_from_its_cursor(world: World, runtime: Runtime, clock: Clock) -> None:
    run_id = await _six(world)
    await _killed(world, replace(runtime, worker="a"), run_id, pages=2)
    world.jira.log.clear()

    # Its lease holds still: nobody else may have it, and asking again gives the same run.
    await later(world, runtime, clock, seconds=LEASE.total_seconds() - 1)
    shown = await world.send("GET", f"/runs/{run_id}")
    assert (shown["state"], shown["created"], world.jira.log.count()) == ("running", 4, 0)
    assert (await world.send("POST", "/sources/jira/sync", {"mode": "full"}))["id"] == run_id

    clock.advance(seconds=61 - LEASE.total_seconds())  # a minute without a sign of life
    async with runtime.sessions.begin() as session:
        await mark_stalled(session, clock())
    assert (await world.send("GET", f"/runs/{run_id}"))["state"] == "stalled"
    await later(world, runtime, clock)
    run = await world.send("GET", f"/runs/{run_id}")
    assert (run["state"], run["mode"], run["created"], run["updated"]) == ("succeeded", "full", 6, 0)
    # From the cursor: the last of the second page, then what was not read yet, and nothing before.
    assert [seen.status for seen in searches(world.jira)] == [200, 200]
    assert len(await world.keys()) == 6
    assert await gone(runtime) == {}
    assert len((await world.send("GET", "/runs?source=jira"))["items"]) == 1
    assert (await world.health())["state"] == "ok"


@pytest.mark.parametrize("same_process", [False, True])
async def test_a_late_page_writes_nothing(
    world: World, runtime: Runtime, clock: Clock, same_process: bool
) -> None:
    """The one who slept past his lease may be a job of the very process that goes on."""
    run_id = await _six(world)
    pause = Pause()
    world.jira.faults.add("POST */search/jql", pause, skip=1)
    first = runtime if same_process else replace(runtime, worker="another")
    late = asyncio.create_task(pipeline.execute_run(first, run_id))
    await pause.reached.wait()
    await _stored(runtime, 2)

    world.site.edit("SHOP-3", summary="Changed after the late one read it")
    await later(world, runtime, clock, minutes=6)
    run = await world.send("GET", f"/runs/{run_id}")
    assert (run["state"], run["created"]) == ("succeeded", 6)
    before = await _versions(runtime)

    pause.go_on.set()
    await late
    assert await _versions(runtime) == before
    assert (await world.epic("jira", "SHOP-3"))["title"] == "Changed after the late one read it"


@pytest.mark.parametrize(
    ("request_", "trouble"),
    [
        ("GET */project/search", None),
        ("POST */bulkfetch", None),
        ("GET */myself", faults.answer(401, {})),
        ("POST */search/jql", faults.answer(429)),
        ("POST */search/jql", faults.answer(403, {})),
    ],
)
async def test_a_late_answer_of_any_kind_changes_nothing(
    world: World, runtime: Runtime, clock: Clock, request_: str, trouble: faults.Action | None
) -> None:
    await _six(world)
    await world.drain()
    world.site.delete("SHOP-1")
    run_id = (await world.send("POST", "/sources/jira/sync", {"mode": "full"}))["id"]
    pause = Pause()

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        async def troubled(scope: Scope, receive: Receive, send: Send) -> None:
            await (trouble(app, scope, receive, send) if trouble else app(scope, receive, send))

        await pause(troubled, scope, receive, send)

    world.jira.faults.add(request_, act)
    late = asyncio.create_task(pipeline.execute_run(runtime, run_id))
    await pause.reached.wait()
    await later(world, runtime, clock, minutes=6)
    assert (await world.send("GET", f"/runs/{run_id}"))["state"] == "succeeded"
    before = await _versions(runtime)
    pause.go_on.set()
    await late
    assert await _versions(runtime) == before
    assert await gone(runtime) == {"SHOP-1": "deleted"}


async def test_a_claim_lives_as_long_as_the_work(world: World, runtime: Runtime, clock: Clock) -> None:
    """Many short calls may together outlast the lease; a sign of life comes beside them."""
    run_id = await _six(world)
    async with runtime.sessions.begin() as session:
        run = await claim_run(session, run_id, "a", clock())
    assert run is not None
    nearly = LEASE.total_seconds() * 0.8
    clock.advance(seconds=nearly)
    first = replace(runtime, worker="a", renew_every=timedelta(milliseconds=1))
    async with heartbeat.keep_run_claimed(first, run):
        await _until(runtime, lambda row: row.claimed_until == clock() + LEASE)
        clock.advance(seconds=nearly)
        await _until(runtime, lambda row: row.claimed_until == clock() + LEASE)
        await sweep(runtime)
    clock.advance(minutes=6)
    async with runtime.sessions.begin() as session:
        assert await claim_run(session, run_id, "b", clock()) is not None
    # The one who lost it has no say any more.
    async with heartbeat.keep_run_claimed(first, run):
        pass
    with pytest.raises(ClaimLost):
        async with runtime.sessions.begin() as session:
            await renew_lease(session, run, "a", clock())


async def _until(runtime: Runtime, true: Callable[[RunRow], bool]) -> None:
    async with asyncio.timeout(10):
        while True:
            async with runtime.sessions() as session:
                if true(await session.get_one(RunRow, 1)):
                    return


async def test_a_removed_source_ends_its_run(world: World, runtime: Runtime) -> None:
    run_id = await _six(world)
    pause = Pause()
    world.jira.faults.add("POST */search/jql", pause, skip=1)
    worker = asyncio.create_task(pipeline.execute_run(runtime, run_id))
    await pause.reached.wait()
    await _stored(runtime, 2)
    await world.send("DELETE", "/sources/jira")
    pause.go_on.set()
    await worker
    assert [await number_of(runtime, rows) for rows in (EpicRow, RunRow)] == [0, 0]
