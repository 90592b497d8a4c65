"""The time limits of one call to a tracker."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that a connector waits in one call: to connect, between two pieces of the response, and in
    total, however slowly the pieces arrive. A caller that has claimed the work renews its claim meanwhile."""

    connect: float = 5
    read: float = 30
    total: float = 55


TIMEOUTS = Timeouts()
