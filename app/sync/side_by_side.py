"""Several pieces of work at the same time, a few at once; and a step that is not broken off in its middle."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable
    from typing import Any

T = TypeVar("T")


async def side_by_side(items: Iterable[T], at_once: int, work: Callable[[T], Awaitable[None]]) -> None:
    """`work` on each of `items`, in their order, at most `at_once` at the same time.

    The first error ends it all and is raised; what else is at work is cancelled, and has ended by then.
    """
    waiting = iter(items)

    async def work_on() -> None:
        for item in waiting:
            await work(item)

    tasks = [asyncio.create_task(work_on()) for _ in range(at_once)]
    try:
        # The first to end with an error, not the first of the list.
        for ended in asyncio.as_completed(tasks):
            await ended
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def to_its_end(step: Coroutine[Any, Any, T]) -> T:
    """The result of `step`, which goes on to its end though the caller is cancelled; then that is raised."""
    task = asyncio.create_task(step)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise
