"""Evaluating epics again after goals, rules or policy changed: the caller answers at once, runs do the work.

These functions store the causes and open the runs, in the transaction of the change itself. For a change of
goals, rules, links or policy the caller holds the goals' exclusive lock, so that no evaluation is under way;
for one of a finding it holds the lock of its epic alone. A run finds the epics that its causes affect when it
is executed, so a change costs the same however many they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, select

from mappings import invalidate, parents
from mappings.locks import lock_parents
from mappings.runs.causes import Cause, add_causes, join_run, merge_parents
from mappings.runs.queue import open_run
from mappings.tables import EpicRow, RunCauseRow, RunRow, SourceRow, among
from mappings.wakeups import job_of, wake

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.lookups import FoundEpic
    from mappings.parents import ChangedParent

# With more affected epics than this, every source gets a run; it may find nothing to do in some of them.
LOOKED_AT = 200


@dataclass(frozen=True, slots=True)
class ChangedEpic:
    """The epic that a change is about, and the run that `pipeline.evaluate_now` executes after the commit.
    `below`: the ids of the runs that evaluate what is below it."""

    epic: EpicRow
    run_id: int
    below: Sequence[int] = ()


async def reevaluate(
    session: AsyncSession, causes: Sequence[Cause], which: Sequence[Select[Any]], now: datetime
) -> list[int]:
    """Give the causes to a run of each source that has one of the epics whose ids `which` selects; the runs'
    ids, none where no epic is affected."""
    ids = (await session.scalars(invalidate.at_most(LOOKED_AT, which))).all()
    if len(ids) < LOOKED_AT:
        return await _join(session, ids, causes, now)
    sources = await session.scalars(select(SourceRow.id))
    return await reevaluate_sources(session, causes, {id: invalidate.by_source(id) for id in sources}, now)


async def reevaluate_sources(
    session: AsyncSession, causes: Sequence[Cause], which: Mapping[int, Select[Any]], now: datetime
) -> list[int]:
    """Give the causes to a run of each source, by its id in `which`, where the statement selects any epic;
    the runs' ids."""
    if not which:
        return []
    ids = (await session.scalars(invalidate.at_most(1, which.values()))).all()
    return await _join(session, ids, causes, now)


async def _join(
    session: AsyncSession, epic_ids: Collection[int], causes: Sequence[Cause], now: datetime
) -> list[int]:
    if not epic_ids:
        return []
    sources = select(EpicRow.source_id).where(among(EpicRow.id, epic_ids)).distinct()
    return await _join_affected(session, list(await session.scalars(sources)), causes, now)


# --- what is below a parent -------------------------------------------------------------------


async def reevaluate_children(session: AsyncSession, epic: EpicRow, now: datetime) -> list[int]:
    """Evaluate again what is below an epic whose links a person changed; the runs' ids, none where there is
    nothing. The caller holds the goals' exclusive lock."""
    causes = [Cause.of_parent(epic.id, epic.key)]
    return await reevaluate(session, causes, [parents.by_parents([epic.id])], now)


async def reevaluate_below(
    session: AsyncSession,
    changed: Sequence[ChangedParent],
    evaluated: Sequence[int],
    now: datetime,
    *,
    own: tuple[int, int] | None = None,
) -> list[int]:
    """Evaluate again what is below these epics, whose own links changed; the ids of the runs that others
    execute. `evaluated`: the epics that are evaluated with them. `own`: a source and the run of it that the
    caller executes, which evaluates what its causes affect: it takes the causes of this source."""
    if not changed:
        return []
    return await _join_below(session, await parents.left_below(session, changed, evaluated, now), now, own)


async def reevaluate_below_tickets(
    session: AsyncSession, tracker: str, remote_ids: Collection[str], now: datetime
) -> None:
    """Evaluate again what is below the epics of these tickets, which are new, removed or back, or have
    another key or parent.

    One of the last steps of the transaction that stored them: no other one stores a parent or a child between
    this look and the commit, and neither would see the other.
    """
    if remote_ids:
        await lock_parents(session)
        await _join_below(session, await parents.left_below_tickets(session, tracker, remote_ids, now), now)


