"""Time as an event: what a moment ends is evaluated within a minute of it, and not before.

Only sweeps wake anybody here; between two of them the clock is set by hand.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.dialects import postgresql

from app.jobs.sweep import SWEEP_SECONDS, sweep
from app.runtime import Runtime
from connectors.sandbox import faults
from mappings.evaluation.timed import open_evaluate_runs, sources_due
from mappings.runs.queue import open_run
from mappings.tables import EpicRow, InstallationRow, SourceRow
from tests.support.clock import Clock, later
from tests.support.runs import modes_and_states
from tests.support.tracker_drivers import JiraDriver, TrackerDriver, on_either
from tests.support.world import World

pytestmark = pytest.mark.database

MISSING = "Which key result does this epic serve?"
MONDAY = datetime(2026, 11, 16, 12, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
STILL = 10  # sweeps with the clock standing still


@pytest.fixture(autouse=True)
def monday(clock: Clock) -> None:
    clock.now = MONDAY


async def _at(world: World, runtime: Runtime, clock: Clock, moment: datetime) -> None:
    clock.now = moment
    await sweep(runtime)
    await world.drain()


# --- what ends ----------------------------------------------------------------------------------


@on_either("github")
async def test_the_end_of_grace(driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock) -> None:
    await world.send("PATCH", "/policy", {"grace": "P5D"})
    key = driver.add()
    await driver.sync()
    before = await modes_and_states(world)
    assert (await driver.notice(key))["detail"] == "Grace ends at 2026-11-23 12:00 UTC."
    end = MONDAY + timedelta(days=7)
    await _at(world, runtime, clock, end - SECOND)
    assert (driver.comments(key), await modes_and_states(world)) == ([], before)
    # The latest that a sweep can come: the one before it was a moment too early.
    await _at(world, runtime, clock, end - SECOND + timedelta(seconds=SWEEP_SECONDS))
    assert MISSING in driver.comments(key)[0]
    assert timedelta(seconds=SWEEP_SECONDS) < MINUTE
    assert await modes_and_states(world) == [*before, ("evaluate", "succeeded")]
    run = (await world.send("GET", "/runs"))["items"][0]
    assert (run["mode"], run["writes"]["posted"]) == ("evaluate", 1)


@on_either("jira")
@pytest.mark.parametrize(
    ("verb", "body", "words"),
    [
        ("snooze", {}, "Snoozed until 2026-12-31."),
        ("waive", {"reason": "Agreed"}, "Waived until 2026-12-31: Agreed."),
    ],
)
async def test_the_end_of_a_snooze_and_of_a_waiver(
    driver: TrackerDriver,
    world: World,
    runtime: Runtime,
    clock: Clock,
    verb: str,
    body: dict[str, str],
    words: str,
) -> None:
    key = driver.add()
    await driver.sync()
    ids = driver.comment_ids(key)
    found = (await driver.epic(key))["findings"][0]
    await world.send("POST", f"/findings/{found['id']}/{verb}", {**body, "until": "2026-12-31"})
    await world.drain()
    assert driver.comments(key) == [words]
    before = await modes_and_states(world)
    end = datetime(2027, 1, 1, tzinfo=UTC)
    await _at(world, runtime, clock, end - SECOND)
    assert (driver.comments(key), await modes_and_states(world)) == ([words], before)
    await _at(world, runtime, clock, end)
    assert MISSING in driver.comments(key)[0]
    assert driver.comment_ids(key) == ids
    epic = await driver.epic(key)
    assert (epic["alignment"], epic["findings"][0]["state"]) == ("unaligned", "open")
    assert await modes_and_states(world) == [*before, ("evaluate", "succeeded")]


@on_either("github")
async def test_the_end_of_a_cycle(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock
) -> None:
    cycle = {"key": "Q4", "title": "Q4", "starts": "2026-10-01", "ends": "2026-12-31", "review": "monthly"}
    await world.send("POST", "/cycles", cycle)
    await world.send("PATCH", "/objectives/O-1", {"cycle": "Q4"})
    key = driver.add(description="Key-Result: KR-1")
    await driver.sync()
    end = datetime(2027, 1, 1, tzinfo=UTC)
    await _at(world, runtime, clock, end - SECOND)
    assert (await driver.epic(key))["alignment"] == "aligned"
    await _at(world, runtime, clock, end)
    epic = await driver.epic(key)
    assert (epic["alignment"], epic["findings"][0]["check"]) == ("unaligned", "closed-goal")
    # Twenty working days from a Friday, though the policy's own grace is none.
    assert (epic["notice"]["reason"], epic["notice"]["detail"]) == (
        "grace",
        "Grace ends at 2027-01-29 00:00 UTC.",
    )
    await _at(world, runtime, clock, datetime(2027, 1, 29, tzinfo=UTC) - SECOND)
    assert driver.comments(key) == []
    await _at(world, runtime, clock, datetime(2027, 1, 29, tzinfo=UTC))
    assert "KR-1" in driver.comments(key)[0]


async def test_finished_and_exempt_epics_are_left_alone(world: World, runtime: Runtime, clock: Clock) -> None:
    driver = JiraDriver(world)
    await driver.connect()
    await world.send("PATCH", "/policy", {"grace": "P5D", "exempt": {"labels": ["later"]}})
    finished, exempt, other = driver.add(), driver.add(), driver.add()
    await driver.sync()
    clock.advance(hours=1)
    driver.finish(finished)
    driver.label(exempt, "later")
    await driver.sync()
    await _at(world, runtime, clock, MONDAY + timedelta(days=7))
    async with runtime.sessions() as session:
        evaluated = await session.scalars(select(EpicRow.key).where(EpicRow.evaluated_at == clock()))
        assert list(evaluated) == [other]
    assert [len(driver.comments(key)) for key in (finished, exempt, other)] == [0, 0, 1]


# --- runs for it ----------------------------------------------------------------------------------


async def _in_grace(world: World, runtime: Runtime, clock: Clock) -> JiraDriver:
    """SHOP-1, whose grace is over at the clock's moment, and nobody has noticed."""
    driver = JiraDriver(world)
    await driver.connect()
    await world.send("PATCH", "/policy", {"grace": "P5D"})
    driver.add()
    await driver.sync()
    clock.now = MONDAY + timedelta(days=7)
    return driver


