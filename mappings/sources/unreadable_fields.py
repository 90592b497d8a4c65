"""Fields of a source's plan with values on tickets that are no days or no numbers: one entry a field, with
an epic as an example, for health."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import literal, update
from sqlalchemy.dialects.postgresql import JSONB

from mappings.epics.storable import without_nul
from mappings.tables import SourceRow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.ext.asyncio import AsyncSession

    from connectors.base import Epic

_LONGEST_KEY = 100


def unreadable_fields_in(epics: Iterable[Epic]) -> dict[str, dict[str, str]]:
    """By setting, the fields that have a value on one of `epics` that could not be read, and that epic."""
    found: dict[str, dict[str, str]] = {}
    for epic in epics:
        for field in epic.unreadable_fields:
            key = without_nul(epic.key)[:_LONGEST_KEY]
            named = {"name": without_nul(field.name), "kind": field.kind, "epic": key}
            found.setdefault(field.setting, named)
    return found


async def note_unreadable_fields(session: AsyncSession, source_id: int, found: dict[str, Any]) -> None:
    """Store these beside those that are known already."""
    merged = SourceRow.unreadable_fields.op("||", return_type=JSONB())(literal(found, JSONB))
    await _store(session, source_id, merged)


async def replace_unreadable_fields(session: AsyncSession, source_id: int, found: dict[str, Any]) -> None:
    """A full run has met every epic: these are all."""
    await _store(session, source_id, literal(found, JSONB))


async def _store(session: AsyncSession, source_id: int, fields: Any) -> None:
    await session.execute(
        update(SourceRow)
        .where(SourceRow.id == source_id, SourceRow.unreadable_fields.is_distinct_from(fields))
        .values(unreadable_fields=fields)
    )
