"""The texts of notices that are not on their tickets yet, as the writer would write them now."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from app.runtime import Runtime
from mappings.evaluation.context import KnownGoals
from mappings.evaluation.evaluator import evaluate_records
from mappings.evaluation.known_goals import known_goals
from mappings.evaluation.load import EpicRecords
from mappings.evaluation.texts import ComposedText, is_unwritten, unwritten_texts as unwritten_of_source
from mappings.tables import SourceRow


async def unwritten_texts(
    runtime: Runtime,
    session: AsyncSession,
    found: Sequence[EpicRecords],
    now: datetime,
    known: KnownGoals | None = None,
) -> dict[int, str]:
    """As people will find them, by the ids of the epics; those with nothing to write are left out. `known`:
    where the caller has read them after `found`."""
    composed = await composed_texts(runtime, session, found, now, known)
    return {epic_id: text.body for epic_id, text in composed.items()}


async def composed_texts(
    runtime: Runtime,
    session: AsyncSession,
    found: Sequence[EpicRecords],
    now: datetime,
    known: KnownGoals | None = None,
) -> dict[int, ComposedText]:
    """The same, with the documents that would be sent.

    Each epic is evaluated again, as the writer does before it writes: key results are suggested from the
    links of other epics, and these change without an evaluation of this one.
    """
    by_source: dict[int, list[EpicRecords]] = {}
    for records in found:
        if records.notice is not None and is_unwritten(records.notice):
            by_source.setdefault(records.row.source_id, []).append(records)
    texts: dict[int, ComposedText] = {}
    if not by_source:
        return texts
    known = known or await known_goals(session)
    for source_id, waiting in sorted(by_source.items()):
        source = await session.get(SourceRow, source_id)
        if source is None:  # it is gone since, with its epics
            continue
        context = await runtime.context_to_show(session, source, known)
        evaluations = await evaluate_records(session, waiting, context, now)
        texts.update(await unwritten_of_source(session, evaluations, context, now))
    return texts
