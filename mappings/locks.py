"""Locks between transactions, and the commit that does not wait for the disk."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import (
    func,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncSession

from mappings.tables import EpicRow

SYNCHRONOUS_COMMIT_OFF = func.set_config("synchronous_commit", "off", True)
LOCK_GOALS = 7017280452178371


async def lock_goals_shared(session: AsyncSession) -> int:
    """For evaluations: goals, rules, manual links and policy do not change until this transaction ends.
    Returns their version."""
    await session.execute(text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": LOCK_GOALS})
    version: int = (await session.scalars(text("SELECT goals_version FROM installation"))).one()
    return version


async def lock_goals_exclusive(session: AsyncSession) -> None:
    """For changes to them: waits for running evaluations, and the next evaluation sees the whole change."""
    await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_GOALS})
    await session.execute(text("UPDATE installation SET goals_version = goals_version + 1"))


async def without_synchronous_commit(session: AsyncSession) -> None:
    """Let this transaction's commit return before it is on disk. If the machine crashes, the transaction is
    lost as a whole, its cursor or marks included, and the work is done again."""
    await session.execute(select(SYNCHRONOUS_COMMIT_OFF))


LOCK_SOURCE_NOTICES = 701728  # the first half of a key whose second half is a source's id


async def lock_notices_of_source(session: AsyncSession, source_id: int) -> None:
    """Only one transaction at a time counts a source's comments and releases, approves or withdraws them."""
    # Not the lock of the source's row: some transactions take it before the epics, others after the notices.
    await session.execute(select(func.pg_advisory_xact_lock(LOCK_SOURCE_NOTICES, source_id)))


async def lock_epics(session: AsyncSession, ids: Sequence[int]) -> list[EpicRow]:
    """The epics with these ids, locked in the order that every bulk write keeps."""
    query = select(EpicRow).where(EpicRow.id.in_(ids)).order_by(EpicRow.id).with_for_update()
    return list(await session.scalars(query.execution_options(populate_existing=True)))
