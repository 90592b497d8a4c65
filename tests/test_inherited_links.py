"""The table of `with_inherited`: what an epic takes from the epics above it, by their own links."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from mappings.links.inheritance import ancestors, with_inherited
from mappings.links.resolve import Ancestor, Resolution, ResolvedLink
from tests.support.evaluations import goal, unknown_keys

LIVE = {number: goal(number) for number in range(1, 10)}
DEAD = {number: goal(number, state="achieved") for number in range(11, 20)}


def link(number: int, origin: str = "manual", *, weight: float = 1, primary: bool = False) -> ResolvedLink:
    """To a key result that is live up to 9 and closed from 11 on."""
    is_live = number in LIVE
    known = LIVE[number] if is_live else DEAD[number]
    return ResolvedLink(known, origin, f"by {origin}", is_live, weight=weight, primary=primary)


# --- who is above -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parents", "above"),
    [
        ({}, []),
        ({1: 2}, [2]),
        ({1: 2, 2: 3, 3: 4}, [2, 3, 4]),
        ({2: 1}, []),
        ({1: 1}, []),
        ({1: 2, 2: 1}, [2]),
        ({1: 2, 2: 3, 3: 1}, [2, 3]),
        ({1: 2, 2: 2}, [2]),
        ({1: 2, 2: 3, 3: 2}, [2, 3]),
    ],
)
def test_each_epic_above_comes_once_and_never_the_epic_itself(
    parents: dict[int, int], above: list[int]
) -> None:
    assert list(ancestors(1, parents.get)) == above


def test_a_long_line_needs_no_recursion() -> None:
    assert len(list(ancestors(0, lambda id: id + 1 if id < 5_000 else None))) == 5_000


# --- what is taken ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """The epic's own links, those of its parent, of that one's parent and so on, and what it inherits: key
    result, from where, whether primary."""

    name: str
    inherited: list[tuple[int, str, bool]]
    own: tuple[ResolvedLink, ...] = ()
    above: tuple[tuple[ResolvedLink, ...], ...] = field(default_factory=tuple)


CASES = [
    Case("nothing above", []),
    Case("nothing above has a link", [], above=((), ())),
    Case("the parent's", [(1, "P", True)], above=((link(1),),)),
    Case("the grandparent's", [(1, "G", True)], above=((), (link(1),))),
    Case("at any depth", [(1, "G4", True)], above=((), (), (), (), (link(1),))),
    Case("the nearest", [(1, "P", True)], above=((link(1),), (link(2),))),
    Case("a live link of its own", [], (link(3),), ((link(1),),)),
    Case("a closed link of its own", [(1, "P", True)], (link(11),), ((link(1),),)),
    Case("all of the parent's", [(1, "P", True), (2, "P", False)], above=((link(1), link(2, "rule")),)),
    Case(
        "closed ones of a parent that has a live one",
        [(11, "P", True), (1, "P", False)],
        above=((link(11), link(1, "rule")),),
    ),
    # As the parent itself shows them: its own, closed, and then those that it inherits.
    Case(
        "closed links on the way",
        [(11, "P", False), (1, "G", True)],
        above=((link(11),), (link(1),)),
    ),
    Case("closed links alone", [(11, "P", True), (12, "G", False)], above=((link(11),), (link(12),))),
    Case("no closed link beyond a live one", [(1, "P", True)], above=((link(1),), (link(11),))),
    Case("what the epic has itself", [], (link(11),), ((link(11, "rule"),),)),
    Case(
        "what the epic has itself, beside another",
        [(1, "P", True)],
        (link(11),),
        ((link(11), link(1)),),
    ),
    Case("one of several on the way", [(11, "P", False), (1, "G", True)],
         above=((link(11),), (link(11), link(1)))),
    Case("one that the parent has twice", [(1, "P", True)], above=((link(1), link(1, "ticket")),)),
    Case(
        "the parent's primary link",
        [(1, "P", False), (2, "P", True)],
        above=((link(1), link(2, primary=True)),),
    ),
    Case(
        "the parent's primary link, to what it has twice",
        [(1, "P", True), (2, "P", False)],
        above=((link(1, "rule"), link(2), link(1, primary=True)),),
    ),
    Case(
        "the primary link of the parent that has closed ones alone",
        [(11, "P", True), (1, "G", False)],
        above=((link(11, primary=True),), (link(1, primary=True),)),
    ),
    Case(
        "a primary link of its own",
        [(1, "P", False)],
        (link(11, primary=True),),
        ((link(1, primary=True),),),
    ),
]  # fmt: skip


def _above(case: Case) -> list[tuple[Ancestor, tuple[ResolvedLink, ...]]]:
    names = ["P", "G", *(f"G{number}" for number in range(2, 100))]
    return [
        (Ancestor(number, "jira", name, f"Title of {name}"), links)
        for number, (name, links) in enumerate(zip(names, case.above, strict=False), 2)
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_an_epic_inherits(case: Case) -> None:
    whole = with_inherited(Resolution(case.own, unknown_keys("KR-99")), _above(case))
    assert (whole.links[: len(case.own)], whole.unknown) == (case.own, unknown_keys("KR-99"))
    inherited = whole.links[len(case.own) :]
    assert {one.origin for one in inherited} <= {"inherited"}
    shown = [
        (one.key_result.id, one.inherited_from and one.inherited_from.key, one.primary) for one in inherited
    ]
    assert shown == case.inherited
    assert sum(one.primary for one in whole.links) <= 1
    assert all(one.live == (one.key_result.id in LIVE) for one in inherited)


def test_a_link_says_from_where_and_by_which_way() -> None:
    names = [Ancestor(number, "jira", f"E-{number}", "A title") for number in range(1, 9)]
    own = replace(link(1, "rule", weight=3), rule_id=7)
    (short,) = with_inherited(Resolution(), [(names[0], (own,))]).links
    assert (short.why, short.weight, short.rule_id, short.way) == ("inherited from E-1: by rule", 3, 7, ())
    (longer,) = with_inherited(Resolution(), [(names[0], ()), (names[1], ()), (names[2], (own,))]).links
    assert longer.why == "inherited from E-3 by way of E-1, E-2: by rule"
    assert (longer.inherited_from, longer.way) == (names[2], tuple(names[:2]))
    (long,) = with_inherited(Resolution(), [*((name, ()) for name in names[:7]), (names[7], (own,))]).links
    assert long.why == "inherited from E-8 by way of E-1, E-2, E-3, E-4, E-5 and 2 more: by rule"


def test_nothing_beyond_the_first_live_link_is_asked() -> None:
    asked: list[str] = []

    def line() -> Iterator[tuple[Ancestor, tuple[ResolvedLink, ...]]]:
        for key, links in (("P", ()), ("G", (link(1),)), ("G2", (link(2),))):
            asked.append(key)
            yield Ancestor(1, "jira", key, "A title"), links

    own = Resolution((link(1),))
    assert with_inherited(own, line()) is own
    assert asked == []
    with_inherited(Resolution(), line())
    assert asked == ["P", "G"]
