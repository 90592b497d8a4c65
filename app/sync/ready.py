"""Pages that are ready to be stored: those that came while others were stored, together."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Hashable
    from datetime import datetime

# Pages of one transaction: its statements, its commit and its lease are paid for once.
MOST_TOGETHER = 5
# Seconds to wait for more pages, while the next one is on its way. Nothing waits for this: what is fetched is
# fetched meanwhile, and the end of the pages ends it.
WAITS_FOR_MORE = 0.25

T = TypeVar("T")


class ReadyPages(Generic[T]):
    """Fetches `pages` while the caller stores those before, and gives them out in lists.

    `kind_of`: pages of the same kind are given out together; one of no kind (None) by itself. Of the list
    that waits there is one, so at most `MOST_TOGETHER` pages and the next one are ahead of the caller.

    `latest`: the time as the caller read it last; it sets it once it has stored a list.
    """

    def __init__(
        self, pages: AsyncGenerator[T, None], kind_of: Callable[[T], Hashable | None], begun_at: datetime
    ) -> None:
        self.latest = begun_at
        self._pages, self._kind_of = pages, kind_of
        self._waiting: list[T] = []
        self._kind: Hashable | None = None
        self._requested_at = begun_at
        self._is_full = False
        self._came, self._taken = asyncio.Event(), asyncio.Event()

    async def lists(self) -> AsyncGenerator[tuple[list[T], datetime], None]:
        """The pages, and when the first of a list was asked for, or before that.

        An error of a page is raised once the caller has stored the pages before it.
        """
        fetching = asyncio.create_task(self._fetch())
        fetching.add_done_callback(lambda _: self._came.set())
        try:
            while True:
                while not (self._waiting or fetching.done()):
                    await self._next_event()
                with suppress(TimeoutError):
                    async with asyncio.timeout(WAITS_FOR_MORE):
                        while not (self._is_full or fetching.done()):
                            await self._next_event()
                if not self._waiting:
                    await fetching
                    return
                yield self._take()
        finally:
            fetching.cancel()
            await asyncio.gather(fetching, return_exceptions=True)

    async def _next_event(self) -> None:
        self._came.clear()
        await self._came.wait()

    def _take(self) -> tuple[list[T], datetime]:
        taken, self._waiting, self._is_full = self._waiting, [], False
        self._taken.set()
        return taken, self._requested_at

    async def _fetch(self) -> None:
        # A page was asked for after the one before it was, which was when the fetching of that one began.
        before = begun = self.latest
        async for page in self._pages:
            kind = self._kind_of(page)
            while self._waiting and (self._is_full or kind is None or kind != self._kind):
                self._is_full = True
                self._came.set()
                self._taken.clear()
                await self._taken.wait()
            if not self._waiting:
                self._kind, self._requested_at = kind, before
            self._waiting.append(page)
            del page  # a page may be large, and the next one long in coming
            self._is_full = kind is None or len(self._waiting) == MOST_TOGETHER
            self._came.set()
            before, begun = begun, self.latest
