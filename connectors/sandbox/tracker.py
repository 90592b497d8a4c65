"""What both simulated trackers share: the request log, the faults, the latency and the ASGI entry point."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from connectors.sandbox.faults import LOST, Faults

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from connectors.sandbox.webhook_sender import WebhookSender

Clock = Callable[[], datetime]

LOG_SIZE = 200_000
CONTROL = "/-/"  # path prefix of our own pages and controls, which are not logged, delayed or given faults


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class LoggedRequest:
    """One request as it arrived. `status` is None until an answer begins, and stays so if none does."""

    method: str
    path: str
    query: str
    status: int | None = None

    @property
    def line(self) -> str:
        return f"{self.method} {self.path}"


class RequestLog:
    """Requests in the order of arrival, without headers and bodies, so that no credential is kept."""

    def __init__(self) -> None:
        self.entries: deque[LoggedRequest] = deque(maxlen=LOG_SIZE)

    def note(self, scope: Scope) -> LoggedRequest:
        seen = LoggedRequest(scope["method"], scope["path"], scope["query_string"].decode("latin-1"))
        self.entries.append(seen)
        return seen

    def matching(self, pattern: str = "*") -> list[LoggedRequest]:
        """Requests whose "METHOD /path" matches a glob, e.g. "POST */comment"."""
        return [seen for seen in self.entries if fnmatchcase(seen.line, pattern)]

    def count(self, pattern: str = "*") -> int:
        return len(self.matching(pattern))

    def count_by_line(self) -> dict[str, int]:
        """The number of requests for each "METHOD /path"."""
        return dict(Counter(seen.line for seen in self.entries))

    def clear(self) -> None:
        self.entries.clear()


class Tracker:
    """An ASGI application that logs and delays requests to `routes`, and applies faults to them.

    `base_url` is where the server listens; `server.serve` sets it. `latency` is in seconds.
    `webhook_sender` sends each change to another program.
    """

    def __init__(self, webhook_sender: WebhookSender) -> None:
        self.base_url = "http://127.0.0.1"
        self.latency = 0.0
        self.webhook_sender = webhook_sender
        self.log = RequestLog()
        self.faults = Faults()
        self.routes: ASGIApp | None = None

    def listens_at(self, url: str) -> None:
        self.base_url = url

    def clock(self) -> datetime:
        """The tracker's own time, aware, in UTC; its answers carry it as `Date`."""
        return utc_now()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.routes is not None, "a tracker needs its routes before it can answer"
        if scope["type"] != "http" or scope["path"].startswith(CONTROL):
            await self.routes(scope, receive, send)
            return
        seen = self.log.note(scope)
        if self.latency:
            await self._wait(scope)

        async def answered(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
                date = format_datetime(self.clock(), usegmt=True).encode()
                message = {**message, "headers": [*message.get("headers", ()), (b"date", date)]}
            await send(message)

        action = self.faults.take(seen.line)
        if action is None:
            await self.routes(scope, receive, answered)
        else:
            await action(self.routes, scope, receive, answered)

    async def _wait(self, scope: Scope) -> None:
        """The latency, or until the client is gone: a client that gave up waits for no answer."""
        lost = scope.get("state", {}).get(LOST)
        if lost is None:
            await asyncio.sleep(self.latency)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self.latency):
                await lost.wait()
