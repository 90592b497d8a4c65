"""The text of a notice, composed where it is asked for or written. No evaluation composes one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from connectors.document import Document
    from mappings.evaluation.context import EvaluationContext
    from mappings.evaluation.model import DesiredNotice
    from mappings.evaluation.record import Evaluation
    from mappings.tables import NoticeRow


@dataclass(frozen=True, slots=True)
class ComposedText:
    """A desired text: the document to send, `body` as people will find it on the ticket, and the key results
    whose titles it shows."""

    document: Document
    body: str
    mentioned_key_result_ids: tuple[int, ...]


async def compose(
    session: AsyncSession,
    evaluation: Evaluation,
    desired: DesiredNotice,
    context: EvaluationContext,
    now: datetime,
) -> ComposedText:
    """The text of a desired notice as the writer would send it now."""
    ((_, text),) = await compose_all(session, [(evaluation, desired)], context, now)
    return text


async def compose_all(
    session: AsyncSession,
    desired: Sequence[tuple[Evaluation, DesiredNotice]],
    context: EvaluationContext,
    now: datetime,
) -> list[tuple[Evaluation, ComposedText]]:
    """The same of many, in as many statements. Key results are suggested for a full text alone: one line
    shows none."""
    full = [evaluation.row for evaluation, notice in desired if notice.target in (None, "posted")]
    suggestions = await context.suggest_confidently(session, full, now)
    composed = []
    for evaluation, notice in desired:
        text = notice.compose(suggestions.get(evaluation.row.id, ()))
        body = context.render(text.document, context.signer.marker(evaluation.row))
        composed.append((evaluation, ComposedText(text.document, body, text.mentioned_key_result_ids)))
    return composed


def is_unwritten(notice: NoticeRow) -> bool:
    """Whether a text of it is still to be written: none of ours is on the ticket, or an edit is queued, and
    no request with it was sent. A new text is stored before its request."""
    nothing_sent = notice.claimed_by is None and notice.write_unconfirmed_at is None
    if notice.remote_id is None:
        return nothing_sent or notice.posted_body is None
    return nothing_sent and notice.target is not None


async def unwritten_text(
    session: AsyncSession, evaluation: Evaluation, context: EvaluationContext, now: datetime
) -> ComposedText | None:
    """The text that the writer would send now; None where it would send none, or may have sent it."""
    return (await unwritten_texts(session, [evaluation], context, now)).get(evaluation.row.id)


async def unwritten_texts(
    session: AsyncSession, evaluations: Sequence[Evaluation], context: EvaluationContext, now: datetime
) -> dict[int, ComposedText]:
    """The same of many epics of one source, by their ids; those with nothing to write are left out."""
    desired = [(one, notice) for one in evaluations if (notice := _unwritten_notice(one)) is not None]
    return {one.row.id: text for one, text in await compose_all(session, desired, context, now)}


def _unwritten_notice(evaluation: Evaluation) -> DesiredNotice | None:
    before, desired = evaluation.notice, evaluation.decision.notice
    if before is None or desired is None or not is_unwritten(before):
        return None
    if desired.target is None and desired.state == "withdrawn":
        return None
    return desired
