"""Which key results are suggested for an epic, in which order and for which reasons."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from mappings.suggestions.material import GoalText, LinkedEpic, TicketText
from mappings.suggestions.rank import SuggestionIndex, _counted, _counted_at_once
from tests.support import evaluations

NOW = datetime(2026, 1, 5, tzinfo=UTC)
TICKET = TicketText(id=1, source_id=1, project="SHOP", key="SHOP-1", title="Faster checkouts on mobile")


def goal(number: int, text: str, *, team: str = "", starts: date | None = None, **members: Any) -> GoalText:
    return GoalText(key_result=evaluations.goal(number, **members), text=text, team=team, starts=starts)


def linked(number: int, title: str, *goals: int, project: str = "SHOP", **members: Any) -> LinkedEpic:
    key = f"{project}-{number}"
    ticket = TicketText(id=number, source_id=1, project=project, key=key, title=title, **members)
    return LinkedEpic(ticket, goals)


def keys(index: SuggestionIndex, ticket: TicketText = TICKET, **how: Any) -> list[str]:
    return [one.key_result.key for one in index.fitting(ticket, NOW, **how)]


def reasons(index: SuggestionIndex, ticket: TicketText = TICKET) -> tuple[str, ...]:
    return index.fitting(ticket, NOW)[0].reasons


@pytest.mark.parametrize(
    ("text", "ticket", "expected"),
    [
        ("Checkout conversion", TICKET, ("shares “checkouts” with the title",)),
        (
            "Payment policies",
            replace(TICKET, labels=("policy",)),
            ("shares “policy” with a label or component",),
        ),
        ("Search", replace(TICKET, components=("Search",)), ("shares “Search” with a label or component",)),
        ("Search", replace(TICKET, labels=("kr:search",)), ()),
        ("Search", replace(TICKET, lines=("the search is slow",)), ("shares “search” with the description",)),
        ("Search", replace(TICKET, parent_title="Search"), ("shares “Search” with the parent's title",)),
        (
            "Conversions",
            replace(TICKET, title="Konversion: convert"),
            ("“convert” in the title is close to its “Conversions”",),
        ),
        ("On and for the team", TICKET, ()),
        ("Aus und mit den neuen", replace(TICKET, title="aus mit neuen"), ()),
    ],
)
def test_reasons_name_the_shared_words_as_written(
    text: str, ticket: TicketText, expected: tuple[str, ...]
) -> None:
    assert reasons(SuggestionIndex([goal(1, text)]), ticket) == expected


def test_linked_epics_are_reasons_and_teach_their_words() -> None:
    goals = [goal(1, "Conversion"), goal(2, "Latency")]
    index = SuggestionIndex(goals, [linked(7, "Faster checkouts", 2), linked(8, "Other", 2)])
    assert keys(index) == ["KR-2", "KR-1"]
    assert reasons(index) == ("much like SHOP-7, which serves it", "2 other epics of SHOP serve it")
    assert keys(SuggestionIndex(goals)) == ["KR-1", "KR-2"]


def test_of_twins_the_one_of_the_team_comes_first() -> None:
    twins = [goal(1, "Checkout"), goal(2, "Checkout")]
    index = SuggestionIndex(
        twins, [linked(7, "zzz", 2, components=("pay",)), linked(8, "zzz", 1, project="B")]
    )
    assert keys(index) == ["KR-2", "KR-1"]
    team = SuggestionIndex([goal(1, "Checkout", team="Team Data"), goal(2, "Checkout", team="Shop")])
    assert keys(team) == ["KR-2", "KR-1"]


def test_a_cycle_that_has_begun_comes_first() -> None:
    twins = [goal(1, "Checkout", starts=date(2026, 1, 6)), goal(2, "Checkout", starts=date(2026, 1, 5))]
    assert keys(SuggestionIndex(twins)) == ["KR-2", "KR-1"]


@pytest.mark.parametrize(
    "changes", [{"state": "achieved"}, {"objective_state": "archived"}, {"cycle_ends": date(2026, 1, 4)}]
)
def test_only_live_ones_are_suggested(changes: dict[str, Any]) -> None:
    assert keys(SuggestionIndex([goal(1, "Checkout", **changes)])) == []


def test_neither_rejected_nor_more_than_asked_for() -> None:
    index = SuggestionIndex([goal(number, "Checkout") for number in range(1, 6)])
    assert keys(index) == ["KR-1", "KR-2", "KR-3"]
    assert keys(index, without={1, 3}, limit=2) == ["KR-2", "KR-4"]
    assert keys(SuggestionIndex([])) == []


def test_near_twins_that_the_ticket_does_not_tell_apart_are_not_confident() -> None:
    others = [goal(3, "Hiring plan"), goal(4, "Warehouse picking")]
    ticket = replace(TICKET, title="Checkout conversion France")
    one = SuggestionIndex([goal(1, "Checkout conversion in France"), *others])
    two = SuggestionIndex([goal(1, "Checkout conversion"), goal(2, "Checkout conversion"), *others])
    assert [found.confident for found in one.fitting(ticket, NOW)] == [True, False, False]
    assert not any(found.confident for found in two.fitting(ticket, NOW))


def test_a_form_that_many_linked_epics_share_is_no_likeness() -> None:
    form = ("Acceptance criteria", "Definition of done")
    goals = [goal(1, "Latency"), goal(2, "Hiring")]
    with_form = [linked(n, f"zzz{n}", 1, project="B", lines=form) for n in range(5, 9)]
    found = SuggestionIndex(goals, with_form).fitting(replace(TICKET, lines=form), NOW)
    assert not any("much like" in reason for one in found for reason in one.reasons)


_texts = st.lists(st.sampled_from(["checkout", "mobile", "the", "2026", "é", "\0", ""]), max_size=4).map(
    " ".join
)


@settings(deadline=None, max_examples=40)
@given(st.lists(_texts, max_size=6), _texts, st.lists(st.tuples(_texts, st.integers(0, 7))), st.randoms())
def test_one_order_whatever_the_order_of_the_material(
    texts: list[str], title: str, links: list[tuple[str, int]], random: Any
) -> None:
    goals = [goal(number, text) for number, text in enumerate(texts)]
    epics = [linked(number, words, to) for number, (words, to) in enumerate(links, 10)]
    ticket = replace(TICKET, title=title)
    found = SuggestionIndex(goals, epics).fitting(ticket, NOW)
    assert all(0 <= one.score <= 1 and (one.reasons or not one.confident) for one in found)
    random.shuffle(goals)
    random.shuffle(epics)
    assert SuggestionIndex(goals, epics).fitting(ticket, NOW) == found


@settings(deadline=None, max_examples=40)
@given(
    st.lists(_texts, min_size=1, max_size=6),
    st.lists(st.tuples(_texts, st.sampled_from(["SHOP", "B"]), st.sets(st.integers(0, 7))), max_size=5),
    st.lists(st.tuples(_texts, st.integers(0, 7)), max_size=6),
)
def test_many_at_once_are_suggested_as_each_alone(
    texts: list[str], asked: list[tuple[str, str, set[int]]], links: list[tuple[str, int]]
) -> None:
    goals = [goal(number, text) for number, text in enumerate(texts)]
    epics = [linked(number, words, to, components=(words,)) for number, (words, to) in enumerate(links, 10)]
    index = SuggestionIndex(goals, epics)
    # Some of them are linked themselves.
    tickets = [
        (replace(TICKET, id=number, title=title, project=project, components=(title,)), without)
        for number, (title, project, without) in enumerate(asked, 12)
    ]
    alone = [index.fitting(ticket, NOW, 4, without) for ticket, without in tickets]
    assert index.fitting_each(tickets, NOW, 4) == alone
    confident = [tuple(one for one in found if one.confident) for found in alone]
    assert index.fitting_each(tickets, NOW, 4, confident=True) == confident


def test_the_library_is_imported_by_those_who_suggest_alone() -> None:
    asked = (
        "import sys, app.cli.main, app.server.application as _; print({'numpy', 'sklearn'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@given(st.lists(st.text(max_size=60), min_size=1, max_size=5))
@settings(max_examples=200, deadline=None)
def test_texts_are_counted_word_by_word_as_in_one_piece(texts: list[str]) -> None:
    texts += ["Pay by invoice, pay at once", f"{'long' * 30} and short", ""]
    assert (_counted_at_once(texts) != _counted(texts)).nnz == 0
