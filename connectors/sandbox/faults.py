"""What can go wrong between a tracker and its client: a queue of faults, and the actions it knows.

An action stands in for the tracker's routes for one request, as an ASGI wrapper; a new kind of trouble is
one more function here and needs no change elsewhere.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

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


class Faults:
    """The first fault that fits and is not used up strikes. An empty queue is a healthy tracker."""

    def __init__(self) -> None:
        self._queue: list[Fault] = []

    def add(self, match: str, action: Action, *, times: int | None = 1, skip: int = 0) -> Fault:
        """`times=None` is for ever. `Fault.struck` of the returned value counts."""
        fault = Fault(match, action, skip, times)
        self._queue.append(fault)
        return fault

    def clear(self) -> None:
        self._queue.clear()

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


def lose_answer() -> Action:
    """Does the work, then drops the connection without a byte of answer."""

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        async def swallow(message: Message) -> None:
            return None

        await app(scope, receive, swallow)
        await _drop(scope)

    return act


def drop() -> Action:
    """Drops the connection before any work is done."""

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        await _drop(scope)

    return act


def hang() -> Action:
    """Never answers; ends when the client gives up or the server stops."""

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    return act


def truncate() -> Action:
    """Promises the whole answer, sends half of its body and drops the connection."""

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        start, body = await _answer_of(app, scope, receive)
        await send(start)
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        await asyncio.sleep(0)  # lets the half leave before the connection goes
        await _drop(scope)

    return act


def rewrite(change: Callable[[Any], Any]) -> Action:
    """Answers `change(body)` in place of a JSON body."""

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        start, body = await _answer_of(app, scope, receive)
        changed = change(json.loads(body))
        await JSONResponse(changed, start["status"])(scope, receive, send)

    return act


def is_last(value: bool) -> Action:
    """A search answer whose `isLast` says `value`, whatever its token says."""
    return rewrite(lambda body: {**body, "isLast": value})


def repeat_token() -> Action:
    """A search that hands out its first page token again and again."""
    tokens: list[str] = []

    def change(body: Any) -> Any:
        if "nextPageToken" in body:
            tokens.append(body["nextPageToken"])
        return {**body, "nextPageToken": tokens[0], "isLast": False} if tokens else body

    return rewrite(change)


async def _answer_of(app: ASGIApp, scope: Scope, receive: Receive) -> tuple[Message, bytes]:
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
