"""One worker process against two: how long it takes to write many due comments in two slow trackers.

Both are Jira's, which takes several writes at once: GitHub's tickets are written one after the other, however
many workers there are.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import ExitStack
from time import perf_counter
from typing import Any

import psycopg
import requests

from tests.bench.bare import SECONDS
from tests.bench.northing import Northing, northing, working
from tests.bench.report import Line, Report, ratio, spread
from tests.bench.servers import Databases, Kind, Tracker, tracker

KINDS: tuple[Kind, ...] = ("jira", "jira")
LATENCY = 50.0  # milliseconds, of each of the trackers
REQUESTS = 2  # that one comment takes: the ticket is fetched, the comment is written
WORKERS = (1, 2)
LEAST_FASTER = 1.8
WARM_UP = 4  # the first of so many comments: each process loads once what suggests key results
# Some of the crowd's epics are finished or name a key result: so many times more are needed.
EPICS_FOR_A_NOTICE = 1.8
PATIENCE = 300  # seconds for all comments
POLL_SECONDS = 0.05
_CREATE = re.compile(r"POST .*/comments?")
_POSTED = "SELECT count(*) FROM notice_writes WHERE kind = 'posted'"


def measure(report: Report, runner: asyncio.Runner, databases: Databases, notices: int, rounds: int) -> None:
    """Workers are idle and listening when all comments become due in one moment."""
    took: dict[int, list[float]] = {count: [] for count in WORKERS}
    order = list(WORKERS)
    for number in range(1, rounds + 1):
        report.progress(f"one worker against two, round {number} of {rounds}")
        with ExitStack() as stack:
            epics = round(notices / len(KINDS) * EPICS_FOR_A_NOTICE)
            trackers = [stack.enter_context(tracker(epics, kind, LATENCY)) for kind in KINDS]
            for count in order:
                with databases.fresh("workers") as database:
                    took[count].append(runner.run(_write_all(database, trackers, notices, count)))
                _check(trackers, notices)
        order.reverse()
    what = f"{notices:,} due comments in {len(KINDS)} trackers of {LATENCY:.0f} ms"
    report.section(f"{what}: median of {rounds} rounds (lowest, highest)")
    one, two = (took[count] for count in WORKERS)
    report.add(Line("one worker, until the last is posted", spread(one, "{:.1f}", "s")))
    report.add(Line("two workers", spread(two, "{:.1f}", "s")))
    report.add(ratio("times faster with two", one, two, least=LEAST_FASTER))
    each = (notices - notices // WARM_UP) // len(KINDS)
    least = each * REQUESTS * LATENCY / 1000
    report.add(Line(f"{each} comments, one after the other, take at least", f"{least:.1f} s"))


async def _write_all(database: str, trackers: list[Tracker], notices: int, workers: int) -> float:
    """Seconds from the moment the first comments are posted until the last is."""
    async with northing(database) as instance:
        await _evaluate_all(instance, trackers, notices)
        with ExitStack() as stack:
            for _ in range(workers):
                stack.enter_context(working(database))
            for each in trackers:
                requests.delete(f"{each.url}/-/requests", timeout=SECONDS).raise_for_status()
            rows = stack.enter_context(psycopg.connect(database, autocommit=True, connect_timeout=10))
            await instance.let_go()
            async with asyncio.timeout(PATIENCE):
                while _number(rows, _POSTED) < notices // WARM_UP:
                    await asyncio.sleep(POLL_SECONDS)
                start = perf_counter()
                while _number(rows, _POSTED) < notices:
                    await asyncio.sleep(POLL_SECONDS)
            return perf_counter() - start


async def _evaluate_all(instance: Northing, trackers: list[Tracker], notices: int) -> None:
    """Everything but the writing; the day's cap makes the comments as many as wanted.

    The burst guard has to let through each epic with a gap, of which there are up to twice as many.
    """
    await instance.set_up_goals()
    await instance.send("PATCH", "/policy", {"since": None, "grace": "PT0S"})
    for number, each in enumerate(trackers):
        name = f"{each.kind}-{number}"
        per_day = notices // len(trackers)
        limits = {"per_day": per_day, "per_run": 2 * per_day, "max_share": 1}
        await instance.connect(name, each, notices={"mode": "live"} | limits)
        await instance.evaluate(name)
    held = await instance.hold_back()
    if held != notices:
        raise RuntimeError(f"{held} comments are due, not {notices}")


def _number(rows: psycopg.Connection[Any], query: str) -> int:
    row = rows.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def _check(trackers: list[Tracker], notices: int) -> None:
    """Each comment was sent once."""
    sent = 0
    for each in trackers:
        asked = requests.get(f"{each.url}/-/requests", timeout=SECONDS).json()["by_line"]
        sent += sum(times for line, times in asked.items() if _CREATE.fullmatch(line))
    if sent != notices:
        raise RuntimeError(f"{notices} comments were due, {sent} were sent")
