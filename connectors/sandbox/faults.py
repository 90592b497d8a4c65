"""What can go wrong between a tracker and its client: a queue of faults, and the actions of faults.

An action handles one request in place of the tracker's routes, as an ASGI wrapper. A new kind of fault is one
more function here and needs no change elsewhere. The vendors' rate limits are in `limits`, unusual but valid
answers in `vendor_faults`; `fault_names` lists the faults that another process may set.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Action = Callable[[ASGIApp, Scope, Receive, Send], Awaitable[None]]

PAGE_SIZE = "sandbox.page_size"
TRANSPORT = "sandbox.transport"
LOST = "sandbox.lost"


@dataclass(slots=True)
class Fault:
    """Matches requests by a glob over "METHOD /path"; skips the first `skip`, then applies `left` times.

    `left` None is without end. `struck` counts how often the fault was applied.
    """

    match: str
    action: Action
    skip: int
    left: int | None
    struck: int = 0
    name: str = ""


class Faults:
    """For each request, the first fault that matches and is not used up applies."""

    def __init__(self) -> None:
        self._queue: list[Fault] = []

    def add(
        self, match: str, action: Action, *, times: int | None = 1, skip: int = 0, name: str = ""
    ) -> Fault:
        """Adds a fault. `times=None` is without end. `struck` of the returned fault counts its uses."""
        fault = Fault(match, action, skip, times, name=name)
        self._queue.append(fault)
        return fault

    def clear(self) -> None:
        self._queue.clear()

    def all(self) -> list[Fault]:
        """All faults, oldest first, including those that are used up."""
        return list(self._queue)

    def take(self, line: str) -> Action | None:
        for fault in self._queue:
            if fault.left == 0 or not fnmatchcase(line, fault.match):
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            if fault.left is not None:
                fault.left -= 1
            fault.struck += 1
            return fault.action
        return None


def answer(status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> Action:
    """Answers without executing the request, e.g. `answer(429, headers={"Retry-After": "3"})`."""

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        payload = {"message": f"sandbox fault {status}"} if body is None else body
        response = (
            Response(payload, status, headers)
            if isinstance(payload, str)
            else JSONResponse(payload, status, headers)
        )
        await response(scope, receive, send)

    return act


def first(call: Callable[[], object]) -> Action:
    """Calls `call`, then answers as usual: for a change between two pages, or credentials that expire."""

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        call()
        await app(scope, receive, send)

    return act


def page_size(items: int) -> Action:
    """Lists hold at most `items` entries (0 is allowed); their links to the next page stay correct."""

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        scope[PAGE_SIZE] = items
        await app(scope, receive, send)

    return act


def proxy_page(status: int) -> Action:
    """Answers as a proxy before the tracker does, with an HTML page for people."""
    page = "<!doctype html><html><title>Sign in</title><h1>One moment, please</h1></html>"
    return answer(status, page, {"Content-Type": "text/html; charset=utf-8"})


def redirect(location: str, status: int = 302) -> Action:
    return answer(status, "", {"Location": location})


def as_stranger() -> Action:
    """Ignores the request's credentials, as if they had expired; not every route then answers 401."""

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [pair for pair in scope["headers"] if pair[0] != b"authorization"]
        await app({**scope, "headers": headers}, receive, send)

    return act


def after_work(then: Action) -> Action:
    """Executes the request and discards its answer; `then` answers in its place."""

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        async def swallow(message: Message) -> None:
            return None

        await app(scope, receive, swallow)
        await then(app, scope, receive, send)

    return act


def lose_answer() -> Action:
    """Executes the request, then drops the connection without a byte of answer."""
    return after_work(drop())


def drop() -> Action:
    """Drops the connection without executing the request."""

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        await _drop_connection(scope)

    return act


def hang() -> Action:
    """Never answers; ends when the client disconnects or the server stops."""

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        await _wait_for_disconnect(receive)

    return act


def drip(seconds: float = 0.02) -> Action:
    """A valid answer that never ends: one blank every `seconds`, until the client disconnects."""

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        start, _ = await answer_of(app, scope, receive)
        await send({**start, "headers": [(b"content-type", b"application/json")]})
        disconnected = asyncio.ensure_future(_wait_for_disconnect(receive))
        while not disconnected.done():
            await send({"type": "http.response.body", "body": b" ", "more_body": True})
            await asyncio.wait({disconnected}, timeout=seconds)

    return act


def truncate() -> Action:
    """Sends the headers of the whole answer and half of its body, then drops the connection."""

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        start, body = await answer_of(app, scope, receive)
        await send(start)
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        await asyncio.sleep(0)  # sends the first half before the connection is dropped
        await _drop_connection(scope)

    return act


def rewrite(change: Callable[[Any], Any]) -> Action:
    """Answers with `change(body)` in place of the JSON body."""

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        start, body = await answer_of(app, scope, receive)
        changed = change(json.loads(body))
        await JSONResponse(changed, start["status"])(scope, receive, send)

    return act


def is_last(value: bool) -> Action:
    """A search answer whose `isLast` is `value`, whether or not it has a next token."""
    return rewrite(lambda body: {**body, "isLast": value})


def repeat_token() -> Action:
    """A list that names the same next page each time: Jira by its token, GitHub by its link."""
    tokens: list[str] = []

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        start, content = await answer_of(app, scope, receive)
        body = json.loads(content)
        if isinstance(body, list):
            response = JSONResponse(body, headers=link_to(scope, page="1"))
        else:
            tokens.extend([body["nextPageToken"]] if "nextPageToken" in body else [])
            again = {"nextPageToken": tokens[0], "isLast": False} if tokens else {}
            response = JSONResponse({**body, **again}, start["status"])
        await response(scope, receive, send)

    return act


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def link_to(scope: Scope, page: str) -> dict[str, str]:
    """A GitHub `Link` header whose next page is `page` of the same list."""
    query = {**dict(parse_qsl(scope["query_string"].decode())), "page": page}
    address = f"http://{Headers(scope=scope)['host']}{scope['path']}?{urlencode(query)}"
    return {"Link": f'<{address}>; rel="next"'}


async def answer_of(app: ASGIApp, scope: Scope, receive: Receive) -> tuple[Message, bytes]:
    """The answer of `app`: its `http.response.start` message, and the whole body."""
    messages: list[Message] = []

    async def keep(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, keep)
    return messages[0], b"".join(message.get("body", b"") for message in messages[1:])


async def _drop_connection(scope: Scope) -> None:
    """Drops the connection, which `server.Connection` puts into the scope."""
    scope["state"][TRANSPORT].abort()
    # The server must notice the loss before this function returns, or it would try to answer 500.
    await scope["state"][LOST].wait()
