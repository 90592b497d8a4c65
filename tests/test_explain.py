"""The table of `explain`: the one fact that counts, then how it came about, in words and in this order."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from connectors.base import Parent
from mappings.evaluation.explain import Explained, Reason, explain
from mappings.evaluation.model import CurrentNotice, Decision, DesiredNotice, Finding
from mappings.goals.key_results import KeyResult
from mappings.links.resolve import GoalsAndRules, ManualLink, resolve
from mappings.notices.text import unchecked_text
from mappings.policy.document import Policy, effective_policy
from mappings.rules.condition import parse_condition
from mappings.rules.index import Rule, RuleIndex
from tests.support.evaluations import (
    CONNECTED,
    CREATED,
    NOW,
    OPENED,
    an_epic,
    evaluation_input,
    found,
    goal,
    on,
)

EPIC = an_epic(labels=("growth",))
GOALS = (goal(1), goal(2, state="missed"), goal(3, cycle_ends=on(15).date()))
GAP = found(detail="No key result is linked.")


def rule(id: int, key_result_id: int, when: object, priority: int = 0) -> Rule:
    return Rule(id, f"Rule {id}", parse_condition(when), key_result_id, priority)


def reasons(
    *findings: Finding,
    manual: tuple[ManualLink, ...] = (),
    ticket: tuple[str, ...] = (),
    rules: tuple[Rule, ...] = (),
    goals: tuple[KeyResult, ...] = GOALS,
    policy: dict[str, Any] | None = None,
    alignment: Any = "unaligned",
    mode: Any = "live",
    epic: dict[str, Any] | None = None,
    shown: dict[str, Any] | None = None,
    all_rules: bool = True,
    **decided: Any,
) -> list[Reason]:
    """`epic` has members of the evaluation's input, `shown` of `Explained`, `decided` of the decision."""
    known = GoalsAndRules({one.id: one for one in goals}, RuleIndex(rules))
    resolution = resolve("acme-jira", EPIC, ticket, manual, known, NOW)
    document = Policy.model_validate(policy or {})
    in_force = effective_policy(document, "acme-jira", "SHOP")
    explained = Explained(
        source="acme-jira",
        evaluated=evaluation_input(resolution, **{"epic": EPIC, **(epic or {})}),
        decision=Decision(alignment, findings, findings, **decided),
        goals=known,
        policy=in_force,
        mode=mode,
        scope=None if in_force.scope is None else document.scopes[in_force.scope],
        **{"evaluated_at": NOW, **(shown or {})},
    )
    return explain(explained, NOW, all_rules=all_rules)


def of_kind(kind: str, made: list[Reason]) -> list[tuple[str, str, bool | None]]:
    return [(one.name, one.says, one.matched) for one in made if one.kind == kind]


def only(kind: str, made: list[Reason]) -> Reason:
    (one,) = [reason for reason in made if reason.kind == kind]
    return one


def by_hand(*ids: int) -> tuple[ManualLink, ...]:
    return tuple(ManualLink(id, "manual", "linked by ann") for id in ids)


# --- the one fact that counts, and the order ----------------------------------------------------

DAY = "2026-11-21 00:00 UTC"


@pytest.mark.parametrize(
    ("made", "name", "says", "matched"),
    [
        (reasons(GAP), "unaligned", "Unaligned: it is linked to no key result.", False),
        (
            reasons(manual=by_hand(2, 3)),
            "unaligned",
            "Unaligned: none of the key results that it is linked to counts any more"
            " (KR-2: it is missed; KR-3: its cycle ended on 2026-11-15).",
            False,
        ),
        (
            reasons(manual=by_hand(2, 1), alignment="aligned"),
            "aligned",
            "Aligned: linked to KR-1 (Title 1).",
            True,
        ),
        (
            reasons(manual=by_hand(1, 4), goals=(goal(1), goal(4)), alignment="aligned"),
            "aligned",
            "Aligned: linked to KR-1 (Title 1), and to 1 more.",
            True,
        ),
        (reasons(alignment="exempt", exempt_reason="finished"), "exempt", "Exempt: finished.", False),
        (
            reasons(replace(GAP, state="waived", until=on(21), reason="ADR-7"), alignment="waived"),
            "waived",
            f"Waived until {DAY} (ADR-7).",
            False,
        ),
    ],
)
def test_the_one_fact_that_counts_comes_first(
    made: list[Reason], name: str, says: str, matched: bool
) -> None:
    assert made[0] == Reason("result", name, says, matched)
    assert [one.kind for one in made].count("result") == 1


