"""The table of `resolve`: which key results an epic is linked to, by which origin, and which links count.

The rows are those of the public contract's section "Exactly", under Links and Rules.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from connectors.base import Epic
from mappings.goals.key_results import KeyResult
from mappings.links.references import parse_references, stored_references
from mappings.links.resolve import (
    GoalsAndRules,
    ManualLink,
    Resolution,
    ResolvedLink,
    link_text,
    resolve,
)
from mappings.rules.condition import parse_condition
from mappings.rules.index import Rule, RuleIndex
from tests.support.evaluations import NOW, an_epic, goal, on, unknown_keys
from tests.support.ticket_text import text_lines

SOURCE = "acme-jira"
EPIC = an_epic(labels=("growth",))

# Four live goals, and one for each way of being dead.
GOALS = (
    goal(1),
    goal(2),
    goal(3, state="draft"),
    goal(4, cycle_ends=NOW.date()),
    goal(11, state="achieved"),
    goal(12, state="missed"),
    goal(13, state="archived"),
    goal(14, objective_state="achieved"),
    goal(15, objective_state="missed"),
    goal(16, objective_state="archived"),
    goal(17, cycle_ends=on(15).date()),
)
LIVE, DEAD = (1, 2, 3, 4), (11, 12, 13, 14, 15, 16, 17)


def rule(id: int, key_result_id: int, when: object = None, priority: int = 0) -> Rule:
    """A rule that matches every epic unless `when` says more."""
    return Rule(
        id, f"rule {id}", parse_condition({"all": []} if when is None else when), key_result_id, priority
    )


def known(*rules: Rule, goals: tuple[KeyResult, ...] = GOALS) -> GoalsAndRules:
    return GoalsAndRules({one.id: one for one in goals}, RuleIndex(rules))


def by_hand(key_result_id: int) -> ManualLink:
    return ManualLink(key_result_id, "manual", "linked by ann")


def by_command(key_result_id: int) -> ManualLink:
    return ManualLink(key_result_id, "command", "ann wrote /northing link")


def resolved(
    *manual: ManualLink,
    ticket: tuple[str, ...] = (),
    rules: tuple[Rule, ...] = (),
    goals: tuple[KeyResult, ...] = GOALS,
    epic: Epic = EPIC,
    now: datetime = NOW,
) -> Resolution:
    return resolve(SOURCE, epic, ticket, manual, known(*rules, goals=goals), now)


def shown(resolution: Resolution) -> list[tuple[str, str, bool]]:
    """Each link's origin and key, and whether it counts."""
    return [(link.origin, link.key_result.key, link.live) for link in resolution.links]


# --- origins, and their order -----------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """What an epic has, and the links that follow: origin, key, live; and the keys that no key result has."""

    name: str
    links: list[tuple[str, str, bool]]
    manual: tuple[ManualLink, ...] = ()
    ticket: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    unknown: tuple[str, ...] = ()


