"""A host on loopback that answers in raw bytes, and both connectors called on it."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from connectors.base import Connector, EpicRef, Project
from connectors.clock import utc_now
from connectors.document import Document, Paragraph, Text
from connectors.marker import Marker
from connectors.network import Network, read_network
from connectors.registry import KINDS
from connectors.timeouts import TIMEOUTS

TOKEN = "tok-0c7d1e5b9a3f2468"
EMAIL = "bot@acme.example"
CREDENTIALS = {
    "jira": {"type": "api_token", "email": EMAIL, "token": TOKEN},
    "github": {"type": "token", "token": TOKEN},
}
# The Basic of `EMAIL:TOKEN`, and GitHub's form.
AUTHORIZATION = {
    "jira": b"Basic Ym90QGFjbWUuZXhhbXBsZTp0b2stMGM3ZDFlNWI5YTNmMjQ2OA==",
    "github": b"token " + TOKEN.encode(),
}
SCOPES = {"jira": {"projects": ["SHOP"]}, "github": {"repositories": ["acme/shop"]}}
KEYS = {"jira": "SHOP-1", "github": "acme/shop#1"}
PROJECT = {"jira": Project("SHOP"), "github": Project("acme/shop")}
MARKER = Marker("0b9f4a34-0000-4000-8000-000000000000", 1)
WORDS = Document((Paragraph((Text("Words."),)),))


@dataclass
class Host:
    """A host on loopback that gives every request the same raw answer, but for `NNNN`, which is the request's
    number. `heard`: the requests, whole; an entry for every connection, though nothing was sent on it."""

    port: int = 0
    answer: bytes | AsyncIterator[bytes] = b""
    heard: list[bytes] = field(default_factory=list)
    sent: int = 0
    by_path: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def says(self, status: str, *headers: str, body: bytes = b"", path: str = "") -> None:
        """What is answered to all, or where the path's last word is `path`."""
        lines = [f"HTTP/1.1 {status}", "Connection: close", *headers, f"Content-Length: {len(body)}", "", ""]
        raw = "\r\n".join(lines).encode("utf-8") + body
        if path:
            self.by_path[path.encode()] = raw
        else:
            self.answer = raw

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard.append(b"")
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            self.heard[-1] = head + await reader.readexactly(int(length[1]) if length else 0)
            word = re.search(rb"/(\w*)(?:\?\S*)? HTTP", head)
            answer = self.by_path.get(word[1] if word else b"", self.answer)
            if isinstance(answer, bytes):
                writer.write(answer.replace(b"NNNN", b"%04d" % len(self.heard)))
            else:
                async for piece in answer:
                    writer.write(piece)
                    await writer.drain()
                    self.sent += len(piece)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def host(tls: ssl.SSLContext | None = None) -> AsyncIterator[Host]:
    made = Host()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


def connector_on(kind: str, url: str, network: Network | None = None, **scope: list[str]) -> Connector:
    """A connector in `network`, by default the one that the environment describes now."""
    made = KINDS[kind]
    scope = SCOPES[kind] | (scope if kind == "github" else {})
    return made.connect(
        url,
        made.credentials.model_validate(CREDENTIALS[kind]),
        made.scope.model_validate(scope),
        made.epics.model_validate({}),
        TIMEOUTS,
        utc_now,
        network or read_network(os.environ),
    )


async def walk(connector: Connector, kind: str) -> None:
    async for _ in connector.changed_since(PROJECT[kind], None):
        pass


Call = Callable[[Connector, str], Awaitable[object]]
READING: list[Call] = [
    lambda connector, kind: connector.account(),
    lambda connector, kind: connector.fetch([EpicRef("1", KEYS[kind])]),
    walk,
]
WRITING: list[Call] = [
    lambda connector, kind: connector.put_comment(EpicRef("1", KEYS[kind]), None, WORDS, MARKER),
    lambda connector, kind: connector.put_comment(EpicRef("1", KEYS[kind]), "5", WORDS, MARKER),
    lambda connector, kind: connector.delete_comment(EpicRef("1", KEYS[kind]), "5"),
]