async def reevaluate_all_children(session: AsyncSession, trackers: Collection[str], now: datetime) -> None:
    """Evaluate again each epic with a parent in the sources of these trackers: a whole source of epics leaves
    them or comes. As in `reevaluate_below_tickets`, no other transaction stores a child meanwhile."""
    await lock_parents(session)
    with_parents = select(EpicRow.id).where(
        EpicRow.source_id == SourceRow.id, EpicRow.parent_key.is_not(None), EpicRow.removed_at.is_(None)
    )
    sources = await session.scalars(
        select(SourceRow.id).where(SourceRow.tracker.in_(trackers), with_parents.exists())
    )
    await _join_affected(session, list(sources), [Cause.of_every_parent()], now)


async def _join_below(
    session: AsyncSession,
    found: Sequence[tuple[ChangedParent, int]],
    now: datetime,
    own: tuple[int, int] | None = None,
) -> list[int]:
    by_source: dict[int, list[Cause]] = {}
    for parent, source_id in found:
        cause = Cause.of_parent(parent.id, parent.key, parent.version, source_id)
        by_source.setdefault(source_id, []).append(cause)
    if own is not None and own[0] in by_source:
        source_id, run_id = own
        by_source[source_id] = await add_causes(session, run_id, by_source[source_id], now)
    causes = [cause for source_id in sorted(by_source) for cause in by_source[source_id]]
    runs = await _join_affected(session, sorted({cause.source_id or 0 for cause in causes}), causes, now)
    if causes:
        await merge_parents(session, runs, now)
    return runs


async def _join_affected(
    session: AsyncSession, sources: Collection[int], causes: Sequence[Cause], now: datetime
) -> list[int]:
    runs = await join_run(session, sources, "affected", causes, now)
    for run_id in runs:
        wake(session, job_of("evaluate", "affected"), run_id=run_id)
    return runs


async def open_evaluation(
    session: AsyncSession, epic: EpicRow, now: datetime, *, links: bool = False
) -> ChangedEpic:
    """Mark one epic and open the run that evaluates it, which no other cause joins. `links`: its links have
    changed, so what is below it is evaluated again too, in other runs."""
    run_id = await _open_evaluation(session, epic.source_id, {epic.id: epic.key}, now)
    return ChangedEpic(epic, run_id, await reevaluate_children(session, epic, now) if links else ())


async def open_evaluations(
    session: AsyncSession, epics: Iterable[EpicRow | FoundEpic], now: datetime
) -> list[int]:
    """As `open_evaluation` for a few epics, which the caller has locked. The ids of the runs, one a source,
    which `pipeline.evaluate_at_once` executes after the commit."""
    by_source: dict[int, dict[int, str]] = {}
    for epic in epics:
        by_source.setdefault(epic.source_id, {})[epic.id] = epic.key
    return [
        await _open_evaluation(session, source_id, keys, now) for source_id, keys in sorted(by_source.items())
    ]


async def _open_evaluation(
    session: AsyncSession, source_id: int, keys: Mapping[int, str], now: datetime
) -> int:
    await invalidate.mark_for_evaluation(session, keys, now)
    run = await open_run(session, source_id, "evaluate", now)
    session.add_all(
        RunCauseRow(run_id=run.id, kind="epic", reference=str(id), label=key, done=True, created_at=now)
        for id, key in keys.items()
    )
    return run.id


async def epics_of_runs(session: AsyncSession, run_ids: Collection[int]) -> dict[int, list[int]]:
    """The ids of the epics that `open_evaluations` opened these runs for, by run; other runs are left out."""
    rows = await session.execute(
        select(RunCauseRow.run_id, RunCauseRow.reference)
        .join(RunRow, RunRow.id == RunCauseRow.run_id)
        .where(RunRow.evaluates.is_(None), RunRow.id.in_(run_ids), RunCauseRow.kind == "epic")
    )
    epics: dict[int, list[int]] = {}
    for run_id, reference in rows:
        epics.setdefault(run_id, []).append(int(reference))
    return epics


async def reevaluate_links(
    session: AsyncSession, link_ids: Collection[int], source_ids: Collection[int], now: datetime
) -> list[int]:
    """Have the epics of these links, which are in these sources, evaluated again; the runs' ids."""
    return await _join_affected(session, sorted(source_ids), Cause.of_links(link_ids), now)
