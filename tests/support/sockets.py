"""Raw connections to a server of ours, for what no HTTP client sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from fastapi import FastAPI

from app.server.connections import ConnectionLimits
from app.server.server import WebServer, open_listener

PATIENCE = 30


@dataclass
class RawConnection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def rest(self) -> bytes:
        """All that comes until the server closes."""
        received = b""
        async with asyncio.timeout(PATIENCE):
            with suppress(ConnectionError):
                while part := await self.reader.read(65536):
                    received += part
        return received

    async def answer(self) -> bytes:
        """The head of the next answer."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(b"\r\n\r\n")


@dataclass
class RawServer:
    """A server on loopback. `connect` opens one connection, closed at the latest at the end of the block."""

    web: WebServer
    port: int
    exits: AsyncExitStack

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def connect(self, data: bytes = b"") -> RawConnection:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.exits.callback(writer.close)
        made = RawConnection(reader, writer)
        made.send(data)
        return made

    async def exchange(self, data: bytes) -> bytes:
        """All that the server sends on a connection of its own until it closes."""
        return await (await self.connect(data)).rest()

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not holds():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def raw_server(app: FastAPI, limits: ConnectionLimits) -> AsyncIterator[RawServer]:
    listener = open_listener("127.0.0.1", 0)
    port = listener.getsockname()[1]
    web = WebServer(app, limits)
    async with web.serving(listener), AsyncExitStack() as exits:
        yield RawServer(web, port, exits)
