"""The day's cap: new comments beyond `per_day` are held and come due by themselves, the oldest first."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st
from sqlalchemy import select

from app import pipeline
from app.jobs.sweep import sweep
from app.runtime import Runtime
from connectors.sandbox import faults
from mappings.locks import LOCK_SOURCE_NOTICES
from mappings.notices import daily_cap
from mappings.runs.queue import open_run
from mappings.tables import EpicRow, SourceRow
from tests.support.clock import Clock, later
from tests.support.locks import holding
from tests.support.runs import all_runs
from tests.support.tracker_drivers import KINDS, JiraDriver, TrackerDriver, driver_of
from tests.support.world import World

pytestmark = pytest.mark.database

MONDAY = datetime(2026, 11, 16, 12, tzinfo=UTC)
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)


def _hours(*hours: float) -> list[datetime]:
    return [MONDAY + timedelta(hours=hour) for hour in hours]


# --- the moments ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spent", "allowed", "following"),
    [
        ([], 2, _hours(0, 0, 24, 24, 48)),
        (_hours(-3), 2, _hours(0, 21, 24, 45)),
        (_hours(-1, -3), 2, _hours(21, 23, 45, 47)),
        (_hours(-3, -2, -1), 2, _hours(22, 23)),  # more than are allowed by now
        (_hours(-24), 1, _hours(0, 24)),  # just over
        (_hours(-23.99), 1, _hours(0.01, 24.01)),
        (_hours(-1), 0, _hours(24, 24)),
    ],
)
def test_slots(spent: list[datetime], allowed: int, following: list[datetime]) -> None:
    slots = daily_cap.daily_slots(spent, allowed, MONDAY)
    assert [next(slots) for _ in following] == following


@given(
    st.lists(st.integers(-100_000, 0), max_size=30),
    st.integers(1, 12),
    st.integers(1, 40),
)
def test_no_24_hours_have_more_than_are_allowed(spent: list[int], allowed: int, asked: int) -> None:
    before = [MONDAY + timedelta(seconds=second) for second in spent]
    slots = daily_cap.daily_slots(before, allowed, MONDAY)
    made = [next(slots) for _ in range(asked)]
    assert made == sorted(made)
    for moment in made:
        within = [other for other in (*before, *made) if moment - DAY < other <= moment]
        assert len(within) <= allowed
    # Nobody waits while a slot is free.
    for number, moment in enumerate(made):
        if moment > MONDAY:
            earlier = [*before, *made[:number]]
            just_before = moment - timedelta(microseconds=1)
            assert sum(just_before - DAY < other for other in earlier) >= allowed


# --- on the tickets -------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def monday(clock: Clock) -> None:
    clock.now = MONDAY


async def _capped(world: World, per_day: int, kind: str = "jira", mode: str = "live") -> TrackerDriver:
    driver = driver_of(world, kind)
    await world.goal("KR-1" if kind == "jira" else "KR-2", "Checkout conversion")
    await driver.connect(mode=mode)
    await world.send("PATCH", f"/sources/{kind}", {"notices": {"per_day": per_day}})
    return driver


def _posted(driver: TrackerDriver, keys: list[str]) -> list[int]:
    return [len(driver.comments(key)) for key in keys]


async def test_thirty_shadow_notices_go_live(world: World, runtime: Runtime, clock: Clock) -> None:
    """25 a day is the default."""
    driver = JiraDriver(world)
    keys = [driver.add(f"Epic {number}") for number in range(30)]
    await driver.connect(mode="shadow")
    await driver.sync()
    await driver.set_mode("live")
    assert _posted(driver, keys) == [1] * 25 + [0] * 5
    run = (await world.send("GET", "/runs"))["items"][0]
    assert (run["mode"], run["writes"]["posted"], run["writes"]["held"]) == ("evaluate", 25, 5)
    assert run["writes"]["pending"] == 0
    held = await driver.notice(keys[25])
    assert (held["state"], held["reason"], held["pending"], held["run"]) == ("held", "cap", False, run["id"])
    assert held["detail"] == (
        "25 new comments in 24 hours are allowed; this one comes due at 2026-11-17 12:00 UTC."
    )
    assert "Which key result does this epic serve?" in held["body"]
    before = await all_runs(world)
    for _ in range(10):
        await later(world, runtime, clock, hours=2.39)
    assert (_posted(driver, keys)[25:], await all_runs(world)) == ([0] * 5, before)
    clock.now = MONDAY + DAY
    await later(world, runtime, clock)
    assert _posted(driver, keys) == [1] * 30
    *earlier, (_, *newest) = await all_runs(world)
    assert (earlier, newest) == (before, ["evaluate", "succeeded"])


@pytest.mark.parametrize("kind", KINDS)
async def test_the_oldest_go_first_whatever_is_evaluated_meanwhile(
    world: World, runtime: Runtime, clock: Clock, kind: str
) -> None:
    driver = await _capped(world, 1, kind)
    keys = [driver.add(f"Epic {number}") for number in range(4)]
    run = await driver.sync()
    assert (run["writes"]["posted"], run["writes"]["held"]) == (1, 3)
    clock.advance(hours=1)
    # One in the middle changes, and one is new.
    driver.label(keys[2], "growth")
    keys.append(driver.add("New"))
    await driver.sync()
    due = [(await driver.notice(key))["detail"].split(" at ")[1] for key in keys[1:]]
    assert due == [f"2026-11-{day} 12:00 UTC." for day in (17, 18, 19, 20)]
    for days in range(1, 5):
        clock.now = MONDAY + timedelta(days=days) - SECOND
        await later(world, runtime, clock)
        assert _posted(driver, keys) == [1] * days + [0] * (5 - days)
        await later(world, runtime, clock, seconds=1)
        assert _posted(driver, keys) == [1] * (days + 1) + [0] * (4 - days)


async def test_edits_and_resolutions_are_never_capped(world: World, clock: Clock) -> None:
    driver = await _capped(world, 2)
    edited, resolved, held = driver.add(), driver.add(), driver.add()
    await driver.sync()
    clock.advance(minutes=1)
    driver.describe(edited, "Key-Result: KR-99")
    driver.describe(resolved, "Key-Result: KR-1")
    run = await driver.sync()
    assert (run["writes"]["edited"], run["writes"]["resolved"]) == (1, 1)
    assert "KR-99" in driver.comments(edited)[0]
    assert "Aligned with KR-1" in driver.comments(resolved)[0]
    assert driver.comments(held) == []


async def test_each_source_has_its_own(world: World) -> None:
    drivers = [await _capped(world, 1, kind) for kind in KINDS]
    keys = [[driver.add(), driver.add()] for driver in drivers]
    for driver in drivers:
        await driver.sync()
    assert [_posted(driver, own) for driver, own in zip(drivers, keys, strict=True)] == [[1, 0], [1, 0]]


async def test_a_gap_closed_meanwhile_ends_the_waiting(world: World, runtime: Runtime, clock: Clock) -> None:
    driver = await _capped(world, 1)
    _, closed, other = keys = [driver.add() for _ in range(3)]
    await driver.sync()
    clock.advance(hours=1)
    driver.describe(closed, "Key-Result: KR-1")
    await driver.sync()
    assert await driver.notice(closed) is None
    # The one behind it moves up.
    detail = (await driver.notice(other))["detail"]
    assert detail == "1 new comment in 24 hours is allowed; this one comes due at 2026-11-17 12:00 UTC."
    clock.now = MONDAY + DAY
    await later(world, runtime, clock)
    assert _posted(driver, keys) == [1, 0, 1]


async def test_a_slot_given_back_goes_to_who_waits(world: World, runtime: Runtime, clock: Clock) -> None:
    driver = await _capped(world, 1)
    first, second = driver.add(), driver.add()
    driver.tracker.faults.add(driver.reads, faults.first(lambda: driver.describe(first, "Key-Result: KR-1")))
    await driver.sync()
    assert _posted(driver, [first, second]) == [0, 0]
    newest = driver.add()
    await driver.sync()
    assert (await driver.notice(newest))["reason"] == "cap"
    await later(world, runtime, clock)
    assert _posted(driver, [first, second, newest]) == [0, 1, 0]
    before = await all_runs(world)
    for _ in range(2):
        await later(world, runtime, clock)
    assert await all_runs(world) == before


async def test_a_lost_answer_has_its_slot(world: World, runtime: Runtime, clock: Clock) -> None:
    driver = await _capped(world, 1)
    lost = driver.add()
    driver.tracker.faults.add(driver.creates, faults.lose_answer())
    await driver.sync()
    other = driver.add()
    await driver.sync()
    assert ((await driver.notice(lost))["state"], (await driver.notice(other))["reason"]) == ("due", "cap")
    driver.label(lost, "growth")  # evaluated again before it was looked for
    await driver.sync()
    await later(world, runtime, clock, seconds=61)
    assert _posted(driver, [lost, other]) == [1, 0]
    assert driver.tracker.log.count(driver.creates) == 1


async def test_none_are_allowed(world: World, runtime: Runtime, clock: Clock) -> None:
    driver = await _capped(world, 0)
    keys = [driver.add(), driver.add()]
    await driver.sync()
    detail = (await driver.notice(keys[0]))["detail"]
    assert detail == "The source allows no new comments: its per_day is 0."
    before = await all_runs(world)
    for _ in range(2):
        await later(world, runtime, clock)
    await later(world, runtime, clock, hours=23.99)
    assert await all_runs(world) == before
    await later(world, runtime, clock, hours=0.01)
    *earlier, (_, *newest) = await all_runs(world)
    assert (earlier, newest) == (before, ["evaluate", "succeeded"])
    assert _posted(driver, keys) == [0, 0]
    await world.send("PATCH", "/sources/jira", {"notices": {"per_day": 5}})
    await world.drain()
    assert _posted(driver, keys) == [1, 1]


@pytest.mark.parametrize(("mode", "state"), [("shadow", "shadow"), ("off", "held")])
async def test_held_by_the_cap_and_no_longer_live(
    world: World, runtime: Runtime, clock: Clock, mode: str, state: str
) -> None:
    driver = await _capped(world, 1)
    keys = [driver.add(), driver.add()]
    await driver.sync()
    await driver.set_mode(mode)
    assert (await driver.notice(keys[1]))["state"] == state
    clock.now = MONDAY + timedelta(days=2)
    await later(world, runtime, clock)
    # A grace gives it a moment to come while the source may not speak.
    await world.send("PATCH", "/policy", {"grace": "P9D"})
    await driver.sync()
    before = await all_runs(world)
    for _ in range(2):
        await later(world, runtime, clock)
    assert (await all_runs(world), _posted(driver, keys)) == (before, [1, 0])
    await world.no_grace()
    await driver.set_mode("live")
    assert _posted(driver, keys) == [1, 1]


async def test_who_is_in_grace_takes_no_slot(world: World) -> None:
    world.site.add_project("CORE", "Core")
    driver = await _capped(world, 1)
    await world.send("PATCH", "/policy", {"scopes": [{"project": "CORE", "grace": "P5D"}]})
    young, other = driver.add(project="CORE"), driver.add()
    run = await driver.sync()
    assert (run["writes"]["posted"], run["writes"]["held"]) == (1, 1)
    assert ((await driver.notice(young))["reason"], _posted(driver, [young, other])) == ("grace", [0, 1])


# --- at once --------------------------------------------------------------------------------------


async def test_two_runs_at_the_barrier_do_not_both_spend_it(
    world: World, runtime: Runtime, clock: Clock, database_url: str
) -> None:
    """Each has evaluated three epics, and three slots are left for both."""
    driver = await _capped(world, 3, mode="shadow")
    keys = [driver.add(f"Epic {number}") for number in range(6)]
    await driver.sync()
    async with runtime.sessions.begin() as session:
        (source_id,) = await session.scalars(select(SourceRow.id))
        limits = {"per_run": 9, "per_day": 3, "max_share": 1}
        (await session.get_one(SourceRow, source_id)).notices = {"mode": "live", "projects": None, **limits}
    runs: list[int] = []
    async with holding(database_url) as holder:
        await holder.hold("SELECT pg_advisory_xact_lock(%s, %s)", LOCK_SOURCE_NOTICES, source_id)
        closing: list[asyncio.Task[None]] = []
        for half in (keys[3:], keys[:3]):
            async with runtime.sessions.begin() as session:
                for row in await session.scalars(select(EpicRow).where(EpicRow.key.in_(half))):
                    row.evaluate_at = clock()
                run = await open_run(session, source_id, "evaluate", clock())
            runs.append(run.id)
            closing.append(asyncio.create_task(pipeline.execute_run(runtime, run.id)))
            await holder.until_waiting(len(closing))
        await holder.let_go()
        await asyncio.gather(*closing)
    shown = [await world.send("GET", f"/runs/{run}") for run in runs]
    assert [run["state"] for run in shown] == ["succeeded", "succeeded"]
    assert sum(run["writes"]["pending"] for run in shown) == 3
    assert sum(run["writes"]["held"] for run in shown) == 3
    await world.drain()
    assert sum(_posted(driver, keys)) == 3
    clock.advance(days=1)
    await sweep(runtime)
    await world.drain()
    assert _posted(driver, keys) == [1] * 6


async def test_a_barrier_takes_the_epics_before_their_notices(
    world: World, runtime: Runtime, clock: Clock, database_url: str
) -> None:
    """As an evaluation does, or the two would wait for each other."""
    driver = await _capped(world, 1)
    key = driver.add()
    driver.add()
    run = await world.send("POST", "/sources/jira/sync", {})
    async with runtime.sessions() as session:
        (source_id,) = await session.scalars(select(SourceRow.id))
    async with holding(database_url) as barrier, holding(database_url) as evaluate:
        await barrier.hold("SELECT pg_advisory_xact_lock(%s, %s)", LOCK_SOURCE_NOTICES, source_id)
        running = asyncio.create_task(pipeline.execute_run(runtime, run["id"]))
        await barrier.until_waiting(1)
        await evaluate.hold("SELECT 1 FROM epics WHERE key = %s FOR UPDATE", key)
        await barrier.let_go()
        await evaluate.until_waiting(1)
        await evaluate.hold("UPDATE notices SET detail = detail")
        await evaluate.let_go()
        await running
    assert (await world.send("GET", f"/runs/{run['id']}"))["state"] == "succeeded"
