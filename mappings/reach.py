"""How far each project of a source is read: cursors, which only go forward, what was read to its end, and
what a full run missed and kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Row, delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from connectors.base import Project
from mappings.tables import (
    UNFINISHED_STATES,
    Epic,
    HeldRemoval,
    Notice,
    Run,
    RunProject,
    Source,
    SourceProject,
)


async def note_projects(
    session: AsyncSession, source_id: int, projects: Iterable[Project], now: datetime
) -> None:
    """The projects as the tracker lists them now.

    One it does not list, or that cannot be read, is not to be judged as if it were whole. One not
    listed also loses its cursor: should it come back, its epics did not change meanwhile. Where more
    or fewer people may read along now, what stands on the tickets is judged anew.
    """
    listed = {project.key: project for project in projects}
    before = select(SourceProject).where(SourceProject.source_id == source_id)
    changed = [
        row.key
        for row in await session.scalars(before)
        if (now_listed := listed.get(row.key)) is not None
        and (row.public, row.service_desk) != (now_listed.public, now_listed.service_desk)
    ]
    rows = [
        {
            "source_id": source_id,
            "key": key,
            "public": project.public,
            "service_desk": project.service_desk,
            "problem": project.problem,
        }
        for key, project in sorted(listed.items())
    ]
    if rows:
        fresh = insert(SourceProject).values(rows)
        facts = {name: fresh.excluded[name] for name in ("public", "service_desk", "problem")}
        await session.execute(fresh.on_conflict_do_update(index_elements=["source_id", "key"], set_=facts))
    await session.execute(
        update(SourceProject)
        .where(SourceProject.source_id == source_id, SourceProject.key.not_in(list(listed)))
        .values(cursor=None)
    )
    await _judge_anew(session, source_id, now, Epic.project.in_(changed))
    await doubt(session, source_id, [key for key, project in listed.items() if project.problem is None])


_IN_TROUBLE = or_(Notice.state == "failed", Notice.reason == "stale")


async def try_again(session: AsyncSession, source_id: int, remote_ids: Sequence[str], now: datetime) -> bool:
    """Have the notices of these tickets that could not be written judged anew; whether there are any."""
    return await _judge_anew(session, source_id, now, Epic.remote_id.in_(remote_ids), _IN_TROUBLE)


async def _judge_anew(
    session: AsyncSession, source_id: int, now: datetime, *which: ColumnElement[bool]
) -> bool:
    """Have these epics with a notice judged; whether there are any. Locked in the order that all keep."""
    waiting = (
        select(Epic.id)
        .join(Notice, Notice.epic_id == Epic.id)
        .where(Epic.source_id == source_id, *which)
        .order_by(Epic.id)
        .with_for_update(of=Epic)
    )
    marked = update(Epic).where(Epic.id.in_(waiting)).values(look_again_at=now).returning(Epic.id)
    return bool((await session.scalars(marked)).all())


_ADVANCE = text(
    "WITH own AS (INSERT INTO run_projects (run_id, key, cursor) VALUES (:run, :key, :cursor)"
    "   ON CONFLICT (run_id, key) DO UPDATE SET cursor = greatest(run_projects.cursor, excluded.cursor))"
    " UPDATE source_projects SET cursor = greatest(cursor, :cursor)"
    " WHERE source_id = :source AND key = :key AND cursor IS DISTINCT FROM :cursor"
)


async def advance(session: AsyncSession, source_id: int, run_id: int, key: str, cursor: datetime) -> None:
    """Both cursors go forward only: the run's, to go on from; the project's, for the runs to come."""
    parameters = {"run": run_id, "source": source_id, "key": key, "cursor": cursor}
    await session.execute(_ADVANCE, parameters)


async def forget_cursors(session: AsyncSession, source_id: int) -> None:
    """By another scope or selector tickets count that have not changed since: every project begins anew."""
    await session.execute(
        update(SourceProject).where(SourceProject.source_id == source_id).values(cursor=None)
    )


async def mark_done(session: AsyncSession, run_id: int, key: str) -> None:
    await session.execute(
        insert(RunProject)
        .values(run_id=run_id, key=key, done=True)
        .on_conflict_do_update(index_elements=["run_id", "key"], set_={"done": True})
    )


async def note_read(
    session: AsyncSession, source_id: int, key: str, now: datetime, *, read_to_end: bool, problem: str | None
) -> None:
    """How the reading of a project ended. One that can be believed again has its notices judged anew, else
    those that could not be written, unless nothing is written there for a while."""
    before = await session.execute(
        select(SourceProject.read_to_end, SourceProject.writes_stopped_at)
        .where(SourceProject.source_id == source_id, SourceProject.key == key)
        .with_for_update()
    )
    believed, stopped_at = before.one_or_none() or (False, None)
    await session.execute(
        update(SourceProject)
        .where(SourceProject.source_id == source_id, SourceProject.key == key)
        .values(read_to_end=read_to_end, problem=problem)
    )
    if read_to_end and not (believed and stopped_at):
        some = (_IN_TROUBLE,) if believed else ()
        await _judge_anew(session, source_id, now, Epic.project == key, *some)


async def doubt(session: AsyncSession, source_id: int, read: Collection[str]) -> None:
    """All projects but those in `read`: what is stored of them must not be judged as if it were whole."""
    await session.execute(
        update(SourceProject)
        .where(SourceProject.source_id == source_id, SourceProject.key.not_in(list(read)))
        .values(read_to_end=False)
    )


async def read_by(session: AsyncSession, run_id: int) -> set[str]:
    """The projects a run has read to their end."""
    done = select(RunProject.key).where(RunProject.run_id == run_id, RunProject.done)
    return set(await session.scalars(done))


async def live(session: AsyncSession, source_id: int) -> Sequence[Row[str, str, str]]:
    """The project, remote id and key of every epic in a list of this source, in the order of our ids."""
    rows = await session.execute(
        select(Epic.project, Epic.remote_id, Epic.key)
        .where(Epic.source_id == source_id, Epic.gone_at.is_(None))
        .order_by(Epic.id)
    )
    return rows.all()


async def where_to_start(
    session: AsyncSession, source_id: int, run_id: int, key: str, *, whole: bool
) -> tuple[datetime | None, bool]:
    """The moment a run reads a project from (None: from its beginning), and whether it has read it already.

    A run taken up again goes on from its own cursor, a fresh incremental one from the project's.
    """
    own = await session.get(RunProject, (run_id, key))
    if own is not None and (own.done or own.cursor is not None):
        return own.cursor, own.done
    if whole:
        return None, False
    row = await session.get(SourceProject, (source_id, key))
    return (None if row is None else row.cursor), False


async def changed_by_a_person(session: AsyncSession, source: Source) -> bool:
    """Whether a source was changed since the last full run that could act on it."""
    if source.version == 1:
        return False
    code = func.coalesce(Run.error["code"].astext, "")
    ended = await session.scalar(
        select(func.max(Run.finished_at))
        .where(Run.source_id == source.id, Run.mode == "full", Run.state.in_(("succeeded", "partial")))
        .where(code.not_in(("drop_guard", "changed")))
    )
    return ended is None or ended <= source.updated_at


# --- removals that wait for a person's word -----------------------------------------------------


async def hold_removals(session: AsyncSession, run_id: int, remote_ids: Sequence[str]) -> None:
    """What a full run did not meet and the drop guard kept."""
    await session.execute(
        text(
            "INSERT INTO held_removals (run_id, remote_id) SELECT :run, unnest(CAST(:ids AS text[]))"
            " ON CONFLICT DO NOTHING"
        ),
        {"run": run_id, "ids": list(remote_ids)},
    )


async def allowed_removals(session: AsyncSession, run: Run, tracker: str) -> set[str]:
    """The remote ids that a person allowed `run` to remove, held by an earlier run of the same `tracker`."""
    if run.accepts is None:
        return set()
    held = (
        select(HeldRemoval.remote_id)
        .join(Run, Run.id == HeldRemoval.run_id)
        .where(Run.id == run.accepts, Run.tracker == tracker)
    )
    return set(await session.scalars(held))


async def forget_held_removals(session: AsyncSession, source_id: int, run_id: int) -> None:
    """A full run has come to its own findings: what it and those before it held is of no use any more.

    What another run, still to do its work, was allowed to remove stays until then.
    """
    awaited = select(Run.accepts).where(
        Run.source_id == source_id,
        Run.id != run_id,
        Run.accepts.is_not(None),
        Run.state.in_(("queued", *UNFINISHED_STATES)),
    )
    of_source = select(Run.id).where(Run.source_id == source_id)
    await session.execute(
        delete(HeldRemoval).where(HeldRemoval.run_id.in_(of_source), HeldRemoval.run_id.not_in(awaited))
    )
