"""Reading a tracker into our rows: page by page, resumable, and never believing an empty answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

from app.heartbeat import beating
from app.outcome import NAMED, REPORT, Outcome, error_of
from app.runtime import Runtime
from app.vault import CannotOpen
from connectors.base import (
    BadPayload,
    Connector,
    ConnectorError,
    Epic,
    EpicRef,
    Missing,
    Page,
    Project,
    Unauthorized,
    Unavailable,
)
from connectors.registry import KINDS
from mappings import ledger, reach, store
from mappings.tables import Run, Source

# More than this share of a source's epics, and more than this many, go only at a person's word.
DROP_SHARE, DROP_COUNT = 0.2, 5
FETCHED_AT_ONCE = 100
# Trackers whose tickets get a new id when they are transferred.
KINDS_THAT_TRANSFER = frozenset({"github"})


class SourceChanged(Exception):
    """The source has another scope or selector by now: what is read by the old one would undo the change."""


@asynccontextmanager
async def writing_for(
    runtime: Runtime, source: Source, *, repeatable: bool = False
) -> AsyncIterator[AsyncSession]:
    """A transaction in which the source stays as we know it. Raises `SourceChanged` where it is not.

    `repeatable` is said in the same statement, for a page is one of many; see `ledger.may_be_repeated`.
    """
    known = (source.scope, source.epics, source.tracker)
    columns: list[Any] = [Source.scope, Source.epics, Source.tracker]
    if repeatable:
        columns.append(ledger.REPEATABLE)
    present = select(*columns).where(Source.id == source.id)
    async with runtime.sessions.begin() as session:
        row = (await session.execute(present.with_for_update(read=True))).one_or_none()
        if row is not None and tuple(row)[:3] != known:
            raise SourceChanged
        yield session


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


@contextmanager
def storing(what: str) -> Iterator[None]:
    """Raises `BadPayload` for a ticket that the database refuses whatever we do."""
    try:
        yield
    except (DataError, OperationalError, UnicodeError) as error:
        if isinstance(error, OperationalError) and not _is_too_large(error):
            raise
        raise BadPayload(f"{what} cannot be stored.", REPORT) from None


async def read(runtime: Runtime, run: Run, source: Source) -> Outcome:
    """Read what a reading run is to read. Raises what the connector raises, all pages so far stored."""
    try:
        connector = runtime.connect(source)
    except CannotOpen:
        await _believe_only_what_was_read(runtime, run, source)
        raise
    async with aclosing(connector), claimed(runtime, run):
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
            except (Unavailable, Unauthorized):
                raise
            except ConnectorError as error:
                self.problems.append(f"{project.key}: {error.message}")
                await self._note_read(project.key, read_to_end=False, problem=error.message)
        held = await self._remove_missing(projects) if self.run.mode == "full" else None
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
                    await self._keep(session, now, change, seen=0)
                found = await store.observe(session, source_id, tracker, page.epics, missing, now)
                await self._keep(session, now, found, seen=len(page.epics))
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

    def _writing(self) -> AbstractAsyncContextManager[AsyncSession]:
        return writing_for(self.runtime, self.source)

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
        """The calls since the last page, whatever came of them; nothing where the run is another's now."""
        async with self.runtime.sessions.begin() as session:
            await self._keep(session, self.runtime.clock(), store.Observed(), seen=0)

    # --- how far a project is read --------------------------------------------------------------

    async def _note_projects(self, projects: Sequence[Project]) -> None:
        async with self._writing() as session:
            await reach.note_projects(session, self.source.id, projects, self.runtime.clock())
            await ledger.keep_run(session, self.run, self.runtime.worker, self.runtime.clock())

    async def _note_read(self, key: str, *, read_to_end: bool, problem: str | None) -> None:
        now = self.runtime.clock()
        async with self._writing() as session:
            await reach.note_read(session, self.source.id, key, now, read_to_end=read_to_end, problem=problem)
            if read_to_end:
                await reach.mark_done(session, self.run.id, key)
            await ledger.keep_run(session, self.run, self.runtime.worker, now)

    # --- what is gone ---------------------------------------------------------------------------

    async def _remove_missing(self, projects: Sequence[Project]) -> dict[str, Any] | None:
        """Take out what a full run did not meet, each one asked for by id; the error where too much would go.

        What was met before a kill is asked for again.
        """
        async with self.runtime.sessions() as session:
            stored = await reach.live(session, self.source.id)
            read = await reach.read_by(session, self.run.id)
            worded = await reach.changed_by_a_person(session, self.source)
        left = self._left(projects)
        unmet = [
            EpicRef(remote_id, key)
            for project, remote_id, key in stored
            if remote_id not in self.met and (project in read or left(project))
        ]
        if not unmet:
            return None
        gone: list[Missing] = []
        counted: list[Missing] = []
        for start in range(0, len(unmet), FETCHED_AT_ONCE):
            gone += await self._look_up(unmet[start : start + FETCHED_AT_ONCE])
            # Tickets that answer and do not fit are no surprise where somebody changed what fits.
            counted = [item for item in gone if item.reason == "deleted" or not worded]
            if _too_many(counted, stored):
                break
        # Asked again: credentials that died on the way would make everything look deleted.
        await self.connector.account()
        if _too_many(counted, stored):
            return error_of(
                "drop_guard",
                f"{len(counted)} or more of {len(stored)} epics are gone from the tracker; none was removed.",
                "See whether the account lost access or the scope is wrong, then sync in full again.",
            )
        now = self.runtime.clock()
        async with self._writing() as session:
            change = await store.observe(session, self.source.id, self.source.tracker, (), gone, now)
            await self._keep(session, now, change, seen=0)
        return None

    def _left(self, projects: Sequence[Project]) -> Callable[[str], bool]:
        """Whether a project is out of reach, so that its epics may go though nothing of it was read.

        A listing that is not whole says this only of what the configuration leaves out.
        """
        listed, whole = {p.key for p in projects}, all(p.problem is None for p in projects)
        scope: Any = KINDS[self.source.kind].scope.model_validate(self.source.scope)
        return lambda project: project not in listed and (whole or not scope.covers(project))

    async def _look_up(self, refs: Sequence[EpicRef]) -> list[Missing]:
        """Those of `refs` that are gone; the others are stored as they are now."""
        try:
            items = await self.connector.fetch(refs)
        except (Unavailable, Unauthorized):
            raise
        except ConnectorError as error:
            self.problems.append(error.message)
            return []
        now = self.runtime.clock()
        found = [item for item in items if isinstance(item, Epic)]
        async with self._writing() as session:
            for ref, item in zip(refs, items, strict=True):
                if isinstance(item, Epic) and item.remote_id != ref.remote_id:
                    change = await store.take_over(
                        session, self.source.id, self.source.tracker, ref.remote_id, item, now
                    )
                    await self._keep(session, now, change, seen=0)
            change = await store.observe(session, self.source.id, self.source.tracker, found, (), now)
            await self._keep(session, now, change, seen=len(found))
        return [item for item in items if isinstance(item, Missing)]


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


def _too_many(gone: Sequence[Missing], stored: Sequence[object]) -> bool:
    return len(gone) > DROP_COUNT and len(gone) > DROP_SHARE * len(stored)


def _is_too_large(error: OperationalError) -> bool:
    """Class 54 of https://www.postgresql.org/docs/current/errcodes-appendix.html: a limit of the program."""
    return str(getattr(error.orig, "sqlstate", "")).startswith("54")
