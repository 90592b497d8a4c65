"""The table of `decide`: alignment, findings, and the notice of a ticket on which nothing of ours stands.

What time does is in test_evaluate_time.py, what happens to a comment that stands in
test_evaluate_current_notice.py. The rows are those of the public contract's section "Exactly".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from mappings.evaluation.model import CurrentNotice, EvaluationInput, Finding
from mappings.links.resolve import Resolution
from mappings.policy.document import EffectivePolicy
from mappings.policy.modes import NoticesMode
from tests.support.evaluations import (
    CONNECTED,
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
    unknown_keys,
)

LIVE = goal(1)
CLOSED = goal(2, state="achieved")
OVER = goal(3, cycle_ends=on(15).date())
EXEMPT = policy(exempt={"labels": ["tech*"]})
LABELLED = an_epic(labels=("tech-debt",))


@dataclass(frozen=True)
class AlignmentCase:
    """`findings` are what is known before; `opens` what is found now, by check, resolved ones too."""

    name: str
    evaluation_input: EvaluationInput
    alignment: str | None
    opens: dict[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    rules: EffectivePolicy | None = None


ALIGNMENTS = [
    AlignmentCase("a live link", evaluation_input(links_to(LIVE)), "aligned"),
    AlignmentCase("a live link beside dead ones", evaluation_input(links_to(CLOSED, LIVE, OVER)), "aligned"),
    AlignmentCase(
        "aligned before exempt", evaluation_input(links_to(LIVE), epic=LABELLED), "aligned", rules=EXEMPT
    ),
    AlignmentCase(
        "aligned before waived",
        evaluation_input(links_to(LIVE)),
        "aligned",
        {"no-key-result": "resolved"},
        (found(state="waived", until=on(30)),),
    ),
    AlignmentCase(
        "a finished epic with a live link",
        evaluation_input(links_to(LIVE), epic=an_epic(status_category="done")),
        "aligned",
    ),
    AlignmentCase(
        "a finished epic without", evaluation_input(epic=an_epic(status_category="done")), "exempt"
    ),
    AlignmentCase("exempt by label", evaluation_input(epic=LABELLED), "exempt", rules=EXEMPT),
    AlignmentCase("exempt by type", evaluation_input(), "exempt", rules=policy(exempt={"types": ["epic"]})),
    AlignmentCase(
        "exempt by project", evaluation_input(), "exempt", rules=policy(exempt={"projects": ["shop"]})
    ),
    AlignmentCase(
        "exempt by status", evaluation_input(), "exempt", rules=policy(exempt={"status_categories": ["todo"]})
    ),
    AlignmentCase(
        "exempt with dead links", evaluation_input(links_to(CLOSED), epic=LABELLED), "exempt", rules=EXEMPT
    ),
    AlignmentCase(
        "exempt before waived",
        evaluation_input(epic=LABELLED),
        "exempt",
        {"no-key-result": "resolved"},
        (found(state="waived", until=on(30)),),
        EXEMPT,
    ),
    AlignmentCase(
        "waived",
        evaluation_input(),
        "waived",
        {"no-key-result": "waived"},
        (found(state="waived", until=on(30), reason="agreed"),),
    ),
    AlignmentCase(
        "waived for dead links",
        evaluation_input(links_to(OVER)),
        "waived",
        {"closed-goal": "waived"},
        (found("closed-goal", "waived", until=on(30)),),
    ),
    AlignmentCase(
        "a waiver of the other gap does not count",
        evaluation_input(links_to(CLOSED)),
        "unaligned",
        {"closed-goal": "open", "no-key-result": "resolved"},
        (found(state="waived", until=on(30)),),
    ),
    AlignmentCase(
        "a waiver that has ended",
        evaluation_input(),
        "unaligned",
        {"no-key-result": "open"},
        (found(state="waived", until=NOW),),
    ),
    AlignmentCase(
        "a snooze does not bear on alignment",
        evaluation_input(),
        "unaligned",
        {"no-key-result": "snoozed"},
        (found(state="snoozed", until=on(30)),),
    ),
    AlignmentCase(
        "nor does a dispute",
        evaluation_input(),
        "unaligned",
        {"no-key-result": "disputed"},
        (found(state="disputed"),),
    ),
    AlignmentCase(
        "nor grace", evaluation_input(epic=an_epic(created_at=NOW)), "unaligned", {"no-key-result": "open"}
    ),
    AlignmentCase(
        "nor since",
        evaluation_input(epic=an_epic(created_at=on(1, month=1))),
        "unaligned",
        {"no-key-result": "open"},
    ),
    AlignmentCase("no link", evaluation_input(), "unaligned", {"no-key-result": "open"}),
    AlignmentCase(
        "a link to what was closed by hand",
        evaluation_input(links_to(CLOSED)),
        "unaligned",
        {"closed-goal": "open"},
    ),
    AlignmentCase(
        "a link whose cycle is over", evaluation_input(links_to(OVER)), "unaligned", {"closed-goal": "open"}
    ),
    AlignmentCase(
        "a link whose objective was archived",
        evaluation_input(links_to(goal(objective_state="archived"))),
        "unaligned",
        {"closed-goal": "open"},
    ),
    AlignmentCase("a link to a draft", evaluation_input(links_to(goal(state="draft"))), "aligned"),
    AlignmentCase(
        "the last day of a cycle", evaluation_input(links_to(goal(cycle_ends=NOW.date()))), "aligned"
    ),
    AlignmentCase(
        "a key the ticket names that does not exist",
        evaluation_input(Resolution(unknown=unknown_keys("KR-99"))),
        "unaligned",
        {"no-key-result": "open"},
    ),
    AlignmentCase(
        "a check that is off",
        evaluation_input(),
        "unaligned",
        rules=policy(checks={"no-key-result": {"on": False}}),
    ),
    AlignmentCase(
        "a check turned off after it found something",
        evaluation_input(),
        "unaligned",
        {"no-key-result": "resolved"},
        (found(),),
        policy(checks={"no-key-result": {"on": False}}),
    ),
    AlignmentCase(
        "left every list",
        evaluation_input(removal_reason="deleted"),
        None,
        {"no-key-result": "resolved"},
        (found(),),
    ),
]


@pytest.mark.parametrize("case", ALIGNMENTS, ids=lambda case: case.name)
def test_alignment_is_the_first_that_is_true(case: AlignmentCase) -> None:
    decision = decision_on(case.evaluation_input, *case.findings, rules=case.rules)
    assert decision.alignment == case.alignment
    assert {one.check: one.state for one in decision.findings} == case.opens


@pytest.mark.parametrize("mode", ["off", "shadow", "live"])
def test_the_mode_bears_on_notices_alone(mode: NoticesMode) -> None:
    decision = decision_on(evaluation_input(), found(), mode=mode)
    assert (decision.alignment, decision.findings) == (
        "unaligned",
        decision_on(evaluation_input(), found()).findings,
    )


# --- findings ---------------------------------------------------------------------------------


def test_a_gap_that_stays_keeps_its_opening() -> None:
    (one,) = decision_on(evaluation_input(), found()).findings
    assert (one.state, one.opened_at) == ("open", OPENED)


def test_a_gap_that_returns_reopens_the_finding_now() -> None:
    (one,) = decision_on(evaluation_input(), found(state="resolved")).findings
    assert (one.check, one.state, one.opened_at) == ("no-key-result", "open", NOW)


def test_a_new_gap_closes_the_other_finding() -> None:
    decision = decision_on(evaluation_input(links_to(CLOSED)), found())
    assert {one.check: (one.state, one.opened_at) for one in decision.findings} == {
        "no-key-result": ("resolved", OPENED),
        "closed-goal": ("open", NOW),
    }


@pytest.mark.parametrize(
    ("before", "origin", "state"),
    [
        (found(state="waived", until=on(30), reason="agreed"), "inherited", "waived"),
        (found(state="snoozed", until=on(30)), "inherited", "snoozed"),
        (found(state="disputed", reason="not ours"), "inherited", "disputed"),
        (found(state="waived", until=NOW), "inherited", "open"),
        (found(), "inherited", "open"),
        (found(state="resolved"), "inherited", "open"),
        # Somebody has linked this epic since.
        (found(state="waived", until=on(30), reason="agreed"), "manual", "open"),
    ],
)
def test_what_is_above_does_not_undo_a_persons_answer(before: Finding, origin: str, state: str) -> None:
    dead = links_to(goal(2, state="archived"), origin=origin)
    decision = decision_on(evaluation_input(dead), before)
    by_check = {finding.check: finding for finding in decision.findings}
    closed = by_check["closed-goal"]
    answered = (before.until, before.reason) if state != "open" else (None, None)
    assert (closed.state, closed.until, closed.reason) == (state, *answered)
    assert by_check["no-key-result"].state == "resolved"
    assert decision.alignment == ("waived" if state == "waived" else "unaligned")
    again = decision_on(evaluation_input(dead), *decision.findings, now=on(17))
    assert again.findings == decision.findings, "and so it stays"


def test_a_resolved_finding_keeps_nothing_of_its_waiver() -> None:
    waived = found(state="waived", until=on(30), reason="agreed")
    (one,) = decision_on(evaluation_input(links_to(LIVE)), waived).findings
    assert (one.state, one.until, one.reason) == ("resolved", None, None)


def test_a_snooze_that_ended_leaves_the_opening_as_it_was() -> None:
    (one,) = decision_on(evaluation_input(), found(state="snoozed", until=NOW, reason="later")).findings
    assert (one.state, one.opened_at, one.until, one.reason) == ("open", OPENED, None, None)


def test_a_finding_says_what_is_wrong_and_how_severe() -> None:
    rules = policy(checks={"closed-goal": {"severity": "error"}})
    resolution = links_to(CLOSED, OVER, goal(4, objective_state="missed"))
    (one,) = decision_on(evaluation_input(resolution), rules=rules).findings
    assert one.severity == "error"
    assert one.detail == (
        "No linked key result is live (KR-2: it is achieved; KR-3: its cycle ended on 2026-11-15;"
        " KR-4: its objective O-4 is missed)."
    )
    (other,) = decision_on(evaluation_input(Resolution(unknown=unknown_keys("KR-99")))).findings
    assert other.detail == "No key result is linked. The ticket names KR-99, which does not exist."


# --- the notice of a ticket on which nothing of ours stands -----------------------------------


DUE = ("due", None, "posted")
SHADOW = ("shadow", None, None)


def held(reason: str) -> tuple[str, str, None]:
    return ("held", reason, None)


NOTICES: list[tuple[str, EvaluationInput, tuple[Finding, ...], dict[str, Any], Any]] = [
    ("live after grace", evaluation_input(), (found(),), {}, DUE),
    ("shadow", evaluation_input(), (found(),), {"mode": "shadow"}, SHADOW),
    ("shadow before grace is over", evaluation_input(), (), {"mode": "shadow"}, SHADOW),
    ("shadow before stale", evaluation_input(fresh=False), (found(),), {"mode": "shadow"}, SHADOW),
    ("shadow before disputed", evaluation_input(), (found(state="disputed"),), {"mode": "shadow"}, SHADOW),
    ("grace", evaluation_input(), (), {}, held("grace")),
    ("grace before stale", evaluation_input(fresh=False), (), {}, held("grace")),
    ("stale", evaluation_input(fresh=False), (found(),), {}, held("stale")),
    (
        "disputed before grace",
        evaluation_input(),
        (found(state="disputed", opened_at=NOW),),
        {},
        held("disputed"),
    ),
    (
        "disputed before stale",
        evaluation_input(fresh=False),
        (found(state="disputed"),),
        {},
        held("disputed"),
    ),
    ("aligned", evaluation_input(links_to(LIVE)), (found(),), {}, None),
    ("exempt", evaluation_input(epic=LABELLED), (found(),), {"rules": EXEMPT}, None),
    ("waived", evaluation_input(), (found(state="waived", until=on(30)),), {}, None),
    ("snoozed", evaluation_input(), (found(state="snoozed", until=on(30)),), {}, None),
    ("a waiver that has ended", evaluation_input(), (found(state="waived", until=NOW),), {}, DUE),
    ("a snooze that has ended", evaluation_input(), (found(state="snoozed", until=NOW),), {}, DUE),
    (
        "a check that is off",
        evaluation_input(),
        (),
        {"rules": policy(checks={"no-key-result": {"on": False}})},
        None,
    ),
    ("the channel is none", evaluation_input(), (found(),), {"rules": policy(channel="none")}, None),
    ("a service desk", evaluation_input(service_desk=True), (found(),), {}, None),
    ("a service desk in shadow", evaluation_input(service_desk=True), (found(),), {"mode": "shadow"}, None),
    ("deleted", evaluation_input(removal_reason="deleted"), (found(),), {}, None),
    ("out of scope", evaluation_input(removal_reason="out_of_scope"), (found(),), {}, None),
    ("older than the source", evaluation_input(epic=an_epic(created_at=on(1, 7))), (found(),), {}, None),
    ("as old as the source", evaluation_input(epic=an_epic(created_at=CONNECTED)), (found(),), {}, DUE),
    ("older than a date", evaluation_input(), (found(),), {"rules": policy(since="2026-11-03")}, None),
    ("of that date", evaluation_input(), (found(),), {"rules": policy(since="2026-11-02")}, DUE),
    (
        "any age",
        evaluation_input(epic=an_epic(created_at=on(1, month=1))),
        (found(),),
        {"rules": policy(since=None)},
        DUE,
    ),
    ("dead links after grace", evaluation_input(links_to(CLOSED)), (found("closed-goal"),), {}, DUE),
    (
        "a cycle's end has a longer grace",
        evaluation_input(links_to(OVER)),
        (found("closed-goal"),),
        {},
        held("grace"),
    ),
]


@pytest.mark.parametrize(
    ("evaluated", "findings", "options", "expected"),
    [row[1:] for row in NOTICES],
    ids=[row[0] for row in NOTICES],
)
def test_the_first_reason_decides(
    evaluated: EvaluationInput, findings: tuple[Finding, ...], options: dict[str, Any], expected: Any
) -> None:
    assert state_reason_target(decision_on(evaluated, *findings, **options)) == expected


def test_off_makes_no_notice_and_keeps_what_there_is() -> None:
    for current in (None, CurrentNotice("due", NOW), CurrentNotice("posted", NOW, True, "facts")):
        decision = decision_on(evaluation_input(), found(), mode="off", notice=current)
        assert (decision.notice, decision.keep_notice) == (None, True)


@pytest.mark.parametrize("state", ["shadow", "held", "due", "failed"])
def test_what_was_never_written_follows_the_mode(state: Any) -> None:
    current = CurrentNotice(state, NOW)
    assert state_reason_target(decision_on(evaluation_input(), found(), notice=current)) == DUE
    assert (
        state_reason_target(decision_on(evaluation_input(), found(), notice=current, mode="shadow")) == SHADOW
    )
    assert state_reason_target(decision_on(evaluation_input(links_to(LIVE)), found(), notice=current)) is None


def test_a_held_notice_says_why_in_words() -> None:
    desired = decision_on(evaluation_input()).notice
    assert desired is not None
    assert desired.detail == "Grace ends at 2026-11-23 12:00 UTC."


# --- every combination ------------------------------------------------------------------------

RESOLUTIONS = [None, links_to(LIVE), links_to(CLOSED), links_to(OVER), links_to(CLOSED, LIVE)]
STATES: tuple[Any, ...] = ("open", "snoozed", "waived", "disputed", "resolved")


@pytest.mark.parametrize("first", STATES)
@pytest.mark.parametrize("second", STATES)
def test_never_both_gaps_and_aligned_only_by_a_live_link(first: Any, second: Any) -> None:
    before = (found("no-key-result", first, until=on(30)), found("closed-goal", second, until=on(30)))
    for resolution in RESOLUTIONS:
        evaluated = evaluation_input(resolution)
        for mode in ("off", "shadow", "live"):
            decision = decision_on(evaluated, *before, mode=mode)
            gaps = [one.check for one in decision.findings if one.state != "resolved"]
            gap = "closed-goal" if evaluated.resolution.links else "no-key-result"
            assert gaps == ([] if evaluated.resolution.aligned else [gap])
            assert (decision.alignment == "aligned") == evaluated.resolution.aligned
