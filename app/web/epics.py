"""The list of epics, to settle one after the other, and an epic's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, get_args
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.deps import CallerDep, RuntimeDep, SessionDep
from app.api.epic_filters import EpicFilterQuery
from app.api.epics import ReadEpics, read_epics
from app.api.paging import CursorParameter, Cursors
from app.api.problems import field_errors
from app.auth.roles import Caller
from app.runtime import Runtime
from app.web.epic_changes import (
    DAYS_AHEAD,
    Asked,
    change_selected,
    days_to_choose,
    link_selected,
)
from app.web.epic_rows import Row, read_rows
from app.web.forms import wrong_fields
from app.web.page import done, page
from app.web.router import Form, FormDep, check_may, here, needs, redirect
from mappings.errors import Conflict, Invalid
from mappings.evaluation.context import load_key_results
from mappings.goals.key_results import KeyResult, is_live
from mappings.lists.epics import Sort, count_open_epics
from mappings.tables import SourceProjectRow
from mappings.views.operations import delete_view, save_view, views_of

router = APIRouter()

A_PAGE = 25
MOST_NAMED = 200  # key results and projects that a field offers
NEWEST = "-created"
TABS = ("unaligned", "aligned", "waived", "exempt", "")


@dataclass(frozen=True, slots=True)
class Tab:
    words: str
    query: str
    count: int | None = None
    saved: bool = False


class View:
    """What the address asks for: filters, order, and where in the list. `query`: as an address has it, in one
    way for all addresses that ask for the same."""

    def __init__(self, request: Request, cursor: Cursors) -> None:
        names = [*EpicFilterQuery.model_fields, "sort"]
        sent = {name: request.query_params[name].strip() for name in names if name in request.query_params}
        if not sent.keys() - {"sort"}:
            sent["alignment"] = "unaligned"
        sent.setdefault("open", "true")
        self.sent, self.cursor = sent, cursor
        self.values = {name: value for name, value in sent.items() if value}

    async def read(self, runtime: Runtime, session: AsyncSession) -> ReadEpics:
        """Raises `Invalid` with all that is wrong, by field."""
        given = {} if self.cursor.sent is not None else {**self.values}
        sort: Any = given.pop("sort", NEWEST) if self.cursor.sent is None else None
        if sort not in (None, *get_args(Sort)):
            raise Invalid("sort", f"must be one of {', '.join(get_args(Sort))}")
        try:
            filters = EpicFilterQuery.model_validate(given)
        except ValidationError as error:
            first, *more = field_errors(error)
            raise Invalid(*first, more=more) from None
        read = await read_epics(runtime, session, filters, sort, A_PAGE, self.cursor)
        self.values = {name: _text(value) for name, value in read.filters.items() if value is not None}
        return read

    @property
    def query(self) -> str:
        return query_of(self.values)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def query_of(values: Mapping[str, str]) -> str:
    """The query of an address: alignment and open are always named, for their absence has a meaning."""
    named = {"alignment": "", "open": "", **values}
    if named.get("sort") == NEWEST:
        del named["sort"]
    return urlencode(sorted(named.items()))


async def _view(request: Request, cursor: CursorParameter) -> View:
    assert cursor is not None
    return View(request, cursor)


ViewDep = Annotated[View, Depends(_view)]


@router.get("/epics", dependencies=[needs("GET /epics")])
async def list_epics(
    request: Request, runtime: RuntimeDep, session: SessionDep, caller: CallerDep, view: ViewDep
) -> HTMLResponse:
    """Without a filter: open epics that are unaligned. With one: all open ones that fit."""
    return await _show(request, runtime, session, caller, view)


@router.post("/epics", dependencies=[needs("GET /epics")])
async def change_epics(
    request: Request,
    form: FormDep,
    runtime: RuntimeDep,
    session: SessionDep,
    caller: CallerDep,
    view: ViewDep,
) -> Response:
    """Views are everybody's own; what changes epics needs the role of the API's operation."""
    act, epics, place = _meant(form)
    try:
        match act:
            case "save":
                await _save_view(runtime, session, caller, view, form.get("name"))
                return redirect(request, f"/epics?{view.query}")
            case "forget":
                async with runtime.transaction() as own:
                    await delete_view(own, caller.who, form.get("name"))
                return redirect(request, "/epics")
            case "link":
                check_may(caller, "POST /links/bulk")
                changed = await link_selected(runtime, caller, _pairs(form, epics))
            case "waive" | "snooze":
                check_may(caller, f"POST /findings/{{id}}/{act}")
                if "until" not in form.values():
                    asked = Asked(act, _chosen(epics), place)
                    return await _show(request, runtime, session, caller, view, asked=asked)
                values = form.get("until"), form.get("reason")
                changed = await change_selected(runtime, caller, act, _chosen(epics), *values)
            case _:
                return redirect(request, here(request))
    except (Conflict, Invalid) as error:
        errors = wrong_fields(error)
        asks = Asked(act, epics, place, form.values()) if act in (*DAYS_AHEAD, "link") and epics else None
        return await _show(request, runtime, session, caller, view, asked=asks, errors=errors, status=422)
    if not changed.steps and not changed.fine:
        asks = Asked(act, epics, place, form.values()) if act == "link" else None
        errors = {"": changed.text}
        return await _show(request, runtime, session, caller, view, asked=asks, errors=errors, status=422)
    return await done(request, session, changed.text, undo=changed.steps)


def _meant(form: Form) -> tuple[str, list[str], str]:
    """What the pressed button says: the act, the epics it is about, and where it stands."""
    if form.get("link"):
        return "link", [form.get("link")], "row"
    for act in DAYS_AHEAD:
        if form.get(act):
            return act, [form.get(act)], "row"
    return form.get("do"), form.all("epic"), form.get("place") or "bulk"


def _pairs(form: Form, epics: Sequence[str]) -> list[tuple[str, str]]:
    """Each epic with the key result it is to be linked to."""
    if form.get("link"):
        epic, _, goal = form.get("link").rpartition(" ")
        return [(epic, goal)]
    goal = form.get("key_result")
    if not goal:
        raise Invalid("key_result", "is needed: name the one to link to")
    return [(epic, goal) for epic in _chosen(epics)]


def _chosen(epics: Sequence[str]) -> Sequence[str]:
    if not epics:
        raise Invalid("", "No epic is selected. Tick the boxes of those that you mean.")
    return epics


async def _save_view(runtime: Runtime, session: AsyncSession, caller: Caller, view: View, name: str) -> None:
    await view.read(runtime, session)  # nobody saves what cannot be shown
    async with runtime.transaction() as own:
        await save_view(own, caller.who, name, view.query, await runtime.now(own))


async def _show(
    request: Request,
    runtime: Runtime,
    session: AsyncSession,
    caller: Caller,
    view: View,
    *,
    asked: Asked | None = None,
    errors: Mapping[str, str] | None = None,
    status: int = 200,
) -> HTMLResponse:
    errors = dict(errors or {})
    goals = await load_key_results(session)
    read: ReadEpics | None = None
    rows: list[Row] = []
    try:
        read = await view.read(runtime, session)
        rows = await read_rows(runtime, session, read, goals)
    except Invalid as error:
        errors, status = {**wrong_fields(error), **errors}, 422
    now = await runtime.now(session)
    tabs = await _tabs(session, caller)
    values = {
        "rows": rows,
        "next": None if read is None else read.next,
        "values": view.values,
        "query": view.query,
        "tabs": tabs,
        "counts": {tab.query: tab.count for tab in tabs},
        "present": next((tab for tab in tabs if tab.query == view.query), None),
        "defaults": [
            query_of({"alignment": name, "open": "true"} if name else {"open": "true"}) for name in TABS
        ],
        "is_default": view.query == tabs[0].query,
        "goals": _offered(goals, rows, now),
        "projects": await _projects(session),
        "checks": [check.name for check in runtime.checks if check.about == "epic"],
        "asked": asked,
        "selected": set(asked.epics) if asked is not None and asked.place == "bulk" else set(),
        **days_to_choose(now),
        "typed": request.state.form.get("name") if "name" in errors else "",
        "errors": errors,
    }
    return await page(request, session, "epics.html", values, status)


async def _tabs(session: AsyncSession, caller: Caller) -> list[Tab]:
    counts = await count_open_epics(session)
    tabs = []
    for alignment in TABS:
        values = {"open": "true"} | ({"alignment": alignment} if alignment else {})
        count = counts.get(alignment, 0) if alignment else sum(counts.values())
        tabs.append(Tab(alignment.capitalize() or "All open", query_of(values), count))
    saved = await views_of(session, caller.who)
    return [*tabs, *(Tab(view.name, view.query, saved=True) for view in saved)]


def _offered(goals: Mapping[int, KeyResult], rows: Sequence[Row], now: Any) -> list[KeyResult]:
    """The live key results to choose from: first those suggested for most of the rows."""
    times: dict[int, int] = {}
    for row in rows:
        for one in row.suggestions:
            times[one.key_result.id] = times.get(one.key_result.id, 0) + 1
    live = [goal for goal in goals.values() if is_live(goal, now)]
    return sorted(live, key=lambda goal: (-times.get(goal.id, 0), goal.id))[:MOST_NAMED]


async def _projects(session: AsyncSession) -> list[str]:
    keys = select(SourceProjectRow.key).distinct().order_by(SourceProjectRow.key).limit(MOST_NAMED)
    return list(await session.scalars(keys))
