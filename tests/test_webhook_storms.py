"""What a storm of webhooks costs: fetches, runs and comments; and that one alone does not wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from app.runtime import Runtime
from app.webhooks.processor import process_deliveries
from mappings.leases import LEASE
from mappings.tables import DeliveryRow
from mappings.webhooks.queue import BURST_WINDOW, left_of_burst
from tests.support.clock import Clock
from tests.support.lists import listed
from tests.support.queries import all_of, only_source
from tests.support.tracker_drivers import TrackerDriver, both, driver_of
from tests.support.webhook_deliveries import doors, process_everything
from tests.support.webhook_posts import SECRET, connect, post
from tests.support.world import World

WAKE_UPS = "SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'process_deliveries'"


@pytest.fixture
async def driver(
    request: pytest.FixtureRequest, world: World, application: FastAPI
) -> AsyncIterator[TrackerDriver]:
    """A live source of either kind that hears of every change, one live key result, three warned epics."""
    made = driver_of(world, request.param)
    await world.goal("KR-1", "Checkout conversion")
    await made.connect(webhook_secret=SECRET)
    for number in range(3):
        made.add(f"Checkout in {number} steps")
    await made.sync("full")
    async with doors(application, world):
        made.tracker.log.clear()
        yield made


def _deliveries(clock: Clock, *ages: timedelta) -> list[DeliveryRow]:
    """Claimed now, received so long ago."""
    until = clock.now + LEASE
    return [DeliveryRow(received_at=clock.now - age, claimed_until=until) for age in ages]


def test_the_window_opens_only_when_a_second_one_comes(clock: Clock) -> None:
    young, old = timedelta(milliseconds=30), timedelta(seconds=1)
    assert left_of_burst(_deliveries(clock, young), follows=False) == timedelta()
    assert left_of_burst(_deliveries(clock, young, timedelta()), follows=False) == BURST_WINDOW - young
    assert left_of_burst(_deliveries(clock, young), follows=True) == BURST_WINDOW - young
    assert left_of_burst(_deliveries(clock, old, timedelta()), follows=True) == timedelta()


def test_the_window_is_never_longer_where_a_clock_was_put_back(clock: Clock) -> None:
    """The database may be a copy on another machine by now, which is behind the one that stored them."""
    ahead = timedelta(hours=-1)
    assert left_of_burst(_deliveries(clock, ahead, ahead), follows=False) == BURST_WINDOW


async def test_a_burst_wakes_a_worker_once_and_at_once(world: World, runtime: Runtime) -> None:
    await connect(world)
    await post(world, x_github_delivery="the source is known from now on", x_github_event="ping")
    before = await all_of(runtime, WAKE_UPS)
    await asyncio.gather(*(post(world, x_github_delivery=f"{number}") for number in range(20)))
    await world.drain()
    assert before == [(0,)]
    states = [one["state"] for one in await listed(world, "/deliveries", source="github")]
    assert "received" not in states


@both
async def test_what_comes_while_one_is_under_way_is_one_more_batch(
    driver: TrackerDriver, world: World, runtime: Runtime
) -> None:
    """Thirty edits of three tickets: one fetch for the first, one of each ticket for all that follow."""
    source_id = (await only_source(runtime)).id
    keys = sorted(await world.keys(driver.kind))
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def hold(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        reached.set()
        await go_on.wait()
        await app(scope, receive, send)

    driver.tracker.faults.add(driver.reads, hold)
    driver.describe(keys[0], "The first")
    await driver.tracker.webhook_sender.idle()
    first = asyncio.create_task(process_deliveries(runtime, source_id))
    await asyncio.wait_for(reached.wait(), 20)
    for number in range(30):
        driver.describe(keys[number % 3], f"Version {number}\n\nKey-Result: KR-1")
    await driver.tracker.webhook_sender.idle()
    go_on.set()
    await first
    # A bulk of Jira's is one request, GitHub has one for each ticket.
    assert driver.tracker.log.count(driver.reads) == (2 if driver.kind == "jira" else 4)
    runs = [run for run in await listed(world, "/runs", source=driver.kind) if run["mode"] == "evaluate"]
    assert len(runs) == 1, "what is found meanwhile joins the run that is queued"
    await process_everything(world)
    assert [len(driver.comments(key)) for key in keys] == [1, 1, 1]
    shown = await world.send("GET", f"/runs/{runs[0]['id']}")
    assert shown["writes"]["resolved"] == 3
