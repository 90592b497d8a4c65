"""Time limits of one call to a tracker."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that a connector gives one call: to connect, between two pieces of the answer, and in all,
    however slowly the tracker drips. `mappings.runs.queue` counts its leases by these."""

    connect: float = 5
    read: float = 30
    total: float = 55


TIMEOUTS = Timeouts()
