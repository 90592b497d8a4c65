"""A condition as lines of a form, and back: nothing is lost on the way."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from app.web.rule_form import (
    ConditionLine,
    RuleForm,
    as_json,
    as_lines,
    as_text,
    by_field,
    lines_of,
    split_values,
    typed_form,
    when_of,
)
from mappings.rules.condition import ATTRIBUTES

SHOWN: list[tuple[Any, str, list[ConditionLine]]] = [
    ({"all": []}, "all", []),
    ({"label": "a"}, "all", [ConditionLine("label", values="a")]),
    ({"any": [{"label": ["a", "b*"]}]}, "any", [ConditionLine("label", values="a, b*")]),
    ({"not": {"project": ["A"]}}, "all", [ConditionLine("project", negated=True, values="A")]),
    ({"title": "(?i)a, b"}, "all", [ConditionLine("title", values="(?i)a, b")]),
    (
        {"component": ["a, b", 'c"d', " e"]},
        "all",
        [ConditionLine("component", values='"a, b", "c""d", " e"')],
    ),
    (
        {"all": [{"field": {"name": "f", "is": "x"}}, {"not": {"title": "y"}}]},
        "all",
        [ConditionLine("field", values="x", field="f"), ConditionLine("title", negated=True, values="y")],
    ),
    ({"all": [{"label": []}]}, "all", [ConditionLine("label")]),
]
NOT_SHOWN: list[Any] = [
    None,
    [],
    {},
    {"label": ["a"], "project": ["b"]},
    {"colour": ["a"]},
    {"all": [{"any": [{"label": "a"}]}]},
    {"not": {"all": [{"label": "a"}]}},
    {"not": {"not": {"label": "a"}}},
    {"all": {"label": "a"}},
    {"label": [7]},
    {"label": ["a\nb"]},
    {"label": [""]},
    {"title": " a"},
    {"title": ["a"]},
    {"field": {"name": "f"}},
    {"any": [{"label": "a"}] * 101},
]


@pytest.mark.parametrize(("when", "joined", "lines"), SHOWN)
def test_a_flat_condition_is_lines(when: Any, joined: str, lines: list[ConditionLine]) -> None:
    assert lines_of(when) == (joined, tuple(lines))


@pytest.mark.parametrize("when", NOT_SHOWN)
def test_any_other_stays_json(when: Any) -> None:
    assert lines_of(when) is None
    form = as_lines(RuleForm(text=as_text(when)))
    assert form.text == as_text(when)
    assert "when" in form.problems


_TEXTS = st.text(max_size=8).filter(str.strip)
_TESTS = st.one_of(
    st.builds(
        lambda kind, values: {kind: values},
        st.sampled_from(list(ATTRIBUTES)),
        st.lists(_TEXTS, min_size=1, max_size=3),
    ),
    st.builds(lambda text: {"title": text}, _TEXTS),
    st.builds(
        lambda name, values: {"field": {"name": name, "is": values}},
        _TEXTS,
        st.lists(_TEXTS, min_size=1, max_size=3),
    ),
)


@given(
    st.sampled_from(["all", "any"]),
    st.lists(_TESTS | st.builds(lambda one: {"not": one}, _TESTS), max_size=4),
)
def test_what_lines_show_they_give_back(joined: str, tests: list[Any]) -> None:
    when = {joined: tests}
    shown = lines_of(when)
    if shown is not None:
        fields = {"joined": shown[0]}
        for number, line in enumerate(shown[1]):
            fields |= {f"kind.{number}": line.kind, f"is.{number}": "not" if line.negated else "is"}
            # As a browser's form gives them: without blanks around.
            fields |= {f"values.{number}": line.values.strip(), f"field.{number}": line.field.strip()}
        form = typed_form(fields)
        assert when_of(form) == when
        assert when_of(as_lines(as_json(form))) == when
        assert when_of(form, when) is when


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", []),
        (" , ,", []),
        ("a", ["a"]),
        (" a , b c ,", ["a", "b c"]),
        ('"a, b", c', ["a, b", "c"]),
        ('"a""b"', ['a"b']),
        ('a "b", c', ['a "b"', "c"]),
        ('"a" b, c', ['"a" b', "c"]),
        ('"open, c', ['"open', "c"]),
    ],
)
def test_a_comma_list_is_values(text: str, values: list[str]) -> None:
    assert split_values(text) == values


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "NaN", '{"label": NaN}', "{'label': 'a'}"])
def test_what_is_no_json_stays_as_it_was_typed(text: str) -> None:
    form = as_lines(RuleForm(text=text))
    assert (form.text, list(form.problems)) == (text, ["when"])


def test_errors_stand_at_their_lines() -> None:
    form = RuleForm(lines=(ConditionLine(), ConditionLine("field")))
    errors = {"when.all[0].label": "a", "when.all[1].field.name": "b", "when": "c", "name": "d"}
    assert by_field(errors, form) == {"values.0": "a", "field.1": "b", "when": "c", "name": "d"}
    assert by_field({"when.all[0].any[1].label": "a"}, RuleForm(text="…")) == {
        "when": "when.all[0].any[1].label: a"
    }
