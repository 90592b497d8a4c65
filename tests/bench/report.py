"""What a bench found, as a table a person can read."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TextIO


@dataclass(frozen=True, slots=True)
class Line:
    """A figure; `met` is None where there is no target."""

    name: str
    figure: str
    target: str = ""
    met: bool | None = None


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
) -> Line:
    """Of what was measured in the same round; the target, if any, is for the median."""
    ratios = [value / other for value, other in zip(values, against, strict=True)]
    figure = spread(ratios)
    if most is not None:
        return Line(name, figure, f"at most {most:g}", median(ratios) <= most)
    if least is not None:
        return Line(name, figure, f"at least {least:g}", median(ratios) >= least)
    return Line(name, figure)


class Report:
    """Lines in sections, written to `out` as they come; what goes on meanwhile to `aside`."""

    def __init__(self, out: TextIO | None = None, aside: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._aside = aside or sys.stderr
        self.missed: list[Line] = []

    def progress(self, what: str) -> None:
        self._aside.write(f"... {what}\n")
        self._aside.flush()

    def section(self, title: str) -> None:
        self._write(f"\n{title}\n")

    def add(self, line: Line) -> None:
        met = {None: "", True: "ok", False: "MISSED"}[line.met]
        self._write(f"  {line.name:<58} {line.figure:<28} {line.target:<14} {met}".rstrip() + "\n")
        if line.met is False:
            self.missed.append(line)

    def close(self) -> int:
        """The exit code."""
        count = len(self.missed)
        self._write(f"\n{'Every target is met.' if not count else f'{count} missed.'}\n")
        return 1 if count else 0

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
