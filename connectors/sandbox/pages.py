"""Plain ticket pages of the simulated trackers: read, edit, comment, ask Northing for a sync.

The pages work without JavaScript; with it, the comments refresh by themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from connectors.sandbox.controls import control_routes, is_local_request
from connectors.sandbox.page_backend import PageBackend, Ticket, TicketChange
from connectors.sandbox.tracker import CONTROL, Tracker

if TYPE_CHECKING:
    from starlette.requests import Request

SyncNow = Callable[[], Awaitable[str]]

SYNC_SECONDS = 120
SAFE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
TEMPLATES = Environment(
    loader=PackageLoader("connectors.sandbox"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
STATIC = {"style.css": "text/css", "ticket.js": "text/javascript"}


def page_routes(tracker: Tracker, backend: PageBackend, sync_now: SyncNow | None) -> list[Route]:
    """`sync_now` runs one sync and returns a sentence to show; with None the pages have no sync button."""
    pages = _Pages(backend, sync_now)
    return [
        Route("/", pages.index),
        *(Route(CONTROL + name, _static(name, kind)) for name, kind in STATIC.items()),
        Route(f"{CONTROL}sync", pages.sync, methods=["POST"]),
        *control_routes(tracker),
        Route(backend.ticket_route, pages.ticket, methods=["GET"]),
        Route(backend.ticket_route, pages.change, methods=["POST"]),
    ]


class _Pages:
    def __init__(self, backend: PageBackend, sync_now: SyncNow | None) -> None:
        self.backend, self.sync_now = backend, sync_now
        self.last_answer = ""

    async def index(self, request: Request) -> Response:
        return self._page("index.html", request, groups=self.backend.groups())

    async def ticket(self, request: Request) -> Response:
        """The ticket as the person in `?as=` sees it; with `?part=comments`, its comments alone."""
        found = self.backend.find(self.backend.ref(request.path_params), request.query_params.get("as"))
        if found is None:
            return _refusal(404, "No such ticket.")
        if found.path != request.url.path:  # the path has an earlier key
            return RedirectResponse(found.path, 302)
        person = request.query_params.get("as", found.people[0])
        if person not in found.people:
            return RedirectResponse(found.path, 302)
        name = "comments.html" if request.query_params.get("part") == "comments" else "ticket.html"
        return self._page(name, request, ticket=found, person=person)

    async def change(self, request: Request) -> Response:
        if not is_local_request(request, by_browser=True):
            return _refusal(403, "This form was not sent from this page.")
        ref, chosen = self.backend.ref(request.path_params), request.query_params.get("as")
        found = self.backend.find(ref, chosen)
        if found is None:
            return _refusal(404, "No such ticket.")
        person = found.people[0] if chosen is None else chosen
        if person not in found.people:
            return _refusal(403, f"{person} does not see this ticket.")
        form = await request.form()
        change = TicketChange(*(str(form.get(name, "")) for name in ("do", "text", "comment")))
        try:
            self.backend.act(found, ref, person, change)
        except ValueError as error:
            return _refusal(400, str(error))
        except PermissionError as error:
            return _refusal(403, str(error))
        return RedirectResponse(_address(found, person), 303)

    async def sync(self, request: Request) -> Response:
        if not is_local_request(request, by_browser=True):
            return _refusal(403, "This form was not sent from this page.")
        if self.sync_now is None:
            return _refusal(404, "Nothing to sync with.")
        try:
            async with asyncio.timeout(SYNC_SECONDS):
                self.last_answer = await self.sync_now()
        except TimeoutError:
            self.last_answer = f"No answer within {SYNC_SECONDS} seconds."
        form = await request.form()
        back = str(form.get("back", "/"))
        if not back.startswith("/") or back.startswith(("//", "/\\")):
            back = "/"
        return RedirectResponse(f"{back}{'&' if '?' in back else '?'}synced=1", 303)

    def _page(self, name: str, request: Request, **values: Any) -> Response:
        answer = self.last_answer if "synced" in request.query_params else ""
        ticket, person = values.get("ticket"), values.get("person")
        html = TEMPLATES.get_template(name).render(
            site=self.backend.title,
            look=self.backend.look,
            path=_address(ticket, person) if ticket and person else request.url.path,
            can_sync=self.sync_now is not None,
            answer=answer,
            **values,
        )
        return HTMLResponse(html, headers=SAFE_HEADERS)


def _address(ticket: Ticket, person: str) -> str:
    """The address of the ticket's page as this person sees it."""
    return ticket.path if person == ticket.people[0] else f"{ticket.path}?{urlencode({'as': person})}"


def _refusal(status: int, words: str) -> Response:
    return PlainTextResponse(words, status, SAFE_HEADERS)


def _static(name: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        assert isinstance(TEMPLATES.loader, PackageLoader)
        text, _, _ = TEMPLATES.loader.get_source(TEMPLATES, name)
        return Response(text, media_type=kind, headers={"X-Content-Type-Options": "nosniff"})

    return answer
