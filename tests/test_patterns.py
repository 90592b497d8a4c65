"""Patterns of rules: globs, case, regular expressions; which one fits, and how that is said."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from mappings.rules.patterns import Glob, Patterns, RegexError, Search, SearchSet, fold, regex_message, shown


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


def test_a_set_of_expressions_too_large_to_compile_rules_nothing_out() -> None:
    texts = [rf"\pL{{{100 + number}}}x" for number in range(100)]
    crowded = SearchSet(texts)
    assert crowded.possible("a") == frozenset(range(100))
    assert SearchSet(["a", "b+", "c"]).possible("xbbca") == {0, 1, 2}
    assert SearchSet(["a", "b+", "c"]).possible("xbb") == {1}
    assert SearchSet(["a"]).possible("x") == frozenset()
