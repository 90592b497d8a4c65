"""How many webhooks of a source were refused for their signature in the past hour and day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from mappings.sources.health import NONE_REFUSED, RefusedSignatures

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

# Rows of the same ten minutes are one; those of the past day are kept.
COUNT_REFUSED = """
    WITH old AS (DELETE FROM refused_signatures
        WHERE source_id = %(source)s AND since < {now} - interval '25 hours')
    INSERT INTO refused_signatures (source_id, since, first_at, count)
    VALUES (%(source)s, date_bin('10 minutes', {now}, timestamptz 'epoch'), {now}, %(count)s)
    ON CONFLICT (source_id, since) DO UPDATE SET count = refused_signatures.count + excluded.count
"""
# A part of the facts of health: the count of the day, the first moment, and in words the count of the hour.
REFUSED_FACTS = """
    SELECT source_id, 'refused', NULL, sum(count), min(first_at),
        coalesce(sum(count) FILTER (WHERE since > CAST(:now AS timestamptz) - interval '1 hour'), 0)::text
    FROM refused_signatures
    WHERE since > CAST(:now AS timestamptz) - interval '1 day' AND source_id = ANY(:sources) GROUP BY 1
"""


async def load_refused_signatures(session: AsyncSession, source_id: int, now: datetime) -> RefusedSignatures:
    found = (await session.execute(text(REFUSED_FACTS), {"now": now, "sources": [source_id]})).one_or_none()
    return NONE_REFUSED if found is None else RefusedSignatures(int(found[5]), found[3], found[4])
