"""What epics and key results are worth, planned and realised."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.deps import Body, Line, LongText, Moment, ReadingDep, RuntimeDep, SessionDep
from app.api.epic_models import EpicName
from app.api.goal_models import KeyInPath, Number, SentMoment
from app.api.paging import CursorParameter, Limit, ListQuery, Page, list_query, page_of
from app.api.problems import error_responses
from app.api.runs import RowId
from app.api.suggestions import EpicInPath, SourceInPath
from mappings.governance.estimates import (
    AMOUNT,
    CURRENCY_PATTERN,
    EstimateKind,
    EstimateValues,
    counting,
    currency_error,
    delete_estimate,
    estimate_epic,
    estimate_key_result,
)
from mappings.lookups import epic_at, goal_at, source_at
from mappings.tables import EstimateRow, KeyResultRow

router = APIRouter(tags=["estimates"])


def _currency(value: object) -> object:
    if isinstance(value, str) and (error := currency_error(value)) is not None:
        raise ValueError(error)
    return value


Currency = Annotated[str, StringConstraints(pattern=CURRENCY_PATTERN), BeforeValidator(_currency)]


class EstimateIn(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"kind": "planned", "amount": 120000, "currency": "EUR", "estimated_by": "Controlling"}
            ]
        }
    )

    kind: EstimateKind = Field(description="What it is to bring, or what it has brought.")
    amount: Annotated[Number, Field(**AMOUNT)] = Field(
        description="In units of the currency. Saved cost is positive, a loss negative."
    )
    currency: Currency = Field(
        description="The three letters of ISO 4217, in any case; shown as capitals. The list itself is not "
        "checked."
    )
    estimated_by: Line = Field(description="The person that estimated it.")
    note: LongText | None = Field(None, description="What it is made of.")
    at: SentMoment | None = Field(
        None, description="When it was estimated, with its time zone; now if left out."
    )

    def values(self) -> EstimateValues:
        return EstimateValues(**self.model_dump())


class EstimateOut(BaseModel):
    id: int = Field(description="Rises with every estimate.")
    epic: EpicName | None = Field(description="The epic that it is of.")
    key_result: str | None = Field(description="The key of the key result that it is of.")
    kind: EstimateKind = Field(description="What it is to bring, or what it has brought.")
    amount: float = Field(description="In units of the currency.")
    currency: str = Field(description="Three capitals.")
    estimated_by: str = Field(description="The person that estimated it.")
    note: str | None = Field(description="What it is made of.")
    at: Moment = Field(description="When it was estimated.")
    created_at: Moment = Field(description="When it was entered in Northing.")
    counts: bool = Field(
        description="Whether it is the newest of its kind and currency, by `at` and then by `id`."
    )


def _show(
    row: EstimateRow, *, counts: bool, epic: EpicName | None = None, key_result: str | None = None
) -> EstimateOut:
    own = {
        name: getattr(row, name)
        for name in EstimateOut.model_fields
        if name not in ("epic", "key_result", "counts")
    }
    return EstimateOut(**own, epic=epic, key_result=key_result, counts=counts)


async def _counts(session: AsyncSession, row: EstimateRow) -> bool:
    which = (
        counting("epic", [row.epic_id])
        if row.epic_id is not None
        else counting("key_result", [row.key_result_id or 0])
    )
    return row.id in set(await session.scalars(_ids(which)))


def _ids(which: Select[EstimateRow]) -> Select[int]:
    return select(which.subquery().c.id)


async def _page(
    session: AsyncSession,
    step: ListQuery,
    which: Select[EstimateRow],
    of: Select[EstimateRow],
    *,
    epic: EpicName | None = None,
    key_result: str | None = None,
) -> Page[EstimateOut]:
    counts = EstimateRow.id.in_(_ids(which)).label("counts")
    rows, following = await page_of(session, of.add_columns(counts), EstimateRow.id, step, newest_first=True)
    items = [_show(row, counts=counts, epic=epic, key_result=key_result) for row, counts in rows]
    return Page(items=items, next=following)


@router.get(
    "/epics/{source}/{key:path}/estimates",
    summary="List an epic's estimates, newest first",
    responses=error_responses(404),
)
async def list_epic_estimates(
    source: SourceInPath,
    key: EpicInPath,
    session: ReadingDep,
    limit: Limit = 50,
    cursor: CursorParameter = None,
) -> Page[EstimateOut]:
    """All that are there, those too that no longer count."""
    held = await source_at(session, source)
    row = await epic_at(session, held, key)
    step = list_query(cursor, limit, epic=row.id)
    of = select(EstimateRow).where(EstimateRow.epic_id == row.id)
    name = EpicName(source=held.name, key=row.key)
    return await _page(session, step, counting("epic", [row.id]), of, epic=name)


@router.post(
    "/epics/{source}/{key:path}/estimates",
    status_code=201,
    summary="Estimate what an epic is worth",
    responses=error_responses(404),
)
async def create_epic_estimate(
    source: SourceInPath, key: EpicInPath, body: EstimateIn, runtime: RuntimeDep, session: SessionDep
) -> EstimateOut:
    """An estimate is added, and none is changed: of its kind and currency the newest counts."""
    row, epic, held = await estimate_epic(session, source, key, await runtime.now(session), body.values())
    name = EpicName(source=held.name, key=epic.key)
    return _show(row, counts=await _counts(session, row), epic=name)


@router.get(
    "/key-results/{key}/estimates",
    summary="List a key result's estimates, newest first",
    responses=error_responses(404),
)
async def list_key_result_estimates(
    key: KeyInPath, session: ReadingDep, limit: Limit = 50, cursor: CursorParameter = None
) -> Page[EstimateOut]:
    """All that are there, those too that no longer count."""
    held = await goal_at(session, KeyResultRow, key)
    step = list_query(cursor, limit, key_result=held.key)
    of = select(EstimateRow).where(EstimateRow.key_result_id == held.id)
    return await _page(session, step, counting("key_result", [held.id]), of, key_result=held.key)


@router.post(
    "/key-results/{key}/estimates",
    status_code=201,
    summary="Estimate what a key result is worth",
    responses=error_responses(404),
)
async def create_key_result_estimate(
    key: KeyInPath, body: EstimateIn, runtime: RuntimeDep, session: SessionDep
) -> EstimateOut:
    """As for an epic. A key result's own estimates stand beside those of its epics and are not added to
    them."""
    row, held = await estimate_key_result(session, key, await runtime.now(session), body.values())
    return _show(row, counts=await _counts(session, row), key_result=held.key)


@router.delete(
    "/estimates/{id}",
    status_code=204,
    summary="Delete a wrong estimate",
    responses=error_responses(404),
)
async def remove_estimate(id: RowId, session: SessionDep) -> None:
    """The one before it counts again. The audit log keeps what it was."""
    await delete_estimate(session, id)
