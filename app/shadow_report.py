"""What a source that was just synced would say on its tickets, for the person who connected it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from sqlalchemy import func, select

from mappings.evaluation.evaluator import evaluate_records
from mappings.evaluation.load import load_records
from mappings.evaluation.texts import compose
from mappings.goals.key_results import is_live
from mappings.lookups import source_at
from mappings.tables import EpicRow, NoticeRow

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from app.runtime import Runtime
    from mappings.evaluation.context import EvaluationContext

SHOWN = 2  # comments, each on a ticket of its own


@dataclass(frozen=True)
class Comment:
    """A comment as its ticket would show it."""

    key: str
    title: str
    body: str


@dataclass(frozen=True)
class Preview:
    """Of a source in shadow: its epics by alignment; how many of them have a comment prepared; the first
    comments, as if no epic were too old for one, and the pages of their epics. `new_alone`: the policy lets
    only epics younger than the source have one."""

    source: str
    epics: dict[str, int]
    live_key_results: int
    prepared: int
    comments: Sequence[Comment]
    pages: Sequence[str]
    new_alone: bool = True

    @property
    def total(self) -> int:
        return sum(self.epics.values())

    @property
    def unaligned(self) -> int:
        return self.epics.get("unaligned", 0)


async def load_preview(runtime: Runtime, name: str) -> Preview:
    """Raises `NotFound`."""
    async with runtime.sessions() as session:
        source = await source_at(session, name)
        here = EpicRow.source_id == source.id, EpicRow.removed_at.is_(None)
        counted = select(EpicRow.alignment, func.count()).where(*here).group_by(EpicRow.alignment)
        epics = {alignment or "not evaluated": count for alignment, count in await session.execute(counted)}
        shadow = select(func.count()).select_from(NoticeRow).join(EpicRow, EpicRow.id == NoticeRow.epic_id)
        prepared = await session.scalar(shadow.where(*here, NoticeRow.state == "shadow"))
        newest = select(EpicRow).where(*here, EpicRow.alignment == "unaligned")
        newest = newest.order_by(EpicRow.tracker_updated_at.desc(), EpicRow.id).limit(SHOWN)
        rows = list(await session.scalars(newest))
        context, now = await runtime.evaluation_context(session, source), await runtime.now(session)
        return Preview(
            source.name,
            epics,
            sum(is_live(goal, now) for goal in context.goals.key_results.values()),
            prepared or 0,
            await _comments(session, context, rows, now),
            [f"{runtime.settings.links_base}/epics/{name}/{quote(row.key, safe='')}" for row in rows],
            new_alone=context.policy.since == "connected",
        )


async def _comments(
    session: AsyncSession, context: EvaluationContext, rows: Sequence[EpicRow], now: datetime
) -> list[Comment]:
    """The comments of these epics, whatever their age."""
    policy = context.policy.model_copy(update={"since": None})
    context = replace(context, policy=policy, _effective={})
    found: list[Comment] = []
    for evaluation in await evaluate_records(session, await load_records(session, rows), context, now):
        desired = evaluation.decision.notice
        if desired is not None and desired.state == "shadow":
            composed = await compose(session, evaluation, desired, context, now)
            found.append(Comment(evaluation.row.key, evaluation.row.title, composed.body))
    return found


def lines_of(preview: Preview) -> list[str]:
    """What it comes to, in sentences."""
    if not preview.total:
        return ["No epic was found; see epics and scope of the source. Nothing would be said."]
    counted = ", ".join(f"{count} {alignment}" for alignment, count in sorted(preview.epics.items()))
    lines = [f"{_epics(preview.total)}: {counted}."]
    if not preview.live_key_results:
        lines.append(
            "There is no live key result yet, so no epic can be aligned: enter your goals before you go live."
        )
    if not preview.unaligned:
        return [*lines, "No epic is unaligned, so nothing would be said."]
    prepared = "1 comment is" if preview.prepared == 1 else f"{preview.prepared} comments are"
    lines.append(f"{prepared} prepared, and written once the source is live and their grace is over.")
    if without := preview.unaligned - preview.prepared:
        lines.append(f"{without} of the unaligned would get none: {_why_none(preview)}.")
    return lines


def _why_none(preview: Preview) -> str:
    if preview.new_alone:
        return "while `since` of the policy is `connected`, only epics that are made from now on do"
    return "the policy or the kind of their project lets none be written"


def _epics(count: int) -> str:
    return f"{count} epic" if count == 1 else f"{count} epics"
