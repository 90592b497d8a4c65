"""What a bench found, as a table a person can read."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TextIO

ALL_MET = "Every target is met."


@dataclass(frozen=True, slots=True)
class Line:
    """A figure; `met` is None where there is no target. The further `goal` decides nothing."""

    name: str
    figure: str
    target: str = ""
    met: bool | None = None
    goal: str = ""

    def __str__(self) -> str:
        met = {None: "", True: "ok", False: "MISSED"}[self.met]
        target = f"{self.target}, goal {self.goal}" if self.goal else self.target
        return f"{self.name:<58} {self.figure:<28} {target:<23} {met}".rstrip()


def spread(values: Sequence[float], form: str = "{:.2f}", unit: str = "") -> str:
    """The median with its unit, and in brackets the lowest and the highest."""
    low, middle, high = (form.format(value) for value in (min(values), median(values), max(values)))
    return f"{middle} {unit}".rstrip() + f" ({low}, {high})"


def ratio(
    name: str,
    values: Sequence[float],
    against: Sequence[float],
    *,
    most: float | None = None,
    least: float | None = None,
    goal: float | None = None,
) -> Line:
    """Of what was measured in the same round; the target, if any, is for the median.

    `goal` is where we want to be beyond the target.
    """
    ratios = [value / other for value, other in zip(values, against, strict=True)]
    figure = spread(ratios)
    further = "" if goal is None else f"{goal:g}"
    if most is not None:
        return Line(name, figure, f"at most {most:g}", median(ratios) <= most, further)
    if least is not None:
        return Line(name, figure, f"at least {least:g}", median(ratios) >= least, further)
    return Line(name, figure)


class Report:
    """Lines in sections, written to `out` as they come; what goes on meanwhile to `aside`.

    At its end all lines with a target once more, by part.
    """

    def __init__(self, out: TextIO | None = None, aside: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._aside = aside or sys.stderr
        self._part = ""
        self._with_target: list[tuple[str, Line]] = []

    def progress(self, what: str) -> None:
        self._aside.write(f"... {what}\n")
        self._aside.flush()

    def part(self, name: str) -> None:
        """What the lines that follow belong to."""
        self._part = name

    def section(self, title: str) -> None:
        self._write(f"\n{title}\n")

    def add(self, line: Line) -> None:
        self._write(f"  {line}\n")
        if line.met is not None:
            self._with_target.append((self._part, line))

    def say(self, text: str) -> None:
        self._write(f"  {text}\n")

    def close(self) -> int:
        """The exit code: 1 where a target is missed."""
        if self._with_target:
            self.section("All targets")
        for part, line in self._with_target:
            self._write(f"  {part:<12} {line}\n")
        missed = sum(line.met is False for _, line in self._with_target)
        self._write(f"\n{ALL_MET if not missed else f'{missed} missed.'}\n")
        return 1 if missed else 0

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
