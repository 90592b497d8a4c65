"""Changes of goals against judging under way, judges against each other, and writers against both.

Who comes first is decided by locks that the test holds on a connection of its own.
"""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import select
from starlette.types import ASGIApp, Receive, Scope, Send

from app import pipeline
from app.runtime import Runtime
from connectors.sandbox import faults
from mappings import ledger
from mappings.tables import Epic, Run, Source
from tests.locks import Holder, holding
from tests.sides import GitHubSide, JiraSide, side_of
from tests.world import World

ROW = "SELECT 1 FROM epics WHERE key = %s FOR UPDATE"
CLOSE = ("PATCH", "/key-results/KR-1", {"state": "missed"})


async def _aligned_epics(world: World, count: int = 2) -> JiraSide:
    """Epics that name KR-1, read and judged."""
    side = JiraSide(world)
    for number in range(count):
        side.add(f"Epic {number}", description="Key-Result: KR-1")
    await world.goal("KR-1", "Checkout conversion")
    await side.connect(mode="shadow")
    await side.sync()
    return side


async def _mark_all(runtime: Runtime) -> int:
    """As if every epic had changed: a judge run that is to judge them all; its id."""
    async with runtime.sessions.begin() as session:
        for row in await session.scalars(select(Epic)):
            row.look_again_at = runtime.clock()
        (source_id,) = await session.scalars(select(Source.id))
        return (await ledger.open_run(session, source_id, "judge", runtime.clock())).id


async def _alignments(world: World) -> list[str]:
    return [epic["alignment"] for epic in (await world.send("GET", "/epics"))["items"]]


async def test_a_goal_closed_while_a_sync_judges(world: World, runtime: Runtime, database_url: str) -> None:
    """The judge holds on to the goals it reads, so the change waits and then marks what was just judged."""
    await _aligned_epics(world)
    run = await _mark_all(runtime)
    async with holding(database_url) as holder:
        await holder.hold(ROW, "SHOP-2")
        judging = asyncio.create_task(pipeline.carry_out(runtime, run))
        await holder.until_waiting(1)
        closing = asyncio.create_task(world.send(*CLOSE))
        await holder.until_waiting(2)
        assert not closing.done()
        await holder.let_go()
        await asyncio.gather(judging, closing)
    await world.drain()
    assert await _alignments(world) == ["unaligned", "unaligned"]


async def test_a_goal_closed_just_before_a_sync_judges(
    world: World, runtime: Runtime, database_url: str
) -> None:
    """The change has the goals; the judge waits for it and sees them as they are then."""
    await _aligned_epics(world)
    run = await _mark_all(runtime)
    async with holding(database_url) as holder:
        await holder.hold(ROW, "SHOP-2")
        closing = asyncio.create_task(world.send(*CLOSE))
        await holder.until_waiting(1)
        judging = asyncio.create_task(pipeline.carry_out(runtime, run))
        await holder.until_waiting(2)
        await holder.let_go()
        await asyncio.gather(judging, closing)
    await world.drain()
    assert await _alignments(world) == ["unaligned", "unaligned"]


