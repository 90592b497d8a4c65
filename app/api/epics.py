"""Epics as synced and evaluated."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.bodies import unwritten_texts
from app.api.deps import RuntimeDep, SessionDep
from app.api.epic_models import Alignment, EpicOut, EpicWithWhy, Reason, load_names_around, show_epic
from app.api.paging import CursorParameter, Limit, Page, list_query, page_of
from app.api.problems import error_responses
from app.runtime import Runtime
from mappings.errors import Invalid
from mappings.evaluation.context import load_key_results
from mappings.evaluation.evaluator import evaluate_records
from mappings.evaluation.explain import explain
from mappings.evaluation.load import epic_of, load_records
from mappings.evaluation.record import unwritten_text
from mappings.lookups import epic_at, key_result_in, source_at, source_in
from mappings.tables import EpicRow, LinkRow, SourceRow

router = APIRouter(prefix="/epics", tags=["epics"])


@router.get("", summary="List epics")
async def list_epics(
    runtime: RuntimeDep,
    session: SessionDep,
    source: Annotated[str | None, Query(description="Of this source.")] = None,
    alignment: Annotated[Alignment | None, Query(description="With this alignment.")] = None,
    key_result: Annotated[str | None, Query(description="Linked to this key result.")] = None,
    project: Annotated[str | None, Query(description="Project key or owner/repository, any case.")] = None,
    key: Annotated[
        str | None, Query(description="Only this epic, with its `why`; needs `source`. May be a former key.")
    ] = None,
    q: Annotated[str | None, Query(max_length=200, description="Part of the title or key, any case.")] = None,
    limit: Limit = 50,
    cursor: CursorParameter = None,
) -> Page[EpicWithWhy | EpicOut]:
    if key is not None:
        if source is None:
            raise Invalid("source", "is needed with key")
        source_row = await source_in(session, source, "source")
        return Page(items=[await whole_epic(runtime, session, source_row, key)], next=None)
    step = list_query(
        cursor, limit, source=source, alignment=alignment, key_result=key_result, project=project, q=q
    )
    query = await _filtered(session, step.filters)
    rows, following = await page_of(session, query, EpicRow.id, step)
    found = await load_records(session, [row for row, _ in rows])
    goals, now = await load_key_results(session), await runtime.now(session)
    texts = await unwritten_texts(runtime, session, found, now)
    names = await load_names_around(session, found)
    items = [
        show_epic(name, records, goals, names, now, texts.get(records.row.id))
        for records, (_, name) in zip(found, rows, strict=True)
    ]
    return Page(items=items, next=following)


async def _filtered(session: AsyncSession, filters: dict[str, Any]) -> Any:
    query: Any = (
        select(EpicRow, SourceRow.name)
        .join(SourceRow, SourceRow.id == EpicRow.source_id)
        .where(EpicRow.removed_at.is_(None))
    )
    if filters["source"] is not None:
        query = query.where(EpicRow.source_id == (await source_in(session, filters["source"], "source")).id)
    if filters["alignment"] is not None:
        query = query.where(EpicRow.alignment == filters["alignment"])
    if filters["key_result"] is not None:
        goal = await key_result_in(session, filters["key_result"], "key_result")
        query = query.where(EpicRow.id.in_(select(LinkRow.epic_id).where(LinkRow.key_result_id == goal.id)))
    if filters["project"] is not None:
        query = query.where(func.lower(EpicRow.project) == filters["project"].lower())
    if filters["q"] is not None:
        part = filters["q"]
        query = query.where(
            or_(EpicRow.title.icontains(part, autoescape=True), EpicRow.key.icontains(part, autoescape=True))
        )
    return query


@router.get(
    "/{source}/{key:path}", summary="Show an epic and why it stands so", responses=error_responses(404)
)
async def get_epic(
    source: Annotated[str, Path(description="The source's name.")],
    key: Annotated[str, Path(description="The epic's key, or a former one, percent-encoded.")],
    runtime: RuntimeDep,
    session: SessionDep,
) -> EpicWithWhy:
    """`key` is percent-encoded (`acme%2Fshop%237`); where a proxy decodes it, list `?source=&key=`."""
    return await whole_epic(runtime, session, await source_at(session, source), key)


async def whole_epic(runtime: Runtime, session: AsyncSession, source: SourceRow, key: str) -> EpicWithWhy:
    """An epic of a source with its `why`; 404 with the reason for one that is removed."""
    row = await epic_at(session, source, key)
    now = await runtime.now(session)
    (records,) = await load_records(session, [row])
    context = await runtime.evaluation_context(session, source, [row.project])
    (evaluation,) = await evaluate_records(session, [records], context, now)
    reasons = explain(
        source.name,
        epic_of(row, context.former_names(row.project)),
        evaluation.resolution,
        evaluation.decision,
        context.goals,
        now,
    )
    unwritten = unwritten_text(evaluation, context)
    names = await load_names_around(session, [records])
    shown = show_epic(source.name, records, context.goals.key_results, names, now, unwritten)
    why = [Reason.model_validate(reason, from_attributes=True) for reason in reasons]
    return EpicWithWhy(**dict(shown), why=why)
