"""One request to GitHub: gidgethub knows the protocol, httpx sends the request."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urljoin, urlsplit

import httpx
from gidgethub import GitHubException
from gidgethub.abc import GitHubAPI

from connectors.base import BadPayload, ConnectorError, Rejected, Unanswered, Unavailable
from connectors.github.errors import Moved, error_of
from connectors.github.pace import Pace
from connectors.github.payloads import web_base
from connectors.http_body import ACCEPTED, BoundedBody, TooLarge, answer_in_memory, redact
from connectors.json import OverLimit, parse_json
from connectors.markup import quoted
from connectors.network import http_client, no_connection
from connectors.rate_limits import ResponseMeta, budget_spent_until, response_meta

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from connectors.base import Wait
    from connectors.clock import Clock
    from connectors.network import Network
    from connectors.timeouts import Timeouts

# The oldest version that GitHub still serves; GHES knows it too. Version 2026-03-10 removes members.
# https://docs.github.com/rest/about-the-rest-api/api-versions
API_VERSION = "2022-11-28"

_ACCEPT = "application/vnd.github+json"
_IF_NONE_MATCH = "if-none-match"
_REDIRECTS = {301, 302, 303, 307, 308}
_HOPS = 3
_LARGE = 256 * 1024  # takes some milliseconds to decode

NOT_GITHUB = "See that base_url is the address of GitHub's API, and that no proxy answers in its place."

# What gidgethub raises when the status is good and it cannot read the body.
_UNREADABLE = (ValueError, RecursionError, GitHubException)


# https://www.rfc-editor.org/rfc/rfc9110#name-etag; GitHub's are weak ones of some 70 characters.
_TAG = re.compile(r'(W/)?"[\x21\x23-\x7e]{1,200}"')


class NotModified(Exception):
    """The answer is still the one that has the tag which the request named."""


class Read(NamedTuple):
    """`next_page` is the address as GitHub gave it; None at the end. `tag`: of this answer; None without."""

    data: Any
    next_page: str | None
    tag: str | None


class _Answer(NamedTuple):
    status: int
    headers: httpx.Headers
    content: bytes


class GitHubTransport(GitHubAPI):
    """gidgethub with an httpx client of our own. Raises the errors of `connectors.base`.

    gidgethub's own httpx adapter is not used: it uses another package where that is installed.
    `calls` counts the requests sent, `uncounted` those of them that GitHub does not count: a request that
    names the tag of an answer which is still the same. `headers` are those of the latest response, whatever
    its status, looked up in any case; `response_meta` is what they say, or those that began a pause. No
    request is sent before `paused_until` (UTC), by `clock`. `wait`: as of `Connector.keep_pace`.
    """

    def __init__(self, base_url: str, token: str, timeouts: Timeouts, clock: Clock, network: Network) -> None:
        super().__init__("northing", oauth_token=token, base_url=base_url)
        self.calls = self.uncounted = 0
        self.headers: Mapping[str, str] = httpx.Headers()
        self.response_meta = ResponseMeta()
        self.paused_until: datetime | None = None
        self.clock = clock
        self.wait: Wait | None = None
        self._pace = Pace()
        self._host = urlsplit(base_url).netloc
        self._origin = _origin(base_url)
        self._web = web_base(base_url)
        self._token = token
        self._timeouts = timeouts
        timeout = httpx.Timeout(timeouts.read, connect=timeouts.connect)
        self._route = network.route(base_url)
        self._http = http_client(network, self._route.proxy, timeout)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def sleep(self, seconds: float) -> None:
        """Never called: a connector does not sleep, its caller decides when to wait."""
        raise RuntimeError(f"a connector does not sleep ({seconds} s)")

    async def keep_pace(self) -> None:
        """Before each request that others go beside: have the caller wait as long as the limit asks for."""
        limited = self.response_meta.budget is not None  # GHES has no limits unless they are turned on
        if limited and self.wait is not None and (seconds := self._pace.take(time.monotonic())):
            await self.wait(seconds)

    async def page(self, url: str, url_vars: Mapping[str, str]) -> tuple[list[Any], str | None]:
        """One page of a list, and the next page's address as GitHub gave it; None at the end."""
        data, following, _ = await self.tagged_page(url, url_vars)
        return data, following

    async def item(self, url: str, url_vars: Mapping[str, str]) -> Any:
        return (await self.tagged(url, url_vars)).data

    async def tagged_page(self, url: str, url_vars: Mapping[str, str], tag: str | None = None) -> Read:
        """As `page`, with the answer's tag. Raises `NotModified`."""
        read = await self.tagged(url, url_vars, tag)
        if not isinstance(read.data, list):
            raise BadPayload(f"GitHub's answer to {quoted(url, 200)} is no list.", NOT_GITHUB)
        return read

    async def send(self, method: str, url: str, url_vars: Mapping[str, str], data: Any) -> dict[str, Any]:
        """A request that changes the ticket. Raises `Unanswered` if its answer is lost or unreadable."""
        try:
            with answer_in_memory():
                answer, _, _ = await self._make_request(method, url, url_vars, data, _ACCEPT)
        except _UNREADABLE as error:
            raise Unanswered("GitHub accepted the request, but its answer could not be read.") from error
        if not isinstance(answer, _Body) or not isinstance(answer.value, dict):
            raise Unanswered("GitHub accepted the request, but its answer could not be read.")
        return answer.value

    async def remove(self, url: str, url_vars: Mapping[str, str]) -> None:
        """A request that deletes. Only 204 confirms the deletion; any other answer may come from a proxy."""
        try:
            _, _, status = await self._make_request("DELETE", url, url_vars, b"", _ACCEPT)
        except _UNREADABLE as error:
            raise Unanswered("GitHub accepted the request, but its answer could not be read.") from error
        if status != 204:
            raise Unanswered("GitHub accepted the request, but its answer could not be read.")

    async def tagged(self, url: str, url_vars: Mapping[str, str], tag: str | None = None) -> Read:
        """An answer with its tag. `tag`: that of the answer that is known. Raises `NotModified`.

        A tag is of one token, one version and one address: `Accept` and the version are always the same here.
        https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api#use-conditional-requests-if-appropriate
        """
        only_if = None if tag is None else {_IF_NONE_MATCH: tag}
        try:
            with answer_in_memory():
                body, following, _ = await self._make_request(
                    "GET", url, url_vars, b"", _ACCEPT, extra_headers=only_if
                )
        except _UNREADABLE as error:
            raise BadPayload(
                f"GitHub's answer to {quoted(url, 200)} could not be read.", NOT_GITHUB
            ) from error
        if not isinstance(body, _Body) or not isinstance(body.value, (dict, list)):
            raise BadPayload(f"GitHub's answer to {quoted(url, 200)} could not be read.", NOT_GITHUB)
        return Read(body.value, following, body.tag)

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
    ) -> tuple[int, Mapping[str, str], bytes]:
        """gidgethub calls this for each request. It follows redirects of a GET on this host only."""
        for _ in range(_HOPS + 1):
            answer = await self._answer(method, url, headers, body)
            location = answer.headers.get("location")
            if method != "GET" or answer.status not in _REDIRECTS or not location:
                break
            url = urljoin(url, location)
        if answer.status == 304 and _IF_NONE_MATCH in headers:
            raise NotModified
        write = method != "GET"
        content = answer.content if answer.status < 300 else redact(answer.content, [self._token])
        wrong = error_of(answer.status, answer.headers, content, write=write, now=self.clock(), web=self._web)
        if isinstance(wrong, Moved) and not write:
            raise BadPayload("GitHub's redirects lead to no answer.", NOT_GITHUB)
        if wrong is not None:
            raise wrong
        return await _decoded(answer, url, write=write)

    async def _answer(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> _Answer:
        # All requests are sent here, so the token never goes to another host that a link or redirect names.
        if (origin := _origin(url)) != self._origin:
            raise Rejected(
                f"{self._host} leads to another host or login{f', {quoted(origin.host)}' if origin else ''}.",
                "Set base_url to the API's current address; Northing sends the token to no other host.",
            )
        self._route.check()
        now = self.clock()
        if self.paused_until is not None and now < self.paused_until:
            # GitHub may ban a client that sends requests while none are left.
            raise Unavailable("GitHub limits our requests.", (self.paused_until - now).total_seconds())
        self.calls += 1
        ours = {**headers, "x-github-api-version": API_VERSION, "accept-encoding": ACCEPTED}
        try:
            async with (
                asyncio.timeout(self._timeouts.total),
                self._http.stream(method, url, headers=ours, content=body) as response,
            ):
                self._record_headers(response)
                self.uncounted += response.status_code == 304 and _IF_NONE_MATCH in headers
                return _Answer(response.status_code, response.headers, await _content(response))
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            # Without the cause, because its text may repeat the request.
            raise self._no_answer(error, write=method != "GET") from None
        except (BadPayload, Unavailable) as error:  # of the body: the request was sent
            if method == "GET":
                if isinstance(error, TooLarge):
                    error.next_page = _next_page(response.headers)
                raise
            raise Unanswered(error.message) from None

    def _record_headers(self, response: httpx.Response) -> None:
        now = self.clock()
        meta = response_meta(response.headers, now)
        if response.status_code == 401:  # the limit is then the one for anonymous requests, not our token's
            meta = replace(meta, budget=None)
        self.headers, until = response.headers, budget_spent_until(meta, now)
        # Nothing is sent during a pause, so this was sent before it began and does not end it.
        if self.paused_until is None or now >= self.paused_until or (until or now) > self.paused_until:
            self.response_meta, self.paused_until = meta, until

    def _no_answer(self, error: Exception, *, write: bool) -> ConnectorError:
        if isinstance(error, (httpx.InvalidURL, httpx.UnsupportedProtocol)):
            return Rejected("base_url is not an address that can be called.", "Correct base_url.")
        unsent = httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError
        if isinstance(error, unsent):
            return no_connection(error, self._host, self._route.proxy)
        kind = Unanswered if write else Unavailable
        return kind(f"{self._host} did not answer before the connection or our time limit ended.")


async def _content(response: httpx.Response) -> bytes:
    """The body of the response. Raises `BadPayload` if it is too large."""
    body = BoundedBody(response.headers.get("content-encoding"))
    async for piece in response.aiter_raw():
        body.take(piece)
    return body.whole()


class _Body(NamedTuple):
    value: Any
    tag: str | None


class _Decoded(bytes):
    """A body that is decoded already. gidgethub returns what `decode` gives where a body is not JSON."""

    body: _Body

    def decode(self, *_: Any, **__: Any) -> Any:
        return self.body


async def _decoded(answer: _Answer, url: str, *, write: bool) -> _Answer:
    """The answer with its JSON decoded by `parse_json`, in a thread where it is large.

    gidgethub would decode it without a bound, in the encoding that the answer names. Raises `ValueError`,
    `TooLarge`, or `Unanswered` for a write.
    """
    if not answer.content:
        return answer
    try:
        if len(answer.content) > _LARGE:
            value = await asyncio.to_thread(parse_json, answer.content)
        else:
            value = parse_json(answer.content)
    except OverLimit as over:
        if write:
            raise Unanswered("GitHub accepted the request, but its answer could not be read.") from None
        error = TooLarge(f"GitHub's answer to {quoted(url, 200)} is not read: {over}.")
        error.next_page = _next_page(answer.headers)
        raise error from None
    body, tag = _Decoded(b"decoded"), answer.headers.get("etag", "")
    body.body = _Body(value, tag if _TAG.fullmatch(tag) else None)
    return _Answer(answer.status, httpx.Headers({**answer.headers, "content-type": "text/plain"}), body)


def _next_page(headers: httpx.Headers) -> str | None:
    return httpx.Response(200, headers=headers).links.get("next", {}).get("url")


class _Origin(NamedTuple):
    scheme: str
    host: str
    port: int | None
    login: bytes


def _origin(url: str) -> _Origin | None:
    """Where a request to `url` goes, and with which login; None if `url` is no address.

    The client that sends the request parses the address, because two parsers may see different hosts in it.
    """
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        return None
    return _Origin(address.scheme, address.host, address.port, address.userinfo)
