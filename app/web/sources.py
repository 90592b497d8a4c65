"""Sources: whether each can be read, what is written on its tickets project by project, and its settings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.deliveries import list_deliveries
from app.api.deps import CallerDep, RuntimeDep, SessionDep
from app.api.paging import CursorParameter, Cursors
from app.api.problems import Problem, field_errors
from app.api.runs import list_runs
from app.api.source_models import FactOut, SourcePatch
from app.api.sources import (
    SyncIn,
    change_source,
    check_stored_source,
    delete_source,
    get_source,
    list_sources,
    sync_source,
)
from app.base_path import own_path
from app.runtime import Runtime
from app.source_answers import names_in
from app.web import connect
from app.web.forms import wrong_fields
from app.web.page import done, page
from app.web.router import Form, FormDep, needs
from app.web.runs import accept_of, load_progress
from connectors.addresses import is_loopback
from connectors.registry import KINDS
from mappings.errors import Conflict, DomainError, Invalid, StaleVersion
from mappings.lookups import source_at
from mappings.notices.withdrawal import count_comments_on_tickets
from mappings.policy.modes import mode_in, with_project
from mappings.sources.going_live import may_go_live, preview_of_live
from mappings.sources.project_list import list_projects
from mappings.sources.removals import held_removals
from mappings.tables import UNFINISHED_STATES, EpicRow, RunRow, SourceProjectRow, SourceRow

router = APIRouter()
router.include_router(connect.router)  # `/sources/new` before `/sources/{name}`

PROJECTS_SHOWN, RUNS_SHOWN, DELIVERIES_SHOWN = 50, 10, 5
EVERY_PROJECT = "*"


# --- the list -------------------------------------------------------------------------------------


@router.get("/sources", dependencies=[needs("GET /sources")])
async def show_sources(
    request: Request, runtime: RuntimeDep, session: SessionDep, cursor: CursorParameter = None
) -> HTMLResponse:
    found = await list_sources(runtime, session, 50, cursor)
    names = [source.name for source in found.items]
    ids, listed = {}, {}
    for id, name, number in await session.execute(_with_projects(names)):
        ids[name], listed[id] = id, number
    counted: dict[int, dict[str, int]] = {}
    for source_id, alignment, number in await session.execute(epics_by_source()):
        counted.setdefault(source_id, {})[alignment or "not evaluated"] = number
    values = {
        "items": [
            (source, counted.get(ids[source.name], {}), listed[ids[source.name]]) for source in found.items
        ],
        "next": found.next,
    }
    return await page(request, session, "sources.html", values)


def epics_by_source() -> Any:
    """Source, alignment and how many epics have both; read from an index alone."""
    listed = select(EpicRow.source_id, EpicRow.alignment, func.count()).where(EpicRow.removed_at.is_(None))
    return listed.group_by(EpicRow.source_id, EpicRow.alignment)


def _with_projects(names: list[str]) -> Any:
    """Id, name and number of projects of each of these sources."""
    projects = select(func.count()).where(SourceProjectRow.source_id == SourceRow.id).scalar_subquery()
    return select(SourceRow.id, SourceRow.name, projects).where(SourceRow.name.in_(names))


# --- one source -----------------------------------------------------------------------------------


@dataclass
class Shown:
    """What an action adds to the page: what is wrong, by form and field; what was typed; what was found."""

    form: str = ""
    errors: Mapping[str, str] | None = None
    typed: Mapping[str, str] | None = None
    facts: list[FactOut] | None = None
    secret: str | None = None
    status: int = 200


@router.get("/sources/{name}", dependencies=[needs("GET /sources/{name}")])
async def show_source(
    name: str,
    request: Request,
    runtime: RuntimeDep,
    session: SessionDep,
    live: Annotated[str | None, Query(max_length=1000)] = None,
    after: Annotated[str, Query(max_length=1000)] = "",
    disconnect: Annotated[str | None, Query(max_length=10)] = None,
    cursor: CursorParameter = None,
) -> HTMLResponse:
    """`live`: the project that somebody thinks of setting live, `*` for all; `after`: of the list of
    projects; `disconnect`: somebody thinks of that, too."""
    form = "" if disconnect is None else "disconnect"
    return await _show(request, runtime, session, name, Shown(form), live=live, after=after, cursor=cursor)


async def _show(
    request: Request,
    runtime: Runtime,
    session: AsyncSession,
    name: str,
    shown: Shown,
    *,
    live: str | None = None,
    after: str = "",
    cursor: CursorParameter = None,
) -> HTMLResponse:
    row = await source_at(session, name)
    source = await get_source(row.name, Response(), runtime, session)
    projects = await list_projects(session, row.id, after=after, limit=PROJECTS_SHOWN)
    runs = await list_runs(session, row.name, None, None, RUNS_SHOWN, cursor)
    unlisted = Cursors(None, runtime.signing.key("cursor"), "/deliveries")
    deliveries = await list_deliveries(session, row.name, None, DELIVERIES_SHOWN, unlisted)
    pages, steps = connect.webhook_help(row.kind, row.base_url, row.scope)
    allowed = await may_go_live(session, row, loopback=is_loopback(row.base_url))
    chosen = None
    if live is not None and allowed:
        chosen = await preview_of_live(session, row, None if live == EVERY_PROJECT else live)
    reading = await _reading_run(session, row)
    values = {
        "source": source,
        "version": row.version,
        "set_up": KINDS[row.kind].set_up,
        "modes": {one.key: mode_in(row.notices, one.key, row.named_projects) for one in projects.items},
        "projects": projects,
        "allowed": allowed,
        "live": chosen,
        "reading": None if reading is None else await load_progress(session, reading, row.name),
        "runs": runs,
        "deliveries": deliveries.items,
        "held": await held_removals(session, row.id),
        # To count them reads every notice, so only where it is asked for.
        "comments": await count_comments_on_tickets(session, row.id)
        if shown.form == "disconnect" or row.disconnecting_at is not None
        else None,
        "fields": _fields(row, shown),
        "credential_fields": [one for one in KINDS[row.kind].credentials.model_fields if one != "type"],
        "webhook_pages": pages,
        "webhook_steps": steps,
        "shown": shown,
        "plain_facts": [
            (fact, "") for fact in sorted(shown.facts or (), key=lambda one: connect.ORDER.index(one.state))
        ],
        "errors": shown.errors or {},
    }
    return await page(request, session, "source.html", values, shown.status)


async def _reading_run(session: AsyncSession, row: SourceRow) -> RunRow | None:
    """The run that reads now, else the one that is about to."""
    open_runs = select(RunRow).where(
        RunRow.source_id == row.id,
        RunRow.mode.in_(("incremental", "full")),
        RunRow.state.in_(("queued", *UNFINISHED_STATES)),
    )
    return await session.scalar(open_runs.order_by(RunRow.state == "queued", RunRow.id).limit(1))


@dataclass(frozen=True, slots=True)
class Setting:
    """A member of `scope` or `epics` as a field of the form. `kind`: `list`, `text` or `tick`."""

    name: str
    kind: str
    value: str


def _fields(row: SourceRow, shown: Shown) -> list[Setting]:
    """The members of scope and epics, as the models of the source's kind have them."""
    typed = shown.typed if shown.form == "scope" else None
    found = []
    for member in ("scope", "epics"):
        model, stored = getattr(KINDS[row.kind], member), getattr(row, member)
        for name in model.model_fields:
            value = stored.get(name)
            kind = "tick" if isinstance(value, bool) else "list" if _is_list(model, name) else "text"
            text = ", ".join(value or ()) if kind == "list" else ("on" if value is True else value or "")
            field = f"{member}.{name}"
            found.append(Setting(field, kind, str(text if typed is None else typed.get(field, ""))))
    return found


