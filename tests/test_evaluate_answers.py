"""The table of `decide`, continued: how long the answer to a command stands, and where."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from mappings.evaluation.model import CommandAnswer, EvaluationInput, Finding
from mappings.policy.modes import NoticesMode
from tests.support.evaluations import (
    NOW,
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


def test_before_the_full_text() -> None:
    decision = decision_on(NOTHING, found(), notice=POSTED, answer=NEW)
    assert state_reason_target(decision) == ("posted", None, "posted")
    assert text_of(decision).startswith(f"{SAID}\n\nThis epic is not linked to a key result.\n\n")
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
