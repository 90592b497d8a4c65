"""Delivery beside outcome, asked of the rows: one statement for the work of all key results, and one for
that of all initiatives, whatever their number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Boolean, ColumnElement, column, func, or_, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import load_only

from mappings.goals.board import load_board, load_cycles, of_cycles, shown_cycles
from mappings.governance.estimates import counting_estimates, worth
from mappings.governance.initiatives import initiative_ids
from mappings.lookups import goal_in
from mappings.policy.operations import load_policy
from mappings.reports.outcomes import (
    Initiative,
    OutcomesReport,
    Result,
    WorkDone,
    not_moved_of,
    not_moved_together,
    rank,
    sign_of_initiative,
)
from mappings.tables import CycleRow, EpicRow, KeyResultRow, LinkRow, ObjectiveRow, SourceRow, among

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.reports.outcomes import Sign
    from mappings.tables import EstimateRow

INITIATIVES_AT_MOST = 500


async def outcomes_report(
    session: AsyncSession,
    now: datetime,
    *,
    cycle: str | None = None,
    objective: str | None = None,
    finished: bool | None = None,
    most: int | None = INITIATIVES_AT_MOST,
) -> OutcomesReport:
    """Of the cycle and objective of these keys, in any case. `finished`: only what has its work finished, or
    what has not. `most`: so many initiatives at most, those that stand out first; None is all.

    Raises `Invalid` on `cycle` and `objective`.
    """
    goals = await load_board(session, now, *await _which(session, now, cycle, objective), count_epics=False)
    ids = [goal.row.id for goal in goals]
    work = await _work_of_key_results(session, ids)
    estimates = await counting_estimates(session, "key_result", ids)
    not_moved = not_moved_of(goals)
    every = {
        goal.row.id: Result(
            goal=goal,
            work=work.get(goal.row.id, WorkDone()),
            not_moved=not_moved[goal.row.id],
            estimates=estimates.get(goal.row.id, ()),
            worth=worth(estimates.get(goal.row.id, ())),
        )
        for goal in goals
    }
    found = await _initiatives(session, every, any_goal=cycle is None and objective is None)
    if finished is not None:
        found = [one for one in found if one.work.finished == finished]
    found.sort(key=lambda one: rank(one.sign, one.work, one.id))
    results = [one for one in every.values() if finished is None or one.work.finished == finished]
    results.sort(key=lambda one: rank(one.sign, one.work, one.goal.row.id))
    of_initiatives = await counting_estimates(session, "epic", [one.id for one in found])
    signs: dict[Sign, int] = {"finished_not_moved": 0, "moved_without_work": 0}
    for sign in (*(one.sign for one in results), *(one.sign for one in found)):
        if sign is not None:
            signs[sign] += 1
    return OutcomesReport(
        at=now,
        results=results,
        initiatives=await _shown(session, found[:most], every, of_initiatives),
        all_initiatives=len(found),
        signs=signs,
        results_worth=worth(one for result in results for one in result.estimates),
        initiatives_worth=worth(one for made in of_initiatives.values() for one in made),
    )


async def _which(
    session: AsyncSession, now: datetime, cycle: str | None, objective: str | None
) -> list[ColumnElement[bool]]:
    found = [KeyResultRow.state != "archived", ObjectiveRow.state != "archived"]
    if cycle is not None:
        found.append(ObjectiveRow.cycle_id == (await goal_in(session, CycleRow, cycle, "cycle")).id)
    if objective is not None:
        found.append(
            KeyResultRow.objective_id == (await goal_in(session, ObjectiveRow, objective, "objective")).id
        )
    if cycle is None and objective is None:
        running = [one.id for one in shown_cycles(await load_cycles(session), now.date())]
        still = KeyResultRow.state.in_(("draft", "active")) & ObjectiveRow.state.in_(("draft", "active"))
        found.append(or_(of_cycles(running, without=False), ObjectiveRow.cycle_id.is_(None) & still))
    return found


# --- the work ----------------------------------------------------------------------------------


async def _work_of_key_results(session: AsyncSession, ids: Collection[int]) -> dict[int, WorkDone]:
    if not ids:
        return {}
    pairs = (
        select(LinkRow.key_result_id, LinkRow.epic_id)
        .where(among(LinkRow.key_result_id, ids))
        .distinct()
        .subquery()
    )
    done, children = EpicRow.status_category == "done", func.coalesce(EpicRow.children, 0)
    rows = await session.execute(
        select(
            pairs.c.key_result_id,
            func.count(),
            func.count().filter(done),
            func.sum(children),
            func.sum(func.least(func.coalesce(EpicRow.children_done, 0), children)),
            func.count().filter(~done, children == 0),
        )
        .join(EpicRow, EpicRow.id == pairs.c.epic_id)
        .where(EpicRow.removed_at.is_(None))
        .group_by(pairs.c.key_result_id)
    )
    return {id: WorkDone(*numbers) for id, *numbers in rows}


# What is right below each initiative, each epic once; parents by their id in the tracker, else by their
# present key. `initiative_ids` is put before it. `own`: the links of an initiative itself, else those of what
# is below it count. NOT EXISTS, since NOT IN would go through all of `below` for each initiative where they
# are many.
_INITIATIVES = text("""
    SELECT * FROM (
        WITH initiatives AS MATERIALIZED (
            SELECT epics.id, tracker, remote_id, lower(key) AS key, status_category = 'done' AS done,
                children, children_done
            FROM epics WHERE id IN (SELECT id FROM initiative_ids)
        ), child AS MATERIALIZED (
            SELECT id, tracker, parent_remote_id, lower(parent_key) AS parent_key,
                status_category = 'done' AS done, children, children_done
            FROM epics WHERE removed_at IS NULL AND parent_key IS NOT NULL
        ), below AS MATERIALIZED (
            SELECT above.id AS above_id, child.id, child.done, child.children, child.children_done
            FROM initiatives AS above
            JOIN child ON child.tracker = above.tracker AND child.parent_remote_id = above.remote_id
            WHERE child.id <> above.id
            UNION
            SELECT above.id, child.id, child.done, child.children, child.children_done
            FROM initiatives AS above
            JOIN child ON child.tracker = above.tracker AND child.parent_key = above.key
            WHERE child.parent_remote_id IS NULL AND child.id <> above.id
        ), work AS (
            SELECT * FROM below
            UNION ALL
            SELECT id, id, done, children, children_done FROM initiatives
            WHERE NOT EXISTS (SELECT FROM below WHERE below.above_id = initiatives.id)
        ), counted AS (
            SELECT above_id, count(*) AS epics, count(*) FILTER (WHERE done) AS epics_done,
                coalesce(sum(children), 0) AS children,
                coalesce(sum(least(children_done, children)), 0) AS children_done,
                count(*) FILTER (WHERE NOT done AND coalesce(children, 0) = 0) AS loose
            FROM work GROUP BY above_id
        ), own AS (
            SELECT epic_id AS id, array_agg(DISTINCT key_result_id) AS key_results
            FROM links WHERE epic_id IN (SELECT id FROM initiatives) GROUP BY epic_id
        ), of_below AS (
            SELECT above_id AS id, array_agg(DISTINCT key_result_id) AS key_results
            FROM below JOIN links ON links.epic_id = below.id
            WHERE NOT EXISTS (SELECT FROM own WHERE own.id = below.above_id) GROUP BY above_id
        )
        SELECT initiatives.id, done, epics, epics_done, counted.children, counted.children_done, loose,
            coalesce(own.key_results, of_below.key_results, ARRAY[]::bigint[]) AS key_results
        FROM initiatives JOIN counted ON counted.above_id = initiatives.id
        LEFT JOIN own ON own.id = initiatives.id LEFT JOIN of_below ON of_below.id = initiatives.id
    ) AS counted
