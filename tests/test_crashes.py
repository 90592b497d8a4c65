"""Killed at random moments Northing goes on, without a person, as if nothing had happened.

The longer form, with a check after every spell, is `make soak`. Below stands what it has found, one by one.
"""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from fastapi import FastAPI
from sqlalchemy import select, text, update

from app import pipeline
from app.jobs.sweep import sweep
from app.runtime import Runtime
from app.server.server import embedded_server
from app.settings import Settings
from connectors.sandbox import faults
from mappings.leases import LEASE, MOST_ATTEMPTS
from mappings.notices.claims import claim_notice
from mappings.runs.queue import open_run
from mappings.sources.projects import record_project_read
from mappings.tables import EpicRow, SourceRow
from mappings.webhooks.queue import claim_deliveries, end_deliveries
from tests.soak.chaos import KILLS, soak
from tests.soak.database import kill_server
from tests.soak.report import report_text
from tests.support.clock import Clock, later
from tests.support.lists import listed
from tests.support.locks import holding
from tests.support.processes import data_folder
from tests.support.queries import all_of
from tests.support.tracker_drivers import KINDS, JiraDriver, driver_of
from tests.support.webhook_deliveries import doors, process_everything
from tests.support.webhook_posts import SECRET
from tests.support.world import World

SEED = 20_261_122


@pytest.mark.timeout(300)  # it takes 45 s, and a busy machine more
async def test_after_kills_and_outages_everything_is_as_if_nothing_had_happened() -> None:
    """One spell, in which every kind of kill strikes twice; `tests.soak.findings` is what is asked then."""
    outcome = await soak(SEED, epics=18, rounds=2, goes_on=lambda spells: spells == 0, say=print)
    print(report_text(SEED, outcome))  # noqa: T201  # what it found is what it is for
    counts = outcome.counts
    assert not outcome.found
    assert counts["duplicates"] == 0
    assert all(counts[f"kills of {kind}"] for kind in KILLS)
    assert counts["kills in all"] >= 20
    assert counts["outages of an hour"] >= 1
    assert min(counts["comments"], counts["webhooks lost"], counts["webhooks accepted"]) >= 10


@pytest.mark.parametrize("new", [False, True])
async def test_a_project_read_to_its_end_while_it_is_evaluated_is_believed(
    world: World, runtime: Runtime, database_url: str, new: bool
) -> None:
    """Or its notices, there before or `new`, were held as stale by who had looked at it before, for good."""
    driver = JiraDriver(world)
    await world.goal()
    linked, gap = driver.add(labels=["kr:KR-1"]), driver.add()
    await driver.connect("shadow")
    await driver.sync()
    async with runtime.sessions.begin() as session:
        await session.execute(text("UPDATE source_projects SET fully_synced = false"))
    await world.send("PATCH", "/sources/jira", {"notices": {"mode": "live"}})
    await world.drain()
    async with runtime.sessions.begin() as session:
        await session.execute(update(EpicRow).values(evaluate_at=await runtime.now(session)))
        if new:
            await session.execute(text("DELETE FROM notices"))
        (source_id,) = await session.scalars(select(SourceRow.id))
        run = await open_run(session, source_id, "evaluate", await runtime.now(session))
    async with holding(database_url) as holder:
        await holder.hold("SELECT 1 FROM epics WHERE key = %s FOR UPDATE", linked)
        evaluating = asyncio.create_task(pipeline.execute_run(runtime, run.id))
        await holder.until_waiting(1)
        reading = asyncio.create_task(_read_to_its_end(runtime, run.source_id))
        while not reading.done() and await holder.waiting() < 2:
            await asyncio.sleep(0)
        await holder.let_go()
        await asyncio.gather(evaluating, reading)
    await sweep(runtime)
    await world.drain()
    assert (await driver.notice(gap))["state"] == "posted"


async def _read_to_its_end(runtime: Runtime, source_id: int) -> None:
    async with runtime.sessions.begin() as session:
        await record_project_read(
            session, source_id, "SHOP", await runtime.now(session), fully_synced=True, problem=None
        )


