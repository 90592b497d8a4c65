"""The texts of notices that are not on their tickets yet, as the writer would write them now."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from app.runtime import Runtime
from mappings.evaluation.load import EpicRecords, evaluate_epic
from mappings.evaluation.record import is_unwritten, unwritten_text
from mappings.tables import SourceRow

EVALUATED_AT_A_TIME = 100


async def unwritten_texts(
    runtime: Runtime, session: AsyncSession, found: Sequence[EpicRecords], now: datetime
) -> dict[int, str]:
    """The texts by the ids of the epics; an epic whose stored text is to be shown is left out.

    Each epic is evaluated again, as the writer does before it writes: key results are suggested from the
    links of other epics, and these change without an evaluation of this one.
    """
    by_source: dict[int, list[EpicRecords]] = {}
    for records in found:
        if records.notice is not None and is_unwritten(records.notice):
            by_source.setdefault(records.row.source_id, []).append(records)
    texts: dict[int, str] = {}
    context = None
    for source_id, waiting in sorted(by_source.items()):
        source = await session.get_one(SourceRow, source_id)
        projects = sorted({records.row.project for records in waiting})
        context = await runtime.evaluation_context(session, source, projects, shared=context)
        for number, records in enumerate(waiting, 1):
            text = unwritten_text(evaluate_epic(records, context, now), context)
            if text is not None:
                texts[records.row.id] = text
            if not number % EVALUATED_AT_A_TIME:
                await asyncio.sleep(0)  # let other requests run
    return texts
