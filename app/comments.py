"""Comments on tickets that a webhook tells of: commands are obeyed, a notice that was deleted stays away."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from app.batch import Batch, Part
from app.commanding import obey
from connectors.base import CommentRef, Connector, TicketComment
from mappings import cases, claims, inbox, tables
from mappings.tables import Notice

# A comment on a ticket that we are writing at this moment may be the one we write.
WAIT_FOR_OUR_ANSWER = timedelta(seconds=2)
# Without this in its body, whatever the escapes, a comment holds no command.
COMMAND = b"northing"


class Comments(Batch):
    async def look_at_comment(
        self, part: Part, ref: CommentRef, connector: Connector, run_id: int | None
    ) -> None:
        """Only a comment that may hold a command costs a call. Ours never does, unless it was deleted."""
        now, ticket = self.runtime.clock(), ref.ticket.remote_id
        async with self.runtime.sessions() as session:
            epic = (await inbox.epics_by_id(session, self.source, [ticket])).get(ticket)
            ours = await inbox.is_ours(session, self.source.id, ref.id)
            writing = epic is not None and await inbox.is_being_written(session, epic.id, now)
        if epic is None or epic.gone_at is not None:
            await self.end([part], "ignored", "not_an_epic")
        elif ours and ref.removed:
            await self._deleted(part, epic, ref, connector)
        elif ours:
            await self.end([part], "ignored", "own")
        elif not ref.removed and COMMAND not in (part.delivery.body or b"").lower():
            await self.end([part], "done", run_id=run_id)
        elif writing:
            await self.put_off([part], now + WAIT_FOR_OUR_ANSWER)
        elif ref.removed:
            await self.end([part], "done", run_id=run_id)
        else:
            await self._obey(part, epic, await connector.read_comment(ref), run_id)

    async def _deleted(self, part: Part, epic: tables.Epic, ref: CommentRef, connector: Connector) -> None:
        """Who deletes our comment has said no, and that is how it stays for this opening of the finding."""
        if await connector.read_comment(ref) is not None:
            await self.end([part], "ignored", "own")
            return
        now = self.runtime.clock()
        async with self.runtime.sessions.begin() as session:
            # Whoever judges takes an epic first and then its notice, and so does whoever changes the notice.
            await cases.these_epics(session, [epic.id])
            notice = await session.scalar(
                select(Notice).where(Notice.epic_id == epic.id, Notice.remote_id == ref.id).with_for_update()
            )
            if notice is not None and notice.claimed_by is not None:
                # Whoever writes it may yet note that it stands there.
                await inbox.put_off(session, self.owner, [part.id], now + WAIT_FOR_OUR_ANSWER)
                return
            if notice is not None:
                claims.deleted_on_ticket(notice, now)
            await self.ended(session, [part], "done")

    async def _obey(
        self, part: Part, epic: tables.Epic, comment: TicketComment | None, run_id: int | None
    ) -> None:
        if comment is not None and comment.ours:
            await self.end([part], "ignored", "own")
            return
        if comment is not None and not comment.may_steer:
            await self.end([part], "ignored", "not_allowed")
            return
        async with self.runtime.sessions.begin() as session:
            if comment is not None and await obey(self.runtime, session, self.source, epic, comment):
                run_id = await self.open_run(session)
            await self.ended(session, [part], "done", run_id=run_id)
