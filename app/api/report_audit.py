"""The report of how well each current initiative is steered."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from app.api.attachments import csv_attachment
from app.api.deps import Key, Moment, RuntimeDep, SessionDep
from app.api.epic_models import EpicName
from mappings.reports.audit import audit_report
from mappings.reports.audit_document import NAMED, audit_document
from mappings.reports.audit_signs import SIGNS
from mappings.reports.audit_text import COLUMNS, csv_pieces, markdown
from mappings.reports.cells import csv_text

router = APIRouter(prefix="/reports", tags=["reports"])

SHOWN, AT_MOST = 50, 500
SignName = Literal[
    "no-goal", "value-unanswered", "not-agreed", "not-moved", "no-priority", "no-owner", "no-review",
    "activity-only", "catch-all", "stopped-in-work", "old-conflict",
]  # fmt: skip
assert SignName.__args__ == tuple(sign.name for sign in SIGNS)  # type: ignore[attr-defined]


class SeenOnOut(BaseModel):
    kind: Literal["key_result", "cycle", "conflict"] = Field(description="What it is.")
    name: str = Field(description="The key of the goal or cycle, or the conflict's id.", examples=["KR-12"])
    says: str = Field(description="Why, in words.")


class SignOut(BaseModel):
    sign: SignName = Field(description="Its name.")
    title: str = Field(description="The same in a few words.")
    seen: bool = Field(description="Whether it is seen on anything.")
    count: int = Field(description="On how many initiatives, goals, cycles, conflicts or epics.")
    says: str = Field(description="The same as a sentence.")
    definition: str = Field(description="When it is seen.")
    to_do: str = Field(description="What to do then.")
    initiatives: list[EpicName] = Field(description=f"The first {NAMED} initiatives that it is seen on.")
    more_initiatives: int = Field(description="How many more; the initiatives name their signs too.")
    places: list[SeenOnOut] = Field(description=f"The first {NAMED} other things that it is seen on.")
    more_places: int = Field(description="How many more.")


class GoalOfInitiative(BaseModel):
    key: str = Field(description="Its key.", examples=["KR-12"])
    title: str = Field(description="Its title.")
    cycle: str | None = Field(description="The key of its cycle.")
    owner: str | None = Field(description="Its owner, or else its objective's.")
    sponsor: str | None = Field(description="Its objective's sponsor.")
    measured: bool = Field(description="It has a baseline and another target.")
    agreed: bool = Field(description="Both sides have signed its metric as it is now.")
    moved: bool = Field(description="Its latest check-in is not its baseline.")
    not_steered_because: list[str] = Field(description="What it lacks of these three, in words.")


class AuditInitiativeOut(BaseModel):
    source: str = Field(description="The source's name.")
    key: str = Field(description="The tracker's present key.", examples=["SHOP-12"])
    title: str = Field(description="As in the tracker; not escaped.")
    url: str = Field(description="The ticket's page.")
    project: str = Field(description="Jira project key, or owner/repository.")
    type: str = Field(description="The tracker's name of its type.")
    status: str = Field(description="The tracker's name of its status.")
    status_category: Literal["todo", "doing"] = Field(description="Current initiatives are not done.")
    alignment: str | None = Field(description="Null until the first evaluation.")
    value: str | None = Field(description="How it helps the business, in a sentence; null: not answered.")
    driver: str | None = Field(description="Which of the four ways that names.")
    answered_by: str | None = Field(description="Who said so.")
    answered_at: Moment | None = Field(description="When.")
    asked_of: str | None = Field(description="Who is asked.")
    key_result: GoalOfInitiative | None = Field(
        description="The live key result that it is linked to, of several the primary one; null for none."
    )
    key_results: list[str] = Field(description="The keys of all live ones, that one first.")
    stage: str | None = Field(description="Its stage gate: idea, pilot, scale or done.")
    stage_due: date | None = Field(description="The last day of its pilot.")
    score: float | None = Field(description="Its priority, 0 to 5; null: not scored for every criterion.")
    starts_on: date | None = Field(description="Its first planned day.")
    due_on: date | None = Field(description="Its last planned day.")
    children: int | None = Field(description="Tickets below it; null: not counted.")
    children_done: int | None = Field(description="Those of them that are done.")
    set_aside: Literal["stop", "defer"] | None = Field(description="What a decision that holds now says.")
    set_aside_until: date | None = Field(description="The last day of that; null: until it is undone.")
    signs: list[SignName] = Field(description="The signs that are seen on it.")


class AuditOut(BaseModel):
    at: Moment = Field(description="The moment that it is of.")
    definition: str = Field(description="What the words mean.")
    summary: str = Field(description="The audit in two sentences.")
    total: int = Field(description="The current initiatives.")
    with_goal: int = Field(description="Those with a live key result.")
    answered: int = Field(description="Those that say how they help the business.")
    steered_initiatives: int = Field(description="Those whose key result is measured, agreed and has moved.")
    scored: int = Field(description="Those that are scored for every criterion.")
    set_aside: int = Field(description="Those that a decision set aside.")
    coverage: float | None = Field(description="Of all open epics, as the report of coverage has it.")
    steered: float | None = Field(description="The same, of the aligned ones.")
    signs: list[SignOut] = Field(description="All signs of misalignment, seen or not.")
    initiatives: list[AuditInitiativeOut] = Field(description="Those with the most signs first.")
    more: int = Field(description="How many more there are; `format=csv` has all.")


async def _encoded(pieces: Iterable[str]) -> Any:
    for piece in pieces:
        yield piece.encode()


@router.get(
    "/audit",
    summary="How well each current initiative is steered, and the signs of misalignment",
    response_model=AuditOut,
    responses={
        200: {"content": {"text/csv": {"example": csv_text(COLUMNS, [])}, "text/markdown": {"example": "#"}}}
    },
)
async def get_audit(
    runtime: RuntimeDep,
    session: SessionDep,
    source: Annotated[str | None, Query(description="Of this source.")] = None,
    project: Annotated[str | None, Query(description="Project key or owner/repository, any case.")] = None,
    cycle: Annotated[Key | None, Query(description="Of the goals of this cycle.")] = None,
    limit: Annotated[
        int, Query(ge=1, le=AT_MOST, description="Initiatives in the answer; `csv` has all.")
    ] = SHOWN,
    format: Annotated[  # the parameter's public name
        Literal["json", "csv", "md"],
        Query(description="`csv`: a row for each initiative. `md`: a report to send to a committee."),
    ] = "json",
) -> AuditOut | Response:
    """Each current initiative with what it is for, who answers for it and how far its number is; beside them
    the signs of misalignment, each with what to do next. `definition` says what the words mean."""
    report = await audit_report(
        session, await runtime.now(session), source=source, project=project, cycle=cycle
    )
    if format == "json":
        return AuditOut.model_validate(audit_document(report, limit))
    if format == "md":
        return Response(markdown(report), media_type="text/markdown; charset=utf-8")
    return csv_attachment(_encoded(csv_pieces(report)), "audit")
