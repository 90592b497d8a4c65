"""The connections of the web server: how many there may be, and how long each may keep it waiting.

uvicorn has no time limit for a request's head, nor one that a byte now and then does not renew, and no bound
on heads, trailers and pipelined requests. Here every wait for a client has an end: for the head, for the
body, and for its reading the answer. Where there are as many connections as there may be, the one that has
kept the server waiting longest makes room for a new one, so that half requests shut out no whole one.
"""

from __future__ import annotations

import json
import resource
import time
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

import httptools
import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.server.signals import CommandFailed

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from uvicorn._types import ASGI3Application
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

log = structlog.get_logger()

MOST_CONNECTIONS = 1024
FEWEST_CONNECTIONS = 64
# What else the process opens: 41 connections to PostgreSQL, those to trackers, files, pipes.
RESERVED_DESCRIPTORS = 256
HEAD_BYTES = 32 * 1024
URL_BYTES = 16 * 1024
HEADERS = 100
PIPELINED = 4  # requests that wait on one connection for the one before; browsers and trackers send none
# Bytes of chunk sizes, their extensions and trailers: so many, and eight for each byte of the body.
OVERHEAD_BYTES, OVERHEAD_SHARE = 32 * 1024, 8
READ_BYTES = 16 * 1024  # of an answer, that a client must read in each interval
LOG_SECONDS = 60

Waits = Literal["head", "body", "reading", "closing"]


@dataclass(frozen=True)
class ConnectionLimits:
    """How many connections there may be, and how many seconds each may keep the server waiting: for a whole
    head, for a whole body, and for `READ_BYTES` of the answer to be read."""

    connections: int = MOST_CONNECTIONS
    head_seconds: float = 15
    body_seconds: float = 20
    reading_seconds: float = 20

    def seconds(self, waits_for: Waits) -> float:
        by_wait = {"head": self.head_seconds, "body": self.body_seconds}
        return by_wait.get(waits_for, self.reading_seconds)


LIMITS = ConnectionLimits()


