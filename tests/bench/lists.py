"""How long a list of epics takes with each filter, against what it asks the database, asked alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Any

import psycopg

from tests.bench.northing import SOURCE, Northing, northing
from tests.bench.report import Line, Report, ratio, spread
from tests.bench.servers import Databases, Tracker

MOST_TIMES = 2.0
TIMES = 10  # more epics than the tracker has
# Each with epics that the crowd has; one text that none has, for which all of them are searched.
QUERIES = (
    "",
    f"source={SOURCE}",
    "alignment=unaligned",
    "key_result=KR-1",
    "project=crowd",
    "label=area-1",
    "assignee=lead-3",
    "driver=growth",
    "parent=CROWD-1",
    "check=no-key-result",
    "steered=true",
    "steered=false",
    "q=part",
    "q=no-title-has-this",
    "sort=-updated",
    "sort=title",
    "label=area-1&alignment=unaligned&sort=-updated",
)
# The epics once more, under other keys, with their links and findings: as many as no bench could sync.
_GROW = (
    """
    CREATE TEMPORARY TABLE more AS SELECT epics.*, n FROM epics, generate_series(1, %s) AS n;
    UPDATE more SET key = key || '-' || n, remote_id = remote_id || '-' || n,
        tracker_updated_at = tracker_updated_at - n * interval '1 s';
    """,
    """
    INSERT INTO epics ({columns}) SELECT {columns} FROM more ORDER BY n, id;
    """,
    """
    CREATE TEMPORARY TABLE twins AS SELECT more.id AS old, epics.id AS new
        FROM more JOIN epics ON epics.tracker = more.tracker AND epics.remote_id = more.remote_id;
    INSERT INTO links (epic_id, key_result_id, origin, weight, is_primary, rule_id, why)
        SELECT new, key_result_id, origin, weight, is_primary, rule_id, why
        FROM twins JOIN links ON epic_id = old ORDER BY new;
    INSERT INTO findings (epic_id, "check", state, severity, detail, opened_at)
        SELECT new, "check", state, severity, detail, opened_at
        FROM twins JOIN findings ON epic_id = old ORDER BY new;
    """,
)
_COLUMNS = """
    SELECT string_agg(column_name, ', ') FROM information_schema.columns
    WHERE table_name = 'epics' AND column_name <> 'id' AND is_generated = 'NEVER'
"""
Statement = tuple[str, Any]


def measure(
    report: Report, runner: asyncio.Runner, databases: Databases, tracker: Tracker, rounds: int
) -> None:
    with databases.fresh("lists") as url:
        times = runner.run(_rounds(report, url, tracker, rounds))
    report.section(
        f"A list of 50 of {TIMES * tracker.epics:,} epics, and against what it asks the database, alone: "
        f"median of {rounds} rounds (lowest, highest)"
    )
    for query, (listed, alone) in times.items():
        name = query or "no filter"
        report.add(Line(name, spread([seconds * 1000 for seconds in listed], "{:.1f}", "ms")))
        report.add(ratio("    against its own query", listed, alone, most=MOST_TIMES))


async def _rounds(
    report: Report, url: str, tracker: Tracker, rounds: int
) -> dict[str, tuple[list[float], list[float]]]:
    async with northing(url) as instance:
        await instance.set_up(tracker)
        await instance.sync("full")
        report.progress(f"{TIMES} times as many epics")
        await asyncio.to_thread(grow, url)
        return await beside_own_queries(report, instance, url, "lists", QUERIES, rounds, _list, _ask)


async def beside_own_queries(
    report: Report,
    instance: Northing,
    url: str,
    what: str,
    addresses: Sequence[str],
    rounds: int,
    ask: Callable[[Northing, str], Awaitable[float]],
    alone: Callable[[psycopg.Connection, tuple[Statement, ...]], float],
) -> dict[str, tuple[list[float], list[float]]]:
    """By address the seconds that `ask` took, and those of its statements by `alone`, round by round."""
    times: dict[str, tuple[list[float], list[float]]] = {address: ([], []) for address in addresses}
    with instance.statements() as statements, psycopg.connect(url, autocommit=True) as rows:
        for number in range(rounds + 1):
            report.progress(f"{what}, round {number} of {rounds}")
            for address, (asked, own) in times.items():
                statements.clear()
                took = await ask(instance, address)
                took_alone = await asyncio.to_thread(alone, rows, tuple(statements))
                if number:  # the first reads what nothing has read yet
                    asked.append(took)
                    own.append(took_alone)
    return times


def grow(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as rows:
        found = rows.execute(_COLUMNS).fetchone()
        assert found is not None
        make, epics, rest = _GROW
        for statement in make.replace("%s", str(TIMES - 1)).split(";"):
            rows.execute(statement)
        rows.execute(epics.format(columns=found[0]))
        for statement in rest.split(";"):
            rows.execute(statement)
        rows.execute("VACUUM ANALYZE")


async def _list(instance: Northing, query: str) -> float:
    start = perf_counter()
    await instance.send("GET", f"/epics?{query}")
    return perf_counter() - start


def _ask(rows: psycopg.Connection, statements: tuple[Statement, ...]) -> float:
    start = perf_counter()
    with rows.transaction():
        for statement, parameters in statements:
            rows.execute(statement, parameters).fetchall()
    return perf_counter() - start
