"""Epics as synced and evaluated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.convertors import PathConvertor, register_url_convertor

from app.api.bodies import unwritten_texts
from app.api.deps import ReadingDep, RuntimeDep
from app.api.epic_filters import EpicFilterParameters, EpicFilterQuery, SortParameter
from app.api.epic_models import EpicOut, EpicWithWhy, Reason, load_names_around, show_epic
from app.api.paging import (
    CursorParameter,
    Cursors,
    Limit,
    ListQuery,
    Page,
    first_page,
    list_query,
    page_of,
)
from app.api.problems import error_responses
from app.runtime import Runtime
from mappings.errors import Invalid
from mappings.evaluation.evaluator import evaluate_records, explained
from mappings.evaluation.explain import explain
from mappings.evaluation.known_goals import known_goals
from mappings.evaluation.load import (
    EpicRecords,
    load_epics_to_show,
    load_records,
    load_records_to_show,
)
from mappings.evaluation.texts import unwritten_text
from mappings.governance.initiatives import initiatives_among
from mappings.lists.epics import EpicFilters, Sort, listed_ids, sort_value
from mappings.lookups import epic_at, source_at, source_in
from mappings.tables import EpicRow, SourceRow


class EpicKeyConvertor(PathConvertor):
    """A key, slashes included, but not the address of a suggestion's rejection, which takes no GET."""

    regex = r"(?!.*/suggestions/[^/]+/reject$).*"


register_url_convertor("epic_key", EpicKeyConvertor())
router = APIRouter(prefix="/epics", tags=["epics"])

# Of a list of initiatives, and of all others, which are more: for each epic of a page so many are looked at,
# and then so many, before all are.
NEAR, MOST_NEAR = {True: (20,), False: (4, 20)}, 2_000
Rules = Literal["matching", "all"]
RULES = Query(description="Of the rules, which `why` names: those that match the epic, or all.")


@router.get("", summary="List epics", response_model=Page[EpicWithWhy | EpicOut])
async def list_epics(
    runtime: RuntimeDep,
    session: ReadingDep,
    filters: EpicFilterParameters,
    sort: SortParameter = None,
    key: Annotated[
        str | None, Query(description="Only this epic, with its `why`; needs `source`. May be a former key.")
    ] = None,
    rules: Annotated[Rules, RULES] = "matching",
    limit: Limit = 50,
    cursor: CursorParameter = None,
) -> Any:
    """A page's order by another value than the id holds as long as the value of each epic stays the same."""
    if key is not None:
        if filters.source is None:
            raise Invalid("source", "is needed with key")
        named = asdict(filters.filters()) | {"sort": sort, "cursor": None if cursor is None else cursor.sent}
        if others := [name for name, value in named.items() if name != "source" and value not in (None, "")]:
            raise Invalid(others[0], "cannot be sent with key, which names one epic")
        source_row = await source_in(session, filters.source, "source")
        return Page(items=[await whole_epic(runtime, session, source_row, key, rules)], next=None)
    read = await read_epics(runtime, session, filters, sort, limit, cursor)
    known = await known_goals(session)
    goals = known.goals.key_results
    texts = await unwritten_texts(runtime, session, read.found, read.now, known)
    names = await load_names_around(session, read.found, known.policy)
    items = [
        show_epic(records.row.source, records, goals, names, read.now, texts.get(records.row.id))  # type: ignore[attr-defined]  # a column of `load_epics_to_show`
        for records in read.found
    ]
    # The items are right as they are made; FastAPI would check each once more.
    page = Page[EpicOut](items=items, next=read.next)
    return Response(page.model_dump_json(), media_type="application/json")


@dataclass(frozen=True, slots=True)
class ReadEpics:
    """One page of a list of epics. The `row` of each has its `source`'s name too. `filters`: those of the
    list, with its `sort`. `next`: the cursor of the next page, None on the last."""

    found: Sequence[EpicRecords]
    filters: Mapping[str, Any]
    next: str | None
    now: datetime


