"""What an incremental sync asks of the tracker, and what it writes, when 10 of many epics have changed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import requests

from tests.bench.bare import PROJECT, SECONDS
from tests.bench.northing import northing
from tests.bench.report import Line, Report
from tests.bench.servers import Databases, Tracker

CHANGED = 10
MOST_SEARCHES = 3
SEARCH = "POST /rest/api/3/search/jql"
# Where rows of an epic stand, and the column that names it.
TABLES = {"epics": "id", "links": "epic_id", "findings": "epic_id", "notices": "epic_id"}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every row as it lies on disk, by table and id, with its epic; and the writes counted by PostgreSQL."""

    rows: dict[tuple[str, int], tuple[int, str]]
    writes: int

    def epics_written_since(self, before: Snapshot) -> set[int]:
        """Epics of which any row was added, changed, locked or removed."""
        here, there = set(self.rows.items()), set(before.rows.items())
        return {epic for _, (epic, _) in here ^ there}


def measure(report: Report, runner: asyncio.Runner, databases: Databases, tracker: Tracker) -> None:
    report.progress("incremental sync")
    with databases.fresh("incremental") as url:
        runner.run(_sync(url, "full", tracker))
        with _ours(url) as connection:
            before = _snapshot(connection)
        with requests.Session() as session:
            session.auth = (tracker.email, tracker.token)
            keys = _change(session, tracker)
            session.delete(f"{tracker.url}/-/requests", timeout=SECONDS).raise_for_status()
            run = runner.run(_sync(url, "incremental"))
            asked = session.get(f"{tracker.url}/-/requests", timeout=SECONDS).json()
        with _ours(url) as connection:
            after = _snapshot(connection)
            meant = {row[0] for row in connection.execute("SELECT id FROM epics WHERE key = ANY(%s)", [keys])}
    if run["updated"] != len(keys):
        raise RuntimeError(f"{run['updated']} epics were updated, {len(keys)} had changed")
    _tell(report, tracker, run, asked, after.epics_written_since(before), meant, after.writes - before.writes)


def _tell(
    report: Report,
    tracker: Tracker,
    run: dict[str, Any],
    asked: dict[str, Any],
    written: set[int],
    meant: set[int],
    writes: int,
) -> None:
    searches = asked["by_line"].get(SEARCH, 0)
    report.section(f"Incremental sync with {tracker.epics:,} epics stored and {len(meant)} changed")
    report.add(Line("epics read", f"{run['seen']:,}"))
    report.add(Line("requests to the tracker, all told", f"{asked['total']:,}"))
    report.add(
        Line("search requests", f"{searches:,}", f"at most {MOST_SEARCHES}", searches <= MOST_SEARCHES)
    )
    report.add(Line("epics that changed and were written", f"{len(written & meant):,}"))
    untouched = len(written - meant)
    report.add(Line("epics written that had not changed", f"{untouched:,}", "0", untouched == 0))
    # Each changed epic is stored once and evaluated once; a write more would be one too many.
    most = 2 * len(meant)
    report.add(
        Line("rows of epics inserted or updated, says PostgreSQL", f"{writes}", f"{most}", writes <= most)
    )


async def _sync(url: str, mode: str, new: Tracker | None = None) -> dict[str, Any]:
    """One sync, on an empty database with `new`'s source connected first."""
    async with northing(url) as instance:
        if new is not None:
            await instance.set_up(new)
        return (await instance.sync(mode)).run


def _change(session: requests.Session, tracker: Tracker) -> list[str]:
    """Give tickets spread over the project another summary; their keys."""
    step = max(tracker.epics // CHANGED, 1)
    keys = [f"{PROJECT}-{number}" for number in range(1, tracker.epics + 1, step)][:CHANGED]
    for key in keys:
        body = {"fields": {"summary": f"{key}, said in other words"}}
        answer = session.put(f"{tracker.url}/rest/api/3/issue/{key}", json=body, timeout=SECONDS)
        answer.raise_for_status()
    return keys


@contextmanager
def _ours(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection, once every other has left: PostgreSQL counts a session's writes for sure when it ends."""
    with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
        others = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        deadline = time.monotonic() + SECONDS
        while _number(connection, others):
            if time.monotonic() > deadline:
                raise RuntimeError("somebody else is still connected")
            time.sleep(0.02)
        yield connection


def _snapshot(connection: psycopg.Connection[Any]) -> Snapshot:
    rows: dict[tuple[str, int], tuple[int, str]] = {}
    for table, epic in TABLES.items():
        # A row that was locked has another xmax, one that was written another xmin and place.
        query = f"SELECT id, {epic}, concat_ws(' ', ctid, xmin, xmax) FROM {table}"
        rows |= {(table, id): (of, lies) for id, of, lies in connection.execute(query)}
    counted = "SELECT n_tup_ins + n_tup_upd FROM pg_stat_user_tables WHERE relname = 'epics'"
    return Snapshot(rows, _number(connection, counted))


def _number(connection: psycopg.Connection[Any], query: str) -> int:
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])
