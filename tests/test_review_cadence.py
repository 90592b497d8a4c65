"""When a cycle is to be reviewed: pure tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import pytest

from mappings.governance.cadence import (
    DueReview,
    due_review,
    held_on_error,
    next_review_day,
    period_of,
    periods,
)


@dataclass
class Cycle:
    starts: date = date(2026, 10, 1)
    ends: date = date(2026, 12, 31)
    review: str = "monthly"


def _day(text: str) -> date:
    return date.fromisoformat(f"2026-{text}")


@pytest.mark.parametrize(
    ("cycle", "expected"),
    [
        (Cycle(), ["10-01 10-31", "11-01 11-30", "12-01 12-31"]),
        (Cycle(review="quarterly"), ["10-01 12-31"]),
        (Cycle(_day("02-15"), _day("04-10")), ["02-15 02-28", "03-01 03-31", "04-01 04-10"]),
        (Cycle(_day("02-15"), _day("07-10"), "quarterly"), ["02-15 03-31", "04-01 06-30", "07-01 07-10"]),
        (Cycle(_day("05-31"), _day("05-31")), ["05-31 05-31"]),
    ],
)
def test_the_months_and_quarters_of_a_cycle(cycle: Cycle, expected: list[str]) -> None:
    assert [f"{first:%m-%d} {last:%m-%d}" for first, last in periods(cycle)] == expected


@pytest.mark.parametrize(
    ("last", "today", "since", "due_on", "begun", "late"),
    [
        (None, "09-30", "10-01", "10-31", False, False),
        (None, "10-01", "10-01", "10-31", True, False),
        (None, "10-31", "10-01", "10-31", True, False),
        (None, "11-01", "10-01", "10-31", True, True),
        ("10-31", "10-31", "11-01", "11-30", False, False),
        ("10-31", "11-01", "11-01", "11-30", True, False),
        ("10-02", "12-05", "11-01", "11-30", True, True),
        # A later review makes the missed ones before it good.
        ("12-01", "12-05", None, None, None, None),
        ("11-30", "12-31", "12-01", "12-31", True, False),
    ],
)
def test_the_next_review_of_a_monthly_cycle(
    last: str | None, today: str, since: str | None, due_on: str, begun: bool, late: bool
) -> None:
    found = due_review(Cycle(), None if last is None else _day(last), _day(today))
    expected = None if since is None else DueReview(_day(since), _day(due_on), begun, late)
    assert found == expected


def test_a_cycle_that_is_over_is_asked_for_its_last_review_for_31_days() -> None:
    missing = DueReview(date(2026, 12, 1), date(2026, 12, 31), begun=True, late=True)
    assert due_review(Cycle(), _day("11-20"), date(2027, 1, 31)) == missing
    assert due_review(Cycle(), _day("11-20"), date(2027, 2, 1)) is None
    assert due_review(Cycle(), date(2027, 1, 8), date(2027, 1, 9)) is None


@pytest.mark.parametrize(
    ("held_on", "fits"),
    [("2026-09-30", False), ("2026-10-01", True), ("2027-01-31", True), ("2027-02-01", False)],
)
def test_a_review_is_held_in_its_cycle_or_soon_after(held_on: str, fits: bool) -> None:
    assert (held_on_error(Cycle(), date.fromisoformat(held_on)) is None) == fits


def test_the_review_after_the_end_is_of_the_last_period() -> None:
    assert period_of(Cycle(), date(2027, 1, 20)) == (date(2026, 12, 1), date(2026, 12, 31))


@pytest.mark.parametrize(
    ("review", "held_on", "following"),
    [
        ("monthly", "2026-10-30", "2026-11-30"),
        ("monthly", "2026-12-01", "2027-01-31"),
        ("quarterly", "2026-11-01", "2027-04-03"),
    ],
)
def test_until_when_the_next_one_is_held(review: str, held_on: str, following: str) -> None:
    found = next_review_day(Cycle(review=review), date.fromisoformat(held_on))
    assert found == date.fromisoformat(following)
