"""Which kind of tracker answers at an address, asked without a login."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import httpx

from connectors.base import BadPayload, Unavailable
from connectors.http_body import ACCEPTED, BoundedBody
from connectors.json import parse_json
from connectors.network import Network, http_client, no_connection

if TYPE_CHECKING:
    from connectors.network import Route

SECONDS = 10.0
_MOST_BYTES = 64 * 1024


class _Question(NamedTuple):
    """A path at which a tracker of this kind says what it is, with this member; `api` is where its API is."""

    kind: str
    path: str
    member: str
    api: str = ""


_QUESTIONS = (
    _Question("jira", "/rest/api/3/serverInfo", "versionNumbers"),
    _Question("jira", "/rest/api/2/serverInfo", "versionNumbers"),  # Data Center has no version 3
    _Question("github", "/meta", "verifiable_password_authentication"),
    _Question("github", "/api/v3/meta", "verifiable_password_authentication", "/api/v3"),
)


async def kind_at(network: Network, base_url: str) -> tuple[str, str] | None:
    """The kind of the tracker at `base_url` and the address of its API; None where neither kind answers.

    Nothing of an answer is kept. Raises `Blocked` where no call can be made, and `Unavailable` where no
    connection is.
    """
    route = network.route(base_url)
    route.check()
    async with http_client(network, route.proxy, httpx.Timeout(SECONDS)) as client:
        asked = (_says(client, base_url, question, route) for question in _QUESTIONS)
        answers = await asyncio.gather(*asked, return_exceptions=True)
    for question, answer in zip(_QUESTIONS, answers, strict=True):
        if answer is True:
            return question.kind, f"{base_url}{question.api}"
    unreached = next((answer for answer in answers if isinstance(answer, BaseException)), None)
    if unreached is not None:
        raise unreached
    return None


async def _says(client: httpx.AsyncClient, base_url: str, question: _Question, route: Route) -> bool:
    host = httpx.URL(base_url).host
    try:
        async with (
            asyncio.timeout(SECONDS),
            client.stream(
                "GET",
                f"{base_url}{question.path}",
                headers={"Accept-Encoding": ACCEPTED, "User-Agent": "northing"},
            ) as answer,
        ):
            if answer.status_code != httpx.codes.OK:
                return False
            body, size = BoundedBody(answer.headers.get("content-encoding")), 0
            async for piece in answer.aiter_raw():
                size += len(piece)
                if size > _MOST_BYTES:
                    return False
                body.take(piece)
            about = parse_json(body.whole())
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        raise no_connection(error, host, route.proxy) from None
    except (httpx.HTTPError, TimeoutError):
        raise Unavailable(f"{host} did not answer.") from None
    except (BadPayload, ValueError):
        return False
    return isinstance(about, dict) and question.member in about
