"""What a simulated tracker was asked, and a fault that holds an answer."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from connectors.sandbox.tracker import LoggedRequest, Tracker


class Pause:
    """A fault that holds an answer, as it was when the request came, until it is let go."""

    def __init__(self) -> None:
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    async def __call__(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        messages: list[Any] = []

        async def keep(message: Any) -> None:
            messages.append(message)

        await app(scope, receive, keep)
        self.reached.set()
        await self.go_on.wait()
        for message in messages:
            await send(message)


def searches(tracker: Tracker) -> list[LoggedRequest]:
    return tracker.log.matching("POST */search/jql")


def listings(tracker: Tracker) -> list[LoggedRequest]:
    return tracker.log.matching("GET */issues")
