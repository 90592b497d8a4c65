"""The table of `desired_text`: which text an epic's ticket should have, and which facts its hash covers.

The rows are those of the public contract's section "Exactly", under Time and Notices.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from connectors.markup import to_plain
from mappings.checks.registry import CHECKS
from mappings.evaluation.desired_notice import WITHDRAWN, DesiredText, desired_text
from mappings.evaluation.model import Alignment, EvaluationInput, Finding
from mappings.goals.key_results import KeyResult
from mappings.links.resolve import Resolution
from mappings.policy.document import EffectivePolicy
from mappings.suggestions.material import Suggestion
from tests.support.evaluations import (
    CONNECTED,
    CREATED,
    NOW,
    OPENED,
    an_epic,
    evaluation_input,
    found,
    goal,
    links_to,
    on,
    policy,
    unknown_keys,
)

LIVE = goal(1)
CLOSED = goal(2, state="achieved")
OVER = goal(3, cycle_ends=on(2).date())
WAIVED = found(state="waived", until=on(21), reason="Law.")
SNOOZED = found(state="snoozed", until=on(21))
DISPUTED = found(state="disputed")


CHECK_OF = {check.name: check for check in CHECKS}


def desired(
    evaluated: EvaluationInput | None = None,
    unresolved: Finding | None = None,
    *,
    alignment: Alignment | None = "unaligned",
    rules: EffectivePolicy | None = None,
    goals: Iterable[KeyResult] = (),
    now: datetime = NOW,
) -> DesiredText:
    epic = evaluated or evaluation_input()
    known = {link.key_result.id: link.key_result for link in epic.resolution.links}
    known |= {one.id: one for one in goals}
    shown = None if unresolved is None else (CHECK_OF[unresolved.check], unresolved)
    return desired_text(epic, known, rules or policy(), alignment, shown, now)


def lines(made: DesiredText, suggestions: Sequence[Suggestion] = ()) -> list[str]:
    return [line for line in to_plain(made.compose(suggestions).document).splitlines() if line]


# --- the kind of text -------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """`line` is the first line of the text, `facts` what the hash covers besides the kind."""

    name: str
    kind: str
    line: str
    facts: dict[str, object] = field(default_factory=dict)
    evaluated: EvaluationInput = field(default_factory=evaluation_input)
    unresolved: Finding | None = None
    alignment: Alignment | None = "unaligned"
    rules: EffectivePolicy = field(default_factory=policy)


ALIGNED = evaluation_input(links_to(CLOSED, goal(9), goal(4)))
NO_MORE = "No longer checked."
MISSING = "Which key result does this epic serve?"
NO_LINK: dict[str, object] = {"check": "no-key-result", "unknown": [], "links": []}
NONE = policy(channel="none")

CASES = [
    Case(
        "aligned: live links alone are facts",
        "aligned",
        "Aligned with KR-9 (Title 9) … and 1 more. Thank you.",
        {"links": [4, 9]},
        ALIGNED,
        alignment="aligned",
    ),
    Case(
        "aligned, though no comment would be made there now",
        "aligned",
        "Aligned with KR-1 (Title 1). Thank you.",
        {"links": [1]},
        evaluation_input(links_to(LIVE), epic=an_epic(created_at=on(1, month=1)), service_desk=True),
        None,
        "aligned",
        NONE,
    ),
    Case("exempt", "unchecked", NO_MORE, alignment="exempt"),
    Case("a check that is off", "unchecked", NO_MORE),
    Case("left every list", "unchecked", NO_MORE, alignment=None),
    Case("the channel is none", "unchecked", NO_MORE, unresolved=found(), rules=NONE),
    Case("a service desk", "unchecked", NO_MORE, {}, evaluation_input(service_desk=True), found()),
    Case(
        "older than the source",
        "unchecked",
        NO_MORE,
        {},
        evaluation_input(epic=an_epic(created_at=CONNECTED - timedelta(microseconds=1))),
        found(),
    ),
    Case(
        "as old as the source",
        "warning",
        MISSING,
        NO_LINK,
        evaluation_input(epic=an_epic(created_at=CONNECTED)),
        found(),
    ),
    Case("older than a date", "unchecked", NO_MORE, unresolved=found(), rules=policy(since="2026-11-03")),
    Case("of that date", "warning", MISSING, NO_LINK, unresolved=found(), rules=policy(since="2026-11-02")),
    Case(
        "of any age",
        "warning",
        MISSING,
        NO_LINK,
        evaluation_input(epic=an_epic(created_at=on(1, month=1))),
        found(),
        rules=policy(since=None),
    ),
    Case(
        "waived",
        "waived",
        "Waived until 2026-11-20: Law.",
        {"until": "2026-11-21T00:00:00+00:00", "reason": "Law."},
        unresolved=WAIVED,
        alignment="waived",
    ),
    Case("waived where the channel is none", "unchecked", NO_MORE, unresolved=WAIVED, rules=NONE),
    Case(
        "snoozed",
        "snoozed",
        "Snoozed until 2026-11-20.",
        {"until": "2026-11-21T00:00:00+00:00"},
        unresolved=SNOOZED,
    ),
    Case("snoozed at a service desk", "unchecked", NO_MORE, {}, evaluation_input(service_desk=True), SNOOZED),
    Case("disputed", "disputed", "Disputed; waiting for a decision.", unresolved=DISPUTED),
    Case(
        "the state decides, not a moment that is left of a snooze",
        "disputed",
        "Disputed; waiting for a decision.",
        unresolved=replace(DISPUTED, until=on(21)),
    ),
    Case(
        "nor is an open finding snoozed by one",
        "warning",
        MISSING,
        NO_LINK,
        unresolved=found(until=on(21)),
    ),
    Case("disputed where the channel is none", "unchecked", NO_MORE, unresolved=DISPUTED, rules=NONE),
    Case("no link", "warning", MISSING, NO_LINK, unresolved=found()),
    Case(
        "dead links",
        "warning",
        MISSING,
        {"check": "closed-goal", "unknown": [], "links": ["2:title", "3:title"]},
        evaluation_input(links_to(OVER, CLOSED)),
        found("closed-goal"),
    ),
    Case(
        "keys that are not there",
        "warning",
        MISSING,
        {"check": "no-key-result", "unknown": ["KR-98", "kr-7"], "links": []},
        evaluation_input(Resolution(unknown=unknown_keys("kr-7", "KR-98"))),
        found(),
    ),
    Case(
        "dead links that may not be named",
        "warning",
        MISSING,
        {"check": "closed-goal", "unknown": [], "links": ["5:key", "6:key", "7:title"]},
        evaluation_input(
            links_to(
                *(
                    goal(id, state="missed", visibility=visibility)
                    for id, visibility in ((7, "public"), (6, "internal"), (5, "confidential"))
                )
            ),
            public=True,
        ),
        found("closed-goal"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_first_that_applies_is_the_text(case: Case) -> None:
    made = desired(case.evaluated, case.unresolved, alignment=case.alignment, rules=case.rules)
    assert (made.kind, made.facts) == (case.kind, case.facts)
    assert lines(made)[0] == case.line
    assert len(lines(made)) == 1 or made.kind == "warning"
    assert (made.grace_ends is None) is (made.kind != "warning"), "one line has no grace"


def test_a_withdrawn_text_has_no_facts() -> None:
    assert (WITHDRAWN.kind, WITHDRAWN.facts, WITHDRAWN.grace_ends) == ("run_withdrawn", {}, None)
    assert lines(WITHDRAWN) == ["Withdrawn. Sorry for the noise."]


# --- the hash ---------------------------------------------------------------------------------

GAP = evaluation_input(links_to(CLOSED, OVER), read_at=NOW)
DEAD_LINKS = desired(GAP, found("closed-goal"))
NO_LINKS = desired(unresolved=found())
SUGGESTED = Suggestion(goal(8), ("shares “word” with the title",))


def _renamed(*goals: KeyResult) -> Resolution:
    return links_to(*(replace(one, title="Another title", public_label="Another label") for one in goals))


def _dead_with(**members: Any) -> DesiredText:
    return desired(replace(GAP, **members), found("closed-goal"))


SAME: list[tuple[str, DesiredText, DesiredText]] = [
    ("a renamed goal", DEAD_LINKS, _dead_with(resolution=_renamed(CLOSED, OVER))),
    ("another key of a goal", DEAD_LINKS,
     _dead_with(resolution=links_to(replace(CLOSED, key="KR-200"), OVER))),
    ("another order of the links", DEAD_LINKS, _dead_with(resolution=links_to(OVER, CLOSED))),
    ("another reason for a dead link", DEAD_LINKS,
     _dead_with(resolution=links_to(replace(CLOSED, state="missed"), OVER))),
    ("another origin of a link", DEAD_LINKS, _dead_with(resolution=links_to(CLOSED, OVER, origin="rule"))),
    ("the time of the data", DEAD_LINKS, _dead_with(read_at=on(17))),
    ("a page", DEAD_LINKS, _dead_with(page_url=lambda: "https://northing.example/epics/1")),
    ("data that is not fresh", DEAD_LINKS, _dead_with(fresh=False)),
    ("a renamed epic", NO_LINKS,
     desired(evaluation_input(epic=an_epic(title="Other", key="SHOP-9")), found())),
    ("a public ticket without links", NO_LINKS, desired(evaluation_input(public=True), found())),
    ("another opening", NO_LINKS, desired(unresolved=found(opened_at=NOW))),
    ("another severity and detail", NO_LINKS, desired(unresolved=found(severity="error", detail="Other."))),
    ("another grace", NO_LINKS, desired(unresolved=found(), rules=policy(grace="P30D"))),
    ("other goals", NO_LINKS, desired(unresolved=found(), goals=[LIVE, CLOSED])),
    ("a later moment", NO_LINKS, desired(unresolved=found(), now=NOW + timedelta(days=3))),
    ("the order of keys that are not there",
     desired(evaluation_input(Resolution(unknown=unknown_keys("KR-98", "KR-99"))), found()),
     desired(evaluation_input(Resolution(unknown=unknown_keys("KR-99", "KR-98"))), found())),
    ("aligned: another order", desired(ALIGNED, alignment="aligned"),
     desired(evaluation_input(links_to(goal(4), goal(9))), alignment="aligned")),
    ("aligned: a renamed goal", desired(ALIGNED, alignment="aligned"),
     desired(evaluation_input(_renamed(goal(4), goal(9))), alignment="aligned")),
    ("aligned: what a public ticket may show", desired(ALIGNED, alignment="aligned"),
     desired(replace(ALIGNED, public=True), alignment="aligned")),
    ("snoozed: the other gap", desired(unresolved=SNOOZED),
     desired(GAP, replace(SNOOZED, check="closed-goal"))),
    ("snoozed: a reason is not shown", desired(unresolved=SNOOZED),
     desired(unresolved=replace(SNOOZED, reason="later"))),
    ("disputed: its reason is not shown", desired(unresolved=DISPUTED),
     desired(unresolved=replace(DISPUTED, reason="It is maintenance."))),
    ("no longer checked, for whatever reason", desired(), desired(unresolved=found(), rules=NONE)),
]  # fmt: skip

OTHER: list[tuple[str, DesiredText, DesiredText]] = [
    ("the other gap", NO_LINKS, DEAD_LINKS),
    ("a link more", DEAD_LINKS, _dead_with(resolution=links_to(CLOSED, OVER, goal(4, state="missed")))),
    ("a link less", DEAD_LINKS, _dead_with(resolution=links_to(CLOSED))),
    ("a link to another goal", DEAD_LINKS, _dead_with(resolution=links_to(CLOSED, replace(OVER, id=4)))),
    ("a goal that may not be named any more", DEAD_LINKS,
     _dead_with(resolution=links_to(replace(CLOSED, visibility="confidential"), OVER))),
    ("a ticket that everybody can read now", DEAD_LINKS, _dead_with(public=True)),
    ("a key that is not there", NO_LINKS,
     desired(evaluation_input(Resolution(unknown=unknown_keys("KR-99"))), found())),
    ("another key that is not there",
     desired(evaluation_input(Resolution(unknown=unknown_keys("KR-98"))), found()),
     desired(evaluation_input(Resolution(unknown=unknown_keys("KR-99"))), found())),
    ("the same keys not there, dead links beside them",
     desired(evaluation_input(Resolution(unknown=unknown_keys("KR-99"))), found()),
     _dead_with(resolution=replace(GAP.resolution, unknown=unknown_keys("KR-99")))),
    ("aligned: a live link more", desired(ALIGNED, alignment="aligned"),
     desired(evaluation_input(links_to(goal(4), goal(9), LIVE)), alignment="aligned")),
    ("aligned: another goal", desired(evaluation_input(links_to(goal(4))), alignment="aligned"),
     desired(evaluation_input(links_to(goal(9))), alignment="aligned")),
    ("waived: another end", desired(unresolved=WAIVED),
     desired(unresolved=replace(WAIVED, until=on(22)))),
    ("waived: another reason", desired(unresolved=WAIVED),
     desired(unresolved=replace(WAIVED, reason="Another."))),
    ("snoozed: another end", desired(unresolved=SNOOZED), desired(unresolved=replace(SNOOZED, until=on(22)))),
    ("snoozed, then waived", desired(unresolved=SNOOZED),
     desired(unresolved=replace(SNOOZED, state="waived"))),
    ("disputed, then decided", desired(unresolved=DISPUTED), NO_LINKS),
    ("disputed, then no longer checked", desired(unresolved=DISPUTED), desired()),
    ("no longer checked, then withdrawn", desired(), WITHDRAWN),
    ("an answer to a command", NO_LINKS, NO_LINKS.with_answer("There is nothing to snooze here.")),
    ("another answer", NO_LINKS.with_answer("One."), NO_LINKS.with_answer("Two.")),
    ("the same answer to another text", NO_LINKS.with_answer("One."), DEAD_LINKS.with_answer("One.")),
]  # fmt: skip


@pytest.mark.parametrize(("one", "two"), [row[1:] for row in SAME], ids=[row[0] for row in SAME])
def test_what_edits_no_comment(one: DesiredText, two: DesiredText) -> None:
    assert one.facts_hash == two.facts_hash


@pytest.mark.parametrize(("one", "two"), [row[1:] for row in OTHER], ids=[row[0] for row in OTHER])
def test_what_edits_a_comment(one: DesiredText, two: DesiredText) -> None:
    assert one.facts_hash != two.facts_hash


def test_the_hash_covers_the_kind_and_the_facts_and_never_the_words() -> None:
    assert replace(NO_LINKS, compose=WITHDRAWN.compose).facts_hash == NO_LINKS.facts_hash
    assert replace(NO_LINKS, grace_ends=NOW).facts_hash == NO_LINKS.facts_hash
    assert replace(NO_LINKS, kind="unchecked").facts_hash != NO_LINKS.facts_hash
    backwards = dict(reversed(list(NO_LINKS.facts.items())))
    assert replace(NO_LINKS, facts=backwards).facts_hash == NO_LINKS.facts_hash
    assert len(NO_LINKS.facts_hash) == 64


def test_an_answer_is_a_fact_and_stands_before_a_warning_and_after_one_line() -> None:
    answer = "There is no key result `KR-99`."
    for made, first in (
        (NO_LINKS, True),
        (DEAD_LINKS, True),
        (desired(unresolved=SNOOZED), False),
        (desired(unresolved=WAIVED), False),
        (desired(unresolved=DISPUTED), False),
        (desired(), False),
        (desired(ALIGNED, alignment="aligned"), False),
    ):
        answered = made.with_answer(answer)
        shown = ["There is no key result KR-99."]
        assert lines(answered) == (shown + lines(made) if first else lines(made) + shown)
        assert answered.facts == {**made.facts, "answer": answer}
        assert (answered.kind, answered.grace_ends) == (made.kind, made.grace_ends)
        assert "answer" not in made.facts, "the text without the answer stays as it was"


# --- grace ------------------------------------------------------------------------------------

FRIDAY_15 = on(6, 15)
CYCLE = on(1, 10, month=12)  # 20 working days from the opening
POLICY = on(10, 10)  # 5 working days from it
BY_HAND_TOO = goal(5, state="missed", cycle_ends=on(1).date())
GRACES: list[tuple[str, Sequence[KeyResult], datetime, datetime, dict[str, Any], datetime]] = [
    ("from the finding, which is later", (), CREATED, OPENED, {}, POLICY),
    ("from the epic, which is later", (), on(4, 9), OPENED, {}, on(11, 9)),
    ("from both at once", (), OPENED, OPENED, {}, POLICY),
    ("from Friday 15:00 to the next Friday 15:00", (), CREATED, FRIDAY_15, {}, on(13, 15)),
    ("from a Sunday", (), CREATED, on(8, 23), {}, on(16)),
    ("hours are hours on any day", (), CREATED, FRIDAY_15, {"grace": "PT48H"}, on(8, 15)),
    ("none", (), CREATED, OPENED, {"grace": "PT0S"}, OPENED),
    ("the check's own", (), CREATED, OPENED, {"checks": {"no-key-result": {"grace": "P1D"}}}, on(4, 10)),
    ("another check's", (), CREATED, OPENED, {"checks": {"closed-goal": {"grace": "P1D"}}}, POLICY),
    ("closed by hand", (CLOSED,), CREATED, OPENED, {}, POLICY),
    ("closed by hand: the check's own", (CLOSED,), CREATED, OPENED,
     {"checks": {"closed-goal": {"grace": "P1D"}}}, on(4, 10)),
    ("its objective closed by hand", (goal(5, objective_state="archived"),), CREATED, OPENED, {}, POLICY),
    ("closed by hand, the cycle over too", (BY_HAND_TOO,), CREATED, OPENED, {}, POLICY),
    ("the cycle over", (OVER,), CREATED, OPENED, {}, CYCLE),
    ("the cycle over, a policy with less", (OVER,), CREATED, OPENED, {"grace": "PT0S"}, CYCLE),
    ("the cycle over, a policy with more", (OVER,), CREATED, OPENED, {"grace": "P30D"}, CYCLE),
    ("the cycle over, a check with more", (OVER,), CREATED, OPENED,
     {"checks": {"closed-goal": {"grace": "P30D"}}}, CYCLE),
    ("one of each: the longer", (CLOSED, OVER), CREATED, OPENED, {}, CYCLE),
    ("one of each, in the other order", (OVER, CLOSED), CREATED, OPENED, {}, CYCLE),
    ("one of each, a policy with more", (OVER, CLOSED), CREATED, OPENED, {"grace": "P30D"},
     on(15, 10, month=12)),
    ("two of a kind", (OVER, goal(4, cycle_ends=on(1).date())), CREATED, OPENED, {}, CYCLE),
]  # fmt: skip


@pytest.mark.parametrize(
    ("dead", "created", "opened", "document", "ends"),
    [row[1:] for row in GRACES],
    ids=[row[0] for row in GRACES],
)
def test_grace_ends(
    dead: Sequence[KeyResult], created: datetime, opened: datetime, document: dict[str, Any], ends: datetime
) -> None:
    made = desired(
        evaluation_input(links_to(*dead), epic=an_epic(created_at=created)),
        found("closed-goal" if dead else "no-key-result", opened_at=opened),
        rules=policy(**document),
    )
    assert made.grace_ends == ends


def test_the_longer_grace_holds_from_the_moment_at_which_the_cycle_is_over() -> None:
    evaluated = evaluation_input(links_to(goal(5, cycle_ends=on(30).date())))
    made = desired(evaluated, found("closed-goal"), now=on(1, month=12))
    assert made.grace_ends == CYCLE


# --- the words of a warning -------------------------------------------------------------------


def test_a_warning_offers_the_best_suggestion_first() -> None:
    suggestions = [SUGGESTED, Suggestion(goal(7), ("1 other epic of SHOP is linked to it",))]
    text = lines(desired(unresolved=found(), goals=[LIVE]), suggestions)
    assert text[2:7] == [
        "- comment /northing link KR-8",
        "- add Key-Result: KR-8 to the description, or label kr:KR-8",
        "These may fit:",
        "- KR-8 (Title 8): shares “word” with the title",
        "- KR-7 (Title 7): 1 other epic of SHOP is linked to it",
    ]


CONFIDENTIAL = replace(LIVE, visibility="confidential", public_label="Label")


@pytest.mark.parametrize("public", [False, True])
@pytest.mark.parametrize(
    ("goals", "some"),
    [
        ((LIVE,), True),
        ((CLOSED, OVER, goal(6), LIVE), True),
        ((goal(6, visibility="public"), CONFIDENTIAL), True),
        ((), False),
        ((CLOSED, OVER), False),
        ((CONFIDENTIAL,), False),
        ((CLOSED, CONFIDENTIAL), False),
    ],
)
def test_without_a_suggestion_no_key_is_shown(goals: tuple[KeyResult, ...], some: bool, public: bool) -> None:
    """Nor whether confidential key results are there."""
    text = lines(desired(evaluation_input(public=public), found(), goals=goals))
    assert ("- comment /northing link <key>" in text) is some
    assert any(line.startswith("There is none to choose from yet; ") for line in text) is not some
    assert not any("KR-" in line or "Label" in line for line in text)


def test_the_words_of_a_suggestion_are_no_facts() -> None:
    made = desired(unresolved=found())
    assert lines(made) != lines(made, [SUGGESTED])
    assert made.facts_hash == NO_LINKS.facts_hash
    assert made.compose([SUGGESTED]).mentioned_key_result_ids == (8,)


# As version 0.1 has them: an upgrade edits none of the comments that stand.
STANDING = [
    (NO_LINKS, "2ff54df3e779"),
    (DEAD_LINKS, "dfee5fb9d72a"),
    (desired(ALIGNED, alignment="aligned"), "08bc0154507e"),
    (desired(unresolved=WAIVED), "53409c483f29"),
    (desired(unresolved=SNOOZED), "dc898b8e3d9c"),
    (desired(unresolved=DISPUTED), "3e4e1724a5b5"),
    (desired(), "1fd20361d640"),
    (WITHDRAWN, "cc565a46c11f"),
    (desired(evaluation_input(Resolution(unknown=unknown_keys("KR-99"))), found()), "78a8e351a231"),
    (NO_LINKS.with_answer("There is nothing to snooze here."), "65580b8d622a"),
]


@pytest.mark.parametrize(("made", "hash"), STANDING, ids=[made.kind for made, _ in STANDING])
def test_an_upgrade_edits_no_comment(made: DesiredText, hash: str) -> None:
    assert made.facts_hash[:12] == hash


def test_a_warning_says_why_each_link_does_not_count_and_which_key_is_not_there() -> None:
    resolution = replace(
        links_to(CLOSED, OVER, goal(4, objective_state="missed")), unknown=unknown_keys("KR-99")
    )
    assert lines(desired(evaluation_input(resolution), found("closed-goal"), goals=[LIVE]))[:6] == [
        MISSING,
        "Those it is linked to no longer count:",
        "- KR-2 (Title 2): it is achieved",
        "- KR-3 (Title 3): its cycle ended on 2026-11-02",
        "- KR-4 (Title 4): its objective O-4 is missed",
        "The ticket names KR-99, which does not exist. Correcting it is enough.",
    ]


def test_a_warning_shows_time_page_and_the_end_of_the_quarter() -> None:
    evaluated = evaluation_input(read_at=on(15, 9), page_url=lambda: "https://northing.example/epics/1")
    text = lines(desired(evaluated, found(), goals=[LIVE]))
    assert text[1].startswith("Choose from the key results (https://northing.example/epics/1). ")
    assert "- none needed: /northing waive until 2026-12-31 because …" in text
    assert text[-1] == (
        "Check no-key-result on data of 2026-11-15 09:00 UTC. Why? (https://northing.example/epics/1)"
    )
    bare = lines(desired(evaluation_input(read_at=on(15, 9)), found(), goals=[LIVE]))
    assert bare[1].startswith("/northing suggest lists what comes nearest. ")
    assert bare[-1] == "Check no-key-result on data of 2026-11-15 09:00 UTC."


@pytest.mark.parametrize(
    ("visibility", "public", "name", "titled"),
    [
        ("public", True, "KR-5 (Churn below 2%)", (5,)),
        ("public", False, "KR-5 (Churn below 2%)", (5,)),
        ("internal", True, "KR-5 (Customers)", ()),
        ("internal", False, "KR-5 (Churn below 2%)", (5,)),
        ("confidential", True, "KR-5 (Customers)", ()),
        ("confidential", False, "KR-5 (Customers)", ()),
    ],
)
def test_a_goal_is_shown_as_this_ticket_may_show_it(
    visibility: str, public: bool, name: str, titled: tuple[int, ...]
) -> None:
    shown = goal(5, title="Churn below 2%", visibility=visibility, public_label="Customers")
    aligned = desired(evaluation_input(links_to(shown), public=public), alignment="aligned")
    assert lines(aligned) == [f"Aligned with {name}. Thank you."]
    dead = links_to(replace(shown, state="missed"))
    warning = desired(evaluation_input(dead, public=public), found("closed-goal"))
    assert f"- {name}: {'it is missed' if titled else 'no longer counts'}" in lines(warning)
    for made in (aligned, warning):
        assert made.compose().mentioned_key_result_ids == titled
