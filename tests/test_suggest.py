"""Which key results are offered for an epic, in which order and with which reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.base import Epic
from mappings.goals.key_results import KeyResult
from mappings.suggestions.rank import Candidates
from tests.support import evaluations

NOW = datetime(2026, 1, 5, tzinfo=UTC)
EPIC = evaluations.an_epic(title="Faster checkouts on mobile")


def goal(number: int, title: str, **members: Any) -> KeyResult:
    return evaluations.goal(number, title=title, **{"visibility": "public", **members})


def offered(
    goals: list[KeyResult], epic: Epic = EPIC, public: bool = True, **linked: int
) -> list[tuple[str, str]]:
    counts = {int(name.removeprefix("kr")): count for name, count in linked.items()}
    fitting = Candidates(goals, NOW, public).fitting(epic, counts)
    return [(one.key_result.key, "; ".join(one.reasons)) for one in fitting]


@pytest.mark.parametrize(
    ("title", "labels", "reason"),
    [
        ("Checkout conversion to 4%", (), "shares “checkouts” with the title"),
        ("CHECKOUTS done", (), "shares “checkouts” with the title"),
        ("Mobile checkout", (), "shares “checkouts”, “mobile” with the title"),
        ("Payment policies", ("payments", "policy"), "shares “payments”, “policy” with a label or component"),
        (
            "Mobile pay",
            ("pay", "mobile"),
            "shares “mobile” with the title; shares “pay” with a label or component",
        ),
        ("On and for the team", ("team",), None),
        ("2026 in 10%", ("2026",), None),
        ("kr-7 checks", ("kr:checks",), None),
        ("Press", ("pres",), None),
        ("", (), None),
    ],
)
def test_reasons_of_words(title: str, labels: tuple[str, ...], reason: str | None) -> None:
    expected = [] if reason is None else [("KR-1", reason)]
    assert offered([goal(1, title)], replace(EPIC, labels=labels)) == expected


def test_components_count_as_labels_do() -> None:
    found = offered([goal(1, "Search latency")], replace(EPIC, components=("Search",)))
    assert found == [("KR-1", "shares “search” with a label or component")]


def test_what_the_project_is_linked_to() -> None:
    assert offered([goal(1, "a"), goal(2, "b"), goal(3, "c")], kr1=1, kr2=4, kr3=0) == [
        ("KR-2", "4 other epics of SHOP are linked to it"),
        ("KR-1", "1 other epic of SHOP is linked to it"),
    ]


def test_a_rare_word_tells_more_than_a_common_one_and_two_reasons_more_than_one() -> None:
    goals = [goal(1, "Mobile a"), goal(2, "Mobile b"), goal(3, "Checkout"), goal(4, "Mobile c")]
    assert [key for key, _ in offered(goals)] == ["KR-3", "KR-1", "KR-2"]
    assert [key for key, _ in offered(goals, kr4=2)] == ["KR-4", "KR-3", "KR-1"]


@pytest.mark.parametrize(
    "changes", [{"state": "achieved"}, {"objective_state": "archived"}, {"cycle_ends": date(2026, 1, 4)}]
)
def test_only_live_ones_are_offered(changes: dict[str, Any]) -> None:
    assert offered([goal(1, "Checkout", **changes)], kr1=5) == []
    assert offered([goal(1, "Checkout", cycle_ends=date(2026, 1, 5))]) != []


@pytest.mark.parametrize(
    ("visibility", "public", "expected"),
    [
        ("public", True, "checkouts"),
        ("internal", False, "checkouts"),
        ("internal", True, "mobile"),
        ("confidential", True, "mobile"),
        ("confidential", False, "mobile"),
    ],
)
def test_a_title_that_may_not_be_named_gives_nothing_away(
    visibility: str, public: bool, expected: str
) -> None:
    hidden = goal(1, "Sell the checkout", visibility=visibility, public_label="Mobile")
    assert offered([hidden], public=public) == [("KR-1", f"shares “{expected}” with the title")]


@pytest.mark.parametrize(("public", "found"), [(True, False), (False, True)])
def test_one_without_any_words_for_this_ticket_is_not_offered(public: bool, found: bool) -> None:
    hidden = goal(1, "Sell the checkout", visibility="internal")
    assert bool(offered([hidden], public=public, kr1=5)) is found


# --- words, and what each weighs ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("checkout", "checkouts", True),
        ("policy", "policies", True),
        ("tie", "ties", True),  # too short for -ies
        ("ty", "ties", False),
        ("bus", "bu", False),
        ("gas", "ga", False),
        ("map", "maps", True),
        ("press", "pres", False),
        ("status", "statu", False),
        ("basis", "basi", False),
        ("É-CLAIR", "é clair", True),
        ("Ünit", "ünits", True),
        # From three characters to forty; neither digits at the start nor an underscore.
        ("ab", "ab", False),
        ("abc", "abc", True),
        ("a1b2", "A1B2", True),
        ("1abc2", "1abc2", True),
        ("snake_case", "snake", True),
        ("2026", "2026", False),
        ("x" * 40, "x" * 40, True),
        ("x" * 39 + "é", "x" * 39 + "é", True),
        ("the", "the", False),
        ("THESE", "these", False),
    ],
)
def test_which_words_are_the_same(one: str, other: str, shared: bool) -> None:
    for title, words in ((one, other), (other, one)):
        found = offered([goal(1, title)], replace(EPIC, title=words))
        assert bool(found) is shared


def test_of_a_text_the_first_500_characters_are_looked_at() -> None:
    for blanks, shared in ((492, True), (493, False)):  # a word of eight characters
        assert bool(offered([goal(1, "checkout")], replace(EPIC, title=" " * blanks + "checkout"))) is shared
        assert bool(offered([goal(1, " " * blanks + "checkout")])) is shared


@pytest.mark.parametrize(
    ("labels", "shared"),
    [
        (("search",), True),
        (("kr:search",), False),
        (("KR:search",), False),
        (("kr-search",), True),
        (("xkr:search",), True),
        (("kr:other", "search"), True),
    ],
)
def test_a_label_that_names_a_key_result_is_no_word(labels: tuple[str, ...], shared: bool) -> None:
    assert bool(offered([goal(1, "Search")], replace(EPIC, labels=labels))) is shared


def test_a_reason_names_at_most_three_words_in_the_order_of_the_epic() -> None:
    epic = replace(EPIC, title="Search latency of mobile checkouts", labels=("payment",))
    assert offered([goal(1, "checkout mobile latency search payment")], epic) == [
        (
            "KR-1",
            "shares “search”, “latency”, “mobile” with the title; shares “payment” with a label or component",
        )
    ]


def test_at_most_three_are_offered_unless_more_are_asked_for() -> None:
    goals = [goal(number, "Checkout") for number in range(1, 6)]
    assert [key for key, _ in offered(goals)] == ["KR-1", "KR-2", "KR-3"]
    assert len(Candidates(goals, NOW).fitting(EPIC, limit=4)) == 4


MOBILE, PAY = replace(EPIC, title="Mobile", labels=("pay",)), replace(EPIC, title="", labels=("pay",))


@pytest.mark.parametrize(
    ("titles", "epic", "linked", "keys"),
    [
        # A word of the title before a word of a label.
        ({1: "Pay", 2: "Mobile"}, MOBILE, {}, [2, 1]),
        # Half a title's word is as much as a label's word: then the key decides.
        ({1: "Pay", 2: "Mobile", 3: "Mobile"}, MOBILE, {}, [1, 2, 3]),
        ({1: "Mobile", 2: "Pay", 3: "Mobile"}, MOBILE, {}, [1, 2, 3]),
        # A third of a title's word is less.
        ({1: "Mobile", 2: "Mobile", 3: "Mobile", 4: "Pay"}, MOBILE, {}, [4, 1, 2]),
        # The most linked is worth a title's word, the others their share of it.
        ({1: "Other", 2: "Mobile"}, MOBILE, {1: 9}, [1, 2]),
        ({1: "Mobile", 2: "Other", 3: "Third"}, MOBILE, {2: 3, 3: 4}, [1, 3, 2]),
        ({1: "Pay", 2: "Other", 3: "Third"}, PAY, {2: 1, 3: 4}, [3, 1, 2]),
        ({1: "Pay", 2: "Other", 3: "Third"}, PAY, {2: 3, 3: 4}, [3, 2, 1]),
        # What is linked and shares a word has both.
        ({1: "Mobile", 2: "Third", 3: "Pay"}, MOBILE, {2: 4, 3: 3}, [3, 1, 2]),
        # A number that is not there, or below one, is none.
        ({1: "Other"}, EPIC, {1: 0}, []),
        ({1: "Other"}, EPIC, {1: -1}, []),
        ({1: "Other"}, EPIC, {7: 3}, []),
        ({1: "Other", 2: "Third"}, EPIC, {1: 1, 2: 1}, [1, 2]),
    ],
)
def test_the_best_come_first(
    titles: dict[int, str], epic: Epic, linked: dict[int, int], keys: list[int]
) -> None:
    goals = [goal(number, title) for number, title in titles.items()]
    found = Candidates(goals, NOW).fitting(epic, linked)
    assert [one.key_result.id for one in found] == keys


def test_equal_scores_come_in_the_order_of_their_keys_and_then_of_their_ids() -> None:
    goals = [
        replace(goal(number, "Checkout"), key=key) for number, key in ((1, "KR-b"), (3, "KR-a"), (2, "KR-a"))
    ]
    assert [one.key_result.id for one in Candidates(goals, NOW).fitting(EPIC)] == [2, 3, 1]


def test_where_it_is_not_said_who_reads_the_ticket_everybody_does() -> None:
    hidden = goal(1, "Sell the checkout", visibility="internal", public_label="Mobile")
    (found,) = Candidates([hidden], NOW).fitting(EPIC)
    assert found.reasons == ("shares “mobile” with the title",)


_words = st.lists(
    st.sampled_from(["checkout", "checkouts", "mobile", "the", "2026", "é", ""]), max_size=4
).map(" ".join)


@settings(deadline=None)
@given(
    st.lists(_words, max_size=8),
    _words,
    st.lists(_words, max_size=2),
    st.dictionaries(st.integers(0, 9), st.integers(0, 3)),
    st.integers(0, 4),
    st.randoms(),
)
def test_few_reasoned_and_in_one_order(
    titles: list[str], title: str, labels: list[str], linked: dict[int, int], limit: int, random: Any
) -> None:
    goals = [goal(number, text) for number, text in enumerate(titles)]
    epic = replace(EPIC, title=title, labels=tuple(labels))
    found = Candidates(goals, NOW).fitting(epic, linked, limit)
    assert len(found) <= limit
    assert all(one.reasons for one in found)
    assert len({one.key_result.id for one in found}) == len(found)
    random.shuffle(goals)
    assert Candidates(goals, NOW).fitting(epic, linked, limit) == found


def test_huge_texts_are_looked_at_only_so_far() -> None:
    assert offered([goal(1, "checkout " * 10**5)], replace(EPIC, title="x " * 10**6 + "checkout")) == []
