"""Claims on work: how a worker takes, renews and releases one. Runs, deliveries and notices are claimed so.

A claim is taken by compare-and-set and ends with its lease. A heartbeat renews it while the work goes on
(`app.heartbeat`), so what a killed process held is free `LEASE` after its last renewal, and the sweep, which
comes every 15 seconds, wakes a worker for it: within a minute. No process decides that another one is dead.

A lease outlasts a heartbeat that is late: a slow statement and an event loop that is busy may together take
`LEASE - RENEW_EVERY`. A worker that is late for longer loses its claim, and finds out at its next step by
`ClaimLost`. A claim that seems to last longer than any lease was taken while the database's clock was wrong:
it counts as ended.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from sqlalchemy import ColumnElement, and_, bindparam, case, func, or_, select, update

from mappings.tables import Claimed

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.sql.dml import ReturningUpdate

LEASE, RENEW_EVERY = timedelta(seconds=30), timedelta(seconds=5)
# How long the writer lets a request arrive whose answer never came, before it looks at the ticket: longer
# than a call may take. It renews its claim before each request, so this counts from the last renewal.
UNCONFIRMED_WAIT = timedelta(seconds=60)
# How long after the renewal of its claim a writer may send its request; what waits for a lost answer counts
# on it.
SENT_WITHIN = 2 * RENEW_EVERY
# No claim lasts longer, also for a caller that read the time a lease ago.
LONGEST_LEASE = 2 * LEASE
# Work that was claimed so often, never got ahead and never ended probably ends its worker each time, so it
# fails. What a worker releases because it stops, or because work waits, does not count.
MOST_ATTEMPTS = 10
# A due time that is always in the past.
ALWAYS_DUE = datetime(2000, 1, 1, tzinfo=UTC)
# The condition of `is_free` for statements that are text, with the time as `:now`.
IS_FREE = f"""(claimed_until IS NULL OR claimed_until <= :now
    OR claimed_until > CAST(:now AS timestamptz) + interval '{LONGEST_LEASE.total_seconds():g} s')"""
# The columns of a claim that has ended.
RELEASED: dict[str, Any] = {"claimed_by": None, "claimed_until": None}

RowT = TypeVar("RowT", bound=Claimed)


class ClaimLost(Exception):
    """Another worker has taken over the work; the caller stops at once and writes nothing."""


def claim_name(worker: str) -> str:
    """The name of a new claim of this worker. No claim has the name of another: a job that goes on after its
    lease has ended must not pass for the one that took its work over, even where both are in one process."""
    return f"{worker}/{uuid4().hex}"


def is_free(row: type[Claimed], now: datetime) -> ColumnElement[bool]:
    """The row is not claimed, or the lease has ended."""
    return or_(row.claimed_until.is_(None), row.claimed_until <= now, row.claimed_until > now + LONGEST_LEASE)


def is_held(row: type[Claimed], now: datetime) -> ColumnElement[bool]:
    """A worker has claimed the row, and the lease has not ended."""
    return and_(row.claimed_until > now, row.claimed_until <= now + LONGEST_LEASE)


def has_ended(row: type[Claimed], now: datetime) -> ColumnElement[bool]:
    """A worker has claimed the row, and the lease has ended."""
    return or_(row.claimed_until <= now, row.claimed_until > now + LONGEST_LEASE)


def holds(row: Claimed, now: datetime) -> bool:
    """`is_held` of a row that is loaded."""
    return row.claimed_until is not None and now < row.claimed_until <= now + LONGEST_LEASE


def renewed_at(row: type[Claimed]) -> ColumnElement[datetime | None]:
    """When the claim was taken or last renewed; null without one."""
    return row.claimed_until - LEASE


def taking(
    row: type[RowT], owner: str, now: datetime, *which: ColumnElement[bool], **values: Any
) -> ReturningUpdate[RowT]:
    """The statement that claims the free ones of `which` at `now`, and sets `values`; it returns the rows."""
    claimed = update(row).where(*which, is_free(row, now))
    return claimed.values(claimed_by=owner, claimed_until=now + LEASE, **values).returning(row)


def renewing(row: type[Claimed], *which: ColumnElement[bool], **values: Any) -> ReturningUpdate[Any]:
    """The statement that `renew` executes, made once: some work renews with each page. It sets `values` too;
    the parameters in these and in `which` are the caller's."""
    # A heartbeat may have renewed the claim since the caller read the time. A wrong clock may have, too.
    given = bindparam("until", type_=row.claimed_until.type)
    until = case((row.claimed_until > given + LEASE, given), else_=func.greatest(row.claimed_until, given))
    ours = update(row).where(row.claimed_by == bindparam("owner"), *which)
    renewed = ours.values({**values, "claimed_until": until}).returning(row.claimed_by)
    return renewed.execution_options(synchronize_session=False)


async def renew(
    session: AsyncSession, statement: ReturningUpdate[Any], owner: str, now: datetime, **parameters: Any
) -> None:
    """Renew `owner`'s claim by a statement of `renewing`. Raises `ClaimLost`."""
    given = {**parameters, "owner": owner, "until": now + LEASE}
    if (await session.execute(statement, given)).first() is None:
        raise ClaimLost(f"the claim of {owner} was taken over")


async def release(
    session: AsyncSession, row: type[Claimed], owner: str, *which: ColumnElement[bool], **values: Any
) -> None:
    """End `owner`'s claim, and set `values` while it is `owner`'s. Raises `ClaimLost`."""
    ours = update(row).where(row.claimed_by == owner, *which).values({**values, **RELEASED})
    released = ours.returning(row.claimed_by).execution_options(synchronize_session=False)
    if (await session.execute(released)).first() is None:
        raise ClaimLost(f"the claim of {owner} was taken over")


def extend(row: Claimed, now: datetime) -> None:
    """Renew the claim of a row that the caller has locked and found to be claimed by itself."""
    row.claimed_until = now + LEASE


async def renew_all(
    session: AsyncSession, row: type[Claimed], owner: str, now: datetime, *which: ColumnElement[bool]
) -> None:
    """Renew those of `which` that `owner` has claimed, however many it still has. Rows that another
    transaction has locked are skipped: waiting for one while holding others could deadlock."""
    ours = select(row.id).where(row.claimed_by == owner, *which).with_for_update(skip_locked=True)
    renewed = update(row).where(row.id.in_(ours.scalar_subquery())).values(claimed_until=now + LEASE)
    await session.execute(renewed)


async def release_all(
    session: AsyncSession, row: type[Claimed], worker: str, *which: ColumnElement[bool], **values: Any
) -> None:
    """End all claims of a worker that stops, so that no other worker waits for their leases to end."""
    ours = row.claimed_by.startswith(worker, autoescape=True)
    await session.execute(update(row).where(ours, *which).values(**values, **RELEASED))
