"""Reads a tracker into rows, page by page. An interrupted run continues from its cursor, and an empty answer
is never treated as complete without a check of the account."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from datetime import timedelta
from typing import Any

from app.connector_usage import track_usage
from app.heartbeat import heartbeat
from app.run_result import MOST_NAMED, REPORT, RunResult, error_of
from app.runtime import Runtime
from app.secrets import CannotDecrypt
from app.sync.removals import remove_missing
from app.sync.session import ReadSession, SourceChanged, bad_payload_if_refused, source_transaction
from connectors.base import ConnectorError, Epic, EpicRef, Page, Project, Unauthorized, Unavailable
from mappings.epics.transfers import merge_transferred, transfer_candidates
from mappings.epics.upsert import upsert_epics
from mappings.leases import RUN_LEASE, ClaimLost
from mappings.notices import pauses
from mappings.runs.queue import renew_lease
from mappings.sources.projects import (
    advance_cursors,
    mark_incomplete,
    mark_project_done,
    projects_read_by,
    record_project_read,
    record_projects,
    starting_cursor,
)
from mappings.tables import RunRow, SourceRow

NO_ACCESS = "Give the account access to what is named, or take it out of the source's scope."


def keep_lease_renewed(
    runtime: Runtime, run: RunRow, every: timedelta = RUN_LEASE / 5
) -> AbstractAsyncContextManager[None]:
    """Renew a run's lease while the block works: many short requests together may take longer than it."""

    async def renew() -> None:
        # A worker that has lost the claim finds out at the next step of its own work, and stops there.
        with suppress(ClaimLost):
            async with runtime.sessions.begin() as session:
                await renew_lease(session, run, runtime.worker, runtime.clock())

    return heartbeat(renew, every)


async def read_source(runtime: Runtime, run: RunRow, source: SourceRow) -> RunResult:
    """Read what a reading run has to read. Pages read so far stay stored whatever is raised.

    Raises the connector's errors, `secrets.CannotDecrypt` and `leases.ClaimLost`.
    """
    try:
        connector = runtime.connect(source)
    except CannotDecrypt:
        await _mark_unread_incomplete(runtime, run, source)
        raise
    async with track_usage(runtime, source.id, connector), keep_lease_renewed(runtime, run):
        reader = _Reader(runtime, run, source, connector)
        try:
            return await reader.read()
        except SourceChanged:
            await _mark_unread_incomplete(runtime, run, source)
            what_to_do = "Nothing; a full sync follows by itself."
            return RunResult(
                "partial", error_of("changed", "The source was changed during the run.", what_to_do)
            )
        except (Unavailable, ClaimLost):
            raise
        except Exception:
            await _mark_unread_incomplete(runtime, run, source)
            raise
        finally:
            await reader.count_requests()


async def _mark_unread_incomplete(runtime: Runtime, run: RunRow, source: SourceRow) -> None:
    """The run failed: projects that it did not read completely must not be evaluated as complete."""
    async with runtime.sessions.begin() as session:
        await mark_incomplete(session, source.id, await projects_read_by(session, run.id))
        await renew_lease(session, run, runtime.worker, runtime.clock())


