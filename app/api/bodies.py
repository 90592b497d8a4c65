"""The texts of notices that are not on their tickets yet, as they would be written now."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from app.runtime import Runtime
from mappings import cases, rulings
from mappings.cases import Case
from mappings.tables import Source

AT_A_TIME = 100


async def texts_to_come(
    runtime: Runtime, session: AsyncSession, found: Sequence[Case], now: datetime
) -> dict[int, str]:
    """By the ids of the epics; those are left out whose stored text is to be shown.

    Judged again, as whoever writes does: key results are suggested by the links of other epics, and these
    change while nobody judges this one.
    """
    by_source: dict[int, list[Case]] = {}
    for case in found:
        if case.notice is not None and rulings.is_to_come(case.notice):
            by_source.setdefault(case.row.source_id, []).append(case)
    texts: dict[int, str] = {}
    standard = None
    for source_id, waiting in sorted(by_source.items()):
        source = await session.get_one(Source, source_id)
        projects = sorted({case.row.project for case in waiting})
        standard = await runtime.standard(session, source, projects, like=standard)
        for number, case in enumerate(waiting, 1):
            text = rulings.text_to_come(cases.judge(case, standard, now), standard)
            if text is not None:
                texts[case.row.id] = text
            if not number % AT_A_TIME:
                await asyncio.sleep(0)  # others' turn
    return texts
