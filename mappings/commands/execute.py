"""Executes the commands in a comment, each version of it once. `mappings.commands.parse` reads them; the
notice shows the answer.

A comment whose author may not give commands changes nothing. That is told once to each person and ticket, and
only in a comment of ours that has nothing else to answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from mappings import invalidate
from mappings.audit import set_actor
from mappings.checks.registry import CHECKS
from mappings.commands.acts import CommandRun
from mappings.commands.answers import NOT_ALLOWED
from mappings.commands.met import known_version
from mappings.commands.model import (
    Command,
    InvalidCommand,
    LinkCommand,
    MoveCommand,
    SuggestCommand,
    UnlinkCommand,
)
from mappings.commands.parse import parse_commands
from mappings.evaluation.context import EvaluationContext
from mappings.evaluation.load import may_be_on_ticket
from mappings.evaluation.operations import clear_answer
from mappings.locks import lock_epics, lock_goals_exclusive, lock_goals_shared, share_source
from mappings.runs.reevaluation import reevaluate_children
from mappings.tables import CommandCommentRow, EpicRow, NoticeRow, SourceRow

if TYPE_CHECKING:
    from datetime import datetime

    from connectors.comments import CommandOutcome, TicketComment
    from mappings.checks.check import Check

log = structlog.get_logger()

_AUTHOR_SHOWN = 100
_AUTHOR_ID_STORED = 200
_LINE_DIGEST = 8  # bytes of a line in a comment's digest; one more says whether it was done
_DONE, _NOT_DONE = b"\x01", b"\x00"
# Gives a source's context for the epics of some projects (`app.runtime.Runtime.evaluation_context`).
ContextLoader = Callable[[AsyncSession, SourceRow], Awaitable[EvaluationContext]]


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What became of a comment with commands, or with what is nearly one.

    `evaluate`: the epic is marked, and the caller has to open a run that evaluates it. `is_new`: False where
    this version of the comment was executed before; `outcome` is that of then. `reaction_id`: our reaction to
    it so far.
    """

    outcome: CommandOutcome
    evaluate: bool
    is_new: bool
    reaction_id: str | None


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

    Of an edited comment only the lines are executed that are new or could not be done before. The transaction
    is the caller's and must not have locked epics yet: the goals' lock comes first.
    """
    asked = commands_in(comment, now)
    if not asked or (not comment.may_steer and all(_is_near(command) for command in asked)):
        return None
    known = known_result(await known_version(session, epic.id, comment.id), asked)
    if known is not None:  # the usual case of a second delivery takes no lock
        return known
    if comment.may_steer:
        await _lock_goals(session, asked)
    await share_source(session, source.id)  # which the run that the caller opens refers to
    present = await lock_epics(session, [epic.id])
    if not present or present[0].removed_at is not None:
        return None
    stored = await known_version(session, epic.id, comment.id)
    known = known_result(stored, asked)  # another delivery may have come first
    if known is not None:
        return known
    row = stored or CommandCommentRow(
        epic_id=epic.id, remote_id=comment.id, commands=[], explained_key_result_ids=[], reaction_id=None
    )
    row.author, row.author_id = _author_name(comment), _author_id(comment)
    # Not before the last evaluation: what the next one changes is the effect of this command.
    at = present[0].evaluated_at
    row.at = now if at is None else max(now, at)
    if not comment.may_steer:
        return await _refuse(session, row, comment, asked, now)
    author = None if comment.restricted else row.author
    run = CommandRun(session, source, present[0], author, load_context, now, checks)
    return await _execute(run, row, asked)


def commands_in(comment: TicketComment, now: datetime) -> tuple[Command, ...]:
    """Its commands, and what is nearly one; none where it is ours."""
    return () if comment.ours else parse_commands(comment.lines, now, comment.our_name)


def _is_near(command: Command) -> bool:
    return isinstance(command, InvalidCommand) and command.near


async def _lock_goals(session: AsyncSession, asked: Sequence[Command]) -> None:
    if any(isinstance(command, LinkCommand | UnlinkCommand | MoveCommand) for command in asked):
        await lock_goals_exclusive(session)
    elif any(isinstance(command, SuggestCommand) for command in asked):
        await lock_goals_shared(session)


def _author_name(comment: TicketComment) -> str:
    """The name as it may be stored and shown: in one line, at most `_AUTHOR_SHOWN` characters."""
    return "".join(char for char in comment.author if char.isprintable())[:_AUTHOR_SHOWN] or "somebody"


def _author_id(comment: TicketComment) -> str | None:
    return None if comment.author_id is None else comment.author_id[:_AUTHOR_ID_STORED]


# --- versions of a comment ------------------------------------------------------------------------


def known_result(row: CommandCommentRow | None, asked: Sequence[Command]) -> CommandResult | None:
    """The result of then, where these commands were executed before.

    A comment of before there were digests was executed as it was, whatever stands there now; one of mistakes
    alone changed nothing yet.
    """
    if row is None:
        return None
    if row.digest is None:
        is_known = bool(row.commands)
    else:
        lines = [line for line, _ in _lines_of(row.digest)]
        is_known = lines == [_line_digest(command) for command in asked if command.typed]
    return (
        CommandResult(cast("CommandOutcome", row.outcome), False, False, row.reaction_id)
        if is_known
        else None
    )


def _line_digest(command: Command) -> bytes:
    return hashlib.sha256(command.typed.encode("utf-8", "replace")).digest()[:_LINE_DIGEST]


def _lines_of(digest: bytes) -> list[tuple[bytes, bool]]:
    """Each line of a comment's digest, in order, with whether it was done."""
    size = _LINE_DIGEST + 1
    parts = (digest[at : at + size] for at in range(0, len(digest), size))
    return [(part[:_LINE_DIGEST], part[_LINE_DIGEST:] == _DONE) for part in parts]


