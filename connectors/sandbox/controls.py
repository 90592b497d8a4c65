"""Controls for a bench, a demo or a test in another process: the webhook, its log, the requests, the faults.

`PUT /-/faults` with `{"fault": "limit", "match": "POST */comment", "times": 2, "skip": 1, "with": {"form":
"jira", "seconds": 30}}` adds one, see `named`; `GET` lists them with how often each has struck; `DELETE` ends
them all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from connectors.sandbox.fault_names import add_named
from connectors.sandbox.faults import Fault
from connectors.sandbox.tracker import CONTROL, Tracker
from connectors.sandbox.webhook_sender import Delivery, is_loopback

NO_STORE = {"Cache-Control": "no-store"}


def control_routes(tracker: Tracker) -> list[Route]:
    """All of them refuse what a page of another site sends; other programs say no origin."""
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
        Route(CONTROL + path, endpoint if method == "GET" else _for_us(endpoint), methods=[method])
        for path, endpoint, method in table
    ]


Endpoint = Callable[[Request], Awaitable[Response]]


def _for_us(endpoint: Endpoint) -> Endpoint:
    """The endpoint for this machine's own programs alone."""

    async def guarded(request: Request) -> Response:
        if is_from_here(request):
            return await endpoint(request)
        return JSONResponse({"message": "This request was not sent from this machine's own programs."}, 403)

    return guarded


class _Controls:
    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker

    async def requests(self, request: Request) -> Response:
        """How many requests there were, and of which kind."""
        log = self.tracker.log
        return JSONResponse({"total": log.count(), "by_line": log.tally()}, headers=NO_STORE)

    async def forget_requests(self, request: Request) -> Response:
        self.tracker.log.clear()
        return Response(None, 204)

    async def set_webhook(self, request: Request) -> Response:
        """`{"url", "secret"}`; an empty secret sends unsigned webhooks, as both vendors do."""
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
        """What was sent, oldest first; `status` is null while there is no answer."""
        return JSONResponse([_shown(one) for one in self.tracker.webhook_sender.sent], headers=NO_STORE)

    async def send_again(self, request: Request) -> Response:
        """Under the same id. 202: the answer comes later, look for it in the list."""
        found = self.tracker.webhook_sender.send_again(request.path_params["id"])
        if found is None:
            return JSONResponse({"message": "There is no such delivery, or no webhook any more."}, 404)
        return JSONResponse(_shown(found), 202)

    async def faults(self, request: Request) -> Response:
        """Also those that are used up, oldest first."""
        return JSONResponse([_shown_fault(one) for one in self.tracker.faults.all()], headers=NO_STORE)

    async def add_fault(self, request: Request) -> Response:
        try:
            change = await request.json()
        except ValueError:
            return JSONResponse({"message": "The body is not JSON."}, 400)
        try:
            return JSONResponse(_shown_fault(add_named(self.tracker, change)), 201)
        except ValueError as error:
            return JSONResponse({"message": str(error)}, 422)

    async def end_faults(self, request: Request) -> Response:
        self.tracker.faults.clear()
        return Response(None, 204)


def _shown_fault(one: Fault) -> dict[str, object]:
    return {
        "fault": one.name,
        "match": one.match,
        "skip": one.skip,
        "left": one.left,
        "struck": one.struck,
    }


def _shown(one: Delivery) -> dict[str, object]:
    return {
        "id": one.id,
        "event": one.event,
        "action": one.action,
        "attempts": one.attempts,
        "status": one.status,
        "error": one.error,
    }


def is_from_here(request: Request, *, by_browser: bool = False) -> bool:
    """Whether no other site's page sent this, nor a name of another site that leads to this machine.

    `by_browser`: a form of our own pages, which always says where it comes from.
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