def _is_list(model: Any, name: str) -> bool:
    return "list[" in str(model.model_fields[name].annotation)


# --- what one can do ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Doing:
    """Who does something to which source, with what they typed. `about`: of the button, such as a project."""

    request: Request
    runtime: Runtime
    session: AsyncSession
    name: str
    who: str
    form: Form
    do: str
    about: str

    async def patch(
        self, patch: Mapping[str, Any], *, check: bool = False, version: int | None = None
    ) -> Any:
        """Change the source as PATCH does, in a transaction of its own. Raises as that does. `version`: that
        the patch was made of, where the form does not carry one."""
        try:
            body = SourcePatch.model_validate(patch)
        except ValidationError as error:
            (field, message), *more = field_errors(error)
            raise Invalid(field, message, more=more) from None
        seen = self.form.get("version") or (None if version is None else f'"{version}"')  # as If-Match has it
        async with self.runtime.transaction(self.who) as changing:
            return await change_source(self.name, body, Response(), self.runtime, changing, seen, check)


@router.post("/sources/{name}", dependencies=[needs("PATCH /sources/{name}")])
async def act_on_source(
    name: str,
    request: Request,
    form: FormDep,
    runtime: RuntimeDep,
    session: SessionDep,
    caller: CallerDep,
    live: Annotated[str | None, Query(max_length=1000)] = None,
    after: Annotated[str, Query(max_length=1000)] = "",
    cursor: CursorParameter = None,
) -> Response:
    do, _, about = form.get("do").partition(":")
    action = ACTIONS.get(do)
    if action is None:
        raise Problem(422, "There is no such button on this page.")
    try:
        found = await action(Doing(request, runtime, session, name, caller.who, form, do, about))
    except (Conflict, Invalid, Problem, StaleVersion) as error:
        found = _refused(do, form, error)
    if isinstance(found, Response):
        return found
    return await _show(request, runtime, session, name, found, live=live, after=after, cursor=cursor)