@pytest.mark.parametrize("kind", KINDS)
async def test_an_edit_that_may_have_arrived_is_made_again(
    world: World, runtime: Runtime, clock: Clock, kind: str
) -> None:
    """Though what it said is not wanted any more: the ticket may say it, whatever we remember of it."""
    driver = driver_of(world, kind)
    await world.goal()
    key = driver.add()
    await driver.connect()
    await driver.sync()
    driver.tracker.faults.add(driver.edits, faults.lose_answer())
    driver.label(key, "kr:KR-1")
    await driver.sync()
    assert driver.comments(key) == ["Aligned with KR-1 (Checkout conversion). Thank you."]
    driver.label(key)
    await driver.sync()
    await later(world, runtime, clock, minutes=5)
    (text,) = driver.comments(key)
    assert "Which key result does this epic serve?" in text


@pytest.mark.parametrize("kind", KINDS)
async def test_a_claim_whose_write_is_cancelled_after_its_writer_died_is_released(
    world: World, runtime: Runtime, clock: Clock, application: FastAPI, kind: str
) -> None:
    """Nobody took over a claim that had nothing left to write, and whoever deleted our comment there was put
    off for ever."""
    driver = driver_of(world, kind)
    await world.goal()
    key = driver.add()
    await driver.connect(webhook_secret=SECRET)
    await driver.sync()
    driver.label(key, "kr:KR-1")
    run = await world.send("POST", f"/sources/{kind}/sync", {})
    await pipeline.execute_run(runtime, run["id"])
    async with runtime.sessions.begin() as session:
        assert await claim_notice(session, 1, "who dies", clock, one_at_a_time=False) is not None
    driver.label(key)
    await driver.sync()
    claimed = "SELECT claimed_by, target, write_unconfirmed_at FROM notices"
    assert await all_of(runtime, claimed) == [("who dies", None, None)]

    await later(world, runtime, clock, seconds=LEASE.total_seconds())
    assert await all_of(runtime, claimed) == [(None, None, None)]
    async with doors(application, world):
        driver.delete_comments(key)
        await process_everything(world)
    assert (await driver.notice(key))["reason"] == "deleted_on_ticket"


async def test_the_embedded_database_is_started_again(settings: Settings) -> None:
    """Where no PostgreSQL of somebody else's is configured nobody else would."""
    with data_folder() as folder:
        async with embedded_server(settings.model_copy(update={"data_dir": folder})) as server:
            kill_server(folder)
            async with asyncio.timeout(60):
                while not await asyncio.to_thread(_answers, server.url("postgres")):
                    await asyncio.sleep(0.05)
        assert not await asyncio.to_thread(_answers, server.url("postgres"))


def _answers(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


@pytest.mark.parametrize("deadly", [0, 1])
async def test_a_delivery_that_kills_its_workers_takes_no_other_with_it(
    world: World, runtime: Runtime, clock: Clock, application: FastAPI, deadly: int
) -> None:
    """Those of a batch were all given up where one of them had killed the worker often enough."""
    driver = JiraDriver(world)
    keys = [driver.add(), driver.add()]
    await driver.connect(webhook_secret=SECRET)
    await driver.sync("full")
    async with doors(application, world):
        for key in keys:
            driver.label(key, "later")
            await driver.tracker.webhook_sender.idle()
        oldest = sorted(
            one["id"]
            for one in await listed(world, "/deliveries", source="jira")
            if one["state"] == "received"
        )
        for _ in range(MOST_ATTEMPTS):
            await _until_it_dies(runtime, clock, oldest[deadly])
        clock.advance(seconds=LEASE.total_seconds() + 1)
        await process_everything(world)
        states = {one["id"]: one["state"] for one in await listed(world, "/deliveries", source="jira")}
    assert [states[id] for id in oldest] == (["failed", "done"] if deadly == 0 else ["done", "failed"])


async def _until_it_dies(runtime: Runtime, clock: Clock, deadly: int) -> None:
    """A worker that does its batches one after the other, and dies over the one with that delivery."""
    while True:
        async with runtime.sessions.begin() as session:
            batch = [one.id for one in await claim_deliveries(session, 1, "who dies", runtime.clock)]
            assert batch
            if deadly not in batch:
                await end_deliveries(session, "who dies", batch, "done", clock.now)
                continue
        clock.advance(seconds=LEASE.total_seconds() + 1)
        return
