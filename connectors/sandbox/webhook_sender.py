"""The webhook of a simulated tracker: signed, sent in the background, and kept in a log.

Neither vendor's retries are played here: Jira comes back after minutes and GitHub never, so what fails stays
in the log until somebody sends it again.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address

import httpx

# Pool: a burst waits for its turn as long as it must, only the receiver is on the clock.
TIMEOUT = httpx.Timeout(10.0, pool=None)
KEPT = 10_000
LAST_PORT = 65_535


@dataclass(eq=False, slots=True)
class Delivery:
    """One webhook. `status` is that of the last answer, None where there was none; `error` says why."""

    id: str
    ticket: str
    event: str
    action: str | None
    body: bytes
    attempts: int = 0
    status: int | None = None
    error: str = ""


# The vendor's headers for a delivery and its signature; the signature is None where no secret is set.
Headers = Callable[[Delivery, str | None], dict[str, str]]


@dataclass(slots=True)
class WebhookSender:
    """`set` a target and every change is sent there; `sent` lists the deliveries, oldest first.

    Those of one ticket go out one after the other, those of different tickets side by side. While `muted`,
    webhooks are lost, as they are when a tracker has a bad day. `start` and `stop` are the server's.
    """

    headers: Headers
    new_id: Callable[[], str]
    url: str | None = None
    secret: str = field(default="", repr=False)
    muted: bool = False
    sent: list[Delivery] = field(default_factory=list)
    _serving: bool = False
    _client: httpx.AsyncClient | None = None
    _waiting: dict[str, deque[Delivery]] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def set(self, url: str, secret: str) -> None:
        """Raises ValueError unless `url` leads to this machine."""
        if not _leads_here(url):
            raise ValueError("A webhook of the simulated tracker goes to this machine only.")
        self.url, self.secret = url, secret

    def clear(self) -> None:
        """No webhooks from now on; those on their way still arrive."""
        self.url, self.secret = None, ""

    @property
    def has_target(self) -> bool:
        """Whether a change now is worth putting into words."""
        return self._serving and self.url is not None and not self.muted

    def send(self, ticket: str, event: str, action: str | None, body: bytes) -> None:
        """Needs the server's event loop; call it where `wanted` is true."""
        delivery = Delivery(self.new_id(), ticket, event, action, body)
        self.sent.append(delivery)
        del self.sent[:-KEPT]
        self._queue(delivery)

    def send_again(self, delivery_id: str) -> Delivery | None:
        """The same bytes under the same id; None where there is no such delivery or no target any more."""
        found = next((one for one in self.sent if one.id == delivery_id), None)
        if found is None or self.url is None or not self._serving:
            return None
        self._queue(found)
        return found

    async def idle(self) -> None:
        """Returns when nothing is pending; await it in the server's event loop."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    def start(self) -> None:
        self._serving = True

    async def stop(self) -> None:
        """What is still pending is lost, like the tracker itself."""
        self._serving = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._waiting.clear()
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _queue(self, delivery: Delivery) -> None:
        if delivery.ticket in self._waiting:
            self._waiting[delivery.ticket].append(delivery)
            return
        self._waiting[delivery.ticket] = deque([delivery])
        task = asyncio.get_running_loop().create_task(self._send_of(delivery.ticket))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_of(self, ticket: str) -> None:
        if self._client is None:
            # The environment's proxy is for the outside world.
            self._client = httpx.AsyncClient(timeout=TIMEOUT, trust_env=False)
        waiting = self._waiting[ticket]
        while waiting:
            await self._post(self._client, waiting.popleft())
        del self._waiting[ticket]

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


def _signature(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def _leads_here(url: str) -> bool:
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
