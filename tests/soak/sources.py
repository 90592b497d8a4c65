"""A tracker over real HTTP that comes and goes, with its webhooks, and the people who work on it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from connectors.sandbox import faults
from connectors.sandbox.server import serve
from tests.soak.ports import free_port
from tests.soak.tickets import Tickets

LATENCY = 0.03  # seconds, before each answer
SECRET = "a secret of the trackers'"
FEWEST, MOST = 16, 60  # epics, so that deletions never look like a lost access
RECENT = 30  # of the webhooks, any may be sent again
KEYS = ("KR-1", "KR-2")


class SoakSource:
    """Counts what happens on it. `found` collects what never may; `write_came` is set by each write."""

    def __init__(
        self, tickets: Tickets, counts: Counter[str], found: list[str], write_came: asyncio.Event
    ) -> None:
        self.tickets, self.tracker = tickets, tickets.tracker
        self.counts, self._found = counts, found
        self.tracker.latency = LATENCY
        self.writes = 0
        self._write_came = write_came
        self.accepted: set[str] = set()
        self.commands: set[str] = set()  # the tickets with one
        self._port = free_port()
        self._served = AsyncExitStack()
        self._one_trouble = asyncio.Lock()
        self._born = 0
        tickets.watch(self._commented)

    async def __aenter__(self) -> SoakSource:
        await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._served.aclose()

    async def _open(self) -> None:
        url = await self._served.enter_async_context(serve(self.tracker, self._port, through=self._watched))
        if not url.endswith(f":{self._port}"):
            raise RuntimeError(f"port {self._port} was taken while the tracker was away")

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Connections are refused, answers on their way are lost, and nobody is told of what happens."""
        async with self._one_trouble:
            self.note_accepted()
            await self._served.aclose()
            try:
                yield
            finally:
                await self._open()

    @asynccontextmanager
    async def in_trouble(self) -> AsyncIterator[None]:
        """Every call is answered with 503."""
        async with self._one_trouble:
            self.tracker.faults.add("*", faults.answer(503), times=None)
            try:
                yield
            finally:
                self.tracker.faults.clear()

    def _watched(self, app: ASGIApp) -> ASGIApp:
        async def watch(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["method"] in ("POST", "PUT", "PATCH") and "/comment" in scope["path"]:
                # What has come whole is carried out, also for a sender that is killed before the answer.
                body = await _whole(receive)
                if body is None:
                    return
                self.writes += 1
                self._write_came.set()
                receive = _again(body, receive)
            await app(scope, receive, send)

        return watch

    def _commented(self, key: str, ours: int) -> None:
        self.counts["comments"] += 1
        if ours > 1:
            self.counts["duplicates"] += 1
            self._found.append(f"{key} has {ours} comments of ours")

    # --- webhooks -------------------------------------------------------------------------------

    def note_accepted(self) -> None:
        """Remember what was answered with 202, for the answer to a repeat takes its place."""
        self.accepted.update(one.id for one in self.tracker.webhook_sender.sent if one.status == 202)

    def send_again(self, chance: random.Random) -> None:
        """One of the last webhooks, answered or not, as a person may with a click in the tracker."""
        sent = self.tracker.webhook_sender.sent[-RECENT:]
        if sent and self.tracker.webhook_sender.has_target:
            self.note_accepted()
            one = chance.choice(sent)
            self.counts["webhooks resent" if one.id not in self.accepted else "webhooks repeated"] += 1
            self.tracker.webhook_sender.send_again(one.id)

    # --- people ---------------------------------------------------------------------------------

    def fill(self, chance: random.Random, epics: int) -> None:
        for _ in range(epics):
            self._create(chance)

    def open_epic(self, chance: random.Random) -> None:
        self._born += 1
        self.tickets.add(chance.choice(self.tickets.projects), f"Epic {self._born}")

    def edit(self, chance: random.Random) -> None:
        """Something that people do."""
        deeds: list[tuple[Callable[[random.Random], None], int]] = [
            (self._create, 3),
            (self._link, 6),
            (self._unlink, 6),
            (self._close, 2),
            (self._reopen, 2),
            (self._retitle, 3),
            (self._delete, 1),
            (self._talk, 2),
            (self._command, 1),
        ]
        (deed,) = chance.choices([deed for deed, _ in deeds], [weight for _, weight in deeds])
        deed(chance)
        self.counts["edits"] += 1

    def _create(self, chance: random.Random) -> None:
        if len(self.tickets.all()) < MOST:
            self.open_epic(chance)

    def _some(self, chance: random.Random) -> str:
        return chance.choice(self.tickets.all()).key

    def _link(self, chance: random.Random) -> None:
        key, goal = self._some(chance), chance.choice(KEYS)
        if chance.random() < 0.5:
            self.tickets.label(key, f"kr:{goal}")
        else:
            self.tickets.describe(key, f"Why it is done\n\nKey-Result: {goal}")

    def _unlink(self, chance: random.Random) -> None:
        key = self._some(chance)
        self.tickets.label(key)
        self.tickets.describe(key, "Why it is done")

    def _close(self, chance: random.Random) -> None:
        self.tickets.close(self._some(chance), closed=True)

    def _reopen(self, chance: random.Random) -> None:
        self.tickets.close(self._some(chance), closed=False)

    def _retitle(self, chance: random.Random) -> None:
        self.tickets.retitle(self._some(chance), f"An epic renamed {chance.randrange(10**6)}")

    def _delete(self, chance: random.Random) -> None:
        if len(self.tickets.all()) > FEWEST:
            self.tickets.delete(self._some(chance))

    def _talk(self, chance: random.Random) -> None:
        self.tickets.say(self._some(chance), "Looks good to me.")

    def _command(self, chance: random.Random) -> None:
        """Its webhook tells of it, and else a sync: it is executed whatever is lost."""
        ticket = chance.choice(self.tickets.all())
        self.tickets.say(ticket.key, f"/northing link {chance.choice(KEYS)}")
        self.commands.add(ticket.id)


async def _whole(receive: Receive) -> bytes | None:
    """A request's body; None where its sender died on the way."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """As if it came just now; after it whatever else comes."""
    left = [body]

    async def give() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return give
