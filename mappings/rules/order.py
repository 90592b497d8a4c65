"""The order in which rules are asked, as priorities: few change where one rule is moved. Pure."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STEP = 10
LEAST, MOST = -(2**31), 2**31 - 1  # a column of 32 bits


@dataclass(frozen=True, slots=True)
class NewOrder:
    """`priorities`: those that change, by the rule's id. `moved`: the rules that now come before or after one
    that they did not: of two rules whose order is another now, one is among them."""

    priorities: Mapping[int, int]
    moved: frozenset[int]


def new_order(rules: Sequence[tuple[int, int]]) -> NewOrder:
    """For rules in the chosen order, each as its id and its present priority: the priorities with which they
    are asked so, the lowest first and of the same priority the lowest id."""
    kept = _longest_in_order([(priority, id) for id, priority in rules])
    moved = frozenset(id for place, (id, _) in enumerate(rules) if place not in kept)
    chosen = _in_gaps(rules, kept)
    if chosen is None:
        chosen = [STEP * (place + 1) for place in range(len(rules))]
    changed = {id: new for (id, old), new in zip(rules, chosen, strict=True) if new != old}
    return NewOrder(changed, moved)


def moved_to(order: Sequence[int], id: int, place: int) -> list[int]:
    """The order with one id at this place, counted from 1; beyond either end: there."""
    rest = [other for other in order if other != id]
    at = min(max(place - 1, 0), len(rest))
    return [*rest[:at], id, *rest[at:]]


def _longest_in_order(keys: Sequence[tuple[int, int]]) -> frozenset[int]:
    """The places of the most keys that rise already, so that these may stay as they are."""
    tails: list[tuple[int, int]] = []
    places: list[int] = []
    before: list[int | None] = []
    for place, key in enumerate(keys):
        length = bisect_left(tails, key)
        before.append(places[length - 1] if length else None)
        tails[length : length + 1] = [key]
        places[length : length + 1] = [place]
    found: list[int] = []
    last = places[-1] if places else None
    while last is not None:
        found.append(last)
        last = before[last]
    return frozenset(found)


def _in_gaps(rules: Sequence[tuple[int, int]], kept: frozenset[int]) -> list[int] | None:
    """All priorities, where those of the kept rules stay; None where there is no room between two of them."""
    chosen = [priority for _, priority in rules]
    stops = [-1, *sorted(kept), len(rules)]
    for left, right in pairwise(stops):
        between = range(left + 1, right)
        if not between:
            continue
        low = chosen[left] if left >= 0 else None
        high = chosen[right] if right < len(rules) else None
        if high is None:
            assert low is not None  # one rule at least is kept
            low, high = low, low + STEP * (len(between) + 1)
        elif low is None:
            low = 0 if high > len(between) else high - STEP * (len(between) + 1)
        if high - low <= len(between) or low < LEAST - 1 or high > MOST + 1:
            return None
        for number, place in enumerate(between, 1):
            chosen[place] = low + (high - low) * number // (len(between) + 1)
    return chosen