def _refused(do: str, form: Form, error: DomainError | Problem) -> Shown:
    typed = {field: text for field, text in form.values().items() if not field.startswith("credentials.")}
    if isinstance(error, StaleVersion):
        again = "Somebody changed this source meanwhile. Look at what it is now, and change it again."
        return Shown(do, {"": again}, status=412)
    errors: dict[str, str] = {}
    # A browser sends nothing of a box that is not ticked.
    fields = {"", "confirm", "comments", *form.values()}
    for field, message in wrong_fields(error).items():
        # What is wrong with a field that the form does not have is wrong with the form.
        at, text = (field, message) if field in fields else ("", f"{field}: {message}")
        errors[at] = f"{errors[at]} {text}" if at in errors else text
    return Shown(do, errors, typed, status=409 if isinstance(error, Conflict) else 422)


async def _sync(doing: Doing) -> Response:
    mode: Literal["incremental", "full"] = "full" if doing.do == "sync-full" else "incremental"
    async with doing.runtime.transaction(doing.who) as changing:
        run = await sync_source(doing.name, doing.runtime, changing, SyncIn(mode=mode))
    return await _said(doing, f"Run {run.id} reads {run.source}, {run.mode}.")


async def _said(doing: Doing, text: str) -> Response:
    return await done(doing.request, doing.session, text)


async def _check(doing: Doing) -> Shown:
    return Shown("check", facts=(await check_stored_source(doing.name, doing.runtime)).facts)


async def _set_mode(doing: Doing) -> Response:
    """`live`, `shadow` or `off`, in one project, or in all."""
    mode, project = doing.do, doing.about
    async with doing.runtime.sessions() as looking:
        row = await source_at(looking, doing.name)
        loopback = is_loopback(row.base_url)
        if mode == "live" and not await may_go_live(looking, row, loopback=loopback):
            raise Conflict(
                f"{row.name} cannot go live yet: a full sync has to succeed in shadow first. Sync it in full,"
                " look at what would be written, and set it live then."
            )
        keys = select(SourceProjectRow.key).where(SourceProjectRow.source_id == row.id)
        listed = list(await looking.scalars(keys.order_by(SourceProjectRow.key)))
        if project:
            notices = with_project(row.notices, project, mode == "live", listed, row.named_projects)
        else:
            notices = {"mode": mode, "projects": None}
    # Two people may set two projects live at once: what both wrote would be the one or the other.
    await doing.patch({"notices": notices}, version=row.version)
    where = project or doing.name
    what = {"live": "is live", "shadow": "is in shadow: no new comment is written", "off": "is off"}[mode]
    return await done(doing.request, doing.session, f"{where} {what}.", to=_address(doing))


def _address(doing: Doing) -> str:
    """Of the page without its query: the question that led there is answered."""
    return quote(own_path(doing.request.scope))


