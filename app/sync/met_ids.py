"""The remote ids of the tickets that a full run has met: of a million, if there are so many."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Ids are sorted share by share, for a sorted copy takes five times the space of what is sorted.
SHARES = 256
_DIGITS = 18  # of a number that surely takes 64 bits


class MetIds:
    """A set of ids, which takes eight bytes for each that is a number, as the trackers' are; a `set` of
    strings takes ninety, which lie between what each page leaves to be freed."""

    def __init__(self) -> None:
        self._numbers = [array("q") for _ in range(SHARES)]
        self._unsorted: set[int] = set()
        self._others: set[str] = set()

    def update(self, ids: Iterable[str]) -> None:
        for id in ids:
            number = _number(id)
            if number is None:
                self._others.add(id)
            else:
                share = number % SHARES
                self._numbers[share].append(number)
                self._unsorted.add(share)

    def __contains__(self, id: str) -> bool:
        number = _number(id)
        if number is None:
            return id in self._others
        share = number % SHARES
        if share in self._unsorted:
            self._numbers[share] = array("q", sorted(self._numbers[share]))
            self._unsorted.remove(share)
        numbers = self._numbers[share]
        place = bisect_left(numbers, number)
        return place < len(numbers) and numbers[place] == number


def _number(id: str) -> int | None:
    """The number that is written as `id`, where no other id is written so."""
    if id.isdecimal() and id.isascii() and len(id) <= _DIGITS and id[0] != "0":
        return int(id)
    return None
