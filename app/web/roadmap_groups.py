"""The groups of a roadmap as its page and its picture show them: their headings, and the bars of goals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from app.web.goal_words import address, progress_words
from mappings.goals.board import GoalOnBoard, span_of
from mappings.reports.roadmap import Roadmap
from mappings.reports.roadmap_bars import Axis, Piece, piece_of
from mappings.reports.roadmap_basis import By
from mappings.reports.roadmap_lanes import Lane


@dataclass(frozen=True, slots=True)
class Group:
    """Lanes with one heading. `key`: the objective's, None for a driver or a project. `to`: where its heading
    leads."""

    title: str
    key: str | None
    note: str
    to: str | None
    lanes: Sequence[Lane]


def groups_of(report: Roadmap) -> list[Group]:
    """By outcome one for each objective, by driver one for each driver, by project one for each of them."""
    by = report.filters.by
    if by == "project":
        return [Group(lane.project or "", None, lane.source or "", None, [lane]) for lane in report.lanes]
    found = []
    for _, some in groupby(report.lanes, key=lambda lane: _heading(lane, by)):
        lanes = list(some)
        goal = lanes[0].goal
        assert goal is not None
        driver = (goal.objective.driver or "no driver").capitalize()
        if by == "driver":
            found.append(Group(driver, None, "", address("/goals", {"driver": _driver(goal)}), lanes))
        else:
            objective = goal.objective
            to = address(f"/goals/{objective.key}", {"kind": "objective"})
            found.append(Group(objective.title, objective.key, driver, to, lanes))
    return found


def _heading(lane: Lane, by: By) -> Any:
    assert lane.goal is not None
    return _driver(lane.goal) if by == "driver" else lane.goal.objective.id


def _driver(goal: GoalOnBoard) -> str:
    return goal.objective.driver or "none"


@dataclass(frozen=True, slots=True)
class GoalBar:
    """The time of a key result on the axis, None outside, and how much of it its number has covered."""

    time: Piece | None
    covered: Piece | None
    words: str


def goal_bar(goal: GoalOnBoard, axis: Axis) -> GoalBar:
    start, end = span_of(goal.row, goal.cycle)
    first = start.date().toordinal()
    last = axis.last.toordinal() + 1 if end is None else end.date().toordinal()
    time = piece_of("planned", first, last, axis)
    covered = piece_of("done", first, first + (last - first) * (goal.progress or 0), axis)
    return GoalBar(time, covered, goal_words(goal))


def goal_words(goal: GoalOnBoard) -> str:
    """How far its number is, and how sure its owner."""
    words = progress_words(goal)
    return words if goal.confidence is None else f"{words}, confidence {goal.confidence:.2g}"
