"""What the change of one rule of many costs among many epics, against reading them once; and what the change
of one goal reads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Any

import orjson
import psycopg
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.runtime import Runtime
from mappings.evaluation.load import EVALUATED_COLUMNS
from mappings.tables import EpicRow
from tests.bench.crowds import Crowds
from tests.bench.machine import postgres_seconds, postmaster_of
from tests.bench.northing import Northing, northing
from tests.bench.report import Line, Report, ratio, spread

RULES = 500
MOST_TIMES = 2.5
# Of a touched epic: to find it, to be locked, with its links, findings and notice, and to be written.
MOST_READS = 12.0
# They come after all others; each matches a part of one of the crowd's forty areas.
_ADD = """
    INSERT INTO rules (name, "when", key_result_id, priority, enabled, created_at)
    SELECT name, "when", key_results.id, 100, true, now()
    FROM json_to_recordset(%(rules)s) AS rule (name text, "when" jsonb, key text)
    JOIN key_results ON key_results.key = rule.key
"""
_FEWEST = """
    SELECT key_results.key, count(DISTINCT links.epic_id) FROM links
    JOIN key_results ON key_results.id = key_result_id WHERE state = 'active' GROUP BY 1 ORDER BY 2, 1 LIMIT 1
"""
_EVALUATED = "SELECT count(*) FROM epics WHERE evaluated_version = (SELECT goals_version FROM installation)"
_READ = """
    SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_user_tables
    WHERE relname = 'epics'
"""


@dataclass(slots=True)
class _Times:
    """Seconds by the wall's clock, of our processor and of PostgreSQL's, of each round."""

    wall: list[float]
    cpu: list[float]
    postgres: list[float]

    @property
    def processors(self) -> list[float]:
        return [sum(both) for both in zip(self.cpu, self.postgres, strict=True)]


def measure(report: Report, runner: asyncio.Runner, crowds: Crowds, epics: int, rounds: int) -> None:
    with crowds.filled("evaluation", epics) as url:
        report.progress(f"one rule of {RULES} changed among {epics:,} epics")
        read, changed, evaluated = runner.run(_rules(url, rounds))
        report.section(f"One rule of {RULES} changed among {epics:,} epics, against reading them once")
        for name, times in (("reading them once", read), ("until all that it affects is evaluated", changed)):
            report.add(Line(name, spread(times.wall, unit="s")))
            report.add(Line("  processors, ours and PostgreSQL's", spread(times.processors, unit="s")))
        report.add(Line("epics evaluated", spread(evaluated, "{:,.0f}")))
        report.add(ratio("time", changed.wall, read.wall, most=MOST_TIMES))
        report.add(ratio("processor time", changed.processors, read.processors, most=MOST_TIMES))
        report.progress(f"one goal changed among {epics:,} epics")
        linked, touched, rows = runner.run(_goal(url))
    report.section(f"One goal changed among {epics:,} epics, {linked:,} of them linked to it")
    report.add(Line("epics evaluated", f"{touched:,}", f"{linked:,}", touched == linked))
    each = rows / max(touched, 1)
    figure = f"{each:.1f} for each"
    report.add(Line("rows of epics read", figure, f"at most {MOST_READS:g}", each <= MOST_READS))


async def _rules(url: str, rounds: int) -> tuple[_Times, _Times, list[int]]:
    read, changed, evaluated = _Times([], [], []), _Times([], [], []), list[int]()
    postmaster = postmaster_of(url)
    async with northing(url) as instance:
        first = await _add_rules(url, instance)
        for number in range(rounds):
            await _timed(read, postmaster, lambda: instance.ask(_read_all))
            body = {"when": _rule(number + 1)["when"]}

            async def change(body: dict[str, Any] = body) -> None:
                await instance.send("PATCH", f"/rules/{first}", body)
                await instance.work()

            await _timed(changed, postmaster, change)
            evaluated.append(await _number(url, _EVALUATED))
    return read, changed, evaluated


async def _add_rules(url: str, instance: Northing) -> int:
    """The id of the first; the last of a day of changes, its epics are evaluated with it."""
    rules = [_rule(number) for number in range(RULES - 10)]
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as rows:
        await rows.execute(_ADD, {"rules": orjson.dumps(rules).decode()})
    first = await _number(url, "SELECT min(id) FROM rules WHERE priority = 100")
    await instance.send("PATCH", f"/rules/{first}", {"priority": 99})
    await instance.work()
    return first


def _rule(number: int) -> dict[str, Any]:
    when = {"all": [{"label": [f"area-{number % 40}"]}, {"title": rf"part \d*{number % 10}:"}]}
    return {"name": f"Bench {number}", "key": f"KR-{number % 9 + 1}", "when": when}


async def _read_all(_: Runtime, session: AsyncSession) -> None:
    (await session.execute(select(*EVALUATED_COLUMNS).select_from(EpicRow))).all()


async def _timed(times: _Times, postmaster: int, work: Callable[[], Awaitable[object]]) -> None:
    wall, cpu, postgres = perf_counter(), process_time(), postgres_seconds(postmaster)
    await work()
    times.wall.append(perf_counter() - wall)
    times.cpu.append(process_time() - cpu)
    times.postgres.append(postgres_seconds(postmaster) - postgres)


async def _goal(url: str) -> tuple[int, int, int]:
    """How many epics are linked to the active goal that has the fewest, how many its change evaluates, and
    how many rows of epics are read for that."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as rows:
        found = await (await rows.execute(_FEWEST)).fetchone()
        assert found is not None
        key, linked = found
        await rows.execute("VACUUM ANALYZE")
    # A server process tells what it has read when it ends at the latest, so each looks at those before.
    before = await _number(url, _READ)
    async with northing(url) as instance:
        await instance.send("PATCH", f"/key-results/{key}", {"state": "achieved"})
        await instance.work()
    read = await _number(url, _READ) - before
    return linked, await _number(url, _EVALUATED), read


async def _number(url: str, query: str) -> int:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as rows:
        found = await (await rows.execute(query)).fetchone()
    assert found is not None
    return int(found[0])
