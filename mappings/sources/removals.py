"""Epics that a full run did not meet: which are held, and which of them a person has allowed to remove."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Row, delete, func, select, text

from mappings.tables import UNFINISHED_STATES, EpicRow, HeldRemovalRow, RunRow, SourceRow

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

MOST_KEYS = 20  # that are named of what a run holds
FETCHED_AT_ONCE = 2000


async def epics_not_removed(
    session: AsyncSession, source_id: int
) -> AsyncGenerator[Sequence[Row[str, str, str]], None]:
    """The project, remote id and key of every epic of this source that is not removed, in order of id; some
    at a time, since a source may have a million."""
    rows = await session.stream(
        select(EpicRow.project, EpicRow.remote_id, EpicRow.key)
        .where(EpicRow.source_id == source_id, EpicRow.removed_at.is_(None))
        .order_by(EpicRow.id)
        .execution_options(yield_per=FETCHED_AT_ONCE)
    )
    async for some in rows.partitions():
        yield some


async def changed_since_full_run(session: AsyncSession, source: SourceRow) -> bool:
    """Whether a source was changed after the last full run that could take the change into account."""
    if source.version == 1:
        return False
    code = func.coalesce(RunRow.error["code"].astext, "")
    ended = await session.scalar(
        select(func.max(RunRow.finished_at))
        .where(
            RunRow.source_id == source.id, RunRow.mode == "full", RunRow.state.in_(("succeeded", "partial"))
        )
        .where(code.not_in(("drop_guard", "changed")))
    )
    return ended is None or ended <= source.updated_at


# --- removals that wait for a person ------------------------------------------------------------


async def hold_removals(session: AsyncSession, run_id: int, remote_ids: Sequence[str]) -> None:
    """Store the remote ids of the epics that a full run did not meet and the drop guard kept."""
    await session.execute(
        text(
            "INSERT INTO held_removals (run_id, remote_id) SELECT :run, unnest(CAST(:ids AS text[]))"
            " ON CONFLICT DO NOTHING"
        ),
        {"run": run_id, "ids": list(remote_ids)},
    )


class HeldRemovals(NamedTuple):
    """The removals that one run holds: how many, and the keys of the first of these epics."""

    run_id: int
    epics: int
    keys: list[str]


async def held_removals(
    session: AsyncSession, source_id: int, *, run_id: int | None = None
) -> list[HeldRemovals]:
    """What the runs of a source, or this one, hold until a person allows it; the newest run first."""
    of_source = (
        select(HeldRemovalRow.run_id, HeldRemovalRow.remote_id, RunRow.tracker)
        .join(RunRow, RunRow.id == HeldRemovalRow.run_id)
        .where(RunRow.source_id == source_id)
    )
    if run_id is not None:
        of_source = of_source.where(RunRow.id == run_id)
    held = of_source.subquery()
    counts = select(held.c.run_id, func.count()).group_by(held.c.run_id).order_by(held.c.run_id.desc())
    found = []
    for id, count in (await session.execute(counts)).all():
        named = (
            select(EpicRow.key)
            .join(held, (held.c.remote_id == EpicRow.remote_id) & (held.c.tracker == EpicRow.tracker))
            .where(held.c.run_id == id, EpicRow.removed_at.is_(None))
        )
        keys = await session.scalars(named.order_by(EpicRow.id).limit(MOST_KEYS))
        found.append(HeldRemovals(id, count, list(keys)))
    return found


async def allowed_removals(session: AsyncSession, run: RunRow, tracker: str) -> set[str]:
    """The remote ids that a person allowed `run` to remove, held by an earlier run on the same `tracker`."""
    if run.accepts_run_id is None:
        return set()
    held = (
        select(HeldRemovalRow.remote_id)
        .join(RunRow, RunRow.id == HeldRemovalRow.run_id)
        .where(RunRow.id == run.accepts_run_id, RunRow.tracker == tracker)
    )
    return set(await session.scalars(held))


async def delete_held_removals(session: AsyncSession, source_id: int, run_id: int) -> None:
    """Delete the held removals of a source, which are obsolete once a full run (`run_id`) has its own result.

    Removals that another unfinished run is allowed to execute stay until that run ends.
    """
    still_needed = select(RunRow.accepts_run_id).where(
        RunRow.source_id == source_id,
        RunRow.id != run_id,
        RunRow.accepts_run_id.is_not(None),
        RunRow.state.in_(("queued", *UNFINISHED_STATES)),
    )
    of_source = select(RunRow.id).where(RunRow.source_id == source_id)
    await session.execute(
        delete(HeldRemovalRow).where(
            HeldRemovalRow.run_id.in_(of_source), HeldRemovalRow.run_id.not_in(still_needed)
        )
    )
