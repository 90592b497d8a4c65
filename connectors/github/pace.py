"""How many requests at once, and how fast: GitHub has a second limit, which counts uncounted ones too.

It refuses more than 100 requests at the same time and more than 900 points a minute, of which a GET is one.
https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits
"""

from __future__ import annotations

AT_ONCE = 8
BURST, PER_SECOND = 450, 7.0  # at most 870 in any minute


class Pace:
    """When the next request may be sent: `BURST` of them at once, and then `PER_SECOND`. `now` is a clock
    that only goes forward, in seconds."""

    def __init__(self, burst: int = BURST, per_second: float = PER_SECOND) -> None:
        self._burst, self._per_second = burst, per_second
        self._left, self._at = float(burst), 0.0

    def take(self, now: float) -> float:
        """Count a request. The seconds that it has to wait."""
        gained = max(now - self._at, 0.0) * self._per_second
        self._left, self._at = min(self._left + gained, self._burst) - 1, max(now, self._at)
        return max(-self._left / self._per_second, 0.0)