def test_then_what_was_seen_what_follows_and_what_would_change_it() -> None:
    made = reasons(
        GAP,
        manual=by_hand(2),
        ticket=("line:KR-99",),
        rules=(rule(7, 3, {"all": []}),),
        exempt_reason="finished",
    )
    kinds = [one.kind for one in made]
    assert list(dict.fromkeys(kinds)) == [
        "result",
        "read",
        "link",
        "ticket",
        "rule",
        "policy",
        "check",
        "notice",
        "change",
    ]


@pytest.mark.parametrize(
    ("epic", "shown", "expected"),
    [
        ({}, {}, ["Evaluated at 2026-11-16 12:00 UTC."]),
        ({}, {"evaluated_at": None}, ["It is not evaluated yet; this is what an evaluation says now."]),
        (
            {},
            {"evaluated_at": on(16, 11)},
            [
                "Evaluated at 2026-11-16 11:00 UTC. It was read again since; this is what an evaluation says"
                " now."
            ],
        ),
        (
            {"fresh": False},
            {},
            [
                "SHOP was not read to its end since, or the ticket could not be read again.",
                "Evaluated at 2026-11-16 12:00 UTC.",
            ],
        ),
    ],
)
def test_what_was_seen_is_said_with_its_time(
    epic: dict[str, Any], shown: dict[str, Any], expected: list[str]
) -> None:
    first, *others = [one for one in reasons(epic=epic, shown=shown) if one.kind == "read"]
    seen = "Read from acme-jira at 2026-11-16 12:00 UTC, as it was changed there at 2026-11-02 09:00 UTC."
    assert (first.says, first.at) == (seen, NOW)
    assert [one.says for one in others] == expected


def test_each_link_is_named_with_its_origin_and_why_it_does_not_count() -> None:
    made = reasons(
        manual=(*by_hand(2), ManualLink(3, "command", "ann wrote it")),
        ticket=("line:KR-1",),
        alignment="aligned",
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
ALONE = f"{IS}; gives the link (priority 0), for no other rule matches"
BY_PRIORITY = "its priority 1 is lower than 2 of 'Rule 2', the next that matches"
BY_AGE = "it has the same priority 0 as 'Rule 2', the next that matches, and is older"
NEARLY = {"all": [GROWTH, {"any": [{"project": "SHOP"}]}, {"all": [GROWTH, INFRA]}]}
BEFORE = "not asked, for a link that counts comes before the rules"


@pytest.mark.parametrize(
    ("manual", "ticket", "rules", "expected"),
    [
        (None, (), (rule(1, 1, INFRA),), [("Rule 1", f"{IS_NOT}; gives no link.", False)]),
        # Where a single test stands in the way, it alone is named.
        (
            None,
            (),
            (rule(1, 1, NEARLY),),
            [("Rule 1", f"all but one test fits: {IS_NOT}; gives no link.", False)],
        ),
        (
            1,
            (),
            (rule(1, 1, NEARLY),),
            [("Rule 1", f"all but one test fits: {IS_NOT}; {BEFORE}.", False)],
        ),
        (
            None,
            (),
            (rule(1, 1, GROWTH),),
            [("Rule 1", f"{ALONE}.", True)],
        ),
        (
            None,
            (),
            (rule(1, 1, INFRA, 3), rule(2, 1, ANY, 2), rule(3, 2, GROWTH, 1), rule(4, 1, INFRA, 0)),
            [
                ("Rule 4", f"{IS_NOT}; gives no link.", False),
                ("Rule 3", f"{IS}; gives the link (priority 1), for {BY_PRIORITY}.", True),
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
                ("Rule 1", f"{IS}; gives the link (priority 0), for {BY_AGE}.", True),
                ("Rule 2", "every epic fits; not asked, for a rule before it matches.", True),
            ],
        ),
    ],
)
def test_each_rule_is_named_with_what_became_of_it(
    manual: int | None, ticket: tuple[str, ...], rules: tuple[Rule, ...], expected: list[Any]
) -> None:
    linked = () if manual is None else by_hand(manual)
    live = manual == 1 or ticket == ("line:KR-1",) or any(rule.key_result_id == 1 for rule in rules)
    alignment = "aligned" if live and expected[0][2] else "unaligned"
    made = reasons(manual=linked, ticket=ticket, rules=rules, alignment=alignment)
    assert of_kind("rule", made) == expected


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ((rule(1, 2, INFRA),), [("others", "1 rule does not match; `rules=all` names each.", False)]),
        (
            (rule(1, 2, INFRA), rule(2, 2, GROWTH), rule(3, 2, INFRA)),
            [
                ("Rule 2", f"{ALONE}.", True),
                ("others", "2 rules do not match; `rules=all` names each.", False),
            ],
        ),
        ((), []),
    ],
)
def test_rules_that_do_not_match_are_counted_and_named_on_request(
    rules: tuple[Rule, ...], expected: list[Any]
) -> None:
    assert of_kind("rule", reasons(rules=rules, all_rules=False)) == expected


