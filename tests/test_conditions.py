"""The condition language: what it takes and refuses, what matches, what it says; and the rule book."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.base import Epic
from mappings.rules.condition import Condition, InvalidCondition, fields, parse_condition
from mappings.rules.index import Rule, RuleIndex
from mappings.rules.patterns import Glob, Patterns, RegexError, Search, SearchSet, fold, regex_message, shown

NOW = datetime(2026, 1, 5, tzinfo=UTC)
BARE = Epic("1", "SHOP-1", "SHOP", "Faster checkout", "https://t/1", "Epic", "Open", "todo", NOW, NOW)
EPIC = replace(
    BARE,
    labels=("Growth-2026", "infra"),
    assignees=("Ana", "Bo"),
    components=("Payments",),
    milestone="Q4 2026",
    parent_key="SHOP-100",
    fields={"customfield_10020": ("Growth", "Retention")},
)
SOURCE = "acme-jira"


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


@pytest.mark.parametrize(
    ("value", "pattern", "expected"),
    [
        ("ÉCLAIR", "éclair", True),
        ("ΟΔΟΣ", "οδος", True),
        ("Straße", "STRAẞE", True),
        ("Straße", "stra?e", True),
        ("İx", "?x", True),
        ("a\nb", "a?b", True),
        ("a\nb", "a*b", True),
        ("ab", "a**b", True),
        ("a", "a*a", False),
        ("axa", "a*a", True),
        ("a+b", "a+*b", True),
        ("x\\y", "?\\*", True),
        ("\ud800", "?", True),
        ("", "*", True),
        ("", "?", False),
        ("?", "??", False),
    ],
)
def test_case_and_globs(value: str, pattern: str, expected: bool) -> None:
    assert Patterns([pattern]).matches(value) is expected


def slow_glob(pattern: str, value: str) -> bool:
    reached = {0}
    for character in pattern:
        if character == "*":
            reached = set(range(min(reached), len(value) + 1)) if reached else set()
        else:
            reached = {i + 1 for i in reached if i < len(value) and character in ("?", value[i])}
    return len(value) in reached


@settings(deadline=None)
@given(st.text("ab*?.", max_size=8), st.text("ab*?.\n", max_size=10))
def test_globs_agree_with_the_textbook(pattern: str, value: str) -> None:
    assert Glob(pattern).matches(value) is slow_glob(pattern, value)


@settings(deadline=None)
@given(st.text())
def test_folding_keeps_the_length_and_is_stable(value: str) -> None:
    assert len(fold(value)) == len(value)
    assert fold(fold(value)) == fold(value)


def test_hostile_patterns_end_soon() -> None:
    long = replace(EPIC, labels=("a" * 20_000,), title="a" * 20_000)
    assert not fits({"label": "?" + "*a?" * 150 + "b"}, long)
    assert not fits({"title": "(a*)*(a|a)*(a+)+b"}, long)
    assert fits({"label": "?" * 250 + "*" * 250}, long)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], ""),
        (["a"], "a"),
        (["a"] * 5, "a, a, a, a, a"),
        (["a"] * 6, "a, a, a, a, a and 1 more"),
        (["a"] * 7, "a, a, a, a, a and 2 more"),
        ([" a\n b\t"], "a b"),
        (["x" * 60], "x" * 60),
        (["x" * 61], "x" * 60 + "…"),
        (["x" * 60, "b"], "x" * 60 + ", b"),
    ],
)
def test_values_in_a_sentence(values: list[str], text: str) -> None:
    assert shown(values) == text


@pytest.mark.parametrize(
    ("patterns", "value", "fitting"),
    [
        (["Growth", "gro*"], "GROWTH", "Growth"),
        (["gro*", "Growth"], "growth", "Growth"),  # a word before a glob
        (["gro*", "g*"], "Grow", "gro*"),
        (["g*", "gro*"], "Grow", "g*"),
        (["a", "Ops", "ops"], "OPS", "Ops"),
        (["a", "b*"], "c", None),
        ([], "a", None),
    ],
)
def test_the_pattern_that_fits_is_named_as_written(
    patterns: list[str], value: str, fitting: str | None
) -> None:
    assert Patterns(patterns).fitting(value) == fitting
    assert Patterns(patterns).matches(value) is (fitting is not None)


@pytest.mark.parametrize(
    ("patterns", "values", "text"),
    [
        (["a"], [], "it has no label"),
        (["a"], ["b"], "label is b, not a"),
        (["a", "c"], ["b"], "label is b, not one of a, c"),
        (["a"], ["b", "c"], "labels are b, c, not a"),
        (["a*", "b"], ["c", "B"], "label is B"),
        (["a*", "b"], ["c", "ax", "b"], "label ax matches a*"),
        (["?"], ["b"], "label b matches ?"),
    ],
)
def test_a_comparison_in_words(patterns: list[str], values: list[str], text: str) -> None:
    assert Patterns(patterns).comparison("label", "labels", values) == text


def test_the_same_patterns_are_equal() -> None:
    assert Patterns(["a", "b*", "a"]) == Patterns(["a", "b*"])
    assert hash(Patterns(["a", "b*", "a"])) == hash(Patterns(["a", "b*"]))
    assert Patterns(["a", "b"]) != Patterns(["b", "a"])
    assert Patterns(["a"]) != Patterns(["A"])
    assert Patterns(["a"]) != ("a",)
    assert Patterns(["a", "b*", "a"]).texts == ("a", "b*")


def test_what_re2_says_of_an_expression(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RegexError) as refused:
        Search("(")
    assert regex_message(refused.value).startswith("missing )")
    assert [regex_message(error) for error in (ValueError(b"a\xff"), ValueError("b"), ValueError())] == [
        "a\ufffd",
        "b",
        "",
    ]
    assert capfd.readouterr() == ("", ""), "it writes nothing to the log by itself"


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


def test_texts_of_tickets_stay_short_and_on_one_line() -> None:
    epic = replace(EPIC, title="a\n\n" + "b" * 5_000, labels=tuple(f"l{n}\n" for n in range(5_000)))
    answer_text = parse_condition({"all": [{"title": "z"}, {"label": "z"}]}).explain(SOURCE, epic)
    assert "\n" not in answer_text
    assert len(answer_text) < 300
    assert "and 4995 more" in answer_text


# --- the rule book ----------------------------------------------------------------------------


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
    book = RuleIndex([one])
    assert [book.why(one), book.why(one)] == ["rule 'rule 7' matches: label matches one of a, b*"] * 2


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
        for book in (RuleIndex([rule(1, when)]), RuleIndex([*many, rule(1, when)])):
            found = book.first_match(SOURCE, EPIC)
            assert found is not None, when
            assert found.id == 1
            assert book.first_match("other", replace(BARE, project="CORE", title="", type="x")) is None


def test_every_rule_explains_itself_in_the_order_asked() -> None:
    book = RuleIndex([rule(1, {"project": "A"}, 2), rule(2, {"project": "SHOP"}, 1)])
    assert [(asked.id, fits, why) for asked, fits, why in book.explain(SOURCE, EPIC)] == [
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
    parent_key=_maybe,
    fields=st.dictionaries(st.sampled_from(["f", "project"]), _few, max_size=2),
)


@settings(deadline=None)
@given(
    st.lists(st.tuples(_conditions, st.integers(0, 2)), max_size=8), st.lists(_epics, min_size=1, max_size=4)
)
def test_the_rule_book_agrees_with_asking_every_rule(
    written: list[tuple[dict[str, Any], int]], epics: list[Epic]
) -> None:
    rules = [rule(number, when, priority) for number, (when, priority) in enumerate(written)]
    book = RuleIndex(rules)
    for epic in epics:
        slow = [
            one
            for one in sorted(rules, key=lambda r: (r.priority, r.id))
            if one.condition.matches("ab", epic)
        ]
        assert book.first_match("ab", epic) == (slow[0] if slow else None)
        assert [one for one, fits, _ in book.explain("ab", epic) if fits] == slow


@settings(deadline=None)
@given(_conditions, _epics)
def test_any_condition_speaks(when: dict[str, Any], epic: Epic) -> None:
    condition: Condition = parse_condition(when)
    assert condition.words()
    assert condition.explain("ab", epic)


def test_a_set_of_expressions_too_large_to_compile_rules_nothing_out() -> None:
    texts = [rf"\pL{{{100 + number}}}x" for number in range(100)]
    crowded = SearchSet(texts)
    assert crowded.possible("a") == frozenset(range(100))
    assert SearchSet(["a", "b+", "c"]).possible("xbbca") == {0, 1, 2}
    assert SearchSet(["a", "b+", "c"]).possible("xbb") == {1}
    assert SearchSet(["a"]).possible("x") == frozenset()
