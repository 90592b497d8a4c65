"""Webhooks posted to the door, signed as GitHub signs them."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import httpx

from tests.support.world import OFF, World

SECRET = "a secret of the tracker's"
ISSUE = {"id": 10_001, "number": 7, "labels": [], "repository_url": "https://api.github.com/repos/acme/shop"}
EDITED = {"action": "edited", "issue": ISSUE, "repository": {"full_name": "acme/shop"}}
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


def signature(body: bytes, secret: str = SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def headers(body: bytes, **others: str | None) -> dict[str, str]:
    """Those of a webhook of GitHub's; another value replaces one, None takes it away."""
    made: dict[str, str | None] = {
        "content-type": JSON,
        "x-github-event": "issues",
        "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        "x-hub-signature-256": signature(body),
    }
    made |= {name.replace("_", "-"): value for name, value in others.items()}
    return {name: value for name, value in made.items() if value is not None}


async def post(
    world: World,
    payload: Any = None,
    name: str = "github",
    body: bytes | None = None,
    secret: str = SECRET,
    **others: str | None,
) -> httpx.Response:
    """The answer to `body`, or to `payload` as JSON, signed with `secret`; `others` as in `headers`."""
    sent = json.dumps(EDITED if payload is None else payload).encode() if body is None else body
    signed = {"x_hub_signature_256": signature(sent, secret), **others}
    return await world.api.post(f"/webhooks/{name}", content=sent, headers=headers(sent, **signed))


async def connect(world: World, **members: Any) -> None:
    scope = {"repositories": ["acme/shop"]}
    await world.connect_github(scope=scope, webhook_secret=SECRET, notices=OFF, **members)


async def delivery(world: World, answer: httpx.Response) -> Any:
    assert answer.status_code == 202, answer.text
    return await world.send("GET", f"/deliveries/{answer.json()['delivery']}")
