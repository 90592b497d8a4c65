"""How time, processors and memory of a first full sync grow with the epics, each in a process anew."""

from __future__ import annotations

from statistics import median

import psycopg

from tests.bench.crowds import Crowds
from tests.bench.first_sync import Cost, first_sync
from tests.bench.memory import lines_of_peaks
from tests.bench.report import Line, Report, spread
from tests.bench.servers import Databases

TIMES = 10
# Ten times the epics, and for the database indexes that are a level deeper.
MOST_TIMES, MOST_TIMES_POSTGRES = 10.5, 12.0


def measure(report: Report, databases: Databases, crowds: Crowds, few: int, rounds: int) -> None:
    """A round is few, many, few. The last databases of both sizes are kept for the parts that follow."""
    many = few * TIMES
    costs: dict[int, list[Cost]] = {few: [], many: []}
    sizes: dict[int, int] = {}
    with databases.fresh("growth") as url:
        empty = _bytes_of(url)
    trackers = {epics: crowds.tracker(epics) for epics in costs}
    for number in range(1, rounds + 1):
        for epics in (few, many, few):
            report.progress(f"first full sync of {epics:,} epics, round {number} of {rounds}")
            with databases.fresh("growth") as url:
                costs[epics].append(first_sync(url, trackers[epics]))
                sizes[epics] = _bytes_of(url) - empty
                if number == rounds:
                    crowds.keep("growth", epics)
    report.section(
        f"A first full sync, of {few:,} and of {many:,} epics: median of {rounds} rounds (lowest, highest)"
    )
    for epics, own in costs.items():
        for what, values in (
            ("time", [cost.wall for cost in own]),
            ("our processor", [cost.cpu for cost in own]),
            ("PostgreSQL's processors", [cost.postgres for cost in own]),
        ):
            report.add(Line(f"{what} for {epics:,}", spread(values, unit="s")))
    small, large = (_median(own) for own in costs.values())
    report.add(_times("time", large.wall, small.wall, MOST_TIMES))
    report.add(_times("our processor", large.cpu, small.cpu, MOST_TIMES))
    report.add(_times("PostgreSQL's processors", large.postgres, small.postgres, MOST_TIMES_POSTGRES))
    for epics, size in sizes.items():
        figure = f"{size / 1e6:,.0f} MB, {size / epics / 1000:.1f} KB an epic"
        report.add(Line(f"the database with {epics:,}, without what an empty one takes", figure))
    report.section("Its memory: median peak of the process (lowest, highest)")
    for line in lines_of_peaks({epics: [cost.peak_mib for cost in own] for epics, own in costs.items()}):
        report.add(line)


def _bytes_of(database: str) -> int:
    with psycopg.connect(database, connect_timeout=10) as connection:
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    assert row is not None
    return int(row[0])


def _median(costs: list[Cost]) -> Cost:
    """Of each figure by itself."""
    return Cost(
        median(cost.wall for cost in costs),
        median(cost.cpu for cost in costs),
        median(cost.postgres for cost in costs),
        median(cost.peak_mib for cost in costs),
    )


def _times(what: str, large: float, small: float, most: float) -> Line:
    times = large / small
    return Line(f"{what}, many against few", f"{times:.2f}", f"at most {most:g}", times <= most)
