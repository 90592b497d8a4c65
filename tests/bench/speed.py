"""How long a first full sync takes, against the bare minimum of the same work, in interleaved rounds."""

from __future__ import annotations

import asyncio

from tests.bench import bare
from tests.bench.northing import northing
from tests.bench.report import Line, Report, ratio, spread
from tests.bench.servers import Databases, Tracker

MOST_TIMES_INSERTED = 3.0


def measure(
    report: Report, runner: asyncio.Runner, databases: Databases, tracker: Tracker, rounds: int
) -> None:
    """A round is Northing, then the two bare ways; ratios are taken within a round, the median over all."""
    bare.fetch_and_decode(tracker)  # the tracker keeps the pages it has shown once
    full: list[float] = []
    inserted: list[float] = []
    decoded: list[float] = []
    for number in range(1, rounds + 1):
        report.progress(f"first full sync, round {number} of {rounds}")
        with databases.fresh("northing") as url:
            full.append(runner.run(_first_sync(url, tracker)))
        with databases.fresh("bare", migrated=False) as url:
            inserted.append(bare.fetch_and_insert(tracker, url))
        decoded.append(bare.fetch_and_decode(tracker))
    report.section(f"First full sync of {tracker.epics:,} epics: median of {rounds} rounds (lowest, highest)")
    report.add(Line("Northing, from the request until its run has succeeded", spread(full, unit="s")))
    report.add(Line("the same pages fetched, decoded, inserted without an index", spread(inserted, unit="s")))
    report.add(Line("the same pages fetched and decoded", spread(decoded, unit="s")))
    report.add(ratio("Northing against fetched, decoded, inserted", full, inserted, most=MOST_TIMES_INSERTED))
    report.add(ratio("Northing against fetched and decoded", full, decoded))


async def _first_sync(url: str, tracker: Tracker) -> float:
    async with northing(url) as instance:
        await instance.set_up(tracker)
        synced = await instance.sync("full")
    if synced.run["created"] != tracker.epics:
        raise RuntimeError(f"{synced.run['created']} epics were stored, {tracker.epics} are there")
    return synced.seconds
