"""Charts as SVG in per cent: where lines, marks and labels of an axis stand. Pure; `charts.html` draws it.

No script and no style attribute is needed, so a chart may stand in a page with the strictest policy, and the
style sheet paints it in both colour schemes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal

Kind = Literal["ln", "two"]
Anchor = Literal["start", "middle", "end"]
Point = tuple[float, float]

# Per cent of the width that two labels need between their middles on a phone.
LABELS_APART = 18
UNIT_AT_MOST = 5  # signs; a longer unit would take the width from the chart
_LARGEST = 1.7e308
_SHORT = ((1e12, "T"), (1e9, "G"), (1e6, "M"))


@dataclass(frozen=True, slots=True)
class Series:
    """`words` names it in the legend; `kind` is the class that paints it: `ln` drawn through, `two` dotted.
    `points` are moments with values, in any order; values that are no finite numbers are left out. `goes_on`:
    another part of the same line follows, so that its end is not the latest value."""

    words: str
    kind: Kind
    points: Sequence[tuple[datetime, float]]
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """`points` and `dot` in per cent from the left and from the top; `dot` marks the latest value, None for
    none."""

    words: str
    kind: Kind
    points: str
    dot: str | None


@dataclass(frozen=True, slots=True)
class Label:
    """`at` in per cent from the left."""

    at: str
    anchor: Anchor
    words: str


@dataclass(frozen=True, slots=True)
class LineChart:
    """`grid`, `now` and `area` in per cent; `marks` from the top down."""

    label: str
    lines: Sequence[Line]
    area: str | None
    grid: Sequence[str]
    marks: Sequence[str]
    now: str | None
    labels: Sequence[Label]


def line_chart(
    series: Sequence[Series],
    *,
    label: str,
    low: float,
    high: float,
    unit: str,
    start: datetime,
    end: datetime,
    now: datetime | None = None,
    marks: int = 3,
    area: bool = False,
) -> LineChart:
    """`label` tells the story in figures. The axis of values runs from `low` to `high`, and further where a
    value lies outside; that of time from `start` to `end`, where lines are cut. `now` is marked where it is
    between them. `marks`: how many values the axis names, two at least. `area`: fill what is under the series
    of kind `ln`."""
    end = max(end, start + timedelta(days=1))
    within = [_within(_finite(one.points), start, end) for one in series]
    low, high = _range([low, high, *(value for points in within for _, value in points)])
    placed = [
        [(_share(at, start, end), (1 - _part(value, low, high)) * 100) for at, value in points]
        for points in within
    ]
    at_now = None if now is None or not start <= now <= end else _share(now, start, end)
    return LineChart(
        label=label,
        lines=[_line(one, points) for one, points in zip(series, placed, strict=True) if points],
        area=_area(series, placed) if area else None,
        grid=[_cut(100 * step / (marks - 1)) for step in range(marks)],
        marks=_value_labels(low, high, unit, marks),
        now=None if at_now is None else _cut(at_now),
        labels=_time_labels(start, end, at_now, named=now is not None),
    )


def short_number(value: float) -> str:
    """As an axis shows it: four digits at most that count, millions and more as `1.2M`."""
    for size, letter in _SHORT:
        if size <= abs(value) < 1000 * _SHORT[0][0]:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}" if abs(value) >= _SHORT[0][0] else f"{_rounded(value):,.10g}"


def with_unit(number: str, unit: str | None) -> str:
    """`75%`, `0.3 EUR`, or the number alone."""
    return number if not unit else f"{number}%" if unit == "%" else f"{number} {unit}"


def _rounded(value: float) -> float:
    if value == 0:
        return 0.0
    return round(value, max(0, 3 - math.floor(math.log10(abs(value)))))


def _finite(points: Sequence[tuple[datetime, float]]) -> list[tuple[datetime, float]]:
    return sorted(((at, value) for at, value in points if math.isfinite(value)), key=lambda point: point[0])


def _within(
    points: Sequence[tuple[datetime, float]], start: datetime, end: datetime
) -> list[tuple[datetime, float]]:
    """The points between both moments, and where a line enters and leaves."""
    found = [point for point in points if start <= point[0] <= end]
    for edge in (start, end):
        for before, after in pairwise(points):
            if before[0] < edge < after[0]:
                share = (edge - before[0]) / (after[0] - before[0])
                found.append((edge, before[1] * (1 - share) + after[1] * share))
    return sorted(found, key=lambda point: point[0])


def _range(values: Sequence[float]) -> tuple[float, float]:
    """The least and the greatest, apart from each other in any case."""
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = max(min(finite), -_LARGEST), min(max(finite), _LARGEST)
    if low < high:
        return low, high
    apart = abs(low) / 10 or 1.0
    return max(low - apart, -_LARGEST), min(high + apart, _LARGEST)


def _part(value: float, low: float, high: float) -> float:
    # By halves, because the distance of the two may be more than a float holds.
    return min(1.0, max(0.0, (value / 2 - low / 2) / (high / 2 - low / 2)))


def _share(at: datetime, start: datetime, end: datetime) -> float:
    return (at - start) / (end - start) * 100


def _cut(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _line(one: Series, points: Sequence[Point]) -> Line:
    shown = [f"{_cut(x)},{_cut(y)}" for x, y in points]
    x, y = points[-1]
    dot = f"M{_cut(x)} {_cut(y)}h0" if (one.kind == "ln" and not one.goes_on) or len(points) == 1 else None
    return Line(one.words, one.kind, " ".join(shown), dot)


def _area(series: Sequence[Series], placed: Sequence[Sequence[Point]]) -> str | None:
    areas = []
    for one, points in zip(series, placed, strict=True):
        if one.kind == "ln" and len(points) > 1:
            line = "L".join(f"{_cut(x)} {_cut(y)}" for x, y in points)
            areas.append(f"M{line}V100H{_cut(points[0][0])}Z")
    return "".join(areas) or None


def _value_labels(low: float, high: float, unit: str, marks: int) -> list[str]:
    """From the top down; the unit stands at the first."""
    shares = [step / (marks - 1) for step in range(marks)]
    labels = [short_number(high * (1 - share) + low * share) for share in shares]
    first = with_unit(labels[0], unit) if len(unit) <= UNIT_AT_MOST else labels[0]
    return [first, *labels[1:]]


def _time_labels(start: datetime, end: datetime, at_now: float | None, *, named: bool) -> list[Label]:
    """Both ends, with today between them where it is asked for, else two days between."""
    form = "%b" if end - start < timedelta(days=300) else "%b %Y"
    first = Label("0", "start", f"{start.day} {start:{form}}")
    last = Label("100%", "end", f"{end.day} {end:{form}}")
    if at_now is not None:
        anchor: Anchor = "start" if at_now < 6 else "end" if at_now > 94 else "middle"
        today = Label(f"{_cut(at_now)}%", anchor, "today")
        return [
            *([first] if at_now >= LABELS_APART else []),
            today,
            *([last] if at_now <= 100 - LABELS_APART else []),
        ]
    if named or end - start < timedelta(days=9):
        return [first, last]
    between = [(start + (end - start) * part / 3, part / 3 * 100) for part in (1, 2)]
    return [
        first,
        *(Label(f"{_cut(share)}%", "middle", f"{at.day} {at:{form}}") for at, share in between),
        last,
    ]
