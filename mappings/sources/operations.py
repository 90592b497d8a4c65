"""What a person may do with a source: connect it, change it, sync it, accept removals, disconnect it.

Locks are taken in this order: the goals, the source's notices, the source's row. Each operation asks for the
jobs that do the rest, and announces a changed schedule to the servers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sqlalchemy import func, select

from mappings.errors import Conflict, Invalid, NotFound, check_values, check_version
from mappings.locks import lock_goals_exclusive, lock_notices_of_source, lock_parents, locked_source
from mappings.lookups import find_source, run_at, source_at
from mappings.notices.pauses import resume_writes
from mappings.notices.withdrawal import any_comment_on_tickets, request_withdrawal_of_all
from mappings.runs.queue import resume_waiting_runs, start_run
from mappings.runs.reevaluation import reevaluate_all_children
from mappings.sources.changes import FIELDS_WITH_FOLLOW_UP, follow_up
from mappings.sources.going_live import check_apart_from_demo, check_live, check_projects
from mappings.sources.schedules import NO_TIMETABLE, announce_schedules, has_timetable
from mappings.sources.values import SourceValues, TrackerFacts, source_errors
from mappings.tables import UNFINISHED_STATES, HeldRemovalRow, RunRow, SourceRow
from mappings.wakeups import wake
from mappings.webhooks.queue import resume_deliveries

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

IN_FULL = "Run a full sync again and see how it ends."
# `/sources/new` is the page that connects one. A source of an older version may have the name.
NOT_A_NAME = "new"


@dataclass(frozen=True, slots=True)
class ChangedSource:
    """A source after its change, and the ids of the runs that the change opened."""

    source: SourceRow
    run_ids: list[int]


async def create_source(
    session: AsyncSession, kind: str, values: SourceValues, now: datetime, *, uuid: str
) -> ChangedSource:
    """Connect a tracker; with a timetable its first run starts at once. Its secrets are encrypted for the
    source with this `uuid`. Raises `Conflict`, `Invalid`."""
    check_values(source_errors(values))
    # So that a name that is free stays free until the commit.
    await lock_goals_exclusive(session)
    await check_free_name(session, values.name)
    await check_apart_from_demo(session, values)
    await check_live(session, values, None, None)
    await check_projects(session, values, None)
    row = SourceRow(uuid=uuid, kind=kind, created_at=now, updated_at=now)
    _fill(row, values)
    session.add(row)
    await session.flush()
    await session.refresh(row)
    runs = [await start_run(session, row.id, "full", now)] if has_timetable(row.schedule) else []
    await announce_schedules(session)
    return ChangedSource(row, [run.id for run in runs])


async def check_free_name(session: AsyncSession, name: str) -> None:
    """Raises `Conflict` where a source has the name, in any case, and `Invalid` for a name whose page would
    have the address of another."""
    if name.lower() == NOT_A_NAME:
        raise Invalid("name", f"must not be {NOT_A_NAME!r}: that is the page that connects a source")
    if await find_source(session, name) is not None:
        raise Conflict.taken("name", name)


def check_credentials_sent(base_url: str, new_base_url: str, *, sent: bool) -> None:
    """Raises `Invalid` where a stored token would go to another address than that it was sent for."""
    if base_url != new_base_url and not sent:
        raise Invalid(
            "credentials", "must be sent with a new base_url, so that no token goes to another host"
        )


async def change_source(
    session: AsyncSession,
    name: str,
    change: Callable[[SourceRow], tuple[SourceValues, TrackerFacts]],
    now: datetime,
    *,
    versions: Collection[int] | None = None,
) -> ChangedSource:
    """Give a source the values that `change` makes of its present row; beside them `change` gives the facts
    of the tracker until now. `versions` are those that the caller has read; None accepts any.

    A wider scope or another selector starts a full run; what a narrower scope leaves out is removed at once.
    Raises `NotFound`, `StaleVersion`, `Conflict`, `Invalid`.
    """
    await lock_goals_exclusive(session)
    row = await source_at(session, name, lock=True)
    check_version(row.version, versions)
    _check_not_disconnecting(row)
    values, was = change(row)
    check_values(source_errors(values))
    new_credentials = values.credentials != row.credentials
    check_credentials_sent(row.base_url, values.base_url, sent=new_credentials)
    if values.name.lower() != row.name.lower():
        await check_free_name(session, values.name)
    await check_apart_from_demo(session, values)
    await check_live(session, values, row, was)
    await check_projects(session, values, row)
    before = {name: getattr(row, name) for name in FIELDS_WITH_FOLLOW_UP}
    _fill(row, values)
    row.version, row.updated_at = row.version + 1, now
    if new_credentials:
        row.unopened_since = None
        await resume_deliveries(session, row.id)
        await resume_waiting_runs(session, row.id, now)
        wake(session, "process_deliveries", source_id=row.id)
    opened = await follow_up(session, row, before, was.scope, values.facts.scope, now)
    await resume_writes(session, row.id, now)
    await announce_schedules(session)
    return ChangedSource(row, opened)


def _fill(row: SourceRow, values: SourceValues) -> None:
    row.name, row.base_url, row.tracker = values.name, values.base_url, values.facts.tracker
    row.credentials, row.credentials_type = values.credentials, values.credentials_type
    row.webhook_secret = values.webhook_secret
    row.scope, row.epics = values.scope, values.epics
    row.schedule, row.notices = values.schedule, values.notices


async def sync_source(
    session: AsyncSession, name: str, mode: Literal["incremental", "full"], now: datetime
) -> tuple[RunRow, str]:
    """The run that syncs, and the source's name: a queued or running run if it does as much, else a new one.
    Raises `NotFound`, and `Conflict` while the source is being disconnected."""
    row = await source_at(session, name, lock=True)
    _check_not_disconnecting(row)
    return await start_run(session, row.id, mode, now), row.name


# --- disconnecting ------------------------------------------------------------------------------------


async def disconnect_source(
    session: AsyncSession, name: str, comments: Literal["leave", "withdraw"] | None, now: datetime
) -> tuple[RunRow, str] | None:
    """Delete a source, and with `withdraw` only after our comments on its tickets are withdrawn.

    Returns the run that withdraws them and the source's name, or None where the source is deleted at once: no
    comment of ours is there, or they are left. Raises `NotFound`, and `Conflict` where comments are there and
    `comments` does not say what to do with them.
    """
    await lock_goals_exclusive(session)
    # The lock on its notices before the source's row, the order in which a run is withdrawn too.
    await lock_notices_of_source(session, (await source_at(session, name)).id)
    row = await source_at(session, name, lock=True)
    has_comments = comments != "leave" and await any_comment_on_tickets(session, row.id)
    if has_comments and comments is None:
        raise Conflict(
            "Our comments are on its tickets; delete with ?comments=withdraw to withdraw them first, "
            "or with ?comments=leave to leave them."
        )
    await announce_schedules(session)
    if not has_comments:
        await _delete(session, row, now)
        return None
    run = await request_withdrawal_of_all(session, row.id, now)
    row.disconnecting_at = row.disconnecting_at or now
    row.notices, row.schedule = {**row.notices, "mode": "off"}, NO_TIMETABLE
    row.version += 1
    wake(session, "write_tickets", source_id=row.id)
    return run, row.name


async def delete_disconnected_sources(session: AsyncSession, now: datetime) -> None:
    """Delete the disconnecting sources that have no comment of ours left."""
    disconnecting = select(SourceRow.id).where(SourceRow.disconnecting_at.is_not(None))
    ids = [
        source_id
        for source_id in await session.scalars(disconnecting.order_by(SourceRow.id))
        if not await any_comment_on_tickets(session, source_id)
    ]
    if not ids:
        return
    await lock_goals_exclusive(session)
    await lock_notices_of_source(session, *ids)
    for source_id in ids:
        if await any_comment_on_tickets(session, source_id):
            continue  # made before the lock
        # Row by row, because the audit log does not see bulk deletions.
        row = await session.get(SourceRow, source_id, with_for_update={"key_share": True})
        if row is not None:
            await _delete(session, row, now)
            await announce_schedules(session)


async def _delete(session: AsyncSession, row: SourceRow, now: datetime) -> None:
    """Delete the source and its epics, which may be the parents of those of another source.

    The caller has locked the source as `locked_source` does: who has the lock of parents may open runs of it.
    """
    await lock_parents(session)
    await session.delete(row)
    await session.flush()
    await reevaluate_all_children(session, [row.tracker], now)


def _check_not_disconnecting(row: SourceRow) -> None:
    if row.disconnecting_at is not None:
        raise Conflict(
            f"{row.name} is being disconnected since {row.disconnecting_at:%Y-%m-%d %H:%M} UTC: it is "
            "deleted once our comments are withdrawn. To leave them there, DELETE it with ?comments=leave."
        )


# --- removals that the drop guard held ------------------------------------------------------------


async def accept_removals(session: AsyncSession, run_id: int, now: datetime) -> tuple[RunRow, str]:
    """Open a full run that removes the epics that run `run_id` did not meet; called again, the same run.

    Returns the run that was opened and the source's name. If that run failed, the next call opens another.
    Raises `NotFound`, and `Conflict` for a run in which the guard held nothing, and once a later run has read
    the source in full.
    """
    source_id = (await run_at(session, run_id))[0].source_id
    # The lock that opening and ending a run take too, so the runs of this source do not change meanwhile.
    locked = locked_source(source_id, SourceRow).execution_options(populate_existing=True)
    source = await session.scalar(locked)
    run = await session.get(RunRow, run_id, populate_existing=True)
    if run is None or source is None:
        raise NotFound.of("run", run_id)
    _check_not_disconnecting(source)
    done = (await session.scalars(select(RunRow).where(RunRow.accepts_run_id == run.id))).one_or_none()
    if done is not None and done.state in ("queued", *UNFINISHED_STATES, "succeeded"):
        return done, source.name
    await _check_held(session, run, source)
    if done is not None:
        done.accepts_run_id = None
        await session.flush()
    # Not a run that reads already: it may have decided on removals before they were allowed.
    opened = await start_run(session, source.id, "full", now, afresh=True)
    opened.accepts_run_id = run.id
    await session.flush()
    return opened, source.name


async def _check_held(session: AsyncSession, run: RunRow, source: SourceRow) -> None:
    if (run.mode, run.state, _code(run)) != ("full", "partial", "drop_guard"):
        raise Conflict(
            f"Run {run.id} holds no removals: only a full run that ended `partial` with the code "
            f"`drop_guard` does, and this one is `{run.mode}` and `{run.state}`."
        )
    later = (
        select(RunRow)
        .where(RunRow.source_id == source.id, RunRow.mode == "full", RunRow.id > run.id)
        # A run that failed, or ended because the source was changed, does not tell what is gone.
        .where(RunRow.state.in_(("succeeded", "partial")))
        .where(func.coalesce(RunRow.error["code"].astext, "") != "changed")
        .order_by(RunRow.id.desc())
        .limit(1)
    )
    newer = (await session.scalars(later)).one_or_none()
    if newer is not None:
        remedy = f"Accept run {newer.id}." if _code(newer) == "drop_guard" else IN_FULL
        raise Conflict(
            f"Run {newer.id} has read the source in full since; run {run.id} is out of date. {remedy}"
        )
    held = select(HeldRemovalRow.remote_id).where(HeldRemovalRow.run_id == run.id).limit(1)
    if run.tracker != source.tracker or (await session.scalars(held)).first() is None:
        raise Conflict(f"Run {run.id} holds nothing for the source's present tracker. {IN_FULL}")


def _code(run: RunRow) -> str | None:
    return None if run.error is None else run.error["code"]
