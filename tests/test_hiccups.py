"""A tracker that fails for a moment costs seconds, and one that is away is asked about once a minute."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from fastapi import FastAPI

from app.jobs import sweep
from app.runtime import Runtime
from connectors.base import Unanswered, Unavailable
from connectors.sandbox import faults
from connectors.sandbox.faults import Action
from mappings import trouble
from mappings.ledger import AT_ONCE
from mappings.tables import Delivery, Notice, Run
from tests.conftest import Clock
from tests.heard import SECRET, doors, settle
from tests.sides import Side, side_of
from tests.synced import all_of, later
from tests.world import World

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


# --- how long, as words of rows ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lasted", "seconds"), [(-7200, 5), (0, 5), (4, 5), (12.5, 12.5), (60, 60), (61, 60), (10**7, 60)]
)
def test_where_nobody_names_a_time_the_wait_grows_with_the_trouble(lasted: float, seconds: float) -> None:
    assert Unavailable("Away.").rest(timedelta(seconds=lasted)) == timedelta(seconds=seconds)


@pytest.mark.parametrize("lasted", [0, 3600])
@pytest.mark.parametrize("named", [1.0, 60.0, 1800.0])
def test_a_time_that_was_named_stands(named: float, lasted: int) -> None:
    assert Unavailable("Limited.", named).rest(timedelta(seconds=lasted)) == timedelta(seconds=named)


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
    due = AT_ONCE if went_on is None else NOON + timedelta(seconds=went_on)
    since = NOON + timedelta(seconds=began)
    expected = timedelta(seconds=lasted)
    assert trouble.of_run(Run(started_at=since, due_at=due), NOON) == expected
    assert trouble.of_notice(Notice(updated_at=since, due_at=due), NOON) == expected
    assert trouble.of_deliveries([Delivery(received_at=since, due_at=due)], NOON) == expected


def test_of_several_deliveries_the_one_that_waits_longest_tells() -> None:
    def one(received: int, due: datetime) -> Delivery:
        return Delivery(received_at=NOON - timedelta(seconds=received), due_at=due)

    found = [one(0, AT_ONCE), one(30, NOON), one(20, NOON), one(9000, AT_ONCE)]
    assert trouble.of_deliveries(found, NOON) == timedelta(seconds=30)
    assert trouble.of_deliveries([], NOON) == timedelta(0)


# --- each kind of work ---------------------------------------------------------------------------


@pytest.fixture
async def side(
    request: pytest.FixtureRequest, world: World, applications: list[FastAPI]
) -> AsyncIterator[Side]:
    """A live source of either kind that hears of every change, and one live key result."""
    made = side_of(world, request.param)
    await world.goal("KR-1")
    await made.connect(webhook_secret=SECRET)
    await made.sync("full")
    async with doors(applications[0], world):
        made.tracker.log.clear()
        yield made


@dataclass(frozen=True)
class Work:
    """`begin` has it done as far as the tracker lets it; `waits` says until when it waits, None where it is
    done; `asks` is the request that fails."""

    begin: Callable[[Side], Awaitable[object]]
    waits: str
    asks: Callable[[Side], str]
    job: str


async def _sync(side: Side) -> None:
    await side.sync()


async def _add(side: Side) -> None:
    side.add("An epic without a key result")
    await settle(side.world)


WORK = {
    "run": Work(
        _sync,
        "SELECT due_at FROM runs WHERE state = 'waiting'",
        lambda side: "GET */myself" if side.kind == "jira" else "GET */user",
        "read",
    ),
    "webhooks": Work(
        _add,
        "SELECT min(due_at) FROM deliveries WHERE due_at IS NOT NULL",
        lambda side: side.reads,
        "take_deliveries",
    ),
    "comment": Work(
        _add, "SELECT due_at FROM notices WHERE due_at IS NOT NULL", lambda side: side.looks, "write_tickets"
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


@pytest.mark.parametrize("name", WORK)
async def test_one_hiccup_costs_seconds(
    side: Side, world: World, runtime: Runtime, clock: Clock, name: str
) -> None:
    work = WORK[name]
    for number, hiccup in enumerate(HICCUPS):
        fault = side.tracker.faults.add(work.asks(side), hiccup)
        await work.begin(side)
        waits = await until(runtime, work)
        assert fault.struck == 1
        assert waits is not None
        assert timedelta(seconds=5) <= waits - clock() <= timedelta(seconds=6), number
        await wakes_by_itself(runtime, work)
        await later(world, runtime, clock, seconds=4)
        assert await until(runtime, work) == waits
        await later(world, runtime, clock, seconds=2)
        await settle(world)
        assert await until(runtime, work) is None
        clock.advance(minutes=5)
    keys = [item["key"] for item in (await world.send("GET", f"/epics?source={side.kind}"))["items"]]
    assert [len(side.comments(key)) for key in keys] == [1] * (0 if name == "run" else len(HICCUPS))


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


@pytest.mark.parametrize("side", ["github"], indirect=True)
@pytest.mark.parametrize("name", WORK)
async def test_an_outage_is_asked_about_once_a_minute(
    side: Side, world: World, runtime: Runtime, clock: Clock, name: str
) -> None:
    work = WORK[name]
    side.tracker.faults.add(work.asks(side), faults.proxy_page(502), times=None)
    began = clock()
    await work.begin(side)
    asked = [clock()]
    while clock() - began < timedelta(minutes=30):
        waits = await until(runtime, work)
        assert waits is not None
        await later(world, runtime, clock, seconds=(waits - clock()).total_seconds())
        asked.append(clock())
        assert side.tracker.log.count(work.asks(side)) == len(asked)
    assert len(asked) <= 37
    gaps = [(after - before).total_seconds() for before, after in pairwise(asked)]
    assert gaps == sorted(gaps)
    assert 5 <= gaps[0] <= 6
    assert 60 <= gaps[-1] <= 61
    side.tracker.faults.clear()
    await later(world, runtime, clock, seconds=61)
    await settle(world)
    assert await until(runtime, work) is None


async def test_a_call_for_later_does_not_stand_for_one_at_once(runtime: Runtime) -> None:
    """Of calls for the same work the sweep leaves the newest, of those that are due."""
    async with runtime.sessions.begin() as session:
        await runtime.wake(session, "take_deliveries", source_id=7)
        await runtime.wake(session, "take_deliveries", source_id=7)
        await runtime.wake(session, "take_deliveries", after=timedelta(seconds=30), source_id=7)
        await runtime.wake(session, "take_deliveries", source_id=7)
    await sweep(runtime)
    left = await all_of(runtime, "SELECT scheduled_at IS NULL FROM procrastinate_jobs ORDER BY id")
    assert left == [(False,), (True,)]
