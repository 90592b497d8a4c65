"""How far each project of a source is read: cursors, which only go forward, and whether it is complete.
A renamed project keeps its row, by the tracker's immutable id."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, case, exists, func, not_, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from mappings.sources.project_names import note_names
from mappings.tables import UNSENT, EpicRow, NoticeRow, RunCursorRow, SourceProjectRow, UnreadableTicketRow

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from connectors.base import Project
    from mappings.tables import SourceRow

# A search that began so long after a change, by the tracker's clock, shows it for sure: twelve times the lag
# that is usual.
SETTLED_AFTER = timedelta(hours=1)


async def record_projects(
    session: AsyncSession, source_id: int, projects: Iterable[Project], now: datetime
) -> None:
    """Store the projects as the tracker lists them now.

    A project that is not listed, or that cannot be read, counts as incomplete. One that is not listed also
    loses its cursor: if it comes back, its epics are read again although they did not change. If the audience
    of a project changed, or is known at last, its epics with a notice are evaluated again. A project that the
    tracker could not be asked about has the audience it had; a new one counts as public, as one that no run
    has listed does.
    """
    listed = {project.key: project for project in projects}
    await note_names(session, source_id, list(listed.values()))
    await _follow_renamed(session, source_id, listed)
    before = select(SourceProjectRow.key, SourceProjectRow.public, SourceProjectRow.service_desk).where(
        SourceProjectRow.source_id == source_id
    )
    audiences = {key: (public, desk) for key, public, desk in await session.execute(before)}
    changed: list[str] = []
    rows: list[dict[str, Any]] = []
    for key, project in sorted(listed.items()):
        was_public, _ = was = audiences.get(key, (True, None))
        asked = project.problem is None and project.public is not None
        public = project.public if asked else was_public
        if project.problem is None and (public, project.service_desk) != was:
            changed.append(key)
        rows.append(
            {
                "source_id": source_id,
                "key": key,
                "remote_id": project.remote_id,
                "public": public,
                "service_desk": project.service_desk,
                "problem": project.problem,
                "listed": True,
            }
        )
    if rows:
        fresh = insert(SourceProjectRow).values(rows)
        facts: dict[str, Any] = {name: fresh.excluded[name] for name in _LISTED}
        facts["remote_id"] = func.coalesce(fresh.excluded.remote_id, SourceProjectRow.remote_id)
        await session.execute(fresh.on_conflict_do_update(index_elements=["source_id", "key"], set_=facts))
    await session.execute(
        update(SourceProjectRow)
        .where(SourceProjectRow.source_id == source_id, SourceProjectRow.key.not_in(list(listed)))
        .values(cursor=None, settled_cursor=None, listed=False)
    )
    await _reevaluate(session, source_id, now, EpicRow.project.in_(changed))
    await mark_incomplete(
        session, source_id, [key for key, project in listed.items() if project.problem is None]
    )


_LISTED = ("public", "service_desk", "problem", "listed")


async def record_audiences(
    session: AsyncSession, source_id: int, projects: Iterable[Project], now: datetime
) -> None:
    """Store who may read these projects, as the tracker says it now, and evaluate the epics with a notice
    again where that has changed. What it was not asked about, or gave no answer to, stays as it is."""
    public = {project.key: project.public for project in projects if project.public is not None}
    stored = select(SourceProjectRow.key, SourceProjectRow.public).where(
        SourceProjectRow.source_id == source_id
    )
    changed = sorted(
        key for key, was in await session.execute(stored) if key in public and was != public[key]
    )
    for key in changed:
        row = (SourceProjectRow.source_id == source_id, SourceProjectRow.key == key)
        await session.execute(update(SourceProjectRow).where(*row).values(public=public[key]))
    if changed:
        await _reevaluate(session, source_id, now, EpicRow.project.in_(changed))


async def _follow_renamed(session: AsyncSession, source_id: int, listed: Mapping[str, Project]) -> None:
    """Give the rows of renamed projects, and their epics, the new keys. Nothing else of them changes, but
    that they are read from their beginning, for a rename dates no ticket anew.

    Two projects may have exchanged their keys. A row whose key another project has now is deleted, unless its
    own project is listed: that one is gone.
    """
    query = select(SourceProjectRow.key, SourceProjectRow.remote_id).where(
        SourceProjectRow.source_id == source_id
    )
    stored: dict[str, str | None] = {key: remote_id for key, remote_id in await session.execute(query)}
    renamed = {
        old: key
        for key, project in listed.items()
        if (old := _stored_key(project, stored, listed)) is not None and old != key
    }
    replaced = [
        key
        for key, remote_id in stored.items()
        if key not in renamed
        and (key in renamed.values() or (key in listed and _is_another(listed[key], remote_id)))
    ]
    if not renamed and not replaced:
        return
    parameters = {
        "source": source_id,
        "old": list(renamed),
        "new": list(renamed.values()),
        "left": [*renamed, *replaced],
        "replaced": replaced,
    }
    for statement in _FOLLOW:
        await session.execute(statement, parameters)


def _stored_key(
    project: Project, stored: Mapping[str, str | None], listed: Mapping[str, Project]
) -> str | None:
    """The key under which the project is stored, by its id; else, where its row is of before ids were stored,
    by a name that leads to it."""
    if project.remote_id is None:
        return None
    by_id = next((key for key, remote_id in stored.items() if remote_id == project.remote_id), None)
    names = {name.casefold() for name in project.named}
    return by_id or next(
        (
            key
            for key, remote_id in stored.items()
            if remote_id is None and key not in listed and key.casefold() in names
        ),
        None,
    )


def _is_another(project: Project, remote_id: str | None) -> bool:
    return None not in (project.remote_id, remote_id) and project.remote_id != remote_id


# What a run has read under such a key, it read of another project. `#` begins no key: it keeps two projects
# that exchange theirs apart.
_FOLLOW = (
    text(
        "DELETE FROM run_cursors USING runs WHERE runs.id = run_cursors.run_id AND runs.source_id = :source"
        " AND runs.finished_at IS NULL AND run_cursors.key = ANY(:left)"
    ),
    text("DELETE FROM source_projects WHERE source_id = :source AND key = ANY(:replaced)"),
    text("UPDATE source_projects SET key = '#' || key WHERE source_id = :source AND key = ANY(:old)"),
    text(
        "UPDATE source_projects SET key = renamed.new, cursor = NULL, settled_cursor = NULL"
        " FROM unnest(CAST(:old AS text[]), CAST(:new AS text[])) AS renamed(old, new)"
        " WHERE source_id = :source AND key = '#' || renamed.old"
    ),
    text(
        # Without their hashes, so that each is stored as it is read: one may be of a new project that has the
        # former key by now.
        "UPDATE epics SET project = touched.new, content_hash = '' FROM"
        " (SELECT id, renamed.new FROM epics"
        "   JOIN unnest(CAST(:old AS text[]), CAST(:new AS text[])) AS renamed(old, new)"
        "   ON renamed.old = epics.project"
        "   WHERE source_id = :source ORDER BY id FOR UPDATE OF epics) AS touched"
        " WHERE epics.id = touched.id"
    ),
)

_NOT_WRITTEN = or_(NoticeRow.state == "failed", NoticeRow.reason == "stale")
# What held these back is asked before whether the project is read (`notices.gates`), and no comment is there.
_WAITS_ANYHOW = and_(
    UNSENT,
    or_(
        NoticeRow.state == "shadow",
        and_(NoticeRow.state == "held", func.coalesce(NoticeRow.reason, "").in_(("disputed", "grace"))),
    ),
)


async def retry_notices(
    session: AsyncSession, source_id: int, remote_ids: Sequence[str], now: datetime
) -> bool:
    """Have these tickets evaluated again if their notices could not be written; whether there were any."""
    return await _reevaluate(session, source_id, now, EpicRow.remote_id.in_(remote_ids), _NOT_WRITTEN)


async def _reevaluate(
    session: AsyncSession, source_id: int, now: datetime, *which: ColumnElement[bool]
) -> bool:
    """Mark these epics for evaluation if they have a notice; whether there were any. Locks in order of id."""
    waiting = (
        select(EpicRow.id)
        .join(NoticeRow, NoticeRow.epic_id == EpicRow.id)
        .where(EpicRow.source_id == source_id, *which)
        .order_by(EpicRow.id)
        .with_for_update(of=EpicRow)
    )
    marked = update(EpicRow).where(EpicRow.id.in_(waiting)).values(evaluate_at=now).returning(EpicRow.id)
    return bool((await session.scalars(marked)).all())


_ADVANCE_CURSORS = text(
    "WITH given AS (SELECT * FROM unnest(CAST(:keys AS text[]), CAST(:cursors AS timestamptz[]))"
    "   AS given(key, cursor) ORDER BY key),"
    " own AS (INSERT INTO run_cursors (run_id, key, cursor) SELECT :run, key, cursor FROM given"
    "   ON CONFLICT (run_id, key) DO UPDATE SET cursor = greatest(run_cursors.cursor, excluded.cursor)),"
    " moved AS (SELECT source_projects.key, given.cursor FROM source_projects JOIN given USING (key)"
    "   WHERE source_id = :source AND source_projects.cursor IS DISTINCT FROM given.cursor"
    "   ORDER BY key FOR NO KEY UPDATE OF source_projects)"
    " UPDATE source_projects SET cursor = greatest(source_projects.cursor, moved.cursor)"
    " FROM moved WHERE source_id = :source AND source_projects.key = moved.key"
)


async def advance_cursors(
    session: AsyncSession, source_id: int, run_id: int, cursors: Mapping[str, datetime]
) -> None:
    """Move both cursors of these projects, only forward: the run's, to resume from, and the project's, for
    later runs."""
    if cursors:
        given = {"keys": list(cursors), "cursors": list(cursors.values())}
        await session.execute(_ADVANCE_CURSORS, {"run": run_id, "source": source_id, **given})


async def reset_cursors(session: AsyncSession, source_id: int) -> None:
    """Have every project read from its beginning: a new scope or selector may include unchanged tickets."""
    await session.execute(
        update(SourceProjectRow)
        .where(SourceProjectRow.source_id == source_id)
        .values(cursor=None, settled_cursor=None)
    )


async def forget_ids(session: AsyncSession, source: SourceRow) -> None:
    """Only keys count from now on: another tracker may have other projects under the same ids."""
    source.named_projects, source.unknown_names, source.unreadable_fields = {}, {}, {}
    await session.execute(
        update(SourceProjectRow).where(SourceProjectRow.source_id == source.id).values(remote_id=None)
    )


async def mark_projects_done(session: AsyncSession, run_id: int, keys: Sequence[str]) -> None:
    await session.execute(
        insert(RunCursorRow)
        .values([{"run_id": run_id, "key": key, "done": True} for key in sorted(keys)])
        .on_conflict_do_update(index_elements=["run_id", "key"], set_={"done": True})
    )


async def record_project_read(
    session: AsyncSession, source_id: int, key: str, now: datetime, *, fully_synced: bool, problem: str | None
) -> None:
    """`record_projects_read` of one project, which was perhaps not read completely, and why not."""
    ended: dict[str, Any] = {"fully_synced": fully_synced, "problem": problem}
    await _record_read(session, source_id, [key], now, **ended)


async def record_projects_read(
    session: AsyncSession, source_id: int, keys: Sequence[str], now: datetime, begun_at: datetime
) -> None:
    """Store that these projects were read completely, by searches that began at `begun_at`, by the tracker's
    clock, or later.

    If a project is complete again, its epics with a notice that waited for that, or may have, are evaluated
    again. If it was complete before, only those whose notice could not be written are, and none while the
    project is paused. What is settled is set down once: a quiet project's row is not written.
    """
    await _record_read(session, source_id, keys, now, fully_synced=True, problem=None)
    settled = (
        SourceProjectRow.cursor <= begun_at - SETTLED_AFTER,
        SourceProjectRow.settled_cursor.is_distinct_from(SourceProjectRow.cursor),
    )
    await session.execute(
        update(SourceProjectRow)
        .where(SourceProjectRow.source_id == source_id, SourceProjectRow.key.in_(keys), *settled)
        .values(settled_cursor=SourceProjectRow.cursor)
    )


async def _record_read(
    session: AsyncSession,
    source_id: int,
    keys: Sequence[str],
    now: datetime,
    *,
    fully_synced: bool,
    problem: str | None,
) -> None:
    of_these = SourceProjectRow.source_id == source_id, SourceProjectRow.key.in_(keys)
    before = await session.execute(
        select(SourceProjectRow.key, SourceProjectRow.fully_synced, SourceProjectRow.writes_paused_at)
        .where(*of_these)
        .order_by(SourceProjectRow.key)
        .with_for_update()
    )
    known = {key: (was_complete, paused_at) for key, was_complete, paused_at in before}
    ended = SourceProjectRow.fully_synced != fully_synced, SourceProjectRow.problem.is_distinct_from(problem)
    await session.execute(
        update(SourceProjectRow)
        .where(*of_these, or_(*ended))
        .values(fully_synced=fully_synced, problem=problem)
    )
    if not fully_synced:
        return
    again = [key for key in keys if not known.get(key, (False, None))[0]]
    still = [key for key in keys if key not in again and not known[key][1]]
    which = or_(
        and_(EpicRow.project.in_(again), not_(_WAITS_ANYHOW)),
        and_(EpicRow.project.in_(still), _NOT_WRITTEN),
    )
    await _reevaluate(session, source_id, now, which)


async def mark_incomplete(session: AsyncSession, source_id: int, read: Collection[str]) -> None:
    """Mark all projects except those in `read` as incomplete, and evaluations treat them so."""
    await session.execute(
        update(SourceProjectRow)
        .where(SourceProjectRow.source_id == source_id, SourceProjectRow.key.not_in(list(read)))
        .values(fully_synced=False)
    )


async def projects_read_by(session: AsyncSession, run_id: int) -> set[str]:
    """The projects that a run has read completely."""
    done = select(RunCursorRow.key).where(RunCursorRow.run_id == run_id, RunCursorRow.done)
    return set(await session.scalars(done))


@dataclass(frozen=True, slots=True)
class StartingCursor:
    """Where a run starts to read a project, None at its beginning. `is_settled` as of
    `connectors.base.Start`. `is_empty`: it was read to its end and has no ticket, or is to be read anew.
    `is_done`: the run has read it already."""

    since: datetime | None
    is_settled: bool = False
    is_empty: bool = False
    is_done: bool = False


async def starting_cursors(
    session: AsyncSession, source_id: int, run_id: int, keys: Sequence[str], *, whole: bool
) -> dict[str, StartingCursor]:
    """Where a run starts to read these projects. `whole` is a full run.

    A resumed run continues at its own cursors, a new incremental run at the projects'. With a ticket that
    could not be read, of the project or perhaps of it, none is settled: that one is asked for again.
    """
    own = await session.scalars(
        select(RunCursorRow).where(RunCursorRow.run_id == run_id, RunCursorRow.key.in_(keys))
    )
    begun = {row.key: row for row in own if row.done or row.cursor is not None}
    unreadable = exists().where(
        UnreadableTicketRow.source_id == source_id,
        or_(UnreadableTicketRow.project == SourceProjectRow.key, UnreadableTicketRow.project == ""),
    )
    settled_at = case((unreadable, None), else_=SourceProjectRow.settled_cursor)
    row = SourceProjectRow
    query = select(row.key, row.cursor, settled_at, row.fully_synced).where(
        row.source_id == source_id, row.key.in_(keys)
    )
    found = dict.fromkeys(keys, StartingCursor(None))
    for key, cursor, settled, was_complete in await session.execute(query):
        since = cursor if not whole else None
        is_done = False
        if key in begun:
            since, is_done = begun[key].cursor, begun[key].done
        is_settled = since is not None and since == settled
        found[key] = StartingCursor(since, is_settled, since is None and was_complete, is_done)
    return found
