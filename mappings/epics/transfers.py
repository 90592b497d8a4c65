"""Tickets that a tracker gave a new id (a GitHub transfer): found, and merged with what was stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select, text

from connectors import base
from mappings.epics.storable import without_nul
from mappings.epics.stored import load_stored_epics
from mappings.epics.upsert import UpsertResult, lock_stored_epics, upsert_epics
from mappings.notices.marker import remember_transfer
from mappings.tables import MANUAL_ORIGINS, EpicRow, SourceRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession


async def transfer_candidates(
    session: AsyncSession, source_id: int, tracker: str, epics: Sequence[base.Epic]
) -> list[base.EpicRef]:
    """Stored epics that may be earlier forms of those `epics` whose ids are not stored, before a transfer.

    They have the same title and creation time and are in another project; removed ones are included. The
    caller asks the tracker which ticket each of them is now.
    """
    rows = await session.execute(
        text(
            "SELECT epics.remote_id, epics.key FROM epics"
            " JOIN unnest(CAST(:ids AS text[]), CAST(:titles AS text[]), CAST(:moments AS timestamptz[]),"
            "   CAST(:projects AS text[])) AS seen(remote_id, title, at, project)"
            " ON epics.tracker_created_at = seen.at AND epics.title = seen.title"
            "   AND epics.project <> seen.project"
            " WHERE epics.source_id = :source_id AND NOT EXISTS"
            "   (SELECT FROM epics WHERE tracker = :tracker AND remote_id = seen.remote_id)"
            " ORDER BY epics.id"
        ),
        {
            "source_id": source_id,
            "tracker": tracker,
            "ids": without_nul([epic.remote_id for epic in epics]),
            "titles": without_nul([epic.title for epic in epics]),
            "moments": [epic.created_at for epic in epics],
            "projects": without_nul([epic.project for epic in epics]),
        },
    )
    return [base.EpicRef(remote_id, key) for remote_id, key in rows]


async def possible_former_tickets(session: AsyncSession, epic: EpicRow) -> list[base.EpicRef]:
    """Stored epics of other projects that were created at the same moment as this one, at most five.

    Before a transfer the ticket may have been one of them, whatever its title is now. The caller asks the
    tracker which ticket each of them is.
    """
    rows = await session.execute(
        select(EpicRow.remote_id, EpicRow.key)
        .where(EpicRow.source_id == epic.source_id, EpicRow.tracker == epic.tracker)
        .where(EpicRow.tracker_created_at == epic.tracker_created_at, EpicRow.project != epic.project)
        .order_by(EpicRow.id)
        .limit(5)
    )
    return [base.EpicRef(remote_id, key) for remote_id, key in rows]


async def lock_transferred(
    session: AsyncSession,
    tracker: str,
    refs: Iterable[base.EpicRef],
    epics: Iterable[base.Epic],
) -> None:
    """Lock every epic that merging those of `refs` and storing `epics` may change. The caller does both in
    this transaction, and to lock some now and others later could deadlock."""
    remote_ids = {ref.remote_id for ref in refs} | {epic.remote_id for epic in epics}
    await lock_stored_epics(session, tracker, [], remote_ids, key_share=False)


async def merge_transferred(
    session: AsyncSession, source_id: int, tracker: str, old_remote_id: str, epic: base.Epic, now: datetime
) -> UpsertResult:
    """Give the epic of a transferred ticket (GitHub) its new id and state, and keep its history.

    An epic that was stored under the new id meanwhile is deleted; its manual links, and what a committee
    keeps of it, move to the kept one, whose own come first. The
    comment has a new id too, so the writer looks for it by its marker before it writes.
    """
    await lock_stored_epics(session, tracker, [], (old_remote_id, epic.remote_id), key_share=False)
    stored = await load_stored_epics(session, tracker, [old_remote_id, epic.remote_id])
    kept, double = stored.get(old_remote_id), stored.get(epic.remote_id)
    if kept is not None:
        ids = {"kept": kept.id, "double": None if double is None else double.id}
        for statement in _MERGE:
            await session.execute(statement, {**ids, "remote_id": epic.remote_id})
        await remember_transfer(session, tracker, old_remote_id, epic.remote_id)
    return await upsert_epics(session, source_id, tracker, [epic], (), now)


async def store_ticket(
    session: AsyncSession, source: SourceRow, remote_id: str, item: base.Epic | base.Missing, now: datetime
) -> UpsertResult:
    """Store what the tracker says of the epic stored under `remote_id`: its state, that it is missing, or
    that it was transferred and has another id now."""
    if isinstance(item, base.Missing):
        return await upsert_epics(session, source.id, source.tracker, [], [item], now)
    if item.remote_id == remote_id:
        return await upsert_epics(session, source.id, source.tracker, [item], [], now)
    return await merge_transferred(session, source.id, source.tracker, remote_id, item, now)


# Of three of these tables an epic has one row, or one of each criterion.
_KEPT = {
    "value_estimates": "",
    "conflicts": "",
    "decisions": "",
    "epic_values": " AND NOT EXISTS (SELECT FROM epic_values WHERE epic_id = :kept)",
    "epic_stages": " AND NOT EXISTS (SELECT FROM epic_stages WHERE epic_id = :kept)",
    "scores": " AND criterion_id NOT IN (SELECT criterion_id FROM scores WHERE epic_id = :kept)",
}
_MERGE = (
    text(
        "UPDATE links SET epic_id = :kept, is_primary = false WHERE epic_id = :double"
        " AND origin = ANY(:manual) AND NOT EXISTS (SELECT FROM links AS held WHERE"
        " held.epic_id = :kept AND held.key_result_id = links.key_result_id AND held.origin = links.origin)"
    ).bindparams(manual=list(MANUAL_ORIGINS)),
    # If the kept epic has no comment, the comment of the duplicate (`:double`) becomes its comment.
    text(
        "DELETE FROM notices WHERE epic_id = :kept AND remote_id IS NULL AND write_unconfirmed_at IS NULL"
        " AND claimed_by IS NULL AND EXISTS (SELECT FROM notices AS other WHERE other.epic_id = :double"
        " AND other.remote_id IS NOT NULL)"
    ),
    text(
        "UPDATE notices SET epic_id = :kept WHERE epic_id = :double AND remote_id IS NOT NULL"
        " AND NOT EXISTS (SELECT FROM notices AS other WHERE other.epic_id = :kept)"
    ),
    text("UPDATE notice_writes SET epic_id = :kept WHERE epic_id = :double"),
    *(
        text(f"UPDATE {table} SET epic_id = :kept WHERE epic_id = :double{more}")  # noqa: S608  # names of tables
        for table, more in _KEPT.items()
    ),
    # As the newest decision that stands on either of them has it.
    text(
        "UPDATE epics SET set_aside = aside.decision, set_aside_decision_id = aside.id,"
        " set_aside_until = CAST(aside.by_date + 1 AS timestamp) AT TIME ZONE 'UTC'"
        " FROM (SELECT * FROM decisions WHERE epic_id = :kept AND undone_at IS NULL ORDER BY id DESC LIMIT 1)"
        " AS newest LEFT JOIN decisions AS aside ON aside.id = newest.id"
        " AND aside.decision IN ('stop', 'defer') WHERE epics.id = :kept"
    ),
    text("DELETE FROM epics WHERE id = :double"),
    text(
        "UPDATE notices SET write_unconfirmed_at = TIMESTAMPTZ 'epoch', remote_id = NULL, url = NULL"
        " WHERE remote_id IS NOT NULL AND epic_id = :kept"
    ),
    text("UPDATE epics SET remote_id = :remote_id WHERE id = :kept"),
)
