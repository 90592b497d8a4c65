"""The marker of an epic's comment: signed, so that nobody else makes one, for this ticket alone."""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import literal, select, text, union_all
from sqlalchemy.dialects.postgresql import insert

from connectors.marker import Marker
from mappings.tables import EpicRow, FormerTicketRow, TrackerAccountRow

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

DIGITS = 32  # hexadecimal: 128 bits, and no "--", which ends an HTML comment


@dataclass(frozen=True, slots=True)
class MarkerSigner:
    """Signs for one installation; `key` has 32 bytes."""

    installation: str
    key: bytes = field(repr=False)

    def marker(self, epic: EpicRow) -> Marker:
        """The marker to write. To look for our comment, use `load_marker`."""
        return Marker(self.installation, epic.id, self.digest(epic.tracker, epic.remote_id))

    def digest(self, tracker: str, remote_id: str) -> str:
        bound = json.dumps([self.installation, tracker, remote_id]).encode()
        return hmac.digest(self.key, bound, "sha256").hex()[:DIGITS]


async def load_marker(session: AsyncSession, signer: MarkerSigner, epic: EpicRow) -> Marker:
    """The marker to write and to look for: it also knows the ids that the ticket had before a transfer, and
    the accounts that Northing was signed in as at this tracker."""
    former = select(literal("id"), FormerTicketRow.former_id).where(
        FormerTicketRow.tracker == epic.tracker, FormerTicketRow.remote_id == epic.remote_id
    )
    accounts = select(literal("account"), TrackerAccountRow.account_id).where(
        TrackerAccountRow.tracker == epic.tracker
    )
    found = [(what, value) for what, value in await session.execute(union_all(former, accounts))]
    marker = signer.marker(epic)
    return Marker(
        marker.installation,
        marker.epic,
        marker.digest,
        tuple(signer.digest(epic.tracker, value) for what, value in found if what == "id"),
        frozenset(value for what, value in found if what == "account"),
    )


async def remember_account(session: AsyncSession, tracker: str, account_id: str) -> None:
    """Northing is signed in as this account at this tracker: what it writes is ours from now on."""
    made = insert(TrackerAccountRow).values(tracker=tracker, account_id=account_id)
    await session.execute(made.on_conflict_do_nothing())


_REMEMBER_TRANSFER = text("""
    INSERT INTO former_tickets (tracker, remote_id, former_id)
    SELECT CAST(:tracker AS text), CAST(:remote_id AS text), earlier.id FROM (
        SELECT CAST(:former AS text) AS id
        UNION SELECT former_id FROM former_tickets WHERE tracker = :tracker AND remote_id = :former
    ) AS earlier
    ON CONFLICT DO NOTHING
""")


async def remember_transfer(session: AsyncSession, tracker: str, former: str, remote_id: str) -> None:
    """The ticket `former` has the id `remote_id` now; our comment went with it, signed for the former one."""
    values = {"tracker": tracker, "former": former, "remote_id": remote_id}
    await session.execute(_REMEMBER_TRANSFER, values)