async def _set_limits(doing: Doing) -> Response:
    form = doing.form
    numbers: dict[str, Any] = {}
    for field, kind in (("per_run", int), ("per_day", int), ("max_share", float)):
        try:
            numbers[field] = kind(form.get(f"notices.{field}").removesuffix("%"))
        except ValueError:
            raise Invalid(f"notices.{field}", "must be a number") from None
    numbers["max_share"] = round(numbers["max_share"] / 100, 6)
    await doing.patch({"notices": numbers})
    return await _said(doing, f"The limits of {doing.name} are changed.")


async def _set_scope(doing: Doing) -> Response:
    async with doing.runtime.sessions() as looking:
        row = await source_at(looking, doing.name)
    patch: dict[str, dict[str, Any]] = {"scope": {}, "epics": {}}
    for setting in _fields(row, Shown()):
        member, _, name = setting.name.partition(".")
        text = doing.form.get(setting.name)
        value: Any = text or None
        if setting.kind == "list":
            value = names_in(text) or None
        elif setting.kind == "tick":
            value = bool(text)
        patch[member][name] = value
    changed = await doing.patch(patch, check=not doing.form.get("unchecked"))
    return await _said(doing, f"What {changed.name} reads is changed; a full run reads it.")


async def _set_timetable(doing: Doing) -> Response:
    await doing.patch(
        {"schedule": {name: doing.form.get(f"schedule.{name}") or None for name in ("every", "full")}}
    )
    return await _said(doing, f"The timetable of {doing.name} is changed.")


async def _set_login(doing: Doing) -> Response:
    async with doing.runtime.sessions() as looking:
        row = await source_at(looking, doing.name)
    credentials = {"type": row.credentials_type}
    for name in KINDS[row.kind].credentials.model_fields:
        if name != "type" and (text := doing.form.get(f"credentials.{name}")):
            credentials[name] = text
    await doing.patch(
        {"base_url": doing.form.get("base_url"), "credentials": credentials},
        check=not doing.form.get("unchecked"),
    )
    return await _said(doing, f"{doing.name} signs in with the new login.")


async def _new_secret(doing: Doing) -> Shown:
    return Shown("secret", secret=await connect.new_webhook_secret(doing.runtime, doing.who, doing.name))


async def _forget_secret(doing: Doing) -> Response:
    await doing.patch({"webhook_secret": None})
    return await _said(doing, f"{doing.name} takes no webhooks any more.")


async def _accept(doing: Doing) -> Response:
    if (run := doing.form.id("run")) is None:
        raise Problem(422, "Choose the run whose removals are meant.")
    return await accept_of(doing.request, doing.runtime, doing.session, doing.who, run)


async def _disconnect(doing: Doing) -> Response:
    """With the number of comments that the person was shown: another one has to be looked at first."""
    async with doing.runtime.sessions() as looking:
        row = await source_at(looking, doing.name)
        comments = await count_comments_on_tickets(looking, row.id)
    choice = doing.form.get("comments")
    if comments and choice not in ("leave", "withdraw"):
        raise Invalid("comments", f"choose what becomes of the {comments} comments on tickets")
    if doing.form.get("confirm") != str(comments):
        raise Invalid("confirm", f"tick this once you have seen that it is about {comments} comments")
    async with doing.runtime.transaction(doing.who) as changing:
        answer = await delete_source(doing.name, doing.runtime, changing, choice or None)  # type: ignore[arg-type]  # one of two
    if answer.status_code == 202:
        text = f"{row.name} goes once its {comments} comments are withdrawn."
        return await done(doing.request, doing.session, text, to=_address(doing))
    return await done(doing.request, doing.session, f"{row.name} is disconnected.", to="/sources")


ACTIONS: dict[str, Callable[[Doing], Awaitable[Shown | Response]]] = {
    "sync": _sync,
    "sync-full": _sync,
    "check": _check,
    "live": _set_mode,
    "shadow": _set_mode,
    "off": _set_mode,
    "limits": _set_limits,
    "scope": _set_scope,
    "timetable": _set_timetable,
    "login": _set_login,
    "secret": _new_secret,
    "forget-secret": _forget_secret,
    "accept": _accept,
    "disconnect": _disconnect,
}
