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
LEAST = 16 * 1024  # what any request costs us, be its body empty


class Full(Exception):
    """There is no room now; the sender is to come again."""


@dataclass
class Room:
    """Bytes free for bodies up to `SMALL`, and for the larger ones: four thousand at once, or four."""

    small: int = 64 * MB
    large: int = 100 * MB

    def place(self) -> Place:
        """Room for one body in a `with` block, free again at its end. To enter it raises `Full`."""
        return Place(self)


@dataclass
class Place:
    room: Room
    small: int = field(default=0, init=False)
    large: int = field(default=0, init=False)

    def hold(self, size: int) -> None:
        """A body of `size` bytes so far. Raises `Full`."""
        large = size if size > SMALL else 0
        small = 0 if large else max(size, LEAST)
        if small - self.small > self.room.small or large - self.large > self.room.large:
            raise Full
        self._settle(small, large)

    def __enter__(self) -> Self:
        self.hold(0)
        return self

    def __exit__(self, *_: object) -> None:
        self._settle(0, 0)

    def _settle(self, small: int, large: int) -> None:
        self.room.small += self.small - small
        self.room.large += self.large - large
        self.small, self.large = small, large
