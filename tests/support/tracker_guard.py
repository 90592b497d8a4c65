"""Reads along inside a served tracker, and holds every exchange against the vendor's description."""

from __future__ import annotations

import re

import httpx
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.support.exchanges import check_request, check_response
from tests.support.vendor_api import Description

# The ticket pages and controls of the simulated trackers are no part of any description.
API_PATHS = re.compile(r"(/api/v3)?/(rest|user|meta|rate_limit|orgs|repos|repositories)(/|$)")


class Guard:
    """An ASGI wrapper that checks every exchange; `serve(tracker, through=guard.around)`.

    A request that the tracker refused with 4xx is not checked itself: refusing is what a test asked for.
    `found` says what did not fit; a test that wants to see everything has `exchanges`.
    """

    def __init__(self, description: Description) -> None:
        self.description = description
        self.found: list[str] = []
        self.exchanges: list[tuple[httpx.Request, httpx.Response]] = []

    def around(self, app: ASGIApp) -> ASGIApp:
        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            answered: list[Message] = []
            sent = [await receive()]
            while sent[-1].get("more_body"):
                sent.append(await receive())
            body = b"".join(message.get("body", b"") for message in sent)

            async def reading() -> Message:
                return sent.pop(0) if sent else await receive()

            async def writing(message: Message) -> None:
                answered.append(message)
                await send(message)

            await app(scope, reading, writing)
            if API_PATHS.match(scope["path"]):
                self._note(scope, body, answered)

        return guarded

    def _note(self, scope: Scope, sent: bytes, answered: list[Message]) -> None:
        """Without an answer, as when a fault drops the connection, only the request is checked."""
        query = f"?{scope['query_string'].decode()}" if scope["query_string"] else ""
        url = f"http://tracker{scope['raw_path'].decode()}{query}"
        request = httpx.Request(scope["method"], url, headers=scope["headers"], content=sent)
        if not answered:
            self.found += check_request(request, self.description)
            return
        content = b"".join(message.get("body", b"") for message in answered[1:])
        response = httpx.Response(answered[0]["status"], headers=answered[0]["headers"], content=content)
        self.exchanges.append((request, response))
        if not response.is_client_error:
            self.found += check_request(request, self.description)
        self.found += check_response(request, response, self.description)