# --- policy and checks ------------------------------------------------------------------------

SCOPE = {"source": "acme-jira", "project": "shop", "grace": "P1D", "exempt": {"labels": ["growth"]}}


@pytest.mark.parametrize(
    ("policy", "exempt", "expected"),
    [
        (
            {},
            None,
            [
                (
                    "The policy of the top level applies: grace P5D, since connected, channel comment.",
                    "policy",
                )
            ],
        ),
        (
            {"since": None, "channel": "none", "scopes": [{"project": "CORE"}, SCOPE]},
            "exempt by policy: label is growth",
            [
                (
                    "The policy of scope 2 (source acme-jira and project shop) applies: grace P1D, since no"
                    " limit, channel none.",
                    "policy.scopes[1]",
                ),
                ("Exempt by policy: label is growth.", "policy.scopes[1].exempt"),
            ],
        ),
        (
            {"since": "2026-01-31", "exempt": {"labels": ["growth"]}, "scopes": [{"grace": "PT4H"}]},
            "exempt by policy: label is growth",
            [
                (
                    "The policy of scope 1 (every project) applies: grace PT4H, since 2026-01-31, channel"
                    " comment.",
                    "policy.scopes[0]",
                ),
                ("Exempt by policy: label is growth.", "policy.exempt"),
            ],
        ),
    ],
)
def test_the_policy_that_applies_is_named_with_its_settings(
    policy: dict[str, Any], exempt: str | None, expected: list[tuple[str, str]]
) -> None:
    made = reasons(policy=policy, alignment="exempt" if exempt else "unaligned", exempt_reason=exempt)
    assert [(one.says, one.setting) for one in made if one.kind == "policy"] == expected


OFF = {"checks": {"no-key-result": {"on": False}}}


@pytest.mark.parametrize(
    ("policy", "decided", "says", "setting"),
    [
        ({}, {}, "Found nothing.", None),
        (OFF, {}, "It is off here.", "policy.checks.no-key-result.on"),
        ({"scopes": [OFF]}, {}, "It is off here.", "policy.scopes[0].checks.no-key-result.on"),
        ({}, {"exempt_reason": "finished"}, "Not asked, for the epic is exempt.", None),
    ],
)
def test_each_check_says_that_it_found_nothing_or_was_not_asked(
    policy: dict[str, Any], decided: dict[str, Any], says: str, setting: str | None
) -> None:
    made = reasons(policy=policy, alignment="exempt" if decided else "unaligned", **decided)
    asked = {one.name: (one.says, one.setting) for one in made if one.kind == "check"}
    assert set(asked) == {"no-key-result", "closed-goal"}
    assert asked["no-key-result"] == (says, setting)


FOUND = "found at 2026-11-03 10:00 UTC."


