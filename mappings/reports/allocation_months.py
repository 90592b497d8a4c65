"""Months of allocation, frozen once after their end: a row an epic, and never written again.

Nothing is made up later: only the month that ended last is frozen, and more than a day after its end it is
marked as late. A month in which Northing did not run at all is late or stays missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import (
    BigInteger,
    Select,
    Text,
    case,
    column,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, distinct_on, insert

from mappings.errors import Invalid, NotFound
from mappings.evaluation.context import load_key_results
from mappings.locks import share_source
from mappings.reports.allocation import Block, FrozenMonth, State, Work
from mappings.reports.allocation_epics import (
    CountingGoals,
    Exemptions,
    Period,
    classified,
    counting_goals,
    counts_for,
    in_period,
    load_exemptions,
    month_of,
)
from mappings.reports.coverage import load_readings
from mappings.reports.coverage_days import WAITS_UNTIL, sources_behind
from mappings.tables import (
    MANUAL_ORIGINS,
    AllocationMonthRow,
    AllocationRow,
    AuditEntryRow,
    EpicRow,
    FindingRow,
    KeyResultRow,
    LinkRow,
    ObjectiveRow,
    RuleRow,
    SourceRow,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.reports.allocation import Allocation

LATE_AFTER = timedelta(days=1)
EPICS_AT_ONCE = 5_000
ROWS_AT_ONCE = 1_000
POLICY, WAIVER = "policy", "waiver"
_MOMENT = timedelta(microseconds=1)


# --- freezing ----------------------------------------------------------------------------------


async def freeze_month(session: AsyncSession, now: datetime) -> None:
    """Write the rows of the month that ended last before `now`, UTC, unless they are there.

    Any number of processes may call it at once and at any time: the first that writes the month has it, and
    the others wait for that and write nothing. In its first hour it waits for epics that are due. A source
    that was connected after the month's end has no part in it.
    """
    ended, _ = month_of(now.astimezone(UTC).date())
    start, end = month_of((ended - _MOMENT).date())
    if await session.get(AllocationMonthRow, start.date()) is not None:
        return
    before_end = select(SourceRow.id).where(SourceRow.created_at < end)
    readings = await load_readings(session)
    sources = [id for id in await session.scalars(before_end) if readings[id].read_at is not None]
    if not sources:
        return
    if now - end < timedelta(hours=WAITS_UNTIL.hour) and await session.scalar(sources_behind(now).limit(1)):
        return
    there = sorted(await share_source(session, *sources))
    if not there:  # deleted meanwhile
        return
    late = now - end > LATE_AFTER
    month = insert(AllocationMonthRow).values(month=start.date(), frozen_at=now, late=late, epics=0)
    made = await session.scalar(month.on_conflict_do_nothing().returning(AllocationMonthRow.month))
    if made is None:
        return
    await _write_rows(session, made, Period(start, end, over=True), there)
    written = select(func.count()).where(AllocationRow.month == made).scalar_subquery()
    await session.execute(
        update(AllocationMonthRow).where(AllocationMonthRow.month == made).values(epics=written)
    )


async def _write_rows(session: AsyncSession, month: date, period: Period, sources: Sequence[int]) -> None:
    """Some thousand at a time, so that memory does not grow with the number of epics."""
    goals = counting_goals(await load_key_results(session), period.end - _MOMENT)
    exemptions = await load_exemptions(session)
    of_sources = EpicRow.source_id.in_(sources)
    after = 0
    while True:
        slice_of = select(EpicRow.id).where(EpicRow.id > after, in_period(period), of_sources)
        ids = slice_of.order_by(EpicRow.id).limit(EPICS_AT_ONCE).subquery()
        last = await session.scalar(select(func.max(ids.c.id)))
        if last is None:
            return
        which = (EpicRow.id > after, EpicRow.id <= last, of_sources)
        reasons = await _exempt_reasons(session, goals, period, exemptions, which)
        rows = _rows(month, goals, period, reasons, which)
        names = [one.name for one in rows.selected_columns]
        await session.execute(insert(AllocationRow).from_select(names, rows))
        after = last


async def _exempt_reasons(
    session: AsyncSession, goals: CountingGoals, period: Period, exemptions: Exemptions, which: Any
) -> dict[int, str]:
    """Why epics are exempt, by id: those that were evaluated so, and those finished that the policy names."""
    asked = or_(EpicRow.alignment == "exempt", EpicRow.status_category == "done")
    rows = await session.execute(
        select(EpicRow.id, EpicRow.source_id, EpicRow.project, EpicRow.type, EpicRow.labels).where(
            in_period(period), asked, *which
        )
    )
    found = {row.id: exemptions.reason(row.source_id, row.project, row.type, row.labels) for row in rows}
    return {id: reason for id, reason in found.items() if reason is not None}


def _rows(
    month: date, goals: CountingGoals, period: Period, reasons: dict[int, str], which: Any
) -> Select[Any]:
    """The rows to insert, their columns named as those of `AllocationRow`."""
    epics = classified(goals, period, list(reasons), *which).subquery("classified")
    link, exempt = _primary(goals, period, which).subquery("link"), _reasons(reasons)
    aligned, waived = epics.c.allocation == "aligned", epics.c.waived
    waiver = (
        select(FindingRow.by, FindingRow.until, FindingRow.reason)
        .where(FindingRow.epic_id == epics.c.id, FindingRow.state == "waived", waived)
        .order_by(FindingRow.id)
        .limit(1)
        .lateral("waiver")
    )
    is_exempt = epics.c.allocation == "exempt"
    return (
        select(
            literal(month).label("month"),
            EpicRow.id.label("epic_id"),
            SourceRow.name.label("source"),
            EpicRow.project,
            EpicRow.key,
            EpicRow.title,
            EpicRow.url,
            _when(~epics.c.is_open, EpicRow.finished_at).label("finished_at"),
            epics.c.allocation,
            _when(aligned, ObjectiveRow.driver).label("driver"),
            _when(aligned, ObjectiveRow.key).label("objective"),
            _when(aligned, KeyResultRow.key).label("key_result"),
            func.coalesce(
                _when(aligned, link.c.origin), _when(is_exempt, POLICY), _when(waived, WAIVER)
            ).label("origin"),
            func.coalesce(_when(aligned, _maker(link)), waiver.c.by).label("made_by"),
            _evidence(epics, link, exempt, waiver).label("evidence"),
            EpicRow.children,
            EpicRow.points,
        )
        .select_from(epics)
        .join(EpicRow, EpicRow.id == epics.c.id)
        .join(SourceRow, SourceRow.id == EpicRow.source_id)
        .outerjoin(link, link.c.epic_id == epics.c.id)
        .outerjoin(KeyResultRow, KeyResultRow.id == link.c.key_result_id)
        .outerjoin(ObjectiveRow, ObjectiveRow.id == KeyResultRow.objective_id)
        .outerjoin(exempt, exempt.c.epic_id == epics.c.id)
        .outerjoin(waiver, literal(True))
        .order_by(EpicRow.id)
    )


def _when(condition: Any, value: Any) -> Any:
    """`value`, or null where the condition is not met."""
    return case((condition, value), else_=None)


def _reasons(reasons: dict[int, str]) -> Any:
    columns = literal(list(reasons), ARRAY(BigInteger)), literal(list(reasons.values()), ARRAY(Text))
    named = column("epic_id", BigInteger), column("reason", Text)
    return func.unnest(*columns).table_valued(*named, name="exempt").render_derived()


def _primary(goals: CountingGoals, period: Period, which: Any) -> Select[Any]:
    """Of each epic the link that it counts under: the primary one where that counts, else the one of the
    greatest weight, of equal ones the oldest."""
    table = goals.table()
    return (
        select(LinkRow)
        .join(table, table.c.key_result_id == LinkRow.key_result_id)
        .join(EpicRow, EpicRow.id == LinkRow.epic_id)
        .where(in_period(period), counts_for(EpicRow, table, period), *which)
        .ext(distinct_on(LinkRow.epic_id))
        .order_by(LinkRow.epic_id, LinkRow.is_primary.desc(), LinkRow.weight.desc(), LinkRow.id)
    )


def _maker(link: Any) -> Any:
    """The rule's name, or who made the link by hand; null for the others."""
    rule = select(RuleRow.name).where(RuleRow.id == link.c.rule_id).scalar_subquery()
    name = func.lower(SourceRow.name + "/" + EpicRow.key)
    person = (
        select(AuditEntryRow.who)
        .where(AuditEntryRow.what == "link", AuditEntryRow.action == "created")
        # The expression of the index.
        .where(
            func.lower(func.split_part(AuditEntryRow.key, literal_column("' '"), literal_column("1"))) == name
        )
        .where(AuditEntryRow.key == SourceRow.name + "/" + EpicRow.key + " -> " + KeyResultRow.key)
        .where(link.c.origin.in_(MANUAL_ORIGINS))
        .order_by(AuditEntryRow.id.desc())
        .limit(1)
        .scalar_subquery()
        .correlate(SourceRow, EpicRow, KeyResultRow, link)
    )
    return func.coalesce(rule, person)


