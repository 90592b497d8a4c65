"""Key results: whether they count, how far they are, what a ticket may call them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given, strategies as st

from mappings.goals.key_results import (
    ended_with_cycle,
    is_live,
    live_until,
    may_name,
    name_on_ticket,
    why_not_live,
)
from mappings.goals.progress import CheckIn, current_value, progress_of
from tests.support import evaluations

ENDS = date(2026, 12, 31)
OVER = datetime(2027, 1, 1, tzinfo=UTC)
JUST = timedelta(microseconds=1)


goal = partial(evaluations.goal, 12, title="Churn below 2%", objective_key="O-1")


@pytest.mark.parametrize(
    ("changes", "now", "live", "of_cycle", "why"),
    [
        ({}, OVER, True, False, None),
        ({"state": "draft", "objective_state": "draft"}, OVER, True, False, None),
        ({"state": "achieved"}, OVER, False, False, "it is achieved"),
        ({"state": "missed"}, OVER, False, False, "it is missed"),
        ({"state": "archived"}, OVER, False, False, "it is archived"),
        ({"objective_state": "achieved"}, OVER, False, False, "its objective O-1 is achieved"),
        ({"objective_state": "missed"}, OVER, False, False, "its objective O-1 is missed"),
        ({"objective_state": "archived"}, OVER, False, False, "its objective O-1 is archived"),
        ({"cycle_ends": ENDS}, OVER - JUST, True, False, None),
        ({"cycle_ends": ENDS}, OVER, False, True, "its cycle ended on 2026-12-31"),
        ({"cycle_ends": ENDS, "state": "missed"}, OVER, False, False, "it is missed"),
        (
            {"cycle_ends": ENDS, "objective_state": "achieved"},
            OVER - JUST,
            False,
            False,
            "its objective O-1 is achieved",
        ),
        ({"cycle_ends": date.max}, OVER, True, False, None),
    ],
)
def test_live(changes: dict[str, Any], now: datetime, live: bool, of_cycle: bool, why: str | None) -> None:
    one = goal(**changes)
    assert is_live(one, now) is live
    assert ended_with_cycle(one, now) is of_cycle
    assert why_not_live(one, now) == why


def test_the_calendar_ends_it_at_midnight_utc() -> None:
    assert live_until(goal(cycle_ends=ENDS)) == OVER
    assert live_until(goal()) is None
    assert live_until(goal(cycle_ends=date.max)) is None


_states = st.sampled_from(["draft", "active", "achieved", "missed", "archived"])


@given(_states, _states, st.none() | st.dates(), st.datetimes(timezones=st.just(UTC)))
def test_what_is_said_of_a_goal_agrees(state: str, objective: str, ends: date | None, now: datetime) -> None:
    one = goal(state=state, objective_state=objective, cycle_ends=ends)
    assert is_live(one, now) is (why_not_live(one, now) is None)
    assert ended_with_cycle(one, now) is (not is_live(one, now) and not one.closed_by_person)
    end = live_until(one)
    if is_live(one, now) and end is not None:
        assert end > now
        assert ended_with_cycle(one, end)


@pytest.mark.parametrize(
    ("baseline", "target", "current", "expected"),
    [
        (0, 10, 5, 0.5),
        (10, 0, 5, 0.5),
        (10, 2, 4, 0.75),
        (-10, 10, 0, 0.5),
        (0, 10, 12, 1.0),
        (0, 10, -1, 0.0),
        (10, 0, 12, 0.0),
        (10, 0, -3, 1.0),
        (5, 5, 5, None),
        (None, 10, 5, None),
        (0, None, 5, None),
        (0, 10, None, None),
        (0, 10, 0, 0.0),
        (-1e308, 1e308, 0, 0.5),
        (0, 5e-324, 5e-324, 1.0),
        (0, float("inf"), 1, None),
        (0, 10, float("nan"), None),
    ],
)
def test_progress(
    baseline: float | None, target: float | None, current: float | None, expected: float | None
) -> None:
    assert progress_of(baseline, target, current) == expected


_number = st.floats(allow_nan=False, allow_infinity=False)


@given(_number, _number, _number)
def test_progress_is_a_share_and_mirrors(baseline: float, target: float, current: float) -> None:
    share = progress_of(baseline, target, current)
    assert (share is None) is (baseline == target)
    if share is not None:
        assert 0.0 <= share <= 1.0
        assert progress_of(-baseline, -target, -current) == share
        assert progress_of(baseline, target, baseline) == 0.0
        assert progress_of(baseline, target, target) == 1.0


def test_current_is_the_latest_check_in_else_the_baseline() -> None:
    day = timedelta(days=1)
    assert current_value([], 3.0) == 3.0
    assert current_value([], None) is None
    assert current_value([CheckIn(OVER, 5.0), CheckIn(OVER - day, 9.0)], 3.0) == 5.0
    assert current_value([CheckIn(OVER, 5.0), CheckIn(OVER, 6.0), CheckIn(OVER - day, 9.0)], None) == 6.0


@pytest.mark.parametrize(
    ("visibility", "label", "on_public", "elsewhere"),
    [
        ("public", None, "KR-12 (Churn below 2%)", "KR-12 (Churn below 2%)"),
        ("public", "Keep", "KR-12 (Churn below 2%)", "KR-12 (Churn below 2%)"),
        ("internal", None, "KR-12", "KR-12 (Churn below 2%)"),
        ("internal", "Keep", "KR-12 (Keep)", "KR-12 (Churn below 2%)"),
        ("internal", " ", "KR-12", "KR-12 (Churn below 2%)"),
        ("confidential", "Keep", "KR-12 (Keep)", "KR-12 (Keep)"),
        ("confidential", None, "KR-12", "KR-12"),
    ],
)
def test_names_on_tickets(visibility: str, label: str | None, on_public: str, elsewhere: str) -> None:
    one = goal(visibility=visibility, public_label=label)
    assert name_on_ticket(one, ticket_is_public=True) == on_public
    assert name_on_ticket(one, ticket_is_public=False) == elsewhere
    assert may_name(one, ticket_is_public=True) is ("Churn" in on_public)
    assert may_name(one, ticket_is_public=False) is ("Churn" in elsewhere)
