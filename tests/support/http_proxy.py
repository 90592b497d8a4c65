"""A proxy on loopback that records what it is asked for, and leads every tunnel to one port."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class HttpProxy:
    """`heard`: the heads of the requests. `answer`: its status line to CONNECT; a tunnel follows a 200."""

    target: int
    port: int = 0
    answer: bytes = b"HTTP/1.1 200 Connection established"
    heard: list[bytes] = field(default_factory=list)
    _tasks: set[asyncio.Task[None] | None] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())
        writers = [writer]
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                self.heard.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(self.answer + b"\r\n\r\n")
                await writer.drain()
                if b" 200 " in self.answer:
                    there, back = await asyncio.open_connection("127.0.0.1", self.target)
                    writers.append(back)
                    pipes = [
                        asyncio.ensure_future(_pipe(*ends)) for ends in ((reader, back), (there, writer))
                    ]
                    await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
                    for pipe in pipes:
                        pipe.cancel()
                    await asyncio.gather(*pipes, return_exceptions=True)
                    return
                writer.close()
        finally:
            for each in writers:
                each.transport.abort()  # a TLS connection would wait for its other end

    async def stop(self) -> None:
        tasks = [task for task in self._tasks if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, ssl.SSLError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()


@asynccontextmanager
async def http_proxy(target: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[HttpProxy]:
    made = HttpProxy(target)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.stop()
