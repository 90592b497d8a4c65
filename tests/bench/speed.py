"""How long full syncs take, against the bare minimum of the same work, in interleaved rounds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from app.server.bootstrap import after_start
from tests.bench import bare
from tests.bench.northing import northing
from tests.bench.report import Line, Report, ratio, spread
from tests.bench.servers import Databases, Tracker

MOST_TIMES_INSERTED, GOAL_INSERTED = 1.6, 1.3
MOST_TIMES_DECODED, GOAL_DECODED = 4.0, 2.0


@dataclass
class _Rounds:
    """The seconds of each round."""

    first: list[float] = field(default_factory=list)
    unchanged: list[float] = field(default_factory=list)
    inserted: list[float] = field(default_factory=list)
    without_index: list[float] = field(default_factory=list)
    decoded: list[float] = field(default_factory=list)


def measure(
    report: Report, runner: asyncio.Runner, databases: Databases, tracker: Tracker, rounds: int
) -> None:
    """A round is Northing, then the bare ways; ratios are taken within a round, the median over all."""
    bare.fetch_and_decode(tracker)  # the tracker keeps the pages it has shown once
    took = _Rounds()
    for number in range(1, rounds + 1):
        report.progress(f"first and unchanged full sync, round {number} of {rounds}")
        with databases.fresh("northing") as url:
            first, unchanged = runner.run(_two_syncs(url, tracker))
        took.first.append(first)
        took.unchanged.append(unchanged)
        with after_start():  # on the same terms as Northing
            with databases.fresh("bare") as url:
                took.inserted.append(bare.fetch_and_insert(tracker, url))
            with databases.fresh("bare", migrated=False) as url:
                took.without_index.append(bare.fetch_and_insert_without_index(tracker, url))
            took.decoded.append(bare.fetch_and_decode(tracker))
    _write(report, tracker, rounds, took)


def _write(report: Report, tracker: Tracker, rounds: int, took: _Rounds) -> None:
    report.section(f"Full syncs of {tracker.epics:,} epics: median of {rounds} rounds (lowest, highest)")
    for name, seconds in (
        ("the first one, from the request until its run has succeeded", took.first),
        ("another one, with nothing changed", took.unchanged),
        ("the same pages fetched, decoded, inserted once", took.inserted),
        ("the same pages inserted as they are, without an index", took.without_index),
        ("the same pages fetched and decoded", took.decoded),
    ):
        report.add(Line(name, spread(seconds, unit="s")))
    report.add(
        ratio(
            "the first one against fetched, decoded, inserted once",
            took.first,
            took.inserted,
            most=MOST_TIMES_INSERTED,
            goal=GOAL_INSERTED,
        )
    )
    report.add(ratio("the first one against inserted without an index", took.first, took.without_index))
    report.add(ratio("the first one against fetched and decoded", took.first, took.decoded))
    report.add(
        ratio(
            "the unchanged one against fetched and decoded",
            took.unchanged,
            took.decoded,
            most=MOST_TIMES_DECODED,
            goal=GOAL_DECODED,
        )
    )


async def _two_syncs(url: str, tracker: Tracker) -> tuple[float, float]:
    async with northing(url) as instance:
        await instance.set_up(tracker)
        first, unchanged = await instance.sync("full"), await instance.sync("full")
    if first.run["created"] != tracker.epics:
        raise RuntimeError(f"{first.run['created']} epics were stored, {tracker.epics} are there")
    if unchanged.run["created"] or unchanged.run["updated"]:
        raise RuntimeError("the second sync changed epics, and none had changed")
    return first.seconds, unchanged.seconds
