"""The timetable: its moments, one run for each, and what is made up for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import given, strategies as st
from sqlalchemy import func, select, text, update
from structlog.testing import capture_logs

from app.jobs.schedule import due_moment, next_moment
from app.jobs.scheduler import REREAD_SECONDS, ScheduleEntry, Scheduler, open_scheduled_run, read_entries
from app.runtime import Runtime
from mappings.tables import RunRow, ScheduleTickRow, SourceRow
from tests.support.clock import Clock
from tests.support.locks import holding
from tests.support.runs import modes_and_states
from tests.support.world import OFF, World

pytestmark = pytest.mark.database

SUNDAY = datetime(2026, 11, 22, 12, 7, 30, tzinfo=UTC)


def at(words: str) -> datetime:
    return datetime.fromisoformat(f"{words}+00:00")


# --- moments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "after", "expected"),
    [
        ("PT15M", "2026-11-22T12:07:30", "2026-11-22T12:15:00"),
        ("PT15M", "2026-11-22T12:15:00", "2026-11-22T12:30:00"),
        ("PT15M", "2026-11-22T12:14:59.999999", "2026-11-22T12:15:00"),
        ("PT1S", "2026-11-22T12:07:30", "2026-11-22T12:07:31"),
        ("PT1S", "2026-11-22T12:07:30.000001", "2026-11-22T12:07:31"),
        ("PT24H", "2026-11-22T12:07:30", "2026-11-23T00:00:00"),
        ("P1D", "2026-11-22T12:07:30", "2026-11-23T00:00:00"),
        ("P1DT12H", "1970-01-01T00:00:00", "1970-01-02T12:00:00"),
        ("P1W", "1970-01-01T00:00:00", "1970-01-08T00:00:00"),
        # Seven hours do not go into a day: 1970-01-01 is where they are counted from.
        ("PT7H", "1970-01-01T00:00:00", "1970-01-01T07:00:00"),
        ("PT7H", "2026-11-22T12:07:30", "2026-11-22T19:00:00"),
        ("0 3 * * *", "2026-11-22T03:00:00", "2026-11-23T03:00:00"),
        ("*/20 * * * *", "2026-11-22T12:07:30", "2026-11-22T12:20:00"),
        # The night in which Europe's clocks go back: UTC has no such night.
        ("30 1 * * *", "2026-10-25T01:30:00", "2026-10-26T01:30:00"),
        ("0 0 29 2 *", "2026-11-22T12:00:00", "2028-02-29T00:00:00"),
        # As cron has it: 0 and 7 are Sunday, names are taken, and a week may end with one.
        ("0 3 * * 0", "2026-11-22T12:07:30", "2026-11-29T03:00:00"),
        ("0 3 * * 7", "2026-11-22T12:07:30", "2026-11-29T03:00:00"),
        ("0 3 * * 1", "2026-11-22T12:07:30", "2026-11-23T03:00:00"),
        ("0 3 * * 1-5", "2026-11-20T12:00:00", "2026-11-23T03:00:00"),
        ("0 3 * * Sat-Sun", "2026-11-22T12:07:30", "2026-11-28T03:00:00"),
        ("0 3 * * */2", "2026-11-22T12:07:30", "2026-11-24T03:00:00"),
        ("0 3 * * 1-5/2", "2026-11-23T12:00:00", "2026-11-25T03:00:00"),
        ("0 3 * * mon,thu", "2026-11-23T12:00:00", "2026-11-26T03:00:00"),
        # Day and weekday both given: either will do. With a star: both must fit.
        ("0 3 1 * 5", "2026-11-22T12:07:30", "2026-11-27T03:00:00"),
        ("0 3 1 * 5", "2026-11-27T12:00:00", "2026-12-01T03:00:00"),
        ("0 3 */10 * 2", "2026-11-22T12:07:30", "2026-12-01T03:00:00"),
    ],
)
def test_the_next_moment(line: str, after: str, expected: str) -> None:
    assert next_moment(line, at(after)) == at(expected)


@pytest.mark.parametrize("line", ["0 0 30 2 *", "0 0 31 4,6,9,11 *"])
def test_a_day_that_never_comes(line: str) -> None:
    assert next_moment(line, SUNDAY) is None
    assert due_moment(line, SUNDAY - timedelta(days=400), SUNDAY) is None


@pytest.mark.parametrize(
    ("line", "since", "now", "expected"),
    [
        ("PT15M", "2026-11-22T12:00:00", "2026-11-22T12:07:30", "2026-11-22T12:15:00"),
        # A little late: each moment by itself, so that a slow second skips none.
        ("PT1S", "2026-11-22T12:00:00", "2026-11-22T12:00:08.5", "2026-11-22T12:00:01"),
        ("PT15M", "2026-11-22T12:00:00", "2026-11-22T12:15:09", "2026-11-22T12:15:00"),
        # Missed: the latest stands for all of them.
        ("PT15M", "2026-11-22T12:00:00", "2026-11-22T15:07:30", "2026-11-22T15:00:00"),
        ("PT15M", "2026-11-22T12:00:00", "2026-11-22T15:00:00", "2026-11-22T15:00:00"),
        ("PT1S", "2025-11-22T12:00:00", "2026-11-22T12:07:30.5", "2026-11-22T12:07:30"),
        ("PT1S", "2026-11-22T12:00:00", "2026-11-22T12:07:30", "2026-11-22T12:07:30"),
        ("0 3 * * *", "2026-11-22T03:00:00", "2026-11-23T08:00:00", "2026-11-23T03:00:00"),
        ("0 3 * * *", "2026-11-10T03:00:00", "2026-11-23T08:00:00", "2026-11-23T03:00:00"),
        ("* * * * *", "2024-11-10T03:00:00", "2026-11-23T08:00:30", "2026-11-23T08:00:00"),
        ("0 3 * * *", "2026-11-22T03:00:00", "2026-11-22T08:00:00", "2026-11-23T03:00:00"),
    ],
)
def test_the_moment_to_act_on(line: str, since: str, now: str, expected: str) -> None:
    assert due_moment(line, at(since), at(now)) == at(expected)


@given(
    seconds=st.integers(1, 200_000),
    since=st.datetimes(datetime(2026, 1, 1), datetime(2026, 6, 1)),
    lag=st.timedeltas(timedelta(0), timedelta(days=3)),
)
def test_moments_of_an_interval_are_multiples_and_the_latest_is_found(
    seconds: int, since: datetime, lag: timedelta
) -> None:
    since = since.replace(tzinfo=UTC)
    line, span, now = f"PT{seconds}S", timedelta(seconds=seconds), since + lag
    following = next_moment(line, since)
    assert following is not None
    assert following.timestamp() % seconds == 0
    assert since < following <= since + span
    due = due_moment(line, since, now)
    assert due is not None
    if following < now - timedelta(seconds=10):
        assert now - span < due <= now
        assert due.timestamp() % seconds == 0
    else:
        assert due == following


REFUSED = [
    ({"every": "PT0S"}, "at least PT1S"),
    ({"every": "PT0.5S"}, "ISO 8601"),
    ({"every": "P0D"}, "at least PT1S"),
    ({"every": "P367D"}, "longer than 366 days"),
    ({"every": "P366DT1S"}, "longer than 366 days"),
    ({"every": "P1M"}, "no fixed length"),
    ({"every": "0 3 * * *"}, "ISO 8601"),
    ({"full": "PT24H"}, "duration"),
    ({"full": "0 3 * *"}, "five parts"),
    ({"full": "0 3 * * 8"}, "0 to 7"),
    ({"full": "0 3 * * fri-mon"}, "ends before"),
    ({"full": "0 3 * * someday"}, "sun to sat"),
    ({"full": "0 25 * * *"}, "25"),
    ({"full": "0 0 30 2 *"}, "never comes"),
    ({"full": "0,0 " * 60 + "* * *"}, "five parts"),
]


async def test_a_schedule_that_means_nothing_is_refused(world: World) -> None:
    before = await world.connect_jira()
    for schedule, reported in REFUSED:
        refused = await world.refused("PATCH", "/sources/jira", {"schedule": schedule})
        assert list(refused) == [f"schedule.{name}" for name in schedule], schedule
        assert reported in "".join(refused.values()), (schedule, refused)
    assert (await world.send("GET", "/sources/jira"))["schedule"] == before["schedule"]


# --- a tick -------------------------------------------------------------------------------------

HOURLY = {"every": "PT1H"}


@pytest.fixture
def clock() -> Clock:
    return Clock(SUNDAY)


@pytest.fixture
async def hourly(world: World, runtime: Runtime, clock: Clock) -> ScheduleEntry:
    """An hourly source, connected at 12:07:30, whose first run is done."""
    world.site.create("SHOP", "One-page checkout")
    await world.connect_jira(schedule=HOURLY, notices=OFF)
    await world.drain()
    (entry,) = await entries(runtime)
    return entry


async def entries(runtime: Runtime) -> dict[ScheduleEntry, datetime]:
    async with runtime.sessions() as session:
        return await read_entries(session)


async def due_times(runtime: Runtime) -> list[datetime]:
    async with runtime.sessions() as session:
        rows = await session.scalars(
            select(RunRow.due_at).where(RunRow.mode == "incremental").order_by(RunRow.id)
        )
        return list(rows)


async def test_any_number_of_replicas_makes_one_run_of_a_tick(
    world: World, runtime: Runtime, clock: Clock, hourly: ScheduleEntry
) -> None:
    for hour in (13, 14, 15):
        clock.now = SUNDAY.replace(hour=hour, minute=0)
        moment = SUNDAY.replace(hour=hour, minute=0, second=0)
        opened = await asyncio.gather(*(open_scheduled_run(runtime, hourly, moment) for _ in range(8)))
        assert len([run for run in opened if run is not None]) == 1
        await world.drain()
        # One that was slow finds the run already done.
        assert await open_scheduled_run(runtime, hourly, moment) is None
    assert await modes_and_states(world) == [("full", "succeeded")] + 3 * [("incremental", "succeeded")]
    assert await due_times(runtime) == [SUNDAY.replace(hour=h, minute=0, second=0) for h in (13, 14, 15)]


async def test_a_tick_joins_the_run_that_is_queued(
    world: World, runtime: Runtime, hourly: ScheduleEntry
) -> None:
    run = await world.send("POST", "/sources/jira/sync")
    assert await open_scheduled_run(runtime, hourly, SUNDAY + timedelta(hours=1)) == run["id"]
    assert await open_scheduled_run(runtime, hourly, SUNDAY + timedelta(hours=1)) is None


async def test_the_full_sync_has_ticks_of_its_own(
    world: World, runtime: Runtime, clock: Clock, hourly: ScheduleEntry
) -> None:
    await world.send("PATCH", "/sources/jira", {"schedule": {"full": "0 3 * * *"}})
    clock.now = at("2026-11-23T03:00:01")
    moment = at("2026-11-23T03:00:00")
    for entry in await entries(runtime):
        assert await open_scheduled_run(runtime, entry, moment) is not None
        await world.drain()
    assert sorted(await modes_and_states(world)) == [
        ("full", "succeeded"),
        ("full", "succeeded"),
        ("incremental", "succeeded"),
    ]


@pytest.mark.parametrize(
    ("change", "moment", "opens"),
    [
        ({"schedule": {"every": "PT2H"}}, "13:00:00", False),
        ({"schedule": {"every": None}}, "13:00:00", False),
        ({"scope": {"projects": None}}, "13:00:00", True),
        # Before the last change there was, for all we know, nothing to do.
        ({"notices": {"per_run": 3}}, "12:00:00", False),
        (None, "13:00:00", False),
    ],
)
async def test_a_source_changed_or_gone_meanwhile(
    world: World, runtime: Runtime, hourly: ScheduleEntry, change: Any, moment: str, opens: bool
) -> None:
    if change is None:
        await world.send("DELETE", "/sources/jira")
    else:
        await world.send("PATCH", "/sources/jira", change)
        await world.drain()
    opened = await open_scheduled_run(runtime, hourly, at(f"2026-11-22T{moment}"))
    assert (opened is not None) == opens


async def test_a_tick_and_the_removal_of_its_source_do_not_wait_for_each_other(
    world: World, runtime: Runtime, hourly: ScheduleEntry, database_url: str
) -> None:
    assert await open_scheduled_run(runtime, hourly, at("2026-11-22T13:00:00")) is not None
    async with holding(database_url) as holder:
        await holder.hold("SELECT id FROM sources FOR UPDATE")
        ticks = [
            asyncio.create_task(open_scheduled_run(runtime, hourly, at("2026-11-22T14:00:00")))
            for _ in range(2)
        ]
        await holder.until_waiting(2)
        await holder.hold("DELETE FROM sources")
        await holder.let_go()
        assert await asyncio.gather(*ticks) == [None, None]


# --- reading the schedules ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ticked_at", "changed_at", "now", "planned"),
    [
        (None, "12:07:30", "12:08:00", "13:00:00"),
        ("13:00:00", "12:07:30", "13:05:00", "14:00:00"),
        # All replicas were down: the latest is made up for, once.
        (None, "12:07:30", "16:20:00", "16:00:00"),
        ("13:00:00", "12:07:30", "16:20:00", "16:00:00"),
        # But never from before a change.
        ("13:00:00", "16:10:00", "16:20:00", "17:00:00"),
        ("13:00:00", "15:10:00", "16:20:00", "16:00:00"),
    ],
)
async def test_what_a_replica_that_starts_plans(
    runtime: Runtime,
    clock: Clock,
    hourly: ScheduleEntry,
    ticked_at: str | None,
    changed_at: str,
    now: str,
    planned: str,
) -> None:
    async with runtime.sessions.begin() as session:
        await session.execute(update(SourceRow).values(updated_at=at(f"2026-11-22T{changed_at}")))
        if ticked_at is not None:
            session.add(
                ScheduleTickRow(
                    source_id=hourly.source_id, mode="incremental", at=at(f"2026-11-22T{ticked_at}")
                )
            )
    clock.now = at(f"2026-11-22T{now}")
    timetable = Scheduler(runtime)
    await timetable.read()
    assert timetable.planned == {hourly: at(f"2026-11-22T{planned}")}


async def test_schedules_that_change_are_planned_anew(
    world: World, runtime: Runtime, clock: Clock, hourly: ScheduleEntry
) -> None:
    timetable = Scheduler(runtime)
    await timetable.read()
    await timetable.read()
    assert timetable.planned == {hourly: at("2026-11-22T13:00:00")}
    await world.send("PATCH", "/sources/jira", {"schedule": {"every": "PT15M", "full": "0 3 * * 1"}})
    await timetable.read()
    assert {(entry.mode, entry.line): moment for entry, moment in timetable.planned.items()} == {
        ("incremental", "PT15M"): at("2026-11-22T12:15:00"),
        ("full", "0 3 * * 1"): at("2026-11-23T03:00:00"),
    }
    await world.send("PATCH", "/sources/jira", {"schedule": {"every": None, "full": None}})
    await timetable.read()
    assert timetable.planned == {}


async def test_a_tick_that_was_lost_is_found_again(
    runtime: Runtime, clock: Clock, hourly: ScheduleEntry
) -> None:
    """Its transaction failed here, and no other replica did it."""
    timetable = Scheduler(runtime)
    await timetable.read()
    timetable.planned[hourly] = at("2026-11-22T14:00:00")  # as after the failure
    clock.now = at("2026-11-22T13:00:20")
    await timetable.read()
    assert timetable.planned == {hourly: at("2026-11-22T13:00:00")}


@pytest.fixture
async def reported(database_url: str) -> Any:
    """A function that counts what replicas have been told since it was last called."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("LISTEN northing_sources")

        async def count() -> int:
            # Notifications come in the order of their commits, so what comes before our own is all.
            await connection.execute("SELECT pg_notify('northing_sources', 'that is all')")
            heard = 0
            async with aclosing(connection.notifies(timeout=20)) as notifications:
                async for notification in notifications:
                    if notification.payload == "that is all":
                        return heard
                    heard += 1
            raise AssertionError("our own notification never came")

        yield count


