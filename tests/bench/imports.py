"""How long an import of many links takes, audit rows included, against one COPY of the same rows."""

from __future__ import annotations

import asyncio
from time import perf_counter

import psycopg

from mappings.links.bulk import LinkRequest
from tests.bench.northing import SOURCE, Northing, northing
from tests.bench.report import Line, Report, ratio, spread
from tests.bench.servers import Databases, Tracker

MOST_TIMES = 3.0
_KEYS = "SELECT key FROM epics ORDER BY id"
_COLUMNS = "epic_id, key_result_id, origin, weight, is_primary, why, created_at"
_MADE = f"COPY (SELECT {_COLUMNS} FROM links WHERE origin = 'manual' ORDER BY id) TO STDOUT"
_COPY = f"COPY links ({_COLUMNS}) FROM STDIN"
_AUDITED = "SELECT count(*) FROM audit_log WHERE what = 'link'"


def measure(
    report: Report, runner: asyncio.Runner, databases: Databases, tracker: Tracker, rounds: int
) -> None:
    """A round is the import, then the COPY of the rows that it made, each into what the other left."""
    with databases.fresh("imports") as url:
        imported, copied = runner.run(_rounds(report, url, tracker, rounds))
    report.section(f"An import of {tracker.epics:,} links: median of {rounds} rounds (lowest, highest)")
    report.add(Line("keys looked up, links and audit rows written, runs opened", spread(imported, unit="s")))
    report.add(Line("one COPY of the same links, same table and indexes", spread(copied, unit="s")))
    report.add(ratio("the import against the COPY", imported, copied, most=MOST_TIMES))


async def _rounds(report: Report, url: str, tracker: Tracker, rounds: int) -> tuple[list[float], list[float]]:
    imported: list[float] = []
    copied: list[float] = []
    async with northing(url) as instance, await psycopg.AsyncConnection.connect(url, autocommit=True) as rows:
        await instance.set_up(tracker)
        await instance.sync("full")
        keys = [key for (key,) in await (await rows.execute(_KEYS)).fetchall()]
        requests = [
            LinkRequest(SOURCE, key, f"KR-{number % 9 + 1}", 1 + number % 3, primary=not number % 2)
            for number, key in enumerate(keys)
        ]
        for number in range(1, rounds + 1):
            report.progress(f"import of {len(requests):,} links, round {number} of {rounds}")
            await _clear(rows)
            imported.append(await _import(instance, requests))
            made = await _made(rows)
            await _clear(rows)
            copied.append(await _copy(url, made))
        audited = await (await rows.execute(_AUDITED)).fetchone()
        if audited != (len(requests) * rounds,):
            raise RuntimeError(f"{audited} links are in the audit log")
    return imported, copied


async def _clear(rows: psycopg.AsyncConnection) -> None:
    """Links of the rules stay, as in a database that is in use."""
    await rows.execute("DELETE FROM links WHERE origin = 'manual'")
    await rows.execute("VACUUM ANALYZE links")
    await rows.execute("CHECKPOINT")


async def _import(instance: Northing, requests: list[LinkRequest]) -> float:
    start = perf_counter()
    await instance.link(requests)
    return perf_counter() - start


async def _made(rows: psycopg.AsyncConnection) -> bytes:
    async with rows.cursor() as cursor, cursor.copy(_MADE) as copy:
        return b"".join([bytes(part) async for part in copy])


async def _copy(url: str, made: bytes) -> float:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        start = perf_counter()
        async with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            await copy.write(made)
        await connection.commit()
        return perf_counter() - start
