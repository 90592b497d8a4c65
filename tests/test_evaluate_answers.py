"""The table of `decide`, continued: how long the answer to a command stands, and where."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mappings.evaluation.model import CommandAnswer, CurrentNotice, EvaluationInput, Finding
from mappings.policy.document import EffectivePolicy
from mappings.policy.modes import NoticesMode
from tests.support.evaluations import (
    NOW,
    OPENED,
    decision_on,
    evaluation_input,
    found,
    goal,
    links_to,
    on,
    policy,
    state_reason_target,
    text_of,
    written,
)

LIVE, CLOSED = goal(1), goal(2, state="achieved")
NOTHING = evaluation_input()
ALIGNED = evaluation_input(links_to(LIVE))
POSTED = written(decision_on(NOTHING, found()))
RESOLVED = written(decision_on(ALIGNED, notice=POSTED), "resolved")
OLD = CommandAnswer("There is no key result `KR-99`.", is_new=False, at=NOW)
NEW = CommandAnswer(OLD.text, is_new=True, at=NOW)
SAID = "There is no key result KR-99."
ALWAYS = {"from": "00:00", "to": "23:00"}

LINES: list[tuple[str, EvaluationInput, tuple[Finding, ...], dict[str, Any], str]] = [
    ("aligned", ALIGNED, (found(state="resolved"),), {}, "Aligned with KR-1 (Title 1). Thank you."),
    ("snoozed", NOTHING, (found(state="snoozed", until=on(20)),), {}, "Snoozed until 2026-11-19."),
    (
        "waived",
        NOTHING,
        (found(state="waived", until=on(20), reason="Law"),),
        {},
        "Waived until 2026-11-19: Law.",
    ),
    ("disputed", NOTHING, (found(state="disputed"),), {}, "Disputed; waiting for a decision."),
    ("no longer checked", NOTHING, (found(),), {"rules": policy(channel="none")}, "No longer checked."),
]


@pytest.mark.parametrize(
    ("evaluated", "findings", "options", "line"), [row[1:] for row in LINES], ids=[row[0] for row in LINES]
)
@pytest.mark.parametrize("answer", [OLD, NEW])
def test_after_one_line(
    evaluated: EvaluationInput,
    findings: tuple[Finding, ...],
    options: dict[str, Any],
    line: str,
    answer: CommandAnswer,
) -> None:
    decision = decision_on(evaluated, *findings, notice=RESOLVED, answer=answer, **options)
    assert text_of(decision) == f"{line}\n\n{SAID}"
    assert not decision.answer_expired
    current = written(decision, "resolved")
    again = decision_on(evaluated, *findings, notice=current, answer=answer, **options)
    assert again.keep_notice, "it is written once"


@pytest.mark.parametrize(("is_refusal", "state"), [(False, "due"), (True, "held")])
def test_no_comment_is_made_to_refuse_somebody(is_refusal: bool, state: str) -> None:
    answer = replace(NEW, is_refusal=is_refusal)
    decision = decision_on(NOTHING, found(), rules=policy(grace="P90D"), answer=answer)
    assert decision.notice is not None
    assert (decision.notice.state, decision.answer_expired) == (state, is_refusal)


def test_before_the_full_text() -> None:
    decision = decision_on(NOTHING, found(), notice=POSTED, answer=NEW)
    assert state_reason_target(decision) == ("posted", None, "posted")
    assert text_of(decision).startswith(f"{SAID}\n\nWhich key result does this epic serve?\n\n")
    assert decision_on(NOTHING, found(), notice=written(decision), answer=NEW).keep_notice


CHANGES: list[tuple[str, EvaluationInput, tuple[Finding, ...], bool]] = [
    ("nothing changes", NOTHING, (found(),), False),
    ("the gap is closed", ALIGNED, (found(),), True),
    ("it stays closed", ALIGNED, (found(state="resolved"),), False),
    ("the gap returns", NOTHING, (found(state="resolved"),), True),
    ("it becomes another gap", evaluation_input(links_to(CLOSED)), (found(),), True),
    ("a snooze ends", NOTHING, (found(state="snoozed", until=NOW),), True),
    ("a snooze goes on", NOTHING, (found(state="snoozed", until=on(20)),), False),
    ("a waiver ends", NOTHING, (found(state="waived", until=NOW),), True),
    ("the first finding of all", NOTHING, (), True),
]


@pytest.mark.parametrize(
    ("evaluated", "findings", "over"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES]
)
@pytest.mark.parametrize("mode", ["off", "shadow", "live"])
def test_it_stands_until_a_finding_changes_its_state(
    evaluated: EvaluationInput, findings: tuple[Finding, ...], over: bool, mode: NoticesMode
) -> None:
    for answer, expected in ((OLD, over), (NEW, False), (None, False)):
        decision = decision_on(evaluated, *findings, notice=POSTED, answer=answer, mode=mode)
        assert decision.answer_expired is expected


def test_once_it_is_over_it_is_not_said_any_more() -> None:
    closed = decision_on(ALIGNED, found(), notice=POSTED, answer=OLD)
    assert text_of(closed) == "Aligned with KR-1 (Title 1). Thank you."
    own_doing = decision_on(ALIGNED, found(), notice=POSTED, answer=NEW)
    assert text_of(own_doing) == f"Aligned with KR-1 (Title 1). Thank you.\n\n{SAID}"


def test_an_answer_taken_back_is_an_edit_and_another_of_the_same_words_none() -> None:
    shown = written(decision_on(NOTHING, found(), notice=POSTED, answer=NEW))
    assert state_reason_target(decision_on(NOTHING, found(), notice=shown)) == ("posted", None, "posted")
    assert decision_on(NOTHING, found(), notice=shown, answer=OLD).keep_notice
    other = CommandAnswer("There is nothing to snooze here.", is_new=True, at=NOW)
    assert "nothing to snooze" in text_of(decision_on(NOTHING, found(), notice=shown, answer=other))


def test_without_an_answer_the_facts_are_what_they_were_before_there_were_any() -> None:
    """No comment written by an earlier release is edited because of this one."""
    desired = decision_on(NOTHING, found()).notice
    assert desired is not None
    assert desired.facts_hash == "2ff54df3e77971179911f3ac1e9c02704a4d8336dabbdbfe060b5d15e8ff56d7"


def test_shadow_writes_no_answer() -> None:
    assert decision_on(NOTHING, found(), notice=POSTED, answer=NEW, mode="shadow").keep_notice
    resolved = decision_on(ALIGNED, found(state="resolved"), notice=RESOLVED, answer=NEW, mode="shadow")
    assert resolved.keep_notice


def test_an_answer_waits_for_nothing_but_a_ticket_that_can_be_read() -> None:
    rules = policy(quiet_hours={"from": "00:00", "to": "23:00"}, grace="P30D")
    at_night = decision_on(NOTHING, found(), notice=POSTED, answer=NEW, rules=rules)
    assert state_reason_target(at_night) == ("posted", None, "posted")
    stale = decision_on(evaluation_input(fresh=False), found(), notice=POSTED, answer=NEW)
    assert stale.keep_notice
    later = decision_on(NOTHING, found(), notice=POSTED, answer=OLD, now=NOW + timedelta(days=30))
    assert SAID in text_of(later)


# --- where no comment of ours is on the ticket ------------------------------------------------

NEW_GAP = found(opened_at=NOW - timedelta(hours=1))
FULL = f"{SAID}\n\nWhich key result does this epic serve?"

MADE: list[tuple[str, EvaluationInput, Finding, dict[str, Any], str]] = [
    ("a warning that is due", NOTHING, found(), {}, FULL),
    ("in grace", NOTHING, NEW_GAP, {"rules": policy(grace="P5D")}, SAID),
    ("in quiet hours", NOTHING, found(), {"rules": policy(quiet_hours=ALWAYS)}, SAID),
    ("stale", evaluation_input(fresh=False), found(), {}, SAID),
    ("failed before", NOTHING, NEW_GAP, {"notice": CurrentNotice("failed", OPENED)}, SAID),
    ("too old for a warning", NOTHING, found(), {"rules": policy(since="2026-11-10")}, SAID),
    ("exempt", NOTHING, found(state="resolved"), {"rules": policy(exempt={"types": ["Epic"]})}, SAID),
    (
        "aligned",
        ALIGNED,
        found(state="resolved"),
        {},
        f"Aligned with KR-1 (Title 1). Thank you.\n\n{SAID}",
    ),
    (
        "disputed",
        NOTHING,
        found(state="disputed"),
        {},
        f"Disputed; waiting for a decision.\n\n{SAID}",
    ),
    ("deleted, and the gap is new", NOTHING, found(), {"notice": CurrentNotice("withdrawn", on(1))}, FULL),
]


@pytest.mark.parametrize(
    ("evaluated", "finding", "options", "text"), [row[1:] for row in MADE], ids=[row[0] for row in MADE]
)
def test_the_one_comment_is_made_for_it(
    evaluated: EvaluationInput, finding: Finding, options: dict[str, Any], text: str
) -> None:
    decision = decision_on(evaluated, finding, answer=NEW, **options)
    target = "posted" if text == FULL else "resolved"
    assert state_reason_target(decision) == ("due", None, target)
    assert text_of(decision) == text or (text == FULL and text_of(decision).startswith(FULL))
    assert decision.notice is not None
    assert decision.notice.answers
    assert not decision.answer_expired
    assert decision.evaluate_at is not None
    assert decision.evaluate_at <= NOW + timedelta(hours=1), "it is dropped by then"
    again = decision_on(evaluated, finding, answer=OLD, **options | {"notice": written(decision, target)})
    assert again.keep_notice, "it is written once"
    assert not again.answer_expired


@pytest.mark.parametrize(
    ("evaluated", "finding", "options"),
    [
        (NOTHING, found(), {"mode": "shadow"}),
        (NOTHING, found(), {"mode": "off"}),
        (evaluation_input(service_desk=True), found(), {}),
        (NOTHING, found(), {"rules": policy(channel="none")}),
        (evaluation_input(removal_reason="out_of_scope"), found(), {}),
        (NOTHING, found(), {"notice": CurrentNotice("withdrawn", NOW)}),
        (NOTHING, found(), {"notice": replace(POSTED, state="withdrawn")}),
        (NOTHING, found(), {"now": NOW + timedelta(hours=1)}),
    ],
    ids=["shadow", "off", "service desk", "no channel", "removed", "deleted", "withdrawn", "an hour old"],
)
def test_no_comment_is_made_for_it(
    evaluated: EvaluationInput, finding: Finding, options: dict[str, Any]
) -> None:
    decision = decision_on(evaluated, finding, answer=NEW, **options)
    assert decision.answer_expired
    without = decision_on(evaluated, finding, **options)
    assert (decision.keep_notice, decision.evaluate_at) == (without.keep_notice, without.evaluate_at)
    if decision.notice is not None:
        assert without.notice is not None
        assert decision.notice.facts_hash == without.notice.facts_hash


def test_the_guard_does_not_hold_one_that_a_person_asked_for() -> None:
    """What the guard held comes later by an edit of that comment, as a gap that returns."""
    held = CurrentNotice("held", OPENED, guard_reason="many")
    assert text_of(decision_on(NOTHING, found(), answer=NEW, notice=held)) == SAID


ALONE = written(decision_on(NOTHING, NEW_GAP, answer=NEW, rules=policy(grace="P5D")), "resolved")


@pytest.mark.parametrize(
    ("evaluated", "finding", "rules", "text"),
    [
        (NOTHING, NEW_GAP, policy(grace="P5D"), None),
        (NOTHING, NEW_GAP, policy(exempt={"types": ["Epic"]}), None),
        (NOTHING, replace(NEW_GAP, state="disputed"), policy(), None),
        (NOTHING, NEW_GAP, policy(grace="PT0S"), "Which key result does this epic serve?"),
        (ALIGNED, NEW_GAP, policy(grace="P5D"), "Aligned with KR-1 (Title 1). Thank you."),
    ],
    ids=["still in grace", "exempt now", "disputed", "its grace has ended", "aligned now"],
)
def test_it_ends_only_with_a_text_that_says_something_else(
    evaluated: EvaluationInput, finding: Finding, rules: EffectivePolicy, text: str | None
) -> None:
    decision = decision_on(evaluated, finding, answer=OLD, notice=ALONE, rules=rules)
    if text is None and finding.state == "open":
        assert (decision.keep_notice, decision.answer_expired) == (True, False)
    elif text is not None:
        assert decision.answer_expired
        assert text_of(decision).startswith(text)


def test_what_a_command_changes_answers_a_person_until_it_is_written() -> None:
    for commanded, queued, expected in ((True, False, True), (False, True, True), (False, False, False)):
        current = replace(POSTED, answering=queued)
        linked = decision_on(ALIGNED, found(), notice=current, commanded=commanded)
        assert linked.notice is not None
        assert linked.notice.answers is expected
