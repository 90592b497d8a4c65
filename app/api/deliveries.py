"""Deliveries: the webhooks received, and the result of each."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlalchemy import select

from app.api.deps import ReadingDep, RuntimeDep, SessionDep
from app.api.paging import CursorParameter, Limit, Page, list_query, page_of
from app.api.problems import error_responses
from app.api.runs import RowId, RunError
from mappings.lookups import delivery_at, source_in
from mappings.tables import DeliveryRow, SourceRow
from mappings.webhooks import operations

router = APIRouter(prefix="/deliveries", tags=["deliveries"])

_EVERY = select(DeliveryRow, SourceRow.name).join(SourceRow, SourceRow.id == DeliveryRow.source_id)

DeliveryState = Literal["received", "done", "ignored", "failed"]


class DeliveryOut(BaseModel):
    id: int = Field(description="Rises with every delivery.", examples=[4711])
    source: str = Field(description="The source's name.", examples=["acme-github"])
    remote_id: str = Field(
        description="The tracker's own id of the delivery; where it sent none, the hash of the body.",
        examples=["72d3162e-cc78-11e3-81ab-4c9367dc0958"],
    )
    event: str = Field(description="What the tracker calls the event.", examples=["issues"])
    action: str | None = Field(description="GitHub's action, where there is one.", examples=["edited"])
    received_at: datetime = Field(description="When it was last received.")
    state: DeliveryState = Field(
        description="`received`: waits to be processed. The tracker may send a `failed` one again."
    )
    reason: str | None = Field(
        description="Why it is ignored, such as `unknown`, `own`, `not_an_epic`, `out_of_scope`, or "
        "`repeated`: the same body waited to be processed under another id.",
        examples=["own"],
    )
    attempts: int = Field(description="How often Northing tried to process it.")
    error: RunError | None = Field(description="Why processing failed, or what it waits for.")
    run: int | None = Field(description="The run that evaluated what it changed; null where nothing changed.")


class DeliveryWithBody(DeliveryOut):
    body: str | None = Field(
        description="What was sent, as text; null once it is deleted, after 14 days.",
        examples=['{"action": "edited"}'],
    )


def _show(delivery: DeliveryRow, source: str) -> DeliveryOut:
    return DeliveryOut.model_validate(_members(delivery, source))


def _members(delivery: DeliveryRow, source: str) -> dict[str, Any]:
    shown = {name: getattr(delivery, name, None) for name in DeliveryOut.model_fields}
    return {**shown, "source": source, "run": delivery.run_id}


@router.get("", summary="List deliveries, newest first")
async def list_deliveries(
    session: ReadingDep,
    source: Annotated[str | None, Query(description="To this source.")] = None,
    state: Annotated[DeliveryState | None, Query(description="In this state.")] = None,
    limit: Limit = 50,
    cursor: CursorParameter = None,
) -> Page[DeliveryOut]:
    step = list_query(cursor, limit, source=source, state=state)
    query: Any = _EVERY
    if step.filters["source"] is not None:
        held = await source_in(session, step.filters["source"], "source")
        query = query.where(DeliveryRow.source_id == held.id)
    if step.filters["state"] is not None:
        query = query.where(DeliveryRow.state == step.filters["state"])
    rows, following = await page_of(session, query, DeliveryRow.id, step, newest_first=True)
    return Page(items=[_show(delivery, name) for delivery, name in rows], next=following)


@router.get("/{id}", summary="Show a delivery with its body", responses=error_responses(404))
async def get_delivery(session: SessionDep, id: RowId) -> DeliveryWithBody:
    delivery, source = await delivery_at(session, id)
    body = None if delivery.body is None else delivery.body.decode("utf-8", "replace")
    return DeliveryWithBody.model_validate({**_members(delivery, source), "body": body})


@router.post(
    "/{id}/replay",
    status_code=202,
    summary="Work on a delivery once more",
    responses=error_responses(404, 409),
)
async def replay_delivery(session: SessionDep, runtime: RuntimeDep, id: RowId) -> DeliveryOut:
    """The delivery is processed as if it had just arrived; commands in a comment are not executed a second
    time. 409 while the delivery is being processed, and once its body is deleted."""
    return _show(*await operations.replay_delivery(session, id, await runtime.now(session)))
