"""Conflicts: a technical constraint against a business demand, and who is to decide it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.api.deps import (
    Body,
    IfMatch,
    Key,
    Moment,
    ReadingDep,
    RuntimeDep,
    SessionDep,
    put_version,
    response_headers,
    versions_in,
)
from app.api.links import EpicRefIn
from app.api.paging import CursorParameter, Limit, Page, list_query, page_of
from app.api.problems import error_responses
from app.api.review_models import PersonOut
from app.api.runs import RowId
from mappings.errors import Invalid
from mappings.governance.conflicts import (
    CONFLICT_TEXT_AT_MOST,
    ConflictShown,
    ConflictState,
    change_conflict,
    conflict_ids,
    goal_of_key,
    load_conflict,
    load_conflicts,
    raise_conflict,
    withdraw_conflict,
)
from mappings.governance.values import DecisionKind
from mappings.lookups import find_epic, source_in
from mappings.policy.document import EscalatedTo
from mappings.policy.operations import load_policy
from mappings.tables import ConflictRow, among
from mappings.values import NO_NUL_PATTERN

router = APIRouter(prefix="/conflicts", tags=["conflicts"])

ConflictText = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=CONFLICT_TEXT_AT_MOST, pattern=NO_NUL_PATTERN, strip_whitespace=True
    ),
]
TECHNICAL = "What technology does not allow, or not yet."
BUSINESS = "What the business asks for."


class ConflictIn(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "epic": {"source": "acme-jira", "key": "SHOP-12"},
                    "technical": "The old payment service cannot be changed before it is replaced in March.",
                    "business": "Customers must be able to pay by invoice before Christmas.",
                }
            ]
        }
    )

    epic: EpicRefIn | None = Field(None, description="The epic that it is about; else give `goal`.")
    goal: Key | None = Field(None, description="The key of the objective or key result that it is about.")
    technical: ConflictText = Field(description=TECHNICAL)
    business: ConflictText = Field(description=BUSINESS)


class ConflictPatch(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"business": "By invoice before Easter."}]})

    technical: ConflictText | None = Field(None, description=TECHNICAL)
    business: ConflictText | None = Field(None, description=BUSINESS)


class ConflictEpic(BaseModel):
    source: str = Field(description="The source's name.", examples=["acme-jira"])
    key: str = Field(description="The tracker's present key.", examples=["SHOP-12"])
    title: str = Field(description="Its title.")
    url: str = Field(description="Its page in the tracker.")
    removed: bool = Field(description="Whether it is in no list now.")


class ConflictGoal(BaseModel):
    kind: Literal["objective", "key_result"] = Field(description="What the goal is.")
    key: str = Field(description="Its key.")
    title: str = Field(description="Its title.")


class NextStep(BaseModel):
    to: EscalatedTo = Field(description="Who it goes to.")
    at: Moment = Field(description="When.")
    who: str | None = Field(description="Who that is, where goals say it.")


class ConflictDecision(BaseModel):
    id: int = Field(description="Its id in the list of decisions.")
    decision: DecisionKind = Field(description="What was decided.")
    reason: str = Field(description="Why.")
    decided_by: list[PersonOut] = Field(description="Who decided it.")
    review: int | None = Field(description="The review that it was decided in; null: in none.")
    at: Moment = Field(description="When.")


class ConflictOut(BaseModel):
    id: int = Field(description="Its id.")
    epic: ConflictEpic | None = Field(description="The epic; null where it is on a goal.")
    goal: ConflictGoal | None = Field(description="The goal; null where it is on an epic.")
    technical: str = Field(description=TECHNICAL)
    business: str = Field(description=BUSINESS)
    state: ConflictState = Field(description="`decided` once a decision ended it.")
    raised_by: str | None = Field(description="Who raised it.")
    raised_at: Moment = Field(description="When.")
    step: EscalatedTo | None = Field(
        description="Who it is with by the policy's `escalation`, of a decided one at the decision; null: "
        "its first step is still to come."
    )
    who: str | None = Field(
        description="Who that is: the owner or sponsor of the goal, or of the goal of the epic's primary "
        "link; null where that is not known, and for lead and committee."
    )
    since: Moment = Field(description="From when on it is with them.")
    next: NextStep | None = Field(description="Who it goes to next; null: to nobody.")
    decision: ConflictDecision | None = Field(description="What ended it.")
    version: int = Field(description="For `If-Match`.")


def show_conflict(one: ConflictShown) -> ConflictOut:
    row, about, position, decision = one.row, one.about, one.position, one.decision
    epic = goal = None
    if about.kind == "epic":
        names = {name: getattr(about, name) for name in ConflictEpic.model_fields}
        epic = ConflictEpic(**names)
    else:
        goal = ConflictGoal(kind=about.kind, key=about.key, title=about.title)
    following = None
    if position.next_step is not None and position.next_at is not None:
        who = one.name_of(position.next_step)
        following = NextStep(to=position.next_step, at=position.next_at, who=who)
    return ConflictOut(
        id=row.id,
        epic=epic,
        goal=goal,
        technical=row.technical,
        business=row.business,
        state="open" if row.decided_at is None else "decided",
        raised_by=row.raised_by,
        raised_at=row.raised_at,
        step=position.step,
        who=one.who,
        since=position.since,
        next=following,
        decision=None
        if decision is None
        else ConflictDecision(
            id=decision.id,
            decision=decision.decision,
            reason=decision.reason,
            decided_by=[PersonOut(**person) for person in decision.decided_by],
            review=decision.review_id,
            at=decision.decided_at,
        ),
        version=row.version,
    )


async def present_conflict(session: SessionDep, id: int, now: Any, response: Response) -> ConflictOut:
    shown = await load_conflict(session, await load_policy(session), id, now)
    put_version(response, shown.row.version)
    return show_conflict(shown)


@router.post(
    "",
    status_code=201,
    summary="Record a conflict",
    responses={**response_headers(201, "ETag"), **error_responses(409)},
)
async def create_conflict(
    body: ConflictIn, response: Response, runtime: RuntimeDep, session: SessionDep
) -> ConflictOut:
    """On an epic, an objective or a key result, with both sides. As its days pass it goes to those that the
    policy's `escalation` names; a decision ends it."""
    now = await runtime.now(session)
    row = await raise_conflict(
        session,
        now,
        epic=None if body.epic is None else (body.epic.source, body.epic.key),
        goal=body.goal,
        technical=body.technical,
        business=body.business,
    )
    return await present_conflict(session, row.id, now, response)


