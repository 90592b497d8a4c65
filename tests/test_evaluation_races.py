"""Changes of goals and modes against evaluation under way, and evaluations against each other.

Who comes first is decided by locks that the test holds on a connection of its own.
"""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import select

from app import evaluation, pipeline
from app.runtime import Runtime
from mappings.locks import LOCK_GOALS
from mappings.runs.queue import open_run
from mappings.tables import EpicRow, RunRow, SourceRow
from tests.support.locks import holding
from tests.support.tracker_drivers import JiraDriver
from tests.support.world import World

pytestmark = pytest.mark.database

ROW = "SELECT 1 FROM epics WHERE key = %s FOR UPDATE"
CLOSE = ("PATCH", "/key-results/KR-1", {"state": "missed"})


async def _aligned_epics(world: World, count: int = 2) -> JiraDriver:
    """Epics that name KR-1, read and evaluated."""
    driver = JiraDriver(world)
    for number in range(count):
        driver.add(f"Epic {number}", description="Key-Result: KR-1")
    await world.goal("KR-1", "Checkout conversion")
    await driver.connect(mode="shadow")
    await driver.sync()
    return driver


async def _mark_all(runtime: Runtime) -> int:
    """As if every epic had changed: an `evaluate` run that is to evaluate them all; its id."""
    async with runtime.sessions.begin() as session:
        for row in await session.scalars(select(EpicRow)):
            row.evaluate_at = await runtime.now(session)
        (source_id,) = await session.scalars(select(SourceRow.id))
        return (await open_run(session, source_id, "evaluate", await runtime.now(session))).id


async def _alignments(world: World) -> list[str]:
    return [epic["alignment"] for epic in (await world.send("GET", "/epics"))["items"]]


async def test_a_goal_closed_while_a_sync_evaluates(
    world: World, runtime: Runtime, database_url: str
) -> None:
    """The evaluation keeps the lock on the goals it reads, so the change waits for it, and then marks what
    was just evaluated."""
    await _aligned_epics(world)
    run = await _mark_all(runtime)
    async with holding(database_url) as holder:
        await holder.hold(ROW, "SHOP-2")
        evaluating = asyncio.create_task(pipeline.execute_run(runtime, run))
        await holder.until_waiting(1)
        closing = asyncio.create_task(world.send(*CLOSE))
        await holder.until_waiting(1, for_="advisory")
        await holder.let_go()
        await asyncio.gather(evaluating, closing)
    await world.drain()
    assert await _alignments(world) == ["unaligned", "unaligned"]


async def test_a_goal_closed_just_before_a_sync_evaluates(
    world: World, runtime: Runtime, database_url: str
) -> None:
    """The change has the goals; the evaluation waits for it and sees them as they are then."""
    await _aligned_epics(world)
    run = await _mark_all(runtime)
    async with holding(database_url) as holder:
        await holder.hold("SELECT id FROM sources FOR UPDATE")  # for which the change opens a run
        closing = asyncio.create_task(world.send(*CLOSE))
        await holder.until_waiting(1)
        evaluating = asyncio.create_task(pipeline.execute_run(runtime, run))
        await holder.until_waiting(1, for_="advisory")
        await holder.let_go()
        await asyncio.gather(evaluating, closing)
    # The run that the change asks for is still to come.
    assert await _alignments(world) == ["unaligned", "unaligned"]


async def test_a_goal_closed_between_two_slices(world: World, runtime: Runtime, database_url: str) -> None:
    """The second slice is evaluated by the goals as they are then, not by those that the first has read."""
    count = evaluation.SLICE_SIZE + 1
    await _aligned_epics(world, count)
    run = await _mark_all(runtime)
    async with holding(database_url) as holder:
        await holder.hold(ROW, f"SHOP-{evaluation.SLICE_SIZE}")
        evaluating = asyncio.create_task(pipeline.execute_run(runtime, run))
        await holder.until_waiting(1)
        closing = asyncio.create_task(world.send(*CLOSE))
        await holder.until_waiting(2)
        await holder.let_go()
        await asyncio.gather(evaluating, closing)
    await world.drain()
    unaligned = await world.send("GET", "/epics?alignment=unaligned&limit=500")
    assert len(unaligned["items"]) == count


async def test_two_runs_at_once_do_not_deadlock_and_evaluate_each_epic_once(
    world: World, runtime: Runtime, database_url: str
) -> None:
    driver = JiraDriver(world)
    for _ in range(4):
        driver.add()
    await driver.connect(mode="live")
    await world.send("PATCH", "/policy", {"grace": "P5D", "channel": "none"})
    await driver.sync()
    await world.send("PATCH", "/policy", {"channel": "comment"})
    async with runtime.sessions() as session:
        runs = [*await session.scalars(select(RunRow.id).where(RunRow.state == "queued"))]
    runs.append(await _mark_all(runtime))
    async with holding(database_url) as holder:
        await holder.hold(ROW, "SHOP-1")
        evaluates = [asyncio.create_task(pipeline.execute_run(runtime, run)) for run in runs]
        await holder.until_waiting(2)
        await holder.let_go()
        await asyncio.gather(*evaluates)
    shown = [await world.send("GET", f"/runs/{run}") for run in runs]
    assert [run["state"] for run in shown] == ["succeeded", "succeeded"]
    assert sorted(run["writes"]["held"] for run in shown) == [0, 4]


async def test_a_mode_switched_while_a_sync_evaluates(
    world: World, runtime: Runtime, database_url: str
) -> None:
    """A run begun in shadow does not evaluate in shadow what comes after the switch."""
    driver = JiraDriver(world)
    key = driver.add()
    await driver.connect(mode="shadow")
    await driver.sync()
    run = await _mark_all(runtime)
    async with holding(database_url) as holder:
        # The goals are held as by a change, so the run has read its source and no goals yet.
        await holder.hold("SELECT pg_advisory_xact_lock(%s)", LOCK_GOALS)
        evaluating = asyncio.create_task(pipeline.execute_run(runtime, run))
        await holder.until_waiting(1)
        await holder.hold("UPDATE sources SET notices = jsonb_set(notices, '{mode}', '\"live\"')")
        await holder.let_go()
        await evaluating
    notice = await driver.notice(key)
    assert (notice["state"], notice["pending"]) == ("due", True)


async def test_a_worker_that_lost_the_run_while_evaluating_does_not_close_it(
    world: World, runtime: Runtime, database_url: str
) -> None:
    await _aligned_epics(world)
    run_id = await _mark_all(runtime)
    async with holding(database_url) as holder:
        await holder.hold(ROW, "SHOP-2")
        evaluating = asyncio.create_task(pipeline.execute_run(runtime, run_id))
        await holder.until_waiting(1)
        async with runtime.sessions.begin() as session:
            (await session.get_one(RunRow, run_id)).claimed_by = "another"
        await holder.let_go()
        await evaluating
    async with runtime.sessions() as session:
        run = await session.get_one(RunRow, run_id)
    assert (run.claimed_by, run.state, run.finished_at, run.error) == ("another", "running", None, None)
