"""What a person may do to a finding: snooze, waive, dispute, reopen; decide a dispute.

The caller has the epic evaluated before it answers. On a goal or a source nothing is to be evaluated then:
only the state of the finding changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import select, update

from mappings.audit import actor_of
from mappings.checks.registry import CHECKS, checks_on_tickets
from mappings.errors import Conflict, NotFound, check_values
from mappings.evaluation.findings import shown_row
from mappings.evaluation.model import SET_ASIDE_WORDS
from mappings.locks import lock_epics, share_source
from mappings.policy.durations import LONGEST_DAYS, parse_until
from mappings.runs.reevaluation import ChangedEpic, open_evaluation
from mappings.tables import CommandCommentRow, EpicRow, FindingRow
from mappings.values import line_error

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.checks.check import Check
    from mappings.evaluation.model import FindingState

# The checks of epics whose findings bear on alignment.
BEARING = tuple(check.name for check in CHECKS if check.about == "epic" and check.bears_on_alignment)
# A command changes a finding in one of these states: a person may think again. A dispute waits for an editor.
CHANGED_BY_COMMANDS = ("open", "snoozed", "waived")


@dataclass(frozen=True, slots=True)
class AskedState:
    """What a person asks of a finding. `of_disputed`: a dispute is decided, so it must be disputed."""

    state: FindingState
    until: datetime | None = None
    reason: str | None = None
    of_disputed: bool = False


OPEN, UPHELD = AskedState("open"), AskedState("open", of_disputed=True)


def waiver(until: str, reason: str, now: datetime) -> AskedState:
    """Until a day or time, as people write it. Raises `Invalid` that names all that is wrong."""
    return _asked("waived", until, reason, now)


def snooze(until: str, reason: str | None, now: datetime) -> AskedState:
    """As `waiver`."""
    return _asked("snoozed", until, reason, now)


def dismissal(reason: str, now: datetime) -> AskedState:
    """A waiver as long as one may last, so that somebody looks again after a year. Raises `Invalid`."""
    check_values([("reason", reason_error(reason))])
    until = parse_until(now.astimezone(UTC).date() + timedelta(days=LONGEST_DAYS), now)
    return AskedState("waived", until, reason, of_disputed=True)


def why_not_changed(row: FindingRow, asked: AskedState) -> str | None:
    """Why the finding cannot be changed so; None where it can."""
    if row.state == "resolved":
        return "The finding is resolved; there is nothing to waive, snooze or reopen."
    if asked.of_disputed and row.state != "disputed":
        return f"The finding is {row.state}, not disputed; there is nothing to decide."
    return None


def _why_not_opened(row: FindingRow, epic: EpicRow | None, asked: AskedState, now: datetime) -> str | None:
    """Why a finding cannot be open again: a decision sets its epic aside, and the next evaluation would waive
    it again."""
    if epic is None or epic.set_aside is None or asked.state != "open" or row.check not in BEARING:
        return None
    if epic.set_aside_until is not None and epic.set_aside_until <= now:
        return None
    done = SET_ASIDE_WORDS[epic.set_aside]
    return (
        f"{epic.key} is {done} by decision {epic.set_aside_decision_id}, and waived as long as that holds."
        " Undo the decision, or take another one."
    )


async def waive_finding(
    session: AsyncSession, finding_id: int, until: str, reason: str, now: datetime
) -> ChangedEpic | None:
    """Accept a gap until a day or time, as people write it. None where the gap is not an epic's.
    Raises `NotFound`, `Conflict`, `Invalid`."""
    return await _change(session, finding_id, waiver(until, reason, now), now)


async def snooze_finding(
    session: AsyncSession, finding_id: int, until: str, reason: str | None, now: datetime
) -> ChangedEpic | None:
    """Be silent about a gap until a day or time. None where the gap is not an epic's.
    Raises `NotFound`, `Conflict`, `Invalid`."""
    return await _change(session, finding_id, snooze(until, reason, now), now)


async def reopen_finding(session: AsyncSession, finding_id: int, now: datetime) -> ChangedEpic | None:
    """End a waiver, snooze or dispute. None where the gap is not an epic's. Raises `NotFound`, `Conflict`."""
    return await _change(session, finding_id, OPEN, now)


async def uphold_finding(session: AsyncSession, finding_id: int, now: datetime) -> ChangedEpic | None:
    """Decide that a disputed finding stands: it is open again. None where the gap is not an epic's. Raises
    `NotFound`, and `Conflict` where it is not disputed."""
    return await _change(session, finding_id, UPHELD, now)


