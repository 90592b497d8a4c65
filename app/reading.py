"""Reading a tracker into our rows: page by page, resumable, and never believing an empty answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from datetime import timedelta
from typing import Any

from app.heartbeat import beating
from app.outcome import NAMED, REPORT, Outcome, error_of
from app.removing import remove_missing
from app.runtime import Runtime
from app.usage import metered
from app.vault import CannotOpen
from app.walk import SourceChanged, Walk, storing, writing_for
from connectors.base import ConnectorError, Epic, EpicRef, Page, Project, Unauthorized, Unavailable
from mappings import ledger, pauses, reach, store
from mappings.tables import Run, Source

# Trackers whose tickets get a new id when they are transferred.
KINDS_THAT_TRANSFER = frozenset({"github"})

NO_ACCESS = "Give the account access to what is named, or take it out of the source's scope."


def claimed(
    runtime: Runtime, run: Run, every: timedelta = ledger.RUN_LEASE / 5
) -> AbstractAsyncContextManager[None]:
    """Keep the claim on a run while the block works: many short calls may together outlast a lease."""

    async def beat() -> None:
        # Who has lost it meets that at the work's own next step, and stops.
        with suppress(ledger.ClaimLost):
            async with runtime.sessions.begin() as session:
                await ledger.keep_run(session, run, runtime.worker, runtime.clock())

    return beating(beat, every)


async def read(runtime: Runtime, run: Run, source: Source) -> Outcome:
    """Read what a reading run is to read. Raises what the connector raises, all pages so far stored."""
    try:
        connector = runtime.connect(source)
    except CannotOpen:
        await _believe_only_what_was_read(runtime, run, source)
        raise
    async with metered(runtime, source.id, connector), claimed(runtime, run):
        reader = _Reader(runtime, run, source, connector)
        try:
            return await reader.read()
        except SourceChanged:
            await _believe_only_what_was_read(runtime, run, source)
            what_to_do = "Nothing; a sync in full follows by itself."
            return Outcome("partial", error_of("changed", "The source was changed meanwhile.", what_to_do))
        except (Unavailable, ledger.ClaimLost):
            raise
        except Exception:
            await _believe_only_what_was_read(runtime, run, source)
            raise
        finally:
            await reader.count_requests()


async def _believe_only_what_was_read(runtime: Runtime, run: Run, source: Source) -> None:
    """The run failed: what it did not read to its end must not be judged as if it had."""
    async with runtime.sessions.begin() as session:
        await reach.doubt(session, source.id, await reach.read_by(session, run.id))
        await ledger.keep_run(session, run, runtime.worker, runtime.clock())


class _Reader(Walk):
    async def read(self) -> Outcome:
        # Wrong credentials make some trackers answer with nothing at all, so ask first who we are.
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
                await self._note_read(project.key, read_to_end=False, problem=error.message)
        held = await remove_missing(self, projects) if self.run.mode == "full" else None
        if held is not None:
            return Outcome("partial", held, self.overlaps)
        if self.problems:
            return Outcome("partial", _unread(self.problems[:NAMED]), self.overlaps)
        return Outcome(overlaps=self.overlaps)

    # --- one project ------------------------------------------------------------------------

    async def _read_project(self, project: Project) -> None:
        whole = self.run.mode == "full"
        async with self.runtime.sessions() as session:
            since, done = await reach.where_to_start(
                session, self.source.id, self.run.id, project.key, whole=whole
            )
        self.went_on = self.went_on or (whole and (done or since is not None))
        if done:
            return
        async with (
            aclosing(self.connector.changed_since(project, since)) as pages,
            aclosing(_one_ahead(pages)) as fetched,
        ):
            async for page in fetched:
                await self._store(project.key, page)
        await self._note_read(project.key, read_to_end=True, problem=None)

    async def _store(self, key: str, page: Page) -> None:
        """One page: one short transaction with the epics, the cursor and the sign of life."""
        transferred = await self._transferred(page.epics)
        now = self.runtime.clock()
        source_id, tracker = self.source.id, self.source.tracker
        # What a full run removes passes the guard, so it counts as not met.
        missing = () if self.run.mode == "full" else page.missing
        with storing(f"A ticket of {key}"):
            async with writing_for(self.runtime, self.source, repeatable=True) as session:
                for ref, epic in transferred:
                    change = await store.take_over(session, source_id, tracker, ref.remote_id, epic, now)
                    await self.keep(session, now, change, seen=0)
                found = await store.observe(session, source_id, tracker, page.epics, missing, now)
                await self.keep(session, now, found, seen=len(page.epics))
                if page.cursor is not None:
                    # A ticket dated in the future must not hide what changes until then.
                    await reach.advance(session, source_id, self.run.id, key, min(page.cursor, now))
        self.met.update(epic.remote_id for epic in page.epics)

    async def _transferred(self, epics: Sequence[Epic]) -> list[tuple[EpicRef, Epic]]:
        """Those of `epics` that we know under another id, by asking where the old one leads."""
        if self.source.kind not in KINDS_THAT_TRANSFER or not epics:
            return []
        async with self.runtime.sessions() as session:
            refs = await store.maybe_transferred(session, self.source.id, self.source.tracker, epics)
        shown = {epic.remote_id for epic in epics}
        found = zip(refs, await self.connector.fetch(refs), strict=True)
        return [(ref, item) for ref, item in found if isinstance(item, Epic) and item.remote_id in shown]

    # --- how far a project is read --------------------------------------------------------------

    async def _note_projects(self, projects: Sequence[Project]) -> None:
        async with self.writing() as session:
            now = self.runtime.clock()
            await reach.note_projects(session, self.source.id, projects, now)
            await pauses.note_listed(session, self.source.id, projects, now)
            await ledger.keep_run(session, self.run, self.runtime.worker, now)

    async def _note_read(self, key: str, *, read_to_end: bool, problem: str | None) -> None:
        now = self.runtime.clock()
        async with self.writing() as session:
            await reach.note_read(session, self.source.id, key, now, read_to_end=read_to_end, problem=problem)
            if read_to_end:
                await reach.mark_done(session, self.run.id, key)
            await ledger.keep_run(session, self.run, self.runtime.worker, now)


def _unread(problems: Sequence[tuple[str, str]]) -> dict[str, Any]:
    shown = "; ".join(message for message, _ in problems)
    ways_out = dict.fromkeys(what_to_do or REPORT for _, what_to_do in problems)
    return error_of("unread", f"Not all was read. {shown}", " ".join(ways_out))


async def _one_ahead(pages: AsyncGenerator[Page, None]) -> AsyncGenerator[Page, None]:
    """The pages, each next one on its way while the one before is stored."""
    coming = asyncio.ensure_future(anext(pages, None))
    try:
        while (page := await coming) is not None:
            coming = asyncio.ensure_future(anext(pages, None))
            yield page
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
