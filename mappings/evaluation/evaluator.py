"""The one way in which epics are evaluated: their rows are loaded, evaluated and recorded.

The sync, a change that a person makes and the writer before it writes call `evaluate_epics`; what only shows
an epic calls `evaluate_records`, which records nothing.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, cast

from mappings.evaluation.evaluate import decide
from mappings.evaluation.explain import Explained
from mappings.evaluation.load import (
    EVALUATED_COLUMNS,
    EpicRecords,
    epic_of,
    finding_of,
    load_records,
    may_be_on_ticket,
)
from mappings.evaluation.model import CurrentNotice, EvaluationInput, History
from mappings.evaluation.record import Evaluation, record_evaluations
from mappings.links.inheritance import ancestors, with_inherited
from mappings.links.resolve import Ancestor, ManualLink, Resolution, ResolvedLink, resolve
from mappings.parents import Above, ChangedParent, load_above, prefer_indexes
from mappings.policy.names import former_names
from mappings.runs.reevaluation import reevaluate_below
from mappings.tables import MANUAL_ORIGINS, EpicRow, LinkRow, NoticeRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from connectors.base import Epic, MissingReason
    from mappings.evaluation.context import EvaluationContext
    from mappings.notices.transitions import NoticeState

EVALUATED_AT_A_TIME = 50
_NOT_STORED_YET = 2**63 - 1  # the id of a link that comes after all that are stored


async def evaluate_epics(
    session: AsyncSession,
    rows: Sequence[EpicRow],
    context: EvaluationContext,
    run_id: int,
    now: datetime,
    *,
    claim: str | None = None,
    affected_run: int | None = None,
) -> tuple[list[Evaluation], int]:
    """Load, evaluate and record the epics of `rows`, which the caller has locked; the evaluations in this
    order, and how many notices became held.

    The caller holds the goals' lock, and, but for the writer, the projects' rows. Notices that are to be
    written are queued for `run_id`. `claim` is the owner of the writer's own claim, which has sent no request
    yet; the owner of any other claim may have put a comment on the ticket. Epics below one whose own links
    have changed are left to runs that evaluate what their causes affect: to `affected_run` those of its own
    source, if that is what the caller executes.
    """
    records = await load_records(session, rows)
    await prefer_indexes(session, rows)
    evaluations = await evaluate_records(session, records, context, now, claim=claim)
    recorded = await record_evaluations(session, evaluations, context, run_id, now)
    changed = [_changed_parent(row, context) for row in recorded.passing_on]
    own = None if affected_run is None else (context.source.id, affected_run)
    await reevaluate_below(session, changed, [row.id for row in rows], now, own=own)
    return evaluations, recorded.held


def _changed_parent(row: EpicRow, context: EvaluationContext) -> ChangedParent:
    """Of an epic that was never evaluated, what is below has been evaluated by its ticket as it is: the
    transaction that stored it saw to that (`runs.reevaluation.reevaluate_below_tickets`)."""
    of_goals = row.evaluated_at is None or row.evaluated_version is not None
    return ChangedParent(row.id, row.key, context.version if of_goals else None)


async def evaluate_records(
    session: AsyncSession,
    found: Sequence[EpicRecords],
    context: EvaluationContext,
    now: datetime,
    *,
    claim: str | None = None,
) -> list[Evaluation]:
    """Evaluate epics of one source, by the epics above them as they are; the evaluations in the order of
    `found`. It writes nothing. Other tasks may run in between.
    """
    above = await load_above(session, [records.row for records in found], EVALUATED_COLUMNS)
    lines = _Lines(context, now, above, {records.row.id: records for records in found})
    evaluations: list[Evaluation] = []
    for number, records in enumerate(found, 1):
        evaluations.append(_evaluate(records, context, now, claim, lines))
        if not number % EVALUATED_AT_A_TIME:
            await asyncio.sleep(0)
    return evaluations


class _Lines:
    """The links of the epics of a slice and of all above them. The own links of each are found once."""

    def __init__(
        self, context: EvaluationContext, now: datetime, above: Above, found: Mapping[int, EpicRecords]
    ) -> None:
        self._context, self._now, self._above, self._found = context, now, above, found
        self._own: dict[int, Resolution] = {}
        # Each look at a member of a row of the session costs more than the rest of what is done with it here.
        self._source, self.connected_at = context.source.name, context.source.created_at

    def resolution(self, records: EpicRecords, epic: Epic) -> Resolution:
        """The epic's links, inherited ones too. One that is removed inherits nothing: what is below a changed
        parent is evaluated without it, and nobody else could take such a link away."""
        row = records.row
        own = self._own.get(row.id)
        if own is None:
            own = self._own[row.id] = self._resolve(self._source, epic, row, records.links)
        if own.aligned or row.removal_reason is not None or row.id not in self._above.parents:
            return own
        return with_inherited(own, map(self._passing_on, ancestors(row.id, self._above.parents.get)))

    def _passing_on(self, id: int) -> tuple[Ancestor, Sequence[ResolvedLink]]:
        """An epic above with its own links, oldest first."""
        if records := self._found.get(id):
            row, links = records.row, records.links
            source, named = self._source, self._context.source.named_projects
        else:
            other = self._above.rows[id]
            row, links = other, self._above.links.get(id, ())
            source, named = other.source_name, other.named_projects
        own = self._own.get(id)
        if own is None:
            epic = epic_of(row, former_names(named, row.project))
            own = self._own[id] = self._resolve(source, epic, row, links)
        ids = {(link.key_result_id, link.origin): link.id for link in links}
        oldest = sorted(
            own.links, key=lambda link: ids.get((link.key_result.id, link.origin), _NOT_STORED_YET)
        )
        return Ancestor(id, source, row.key, row.title), oldest

    def _resolve(self, source: str, epic: Epic, row: EpicRow, links: Sequence[LinkRow]) -> Resolution:
        manual_links = [
            ManualLink(link.key_result_id, link.origin, link.why, link.weight, link.is_primary)
            for link in links
            if link.origin in MANUAL_ORIGINS
        ]
        return resolve(source, epic, row.ticket_references, manual_links, self._context.goals, self._now)


def _evaluate(
    records: EpicRecords,
    context: EvaluationContext,
    now: datetime,
    claim: str | None,
    lines: _Lines,
) -> Evaluation:
    evaluated = _input(records, context, now, lines)
    notice = None if records.notice is None else _current_notice(records.notice, claim)
    decision = decide(
        evaluated,
        context.goals.key_results,
        context.policy_for(evaluated.epic.project),
        context.mode_for(evaluated.epic.project),
        History(
            {found.check: finding_of(found) for found in records.findings},
            notice,
            records.answer,
            records.commanded,
        ),
        now,
        context.checks,
    )
    return Evaluation(
        records.row,
        records.links,
        records.findings,
        records.notice,
        evaluated,
        decision,
        on_ticket=notice is not None and notice.on_ticket,
    )


def explained(evaluation: Evaluation, context: EvaluationContext) -> Explained:
    """An evaluation with all that `explain` takes."""
    row, notice = evaluation.row, evaluation.notice
    policy = context.policy_for(row.project)
    return Explained(
        source=context.source.name,
        evaluated=evaluation.evaluated,
        decision=evaluation.decision,
        goals=context.goals,
        policy=policy,
        mode=context.mode_for(row.project),
        scope=None if policy.scope is None else context.policy.scopes[policy.scope],
        notice=None if notice is None else _current_notice(notice, None),
        notice_detail=None if notice is None else notice.detail,
        evaluated_at=row.evaluated_at,
        checks=context.checks,
    )


def _input(records: EpicRecords, context: EvaluationContext, now: datetime, lines: _Lines) -> EvaluationInput:
    project_info = context.project_info(records.row.project)
    epic = epic_of(records.row, context.former_names(records.row.project))
    return EvaluationInput(
        epic=epic,
        resolution=lines.resolution(records, epic),
        connected_at=lines.connected_at,
        read_at=records.row.read_at,
        public=project_info.public,
        service_desk=project_info.service_desk,
        fresh=project_info.fresh and records.row.remote_id not in context.unreadable,
        removal_reason=cast("MissingReason | None", records.row.removal_reason),
        page_url=partial(context.page_url, records.row),
        set_aside=records.set_aside,
    )


def _current_notice(row: NoticeRow, claim: str | None) -> CurrentNotice:
    return CurrentNotice(
        state=cast("NoticeState", row.state),
        since=row.updated_at,
        on_ticket=may_be_on_ticket(row, claim),
        posted_hash=row.posted_hash,
        mentioned_key_result_ids=tuple(row.mentioned_key_result_ids),
        guard_reason=row.guard_reason if row.guard == "held" else None,
        withdrawing=row.withdraw_action is not None,
        comment_id_unknown=row.comment_id_unknown,
        answering=row.answers and row.target is not None,
    )
