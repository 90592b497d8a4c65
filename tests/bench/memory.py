"""How much memory a process takes for a first full sync, for few epics and for many, each in a process anew.

As a program it does one such sync: JSON on standard input names the database and the tracker, JSON on
standard output gives the peak.
"""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import median

from uvicorn.loops.auto import auto_loop_factory

from app import logs
from tests.bench.northing import SYNC_SECONDS, northing
from tests.bench.report import Line, Report
from tests.bench.servers import Databases, Tracker

# Ten times the epics. To hold them all, or all their JSON, would add a third and more to the process; what
# may grow is the set of ids a full run has met, some 100 bytes each, and what the allocator does not return.
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
                peaks[tracker.epics].append(_peak_of_child(url, tracker))
    report.section(f"Memory of a process that syncs for the first time: median peak of {rounds} rounds")
    for epics, values in peaks.items():
        spread = f"{median(values):.1f} MiB ({min(values):.1f}, {max(values):.1f})"
        report.add(Line(f"at {epics:,} epics", spread))
    low, high = (median(values) for values in peaks.values())
    growth = high / low - 1
    report.add(Line("growth", f"{growth:+.1%}", f"at most {MOST_GROWTH:+.0%}", growth <= MOST_GROWTH))


def _peak_of_child(url: str, tracker: Tracker) -> float:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.memory"],
        input=json.dumps({"database": url, "tracker": asdict(tracker)}),
        stdout=subprocess.PIPE,
        timeout=SYNC_SECONDS + 60,
        check=True,
        text=True,
        start_new_session=True,
    )
    return float(json.loads(done.stdout)["peak_mib"])


def _peak_mib() -> float:
    """The most this process has held. Linux passes the parent's peak on in getrusage, but not in VmHWM."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1 << 20 if sys.platform == "darwin" else 1024
    )


async def _first_sync(url: str, tracker: Tracker) -> None:
    async with northing(url) as instance:
        await instance.set_up(tracker)
        await instance.warn_all()
        await instance.sync("full")


def main() -> None:
    given = json.load(sys.stdin)
    logs.configure("console")
    logging.getLogger().setLevel(logging.WARNING)
    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        runner.run(_first_sync(given["database"], Tracker(**given["tracker"])))
    sys.stdout.write(json.dumps({"peak_mib": _peak_mib()}) + "\n")


if __name__ == "__main__":
    main()
