"""Memory for bodies that strangers send, before anybody has vouched for them.

Who sends a webhook is known only once its body is whole, so anybody may have us keep megabytes. Hence
all bodies in the door together have so much room: one for the small ones, which nearly all are, and one
for those that grow large, so that a few large ones, or slow ones, shut the door to no small one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

MB = 1024 * 1024
SMALL = 256 * 1024
SMALLEST_RESERVATION = 16 * 1024  # what any request costs us, be its body empty


class BudgetExhausted(Exception):
    """There is no room now; the sender is to come again."""


@dataclass
class BodyBudget:
    """Bytes free for bodies up to `SMALL`, and for the larger ones: four thousand at once, or four."""

    small: int = 64 * MB
    large: int = 100 * MB

    def reserve(self) -> BodyReservation:
        """Room for one body in a `with` block, free again at its end. To enter it raises `Full`."""
        return BodyReservation(self)


@dataclass
class BodyReservation:
    budget: BodyBudget
    small: int = field(default=0, init=False)
    large: int = field(default=0, init=False)

    def grow(self, size: int) -> None:
        """A body of `size` bytes so far. Raises `Full`."""
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
