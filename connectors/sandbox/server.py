"""Serves a tracker over real HTTP on a loopback port, in this event loop or in a thread."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from connectors.sandbox.faults import LOST, TRANSPORT

if TYPE_CHECKING:
    from connectors.sandbox.tracker import Tracker

HOST = "127.0.0.1"
STOP_SECONDS = 5.0

Through = Callable[[ASGIApp], ASGIApp]


class Connection(HttpToolsProtocol):
    """uvicorn's protocol without access log; its transport is in the scope, so that a fault can drop it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.access_log = False
        self.lost = asyncio.Event()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"] |= {TRANSPORT: self.transport, LOST: self.lost}

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()
        super().connection_lost(exc)


@asynccontextmanager
async def serve(tracker: Tracker, port: int = 0, *, through: Through | None = None) -> AsyncIterator[str]:
    """Serves until the block ends and yields the base URL, without a trailing slash.

    With `port` 0, or a port in use, the system picks a free one. `through` wraps the application, for a test
    that inspects the traffic. Signal handlers and logging of the process stay unchanged: several trackers and
    Northing itself may share one process.
    """
    listener = _open_listener(port)
    url = f"http://{HOST}:{listener.getsockname()[1]}"
    tracker.listens_at(url)
    config = Config(
        tracker if through is None else through(tracker),
        http=Connection,
        interface="asgi3",
        lifespan="off",
        log_config=None,
        proxy_headers=False,
        date_header=False,  # the tracker sends its own
        ws="none",
        timeout_keep_alive=60,
    )
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(config=config, server_state=state, app_state={}), sock=listener
    )
    tracker.webhook_sender.start()
    try:
        yield url
    finally:
        await tracker.webhook_sender.stop()
        server.close()
        for connection in list(state.connections):
            if connection.transport is not None:
                connection.transport.abort()
        if state.tasks:
            await asyncio.wait(state.tasks, timeout=STOP_SECONDS)
        await server.wait_closed()


@contextmanager
def serve_in_thread(tracker: Tracker, port: int = 0, *, through: Through | None = None) -> Iterator[str]:
    """Like `serve`, for callers without an event loop. Until it ends, change the tracker over HTTP only."""
    ready = threading.Event()
    shared: dict[str, Any] = {}

    async def run() -> None:
        shared["loop"], shared["stop"] = asyncio.get_running_loop(), asyncio.Event()
        async with serve(tracker, port, through=through) as url:
            shared["url"] = url
            ready.set()
            await shared["stop"].wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="sandbox", daemon=True)
    thread.start()
    if not ready.wait(STOP_SECONDS):
        raise RuntimeError("the simulated tracker did not start")
    try:
        yield shared["url"]
    finally:
        shared["loop"].call_soon_threadsafe(shared["stop"].set)
        thread.join(STOP_SECONDS)


def _open_listener(port: int) -> socket.socket:
    # asyncio sets TCP_NODELAY only if the protocol is IPPROTO_TCP; without it answers wait 40 ms for an ACK.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError:
        listener.bind((HOST, 0))
    listener.listen(128)
    listener.setblocking(False)
    return listener