class _Reader(ReadSession):
    async def read(self) -> RunResult:
        # Some trackers answer wrong credentials with an empty list, so ask for the account first.
        await self.connector.account()
        projects = await self.connector.projects()
        await self._note_projects(projects)
        for project in projects:
            if project.problem is not None:
                self.problems.append((f"{project.key}: {project.problem}", NO_ACCESS))
                continue
            try:
                await self._read_project(project)
            except (Unavailable, Unauthorized):
                raise
            except ConnectorError as error:
                self.problems.append((f"{project.key}: {error.message}", error.what_to_do))
                await self._note_read(project.key, fully_synced=False, problem=error.message)
        held = await remove_missing(self, projects) if self.run.mode == "full" else None
        if held is not None:
            return RunResult("partial", held, self.overlaps)
        if self.problems:
            return RunResult("partial", _unread_error(self.problems[:MOST_NAMED]), self.overlaps)
        return RunResult(overlaps=self.overlaps)

    # --- one project ------------------------------------------------------------------------

    async def _read_project(self, project: Project) -> None:
        whole = self.run.mode == "full"
        async with self.runtime.sessions() as session:
            since, done = await starting_cursor(
                session, self.source.id, self.run.id, project.key, whole=whole
            )
        self.resumed = self.resumed or (whole and (done or since is not None))
        if done:
            return
        async with (
            aclosing(self.connector.changed_since(project, since)) as pages,
            aclosing(_prefetch(pages)) as fetched,
        ):
            async for page in fetched:
                await self._store(project.key, page)
        await self._note_read(project.key, fully_synced=True, problem=None)

    async def _store(self, key: str, page: Page) -> None:
        """Store one page in one short transaction: the epics, the cursors and the renewed lease."""
        transferred = await self._transferred(page.epics)
        now = self.runtime.clock()
        source_id, tracker = self.source.id, self.source.tracker
        # A full run removes only what has passed the drop guard, so here these count as not met.
        missing = () if self.run.mode == "full" else page.missing
        with bad_payload_if_refused(f"A ticket of {key}"):
            async with source_transaction(self.runtime, self.source, repeatable=True) as session:
                for ref, epic in transferred:
                    change = await merge_transferred(session, source_id, tracker, ref.remote_id, epic, now)
                    await self.record_progress(session, now, change, seen=0)
                found = await upsert_epics(session, source_id, tracker, page.epics, missing, now)
                await self.record_progress(session, now, found, seen=len(page.epics))
                if page.cursor is not None:
                    # A ticket dated in the future must not hide what changes until then.
                    await advance_cursors(session, source_id, self.run.id, key, min(page.cursor, now))
        self.met_ids.update(epic.remote_id for epic in page.epics)

    async def _transferred(self, epics: Sequence[Epic]) -> list[tuple[EpicRef, Epic]]:
        """Those of `epics` that are stored under an old id; the tracker says which ticket that id is now."""
        if not self.connector.tickets_change_id or not epics:
            return []
        async with self.runtime.sessions() as session:
            refs = await transfer_candidates(session, self.source.id, self.source.tracker, epics)
        shown = {epic.remote_id for epic in epics}
        found = zip(refs, await self.connector.fetch(refs), strict=True)
        return [(ref, item) for ref, item in found if isinstance(item, Epic) and item.remote_id in shown]

    # --- what is recorded of projects -----------------------------------------------------------

    async def _note_projects(self, projects: Sequence[Project]) -> None:
        async with self.transaction() as session:
            now = self.runtime.clock()
            await record_projects(session, self.source.id, projects, now)
            await pauses.record_read_only_projects(session, self.source.id, projects, now)
            await renew_lease(session, self.run, self.runtime.worker, now)

    async def _note_read(self, key: str, *, fully_synced: bool, problem: str | None) -> None:
        now = self.runtime.clock()
        async with self.transaction() as session:
            await record_project_read(
                session, self.source.id, key, now, fully_synced=fully_synced, problem=problem
            )
            if fully_synced:
                await mark_project_done(session, self.run.id, key)
            await renew_lease(session, self.run, self.runtime.worker, now)


def _unread_error(problems: Sequence[tuple[str, str]]) -> dict[str, Any]:
    shown = "; ".join(message for message, _ in problems)
    remedies = dict.fromkeys(what_to_do or REPORT for _, what_to_do in problems)
    return error_of("unread", f"Not everything was read. {shown}", " ".join(remedies))


async def _prefetch(pages: AsyncGenerator[Page, None]) -> AsyncGenerator[Page, None]:
    """The pages; the next page is fetched while the caller stores the one before."""
    next_page = asyncio.ensure_future(anext(pages, None))
    try:
        while (page := await next_page) is not None:
            next_page = asyncio.ensure_future(anext(pages, None))
            yield page
    finally:
        next_page.cancel()
        await asyncio.gather(next_page, return_exceptions=True)