async def read_epics(
    runtime: Runtime,
    session: AsyncSession,
    filters: EpicFilterQuery,
    sort: Sort | None,
    limit: int,
    cursor: Cursors | None,
) -> ReadEpics:
    """Raises `Invalid` on a filter that names nothing, and on a cursor that is none of this list."""
    step = list_query(cursor, limit, **asdict(filters.filters()), sort=sort)
    asked = dict(step.filters)
    value, newest_first = sort_value(asked.pop("sort") or "id")
    now = await runtime.now(session)
    which, order = EpicFilters(**asked), _Order(newest_first, value)
    page = (
        None if which.initiative is None else await _page_of_near(runtime, session, which, step, order, now)
    )
    ids, following = page or await _page(runtime, session, which, step, order, now)
    rows = await load_epics_to_show(session, [id for id, *_ in ids])
    return ReadEpics(await load_records_to_show(session, rows), step.filters, following, now)


@dataclass(frozen=True, slots=True)
class _Order:
    """As `page_of` takes it."""

    newest_first: bool
    value: Any


_Ids = tuple[Sequence[Any], str | None]  # rows that begin with the epic's id, and the cursor of the next page


async def _page(
    runtime: Runtime, session: AsyncSession, which: EpicFilters, step: ListQuery, order: _Order, now: datetime
) -> _Ids:
    listed = await listed_ids(session, which, runtime.checks, now)
    return await page_of(
        session, listed, EpicRow.id, step, newest_first=order.newest_first, value=order.value
    )


async def _page_of_near(
    runtime: Runtime, session: AsyncSession, which: EpicFilters, step: ListQuery, order: _Order, now: datetime
) -> _Ids | None:
    """The page of a list of initiatives, or of all others, by a look at each of the next epics: to find all
    initiatives, all children are read. None where these do not fill the page, and more follow."""
    policy = (await known_goals(session)).policy
    found: list[Any] = []
    after = step.after
    for times in NEAR[bool(which.initiative)]:
        near = replace(step, after=after, limit=min(times * step.limit, MOST_NEAR))
        rows, more = await _page(runtime, session, replace(which, initiative=None), near, order, now)
        initiatives = await initiatives_among(session, policy, [row.id for row in rows])
        found += [row for row in rows if (row.id in initiatives) == which.initiative]
        if more is None or len(found) > step.limit:
            return first_page(found, EpicRow.id, step, value=order.value)
        after, _ = step.cursors.decode(more)
    return None


@router.get(
    "/{source}/{key:epic_key}", summary="Show an epic and why it stands so", responses=error_responses(404)
)
async def get_epic(
    source: Annotated[str, Path(description="The source's name.")],
    key: Annotated[str, Path(description="The epic's key, or a former one, percent-encoded.")],
    runtime: RuntimeDep,
    session: ReadingDep,
    rules: Annotated[Rules, RULES] = "matching",
) -> EpicWithWhy:
    """`key` is percent-encoded (`acme%2Fshop%237`); where a proxy decodes it, list `?source=&key=`."""
    return await whole_epic(runtime, session, await source_at(session, source), key, rules)


async def whole_epic(
    runtime: Runtime, session: AsyncSession, source: SourceRow, key: str, rules: Rules = "matching"
) -> EpicWithWhy:
    """An epic of a source with its `why`; 404 with the reason for one that is removed."""
    row = await epic_at(session, source, key)
    now = await runtime.now(session)
    (records,) = await load_records(session, [row])
    context = await runtime.evaluation_context(session, source)
    (evaluation,) = await evaluate_records(session, [records], context, now)
    reasons = explain(explained(evaluation, context), now, all_rules=rules == "all")
    composed = await unwritten_text(session, evaluation, context, now)
    unwritten = None if composed is None else composed.body
    names = await load_names_around(session, [records], context.policy)
    shown = show_epic(source.name, records, context.goals.key_results, names, now, unwritten)
    why = [Reason.model_validate(reason, from_attributes=True) for reason in reasons]
    return EpicWithWhy(**dict(shown), why=why)
