"""Reads the projects of a source: several side by side, or many by one search, each from its own cursor.

A project's cursor moves with the tickets of its own that were stored, so an interrupted run leaves nothing
out, wherever the others stand.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from app.sync.hiccups import wait_for_next
from app.sync.progress import Batch
from app.sync.ready import ReadyPages
from connectors.base import (
    BadPayload,
    Blocked,
    ConnectorError,
    Epic,
    EpicRef,
    Project,
    Rejected,
    Start,
    Unauthorized,
    Unavailable,
)
from connectors.side_by_side import side_by_side
from mappings.epics.transfers import transfer_candidates
from mappings.runs.queue import renew_lease
from mappings.sources.projects import (
    mark_projects_done,
    record_project_read,
    record_projects_read,
    starting_cursors,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
    from datetime import datetime

    from app.sync.progress import Progress
    from app.sync.relatives import Relatives
    from connectors.base import Page, SharedPage
    from mappings.sources.projects import StartingCursor

NO_ACCESS = "Give the account access to what is named, or take it out of the source's scope."
# One after the other. To find one project of two hundred by halves takes eight; where more are refused, it is
# not for one project.
MOST_REFUSED = 16
# Of a page that is stored together with others.
MOST_CHARACTERS = 500_000

T = TypeVar("T")


class ListOutdated(Exception):
    """The tracker refuses a project of the remembered list, or shows one that the list does not have."""


class Projects:
    """Reads the `listed` projects. `is_remembered`: the list is not of this run."""

    def __init__(
        self, progress: Progress, relatives: Relatives, listed: Sequence[Project], *, is_remembered: bool
    ) -> None:
        self.progress, self.relatives = progress, relatives
        self.runtime, self.run, self.source = progress.runtime, progress.run, progress.source
        self.connector, self.many = progress.connector, progress.connector.many_projects
        self.is_full = progress.run.mode == "full"
        self.listed, self.is_remembered = listed, is_remembered
        self._problems: dict[str, list[tuple[str, str]]] = {}
        self._refused = 0
        self._some_read = False

    async def read(self) -> None:
        """Read them all; what cannot be read is a problem of its project.

        Raises `Unavailable`, `Unauthorized` and, of a remembered list, `ListOutdated`.
        """
        for project in self.listed:
            if project.problem is not None:
                self._add_problem(project, project.problem, project.what_to_do or NO_ACCESS)
        readable = [project for project in self.listed if project.problem is None]
        parts = self._parts(readable, await self._cursors(readable))
        await side_by_side(self._read, parts, self.connector.reads_at_once)
        for key in dict.fromkeys(project.key for project in self.listed):
            self.progress.problems += self._problems.get(key, [])

    def _parts(
        self, projects: Sequence[Project], cursors: Mapping[str, StartingCursor]
    ) -> list[Sequence[Project]]:
        """What is read together: an incremental run's projects by searches, any other project by itself."""
        alone: list[Project] = []
        starts: list[Start] = []
        for project in projects:
            cursor = cursors[project.key]
            begun = cursor.is_done or cursor.since is not None
            self.progress.resumed = self.progress.resumed or (self.is_full and begun)
            if cursor.is_done:
                continue
            is_new = cursor.since is None and not cursor.is_empty
            if self.is_full or self.many is None or is_new:
                alone.append(project)
            else:
                starts.append(Start(project, cursor.since, cursor.is_settled))
        groups = self.many.groups(starts) if self.many is not None else []
        return [*([start.project for start in group] for group in groups), *([one] for one in alone)]

    async def _cursors(self, projects: Sequence[Project]) -> dict[str, StartingCursor]:
        keys = [project.key for project in projects]
        async with self.runtime.sessions() as session:
            return await starting_cursors(session, self.source.id, self.run.id, keys, whole=self.is_full)

    async def _read(self, projects: Sequence[Project]) -> None:
        if len(projects) > 1:
            await self._read_together(projects)
        else:
            for project in projects:
                await self._read_alone(project)

    # --- one project ------------------------------------------------------------------------

    async def _read_alone(self, project: Project) -> None:
        try:
            await self._repeat_from_cursors([project], self._read_pages)
        except (Unavailable, Unauthorized):
            raise
        except ConnectorError as error:
            self._check_list(error)
            await self._note_unread([project], error)

    def _check_list(self, error: ConnectorError) -> None:
        if self.is_remembered and isinstance(error, Rejected) and not isinstance(error, Blocked):
            raise ListOutdated from error

    def _check_shown(self, keys: Iterable[str]) -> None:
        """The projects of tickets that the tracker shows."""
        if self.is_remembered and not {*keys} <= {project.key for project in self.listed}:
            raise ListOutdated

    async def _repeat_from_cursors(
        self,
        projects: Sequence[Project],
        read_pages: Callable[[Sequence[Project], Mapping[str, StartingCursor]], Awaitable[datetime]],
    ) -> None:
        """Read projects from the run's cursors to their end.

        An answer that cannot be understood ends the pages: they begin anew at the cursors, after a pause.
        Each time that a cursor has moved, the pauses begin anew too.
        """
        cursors = await self._cursors(projects)
        waits = [*self.runtime.hiccup_pauses]
        while True:
            try:
                begun_at = await read_pages(projects, cursors)
            except BadPayload as error:
                before, cursors = cursors, await self._cursors(projects)
                moved = any(cursors[key].since != before[key].since for key in cursors)
                waits = [*self.runtime.hiccup_pauses] if moved else waits
                if not waits:
                    raise
                await wait_for_next(error, waits.pop(0))
            else:
                await self._note_read(projects, begun_at)
                return

    async def _read_pages(
        self, projects: Sequence[Project], cursors: Mapping[str, StartingCursor]
    ) -> datetime:
        [project] = projects
        since = cursors[project.key].since

        async def store(
            pages: Sequence[Page], requested_at: datetime, after: Awaitable[object] | None
        ) -> datetime:
            return await self._store(project.key, pages, since, requested_at, after)

        return await self._store_pages(self.connector.changed_since(project, since), _kind_of, store)

    async def _store_pages(
        self,
        pages: AsyncGenerator[T, None],
        kind_of: Callable[[T], Hashable | None],
        store: Callable[[Sequence[T], datetime, Awaitable[object] | None], Awaitable[datetime]],
    ) -> datetime:
        """Store the pages as `ReadyPages` gives them out, and return when the first was asked for, or before
        that. While pages are stored, the next ones are made ready for it."""
        async with self.runtime.sessions() as session:
            begun_at = await self.runtime.now(session)
        ready = ReadyPages(pages, kind_of, begun_at)
        storing: list[asyncio.Task[datetime]] = []
        error: Exception | None = None
        try:
            async with aclosing(pages), aclosing(ready.lists()) as lists:
                async for together, requested_at in lists:
                    before = storing[-1] if storing else None
                    storing.append(asyncio.ensure_future(store(together, requested_at, before)))
                    del together  # pages may be large, and the next ones are on their way
                    if before is not None:
                        ready.latest = await storing.pop(0)
        except asyncio.CancelledError:
            for task in storing:
                task.cancel()
            await asyncio.gather(*storing, return_exceptions=True)
            raise
        except Exception as raised:
            error = raised
        # The pages before one that raises an error are stored, and an error of theirs is the first.
        outcomes = await asyncio.gather(*storing, return_exceptions=True)
        for outcome in (*outcomes, error):
            if isinstance(outcome, BaseException):
                raise outcome
        return begun_at

    async def _store(
        self,
        key: str,
        pages: Sequence[Page],
        since: datetime | None,
        requested_at: datetime,
        after: Awaitable[object] | None,
    ) -> datetime:
        """Pages that `_kind_of` lets be stored together."""
        epics = tuple(epic for page in pages for epic in page.epics)
        self._check_shown(epic.project for epic in epics)
        # The last of them that names one: it is the newest moment that was read so far.
        cursor = next((page.cursor for page in reversed(pages) if page.cursor is not None), None)
        batch = Batch(
            epics,
            # A full run removes only what has passed the drop guard, so here these count as not met.
            () if self.is_full else tuple(item for page in pages for item in page.missing),
            tuple((key, item) for page in pages for item in page.unreadable),
            await self._transferred(epics),
            cursors={} if cursor is None else {key: cursor},
            requested_at=requested_at,
            counted=await self.relatives.count(epics),
            answer=self.relatives.known_by(pages[-1], requested_at),
        )
        ahead = cursor is not None and (since is None or cursor > since)
        for page in pages:
            await self.relatives.mark(page)  # before the tracker may say that the page is still the same
        return await self.progress.store(batch, ahead=ahead, after=after)

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

    # --- many projects by one search ----------------------------------------------------------

    async def _read_together(self, projects: Sequence[Project]) -> None:
        try:
            await self._repeat_from_cursors(projects, self._read_shared_pages)
        except (Unavailable, Unauthorized):
            raise
        except BadPayload:
            # Which project it comes from cannot be seen, and the others are to be read.
            await side_by_side(self._read_alone, projects, self.connector.reads_at_once)
        except Blocked as error:
            await self._note_unread(projects, error)
        except Rejected as error:
            self._check_list(error)
            await self._read_without_refused(projects, error)
        except ConnectorError as error:
            await self._note_unread(projects, error)

    async def _read_without_refused(self, projects: Sequence[Project], error: Rejected) -> None:
        """The tracker refused the search, probably for one project: that one by its name, or by halves.

        Where it goes on to refuse searches and answers others, it refuses them for their size, which no
        tracker names: the rest is read one by one.
        """
        self._refused += 1
        refused = self.many.refused(projects, error.message) if self.many is not None else []
        too_many = self._refused > MOST_REFUSED
        if too_many and not refused and self._some_read:
            await side_by_side(self._read_alone, projects, self.connector.reads_at_once)
            return
        if refused or too_many:
            await self._note_unread(refused or projects, error)
            await self._read([project for project in projects if refused and project not in refused])
            return
        half = len(projects) // 2
        await self._read(projects[:half])
        await self._read(projects[half:])

    async def _read_shared_pages(
        self, projects: Sequence[Project], cursors: Mapping[str, StartingCursor]
    ) -> datetime:
        assert self.many is not None
        sinces = {project.key: cursors[project.key].since for project in projects}
        group = [Start(project, sinces[project.key], cursors[project.key].is_settled) for project in projects]

        async def store(
            pages: Sequence[SharedPage], requested_at: datetime, after: Awaitable[object] | None
        ) -> datetime:
            [page] = pages
            return await self._store_shared(page, sinces, requested_at, after)

        return await self._store_pages(self.many.changed_since(group), _by_itself, store)

    async def _store_shared(
        self,
        page: SharedPage,
        sinces: Mapping[str, datetime | None],
        requested_at: datetime,
        after: Awaitable[object] | None,
    ) -> datetime:
        self._check_shown([*page.cursors, *(epic.project for epic in page.epics)])
        cursors = {key: cursor for key, cursor in page.cursors.items() if key in sinces}
        batch = Batch(
            page.epics,
            unreadable=page.unreadable,
            transferred=await self._transferred(page.epics),
            cursors=cursors,
            requested_at=requested_at,
        )
        ahead = any((since := sinces[key]) is None or cursor > since for key, cursor in cursors.items())
        return await self.progress.store(batch, ahead=ahead, after=after)

    # --- what is recorded ---------------------------------------------------------------------

    async def _note_read(self, projects: Sequence[Project], begun_at: datetime) -> None:
        keys = [project.key for project in projects]
        async with self.progress.storing, self.progress.transaction() as session:
            now = await self.runtime.now(session)
            # The tracker dates tickets by its own clock, which may be behind ours.
            behind = min(self.connector.response_meta.clock_ahead or 0, 0)
            begun_at += timedelta(seconds=behind)
            await record_projects_read(session, self.source.id, keys, now, begun_at)
            await mark_projects_done(session, self.run.id, keys)
            await renew_lease(session, self.run, self.runtime.worker, now, ahead=True)
        self._some_read = True

    async def _note_unread(self, projects: Sequence[Project], error: ConnectorError) -> None:
        for project in projects:
            self._add_problem(project, error.message, error.what_to_do)
        async with self.progress.storing, self.progress.transaction() as session:
            now = await self.runtime.now(session)
            for project in sorted(projects, key=lambda project: project.key):
                await record_project_read(
                    session, self.source.id, project.key, now, fully_synced=False, problem=error.message
                )
            await renew_lease(session, self.run, self.runtime.worker, now)

    def _add_problem(self, project: Project, message: str, what_to_do: str) -> None:
        self._problems.setdefault(project.key, []).append((f"{project.key}: {message}", what_to_do))


def _kind_of(page: Page) -> Hashable | None:
    """Pages are stored together where they show epics alone, and not very long ones. What one removes, the
    next may have back, and an answer that is known is known of one page."""
    if page.missing or page.unreadable or page.answer is not None:
        return None
    if sum(_characters(epic) for epic in page.epics) > MOST_CHARACTERS:
        return None
    return "epics"


def _characters(epic: Epic) -> int:
    """Of what may be long on an epic."""
    characters = 0
    for line in epic.text:
        characters += len(line.text)
    for values in epic.fields.values():
        characters += sum(map(len, values))
    return characters


def _by_itself(page: SharedPage) -> None:
    """A search over many projects shows what changed since the last one: seldom more than a page."""
