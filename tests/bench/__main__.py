"""`make bench`, or `python -m tests.bench --rounds 1 --epics 1000` for a quick trial."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from time import perf_counter

from app import logs
from tests.bench import workers
from tests.bench.parts import PARTS, USUAL, run
from tests.bench.report import Line, Report

MOST_MINUTES = 6.0  # of the usual parts in their usual sizes, on two idle cores


def main() -> None:
    options = parsed(sys.argv[1:])
    logs.configure("console")
    logging.getLogger().setLevel(logging.WARNING)
    # One way out for all signals: the blocks below stop what they started.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        sys.exit(measure(Report(), options))
    except KeyboardInterrupt:
        sys.exit(130)


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Measure Northing; ends 1 if a target is missed."
    )
    parser.add_argument("--rounds", type=_at_least(1), default=3, help="of each measurement in time")
    parser.add_argument(
        "--slow-rounds", type=_at_least(1), default=1, help="of growth, latency and workers, a minute each"
    )
    parser.add_argument(
        "--epics", type=_at_least(100), default=10_000, help="of the syncs; ten times as many of growth"
    )
    parser.add_argument(
        "--seconds", type=_at_least(1), default=2, help="webhooks are sent at once, in each round"
    )
    parser.add_argument("--edits", type=_at_least(4), default=40, help="that a comment answers")
    parser.add_argument(
        "--notices", type=_at_least(4), default=200, help="due at once, as many on each tracker"
    )
    parser.add_argument("--rules", type=_at_least(1), default=300, help="posted one after the other")
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=None, metavar="PART", help=f"of {', '.join(PARTS)}"
    )
    parser.add_argument(
        "--peers",
        action="store_true",
        help="load the same pages with dlt too, which pip installs: needs the network",
    )
    options = parser.parse_args(arguments)
    if options.notices % len(workers.KINDS):
        parser.error(f"--notices is a multiple of {len(workers.KINDS)}")
    options.usual = options.only is None and not options.peers and _usual_sizes(parser, options)
    options.parts = (*(options.only or USUAL), *(["peers"] if options.peers else []))
    return options


def _usual_sizes(parser: argparse.ArgumentParser, options: argparse.Namespace) -> bool:
    sizes = ("rounds", "slow_rounds", "epics", "seconds", "edits", "notices", "rules")
    return all(getattr(options, name) == parser.get_default(name) for name in sizes)


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"at least {least}")
        return value

    return number


def measure(report: Report, options: argparse.Namespace) -> int:
    """The exit code. How long it took has a target where the usual parts ran in their usual sizes."""
    start = perf_counter()
    took = run(options.parts, report, options)
    report.part("bench")
    report.section("The bench")
    for name, seconds in took.items():
        report.add(Line(name, f"{seconds:.0f} s"))
    report.add(duration(perf_counter() - start, usual=options.usual))
    return report.close()


def duration(seconds: float, *, usual: bool) -> Line:
    figure = f"{seconds / 60:.1f} min"
    if not usual:
        return Line("all of it", figure)
    return Line("all of it", figure, f"at most {MOST_MINUTES:g} min", seconds / 60 <= MOST_MINUTES)


if __name__ == "__main__":
    main()
