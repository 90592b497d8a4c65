"""Open epics ranked by their scores: one query for the ranking and its counts, and a few for one page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Numeric,
    Select,
    case,
    cast,
    exists,
    func,
    literal,
    null,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import distinct_on

from mappings.epics.set_aside import is_set_aside
from mappings.governance.criteria import load_criteria
from mappings.governance.scores import MEAN_DECIMALS, mean_scores, scores_of
from mappings.lookups import goal_in
from mappings.policy.durations import last_date
from mappings.tables import (
    CriterionRow,
    CycleRow,
    EpicRow,
    EpicStageRow,
    EpicValueRow,
    KeyResultRow,
    LinkRow,
    ObjectiveRow,
    ScoreRow,
    SourceRow,
    among,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

Scored = Literal["fully", "partly", "none"]
DEFINITION = (
    "An epic's score is the mean of its scores for the criteria, 0 to 5, weighted by their weights and"
    f" rounded to {MEAN_DECIMALS} decimals. Only an open epic that is scored for every criterion whose weight"
    " is not 0 is ranked, the highest score first. Epics with the same score share a rank, the ranks after"
    " them are left out (1, 1, 3), and they stand in the order of their keys. One that is scored for some"
    " criteria only has no rank: it is listed apart, with what is missing. A criterion of weight 0 counts"
    " nothing. `coverage` is the share of the open epics that are ranked."
)
NO_CRITERIA = (
    "No criteria are agreed yet, so nothing is ranked. Agree on a few with their weights and"
    " PUT /api/v1/criteria; then PUT /api/v1/epics/{source}/{key}/scores gives an epic its scores."
)
# Of a row of the list, by which it is ordered: the score, its sign changed, then key and id.
Position = tuple[float, str, int]


@dataclass(frozen=True, slots=True)
class GivenScore:
    criterion: str
    score: float
    by: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class PriorityItem:
    """An open epic. `rank` and `score` None: it is not scored for all that counts; `missing`: the keys of the
    criteria that count and that it is not scored for. `tied`: others have the same rank. `key_result`: that
    of its primary link, its key and title."""

    id: int
    rank: int | None
    score: float | None
    tied: bool
    source: str
    key: str
    title: str
    url: str
    project: str
    status: str
    status_category: str
    given: Sequence[GivenScore]
    missing: Sequence[str]
    key_result: tuple[str, str] | None
    value: str | None
    stage: str | None
    set_aside: str | None
    set_aside_until: date | None

    @property
    def position(self) -> Position:
        return (-(self.score or 0), self.key, self.id)


@dataclass(frozen=True, slots=True)
class Priorities:
    """`open`: the open epics that the filters let through; of these `ranked`, `partly` scored, the others not
    at all. `items`: a page of those asked for; `more`: whether there are any after it."""

    at: datetime
    criteria: Sequence[CriterionRow]
    open: int
    ranked: int
    partly: int
    items: Sequence[PriorityItem]
    more: bool

    @property
    def unscored(self) -> int:
        return self.open - self.ranked - self.partly

    @property
    def coverage(self) -> float | None:
        return self.ranked / self.open if self.open else None


async def load_priorities(
    session: AsyncSession,
    now: datetime,
    which: Sequence[ColumnElement[bool]],
    *,
    scored: Scored = "fully",
    limit: int | None,
    after: Position | None = None,
) -> Priorities:
    """A page of the epics that are `scored` so; with `limit` None all. `which`: the
    conditions on `EpicRow` of those that are open and that the filters let through."""
    criteria = await load_criteria(session)
    rows = (await session.execute(_ranking(criteria, which, scored, limit, after))).all()
    found = [row for row in rows if row.id is not None]
    return Priorities(
        at=now,
        criteria=criteria,
        open=rows[0].open,
        ranked=rows[0].ranked,
        partly=rows[0].partly,
        items=await _items(session, now, criteria, found[:limit]),
        more=limit is not None and len(found) > limit,
    )


async def load_all_priorities(
    session: AsyncSession, now: datetime, which: Sequence[ColumnElement[bool]], scored: Scored
) -> tuple[Sequence[CriterionRow], Sequence[PriorityItem]]:
    """The criteria, and every epic that is `scored` so."""
    whole = await load_priorities(session, now, which, scored=scored, limit=None)
    return whole.criteria, whole.items


async def linked_to_cycle(session: AsyncSession, cycle: str) -> ColumnElement[bool]:
    """The condition on `EpicRow` that an epic is linked to a key result of this cycle, whose key it is.
    Raises `Invalid` where there is none."""
    held = await goal_in(session, CycleRow, cycle, "cycle")
    linked = (
        select(LinkRow.epic_id)
        .join(KeyResultRow, KeyResultRow.id == LinkRow.key_result_id)
        .join(ObjectiveRow, ObjectiveRow.id == KeyResultRow.objective_id)
        .where(ObjectiveRow.cycle_id == held.id)
    )
    return EpicRow.id.in_(linked)


def _ranking(
    criteria: Sequence[CriterionRow],
    which: Sequence[ColumnElement[bool]],
    scored: Scored,
    limit: int | None,
    after: Position | None,
) -> Select[Any]:
    """The counts, and beside them the rows of one page; with no such row one that has the counts alone."""
    needed = len([row for row in criteria if row.weight])
    marks = mean_scores()
    of_some = (
        select(EpicRow.id, EpicRow.key, marks.c.number, marks.c.mean)
        .join(marks, marks.c.epic_id == EpicRow.id)
        .where(*which)
        .cte("of_some")
    )
    complete = of_some.c.number >= needed
    totals = select(
        select(func.count()).select_from(EpicRow).where(*which).scalar_subquery().label("open"),
        func.count().filter(complete).label("ranked"),
        func.count().filter(~complete).label("partly"),
    ).select_from(of_some)
    nothing: Any = null()
    if scored == "fully":
        mean: Any = of_some.c.mean
        rank = func.rank().over(order_by=mean.desc())
        alike = func.count().over(partition_by=mean)
        chosen = select(of_some.c.id, of_some.c.key, mean, rank.label("rank"), alike.label("alike"))
        chosen = chosen.where(complete)
    else:
        table: Any = of_some.c if scored == "partly" else EpicRow
        unranked = cast(nothing, Numeric).label("mean"), cast(nothing, BigInteger).label("rank")
        chosen = select(table.id, table.key, *unranked, literal(1).label("alike"))
        chosen = chosen.where(
            *([~complete] if scored == "partly" else [*which, ~exists().where(of_some.c.id == EpicRow.id)])
        )
    listed = chosen.subquery("listed")
    order = -func.coalesce(listed.c.mean, 0), listed.c.key, listed.c.id
    page = select(listed)
    if after is not None:
        first = literal(Decimal(str(after[0])), Numeric)
        page = page.where(tuple_(*order) > tuple_(first, literal(after[1]), literal(after[2], BigInteger)))
    of_page = page.order_by(*order).limit(None if limit is None else limit + 1).subquery("page")
    beside = totals.subquery("totals")
    return (
        select(beside, of_page)
        .select_from(beside)
        .outerjoin(of_page, true())
        .order_by(-func.coalesce(of_page.c.mean, 0), of_page.c.key, of_page.c.id)
    )


async def _items(
    session: AsyncSession, now: datetime, criteria: Sequence[CriterionRow], rows: Sequence[Any]
) -> list[PriorityItem]:
    ids = [row.id for row in rows]
    if not ids:
        return []
    facts = await _facts(session, ids, now)
    goals = await _key_results(session, ids)
    scores = await scores_of(session, ids)
    return [_item(row, facts[row.id], criteria, scores.get(row.id, {}), goals.get(row.id)) for row in rows]


async def _facts(session: AsyncSession, ids: Sequence[int], now: datetime) -> dict[int, Any]:
    is_aside = is_set_aside(now)
    query = (
        select(
            EpicRow.id,
            SourceRow.name.label("source"),
            EpicRow.title,
            EpicRow.url,
            EpicRow.project,
            EpicRow.status,
            EpicRow.status_category,
            case((is_aside, EpicRow.set_aside)).label("set_aside"),
            case((is_aside, EpicRow.set_aside_until)).label("set_aside_until"),
            EpicValueRow.answer.label("value"),
            EpicStageRow.stage,
        )
        .join(SourceRow, SourceRow.id == EpicRow.source_id)
        .outerjoin(EpicValueRow, EpicValueRow.epic_id == EpicRow.id)
        .outerjoin(EpicStageRow, EpicStageRow.epic_id == EpicRow.id)
        .where(among(EpicRow.id, ids))
    )
    return {row.id: row for row in await session.execute(query)}


async def _key_results(session: AsyncSession, ids: Sequence[int]) -> dict[int, tuple[str, str]]:
    query = (
        select(LinkRow.epic_id, KeyResultRow.key, KeyResultRow.title)
        .join(KeyResultRow, KeyResultRow.id == LinkRow.key_result_id)
        .where(among(LinkRow.epic_id, ids))
        .ext(distinct_on(LinkRow.epic_id))
        .order_by(LinkRow.epic_id, LinkRow.is_primary.desc(), LinkRow.id)
    )
    return {epic: (key, title) for epic, key, title in await session.execute(query)}


def _item(
    row: Any,
    facts: Any,
    criteria: Sequence[CriterionRow],
    scores: Mapping[int, ScoreRow],
    key_result: tuple[str, str] | None,
) -> PriorityItem:
    names = ("source", "title", "url", "project", "status", "status_category")
    more, until = ("value", "stage", "set_aside"), facts.set_aside_until
    return PriorityItem(
        id=row.id,
        key=row.key,
        rank=row.rank,
        score=None if row.mean is None else float(row.mean),
        tied=row.alike > 1,
        given=given_scores(criteria, scores),
        missing=[one.key for one in criteria if one.weight and one.id not in scores],
        key_result=key_result,
        set_aside_until=None if until is None else last_date(until),
        **{name: getattr(facts, name) for name in (*names, *more)},
    )


def given_scores(criteria: Sequence[CriterionRow], scores: Mapping[int, ScoreRow]) -> list[GivenScore]:
    """In the order of the criteria."""
    return [
        GivenScore(one.key, scores[one.id].score, scores[one.id].by, scores[one.id].at)
        for one in criteria
        if one.id in scores
    ]


def priorities_table(
    criteria: Sequence[CriterionRow], items: Sequence[PriorityItem]
) -> tuple[list[str], Iterator[list[Any]]]:
    """The header and the rows of a file: for each criterion its score, who gave it and when."""
    header = ["rank", "tied", "score", "source", "key", "title", "project", "status", "key_result", "value"]
    header += ["stage", "set_aside", "set_aside_until", "missing"]
    for one in criteria:
        header += [one.key, f"{one.key} by", f"{one.key} at"]
    return header, (_line(criteria, item) for item in items)


def _line(criteria: Sequence[CriterionRow], item: PriorityItem) -> list[Any]:
    given = {one.criterion: one for one in item.given}
    line: list[Any] = [item.rank, item.tied, item.score, item.source, item.key, item.title, item.project]
    line += [item.status, item.key_result[0] if item.key_result else None, item.value, item.stage]
    line += [item.set_aside, item.set_aside_until, " ".join(item.missing)]
    for one in criteria:
        score = given.get(one.key)
        line += [None] * 3 if score is None else [score.score, score.by, score.at]
    return line
