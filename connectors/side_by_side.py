"""Several calls at the same time, a few at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

T = TypeVar("T")
R = TypeVar("R")


async def side_by_side(call: Callable[[T], Awaitable[R]], values: Iterable[T], at_once: int) -> list[R]:
    """What `call` gives for each value, in their order, at most `at_once` at the same time.

    The first error ends it all and is raised: nothing else is begun, and what is at work is cancelled and has
    ended by then.
    """
    waiting = enumerate(values)
    given: dict[int, R] = {}

    async def work_on() -> None:
        for place, value in waiting:
            given[place] = await call(value)

    tasks = [asyncio.create_task(work_on()) for _ in range(at_once)]
    try:
        # The first to end with an error, not the first of the list.
        for ended in asyncio.as_completed(tasks):
            await ended
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [given[place] for place in sorted(given)]