@pytest.mark.parametrize(
    ("finding", "says", "matched", "at"),
    [
        (GAP, f"No key result is linked. Open, {FOUND}", False, OPENED),
        (
            replace(GAP, state="resolved", resolved_at=on(10, 9)),
            "Resolved at 2026-11-10 09:00 UTC; before that: No key result is linked.",
            True,
            on(10, 9),
        ),
        (replace(GAP, state="resolved"), "Resolved; before that: No key result is linked.", True, None),
        (
            replace(GAP, state="disputed"),
            f"No key result is linked. Disputed, {FOUND} An editor decides.",
            False,
            OPENED,
        ),
        (
            replace(GAP, state="snoozed", until=on(21)),
            f"No key result is linked. Snoozed until {DAY}, {FOUND}",
            False,
            OPENED,
        ),
        (
            replace(GAP, state="waived", until=on(21), reason="ADR-7"),
            f"No key result is linked. Waived until {DAY} (ADR-7), {FOUND}",
            False,
            OPENED,
        ),
    ],
)
def test_each_finding_says_its_state_and_the_moment_of_it(
    finding: Finding, says: str, matched: bool, at: Any
) -> None:
    (one,) = [each for each in reasons(finding) if each.kind == "check" and each.name == "no-key-result"]
    assert (one.says, one.matched, one.at) == (says, matched, at)


# --- the notice -------------------------------------------------------------------------------


def notice(state: Any, **members: Any) -> DesiredNotice:
    return DesiredNotice(state, lambda suggestions=(): unchecked_text(), "facts", **members)


OLD: dict[str, Any] = {"epic": {"epic": an_epic(labels=("growth",), created_at=on(31, 12, 10))}}
MODE = "notices.mode of the source"


@pytest.mark.parametrize(
    ("findings", "given", "expected"),
    [
        (
            (),
            {},
            ("none", "There is no comment, for no check has anything to say on the ticket.", None),
        ),
        (
            (GAP,),
            OLD,
            (
                "since",
                "There is no comment, for the epic was created at 2026-10-31 12:00 UTC, before its source was"
                " connected at 2026-11-01 08:00 UTC, and since is connected.",
                "policy.since",
            ),
        ),
        (
            (GAP,),
            {"policy": {"scopes": [{"project": "SHOP", "since": "2026-11-05"}]}},
            (
                "since",
                "There is no comment, for the epic was created at 2026-11-02 09:00 UTC, before 2026-11-05,"
                " the day that since names.",
                "policy.scopes[0].since",
            ),
        ),
        (
            (GAP,),
            {"epic": {"service_desk": True}},
            (
                "service_desk",
                "There is no comment, for in a service desk project a comment would reach customers.",
                None,
            ),
        ),
        (
            (GAP,),
            {"policy": {"channel": "none"}},
            ("channel", "There is no comment, for the policy's channel here is none.", "policy.channel"),
        ),
        ((GAP,), {"mode": "off"}, ("off", "There is no comment, for notices are off here.", MODE)),
        (
            (replace(GAP, state="snoozed", until=on(21)),),
            {},
            ("snoozed", f"There is no comment, for the finding is snoozed until {DAY}.", None),
        ),
        (
            (replace(GAP, state="waived", until=on(21)),),
            {},
            ("waived", f"There is no comment, for the finding is waived until {DAY}.", None),
        ),
        (
            (GAP,),
            {"mode": "off", "keep_notice": True},
            ("off", "Notices are off here, so what is on the ticket, if anything, stays as it is.", MODE),
        ),
        (
            (GAP,),
            {"keep_notice": True, "notice": notice("due")},
            ("kept", "What is on the ticket, if anything, stays as it is.", None),
        ),
        (
            (GAP,),
            {"keep_notice": True, "shown": {"notice": CurrentNotice("posted", on(12), on_ticket=True)}},
            (
                "kept",
                "The comment is on the ticket in full since 2026-11-12 00:00 UTC, and it stays as it is.",
                None,
            ),
        ),
        (
            (GAP,),
            {"keep_notice": True, "shown": {"notice": CurrentNotice("resolved", on(12), on_ticket=True)}},
            ("kept", "The comment is one line since 2026-11-12 00:00 UTC, and it stays as it is.", None),
        ),
        (
            (GAP,),
            {
                "keep_notice": True,
                "shown": {
                    "notice": CurrentNotice("withdrawn", on(12)),
                    "notice_detail": "Our comment was deleted on the ticket.",
                },
            },
            (
                "withdrawn",
                "The comment was withdrawn at 2026-11-12 00:00 UTC (Our comment was deleted on the ticket),"
                " and stays so until the gap returns.",
                None,
            ),
        ),
        ((GAP,), {"mode": "shadow", "notice": notice("shadow")}, ("shadow", "The notice is shadow.", MODE)),
        (
            (GAP,),
            {"notice": notice("due", target="posted")},
            ("due", "The notice is due, to become posted.", None),
        ),
        (
            (GAP,),
            {
                "notice": notice("held", reason="grace", detail="Grace ends at 2026-11-23 12:00 UTC."),
                "policy": {"scopes": [{"grace": "P10D"}]},
            },
            (
                "held",
                "The notice is held, grace: Grace ends at 2026-11-23 12:00 UTC.",
                "policy.scopes[0].grace",
            ),
        ),
        (
            (GAP,),
            {"notice": notice("posted", target="resolved", reason="stale", detail="Not read to its end")},
            ("posted", "The notice is posted, to become resolved, stale: Not read to its end.", None),
        ),
    ],
)
def test_why_a_notice_is_or_is_not_there(
    findings: tuple[Finding, ...], given: dict[str, Any], expected: tuple[str, str, str | None]
) -> None:
    one = only("notice", reasons(*findings, **given))
    assert (one.name, one.says, one.setting) == expected


