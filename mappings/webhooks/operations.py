"""What a person may do with a delivery: have it processed once more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mappings import leases
from mappings.errors import Conflict
from mappings.leases import ALWAYS_DUE
from mappings.lookups import delivery_at
from mappings.wakeups import wake

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.tables import DeliveryRow


async def replay_delivery(session: AsyncSession, delivery_id: int, now: datetime) -> tuple[DeliveryRow, str]:
    """Make a delivery due as if it had just arrived; commands in a comment are not executed a second time.

    Returns the delivery and its source's name. Raises `NotFound`, and `Conflict` while the delivery is being
    processed, and once its body is deleted.
    """
    delivery, source = await delivery_at(session, delivery_id, lock=True)
    if delivery.body is None:
        raise Conflict("Its body was deleted after 14 days; sync the source instead.")
    if leases.holds(delivery, now):
        raise Conflict("It is being processed at this moment; try again in a few minutes.")
    delivery.state, delivery.reason, delivery.error = "received", None, None
    delivery.attempts, delivery.due_at = 0, ALWAYS_DUE
    delivery.is_repeat = False  # a person asks for it
    delivery.claimed_by = delivery.claimed_until = None
    wake(session, "process_deliveries", source_id=delivery.source_id)
    return delivery, source