async def test_a_reading_run_that_waits_holds_no_time_back(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    driver = await _in_grace(world, runtime, clock)
    clock.now -= timedelta(hours=1)
    limit = faults.answer(429, headers={"Retry-After": str(6 * 3600)})
    driver.tracker.faults.add("POST */search/jql", limit)
    assert (await driver.sync())["state"] == "waiting"
    await later(world, runtime, clock, hours=1)
    assert len(driver.comments("SHOP-1")) == 1
    assert (await modes_and_states(world))[-2:] == [("incremental", "waiting"), ("evaluate", "succeeded")]


async def test_an_epic_read_again_by_a_run_that_waits_keeps_its_moment(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    """SHOP-1 changed, was read and waits for the end of that run; its grace ends long before."""
    driver = await _in_grace(world, runtime, clock)
    clock.now -= timedelta(hours=1)
    driver.label("SHOP-1", "growth")
    clock.advance(seconds=1)
    driver.add("Another")
    driver.site.page_cap = 1
    limit = faults.answer(429, headers={"Retry-After": str(6 * 3600)})
    driver.tracker.faults.add("POST */search/jql", limit, skip=1)
    run = await driver.sync()
    assert (run["state"], run["updated"]) == ("waiting", 1)
    await later(world, runtime, clock, hours=1)
    assert len(driver.comments("SHOP-1")) == 1


async def test_epics_never_evaluated_are_left_to_the_run_that_reads_them(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    driver = JiraDriver(world)
    await driver.connect(mode="shadow")
    driver.add()
    driver.add()
    driver.site.page_cap = 1
    driver.tracker.faults.add("POST */search/jql", faults.answer(429, headers={"Retry-After": "60"}), skip=1)
    run = await driver.sync()
    assert (run["state"], run["created"]) == ("waiting", 1)
    await later(world, runtime, clock, seconds=59)
    assert await modes_and_states(world) == [("incremental", "waiting")]
    # Its end has them evaluated; should it never come, so does the next sweep.
    await later(world, runtime, clock, seconds=1)
    assert await modes_and_states(world) == [("incremental", "succeeded")]
    listed = (await world.send("GET", "/epics"))["items"]
    assert [epic["alignment"] for epic in listed] == ["unaligned", "unaligned"]


async def test_replicas_that_sweep_at_once_open_one_run(world: World, runtime: Runtime, clock: Clock) -> None:
    await _in_grace(world, runtime, clock)
    before = await modes_and_states(world)
    await asyncio.gather(*(sweep(runtime) for _ in range(5)))
    assert await modes_and_states(world) == [*before, ("evaluate", "queued")]


async def test_a_run_that_is_just_being_opened_is_not_opened_again(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    await _in_grace(world, runtime, clock)
    before = await modes_and_states(world)
    async with runtime.sessions.begin() as session:
        await open_evaluate_runs(session, clock())
        await asyncio.wait_for(sweep(runtime), 20)  # nor does it wait
        assert await modes_and_states(world) == before
    await sweep(runtime)
    assert await modes_and_states(world) == [*before, ("evaluate", "queued")]


@pytest.mark.parametrize(("evaluates", "opened"), [(None, 1), ("due", 1), ("affected", 2)])
async def test_a_queued_run_does_unless_it_evaluates_what_a_change_affects(
    world: World, runtime: Runtime, clock: Clock, evaluates: str | None, opened: int
) -> None:
    await _in_grace(world, runtime, clock)
    before = await modes_and_states(world)
    async with runtime.sessions.begin() as session:
        (source_id,) = await session.scalars(select(SourceRow.id))
        (await open_run(session, source_id, "evaluate", clock())).evaluates = evaluates
    for _ in range(STILL):
        await sweep(runtime)
    assert (await modes_and_states(world))[len(before) :] == [("evaluate", "queued")] * opened


# --- no end of runs -------------------------------------------------------------------------------


def _refused(driver: TrackerDriver, key: str) -> None:
    driver.forbid()


def _unread(driver: TrackerDriver, key: str) -> None:
    driver.tracker.faults.add(driver.reads, faults.answer(401), times=None)


def _unanswered(driver: TrackerDriver, key: str) -> None:
    driver.tracker.faults.add(driver.creates, faults.lose_answer(), times=None)


def _limited(driver: TrackerDriver, key: str) -> None:
    driver.tracker.faults.add(driver.creates, faults.answer(429, headers={"Retry-After": "9"}), times=None)


def _hidden(driver: TrackerDriver, key: str) -> None:
    driver.delete(key)


@on_either("jira")
@pytest.mark.parametrize("trouble", [_refused, _unread, _unanswered, _limited, _hidden])
async def test_a_ticket_in_trouble_makes_no_run_while_the_clock_stands_still(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock, trouble: Any
) -> None:
    await world.send("PATCH", "/policy", {"grace": "P5D"})
    key = driver.add()
    await driver.sync()
    before = await modes_and_states(world)
    trouble(driver, key)
    clock.now = MONDAY + timedelta(days=7)
    for _ in range(STILL):
        await sweep(runtime)
        await world.drain()
    assert await modes_and_states(world) == [*before, ("evaluate", "succeeded")]


@on_either("jira")
async def test_a_ticket_that_stays_refused_is_tried_once_an_hour(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock
) -> None:
    key = driver.add()
    driver.forbid()
    await driver.sync()
    before = await modes_and_states(world)
    for tries in range(3):
        await later(world, runtime, clock, minutes=59)
        assert await modes_and_states(world) == [*before, *[("evaluate", "succeeded")] * tries]
        await later(world, runtime, clock, minutes=1)
        assert await modes_and_states(world) == [*before, *[("evaluate", "succeeded")] * (tries + 1)]
    driver.allow()
    await later(world, runtime, clock, hours=1)
    assert len(driver.comments(key)) == 1


async def test_a_run_that_breaks_down_is_not_opened_again_by_each_sweep(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    driver = await _in_grace(world, runtime, clock)
    before = await modes_and_states(world)
    async with runtime.sessions.begin() as session:
        (installation,) = await session.scalars(select(InstallationRow))
        good, installation.policy = installation.policy, {"grace": 5}
    for _ in range(STILL):
        await sweep(runtime)
        await world.drain()
    assert await modes_and_states(world) == [*before, ("evaluate", "failed")]
    async with runtime.sessions.begin() as session:
        await session.execute(update(InstallationRow).values(policy=good))
    await later(world, runtime, clock, minutes=15)
    assert await modes_and_states(world) == [*before, ("evaluate", "failed"), ("evaluate", "succeeded")]
    assert len(driver.comments("SHOP-1")) == 1


# --- cheap ----------------------------------------------------------------------------------------

_BULK = """
    INSERT INTO epics (source_id, tracker, remote_id, key, project, title, url, type, status,
        status_category, labels, assignees, components, ticket_references, fields, tracker_created_at,
        tracker_updated_at, content_hash, read_at, evaluated_at, evaluate_at)
    SELECT :source, 'crowd', n::text, 'SHOP-' || n, 'SHOP', 'An epic', 'http://127.0.0.1', 'Epic', 'Open',
        'todo', '{}', '{}', '{}', '{}', '{}', now(), now(), '', now(), now(),
        CASE WHEN n % 2 = 0 THEN CAST(:now AS timestamptz) + n * interval '1 second' END
    FROM generate_series(1, 20000) AS n
"""


async def test_looking_for_what_is_due_scans_no_epics(world: World, runtime: Runtime, clock: Clock) -> None:
    await world.connect_jira("one")
    await world.connect_jira("two", scope={"projects": ["SHOP"]})
    async with runtime.sessions.begin() as session:
        one, two = await session.scalars(select(SourceRow.id).order_by(SourceRow.id))
        await session.execute(text(_BULK), {"source": two, "now": clock()})
    async with runtime.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("ANALYZE epics"))
    # A moment with none due, one with a few, one with half of the table.
    for now, due in ((clock(), []), (clock() + MINUTE, [two]), (clock() + timedelta(days=9), [two])):
        for reading in ([], [one, two]):
            query = sources_due(reading, now)
            async with runtime.sessions() as session:
                assert list(await session.scalars(query)) == due
                words = query.compile(
                    dialect=postgresql.dialect(),  # type: ignore[no-untyped-call]
                    compile_kwargs={"literal_binds": True},
                )
                lines = await session.execute(text(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) {words}"))
                plan = "\n".join(line for (line,) in lines)
            assert "using ix_epics_evaluate_at on epics" in plan, plan
            assert "Seq Scan on epics" not in plan, plan
            # A probe for each of the two sources, whatever is due.
            buffers = int(plan.split("Buffers: shared hit=")[1].split()[0])
            assert buffers < 20, plan
