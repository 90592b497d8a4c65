"""How long a report takes, against the widest of the statements that it asks the database, asked alone."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

import psycopg

from connectors.sandbox.company.goals import goals
from tests.bench.lists import TIMES, Statement, beside_own_queries, grow
from tests.bench.northing import Northing, northing
from tests.bench.report import Line, Report, ratio, spread
from tests.bench.servers import Databases, Tracker

MOST_TIMES = 2.0
REPORTS = (
    "/reports/coverage",
    "/reports/roadmap",
    "/reports/roadmap?by=driver",
    "/reports/allocation",
    "/reports/priorities",
    "/reports/outcomes",
    "/reports/audit",
)
CRITERIA = [
    {"key": "OUTCOME", "title": "Moves a key result", "weight": 3},
    {"key": "URGENCY", "title": "Cannot wait", "weight": 2},
    {"key": "EASE", "title": "Little work", "weight": 1},
]
ATTENDEES = [{"name": "coo", "side": "business"}, {"name": "cto", "side": "it"}]
# A tenth of the epics are initiatives, each with nine below it. Half have dates, a third points, a tenth are
# scored, some are on the way.
_STEER = """
    UPDATE epics SET parent_key = above.key, parent_remote_id = above.remote_id, parent_title = above.title
        FROM epics AS above
        WHERE epics.id % 10 <> 0 AND above.id = epics.id - epics.id % 10 AND above.tracker = epics.tracker;
    UPDATE epics SET starts_on = CURRENT_DATE - id::int % 90, due_on = CURRENT_DATE + id::int % 120 - 20
        WHERE id % 2 = 0;
    UPDATE epics SET points = id % 13 WHERE id % 3 = 0;
    UPDATE epics SET finished_at = now() - id % 40 * interval '1 day' WHERE status_category = 'done';
    INSERT INTO scores (epic_id, criterion_id, score, "by", at)
        SELECT epics.id, criteria.id, (epics.id + criteria.id) % 6, 'coo', now()
        FROM epics, criteria WHERE epics.id % 10 = 0;
    INSERT INTO epic_values (epic_id, answer, driver, answered_by, answered_at)
        SELECT id, 'It makes each order cheaper.', 'cost', 'lead', now() FROM epics WHERE id % 20 = 0;
    INSERT INTO value_estimates (epic_id, kind, amount, currency, estimated_by, at)
        SELECT id, 'planned', id % 1000, 'EUR', 'cfo', now() FROM epics WHERE id % 20 = 0;
    INSERT INTO epic_stages (epic_id, stage, entered_at)
        SELECT id, 'idea', now() FROM epics WHERE id % 50 = 0;
    INSERT INTO conflicts (epic_id, technical, business, raised_by, raised_at)
        SELECT id, 'The old system holds two more years.', 'The shop opens in spring.', 'lead',
            now() - id % 60 * interval '1 day'
        FROM epics WHERE id % 1000 = 0;
    INSERT INTO decisions (epic_id, epic_source, epic_key, epic_title, decision, reason, decided_by,
            recorded_by, decided_at, effects)
        SELECT epics.id, sources.name, epics.key, epics.title, 'keep', 'It pays for itself.',
            '[{"name": "coo", "side": "business"}, {"name": "cto", "side": "it"}]', 'lead', now(),
            '{"says": ["nothing changed"]}'
        FROM epics JOIN sources ON sources.id = epics.source_id WHERE epics.id % 500 = 0
"""


def measure(
    report: Report, runner: asyncio.Runner, databases: Databases, tracker: Tracker, rounds: int
) -> None:
    with databases.fresh("reports") as url:
        times = runner.run(_rounds(report, url, tracker, rounds))
    report.section(
        f"A report of {TIMES * tracker.epics:,} epics, and against the widest of its statements, alone: "
        f"median of {rounds} rounds (lowest, highest)"
    )
    for path, (whole, widest) in times.items():
        report.add(Line(path, spread([seconds * 1000 for seconds in whole], "{:.0f}", "ms")))
        report.add(Line("    its widest query", spread([one * 1000 for one in widest], "{:.0f}", "ms")))
        report.add(ratio("    the report against that", whole, widest, most=MOST_TIMES))


async def _rounds(
    report: Report, url: str, tracker: Tracker, rounds: int
) -> dict[str, tuple[list[float], list[float]]]:
    async with northing(url) as instance:
        await instance.set_up(tracker)
        await instance.sync("full")
        report.progress(f"{TIMES} times as many epics, and what a committee keeps of them")
        await asyncio.to_thread(grow, url)
        await steer(instance, url)
        return await beside_own_queries(report, instance, url, "reports", REPORTS, rounds, _ask, _widest)


async def steer(instance: Northing, url: str) -> None:
    """Agree on criteria, store what a committee keeps of all epics, and open a review."""
    await instance.send("PUT", "/criteria", CRITERIA)
    with psycopg.connect(url, autocommit=True) as rows:
        for statement in _STEER.split(";"):
            await asyncio.to_thread(rows.execute, statement)
        await asyncio.to_thread(rows.execute, "VACUUM ANALYZE")
    now = datetime.now(UTC)
    body = {"cycle": goals(now).cycle["key"], "held_on": now.date().isoformat(), "attendees": ATTENDEES}
    await instance.send("POST", "/reviews", body)


async def _ask(instance: Northing, path: str) -> float:
    gc.collect()
    start = perf_counter()
    await instance.send("GET", path)
    return perf_counter() - start


def _widest(rows: psycopg.Connection, statements: Sequence[Statement]) -> float:
    """The seconds of the statement that takes longest, each asked alone."""
    return max(_seconds(rows, *statement) for statement in statements)


def _seconds(rows: psycopg.Connection, statement: str, parameters: Any) -> float:
    start = perf_counter()
    with rows.transaction():
        cursor = rows.execute(statement, parameters)
        if cursor.description is not None:
            cursor.fetchall()
    return perf_counter() - start
