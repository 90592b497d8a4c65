"""What the bench runs on, and what PostgreSQL's processes cost. Linux alone says the latter, in /proc."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path

import psycopg

# Beyond this many waiting processes before it begins, a figure in seconds says little.
BUSY = 0.5
_PARENT, _USER, _SYSTEM, _ENDED_USER, _ENDED_SYSTEM = 1, 11, 12, 13, 14


def facts(database: str) -> list[str]:
    """Lines on the machine: processors, memory, versions, and whether others use it."""
    with psycopg.connect(database, connect_timeout=10) as connection:
        row = connection.execute("SHOW server_version").fetchone()
    assert row is not None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    load = os.getloadavg()[0]
    state = "idle" if load <= BUSY else "BUSY: figures in seconds say little"
    return [
        f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} on {platform.machine()}",
        f"Python {platform.python_version()}, PostgreSQL {row[0]}",
        f"load {load:.2f} when it began: {state}",
    ]


def postmaster_of(database: str) -> int:
    """The id of the process that all processes of this PostgreSQL are children of."""
    with psycopg.connect(database, connect_timeout=10) as connection:
        return int(_fields(Path(f"/proc/{connection.info.backend_pid}/stat").read_text())[_PARENT])


def postgres_seconds(postmaster: int) -> float:
    """Seconds of processor time that PostgreSQL has taken: of its processes, and of those that have ended."""
    ticks = 0
    for fields in _all_stats():
        if int(fields[_PARENT]) == postmaster:
            ticks += int(fields[_USER]) + int(fields[_SYSTEM])
    # Those that ended are counted once the postmaster has waited for them, which it does at once.
    own = _fields(Path(f"/proc/{postmaster}/stat").read_text())
    ticks += sum(int(own[number]) for number in (_USER, _SYSTEM, _ENDED_USER, _ENDED_SYSTEM))
    return ticks / os.sysconf("SC_CLK_TCK")


def peak_mib() -> float:
    """The most memory this process has held: getrusage may give its parent's peak, VmHWM does not."""
    (line,) = (
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")
    )
    return int(line.split()[1]) / 1024


def _all_stats() -> Iterator[list[str]]:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            yield _fields(stat.read_text())
        except OSError:
            continue  # it has ended


def _fields(stat: str) -> list[str]:
    """Those after the name, which is in brackets and may have spaces."""
    return stat.rpartition(")")[2].split()
