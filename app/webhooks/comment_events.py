"""Webhooks about comments: executes commands, and records where a person has deleted our comment."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from app.ticket_commands import ExecutedComment, TicketCommands
from connectors.base import BadPayload
from mappings.commands.met import may_hold_command
from mappings.locks import lock_epics, share_source
from mappings.notices.state import mark_deleted
from mappings.runs.causes import Cause
from mappings.tables import EpicRow, NoticeRow, SourceRow
from mappings.webhooks.queue import epics_by_remote_id, is_being_written, is_our_comment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from app.runtime import Runtime
    from app.webhooks.results import DeliveryResults, ParsedDelivery
    from connectors.base import CommentRef, Connector
    from connectors.comments import TicketComment

# A comment on a ticket that the writer has claimed at this moment may be ours.
WAIT_FOR_OUR_WRITE = timedelta(seconds=2)


@dataclass
class CommentEvents:
    """Processes the deliveries about comments on tickets of `source`, and records how each ended.

    `unstored`: why a ticket that a comment is on was not stored, by its id in the tracker.
    """

    runtime: Runtime
    source: SourceRow
    results: DeliveryResults
    unstored: dict[str, str | BadPayload] = field(default_factory=dict)
    _commands: TicketCommands | None = field(default=None, init=False)

    async def tickets_to_fetch(self, all_parsed: Sequence[ParsedDelivery]) -> list[ParsedDelivery]:
        """The deliveries; those about a comment with a command on a ticket that is not stored name it as one
        to be fetched, for its own webhook may come later."""
        refs = {
            parsed.id: parsed.hint.comment.ticket
            for parsed in all_parsed
            if parsed.hint.comment is not None and not parsed.hint.tickets and _may_hold_command(parsed)
        }
        if not refs:
            return [*all_parsed]
        async with self.runtime.sessions() as session:
            known = await epics_by_remote_id(session, self.source, {ref.remote_id for ref in refs.values()})
        stored = {id for id, row in known.items() if row.removed_at is None}
        return [
            replace(parsed, hint=replace(parsed.hint, tickets=(refs[parsed.id],)))
            if parsed.id in refs and refs[parsed.id].remote_id not in stored
            else parsed
            for parsed in all_parsed
        ]

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
            await self._end_unstored(parsed, ticket)
        elif is_ours and ref.removed:
            await self._deleted(parsed, epic, ref, connector)
        elif is_ours:
            await self.results.end([parsed], "ignored", "own")
        elif not ref.removed and not _may_hold_command(parsed):
            await self.results.end([parsed], "done", run_id=run_id)
        elif writing:
            await self.results.postpone([parsed], WAIT_FOR_OUR_WRITE)
        elif ref.removed:
            await self.results.end([parsed], "done", run_id=run_id)
        else:
            await self._execute(parsed, epic, await connector.read_comment(ref), connector, run_id)

    async def _end_unstored(self, parsed: ParsedDelivery, ticket: str) -> None:
        why = self.unstored.get(ticket, "not_an_epic")
        if isinstance(why, BadPayload):
            await self.results.fail([parsed], why)
        else:
            await self.results.end([parsed], "ignored", why)

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
        self,
        parsed: ParsedDelivery,
        epic: EpicRow,
        comment: TicketComment | None,
        connector: Connector,
        run_id: int | None,
    ) -> None:
        async def open_run(session: AsyncSession) -> int:
            cause = Cause("command", str(epic.id), epic.key)
            return await self.results.open_evaluate_run(session, cause)

        if self._commands is None or self._commands.connector is not connector:
            self._commands = TicketCommands(self.runtime, self.source, connector)
        commands = self._commands
        executed = (
            ExecutedComment("nothing") if comment is None else await commands.execute(epic, comment, open_run)
        )
        if executed.unacknowledged is not None:
            await self.results.try_again([parsed])
        elif executed.what in ("own", "not_allowed"):
            await self.results.end([parsed], "ignored", executed.what)
        else:
            await self.results.end([parsed], "done", run_id=executed.run_id or run_id)


def _may_hold_command(parsed: ParsedDelivery) -> bool:
    comment = parsed.hint.comment
    return comment is not None and not comment.removed and may_hold_command(parsed.delivery.body or b"")