async def test_every_change_of_a_source_is_told_once_it_is_committed(
    world: World, runtime: Runtime, reported: Callable[[], Awaitable[int]]
) -> None:
    await world.connect_jira()
    assert await reported() == 1
    await world.send("PATCH", "/sources/jira", {"schedule": HOURLY})
    assert await reported() == 1
    await world.refused("PATCH", "/sources/jira", {"schedule": {"every": "soon"}})
    assert await reported() == 0
    await world.send("DELETE", "/sources/jira")
    assert await reported() == 1


async def test_a_timetable_given_later_starts_the_first_run(world: World) -> None:
    world.site.create("SHOP", "One-page checkout")
    await world.connect_jira(notices=OFF)
    answer = await world.api.patch("/api/v1/sources/jira", json={"schedule": HOURLY})
    assert await modes_and_states(world) == [("full", "queued")]
    (run,) = (await world.send("GET", "/runs"))["items"]
    assert answer.headers["Northing-Runs"] == str(run["id"])
    await world.drain()
    await world.send("PATCH", "/sources/jira", {"schedule": {"every": None}})
    await world.send("PATCH", "/sources/jira", {"schedule": HOURLY})
    assert await modes_and_states(world) == [("full", "succeeded")]


async def test_a_replica_that_is_told_reads_at_once(
    world: World, runtime: Runtime, hourly: ScheduleEntry
) -> None:
    """And not only when the half minute is over."""
    timetable = Scheduler(runtime)
    keeping = asyncio.create_task(timetable.keep())

    async def until(*lines: str) -> None:
        async with asyncio.timeout(REREAD_SECONDS / 2):
            while {entry.line for entry in timetable.planned} != set(lines):
                await asyncio.sleep(0.01)

    await until("PT1H")
    # Of these the first might still be seen by the one who only just begins to listen.
    await world.send("PATCH", "/sources/jira", {"schedule": {"full": "0 3 * * *"}})
    await until("PT1H", "0 3 * * *")
    await world.send("PATCH", "/sources/jira", {"schedule": {"every": "PT15M"}})
    await until("PT15M", "0 3 * * *")
    await world.send("DELETE", "/sources/jira")
    await until()
    keeping.cancel()
    await asyncio.wait({keeping})


