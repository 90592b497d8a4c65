"""Rules: the list in the order in which they are asked, and the editor with what a change would do."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.deps import CallerDep, RuntimeDep, SessionDep, validated
from app.api.paging import CursorParameter, Cursors
from app.api.problems import Problem
from app.api.rule_models import PreviewIn, PreviewOut, RuleIn
from app.api.rule_preview import preview_rule
from app.api.rules import list_rules
from app.runtime import Runtime
from app.web.forms import document_of, wrong_fields
from app.web.page import done, page
from app.web.router import Form, FormDep, check_may, needs, redirect
from app.web.rule_form import (
    KINDS,
    ConditionLine,
    RuleForm,
    as_json,
    as_lines,
    by_field,
    form_of,
    typed_form,
    when_of,
)
from mappings.errors import Conflict, DomainError, Invalid, StaleVersion
from mappings.lookups import find_sources
from mappings.previews.known_names import known_names, open_key_results
from mappings.rules import operations
from mappings.rules.condition import parse_condition
from mappings.rules.operations import RuleValues, rule_at, rule_order, values_of
from mappings.rules.order import moved_to
from mappings.rules.reports import report_rules
from mappings.rules.words import sentence
from mappings.tables import EpicRow, RuleRow, among

router = APIRouter()

RULES_A_PAGE = 100
EPICS_A_PAGE = 25
CHANGED_SINCE = "The rules were changed since you opened this page, so none was moved. They are as shown now."
CHANGED_MEANWHILE = (
    "Somebody changed this rule since you opened it, so nothing is saved. Open it again beside this page, "
    "and make your change there."
)
_Id = Annotated[int | None, Query(ge=1, lt=2**63)]


@router.get("/rules", dependencies=[needs("GET /rules")])
async def show_rules(
    request: Request,
    runtime: RuntimeDep,
    session: SessionDep,
    add: str | None = None,
    edit: _Id = None,
    delete: _Id = None,
    key_result: str | None = None,
    cursor: CursorParameter = None,
) -> HTMLResponse:
    """The list; with `add` or `edit` the editor, with `delete` the question whether to."""
    if add is not None:
        return await _editor(request, session, None, RuleForm(key_result=key_result or ""))
    if edit is not None:
        row = await rule_at(session, edit)
        return await _editor(request, session, row, form_of(await values_of(session, row), row.version))
    if delete is not None:
        return await _deletion(request, runtime, session, await rule_at(session, delete))
    return await _list(request, runtime, session, cursor, key_result=key_result)


@router.get("/rules/{id}", dependencies=[needs("GET /rules/{id}")])
async def show_rule(request: Request, id: Annotated[int, Path(ge=1, lt=2**63)]) -> RedirectResponse:
    """A short address of the editor."""
    return redirect(request, f"/rules?edit={id}")


@router.post("/rules", dependencies=[needs("POST /rules/preview")])
async def change_rules(
    request: Request,
    runtime: RuntimeDep,
    session: SessionDep,
    caller: CallerDep,
    form: FormDep,
    add: str | None = None,
    edit: _Id = None,
    delete: _Id = None,
    key_result: str | None = None,
    cursor: CursorParameter = None,
) -> Response:
    if add is not None or edit is not None:
        row = None if edit is None else await rule_at(session, edit)
        if form.get("do") == "save":
            check_may(caller, "POST /rules" if row is None else "PATCH /rules/{id}")
            return await _save(request, runtime, session, row, form)
        return await _edit(request, runtime, session, row, form)
    if delete is not None:
        check_may(caller, "DELETE /rules/{id}")
        return await _delete(request, runtime, session, await rule_at(session, delete))
    for name, enabled in (("enable", True), ("disable", False)):
        if form.get(name):
            check_may(caller, "PATCH /rules/{id}")
            return await _switch(request, runtime, session, _number(form.get(name), "rule"), enabled)
    check_may(caller, "PUT /rules/order")
    try:
        async with session.begin_nested():
            return await _move(request, runtime, session, form)
    except (Conflict, Invalid) as error:
        status = 409 if isinstance(error, Conflict) else 422
        detail = error.detail if isinstance(error, Conflict) else error.errors[0][1]
        return await _list(
            request, runtime, session, cursor, key_result=key_result, problem=detail, status=status
        )


# --- the list -------------------------------------------------------------------------------------


async def _list(
    request: Request,
    runtime: Runtime,
    session: AsyncSession,
    cursor: Cursors | None,
    *,
    key_result: str | None,
    problem: str | None = None,
    status: int = 200,
) -> HTMLResponse:
    order = await rule_order(session)
    listed = await list_rules(
        runtime, session, key_result=key_result, sort="order", limit=RULES_A_PAGE, cursor=cursor
    )
    places = {id: place for place, id in enumerate(order, 1)}
    values = {
        "rules": listed.items,
        "next": listed.next,
        "places": places,
        "sentences": {rule.id: sentence(parse_condition(rule.when)) for rule in listed.items},
        "seen": _digest(order),
        "key_result": key_result,
        "problem": problem,
    }
    return await page(request, session, "rules.html", values, status)


def _digest(order: Sequence[int]) -> str:
    return hashlib.sha256(",".join(map(str, order)).encode()).hexdigest()[:16]


async def _move(request: Request, runtime: Runtime, session: AsyncSession, form: Form) -> RedirectResponse:
    """One up or down by its button, or those whose numbers were changed."""
    order = await rule_order(session)
    if form.get("seen") != _digest(order):
        raise Conflict(CHANGED_SINCE)
    places = {id: place for place, id in enumerate(order, 1)}
    moved = _new_places(form, places)
    new = [id for id in order if id not in moved]
    for id, place in sorted(moved.items(), key=lambda pair: pair[1]):
        new = moved_to([*new, id], id, place)
    now = await runtime.now(session)
    _, runs = await operations.reorder_rules(session, new, now, seen=order)
    if new == order:
        return await done(request, session, "No rule has another place now.")
    text = await _moved_words(session, moved, new)
    if runs:
        text += f" The epics that {'it matches' if len(moved) == 1 else 'they match'} are evaluated again:"
    return await done(request, session, text, runs=runs)


def _new_places(form: Form, places: Mapping[int, int]) -> dict[int, int]:
    for name, step in (("up", -1), ("down", 1)):
        if form.get(name):
            id = _number(form.get(name), "rule")
            if id not in places:
                raise Conflict(CHANGED_SINCE)
            return {id: places[id] + step}
    moved = {}
    for id, place in places.items():
        typed = form.get(f"place.{id}")
        if typed and _number(typed, "place") != place:
            moved[id] = _number(typed, "place")
    return moved


def _number(text: str, what: str) -> int:
    try:
        return int(text[:12])
    except ValueError:
        raise Invalid(what, f"The {what} must be a whole number.") from None


async def _moved_words(session: AsyncSession, moved: Mapping[int, int], order: Sequence[int]) -> str:
    if len(moved) > 1:
        return f"{len(moved)} rules have another place."
    (id,) = moved
    name = await session.scalar(select(RuleRow.name).where(RuleRow.id == id))
    return f"Rule “{name}” is asked at place {order.index(id) + 1} of {len(order)}."


async def _switch(
    request: Request, runtime: Runtime, session: AsyncSession, id: int, enabled: bool
) -> RedirectResponse:
    now = await runtime.now(session)
    row, runs = await operations.change_rule(
        session, id, lambda values: replace(values, enabled=enabled), now
    )
    text = f"Rule “{row.name}” is {'enabled' if enabled else 'disabled, and links nothing'}."
    if runs:
        text += f" The epics that it {'matches' if enabled else 'linked'} are evaluated again:"
    return await done(request, session, text, runs=runs)


# --- deleting -------------------------------------------------------------------------------------


async def _deletion(request: Request, runtime: Runtime, session: AsyncSession, row: RuleRow) -> HTMLResponse:
    """What the rule links, and what becomes of it without."""
    (report,) = (await report_rules(session, [row], await runtime.now(session))).values()
    preview = await _previewed(request, runtime, {"id": row.id, "enabled": False})
    values = {
        "rule": row,
        "key_result": (await values_of(session, row)).key_result,
        "says": sentence(parse_condition(row.when)),
        "links": report.matches,
        "preview": preview,
        "titles": await _titles(session, preview),
    }
    return await page(request, session, "rule_delete.html", values)


async def _delete(
    request: Request, runtime: Runtime, session: AsyncSession, row: RuleRow
) -> RedirectResponse:
    name = row.name
    runs = await operations.delete_rule(session, row.id, await runtime.now(session))
    text = f"Rule “{name}” is deleted."
    if runs:
        text += " The epics that it linked are evaluated again:"
    return await done(request, session, text, to="/rules", runs=runs)


# --- the editor -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ShownPreview:
    """`titles`: of the epics, by their source's name and their key."""

    result: PreviewOut
    says: str
    titles: Mapping[tuple[str, str], str]