@router.get("", summary="List conflicts, oldest first")
async def list_conflicts(
    runtime: RuntimeDep,
    session: ReadingDep,
    state: Annotated[ConflictState | None, Query(description="In this state.")] = None,
    epic_source: Annotated[str | None, Query(description="On epics of this source.")] = None,
    epic_key: Annotated[str | None, Query(description="Needs `epic_source`.")] = None,
    goal: Annotated[Key | None, Query(description="On the objective or key result of this key.")] = None,
    step: Annotated[EscalatedTo | None, Query(description="With them now, or when it was decided.")] = None,
    limit: Limit = 50,
    cursor: CursorParameter = None,
) -> Page[ConflictOut]:
    """Without those that are open on an epic that is in no list now."""
    asked = list_query(
        cursor, limit, state=state, epic_source=epic_source, epic_key=epic_key, goal=goal, step=step
    )
    filters, now = asked.filters, await runtime.now(session)
    chosen: dict[str, Any] = {"state": filters["state"]}
    source = None
    if filters["epic_source"] is not None:
        source = await source_in(session, filters["epic_source"], "epic_source")
        if filters["epic_key"] is not None:
            epic = await find_epic(session, source, filters["epic_key"])
            chosen["epic_id"] = epic.id if epic is not None else 0
    elif filters["epic_key"] is not None:
        raise Invalid("epic_source", "is needed with epic_key")
    if filters["goal"] is not None:
        chosen["goal"] = await goal_of_key(session, filters["goal"], "goal")
    policy = await load_policy(session)
    query = conflict_ids(**chosen, source_id=None if source is None else source.id)
    if filters["step"] is not None:  # with whom one is now is known once it is read
        steps = await load_conflicts(session, policy, now, **chosen, step=filters["step"])
        query = query.where(among(ConflictRow.id, [one.row.id for one in steps]))
    rows, following = await page_of(session, query, ConflictRow.id, asked)
    ids = [id for (id,) in rows]
    found = {one.row.id: one for one in await load_conflicts(session, policy, now, ids=ids)}
    return Page(items=[show_conflict(found[id]) for id in ids if id in found], next=following)


@router.get(
    "/{id}", summary="Show a conflict", responses={**response_headers(200, "ETag"), **error_responses(404)}
)
async def get_conflict(
    id: RowId, response: Response, runtime: RuntimeDep, session: SessionDep
) -> ConflictOut:
    return await present_conflict(session, id, await runtime.now(session), response)


@router.patch(
    "/{id}",
    summary="Change what a conflict says",
    responses={**response_headers(200, "ETag"), **error_responses(404, 409, 412)},
)
async def patch_conflict(
    id: RowId,
    body: ConflictPatch,
    response: Response,
    runtime: RuntimeDep,
    session: SessionDep,
    if_match: IfMatch = None,
) -> ConflictOut:
    """As long as it is open; its days go on."""
    for name in sorted(body.model_fields_set):
        if getattr(body, name) is None:
            raise Invalid(name, "cannot be removed; leave it out, or send another")
    await change_conflict(
        session, id, technical=body.technical, business=body.business, versions=versions_in(if_match)
    )
    return await present_conflict(session, id, await runtime.now(session), response)


@router.delete(
    "/{id}", status_code=204, summary="Withdraw a conflict", responses=error_responses(404, 409, 412)
)
async def delete_conflict(id: RowId, session: SessionDep, if_match: IfMatch = None) -> None:
    """One that was raised by mistake; 409 where a decision was recorded on it."""
    await withdraw_conflict(session, id, versions=versions_in(if_match))
