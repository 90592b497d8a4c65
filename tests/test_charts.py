"""Charts: where lines, marks and labels stand, whatever the points are."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.web.charts import LineChart, Series, line_chart, short_number, with_unit
from app.web.templating import money, templates
from mappings.words import number_words

START, END = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 10, 11, tzinfo=UTC)
DRAWN: Any = templates.env.get_template("charts.html").module


def at(day: float) -> datetime:
    return START + timedelta(days=day)


def chart(points: list[tuple[float, float]], kind: Any = "ln", **more: Any) -> LineChart:
    given: dict[str, Any] = {"label": "", "low": 0, "high": 10, "unit": "%", "start": START, "end": END}
    given |= more
    return line_chart([Series("value", kind, [(at(day), value) for day, value in points])], **given)


@pytest.mark.parametrize(
    ("points", "drawn", "dot"),
    [
        ([(0, 0), (10, 10)], "0,100 100,0", "M100 0h0"),
        ([(10, 10), (0, 0)], "0,100 100,0", "M100 0h0"),
        ([(5, 2.5)], "50,75", "M50 75h0"),
        ([(0, 5), (5, 5)], "0,50 50,50", "M50 50h0"),
        ([(-10, 0), (10, 10)], "0,50 100,0", "M100 0h0"),
        ([(0, 0), (20, 10)], "0,100 100,50", "M100 50h0"),
        ([(-10, 0), (30, 8)], "0,80 100,60", "M100 60h0"),
        ([(0, 0), (2, float("nan")), (5, float("inf")), (10, 10)], "0,100 100,0", "M100 0h0"),
    ],
)
def test_points_stand_in_per_cent_and_are_cut_at_the_ends(
    points: list[tuple[float, float]], drawn: str, dot: str
) -> None:
    (line,) = chart(points).lines
    assert (line.points, line.dot) == (drawn, dot)


@pytest.mark.parametrize("points", [[], [(-3, 1)], [(-3, 1), (-1, 2)], [(11, 4)], [(3, float("nan"))]])
def test_a_series_without_a_point_in_the_time_draws_no_line(points: list[tuple[float, float]]) -> None:
    found = chart(points)
    assert (list(found.lines), found.marks) == ([], ["10%", "5", "0"])
    assert "polyline" not in DRAWN.line(found)


@pytest.mark.parametrize(
    ("low", "high", "points", "marks"),
    [
        (0, 100, [], ["100%", "50", "0"]),
        (75, 55, [], ["75%", "65", "55"]),
        (0, 10, [(5, 30)], ["30%", "15", "0"]),
        (0, 10, [(5, -10)], ["10%", "0", "-10"]),
        (50, 50, [], ["55%", "50", "45"]),
        (0, 0, [(5, 0)], ["1%", "0", "-1"]),
        (-0.42, -0.30, [], ["-0.3%", "-0.36", "-0.42"]),
        (0, 3e6, [], ["3M%", "1.5M", "0"]),
        (-1e308, 1e308, [(5, 0)], ["1e+308%", "0", "-1e+308"]),
        (1.7e308, 1.7e308, [(5, 1.7e308)], ["1.7e+308%", "1.62e+308", "1.53e+308"]),
        (float("nan"), 10, [(5, 2)], ["10%", "6", "2"]),
    ],
)
def test_the_axis_holds_every_value(
    low: float, high: float, points: list[tuple[float, float]], marks: list[str]
) -> None:
    found = chart(points, low=low, high=high)
    assert found.marks == marks
    for line in found.lines:
        assert all(0 <= float(y) <= 100 for y in re.findall(r",(\S+)", line.points))


@pytest.mark.parametrize(
    ("now", "mark", "labels"),
    [
        (5, "50", ["1 Oct", "today", "11 Oct"]),
        (0, "0", ["today", "11 Oct"]),
        (1, "10", ["today", "11 Oct"]),
        (9.5, "95", ["1 Oct", "today"]),
        (10, "100", ["1 Oct", "today"]),
        (-1, None, ["1 Oct", "11 Oct"]),
        (11, None, ["1 Oct", "11 Oct"]),
        (None, None, ["1 Oct", "4 Oct", "7 Oct", "11 Oct"]),
    ],
)
def test_labels_of_time_do_not_overlap(now: float | None, mark: str | None, labels: list[str]) -> None:
    found = chart([], now=None if now is None else at(now))
    assert found.now == mark
    assert [label.words for label in found.labels] == labels


def test_a_time_of_no_length_is_a_day_and_a_long_one_names_its_years() -> None:
    assert [one.words for one in chart([(0, 5)], end=START).labels] == ["1 Oct", "2 Oct"]
    assert chart([], end=at(400)).labels[0].words == "1 Oct 2026"


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0"), (0.123456, "0.1235"), (21800, "21,800"), (-2.5, "-2.5"), (1.25e6, "1.25M"), (4e9, "4G")],
)
def test_numbers_of_an_axis_are_short(value: float, words: str) -> None:
    assert short_number(value) == words


def test_units_stand_beside_the_number() -> None:
    assert [with_unit("3", unit) for unit in ("%", "EUR", None, "")] == ["3%", "3 EUR", "3", "3"]
    assert chart([], unit="orders a week").marks[0] == "10"


def test_what_is_drawn_is_escaped_and_needs_no_style() -> None:
    hostile = '"><script>alert(1)</script>'
    two = line_chart(
        [Series(hostile, "ln", [(at(0), 1), (at(9), 2)]), Series("pace", "two", [(at(0), 0), (at(10), 10)])],
        label=hostile,
        low=0,
        high=10,
        unit="<b>",
        start=START,
        end=END,
        now=at(3),
        area=True,
    )
    html = DRAWN.line(two, legend=True)
    assert "<script" not in html
    assert "style" not in html
    assert 'role="img"' in html
    assert two.area == "M0 90L90 80V100H0Z"
    assert html.count('class="ln two"') == 2  # the line, and its sign in the legend


@pytest.mark.parametrize(
    ("share", "mark", "rects"),
    [
        (0.38, None, ['width="38.0%"']),
        (None, None, []),
        (0, 0.63, ['x="63.0%"']),
        (1.7, 1, ['width="100.0%"', 'x="98.5%"']),
        (-1, -1, ['x="0.0%"']),
    ],
)
def test_a_bar_is_cut_to_its_width(share: float | None, mark: float | None, rects: list[str]) -> None:
    html = DRAWN.bar(share, "38 % of the way", mark=mark)
    assert re.findall(r'<rect class="\S+" (\S+)', html) == rects
    assert 'aria-label="38 % of the way"' in html


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (0.1, "0.1"),
        (1_250_000, "1,250,000"),
        (25_000_000_000, "25,000,000,000"),
        (-1e14, "-100,000,000,000,000"),
    ],
)
def test_a_number_is_written_in_full(value: float | None, shown: str) -> None:
    assert number_words(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (380_000.5, "380,000.50"), (1_200_000, "1,200,000"), (-1e14, "-100,000,000,000,000")],
)
def test_money_has_no_digit_or_two_after_the_point(value: float | None, shown: str) -> None:
    assert money(value) == shown
