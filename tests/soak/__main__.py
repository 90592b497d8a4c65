"""`make soak`, or `python -m tests.soak --minutes 2 --seed 7`, or `--writing-kills 50`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from pathlib import Path

from app import logs
from tests.soak.chaos import Outcome, soak, soak_writing
from tests.soak.report import report_text

ROUNDS = 2


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description="Kill Northing, its database and its trackers at random; ends 1 if anything is found.",
    )
    parser.add_argument("--minutes", type=float, default=10, help="of trouble; 10 if not said")
    parser.add_argument("--seed", type=int, default=1, help="of all that is random")
    parser.add_argument("--epics", type=int, default=24, help="of each tracker, at the start")
    parser.add_argument("--writing-kills", type=int, help="kill workers so often, only while they write")
    parser.add_argument("--logs", type=Path, help="a folder for the logs of the processes")
    options = parser.parse_args()
    if options.minutes <= 0 or not 16 <= options.epics <= 60:
        parser.error("--minutes is more than 0, --epics is 16 to 60")
    if options.logs is not None:
        options.logs.mkdir(parents=True, exist_ok=True)
    logs.configure("console")
    logging.getLogger().setLevel(logging.WARNING)
    outcome = asyncio.run(_soak(options))
    print(report_text(options.seed, outcome))  # noqa: T201  # its report is its output
    sys.exit(1 if outcome.found else 0)


async def _soak(options: argparse.Namespace) -> Outcome:
    def say(words: str) -> None:
        print(words, flush=True)  # noqa: T201  # its report is its output

    seed, epics, keep = options.seed, options.epics, options.logs
    if options.writing_kills is not None:
        return await soak_writing(seed, epics=epics, kills=options.writing_kills, say=say, keep=keep)
    until = time.monotonic() + 60 * options.minutes
    return await soak(
        seed, epics=epics, rounds=ROUNDS, goes_on=lambda _: time.monotonic() < until, say=say, keep=keep
    )


if __name__ == "__main__":
    main()
