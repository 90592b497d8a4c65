"""Objectives in the order of a tree. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def in_order(parents: Mapping[int, int | None]) -> list[tuple[int, int]]:
    """Each objective with how many of its ancestors are here: every one after its parent, else in the order
    given. `parents`: the id of each objective's parent, which need not be here. Each comes once, even where
    parents form a loop."""
    below: dict[int | None, list[int]] = {}
    for one, parent in parents.items():
        below.setdefault(parent if parent in parents else None, []).append(one)
    found: dict[int, int] = {}

    def walk(start: int) -> None:
        waiting = [(start, 0)]
        while waiting:
            one, depth = waiting.pop()
            if one not in found:
                found[one] = depth
                waiting += [(child, depth + 1) for child in reversed(below.get(one, ()))]

    for root in (*below.get(None, ()), *parents):
        walk(root)
    return list(found.items())
