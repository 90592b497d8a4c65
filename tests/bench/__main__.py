"""`make bench`, or `python -m tests.bench --rounds 2 --epics 1000` for a quick trial."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack

from uvicorn.loops.auto import auto_loop_factory

from app import logs
from tests.bench import incremental, memory, speed
from tests.bench.report import Report
from tests.bench.servers import databases, tracker

FEWER = 10  # times fewer epics, to compare the memory with


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Measure Northing's sync; ends 1 if a target is missed."
    )
    parser.add_argument("--rounds", type=_at_least(1), default=5, help="of each measurement in time")
    parser.add_argument("--epics", type=_at_least(100), default=10_000)
    arguments = parser.parse_args()
    logs.configure("console")
    logging.getLogger().setLevel(logging.WARNING)
    # One way out for both signals: the blocks below stop what they started.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        sys.exit(_bench(arguments.rounds, arguments.epics))
    except KeyboardInterrupt:
        sys.exit(130)


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"at least {least}")
        return value

    return number


def _bench(rounds: int, epics: int) -> int:
    report = Report()
    with ExitStack() as stack:
        server = stack.enter_context(databases())
        many = stack.enter_context(tracker(epics))
        few = stack.enter_context(tracker(epics // FEWER))
        runner = stack.enter_context(asyncio.Runner(loop_factory=auto_loop_factory()))
        speed.measure(report, runner, server, many, rounds)
        memory.measure(report, server, few, many, rounds)
        incremental.measure(report, runner, server, many)
    return report.close()


if __name__ == "__main__":
    main()