async def _editor(
    request: Request,
    session: AsyncSession,
    row: RuleRow | None,
    form: RuleForm,
    *,
    errors: Mapping[str, str] | None = None,
    preview: ShownPreview | None = None,
    new_line: bool = False,
    refused: bool = True,
) -> HTMLResponse:
    """`refused`: what is wrong is so in a form that was to be saved; a preview only tells of it."""
    found = by_field({**form.problems, **(errors or {})}, form)
    values = {
        "rule": row,
        "form": form,
        "errors": found,
        "first_bad": next(iter(found), None),
        "preview": preview,
        "kinds": KINDS,
        "names": await known_names(session),
        "key_results": await open_key_results(session),
        "new_line": new_line,
    }
    return await page(request, session, "rule.html", values, 422 if found and refused else 200)


async def _edit(
    request: Request, runtime: Runtime, session: AsyncSession, row: RuleRow | None, sent: Form
) -> HTMLResponse:
    """A line more or less, the other form of the condition, or what saving it would do."""
    form = typed_form(sent.values())
    if sent.get("remove"):
        kept = [line for number, line in enumerate(form.lines) if str(number) != sent.get("remove")]
        return await _editor(request, session, row, replace(form, lines=tuple(kept)))
    match sent.get("do"):
        case "add-test":
            lines = (*form.lines, ConditionLine())
            return await _editor(request, session, row, replace(form, lines=lines), new_line=True)
        case "as-json":
            return await _editor(request, session, row, as_json(form))
        case "as-lines":
            return await _editor(request, session, row, as_lines(form))
    try:
        body = _document(form, row)
        if not form.name:
            body.pop("name", None)
        if row is not None:
            body["id"] = row.id
        result = await _previewed(request, runtime, body, sent.get("cursor"))
    except (DomainError, Problem) as error:
        return await _editor(request, session, row, form, errors=wrong_fields(error), refused=False)
    says = sentence(parse_condition(body["when"]))
    titles = await _titles(session, result)
    return await _editor(request, session, row, form, preview=ShownPreview(result, says, titles))


