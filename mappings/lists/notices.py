"""What the page of notices counts and groups. At 100,000 epics no count reads them all: without filters an
index of the notices is counted, and those of removed epics, which are in no list, are taken off."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, func, select

from mappings.lookups import source_in
from mappings.notices.withdrawal import count_withdrawal
from mappings.tables import EpicRow, FindingRow, NoticeRow, RunRow, SourceRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

DISPUTED = FindingRow.state == "disputed"
_EPIC = EpicRow.id == NoticeRow.epic_id
# Those that only a person ends come first.
_REASONS = ("guard", "cap", "grace", "quiet_hours", "stale", "disputed")


@dataclass(frozen=True, slots=True)
class HeldGroup:
    """What one reason holds, of the guard what it holds of one run. `count`: those that fit the filters;
    `of_run`: all of them. `withdrawal`: how many notices the withdrawal of the whole run reaches. `detail`:
    why the guard holds them."""

    reason: str
    count: int
    run: int | None = None
    source: str | None = None
    of_run: int = 0
    withdrawal: int = 0
    detail: str | None = None


async def conditions(
    session: AsyncSession, source: str | None, project: str | None
) -> list[ColumnElement[bool]]:
    """The conditions on `EpicRow` of epics that are in a list. Raises `Invalid` on `source`."""
    found: list[ColumnElement[bool]] = [EpicRow.removed_at.is_(None)]
    if source is not None:
        found.append(EpicRow.source_id == (await source_in(session, source, "source")).id)
    if project is not None:
        found.append(func.lower(EpicRow.project) == project.lower())
    return found


async def count_by_state(
    session: AsyncSession, listed: Sequence[ColumnElement[bool]]
) -> Counter[tuple[str, str | None]]:
    """How many notices of the epics that `conditions` lets through there are, by state and reason."""
    group = NoticeRow.state, NoticeRow.reason
    counted = select(*group, func.count()).group_by(*group)
    if len(listed) > 1:
        return await _counter(session, counted.join(EpicRow, _EPIC).where(*listed))
    counts = await _counter(session, counted)
    counts.subtract(
        await _counter(session, counted.join(EpicRow, _EPIC).where(EpicRow.removed_at.is_not(None)))
    )
    return counts


async def _counter(session: AsyncSession, counted: Any) -> Counter[tuple[str, str | None]]:
    return Counter({(state, reason): count for state, reason, count in await session.execute(counted)})


async def count_disputes(session: AsyncSession, listed: Sequence[ColumnElement[bool]]) -> int:
    disputes = select(func.count()).select_from(FindingRow).join(EpicRow, EpicRow.id == FindingRow.epic_id)
    return await session.scalar(disputes.where(DISPUTED, *listed)) or 0


async def held_groups(
    session: AsyncSession,
    listed: Sequence[ColumnElement[bool]],
    counts: Counter[tuple[str, str | None]],
) -> list[HeldGroup]:
    """What is held, by reason, of the guard by run, oldest first. `counts` as `count_by_state` gives them."""
    groups = await _guarded(session, listed) if counts["held", "guard"] else []
    for reason in _REASONS[1:]:
        if count := counts["held", reason]:
            groups.append(HeldGroup(reason, count))
    return groups


async def _guarded(session: AsyncSession, listed: Sequence[ColumnElement[bool]]) -> list[HeldGroup]:
    held = NoticeRow.state == "held", NoticeRow.reason == "guard"
    by_run = (
        select(NoticeRow.run_id, func.count())
        .join(EpicRow, _EPIC)
        .where(*held, *listed)
        .group_by(NoticeRow.run_id)
        .order_by(NoticeRow.run_id)
    )
    counts: dict[int | None, int] = {run: count for run, count in await session.execute(by_run)}
    groups = []
    for run, count in counts.items():
        first = select(NoticeRow.guard_reason).where(*held, NoticeRow.run_id == run).limit(1)
        detail = await session.scalar(first)
        if run is None:
            groups.append(HeldGroup("guard", count, detail=detail))
            continue
        named = select(SourceRow.name).join(RunRow, RunRow.source_id == SourceRow.id).where(RunRow.id == run)
        of_run = select(func.count()).select_from(NoticeRow).where(*held, NoticeRow.run_id == run)
        groups.append(
            HeldGroup(
                "guard",
                count,
                run,
                await session.scalar(named),
                await session.scalar(of_run) or 0,
                await count_withdrawal(session, run),
                detail,
            )
        )
    return groups


async def count_by_project(
    session: AsyncSession, state: str, listed: Sequence[ColumnElement[bool]]
) -> list[tuple[str, str, int]]:
    """Source, project and how many notices are in this state there."""
    group = SourceRow.name, EpicRow.project
    counted = (
        select(*group, func.count())
        .select_from(NoticeRow)
        .join(EpicRow, _EPIC)
        .join(SourceRow, SourceRow.id == EpicRow.source_id)
        .where(NoticeRow.state == state, *listed)
        .group_by(*group)
        .order_by(*group)
    )
    return [(source, project, count) for source, project, count in await session.execute(counted)]


async def following_id(
    session: AsyncSession, after: Iterable[int], *which: ColumnElement[bool]
) -> int | None:
    """Of the notices that `which` selects the first behind these, else the first of all."""
    ids = select(NoticeRow.id).join(EpicRow, _EPIC).where(*which).order_by(NoticeRow.id).limit(1)
    behind = await session.scalar(ids.where(NoticeRow.id > max(after, default=0)))
    return behind if behind is not None else await session.scalar(ids)


async def place_of(session: AsyncSession, id: int, *which: ColumnElement[bool]) -> tuple[int, int]:
    """Which one it is of those that `which` selects, from 1 in the order of their ids, and how many are."""
    counted = select(func.count().filter(NoticeRow.id <= id), func.count()).select_from(NoticeRow)
    place, of = (await session.execute(counted.join(EpicRow, _EPIC).where(*which))).one()
    return place, of