# --- acting ---------------------------------------------------------------------------------------


async def _execute(run: CommandRun, row: CommandCommentRow, asked: Sequence[Command]) -> CommandResult:
    session, epic, now = run.session, run.epic, run.now
    # Only the lines that are new, or could not be done in an earlier version.
    before = _lines_of(row.digest or b"")
    done = {line for line, was_done in before if was_done} - {
        line for line, was_done in before if not was_done
    }
    answered_mistake = row.answer is not None and row.outcome != "done"
    if not answered_mistake and all(_line_digest(command) in done for command in asked):
        # Lines were taken out of it, and nothing is asked anew.
        row.digest, row.outcome = b"".join(_line_digest(command) + _DONE for command in asked), "done"
        return CommandResult("done", False, False, row.reaction_id)
    set_actor(session, f"{run.source.name}: {row.author} on {epic.key}", row.author_id)
    await clear_answer(session, epic.id)
    digest, failed = b"", False
    for command in asked:
        line = _line_digest(command)
        is_done = line in done or await run.execute(command)
        failed = failed or not is_done
        digest += line + (_DONE if is_done else _NOT_DONE) if command.typed else b""
    row.digest, row.outcome = digest, "not_understood" if failed else "done"
    row.commands = [*run.done]
    row.answer = run.answer
    row.explained_key_result_ids = [*dict.fromkeys(run.explained)]
    session.add(row)
    await session.flush()
    await invalidate.mark_for_evaluation(session, [epic.id], now)
    if run.links_changed:
        await reevaluate_children(session, epic, now)
    log.info("command on a ticket", epic=epic.key, commands=len(run.done), answered=run.answer is not None)
    return CommandResult("not_understood" if failed else "done", True, True, row.reaction_id)


async def _refuse(
    session: AsyncSession,
    row: CommandCommentRow,
    comment: TicketComment,
    asked: Sequence[Command],
    now: datetime,
) -> CommandResult:
    """Record that the author may not give commands."""
    may_tell = not comment.restricted and await _may_tell(session, row)
    done = {line for line, was_done in _lines_of(row.digest or b"") if was_done}
    lines = [_line_digest(command) for command in asked if command.typed]
    row.digest = b"".join(line + (_DONE if line in done else _NOT_DONE) for line in lines)
    row.outcome, row.commands = "not_allowed", []
    if may_tell:
        row.answer, row.explained_key_result_ids, row.is_told = NOT_ALLOWED, [], True
        await invalidate.mark_for_evaluation(session, [row.epic_id], now)
    session.add(row)
    await session.flush()
    log.info("command without the right", epic_id=row.epic_id, answered=may_tell)
    return CommandResult("not_allowed", may_tell, True, row.reaction_id)


async def _may_tell(session: AsyncSession, row: CommandCommentRow) -> bool:
    """Whether a comment of ours stands that answers nobody else, and this person was not told before."""
    epic_id = row.epic_id
    notice = (await session.scalars(select(NoticeRow).where(NoticeRow.epic_id == epic_id))).one_or_none()
    if notice is None or not may_be_on_ticket(notice):
        return False
    comments = await session.execute(
        select(
            CommandCommentRow.answer.is_not(None),
            CommandCommentRow.is_told,
            CommandCommentRow.author_id,
            CommandCommentRow.author,
        ).where(CommandCommentRow.epic_id == epic_id)
    )
    return not any(
        answered or (is_told and (id or name) == (row.author_id or row.author))
        for answered, is_told, id, name in comments
    )
