"""For how long a tracker has been in trouble, as the rows tell of the work that waits for it.

Work that was put off keeps, in `due_at`, the moment it went on at; trouble that comes back within a minute of
that has not ended. It has lasted as long as that work is there. Work that never waited meets it for the first
time.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from connectors.base import MINUTE
from mappings.tables import Delivery, Notice, Run

NONE = timedelta(0)


def of_run(run: Run, now: datetime) -> timedelta:
    return _lasted(run.started_at, run.due_at, now)


def of_deliveries(deliveries: Iterable[Delivery], now: datetime) -> timedelta:
    """What the one says that waits longest."""
    each = (_lasted(delivery.received_at, delivery.due_at, now) for delivery in deliveries)
    return max(each, default=NONE)


def of_notice(notice: Notice, now: datetime) -> timedelta:
    return _lasted(notice.updated_at, notice.due_at, now)


def _lasted(there_since: datetime | None, went_on_at: datetime | None, now: datetime) -> timedelta:
    if there_since is None or went_on_at is None:
        return NONE
    goes_on = there_since < went_on_at and now - went_on_at <= MINUTE
    return now - there_since if goes_on else NONE
