"""Reads a tracker into rows, page by page. An interrupted run continues from its cursor, and an empty answer
is never treated as complete without a check of the account. A full run removes what it did not meet: the
tracker is asked for each such ticket by its id, and if too many are gone, a person must accept it first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from app.connector_usage import track_usage
from app.run_result import MOST_NAMED, REPORT, RunResult, error_of
from app.secrets import CannotDecrypt
from app.sync.transaction import SourceChanged, bad_payload_if_refused, source_transaction
from connectors.base import (
    Connector,
    ConnectorError,
    Epic,
    EpicRef,
    Missing,
    Page,
    Project,
    Unauthorized,
    Unavailable,
    Unreadable,
)
from mappings.epics.transfers import lock_transferred, merge_transferred, transfer_candidates
from mappings.epics.upsert import UpsertResult, upsert_epics
from mappings.leases import ClaimLost
from mappings.notices import pauses
from mappings.notices.marker import remember_account
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
from mappings.sources.removals import (
    allowed_removals,
    changed_since_full_run,
    delete_held_removals,
    epics_not_removed,
    hold_removals,
)

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from app.runtime import Runtime
    from mappings.tables import RunRow, SourceRow

NO_ACCESS = "Give the account access to what is named, or take it out of the source's scope."
# If more than this share of a source's epics, and more than this many, are gone, a person must accept it.
DROP_SHARE, DROP_COUNT = 0.2, 5
FETCHED_AT_ONCE = 100


async def read_source(runtime: Runtime, run: RunRow, source: SourceRow) -> RunResult:
    """Read what a reading run has to read. Pages read so far stay stored whatever is raised.

    Raises the connector's errors, `secrets.CannotDecrypt` and `leases.ClaimLost`.
    """
    try:
        connector = await runtime.connect(source)
    except CannotDecrypt:
        await _mark_unread_incomplete(runtime, run, source)
        raise
    async with track_usage(runtime, source.id, connector):
        progress = _Progress(runtime, run, source, connector)
        try:
            return await _Reader(progress).read()
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
            await progress.record_requests()


async def _mark_unread_incomplete(runtime: Runtime, run: RunRow, source: SourceRow) -> None:
    """The run failed: projects that it did not read completely must not be evaluated as complete."""
    async with runtime.sessions.begin() as session:
        await mark_incomplete(session, source.id, await projects_read_by(session, run.id))
        await renew_lease(session, run, runtime.worker, await runtime.now(session))


@dataclass
class _Progress:
    """What a reading run works on, what it has met so far, and how that is recorded.

    `met_ids`: remote ids that this process has met. `resumed`: the run was interrupted, so what it met
    before is not among them. `problems`: messages, each with what to do. `overlaps`: keys that an older
    source holds.
    """

    runtime: Runtime
    run: RunRow
    source: SourceRow
    connector: Connector
    counted_requests: int = 0
    resumed: bool = False
    met_ids: set[str] = field(default_factory=set)
    overlaps: list[str] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)

    def transaction(self, *, repeatable: bool = False) -> AbstractAsyncContextManager[AsyncSession]:
        return source_transaction(self.runtime, self.source, repeatable=repeatable)

    async def record(self, session: AsyncSession, now: datetime, found: UpsertResult, seen: int) -> None:
        """Renew the run's lease and add what was found since the last time. Raises `leases.ClaimLost`."""
        requests, self.counted_requests = (
            self.connector.requests - self.counted_requests,
            self.connector.requests,
        )
        self.overlaps += found.overlaps
        await renew_lease(
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

    async def record_requests(self) -> None:
        """Add the requests since the last page to the run, failed ones too. Raises `leases.ClaimLost`."""
        async with self.runtime.sessions.begin() as session:
            await self.record(session, await self.runtime.now(session), UpsertResult(), seen=0)


class _Reader:
    """Reads the projects of a source; after a full run, `removals` removes what the run did not meet."""

    def __init__(self, progress: _Progress) -> None:
        self.progress, self.removals = progress, _Removals(progress)
        self.runtime, self.run, self.source = progress.runtime, progress.run, progress.source
        self.connector, self.problems = progress.connector, progress.problems

    async def read(self) -> RunResult:
        # Some trackers answer wrong credentials with an empty list, so ask for the account first.
        account = await self.connector.account()
        async with self.runtime.sessions.begin() as session:
            await remember_account(session, self.source.tracker, account.id)
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
        held = await self.removals.remove_missing(projects) if self.run.mode == "full" else None
        overlaps = self.progress.overlaps
        if held is not None:
            return RunResult("partial", held, overlaps)
        if self.problems:
            return RunResult("partial", _unread_error(self.problems[:MOST_NAMED]), overlaps)
        return RunResult(overlaps=overlaps)

    # --- one project ------------------------------------------------------------------------

    async def _read_project(self, project: Project) -> None:
        whole = self.run.mode == "full"
        async with self.runtime.sessions() as session:
            since, done = await starting_cursor(
                session, self.source.id, self.run.id, project.key, whole=whole
            )
        self.progress.resumed = self.progress.resumed or (whole and (done or since is not None))
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
        source_id, tracker = self.source.id, self.source.tracker
        # A full run removes only what has passed the drop guard, so here these count as not met.
        missing = () if self.run.mode == "full" else page.missing
        with bad_payload_if_refused(f"A ticket of {key}"):
            async with self.progress.transaction(repeatable=True) as session:
                now = await self.runtime.now(session)
                if transferred:
                    await lock_transferred(session, tracker, [ref for ref, _ in transferred], page.epics)
                for ref, epic in transferred:
                    change = await merge_transferred(session, source_id, tracker, ref.remote_id, epic, now)
                    await self.progress.record(session, now, change, seen=0)
                found = await upsert_epics(session, source_id, tracker, page.epics, missing, now)
                await self.progress.record(session, now, found, seen=len(page.epics))
                if page.cursor is not None:
                    # A ticket dated in the future must not hide what changes until then.
                    await advance_cursors(session, source_id, self.run.id, key, min(page.cursor, now))
        self.progress.met_ids.update(epic.remote_id for epic in page.epics)

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
        async with self.progress.transaction() as session:
            now = await self.runtime.now(session)
            await record_projects(session, self.source.id, projects, now)
            await pauses.record_read_only_projects(session, self.source.id, projects, now)
            await renew_lease(session, self.run, self.runtime.worker, now)

    async def _note_read(self, key: str, *, fully_synced: bool, problem: str | None) -> None:
        async with self.progress.transaction() as session:
            now = await self.runtime.now(session)
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


class _Removals:
    """Removes what a full run did not meet. If too many epics are gone, none is removed until a person
    accepts it (drop guard)."""

    def __init__(self, progress: _Progress) -> None:
        self.progress = progress
        self.runtime, self.run, self.source = progress.runtime, progress.run, progress.source

    async def remove_missing(self, projects: Sequence[Project]) -> dict[str, Any] | None:
        """Remove what the run did not meet; the error where that is too much and no person has accepted it.

        What the run met before an interruption is asked for again. `projects`: those that the tracker
        lists now.
        """
        async with self.runtime.sessions() as session:
            stored = await epics_not_removed(session, self.source.id)
            read = await projects_read_by(session, self.run.id)
            source_changed = await changed_since_full_run(session, self.source)
            allowed = await allowed_removals(session, self.run, self.source.tracker)
        out_of_reach = self._out_of_reach(projects)
        unmet = [
            EpicRef(remote_id, key)
            for project, remote_id, key in stored
            if remote_id not in self.progress.met_ids and (project in read or out_of_reach(project))
        ]
        # Accepted removals come last: the guard does not count them, and may stop the look-up before them.
        unmet.sort(key=lambda ref: ref.remote_id in allowed)
        seen = _LookedUp(len(stored), allowed, source_changed)
        await self._look_up(unmet, seen)
        if unmet:
            # Asked again: with credentials that expired meanwhile, every ticket would look deleted.
            await self.progress.connector.account()
        async with self.progress.transaction() as session:
            now = await self.runtime.now(session)
            await delete_held_removals(session, self.source.id, self.run.id)
            if seen.too_many:
                held = [ref.remote_id for ref in unmet if ref.remote_id not in seen.present]
                await hold_removals(session, self.run.id, held)
                change = UpsertResult()
            else:
                change = await upsert_epics(
                    session, self.source.id, self.source.tracker, (), seen.missing, now
                )
            await self.progress.record(session, now, change, seen=0)
        return self._drop_guard_error(seen) if seen.too_many else None

    def _out_of_reach(self, projects: Sequence[Project]) -> Callable[[str], bool]:
        """Whether a project is out of reach: then its epics may be removed although none of them was read.

        An incomplete listing says this only of projects that the source's scope does not cover.
        """
        listed, whole = {p.key for p in projects}, all(p.problem is None for p in projects)
        scope = self.runtime.scope_of(self.source)
        return lambda project: project not in listed and (whole or not scope.covers(project))

    async def _look_up(self, refs: Sequence[EpicRef], seen: _LookedUp) -> None:
        """Ask for each ticket, `FETCHED_AT_ONCE` per call, until it is clear that too many are gone.

        A resumed run does not know what it met before, so it asks for all: else those would be held too.
        """
        for start in range(0, len(refs), FETCHED_AT_ONCE):
            if seen.too_many and not self.progress.resumed:
                seen.stopped_early = True
                return
            asked = refs[start : start + FETCHED_AT_ONCE]
            for ref, item in zip(asked, await self._fetch(asked), strict=False):
                seen.add(ref, item)

    async def _fetch(self, refs: Sequence[EpicRef]) -> Sequence[Epic | Missing | Unreadable]:
        """The state of each ticket now; epics are stored. Empty where the tracker refuses the request."""
        try:
            items = await self.progress.connector.fetch(refs)
        except (Unavailable, Unauthorized):
            raise
        except ConnectorError as error:
            self.progress.problems.append((error.message, error.what_to_do))
            return ()
        source_id, tracker = self.source.id, self.source.tracker
        found = [item for item in items if isinstance(item, Epic)]
        transferred = [
            (ref, item)
            for ref, item in zip(refs, items, strict=True)
            if isinstance(item, Epic) and item.remote_id != ref.remote_id
        ]
        async with self.progress.transaction() as session:
            now = await self.runtime.now(session)
            if transferred:
                await lock_transferred(session, tracker, refs, found)
            for ref, item in transferred:
                change = await merge_transferred(session, source_id, tracker, ref.remote_id, item, now)
                await self.progress.record(session, now, change, seen=0)
            change = await upsert_epics(session, source_id, tracker, found, (), now)
            await self.progress.record(session, now, change, seen=len(found))
        return items

    def _drop_guard_error(self, seen: _LookedUp) -> dict[str, Any]:
        count = f"{seen.counted_missing} or more" if seen.stopped_early else str(seen.counted_missing)
        accepted = self.run.accepts_run_id
        beyond = f", beyond what run {accepted} was allowed to remove" if accepted else ""
        return error_of(
            "drop_guard",
            f"{count} of {seen.stored} epics are gone from the tracker{beyond}; none was removed.",
            "Check whether the account lost access or the scope is wrong, then run a full sync again. "
            "If they are to be removed, an admin accepts that with "
            f"POST /api/v1/runs/{self.run.id}/accept-removals.",
        )


@dataclass
class _LookedUp:
    """What the tracker answers. `missing`: tickets that are gone or do not fit any more, of which
    `counted_missing` count for the guard. `present`: ids of tickets that are still there.

    The guard does not count what a person has `allowed`. With `source_changed` (since the last full run) it
    does not count tickets that exist and do not fit either: a person changed what fits.
    """

    stored: int
    allowed: set[str]
    source_changed: bool
    missing: list[Missing] = field(default_factory=list)
    counted_missing: int = 0
    present: set[str] = field(default_factory=set)
    stopped_early: bool = False

    @property
    def too_many(self) -> bool:
        return self.counted_missing > DROP_COUNT and self.counted_missing > DROP_SHARE * self.stored

    def add(self, ref: EpicRef, item: Epic | Missing | Unreadable) -> None:
        if isinstance(item, Missing):
            self.missing.append(item)
            expected = item.reason != "deleted" and self.source_changed
            self.counted_missing += not expected and ref.remote_id not in self.allowed
        else:
            self.present.add(ref.remote_id)
