"""Reviews: opened, held, closed; what each froze, its agenda and its pack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.deps import (
    CallerDep,
    IfMatch,
    Key,
    ReadingDep,
    RuntimeDep,
    SessionDep,
    put_version,
    response_headers,
    versions_in,
)
from app.api.epic_filters import Text
from app.api.paging import CursorParameter, Limit, Page, list_query, page_of
from app.api.problems import error_responses
from app.api.review_models import (
    DecidedEpic,
    DueOut,
    FrozenEpic,
    FrozenKeyResult,
    FrozenObjective,
    ItemIn,
    ItemOfElsewhere,
    ItemOut,
    ItemPatch,
    PersonOut,
    ReviewDecision,
    ReviewIn,
    ReviewName,
    ReviewOut,
    ReviewPage,
    ReviewPatch,
    ReviewWhole,
)
from app.api.runs import RowId
from app.runtime import Runtime
from mappings.governance import reviews as operations
from mappings.governance.agenda import asks_mitigation
from mappings.governance.decision_log import goal_decided
from mappings.governance.pack import Pack, pack_markdown
from mappings.governance.pack_csv import pack_csv
from mappings.governance.pack_html import PACK_POLICY, pack_html
from mappings.governance.review_views import (
    ReviewInFull,
    ReviewInList,
    frozen_epics,
    in_full,
    in_list,
    pack_of,
)
from mappings.governance.snapshot import see_one_moment
from mappings.governance.values import Person
from mappings.lists.epics import Alignment
from mappings.lookups import goal_in
from mappings.reports.operations import coverage_members, coverage_report
from mappings.tables import CycleRow, DecisionRow, ReviewEpicRow, ReviewItemRow, ReviewKeyResultRow, ReviewRow

router = APIRouter(prefix="/reviews", tags=["reviews"])

_EVERY = select(ReviewRow)

ItemId = Annotated[int, Path(ge=1, lt=2**63, description="The id of a line of its agenda.")]
Changed = Literal["alignment", "due", "new"]
PackFormat = Literal["md", "html", "csv"]


# --- shown ------------------------------------------------------------------------------------


def show_review(shown: ReviewInList) -> ReviewOut:
    return ReviewOut.model_validate(_members(shown))


def _members(shown: ReviewInList) -> dict[str, Any]:
    row, previous = shown.row, shown.previous
    own = ("id", "held_on", "state", "attendees", "frozen_at", "opened_by", "closed_at", "closed_by", "epics")
    return {
        **{name: getattr(row, name) for name in own},
        "cycle": row.cycle_facts["key"],
        "cycle_title": row.cycle_facts["title"],
        "missing_sides": operations.sides_missing(row),
        "previous": None
        if previous is None
        else ReviewName(id=previous.id, cycle=previous.cycle_facts["key"], held_on=previous.held_on),
        "coverage_rate": row.coverage["rate"],
        "all_items": shown.numbers.items,
        "open_items": shown.numbers.open_items,
        "decided": shown.numbers.decided,
    }


def show_whole(review: ReviewInFull) -> ReviewWhole:
    row = review.row
    return ReviewWhole.model_validate(
        {
            **_members(review.shown),
            "coverage": row.coverage,
            "objectives": [
                FrozenObjective.model_validate(
                    {**facts, "key_results": [_show_key_result(one) for one in of]}
                )
                for facts, of in review.objectives()
            ],
            "changes": row.changes,
            "items": [show_item(item, review.elsewhere.get(item.epic_id or 0, ())) for item in review.items],
            "decisions": [_show_decision(one, review) for one in review.decisions],
        }
    )


def _show_key_result(row: ReviewKeyResultRow) -> FrozenKeyResult:
    own = {name: getattr(row, name) for name in ("key", "title", "objective")}
    return FrozenKeyResult.model_validate({**own, **row.facts})


def show_item(row: ReviewItemRow, elsewhere: Any = ()) -> ItemOut:
    own = ("id", "position", "kind", "title", "detail", "about", "facts", "state", "mitigation")
    return ItemOut.model_validate(
        {
            **{name: getattr(row, name) for name in (*own, "changed_by", "changed_at")},
            "mitigation_asked": asks_mitigation(row.kind, row.key_result_id),
            "decided_elsewhere": [
                ItemOfElsewhere.model_validate(
                    {
                        "review": one.review_id,
                        "decision": one.id,
                        "what": one.decision,
                        "decided_at": one.decided_at,
                    }
                )
                for one in elsewhere
            ],
        }
    )


def _show_decision(row: DecisionRow, review: ReviewInFull) -> ReviewDecision:
    own = ("id", "decision", "reason", "recorded_by", "decided_at", "undone_at", "undone_by")
    epic = None
    if row.epic_key is not None:
        epic = DecidedEpic(source=row.epic_source or "", key=row.epic_key, title=row.epic_title or "")
    keys = review.key_result_keys
    return ReviewDecision.model_validate(
        {
            **{name: getattr(row, name) for name in own},
            "epic": epic,
            "goal": goal_decided(row, keys, review.objective_keys),
            "key_result": keys.get(row.key_result_id or 0),
            "measure": keys.get(row.measure_id or 0),
            "by": row.by_date,
            "decided_by": [PersonOut.model_validate(one) for one in row.decided_by],
            "item": row.item_id,
            "conflict": row.conflict_id,
        }
    )


def _show_epic(row: ReviewEpicRow) -> FrozenEpic:
    counted = row.children is not None and row.children_done is not None
    children = {"total": row.children, "done": row.children_done} if counted else None
    return FrozenEpic.model_validate({**vars(row), "children": children})


# --- reviews ----------------------------------------------------------------------------------


@router.post(
    "",
    status_code=201,
    summary="Open a review",
    responses={**response_headers(201, "ETag"), **error_responses(409)},
)
async def create_review(
    body: ReviewIn, response: Response, runtime: RuntimeDep, caller: CallerDep
) -> ReviewWhole:
    """Freezes coverage, goals and every open epic as they are at this moment, and makes the agenda; what
    happens later changes none of it. 409 while another review of the cycle is open, and where one was held on
    that day."""
    people = [person.value() for person in body.attendees]
    async with runtime.transaction(caller.who) as session:
        row = await open_now(runtime, session, body.cycle, body.held_on, people)
        put_version(response, row.version)
        return show_whole(await in_full(session, row.id))


async def open_now(
    runtime: Runtime, session: AsyncSession, cycle: str, held_on: date, attendees: Sequence[Person]
) -> ReviewRow:
    """With the figures of this moment. `session` has sent no statement yet. Raises as `open_review`."""
    await see_one_moment(session)
    now = await runtime.now(session)
    return await operations.open_review(
        session,
        now,
        coverage=coverage_members(await coverage_report(session, now, days=1)),
        cycle=cycle,
        held_on=held_on,
        attendees=attendees,
    )


@router.get("", summary="List reviews, newest first")
async def list_reviews(
    runtime: RuntimeDep,
    session: ReadingDep,
    cycle: Annotated[Key | None, Query(description="Of this cycle.")] = None,
    state: Annotated[Literal["open", "closed"] | None, Query(description="In this state.")] = None,
    limit: Limit = 50,
    cursor: CursorParameter = None,
) -> ReviewPage:
    """`due` names the cycles whose review is missing."""
    step = list_query(cursor, limit, cycle=cycle, state=state)
    query = _EVERY
    due = await operations.due_reviews(session, (await runtime.now(session)).date())
    if step.filters["cycle"] is not None:
        held = await goal_in(session, CycleRow, step.filters["cycle"], "cycle")
        query = query.where(ReviewRow.cycle_id == held.id)
        due = [one for one in due if one.cycle.id == held.id]
    if step.filters["state"] is not None:
        query = query.where(ReviewRow.state == step.filters["state"])
    rows, following = await page_of(session, query, ReviewRow.id, step, newest_first=True)
    shown = await in_list(session, [row for (row,) in rows])
    return ReviewPage(
        items=[show_review(one) for one in shown],
        next=following,
        due=[
            DueOut.model_validate(
                {
                    "cycle": one.cycle.key,
                    "title": one.cycle.title,
                    "review": one.cycle.review,
                    "since": one.due.since,
                    "due_on": one.due.due_on,
                    "late": one.due.late,
                    "last": one.last,
                }
            )
            for one in due
        ],
    )


@router.get(
    "/{id}", summary="Show a review", responses={**response_headers(200, "ETag"), **error_responses(404)}
)
async def get_review(id: RowId, response: Response, session: SessionDep) -> ReviewWhole:
    """What it froze, its agenda, and the decisions taken in it."""
    review = await in_full(session, id)
    put_version(response, review.row.version)
    return show_whole(review)


@router.patch(
    "/{id}",
    summary="Change who came to a review, or its day",
    responses={**response_headers(200, "ETag"), **error_responses(404, 409, 412)},
)
async def change_review(
    id: RowId, body: ReviewPatch, response: Response, session: SessionDep, if_match: IfMatch = None
) -> ReviewOut:
    """409 once it is closed. What it froze stays as it was."""
    row = await operations.change_review(
        session,
        id,
        attendees=None if body.attendees is None else [person.value() for person in body.attendees],
        held_on=body.held_on,
        versions=versions_in(if_match),
    )
    put_version(response, row.version)
    return show_review((await in_list(session, [row]))[0])


@router.post(
    "/{id}/close",
    summary="Close a review",
    responses={**response_headers(200, "ETag"), **error_responses(404, 409, 412)},
)
async def close_review(
    id: RowId, response: Response, runtime: RuntimeDep, session: SessionDep, if_match: IfMatch = None
) -> ReviewOut:
    """After this nothing of it changes. `missing_sides` names the sides that nobody came from; it is closed
    nevertheless. Lines that are open stay so: they were not dealt with."""
    row = await operations.close_review(
        session, id, await runtime.now(session), versions=versions_in(if_match)
    )
    put_version(response, row.version)
    return show_review((await in_list(session, [row]))[0])


@router.get(
    "/{id}/pack",
    summary="The pack of a review, to be read before it",
    response_class=Response,
    responses={
        200: {
            "content": {
                "text/markdown": {"example": "# Review of 27 November 2026: Fourth quarter\n"},
                "text/html": {"example": "<!doctype html>"},
                "text/csv": {"example": "row,review,cycle,held_on,key,title\r\n"},
            }
        },
        **error_responses(404),
    },
)
async def get_pack(
    id: RowId,
    session: SessionDep,
    format: Annotated[  # the parameter's public name
        PackFormat,
        Query(description="`md` for slides, `html` one file that prints well, `csv` rows for finance."),
    ] = "html",
) -> Response:
    """Coverage, what moved since the review before, the goals with their owners' words, what is at risk and
    its mitigation, what is to be decided, and what was decided. Of a closed review the same bytes each
    time."""
    pack = pack_of(await in_full(session, id))
    made, media_type = _PACKS[format]
    headers = {
        "Content-Disposition": f'attachment; filename="{pack.filename}.{format}"',
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": PACK_POLICY,
    }
    return Response(made(pack), media_type=f"{media_type}; charset=utf-8", headers=headers)


_PACKS: dict[PackFormat, tuple[Callable[[Pack], str], str]] = {
    "md": (pack_markdown, "text/markdown"),
    "html": (pack_html, "text/html"),
    "csv": (pack_csv, "text/csv"),
}


# --- its epics and its agenda -----------------------------------------------------------------


@router.get("/{id}/epics", summary="List the epics that a review froze", responses=error_responses(404))
async def list_review_epics(
    id: RowId,
    session: ReadingDep,
    alignment: Annotated[Alignment | None, Query(description="With this alignment then.")] = None,
    project: Annotated[Text | None, Query(description="Project key or owner/repository, any case.")] = None,
    source: Annotated[Text | None, Query(description="Of the source that had this name, any case.")] = None,
    changed: Annotated[
        Changed | None,
        Query(
            description="Whose alignment or due day is another than in the review before; `new`: that were "
            "not in it."
        ),
    ] = None,
    limit: Limit = 50,
    cursor: CursorParameter = None,
) -> Page[FrozenEpic]:
    """Every epic that was open when it was opened, as it was then."""
    row = await operations.load_review(session, id)
    step = list_query(cursor, limit, alignment=alignment, project=project, source=source, changed=changed)
    query = frozen_epics(row, **step.filters)
    rows, following = await page_of(session, query, ReviewEpicRow.epic_id, step)
    return Page(items=[_show_epic(epic) for (epic,) in rows], next=following)


@router.post(
    "/{id}/items", status_code=201, summary="Add a line to the agenda", responses=error_responses(404, 409)
)
async def create_item(id: RowId, body: ItemIn, runtime: RuntimeDep, session: SessionDep) -> ItemOut:
    """At the end. 409 once the review is closed."""
    now = await runtime.now(session)
    return show_item(await operations.add_item(session, id, now, title=body.title, detail=body.detail))


@router.patch(
    "/{id}/items/{item_id}",
    summary="Deal with a line of the agenda",
    responses=error_responses(404, 409),
)
async def change_item(
    id: RowId, item_id: ItemId, body: ItemPatch, runtime: RuntimeDep, session: SessionDep
) -> ItemOut:
    """409 once the review is closed."""
    item = await operations.set_item(
        session,
        id,
        item_id,
        await runtime.now(session),
        state=body.state,
        mitigation=body.mitigation,
    )
    return show_item(item)
