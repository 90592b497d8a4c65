"""Locks between transactions: their order, every advisory key, and the helpers for both; also the commit that
does not wait for the disk.

A transaction takes the locks that it needs in this order, so that no two ever wait for each other:

1. the goals, shared or exclusively (advisory); who has them exclusively also updates the installation's row;
   then the row of the demo's company; the criteria of priorities, shared by a score, alone by their change
   (advisory)
2. the notices of a source (advisory); of several sources in the order of their ids
3. the source's row, in one of three strengths: alone (`locked_source`), as it stays while what was read is
   stored (`app.sync.transaction.source_transaction`), or only present (`share_source`)
4. its projects: shared by an evaluation and by what may end a project's pause, alone by what marks a project
   as completely read
5. its tickets that could not be read, in the order of their ids in the tracker
6. epics, all of a transaction at once and in the order of their ids; then the line of those whose children
   are to be counted, in the same order; then parents that are no epics
7. findings and notices, after their epics and in the order of their ids; then what a committee keeps of them:
   a review, an item of its agenda, a conflict, a stage, a decision; an epic's value and scores. A stage may
   come before an item and a conflict: who locks it with these has the goals exclusively
8. again the projects, only to change their cursors and pauses
9. what is above and below epics (advisory): by what stores them, a page after the other, and by a writer
   that has stored its ticket before it evaluates it; then runs, then deliveries
10. counters and jobs
11. the session of a person on the pages, to say what was done last

A row that refers to another one locks it as `share_source` does, at the moment of its insert: a run, a
delivery, the first count of its kind, and an estimate of an epic or a conflict on it their source, a notice
its run, an estimate of a key result that. A transaction that locks epics before such an insert takes the
source first.

What skips locked rows waits for no lock and may come at any place: claims, heartbeats, postponed notices. A
writer may lock the notice that it has claimed without its epic, if it locks nothing after it.

The lock under which one process migrates the database is in `migrations/env.py`, which imports no code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, func, select, text

from mappings.tables import EpicRow, SourceProjectRow, SourceRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

LOCK_GOALS = 7017280452178371
LOCK_PARENTS = 7017280452178372
LOCK_CRITERIA = 7017280452178373
LOCK_SOURCE_NOTICES = 701728  # the first half of a key whose second half is a source's id
# Until the transaction ends. PostgreSQL keeps the plan of a statement that is sent often, and the one that it
# made while a table or an index was small reads all of it for each look. Without `jit` off PostgreSQL would
# compile each such statement, for seconds: it takes the cost that stands for "never" for a real one.
BY_INDEXES = func.concat(
    func.set_config("enable_seqscan", "off", True),
    func.set_config("jit", "off", True),
    func.set_config("plan_cache_mode", "force_custom_plan", True),
)
SYNCHRONOUS_COMMIT_OFF = func.set_config("synchronous_commit", "off", True)
CHANGES_GOALS = "changes goals"  # in the `info` of a session that has locked the goals to change them


async def lock_goals_shared(session: AsyncSession) -> int:
    """For evaluations: goals, rules, manual links and policy do not change until this transaction ends.
    Returns their version."""
    await session.execute(text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": LOCK_GOALS})
    version: int = (await session.scalars(text("SELECT goals_version FROM installation"))).one()
    return version


async def try_lock_goals_shared(session: AsyncSession) -> bool:
    """As `lock_goals_shared`, at any place: it waits for nobody, and is False where it would have to."""
    taken = select(func.pg_try_advisory_xact_lock_shared(LOCK_GOALS))
    return bool(await session.scalar(taken))


async def lock_goals_exclusive(session: AsyncSession) -> None:
    """For changes to them: waits for running evaluations, and the next evaluation sees the whole change."""
    await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_GOALS})
    await session.execute(text("UPDATE installation SET goals_version = goals_version + 1"))
    session.info[CHANGES_GOALS] = True


async def lock_criteria_shared(session: AsyncSession) -> None:
    """For scores: the criteria do not change until this transaction ends."""
    await session.execute(select(func.pg_advisory_xact_lock_shared(LOCK_CRITERIA)))


async def lock_criteria_exclusive(session: AsyncSession) -> None:
    """For a change of the criteria: no score is given until this transaction ends."""
    await session.execute(select(func.pg_advisory_xact_lock(LOCK_CRITERIA)))


async def lock_notices_of_source(session: AsyncSession, *source_ids: int) -> None:
    """Only one transaction at a time counts a source's comments and releases, approves or withdraws them."""
    for source_id in sorted(source_ids):
        await session.execute(select(func.pg_advisory_xact_lock(LOCK_SOURCE_NOTICES, source_id)))


async def lock_parents(session: AsyncSession) -> None:
    """Only one transaction at a time looks what is below the epics that it has stored, and commits. It looks
    by indexes."""
    await session.execute(select(func.pg_advisory_xact_lock(LOCK_PARENTS), BY_INDEXES))


def locked_source(source_id: int, *columns: Any) -> Select[Any]:
    """These columns of a source, its row locked: one transaction at a time opens, ends and claims its work or
    changes its health. New rows may still refer to it."""
    return (
        select(*columns or (SourceRow.id,)).where(SourceRow.id == source_id).with_for_update(key_share=True)
    )


async def share_source(session: AsyncSession, *source_ids: int) -> set[int]:
    """The sources are not deleted until this transaction ends; the ids of those that are there."""
    return await _share_sources(session, SourceRow.id.in_(source_ids))


async def _share_sources(session: AsyncSession, which: ColumnElement[bool]) -> set[int]:
    present = select(SourceRow.id).where(which).order_by(SourceRow.id)
    return set(await session.scalars(present.with_for_update(read=True, key_share=True)))


async def share_paused_projects(session: AsyncSession, source_id: int) -> None:
    """For a transaction that may end a pause after it has locked epics: what marks a project as completely
    read locks it first, and then its epics."""
    paused = select(SourceProjectRow.key).where(
        SourceProjectRow.source_id == source_id, SourceProjectRow.writes_paused_at.is_not(None)
    )
    await session.execute(paused.order_by(SourceProjectRow.key).with_for_update(read=True, key_share=True))


async def lock_epics(session: AsyncSession, ids: Sequence[int]) -> list[EpicRow]:
    """The epics with these ids, locked in the order that every bulk write keeps."""
    query = select(EpicRow).where(EpicRow.id.in_(ids)).order_by(EpicRow.id).with_for_update()
    return list(await session.scalars(query.execution_options(populate_existing=True)))


async def lock_epics_and_sources(session: AsyncSession, ids: Sequence[int]) -> list[EpicRow]:
    """As `lock_epics`, their sources shared before: the runs that are opened for them refer to these."""
    of_them = select(EpicRow.source_id).where(EpicRow.id.in_(ids))
    await _share_sources(session, SourceRow.id.in_(of_them))
    return await lock_epics(session, ids)


async def without_synchronous_commit(session: AsyncSession, *settings: Any) -> None:
    """Let this transaction's commit return before it is on disk. If the machine crashes, the transaction is
    lost as a whole, its cursor or marks included, and the work is done again. `settings` are more of them
    (`BY_INDEXES`), in the same statement."""
    await session.execute(select(SYNCHRONOUS_COMMIT_OFF, *settings))
