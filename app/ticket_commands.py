"""The commands in a comment, whether a webhook or a sync has met it: executed once, and acknowledged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from app.evaluation import evaluate_these
from connectors.base import CommentRef, ConnectorError, EpicRef, Unavailable
from mappings.commands.execute import CommandResult, commands_in, execute_commands, known_result
from mappings.commands.met import known_version, store_reaction
from mappings.commands.model import SuggestCommand
from mappings.policy.modes import mode_in
from mappings.tables import SourceRow
from mappings.webhooks.queue import is_our_comment

if TYPE_CHECKING:
    from app.runtime import Runtime
    from connectors.base import Account, Connector
    from connectors.comments import CommandOutcome, TicketComment
    from mappings.tables import EpicRow

log = structlog.get_logger()

# Joins or opens the run that evaluates the epic of a command, in the transaction of the command; its id.
OpenRun = Callable[[AsyncSession], Awaitable[int]]

# Where only the acknowledgement was lost, it is made up for within this time, and no later.
ACKNOWLEDGED_WITHIN = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ExecutedComment:
    """What became of a comment: it says nothing to us, it is ours, its author may not steer the ticket, or
    its commands were executed, now or before. `run_id`: the run that evaluates the epic, where one is
    opened. `evaluate`: the epic is marked for evaluation. `unacknowledged`: why its acknowledgement is still
    to be sent, by another call."""

    what: Literal["nothing", "own", "not_allowed", "executed"]
    run_id: int | None = None
    evaluate: bool = False
    unacknowledged: Unavailable | None = None


@dataclass
class TicketCommands:
    """Executes the commands in comments on tickets of `source`.

    Least is asked of the tracker: nothing more for a comment without a word for us, nothing for a version
    that was executed before.
    """

    runtime: Runtime
    source: SourceRow
    connector: Connector
    _account: Account | None = field(default=None, init=False)
    _silence: Unavailable | None = field(default=None, init=False)  # of the acknowledgements

    async def execute(
        self, epic: EpicRow, comment: TicketComment, open_run: OpenRun | None = None
    ) -> ExecutedComment:
        """Execute the commands in a comment as `read_comment` gives it, and acknowledge them.

        Without `open_run` the caller evaluates the epics that are marked. The commands are stored before the
        acknowledgement is sent: whoever calls this again sends that alone. Raises the connector's errors; of
        the acknowledgement only `Unavailable` with a time to wait, which concerns every call.
        """
        if comment.ours:
            return ExecutedComment("own")
        comment = await self._with_our_name(comment)
        async with self.runtime.sessions() as session:
            now = await self.runtime.now(session)
            asked = commands_in(comment, now)
            if not asked:
                return ExecutedComment("nothing")
            if await is_our_comment(session, self.source.id, comment.id):
                return ExecutedComment("own")
            known = await known_version(session, epic.id, comment.id)
        before = known_result(known, asked)
        if known is not None and before is not None:
            silence = None
            if now - known.at < ACKNOWLEDGED_WITHIN:
                silence = await self._acknowledge(epic, comment, before.outcome, before.reaction_id)
            return ExecutedComment(_what(before), unacknowledged=silence)
        found = await self.connector.with_right(EpicRef(epic.remote_id, epic.key), comment)
        if found is None:
            return ExecutedComment("nothing")
        if found.ours:
            return ExecutedComment("own")
        if found.may_steer and any(isinstance(command, SuggestCommand) for command in asked):
            await self._prepare_suggestions(epic)
        run_id = await self._evaluate_first(epic, open_run)
        result, run_id = await self._execute(epic, found, open_run, run_id)
        if result is None:
            return ExecutedComment("nothing", run_id)
        silence = await self._acknowledge(epic, comment, result.outcome, result.reaction_id)
        return ExecutedComment(_what(result), run_id, result.evaluate, silence)

    async def _with_our_name(self, comment: TicketComment) -> TicketComment:
        """With the name of Northing's account, where the comment may begin with it and it is no person's."""
        if not any(line.text.lstrip().startswith("@") for line in comment.lines):
            return comment
        if self._account is None:
            self._account = await self.connector.account()
        return replace(comment, our_name=self._account.name) if self._account.is_program else comment

    async def _prepare_suggestions(self, epic: EpicRow) -> None:
        """Before the transaction that locks goals and the epic."""
        async with self.runtime.sessions() as session:
            context = await self.runtime.evaluation_context(session, self.source)
            await context.prepare_suggestions(session, epic.project, await self.runtime.now(session))

    async def _evaluate_first(self, epic: EpicRow, open_run: OpenRun | None) -> int | None:
        """Evaluate an epic that was stored just now: a command may be about its findings. The run's id."""
        if epic.evaluated_at is not None or open_run is None:
            return None
        async with self.runtime.transaction() as session:
            run_id = await open_run(session)
        await evaluate_these(self.runtime, self.source, run_id, [epic.id], None)
        return run_id

    async def _execute(
        self, epic: EpicRow, comment: TicketComment, open_run: OpenRun | None, run_id: int | None
    ) -> tuple[CommandResult | None, int | None]:
        async with self.runtime.transaction() as session:
            context, now = self.runtime.evaluation_context, await self.runtime.now(session)
            result = await execute_commands(
                session, self.source, epic, comment, context, now, self.runtime.checks
            )
            if result is not None and result.evaluate and open_run is not None:
                run_id = await open_run(session)
        return result, run_id

    async def _acknowledge(
        self, epic: EpicRow, comment: TicketComment, outcome: CommandOutcome, former: str | None
    ) -> Unavailable | None:
        """Only where notices are live: else nothing is written to the tracker. Why it is still to be sent,
        where it is: who waits for their own command must not wait for this. After one none is tried again
        here, for each may take as long as a call may."""
        async with self.runtime.sessions() as session:
            source = await session.get(SourceRow, self.source.id, populate_existing=True)
        if source is None or source.disconnecting_at is not None:
            return None
        if mode_in(source.notices, epic.project, source.named_projects) != "live":
            return None
        if self._silence is not None:
            return self._silence
        ref = CommentRef(EpicRef(epic.remote_id, epic.key), comment.id)
        try:
            reaction = await self.connector.acknowledge(ref, outcome, former)
        except Unavailable as error:
            if error.has_retry_after:
                raise
            log.warning("command not acknowledged yet", epic=epic.key, reason=error.message)
            self._silence = error
            return error
        except ConnectorError as error:
            log.warning("command not acknowledged", epic=epic.key, reason=error.message)
            return None
        if reaction != former:
            async with self.runtime.sessions.begin() as session:
                await store_reaction(session, epic.id, comment.id, reaction)
        return None


def _what(result: CommandResult) -> Literal["not_allowed", "executed"]:
    return "not_allowed" if result.outcome == "not_allowed" else "executed"
