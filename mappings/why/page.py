"""What the page behind "Why?" shows of an epic: what may stand on its ticket at this moment, and no more.

Everybody who has the page's address may read it, so it knows of goals what the ticket's readers may know: no
rule, no reason of a link, no parent's title.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC
from typing import TYPE_CHECKING, Literal

from sqlalchemy import func, select

from mappings.checks.check import EpicFacts
from mappings.evaluation.desired_notice import reason_on_ticket, why_no_warning
from mappings.evaluation.evaluator import evaluate_records
from mappings.evaluation.findings import shown_finding
from mappings.evaluation.load import load_records
from mappings.goals.key_results import KeyResult, may_name, public_words
from mappings.notices.text import DISPUTE, LINK, SNOOZE, waive_line
from mappings.policy.durations import last_day
from mappings.tables import CycleRow, EpicRow, KeyResultRow, LinkRow, ObjectiveRow
from mappings.why.choices import Choices, choices

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.checks.check import TicketWords
    from mappings.evaluation.context import EvaluationContext
    from mappings.evaluation.model import Finding, SetAside
    from mappings.evaluation.record import Evaluation
    from mappings.suggestions.material import Suggestion

State = Literal[
    "open", "grace", "snoozed", "disputed", "waived", "aligned", "exempt", "finished", "unchecked"
]
# In these somebody may still want to name a key result, in the second also to do something else instead.
_MAY_CHOOSE: frozenset[State] = frozenset(("open", "grace", "snoozed", "disputed"))
_MAY_DECLINE: frozenset[State] = _MAY_CHOOSE - {"disputed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A key result as the ticket may show it: its key, and its title, its public label or nothing. `reasons`:
    why it is suggested; `confident`: whether the comment on the ticket would show it too."""

    key: str
    words: str
    reasons: tuple[str, ...] = ()
    confident: bool = False

    @property
    def line(self) -> str:
        """The command that links it."""
        return LINK.format(key=self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declining:
    """The commands of who links nothing, as the comment on the ticket has them."""

    snooze: str
    waive: str
    dispute: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyPage:
    """`question` and `statement`: the check's own words, above `ended`: the key results that it is about,
    each with its reason. `serves`: the key results that count. `until` is the last day of a snooze or waiver,
    `reason` that of a waiver. `offered` are suggested; `others` are of this page of `choices`, None where
    nothing is asked. `declining` is None where it would change nothing. `unknown`: what the ticket names that
    is no key, in sentences."""

    key: str
    url: str
    title: str
    state: State
    read_at: datetime
    question: str | None = None
    statement: str | None = None
    ended: tuple[Named, ...] = ()
    serves: tuple[Named, ...] = ()
    until: str | None = None
    reason: str | None = None
    offered: tuple[Named, ...] = ()
    others: tuple[Named, ...] = ()
    choices: Choices | None = None
    declining: Declining | None = None
    unknown: tuple[str, ...] = ()
    check: str | None = None
    opened_at: datetime | None = None


async def why_page(
    session: AsyncSession,
    context: EvaluationContext,
    row: EpicRow,
    now: datetime,
    *,
    words: str = "",
    page: int = 1,
) -> WhyPage:
    """The page of an epic that is in a list; a fixed number of statements, and nothing is written."""
    (records,) = await load_records(session, [row])
    (evaluation,) = await evaluate_records(session, [records], context, now)
    evaluated, public = evaluation.evaluated, evaluation.evaluated.public
    shown = shown_finding(evaluation.decision.ticket_findings)
    state = _state(evaluation, shown, context)
    suggestions: Sequence[Suggestion] = ()
    listed: Choices | None = None
    if state in _MAY_CHOOSE:
        suggestions = [
            one for one in await context.suggest(session, row, now) if may_name(one.key_result, public)
        ]
        offered = {one.key_result.id for one in suggestions}
        listed = choices(
            [goal for goal in context.goals.key_results.values() if words or goal.id not in offered],
            later=await _of_later_cycles(session, now),
            linked=await _served(session, row),
            ticket_is_public=public,
            now=now,
            words=words,
            page=page,
        )
    aside = evaluation.decision.set_aside if state == "waived" else None
    words_of_check = _words(evaluation, shown, context, now) if state in _MAY_CHOOSE else None
    return WhyPage(
        key=row.key,
        url=row.url,
        title=row.title,
        state=state,
        read_at=evaluated.read_at,
        question=None if words_of_check is None else words_of_check.question,
        statement=None if words_of_check is None else words_of_check.statement,
        ended=tuple(_named(goal, public, (why,)) for goal, why in words_of_check.goals)
        if words_of_check
        else (),
        serves=tuple(_named(link.key_result, public) for link in evaluation.resolution.links if link.live),
        until=_until(shown or aside),
        reason=reason_on_ticket(shown, aside, evaluated) if state == "waived" else None,
        offered=tuple(
            replace(_named(one.key_result, public, one.reasons), confident=one.confident)
            for one in sorted(suggestions, key=lambda one: not one.confident)
        ),
        others=() if listed is None else tuple(_named(goal, public) for goal in listed.items),
        choices=listed,
        declining=Declining(snooze=SNOOZE, waive=waive_line(now), dispute=DISPUTE)
        if state in _MAY_DECLINE
        else None,
        unknown=tuple(f"{one.sentence}." for one in evaluation.resolution.unknown),
        check=None if shown is None else shown.check,
        opened_at=None if shown is None else shown.opened_at,
    )


def _until(of: Finding | SetAside | None) -> str | None:
    return None if of is None or of.until is None else last_day(of.until)


def _named(goal: KeyResult, public: bool, reasons: tuple[str, ...] = ()) -> Named:
    return Named(key=goal.key, words=public_words(goal, public).strip(), reasons=reasons)


def _state(evaluation: Evaluation, shown: Finding | None, context: EvaluationContext) -> State:
    decision, evaluated = evaluation.decision, evaluation.evaluated
    if decision.alignment == "aligned" and shown is None:
        return "aligned"
    if decision.alignment == "exempt":
        return "finished" if decision.exempt_reason == "finished" else "exempt"
    policy = context.policy_for(evaluated.epic.project)
    if shown is None and decision.set_aside is not None and why_no_warning(evaluated, policy) is None:
        return "waived"
    if shown is None or shown.state == "resolved" or why_no_warning(evaluated, policy) is not None:
        return "unchecked"
    if shown.state != "open":
        return shown.state
    notice = decision.notice
    return "grace" if notice is not None and notice.reason == "grace" else "open"


def _words(
    evaluation: Evaluation, shown: Finding | None, context: EvaluationContext, now: datetime
) -> TicketWords | None:
    check = next((one for one in context.checks if shown is not None and one.name == shown.check), None)
    if check is None or check.words is None:
        return None
    evaluated = evaluation.evaluated
    return check.words(EpicFacts(evaluated.epic, evaluated.resolution), evaluated.public, now)


async def _served(session: AsyncSession, row: EpicRow) -> dict[int, int]:
    """How many epics of its project are linked to each key result, by the key result's id."""
    counts = await session.execute(
        select(LinkRow.key_result_id, func.count())
        .join(EpicRow, EpicRow.id == LinkRow.epic_id)
        .where(EpicRow.source_id == row.source_id, EpicRow.project == row.project)
        .where(EpicRow.removed_at.is_(None))
        .group_by(LinkRow.key_result_id)
    )
    return {key_result_id: count for key_result_id, count in counts}


async def _of_later_cycles(session: AsyncSession, now: datetime) -> frozenset[int]:
    """The ids of the key results whose cycle has not begun."""
    later = (
        select(KeyResultRow.id)
        .join(ObjectiveRow, ObjectiveRow.id == KeyResultRow.objective_id)
        .join(CycleRow, CycleRow.id == ObjectiveRow.cycle_id)
        .where(CycleRow.starts > now.astimezone(UTC).date())
    )
    return frozenset(await session.scalars(later))
