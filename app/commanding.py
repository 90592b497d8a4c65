"""Doing what a comment on a ticket asks for. Reading it is `mappings.commands`; the answer is the notice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import acting
from app.runtime import Runtime
from connectors.base import TicketComment
from mappings import cases, commands, ledger, touching
from mappings.commands import Command, Help, LinkTo, Mistake, Snooze
from mappings.goals import KeyResult, is_live, why_not_live
from mappings.standard import Standard
from mappings.steering import end_answer, link_by_hand, set_finding
from mappings.tables import CommandComment, Epic, Finding, Notice, Source

log = structlog.get_logger()

_AUTHOR_SHOWN = 100
SNOOZABLE = ("open", "snoozed")


async def obey(
    runtime: Runtime, session: AsyncSession, source: Source, epic: Epic, comment: TicketComment
) -> bool:
    """Do what `comment` on the ticket of `epic` asks for, once; whether the epic is to be judged now.

    The transaction is the caller's and must not hold rows of epics yet: the goals' lock comes first.
    True means that the epic is marked, and that the caller has to open a run that judges it.
    """
    now = runtime.clock()
    heard = comment.may_steer and not comment.ours
    asked = commands.parse(comment.lines, now) if heard else ()
    if not asked:
        return False
    await ledger.change_goals(session)
    present = await cases.these_epics(session, [epic.id])
    if not present or present[0].gone_at is not None:
        return False
    row = present[0]
    author = _name(comment.author)
    # Later than any judgement so far: what the next one changes is this command's own doing.
    at = now if row.judged_at is None else max(now, row.judged_at)
    mine = await _first_to_act(session, row.id, comment, author, asked, at)
    if mine is None:
        return False
    acting(session, f"{source.name}: {author} on {row.key}")
    says = await _Order(runtime, session, source, row, author, now).carry_out(asked)
    await end_answer(session, row.id)
    mine.answer = says if await _has_comment(session, row.id) else None
    await touching.mark(session, select(Epic.id).where(Epic.id == row.id), now)
    log.info("command on a ticket", epic=row.key, commands=len(mine.commands), answered=says is not None)
    return True


def _name(author: str) -> str:
    """As it may be stored and shown: one line, not long."""
    return "".join(char for char in author if char.isprintable())[:_AUTHOR_SHOWN] or "somebody"


async def _first_to_act(
    session: AsyncSession,
    epic_id: int,
    comment: TicketComment,
    author: str,
    asked: tuple[Command, ...],
    at: datetime,
) -> CommandComment | None:
    """This comment's row, None where it was obeyed before: a comment is told of by many deliveries."""
    made = insert(CommandComment)
    first = await session.scalars(
        made.values(
            epic_id=epic_id,
            remote_id=comment.id,
            author=author,
            commands=[commands.in_words(command) for command in asked if not isinstance(command, Mistake)],
            at=at,
        )
        # A comment of mistakes alone did nothing yet, and may be corrected.
        .on_conflict_do_update(
            index_elements=[CommandComment.epic_id, CommandComment.remote_id],
            set_={"commands": made.excluded.commands, "author": made.excluded.author, "at": at},
            where=func.cardinality(CommandComment.commands) == 0,
        )
        .returning(CommandComment)
    )
    return first.one_or_none()


async def _has_comment(session: AsyncSession, epic_id: int) -> bool:
    """Where nothing of ours stands on the ticket nothing is answered."""
    notice = (await session.scalars(select(Notice).where(Notice.epic_id == epic_id))).one_or_none()
    return notice is not None and cases.may_be_on_ticket(notice)


@dataclass
class _Order:
    """One comment's commands on one epic. What cannot be done is said, the rest speaks for itself."""

    runtime: Runtime
    session: AsyncSession
    source: Source
    epic: Epic
    author: str
    now: datetime

    async def carry_out(self, asked: tuple[Command, ...]) -> str | None:
        parts: list[str] = []
        for command in asked:
            match command:
                case LinkTo(keys):
                    parts += await self._link(keys)
                case Snooze(until):
                    parts += await self._snooze(until)
                case Help():
                    parts.append(commands.help_text())
                case Mistake(says):
                    parts.append(says)
        return commands.answer(parts)

    async def _link(self, keys: tuple[str, ...]) -> list[str]:
        standard = await self.runtime.standard(self.session, self.source, [self.epic.project])
        unknown: list[str] = []
        says: list[str] = []
        for key in keys:
            goal = standard.goals.by_key.get(key.lower())
            if goal is None:
                unknown.append(key)
                continue
            why = f"linked by {self.author} in a comment"
            await link_by_hand(self.session, self.epic.id, goal.id, "command", why, self.now)
            dead = why_not_live(goal, self.now)
            if dead is not None:
                says.append(commands.not_live(goal.key, dead))
        if unknown:
            says.append(commands.unknown_keys(unknown, self._fitting(standard)))
        return says

    def _fitting(self, standard: Standard) -> list[str]:
        """Keys of live key results that fit the epic, else of the first there is."""
        fitting: list[KeyResult] = [
            one.key_result for one in standard.suggest(cases.epic_of(self.epic), self.now)
        ]
        live = (goal for goal in standard.goals.key_results.values() if is_live(goal, self.now))
        return [goal.key for goal in fitting or [*live][:1]]

    async def _snooze(self, until: datetime) -> list[str]:
        rows = await self.session.scalars(
            select(Finding)
            .where(Finding.epic_id == self.epic.id, Finding.state != "resolved")
            .with_for_update()
            .execution_options(populate_existing=True)
        )
        row = rows.first()
        if row is None:
            return [commands.nothing_to_snooze(None)]
        if row.state not in SNOOZABLE:
            return [commands.nothing_to_snooze(row.state)]
        await set_finding(self.session, row, "snoozed", until, f"snoozed by {self.author} in a comment")
        return []
