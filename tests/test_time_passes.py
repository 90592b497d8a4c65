"""Time as an event: what a moment ends is judged within a minute of it, and not before.

Only sweeps wake anybody here; between two of them the clock is set by hand.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.dialects import postgresql

from app.jobs import SWEEP_SECONDS, sweep
from app.runtime import Runtime
from connectors.sandbox import faults
from mappings import ledger, moments
from mappings.tables import Installation, Source
from tests.conftest import Clock
from tests.sides import JiraSide, Side
from tests.synced import all_of, later
from tests.world import World

MISSING = "This epic is not linked to a key result."
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


async def _runs(runtime: Runtime) -> list[tuple[Any, ...]]:
    return await all_of(runtime, "SELECT mode, state FROM runs ORDER BY id")


# --- what ends ----------------------------------------------------------------------------------


async def test_the_end_of_grace(side: Side, world: World, runtime: Runtime, clock: Clock) -> None:
    await world.send("PATCH", "/policy", {"grace": "P5D"})
    key = side.add()
    await side.sync()
    before = await _runs(runtime)
    assert (await side.notice(key))["detail"] == "Grace ends at 2026-11-23 12:00 UTC."
    end = MONDAY + timedelta(days=7)
    await _at(world, runtime, clock, end - SECOND)
    assert (side.comments(key), await _runs(runtime)) == ([], before)
    # The latest that a sweep can come: the one before it was a moment too early.
    await _at(world, runtime, clock, end - SECOND + timedelta(seconds=SWEEP_SECONDS))
    assert MISSING in side.comments(key)[0]
    assert timedelta(seconds=SWEEP_SECONDS) < MINUTE
    assert await _runs(runtime) == [*before, ("judge", "succeeded")]
    run = (await world.send("GET", "/runs"))["items"][0]
    assert (run["mode"], run["writes"]["posted"]) == ("judge", 1)


@pytest.mark.parametrize(
    ("verb", "body", "words"),
    [
        ("snooze", {}, "Snoozed until 2026-12-31."),
        ("waive", {"reason": "Agreed"}, "Waived until 2026-12-31: Agreed."),
    ],
)
async def test_the_end_of_a_snooze_and_of_a_waiver(
    side: Side, world: World, runtime: Runtime, clock: Clock, verb: str, body: dict[str, str], words: str
) -> None:
    key = side.add()
    await side.sync()
    ids = side.comment_ids(key)
    found = (await side.epic(key))["findings"][0]
    await world.send("POST", f"/findings/{found['id']}/{verb}", {**body, "until": "2026-12-31"})
    await world.drain()
    assert side.comments(key) == [words]
    before = await _runs(runtime)
    end = datetime(2027, 1, 1, tzinfo=UTC)
    await _at(world, runtime, clock, end - SECOND)
    assert (side.comments(key), await _runs(runtime)) == ([words], before)
    await _at(world, runtime, clock, end)
    assert MISSING in side.comments(key)[0]
    assert side.comment_ids(key) == ids
    epic = await side.epic(key)
    assert (epic["alignment"], epic["findings"][0]["state"]) == ("unaligned", "open")
    assert await _runs(runtime) == [*before, ("judge", "succeeded")]


async def test_the_end_of_a_cycle(side: Side, world: World, runtime: Runtime, clock: Clock) -> None:
    cycle = {"key": "Q4", "title": "Q4", "starts": "2026-10-01", "ends": "2026-12-31", "review": "monthly"}
    await world.send("POST", "/cycles", cycle)
    await world.send("PATCH", "/objectives/O-1", {"cycle": "Q4"})
    key = side.add(description="Key-Result: KR-1")
    await side.sync()
    end = datetime(2027, 1, 1, tzinfo=UTC)
    await _at(world, runtime, clock, end - SECOND)
    assert (await side.epic(key))["alignment"] == "aligned"
    await _at(world, runtime, clock, end)
    epic = await side.epic(key)
    assert (epic["alignment"], epic["findings"][0]["check"]) == ("unaligned", "closed-goal")
    # Twenty working days from a Friday, though the policy's own grace is none.
    assert (epic["notice"]["reason"], epic["notice"]["detail"]) == (
        "grace",
        "Grace ends at 2027-01-29 00:00 UTC.",
    )
    await _at(world, runtime, clock, datetime(2027, 1, 29, tzinfo=UTC) - SECOND)
    assert side.comments(key) == []
    await _at(world, runtime, clock, datetime(2027, 1, 29, tzinfo=UTC))
    assert "KR-1" in side.comments(key)[0]


async def test_finished_and_exempt_epics_are_left_alone(world: World, runtime: Runtime, clock: Clock) -> None:
    side = JiraSide(world)
    await side.connect()
    await world.send("PATCH", "/policy", {"grace": "P5D", "exempt": {"labels": ["later"]}})
    finished, exempt, other = side.add(), side.add(), side.add()
    await side.sync()
    clock.advance(hours=1)
    side.finish(finished)
    side.label(exempt, "later")
    await side.sync()
    judged = "SELECT key FROM epics WHERE judged_at = '{}'"
    await _at(world, runtime, clock, MONDAY + timedelta(days=7))
    assert await all_of(runtime, judged.format(clock())) == [(other,)]
    assert [len(side.comments(key)) for key in (finished, exempt, other)] == [0, 0, 1]


# --- runs for it ----------------------------------------------------------------------------------


async def _in_grace(world: World, runtime: Runtime, clock: Clock) -> JiraSide:
    """SHOP-1, whose grace is over at the clock's moment, and nobody has noticed."""
    side = JiraSide(world)
    await side.connect()
    await world.send("PATCH", "/policy", {"grace": "P5D"})
    side.add()
    await side.sync()
    clock.now = MONDAY + timedelta(days=7)
    return side


