"""Good answers that are not as one expects: an empty page after the last, times in the user's own zone."""

from __future__ import annotations

import json
import re
from datetime import datetime
from zoneinfo import ZoneInfo

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from connectors.sandbox.faults import Action, answer_of, link_to

JIRA_TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000")


def empty_last_page() -> Action:
    """A list that names one page more after its last, with nothing on it."""
    last = "the-page-after-the-last"

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        asked = await _body_of(receive)
        if last.encode() in asked:
            await JSONResponse({"issues": [], "isLast": True})(scope, receive, send)
            return
        start, content = await answer_of(app, scope, _again(asked))
        body, headers = json.loads(content), Headers(raw=start["headers"])
        kept = {"Link": headers["link"]} if "link" in headers else {}
        if isinstance(body, list) and body and not kept:
            kept = link_to(scope, page="9999")
        elif isinstance(body, dict) and body.get("issues") and "nextPageToken" not in body:
            body |= {"nextPageToken": last, "isLast": False}
        await JSONResponse(body, start["status"], kept)(scope, receive, send)

    return act


def in_zone(name: str) -> Action:
    """Times as Jira shows them to a user whose profile has that time zone."""
    zone = ZoneInfo(name)

    def there(found: re.Match[bytes]) -> bytes:
        moment = datetime.fromisoformat(found[0].decode()).astimezone(zone)
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}{moment:%z}".encode()

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        start, body = await answer_of(app, scope, receive)
        shown = JIRA_TIME.sub(there, body)
        await Response(shown, start["status"], media_type="application/json")(scope, receive, send)

    return act


async def _body_of(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


def _again(body: bytes) -> Receive:
    """For who comes after one that has read the request already."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    return receive
