"""Requests side by side, and how fast: GitHub has a second limit, which counts what it sends uncounted too.

It refuses more than 100 requests at the same time and more than 900 points a minute, of which a GET is one.
https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 8
BURST, PER_SECOND = 450, 7.0  # at most 870 in any minute


async def side_by_side(
    call: Callable[[T], Awaitable[R]], values: Iterable[T], at_once: int = AT_ONCE
) -> list[R]:
    """What `call` gives for each value, in their order, `at_once` at the same time. The first error ends the
    other calls and is raised."""
    places = asyncio.Semaphore(at_once)

    async def one(value: T) -> R:
        async with places:
            return await call(value)

    tasks = [asyncio.ensure_future(one(value)) for value in values]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Pace:
    """When the next request may be sent: `BURST` of them at once, and then `PER_SECOND`. `now` is a clock
    that only goes forward, in seconds."""

    def __init__(self, burst: int = BURST, per_second: float = PER_SECOND) -> None:
        self._burst, self._per_second = burst, per_second
        self._left, self._at = float(burst), 0.0

    def take(self, now: float) -> float:
        """Count a request. The seconds that it has to wait."""
        gained = max(now - self._at, 0.0) * self._per_second
        self._left, self._at = min(self._left + gained, self._burst) - 1, max(now, self._at)
        return max(-self._left / self._per_second, 0.0)