CASES = [
    Case("nothing at all", []),
    Case("by hand", [("manual", "KR-1", True)], (by_hand(1),)),
    Case("by command", [("command", "KR-1", True)], (by_command(1),)),
    Case("by a line of the ticket", [("ticket", "KR-1", True)], ticket=("line:KR-1",)),
    Case("by a label of the ticket", [("ticket", "KR-1", True)], ticket=("label:KR-1",)),
    Case("by a rule", [("rule", "KR-1", True)], rules=(rule(7, 1),)),
    Case(
        "by hand, by command and by the ticket hold together",
        [("manual", "KR-1", True), ("command", "KR-2", True), ("ticket", "KR-3", True)],
        (by_hand(1), by_command(2)),
        ("line:KR-3",),
    ),
    Case(
        "the order of links by hand and by command is that in which they were made",
        [("command", "KR-2", True), ("manual", "KR-1", True)],
        (by_command(2), by_hand(1)),
    ),
    Case(
        "one key result by several origins is one link of each",
        [("manual", "KR-1", True), ("command", "KR-1", True), ("ticket", "KR-1", True)],
        (by_hand(1), by_command(1)),
        ("line:KR-1",),
    ),
    # A rule is asked only where none of the others counts.
    Case("no rule beside a link by hand", [("manual", "KR-1", True)], (by_hand(1),), rules=(rule(7, 2),)),
    Case("no rule beside a command", [("command", "KR-1", True)], (by_command(1),), rules=(rule(7, 2),)),
    Case("no rule beside a line", [("ticket", "KR-1", True)], ticket=("line:KR-1",), rules=(rule(7, 2),)),
    Case(
        "no rule beside one live link of several",
        [("manual", "KR-11", False), ("ticket", "KR-12", False), ("ticket", "KR-1", True)],
        (by_hand(11),),
        ("line:KR-12", "label:KR-1"),
        (rule(7, 2),),
    ),
    Case(
        "a rule where the first live link comes last of all is not asked",
        [("manual", "KR-11", False), ("command", "KR-1", True)],
        (by_hand(11), by_command(1)),
        rules=(rule(7, 2),),
    ),
    # A link to a goal that is not live stays shown and does not stop the next origin.
    Case(
        "a dead link by hand does not stop the ticket",
        [("manual", "KR-11", False), ("ticket", "KR-1", True)],
        (by_hand(11),),
        ("line:KR-1",),
    ),
    Case(
        "nor the rules",
        [("manual", "KR-11", False), ("rule", "KR-1", True)],
        (by_hand(11),),
        rules=(rule(7, 1),),
    ),
    Case(
        "dead links of every origin, and then a rule",
        [("manual", "KR-11", False), ("command", "KR-12", False), ("ticket", "KR-17", False),
         ("rule", "KR-1", True)],
        (by_hand(11), by_command(12)),
        ("label:KR-17",),
        (rule(7, 1),),
    ),
    Case(
        "a rule that names the dead goal of a link by hand",
        [("manual", "KR-11", False), ("rule", "KR-11", False)],
        (by_hand(11),),
        rules=(rule(7, 11),),
    ),
    Case("a key that is not there does not stop a rule", [("rule", "KR-1", True)], ticket=("line:KR-99",),
         rules=(rule(7, 1),), unknown=("KR-99",)),
    # Rules: lowest priority, then lowest id; one link; whether the goal is live is not asked of it.
    Case("the lowest priority", [("rule", "KR-2", True)],
         rules=(rule(1, 1, priority=5), rule(2, 2, priority=-1))),
    Case("then the lowest id", [("rule", "KR-2", True)], rules=(rule(9, 1), rule(8, 2), rule(10, 3))),
    Case("priority before id", [("rule", "KR-2", True)], rules=(rule(1, 1, priority=1), rule(2, 2))),
    Case("one link, though two rules match", [("rule", "KR-1", True)], rules=(rule(1, 1), rule(2, 2))),
    Case(
        "the first that matches, not the first",
        [("rule", "KR-2", True)],
        rules=(rule(1, 1, {"label": "infra"}), rule(2, 2, {"label": "GROWTH"}), rule(3, 3)),
    ),
    Case("rules that do not match", [], rules=(rule(1, 1, {"project": "CORE"}), rule(2, 2, {"any": []}))),
    Case("a rule of another source", [], rules=(rule(1, 1, {"source": "other"}),)),
    Case("a rule of this source", [("rule", "KR-1", True)], rules=(rule(1, 1, {"source": SOURCE}),)),
    Case(
        "a rule to a dead goal gives its link, and the next rule is not asked",
        [("rule", "KR-17", False)],
        rules=(rule(1, 17), rule(2, 1)),
    ),
    # Keys of the ticket.
    Case("in any case", [("ticket", "KR-1", True)], ticket=("line:kr-1",)),
    Case(
        "the same key by line and by label is one link",
        [("ticket", "KR-1", True), ("ticket", "KR-2", True)],
        ticket=("line:KR-1", "label:kr-1", "label:KR-2", "line:Kr-2"),
    ),
    Case("a dead goal twice is one link too", [("ticket", "KR-11", False)],
         ticket=("line:KR-11", "label:KR-11")),
    Case("a key that is not there", [], ticket=("line:KR-99",), unknown=("KR-99",)),
    Case(
        "keys that are not there stand as written, in their order, among those that are",
        [("ticket", "KR-2", True), ("ticket", "KR-1", True)],
        ticket=("line:kr-99", "line:KR-2", "label:Nope", "label:KR-1"),
        unknown=("kr-99", "Nope"),
    ),
    Case("no part of a key is a key", [], ticket=("line:KR", "line:KR-", "line:KR-100"),
         unknown=("KR", "KR-", "KR-100")),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_links_of_an_epic(case: Case) -> None:
    resolution = resolved(*case.manual, ticket=case.ticket, rules=case.rules)
    assert shown(resolution) == case.links
    assert tuple(one.key for one in resolution.unknown) == case.unknown
    assert resolution.aligned is any(live for _, _, live in case.links)
    for link in resolution.links:
        assert (link.rule_id is None) is (link.origin != "rule")


def test_the_link_of_a_rule_names_the_rule() -> None:
    (link,) = resolved(rules=(rule(8, 1, priority=2), rule(9, 2, {"label": "growth"}, priority=1))).links
    assert (link.rule_id, link.key_result.id) == (9, 2)


@pytest.mark.parametrize("key_result_id", [*LIVE, *DEAD])
def test_each_origin_counts_where_its_goal_is_live(key_result_id: int) -> None:
    live = key_result_id in LIVE
    for resolution in (
        resolved(by_hand(key_result_id)),
        resolved(by_command(key_result_id)),
        resolved(ticket=(f"line:KR-{key_result_id}",)),
        resolved(ticket=(f"label:KR-{key_result_id}",)),
        resolved(rules=(rule(7, key_result_id),)),
    ):
        assert [link.live for link in resolution.links] == [live]
        assert resolution.aligned is live


@pytest.mark.parametrize("key_result_id", DEAD)
def test_every_dead_goal_lets_the_rules_be_asked(key_result_id: int) -> None:
    for resolution in (
        resolved(by_hand(key_result_id), rules=(rule(7, 1),)),
        resolved(ticket=(f"line:KR-{key_result_id}",), rules=(rule(7, 1),)),
    ):
        assert [(link.origin, link.live) for link in resolution.links][1:] == [("rule", True)]


# --- the last day of a cycle ------------------------------------------------------------------

ENDS = date(2026, 12, 31)
OVER = datetime(2027, 1, 1, tzinfo=UTC)
JUST = timedelta(microseconds=1)
WEST, EAST = timezone(timedelta(hours=-8)), timezone(timedelta(hours=14))


@pytest.mark.parametrize(
    ("now", "live"),
    [
        (datetime(2026, 12, 31, tzinfo=UTC), True),
        (OVER - JUST, True),
        (OVER, False),
        (OVER + JUST, False),
        # The day is that of UTC, whatever the clock on the wall shows.
        ((OVER - JUST).astimezone(EAST), True),
        (OVER.astimezone(WEST), False),
    ],
)
def test_the_last_day_of_a_cycle_counts_whole(now: datetime, live: bool) -> None:
    ending = (goal(1, cycle_ends=ENDS), goal(2))
    for resolution in (
        resolved(ticket=("line:KR-1",), goals=ending, now=now),
        resolved(rules=(rule(7, 1),), goals=ending, now=now),
    ):
        assert [link.live for link in resolution.links] == [live]
    # From the end of the cycle on the rules are asked.
    links = resolved(by_hand(1), rules=(rule(7, 2),), goals=ending, now=now).links
    assert [link.key_result.id for link in links] == ([1] if live else [1, 2])


# --- why --------------------------------------------------------------------------------------


def test_each_link_says_why_it_exists() -> None:
    resolution = resolved(
        by_hand(11), by_command(12), ticket=("line:kr-13", "label:kr-14"), rules=(rule(7, 1),)
    )
    assert [link.why for link in resolution.links] == [
        "linked by ann",
        "ann wrote /northing link",
        "the description says `Key-Result: KR-13`",
        "the ticket has the label `kr:kr-14`",
        "rule 'rule 7' matches: every epic fits",
    ]


@pytest.mark.parametrize(
    ("ticket", "why"),
    [
        (("line:KR-1", "label:KR-1"), "the description says `Key-Result: KR-1`"),
        (("label:kr-1", "line:KR-1"), "the ticket has the label `kr:kr-1`"),
    ],
)
def test_of_two_references_to_one_key_the_first_says_why(ticket: tuple[str, ...], why: str) -> None:
    (link,) = resolved(ticket=ticket).links
    assert link.why == why


def test_the_why_of_a_rule_is_its_name_and_its_condition_and_the_same_for_every_epic() -> None:
    growth = rule(7, 1, {"all": [{"project": "SHOP"}, {"label": ["growth", "new*"]}]})
    rules = known(growth)
    links = [
        resolve(SOURCE, epic, (), (), rules, NOW).links[0]
        for epic in (EPIC, replace(EPIC, labels=("newest",)))
    ]
    assert [link.why for link in links] == [
        "rule 'rule 7' matches: project is SHOP and label matches one of growth, new*"
    ] * 2


@pytest.mark.parametrize(
    ("members", "now", "text"),
    [
        ({}, OVER, "linked by hand"),
        ({"state": "draft"}, OVER, "linked by hand"),
        ({"cycle_ends": ENDS}, OVER - JUST, "linked by hand"),
        (
            {"cycle_ends": ENDS},
            OVER,
            "linked by hand; it does not align the epic, its cycle ended on 2026-12-31",
        ),
        ({"state": "missed"}, OVER, "linked by hand; it does not align the epic, it is missed"),
        (
            {"objective_state": "archived"},
            OVER,
            "linked by hand; it does not align the epic, its objective O-1 is archived",
        ),
    ],
)
def test_the_text_of_a_link_says_why_it_does_not_count(
    members: dict[str, Any], now: datetime, text: str
) -> None:
    assert link_text(ResolvedLink(goal(1, **members), "manual", "linked by hand", live=True), now) == text


# --- all goals at one moment ------------------------------------------------------------------


def test_goals_are_found_by_their_key_in_lower_case() -> None:
    mixed = (goal(1, key="Growth.2026_A"), goal(2, key="KR-2"))
    assert known(goals=mixed).by_key == {"growth.2026_a": mixed[0], "kr-2": mixed[1]}
    assert known(goals=()).by_key == {}
    (link,) = resolved(ticket=("line:GROWTH.2026_a",), goals=mixed).links
    assert link.key_result is mixed[0]
    assert link.why == "the description says `Key-Result: Growth.2026_A`", "the key as the goal has it"


def test_the_live_goals_of_a_moment() -> None:
    assert [one.id for one in known().live(NOW)] == [*LIVE]
    assert [one.id for one in known().live(on(17))] == [1, 2, 3], "a cycle has ended since"
    assert [one.id for one in known().live(on(15))] == [*LIVE, 17], "and one had not yet"


def test_an_epic_is_aligned_by_one_live_link() -> None:
    alive, dead = (
        ResolvedLink(goal(1), "manual", "", live=True),
        ResolvedLink(goal(2), "rule", "", live=False),
    )
    assert [Resolution(links).aligned for links in ((), (dead,), (dead, alive), (alive, dead))] == [
        False,
        False,
        True,
        True,
    ]
    assert not Resolution(unknown=unknown_keys("KR-1")).aligned


# --- many -------------------------------------------------------------------------------------


def test_many_links_and_references_keep_their_order() -> None:
    goals = tuple(goal(id) for id in range(1, 501))
    manual = [by_hand(id) for id in range(300, 0, -1)]
    ticket = tuple(f"line:kr-{id}" for id in range(1, 501)) + tuple(f"label:KR-{id}" for id in range(1, 501))
    resolution = resolved(*manual, ticket=ticket, goals=goals, rules=(rule(7, 1),))
    assert [link.key_result.id for link in resolution.links] == [*range(300, 0, -1), *range(1, 501)]
    assert {link.origin for link in resolution.links[300:]} == {"ticket"}


def test_what_a_ticket_names_is_what_it_is_linked_to() -> None:
    """From the text as it stands to the links, by the references as they are stored."""
    found = parse_references(
        text_lines("Key-Result: kr-1, KR-99", "key-result: KR-11"), ["kr:KR-1", "kr: KR-2", "infra"]
    )
    resolution = resolved(ticket=tuple(stored_references(found)))
    assert shown(resolution) == [
        ("ticket", "KR-1", True),
        ("ticket", "KR-11", False),
        ("ticket", "KR-2", True),
    ]
    assert resolution.unknown == unknown_keys("KR-99")
