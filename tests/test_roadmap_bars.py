"""Bars on an axis of months, and what moved: tables of dates."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from mappings.errors import Invalid
from mappings.reports.roadmap_bars import Axis, Bar, axis_of, bar_of
from mappings.reports.roadmap_moves import PlanOfEpic, moves_of
from mappings.words import day_words

TODAY = date(2026, 11, 27)
AXIS = axis_of(date(2026, 2, 1), date(2026, 1, 1), date(2026, 12, 31))  # 365 days


def _at(day: date) -> float:
    return (day - date(2026, 1, 1)).days / 365 * 100


# --- the axis ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("today", "first", "last", "expected"),
    [
        ("2026-11-27", None, None, ("2026-08-01", "2027-04-30")),  # over the end of a year
        ("2026-01-31", None, None, ("2025-10-01", "2026-06-30")),
        ("2027-09-30", None, None, ("2027-06-01", "2028-02-29")),  # to the last day of a leap year's February
        ("2026-11-27", "2026-02-15", None, ("2026-02-01", "2027-04-30")),
        ("2026-11-27", "2027-01-01", None, ("2027-01-01", "2027-09-30")),
        ("2026-11-27", None, "2026-03-03", ("2025-07-01", "2026-03-31")),
        ("2026-11-27", "2026-11-27", "2026-11-27", ("2026-11-01", "2026-11-30")),
        ("2026-11-27", "2024-01-31", "2028-12-01", ("2024-01-01", "2028-12-31")),
        ("0001-02-01", None, None, ("0001-01-01", "0001-07-31")),
        ("9999-11-30", None, None, ("9999-08-01", "9999-12-31")),
    ],
)
def test_an_axis_has_whole_months(today: str, first: str | None, last: str | None, expected: Any) -> None:
    days = [None if one is None else date.fromisoformat(one) for one in (first, last)]
    axis = axis_of(date.fromisoformat(today), *days)
    assert (axis.first.isoformat(), axis.last.isoformat()) == expected


@pytest.mark.parametrize(("first", "last"), [("2026-02-01", "2026-01-31"), ("2020-01-01", "2025-01-01")])
def test_an_axis_that_is_none_is_refused(first: str, last: str) -> None:
    with pytest.raises(Invalid) as refused:
        axis_of(TODAY, date.fromisoformat(first), date.fromisoformat(last))
    assert [field for field, _ in refused.value.errors] == ["to"]


@pytest.mark.parametrize(
    ("first", "last", "names"),
    [
        ("2026-11-01", "2027-02-01", ["Nov", "Dec", "Jan", "Feb"]),
        ("2026-01-01", "2027-01-31", ["Jan 2026", "Apr 2026", "Jul 2026", "Oct 2026", None]),
        ("2025-02-01", "2027-03-31", ["Jul 2025", "Jan 2026", "Jul 2026", "Jan 2027"]),
        ("2024-01-01", "2028-12-31", ["Jan 2024", "Jan 2025", "Jan 2026", "Jan 2027", "Jan 2028"]),
    ],
)
def test_months_are_named_as_far_as_there_is_room(first: str, last: str, names: list[str | None]) -> None:
    axis = axis_of(TODAY, date.fromisoformat(first), date.fromisoformat(last))
    assert [month.name for month in axis.months] == names


@pytest.mark.parametrize(
    ("today", "share"),
    [("2026-01-01", 0), ("2026-12-31", 364 / 365 * 100), ("2027-01-01", 100), ("2025-12-31", None)],
)
def test_today_stands_where_its_day_begins(today: str, share: float | None) -> None:
    axis = axis_of(date.fromisoformat(today), date(2026, 1, 1), date(2026, 12, 31))
    assert axis.today == (None if share is None else pytest.approx(share))


# --- bars -------------------------------------------------------------------------------------


def _bar(starts: date | None, due: date | None, *, axis: Axis = AXIS, **members: Any) -> Bar:
    plain: dict[str, Any] = {
        "created": date(2026, 3, 1),
        "children": None,
        "done": None,
        "today": date(2026, 6, 1),
        "axis": axis,
    }
    return bar_of(starts, due, **(plain | members))


def _pieces(bar: Bar) -> list[tuple[str, float, float]]:
    return [(one.kind, round(one.at, 6), round(one.at + one.width, 6)) for one in bar.pieces]


def _days(kind: str, start: date, end: date) -> tuple[str, float, float]:
    return kind, round(_at(start), 6), round(_at(end), 6)


D = date
MAY, JUNE, JULY = D(2026, 5, 1), D(2026, 6, 1), D(2026, 7, 1)
END = D(2027, 1, 1)


@pytest.mark.parametrize(
    ("starts", "due", "members", "pieces", "dates"),
    [
        (MAY, D(2026, 6, 30), {}, [("planned", MAY, JULY)], "dated"),
        (MAY, MAY, {}, [("planned", MAY, D(2026, 5, 2))], "dated"),
        (
            MAY,
            D(2026, 5, 10),
            {"children": 10, "done": 5},
            [("planned", MAY, D(2026, 5, 11)), ("done", MAY, D(2026, 5, 6))],
            "dated",
        ),
        (MAY, D(2026, 6, 30), {"children": 0, "done": 0}, [("planned", MAY, JULY)], "dated"),
        (MAY, None, {}, [("planned", MAY, JUNE), ("dashed", JUNE, END)], "no_due"),
        (JULY, None, {}, [("dashed", JULY, END)], "no_due"),
        (None, D(2026, 6, 30), {}, [("dashed", D(2026, 3, 1), JUNE), ("planned", JUNE, JULY)], "no_start"),
        (None, D(2026, 4, 30), {}, [("dashed", D(2026, 3, 1), MAY)], "no_start"),
        (None, D(2026, 2, 1), {}, [("dashed", D(2026, 2, 1), D(2026, 2, 2))], "no_start"),
        (JULY, MAY, {}, [("dashed", MAY, D(2026, 7, 2))], "due_before_start"),
        (None, None, {}, [], "no_dates"),
        (D(2025, 1, 1), D(2026, 4, 30), {}, [("planned", D(2026, 1, 1), MAY)], "dated"),
        (MAY, D(2027, 6, 1), {}, [("planned", MAY, END)], "dated"),
        (D(1980, 1, 1), D(2030, 1, 1), {}, [("planned", D(2026, 1, 1), END)], "dated"),
        (D(1, 1, 1), D(9999, 12, 31), {}, [("planned", D(2026, 1, 1), END)], "dated"),
        (D(2025, 12, 1), D(2025, 12, 31), {}, [], "dated"),
        (END, D(2027, 2, 1), {}, [], "dated"),
    ],
)
def test_a_bar_is_what_its_dates_say(
    starts: date | None, due: date | None, members: Any, pieces: Any, dates: str
) -> None:
    bar = _bar(starts, due, **members)
    assert _pieces(bar) == [_days(*piece) for piece in pieces]
    assert bar.dates == dates


@pytest.mark.parametrize(
    ("starts", "due", "words", "remarks"),
    [
        (MAY, JULY, "1 May to 1 Jul", []),
        (MAY, D(2026, 5, 31), "1 May to 31 May, overdue", ["was due 31 May"]),
        (MAY, JUNE, "1 May to 1 Jun", []),  # today is its last day
        (MAY, None, "1 May, no due date", []),
        (None, JULY, "No start date, created 1 Mar, due 1 Jul", []),
        (None, None, "No start and no due date", ["no dates"]),
        (JULY, D(2026, 6, 2), "Due 2 Jun, before its start 1 Jul", ["due before its start"]),
        (D(1976, 1, 1), D(2027, 2, 1), "1 Jan 1976 to 1 Feb 2027", ["1 Jan 1976 to 1 Feb 2027"]),
        (D(2025, 1, 1), D(2025, 2, 1), "1 Jan 2025 to 1 Feb 2025, overdue", ["was due 1 Feb 2025"]),
        (D(2031, 1, 1), None, "1 Jan 2031, no due date", ["starts 1 Jan 2031, after this time"]),
        (
            D(2031, 1, 1),
            D(2031, 2, 1),
            "1 Jan 2031 to 1 Feb 2031",
            ["starts 1 Jan 2031, after this time"],
        ),
    ],
)
def test_a_bar_is_told_in_words(starts: date | None, due: date | None, words: str, remarks: Any) -> None:
    bar = _bar(starts, due)
    assert bar.words == words
    assert [remark.words for remark in bar.remarks] == remarks
    assert bar.is_overdue == ("overdue" in words)


def test_a_bar_tells_how_much_is_done() -> None:
    assert _bar(MAY, JULY, children=12, done=7).words == "1 May to 1 Jul, 7 of 12 done"
    assert _pieces(_bar(MAY, JULY, children=2, done=9))[1][2] == _pieces(_bar(MAY, JULY))[0][2]


def test_a_day_before_the_axis_that_is_yet_to_come_is_said() -> None:
    axis = axis_of(TODAY, D(2027, 6, 1), D(2027, 7, 1))
    bar = _bar(MAY, D(2027, 1, 1), axis=axis, today=TODAY)
    assert ([*bar.pieces], [one.words for one in bar.remarks]) == ([], ["due 1 Jan 2027, before this time"])


def test_years_are_named_where_they_are_not_todays() -> None:
    assert [day_words(D(year, 2, 28), TODAY) for year in (2026, 2027, 33)] == [
        "28 Feb",
        "28 Feb 2027",
        "28 Feb 33",
    ]


# --- moves ------------------------------------------------------------------------------------

A, B = frozenset({"KR-1"}), frozenset({"KR-2", "KR-1"})


@pytest.mark.parametrize(
    ("was", "now", "moves"),
    [
        (None, (None, None, A), [("new", "new since the review")]),
        ((MAY, JUNE, A), (MAY, JUNE, A), []),
        ((None, JUNE, A), (None, D(2026, 6, 2), A), [("due_later", "due moved from 1 Jun, 1 day later")]),
        ((None, JUNE, A), (None, MAY, A), [("due_earlier", "due moved from 1 Jun, 31 days earlier")]),
        ((None, None, A), (None, JUNE, A), [("due_set", "due date 1 Jun set since the review")]),
        ((None, JUNE, A), (None, None, A), [("due_removed", "had the due date 1 Jun")]),
        ((MAY, None, A), (JUNE, None, A), [("start_moved", "start moved from 1 May, 31 days later")]),
        ((None, None, A), (JUNE, None, A), [("start_moved", "start 1 Jun set since the review")]),
        ((MAY, None, A), (None, None, A), [("start_moved", "had the start 1 May")]),
        ((None, None, A), (None, None, B), [("key_result_moved", "served KR-1, now KR-1, KR-2")]),
        (
            (None, None, A),
            (None, None, frozenset()),
            [("key_result_moved", "served KR-1, now none")],
        ),
        (
            (D(1, 1, 1), JUNE, A),
            (D(9999, 1, 1), MAY, A),
            [
                ("due_earlier", "due moved from 1 Jun, 31 days earlier"),
                ("start_moved", "start moved from 1 Jan 1, 3,651,694 days later"),
            ],
        ),
    ],
)
def test_what_moved_is_said_by_its_kind(was: Any, now: Any, moves: Any) -> None:
    found = moves_of(None if was is None else PlanOfEpic(*was), PlanOfEpic(*now), TODAY)
    assert [(move.kind, move.words) for move in found] == moves
