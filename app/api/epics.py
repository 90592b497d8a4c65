"""Epics as synced and judged."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.bodies import texts_to_come
from app.api.deps import RuntimeDep, SessionDep
from app.api.lookups import find_epic, key_result_in, source_at, source_in
from app.api.paging import CursorParameter, Limit, Page, page_of, walk
from app.api.problems import Problem, answers, invalid, not_found
from app.api.verdict_models import Alignment, EpicOut, EpicWithWhy, Reason, show_epic
from app.runtime import Runtime
from mappings import cases, rulings
from mappings.explain import explain
from mappings.standard import load_key_results
from mappings.tables import Epic, Link, Source

router = APIRouter(prefix="/epics", tags=["epics"])

GONE_IN_WORDS = {
    "deleted": "was deleted in the tracker, or is no longer visible to Northing",
    "out_of_scope": "left the source's scope",
    "not_an_epic": "no longer fits the source's selector of epics",
}


@router.get("", summary="List epics")
async def list_epics(
    runtime: RuntimeDep,
    session: SessionDep,
    source: Annotated[str | None, Query(description="Of this source.")] = None,
    alignment: Annotated[Alignment | None, Query(description="With this verdict.")] = None,
    key_result: Annotated[str | None, Query(description="Linked to this key result.")] = None,
    project: Annotated[str | None, Query(description="Project key or owner/repository, any case.")] = None,
    key: Annotated[
        str | None, Query(description="This epic alone, with its `why`; needs `source`. Former keys count.")
    ] = None,
    q: Annotated[str | None, Query(max_length=200, description="Part of the title or key, any case.")] = None,
    limit: Limit = 50,
    cursor: CursorParameter = None,
) -> Page[EpicWithWhy | EpicOut]:
    if key is not None:
        if source is None:
            raise invalid("source", "is needed with key")
        held = await source_in(session, source, "source")
        return Page(items=[await whole_epic(runtime, session, held, key)], next=None)
    step = walk(
        cursor, limit, source=source, alignment=alignment, key_result=key_result, project=project, q=q
    )
    query = await _filtered(session, step.filters)
    rows, following = await page_of(session, query, Epic.id, step)
    found = await cases.load_cases(session, [row for row, _ in rows])
    goals, now = await load_key_results(session), runtime.clock()
    texts = await texts_to_come(runtime, session, found, now)
    items = [
        show_epic(name, case, goals, now, texts.get(case.row.id))
        for case, (_, name) in zip(found, rows, strict=True)
    ]
    return Page(items=items, next=following)


async def _filtered(session: AsyncSession, filters: dict[str, Any]) -> Any:
    query: Any = (
        select(Epic, Source.name).join(Source, Source.id == Epic.source_id).where(Epic.gone_at.is_(None))
    )
    if filters["source"] is not None:
        query = query.where(Epic.source_id == (await source_in(session, filters["source"], "source")).id)
    if filters["alignment"] is not None:
        query = query.where(Epic.alignment == filters["alignment"])
    if filters["key_result"] is not None:
        goal = await key_result_in(session, filters["key_result"], "key_result")
        query = query.where(Epic.id.in_(select(Link.epic_id).where(Link.key_result_id == goal.id)))
    if filters["project"] is not None:
        query = query.where(func.lower(Epic.project) == filters["project"].lower())
    if filters["q"] is not None:
        part = filters["q"]
        query = query.where(
            or_(Epic.title.icontains(part, autoescape=True), Epic.key.icontains(part, autoescape=True))
        )
    return query


@router.get("/{source}/{key:path}", summary="Show an epic and why it stands so", responses=answers(404))
async def get_epic(
    source: Annotated[str, Path(description="The source's name.")],
    key: Annotated[str, Path(description="The epic's key, percent-encoded; a former one will do.")],
    runtime: RuntimeDep,
    session: SessionDep,
) -> EpicWithWhy:
    """`key` is percent-encoded (`acme%2Fshop%237`); where a proxy spoils that, ask `?source=&key=`."""
    return await whole_epic(runtime, session, await source_at(session, source), key)


async def whole_epic(runtime: Runtime, session: AsyncSession, source: Source, key: str) -> EpicWithWhy:
    """An epic of a source with its `why`; 404 with the reason for one that has left every list."""
    row = await find_epic(session, source, key)
    if row is None:
        raise not_found(f"epic in {source.name} with the key", key)
    if row.gone_at is not None:
        reason = GONE_IN_WORDS[row.gone_reason or "deleted"]
        raise Problem(404, f"{row.key} {reason}, seen {row.gone_at:%Y-%m-%d %H:%M} UTC.")
    now = runtime.clock()
    (case,) = await cases.load_cases(session, [row])
    standard = await runtime.standard(session, source, [row.project])
    ruling = cases.judge(case, standard, now)
    reasons = explain(
        source.name, cases.epic_of(row), ruling.resolution, ruling.decision, standard.goals, now
    )
    to_come = rulings.text_to_come(ruling, standard)
    shown = show_epic(source.name, case, standard.goals.key_results, now, to_come)
    why = [Reason.model_validate(reason, from_attributes=True) for reason in reasons]
    return EpicWithWhy(**dict(shown), why=why)
