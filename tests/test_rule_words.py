"""A condition as one sentence for people."""

from __future__ import annotations

from typing import Any

import pytest

from mappings.rules.condition import parse_condition
from mappings.rules.words import sentence

SENTENCES: list[tuple[dict[str, Any], str]] = [
    ({"all": []}, "Links every epic."),
    ({"any": []}, "Links no epic."),
    ({"source": "jira"}, "Links an epic where its source is jira."),
    ({"project": ["SHOP", "PAY"]}, "Links an epic where its project is SHOP or PAY."),
    ({"type": ["Epic", "Story", "Bug"]}, "Links an epic where its type is Epic, Story or Bug."),
    ({"label": ["growth"]}, "Links an epic where one of its labels is growth."),
    ({"label": ["growth*"]}, "Links an epic where one of its labels begins with “growth”."),
    ({"label": ["*growth"]}, "Links an epic where one of its labels ends with “growth”."),
    ({"label": ["*growth*"]}, "Links an epic where one of its labels contains “growth”."),
    ({"label": ["gr?wth*"]}, "Links an epic where one of its labels fits the pattern “gr?wth*”."),
    ({"milestone": "*"}, "Links an epic where its milestone has any value."),
    ({"not": {"milestone": "*"}}, "Links an epic where its milestone is empty."),
    (
        {"label": ["a", "b", "c*"]},
        "Links an epic where one of its labels is a or b, or begins with “c”.",
    ),
    ({"not": {"label": ["a", "b"]}}, "Links an epic where none of its labels is a or b."),
    ({"not": {"project": "A"}}, "Links an epic where its project is not A."),
    ({"not": {"project": ["A", "B"]}}, "Links an epic where its project is neither A nor B."),
    ({"not": {"project": ["A", "B", "C"]}}, "Links an epic where its project is none of A, B or C."),
    (
        {"not": {"project": ["A", "B*"]}},
        "Links an epic where its project is not A, and does not begin with “B”.",
    ),
    ({"title": "(?i)checkout"}, "Links an epic where its title contains “checkout”, in any case."),
    ({"title": "Checkout now"}, "Links an epic where its title contains “Checkout now”."),
    ({"title": r"\bpart \d+"}, r"Links an epic where its title matches the expression “\bpart \d+”."),
    ({"not": {"title": "(?i)spike"}}, "Links an epic where its title does not contain “spike”, in any case."),
    (
        {"field": {"name": "customfield_1", "is": ["Growth"]}},
        "Links an epic where its field customfield_1 is Growth.",
    ),
    (
        {"all": [{"project": "SHOP"}, {"not": {"label": "infra"}}]},
        "Links an epic where its project is SHOP, and none of its labels is infra.",
    ),
    (
        {"all": [{"project": "SHOP"}, {"any": [{"label": "a"}, {"assignee": "b"}]}]},
        "Links an epic where its project is SHOP, and "
        "(one of its labels is a, or one of its assignees is b).",
    ),
    (
        {"not": {"any": [{"label": "a"}, {"parent": "SHOP-1"}]}},
        "Links an epic where not (one of its labels is a, or its parent is SHOP-1).",
    ),
    ({"not": {"not": {"label": "a"}}}, "Links an epic where one of its labels is a."),
    ({"any": [{"label": "a"}]}, "Links an epic where one of its labels is a."),
    ({"not": {"all": [{"label": "a"}]}}, "Links an epic where none of its labels is a."),
    ({"all": [{"label": "a"}, {"any": []}]}, "Links an epic where one of its labels is a, and nothing fits."),
    ({"not": {"any": []}}, "Links every epic."),
    (
        {"component": ["a", "b", "c", "d", "e", "f", "g"]},
        "Links an epic where one of its components is a, b, c, d or e, or matches one of 2 more.",
    ),
    (
        {"any": [{"label": "a"}] * 12},
        "Links an epic where " + "one of its labels is a, or " * 10 + "2 more tests pass.",
    ),
    ({"label": ["<b>\n x"]}, "Links an epic where one of its labels is <b> x."),
    ({"label": ["y" * 90]}, f"Links an epic where one of its labels is {'y' * 60}…."),
]


@pytest.mark.parametrize(("when", "says"), SENTENCES)
def test_a_condition_is_one_sentence(when: dict[str, Any], says: str) -> None:
    assert sentence(parse_condition(when)) == says
