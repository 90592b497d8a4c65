"""Webhooks about comments: executes commands, and records where a person has deleted our comment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from mappings.commands.execute import execute_commands
from mappings.locks import lock_epics, share_source
from mappings.notices.state import mark_deleted
from mappings.runs.causes import Cause
from mappings.tables import EpicRow, NoticeRow, SourceRow
from mappings.webhooks.queue import epics_by_remote_id, is_being_written, is_our_comment

if TYPE_CHECKING:
    from app.runtime import Runtime
    from app.webhooks.results import DeliveryResults, ParsedDelivery
    from connectors.base import CommentRef, Connector
    from connectors.comments import TicketComment

# A comment on a ticket that the writer has claimed at this moment may be ours.
WAIT_FOR_OUR_WRITE = timedelta(seconds=2)
# Without this in its body, a comment holds no command, however the payload is escaped.
COMMAND = b"northing"


@dataclass
class CommentEvents:
    """Processes the deliveries about comments on tickets of `source`, and records how each ended."""

    runtime: Runtime
    source: SourceRow
    results: DeliveryResults

    async def process_comment(
        self, parsed: ParsedDelivery, ref: CommentRef, connector: Connector, run_id: int | None
    ) -> None:
        """Only a comment that may hold a command costs a request. Ours costs none, unless it was deleted."""
        ticket = ref.ticket.remote_id
        async with self.runtime.sessions() as session:
            now = await self.runtime.now(session)
            epic = (await epics_by_remote_id(session, self.source, [ticket])).get(ticket)
            is_ours = await is_our_comment(session, self.source.id, ref.id)
            writing = epic is not None and await is_being_written(session, epic.id, now)
        if epic is None or epic.removed_at is not None:
            await self.results.end([parsed], "ignored", "not_an_epic")
        elif is_ours and ref.removed:
            await self._deleted(parsed, epic, ref, connector)
        elif is_ours:
            await self.results.end([parsed], "ignored", "own")
        elif not ref.removed and COMMAND not in (parsed.delivery.body or b"").lower():
            await self.results.end([parsed], "done", run_id=run_id)
        elif writing:
            await self.results.postpone([parsed], WAIT_FOR_OUR_WRITE)
        elif ref.removed:
            await self.results.end([parsed], "done", run_id=run_id)
        else:
            await self._execute(parsed, epic, await connector.read_comment(ref), run_id)

    async def _deleted(
        self, parsed: ParsedDelivery, epic: EpicRow, ref: CommentRef, connector: Connector
    ) -> None:
        """A person has deleted our comment, so none is written again for this opening of the finding."""
        if await connector.read_comment(ref) is not None:
            await self.results.end([parsed], "ignored", "own")
            return
        async with self.runtime.sessions.begin() as session:
            now = await self.runtime.now(session)
            await share_source(session, self.source.id)
            # The evaluator locks an epic first and then its notice, and so does every change of the notice.
            await lock_epics(session, [epic.id])
            notice = await session.scalar(
                select(NoticeRow)
                .where(NoticeRow.epic_id == epic.id, NoticeRow.remote_id == ref.id)
                .with_for_update()
            )
            if notice is not None and notice.claimed_by is not None:
                # The writer that has claimed it may still record that the comment is on the ticket.
                await self.results.record_postponed(session, [parsed], now + WAIT_FOR_OUR_WRITE)
                return
            if notice is not None:
                mark_deleted(notice, now)
            await self.results.record_end(session, [parsed], "done")

    async def _execute(
        self, parsed: ParsedDelivery, epic: EpicRow, comment: TicketComment | None, run_id: int | None
    ) -> None:
        if comment is not None and comment.ours:
            await self.results.end([parsed], "ignored", "own")
            return
        if comment is not None and not comment.may_steer:
            await self.results.end([parsed], "ignored", "not_allowed")
            return
        async with self.runtime.transaction() as session:
            context, now = self.runtime.evaluation_context, await self.runtime.now(session)
            result = None
            if comment is not None:
                result = await execute_commands(
                    session, self.source, epic, comment, context, now, self.runtime.checks
                )
            if result is not None and result.evaluate:
                run_id = await self.results.open_evaluate_run(
                    session, Cause("command", str(epic.id), epic.key)
                )
            await self.results.record_end(session, [parsed], "done", run_id=run_id)
