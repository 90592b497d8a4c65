"""Controls over HTTP, for programs in another process: the webhook, its log, the requests, the faults.

`PUT /-/faults` with `{"fault": "limit", "match": "POST */comment", "times": 2, "skip": 1, "with": {"form":
"jira", "seconds": 30}}` adds a fault, see `fault_names`. `GET` lists the faults and how often each was
applied; `DELETE` removes them all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from connectors.sandbox.fault_names import add_named
from connectors.sandbox.tracker import CONTROL, Tracker
from connectors.sandbox.webhook_sender import Delivery, is_loopback

if TYPE_CHECKING:
    from connectors.sandbox.faults import Fault

NO_STORE = {"Cache-Control": "no-store"}


def control_routes(tracker: Tracker) -> list[Route]:
    """The routes below `CONTROL`. Those that change something refuse requests from pages of other sites."""
    controls = _Controls(tracker)
    table = [
        ("requests", controls.requests, "GET"),
        ("requests", controls.forget_requests, "DELETE"),
        ("webhook", controls.set_webhook, "PUT"),
        ("webhook", controls.stop_webhook, "DELETE"),
        ("deliveries", controls.deliveries, "GET"),
        ("deliveries/{id}", controls.send_again, "POST"),
        ("faults", controls.faults, "GET"),
        ("faults", controls.add_fault, "PUT"),
        ("faults", controls.end_faults, "DELETE"),
    ]
    return [
        Route(CONTROL + path, endpoint if method == "GET" else _local_only(endpoint), methods=[method])
        for path, endpoint, method in table
    ]


Endpoint = Callable[[Request], Awaitable[Response]]


def _local_only(endpoint: Endpoint) -> Endpoint:
    """Wrap the endpoint; a request that is not local (`is_local_request`) gets a 403."""

    async def guarded(request: Request) -> Response:
        if is_local_request(request):
            return await endpoint(request)
        return JSONResponse({"message": "This request was not sent from this machine's own programs."}, 403)

    return guarded


class _Controls:
    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker

    async def requests(self, request: Request) -> Response:
        """How many requests arrived, in total and for each "METHOD /path"."""
        log = self.tracker.log
        return JSONResponse({"total": log.count(), "by_line": log.count_by_line()}, headers=NO_STORE)

    async def forget_requests(self, request: Request) -> Response:
        self.tracker.log.clear()
        return Response(None, 204)

    async def set_webhook(self, request: Request) -> Response:
        """Takes `{"url", "secret"}`. With an empty secret the webhooks are unsigned, as at both vendors."""
        try:
            change = await request.json()
        except ValueError:
            return JSONResponse({"message": "The body is not JSON."}, 400)
        members = change if isinstance(change, dict) else {}
        url, secret = members.get("url"), members.get("secret")
        if set(members) != {"url", "secret"} or not isinstance(url, str) or not isinstance(secret, str):
            return JSONResponse({"message": 'Needed is {"url": "…", "secret": "…"}.'}, 400)
        try:
            self.tracker.webhook_sender.set(url, secret)
        except ValueError as error:
            return JSONResponse({"message": str(error)}, 422)
        return Response(None, 204)

    async def stop_webhook(self, request: Request) -> Response:
        self.tracker.webhook_sender.clear()
        return Response(None, 204)

    async def deliveries(self, request: Request) -> Response:
        """The deliveries sent, oldest first; `status` is null while there is no answer."""
        return JSONResponse([_delivery(one) for one in self.tracker.webhook_sender.sent], headers=NO_STORE)

    async def send_again(self, request: Request) -> Response:
        """Sends a delivery again under the same id. 202: the receiver's answer appears in the list later."""
        found = self.tracker.webhook_sender.send_again(request.path_params["id"])
        if found is None:
            return JSONResponse({"message": "There is no such delivery, or no webhook any more."}, 404)
        return JSONResponse(_delivery(found), 202)

    async def faults(self, request: Request) -> Response:
        """All faults, oldest first, including those that are used up."""
        return JSONResponse([_fault(one) for one in self.tracker.faults.all()], headers=NO_STORE)

    async def add_fault(self, request: Request) -> Response:
        try:
            change = await request.json()
        except ValueError:
            return JSONResponse({"message": "The body is not JSON."}, 400)
        try:
            return JSONResponse(_fault(add_named(self.tracker, change)), 201)
        except ValueError as error:
            return JSONResponse({"message": str(error)}, 422)

    async def end_faults(self, request: Request) -> Response:
        self.tracker.faults.clear()
        return Response(None, 204)


def _fault(one: Fault) -> dict[str, object]:
    return {
        "fault": one.name,
        "match": one.match,
        "skip": one.skip,
        "left": one.left,
        "struck": one.struck,
    }


def _delivery(one: Delivery) -> dict[str, object]:
    return {
        "id": one.id,
        "event": one.event,
        "action": one.action,
        "attempts": one.attempts,
        "status": one.status,
        "error": one.error,
    }


def is_local_request(request: Request, *, by_browser: bool = False) -> bool:
    """Whether this machine's own pages or programs sent the request.

    False if a page of another site sent it, or if `Host` is a foreign name that resolves to this machine (DNS
    rebinding). A program that is no browser sends no `Origin`. `by_browser`: the request is a form of our own
    pages, so `Sec-Fetch-Site` or `Origin` must be set.
    """
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname
    if host is None or not is_loopback(host):
        return False
    fetch_site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if fetch_site:
        return fetch_site in {"same-origin", "none"}
    if origin is None:
        return not by_browser
    return urlsplit(origin).netloc == request.headers.get("host")
