"""The webhook of a simulated tracker: signed, sent in the background, and kept in a log.

The sender never retries: Jira retries only after minutes and GitHub never does. A failed delivery stays in
the log until a caller sends it again.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    import ssl

# pool=None: in a burst, deliveries may wait for a connection; the time limit is for the receiver alone.
TIMEOUT = httpx.Timeout(10.0, pool=None)
KEPT = 10_000
LAST_PORT = 65_535


@dataclass(eq=False, slots=True)
class Delivery:
    """One webhook. `status` is that of the last answer; None if there was none, and `error` then says why."""

    id: str
    ticket: str
    event: str
    action: str | None
    body: bytes
    attempts: int = 0
    status: int | None = None
    error: str = ""


# Makes the vendor's headers for a delivery and its signature; the signature is None if no secret is set.
Headers = Callable[[Delivery, str | None], dict[str, str]]


@dataclass(slots=True)
class WebhookSender:
    """Sends each change to the target of `set`; `sent` lists the deliveries, oldest first.

    Deliveries of one ticket are sent one after the other, those of different tickets in parallel. While
    `muted`, webhooks are lost, as in an outage of a tracker. The server calls `start` and `stop`.
    """

    headers: Headers
    new_id: Callable[[], str]
    url: str | None = None
    secret: str = field(default="", repr=False)
    muted: bool = False
    sent: list[Delivery] = field(default_factory=list)
    _serving: bool = False
    _client: httpx.AsyncClient | None = None
    _queues: dict[str, deque[Delivery]] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def set(self, url: str, secret: str) -> None:
        """Sets the target. Raises ValueError unless the host of `url` is loopback."""
        if not _is_local(url):
            raise ValueError("A webhook of the simulated tracker goes to this machine only.")
        self.url, self.secret = url, secret

    def clear(self) -> None:
        """Removes the target; a request in progress is still completed."""
        self.url, self.secret = None, ""

    @property
    def has_target(self) -> bool:
        """Whether a change would be sent now, so that the caller has to build its payload."""
        return self._serving and self.url is not None and not self.muted

    def send(self, ticket: str, event: str, action: str | None, body: bytes) -> None:
        """Queues a new delivery. Needs the server's event loop; call it only if `has_target` is true."""
        delivery = Delivery(self.new_id(), ticket, event, action, body)
        self.sent.append(delivery)
        del self.sent[:-KEPT]
        self._enqueue(delivery)

    def send_again(self, delivery_id: str) -> Delivery | None:
        """Queues the same bytes under the same id; None if there is no such delivery, or no target now."""
        found = next((one for one in self.sent if one.id == delivery_id), None)
        if found is None or self.url is None or not self._serving:
            return None
        self._enqueue(found)
        return found

    async def idle(self) -> None:
        """Returns when no delivery is pending; await it in the server's event loop."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    def start(self) -> None:
        self._serving = True

    async def stop(self) -> None:
        """Cancels all pending deliveries; they are lost."""
        self._serving = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._queues.clear()
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _enqueue(self, delivery: Delivery) -> None:
        if delivery.ticket in self._queues:
            self._queues[delivery.ticket].append(delivery)
            return
        self._queues[delivery.ticket] = deque([delivery])
        task = asyncio.get_running_loop().create_task(self._send_queue(delivery.ticket))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_queue(self, ticket: str) -> None:
        if self._client is None:
            # The target is on this machine, so a proxy of the environment must not be used.
            self._client = httpx.AsyncClient(timeout=TIMEOUT, verify=_trusted(), trust_env=False)
        queue = self._queues[ticket]
        while queue:
            await self._post(self._client, queue.popleft())
        del self._queues[ticket]

    async def _post(self, client: httpx.AsyncClient, delivery: Delivery) -> None:
        if self.url is None:
            delivery.error = "the webhook was taken away"
            return
        delivery.attempts += 1
        signature = f"sha256={_signature(self.secret, delivery.body)}" if self.secret else None
        headers = {"Content-Type": "application/json", **self.headers(delivery, signature)}
        try:
            answer = await client.post(self.url, content=delivery.body, headers=headers)
        except httpx.HTTPError as error:
            delivery.status, delivery.error = None, str(error) or type(error).__name__
        else:
            delivery.status, delivery.error = answer.status_code, ""


@cache
def _trusted() -> ssl.SSLContext:
    """Read once for all simulated trackers: it takes longer than to send a webhook."""
    return httpx.create_ssl_context(trust_env=False)


def _signature(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def _is_local(url: str) -> bool:
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return parts.scheme in {"http", "https"} and (parts.port or 1) <= LAST_PORT and is_loopback(parts.host)


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
