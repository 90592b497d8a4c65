"""Errors as pages for people: what is wrong, and the way on."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from fastapi import Request
from sqlalchemy import select

from app.api.deps import get_runtime
from app.api.problems import DEFAULT_DETAILS, MAY_BE_OUTAGES, UNAVAILABLE
from app.base_path import own_path
from app.web.page import load_frame
from app.web.router import here, may, web_session
from app.web.templating import capitalize_first, render
from mappings.lookups import find_epic, find_source, why_removed
from mappings.tables import KeyResultRow, LinkRow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi.responses import HTMLResponse
    from sqlalchemy.ext.asyncio import AsyncSession

    from app.auth.sessions import WebSession

# First parts of the addresses that programs call; a browser may open them too, and gets what a program gets.
_FOR_PROGRAMS = {"api", "docs", "healthz", "metrics", "openapi.json", "readyz", "static", "webhooks"}
HEADINGS = {
    400: "This request could not be read",
    403: "Not allowed",
    404: "There is nothing here",
    405: "Nothing can be sent here this way",
    408: "The request did not come in time",
    409: "Something else is in the way",
    412: "This was changed meanwhile",
    413: "This is too large",
    422: "Something here is wrong",
    429: "Too many tries",
    500: "Something went wrong here",
    503: "One moment, please",
}
# Instead of what a program is told.
_DETAILS = {
    DEFAULT_DETAILS[404]: "The address may be mistyped, or what was here has another one by now.",
    DEFAULT_DETAILS[405]: "Open this address as a link, or go back and send the form of the page once more.",
}
_LISTS = {
    "epics": ("All open epics", "/epics"),
    "goals": ("All goals", "/goals"),
    "rules": ("All rules", "/rules"),
    "sources": ("All sources", "/sources"),
    "runs": ("All sources", "/sources"),
    "deliveries": ("All deliveries", "/deliveries"),
}
# They are posted to, and are no pages to come back to.
_NO_PAGES = ("/logout", "/undo")


def is_for_people(request: Request) -> bool:
    """Whether an error is answered with a page: on a page, and where a browser meets no route at all."""
    if getattr(request.state, "is_page", False):
        return True
    first = own_path(request.scope).split("/", 2)[1:2]
    return first != [] and first[0] not in _FOR_PROGRAMS and "text/html" in request.headers.get("accept", "")


async def error_page(
    request: Request, status: int, detail: str, headers: Mapping[str, str] | None = None
) -> HTMLResponse:
    """Of a person who is signed in with the header of every page, but for an error that the page itself may
    meet again, or where the database is away."""
    headers, detail = dict(headers or {}), _DETAILS.get(detail, detail)
    values: dict[str, Any] = {"status": status, "heading": HEADINGS.get(status, "This did not work")}
    me = None
    if status < 500:
        try:
            me, more = await _of_the_person(request, status)
            values |= more
        except MAY_BE_OUTAGES as error:
            if get_runtime(request).outages.record(error) is None:
                raise
    if status == 503:
        detail = _of_the_database(detail)
        values |= {"seconds": headers.get("Retry-After"), "again": request.method in ("GET", "HEAD")}
        if values["again"] and values["seconds"]:
            # Not by an element of the page, which some readers may not be able to stop.
            headers["Refresh"] = values["seconds"]
    ways = values.pop("ways", None) or _ways(request, status, me)
    return render(request, "error.html", {"detail": detail, "ways": ways, **values}, status, headers)


def _of_the_database(detail: str) -> str:
    """What a program is details of an outage, without what it is to do: the page does that by itself."""
    reason = detail.removeprefix(f"{UNAVAILABLE}: ").removesuffix(" Try again.")
    return capitalize_first(reason)


async def _of_the_person(request: Request, status: int) -> tuple[WebSession | None, dict[str, Any]]:
    """Who is signed in, and what their page shows besides."""
    me = await _who_is_signed_in(request)
    if me is None:
        return None, {}
    gone = await _what_it_was(request) if status == 404 else {}
    return me, await _frame(request, me) | gone


async def _who_is_signed_in(request: Request) -> WebSession | None:
    known: WebSession | None = getattr(request.state, "web_session", None)
    return known or await web_session(request)


async def _frame(request: Request, me: WebSession) -> dict[str, Any]:
    async with get_runtime(request).sessions() as session:
        frame = await load_frame(session, me.at)
    return {"me": me, "may": partial(may, me.caller), "frame": frame, "path": own_path(request.scope)}


def _ways(request: Request, status: int, me: WebSession | None) -> list[tuple[str, str]]:
    """Words and addresses; the first is the one that most people take."""
    base = request.scope.get("root_path", "")
    path = own_path(request.scope)
    overview = ("To the overview", f"{base}/")
    if request.method == "POST" and path not in _NO_PAGES:
        return [("Back to the page", base + here(request)), overview]
    if status == 503:
        return [("Try again now", base + here(request))]
    if me is None:
        return [overview, ("Sign in", f"{base}/login")]
    if status == 422 and request.url.query:
        return [("The page without filters", base + quote(path)), overview]
    words = _LISTS.get(path.split("/", 2)[1])
    return [overview] if words is None or status != 404 else [(words[0], base + words[1]), overview]


async def _what_it_was(request: Request) -> dict[str, Any]:
    """Of an epic that is gone: what is still known of it."""
    parts = own_path(request.scope).split("/", 3)
    if len(parts) != 4 or parts[1] != "epics":
        return {}
    base, key = request.scope.get("root_path", ""), unquote(parts[3])
    search = (f"Search for {key[:80]}", f"{base}/epics?q={quote(key[:200], safe='')}")
    values: dict[str, Any] = {"ways": [("All open epics", f"{base}/epics"), search]}
    async with get_runtime(request).sessions() as session:
        source = None if "\x00" in key else await find_source(session, parts[2])
        row = None if source is None else await find_epic(session, source, key)
        if row is None or row.removed_at is None:
            return values
        return values | {
            "heading": f"{row.key} is no longer here",
            "detail": f"{why_removed(row.key, row.removed_at, row.removal_reason)}. If it comes back, so do"
            " its links and its history.",
            "gone": row,
            "served": await _served(session, row.id),
        }


async def _served(session: AsyncSession, epic_id: int) -> list[tuple[str, str]]:
    """The key results that it was linked to, each with why."""
    query = (
        select(KeyResultRow.key, LinkRow.why)
        .join(LinkRow, LinkRow.key_result_id == KeyResultRow.id)
        .where(LinkRow.epic_id == epic_id)
        .order_by(LinkRow.is_primary.desc(), LinkRow.id)
        .limit(10)
    )
    return [(key, why) for key, why in await session.execute(query)]