async def _save(
    request: Request, runtime: Runtime, session: AsyncSession, row: RuleRow | None, sent: Form
) -> Response:
    form = typed_form(sent.values())
    now = await runtime.now(session)
    id = None if row is None else row.id
    try:
        values = validated(RuleIn, _document(form, row)).values()
        async with session.begin_nested():
            saved, runs = await _saved(session, row, values, form.version, now)
    except (DomainError, Problem) as error:
        row = None if id is None else await rule_at(session, id)
        errors = {"": CHANGED_MEANWHILE} if isinstance(error, StaleVersion) else wrong_fields(error)
        return await _editor(request, session, row, form, errors=errors)
    text = f"Rule “{saved.name}” is saved."
    if runs:
        text += " The epics that it matches or linked are evaluated again:"
    return await done(request, session, text, to="/rules", runs=runs)


async def _saved(
    session: AsyncSession, row: RuleRow | None, values: RuleValues, version: str, now: datetime
) -> tuple[RuleRow, list[int]]:
    if row is None:
        return await operations.create_rule(session, values, now)
    seen = [_number(version, "version")] if version else None
    return await operations.change_rule(session, row.id, lambda _: values, now, versions=seen)


def _document(form: RuleForm, row: RuleRow | None) -> dict[str, Any]:
    """As the body of a call. Raises `Invalid` where the condition is no JSON."""
    fields = {"name": form.name, "key_result": form.key_result, "priority": form.priority}
    document = document_of(fields, numbers=["priority"])
    try:
        when = when_of(form, None if row is None else row.when)
    except ValueError as error:
        raise Invalid("when", str(error)) from None
    if not isinstance(when, dict):
        raise Invalid("when", "must be one object, such as a test or a group of them")
    return {**document, "when": when, "enabled": form.enabled}


async def _previewed(
    request: Request, runtime: Runtime, body: dict[str, Any], cursor: str = ""
) -> PreviewOut:
    """The first page where the cursor is of another form than this one."""
    checked = validated(PreviewIn, body)
    key, path = runtime.signing.key("cursor"), request.url.path.lower()
    for sent in (cursor or None, None):
        try:
            return await preview_rule(checked, runtime, EPICS_A_PAGE, Cursors(sent, key, path))
        except Invalid as error:
            if sent is None or error.errors[0][0] != "cursor":
                raise
    raise AssertionError("the second attempt has no cursor")


async def _titles(session: AsyncSession, preview: PreviewOut) -> dict[tuple[str, str], str]:
    sources = {name: id for id, name in (await find_sources(session)).values()}
    names = {id: name for name, id in sources.items()}
    keys = {item.epic.key.lower() for item in preview.items}
    rows = await session.execute(
        select(EpicRow.source_id, EpicRow.key, EpicRow.title).where(
            among(EpicRow.source_id, {sources[item.epic.source] for item in preview.items}),
            func.lower(EpicRow.key).in_(keys),
            EpicRow.removed_at.is_(None),
        )
    )
    return {(names[source_id], key): title for source_id, key, title in rows}
