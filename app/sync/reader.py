"""Reads a tracker into rows, page by page. An interrupted run continues from its cursor, and an empty answer
is never treated as complete without a check of the account. A full run removes what it did not meet: the
tracker is asked for each such ticket by its id, and if too many are gone, a person must accept it first."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from app.connector_usage import track_usage
from app.run_result import REPORT, RunResult, error_of
from app.secrets import CannotDecrypt
from app.sync.hiccups import wait_for_next
from app.sync.progress import Batch, Progress
from app.sync.relatives import Relatives
from app.sync.removals import Removals
from app.sync.transaction import SourceChanged
from connectors.base import (
    BadPayload,
    ConnectorError,
    Epic,
    EpicRef,
    Page,
    Project,
    Unauthorized,
    Unavailable,
)
from mappings.epics.transfers import transfer_candidates
from mappings.leases import ClaimLost
from mappings.notices import pauses
from mappings.notices.marker import remember_account
from mappings.runs.queue import renew_lease
from mappings.sources.health import MOST_NAMED, UNREADABLE_TO_DO
from mappings.sources.project_names import note_unknown_names
from mappings.sources.projects import (
    mark_incomplete,
    mark_project_done,
    projects_read_by,
    record_project_read,
    record_projects,
    starting_cursor,
)
from mappings.sources.unreadable import describe_unreadable, unreadable_ids
from mappings.sources.unreadable_fields import replace_unreadable_fields

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from datetime import datetime

    from app.runtime import Runtime
    from mappings.tables import RunRow, SourceRow

NO_ACCESS = "Give the account access to what is named, or take it out of the source's scope."


async def read_source(runtime: Runtime, run: RunRow, source: SourceRow) -> RunResult:
    """Read what a reading run has to read. Pages read so far stay stored whatever is raised.

    Raises the connector's errors, `secrets.CannotDecrypt` and `leases.ClaimLost`.
    """
    try:
        connector = await runtime.connect(source)
    except CannotDecrypt:
        await mark_unread_incomplete(runtime, run, source)
        raise
    async with track_usage(runtime, source.id, connector):
        progress = Progress(runtime, run, source, connector)
        await progress.restore_answers()
        try:
            return await _Reader(progress).read()
        except SourceChanged:
            await mark_unread_incomplete(runtime, run, source)
            what_to_do = "Nothing; a full sync follows by itself."
            return RunResult(
                "partial", error_of("changed", "The source was changed during the run.", what_to_do)
            )
        except (Unavailable, ClaimLost):
            raise
        except Exception:
            await mark_unread_incomplete(runtime, run, source)
            raise
        finally:
            await progress.record_requests()


async def mark_unread_incomplete(runtime: Runtime, run: RunRow, source: SourceRow) -> None:
    """The run failed: projects that it did not read completely must not be evaluated as complete."""
    async with runtime.sessions.begin() as session:
        await mark_incomplete(session, source.id, await projects_read_by(session, run.id))
        await renew_lease(session, run, runtime.worker, await runtime.now(session))


class _Reader:
    """Reads the projects of a source; after a full run, `removals` removes what the run did not meet."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.removals = progress, Removals(progress)
        self.relatives = Relatives(progress)
        self.runtime, self.run, self.source = progress.runtime, progress.run, progress.source
        self.connector, self.problems = progress.connector, progress.problems

    async def read(self) -> RunResult:
        # Some trackers answer wrong credentials with an empty list, so ask for the account first.
        account = await self.progress.ask(self.connector.account)
        async with self.runtime.sessions.begin() as session:
            await remember_account(session, self.source.tracker, account.id)
        projects = await self.progress.ask(self.connector.projects)
        await self._note_projects(projects)
        for project in projects:
            if project.problem is not None:
                self.problems.append((f"{project.key}: {project.problem}", project.what_to_do or NO_ACCESS))
                continue
            try:
                await self._read_project(project)
            except (Unavailable, Unauthorized):
                raise
            except ConnectorError as error:
                self.problems.append((f"{project.key}: {error.message}", error.what_to_do))
                await self._note_read(project.key, fully_synced=False, problem=error.message)
        await self._forget_readable_fields()
        held = await self.removals.remove_missing(projects) if self.run.mode == "full" else None
        await self.relatives.update()
        overlaps = self.progress.overlaps
        if held is not None:
            return RunResult("partial", held, overlaps)
        async with self.runtime.sessions() as session:
            unreadable = await describe_unreadable(session, self.run.id)
        unread = self.problems[:MOST_NAMED]
        if unreadable is not None:
            unread.append((unreadable, UNREADABLE_TO_DO))
        if unread:
            return RunResult("partial", _unread_error(unread), overlaps)
        return RunResult(overlaps=overlaps)

    async def _forget_readable_fields(self) -> None:
        """Once a full run of this process has met every epic: all values of the other fields can be read."""
        whole = self.run.mode == "full" and not self.progress.resumed and not self.problems
        if whole and self.source.unreadable_fields.keys() - self.progress.unreadable_fields.keys():
            async with self.progress.transaction() as session:
                await replace_unreadable_fields(session, self.source.id, self.progress.unreadable_fields)

    # --- one project ------------------------------------------------------------------------

    async def _read_project(self, project: Project) -> None:
        """Read a project from the run's cursor to its end.

        An answer that cannot be understood ends the pages: they begin anew at the cursor, after a pause. Each
        time that the cursor has moved, the pauses begin anew too.
        """
        since, done = await self._starting_cursor(project.key)
        whole = self.run.mode == "full"
        self.progress.resumed = self.progress.resumed or (whole and (done or since is not None))
        waits = [*self.runtime.hiccup_pauses]
        while not done:
            try:
                await self._read_pages(project, since)
                await self.relatives.mark_project(project.key)
                await self._note_read(project.key, fully_synced=True, problem=None)
                return
            except BadPayload as error:
                before, (since, _) = since, await self._starting_cursor(project.key)
                waits = waits if since == before else [*self.runtime.hiccup_pauses]
                if not waits:
                    raise
                await wait_for_next(error, waits.pop(0))

    async def _starting_cursor(self, key: str) -> tuple[datetime | None, bool]:
        async with self.runtime.sessions() as session:
            return await starting_cursor(
                session, self.source.id, self.run.id, key, whole=self.run.mode == "full"
            )

    async def _read_pages(self, project: Project, since: datetime | None) -> None:
        # A page was asked for after the last but one before it was stored.
        async with self.runtime.sessions() as session:
            asked = [await self.runtime.now(session)] * 2
        async with (
            aclosing(self.connector.changed_since(project, since)) as pages,
            aclosing(prefetch(pages)) as fetched,
        ):
            async for page in fetched:
                await self._store(project.key, page, since, asked.pop(0))
                asked.append(self.progress.stored_at or asked[0])
                del page  # a page may be large, and the next one is on its way

    async def _store(self, key: str, page: Page, since: datetime | None, requested_at: datetime) -> None:
        batch = Batch(
            page.epics,
            # A full run removes only what has passed the drop guard, so here these count as not met.
            () if self.run.mode == "full" else page.missing,
            tuple((key, item) for item in page.unreadable),
            await self._transferred(page.epics),
            project=key,
            cursor=page.cursor,
            requested_at=requested_at,
            answer=page.answer,
        )
        ahead = page.cursor is not None and (since is None or page.cursor > since)
        await self.relatives.mark(page)  # before the tracker may say that the page is still the same
        await self.progress.store(batch, ahead=ahead)

    async def _transferred(self, epics: Sequence[Epic]) -> dict[str, EpicRef]:
        """Those of `epics` that are stored under an old id, by their new id: the tracker says which it is."""
        if not self.connector.tickets_change_id or not epics:
            return {}
        async with self.runtime.sessions() as session:
            refs = await transfer_candidates(session, self.source.id, self.source.tracker, epics)
        shown = {epic.remote_id for epic in epics}
        found = zip(refs, await self.progress.fetch(refs) if refs else (), strict=True)
        return {
            item.remote_id: ref for ref, item in found if isinstance(item, Epic) and item.remote_id in shown
        }

    # --- what is recorded of projects -----------------------------------------------------------

    async def _note_projects(self, projects: Sequence[Project]) -> None:
        unknown = await self._unknown_names(projects) if self.run.mode == "full" else {}
        async with self.progress.transaction() as session:
            now = await self.runtime.now(session)
            await record_projects(session, self.source.id, projects, now)
            if unknown:
                await note_unknown_names(session, self.source.id, unknown)
            await pauses.record_read_only_projects(session, self.source.id, projects, now)
            await self.progress.store_taken_answers(session)
            await renew_lease(session, self.run, self.runtime.worker, now)
            self.progress.unreadable |= await unreadable_ids(session, self.source.id)

    async def _unknown_names(self, projects: Sequence[Project]) -> dict[str, list[str]]:
        """What is not there by the names in `epics`; nothing where the tracker does not say so now."""
        try:
            return await self.connector.unknown_names(projects)
        except (Unavailable, Unauthorized):
            raise
        except ConnectorError:
            return {}

    async def _note_read(self, key: str, *, fully_synced: bool, problem: str | None) -> None:
        async with self.progress.transaction() as session:
            now = await self.runtime.now(session)
            await record_project_read(
                session, self.source.id, key, now, fully_synced=fully_synced, problem=problem
            )
            if fully_synced:
                await mark_project_done(session, self.run.id, key)
            await renew_lease(session, self.run, self.runtime.worker, now, ahead=fully_synced)


def _unread_error(problems: Sequence[tuple[str, str]]) -> dict[str, Any]:
    shown = "; ".join(message for message, _ in problems)
    remedies = dict.fromkeys(what_to_do or REPORT for _, what_to_do in problems)
    return error_of("unread", f"Not everything was read. {shown}", " ".join(remedies))


async def prefetch(pages: AsyncGenerator[Page, None]) -> AsyncGenerator[Page, None]:
    """The pages; the next page is fetched while the caller stores the one before."""
    next_page = asyncio.ensure_future(anext(pages, None))
    try:
        while (page := await next_page) is not None:
            next_page = asyncio.ensure_future(anext(pages, None))
            yield page
            del page  # the caller has stored it, and the next one may be long in coming
    finally:
        next_page.cancel()
        await asyncio.gather(next_page, return_exceptions=True)
