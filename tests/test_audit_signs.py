"""The signs of misalignment, each on values alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from mappings.reports.audit_signs import (
    SIGNS,
    AuditFacts,
    AuditGoal,
    AuditInitiative,
    CycleReview,
    OldConflict,
    SeenSign,
    seen_signs,
    signs_on,
)

GOAL = AuditGoal(
    id=1,
    key="KR-1",
    title="Refunds typed by hand from 340 to 100 a week",
    cycle="Q4",
    owner="ops-lead",
    sponsor="coo",
    live=True,
    not_measured=None,
    not_agreed=None,
    not_moved=None,
    output=None,
)
FINE = AuditInitiative(
    id=1,
    source="jira",
    key="SHOP-1",
    title="Refunds",
    url="https://t/SHOP-1",
    project="SHOP",
    type="Epic",
    status="In Progress",
    status_category="doing",
    alignment="aligned",
    answer="No clerk types a refund any more.",
    driver="cost",
    answered_by="ops-lead",
    answered_at=None,
    asked_of=None,
    stage="pilot",
    stage_due=None,
    score=3.5,
    starts_on=None,
    due_on=None,
    children=None,
    children_done=None,
    set_aside=None,
    set_aside_until=None,
    goals=(GOAL,),
)
BUSY: dict[str, Any] = {"goals": {1: GOAL}, "aligned_epics": {1: 3}, "aligned": 3, "open": 4, "criteria": 2}
NO_GOAL: dict[str, Any] = {"goals": (), "alignment": "unaligned"}
UNMOVED = replace(GOAL, not_moved="its latest value is its baseline")
UNSIGNED = replace(GOAL, not_agreed="IT has not signed its metric as it is now")


@pytest.mark.parametrize(
    ("changed", "signs"),
    [
        ({}, ()),
        (NO_GOAL, ("no-goal",)),
        ({**NO_GOAL, "alignment": None}, ("no-goal",)),
        ({**NO_GOAL, "alignment": "exempt"}, ()),
        ({**NO_GOAL, "alignment": "waived"}, ()),
        ({**NO_GOAL, "set_aside": "defer"}, ()),
        ({"answer": None}, ("value-unanswered",)),
        ({"goals": (UNSIGNED,)}, ("not-agreed",)),
        ({"goals": (UNSIGNED,), "status_category": "todo"}, ()),
        ({"goals": (GOAL, UNSIGNED)}, ()),  # the primary one decides
        ({"goals": (replace(GOAL, owner=None),)}, ("no-owner",)),
        ({"goals": (replace(GOAL, sponsor=None),)}, ("no-owner",)),
        ({"set_aside": "stop"}, ("stopped-in-work",)),
        ({"set_aside": "stop", "status_category": "todo"}, ()),
        ({"set_aside": "defer"}, ()),
        ({**NO_GOAL, "answer": None}, ("no-goal", "value-unanswered")),
    ],
)
def test_an_initiative_has_the_signs_of_what_it_lacks(
    changed: dict[str, Any], signs: tuple[str, ...]
) -> None:
    assert signs_on(replace(FINE, **changed)) == signs


def _seen(facts: AuditFacts) -> dict[str, SeenSign]:
    return {one.sign.name: one for one in seen_signs([], facts) if one.seen}


@pytest.mark.parametrize(
    ("facts", "sign", "says", "places"),
    [
        (
            {"goals": {1: UNMOVED}, "finished_epics": {1: 2}},
            "not-moved",
            "1 key result has 2 finished epics and a number that has not moved.",
            ["KR-1: 2 finished epics, and its latest value is its baseline"],
        ),
        ({"goals": {1: replace(GOAL, not_moved="x")}, "finished_epics": {}}, None, "", []),
        ({"goals": {1: replace(GOAL, not_moved="x", live=False)}, "finished_epics": {1: 2}}, None, "", []),
        ({"finished_epics": {1: 2}}, None, "", []),
        ({"criteria": 0}, "no-priority", "No criteria are agreed for 4 open epics.", []),
        ({"criteria": 0, "open": 0}, None, "", []),
        ({"unscored": 1}, "no-priority", "1 of 4 open epics is not scored.", []),
        (
            {"goals": {1: replace(GOAL, owner=None, sponsor=None)}},
            "no-owner",
            "1 key result that work serves lacks an owner or a sponsor.",
            ["KR-1: it has no owner and no sponsor"],
        ),
        ({"goals": {1: replace(GOAL, owner=None)}, "aligned_epics": {}}, None, "", []),
        (
            {"cycles": [CycleReview("Q4", date(2026, 10, 31), None)]},
            "no-review",
            "1 cycle is not reviewed as agreed.",
            ["Q4: no review was held in the period to 2026-10-31"],
        ),
        (
            {"cycles": [CycleReview("Q4", None, date(2026, 11, 2), ("business", "it"))]},
            "no-review",
            "1 cycle is not reviewed as agreed.",
            ["Q4: nobody from the business and IT was at the last one, on 2026-11-02"],
        ),
        ({"cycles": [CycleReview("Q4", None, date(2026, 11, 2))]}, None, "", []),
        (
            {"goals": {1: replace(GOAL, title="Launch it", output="x"), 2: replace(GOAL, id=2)}},
            "activity-only",
            "1 key result names what is made, and no change that can be measured.",
            ["KR-1: “Launch it” names what is made"],
        ),
        (
            {"goals": {1: replace(GOAL, not_measured="it has no target")}},
            "activity-only",
            "Of 1 live key result, none has a baseline and a target.",
            [],
        ),
        ({"goals": {1: replace(GOAL, output="x", live=False), 2: replace(GOAL, id=2)}}, None, "", []),
        (
            {"aligned": 12, "aligned_epics": {1: 5}},
            "catch-all",
            "1 key result holds more than a third of the aligned epics.",
            ["KR-1: 5 of 12 aligned epics (42%)"],
        ),
        ({"aligned": 12, "aligned_epics": {1: 4}}, None, "", []),  # a third is not more than a third
        ({"aligned": 9, "aligned_epics": {1: 9}}, None, "", []),
        ({"stopped_in_work": 2}, "stopped-in-work", "2 epics were stopped, and are still being done.", []),
        (
            {"conflicts": [OldConflict(7, "SHOP-1", datetime(2026, 11, 3, tzinfo=UTC))]},
            "old-conflict",
            "1 conflict waits for the committee.",
            ["7: on SHOP-1, with the committee since 2026-11-03"],
        ),
    ],
)  # fmt: skip
def test_signs_on_goals_cycles_and_the_whole(
    facts: dict[str, Any], sign: str | None, says: str, places: list[str]
) -> None:
    found = _seen(AuditFacts(**{**BUSY, **facts}))
    assert list(found) == ([] if sign is None else [sign])
    if sign is not None:
        assert found[sign].says == says
        assert [f"{place.name}: {place.says}" for place in found[sign].places] == places


def test_a_sign_on_initiatives_counts_and_names_them() -> None:
    both = [replace(FINE, id=id, answer=None, signs=("value-unanswered",)) for id in (3, 4)]
    found = {one.sign.name: one for one in seen_signs([FINE, *both], AuditFacts(**BUSY))}
    assert len(found) == len(SIGNS) == 11
    one = found["value-unanswered"]
    assert (one.count, list(one.initiatives)) == (2, [3, 4])
    assert one.says == "2 of 3 current initiatives do not say how they help the business."
    assert not found["no-goal"].seen


def test_every_sign_has_a_name_a_definition_and_what_to_do_in_one_sentence() -> None:
    for sign in SIGNS:
        assert sign.title
        assert sign.definition.endswith(".")
        assert sign.to_do.endswith(".")
        assert sign.to_do.count(".") == 1
        assert sign.on or sign.elsewhere
    assert len({sign.name for sign in SIGNS}) == len(SIGNS)
