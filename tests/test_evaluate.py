"""The table of `decide`: alignment, findings, and the notice of a ticket on which nothing of ours stands.

What time does is in test_evaluate_time.py, what happens to a comment that stands in
test_evaluate_standing.py. The rows are those of the public contract's section "Exactly".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from mappings.linking import Resolution
from mappings.policy import EffectivePolicy
from mappings.verdict import Finding, Mode, Standing, Subject
from tests.judged import (
    CONNECTED,
    NOW,
    OPENED,
    an_epic,
    decision_on,
    found,
    goal,
    links_to,
    on,
    policy,
    said,
    subject,
)

LIVE = goal(1)
CLOSED = goal(2, state="achieved")
OVER = goal(3, cycle_ends=on(15).date())
EXEMPT = policy(exempt={"labels": ["tech*"]})
LABELLED = an_epic(labels=("tech-debt",))


@dataclass(frozen=True)
class Case:
    """`findings` are what is known before; `opens` what is found now, by check, resolved ones too."""

    name: str
    subject: Subject
    alignment: str | None
    opens: dict[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    rules: EffectivePolicy | None = None


ALIGNMENTS = [
    Case("a live link", subject(links_to(LIVE)), "aligned"),
    Case("a live link beside dead ones", subject(links_to(CLOSED, LIVE, OVER)), "aligned"),
    Case("aligned before exempt", subject(links_to(LIVE), epic=LABELLED), "aligned", rules=EXEMPT),
    Case(
        "aligned before waived",
        subject(links_to(LIVE)),
        "aligned",
        {"no-key-result": "resolved"},
        (found(state="waived", until=on(30)),),
    ),
    Case(
        "a finished epic with a live link",
        subject(links_to(LIVE), epic=an_epic(status_category="done")),
        "aligned",
    ),
    Case("a finished epic without", subject(epic=an_epic(status_category="done")), "exempt"),
    Case("exempt by label", subject(epic=LABELLED), "exempt", rules=EXEMPT),
    Case("exempt by type", subject(), "exempt", rules=policy(exempt={"types": ["epic"]})),
    Case("exempt by project", subject(), "exempt", rules=policy(exempt={"projects": ["shop"]})),
    Case("exempt by status", subject(), "exempt", rules=policy(exempt={"status_categories": ["todo"]})),
    Case("exempt with dead links", subject(links_to(CLOSED), epic=LABELLED), "exempt", rules=EXEMPT),
    Case(
        "exempt before waived",
        subject(epic=LABELLED),
        "exempt",
        {"no-key-result": "resolved"},
        (found(state="waived", until=on(30)),),
        EXEMPT,
    ),
    Case(
        "waived",
        subject(),
        "waived",
        {"no-key-result": "waived"},
        (found(state="waived", until=on(30), reason="agreed"),),
    ),
    Case(
        "waived for dead links",
        subject(links_to(OVER)),
        "waived",
        {"closed-goal": "waived"},
        (found("closed-goal", "waived", until=on(30)),),
    ),
    Case(
        "a waiver of the other gap does not count",
        subject(links_to(CLOSED)),
        "unaligned",
        {"closed-goal": "open", "no-key-result": "resolved"},
        (found(state="waived", until=on(30)),),
    ),
    Case(
        "a waiver that has ended",
        subject(),
        "unaligned",
        {"no-key-result": "open"},
        (found(state="waived", until=NOW),),
    ),
    Case(
        "a snooze does not bear on alignment",
        subject(),
        "unaligned",
        {"no-key-result": "snoozed"},
        (found(state="snoozed", until=on(30)),),
    ),
    Case(
        "nor does a dispute",
        subject(),
        "unaligned",
        {"no-key-result": "disputed"},
        (found(state="disputed"),),
    ),
    Case("nor grace", subject(epic=an_epic(created_at=NOW)), "unaligned", {"no-key-result": "open"}),
    Case(
        "nor since",
        subject(epic=an_epic(created_at=on(1, month=1))),
        "unaligned",
        {"no-key-result": "open"},
    ),
    Case("no link", subject(), "unaligned", {"no-key-result": "open"}),
    Case(
        "a link to what was closed by hand", subject(links_to(CLOSED)), "unaligned", {"closed-goal": "open"}
    ),
    Case("a link whose cycle is over", subject(links_to(OVER)), "unaligned", {"closed-goal": "open"}),
    Case(
        "a link whose objective was archived",
        subject(links_to(goal(objective_state="archived"))),
        "unaligned",
        {"closed-goal": "open"},
    ),
    Case("a link to a draft", subject(links_to(goal(state="draft"))), "aligned"),
    Case("the last day of a cycle", subject(links_to(goal(cycle_ends=NOW.date()))), "aligned"),
    Case(
        "a key the ticket names that does not exist",
        subject(Resolution(unknown=("KR-99",))),
        "unaligned",
        {"no-key-result": "open"},
    ),
    Case(
        "a check that is off", subject(), "unaligned", rules=policy(checks={"no-key-result": {"on": False}})
    ),
    Case(
        "a check turned off after it found something",
        subject(),
        "unaligned",
        {"no-key-result": "resolved"},
        (found(),),
        policy(checks={"no-key-result": {"on": False}}),
    ),
    Case("left every list", subject(gone="deleted"), None, {"no-key-result": "resolved"}, (found(),)),
]


@pytest.mark.parametrize("case", ALIGNMENTS, ids=lambda case: case.name)
def test_alignment_is_the_first_that_is_true(case: Case) -> None:
    decision = decision_on(case.subject, *case.findings, rules=case.rules)
    assert decision.alignment == case.alignment
    assert {one.check: one.state for one in decision.findings} == case.opens


@pytest.mark.parametrize("mode", ["off", "shadow", "live"])
def test_the_mode_bears_on_notices_alone(mode: Mode) -> None:
    decision = decision_on(subject(), found(), mode=mode)
    assert (decision.alignment, decision.findings) == ("unaligned", decision_on(subject(), found()).findings)


# --- findings ---------------------------------------------------------------------------------


def test_a_gap_that_stays_keeps_its_opening() -> None:
    (one,) = decision_on(subject(), found()).findings
    assert (one.state, one.opened_at) == ("open", OPENED)


def test_a_gap_that_returns_reopens_the_finding_now() -> None:
    (one,) = decision_on(subject(), found(state="resolved")).findings
    assert (one.check, one.state, one.opened_at) == ("no-key-result", "open", NOW)


def test_a_new_gap_closes_the_other_finding() -> None:
    decision = decision_on(subject(links_to(CLOSED)), found())
    assert {one.check: (one.state, one.opened_at) for one in decision.findings} == {
        "no-key-result": ("resolved", OPENED),
        "closed-goal": ("open", NOW),
    }


def test_a_resolved_finding_keeps_nothing_of_its_waiver() -> None:
    waived = found(state="waived", until=on(30), reason="agreed")
    (one,) = decision_on(subject(links_to(LIVE)), waived).findings
    assert (one.state, one.until, one.reason) == ("resolved", None, None)


def test_a_snooze_that_ended_leaves_the_opening_as_it_was() -> None:
    (one,) = decision_on(subject(), found(state="snoozed", until=NOW, reason="later")).findings
    assert (one.state, one.opened_at, one.until, one.reason) == ("open", OPENED, None, None)


def test_a_finding_says_what_is_wrong_and_how_severe() -> None:
    rules = policy(checks={"closed-goal": {"severity": "error"}})
    resolution = links_to(CLOSED, OVER, goal(4, objective_state="missed"))
    (one,) = decision_on(subject(resolution), rules=rules).findings
    assert one.severity == "error"
    assert one.detail == (
        "No linked key result is live (KR-2: it is achieved; KR-3: its cycle ended on 2026-11-15;"
        " KR-4: its objective O-4 is missed)."
    )
    (other,) = decision_on(subject(Resolution(unknown=("KR-99",)))).findings
    assert other.detail == "No key result is linked. The ticket names KR-99, which does not exist."


# --- the notice of a ticket on which nothing of ours stands -----------------------------------


DUE = ("due", None, "posted")
SHADOW = ("shadow", None, None)


def held(reason: str) -> tuple[str, str, None]:
    return ("held", reason, None)


NOTICES: list[tuple[str, Subject, tuple[Finding, ...], dict[str, Any], Any]] = [
    ("live after grace", subject(), (found(),), {}, DUE),
    ("shadow", subject(), (found(),), {"mode": "shadow"}, SHADOW),
    ("shadow before grace is over", subject(), (), {"mode": "shadow"}, SHADOW),
    ("shadow before stale", subject(fresh=False), (found(),), {"mode": "shadow"}, SHADOW),
    ("shadow before disputed", subject(), (found(state="disputed"),), {"mode": "shadow"}, SHADOW),
    ("grace", subject(), (), {}, held("grace")),
    ("grace before stale", subject(fresh=False), (), {}, held("grace")),
    ("stale", subject(fresh=False), (found(),), {}, held("stale")),
    ("disputed before grace", subject(), (found(state="disputed", opened_at=NOW),), {}, held("disputed")),
    ("disputed before stale", subject(fresh=False), (found(state="disputed"),), {}, held("disputed")),
    ("aligned", subject(links_to(LIVE)), (found(),), {}, None),
    ("exempt", subject(epic=LABELLED), (found(),), {"rules": EXEMPT}, None),
    ("waived", subject(), (found(state="waived", until=on(30)),), {}, None),
    ("snoozed", subject(), (found(state="snoozed", until=on(30)),), {}, None),
    ("a waiver that has ended", subject(), (found(state="waived", until=NOW),), {}, DUE),
    ("a snooze that has ended", subject(), (found(state="snoozed", until=NOW),), {}, DUE),
    ("a check that is off", subject(), (), {"rules": policy(checks={"no-key-result": {"on": False}})}, None),
    ("the channel is none", subject(), (found(),), {"rules": policy(channel="none")}, None),
    ("a service desk", subject(service_desk=True), (found(),), {}, None),
    ("a service desk in shadow", subject(service_desk=True), (found(),), {"mode": "shadow"}, None),
    ("deleted", subject(gone="deleted"), (found(),), {}, None),
    ("out of scope", subject(gone="out_of_scope"), (found(),), {}, None),
    ("older than the source", subject(epic=an_epic(created_at=on(1, 7))), (found(),), {}, None),
    ("as old as the source", subject(epic=an_epic(created_at=CONNECTED)), (found(),), {}, DUE),
    ("older than a date", subject(), (found(),), {"rules": policy(since="2026-11-03")}, None),
    ("of that date", subject(), (found(),), {"rules": policy(since="2026-11-02")}, DUE),
    (
        "any age",
        subject(epic=an_epic(created_at=on(1, month=1))),
        (found(),),
        {"rules": policy(since=None)},
        DUE,
    ),
    ("dead links after grace", subject(links_to(CLOSED)), (found("closed-goal"),), {}, DUE),
    ("a cycle's end has a longer grace", subject(links_to(OVER)), (found("closed-goal"),), {}, held("grace")),
]


@pytest.mark.parametrize(
    ("judged", "findings", "options", "expected"),
    [row[1:] for row in NOTICES],
    ids=[row[0] for row in NOTICES],
)
def test_the_first_reason_decides(
    judged: Subject, findings: tuple[Finding, ...], options: dict[str, Any], expected: Any
) -> None:
    assert said(decision_on(judged, *findings, **options)) == expected


def test_off_makes_no_notice_and_keeps_what_there_is() -> None:
    for standing in (None, Standing("due", NOW), Standing("posted", NOW, True, "facts")):
        decision = decision_on(subject(), found(), mode="off", notice=standing)
        assert (decision.notice, decision.keep_notice) == (None, True)


@pytest.mark.parametrize("state", ["shadow", "held", "due", "failed"])
def test_what_was_never_written_follows_the_mode(state: Any) -> None:
    standing = Standing(state, NOW)
    assert said(decision_on(subject(), found(), notice=standing)) == DUE
    assert said(decision_on(subject(), found(), notice=standing, mode="shadow")) == SHADOW
    assert said(decision_on(subject(links_to(LIVE)), found(), notice=standing)) is None


def test_a_held_notice_says_why_in_words() -> None:
    wanted = decision_on(subject()).notice
    assert wanted is not None
    assert wanted.detail == "Grace ends at 2026-11-23 12:00 UTC."


# --- every combination ------------------------------------------------------------------------

RESOLUTIONS = [None, links_to(LIVE), links_to(CLOSED), links_to(OVER), links_to(CLOSED, LIVE)]
STATES: tuple[Any, ...] = ("open", "snoozed", "waived", "disputed", "resolved")


@pytest.mark.parametrize("first", STATES)
@pytest.mark.parametrize("second", STATES)
def test_never_both_gaps_and_aligned_only_by_a_live_link(first: Any, second: Any) -> None:
    before = (found("no-key-result", first, until=on(30)), found("closed-goal", second, until=on(30)))
    for resolution in RESOLUTIONS:
        judged = subject(resolution)
        for mode in ("off", "shadow", "live"):
            decision = decision_on(judged, *before, mode=mode)
            gaps = [one.check for one in decision.findings if one.state != "resolved"]
            assert len(gaps) == (0 if judged.resolution.aligned else 1)
            assert (decision.alignment == "aligned") == judged.resolution.aligned
