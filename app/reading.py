"""Reading a tracker into our rows: page by page, resumable, and never believing an empty answer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from app.outcome import NAMED, Outcome, error_of
from app.runtime import Runtime
from connectors.base import Connector, ConnectorError, Epic, EpicRef, Missing, Page, Project, Unavailable
from mappings import ledger, reach, store
from mappings.tables import Run, Source

# More than this share of a source's epics, and more than this many, go only at a person's word.
DROP_SHARE, DROP_COUNT = 0.2, 5
FETCHED_AT_ONCE = 100


async def read(runtime: Runtime, run: Run, source: Source) -> Outcome:
    """Read what a reading run is to read. Raises what the connector raises, all pages so far stored."""
    connector = runtime.connect(source)
    reader = _Reader(runtime, run, source, connector)
    try:
        return await reader.read()
    except ConnectorError as error:
        if not isinstance(error, Unavailable):
            await reader.nothing_else_is_fresh()
        raise
    finally:
        await reader.count_requests()
        await connector.aclose()


@dataclass
class _Reader:
    runtime: Runtime
    run: Run
    source: Source
    connector: Connector
    counted: int = 0
    met: set[str] = field(default_factory=set)
    overlaps: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    async def read(self) -> Outcome:
        # Wrong credentials make some trackers answer with nothing at all, so ask first who we are.
        await self.connector.account()
        projects = await self.connector.projects()
        await self._note_projects(projects)
        for project in projects:
            if project.problem is not None:
                self.problems.append(f"{project.key}: {project.problem}")
                continue
            try:
                await self._read_project(project)
            except (Unavailable, ledger.ClaimLost):
                raise
            except ConnectorError as error:
                if error.code == "unauthorized":
                    raise
                self.problems.append(f"{project.key}: {error.message}")
                await self._note_read(project.key, read_to_end=False, problem=error.message)
        if self.run.mode == "full":
            held = await self._remove_missing({p.key for p in projects})
            if held is not None:
                return Outcome("partial", held, self.overlaps)
        if self.problems:
            shown = "; ".join(self.problems[:NAMED])
            what_to_do = "Give the account access to what is named, or take it out of the source's scope."
            return Outcome(
                "partial", error_of("unread", f"Not all was read. {shown}", what_to_do), self.overlaps
            )
        return Outcome(overlaps=self.overlaps)

    # --- one project ------------------------------------------------------------------------

    async def _read_project(self, project: Project) -> None:
        whole = self.run.mode == "full"
        async with self.runtime.sessions() as session:
            since, done = await reach.where_to_start(
                session, self.source.id, self.run.id, project.key, whole=whole
            )
        if done:
            return
        async with aclosing(self.connector.changed_since(project, since)) as pages:
            async for page in pages:
                await self._store(project.key, page)
        await self._note_read(project.key, read_to_end=True, problem=None)

    async def _store(self, key: str, page: Page) -> None:
        """One page: one short transaction with the epics, the cursor and the sign of life."""
        now = self.runtime.clock()
        self.met.update(epic.remote_id for epic in page.epics)
        async with self.runtime.sessions.begin() as session:
            found = await store.observe(
                session, self.source.id, self.source.tracker, page.epics, page.missing, now
            )
            await self._keep(session, now, found, seen=len(page.epics))
            if page.cursor is not None:
                await reach.advance(session, self.source.id, self.run.id, key, page.cursor)

    async def _keep(self, session: AsyncSession, now: datetime, found: store.Observed, seen: int) -> None:
        requests, self.counted = self.connector.requests - self.counted, self.connector.requests
        self.overlaps += found.overlaps
        await ledger.keep_run(
            session,
            self.run,
            self.runtime.worker,
            now,
            seen=seen,
            created=found.created,
            updated=found.updated,
            deleted=found.deleted,
            skipped=found.skipped,
            requests=requests,
        )

    async def count_requests(self) -> None:
        """The calls since the last page, whatever came of them."""
        requests, self.counted = self.connector.requests - self.counted, self.connector.requests
        async with self.runtime.sessions.begin() as session:
            await session.execute(
                update(Run).where(Run.id == self.run.id).values(requests=Run.requests + requests)
            )

    # --- what a project is, and how far it is read --------------------------------------------

    async def _note_projects(self, projects: Sequence[Project]) -> None:
        async with self.runtime.sessions.begin() as session:
            for project in sorted(projects, key=lambda project: project.key):
                await reach.put_project(session, self.source.id, project)
            await reach.doubt(session, self.source.id, [p.key for p in projects if p.problem is None])
            await ledger.keep_run(session, self.run, self.runtime.worker, self.runtime.clock())

    async def _note_read(self, key: str, *, read_to_end: bool, problem: str | None) -> None:
        now = self.runtime.clock()
        async with self.runtime.sessions.begin() as session:
            await reach.note_read(session, self.source.id, key, now, read_to_end=read_to_end, problem=problem)
            if read_to_end:
                await reach.mark_done(session, self.run.id, key)
            await ledger.keep_run(session, self.run, self.runtime.worker, now)

    async def nothing_else_is_fresh(self) -> None:
        """The run failed: what it did not read to its end must not be judged as if it had."""
        async with self.runtime.sessions.begin() as session:
            await reach.doubt(session, self.source.id, await reach.read_by(session, self.run.id))

    # --- what is gone ---------------------------------------------------------------------------

    async def _remove_missing(self, in_scope: set[str]) -> dict[str, Any] | None:
        """Take out what a full run did not meet, each one asked for by id; the error where too much would go.

        A project in scope counts only if this run read it to its end. What was met before a kill
        is asked for again.
        """
        async with self.runtime.sessions() as session:
            stored = await reach.live_refs(session, self.source.id)
            read = await reach.read_by(session, self.run.id)
        unmet = [
            ref
            for project, ref in stored
            if ref.remote_id not in self.met and (project in read or project not in in_scope)
        ]
        if not unmet:
            return None
        found: list[Epic] = []
        gone: list[Missing] = []
        for start in range(0, len(unmet), FETCHED_AT_ONCE):
            await self._sort_out(unmet[start : start + FETCHED_AT_ONCE], found, gone)
        # Asked again: credentials that died on the way would make everything look deleted.
        await self.connector.account()
        if len(gone) > DROP_COUNT and len(gone) > DROP_SHARE * len(stored):
            return error_of(
                "drop_guard",
                f"{len(gone)} of {len(stored)} epics are gone from the tracker; none was removed.",
                "See whether the account lost access or the scope is wrong, then sync in full again.",
            )
        now = self.runtime.clock()
        async with self.runtime.sessions.begin() as session:
            change = await store.observe(session, self.source.id, self.source.tracker, found, gone, now)
            await self._keep(session, now, change, seen=len(found))
        return None

    async def _sort_out(self, refs: Sequence[EpicRef], found: list[Epic], gone: list[Missing]) -> None:
        for ref, item in zip(refs, await self.connector.fetch(refs), strict=True):
            if isinstance(item, Missing):
                gone.append(item)
            elif item.remote_id == ref.remote_id:
                found.append(item)
            else:
                async with self.runtime.sessions.begin() as session:
                    await store.take_over(
                        session,
                        self.source.id,
                        self.source.tracker,
                        ref.remote_id,
                        item,
                        self.runtime.clock(),
                    )
