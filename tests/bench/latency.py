"""How long a first full sync takes where each page takes its time, against fetching the pages alone."""

from __future__ import annotations

from tests.bench import bare
from tests.bench.first_sync import first_sync
from tests.bench.report import Line, Report, ratio, spread
from tests.bench.servers import Databases, tracker

LATENCY = 30.0  # milliseconds before each answer
MOST_TIMES_PAGING = 1.2


def measure(report: Report, databases: Databases, epics: int, rounds: int) -> None:
    """Jira's next page is asked for with the token of the one before: no reader is faster than this."""
    ours: list[float] = []
    paging: list[float] = []
    with tracker(epics, latency=LATENCY) as slow:
        bare.fetch_and_decode(slow)  # the tracker keeps the pages it has shown once
        for number in range(1, rounds + 1):
            report.progress(f"pages of {LATENCY:g} ms, round {number} of {rounds}")
            with databases.fresh("latency") as url:
                ours.append(first_sync(url, slow).wall)
            paging.append(bare.fetch_and_decode(slow))
    report.section(
        f"First full sync of {epics:,} epics in pages of {LATENCY:g} ms: median of {rounds} rounds "
        "(lowest, highest)"
    )
    report.add(Line("Northing, from the request until its run has succeeded", spread(ours, unit="s")))
    report.add(Line("the same pages fetched one after the other and decoded", spread(paging, unit="s")))
    report.add(ratio("Northing against the paging", ours, paging, most=MOST_TIMES_PAGING))