# --- on the real clock --------------------------------------------------------------------------


@pytest.fixture
def on_time(runtime: Runtime, clock: Clock) -> Clock:
    """Time as the scheduler knows it."""
    clock.now = datetime.now(UTC)
    return clock


async def test_a_database_in_trouble_costs_a_tick_and_not_the_timetable(
    world: World, runtime: Runtime, on_time: Clock
) -> None:
    await world.connect_jira(schedule={"every": "PT1S"}, notices=OFF)

    async def until(true: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(30):
            while not await true():
                on_time.now = datetime.now(UTC)
                await asyncio.sleep(0.02)

    async def last_tick() -> datetime | None:
        async with runtime.sessions() as session:
            return await session.scalar(select(func.max(ScheduleTickRow.at)))

    async def one_has_failed() -> bool:
        return any(line["event"] == "tick failed" for line in lines)

    async def ticked() -> bool:
        return await last_tick() != before

    before = None
    with capture_logs() as lines:
        keeping = asyncio.create_task(Scheduler(runtime).keep())
        await until(ticked)
        async with runtime.sessions.begin() as session:
            await session.execute(text("ALTER TABLE schedule_ticks RENAME TO elsewhere"))
        await until(one_has_failed)
        async with runtime.sessions.begin() as session:
            await session.execute(text("ALTER TABLE elsewhere RENAME TO schedule_ticks"))
        before = await last_tick()
        await until(ticked)
    assert not keeping.done()
    keeping.cancel()
    await asyncio.wait({keeping})
    assert keeping.cancelled()