""")


_COLUMNS: tuple[ColumnElement[Any], ...] = (
    *(
        column(name, BigInteger)
        for name in ("id", "epics", "epics_done", "children", "children_done", "loose")
    ),
    column("done", Boolean),
    column("key_results", ARRAY(BigInteger)),
)


@dataclass(frozen=True, slots=True)
class _Found:
    """An initiative without its names. `key_results`: the ids of those that the report has."""

    id: int
    work: WorkDone
    key_results: Sequence[int]
    not_moved: str | None

    @property
    def sign(self) -> Sign | None:
        return sign_of_initiative(self.work, self.not_moved)


async def _initiatives(session: AsyncSession, every: Mapping[int, Result], *, any_goal: bool) -> list[_Found]:
    """Those that serve one of these key results, and with `any_goal` those open that serve none at all."""
    ids = initiative_ids(await load_policy(session)).cte("initiative_ids")
    found = []
    for row in await session.execute(_INITIATIVES.columns(*_COLUMNS).add_cte(ids)):
        known = [id for id in row.key_results if id in every]
        if not known and (row.done or row.key_results or not any_goal):
            continue
        work = WorkDone(row.epics, row.epics_done, row.children, row.children_done, row.loose)
        reason = not_moved_together([every[id].not_moved for id in known])
        found.append(_Found(row.id, work, known, reason))
    return found


async def _shown(
    session: AsyncSession,
    found: Sequence[_Found],
    every: Mapping[int, Result],
    estimates: Mapping[int, Sequence[EstimateRow]],
) -> list[Initiative]:
    rows = await session.execute(
        select(EpicRow, SourceRow.name)
        .join(SourceRow, SourceRow.id == EpicRow.source_id)
        .where(among(EpicRow.id, [one.id for one in found]))
        .options(load_only(EpicRow.key, EpicRow.title, EpicRow.url, EpicRow.status_category))
    )
    epics = {row.id: (row, source) for row, source in rows}
    shown = []
    for one in found:
        if one.id not in epics:  # its source was deleted meanwhile
            continue
        row, source = epics[one.id]
        made = estimates.get(one.id, ())
        shown.append(
            Initiative(
                id=one.id,
                source=source,
                key=row.key,
                title=row.title,
                url=row.url,
                done=row.status_category == "done",
                work=one.work,
                key_results=[every[id] for id in one.key_results],
                not_moved=one.not_moved,
                estimates=made,
                worth=worth(made),
            )
        )
    return shown
