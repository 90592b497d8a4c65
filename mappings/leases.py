"""How long a claim on work lasts: on a run, on a source's deliveries, on a ticket.

A claim is taken by compare-and-set and expires by itself: a process that dies with one delays the work by at
most one lease.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

# Longer than every time limit of the work between two renewals: a page is fetched within 60 s.
RUN_LEASE = timedelta(minutes=5)
# A due time that is in the past on every worker's clock: the clocks of replicas always differ a little.
ALWAYS_DUE = datetime(2000, 1, 1, tzinfo=UTC)


class ClaimLost(Exception):
    """Another worker has taken over the work; the caller stops at once and writes nothing."""


# Covers the time limits of one write: two look-ups and the write itself, each within 60 s.
NOTICE_LEASE = timedelta(minutes=3)
# How long the writer lets an unconfirmed request arrive before it looks at the ticket.
UNCONFIRMED_WAIT = timedelta(seconds=60)

# Longer than any single call to a tracker; renewed while a batch is processed.
DELIVERY_LEASE = timedelta(minutes=3)
