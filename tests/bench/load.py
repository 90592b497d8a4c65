"""HTTP by hand over kept-alive connections: so light that the server is what is measured."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from typing import Self, cast
from urllib.parse import urlsplit

PATIENCE = 30  # seconds for one answer
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Load:
    """How many requests were accepted, and the seconds from the first request to the last answer."""

    accepted: int
    seconds: float

    @property
    def per_second(self) -> float:
        return self.accepted / self.seconds


async def drive(url: str, requests: Iterator[bytes], connections: int, seconds: float) -> Load:
    """So many connections at once, each sending its next request when the last is answered, for `seconds`.

    Raises RuntimeError at the first answer that is not 202.
    """
    senders = await _connected(url, connections)
    start = perf_counter()
    try:
        async with asyncio.timeout(seconds + PATIENCE):
            counts = await asyncio.gather(
                *(sender.send(requests, until=start + seconds) for sender in senders)
            )
        return Load(sum(counts), perf_counter() - start)
    finally:
        for sender in senders:
            sender.close()


async def _connected(url: str, connections: int) -> list[_Sender]:
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(_Sender, *_place(url)) for _ in range(connections)]
    return [sender for _, sender in made]


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return str(parts.hostname), parts.port or 80


class _Sender(asyncio.Protocol):
    """A protocol and not a stream, which costs this process three times as much for a request."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._requests: Iterator[bytes] = iter(())
        self._until = 0.0
        self._answer = b""
        self._accepted = 0
        self._done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def send(self, requests: Iterator[bytes], *, until: float) -> asyncio.Future[int]:
        self._requests, self._until = requests, until
        self._transport.write(next(requests))
        return self._done

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(RuntimeError(f"the server closed the connection: {exc}"))

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not _is_whole(self._answer):
            return
        answer, self._answer = self._answer, b""
        if not answer.startswith(b"HTTP/1.1 202 "):
            self._done.set_exception(RuntimeError(f"not accepted: {answer[:500]!r}"))
            self.close()
            return
        self._accepted += 1
        if perf_counter() < self._until:
            self._transport.write(next(self._requests))
        else:
            self._done.set_result(self._accepted)


def _is_whole(answer: bytes) -> bool:
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    length = _LENGTH.search(answer, 0, end + 2)
    assert length is not None, "an answer without its length"
    return len(answer) >= end + 4 + int(length[1])


class Line:
    """One kept-alive connection on which the same question is asked again and again."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def to(cls, url: str) -> Self:
        return cls(*await asyncio.open_connection(*_place(url)))

    async def ask(self, request: bytes) -> float:
        """Seconds for one question and its answer. Raises RuntimeError unless that is 200."""
        start = perf_counter()
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        assert length is not None, "an answer without its length"
        await self._reader.readexactly(int(length[1]))
        seconds = perf_counter() - start
        if not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"not answered: {head[:500]!r}")
        return seconds

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


def request(method: str, url: str, headers: Iterable[tuple[str, str]], body: bytes = b"") -> bytes:
    """A whole request as it goes over the wire."""
    parts = urlsplit(url)
    own = [("Host", parts.netloc), *headers]
    if method != "GET":
        own.append(("Content-Length", str(len(body))))
    lines = [f"{method} {parts.path} HTTP/1.1", *(f"{name}: {value}" for name, value in own), "", ""]
    return "\r\n".join(lines).encode() + body
