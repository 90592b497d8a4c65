"""What the pages of goals say in words and draw: notes beside a key result, its progress, its history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from app.web.charts import LineChart, Series, line_chart, short_number, with_unit
from mappings.goals.board import GoalOnBoard, span_of
from mappings.goals.steering import SIDE_NAMES
from mappings.tables import CheckInRow, CycleRow, ObjectiveRow
from mappings.words import day_words

NAMED_AT_MOST = 6  # check-ins that the words of a chart name one by one


@dataclass(frozen=True, slots=True)
class Note:
    """`warn`: something is to be done."""

    words: str
    warn: bool = False


def notes_on(goal: GoalOnBoard, *, all_reasons: bool = False) -> list[Note]:
    """What is said under the title: the first that is to be done, or `all_reasons` why it is not steered."""
    if goal.closed:
        left = f"; {_epics(goal.epics)} still linked to it" if goal.epics else ""
        state = goal.row.state if goal.row.state != "active" else f"its objective is {goal.objective.state}"
        return [Note(f"{state[0].upper()}{state[1:]}{left}", warn=bool(goal.epics))]
    if not goal.live:
        return [Note(f"Not live: {goal.not_live}", warn=bool(goal.epics))]
    if all_reasons:
        return [Note(f"{reason[0].upper()}{reason[1:]}", warn=True) for reason in goal.not_steered]
    found: list[Note] = []
    if goal.not_measured:
        found.append(Note(f"Not measured: {goal.not_measured}", warn=True))
    elif goal.voided:
        who = " and ".join(SIDE_NAMES[side] for side in goal.voided)
        found.append(Note(f"The measure was changed since it was signed: {who} to sign again", warn=True))
    elif goal.not_agreed:
        found.append(Note(f"{goal.not_agreed[0].upper()}{goal.not_agreed[1:]}", warn=True))
    if goal.row.state == "draft" or goal.objective.state == "draft":
        found.append(Note("Draft"))
    if goal.hint:
        found.append(Note("Names what is made, not what changes by it"))
    return found


def _epics(count: int) -> str:
    return "1 epic is" if count == 1 else f"{count:,} epics are"


def progress_words(goal: GoalOnBoard) -> str:
    """The bar in figures."""
    if goal.progress is None:
        return "No progress: it is not measured"
    words = f"{_points(goal.progress)}% of the way"
    if goal.steady is None or goal.closed:
        return words
    apart = _points(goal.progress) - _points(goal.steady)
    if apart == 0:
        return f"{words}, at a steady pace"
    return f"{words}, {abs(apart)} points {'ahead of' if apart > 0 else 'behind'} a steady pace"


def _points(share: float) -> int:
    return int(share * 100 + 0.5)


def history_chart(goal: GoalOnBoard, check_ins: Sequence[CheckInRow], now: datetime) -> LineChart | None:
    """The values of its check-ins against a steady pace, from the start to the day that it is due; None where
    there is no value to show."""
    row = goal.row
    start, end = span_of(row, goal.cycle)
    measured = sorted((one.at, one.value) for one in check_ins)
    if measured and end is None:
        start = min(start, measured[0][0])
    # Its last moment, for the axis to name the last day and not the day after.
    end = end - timedelta(seconds=1) if end else max([now, *(at for at, _ in measured)])
    points = list(measured)
    if row.baseline is not None and not (points and points[0][0] <= start):
        points.insert(0, (start, row.baseline))
    if not points:
        return None
    pace = []
    if row.baseline is not None and row.target is not None:
        pace = [(start, row.baseline), (end, row.target)]
    named = [value for value in (row.baseline, row.target) if value is not None] or [points[0][1]]
    return line_chart(
        [Series("a steady pace", "two", pace), Series("measured", "ln", points)],
        label=_story(goal, measured),
        low=min(named),
        high=max(named),
        unit=row.unit or "",
        start=start,
        end=end,
        now=now,
    )


def _story(goal: GoalOnBoard, measured: Sequence[tuple[datetime, float]]) -> str:
    row = goal.row
    parts: list[str] = []
    if row.baseline is not None:
        parts.append(f"from {_figure(row.baseline, row.unit)}")
    if len(measured) > NAMED_AT_MOST:
        (first, low), (last, high) = measured[0], measured[-1]
        parts.append(
            f"{len(measured)} check-ins, {short_number(low)} on {day_words(first)} to {short_number(high)}"
            f" on {day_words(last)}"
        )
    else:
        parts += [f"{short_number(value)} on {day_words(at)}" for at, value in measured]
    if not measured:
        parts.append("no check-in yet")
    story = f"{row.key}: {', '.join(parts)}"
    if goal.steady is None or row.baseline is None or row.target is None:
        return story
    expected = row.baseline * (1 - goal.steady) + row.target * goal.steady
    target = _figure(row.target, row.unit)
    return f"{story}; a steady pace to {target} would be at {short_number(expected)} today"


def _figure(value: float, unit: str | None) -> str:
    return with_unit(short_number(value), unit)


def address(path: str, query: Mapping[str, Any]) -> str:
    """The address of a page of ours, its empty parameters left out."""
    given = {name: value for name, value in query.items() if value not in (None, "", False)}
    return f"{quote(path)}?{urlencode(given)}" if given else quote(path)


def named(rows: Iterable[CycleRow | ObjectiveRow]) -> list[tuple[str, str]]:
    """What a list of choices shows of goals: the key, and the words."""
    return [(row.key, f"{row.key} {row.title[:80]}") for row in rows]
