"""The table of `decide`, continued: how long grace lasts, and when time alone changes a decision."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from mappings.evaluation.model import EvaluationInput, Finding
from mappings.goals.key_results import KeyResult
from mappings.policy.modes import NoticesMode
from tests.support.evaluations import (
    CREATED,
    OPENED,
    an_epic,
    decision_on,
    evaluation_input,
    found,
    goal,
    links_to,
    on,
    policy,
    state_reason_target,
)

LIVE = goal(1)
CLOSED = goal(2, state="achieved")
OVER = goal(3, cycle_ends=on(15).date())

# --- grace ------------------------------------------------------------------------------------

FRIDAY_15 = on(6, 15)
HELD = ("held", "grace", None)
GRACES: list[tuple[str, datetime, datetime, KeyResult | None, dict[str, Any], datetime]] = [
    ("from the finding, which is later", CREATED, OPENED, None, {}, on(10, 10)),
    ("from the epic, which is later", on(4, 9), OPENED, None, {}, on(11, 9)),
    ("over a weekend", CREATED, FRIDAY_15, None, {}, on(13, 15)),
    ("from a weekend", CREATED, on(7, 11), None, {}, on(16)),
    ("one working day on a Friday", CREATED, FRIDAY_15, None, {"grace": "P1D"}, on(9, 15)),
    ("hours are hours", CREATED, FRIDAY_15, None, {"grace": "PT24H"}, on(7, 15)),
    ("none", CREATED, OPENED, None, {"grace": "PT0S"}, OPENED),
    ("a check's own", CREATED, OPENED, None, {"checks": {"no-key-result": {"grace": "P1D"}}}, on(4, 10)),
    ("another check's", CREATED, OPENED, None, {"checks": {"closed-goal": {"grace": "P1D"}}}, on(10, 10)),
    ("closed by hand", CREATED, OPENED, CLOSED, {}, on(10, 10)),
    (
        "closed by hand, the cycle over too",
        CREATED,
        OPENED,
        goal(5, state="missed", cycle_ends=on(1).date()),
        {},
        on(10, 10),
    ),
    ("the cycle over", CREATED, OPENED, goal(5, cycle_ends=on(2).date()), {}, on(1, 10, 12)),
    (
        "the cycle over, whatever the policy",
        CREATED,
        OPENED,
        goal(5, cycle_ends=on(2).date()),
        {"grace": "PT0S"},
        on(1, 10, 12),
    ),
]


@pytest.mark.parametrize(
    ("created", "opened", "dead", "document", "ends"),
    [row[1:] for row in GRACES],
    ids=[row[0] for row in GRACES],
)
def test_grace_ends(
    created: datetime,
    opened: datetime,
    dead: KeyResult | None,
    document: dict[str, Any],
    ends: datetime,
) -> None:
    check = "no-key-result" if dead is None else "closed-goal"
    evaluated = evaluation_input(
        links_to(dead) if dead else None, epic=an_epic(created_at=created), connected_at=on(1, month=10)
    )
    options: dict[str, Any] = {"rules": policy(**document)}
    if ends > opened:
        before = decision_on(evaluated, found(check, opened_at=opened), now=max(opened, created), **options)
        assert (state_reason_target(before), before.evaluate_at) == (HELD, ends)
    assert state_reason_target(
        decision_on(evaluated, found(check, opened_at=opened), now=ends, **options)
    ) == (
        "due",
        None,
        "posted",
    )


def test_the_longest_grace_of_several_dead_links() -> None:
    evaluated = evaluation_input(links_to(CLOSED, goal(5, cycle_ends=on(2).date())))
    assert decision_on(evaluated, found("closed-goal")).evaluate_at == on(1, 10, 12)
    long = policy(grace="P40D")
    assert decision_on(evaluated, found("closed-goal"), rules=long).evaluate_at == on(29, 10, 12)


# --- when to look again -----------------------------------------------------------------------

CALENDAR: list[tuple[str, EvaluationInput, tuple[Finding, ...], datetime | None]] = [
    ("nothing to wait for", evaluation_input(), (found(),), None),
    ("the end of grace", evaluation_input(), (), on(23, 12)),
    ("the end of a snooze", evaluation_input(), (found(state="snoozed", until=on(20)),), on(20)),
    ("the end of a waiver", evaluation_input(), (found(state="waived", until=on(20)),), on(20)),
    ("the end of a cycle", evaluation_input(links_to(goal(cycle_ends=on(30).date()))), (), on(1, month=12)),
    (
        "the end of the first of two cycles",
        evaluation_input(links_to(goal(1, cycle_ends=on(30).date()), goal(2, cycle_ends=on(25).date()))),
        (),
        on(26),
    ),
    ("aligned without a cycle", evaluation_input(links_to(LIVE)), (), None),
    (
        "a cycle that is over already",
        evaluation_input(links_to(OVER)),
        (found("closed-goal"),),
        on(1, 10, 12),
    ),
    ("exempt", evaluation_input(epic=an_epic(status_category="done")), (), None),
]


@pytest.mark.parametrize(
    ("evaluated", "findings", "moment"), [row[1:] for row in CALENDAR], ids=[row[0] for row in CALENDAR]
)
@pytest.mark.parametrize("mode", ["off", "shadow", "live"])
def test_looks_again_when_time_alone_may_change_the_decision(
    evaluated: EvaluationInput, findings: tuple[Finding, ...], moment: datetime | None, mode: NoticesMode
) -> None:
    assert decision_on(evaluated, *findings, mode=mode).evaluate_at == moment
