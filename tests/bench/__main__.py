"""`make bench`, or `python -m tests.bench --rounds 2 --epics 1000` for a quick trial."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Callable

from uvicorn.loops.auto import auto_loop_factory

from app import logs
from tests.bench import (
    changes,
    door,
    imports,
    incremental,
    inheritance,
    lists,
    memory,
    pages,
    quiet,
    quiet_github,
    reaction,
    reports,
    speed,
    suggestions,
    workers,
)
from tests.bench.report import Report
from tests.bench.servers import Databases, databases, tracker

FEWER = 10  # times fewer epics, to compare the memory with
PARTS = (
    "sync",
    "quiet",
    "intake",
    "reaction",
    "workers",
    "changes",
    "inheritance",
    "import",
    "lists",
    "pages",
    "reports",
    "suggestions",
)

OF_MANY = {"import": imports, "lists": lists, "pages": pages, "reports": reports}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Measure Northing; ends 1 if a target is missed."
    )
    parser.add_argument("--rounds", type=_at_least(1), default=5, help="of each measurement in time")
    parser.add_argument("--epics", type=_at_least(100), default=10_000, help="of the syncs")
    parser.add_argument(
        "--seconds", type=_at_least(1), default=2, help="webhooks are sent at once, in each round"
    )
    parser.add_argument("--edits", type=_at_least(4), default=100, help="that a comment answers")
    parser.add_argument("--notices", type=_at_least(4), default=1000, help="due at once, a multiple of 4")
    parser.add_argument("--rules", type=_at_least(1), default=300, help="posted one after the other")
    parser.add_argument("--worker-rounds", type=_at_least(1), default=1, help="each takes two minutes")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="a part of it")
    arguments = parser.parse_args()
    if arguments.notices % len(workers.KINDS):
        parser.error("--notices is a multiple of 4")
    logs.configure("console")
    logging.getLogger().setLevel(logging.WARNING)
    # One way out for all signals: the blocks below stop what they started.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        sys.exit(_bench(arguments))
    except KeyboardInterrupt:
        sys.exit(130)


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"at least {least}")
        return value

    return number


def _bench(options: argparse.Namespace) -> int:
    report = Report()
    if "suggestions" in options.only:
        suggestions.measure(report, options.rounds)
    if set(options.only) != {"suggestions"}:  # which need no database
        _with_databases(report, options)
    return report.close()


def _with_databases(report: Report, options: argparse.Namespace) -> None:
    with databases() as server, asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        if "sync" in options.only:
            _sync(report, runner, server, options)
        if "quiet" in options.only:
            quiet.measure(report, runner, server)
            quiet_github.measure(report, runner, server, options.rounds)
        if "intake" in options.only:
            door.measure(report, runner, server, options.rounds, options.seconds)
        if "reaction" in options.only:
            reaction.measure(report, runner, server, options.edits)
        if "workers" in options.only:
            workers.measure(report, runner, server, options.notices, options.worker_rounds)
        if "changes" in options.only:
            with tracker(options.epics) as many, tracker(options.epics // 100 or 1) as few:
                changes.measure(report, runner, server, few, many, options.rules)
        if "inheritance" in options.only:
            with tracker(1) as one:
                inheritance.measure(report, runner, server, one, options.epics // 10, options.epics * 10)
        for name, module in OF_MANY.items():
            if name in options.only:
                with tracker(options.epics) as many:
                    module.measure(report, runner, server, many, options.rounds)


def _sync(report: Report, runner: asyncio.Runner, server: Databases, options: argparse.Namespace) -> None:
    with tracker(options.epics) as many, tracker(options.epics // FEWER) as few:
        speed.measure(report, runner, server, many, options.rounds)
        memory.measure(report, server, few, many, options.rounds)
        incremental.measure(report, runner, server, many)


if __name__ == "__main__":
    main()
