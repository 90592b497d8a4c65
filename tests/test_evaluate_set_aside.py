"""The table of `decide`, continued: an epic that a committee stopped or put off."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mappings.evaluation.model import EvaluationInput, SetAside
from tests.support.evaluations import (
    NOW,
    an_epic,
    decision_on,
    evaluation_input,
    found,
    goal,
    links_to,
    on,
    policy,
    text_of,
    written,
)

STOPPED = SetAside("stop", None, "No customer asked", "the review of 9 November 2026", "ann", on(9))
DEFERRED = replace(STOPPED, kind="defer", until=on(30))
OVER = replace(STOPPED, until=NOW)
DONE = an_epic(status_category="done")
LIVE, DEAD = links_to(goal(1)), links_to(goal(2, state="missed"))
OURS = {"until": None, "reason": "No customer asked", "by": "ann", "changed_at": on(9)}


@pytest.mark.parametrize(
    ("evaluated", "aside", "alignment"),
    [
        (evaluation_input(), STOPPED, "waived"),
        (evaluation_input(), DEFERRED, "waived"),
        (evaluation_input(), OVER, "unaligned"),
        (evaluation_input(LIVE), STOPPED, "waived"),
        (evaluation_input(LIVE), OVER, "aligned"),
        (evaluation_input(DEAD), DEFERRED, "waived"),
        (evaluation_input(epic=DONE), STOPPED, "waived"),
        (evaluation_input(epic=DONE), OVER, "exempt"),
        (evaluation_input(removal_reason="deleted"), STOPPED, None),
        (evaluation_input(removal_reason="deleted"), OVER, None),
    ],
)
def test_it_is_waived_whatever_its_links_while_that_holds(
    evaluated: EvaluationInput, aside: SetAside, alignment: str | None
) -> None:
    decision = decision_on(replace(evaluated, set_aside=aside))
    assert decision.alignment == alignment
    assert decision.set_aside_over is (aside is OVER)
    assert (decision.set_aside is None) is (alignment != "waived")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((), ("waived", OURS)),  # a gap that opens meanwhile
        ((found(),), ("waived", OURS)),
        ((found(state="resolved"),), ("waived", OURS)),
        ((found(state="waived", until=on(10), reason="Law"),), ("waived", OURS)),  # that is over
        (
            (found(state="waived", until=on(20), reason="Law"),),
            ("waived", {"until": on(20), "reason": "Law"}),
        ),
        ((found(state="snoozed", until=on(20)),), ("snoozed", {"until": on(20)})),
        ((found(state="disputed", reason="No"),), ("disputed", {"until": None, "reason": "No"})),
    ],
)
def test_no_gap_is_open_and_what_a_person_made_of_one_stays(
    before: Any, after: tuple[str, dict[str, Any]]
) -> None:
    (finding,) = decision_on(evaluation_input(set_aside=STOPPED), *before).findings
    state, members = after
    assert finding.state == state
    assert {name: getattr(finding, name) for name in members} == members


def test_an_exempt_epic_has_no_finding_to_waive() -> None:
    exempt = policy(exempt={"labels": ["law"]})
    decision = decision_on(evaluation_input(epic=an_epic(labels=("law",)), set_aside=STOPPED), rules=exempt)
    assert (decision.alignment, decision.findings) == ("waived", ())


def test_it_is_evaluated_again_when_it_ends() -> None:
    assert decision_on(evaluation_input(set_aside=DEFERRED)).evaluate_at == on(30)
    assert decision_on(evaluation_input(LIVE, set_aside=DEFERRED)).evaluate_at == on(30)
    assert decision_on(evaluation_input(set_aside=STOPPED)).evaluate_at is None
    ended = decision_on(evaluation_input(set_aside=DEFERRED), found(state="waived", until=on(30)), now=on(30))
    assert (ended.alignment, ended.findings[0].state) == ("unaligned", "open")


@pytest.mark.parametrize(
    ("evaluated", "aside", "line"),
    [
        (evaluation_input(), STOPPED, "Waived: No customer asked."),
        (evaluation_input(), DEFERRED, "Waived until 2026-11-29: No customer asked."),
        (evaluation_input(LIVE), STOPPED, "Waived: No customer asked."),
        (evaluation_input(LIVE, service_desk=True), STOPPED, "No longer checked."),
        # Everybody may read it: what the committee gave as its reason is for the company.
        (evaluation_input(public=True), STOPPED, "Waived: stopped by its committee."),
        (evaluation_input(LIVE, public=True), DEFERRED, "Waived until 2026-11-29: put off by its committee."),
    ],
)
def test_a_comment_that_is_there_says_it_in_one_line(
    evaluated: EvaluationInput, aside: SetAside, line: str
) -> None:
    posted = written(decision_on(evaluation_input(), found()))
    decision = decision_on(replace(evaluated, set_aside=aside), found(), notice=posted)
    assert text_of(decision) == line
    again = decision_on(replace(evaluated, set_aside=aside), found(), notice=written(decision, "resolved"))
    assert again.keep_notice, "it is written once"


def test_no_comment_is_made_for_it() -> None:
    assert decision_on(evaluation_input(set_aside=STOPPED), found()).notice is None
    assert decision_on(evaluation_input(LIVE, set_aside=STOPPED)).notice is None
