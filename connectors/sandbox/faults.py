"""What can go wrong between a tracker and its client: a queue of faults, and the actions it knows.

An action stands in for the tracker's routes for one request, as an ASGI wrapper; a new kind of trouble is
one more function here and needs no change elsewhere. The vendors' limits are in `limits`, tricks with good
answers in `tricks`; `named` lists what another process may ask for.
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
    """Fits requests by a glob over "METHOD /path"; lets `skip` pass, then strikes `left` times."""

    match: str
    action: Action
    skip: int
    left: int | None
    struck: int = 0
    name: str = ""


class Faults:
    """The first fault that fits and is not used up strikes. An empty queue is a healthy tracker."""

    def __init__(self) -> None:
        self._queue: list[Fault] = []

    def add(
        self, match: str, action: Action, *, times: int | None = 1, skip: int = 0, name: str = ""
    ) -> Fault:
        """`times=None` is for ever. `Fault.struck` of the returned value counts."""
        fault = Fault(match, action, skip, times, name=name)
        self._queue.append(fault)
        return fault

    def clear(self) -> None:
        self._queue.clear()

    def all(self) -> list[Fault]:
        """Also those that are used up, oldest first."""
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
    """Refuses without doing the work, e.g. `answer(429, headers={"Retry-After": "3"})`."""

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
    """Calls `call`, then answers as usual: a change in the middle of a walk, credentials that die."""

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        call()
        await app(scope, receive, send)

    return act


def page_size(items: int) -> Action:
    """Lists carry at most so many items (also none) and still say truly where they go on."""

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        scope[PAGE_SIZE] = items
        await app(scope, receive, send)

    return act


def proxy_page(status: int) -> Action:
    """What stands before the tracker answers, with a page for people."""
    page = "<!doctype html><html><title>Sign in</title><h1>One moment, please</h1></html>"
    return answer(status, page, {"Content-Type": "text/html; charset=utf-8"})


def redirect(location: str, status: int = 302) -> Action:
    return answer(status, "", {"Location": location})


def as_stranger() -> Action:
    """Answers as to somebody who sends no credentials: they died, and not every route says so."""

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [pair for pair in scope["headers"] if pair[0] != b"authorization"]
        await app({**scope, "headers": headers}, receive, send)

    return act


def after_work(then: Action) -> Action:
    """Does the work; what its answer becomes is `then`'s to say."""

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        async def swallow(message: Message) -> None:
            return None

        await app(scope, receive, swallow)
        await then(app, scope, receive, send)

    return act


def lose_answer() -> Action:
    """Does the work, then drops the connection without a byte of answer."""
    return after_work(drop())


def drop() -> Action:
    """Drops the connection before any work is done."""

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        await _drop(scope)

    return act


def hang() -> Action:
    """Never answers; ends when the client gives up or the server stops."""

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        await _gone(receive)

    return act


def drip(seconds: float = 0.02) -> Action:
    """A good answer that never ends: a blank every so often, until the client gives up."""

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        start, _ = await answer_of(app, scope, receive)
        await send({**start, "headers": [(b"content-type", b"application/json")]})
        gone = asyncio.ensure_future(_gone(receive))
        while not gone.done():
            await send({"type": "http.response.body", "body": b" ", "more_body": True})
            await asyncio.wait({gone}, timeout=seconds)

    return act


def truncate() -> Action:
    """Promises the whole answer, sends half of its body and drops the connection."""

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        start, body = await answer_of(app, scope, receive)
        await send(start)
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        await asyncio.sleep(0)  # lets the half leave before the connection goes
        await _drop(scope)

    return act


def rewrite(change: Callable[[Any], Any]) -> Action:
    """Answers `change(body)` in place of a JSON body."""

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        start, body = await answer_of(app, scope, receive)
        changed = change(json.loads(body))
        await JSONResponse(changed, start["status"])(scope, receive, send)

    return act


def is_last(value: bool) -> Action:
    """A search answer whose `isLast` says `value`, whatever its token says."""
    return rewrite(lambda body: {**body, "isLast": value})


def repeat_token() -> Action:
    """A list that gives the same next page again and again: Jira's token, GitHub's link."""
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


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def link_to(scope: Scope, page: str) -> dict[str, str]:
    """The same list at another page, as GitHub's `Link` names the next one."""
    query = {**dict(parse_qsl(scope["query_string"].decode())), "page": page}
    address = f"http://{Headers(scope=scope)['host']}{scope['path']}?{urlencode(query)}"
    return {"Link": f'<{address}>; rel="next"'}


async def answer_of(app: ASGIApp, scope: Scope, receive: Receive) -> tuple[Message, bytes]:
    """What `app` answers: how it starts, and the whole body."""
    messages: list[Message] = []

    async def keep(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, keep)
    return messages[0], b"".join(message.get("body", b"") for message in messages[1:])


async def _drop(scope: Scope) -> None:
    """Only the server has the connection: `server.Connection` puts it into the scope."""
    scope["state"][TRANSPORT].abort()
    # The server must have seen the loss before we return, or it would try to answer 500.
    await scope["state"][LOST].wait()
