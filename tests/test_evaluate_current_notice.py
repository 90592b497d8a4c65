"""The table of `decide`, continued: what becomes of a comment of ours that stands on the ticket.

It is edited for facts, never for words; it becomes one line when the gap is closed.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mappings.evaluation.model import CurrentNotice, Decision, EvaluationInput, Finding
from mappings.links.resolve import Resolution
from mappings.policy.modes import NoticesMode
from mappings.suggestions.material import Suggestion
from tests.support.evaluations import (
    NOW,
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
    text_of,
    unknown_keys,
    written,
)

LIVE = goal(1)
CLOSED = goal(2, state="achieved")
SECRET = goal(2, state="achieved", visibility="confidential", public_label="Platform work")
KEPT = "kept"
LATER = NOW + timedelta(days=1)

NOTHING = evaluation_input()
DEAD = evaluation_input(links_to(CLOSED))
POSTED = written(decision_on(NOTHING, found()))
POSTED_DEAD = written(decision_on(DEAD, found("closed-goal")))
RESOLVED = written(decision_on(evaluation_input(links_to(LIVE)), notice=POSTED), "resolved")


def outcome(decision: Decision) -> Any:
    """`kept`, or state and target of what is wanted."""
    if decision.keep_notice:
        return KEPT
    desired = state_reason_target(decision)
    assert desired is not None, "a comment that stands is never forgotten"
    assert desired[1] is None
    return desired[0], desired[2]


EDIT = ("posted", "posted")
RESOLVE = ("posted", "resolved")


def test_a_comment_that_is_not_made_yet_is_withdrawn_with_its_run() -> None:
    for state in ("due", "held", "failed"):
        current = CurrentNotice(state, OPENED, withdrawing=True)
        assert state_reason_target(decision_on(NOTHING, found(), notice=current)) == (
            "withdrawn",
            "run_withdrawn",
            None,
        )
    on_ticket = replace(POSTED, withdrawing=True)
    assert state_reason_target(decision_on(NOTHING, found(), notice=on_ticket)) == (
        "posted",
        None,
        "withdrawn",
    )


# --- words and facts --------------------------------------------------------------------------

WORDS: list[tuple[str, EvaluationInput, Finding, CurrentNotice]] = [
    ("nothing is different", NOTHING, found(), POSTED),
    ("the ticket was read later", evaluation_input(read_at=LATER), found(), POSTED),
    (
        "its page has another address",
        evaluation_input(page_url=lambda: "https://northing/epics/1"),
        found(),
        POSTED,
    ),
    ("the epic is renamed", evaluation_input(epic=an_epic(title="Other")), found(), POSTED),
    ("another opening of the finding", NOTHING, found(opened_at=on(4)), POSTED),
    (
        "the goal is renamed",
        evaluation_input(links_to(replace(CLOSED, title="New"))),
        found("closed-goal"),
        POSTED_DEAD,
    ),
    (
        "its key is changed",
        evaluation_input(links_to(replace(CLOSED, key="KR-7"))),
        found("closed-goal"),
        POSTED_DEAD,
    ),
    (
        "it is closed otherwise",
        evaluation_input(links_to(replace(CLOSED, state="missed"))),
        found("closed-goal"),
        POSTED_DEAD,
    ),
    (
        "the link comes from elsewhere",
        evaluation_input(links_to(CLOSED, origin="rule")),
        found("closed-goal"),
        POSTED_DEAD,
    ),
]


@pytest.mark.parametrize(
    ("evaluated", "finding", "current"), [row[1:] for row in WORDS], ids=[row[0] for row in WORDS]
)
@pytest.mark.parametrize("mode", ["shadow", "live"])
def test_words_alone_edit_nothing(
    evaluated: EvaluationInput, finding: Finding, current: CurrentNotice, mode: NoticesMode
) -> None:
    assert outcome(decision_on(evaluated, finding, notice=current, mode=mode)) == KEPT


FACTS: list[tuple[str, EvaluationInput, tuple[Finding, ...], CurrentNotice]] = [
    (
        "the ticket names a key that is not there",
        evaluation_input(Resolution(unknown=unknown_keys("KR-99"))),
        (found(),),
        POSTED,
    ),
    (
        "another dead link",
        evaluation_input(links_to(CLOSED, goal(5, state="missed"))),
        (found("closed-goal"),),
        POSTED_DEAD,
    ),
    ("the other gap, its grace notwithstanding", DEAD, (found(),), POSTED),
]


@pytest.mark.parametrize(
    ("evaluated", "findings", "current"), [row[1:] for row in FACTS], ids=[row[0] for row in FACTS]
)
def test_facts_edit_the_comment_when_live(
    evaluated: EvaluationInput, findings: tuple[Finding, ...], current: CurrentNotice
) -> None:
    assert outcome(decision_on(evaluated, *findings, notice=current)) == EDIT
    assert outcome(decision_on(evaluated, *findings, notice=current, mode="shadow")) == KEPT
    assert outcome(decision_on(evaluated, *findings, notice=current, mode="off")) == KEPT
    stale = replace(evaluated, fresh=False)
    opened = [replace(one, opened_at=OPENED) for one in decision_on(evaluated, *findings).findings]
    assert outcome(decision_on(stale, *opened, notice=current)) == KEPT


@pytest.mark.parametrize("mode", ["shadow", "live"])
def test_a_goal_that_may_no_longer_be_named_is_taken_out_at_once(mode: NoticesMode) -> None:
    assert POSTED_DEAD.mentioned_key_result_ids == (CLOSED.id,)
    for evaluated in (evaluation_input(links_to(SECRET)), evaluation_input(links_to(SECRET), fresh=False)):
        decision = decision_on(evaluated, found("closed-goal"), notice=POSTED_DEAD, mode=mode)
        assert outcome(decision) == EDIT
        assert "KR-2 (Platform work)" in text_of(decision)
        assert CLOSED.title not in text_of(decision)


def test_a_suggested_goal_that_may_no_longer_be_named_is_taken_out() -> None:
    desired = decision_on(NOTHING, found()).notice
    assert desired is not None
    shown = desired.compose([Suggestion(LIVE, ("fits",))]).mentioned_key_result_ids
    current = replace(POSTED, mentioned_key_result_ids=shown)
    assert current.mentioned_key_result_ids == (LIVE.id,)
    secret = replace(LIVE, visibility="confidential", public_label="Growth")
    assert outcome(decision_on(NOTHING, found(), notice=current, goals=[secret])) == EDIT
    assert outcome(decision_on(NOTHING, found(), notice=current, goals=[LIVE])) == KEPT
    public = evaluation_input(public=True)
    assert outcome(decision_on(public, found(), notice=current, goals=[LIVE])) == EDIT


def test_the_goal_of_the_one_line_text_is_taken_out_too() -> None:
    secret = replace(LIVE, visibility="confidential", public_label="Growth")
    decision = decision_on(evaluation_input(links_to(secret)), notice=RESOLVED)
    assert outcome(decision) == ("resolved", "resolved")
    assert text_of(decision) == "Aligned with KR-1 (Growth). Thank you."


def test_off_leaves_even_that() -> None:
    assert outcome(decision_on(evaluation_input(links_to(SECRET)), notice=POSTED_DEAD, mode="off")) == KEPT


# --- resolving --------------------------------------------------------------------------------

ONE_LINE: list[tuple[str, EvaluationInput, tuple[Finding, ...], dict[str, Any], str]] = [
    ("linked", evaluation_input(links_to(LIVE)), (found(),), {}, "Aligned with KR-1 (Title 1). Thank you."),
    (
        "linked to several",
        evaluation_input(links_to(LIVE, goal(4), CLOSED, goal(5))),
        (found(),),
        {},
        "Aligned with KR-1 (Title 1) … and 2 more. Thank you.",
    ),
    (
        "waived",
        evaluation_input(),
        (found(state="waived", until=on(1, month=12), reason="agreed"),),
        {},
        "Waived until 2026-11-30: agreed.",
    ),
    (
        "snoozed",
        evaluation_input(),
        (found(state="snoozed", until=on(1, month=12)),),
        {},
        "Snoozed until 2026-11-30.",
    ),
    ("disputed", evaluation_input(), (found(state="disputed"),), {}, "Disputed; waiting for a decision."),
    (
        "finished",
        evaluation_input(epic=an_epic(status_category="done")),
        (found(),),
        {},
        "No longer checked.",
    ),
    (
        "exempt",
        evaluation_input(),
        (found(),),
        {"rules": policy(exempt={"types": ["Epic"]})},
        "No longer checked.",
    ),
    (
        "the channel is none",
        evaluation_input(),
        (found(),),
        {"rules": policy(channel="none")},
        "No longer checked.",
    ),
    (
        "the check is off",
        evaluation_input(),
        (found(),),
        {"rules": policy(checks={"no-key-result": {"on": False}})},
        "No longer checked.",
    ),
    ("a service desk now", evaluation_input(service_desk=True), (found(),), {}, "No longer checked."),
    (
        "older than since now",
        evaluation_input(),
        (found(),),
        {"rules": policy(since="2026-11-10")},
        "No longer checked.",
    ),
    ("out of scope", evaluation_input(removal_reason="out_of_scope"), (found(),), {}, "No longer checked."),
    (
        "no epic any more",
        evaluation_input(removal_reason="not_an_epic"),
        (found(),),
        {},
        "No longer checked.",
    ),
]


@pytest.mark.parametrize(
    ("evaluated", "findings", "options", "line"),
    [row[1:] for row in ONE_LINE],
    ids=[row[0] for row in ONE_LINE],
)
def test_a_closed_gap_makes_it_one_line(
    evaluated: EvaluationInput, findings: tuple[Finding, ...], options: dict[str, Any], line: str
) -> None:
    for mode in ("shadow", "live"):
        decision = decision_on(evaluated, *findings, notice=POSTED, mode=mode, **options)
        assert outcome(decision) == RESOLVE
        assert text_of(decision) == line
    stale = decision_on(replace(evaluated, fresh=False), *findings, notice=POSTED, **options)
    assert outcome(stale) == RESOLVE
    settled = written(decision, "resolved")
    assert outcome(decision_on(evaluated, *findings, notice=settled, **options)) == KEPT
    assert outcome(decision_on(evaluated, *findings, notice=POSTED, mode="off", **options)) == KEPT


def test_a_deleted_ticket_is_left_alone() -> None:
    assert outcome(decision_on(evaluation_input(removal_reason="deleted"), found(), notice=POSTED)) == KEPT


def test_another_link_changes_the_line_when_live_and_not_in_shadow() -> None:
    other = evaluation_input(links_to(LIVE, goal(4)))
    assert outcome(decision_on(other, notice=RESOLVED)) == ("resolved", "resolved")
    assert outcome(decision_on(other, notice=RESOLVED, mode="shadow")) == KEPT


def test_a_longer_waiver_changes_the_line() -> None:
    first = found(state="waived", until=on(20), reason="agreed")
    current = written(decision_on(NOTHING, first, notice=POSTED), "resolved")
    assert outcome(decision_on(NOTHING, first, notice=current)) == KEPT
    for other in (replace(first, until=on(30)), replace(first, reason="another")):
        assert outcome(decision_on(NOTHING, other, notice=current)) == ("resolved", "resolved")


# --- a gap that returns -----------------------------------------------------------------------


def test_the_same_comment_is_edited_once_grace_is_over() -> None:
    within = decision_on(NOTHING, found(opened_at=on(12, 12)), notice=RESOLVED)
    assert (outcome(within), within.evaluate_at) == (KEPT, on(19, 12))
    after = decision_on(NOTHING, found(), notice=RESOLVED)
    assert outcome(after) == ("resolved", "posted")


def test_it_waits_for_fresh_data_and_for_live() -> None:
    assert outcome(decision_on(evaluation_input(fresh=False), found(), notice=RESOLVED)) == KEPT
    assert outcome(decision_on(NOTHING, found(), notice=RESOLVED, mode="shadow")) == KEPT
    assert outcome(decision_on(NOTHING, found(), notice=RESOLVED, mode="off")) == KEPT


def test_after_a_snooze_the_text_is_back() -> None:
    snoozed = found(state="snoozed", until=NOW)
    before = replace(snoozed, until=on(30))
    current = written(decision_on(NOTHING, before, notice=POSTED), "resolved")
    assert outcome(decision_on(NOTHING, before, notice=current)) == KEPT
    assert outcome(decision_on(NOTHING, snoozed, notice=current)) == ("resolved", "posted")


# --- withdrawn, failed, unanswered ------------------------------------------------------------


def test_withdrawn_stays_for_this_opening_of_the_finding() -> None:
    withdrawn = CurrentNotice("withdrawn", on(10))
    mode: NoticesMode
    for mode in ("off", "shadow", "live"):
        assert outcome(decision_on(NOTHING, found(), notice=withdrawn, mode=mode)) == KEPT
        assert (
            outcome(decision_on(evaluation_input(links_to(LIVE)), found(), notice=withdrawn, mode=mode))
            == KEPT
        )


def test_another_opening_is_another_matter() -> None:
    withdrawn = CurrentNotice("withdrawn", on(10))
    assert state_reason_target(decision_on(NOTHING, found(state="resolved"), notice=withdrawn)) == (
        "held",
        "grace",
        None,
    )
    reopened = found(opened_at=on(10, 1))
    assert state_reason_target(decision_on(NOTHING, reopened, notice=withdrawn, now=on(17, 1))) == (
        "due",
        None,
        "posted",
    )
    assert state_reason_target(decision_on(NOTHING, reopened, notice=withdrawn, mode="shadow")) == (
        "shadow",
        None,
        None,
    )


@pytest.mark.parametrize("mode", ["shadow", "live"])
def test_a_failed_edit_is_tried_again(mode: NoticesMode) -> None:
    failed = replace(POSTED, state="failed")
    decision = decision_on(evaluation_input(links_to(LIVE)), notice=failed, mode=mode)
    assert outcome(decision) == ("failed", "resolved")


def test_a_failed_text_is_tried_again_when_live() -> None:
    failed = replace(POSTED, state="failed")
    assert outcome(decision_on(NOTHING, found(), notice=failed)) == ("failed", "posted")
    assert outcome(decision_on(NOTHING, found(), notice=failed, mode="shadow")) == KEPT


def test_a_comment_that_may_be_there_is_never_forgotten() -> None:
    """Its answer was lost, so whatever is wanted now leads to that comment, should it be there."""
    maybe = CurrentNotice("due", OPENED, True, POSTED.posted_hash)
    assert outcome(decision_on(NOTHING, found(), notice=maybe)) == ("due", "posted")
    assert outcome(decision_on(evaluation_input(links_to(LIVE)), notice=maybe)) == ("due", "resolved")
    assert outcome(decision_on(evaluation_input(links_to(LIVE)), notice=maybe, mode="shadow")) == (
        "due",
        "resolved",
    )
