"""How far coverage moved, and the parts of the line over time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.web.overview import driver_work, worst_projects
from mappings.reports.counts import Counts, Coverage, CoverageDay
from mappings.reports.coverage import SourceReading
from mappings.reports.coverage_days import Trend
from mappings.reports.movement import FOUR_WEEKS, ONE_WEEK, movement, segments
from mappings.reports.operations import CoverageReport

NOW = datetime(2026, 11, 27, 9, tzinfo=UTC)


def day(back: int, aligned: int, unaligned: int = 0, sources: int = 1, hour: int = 0) -> CoverageDay:
    at = (NOW - timedelta(days=back)).replace(hour=hour)
    return CoverageDay(at.date(), at, sources, stale=False, counts=Counts(aligned, unaligned))


@pytest.mark.parametrize(
    ("backs", "since"),
    [
        ([40, 28, 7, 1, 0], 28),
        ([40, 30, 7], 30),
        ([5, 3, 0], 5),
        ([0], None),
        ([], None),
    ],
)
def test_it_is_since_the_frozen_day_that_is_long_enough_ago(backs: list[int], since: int | None) -> None:
    found = movement([day(back, 1, 1) for back in backs], Counts(3, 1), 1, NOW, FOUR_WEEKS)
    assert (found and found.since) == (None if since is None else day(since, 1).day)
    assert found is None or found.points == 25


def test_the_points_are_those_between_the_figures_shown() -> None:
    """605 of 1,000 is shown as 61%, and 604 as 60%."""
    found = movement([day(7, 605, 395)], Counts(604, 396), 1, NOW, ONE_WEEK)
    assert found is not None
    assert found.points == -1
    grown = movement([day(7, 1, 1)], Counts(1, 3), 2, NOW, ONE_WEEK)
    assert grown is not None
    assert (grown.more_epics, grown.more_sources) == (2, 1)


def test_there_is_none_where_nothing_is_left_to_divide_by() -> None:
    assert movement([day(7, 0)], Counts(1, 1), 1, NOW, ONE_WEEK) is None
    assert movement([day(7, 1)], Counts(), 1, NOW, ONE_WEEK) is None


def test_no_line_is_drawn_over_a_missing_day() -> None:
    days = [day(8, 1, 1), day(7, 1, 1, hour=23), day(5, 1, 3), day(4, 0), day(3, 3, 1), day(2, 3, 1, hour=23)]
    days.append(day(1, 3, 1))
    parts = segments(days, Counts(4), NOW, "rate")
    assert [[value for _, value in part] for part in parts] == [[50, 50], [25], [75, 75, 75, 100]]
    assert parts[-1][-1] == (NOW, 100)
    assert segments([], Counts(), NOW, "steered") == []


def _report(**projects: Counts) -> CoverageReport:
    coverage = Coverage()
    for name, counts in projects.items():
        coverage.by["project"][1, name].add(counts)
        coverage.total.add(counts)
    return CoverageReport(NOW, coverage, {1: SourceReading("acme", NOW, stale=False)}, Trend([], []))


def test_the_worst_project_comes_first() -> None:
    report = _report(A=Counts(1, 1), B=Counts(0, 1), C=Counts(5, 0), D=Counts(3, 3), E=Counts(0, 0, 4))
    assert [one.project for one in worst_projects(report)] == ["B", "D", "A"]


def test_the_work_of_each_driver_stands_beside_its_weight() -> None:
    report = _report(A=Counts(4))
    report.coverage.by["driver"]["growth"].add(Counts(3))
    report.coverage.by["driver"][None].add(Counts(1, 2))
    rows = driver_work(report, {"growth": 0.5, "risk": 0.5})
    assert [(row.driver, row.epics, row.share, row.weight) for row in rows] == [
        ("growth", 3, 0.75, 0.5),
        ("cost", 0, 0.0, 0.0),
        ("experience", 0, 0.0, 0.0),
        ("risk", 0, 0.0, 0.5),
        (None, 1, 0.25, None),
    ]
    assert [row.weight for row in driver_work(report, {})] == [None] * 5
