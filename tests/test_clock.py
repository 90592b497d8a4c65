"""The clock of decisions is the database's; a clock that is set, or apart, does no harm and is named."""

from __future__ import annotations

import ast
import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from app.jobs.scheduler import Scheduler
from app.jobs.sweep import sweep
from app.runtime import Runtime
from mappings import leases
from mappings.clock import DatabaseClock
from mappings.leases import LEASE, LONGEST_LEASE
from mappings.runs.queue import claim_run, open_run, renew_lease
from mappings.sources.machine_clocks import TOLERANCE, record_machine_clock
from mappings.tables import RunRow
from tests.support.clock import Clock
from tests.support.world import World

ROOT = Path(__file__).parent.parent
# The demo dates its sample goals by the machine's clock, and the watchdog of the database a line of its log.
MAY_READ_THE_MACHINES_CLOCK = {"connectors/clock.py", "app/demo/run.py", "app/embedded/watchdog_process.py"}
# To say that it is apart, and to shift the moments that APScheduler compares with it.
MAY_USE_UTC_NOW = {"app/jobs/scheduler.py", "app/jobs/sweep.py", "app/diagnostics/check.py"}
MACHINE_CLOCK = re.compile(r"datetime\.(now|utcnow|today)\(|date\.today\(|time\.(time|localtime|gmtime)\(")
SQL_CLOCK = re.compile(
    r"(?i)\b(now|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday)\(\)"
    r"|\bcurrent_(time|timestamp|date)\b|\blocal(time|timestamp)\b"
)


def _modules() -> list[Path]:
    found = [path for room in ("app", "mappings", "connectors") for path in (ROOT / room).rglob("*.py")]
    return [path for path in found if "sandbox" not in path.parts]


def _names(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _literals(path: Path) -> list[str]:
    """The strings of a module that are no docstrings."""
    tree = ast.parse(path.read_text())
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docs = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, documented)}
    strings = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return [text for text in strings if isinstance(text, str) and text not in docs]


def test_no_module_reads_a_machines_clock_but_to_name_it() -> None:
    names = {path.relative_to(ROOT).as_posix(): path for path in _modules()}
    readers = {name for name, path in names.items() if MACHINE_CLOCK.search(path.read_text())}
    assert readers <= MAY_READ_THE_MACHINES_CLOCK
    callers = {name for name, path in names.items() if "utc_now" in _names(path)}
    assert callers - {"connectors/jira/client.py", "connectors/github/client.py"} <= (
        MAY_USE_UTC_NOW | {"connectors/registry.py", "connectors/clock.py"}
    )


def test_one_statement_reads_the_databases_clock() -> None:
    readers = {
        path.relative_to(ROOT).as_posix()
        for path in _modules()
        if any(SQL_CLOCK.search(text) for text in _literals(path))
    }
    assert readers == {"mappings/clock.py"}


@pytest.mark.database
async def test_the_time_is_the_databases(runtime: Runtime) -> None:
    clock = DatabaseClock()
    async with runtime.engine.connect() as connection:
        first = await clock.read(connection)
        in_sql = (await connection.exec_driver_sql(f"SELECT {clock.in_sql()}")).scalar_one()
        second = await clock.read(connection)
    assert first.utcoffset() == timedelta()
    assert first < in_sql < second  # the present, also within one transaction


async def test_between_two_statements_seconds_are_counted() -> None:
    then = datetime(1999, 12, 31, 23, 59, tzinfo=UTC)
    running = DatabaseClock().running_from(then)
    first = running()
    await asyncio.sleep(0)
    assert then <= first <= running() < then + timedelta(minutes=1)


# --- leases ---------------------------------------------------------------------------------------


@pytest.mark.database
@pytest.mark.parametrize(
    ("lasts", "held"),
    [
        (timedelta(seconds=-1), False),
        (timedelta(seconds=1), True),
        (LEASE, True),
        (LONGEST_LEASE, True),
        (LONGEST_LEASE + timedelta(seconds=1), False),
        (timedelta(hours=2), False),
    ],
)
async def test_a_lease_longer_than_any_lease_has_ended(
    world: World, runtime: Runtime, clock: Clock, lasts: timedelta, held: bool
) -> None:
    """It was taken while the clock was wrong."""
    await world.connect_jira()
    async with runtime.sessions.begin() as session:
        run_id = (await open_run(session, 1, "evaluate", clock())).id
        await session.execute(
            update(RunRow).values(state="running", claimed_by="x", claimed_until=clock() + lasts)
        )
    async with runtime.sessions() as session:
        row = await session.get_one(RunRow, run_id)
        for condition, expected in (
            (leases.is_held(RunRow, clock()), held),
            (leases.is_free(RunRow, clock()), not held),
            (leases.has_ended(RunRow, clock()), not held),
        ):
            assert (await session.scalar(select(condition).where(RunRow.id == run_id))) is expected
        assert leases.holds(row, clock()) is held
    await sweep(runtime)
    async with runtime.sessions.begin() as session:
        row = await session.get_one(RunRow, run_id)
        assert row.state == ("running" if held or lasts < timedelta() else "stalled")
        assert (await claim_run(session, run_id, "y", clock()) is not None) is not held


@pytest.mark.database
async def test_a_renewal_shortens_a_lease_that_a_wrong_clock_made(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    await world.connect_jira()
    async with runtime.sessions.begin() as session:
        run_id = (await open_run(session, 1, "evaluate", clock())).id
        run = await claim_run(session, run_id, "x", clock() + timedelta(hours=2))
        assert run is not None
    async with runtime.sessions.begin() as session:
        await renew_lease(session, run, "x", clock())
    async with runtime.sessions() as session:
        assert (await session.get_one(RunRow, run_id)).claimed_until == clock() + LEASE


# --- the timetable and health ---------------------------------------------------------------------


@pytest.mark.database
async def test_the_timetable_follows_when_the_clocks_drift_apart(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    """APScheduler compares with the machine's clock, and the moments are the database's."""
    await world.connect_jira(schedule={"every": "PT1H", "full": None})
    timetable = Scheduler(runtime)
    waits = []
    for hours in (0, 5, -5):
        clock.advance(hours=hours)
        before = datetime.now(UTC)
        await timetable.read()
        [(entry, moment)] = timetable.planned.items()
        [job] = timetable._jobs.values()  # noqa: SLF001  # the moment that APScheduler was given
        assert entry.member == "every"
        wait = job.trigger.run_date - before
        assert abs(wait - (moment - clock())) < timedelta(seconds=30)
        waits.append(wait)
    assert all(wait < timedelta(hours=2) for wait in waits)


@pytest.mark.database
@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        (timedelta(hours=2), "web-1 is 120 minutes ahead of the database's"),
        (timedelta(minutes=-3), "web-1 is 3 minutes behind the database's"),
        (TOLERANCE, None),
        (-TOLERANCE, None),
    ],
)
async def test_a_machine_whose_clock_is_apart_is_in_the_health_of_every_source(
    world: World, runtime: Runtime, ahead: timedelta, words: str | None
) -> None:
    await world.connect_jira()
    async with runtime.sessions.begin() as session:
        now = await DatabaseClock().read(session)
        await record_machine_clock(session, "old", now, now - timedelta(hours=1))
        await record_machine_clock(session, "web-1", now + ahead, now)
    health = (await world.send("GET", "/sources/jira"))["health"]
    assert ((words or "clock") in health["message"]) is (words is not None)
    assert "machine old" not in health["message"]
    if words is not None:
        assert health["state"] == "degraded"
        assert "certificate" in health["message"]
        assert "NTP" in health["what_to_do"]
