"""The table of `explain`: each link, key, rule, check and notice of an epic, in words and in this order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mappings.evaluation.explain import Reason, explain
from mappings.evaluation.model import Decision, DesiredNotice, Finding
from mappings.goals.key_results import KeyResult
from mappings.links.resolve import GoalsAndRules, ManualLink, resolve
from mappings.notices.text import unchecked_text
from mappings.rules.condition import parse_condition
from mappings.rules.index import Rule, RuleIndex
from tests.support.evaluations import NOW, OPENED, an_epic, found, goal, on

EPIC = an_epic(labels=("growth",))
GOALS = (goal(1), goal(2, state="missed"), goal(3, cycle_ends=on(15).date()))
NOTHING_FOUND = Reason("check", "all", "No check has found anything.", True)
NO_NOTICE = Reason("notice", "none", "Nothing is to be said on the ticket.")
GAP = found(detail="No key result is linked.")


def rule(id: int, key_result_id: int, when: object, priority: int = 0) -> Rule:
    return Rule(id, f"Rule {id}", parse_condition(when), key_result_id, priority)


def reasons(
    *findings: Finding,
    manual: tuple[ManualLink, ...] = (),
    ticket: tuple[str, ...] = (),
    rules: tuple[Rule, ...] = (),
    goals: tuple[KeyResult, ...] = GOALS,
    **members: Any,
) -> list[Reason]:
    """`members` are those of the decision that matter to the notice and the policy."""
    known = GoalsAndRules({one.id: one for one in goals}, RuleIndex(rules))
    resolution = resolve("acme-jira", EPIC, ticket, manual, known, NOW)
    decision = Decision("unaligned", findings, (), **members)
    return explain("acme-jira", EPIC, resolution, decision, known, NOW)


def of_kind(kind: str, made: list[Reason]) -> list[tuple[str, str, bool | None]]:
    return [(one.name, one.says, one.matched) for one in made if one.kind == kind]


def test_of_nothing_it_is_said_that_there_is_nothing() -> None:
    assert reasons() == [NOTHING_FOUND, NO_NOTICE]


def test_links_come_first_then_keys_rules_policy_checks_and_the_notice() -> None:
    made = reasons(
        GAP,
        manual=(ManualLink(2, "manual", "linked by ann"),),
        ticket=("line:KR-99",),
        rules=(rule(7, 1, {"all": []}),),
        exempt_reason="finished",
    )
    kinds = [one.kind for one in made]
    assert kinds == ["link", "link", "ticket", "rule", "policy", "check", "notice"]


def test_each_link_is_named_with_its_origin_and_why_it_does_not_count() -> None:
    made = reasons(
        manual=(ManualLink(2, "manual", "linked by ann"), ManualLink(3, "command", "ann wrote it")),
        ticket=("line:KR-1",),
    )
    assert of_kind("link", made) == [
        (
            "manual",
            "Linked to KR-2 (Title 2): linked by ann; it does not align the epic, it is missed.",
            False,
        ),
        (
            "command",
            "Linked to KR-3 (Title 3): ann wrote it;"
            " it does not align the epic, its cycle ended on 2026-11-15.",
            False,
        ),
        ("ticket", "Linked to KR-1 (Title 1): the description says `Key-Result: KR-1`.", True),
    ]


def test_each_key_that_is_not_there_is_named_as_written() -> None:
    says = "The ticket names {}, which does not exist, so it makes no link."
    assert of_kind("ticket", reasons(ticket=("line:kr-99", "label:Nope"))) == [
        ("kr-99", says.format("kr-99"), False),
        ("Nope", says.format("Nope"), False),
    ]


# --- rules ------------------------------------------------------------------------------------

GROWTH, INFRA = {"label": "growth"}, {"label": "infra"}
ANY: dict[str, list[Any]] = {"all": []}
IS, IS_NOT = "label is growth", "label is growth, not infra"
BEFORE = "not asked, for a link that counts comes before the rules"


@pytest.mark.parametrize(
    ("manual", "ticket", "rules", "expected"),
    [
        (None, (), (rule(1, 1, INFRA),), [("Rule 1", f"{IS_NOT}; gives no link.", False)]),
        (None, (), (rule(1, 1, GROWTH),), [("Rule 1", f"{IS}; gives the link.", True)]),
        (
            None,
            (),
            (rule(1, 1, INFRA, 3), rule(2, 1, ANY, 2), rule(3, 2, GROWTH, 1), rule(4, 1, INFRA, 0)),
            [
                ("Rule 4", f"{IS_NOT}; gives no link.", False),
                ("Rule 3", f"{IS}; gives the link.", True),
                ("Rule 2", "every epic fits; not asked, for a rule before it matches.", True),
                ("Rule 1", f"{IS_NOT}; gives no link.", False),
            ],
        ),
        # A link that counts comes before all rules, whether they match or not.
        (
            1,
            (),
            (rule(1, 1, GROWTH), rule(2, 1, INFRA)),
            [("Rule 1", f"{IS}; {BEFORE}.", True), ("Rule 2", f"{IS_NOT}; {BEFORE}.", False)],
        ),
        (None, ("line:KR-1",), (rule(1, 1, GROWTH),), [("Rule 1", f"{IS}; {BEFORE}.", True)]),
        # One that does not count does not.
        (
            2,
            ("line:KR-3",),
            (rule(1, 1, GROWTH), rule(2, 1, ANY)),
            [
                ("Rule 1", f"{IS}; gives the link.", True),
                ("Rule 2", "every epic fits; not asked, for a rule before it matches.", True),
            ],
        ),
    ],
)
def test_each_rule_is_named_with_what_became_of_it(
    manual: int | None, ticket: tuple[str, ...], rules: tuple[Rule, ...], expected: list[Any]
) -> None:
    by_hand = () if manual is None else (ManualLink(manual, "manual", "linked by ann"),)
    assert of_kind("rule", reasons(manual=by_hand, ticket=ticket, rules=rules)) == expected


# --- policy and checks ------------------------------------------------------------------------


def test_what_the_policy_exempts_is_said_beside_the_checks() -> None:
    made = reasons(exempt_reason="exempt by policy: label is ktlo")
    assert made == [
        Reason("policy", "exempt", "Exempt: exempt by policy: label is ktlo."),
        NOTHING_FOUND,
        NO_NOTICE,
    ]


SINCE = "since 2026-11-03 10:00 UTC."


@pytest.mark.parametrize(
    ("finding", "says", "matched"),
    [
        (GAP, f"No key result is linked. Open, {SINCE}", False),
        (replace(GAP, state="resolved"), f"No key result is linked. Resolved, {SINCE}", True),
        (replace(GAP, state="disputed"), f"No key result is linked. Disputed, {SINCE}", False),
        (
            replace(GAP, state="snoozed", until=on(21)),
            f"No key result is linked. Snoozed until 2026-11-21 00:00 UTC, {SINCE}",
            False,
        ),
        (
            replace(GAP, state="waived", until=on(21, 9), reason="ADR-7"),
            f"No key result is linked. Waived until 2026-11-21 09:00 UTC (ADR-7), {SINCE}",
            False,
        ),
        (
            replace(GAP, state="waived", reason="law"),
            f"No key result is linked. Waived (law), {SINCE}",
            False,
        ),
        (
            found("closed-goal", detail="No linked key result is live (KR-2: it is missed)."),
            f"No linked key result is live (KR-2: it is missed). Open, {SINCE}",
            False,
        ),
    ],
)
def test_each_finding_says_its_state_and_since_when(finding: Finding, says: str, matched: bool) -> None:
    assert finding.opened_at == OPENED
    assert of_kind("check", reasons(finding)) == [(finding.check, says, matched)]


def test_two_findings_are_two_reasons() -> None:
    made = reasons(GAP, found("closed-goal", "resolved"))
    assert [name for name, _, _ in of_kind("check", made)] == ["no-key-result", "closed-goal"]


# --- the notice -------------------------------------------------------------------------------


def notice(state: Any, **members: Any) -> DesiredNotice:
    return DesiredNotice(state, unchecked_text, "facts", **members)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, ("none", "Nothing is to be said on the ticket.", None)),
        ({"keep_notice": True}, ("kept", "What is on the ticket, if anything, stays as it is.", None)),
        (
            {"keep_notice": True, "notice": notice("due")},
            ("kept", "What is on the ticket, if anything, stays as it is.", None),
        ),
        ({"notice": notice("shadow")}, ("shadow", "The notice is shadow.", None)),
        (
            {"notice": notice("due", target="posted")},
            ("due", "The notice is due, to become posted.", None),
        ),
        (
            {"notice": notice("held", reason="grace", detail="Grace ends at 2026-11-23 12:00 UTC.")},
            ("held", "The notice is held, grace: Grace ends at 2026-11-23 12:00 UTC.", None),
        ),
        (
            {"notice": notice("held", reason="disputed")},
            ("held", "The notice is held, disputed: .", None),
        ),
        (
            {"notice": notice("posted", target="resolved", reason="stale", detail="Not read to its end")},
            ("posted", "The notice is posted, to become resolved, stale: Not read to its end.", None),
        ),
        (
            {"notice": notice("shadow", detail="A detail without a reason is not shown.")},
            ("shadow", "The notice is shadow.", None),
        ),
    ],
)
def test_the_notice_says_its_state_where_it_leads_and_why_it_waits(
    members: dict[str, Any], expected: tuple[str, str, None]
) -> None:
    assert of_kind("notice", reasons(GAP, **members)) == [expected]
