"""The order in which the epics of a slice are evaluated: parents before children."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mappings.evaluation.evaluator import parents_first
from mappings.evaluation.load import EpicRecords


def _records(line: str) -> list[EpicRecords]:
    """`A<B` is the epic A under the parent B; ids count from 1."""
    found = []
    for id, word in enumerate(line.split(), 1):
        key, _, parent = word.partition("<")
        row: Any = SimpleNamespace(id=id, key=key, parent_key=parent or None)
        found.append(EpicRecords(row, (), (), None))
    return found


@pytest.mark.parametrize(
    ("given", "order"),
    [
        ("", ""),
        ("A B C", "A B C"),
        ("A<X B<Y C", "A B C"),
        ("A<B B", "B A"),
        ("A<B B<C C", "C B A"),
        ("C B<C A<B", "C B A"),
        ("A<C B<C C D", "C A B D"),
        ("D A<B E B<C C", "D C B A E"),
        # Loops: each epic comes once, and nothing waits for ever.
        ("A<A", "A"),
        ("A<B B<A", "B A"),
        ("A<B B<C C<A D<A", "C B A D"),
        ("D<A A<B B<C C<A", "C B A D"),
    ],
)
def test_a_parent_comes_before_its_children(given: str, order: str) -> None:
    ordered = [records.row.key for records in parents_first(_records(given))]
    assert ordered == order.split()


def test_a_long_line_of_parents_needs_no_recursion() -> None:
    line = " ".join(f"E{number}<E{number + 1}" for number in range(5_000))
    ordered = [records.row.key for records in parents_first(_records(line))]
    assert ordered == [f"E{number}" for number in reversed(range(5_000))]


@pytest.mark.parametrize(
    ("given", "order"),
    [
        ("A A", [1, 2]),
        ("A<B A B", [3, 1, 2]),
        ("B A<B B", [1, 3, 2]),
        ("A<A A", [2, 1]),
        ("A A<A", [1, 2]),
    ],
)
def test_each_epic_comes_once_also_where_two_have_one_key(given: str, order: list[int]) -> None:
    """A key may come again: one that was removed keeps its own. The later epic is the parent."""
    assert [records.row.id for records in parents_first(_records(given))] == order
