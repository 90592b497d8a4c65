"""One request to Jira: its thread, its time limits, and its result or error."""

from __future__ import annotations

import asyncio
import base64
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload
from urllib.parse import urlsplit

import requests
from jira import JIRA
from urllib3.exceptions import HTTPError, NewConnectionError

from connectors.base import BadPayload, ConnectorError, Gone, Rejected, Unanswered, Unavailable
from connectors.http_body import ACCEPTED, BoundedBody, TooLarge, answer_in_memory, redact
from connectors.jira.errors import ADDRESS, NoSuchCall, error_of
from connectors.jira.http_adapter import AbortableAdapter
from connectors.json import OverLimit, parse_json
from connectors.network import no_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from connectors.clock import Clock
    from connectors.network import Network
    from connectors.timeouts import Timeouts

THREADS = 4
_PIECE = 64 * 1024

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Begun(Generic[T]):
    """A request that is under way, since `at` (seconds of `time.monotonic`)."""

    path: str
    future: Future[T]
    at: float
    write: bool = False
    not_found_is_gone: bool = False


class JiraTransport:
    """Sends authenticated requests to one site's REST API v3. Raises the errors of `connectors.base`.

    `jira.JIRA` is the authenticated session. It is not thread-safe, so each of our few threads has its own.
    These threads also decode the JSON and read it into values, which keeps the event loop free. `requests`
    counts the calls made. `headers` are those of the latest response, whatever its status, with lower-case
    names; it came at `received_at` (UTC). `site` is the address without a slash at its end.
    """

    def __init__(
        self, site: str, email: str, token: str, timeouts: Timeouts, clock: Clock, network: Network
    ) -> None:
        self.requests = 0
        self._counting = threading.Lock()
        self.headers: Mapping[str, str] = {}
        self._clock = clock
        self.received_at = clock()
        self.site = site
        self._host = urlsplit(site).netloc
        self._auth = (email, token)
        self._secrets = (token, base64.b64encode(f"{email}:{token}".encode()).decode())
        self._timeouts = timeouts
        self._trusted, self._route = network.trusted, network.route(site)
        self._timeout = (timeouts.connect, timeouts.read)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="jira")
        self._local = threading.local()
        self._clients: list[JIRA] = []
        self._connections: list[AbortableAdapter] = []

    async def aclose(self) -> None:
        """End all running calls and close the connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for connections in self._connections:
            connections.cut()
        await asyncio.to_thread(self._threads.shutdown)
        for client in self._clients:
            client.close()  # type: ignore[no-untyped-call]

    async def write(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        """A request that changes the ticket. Raises `Unanswered` if its answer is lost, `Gone` for a 404."""
        return await self._call(method, path, None, body, _as_it_is, write=True, not_found_is_gone=True)

    async def remove(self, path: str) -> None:
        """A request that deletes. Its response has no content. Raises as `write` does."""
        await self._call("DELETE", path, None, None, _as_it_is, write=True, not_found_is_gone=True)

    @overload
    async def call(
        self, method: str, path: str, params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None, *, not_found_is_gone: bool = False, anonymous: bool = False,
    ) -> Any: ...  # fmt: skip

    @overload
    async def call(
        self, method: str, path: str, params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None, *, read: Callable[[Any], T], not_found_is_gone: bool = False,
    ) -> T: ...  # fmt: skip

    async def call(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        *,
        read: Callable[[Any], Any] | None = None,
        not_found_is_gone: bool = False,
        anonymous: bool = False,
    ) -> Any:
        """A request that changes nothing. Returns its JSON, or what `read` makes of it in the thread.

        `not_found_is_gone`: a 404 means that the ticket is not there (`Gone`). Otherwise a 404 means that the
        site does not know the call (`NoSuchCall`); if no other call gives the same, a person has to act.
        `anonymous`: without our login, as everyone may ask.
        """
        return await self._call(
            method,
            path,
            params,
            body,
            read or _as_it_is,
            write=False,
            not_found_is_gone=not_found_is_gone,
            anonymous=anonymous,
        )

    async def _call(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None,
        body: Mapping[str, Any] | None,
        read: Callable[[Any], Any],
        *,
        write: bool,
        not_found_is_gone: bool,
        anonymous: bool = False,
    ) -> Any:
        def work() -> Any:
            return read(self._send(method, path, params, body, write, anonymous))

        return await self.ended(self._begun(path, work, write=write, not_found_is_gone=not_found_is_gone))

    def begin(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any],
        read: Callable[[Any], T],
        then: Callable[[Any], None],
    ) -> Begun[T]:
        """As `call`, from any thread; `ended` gives the result. `then` is called with the JSON before `read`,
        in the thread that read the answer."""

        def work() -> T:
            answer = self._send(method, path, None, body, False, False)
            then(answer)
            return read(answer)

        return self._begun(path, work)

    def _begun(
        self, path: str, work: Callable[[], T], *, write: bool = False, not_found_is_gone: bool = False
    ) -> Begun[T]:
        self._route.check()
        with self._counting:
            self.requests += 1

        def in_memory() -> T:
            with answer_in_memory():
                return work()

        return Begun(path, self._threads.submit(in_memory), monotonic(), write, not_found_is_gone)

    async def ended(self, begun: Begun[T]) -> T:
        # A page may have been asked for long before the caller has room for it.
        left = None if begun.future.done() else begun.at + self._timeouts.total - monotonic()
        try:
            async with asyncio.timeout(left):
                return await asyncio.wrap_future(begun.future)
        except TimeoutError:
            raise self._silence(begun.write, f"within {self._timeouts.total:g} s") from None
        except (Gone, NoSuchCall) as error:
            if begun.not_found_is_gone and isinstance(error, Gone):
                raise
            unknown = f"{self.site} does not know the call {begun.path}. {error.message}"
            raise NoSuchCall(unknown, ADDRESS) from error

    def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None,
        body: Mapping[str, Any] | None,
        write: bool,
        anonymous: bool,
    ) -> Any:
        try:
            # The base class's method on purpose: the one of `jira` repeats a POST after a lost connection
            # and fails on error bodies that are not objects.
            response = requests.Session.request(
                self._session(),
                method,
                f"{self.site}/rest/api/3/{path}",
                params=params,
                json=body,
                headers={"Accept-Encoding": ACCEPTED},
                auth=_no_login if anonymous else None,
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            )
            with response:
                headers = {name.lower(): value for name, value in response.headers.items()}
                self.headers, self.received_at = headers, self._clock()
                raw = _content(response)
        except (requests.RequestException, HTTPError) as error:
            # Without the cause, because its text may repeat the request.
            raise self._no_answer(error, write) from None
        except (BadPayload, Unavailable) as error:  # of the body: the request was sent
            if write:
                raise Unanswered(error.message) from None
            raise
        content = raw if response.status_code < 300 else redact(raw, self._secrets)
        wrong = error_of(
            response.status_code, headers, content, write=write, now=self._clock(), login=not anonymous
        )
        if wrong is not None:
            raise wrong
        if response.status_code == requests.codes.no_content:
            return None
        try:
            return parse_json(raw)
        except ValueError as error:
            if write:
                raise Unanswered("Jira accepted the request, but its answer could not be read.") from None
            if isinstance(error, OverLimit):
                raise TooLarge(f"Jira's answer to {path} is not read: {error}.") from None
            raise BadPayload(f"Jira's answer to {path} is not JSON, or is incomplete.") from None

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            client = JIRA(
                self.site,
                options={"rest_api_version": "3"},
                basic_auth=self._auth,
                get_server_info=False,
                max_retries=0,
                timeout=self._timeout,
            )
            connections = AbortableAdapter(self._trusted, self._route.proxy)
            session = client._session  # noqa: SLF001  # the library gives it no public name
            for scheme in ("https://", "http://"):
                session.mount(scheme, connections)
            # The session reads neither proxies nor certificates nor a .netrc from the environment.
            session.trust_env = False
            session.proxies = {} if self._route.proxy is None else {"https": self._route.proxy.url}
            session.get_redirect_target = _nowhere  # type: ignore[method-assign]
            self._local.session = session
            self._clients.append(client)
            self._connections.append(connections)
        return session

    def _no_answer(self, error: Exception, write: bool) -> ConnectorError:
        if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)):
            return Rejected(f"{self.site} is not an address that can be called.", "Correct base_url.")
        # urllib3 gives a reason if no request was sent: no route, no such name, no TLS handshake.
        reason = getattr(error.args[0], "reason", None) if error.args else None
        handshake = isinstance(error, requests.exceptions.SSLError) and reason is not None
        unsent = isinstance(error, (requests.ConnectTimeout, requests.exceptions.ProxyError))
        if handshake or unsent or isinstance(reason, NewConnectionError):
            return no_connection(error, self._host, self._route.proxy)
        return self._silence(write, "before the connection broke")

    def _silence(self, write: bool, when: str) -> Unavailable:
        kind = Unanswered if write else Unavailable
        return kind(f"{self._host} did not answer {when}.")


def _nowhere(resp: requests.Response) -> None:
    """No address, for every redirect. Although no redirect is followed, `requests` would else read its whole
    body and its address, however large or wrong they are, to prepare the next request."""


def _no_login(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Takes the place of the session's login. A cookie from an earlier answer could be one as well."""
    request.headers.pop("Cookie", None)
    return request


def _content(response: requests.Response) -> bytes:
    """The body of the response. Raises `BadPayload` if it is too large."""
    body = BoundedBody(response.headers.get("content-encoding"))
    for piece in response.raw.stream(_PIECE, decode_content=False):
        body.take(piece)
    return body.whole()


def _as_it_is(answer: Any) -> Any:
    return answer
