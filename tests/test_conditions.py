"""The condition language: what it takes and refuses, what matches, and what it says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connectors.base import Epic
from mappings.rules.condition import InvalidCondition, fields, nearly_matches, parse_condition
from tests.support.epics import BARE, EPIC, SOURCE


def fits(when: object, epic: Epic = EPIC) -> bool:
    return parse_condition(when).matches(SOURCE, epic)


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({"source": "ACME-jira"}, True),
        ({"source": ["other", "acme-*"]}, True),
        ({"source": "acme"}, False),
        ({"project": "shop"}, True),
        ({"project": ["CORE", "SHOP"]}, True),
        ({"project": "SHO"}, False),
        ({"label": "growth*"}, True),
        ({"label": "growth"}, False),
        ({"label": "*2026"}, True),
        ({"label": "*WTH*"}, True),
        ({"label": "gr?wth-202?"}, True),
        ({"label": "growth-202??"}, False),
        ({"label": "*"}, True),
        ({"label": "inf.a"}, False),
        ({"label": ["none", "INFRA"]}, True),
        ({"type": "EPIC"}, True),
        ({"type": ["Initiative"]}, False),
        ({"title": "checkout$"}, True),
        ({"title": "^checkout"}, False),
        ({"title": "Checkout"}, False),
        ({"title": "(?i)Checkout"}, True),
        ({"parent": "shop-100"}, True),
        ({"parent": "shop-10"}, False),
        ({"assignee": "bo"}, True),
        ({"assignee": ["cy"]}, False),
        ({"component": ["payments"]}, True),
        ({"milestone": "q4*"}, True),
        ({"milestone": "Q3 2026"}, False),
        ({"field": {"name": "customfield_10020", "is": "retention"}}, True),
        ({"field": {"name": "customfield_10020", "is": ["gro*"]}}, True),
        ({"field": {"name": "customfield_10021", "is": ["growth"]}}, False),
        ({"all": []}, True),
        ({"any": []}, False),
        ({"not": {"any": []}}, True),
        ({"all": [{"project": "SHOP"}, {"label": "infra"}]}, True),
        ({"all": [{"project": "SHOP"}, {"label": "x"}]}, False),
        ({"any": [{"project": "X"}, {"label": "infra"}]}, True),
        ({"any": [{"project": "X"}, {"label": "x"}]}, False),
        ({"not": {"project": "SHOP"}}, False),
        ({"not": {"all": [{"project": "SHOP"}, {"not": {"type": "Epic"}}]}}, True),
    ],
)
def test_what_matches(when: object, expected: bool) -> None:
    assert fits(when) is expected


@pytest.mark.parametrize("kind", ["label", "assignee", "component", "milestone", "parent"])
def test_an_epic_without_values_fits_no_glob(kind: str) -> None:
    assert not fits({kind: "*"}, BARE)


def test_hostile_patterns_end_soon() -> None:
    long = replace(EPIC, labels=("a" * 20_000,), title="a" * 20_000)
    assert not fits({"label": "?" + "*a?" * 150 + "b"}, long)
    assert not fits({"title": "(a*)*(a|a)*(a+)+b"}, long)
    assert fits({"label": "?" * 250 + "*" * 250}, long)


def nested(levels: int) -> object:
    when: object = {"project": "SHOP"}
    for _ in range(levels):
        when = {"not": when}
    return when


@pytest.mark.parametrize(
    ("when", "path", "part"),
    [
        (None, "when", "one object with one key"),
        ([], "when", "one object with one key"),
        ("project", "when", "one object with one key"),
        ({}, "when", "is empty"),
        ({"project": "A", "label": "b"}, "when", '"all" or "any"'),
        ({"projects": "A"}, "when", "there is no test 'projects'; use one of source, project"),
        ({1: "A"}, "when", "there is no test '1'"),
        ({"x" * 50: "A"}, "when", f"there is no test {'x' * 40!r};"),
        ({"project": "A", "label": "b", "type": "c"}, "when", "has 3 keys"),
        ({"field": {"name": "x", "is": []}}, "when.field.is", "empty list"),
        ({"field": {"name": " ", "is": "y"}}, "when.field.name", "is empty"),
        ({"label": "x" * 502}, "when.label", "has 502 characters"),
        ({"label": "\udfffb"}, "when.label", "character"),
        (
            {"any": [{"any": [{"project": "A"}] * 60}, {"any": [{"project": "A"}] * 41}]},
            "when.any[1].any[40]",
            "100 tests",
        ),
        ({"all": {"project": "A"}}, "when.all", "list of conditions"),
        ({"not": [{"project": "A"}]}, "when.not", "one object"),
        ({"all": [{"project": "A"}, {}]}, "when.all[1]", "is empty"),
        ({"all": [{"project": "A"}, {"any": [{"label": 3}]}]}, "when.all[1].any[0].label", "must be text"),
        ({"project": []}, "when.project", "empty list"),
        ({"project": None}, "when.project", "must be text"),
        ({"project": ["A", None]}, "when.project[1]", "must be text"),
        ({"project": "  "}, "when.project", "is empty"),
        ({"label": ["x" * 501]}, "when.label[0]", "at most 500"),
        ({"label": ["x"] * 1_001}, "when.label", "at most 1000"),
        ({"label": "a\0"}, "when.label", "character"),
        ({"label": "a\ud800"}, "when.label", "character"),
        ({"title": ["a"]}, "when.title", "one regular expression"),
        ({"title": ""}, "when.title", "is empty"),
        ({"title": "x" * 501}, "when.title", "at most 500"),
        ({"title": "("}, "when.title", "missing )"),
        ({"title": "(?=a)"}, "when.title", "no look-around"),
        ({"title": r"(a)\1"}, "when.title", "RE2"),
        ({"title": r"\pL{900}\pL{900}"}, "when.title", "too large"),
        ({"title": r"\pL{80}"}, "when.title", "too large"),  # more than 1 MiB, less than 2
        ({"all": [{"project": "A"}, {"label": "b"}, {"title": "["}]}, "when.all[2].title", "RE2"),
        ({"field": "x"}, "when.field", '"name"'),
        ({"field": {"name": "x"}}, "when.field", '"is"'),
        ({"field": {"name": "x", "is": "y", "z": 1}}, "when.field", "nothing else"),
        ({"field": {"name": 3, "is": "y"}}, "when.field.name", "as text"),
        ({"field": {"name": "x", "is": [3]}}, "when.field.is[0]", "must be text"),
        (nested(9), "when" + ".not" * 9, "8 deep"),
        (nested(5_000), "when" + ".not" * 9, "8 deep"),
        ({"any": [{"project": "A"}] * 101}, "when.any[100]", "100 tests"),
        ({"any": [{"all": []}] * 101}, "when.any[100].all", "100 tests"),
    ],
)
def test_what_is_refused_and_where(when: object, path: str, part: str) -> None:
    with pytest.raises(InvalidCondition) as refused:
        parse_condition(when)
    assert refused.value.path == path
    assert part in refused.value.message
    assert str(refused.value) == f"{path}: {refused.value.message}"


def test_the_bounds_themselves_are_taken() -> None:
    assert fits(nested(8))
    assert fits({"any": [{"project": "A"}] * 99 + [{"project": "SHOP"}]})
    assert not fits({"title": "x" * 500})
    assert not fits({"title": r"\pL{40}"})
    assert not fits({"label": "y" * 500})
    assert fits({"label": ["x"] * 999 + ["infra"]})
    assert fits({"any": [{"all": []}] * 100})
    assert not fits({"label": "a\ud7ff"})
    assert not fits({"label": "a\ue000"})


def test_fields_are_named() -> None:
    field = {"field": {"name": "Team", "is": "a"}}
    assert fields(
        parse_condition({"all": [field, {"not": {"any": [{"field": {"name": "Goal", "is": "b"}}]}}]})
    ) == {
        "Team",
        "Goal",
    }
    assert fields(parse_condition({"project": "A"})) == set()


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ({"project": "SHOP"}, "project is SHOP"),
        ({"project": ["SHOP", "CORE"]}, "project is one of SHOP, CORE"),
        ({"all": [{"project": "SHOP"}, {"label": "growth*"}]}, "project is SHOP and label matches growth*"),
        ({"any": [{"project": "A"}, {"type": "B"}]}, "project is A or type is B"),
        (
            {"all": [{"any": [{"project": "A"}, {"project": "B"}]}, {"title": "x"}]},
            "(project is A or project is B) and title matches x",
        ),
        ({"all": [{"any": [{"project": "A"}]}, {"title": "x"}]}, "project is A and title matches x"),
        (
            {"any": [{"all": [{"project": "A"}, {"type": "B"}]}, {"title": "x"}]},
            "(project is A and type is B) or title matches x",
        ),
        (
            {"all": [{"all": [{"project": "A"}, {"type": "B"}]}, {"title": "x"}]},
            "project is A and type is B and title matches x",
        ),
        ({"all": [{"not": {"project": "A"}}, {"type": "B"}]}, "not (project is A) and type is B"),
        ({"title": "x" * 61}, f"title matches {'x' * 60}…"),
        ({"not": {"milestone": "Q?"}}, "not (milestone matches Q?)"),
        ({"field": {"name": "Team", "is": "Red"}}, "field Team is Red"),
        ({"label": [f"l{n}" for n in range(9)]}, "label is one of l0, l1, l2, l3, l4 and 4 more"),
        ({"all": []}, "every epic fits"),
        ({"any": []}, "no epic fits"),
    ],
)
def test_words(when: object, words: str) -> None:
    assert parse_condition(when).words() == words


FIVE_PROJECTS = "; ".join(f"project is SHOP, not P{n}" for n in range(5))


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ({"project": "shop"}, "project is SHOP"),
        ({"project": "CORE"}, "project is SHOP, not CORE"),
        ({"label": ["x", "growth*"]}, "label Growth-2026 matches growth*"),
        ({"label": ["x", "y*"]}, "labels are Growth-2026, infra, not one of x, y*"),
        ({"field": {"name": "Team", "is": "Red"}}, "it has no field Team"),
        ({"title": "checkout"}, "title “Faster checkout” matches checkout"),
        ({"title": "kassa"}, "title “Faster checkout” does not match kassa"),
        ({"all": [{"project": "SHOP"}, {"type": "Epic"}]}, "project is SHOP and type is Epic"),
        (
            {"all": [{"project": "A"}, {"type": "Epic"}, {"assignee": "Cy"}]},
            "project is SHOP, not A; assignees are Ana, Bo, not Cy",
        ),
        ({"any": [{"project": "A"}, {"type": "Epic"}]}, "type is Epic"),
        ({"any": [{"project": "A"}, {"type": "B"}]}, "project is SHOP, not A; type is Epic, not B"),
        ({"not": {"project": "SHOP"}}, "project is SHOP, which is ruled out"),
        ({"not": {"project": "A"}}, "project is SHOP, not A, as asked"),
        ({"any": [{"project": f"P{n}"} for n in range(7)]}, f"{FIVE_PROJECTS}; and 2 more"),
        ({"any": [{"project": f"P{n}"} for n in range(6)]}, f"{FIVE_PROJECTS}; and 1 more"),
        ({"any": [{"project": f"P{n}"} for n in range(5)]}, FIVE_PROJECTS),
        ({"all": [{"project": "SHOP"}] * 6}, " and ".join(["project is SHOP"] * 5) + "; and 1 more"),
        ({"all": [{"project": f"P{n}"} for n in range(6)]}, f"{FIVE_PROJECTS}; and 1 more"),
        ({"any": [{"type": "Epic"}, {"project": "SHOP"}]}, "type is Epic"),
        (
            {"field": {"name": "customfield_10020", "is": "x"}},
            "values of field customfield_10020 are Growth, Retention, not x",
        ),
        ({"parent": "x"}, "parent is SHOP-100, not x"),
        ({"source": "x"}, "source is acme-jira, not x"),
        ({"all": []}, "every epic fits"),
        ({"any": []}, "no epic fits"),
    ],
)
def test_explanations(when: object, words: str) -> None:
    assert parse_condition(when).explain(SOURCE, EPIC) == words


@pytest.mark.parametrize(
    ("when", "missing"),
    [
        ({"all": [{"project": "SHOP"}, {"label": "x"}]}, "labels are Growth-2026, infra, not x"),
        ({"all": [{"project": "SHOP"}, {"label": "infra"}]}, None),
        ({"all": [{"project": "CORE"}, {"label": "x"}]}, None),
        ({"all": [{"label": "x"}]}, None),
        ({"label": "x"}, None),
        ({"any": [{"label": "x"}, {"project": "CORE"}]}, None),
        ({"all": [{"project": "SHOP"}, {"any": [{"label": "x"}, {"type": "y"}]}]},
         "labels are Growth-2026, infra, not x; type is Epic, not y"),
        ({"all": [{"project": "SHOP"}, {"all": [{"label": "infra"}, {"type": "y"}]}]}, "type is Epic, not y"),
        ({"all": [{"project": "SHOP"}, {"not": {"type": "epic"}}]}, "type is Epic, which is ruled out"),
    ],
)  # fmt: skip
def test_the_one_test_in_the_way_is_named(when: object, missing: str | None) -> None:
    assert nearly_matches(parse_condition(when), SOURCE, EPIC) == missing


def test_texts_of_tickets_stay_short_and_on_one_line() -> None:
    epic = replace(EPIC, title="a\n\n" + "b" * 5_000, labels=tuple(f"l{n}\n" for n in range(5_000)))
    answer_text = parse_condition({"all": [{"title": "z"}, {"label": "z"}]}).explain(SOURCE, epic)
    assert "\n" not in answer_text
    assert len(answer_text) < 300
    assert "and 4995 more" in answer_text