def _evidence(epics: Any, link: Any, exempt: Any, waiver: Any) -> Any:
    last = func.to_char(func.timezone("UTC", waiver.c.until - _MOMENT), "YYYY-MM-DD")
    return case(
        (epics.c.allocation == "aligned", func.coalesce(link.c.why, "linked")),
        (epics.c.allocation == "exempt", func.coalesce(exempt.c.reason, "exempt when it was evaluated")),
        (epics.c.waived, func.concat("waived", " until " + last, ": " + waiver.c.reason)),
        (epics.c.not_evaluated, "not evaluated yet"),
        else_="no link to a key result that counted",
    )


# --- reading -----------------------------------------------------------------------------------


def _frozen(row: AllocationMonthRow) -> FrozenMonth:
    return FrozenMonth(row.month, row.frozen_at, row.late, row.epics)


async def frozen_months(session: AsyncSession) -> list[FrozenMonth]:
    """The latest first."""
    query = select(AllocationMonthRow).order_by(AllocationMonthRow.month.desc())
    return [_frozen(row) for row in await session.scalars(query)]


def frozen_month(months: Sequence[FrozenMonth], month: date) -> FrozenMonth:
    """Raises `NotFound` for a month that was not frozen."""
    for one in months:
        if one.month == month:
            return one
    known = ", ".join(f"{one.month:%Y-%m}" for one in months[:12])
    raise NotFound(
        f"{month:%Y-%m} was not frozen: it has not ended, or Northing did not run. "
        + (f"There are {known}." if known else "No month is frozen yet.")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFilters:
    """None: not asked for. `driver` and `objective`: `none` for those without one. `cycle` is of no month."""

    source: str | None = None
    project: str | None = None
    allocation: str | None = None
    state: State | None = None
    driver: str | None = None
    objective: str | None = None
    cycle: str | None = None

    def conditions(self) -> list[Any]:
        found: list[Any] = [
            func.lower(getattr(AllocationRow, name)) == text.lower()
            for name in ("source", "project")
            if (text := getattr(self, name)) is not None
        ]
        if self.allocation is not None:
            found.append(AllocationRow.allocation == self.allocation)
        if self.state is not None:
            is_open = AllocationRow.finished_at.is_(None)
            found.append(is_open if self.state == "open" else ~is_open)
        for name in ("driver", "objective"):
            if (text := getattr(self, name)) is not None:
                column = getattr(AllocationRow, name)
                found.append(column.is_(None) if text == "none" else func.lower(column) == text.lower())
        return found


async def read_blocks(
    session: AsyncSession, month: date, source: str | None, project: str | None
) -> dict[State, Block]:
    """The counts of a frozen month. Raises `Invalid` for a source that it has no row of."""
    of_month = AllocationRow.month == month
    which = RowFilters(source=source, project=project).conditions()
    if source is not None and not await session.scalar(
        select(exists().where(of_month, func.lower(AllocationRow.source) == source.lower()))
    ):
        raise Invalid("source", f"{month:%Y-%m} has no epic of a source {source!r}")
    common = (
        AllocationRow.finished_at.is_(None),
        AllocationRow.allocation,
        AllocationRow.driver,
        AllocationRow.objective,
        func.coalesce(AllocationRow.origin == WAIVER, False),
    )
    rows = await session.execute(
        select(
            *common,
            func.count(),
            func.sum(AllocationRow.children),
            func.count(AllocationRow.children),
            func.sum(AllocationRow.points),
            func.count(AllocationRow.points),
        )
        .where(of_month, *which)
        .group_by(*common)
    )
    blocks: dict[State, Block] = {"open": Block(), "finished": Block()}
    for opened, allocation, driver, objective, waived, number, *sums in rows:
        children, with_children, points, with_points = sums
        work = Work(number, float(children or 0), points or 0.0, number, with_children, with_points)
        block = blocks["open" if opened else "finished"]
        block.total.add(work)
        block.classes[cast("Allocation", allocation)].add(work)
        block.waived += number if waived else 0
        if allocation == "aligned":
            block.drivers.setdefault(driver, Work()).add(work)
            block.objectives.setdefault(objective, Work()).add(work)
    return blocks


ROW_COLUMNS = (
    *("month", "source", "project", "key", "title", "url", "state", "finished_at", "class", "driver"),
    *("objective", "key_result", "origin", "made_by", "evidence", "children", "points", "frozen_at", "late"),
)


async def read_rows(
    session: AsyncSession, month: date, filters: RowFilters, after: int = 0, limit: int = ROWS_AT_ONCE
) -> list[AllocationRow]:
    """Some rows of a frozen month, by the epic's id, after the one with the id `after`."""
    query = select(AllocationRow).where(AllocationRow.month == month, AllocationRow.epic_id > after)
    query = query.where(*filters.conditions()).order_by(AllocationRow.epic_id).limit(limit)
    return list(await session.scalars(query))


def row_cells(row: AllocationRow, month: FrozenMonth) -> tuple[Any, ...]:
    """In the order of `ROW_COLUMNS`."""
    return (
        f"{row.month:%Y-%m}",
        *(row.source, row.project, row.key, row.title, row.url),
        "open" if row.finished_at is None else "finished",
        *(row.finished_at, row.allocation, row.driver, row.objective, row.key_result, row.origin),
        *(row.made_by, row.evidence, row.children, row.points, month.frozen_at, month.late),
    )
