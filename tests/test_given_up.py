"""Work that never ends is given up, wrong data ends it, and the database's own trouble does neither."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fastapi import FastAPI
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from app import heartbeat, pipeline
from app.runtime import Runtime
from connectors.sandbox import faults
from mappings.leases import LEASE, MOST_ATTEMPTS, UNCONFIRMED_WAIT
from mappings.notices.claims import claim_notice
from mappings.runs.queue import claim_run, renew_lease
from mappings.tables import RunRow
from tests.support.clock import Clock, later
from tests.support.database_faults import refusing
from tests.support.lists import listed
from tests.support.queries import all_of, projects
from tests.support.tracker_drivers import TrackerDriver, on_either, on_jira
from tests.support.webhook_deliveries import doors
from tests.support.webhook_posts import SECRET
from tests.support.world import OFF, World

pytestmark = pytest.mark.database


async def _queued(world: World, mode: str = "full") -> int:
    """A run of a source with one epic."""
    world.site.create("SHOP", "An epic")
    await world.connect_jira(notices={"mode": "shadow"}, scope={"projects": ["SHOP"]})
    run_id: int = (await world.send("POST", "/sources/jira/sync", {"mode": mode}))["id"]
    return run_id


async def _row(runtime: Runtime, run_id: int) -> RunRow:
    async with runtime.sessions() as session:
        return await session.get_one(RunRow, run_id)


async def _taken_up(runtime: Runtime, clock: Clock, run_id: int) -> RunRow:
    """A worker takes the run up and dies."""
    async with runtime.sessions.begin() as session:
        run = await claim_run(session, run_id, "who dies", clock())
    assert run is not None
    clock.advance(seconds=LEASE.total_seconds() + 1)
    return run


# --- runs ------------------------------------------------------------------------------------------


async def test_a_run_that_ends_its_worker_each_time_is_given_up(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    await _queued(world)
    await world.drain()  # read once, so that its project counts as read
    run_id = (await world.send("POST", "/sources/jira/sync", {"mode": "full"}))["id"]
    for _ in range(MOST_ATTEMPTS):
        await _taken_up(runtime, clock, run_id)
    await later(world, runtime, clock)
    run = await world.send("GET", f"/runs/{run_id}")
    assert (run["state"], run["error"]["code"]) == ("failed", "given_up")
    assert f"{MOST_ATTEMPTS} times" in run["error"]["message"]
    health = await world.health()
    assert (health["state"], health["message"]) == ("failing", run["error"]["message"])
    assert health["what_to_do"]
    assert [row.fully_synced for row in (await projects(runtime)).values()] == [False]
    # The next one is a run of its own.
    again = await world.sync("jira", "full")
    assert (again["id"] != run_id, again["state"]) == (True, "succeeded")
    assert (await world.health())["state"] == "ok"


async def test_who_stops_in_order_or_gets_ahead_does_not_count(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    run_id = await _queued(world)
    for _ in range(MOST_ATTEMPTS + 2):
        async with runtime.sessions.begin() as session:
            assert await claim_run(session, run_id, runtime.claim_name(), clock())
        async with runtime.sessions.begin() as session:
            await heartbeat.release_claims(runtime, session)
    assert (await _row(runtime, run_id)).attempts == 0
    for _ in range(MOST_ATTEMPTS + 2):
        async with runtime.sessions.begin() as session:
            run = await claim_run(session, run_id, "who dies", clock())
            assert run is not None
            await renew_lease(session, run, "who dies", clock(), ahead=True)
        clock.advance(seconds=LEASE.total_seconds() + 1)
    assert (await _row(runtime, run_id)).attempts == 1
    # A sign of life alone is no progress.
    run = await _taken_up(runtime, clock, run_id)
    assert run.attempts == 2
    async with runtime.sessions.begin() as session:
        await renew_lease(session, run, "who dies", clock())
    assert (await _row(runtime, run_id)).attempts == 2


@pytest.mark.parametrize(("pages", "attempts"), [(0, MOST_ATTEMPTS - 1), (2, 0)])
async def test_a_page_that_moves_the_cursor_is_progress_and_a_wait_for_the_tracker_is_no_attempt(
    world: World, runtime: Runtime, clock: Clock, pages: int, attempts: int
) -> None:
    start = world.site.clock() - timedelta(days=1)
    for number in range(3):
        world.site.create("SHOP", f"Epic {number}", created=start + timedelta(hours=number))
    world.site.page_cap = 1
    run_id = await _queued(world)
    async with runtime.sessions.begin() as session:
        (await session.get_one(RunRow, run_id)).attempts = MOST_ATTEMPTS - 1
    world.jira.faults.add("POST */search/jql", faults.answer(429, {}), skip=pages)
    await later(world, runtime, clock)
    row = await _row(runtime, run_id)
    assert (row.state, row.seen, row.attempts) == ("waiting", pages, attempts)


async def test_an_error_of_the_data_in_the_evaluation_ends_the_run(world: World, runtime: Runtime) -> None:
    run_id = await _queued(world)
    async with refusing(runtime, "findings", "54000"):
        await pipeline.execute_run(runtime, run_id)
    run = await world.send("GET", f"/runs/{run_id}")
    assert (run["state"], run["error"]["code"]) == ("failed", "internal")
    assert (await world.health())["state"] == "failing"
    assert (await world.sync("jira"))["state"] == "succeeded"


@pytest.mark.parametrize(("table", "sqlstate"), [("epics", "53100"), ("findings", "40001")])
async def test_the_databases_trouble_keeps_the_run_however_long_it_lasts(
    world: World, runtime: Runtime, clock: Clock, table: str, sqlstate: str
) -> None:
    run_id = await _queued(world)
    async with refusing(runtime, table, sqlstate):
        for _ in range(2):
            with pytest.raises(DBAPIError):
                await pipeline.execute_run(runtime, run_id)
            row = await _row(runtime, run_id)
            assert (row.state, row.attempts, row.claimed_by) == ("running", 0, None)
    await later(world, runtime, clock)
    assert (await world.send("GET", f"/runs/{run_id}"))["state"] == "succeeded"


async def test_an_evaluation_that_fails_is_said_in_health(world: World, runtime: Runtime) -> None:
    await _queued(world)
    await world.drain()
    await world.goal("KR-1")
    async with refusing(runtime, "links", "22P05"):
        await world.send("POST", "/rules", {"name": "all", "when": {"project": "SHOP"}, "key_result": "KR-1"})
        await world.drain()
    runs = [run for run in await listed(world, "/runs") if run["mode"] == "evaluate"]
    assert {run["state"] for run in runs if run["error"]} == {"failed"}
    assert (await world.health())["state"] == "failing"


# --- webhooks --------------------------------------------------------------------------------------


@on_jira
@pytest.mark.parametrize(
    ("sqlstate", "state", "code"), [("22P05", "failed", "bad_payload"), ("53100", "received", None)]
)
async def test_a_webhook_whose_ticket_cannot_be_stored_fails_and_a_full_disk_lets_it_wait(
    driver: TrackerDriver,
    world: World,
    runtime: Runtime,
    application: FastAPI,
    clock: Clock,
    sqlstate: str,
    state: str,
    code: str | None,
) -> None:
    await world.send("PATCH", "/sources/jira", {"webhook_secret": SECRET, "notices": OFF})
    for title in ("Good", "Poison"):
        driver.add(title)
    await driver.sync("full")
    async with doors(application, world):
        for key in ("SHOP-1", "SHOP-2"):
            driver.label(key, "later")
        await driver.tracker.webhook_sender.idle()
        async with refusing(runtime, "epics", sqlstate, "NEW.title = 'Poison' AND NEW.labels <> '{}'"):
            await world.drain()
            heard = {one["id"]: one for one in await listed(world, "/deliveries", source="jira")}
            assert state in {one["state"] for one in heard.values()}
            assert {one["error"]["code"] for one in heard.values() if one["error"]} == (
                {code} if code else set()
            )
        clock.advance(minutes=1)
        for one in heard.values():
            if one["state"] == "failed":
                await world.send("POST", f"/deliveries/{one['id']}/replay")
        await later(world, runtime, clock)
        heard_now = await listed(world, "/deliveries", source="jira")
        assert {one["state"] for one in heard_now} == {"done"}
    assert (await driver.epic("SHOP-2"))["labels"] == ["later"]


# --- comments --------------------------------------------------------------------------------------


async def _claimed(runtime: Runtime) -> bool:
    """A writer claims the next notice; whether there is one."""
    async with runtime.sessions.begin() as session:
        owner = runtime.claim_name()
        return bool(await claim_notice(session, 1, owner, runtime.clock, one_at_a_time=False))


@on_either("jira")
async def test_a_write_that_ends_its_writer_each_time_is_given_up_and_tried_at_the_next_sync(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock
) -> None:
    await driver.set_mode("shadow")
    key = driver.add("An epic")
    await driver.sync("full")
    await world.send("PATCH", f"/sources/{driver.kind}", {"notices": {"mode": "live"}})
    async with runtime.sessions() as session:
        (evaluating,) = await session.scalars(select(RunRow.id).where(RunRow.mode == "evaluate"))
    await pipeline.execute_run(runtime, evaluating)
    for number in range(MOST_ATTEMPTS):
        assert (await driver.notice(key))["state"] == "due", number
        assert await _claimed(runtime)
        clock.advance(seconds=(LEASE + UNCONFIRMED_WAIT).total_seconds() + 1)
    assert not await _claimed(runtime)
    notice = await driver.notice(key)
    assert notice["state"] == "failed"
    assert f"{MOST_ATTEMPTS} times" in notice["detail"]
    await driver.sync()
    assert (await driver.notice(key))["state"] == "posted"
    assert len(driver.comments(key)) == 1


@on_either("jira")
async def test_an_error_of_ours_in_a_write_fails_that_notice_and_not_the_others(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock
) -> None:
    await driver.set_mode("shadow")
    keys = [driver.add(title) for title in ("Poison", "Good")]
    await driver.sync("full")
    ((poison,),) = await all_of(runtime, "SELECT id FROM epics WHERE title = 'Poison'")
    # The comment is on the ticket by then, and that it is cannot be recorded.
    async with refusing(runtime, "notice_writes", "22P05", f"NEW.epic_id = {poison} AND NEW.kind = 'posted'"):
        await driver.set_mode("live")
    states = [(await driver.notice(key))["state"] for key in keys]
    assert states == ["failed", "posted"]
    # The next writer finds the comment, and writes no second one.
    await later(world, runtime, clock, hours=2)
    await driver.sync("full")
    assert [len(driver.comments(key)) for key in keys] == [1, 1]
    assert (await driver.notice(keys[0]))["state"] == "posted"