async def test_a_goal_closed_between_two_slices(
    world: World, runtime: Runtime, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The standard of the first slice is not that of the second."""
    await _aligned_epics(world, 3)
    monkeypatch.setattr(pipeline, "SLICE", 1)
    run = await _mark_all(runtime)
    async with holding(database_url) as holder:
        await holder.hold(ROW, "SHOP-2")
        judging = asyncio.create_task(pipeline.carry_out(runtime, run))
        await holder.until_waiting(1)
        closing = asyncio.create_task(world.send(*CLOSE))
        await holder.until_waiting(2)
        await holder.let_go()
        await asyncio.gather(judging, closing)
    await world.drain()
    assert await _alignments(world) == ["unaligned"] * 3


async def test_two_judges_at_once_do_not_deadlock(
    world: World, runtime: Runtime, database_url: str
) -> None:
    await _aligned_epics(world, 4)
    runs = [await _mark_all(runtime), await _mark_all(runtime)]
    async with holding(database_url) as holder:
        await holder.hold(ROW, "SHOP-1")
        judges = [asyncio.create_task(pipeline.carry_out(runtime, run)) for run in runs]
        await holder.until_waiting(2)
        await holder.let_go()
        await asyncio.gather(*judges)
    async with runtime.sessions() as session:
        states = await session.scalars(select(Run.state).where(Run.id.in_(runs)))
        assert set(states) == {"succeeded"}
        assert not (await session.scalars(select(Epic.id).where(Epic.look_again_at.is_not(None)))).all()


async def test_a_mode_switched_while_a_sync_judges(
    world: World, runtime: Runtime, database_url: str
) -> None:
    """A run begun in shadow does not judge in shadow what comes after the switch."""
    side = JiraSide(world)
    key = side.add()
    await side.connect(mode="shadow")
    await side.sync()
    run = await _mark_all(runtime)
    async with holding(database_url) as holder:
        # The goals are held as by a change, so the run has its source and no standard yet.
        await holder.hold("SELECT pg_advisory_xact_lock(%s)", ledger.LOCK_GOALS)
        judging = asyncio.create_task(pipeline.carry_out(runtime, run))
        await holder.until_waiting(1)
        await holder.hold(
            "UPDATE sources SET notices = jsonb_set(notices, '{mode}', '\"live\"')"
        )
        await holder.let_go()
        await judging
    notice = await side.notice(key)
    assert (notice["state"], notice["pending"]) == ("due", True)


async def test_a_refused_write_waits_for_the_judge_and_not_the_other_way_round(
    world: World, runtime: Runtime, database_url: str
) -> None:
    """A judge has the epic and wants its notice; a writer that had the notice and wanted the epic would
    deadlock with it.
    """
    side = JiraSide(world)
    key = side.add()
    await side.connect()
    async with holding(database_url) as holder:
        action = _Judge(holder, key)
        side.tracker.faults.add(side.creates, action)
        await side.sync()
        await action.done
    notice = await side.notice(key)
    assert (notice["state"], "Forbidden" in notice["detail"] or "403" in notice["detail"]) == ("failed", True)


class _Judge:
    """Locks an epic as a judge does while the tracker refuses the comment, and then its notice."""

    def __init__(self, holder: Holder, key: str) -> None:
        self.holder, self.key = holder, key
        self.done: asyncio.Task[None] = asyncio.get_running_loop().create_task(asyncio.sleep(0))

    async def __call__(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        await self.holder.hold(ROW, self.key)
        self.done = asyncio.create_task(self._then_the_notice())
        await faults.answer(403)(app, scope, receive, send)

    async def _then_the_notice(self) -> None:
        await self.holder.until_waiting(1)
        await self.holder.hold("SELECT 1 FROM notices FOR UPDATE")
        await self.holder.let_go()


# --- writing --------------------------------------------------------------------------------


async def test_judging_ends_before_the_first_write(
    world: World, runtime: Runtime, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The barrier: with one slice judged and the next under way, nothing is let go."""
    side = JiraSide(world)
    keys = [side.add() for _ in range(6)]
    await side.connect()
    await world.send("PATCH", "/policy", {"channel": "none"})
    await side.sync()
    monkeypatch.setattr(pipeline, "SLICE", 2)
    changed = await world.send("PATCH", "/policy", {"channel": "comment"})
    assert changed["channel"] == "comment"
    async with runtime.sessions() as session:
        (run,) = await session.scalars(select(Run).where(Run.state == "queued"))
    async with holding(database_url) as holder:
        await holder.hold(ROW, keys[4])
        judging = asyncio.create_task(pipeline.carry_out(runtime, run.id))
        await holder.until_waiting(1)
        assert [(await side.notice(key) or {}).get("state") for key in keys] == ["due"] * 4 + [None] * 2
        await pipeline.write_tickets(runtime, run.source_id)
        assert side.tracker.log.count(side.creates) == 0
        await holder.let_go()
        await judging
    assert side.tracker.log.count(side.creates) == 0
    await pipeline.write_tickets(runtime, run.source_id)
    assert [len(side.comments(key)) for key in keys] == [1] * 6
    shown = await world.send("GET", f"/runs/{run.id}")
    assert (shown["writes"]["posted"], shown["writes"]["pending"]) == (6, 0)


async def test_what_an_earlier_run_had_let_go_waits_again_when_a_newer_one_changes_it(
    world: World, runtime: Runtime, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    side = JiraSide(world)
    first, second = side.add(), side.add()
    await side.connect()
    run = await world.send("POST", "/sources/jira/sync", {})
    await pipeline.carry_out(runtime, run["id"])
    side.describe(first, "Key-Result: KR-98")
    side.describe(second, "Key-Result: KR-99")
    monkeypatch.setattr(pipeline, "SLICE", 1)
    newer = await world.send("POST", "/sources/jira/sync", {})
    async with runtime.sessions() as session:
        (source_id,) = await session.scalars(select(Source.id))
    async with holding(database_url) as holder:
        reading = asyncio.create_task(_sync_that_stops(runtime, holder, newer["id"], second))
        await holder.until_waiting(1)
        await pipeline.write_tickets(runtime, source_id)
        assert side.comments(first) == []
        await holder.let_go()
        await reading
    await world.drain()
    assert ["KR-98" in side.comments(first)[0], "KR-99" in side.comments(second)[0]] == [True, True]


async def _sync_that_stops(runtime: Runtime, holder: Holder, run_id: int, key: str) -> None:
    """Carry a run out, stopped when it comes to judge `key`."""
    whole, taken = pipeline.judge_waiting, False

    await pipeline.carry_out(runtime, run_id)
    assert whole
    assert not taken


@pytest.mark.parametrize(("kind", "at_once"), [("github", 1), ("jira", 2)])
async def test_github_is_written_to_one_ticket_at_a_time(
    world: World, runtime: Runtime, kind: str, at_once: int
) -> None:
    side = side_of(world, kind)
    keys = [side.add(), side.add()]
    await side.connect()
    run = await world.send("POST", f"/sources/{kind}/sync", {})
    await pipeline.carry_out(runtime, run["id"])
    async with runtime.sessions() as session:
        (source_id,) = await session.scalars(select(Source.id))
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def hold(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        reached.set()
        await go_on.wait()
        await app(scope, receive, send)

    side.tracker.faults.add(side.creates, hold)
    writer = asyncio.create_task(pipeline.write_tickets(runtime, source_id))
    await asyncio.wait_for(reached.wait(), 20)
    await pipeline.write_tickets(runtime, source_id)  # another worker, while the first waits
    assert side.tracker.log.count(side.creates) == at_once
    go_on.set()
    await writer
    assert [len(side.comments(key)) for key in keys] == [1, 1]
    assert side.tracker.log.count(side.creates) == 2
    assert isinstance(side, GitHubSide) == (at_once == 1)
