"""Plain ticket pages of the simulated trackers: read, edit, comment, ask Northing to look now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from connectors.sandbox.desk import Desk
from connectors.sandbox.tracker import CONTROL, Tracker

SyncNow = Callable[[], Awaitable[str]]

SYNC_SECONDS = 120
LONGEST_LABEL = 50
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
SAFE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
TEMPLATES = Environment(
    loader=PackageLoader("connectors.sandbox"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


def page_routes(tracker: Tracker, desk: Desk, sync_now: SyncNow | None) -> list[Route]:
    """`sync_now` does one sync and answers with a sentence to show; without it there is no button."""
    pages = _Pages(tracker, desk, sync_now)
    return [
        Route("/", pages.index),
        Route(f"{CONTROL}style.css", pages.style),
        Route(f"{CONTROL}requests", pages.requests, methods=["GET"]),
        Route(f"{CONTROL}requests", pages.forget_requests, methods=["DELETE"]),
        Route(f"{CONTROL}sync", pages.sync, methods=["POST"]),
        Route(desk.ticket_route, pages.ticket, methods=["GET"]),
        Route(desk.ticket_route, pages.change, methods=["POST"]),
    ]


class _Pages:
    def __init__(self, tracker: Tracker, desk: Desk, sync_now: SyncNow | None) -> None:
        self.tracker, self.desk, self.sync_now = tracker, desk, sync_now
        self.last_answer = ""

    async def index(self, request: Request) -> Response:
        return self._page("index.html", request, groups=self.desk.groups())

    async def ticket(self, request: Request) -> Response:
        found = self.desk.find(self.desk.ref(request.path_params))
        if found is None:
            return HTMLResponse("No such ticket.", 404, SAFE_HEADERS)
        if found.path != request.url.path:  # an earlier key
            return RedirectResponse(found.path, 302)
        return self._page("ticket.html", request, ticket=found, person=self.desk.person)

    async def change(self, request: Request) -> Response:
        refused = _refused(request)
        if refused:
            return refused
        ref = self.desk.ref(request.path_params)
        found = self.desk.find(ref)
        if found is None:
            return HTMLResponse("No such ticket.", 404, SAFE_HEADERS)
        form = await request.form()
        act = self.desk.actions(ref).get(str(form.get("do", "")))
        if act is None:
            return HTMLResponse("Unknown form.", 400, SAFE_HEADERS)
        try:
            act(str(form.get("text", "")))
        except ValueError as error:
            return HTMLResponse(
                str(error), 400, {**SAFE_HEADERS, "Content-Type": "text/plain; charset=utf-8"}
            )
        return RedirectResponse(found.path, 303)

    async def sync(self, request: Request) -> Response:
        refused = _refused(request)
        if refused:
            return refused
        if self.sync_now is None:
            return HTMLResponse("Nothing to sync with.", 404, SAFE_HEADERS)
        try:
            async with asyncio.timeout(SYNC_SECONDS):
                self.last_answer = await self.sync_now()
        except TimeoutError:
            self.last_answer = f"No answer within {SYNC_SECONDS} seconds."
        form = await request.form()
        back = str(form.get("back", "/"))
        local = back.startswith("/") and not back.startswith(("//", "/\\"))
        return RedirectResponse(f"{back if local else '/'}?synced=1", 303)

    async def style(self, request: Request) -> Response:
        css, _, _ = _loader().get_source(TEMPLATES, "style.css")
        return Response(css, media_type="text/css", headers={"X-Content-Type-Options": "nosniff"})

    async def requests(self, request: Request) -> Response:
        """For a bench or a test in another process: how many requests there were, and of which kind."""
        log = self.tracker.log
        return JSONResponse({"total": log.count(), "by_line": log.tally()}, headers=SAFE_HEADERS)

    async def forget_requests(self, request: Request) -> Response:
        self.tracker.log.clear()
        return Response(None, 204)

    def _page(self, name: str, request: Request, **values: Any) -> Response:
        answer = self.last_answer if "synced" in request.query_params else ""
        html = TEMPLATES.get_template(name).render(
            site=self.desk.title,
            path=request.url.path,
            can_sync=self.sync_now is not None,
            answer=answer,
            **values,
        )
        return HTMLResponse(html, headers=SAFE_HEADERS)


def _loader() -> PackageLoader:
    assert isinstance(TEMPLATES.loader, PackageLoader)
    return TEMPLATES.loader


def _refused(request: Request) -> Response | None:
    """A form of another site must not act here, nor a name of another site that points to this machine."""
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname
    origin = request.headers.get("origin")
    fetch_site = request.headers.get("sec-fetch-site")
    same = (
        fetch_site in {"same-origin", "none"}
        if fetch_site
        else origin is not None and urlsplit(origin).netloc == request.headers.get("host")
    )
    if host in LOOPBACK and same:
        return None
    return HTMLResponse("This form was not sent from this page.", 403, SAFE_HEADERS)


def labels_of(text: str) -> list[str]:
    """Labels from a form's line, separated by commas. Raises ValueError for one that is too long."""
    labels = list(dict.fromkeys(part.strip() for part in text.replace("\n", ",").split(",") if part.strip()))
    if any(len(label) > LONGEST_LABEL for label in labels):
        raise ValueError(f"A label has at most {LONGEST_LABEL} characters.")
    return labels
