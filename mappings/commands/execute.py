"""Executes the commands in a comment. `mappings.commands.parse` reads them; the notice shows the answer.

A command changes links and findings with the functions that the API's operations use. Its own are the origin,
the answer in words, and that one run evaluates the epic after all commands of a comment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from mappings import invalidate
from mappings.audit import set_actor
from mappings.checks.registry import CHECKS
from mappings.commands.parse import (
    Command,
    HelpCommand,
    InvalidCommand,
    LinkCommand,
    SnoozeCommand,
    command_text,
    help_text,
    joined_answer,
    not_live_text,
    nothing_to_snooze_text,
    parse_commands,
    unknown_keys_text,
)
from mappings.errors import Invalid
from mappings.evaluation.context import EvaluationContext
from mappings.evaluation.load import may_be_on_ticket
from mappings.evaluation.operations import SNOOZABLE, change_shown, clear_answer
from mappings.goals.key_results import KeyResult, first_to_name, may_name, why_not_live
from mappings.links.operations import link_manually
from mappings.locks import lock_epics, lock_goals_exclusive
from mappings.runs.reevaluation import reevaluate_children
from mappings.tables import CommandCommentRow, EpicRow, NoticeRow, SourceRow

if TYPE_CHECKING:
    from datetime import datetime

    from connectors.comments import CommandOutcome, TicketComment
    from mappings.checks.check import Check

log = structlog.get_logger()

_AUTHOR_SHOWN = 100
_AUTHOR_ID_STORED = 200
# Gives a source's context for the epics of some projects (`app.runtime.Runtime.evaluation_context`).
ContextLoader = Callable[[AsyncSession, SourceRow, list[str]], Awaitable[EvaluationContext]]


async def execute_commands(
    session: AsyncSession,
    source: SourceRow,
    epic: EpicRow,
    comment: TicketComment,
    load_context: ContextLoader,
    now: datetime,
    checks: Sequence[Check[Any]] = CHECKS,
) -> CommandResult | None:
    """Execute the commands in `comment` on the ticket of `epic`, once; None where it has nothing for us.

    The transaction is the caller's and must not have locked epics yet: the goals' lock comes first.
    """
    digest = command_digest(comment, now)
    if digest is None or comment.ours:
        return None
    asked = parse_commands(comment.lines, now)
    await lock_goals_exclusive(session)
    present = await lock_epics(session, [epic.id])
    if not present or present[0].removed_at is not None:
        return None
    row = present[0]
    author = _author_name(comment.author)
    # Not before the last evaluation: what the next one changes is the effect of this command.
    at = now if row.evaluated_at is None else max(now, row.evaluated_at)
    outcome: CommandOutcome = "done"
    if not comment.may_steer:
        outcome, asked = "not_allowed", ()
    elif not asked or any(isinstance(one, InvalidCommand) for one in asked):
        outcome = "not_understood"
    command_row = await _claim_comment(session, row.id, comment, author, asked, at, digest, outcome)
    if command_row is None:
        known = (
            await session.scalars(
                select(CommandCommentRow).where(
                    CommandCommentRow.epic_id == row.id, CommandCommentRow.remote_id == comment.id
                )
            )
        ).one()
        stored: Any = known.outcome
        return CommandResult(stored, evaluate=False, is_new=False, reaction_id=known.reaction_id)
    if outcome == "not_allowed":
        return CommandResult(outcome, evaluate=False, is_new=True, reaction_id=command_row.reaction_id)
    set_actor(session, f"{source.name}: {author} on {row.key}", _author_id(comment))
    commands = _CommandRun(session, source, row, author, load_context, now, checks)
    answer = await commands.execute(asked)
    await clear_answer(session, row.id)
    command_row.answer = answer if await _has_comment(session, row.id) else None
    command_row.explained_key_result_ids = [goal.id for goal in commands.explained]
    await invalidate.mark_for_evaluation(session, [row.id], now)
    if commands.linked:
        await reevaluate_children(session, row, now)
    log.info(
        "command on a ticket", epic=row.key, commands=len(command_row.commands), answered=answer is not None
    )
    return CommandResult(outcome, evaluate=True, is_new=True, reaction_id=command_row.reaction_id)


def command_digest(comment: TicketComment, now: datetime) -> bytes | None:
    """Of the lines that are commands, or nearly so; None where there are none."""
    mention = f"@{comment.our_name} ".lower() if comment.our_name else "\0"
    typed = [
        line.text
        for line in comment.lines
        if parse_commands([line], now) or line.text.lower().startswith(("northing ", "key-result:", mention))
    ]
    return hashlib.blake2b("\n".join(typed).encode(), digest_size=16).digest() if typed else None


def _author_name(author: str) -> str:
    """The name as it may be stored and shown: in one line, at most `_AUTHOR_SHOWN` characters."""
    return "".join(char for char in author if char.isprintable())[:_AUTHOR_SHOWN] or "somebody"


def _author_id(comment: TicketComment) -> str | None:
    return None if comment.author_id is None else comment.author_id[:_AUTHOR_ID_STORED]


async def _claim_comment(
    session: AsyncSession,
    epic_id: int,
    comment: TicketComment,
    author: str,
    asked: tuple[Command, ...],
    at: datetime,
    digest: bytes,
    outcome: str,
) -> CommandCommentRow | None:
    """This comment's row; None where its commands were executed before, for another delivery about it."""
    made = insert(CommandCommentRow)
    first = await session.scalars(
        made.values(
            epic_id=epic_id,
            remote_id=comment.id,
            author=author,
            author_id=_author_id(comment),
            commands=[command_text(command) for command in asked if not isinstance(command, InvalidCommand)],
            at=at,
            digest=digest,
            outcome=outcome,
        )
        .on_conflict_do_update(
            index_elements=[CommandCommentRow.epic_id, CommandCommentRow.remote_id],
            set_={
                "commands": made.excluded.commands,
                "author": made.excluded.author,
                "author_id": made.excluded.author_id,
                "at": at,
                "digest": digest,
                "outcome": outcome,
            },
            where=CommandCommentRow.digest.is_distinct_from(digest),
        )
        .returning(CommandCommentRow)
    )
    return first.one_or_none()


