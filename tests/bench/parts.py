"""The parts of the bench: what each shows, and which of them run where none is named."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter

from uvicorn.loops.auto import auto_loop_factory

from tests.bench import (
    changes,
    door,
    evaluation,
    growth,
    imports,
    incremental,
    inheritance,
    latency,
    lists,
    machine,
    memory,
    pages,
    peers,
    quiet,
    quiet_github,
    reaction,
    reports,
    speed,
    suggestions,
    workers,
)
from tests.bench.crowds import Crowds
from tests.bench.report import Report
from tests.bench.servers import Databases, databases, tracker

FEWER = 10  # times fewer epics, to compare with


class Bench:
    """What the parts share; each is made when a part first needs it, and ends with `stack`."""

    def __init__(self, report: Report, stack: ExitStack, options: argparse.Namespace) -> None:
        self.report = report
        self.options = options
        self._stack = stack

    @cached_property
    def databases(self) -> Databases:
        made = self._stack.enter_context(databases())
        self.report.section("The machine")
        for line in machine.facts(made.url("postgres")):
            self.report.say(line)
        return made

    @cached_property
    def runner(self) -> asyncio.Runner:
        return self._stack.enter_context(asyncio.Runner(loop_factory=auto_loop_factory()))

    @cached_property
    def crowds(self) -> Crowds:
        return Crowds(self._stack, self.databases, self.report)


@dataclass(frozen=True, slots=True)
class Measurement:
    """`usual` ones show the goals that docs/performance.md lists, and run where none is named."""

    measure: Callable[[Bench], None]
    usual: bool = True


def _sync(bench: Bench) -> None:
    many = bench.crowds.tracker(bench.options.epics)
    speed.measure(bench.report, bench.runner, bench.databases, many, bench.options.rounds)


def _latency(bench: Bench) -> None:
    latency.measure(bench.report, bench.databases, bench.options.epics, bench.options.slow_rounds)


def _growth(bench: Bench) -> None:
    epics, rounds = bench.options.epics, bench.options.slow_rounds
    growth.measure(bench.report, bench.databases, bench.crowds, epics, rounds)


def _changes(bench: Bench) -> None:
    epics = bench.options.epics
    with tracker(epics) as many, tracker(epics // 100 or 1) as few:
        changes.measure(bench.report, bench.runner, bench.databases, few, many, bench.options.rules)


def _evaluation(bench: Bench) -> None:
    epics, rounds = bench.options.epics * growth.TIMES, bench.options.slow_rounds
    evaluation.measure(bench.report, bench.runner, bench.crowds, epics, rounds)


def _lists(bench: Bench) -> None:
    lists.measure(bench.report, bench.runner, bench.crowds, bench.options.epics, bench.options.rounds)


def _quiet(bench: Bench) -> None:
    quiet.measure(bench.report, bench.runner, bench.databases)
    quiet_github.measure(bench.report, bench.runner, bench.databases, bench.options.rounds)


def _reaction(bench: Bench) -> None:
    reaction.measure(bench.report, bench.runner, bench.databases, bench.options.edits)


def _workers(bench: Bench) -> None:
    options = bench.options
    workers.measure(bench.report, bench.runner, bench.databases, options.notices, options.slow_rounds)


def _intake(bench: Bench) -> None:
    options = bench.options
    door.measure(bench.report, bench.runner, bench.databases, options.rounds, options.seconds)


def _peers(bench: Bench) -> None:
    peers.measure(
        bench.report, bench.databases, bench.crowds.tracker(bench.options.epics), bench.options.rounds
    )


def _incremental(bench: Bench) -> None:
    with tracker(bench.options.epics) as many:  # of its own, for some of its epics are changed
        incremental.measure(bench.report, bench.runner, bench.databases, many)


def _memory(bench: Bench) -> None:
    few, many = (
        bench.crowds.tracker(number) for number in (bench.options.epics // FEWER, bench.options.epics)
    )
    memory.measure(bench.report, bench.databases, few, many, bench.options.rounds)


def _inheritance(bench: Bench) -> None:
    epics = bench.options.epics
    with tracker(1) as one:
        inheritance.measure(bench.report, bench.runner, bench.databases, one, epics // 10, epics * 10)


def _import(bench: Bench) -> None:
    many = bench.crowds.tracker(bench.options.epics)
    imports.measure(bench.report, bench.runner, bench.databases, many, bench.options.rounds)


def _pages(bench: Bench) -> None:
    many = bench.crowds.tracker(bench.options.epics)
    pages.measure(bench.report, bench.runner, bench.databases, many, bench.options.rounds)


def _reports(bench: Bench) -> None:
    many = bench.crowds.tracker(bench.options.epics)
    reports.measure(bench.report, bench.runner, bench.databases, many, bench.options.rounds)


def _suggestions(bench: Bench) -> None:
    suggestions.measure(bench.report, bench.options.rounds)


# In this order: `growth` makes the databases of many epics that `evaluation` and `lists` copy.
PARTS = {
    "sync": Measurement(_sync),
    "latency": Measurement(_latency),
    "growth": Measurement(_growth),
    "evaluation": Measurement(_evaluation),
    "lists": Measurement(_lists),
    "quiet": Measurement(_quiet),
    "reaction": Measurement(_reaction),
    "workers": Measurement(_workers),
    "intake": Measurement(_intake),
    "peers": Measurement(_peers, usual=False),
    "changes": Measurement(_changes, usual=False),
    "incremental": Measurement(_incremental, usual=False),
    "memory": Measurement(_memory, usual=False),
    "inheritance": Measurement(_inheritance, usual=False),
    "import": Measurement(_import, usual=False),
    "pages": Measurement(_pages, usual=False),
    "reports": Measurement(_reports, usual=False),
    "suggestions": Measurement(_suggestions, usual=False),
}
USUAL = tuple(name for name, part in PARTS.items() if part.usual)


def run(names: tuple[str, ...], report: Report, options: argparse.Namespace) -> dict[str, float]:
    """These parts, in the order of `PARTS`; the seconds that each took, with what it made for the others."""
    took: dict[str, float] = {}
    with ExitStack() as stack:
        bench = Bench(report, stack, options)
        for name, part in PARTS.items():
            if name in names:
                start = perf_counter()
                report.part(name)
                part.measure(bench)
                took[name] = perf_counter() - start
    return took
