"""The audit log: who changed what, and when. Entries are only added."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlalchemy import func, select

from app.api.deps import Moment, ReadingDep
from app.api.goal_models import SentMoment
from app.api.paging import CursorParameter, Limit, Page, list_query, page_of
from mappings.tables import AuditEntryRow

router = APIRouter(prefix="/audit-log", tags=["access"])

What = Literal[
    "agreement",
    "check_in",
    "conflict",
    "criterion",
    "cycle",
    "decision",
    "delivery",
    "estimate",
    "finding",
    "key_result",
    "link",
    "notices",
    "objective",
    "policy",
    "rejection",
    "review",
    "review_item",
    "rule",
    "run",
    "score",
    "source",
    "stage",
    "token",
    "value",
]
_EVERY = select(AuditEntryRow)
CHANGED = "For a change, only the fields that differ; a secret is shown as `set` or `changed`."


class AuditEntryOut(BaseModel):
    id: int = Field(description="Rises with every entry.", examples=[7])
    at: Moment = Field(description="When the change began.", examples=["2026-11-22T09:00:00Z"])
    who: str = Field(
        description="The token, or the author of a command and its ticket.", examples=["token 3 (ci)"]
    )
    who_id: str | None = Field(
        description="For a command, the tracker's id of the account that gave it: names are not unique. "
        "Null for everybody else.",
        examples=["5b10a2844c20165700ede21g"],
    )
    action: Literal["created", "changed", "deleted", "approved", "withdrawn"] = Field(
        description="What was done."
    )
    what: What = Field(description="The kind of object.")
    key: str = Field(description="Its public name then; for a link `SOURCE/EPIC -> KEY`.", examples=["KR-1"])
    before: dict[str, Any] | None = Field(
        description=f"As it was before; null: it did not exist. {CHANGED}", examples=[{"target": 40.0}]
    )
    after: dict[str, Any] | None = Field(
        description=f"As it was afterwards; null: it was deleted. {CHANGED}", examples=[{"target": 50.0}]
    )


@router.get("", summary="Show the audit log, newest first")
async def list_audit_log(
    session: ReadingDep,
    who: Annotated[str | None, Query(description="Changes by this actor, as `who` shows it.")] = None,
    who_id: Annotated[str | None, Query(description="Changes by commands of this account.")] = None,
    what: Annotated[What | None, Query(description="Changes of this kind of object.")] = None,
    key: Annotated[str | None, Query(description="Changes of what had this public name, any case.")] = None,
    since: Annotated[SentMoment | None, Query(description="At this time or later; with a time zone.")] = None,
    until: Annotated[SentMoment | None, Query(description="Before this time; with a time zone.")] = None,
    limit: Limit = 50,
    cursor: CursorParameter = None,
) -> Page[AuditEntryOut]:
    times = {"since": since, "until": until}
    spelled = {name: None if at is None else at.isoformat() for name, at in times.items()}
    step = list_query(cursor, limit, who=who, who_id=who_id, what=what, key=key, **spelled)
    query, filters = _EVERY, step.filters
    if filters["who"] is not None:
        query = query.where(AuditEntryRow.who == filters["who"])
    if filters["who_id"] is not None:
        query = query.where(AuditEntryRow.who_id == filters["who_id"])
    if filters["what"] is not None:
        query = query.where(AuditEntryRow.what == filters["what"])
    if filters["key"] is not None:
        query = query.where(func.lower(AuditEntryRow.key) == filters["key"].lower())
    if filters["since"] is not None:
        query = query.where(AuditEntryRow.at >= datetime.fromisoformat(filters["since"]))
    if filters["until"] is not None:
        query = query.where(AuditEntryRow.at < datetime.fromisoformat(filters["until"]))
    rows, following = await page_of(session, query, AuditEntryRow.id, step, newest_first=True)
    items = [AuditEntryOut.model_validate(vars(row)) for (row,) in rows]
    return Page(items=items, next=following)