async def _has_comment(session: AsyncSession, epic_id: int) -> bool:
    """Whether a comment of ours may be on the ticket: without one, no answer can be shown."""
    notice = (await session.scalars(select(NoticeRow).where(NoticeRow.epic_id == epic_id))).one_or_none()
    return notice is not None and may_be_on_ticket(notice)


@dataclass(frozen=True, slots=True)
class CommandResult:
    outcome: CommandOutcome
    evaluate: bool
    is_new: bool
    reaction_id: str | None


@dataclass
class _CommandRun:
    """One comment's commands on one epic. Only `help` and what cannot be done get an answer in words."""

    session: AsyncSession
    source: SourceRow
    epic: EpicRow
    author: str
    load_context: ContextLoader
    now: datetime
    checks: Sequence[Check[Any]]
    context: EvaluationContext | None = None
    explained: list[KeyResult] = field(default_factory=list)  # the answer tells why they no longer count
    linked: bool = False  # a link was made

    async def execute(self, asked: tuple[Command, ...]) -> str | None:
        answers: list[str] = []
        for command in asked:
            match command:
                case LinkCommand(keys):
                    answers += await self._link(keys)
                case SnoozeCommand(until):
                    answers += await self._snooze(until)
                case HelpCommand():
                    answers.append(help_text())
                case InvalidCommand(answer):
                    answers.append(answer)
        return joined_answer(answers)

    async def _context(self) -> EvaluationContext:
        """Loaded once, where a command of the comment needs it."""
        if self.context is None:
            self.context = await self.load_context(self.session, self.source, [self.epic.project])
        return self.context

    async def _link(self, keys: tuple[str, ...]) -> list[str]:
        context = await self._context()
        unknown: list[str] = []
        answer: list[str] = []
        for key in keys:
            why = f"linked by {self.author} in a comment"
            try:
                link, is_new = await link_manually(self.session, self.epic.id, key, "command", why, self.now)
            except Invalid:
                unknown.append(key)
                continue
            self.linked = self.linked or is_new
            goal = context.goals.key_results[link.key_result_id]
            why_not = why_not_live(goal, self.now)
            if why_not is None:
                continue
            if may_name(goal, self._public(context)):
                self.explained.append(goal)
                answer.append(not_live_text(goal.key, why_not))
            else:
                answer.append(not_live_text(goal.key, None))
        if unknown:
            answer.append(unknown_keys_text(unknown, await self._fitting(context)))
        return answer

    async def _fitting(self, context: EvaluationContext) -> list[str]:
        """Keys of live key results that fit the epic; where none fits, of the first that may be named."""
        suggested = await context.suggest(self.session, self.epic, self.now)
        fitting: list[KeyResult] = [one.key_result for one in suggested]
        known = context.goals.key_results.values()
        example = first_to_name(known, self._public(context), self.now)
        return [goal.key for goal in fitting or (example,) if goal is not None]

    def _public(self, context: EvaluationContext) -> bool:
        return context.project_info(self.epic.project).public

    async def _snooze(self, until: datetime) -> list[str]:
        why = f"snoozed by {self.author} in a comment"
        before = await change_shown(self.session, self.epic.id, self.checks, "snoozed", until, why)
        return [] if before in SNOOZABLE else [nothing_to_snooze_text(before)]
