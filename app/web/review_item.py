"""A review while it is held, for a projector: one line of its agenda at a time, decided in place."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app import pipeline
from app.api.deps import CallerDep, RuntimeDep, SessionDep
from app.auth.roles import Caller
from app.runtime import Runtime
from app.web.decision_lines import decided_words, decision_lines, decision_step, take_decision_back
from app.web.epic_rows import page_of_epic
from app.web.goal_forms import Filled
from app.web.goal_words import progress_words
from app.web.page import done, page
from app.web.review import ReviewId, mitigated
from app.web.review_facts import (
    HeldEpic,
    coverage_now,
    goals_of,
    goals_to_choose,
    held_epic,
    in_short,
    list_page,
    points_between,
)
from app.web.review_forms import DECISION, KINDS, NEEDED, decision_id, refused, typed_day
from app.web.router import Form, FormDep, check_may, needs, redirect
from mappings.errors import DomainError, Invalid, NotFound
from mappings.governance.agenda import person_of
from mappings.governance.decisions import ON_GOALS, record_decision
from mappings.governance.review_views import in_full
from mappings.governance.reviews import ItemState, load_review, review_items, set_item
from mappings.governance.values import Person
from mappings.tables import ConflictRow, ReviewItemRow, ReviewRow

router = APIRouter()

ItemId = Annotated[int, Path(ge=1, lt=2**63)]
STATES: dict[str, ItemState] = {"done": "done", "skip": "skipped", "reopen": "open"}
NOBODY = "Tick who decides; at least one person does."


@router.get("/reviews/{id}/items", dependencies=[needs("GET /reviews/{id}")])
async def hold_review(id: ReviewId, request: Request, session: SessionDep) -> RedirectResponse:
    """Leads to the first line that is open, else to the first."""
    await load_review(session, id)
    items = await review_items(session, id)
    first = next((item for item in items if item.state == "open"), items[0] if items else None)
    return redirect(request, f"/reviews/{id}" if first is None else f"/reviews/{id}/items/{first.id}")


@router.get("/reviews/{id}/items/{item_id}", dependencies=[needs("GET /reviews/{id}")])
async def show_item(
    id: ReviewId, item_id: ItemId, request: Request, runtime: RuntimeDep, session: SessionDep
) -> HTMLResponse:
    return await _show(request, runtime, session, id, item_id, Filled())


@router.post("/reviews/{id}/items/{item_id}", dependencies=[needs("POST /reviews/{id}/decisions")])
async def change_item(
    id: ReviewId,
    item_id: ItemId,
    request: Request,
    runtime: RuntimeDep,
    caller: CallerDep,
    form: FormDep,
) -> Response:
    """`do`: `record` what is decided, `done`, `skip` or `reopen` the line, or `undo` a decision; the first
    three go on to the next line that is open."""
    act = form.get("do")
    here = f"/reviews/{id}/items/{item_id}"
    step = None
    try:
        if act == "record":
            text, step = await _record(runtime, caller, id, item_id, form)
        elif act == "undo":
            check_may(caller, "POST /decisions/{id}/undo")
            text = await take_decision_back(runtime, caller, decision_id(form))
        elif act in STATES:
            check_may(caller, "PATCH /reviews/{id}/items/{item_id}")
            text = await _deal(runtime, caller, id, item_id, act, form)
        else:
            raise Invalid("do", "says nothing that this page can do; reload it")
    except NotFound:
        raise
    except DomainError as error:
        return await _again(request, runtime, id, item_id, form, error)
    async with runtime.transaction() as session:
        to = here if act in ("undo", "reopen") else await _onwards(session, id, item_id)
        return await done(request, session, text, to=to, undo=[] if step is None else [step])


async def _again(
    request: Request, runtime: Runtime, id: int, item_id: int, form: Form, error: DomainError
) -> HTMLResponse:
    """The form as it was typed; what is wrong with the epic stands above it, for no field mends it."""
    values = {name: form.get(name) for name in (*DECISION, "mitigation") if form.get(name)}
    filled = refused(error, values)
    about = [filled.errors[name] for name in ("epic", "goal", "item", "do") if name in filled.errors]
    if about:
        left = {name: text for name, text in filled.errors.items() if name in (*DECISION, "decided_by")}
        filled = Filled(values, {"": " ".join(about), **left}, status=filled.status)
    async with runtime.transaction() as session:
        return await _show(request, runtime, session, id, item_id, filled, form.all("decided_by"))


async def _record(
    runtime: Runtime, caller: Caller, id: int, item_id: int, form: Form
) -> tuple[str, dict[str, Any]]:
    """What was decided, in words, and the step that takes it back. Raises a `DomainError`."""
    async with runtime.transaction(caller.who) as session:
        review, item = await load_review(session, id), await _item(session, id, item_id)
        kind = form.get("decision")
        _check_form(form, kind)
        needed = NEEDED.get(kind, ())
        epic = item.about.get("epic")
        recorded = await record_decision(
            session,
            await runtime.now(session),
            decision=kind,
            epic=None if epic is None else (epic["source"], epic["key"]),
            key_result=form.get("key_result") if "key_result" in needed else None,
            measure=form.get("measure") if "measure" in needed else None,
            by=typed_day(form, "by", needed=kind != "stop") if "by" in needed else None,
            reason=form.get("reason"),
            decided_by=_deciders(review, form.all("decided_by")),
            review_id=id,
            item_id=item_id,
            conflict_id=item.about.get("conflict"),
        )
        (line,) = await decision_lines(session, [recorded.row])
    await pipeline.evaluate_at_once(runtime, recorded.runs)
    return decided_words(line), decision_step(recorded.row.id)


def _check_form(form: Form, kind: str) -> None:
    """Raises `Invalid` that names each field that is left empty."""
    empty = {"key_result": "choose the key result", "measure": "choose the measure", "by": "choose the day"}
    wrong = [] if kind in KINDS else [("decision", "choose what is decided")]
    wrong += [
        (name, text)
        for name, text in empty.items()
        if name in NEEDED.get(kind, ()) and not form.get(name) and not (kind == "stop" and name == "by")
    ]
    wrong += [] if form.get("reason") else [("reason", "say why; the log shows it")]
    wrong += [] if form.all("decided_by") else [("decided_by", NOBODY)]
    if wrong:
        raise Invalid(*wrong[0], more=wrong[1:])


def _deciders(review: ReviewRow, ticked: Sequence[str]) -> list[Person]:
    """With the side that each came from; one who is no attendee any more has none, which is refused."""
    sides = {one["name"]: one["side"] for one in review.attendees}
    gone = [name for name in ticked if name not in sides]
    if gone:
        raise Invalid("decided_by", f"{gone[0][:80]} is not among those who came any more; tick who decides")
    return [Person(name, sides[name]) for name in dict.fromkeys(ticked)]


async def _item(session: AsyncSession, id: int, item_id: int) -> ReviewItemRow:
    item = await session.get(ReviewItemRow, item_id)
    if item is None or item.review_id != id:
        raise NotFound(f"Review {id} has no line {item_id} on its agenda.")
    return item


async def _deal(runtime: Runtime, caller: Caller, id: int, item_id: int, act: str, form: Form) -> str:
    """What was done with the line, in words."""
    async with runtime.transaction(caller.who) as session:
        await _item(session, id, item_id)
        mitigation = form.get("mitigation") if act == "done" and "mitigation" in form.values() else None
        now = await runtime.now(session)
        item = await set_item(session, id, item_id, now, state=STATES[act], mitigation=mitigation)
        words = {"done": "Dealt with", "skip": "Skipped", "reopen": "Open again"}[act]
        return f"{words}: {item.title[:120]}"


async def _onwards(session: AsyncSession, id: int, item_id: int) -> str:
    """The next line that is open, from this one on and then from the first; the review where none is."""
    items = await review_items(session, id)
    place = next(place for place, item in enumerate(items) if item.id == item_id)
    left = [item for item in [*items[place + 1 :], *items[:place]] if item.state == "open"]
    return f"/reviews/{id}/items/{left[0].id}" if left else f"/reviews/{id}"


# --- shown ------------------------------------------------------------------------------------


async def _show(
    request: Request,
    runtime: Runtime,
    session: AsyncSession,
    id: int,
    item_id: int,
    form: Filled,
    decided_by: Sequence[str] = (),
) -> HTMLResponse:
    review = await in_full(session, id)
    items = review.items
    place = next((place for place, item in enumerate(items) if item.id == item_id), None)
    if place is None:
        raise NotFound(f"Review {id} has no line {item_id} on its agenda.")
    item, now = items[place], await runtime.now(session)
    epic = None if item.epic_id is None else await held_epic(session, item.epic_id, now)
    conflict = await _conflict(session, item)
    on_goal = conflict is not None and conflict.epic_id is None and conflict.decided_at is None
    can_decide = on_goal or (
        item.epic_id is not None and ((epic is not None and epic.is_there) or bool(form.errors))
    )
    kinds = ON_GOALS if on_goal else KINDS
    rate = await coverage_now(session) if item.kind == "coverage" else None
    values: dict[str, Any] = {
        "review": review.row,
        "cycle": review.row.cycle_facts,
        "items": items,
        "dealt": sum(one.state != "open" for one in items),
        "item": item,
        "place": place + 1,
        "before": items[place - 1] if place else None,
        "after": items[place + 1] if place + 1 < len(items) else None,
        "epic": epic,
        "conflict": conflict,
        "goals": await goals_of(session, item, now),
        "rate_now": rate,
        "moved": points_between(item.facts.get("rate"), rate),
        "in_short": in_short,
        "list_page": list_page(item.about),
        "elsewhere": await decision_lines(session, review.elsewhere.get(item.epic_id or 0, ())),
        "decisions": await decision_lines(session, review.decisions),
        "can_decide": can_decide,
        "kinds": kinds,
        "goals_to_choose": await goals_to_choose(session, epic, now) if can_decide and not on_goal else {},
        "likely": "" if epic is None or not epic.suggested or epic.serves else epic.suggested[0],
        "what_it_does": _what_it_does(item, epic, on_goal=on_goal),
        "has_mitigation": item.id in mitigated(items),
        "decided_by": decided_by,
        "form": form,
        "now": now,
        "today": now.date(),
        "words_at": datetime.fromisoformat(item.facts["at"]) if "at" in item.facts else None,
        "page_of_epic": page_of_epic,
        "person_of": person_of,
        "progress_words": progress_words,
    }
    return await page(request, session, "review_item.html", values, form.status)


async def _conflict(session: AsyncSession, item: ReviewItemRow) -> ConflictRow | None:
    """The conflict that the line is about, where it is still there."""
    id = item.about.get("conflict")
    return None if id is None else await session.get(ConflictRow, id)


def _what_it_does(item: ReviewItemRow, epic: HeldEpic | None, *, on_goal: bool) -> dict[str, str]:
    """What recording each kind changes, in a sentence."""
    if on_goal:
        return {
            "keep": "Ends the conflict; the goal stays.",
            "stop": "Ends the conflict and archives the goal.",
        }
    key = item.about.get("epic", {}).get("key", "") if epic is None else epic.row.key
    ends = [] if "conflict" not in item.about else ["ends the conflict"]
    disputed = epic is not None and epic.finding is not None and epic.finding.state == "disputed"
    ends += ["ends the dispute"] if disputed else []
    also = "".join(f", {words}" for words in ends)
    undo = "Can be undone."
    return {
        "keep": f"{key} goes on as it is{also}. {undo}",
        "remap": f"Links {key} to that key result{also}, settles the ticket. {undo}",
        "stop": f"Sets {key} aside until that day, or until it is decided anew{also}. {undo}",
        "defer": f"Sets {key} aside until that day{also}; then it is on the agenda again. {undo}",
        "pilot": f"Makes {key} a pilot until that day, measured by that key result{also}. {undo}",
        "scale": f"Scales {key}, where the pilot's measure was checked in since it began{also}. {undo}",
    }
