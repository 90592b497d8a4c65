"""How long a tracker has been failing, computed from the rows of the work that waits for it.

The `due_at` of postponed work is the moment at which it is tried again. If the tracker fails again within a
minute of that moment, the trouble has continued since the work began. For work that was never postponed, the
trouble begins now.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from connectors.base import LONGEST_RETRY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mappings.tables import DeliveryRow, NoticeRow, RunRow

NO_TIME = timedelta(0)


def run_failing_for(run: RunRow, now: datetime) -> timedelta:
    return _failing_for(run.started_at, run.due_at, now)


def deliveries_failing_for(deliveries: Iterable[DeliveryRow], now: datetime) -> timedelta:
    """The trouble of the delivery that has waited longest."""
    each = (_failing_for(delivery.received_at, delivery.due_at, now) for delivery in deliveries)
    return max(each, default=NO_TIME)


def notice_failing_for(notice: NoticeRow, now: datetime) -> timedelta:
    return _failing_for(notice.updated_at, notice.due_at, now)


def _failing_for(waiting_since: datetime | None, resumed_at: datetime | None, now: datetime) -> timedelta:
    if waiting_since is None or resumed_at is None:
        return NO_TIME
    continues = waiting_since < resumed_at and now - resumed_at <= LONGEST_RETRY
    return now - waiting_since if continues else NO_TIME