def test_a_write_that_failed_says_why() -> None:
    stored = {"notice": CurrentNotice("failed", on(12)), "notice_detail": "Jira refused the comment."}
    made = reasons(GAP, notice=notice("failed", target="posted"), shown=stored)
    assert of_kind("notice", made)[1:] == [
        ("failed", "The last write failed: Jira refused the comment.", False)
    ]


# --- what would change it ---------------------------------------------------------------------

BY_HAND = "It is aligned by a link by hand, a line `Key-Result: KEY` or a label `kr:KEY` on the ticket,"


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (reasons(GAP), [("link", f"{BY_HAND} the comment `/northing link KEY`, or a rule that matches it.")]),
        (
            reasons(
                GAP,
                manual=by_hand(2),
                epic={"epic": replace(EPIC, parent=Parent("PLAN-1"))},
            ),
            [
                (
                    "link",
                    f"{BY_HAND} the comment `/northing link KEY`, a rule that matches it, or a link of its"
                    " parent PLAN-1.",
                ),
                ("goal", "A linked key result that counts again aligns it too."),
            ],
        ),
        (
            reasons(
                manual=by_hand(4, 5),
                goals=(goal(4, cycle_ends=date(2026, 12, 31)), goal(5, cycle_ends=date(2027, 3, 31))),
                alignment="aligned",
                evaluate_at=on(1, month=12),
            ),
            [
                ("cycle", "Its last link stops counting when the cycle ends, at 2027-04-01 00:00 UTC."),
                ("time", "Time alone may change this at 2026-12-01 00:00 UTC."),
            ],
        ),
        (reasons(manual=by_hand(1), alignment="aligned"), []),
        (
            reasons(alignment="exempt", exempt_reason="finished"),
            [("exempt", "Open again, it is asked.")],
        ),
        (
            reasons(alignment="exempt", exempt_reason="exempt by policy: type is Chore"),
            [("exempt", "Without what exempts it, it is asked.")],
        ),
        (
            reasons(GAP, mode="shadow", notice=notice("shadow")),
            [
                ("link", f"{BY_HAND} the comment `/northing link KEY`, or a rule that matches it."),
                ("mode", "Set to live, the source writes the comment."),
            ],
        ),
        (
            reasons(GAP, **OLD),
            [
                ("link", f"{BY_HAND} the comment `/northing link KEY`, or a rule that matches it."),
                ("since", "With `since` null, or a day before the epic, it may have a comment."),
            ],
        ),
    ],
)
def test_what_would_change_it(made: list[Reason], expected: list[tuple[str, str]]) -> None:
    assert [(one.name, one.says) for one in made if one.kind == "change"] == expected


def test_an_epic_as_old_as_its_source_may_have_a_comment() -> None:
    at_once = {"epic": replace(EPIC, created_at=CONNECTED)}
    assert CONNECTED < CREATED
    assert only("notice", reasons(GAP, epic=at_once, notice=notice("due"))).name == "due"
