"""An epic's page: the one fact that counts, what settles it, its notice, why, and what happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import pipeline
from app.api.deps import CallerDep, RuntimeDep, SessionDep
from app.api.epics import whole_epic
from app.auth.roles import Caller
from app.runtime import Runtime
from app.web.epic_block import ChangeOfEpic, PageOfEpic
from app.web.epic_changes import (
    DAYS_AHEAD,
    Asked,
    Changed,
    change_selected,
    days_to_choose,
    decide,
    link_selected,
)
from app.web.epic_rows import finding_shown, page_of_epic
from app.web.epic_steering import ACTS, Refused, change_steering, load_steering
from app.web.forms import wrong_fields
from app.web.page import done, page
from app.web.router import Form, FormDep, check_may, here, id_in, may, needs, redirect
from app.web.ticket import TRACKERS, notice_on_ticket
from app.web.undo import accept_step, link_steps, reject_step
from mappings.errors import Conflict, Invalid
from mappings.evaluation.context import load_key_results
from mappings.evaluation.load import load_records
from mappings.goals.key_results import KeyResult, is_live
from mappings.governance.agenda import person_of
from mappings.links.reversal import unlink_all
from mappings.lists.epic_history import epic_history
from mappings.lookups import epic_at, source_at
from mappings.parents import children_of
from mappings.suggestions.cache import suggest
from mappings.suggestions.load import EVERYTHING
from mappings.suggestions.operations import accept_suggestion_again, reject_suggestion
from mappings.tables import EpicRow, KeyResultRow, SourceRow, SuggestionRejectionRow

router = APIRouter()

MOST_FOUND = 20
MOST_CHILDREN = 20
LONGEST_SEARCH = 200
REASONS = {
    "read": "Seen",
    "link": "Links",
    "ticket": "The ticket",
    "rule": "Rules",
    "policy": "Policy",
    "check": "Checks",
    "notice": "Notice",
    "change": "What would change it",
}
OPERATIONS = {
    "link": "POST /links/bulk",
    "unlink": "DELETE /links/{id}",
    "reject": "POST /epics/{source}/{key}/suggestions/{key_result}/reject",
    "accept": "DELETE /epics/{source}/{key}/suggestions/{key_result}/reject",
    "waive": "POST /findings/{id}/waive",
    "snooze": "POST /findings/{id}/snooze",
    "reopen": "POST /findings/{id}/reopen",
    "uphold": "POST /findings/{id}/uphold",
    "dismiss": "POST /findings/{id}/dismiss",
    **ACTS,
}


@dataclass(frozen=True, slots=True)
class _Epic:
    source: SourceRow
    row: EpicRow

    @property
    def name(self) -> str:
        return f"{self.source.name} {self.row.key}"


async def _find(session: AsyncSession, source: str, key: str) -> _Epic:
    """Raises `NotFound`, with the reason and since when for an epic that is removed."""
    found = await source_at(session, source)
    return _Epic(found, await epic_at(session, found, key))


@router.get("/epics/{source}/{key:path}", dependencies=[needs("GET /epics/{source}/{key}")])
async def show_epic(
    source: str,
    key: str,
    request: Request,
    runtime: RuntimeDep,
    session: SessionDep,
    caller: CallerDep,
) -> Response:
    return await _show(request, runtime, session, caller, (source, key))


@router.post("/epics/{source}/{key:path}", dependencies=[needs("GET /epics/{source}/{key}")])
async def change_epic(
    source: str,
    key: str,
    request: Request,
    form: FormDep,
    runtime: RuntimeDep,
    session: SessionDep,
    caller: CallerDep,
) -> Response:
    """Each act needs the role of the API's operation that does the same."""
    async with runtime.sessions() as looking:  # given back before the change takes a connection of its own
        epic = await _find(looking, source, key)
    act, about = next(((name, form.get(name)) for name in OPERATIONS if form.get(name)), (form.get("do"), ""))
    if act not in OPERATIONS:
        return redirect(request, here(request))
    check_may(caller, OPERATIONS[act])
    show = partial(_show, request, runtime, session, caller, (source, key))
    if act in DAYS_AHEAD and "until" not in form.values():
        return await show(asked=Asked(act, [epic.name], "row"))
    try:
        changed = await _change(runtime, caller, epic, act, about, form)
    except (Conflict, Invalid) as error:
        errors = wrong_fields(error)
        if act in ACTS:
            return await show(refused=Refused(act, errors, form.values()), status=422)
        asked = Asked(act, [epic.name], "row", form.values()) if act in (*DAYS_AHEAD, "dismiss") else None
        return await show(asked=asked, errors=errors, status=422)
    if not changed.steps and not changed.fine:
        errors = {"": changed.text}
        return await show(errors=errors, status=422)
    return await done(request, session, changed.text, undo=changed.steps)


