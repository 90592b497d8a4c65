"""One review, while it is prepared and after it is closed: agenda, figures that were frozen, who comes, the
pack. `app.web.review_item` is where it is held."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.deps import CallerDep, RuntimeDep, SessionDep
from app.api.paging import CursorParameter
from app.api.reviews import PackFormat, get_pack, list_review_epics
from app.auth.roles import Caller
from app.runtime import Runtime
from app.web.decision_lines import decision_lines, take_decision_back
from app.web.epic_rows import page_of_epic
from app.web.goal_forms import Filled, differing
from app.web.page import done, page
from app.web.review_forms import decision_id, names_by_side, refused, typed_people
from app.web.router import Form, FormDep, check_may, id_in, needs
from mappings.errors import DomainError, Invalid, NotFound, StaleVersion
from mappings.governance import reviews as operations
from mappings.governance.agenda import asks_mitigation
from mappings.governance.review_views import in_full

router = APIRouter()

ReviewId = Annotated[int, Path(ge=1, lt=2**63)]
EPICS_A_PAGE = 50
OPERATIONS = {
    "attendees": "PATCH /reviews/{id}",
    "mitigate": "PATCH /reviews/{id}/items/{item_id}",
    "add": "POST /reviews/{id}/items",
    "close": "POST /reviews/{id}/close",
    "undo": "POST /decisions/{id}/undo",
}
_MITIGATION = "mitigation."


@router.get("/reviews/{id}", dependencies=[needs("GET /reviews/{id}")])
async def show_review(
    id: ReviewId,
    request: Request,
    session: SessionDep,
    close: Annotated[str | None, Query(max_length=8)] = None,
) -> HTMLResponse:
    """With `close` it asks whether to close it, and says who was missing."""
    return await _show(request, session, id, closing=close is not None)


@router.post("/reviews/{id}", dependencies=[needs("PATCH /reviews/{id}")])
async def change_review(
    id: ReviewId, request: Request, runtime: RuntimeDep, caller: CallerDep, form: FormDep
) -> Response:
    """`do`: save who comes or what is done about goals at risk, add a line, close it, or undo a decision."""
    act = form.get("do")
    if act not in OPERATIONS:
        raise Invalid("do", "says nothing that this page can do; reload it")
    check_may(caller, OPERATIONS[act])
    _, lists = typed_people(form)
    try:
        text = await _change(runtime, caller, id, act, form)
    except NotFound:
        raise
    except DomainError as error:
        return await _again(request, runtime, id, act, error, form, lists)
    async with runtime.transaction() as session:
        return await done(request, session, text, to=f"/reviews/{id}")


async def _again(
    request: Request,
    runtime: Runtime,
    id: int,
    act: str,
    error: DomainError,
    form: Form,
    lists: Mapping[str, str],
) -> HTMLResponse:
    """The page with the form that was refused, as it was typed."""
    values = {**lists} if act == "attendees" else {name: form.get(name) for name in _typed(form)}
    filled = refused(error, values, typed_people(form)[0])
    async with runtime.transaction() as session:
        if isinstance(error, StaleVersion):
            row = await operations.load_review(session, id)
            stored = differing(values, names_by_side(row.attendees))
            filled = Filled(values, filled.errors, stored, row.version, filled.status)
        return await _show(request, session, id, filled)


def _typed(form: Form) -> list[str]:
    return [name for name in form.values() if name.startswith(_MITIGATION) or name == "title"]


async def _change(runtime: Runtime, caller: Caller, id: int, act: str, form: Form) -> str:
    """What was done, in words."""
    if act == "undo":
        return await take_decision_back(runtime, caller, decision_id(form))
    async with runtime.transaction(caller.who) as session:
        now = await runtime.now(session)
        match act:
            case "attendees":
                version = form.id("version")
                people, _ = typed_people(form)
                await operations.change_review(
                    session, id, attendees=people, versions=None if version is None else [version]
                )
                return f"Saved: {len(people)} {'person comes' if len(people) == 1 else 'people come'}."
            case "mitigate":
                return await _mitigate(session, id, form, now)
            case "add":
                item = await operations.add_item(session, id, now, title=form.get("title"))
                return f"Added to the agenda: {item.title}"
        row = await operations.close_review(session, id, now)
    return f"The review of {row.held_on} is closed."


async def _mitigate(session: AsyncSession, id: int, form: Form, now: Any) -> str:
    """Store the lines that differ from what is stored."""
    items = {item.id: item for item in await operations.review_items(session, id)}
    changed = 0
    for name, text in form.values().items():
        item = items.get(id_in(name.removeprefix(_MITIGATION)) or 0) if name.startswith(_MITIGATION) else None
        if item is None or text == (item.mitigation or ""):
            continue
        try:
            await operations.set_item(session, id, item.id, now, mitigation=text)
        except Invalid as error:
            raise Invalid(name, error.errors[0][1]) from error
        changed += 1
    return f"Saved {changed} {'line' if changed == 1 else 'lines'}." if changed else "Nothing was changed."


# --- shown ------------------------------------------------------------------------------------


async def _show(
    request: Request,
    session: AsyncSession,
    id: int,
    form: Filled | None = None,
    *,
    closing: bool = False,
) -> HTMLResponse:
    review = await in_full(session, id)
    row = review.row
    values: dict[str, Any] = {
        "review": row,
        "cycle": row.cycle_facts,
        "items": review.items,
        "left": [item for item in review.items if item.state == "open"],
        "mitigated": mitigated(review.items),
        "key_results": review.key_results,
        "decisions": await decision_lines(session, review.decisions),
        "missing": operations.sides_missing(row),
        "people": names_by_side(row.attendees),
        "closing": closing,
        "form": form or Filled(),
        "version": row.version if form is None or form.version is None else form.version,
    }
    return await page(request, session, "review.html", values, 200 if form is None else form.status)


def mitigated(items: Any) -> set[int]:
    """The ids of the lines that ask for what is done about it."""
    return {item.id for item in items if asks_mitigation(item.kind, item.key_result_id)}


# --- what it froze, and the pack --------------------------------------------------------------


@router.get("/reviews/{id}/epics", dependencies=[needs("GET /reviews/{id}/epics")])
async def show_review_epics(
    id: ReviewId,
    request: Request,
    session: SessionDep,
    alignment: Annotated[Literal["aligned", "unaligned", "exempt", "waived"] | None, Query()] = None,
    changed: Annotated[Literal["alignment", "due", "new"] | None, Query()] = None,
    cursor: CursorParameter = None,
) -> HTMLResponse:
    """Every epic that was open when it was opened, as it was then."""
    row = await operations.load_review(session, id)
    listed = await list_review_epics(
        id, session, alignment=alignment, changed=changed, limit=EPICS_A_PAGE, cursor=cursor
    )
    values = {
        "review": row,
        "epics": listed.items,
        "next": listed.next,
        "asked": {"alignment": alignment or "", "changed": changed or ""},
        "page_of_epic": page_of_epic,
    }
    return await page(request, session, "review_epics.html", values)


@router.get("/reviews/{id}/pack", dependencies=[needs("GET /reviews/{id}/pack")])
async def download_pack(
    id: ReviewId, session: SessionDep, format: Annotated[PackFormat, Query()] = "html"
) -> Response:
    return await get_pack(id, session, format)
