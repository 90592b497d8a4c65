"""A tracker that fails for a moment costs seconds, and one that is away is asked about once a minute."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from fastapi import FastAPI
from sqlalchemy import text

from app.jobs.queue import run_worker
from app.jobs.sweep import sweep
from app.runtime import Runtime
from connectors.base import Unanswered, Unavailable
from connectors.sandbox import faults
from connectors.sandbox.faults import Action
from mappings import backoff
from mappings.clock import DatabaseClock
from mappings.leases import ALWAYS_DUE
from mappings.tables import DeliveryRow, NoticeRow, RunRow
from tests.support.clock import Clock, later
from tests.support.queries import all_of
from tests.support.tracker_drivers import TrackerDriver, driver_of, on_either
from tests.support.webhook_deliveries import doors, process_everything
from tests.support.webhook_posts import SECRET
from tests.support.world import World

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


# --- how long, as words of rows ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lasted", "seconds"), [(-7200, 5), (0, 5), (4, 5), (12.5, 12.5), (60, 60), (61, 60), (10**7, 60)]
)
def test_where_nobody_names_a_time_the_wait_grows_with_the_trouble(lasted: float, seconds: float) -> None:
    assert Unavailable("Away.").retry_delay(timedelta(seconds=lasted)) == timedelta(seconds=seconds)


@pytest.mark.parametrize("lasted", [0, 3600])
@pytest.mark.parametrize("named", [1.0, 60.0, 1800.0])
def test_a_time_that_was_named_stands(named: float, lasted: int) -> None:
    assert Unavailable("Limited.", named).retry_delay(timedelta(seconds=lasted)) == timedelta(seconds=named)


def test_who_does_not_know_what_became_of_a_write_waits_a_minute() -> None:
    assert Unanswered("Lost.").retry_after == 60


@pytest.mark.parametrize(
    ("began", "went_on", "lasted"),
    [
        (-30, None, 0),  # it never waited
        (-7200, None, 0),
        (-7200, -61, 0),  # it waited once, and all was well since
        (-7200, -1, 7200),
        (-20, -5, 20),
        (-5, -20, 0),  # due before it began, and never put off
    ],
)
def test_trouble_goes_on_where_it_comes_back_soon_after_the_last_wait(
    began: float, went_on: float | None, lasted: float
) -> None:
    due = ALWAYS_DUE if went_on is None else NOON + timedelta(seconds=went_on)
    since = NOON + timedelta(seconds=began)
    expected = timedelta(seconds=lasted)
    assert backoff.run_failing_for(RunRow(started_at=since, due_at=due), NOON) == expected
    assert backoff.notice_failing_for(NoticeRow(updated_at=since, due_at=due), NOON) == expected
    assert backoff.deliveries_failing_for([DeliveryRow(received_at=since, due_at=due)], NOON) == expected


def test_of_several_deliveries_the_one_that_waits_longest_tells() -> None:
    def one(received: int, due: datetime) -> DeliveryRow:
        return DeliveryRow(received_at=NOON - timedelta(seconds=received), due_at=due)

    found = [one(0, ALWAYS_DUE), one(30, NOON), one(20, NOON), one(9000, ALWAYS_DUE)]
    assert backoff.deliveries_failing_for(found, NOON) == timedelta(seconds=30)
    assert backoff.deliveries_failing_for([], NOON) == timedelta(0)


# --- each kind of work ---------------------------------------------------------------------------


@pytest.fixture
async def driver(
    request: pytest.FixtureRequest, world: World, application: FastAPI
) -> AsyncIterator[TrackerDriver]:
    """A live source of either kind that hears of every change, and one live key result."""
    made = driver_of(world, request.param)
    await world.goal("KR-1")
    await made.connect(webhook_secret=SECRET)
    await made.sync("full")
    async with doors(application, world):
        made.tracker.log.clear()
        yield made


@dataclass(frozen=True)
class Work:
    """`begin` has it done as far as the tracker lets it; `waits` says until when it waits, None where it is
    done; `asks` is the request that fails."""

    begin: Callable[[TrackerDriver], Awaitable[object]]
    waits: str
    asks: Callable[[TrackerDriver], str]
    job: str


async def _sync(driver: TrackerDriver) -> None:
    await driver.sync()


async def _add(driver: TrackerDriver) -> None:
    driver.add("An epic without a key result")
    await process_everything(driver.world)


WORK = {
    "run": Work(
        _sync,
        "SELECT due_at FROM runs WHERE state = 'waiting'",
        lambda driver: "GET */myself" if driver.kind == "jira" else "GET */user",
        "read_source",
    ),
    "webhooks": Work(
        _add,
        "SELECT min(due_at) FROM deliveries WHERE due_at IS NOT NULL",
        lambda driver: driver.reads,
        "process_deliveries",
    ),
    "comment": Work(
        _add,
        "SELECT due_at FROM notices WHERE due_at IS NOT NULL",
        lambda driver: driver.looks,
        "write_tickets",
    ),
}
HICCUPS: list[Action] = [
    faults.answer(500, "<html>Oh no</html>"),
    faults.proxy_page(502),
    faults.truncate(),
    faults.drop(),
]


async def until(runtime: Runtime, work: Work) -> datetime | None:
    found = [row[0] for row in await all_of(runtime, work.waits) if row[0] is not None]
    assert len(found) <= 1
    return found[0] if found else None


@on_either("jira")
@pytest.mark.parametrize("name", WORK)
async def test_one_hiccup_costs_seconds(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock, name: str
) -> None:
    work = WORK[name]
    for number, hiccup in enumerate(HICCUPS):
        fault = driver.tracker.faults.add(work.asks(driver), hiccup)
        await work.begin(driver)
        waits = await until(runtime, work)
        assert fault.struck == 1
        assert waits is not None
        assert timedelta(seconds=5) <= waits - clock() <= timedelta(seconds=6), number
        await wakes_by_itself(runtime, work)
        await later(world, runtime, clock, seconds=4)
        assert await until(runtime, work) == waits
        await later(world, runtime, clock, seconds=2)
        await process_everything(world)
        assert await until(runtime, work) is None
        clock.advance(minutes=5)
    keys = [item["key"] for item in (await world.send("GET", f"/epics?source={driver.kind}"))["items"]]
    assert [len(driver.comments(key)) for key in keys] == [1] * (0 if name == "run" else len(HICCUPS))


async def wakes_by_itself(runtime: Runtime, work: Work) -> None:
    """Somebody is called when the wait is over, though no sweep may come just then."""
    called = await all_of(
        runtime,
        "SELECT task_name, extract(epoch FROM scheduled_at - now())::float FROM procrastinate_jobs"
        " WHERE status = 'todo' AND scheduled_at > now() ORDER BY id DESC LIMIT 1",
    )
    ((task, seconds),) = called
    assert task == work.job
    assert 0 < seconds <= 6


@pytest.mark.parametrize("driver", ["github"], indirect=True)
@pytest.mark.parametrize("name", WORK)
async def test_an_outage_is_asked_about_once_a_minute(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock, name: str
) -> None:
    work = WORK[name]
    driver.tracker.faults.add(work.asks(driver), faults.proxy_page(502), times=None)
    began = clock()
    await work.begin(driver)
    asked = [clock()]
    while clock() - began < timedelta(minutes=30):
        waits = await until(runtime, work)
        assert waits is not None
        await later(world, runtime, clock, seconds=(waits - clock()).total_seconds())
        asked.append(clock())
        assert driver.tracker.log.count(work.asks(driver)) == len(asked)
    assert len(asked) <= 37
    gaps = [(after - before).total_seconds() for before, after in pairwise(asked)]
    assert gaps == sorted(gaps)
    assert 5 <= gaps[0] <= 6
    assert 60 <= gaps[-1] <= 61
    driver.tracker.faults.clear()
    await later(world, runtime, clock, seconds=61)
    await process_everything(world)
    assert await until(runtime, work) is None


# --- a time that the tracker names ---------------------------------------------------------------


def _limited(seconds: int) -> Action:
    return faults.answer(429, headers={"retry-after": str(seconds)})


async def time_passes(runtime: Runtime, clock: Clock, seconds: float) -> None:
    """For the rows and for the queue, and no sweep comes."""
    clock.advance(seconds=seconds)
    async with runtime.sessions.begin() as session:
        passed = text("UPDATE procrastinate_jobs SET scheduled_at = scheduled_at - :span")
        await session.execute(passed, {"span": timedelta(seconds=seconds)})


@on_either("jira")
@pytest.mark.parametrize("name", WORK)
@pytest.mark.parametrize("seconds", [1, 3600])
async def test_a_named_pause_ends_at_its_moment_without_a_sweep(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock, name: str, seconds: int
) -> None:
    work = WORK[name]
    fault = driver.tracker.faults.add(work.asks(driver), _limited(seconds))
    await work.begin(driver)
    waits = await until(runtime, work)
    assert fault.struck == 1
    assert waits is not None
    assert timedelta(0) <= waits - clock() - timedelta(seconds=seconds) < timedelta(seconds=0.1)
    if seconds > 60:
        await time_passes(runtime, clock, 60)
        await process_everything(world)
        assert await until(runtime, work) == waits
    await time_passes(runtime, clock, (waits - clock()).total_seconds())
    await process_everything(world)
    assert await until(runtime, work) is None


@on_either("github")
@pytest.mark.parametrize("name", WORK)
async def test_a_worker_goes_on_after_a_named_second_without_a_sweep(
    driver: TrackerDriver, runtime: Runtime, name: str
) -> None:
    """On the real queue, at the real time."""
    work = WORK[name]
    driver.tracker.faults.add(work.asks(driver), _limited(1))
    await work.begin(driver)
    assert await until(runtime, work) is not None
    worker = asyncio.create_task(run_worker(replace(runtime, clock=DatabaseClock())))
    try:
        async with asyncio.timeout(20):
            while await until(runtime, work) is not None:
                await asyncio.sleep(0.05)
    finally:
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)


async def _pause_ended_by_a_person(driver: TrackerDriver, runtime: Runtime) -> None:
    world, token = driver.world, {"type": "token", "token": driver.world.host.bot.token}
    if driver.kind == "jira":
        token = {"type": "api_token", "email": world.site.bot.email, "token": world.site.bot.token}
    await world.send("PATCH", f"/sources/{driver.kind}", {"credentials": token})
    await sweep(runtime)
    await process_everything(world)


@on_either("jira")
@pytest.mark.parametrize("name", WORK)
async def test_a_named_hour_leaves_one_job_and_ends_early_without_harm(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock, name: str
) -> None:
    """However many tickets and webhooks come meanwhile, and however often somebody tries."""
    work = WORK[name]
    driver.tracker.faults.add(work.asks(driver), _limited(3600), times=None)
    for _ in range(5):
        for _ in range(2):
            driver.add("An epic without a key result")
        await work.begin(driver)
        clock.advance(minutes=1)
        await _pause_ended_by_a_person(driver, runtime)
    assert driver.tracker.log.count(work.asks(driver)) >= 5
    later_jobs = "SELECT task_name, count(*) FROM procrastinate_jobs WHERE scheduled_at > now() GROUP BY 1"
    counts = dict(await all_of(runtime, later_jobs))
    assert work.job in counts
    assert set(counts.values()) == {1}
    driver.tracker.faults.clear()
    await _pause_ended_by_a_person(driver, runtime)
    keys = [item["key"] for item in (await world.send("GET", f"/epics?source={driver.kind}"))["items"]]
    comments = [len(driver.comments(key)) for key in keys]
    assert comments == [1] * (10 if name == "run" else 15)
    asked = driver.tracker.log.count("*")
    await time_passes(runtime, clock, 7200)
    await process_everything(world)
    assert driver.tracker.log.count("*") == asked
    assert await all_of(runtime, later_jobs) == []


async def test_a_call_for_later_does_not_stand_for_one_at_once(runtime: Runtime) -> None:
    """Of calls for the same work the sweep leaves the newest, of those that are due."""
    async with runtime.sessions.begin() as session:
        await runtime.wake(session, "process_deliveries", source_id=7)
        await runtime.wake(session, "process_deliveries", source_id=7)
        await runtime.wake(
            session, "process_deliveries", at=datetime.now(UTC) + timedelta(seconds=30), source_id=7
        )
        await runtime.wake(session, "process_deliveries", source_id=7)
    await sweep(runtime)
    left = await all_of(runtime, "SELECT scheduled_at IS NULL FROM procrastinate_jobs ORDER BY id")
    assert left == [(False,), (True,)]
