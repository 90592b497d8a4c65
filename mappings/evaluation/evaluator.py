"""The one way in which epics are evaluated: their rows are loaded, evaluated and recorded.

The sync, a change that a person makes and the writer before it writes call `evaluate_epics`; what only shows
an epic calls `evaluate_records`, which records nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, cast

from mappings.evaluation.evaluate import decide
from mappings.evaluation.explain import Explained
from mappings.evaluation.load import EpicRecords, epic_of, finding_of, load_records, may_be_on_ticket
from mappings.evaluation.model import CurrentNotice, EvaluationInput, History
from mappings.evaluation.record import Evaluation, record_evaluations
from mappings.links.resolve import ManualLink, Resolution, resolve
from mappings.tables import MANUAL_ORIGINS, EpicRow, NoticeRow

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from connectors.base import Epic, MissingReason
    from mappings.evaluation.context import EvaluationContext
    from mappings.notices.transitions import NoticeState

EVALUATED_AT_A_TIME = 100


async def evaluate_epics(
    session: AsyncSession,
    rows: Sequence[EpicRow],
    context: EvaluationContext,
    run_id: int,
    now: datetime,
    *,
    claim: str | None = None,
) -> tuple[list[Evaluation], int]:
    """Load, evaluate and record the epics of `rows`, which the caller has locked; the evaluations in this
    order, and how many notices became held.

    The caller holds the goals' lock, and, but for the writer, the projects' rows. Notices that are to be
    written are queued for `run_id`. `claim` is the owner of the writer's own claim, which has sent no request
    yet; the owner of any other claim may have put a comment on the ticket.
    """
    evaluations = await evaluate_records(await load_records(session, rows), context, now, claim=claim)
    return evaluations, await record_evaluations(session, evaluations, context, run_id, now)


async def evaluate_records(
    found: Sequence[EpicRecords], context: EvaluationContext, now: datetime, *, claim: str | None = None
) -> list[Evaluation]:
    """Evaluate epics of one source, parents before their children; the evaluations in the order of `found`.

    Other tasks may run in between.
    """
    done: dict[int, Evaluation] = {}
    by_key: dict[str, Evaluation] = {}
    for number, records in enumerate(parents_first(found), 1):
        row = records.row
        parent = None if row.parent_key is None else by_key.get(row.parent_key)
        done[row.id] = by_key[row.key] = _evaluate(records, context, now, claim, parent)
        if not number % EVALUATED_AT_A_TIME:
            await asyncio.sleep(0)
    return [done[records.row.id] for records in found]


def parents_first(found: Sequence[EpicRecords]) -> Iterable[EpicRecords]:
    """The epics in an order in which each comes after its parent, where that is among them. Of epics that are
    their own ancestors, the one that is met first comes last.

    Two epics may have one key: one that was removed keeps the key that a later one has. The later one, by its
    id, is the parent of those that name the key.
    """
    by_key = {records.row.key: records for records in sorted(found, key=lambda one: one.row.id)}
    if not any(records.row.parent_key in by_key for records in found):
        return found
    ordered: dict[int, EpicRecords] = {}
    for records in found:
        line: dict[int, EpicRecords] = {}
        above: EpicRecords | None = records
        while above is not None and above.row.id not in ordered and above.row.id not in line:
            line[above.row.id] = above
            above = by_key.get(above.row.parent_key or "")
        ordered.update(reversed(line.items()))
    return ordered.values()


def _resolve(records: EpicRecords, epic: Epic, context: EvaluationContext, now: datetime) -> Resolution:
    manual_links = [
        ManualLink(link.key_result_id, link.origin, link.why)
        for link in records.links
        if link.origin in MANUAL_ORIGINS
    ]
    return resolve(context.source.name, epic, records.row.ticket_references, manual_links, context.goals, now)


def _evaluate(
    records: EpicRecords,
    context: EvaluationContext,
    now: datetime,
    claim: str | None,
    parent: Evaluation | None,
) -> Evaluation:
    evaluated = _input(records, context, now, parent)
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


def _input(
    records: EpicRecords, context: EvaluationContext, now: datetime, parent: Evaluation | None
) -> EvaluationInput:
    project_info = context.project_info(records.row.project)
    epic = epic_of(records.row, context.former_names(records.row.project))
    return EvaluationInput(
        epic=epic,
        resolution=_resolve(records, epic, context, now),
        connected_at=context.source.created_at,
        read_at=records.row.read_at,
        public=project_info.public,
        service_desk=project_info.service_desk,
        fresh=project_info.fresh and records.row.remote_id not in context.unreadable,
        removal_reason=cast("MissingReason | None", records.row.removal_reason),
        page_url=context.page_url(epic.key),
        accepts_commands=context.accepts_commands,
        suggest=partial(context.suggest, epic, now),
        parent=None if parent is None else parent.resolution,
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
    )
