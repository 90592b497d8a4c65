"""Valid but unexpected answers: an empty page after the last one, times in the user's own time zone."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response

from connectors.sandbox.faults import Action, answer_of, link_to

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

JIRA_TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000")


def empty_last_page() -> Action:
    """A list with one empty page after its last page."""
    last = "the-page-after-the-last"

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        request_body = await _read_body(receive)
        if last.encode() in request_body:
            await JSONResponse({"issues": [], "isLast": True})(scope, receive, send)
            return
        start, content = await answer_of(app, scope, _replay(request_body))
        body, headers = json.loads(content), Headers(raw=start["headers"])
        link = {"Link": headers["link"]} if "link" in headers else {}
        if isinstance(body, list) and body and not link:
            link = link_to(scope, page="9999")
        elif isinstance(body, dict) and body.get("issues") and "nextPageToken" not in body:
            body |= {"nextPageToken": last, "isLast": False}
        await JSONResponse(body, start["status"], link)(scope, receive, send)

    return act


def in_zone(name: str) -> Action:
    """Times as Jira shows them to a user whose profile has the time zone `name`."""
    zone = ZoneInfo(name)

    def there(found: re.Match[bytes]) -> bytes:
        moment = datetime.fromisoformat(found[0].decode()).astimezone(zone)
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}{moment:%z}".encode()

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        start, body = await answer_of(app, scope, receive)
        shown = JIRA_TIME.sub(there, body)
        await Response(shown, start["status"], media_type="application/json")(scope, receive, send)

    return act


async def _read_body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


def _replay(body: bytes) -> Receive:
    """A `receive` that gives the body again, after another reader has consumed it."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    return receive
