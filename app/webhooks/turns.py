"""Spreads the reading of webhooks that are ready at once over turns of the event loop.

A turn ends when all that was ready at its beginning is done. Were all of them read in one turn, the database
would have nothing to do meanwhile, and this process nothing while the database stores them: a burst takes a
third longer. So some are read, and stored while the next ones are read.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Turns:
    """Lets `at_once` callers go on in each turn of the event loop, in the order in which they came."""

    def __init__(self, at_once: int) -> None:
        self._at_once = self._left = at_once
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_renewing = False

    async def wait(self) -> None:
        """Return at once, or in the turn whose place is the caller's."""
        loop = asyncio.get_running_loop()
        if not self._is_renewing:
            self._is_renewing = True
            loop.call_soon(self._renew)
        if self._left:
            self._left -= 1
            return
        place: asyncio.Future[None] = loop.create_future()
        self._waiting.append(place)
        await place

    def _renew(self) -> None:
        self._left = self._at_once
        while self._waiting and self._left:
            place = self._waiting.popleft()
            if not place.done():  # a request that was cancelled needs none
                place.set_result(None)
                self._left -= 1
        self._is_renewing = self._left < self._at_once
        if self._is_renewing:
            asyncio.get_running_loop().call_soon(self._renew)
