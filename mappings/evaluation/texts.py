"""The text of a notice, composed where it is asked for or written. No evaluation composes one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    """The text of a desired notice as the writer would send it now. Key results are suggested for a full
    text alone: one line shows none."""
    is_full = desired.target in (None, "posted")
    suggestions = await context.suggest(session, evaluation.row, now) if is_full else ()
    text = desired.compose(suggestions)
    body = context.render(text.document, context.signer.marker(evaluation.row))
    return ComposedText(text.document, body, text.mentioned_key_result_ids)


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
    before, desired = evaluation.notice, evaluation.decision.notice
    if before is None or desired is None or not is_unwritten(before):
        return None
    if desired.target is None and desired.state == "withdrawn":
        return None
    return await compose(session, evaluation, desired, context, now)
