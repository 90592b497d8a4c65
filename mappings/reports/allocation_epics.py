"""The epics of a period with the class of each: open at its end, or finished within it.

Both the report of now and the months that are frozen read them by the same statement. Which key results
count is decided in Python and passed in, so that nothing here repeats when a goal is live.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Date,
    Float,
    Select,
    and_,
    case,
    column,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY

from mappings.goals.key_results import is_live
from mappings.policy.document import EffectivePolicy, Policy, effective_policy, named_exemption
from mappings.policy.names import former_names
from mappings.policy.operations import load_policy
from mappings.reports.allocation import AlikeWork, Allocation, Block, Served, State, Work, allocate
from mappings.tables import EpicRow, LinkRow, SourceRow, among

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.goals.key_results import KeyResult
    from mappings.policy.names import NamedProjects


@dataclass(frozen=True, slots=True)
class Period:
    """From `start` until before `end`, UTC. `over`: it has ended, so that what was open at its end is worked
    out from the links; else the alignment of an open epic is as it was evaluated last."""

    start: datetime
    end: datetime
    over: bool


@dataclass(frozen=True, slots=True)
class CountingGoals:
    """The key results that a link of an epic may lead to. `live`: of those the ones that align an open epic
    at the end of the period. `ends`: the last day of the cycle of each, None without one: until then it
    counts for an epic that is finished."""

    ends: Mapping[int, date | None]
    live: Collection[int]

    def table(self) -> Any:
        """As a relation `goals` with the columns `key_result_id`, `live` and `ends`."""
        ids = sorted(self.ends)
        columns = (
            literal(ids, ARRAY(BigInteger)),
            literal([id in self.live for id in ids], ARRAY(Boolean)),
            literal([self.ends[id] for id in ids], ARRAY(Date)),
        )
        named = (column("key_result_id", BigInteger), column("live", Boolean), column("ends", Date))
        return func.unnest(*columns).table_valued(*named, name="goals").render_derived()


def counting_goals(goals: Mapping[int, KeyResult], at: datetime) -> CountingGoals:
    """`at`: the last moment of the period. An archived key result counts for nothing. Pure."""
    live = {id for id, goal in goals.items() if is_live(goal, at)}
    counts = {
        id: goal.cycle_ends
        for id, goal in goals.items()
        if "archived" not in (goal.state, goal.objective_state)
    }
    return CountingGoals(counts, live & counts.keys())


def counts_for(epic: Any, goals: Any, period: Period) -> ColumnElement[bool]:
    """Whether a link of `epic` to the key result in `goals` counts."""
    finished_on = func.timezone("UTC", epic.finished_at).cast(Date)
    as_finished = or_(goals.c.ends.is_(None), goals.c.ends >= finished_on)
    return case((is_open(period), goals.c.live), else_=as_finished)


def is_open(period: Period) -> ColumnElement[bool]:
    """At the end of the period. An epic that was finished later was open then."""
    is_not_done = EpicRow.status_category != "done"
    if not period.over:
        return is_not_done
    return or_(is_not_done, func.coalesce(EpicRow.finished_at >= period.end, False))


def in_period(period: Period) -> ColumnElement[bool]:
    """The listed epics that were open at its end or finished within it."""
    finished = and_(EpicRow.status_category == "done", EpicRow.finished_at >= period.start)
    found = and_(EpicRow.removed_at.is_(None), or_(EpicRow.status_category != "done", finished))
    return and_(found, EpicRow.tracker_created_at < period.end) if period.over else found


def classified(
    goals: CountingGoals, period: Period, exempt: Collection[int], *which: ColumnElement[bool]
) -> Select[Any]:
    """Of each epic of the period that meets the conditions: `id`, `is_open`, `allocation`, `key_results`
    (the ids of those that count for it, None for none), `weights` (of the links to these), `children`,
    `points`, `waived`, `not_evaluated`. `exempt`: the ids that the policy exempts, beside those that were
    evaluated so."""
    table = goals.table()
    serving = (
        select(
            LinkRow.epic_id,
            func.array_agg(LinkRow.key_result_id).label("key_results"),
            func.array_agg(LinkRow.weight).label("weights"),
        )
        .join(table, table.c.key_result_id == LinkRow.key_result_id)
        .join(EpicRow, EpicRow.id == LinkRow.epic_id)
        .where(in_period(period), counts_for(EpicRow, table, period), *which)
        .group_by(LinkRow.epic_id)
        .subquery("serving")
    )
    opened, linked = is_open(period), serving.c.key_results.is_not(None)
    aligned: ColumnElement[bool] = linked
    if not period.over:
        aligned = case((opened, func.coalesce(EpicRow.alignment == "aligned", False)), else_=linked)
    still_open = EpicRow.status_category != "done"
    exempted = or_(
        and_(still_open, func.coalesce(EpicRow.alignment == "exempt", False)), among(EpicRow.id, exempt)
    )
    allocation = case((aligned, "aligned"), (exempted, "exempt"), else_="unaligned")
    unaligned = allocation == "unaligned"
    return (
        select(
            EpicRow.id,
            opened.label("is_open"),
            allocation.label("allocation"),
            serving.c.key_results.cast(ARRAY(BigInteger)).label("key_results"),
            serving.c.weights.cast(ARRAY(Float)).label("weights"),
            EpicRow.children,
            EpicRow.points,
            and_(unaligned, func.coalesce(EpicRow.alignment == "waived", False)).label("waived"),
            and_(unaligned, still_open, EpicRow.alignment.is_(None)).label("not_evaluated"),
        )
        .outerjoin(serving, serving.c.epic_id == EpicRow.id)
        .where(in_period(period), *which)
    )


async def load_blocks(
    session: AsyncSession,
    goals: CountingGoals,
    served: Mapping[int, Served],
    period: Period,
    which: Sequence[ColumnElement[bool]],
    cycle: Collection[int] | None = None,
) -> dict[State, Block]:
    """The epics of the period, counted. `cycle`: only those with a link that counts to one of these key
    results, and of their links only these."""
    exempt = await exempt_ids(session, goals, period, which)
    epics = classified(goals, period, exempt, *which).subquery()
    common = [
        epics.c[name]
        for name in ("is_open", "allocation", "key_results", "weights", "waived", "not_evaluated")
    ]
    rows = await session.execute(
        select(
            *common,
            func.count(),
            func.sum(epics.c.children),
            func.count(epics.c.children),
            func.sum(epics.c.points),
            func.count(epics.c.points),
        ).group_by(*common)
    )
    found: dict[State, list[AlikeWork]] = {"open": [], "finished": []}
    for opened, allocation, ids, weights, waived, not_evaluated, number, *sums in rows:
        links = _by_key_result(ids or (), weights or ())
        if cycle is not None:
            links = {id: weight for id, weight in links.items() if id in cycle}
            if not links:
                continue
        children, with_children, points, with_points = sums
        work = Work(number, float(children or 0), points or 0.0, number, with_children, with_points)
        one = AlikeWork(cast("Allocation", allocation), work, links, waived, not_evaluated)
        found["open" if opened else "finished"].append(one)
    return {state: allocate(alike, served) for state, alike in found.items()}


def _by_key_result(ids: Sequence[int], weights: Sequence[float]) -> dict[int, float]:
    """Of two links to one key result the greater weight."""
    links: dict[int, float] = {}
    for id, weight in zip(ids, weights, strict=True):
        links[id] = max(weight, links.get(id, 0.0))
    return links


# --- what the policy exempts -------------------------------------------------------------------


@dataclass(slots=True)
class Exemptions:
    """The policy, asked about labels, types and projects. `sources`: the name and the named projects of each,
    by its id."""

    policy: Policy
    sources: Mapping[int, tuple[str, NamedProjects]]
    _effective: dict[tuple[int, str], tuple[EffectivePolicy, tuple[str, ...]]] = field(default_factory=dict)

    @property
    def names_any(self) -> bool:
        """Whether any epic can be exempt by its labels, type or project."""
        given = [self.policy.exempt, *(getattr(scope, "exempt", None) for scope in self.policy.scopes)]
        return any(
            getattr(exempt, name, None) for exempt in given for name in ("labels", "types", "projects")
        )

    def reason(self, source_id: int, project: str, type: str, labels: Sequence[str]) -> str | None:
        """Why such an epic is exempt, in words; None where it is not."""
        policy, names = self._of(source_id, project)
        return named_exemption(policy, labels, type, names)

    def _of(self, source_id: int, project: str) -> tuple[EffectivePolicy, tuple[str, ...]]:
        place = source_id, project
        if place not in self._effective:
            source, named = self.sources[source_id]
            former = former_names(named, project)
            effective = effective_policy(self.policy, source, project, former_names=former)
            self._effective[place] = effective, (project, *former)
        return self._effective[place]


async def load_exemptions(session: AsyncSession) -> Exemptions:
    sources = await session.execute(select(SourceRow.id, SourceRow.name, SourceRow.named_projects))
    return Exemptions(await load_policy(session), {id: (name, named) for id, name, named in sources})


async def exempt_ids(
    session: AsyncSession, goals: CountingGoals, period: Period, which: Sequence[ColumnElement[bool]]
) -> list[int]:
    """The epics finished within the period that no key result counts for and that the policy exempts: the
    evaluation says only that they are finished."""
    exemptions = await load_exemptions(session)
    if not exemptions.names_any:
        return []
    alike = (EpicRow.source_id, EpicRow.project, EpicRow.type, EpicRow.labels)
    finished = and_(EpicRow.status_category == "done", EpicRow.finished_at >= period.start)
    rows = await session.execute(
        select(*alike, func.array_agg(EpicRow.id))
        .where(EpicRow.removed_at.is_(None), finished, *which)
        .group_by(*alike)
    )
    return [
        id
        for source_id, project, type, labels, ids in rows
        if source_id in exemptions.sources and exemptions.reason(source_id, project, type, labels)
        for id in ids
    ]


def month_of(day: date) -> tuple[datetime, datetime]:
    """The first moment of the month of `day`, and the first after it, UTC."""
    start = datetime(day.year, day.month, 1, tzinfo=UTC)
    end = datetime(day.year + day.month // 12, day.month % 12 + 1, 1, tzinfo=UTC)
    return start, end
