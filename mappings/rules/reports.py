"""What is to know of a stored rule beside its values: how many epics it links, and since when none."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, DateTime, Integer, and_, bindparam, func, literal, select, text
from sqlalchemy.dialects.postgresql import INTERVAL

from mappings.link_counts import count_links
from mappings.tables import CycleRow, EpicRow, KeyResultRow, LinkRow, ObjectiveRow, RuleRow, among_ids
from mappings.values import FieldWarning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

# Where no cycle is stored: a quarter.
DEFAULT_CYCLE = timedelta(days=92)
STAMPED_EVERY = timedelta(days=1)

# In the order of ids and without waiting, so that any number of servers may do it at once.
_STAMP = text("""
    UPDATE rules SET last_matched_at = :now WHERE id = ANY(ARRAY(
        SELECT id FROM rules
        WHERE (last_matched_at IS NULL OR last_matched_at <= :before)
            AND EXISTS (
                SELECT FROM links JOIN epics ON epics.id = links.epic_id AND epics.removed_at IS NULL
                WHERE links.rule_id = rules.id AND links.origin = 'rule'
            )
        ORDER BY id FOR NO KEY UPDATE SKIP LOCKED))
""")
_CHANGED_AT = func.coalesce(RuleRow.changed_at, RuleRow.created_at)
UNMATCHED_SINCE: ColumnElement[Any] = func.greatest(_CHANGED_AT, RuleRow.last_matched_at)
# Without those that epics below inherit, and those of epics that are in no list. OFFSET 0 keeps the epic a
# look into an index, for the first link that is found: joined freely, all links might be read.
_LISTED = select(EpicRow.id).where(EpicRow.id == LinkRow.epic_id, EpicRow.removed_at.is_(None)).offset(0)
_LINKING = select(LinkRow.rule_id).where(LinkRow.origin == "rule", _LISTED.exists())
_CYCLES = select(CycleRow.starts, CycleRow.ends)
_CYCLE = (
    select(CycleRow.ends - CycleRow.starts + 1)
    .join(ObjectiveRow, ObjectiveRow.cycle_id == CycleRow.id)
    .join(KeyResultRow, KeyResultRow.objective_id == ObjectiveRow.id)
    .where(KeyResultRow.id == RuleRow.key_result_id)
    .scalar_subquery()
)


@dataclass(frozen=True, slots=True)
class RuleReport:
    """`matches`: how many epics it links itself now. `last_matched_at`: when it last did, to the day; None
    for never. `unmatched_since`: since when an enabled rule has linked none, None where it links any.
    `for_a_cycle`: and a cycle has passed since."""

    matches: int
    last_matched_at: datetime | None
    unmatched_since: datetime | None
    for_a_cycle: bool

    def warnings(self) -> list[FieldWarning]:
        if not self.for_a_cycle or self.unmatched_since is None:
            return []
        message = (
            f"has linked no epic for a cycle, since {self.unmatched_since:%Y-%m-%d}; change or delete it"
        )
        return [FieldWarning("when", message)]


async def stamp_matches(session: AsyncSession, now: datetime) -> None:
    """Record, once a day for each rule, that it links epics. Evaluations do not: those of many slices would
    all wait for the row of one rule."""
    await session.execute(_STAMP, {"now": now, "before": now - STAMPED_EVERY})


async def cycle_length(session: AsyncSession, now: datetime) -> timedelta:
    """How long a cycle is for a rule whose key result has none: as the shortest that is under way, else as
    the last that ended, else as the first to come."""
    today = now.date()
    cycles = [(starts, ends) for starts, ends in await session.execute(_CYCLES)]
    if not cycles:
        return DEFAULT_CYCLE
    under_way = [cycle for cycle in cycles if cycle[0] <= today <= cycle[1]]
    starts, ends = (
        min(under_way, key=_days)
        if under_way
        else max(cycles, key=lambda cycle: (cycle[1] < today, -abs((cycle[1] - today).days)))
    )
    return timedelta(days=_days((starts, ends)))


def _days(cycle: tuple[date, date]) -> int:
    return (cycle[1] - cycle[0]).days + 1


def is_unmatched(now: datetime, cycle: timedelta) -> ColumnElement[bool]:
    """Of rules: enabled, and without a link for the length of the cycle of their key result, else `cycle`."""
    return _unmatched(literal(now), literal(cycle.days))


def _unmatched(now: Any, days: Any) -> ColumnElement[bool]:
    length = func.make_interval(0, 0, 0, func.coalesce(_CYCLE, days), type_=INTERVAL())
    linking = _LINKING.where(LinkRow.rule_id == RuleRow.id)
    return and_(RuleRow.enabled, ~linking.exists(), UNMATCHED_SINCE + length <= now)


_FACTS = select(
    RuleRow.id,
    UNMATCHED_SINCE,
    _unmatched(bindparam("now", type_=DateTime(timezone=True)), bindparam("days", type_=Integer)),
).where(among_ids(RuleRow.id))


async def report_rules(
    session: AsyncSession, rows: Sequence[RuleRow], now: datetime
) -> dict[int, RuleReport]:
    """The reports of these rules, by their ids: three statements, whatever their number."""
    ids = [row.id for row in rows]
    counts = await count_links(session, LinkRow.rule_id, ids, "rule")
    days = (await cycle_length(session, now)).days
    facts = await session.execute(_FACTS, {"ids": ids, "now": now, "days": days})
    unmatched = {id: (since, is_late) for id, since, is_late in facts}
    return {row.id: _report(row, counts.get(row.id, 0), *unmatched[row.id], now) for row in rows}


def _report(row: RuleRow, matches: int, since: datetime, is_late: bool, now: datetime) -> RuleReport:
    if matches:
        return RuleReport(matches, now, None, False)
    return RuleReport(0, row.last_matched_at, since if row.enabled else None, is_late)
