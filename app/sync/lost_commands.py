"""Commands that no webhook has told of: looked for in the comments of tickets that have changed.

A webhook may be lost, and a source may have none. What the tracker refuses or does not answer now is left to
the next run: this one has read its tickets.
"""

from __future__ import annotations

from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

import structlog

from app.connector_usage import track_usage
from app.database import database_trouble
from app.secrets import CannotDecrypt
from app.sync.hiccups import after_hiccups
from app.ticket_commands import TicketCommands
from connectors.base import Blocked, ConnectorError, Unavailable
from mappings.commands.met import (
    advance_comments_cursor,
    load_to_look_at,
    mark_looked_at,
    may_hold_command,
    oldest_looked_for,
)
from mappings.leases import ClaimLost
from mappings.runs.queue import renew_lease
from mappings.tables import EpicRow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from app.runtime import Runtime
    from connectors.base import Connector
    from connectors.comments import TicketComment
    from mappings.commands.met import ToLookAt
    from mappings.tables import RunRow, SourceRow

log = structlog.get_logger()

MOST_NAMED = 10  # tickets in a line of the log
MOST_TICKETS = 100  # of a run; what is left, the next one looks at


async def execute_lost_commands(runtime: Runtime, run: RunRow, source: SourceRow, *, whole: bool) -> bool:
    """Execute the commands in the comments that a reading run has not heard of; whether epics are marked.

    The run has read and evaluated its tickets, and evaluates again what is marked. `whole`: it read every
    project. After another one, the comments on what it did not read stay to be looked at. Raises `ClaimLost`.
    """
    async with runtime.sessions() as session:
        oldest = oldest_looked_for(source, await runtime.now(session))
        changed = await load_to_look_at(session, source.id, oldest, MOST_TICKETS)
    done, marked = True, False
    if changed:
        try:
            connector = await runtime.connect(source)
        except CannotDecrypt:
            return False
        async with track_usage(runtime, source.id, connector):
            looking = _Looking(runtime, run, source, connector, oldest)
            done = await looking.look_at_all(changed) and len(changed) < MOST_TICKETS
            marked = looking.marked
    if done and whole:
        async with runtime.sessions.begin() as session:
            begun_at = run.started_at or await runtime.now(session)
            await advance_comments_cursor(session, source.id, begun_at)
    return marked


class _Looking:
    """`marked`: epics are marked for evaluation. `unacknowledged`: the ids of those with a command whose
    acknowledgement the next run has to send."""

    def __init__(
        self, runtime: Runtime, run: RunRow, source: SourceRow, connector: Connector, oldest: datetime
    ) -> None:
        self.runtime, self.run, self.source, self.connector = runtime, run, source, connector
        self.oldest, self.marked = oldest, False
        self.unacknowledged: set[int] = set()
        self.commands = TicketCommands(runtime, source, connector)
        self._counted = connector.requests

    async def look_at_all(self, changed: Sequence[ToLookAt]) -> bool:
        """Project by project; whether all were looked at."""
        done = True
        by_project = sorted(changed, key=lambda one: one.project)
        for project, tickets in groupby(by_project, key=lambda one: one.project):
            try:
                done = await self._look_at([*tickets]) and done
            except ConnectorError as error:
                log.warning("comments not read", project=project, reason=error.message)
                done = False
                if isinstance(error, (Unavailable, Blocked)):
                    break
            finally:
                await self._count_requests()
        return done

    async def _look_at(self, tickets: Sequence[ToLookAt]) -> bool:
        since = min(one.since for one in tickets)
        recent = await after_hiccups(
            partial(self.connector.recent_comments, [one.ref for one in tickets], since),
            self.runtime.hiccup_pauses,
        )
        ids = {one.ref.remote_id: one.id for one in tickets}
        for ref, comment in recent.found:
            if self._may_be_lost(comment):
                await self._execute_one(ids[ref.remote_id], comment)
        if recent.unread:
            log.warning("comments not read", epics=sorted(ref.key for ref in recent.unread)[:MOST_NAMED])
        async with self.runtime.sessions.begin() as session:
            left = self.unacknowledged
            whole = [one for one in tickets if one.id not in left and one.ref not in recent.unread]
            await mark_looked_at(session, whole, recent.until)
        return recent.until is None and len(whole) == len(tickets)

    def _may_be_lost(self, comment: TicketComment) -> bool:
        if comment.ours or comment.created_at is None or comment.created_at <= self.oldest:
            return False
        return any(may_hold_command(line.text.encode("utf-8", "replace")) for line in comment.lines)

    async def _execute_one(self, epic_id: int, comment: TicketComment) -> None:
        """What cannot be understood of one comment must not hide the others."""
        async with self.runtime.sessions() as session:
            epic = await session.get(EpicRow, epic_id)
        if epic is None or epic.removed_at is not None:
            return
        try:
            executed = await self.commands.execute(epic, comment)
        except (Unavailable, Blocked):
            self.marked = True  # the acknowledgement alone may have failed
            raise
        except ConnectorError as error:
            log.warning("comment not read", epic=epic.key, reason=error.message)
            return
        except (ClaimLost, CannotDecrypt):
            raise
        except Exception as error:
            if database_trouble(error):
                raise
            log.exception("comment not worked on", epic=epic.key)
            return
        self.marked = self.marked or executed.evaluate
        if executed.unacknowledged is not None:
            self.unacknowledged.add(epic_id)

    async def _count_requests(self) -> None:
        requests, self._counted = self.connector.requests - self._counted, self.connector.requests
        async with self.runtime.sessions.begin() as session:
            now = await self.runtime.now(session)
            await renew_lease(session, self.run, self.runtime.worker, now, requests=requests)
