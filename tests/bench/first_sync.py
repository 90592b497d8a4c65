"""A first full sync in a process anew, with all that it costs.

As a program it does one such sync: JSON on standard input names the database and the tracker, JSON on
standard output gives the cost.
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from dataclasses import asdict, dataclass
from time import process_time

from uvicorn.loops.auto import auto_loop_factory

from app import logs
from tests.bench.machine import peak_mib, postgres_seconds, postmaster_of
from tests.bench.northing import SYNC_SECONDS, northing
from tests.bench.servers import Tracker

START_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds by the wall's clock, of our processor and of PostgreSQL's, and the process's peak of memory."""

    wall: float
    cpu: float
    postgres: float
    peak_mib: float


def first_sync(database: str, tracker: Tracker, *, warn: bool = False) -> Cost:
    """Of all that `tracker` has; with `warn` a notice is worked out for each epic with a gap, old or new."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.first_sync"],
        input=json.dumps({"database": database, "tracker": asdict(tracker), "warn": warn}),
        stdout=subprocess.PIPE,
        timeout=SYNC_SECONDS + START_SECONDS,
        check=True,
        text=True,
        start_new_session=True,
    )
    return Cost(**json.loads(done.stdout))


async def _first_sync(database: str, tracker: Tracker, warn: bool) -> Cost:
    postmaster = postmaster_of(database)
    async with northing(database) as instance:
        await instance.set_up(tracker)
        if warn:
            await instance.warn_all()
        cpu, postgres = process_time(), postgres_seconds(postmaster)
        synced = await instance.sync("full")
        cpu, postgres = process_time() - cpu, postgres_seconds(postmaster) - postgres
    if synced.run["created"] != tracker.epics:
        raise RuntimeError(f"{synced.run['created']} epics were stored, {tracker.epics} are there")
    return Cost(synced.seconds, cpu, postgres, peak_mib())


def main() -> None:
    given = json.load(sys.stdin)
    logs.configure("console")
    logging.getLogger().setLevel(logging.WARNING)
    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        cost = runner.run(_first_sync(given["database"], Tracker(**given["tracker"]), given["warn"]))
    sys.stdout.write(json.dumps(asdict(cost)) + "\n")


if __name__ == "__main__":
    main()