async def dismiss_finding(
    session: AsyncSession, finding_id: int, reason: str, now: datetime
) -> ChangedEpic | None:
    """Decide that a disputed finding does not hold here: it is waived, and the ticket says until when and why
    in the usual words. None where the gap is not an epic's. Raises `NotFound`, `Invalid`, and `Conflict`
    where it is not disputed."""
    return await _change(session, finding_id, dismissal(reason, now), now)


def reason_error(reason: str | None) -> str | None:
    """What is wrong with a reason, in words: it stands in one line of the ticket."""
    if reason is not None and len(reason.splitlines()) > 1:
        return "must be one line"
    return line_error(reason)


def _asked(state: FindingState, until: str, reason: str | None, now: datetime) -> AskedState:
    wrong, end = None, None
    try:
        end = parse_until(until, now)
    except ValueError as error:
        wrong = str(error)
    check_values([("reason", reason_error(reason)), ("until", wrong)])
    return AskedState(state, end, reason)


async def _change(
    session: AsyncSession, finding_id: int, asked: AskedState, now: datetime
) -> ChangedEpic | None:
    row, epic = await _locked(session, finding_id)
    why_not = why_not_changed(row, asked) or _why_not_opened(row, epic, asked, now)
    if why_not is not None:
        raise Conflict(why_not)
    await set_finding(session, row, asked.state, asked.until, asked.reason, now)
    return None if epic is None else await open_evaluation(session, epic, now)


async def _locked(session: AsyncSession, finding_id: int) -> tuple[FindingRow, EpicRow | None]:
    """A finding and its epic, if it has one, so locked that no evaluation undoes the change."""
    row = await session.get(FindingRow, finding_id)
    if row is not None and row.epic_id is None:
        row = await session.get(FindingRow, finding_id, populate_existing=True, with_for_update=True)
    if row is None:
        raise NotFound.of("finding", finding_id)
    if row.epic_id is None:
        return row, None
    # The source before the epic, as its deletion locks them: the run that is opened refers to it. The epic
    # before the finding, as the evaluator does.
    source_id = await session.scalar(select(EpicRow.source_id).where(EpicRow.id == row.epic_id))
    if source_id is not None:
        await share_source(session, source_id)
    epics = await lock_epics(session, [row.epic_id])
    if not epics:  # deleted with its source meanwhile
        raise NotFound.of("finding", finding_id)
    await session.refresh(row)
    return row, epics[0]


async def change_shown(
    session: AsyncSession,
    epic_id: int,
    checks: Iterable[Check[Any]],
    state: FindingState,
    until: datetime | None,
    reason: str | None,
    now: datetime,
) -> FindingState | None:
    """Snooze, waive or dispute the finding that the ticket of this epic shows, if its state is one of
    `CHANGED_BY_COMMANDS`.

    `until` is as `parse_until` gives it, and `reason` as `reason_error` allows it. Returns the state that the
    finding had, `disputed` where it stays so; None where the ticket shows none. The caller has locked the
    epic, and has it evaluated again.
    """
    on_tickets = checks_on_tickets(checks)
    rows = await session.scalars(
        select(FindingRow)
        .where(FindingRow.epic_id == epic_id, FindingRow.state != "resolved")
        .where(FindingRow.check.in_(on_tickets))
        .order_by(FindingRow.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    row = shown_row(rows, on_tickets)
    if row is None:
        return None
    before = cast("FindingState", row.state)
    if before in CHANGED_BY_COMMANDS:
        await set_finding(session, row, state, until, reason, now)
    return before


async def set_finding(
    session: AsyncSession,
    row: FindingRow,
    state: FindingState,
    until: datetime | None,
    reason: str | None,
    now: datetime,
) -> None:
    """Give an unresolved finding the state a person asks for. Where the ticket shows it, the answer to an
    earlier command is cleared. An open one keeps nobody's name.

    Of the operations above and of commands, which have locked the epic, and have it evaluated again.
    """
    row.state, row.until, row.reason = state, until, reason
    row.by, row.changed_at = (None, None) if state == "open" else (actor_of(session), now)
    if row.epic_id is not None and row.check in checks_on_tickets():
        await clear_answer(session, row.epic_id)


async def clear_answer(session: AsyncSession, epic_id: int) -> None:
    """Remove the answer to a command from the epic's notice."""
    await session.execute(
        update(CommandCommentRow)
        .where(CommandCommentRow.epic_id == epic_id, CommandCommentRow.answer.is_not(None))
        .values(answer=None)
    )