def connection_limits() -> ConnectionLimits:
    """Raise this process's limit of descriptors where it is low and may be raised, and keep some of them for
    all that is no client. Raises `CommandFailed` where too few are left."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    raised, connections = allowed(soft, hard)
    if raised != soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    advice = f"ulimit -n {MOST_CONNECTIONS + RESERVED_DESCRIPTORS}"
    if connections < FEWEST_CONNECTIONS:
        raise CommandFailed(
            f"This process may open {raised} files and connections, and Northing needs "
            f"{FEWEST_CONNECTIONS + RESERVED_DESCRIPTORS}: raise the limit, as with `{advice}`"
        )
    if connections < MOST_CONNECTIONS:
        log.warning("few file descriptors", connections=connections, what_to_do=advice)
    return ConnectionLimits(connections)


def allowed(soft: int, hard: int) -> tuple[int, int]:
    """The soft limit of descriptors to set, and how many connections it leaves. Pure."""
    needed = MOST_CONNECTIONS + RESERVED_DESCRIPTORS
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return soft, MOST_CONNECTIONS
    soft = needed if hard == resource.RLIM_INFINITY else max(soft, min(needed, hard))
    return soft, soft - RESERVED_DESCRIPTORS


class Connections:
    """All open connections of a server, and since when which of them keep it waiting, the longest first.

    `seconds` is a clock that never goes back.
    """

    def __init__(self, limits: ConnectionLimits, seconds: Callable[[], float] = time.monotonic) -> None:
        self.limits, self._seconds = limits, seconds
        self.open: set[BoundedProtocol] = set()
        self._deadlines: dict[BoundedProtocol, float] = {}
        self._ended: Counter[str] = Counter()
        self._logged_at = -float(LOG_SECONDS)

    def admit(self, connection: BoundedProtocol) -> None:
        self.open.add(connection)
        self.update(connection)
        if len(self.open) <= self.limits.connections:
            return
        longest = next(iter(self._deadlines))
        if longest is connection:  # the others all have work under way
            connection.refuse(503, "Too many requests are under way; try again.", {"Retry-After": "10"})
        else:
            longest.abort()
        self.count("to make room")

    def forget(self, connection: BoundedProtocol) -> None:
        self.open.discard(connection)
        self._deadlines.pop(connection, None)

    def update(self, connection: BoundedProtocol) -> None:
        """Give the connection a new deadline where it waits for something else than before."""
        waits_for = connection.waits_for()
        if connection.known_wait == (waits_for, connection.requests):
            return
        connection.known_wait = waits_for, connection.requests
        self._deadlines.pop(connection, None)
        if waits_for is not None and connection in self.open:
            self.extend(connection, waits_for)

    def extend(self, connection: BoundedProtocol, waits_for: Waits) -> None:
        self._deadlines[connection] = self._seconds() + self.limits.seconds(waits_for)

    def end_late(self) -> None:
        """End the connections whose time is up. To be called several times a second."""
        for connection in self.open - self._deadlines.keys():
            self.update(connection)
        now = self._seconds()
        for connection in [known for known, deadline in self._deadlines.items() if deadline <= now]:
            connection.end_late()
        if self._ended and now - self._logged_at >= LOG_SECONDS:
            log.warning("connections ended", open=len(self.open), **self._ended)
            self._ended.clear()
            self._logged_at = now

    def abort_all(self) -> None:
        for connection in list(self.open):
            connection.abort()

    def count(self, why: str) -> None:
        """Any stranger can cause it, so it is logged once a minute."""
        self._ended[why.replace(" ", "_")] += 1


class _Refused(Exception):
    """The request is refused, with this status and detail."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with bounds. `requests` counts those that began."""

    def __init__(self, connections: Connections, **of_uvicorn: Any) -> None:
        super().__init__(**of_uvicorn)
        self._all = connections
        self._running: RequestResponseCycle | None = None
        self._refused: _Refused | None = None
        self._head_began = self._body_open = False
        self._header_count = self._head_size = self._overhead = self._unread = 0
        self.requests = 0
        self.known_wait: tuple[Waits | None, int] | None = None

    # --- what it waits for ------------------------------------------------------------------------

    def waits_for(self) -> Waits | None:
        """What the client has to do next; None while a request is being worked on."""
        if self.transport.is_closing():
            return "closing"
        if self.flow.write_paused:
            return "reading"
        if not self._is_idle():
            return "body" if self._body_open and not self.pipeline else None
        return "body" if self._body_open else "head"

    def _is_idle(self) -> bool:
        return self._running is None or self._running.response_complete

    def end_late(self) -> None:
        """The client has kept the server waiting for too long."""
        waits_for = self.waits_for()
        if waits_for is None or (waits_for == "body" and self.flow.read_paused):
            # It is the application that reads no further.
            self._all.extend(self, "body")
        elif waits_for in ("head", "body"):
            self._all.count(f"late {waits_for}")
            if waits_for == "body" or self._head_began:
                seconds = self._all.limits.seconds(waits_for)
                self.refuse(
                    408, f"The {waits_for} was not complete after {seconds:g} seconds; send it again."
                )
            else:
                self.transport.close()
            self._all.update(self)
        else:
            self._end_unless_reading(waits_for)

    def _end_unless_reading(self, waits_for: Waits) -> None:
        unread = self.transport.get_write_buffer_size()
        if self._unread and unread > self._unread - READ_BYTES:
            self._all.count("answer not read")
            self.abort()
        else:
            self._unread = unread
            self._all.extend(self, waits_for)

    def refuse(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        """Answer with a problem document and close; without an answer where another one is under way."""
        running = self._running
        if self.pipeline or (running is not None and running.response_started and not self._is_idle()):
            self.abort()
            return
        if running is not None and not self._is_idle():
            running.disconnected = True
            running.message_event.set()
        self.transport.write(_problem(status, detail, headers or {}))
        self.transport.close()

    def abort(self) -> None:
        self.transport.abort()
        self._all.forget(self)

    # --- what comes -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._all.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._all.forget(self)
        # uvicorn tells the newest request, and an earlier one may be the one that is worked on.
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        self.pipeline.clear()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        self._overhead += len(data)
        try:
            self.parser.feed_data(data)
            if self._overhead > (OVERHEAD_BYTES if self._body_open else HEAD_BYTES):
                raise _too_much(of_body=self._body_open)
        except httptools.HttpParserUpgrade:
            pass  # the request is answered as any other
        except _Refused as refused:
            self._end_refused(refused)
        except httptools.HttpParserError:
            self._end_refused(self._refused or _Refused(400, "This is not a valid HTTP request."))
        self._all.update(self)

    def _end_refused(self, refused: _Refused) -> None:
        self._all.count("refused")
        self.refuse(refused.status, refused.detail)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.requests += 1
        self._head_began = True
        self._head_size = self._header_count = 0

    def on_url(self, url: bytes) -> None:
        if len(self.url) + len(url) > URL_BYTES:
            self._refuse_here(_Refused(414, f"An address may have {URL_BYTES // 1024} KB at most."))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._body_open:
            return  # a trailer; uvicorn would add it to the headers that were checked
        self._header_count += 1
        self._head_size += len(name) + len(value)
        if self._header_count > HEADERS or self._head_size > HEAD_BYTES:
            self._refuse_here(_too_much(of_body=False))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= PIPELINED:
            self._refuse_here(_Refused(429, "Too many requests wait on this connection."))
        super().on_headers_complete()
        self._head_began, self._body_open, self._overhead = False, True, 0

    def on_body(self, body: bytes) -> None:
        self._overhead = max(0, self._overhead - (1 + OVERHEAD_SHARE) * len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._body_open, self._overhead = False, 0
        super().on_message_complete()

    def _refuse_here(self, refused: _Refused) -> None:
        """The parser swallows the error of a callback and reports one of its own."""
        self._refused = refused
        raise refused

    # --- what is sent -----------------------------------------------------------------------------

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._all.update(self)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.transport.get_write_buffer_size()
        self._all.update(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._all.update(self)


def _too_much(*, of_body: bool) -> _Refused:
    if of_body:
        return _Refused(400, "The body comes with too much that is not its content.")
    return _Refused(431, f"A request's head may have {HEAD_BYTES // 1024} KB and {HEADERS} headers at most.")


def _problem(status: int, detail: str, headers: dict[str, str]) -> bytes:
    """An answer before any application: RFC 9457, as `app.api.problems` gives it."""
    document = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    body = json.dumps(document).encode()
    headers = {
        "content-type": "application/problem+json",
        "content-length": str(len(body)),
        "connection": "close",
        "x-content-type-options": "nosniff",
        **{name.lower(): value for name, value in headers.items()},
    }
    lines = b"".join(f"{name}: {value}\r\n".encode() for name, value in headers.items())
    return STATUS_LINE[status] + lines + b"\r\n" + body
