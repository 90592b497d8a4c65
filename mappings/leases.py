"""How long a claim on work lasts: on a run, on a source's deliveries, on a ticket.

A claim is taken by compare-and-set and ends by itself, so a process that dies holding one costs one lease.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

# Longer than every time limit inside it: a page is fetched within 60 s.
RUN_LEASE = timedelta(minutes=5)
# Due whatever the clock of the worker says that looks; replicas' clocks are never quite together.
AT_ONCE = datetime(2000, 1, 1, tzinfo=UTC)


class ClaimLost(Exception):
    """Somebody else has taken the work over; whoever meets this stops at once and writes nothing."""


# Longer than every time limit inside it: a ticket is written within 60 s after two look-ups of as much.
NOTICE_LEASE = timedelta(minutes=3)
UNCONFIRMED_WAIT = timedelta(seconds=60)

# Longer than any one call to a tracker; renewed while a batch is worked on.
DELIVERY_LEASE = timedelta(minutes=3)
