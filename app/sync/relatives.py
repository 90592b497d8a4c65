"""What tickets do not say themselves: how many children epics have, and the titles of parents that are no
epics. Asked for at the end of a reading run, within a bound; what is left, by the next run."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

import structlog

from connectors.base import ConnectorError, Unauthorized, Unavailable
from mappings.epics.children import (
    LAG,
    advance_children_cursor,
    forget_removed,
    load_children_cursor,
    load_due,
    mark_changed_children,
    store_counts,
)
from mappings.epics.outside_parents import forget_outside_parents, parents_to_read, store_parents
from mappings.runs.reevaluation import reevaluate_below_tickets

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from app.sync.progress import Progress
    from connectors.answers import KnownAnswer
    from connectors.base import Epic, Page

log = structlog.get_logger()

COUNTED_AT_ONCE = 100
SINGLY_AT_ONCE = 20  # where each takes a request: what a limit interrupts is not stored
# Requests of an incremental run to count children, and of any run to read parents.
MOST_COUNTS, MOST_PARENTS = 100, 100


class Relatives:
    """Brings the counts of children and the titles of parents up to date.

    A full run counts the children of the epics that are stored together while the next page is on its way, so
    that they are stored with the epics. Once that fails, it leaves the rest to `update`.

    A request that the tracker refuses, that fails, or whose answer cannot be understood leaves what is stored
    as it is: the run has read all its tickets, and these are evaluated without it.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.runtime, self.run, self.source = progress.runtime, progress.run, progress.source
        self.connector = progress.connector
        self.is_full = progress.run.mode == "full"
        self._counts_pages = self.is_full and not self.connector.children_on_tickets
        self._limited: Unavailable | None = None

    async def count(self, epics: Sequence[Epic]) -> bool:
        """Give the epics of a full run the counts that no ticket shows. False where these are not counted; of
        those that are, an epic without a count has children that Jira does not count. Raises `Unauthorized`.
        """
        if not self._counts_pages:
            return False
        try:
            found = await self.connector.count_children([epic.ref for epic in epics]) if epics else {}
        except Unauthorized:
            raise
        except ConnectorError as error:
            if isinstance(error, Unavailable) and error.has_retry_after:
                self._limited = error
            self._counts_pages = False
            log.warning("children not counted with their epics", reason=error.message)
            return False
        for epic in epics:
            epic.children = found.get(epic.remote_id)
        return True

    async def update(self) -> None:
        """Raises `Unavailable` for a limit of counts, whose end is known, and `Unauthorized`."""
        for step in (self._find_changed, self._count_children, self._read_parents):
            try:
                await step()
            except Unauthorized:
                raise
            except ConnectorError as error:
                # To wait for titles is not worth it: a full run taken up again asks for all its epics anew.
                if isinstance(error, Unavailable) and error.has_retry_after and step != self._read_parents:
                    raise
                log.warning("parents and children not read", reason=error.message)

    async def mark(self, page: Page) -> None:
        """Have the epics counted whose children are on the page. A full run meets them all as tickets."""
        on_page = {epic.key.lower() for epic in page.epics}
        parents = [pair for pair in page.changed_children.parents if pair[0].key.lower() not in on_page]
        if parents and not self.is_full:
            async with self.progress.storing, self.progress.transaction() as session:
                await mark_changed_children(session, self.source.id, parents)

    def known_by(self, page: Page, requested_at: datetime) -> KnownAnswer | None:
        """By what the page is known; nothing where children on it changed so shortly before that the count of
        their parents may be without that: they are counted once more with the page, which must be read again
        for it."""
        answer = page.answer
        if answer and any(moment + LAG > requested_at for _, moment in page.changed_children.parents):
            return answer.forgotten()
        return answer

    # --- children ---------------------------------------------------------------------------

    async def _count_children(self) -> None:
        if self._limited is not None:
            raise self._limited
        before, after = self.connector.requests, 0
        at_once = SINGLY_AT_ONCE if self.connector.children_on_tickets else COUNTED_AT_ONCE
        async with self.progress.transaction() as session:
            await forget_removed(session, self.source.id)
        while True:
            async with self.runtime.sessions() as session:
                requested_at = await self.runtime.now(session)
                due = await load_due(session, self.source.id, after, at_once)
            if not due:
                return
            counted = await self.progress.ask(
                partial(self.connector.count_children, [one.ref for one in due])
            )
            async with self.progress.transaction(repeatable=True) as session:
                await store_counts(session, due, counted, requested_at, all_of_them=not self.is_full)
            if not self.is_full and self.connector.requests - before >= MOST_COUNTS:
                log.info("children left to count", after=due[-1].place)
                return
            after = due[-1].place

    async def _find_changed(self) -> None:
        """Mark the epics whose children changed since this was asked last. A full run counts all, and the
        first run what it reads: the next one goes on from their start."""
        if self.connector.children_on_tickets:
            return
        async with self.runtime.sessions() as session:
            now = await self.runtime.now(session)
            since = await load_children_cursor(session, self.source.id)
        if since is None or self.is_full:
            async with self.progress.transaction() as session:
                await advance_children_cursor(session, self.source.id, (self.run.started_at or now) - LAG)
            return
        async with aclosing(self.connector.changed_children(since)) as pages:
            async for page in pages:
                async with self.progress.transaction() as session:
                    await mark_changed_children(session, self.source.id, page.parents)
                    if page.cursor is not None and page.cursor > since:
                        # A ticket dated in the future must not hide what changes until then.
                        await advance_children_cursor(session, self.source.id, min(page.cursor, now))

    # --- parents ----------------------------------------------------------------------------

    async def _read_parents(self) -> None:
        async with self.progress.transaction() as session:
            now = await self.runtime.now(session)
            if self.is_full:
                await forget_outside_parents(session, self.source.id)
            waiting, moved = await parents_to_read(
                session,
                self.source.id,
                self.source.tracker,
                MOST_PARENTS,
                now,
                self.run.started_at if self.is_full else None,
            )
            await reevaluate_below_tickets(session, self.source.tracker, moved, now)
        for start in range(0, len(waiting), SINGLY_AT_ONCE):
            asked = waiting[start : start + SINGLY_AT_ONCE]
            found = await self.progress.ask(partial(self.connector.read_parents, asked))
            async with self.progress.transaction() as session:
                now = await self.runtime.now(session)
                moved = await store_parents(session, self.source.id, found, now)
                await reevaluate_below_tickets(session, self.source.tracker, moved, now)