async def _change(runtime: Runtime, caller: Caller, epic: _Epic, act: str, about: str, form: Form) -> Changed:
    match act:
        case "link":
            return await link_selected(runtime, caller, [(epic.name, about)])
        case "unlink":
            return await _unlink(runtime, caller, epic, about)
        case "reject" | "accept":
            return await _answer_suggestion(runtime, caller, epic, act, about)
        case "waive" | "snooze":
            values = form.get("until"), form.get("reason")
            return await change_selected(runtime, caller, act, [epic.name], *values)
        case "reopen" | "uphold" | "dismiss":
            return await decide(runtime, caller, act, epic.name, form.get("reason"))
    return await change_steering(ChangeOfEpic(runtime, caller, epic.source.name, epic.row.key, act, form))


async def _unlink(runtime: Runtime, caller: Caller, epic: _Epic, about: str) -> Changed:
    if (link := id_in(about)) is None:
        raise Invalid("", "There is no such link.")
    async with runtime.transaction(caller.who) as session:
        values, runs = await unlink_all(session, [link], await runtime.now(session), of=epic.row.id)
        goal = await session.get_one(KeyResultRow, values[0].key_result)
    await pipeline.evaluate_at_once(runtime, runs)
    return Changed(f"The link of {epic.row.key} to {goal.key} was taken back.", link_steps(values))


async def _answer_suggestion(
    runtime: Runtime, caller: Caller, epic: _Epic, act: Literal["reject", "accept"] | str, goal: str
) -> Changed:
    names = epic.source.name, epic.row.key, goal
    async with runtime.transaction(caller.who) as session:
        if act == "reject":
            await reject_suggestion(session, *names, await runtime.now(session))
            return Changed(f"{goal} is not suggested for {epic.row.key} again.", [accept_step(*names)])
        await accept_suggestion_again(session, *names)
    return Changed(f"{goal} may be suggested for {epic.row.key} again.", [reject_step(*names)])


async def _show(
    request: Request,
    runtime: Runtime,
    session: AsyncSession,
    caller: Caller,
    names: tuple[str, str],
    *,
    asked: Asked | None = None,
    refused: Refused | None = None,
    errors: Mapping[str, str] | None = None,
    status: int = 200,
) -> HTMLResponse:
    epic = await _find(session, *names)
    row = epic.row
    all_rules = request.query_params.get("rules") == "all"
    shown = await whole_epic(runtime, session, epic.source, row.key, "all" if all_rules else "matching")
    (records,) = await load_records(session, [row])
    goals, now = await load_key_results(session), await runtime.now(session)
    find = request.query_params.get("find", "")[:LONGEST_SEARCH].strip()
    finding = finding_shown(records.findings)
    notice = None if shown.notice is None else await notice_on_ticket(runtime, session, shown.notice.id)
    settles = shown.alignment in ("unaligned", "waived", None)
    suggestions = await suggest(session, row.id, EVERYTHING, now) if settles else ()
    values: dict[str, Any] = {
        "epic": shown,
        "tracker": TRACKERS.get(epic.source.kind, epic.source.kind),
        "fact": shown.why[0],
        "named": [one.says for one in shown.why if one.kind == "ticket"],
        "why": [(REASONS[kind], list(of)) for kind, of in groupby(shown.why[1:], key=lambda one: one.kind)],
        "all_rules": all_rules,
        "goals": {goal.key: goal for goal in goals.values()},
        "finding": finding,
        "settles": settles,
        "suggestions": [one for one in suggestions if one.reasons],
        "rejected": await _rejected(session, row.id),
        "find": find,
        "found": _found(goals, find, {link.key_result for link in shown.links}, now) if find else [],
        "ticket": notice,
        "history": await epic_history(
            session, epic.source.name, records, goals, audited=may(caller, "GET /audit-log")
        ),
        "children": await children_of(session, row.id, MOST_CHILDREN + 1),
        "most_children": MOST_CHILDREN,
        "steering": await load_steering(
            PageOfEpic(session, runtime, caller, epic.source, row, goals), refused
        ),
        "page_of_epic": page_of_epic,
        "person_of": person_of,
        "asked": asked,
        **days_to_choose(now),
        "errors": dict(errors or {}),
        "faults": len((refused.errors if refused else None) or errors or {}),
    }
    return await page(request, session, "epic.html", values, status)


def _found(goals: Mapping[int, KeyResult], find: str, linked: set[str], now: Any) -> Sequence[KeyResult]:
    """The live key results with each of these words in their key or title."""
    words = find.casefold().split()
    return [
        goal
        for goal in goals.values()
        if is_live(goal, now)
        and goal.key not in linked
        and all(word in f"{goal.key} {goal.title}".casefold() for word in words)
    ][:MOST_FOUND]


async def _rejected(session: AsyncSession, epic_id: int) -> Sequence[str]:
    """The keys of the key results that a person said do not fit."""
    keys = (
        select(KeyResultRow.key)
        .join(SuggestionRejectionRow, SuggestionRejectionRow.key_result_id == KeyResultRow.id)
        .where(SuggestionRejectionRow.epic_id == epic_id)
    )
    return list(await session.scalars(keys.order_by(KeyResultRow.id).limit(MOST_FOUND)))
