"""Several writers of one source: how many are asked for, each ticket written once, and whose turn it is."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import replace

import pytest
from sqlalchemy import select, text
from starlette.types import ASGIApp, Receive, Scope, Send

from app import pipeline
from app.runtime import Runtime
from app.writers_here import WRITERS_IN_PROCESS, WritersHere
from app.writing.side_by_side import MOST_WRITERS, TICKETS_FOR_A_WRITER, gave_turn
from app.writing.writer import open_writer
from connectors.sandbox.faults import answer
from mappings.notices.claims import claim_notice
from mappings.tables import SourceRow
from tests.support.clock import Clock, later
from tests.support.queries import all_of
from tests.support.tracker_drivers import driver_of
from tests.support.world import World

pytestmark = pytest.mark.database

WAITING = """
    SELECT CAST(args->>'source_id' AS int) FROM procrastinate_jobs
    WHERE status = 'todo' AND task_name = 'write_tickets' ORDER BY id
"""


async def _due(world: World, runtime: Runtime, kind: str, tickets: int) -> SourceRow:
    """A live source with so many due comments, and no job that writes them."""
    driver = driver_of(world, kind)
    for _ in range(tickets):
        driver.add()
    await driver.connect(notices={"per_day": 1000})
    run = await world.send("POST", f"/sources/{kind}/sync", {})
    await pipeline.execute_run(runtime, run["id"])
    async with runtime.sessions.begin() as session:
        await session.execute(text("DELETE FROM procrastinate_jobs"))
        return (await session.scalars(select(SourceRow).where(SourceRow.name == kind))).one()


async def _write(runtime: Runtime, source: SourceRow, clock: Clock, tickets: int) -> None:
    async with open_writer(runtime, source, clock.now) as writer:
        for _ in range(tickets):
            assert await writer.write_next()


async def _waiting(runtime: Runtime) -> list[int]:
    """The sources of the waiting jobs that write tickets."""
    return [source for (source,) in await all_of(runtime, WAITING)]


@pytest.mark.parametrize(("kind", "asked_for"), [("jira", 2), ("github", 0)])
async def test_many_due_tickets_get_more_writers_where_the_tracker_takes_several(
    world: World, runtime: Runtime, clock: Clock, kind: str, asked_for: int
) -> None:
    """The second ticket asks, and a second writer sees who waits already."""
    source = await _due(world, runtime, kind, 2 * TICKETS_FOR_A_WRITER + 4)
    await _write(runtime, source, clock, 1)
    assert await _waiting(runtime) == []
    for _ in range(2):
        await _write(runtime, source, clock, 2 if kind == "jira" else 1)
        assert await _waiting(runtime) == [source.id] * asked_for
    async with runtime.sessions.begin() as session:
        await runtime.wake(session, "write_tickets", source_id=source.id)
    await world.drain()
    driver = driver_of(world, kind)
    assert driver.tracker.log.count(driver.creates) == 2 * TICKETS_FOR_A_WRITER + 4
    assert await all_of(runtime, "SELECT count(*) FROM notices WHERE state <> 'posted'") == [(0,)]


def _processes(runtime: Runtime, number: int) -> list[Runtime]:
    return [replace(runtime, worker=f"w{one}", writers=WritersHere()) for one in range(number)]


@pytest.mark.parametrize(("kind", "refused"), [("jira", 4), ("github", 1)])
async def test_a_limit_stops_all_writers_of_a_source(
    world: World, runtime: Runtime, clock: Clock, kind: str, refused: int
) -> None:
    """Each has at most one request under way; nothing is sent before the limit ends, and nothing twice."""
    source, driver = await _due(world, runtime, kind, 20), driver_of(world, kind)
    limit = driver.tracker.faults.add(
        driver.creates, answer(429, headers={"Retry-After": "30"}), times=None, skip=4
    )
    writers = _processes(runtime, 4)
    await asyncio.gather(*(pipeline.write_tickets(one, source.id) for one in writers))
    assert 1 <= limit.struck <= refused
    before = driver.tracker.log.count()
    await asyncio.gather(*(pipeline.write_tickets(one, source.id) for one in writers))
    assert driver.tracker.log.count() == before
    driver.tracker.faults.clear()
    await later(world, runtime, clock, seconds=40)
    assert [len(driver.comments(key)) for key in await world.keys(kind)] == [1] * 20


@pytest.mark.parametrize("kind", ["jira", "github"])
async def test_writers_that_die_leave_no_second_comment(
    world: World, runtime: Runtime, clock: Clock, kind: str
) -> None:
    """Their requests arrive all the same, after others have gone on."""
    source, driver = await _due(world, runtime, kind, 20), driver_of(world, kind)
    under_way, go_on = asyncio.Event(), asyncio.Event()

    async def hold(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        under_way.set()
        await go_on.wait()
        await app(scope, receive, send)

    driver.tracker.faults.add(driver.creates, hold, skip=3)
    dying = [asyncio.create_task(pipeline.write_tickets(one, source.id)) for one in _processes(runtime, 4)]
    await asyncio.wait_for(under_way.wait(), 20)
    for task in dying:
        task.cancel()
    await asyncio.gather(*dying, return_exceptions=True)
    await pipeline.write_tickets(runtime, source.id)
    go_on.set()
    for _ in range(4):
        await later(world, runtime, clock, minutes=5)
    assert [len(driver.comments(key)) for key in await world.keys(kind)] == [1] * 20


async def test_a_source_never_asks_for_more_than_so_many(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    source = await _due(world, runtime, "jira", MOST_WRITERS * TICKETS_FOR_A_WRITER + 5)
    await _write(runtime, source, clock, 2)
    assert len(await _waiting(runtime)) == MOST_WRITERS - 1


async def test_few_due_tickets_are_one_writers_work(world: World, runtime: Runtime, clock: Clock) -> None:
    source = await _due(world, runtime, "jira", TICKETS_FOR_A_WRITER)
    await _write(runtime, source, clock, 3)
    assert await _waiting(runtime) == []


async def test_a_writer_makes_room_for_a_source_that_has_none(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    jira = await _due(world, runtime, "jira", 2)
    github = await _due(world, runtime, "github", 2)
    assert not await gave_turn(runtime, jira.id)
    async with runtime.sessions.begin() as session:
        await runtime.wake(session, "write_tickets", source_id=github.id)
    assert await gave_turn(runtime, jira.id)
    assert await _waiting(runtime) == [github.id, jira.id]
    async with runtime.sessions.begin() as session:
        claim = await claim_notice(session, github.id, "of another process", clock, one_at_a_time=True)
        assert claim is not None
    assert not await gave_turn(runtime, jira.id)


def test_a_process_has_room_for_so_many_and_for_one_of_each_source() -> None:
    here = WritersHere()
    with ExitStack() as stack:
        for _ in range(WRITERS_IN_PROCESS):
            assert stack.enter_context(here.place(1))
        assert not stack.enter_context(here.place(1))
        assert stack.enter_context(here.place(2)), "a source that has none here"
        assert not stack.enter_context(here.place(2))
    with here.place(1) as is_free:
        assert is_free, "all have ended"


def test_a_writer_that_ends_learns_that_another_was_refused() -> None:
    """Else what became due after the others had looked would wait for the sweep."""
    here = WritersHere()
    with here.place(1), here.place(2):
        assert not here.was_refused(1)
        with here.place(1) as is_free:
            assert not is_free
    assert (here.was_refused(1), here.was_refused(2)) == (True, False)
    with here.place(1):
        pass
    assert not here.was_refused(1)