async def test_a_reading_run_that_waits_holds_no_time_back(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    side = await _in_grace(world, runtime, clock)
    clock.now -= timedelta(hours=1)
    limit = faults.answer(429, headers={"Retry-After": str(6 * 3600)})
    side.tracker.faults.add("POST */search/jql", limit)
    assert (await side.sync())["state"] == "waiting"
    await later(world, runtime, clock, hours=1)
    assert len(side.comments("SHOP-1")) == 1
    assert (await _runs(runtime))[-2:] == [("incremental", "waiting"), ("judge", "succeeded")]


async def test_an_epic_read_again_by_a_run_that_waits_keeps_its_moment(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    """SHOP-1 changed, was read and waits for the end of that run; its grace ends long before."""
    side = await _in_grace(world, runtime, clock)
    clock.now -= timedelta(hours=1)
    side.label("SHOP-1", "growth")
    clock.advance(seconds=1)
    side.add("Another")
    side.site.page_cap = 1
    limit = faults.answer(429, headers={"Retry-After": str(6 * 3600)})
    side.tracker.faults.add("POST */search/jql", limit, skip=1)
    run = await side.sync()
    assert (run["state"], run["updated"]) == ("waiting", 1)
    await later(world, runtime, clock, hours=1)
    assert len(side.comments("SHOP-1")) == 1


async def test_epics_never_judged_are_left_to_the_run_that_reads_them(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    side = JiraSide(world)
    await side.connect(mode="shadow")
    side.add()
    side.add()
    side.site.page_cap = 1
    side.tracker.faults.add("POST */search/jql", faults.answer(429, headers={"Retry-After": "60"}), skip=1)
    run = await side.sync()
    assert (run["state"], run["created"]) == ("waiting", 1)
    await later(world, runtime, clock, seconds=59)
    assert await _runs(runtime) == [("incremental", "waiting")]
    # Its end judges them; should it never come, so does the next sweep.
    await later(world, runtime, clock, seconds=1)
    assert await _runs(runtime) == [("incremental", "succeeded")]
    assert await all_of(runtime, "SELECT count(*) FROM epics WHERE judged_at IS NULL") == [(0,)]


async def test_replicas_that_sweep_at_once_open_one_run(world: World, runtime: Runtime, clock: Clock) -> None:
    await _in_grace(world, runtime, clock)
    before = await _runs(runtime)
    await asyncio.gather(*(sweep(runtime) for _ in range(5)))
    assert await _runs(runtime) == [*before, ("judge", "queued")]


async def test_a_run_that_is_just_being_opened_is_not_opened_again(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    await _in_grace(world, runtime, clock)
    before = await _runs(runtime)
    async with runtime.sessions.begin() as session:
        await moments.open_runs(session, clock())
        await asyncio.wait_for(sweep(runtime), 20)  # nor does it wait
        assert await _runs(runtime) == before
    await sweep(runtime)
    assert await _runs(runtime) == [*before, ("judge", "queued")]


@pytest.mark.parametrize(("touch", "opened"), [(None, 1), ({"when": {"project": ["NONE"]}}, 2)])
async def test_a_queued_run_does_unless_it_has_to_look_at_every_epic_first(
    world: World, runtime: Runtime, clock: Clock, touch: dict[str, Any] | None, opened: int
) -> None:
    await _in_grace(world, runtime, clock)
    before = await _runs(runtime)
    async with runtime.sessions.begin() as session:
        (source_id,) = await session.scalars(select(Source.id))
        (await ledger.open_run(session, source_id, "judge", clock())).touch = touch
    for _ in range(STILL):
        await sweep(runtime)
    assert (await _runs(runtime))[len(before) :] == [("judge", "queued")] * opened


# --- no end of runs -------------------------------------------------------------------------------


def _refused(side: Side, key: str) -> None:
    side.forbid()


def _unread(side: Side, key: str) -> None:
    side.tracker.faults.add(side.reads, faults.answer(401), times=None)


def _unanswered(side: Side, key: str) -> None:
    side.tracker.faults.add(side.creates, faults.lose_answer(), times=None)


def _limited(side: Side, key: str) -> None:
    side.tracker.faults.add(side.creates, faults.answer(429, headers={"Retry-After": "9"}), times=None)


def _hidden(side: Side, key: str) -> None:
    side.delete(key)


@pytest.mark.parametrize("trouble", [_refused, _unread, _unanswered, _limited, _hidden])
async def test_a_ticket_in_trouble_makes_no_run_while_the_clock_stands_still(
    side: Side, world: World, runtime: Runtime, clock: Clock, trouble: Any
) -> None:
    await world.send("PATCH", "/policy", {"grace": "P5D"})
    key = side.add()
    await side.sync()
    before = await _runs(runtime)
    trouble(side, key)
    clock.now = MONDAY + timedelta(days=7)
    for _ in range(STILL):
        await sweep(runtime)
        await world.drain()
    assert await _runs(runtime) == [*before, ("judge", "succeeded")]


async def test_a_ticket_that_stays_refused_is_tried_once_an_hour(
    side: Side, world: World, runtime: Runtime, clock: Clock
) -> None:
    key = side.add()
    side.forbid()
    await side.sync()
    before = await _runs(runtime)
    for _ in range(3 * 12):
        await later(world, runtime, clock, minutes=5)
    assert await _runs(runtime) == [*before, *[("judge", "succeeded")] * 3]
    side.allow()
    await later(world, runtime, clock, hours=1)
    assert len(side.comments(key)) == 1


async def test_a_run_that_breaks_down_is_not_opened_again_by_each_sweep(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    side = await _in_grace(world, runtime, clock)
    before = await _runs(runtime)
    async with runtime.sessions.begin() as session:
        (installation,) = await session.scalars(select(Installation))
        good, installation.policy = installation.policy, {"grace": 5}
    for _ in range(STILL):
        await sweep(runtime)
        await world.drain()
    assert await _runs(runtime) == [*before, ("judge", "failed")]
    async with runtime.sessions.begin() as session:
        await session.execute(update(Installation).values(policy=good))
    await later(world, runtime, clock, minutes=15)
    assert await _runs(runtime) == [*before, ("judge", "failed"), ("judge", "succeeded")]
    assert len(side.comments("SHOP-1")) == 1


# --- cheap ----------------------------------------------------------------------------------------

_CROWD = """
    INSERT INTO epics (source_id, tracker, remote_id, key, project, title, url, type, status,
        status_category, labels, assignees, components, declared, fields, tracker_created_at,
        tracker_updated_at, content_hash, read_at, judged_at, look_again_at)
    SELECT :source, 'crowd', n::text, 'SHOP-' || n, 'SHOP', 'An epic', 'http://127.0.0.1', 'Epic', 'Open',
        'todo', '{}', '{}', '{}', '{}', '{}', now(), now(), '', now(), now(),
        CASE WHEN n % 2 = 0 THEN CAST(:now AS timestamptz) + n * interval '1 second' END
    FROM generate_series(1, 20000) AS n
"""


async def test_looking_for_what_is_due_scans_no_epics(world: World, runtime: Runtime, clock: Clock) -> None:
    await world.connect_jira("one")
    await world.connect_jira("two", scope={"projects": ["SHOP"]})
    async with runtime.sessions.begin() as session:
        one, two = await session.scalars(select(Source.id).order_by(Source.id))
        await session.execute(text(_CROWD), {"source": two, "now": clock()})
    async with runtime.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("ANALYZE epics"))
    # A moment with none due, one with a few, one with half of the table.
    for now, due in ((clock(), []), (clock() + MINUTE, [two]), (clock() + timedelta(days=9), [two])):
        for reading in ([], [one, two]):
            query = moments.sources_due(reading, now)
            async with runtime.sessions() as session:
                assert list(await session.scalars(query)) == due
                words = query.compile(
                    dialect=postgresql.dialect(),  # type: ignore[no-untyped-call]
                    compile_kwargs={"literal_binds": True},
                )
                lines = await session.execute(text(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) {words}"))
                plan = "\n".join(line for (line,) in lines)
            assert "using ix_epics_look_again_at on epics" in plan, plan
            assert "Seq Scan on epics" not in plan, plan
            # A probe for each of the two sources, whatever is due.
            buffers = int(plan.split("Buffers: shared hit=")[1].split()[0])
            assert buffers < 20, plan
