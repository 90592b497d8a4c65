"""How much memory a process takes for a first full sync that works out a notice for each epic with a gap, for
few epics and for many, each in a process anew."""

from __future__ import annotations

from statistics import median

from tests.bench.first_sync import first_sync
from tests.bench.report import Line, Report
from tests.bench.servers import Databases, Tracker

# Ten times the epics. To hold them all, or all their JSON, would add a third and more to the process; what
# may grow is the set of ids a full run has met, eight bytes each, and what the allocator does not return.
MOST_GROWTH = 0.1
MOST_ROUNDS = 3


def measure(report: Report, databases: Databases, few: Tracker, many: Tracker, rounds: int) -> None:
    """`rounds` are capped: memory varies far less than time does."""
    peaks: dict[int, list[float]] = {few.epics: [], many.epics: []}
    rounds = min(rounds, MOST_ROUNDS)
    for number in range(1, rounds + 1):
        for tracker in (few, many):
            report.progress(f"memory at {tracker.epics:,} epics, round {number} of {rounds}")
            with databases.fresh("memory") as url:
                peaks[tracker.epics].append(first_sync(url, tracker, warn=True).peak_mib)
    report.section(f"Memory of a process that syncs for the first time: median peak of {rounds} rounds")
    for line in lines_of_peaks(peaks):
        report.add(line)


def lines_of_peaks(peaks: dict[int, list[float]]) -> list[Line]:
    """By number of epics, few before many."""
    lines = []
    for epics, values in peaks.items():
        spread = f"{median(values):.1f} MiB ({min(values):.1f}, {max(values):.1f})"
        lines.append(Line(f"at {epics:,} epics", spread))
    low, high = (median(values) for values in peaks.values())
    growth = high / low - 1
    return [
        *lines,
        Line(
            "memory, many against few", f"{growth:+.1%}", f"at most {MOST_GROWTH:+.0%}", growth <= MOST_GROWTH
        ),
    ]
