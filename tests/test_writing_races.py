"""Writers against evaluations and against each other: the release, serial writing, the order of locks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from sqlalchemy import select, update
from starlette.types import ASGIApp, Receive, Scope, Send

from app import evaluation, pipeline
from app.runtime import Runtime
from connectors.sandbox import faults
from mappings.tables import RunRow, SourceProjectRow
from tests.support.clock import Clock
from tests.support.locks import Holder, holding
from tests.support.queries import only_source, projects
from tests.support.tracker_drivers import JiraDriver, TrackerDriver, driver_of
from tests.support.world import World

pytestmark = pytest.mark.database

ROW = "SELECT 1 FROM epics WHERE key = %s FOR UPDATE"
NOTICES = "SELECT 1 FROM notices FOR UPDATE"


async def _queued(runtime: Runtime) -> RunRow:
    async with runtime.sessions() as session:
        return (await session.scalars(select(RunRow).where(RunRow.state == "queued"))).one()


def _bulk(driver: JiraDriver, **members: str) -> str:
    """So many exempt epics that evaluation takes two slices; the last of them."""
    return [driver.add(f"Epic {n}", labels=["later"], **members) for n in range(evaluation.SLICE_SIZE)][-1]


async def _until(driver: TrackerDriver, key: str, member: str, value: object) -> None:
    """The slice before the one that waits is evaluated beside it, and ends when it ends."""
    async with asyncio.timeout(20):
        while ((await driver.notice(key)) or {}).get(member) != value:
            await asyncio.sleep(0)


async def test_evaluating_ends_before_the_first_write(
    world: World, runtime: Runtime, database_url: str
) -> None:
    """With one slice evaluated and the next under way, nothing is released."""
    driver = JiraDriver(world)
    keys = [driver.add(), driver.add()]
    last = _bulk(driver)
    await driver.connect()
    await world.send("PATCH", "/policy", {"channel": "none", "exempt": {"labels": ["later"]}})
    await driver.sync()
    await world.send("PATCH", "/policy", {"channel": "comment"})
    run = await _queued(runtime)
    async with holding(database_url) as holder:
        await holder.hold(ROW, last)
        evaluating = asyncio.create_task(pipeline.execute_run(runtime, run.id))
        await holder.until_waiting(1)
        for key in keys:
            await _until(driver, key, "state", "due")
        await pipeline.write_tickets(runtime, run.source_id)
        assert driver.tracker.log.count(driver.creates) == 0
        await holder.let_go()
        await evaluating
    assert driver.tracker.log.count(driver.creates) == 0
    await pipeline.write_tickets(runtime, run.source_id)
    assert [len(driver.comments(key)) for key in keys] == [1, 1]
    shown = await world.send("GET", f"/runs/{run.id}")
    assert (shown["writes"]["posted"], shown["writes"]["pending"]) == (2, 0)


async def test_what_was_let_go_waits_again_where_a_newer_run_changes_it(
    world: World, runtime: Runtime, database_url: str
) -> None:
    """Otherwise the newer run would write before its own evaluation has ended."""
    driver = JiraDriver(world)
    await world.goal("KR-1", "Checkout conversion")
    await world.send("PATCH", "/key-results/KR-1", {"state": "missed"})
    key = driver.add(description="Key-Result: KR-1")
    last = _bulk(driver, description="Key-Result: KR-1")
    await driver.connect()
    await world.send("PATCH", "/policy", {"exempt": {"labels": ["later"]}})
    first = await world.send("POST", "/sources/jira/sync", {})
    await pipeline.execute_run(runtime, first["id"])
    assert (await driver.notice(key))["run"] == first["id"]
    hidden = {"visibility": "confidential", "public_label": "Plan"}
    await world.send("PATCH", "/objectives/O-1", hidden)
    run = await _queued(runtime)
    async with holding(database_url) as holder:
        await holder.hold(ROW, last)
        evaluating = asyncio.create_task(pipeline.execute_run(runtime, run.id))
        await holder.until_waiting(1)
        await _until(driver, key, "run", run.id)
        await pipeline.write_tickets(runtime, run.source_id)
        assert driver.comments(key) == []
        await holder.let_go()
        await evaluating
    await pipeline.write_tickets(runtime, run.source_id)
    (text,) = driver.comments(key)
    assert "KR-1 (Plan): no longer counts" in text


@pytest.mark.parametrize(("kind", "at_once"), [("github", 1), ("jira", 2)])
async def test_github_is_written_to_one_ticket_at_a_time_and_jira_is_not(
    world: World, runtime: Runtime, kind: str, at_once: int
) -> None:
    driver = driver_of(world, kind)
    keys = [driver.add(), driver.add()]
    await driver.connect()
    run = await world.send("POST", f"/sources/{kind}/sync", {})
    await pipeline.execute_run(runtime, run["id"])
    source_id = (await only_source(runtime)).id
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def hold(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        reached.set()
        await go_on.wait()
        await app(scope, receive, send)

    driver.tracker.faults.add(driver.creates, hold)
    writer = asyncio.create_task(pipeline.write_tickets(runtime, source_id))
    await asyncio.wait_for(reached.wait(), 20)
    await pipeline.write_tickets(runtime, source_id)  # another worker, while the first waits
    assert driver.tracker.log.count(driver.creates) == at_once
    go_on.set()
    await writer
    assert [len(driver.comments(key)) for key in keys] == [1, 1]
    assert driver.tracker.log.count(driver.creates) == 2


@dataclass
class OtherTransaction:
    """A fault: while a write is answered another transaction holds `first`, and asks for `then` once the
    writer waits for it."""

    holder: Holder
    first: tuple[str, ...]
    then: tuple[str, ...]
    answer: faults.Action | None = None
    started: list[asyncio.Task[None]] = field(default_factory=list)

    async def __call__(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        await self.holder.hold(*self.first)
        self.started.append(asyncio.create_task(_then_hold(self.holder, *self.then)))
        await (app(scope, receive, send) if self.answer is None else self.answer(app, scope, receive, send))

    async def ended(self) -> None:
        """Once there was one, and it got what it asked for."""
        (transaction,) = self.started
        await transaction


async def _then_hold(holder: Holder, statement: str, *values: str) -> None:
    await holder.until_waiting(1)
    await holder.hold(statement, *values)
    await holder.let_go()


async def _write_beside(driver: TrackerDriver, other: OtherTransaction) -> None:
    driver.tracker.faults.add(driver.creates, other)
    await driver.sync()
    await other.ended()


async def test_a_refused_write_takes_the_epic_before_its_notice(world: World, database_url: str) -> None:
    """As an evaluation does: one that had the notice and then wanted the epic would deadlock with an
    evaluation."""
    driver = JiraDriver(world)
    key = driver.add()
    await driver.connect()
    async with holding(database_url) as evaluation:
        await _write_beside(driver, OtherTransaction(evaluation, (ROW, key), (NOTICES,), faults.answer(403)))
    notice = await driver.notice(key)
    assert (notice["state"], "forbids" in notice["detail"]) == ("failed", True)


async def test_a_write_that_is_done_takes_the_epic_before_its_notice(world: World, database_url: str) -> None:
    """What is noted of it refers to the epic, and so locks it."""
    driver = JiraDriver(world)
    key = driver.add()
    await driver.connect()
    async with holding(database_url) as evaluation:
        await _write_beside(driver, OtherTransaction(evaluation, (ROW, key), (NOTICES,)))
    assert (await driver.notice(key))["state"] == "posted"


async def test_a_refused_write_takes_the_source_before_the_epic(world: World, database_url: str) -> None:
    """As all do that store a page or change the source."""
    driver = JiraDriver(world)
    key = driver.add()
    await driver.connect()
    async with holding(database_url) as change:
        shared = ("SELECT 1 FROM sources FOR SHARE",)
        await _write_beside(driver, OtherTransaction(change, shared, (ROW, key), faults.answer(403)))
    assert (await driver.notice(key))["state"] == "failed"


async def test_a_write_that_ends_a_pause_takes_the_project_before_the_epic(
    world: World, runtime: Runtime, clock: Clock, database_url: str
) -> None:
    """As what marks a project as read completely does, which then has its epics evaluated."""
    driver = JiraDriver(world)
    driver.add()
    await driver.connect()
    await driver.sync()
    paused = {"writes_paused_at": clock() - timedelta(days=2), "writes_paused_reason": "It was read-only."}
    async with runtime.sessions.begin() as session:
        await session.execute(update(SourceProjectRow).values(paused))
    key = driver.add()
    async with holding(database_url) as reading:
        project = ("SELECT 1 FROM source_projects FOR UPDATE",)
        await _write_beside(driver, OtherTransaction(reading, project, (ROW, key)))
    assert (await driver.notice(key))["state"] == "posted"
    assert (await projects(runtime))["SHOP"].writes_paused_at is None


async def test_a_change_of_a_finding_takes_the_source_before_the_epic(
    world: World, database_url: str
) -> None:
    """As the deletion of the source does: the run that evaluates the change refers to the source."""
    driver = JiraDriver(world)
    key = driver.add()
    await driver.connect("shadow")
    await driver.sync()
    until = f"{world.site.clock() + timedelta(days=14):%Y-%m-%d}"
    ((finding,),) = [(await world.send("GET", "/findings"))["items"]]
    async with holding(database_url) as holder:
        await holder.hold("SELECT 1 FROM sources FOR UPDATE")
        snoozing = asyncio.create_task(
            world.send("POST", f"/findings/{finding['id']}/snooze", {"until": until})
        )
        await _then_hold(holder, ROW, key)
        snoozed = await snoozing
    assert snoozed["state"] == "snoozed"


UNREADABLE = """INSERT INTO unreadable_tickets (source_id, project, remote_id, key, reason)
    SELECT source_id, project, remote_id, key, '' FROM epics"""


async def test_a_write_takes_what_could_not_be_read_before_the_epic(
    world: World, runtime: Runtime, database_url: str
) -> None:
    """As a sync does that reads the ticket again, and then has its epic evaluated."""
    driver = JiraDriver(world)
    key = driver.add()
    await driver.connect()
    run = await world.send("POST", "/sources/jira/sync", {})
    await pipeline.execute_run(runtime, run["id"])
    driver.label(key, "changed")
    async with holding(database_url) as sync:
        await sync.hold(UNREADABLE)
        await sync.let_go()
        other = OtherTransaction(sync, ("SELECT 1 FROM unreadable_tickets FOR UPDATE",), (ROW, key))
        driver.tracker.faults.add("POST */issue/bulkfetch", other)
        await pipeline.write_tickets(runtime, (await only_source(runtime)).id)
        await other.ended()
    assert (await driver.notice(key))["state"] == "posted"
