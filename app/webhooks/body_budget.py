"""Limits the memory for webhook bodies whose sender is not verified yet.

A signature can be checked only once the body is complete, so any stranger can make us hold megabytes. Hence
all bodies that are being received share one budget. It has a part for small bodies, which nearly all are,
and a part for large ones, so that a few large or slow bodies do not keep out the small ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

MB = 1024 * 1024
SMALL = 256 * 1024
SMALLEST_RESERVATION = 16 * 1024  # what any request costs us, even with an empty body


class BudgetExhausted(Exception):
    """No memory is free now; the sender has to send again later."""


@dataclass
class BodyBudget:
    """Bytes free for bodies up to `SMALL` (4096 of the smallest at once) and for larger ones (4 of 25 MB)."""

    small: int = 64 * MB
    large: int = 100 * MB

    def reserve(self) -> BodyReservation:
        """Memory for one body in a `with` block, freed at its end. Entering it raises `BudgetExhausted`."""
        return BodyReservation(self)


@dataclass
class BodyReservation:
    budget: BodyBudget
    small: int = field(default=0, init=False)
    large: int = field(default=0, init=False)

    def grow(self, size: int) -> None:
        """The body has `size` bytes so far: reserve them. Raises `BudgetExhausted`."""
        large = size if size > SMALL else 0
        small = 0 if large else max(size, SMALLEST_RESERVATION)
        if small - self.small > self.budget.small or large - self.large > self.budget.large:
            raise BudgetExhausted
        self._set(small, large)

    def __enter__(self) -> Self:
        self.grow(0)
        return self

    def __exit__(self, *_: object) -> None:
        self._set(0, 0)

    def _set(self, small: int, large: int) -> None:
        self.budget.small += self.small - small
        self.budget.large += self.large - large
        self.small, self.large = small, large
