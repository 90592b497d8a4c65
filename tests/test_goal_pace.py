"""When a check-in is due, what a steady pace is, what is at risk, and the order of objectives: pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from mappings.goals.examples import EXAMPLES, examples_for
from mappings.goals.lint import output_hint
from mappings.goals.pace import is_at_risk, months_later, next_check_in, share_gone, trend
from mappings.goals.steering import why_not_measured
from mappings.goals.tree import in_order


def on(day: str) -> datetime:
    return datetime.fromisoformat(f"{day}T00:00:00+00:00")


# Start, first moment after the cycle, review, last check-in: when the next is due.
DUE = [
    ("2026-10-01", "2027-01-01", "monthly", None, "2026-11-01"),
    ("2026-10-01", "2027-01-01", "monthly", "2026-11-20", "2026-12-20"),
    ("2026-10-01", "2027-01-01", "monthly", "2026-10-31", "2026-11-30"),
    ("2026-10-01", "2027-01-01", "monthly", "2026-12-10", "2026-12-25"),
    ("2026-10-01", "2027-01-01", "monthly", "2026-12-26", "2027-01-26"),
    ("2026-10-01", "2027-01-01", "monthly", "2026-09-01", "2026-11-01"),
    ("2026-10-01", "2027-01-01", "quarterly", None, "2026-12-25"),
    ("2026-01-01", "2027-01-01", "quarterly", None, "2026-04-01"),
    ("2026-01-01", "2027-01-01", "quarterly", "2026-11-30", "2026-12-25"),
    ("2026-10-01", None, None, None, "2026-11-01"),
    ("2026-10-01", None, None, "2027-01-31", "2027-02-28"),
    ("2026-12-28", "2027-01-01", "monthly", None, "2026-12-28"),
]


@pytest.mark.parametrize(("start", "end", "review", "last", "due"), DUE)
def test_when_a_check_in_is_due(start: str, end: Any, review: Any, last: Any, due: str) -> None:
    found = next_check_in(
        start=on(start), end=end and on(end), review=review, last=None if last is None else on(last)
    )
    assert found == on(due)


@pytest.mark.parametrize(
    ("day", "months", "then"),
    [
        ("2026-01-31", 1, "2026-02-28"),
        ("2028-01-31", 1, "2028-02-29"),
        ("2026-12-05", 1, "2027-01-05"),
        ("2026-11-30", 3, "2027-02-28"),
    ],
)
def test_a_month_later(day: str, months: int, then: str) -> None:
    assert months_later(on(day), months) == on(then)


@pytest.mark.parametrize(
    ("start", "end", "now", "share"),
    [
        ("2026-10-01", "2026-10-11", "2026-10-06", 0.5),
        ("2026-10-01", "2026-10-11", "2026-09-01", 0.0),
        ("2026-10-01", "2026-10-11", "2027-01-01", 1.0),
        ("2026-10-01", "2026-10-01", "2026-09-30", 0.0),
        ("2026-10-02", "2026-10-01", "2026-10-01", 1.0),
    ],
)
def test_how_much_of_the_time_is_gone(start: str, end: str, now: str, share: float) -> None:
    assert share_gone(on(start), on(end), on(now)) == share


@pytest.mark.parametrize(
    ("progress", "steady", "confidence", "risk"),
    [
        (0.38, 0.63, 0.7, False),
        (0.37, 0.63, 0.7, True),
        (0.9, 0.1, 0.49, True),
        (0.9, 0.1, 0.5, False),
        (None, 0.9, None, False),
        (0.0, None, None, False),
        (None, None, 0.2, True),
    ],
)
def test_what_is_at_risk(progress: Any, steady: Any, confidence: Any, risk: bool) -> None:
    assert is_at_risk(progress, steady, confidence) is risk


def test_the_trend_of_the_confidence() -> None:
    assert [trend(*pair) for pair in ((0.7, 0.6), (0.6, 0.7), (0.6, 0.6), (0.6, None), (None, None))] == [
        "rising",
        "falling",
        "steady",
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("parents", "order"),
    [
        ({}, []),
        ({1: None, 2: None, 3: 1}, [(1, 0), (3, 1), (2, 0)]),
        ({1: 3, 2: 1, 3: None, 4: 1}, [(3, 0), (1, 1), (2, 2), (4, 2)]),
        ({1: 9, 2: 1}, [(1, 0), (2, 1)]),
        ({1: 2, 2: 1, 3: None}, [(3, 0), (1, 0), (2, 1)]),
        ({1: 1}, [(1, 0)]),
    ],
)
def test_objectives_stand_under_their_parents_and_once_even_in_a_loop(parents: Any, order: Any) -> None:
    assert in_order(parents) == order


def test_a_deep_tree_is_no_recursion() -> None:
    assert len(in_order({number: number - 1 or None for number in range(1, 5000)})) == 4999


def test_every_example_is_an_outcome_with_a_metric() -> None:
    assert [one.name for one in EXAMPLES if output_hint(one.title) or why_not_measured(one.metric)] == []
    assert {len(examples_for(driver)) for driver in ("growth", "cost", "experience", "risk")} == {3}
    assert [one.driver for one in examples_for(None)] == ["growth", "cost", "experience", "risk"]
