"""Reads a tracker into rows, page by page. An interrupted run continues from its cursor, and an empty answer
is never treated as complete without a check of the account. A full run removes what it did not meet: the
tracker is asked for each such ticket by its id, and if too many are gone, a person must accept it first."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from app.connector_usage import track_usage
from app.run_result import REPORT, RunResult, error_of
from app.secrets import CannotDecrypt
from app.sync.progress import Progress
from app.sync.projects import ListOutdated, Projects
from app.sync.relatives import Relatives
from app.sync.removals import Removals
from app.sync.transaction import SourceChanged
from connectors.base import ConnectorError, Project, Unauthorized, Unavailable
from mappings.leases import ClaimLost
from mappings.notices import pauses
from mappings.notices.marker import remember_account
from mappings.runs.queue import renew_lease
from mappings.sources.health import MOST_NAMED, UNREADABLE_TO_DO
from mappings.sources.known_answers import forget_answers
from mappings.sources.project_names import note_unknown_names
from mappings.sources.projects import mark_incomplete, projects_read_by, record_audiences, record_projects
from mappings.sources.remembered import note_listing, remembered_projects
from mappings.sources.unreadable import describe_unreadable, unreadable_ids
from mappings.sources.unreadable_fields import replace_unreadable_fields

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.runtime import Runtime
    from mappings.tables import RunRow, SourceRow

log = structlog.get_logger()


async def read_source(runtime: Runtime, run: RunRow, source: SourceRow) -> RunResult:
    """Read what a reading run has to read. Pages read so far stay stored whatever is raised.

    Raises the connector's errors, `secrets.CannotDecrypt` and `leases.ClaimLost`.
    """
    try:
        connector = await runtime.connect(source)
    except CannotDecrypt:
        await mark_unread_incomplete(runtime, run, source)
        raise
    connector.keep_pace(asyncio.sleep)
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
    """The run failed: projects that it did not read completely must not be evaluated as complete. What a full
    run has met as no epic, it has not removed: the next run asks for these pages whole."""
    async with runtime.sessions.begin() as session:
        if run.mode == "full":
            await forget_answers(session, source.id)
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
        projects = await self._read_projects()
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

    async def _read_projects(self) -> Sequence[Project]:
        """Read all projects, by the list that is remembered where there is one; which list it was."""
        if remembered := await self._remembered_projects():
            try:
                await Projects(self.progress, self.relatives, remembered, is_remembered=True).read()
                return remembered
            except ListOutdated:
                log.info("list of projects outdated")
        projects = await self._listed_projects()
        await Projects(self.progress, self.relatives, projects, is_remembered=False).read()
        return projects

    async def _forget_readable_fields(self) -> None:
        """Once a full run of this process has met every epic: all values of the other fields can be read."""
        whole = self.run.mode == "full" and not self.progress.resumed and not self.problems
        if whole and self.source.unreadable_fields.keys() - self.progress.unreadable_fields.keys():
            async with self.progress.transaction() as session:
                await replace_unreadable_fields(session, self.source.id, self.progress.unreadable_fields)

    # --- what is recorded of projects -----------------------------------------------------------

    async def _remembered_projects(self) -> list[Project]:
        """The projects of the last list, with who may read them now; none where the list is asked for."""
        many = self.connector.many_projects
        if many is None or self.run.mode == "full":
            return []
        async with self.runtime.sessions() as session:
            now = await self.runtime.now(session)
            known = await remembered_projects(session, self.source, now)
        if not known:
            return []
        projects = await self.progress.ask(partial(many.with_audience, known))
        async with self.progress.transaction() as session:
            now = await self.runtime.now(session)
            await record_audiences(session, self.source.id, projects, now)
            await renew_lease(session, self.run, self.runtime.worker, now)
            self.progress.unreadable |= await unreadable_ids(session, self.source.id)
        return projects

    async def _listed_projects(self) -> list[Project]:
        async with self.runtime.sessions() as session:
            requested_at = await self.runtime.now(session)
        projects = await self.progress.ask(self.connector.projects)
        unknown = await self._unknown_names(projects) if self.run.mode == "full" else {}
        async with self.progress.transaction() as session:
            now = await self.runtime.now(session)
            if self.connector.many_projects is not None:
                # First: it writes the source's row, for which it may wait, and has locked no epic by then.
                await note_listing(session, self.source, requested_at)
            await record_projects(session, self.source.id, projects, now)
            if unknown:
                await note_unknown_names(session, self.source.id, unknown)
            await pauses.record_read_only_projects(session, self.source.id, projects, now)
            await self.progress.store_taken_answers(session)
            await renew_lease(session, self.run, self.runtime.worker, now)
            self.progress.unreadable |= await unreadable_ids(session, self.source.id)
        return projects

    async def _unknown_names(self, projects: Sequence[Project]) -> dict[str, list[str]]:
        """What is not there by the names in `epics`; nothing where the tracker does not say so now."""
        try:
            return await self.connector.unknown_names(projects)
        except (Unavailable, Unauthorized):
            raise
        except ConnectorError:
            return {}


def _unread_error(problems: Sequence[tuple[str, str]]) -> dict[str, Any]:
    shown = "; ".join(message for message, _ in problems)
    remedies = dict.fromkeys(what_to_do or REPORT for _, what_to_do in problems)
    return error_of("unread", f"Not everything was read. {shown}", " ".join(remedies))
