"""The index of rules: the first that matches, found without asking each, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings, strategies as st

from connectors.base import Epic, Parent
from mappings.rules.condition import parse_condition
from mappings.rules.index import Overlap, Overlaps, Rule, RuleIndex
from tests.support.epics import BARE, EPIC, SOURCE


def rule(number: int, when: object, priority: int = 0) -> Rule:
    return Rule(number, f"rule {number}", parse_condition(when), number, priority)


def test_the_lowest_priority_speaks_then_the_lowest_id() -> None:
    rules = [rule(1, {"project": "SHOP"}, 5), rule(3, {"label": "infra"}, 1), rule(2, {"type": "Epic"}, 1)]
    found = RuleIndex(rules).first_match(SOURCE, EPIC)
    assert found is not None
    assert found.id == 2
    assert RuleIndex([]).first_match(SOURCE, EPIC) is None
    assert RuleIndex([rule(1, {"any": []})]).first_match(SOURCE, EPIC) is None


def test_a_rule_says_the_same_for_every_epic() -> None:
    one = rule(7, {"label": ["a", "b*"]})
    index = RuleIndex([one])
    assert [index.why(one), index.why(one)] == ["rule 'rule 7' matches: label matches one of a, b*"] * 2


def test_a_rule_is_found_by_whatever_it_is_asked_of() -> None:
    """Each kind of test alone, so that each is found by its own index; and beside a hundred others."""
    many = [rule(number, {"label": f"other-{number}"}) for number in range(100, 200)]
    whens: list[dict[str, Any]] = [
        {"source": "acme-*"}, {"project": "shop"}, {"label": "growth-????"}, {"type": "epic"},
        {"title": "check.ut"}, {"parent": "*"}, {"assignee": ["x", "BO"]}, {"component": "pay*"},
        {"milestone": "q4 2026"}, {"field": {"name": "customfield_10020", "is": "retention"}},
        {"not": {"project": "CORE"}}, {"any": [{"not": {"type": ["Epic", "x"]}}, {"label": "infra"}]},
        {"all": [{"label": "infra"}, {"not": {"label": "x"}}, {"title": "^Faster"}]},
        {"any": [{"title": "^x"}, {"assignee": "Ana"}]}, {"all": [{"not": {"type": "x"}}]},
    ]  # fmt: skip
    for when in whens:
        for index in (RuleIndex([rule(1, when)]), RuleIndex([*many, rule(1, when)])):
            found = index.first_match(SOURCE, EPIC)
            assert found is not None, when
            assert found.id == 1
            assert index.first_match("other", replace(BARE, project="CORE", title="", type="x")) is None


def test_the_winner_is_explained_by_what_lost_to_it() -> None:
    def won(*rules: Rule) -> tuple[int, str]:
        winner = RuleIndex(rules).winner(SOURCE, EPIC)
        assert winner is not None
        return winner.rule.id, winner.because

    fits, other = {"project": "SHOP"}, {"label": "infra"}
    assert won(rule(1, fits), rule(2, {"project": "CORE"}, -1)) == (1, "no other rule matches")
    by_priority = "its priority 1 is lower than 5 of 'rule 1', the next that matches"
    assert won(rule(1, fits, 5), rule(2, other, 1)) == (2, by_priority)
    by_age = "it has the same priority 0 as 'rule 2', the next that matches, and is older"
    assert won(rule(3, fits, 9), rule(2, other), rule(1, fits)) == (1, by_age)
    assert RuleIndex([rule(1, {"any": []})]).winner(SOURCE, EPIC) is None


def test_overlaps_count_who_else_matches_and_who_comes_first() -> None:
    one, before, after = rule(5, {"all": []}), rule(1, {"all": []}), rule(9, {"all": []})
    overlaps = Overlaps()
    for matching in ([before, one, after], [one, after], [one]):
        overlaps.add(one, matching)
    assert overlaps.largest([before, after]) == [Overlap(after, 2, 1), Overlap(before, 1, 0)]
    assert overlaps.largest([before, after], most=1) == [Overlap(after, 2, 1)]
    assert overlaps.largest([]) == []


def test_every_rule_explains_itself_in_the_order_asked() -> None:
    index = RuleIndex([rule(1, {"project": "A"}, 2), rule(2, {"project": "SHOP"}, 1)])
    assert [(asked.id, fits, why) for asked, fits, why in index.explain(SOURCE, EPIC)] == [
        (2, True, "project is SHOP"),
        (1, False, "project is SHOP, not A"),
    ]


_texts = st.sampled_from(["a", "A", "b", "ab", "a*", "*b", "?", "*", "ß", "a?b*"])
_values = st.sampled_from(["a", "B", "ab", "aXbc", "ß", "ẞ", "", "*"])
_lists = st.lists(_texts, min_size=1, max_size=3)
_tests: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.builds(
        lambda kind, values: {kind: values},
        st.sampled_from(
            ["source", "project", "label", "type", "parent", "assignee", "component", "milestone"]
        ),
        _lists,
    ),
    st.builds(lambda text: {"title": text}, st.sampled_from(["a", "^b", "a.b", "(?i)B$", "x*"])),
    st.builds(
        lambda name, values: {"field": {"name": name, "is": values}},
        st.sampled_from(["f", "project"]),
        _lists,
    ),
)
_conditions = st.recursive(
    _tests,
    lambda inner: st.one_of(
        st.builds(lambda some: {"all": some}, st.lists(inner, max_size=3)),
        st.builds(lambda some: {"any": some}, st.lists(inner, max_size=3)),
        st.builds(lambda one: {"not": one}, inner),
    ),
    max_leaves=5,
)
_few = st.lists(_values, max_size=2).map(tuple)
_maybe = st.none() | _values
_epics = st.builds(
    replace,
    st.just(BARE),
    project=_values,
    title=_values,
    type=_values,
    labels=_few,
    assignees=_few,
    components=_few,
    milestone=_maybe,
    parent=st.none() | st.builds(Parent, _values),
    fields=st.dictionaries(st.sampled_from(["f", "project"]), _few, max_size=2),
)


@settings(deadline=None)
@given(
    st.lists(st.tuples(_conditions, st.integers(0, 2)), max_size=8), st.lists(_epics, min_size=1, max_size=4)
)
def test_the_index_agrees_with_asking_every_rule(
    written: list[tuple[dict[str, Any], int]], epics: list[Epic]
) -> None:
    rules = [rule(number, when, priority) for number, (when, priority) in enumerate(written)]
    index = RuleIndex(rules)
    for epic in epics:
        slow = [
            one
            for one in sorted(rules, key=lambda r: (r.priority, r.id))
            if one.condition.matches("ab", epic)
        ]
        assert index.first_match("ab", epic) == (slow[0] if slow else None)
        assert [one for one, fits, _ in index.explain("ab", epic) if fits] == slow
        assert all(why and one.condition.words() for one, _, why in index.explain("ab", epic))
