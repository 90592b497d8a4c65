"""Failed logins, and visits without a login, counted by network address."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict, deque
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Value = TypeVar("Value")


# --- failed logins ----------------------------------------------------------------------------

MOST_FAILURES, WINDOW = 10, timedelta(minutes=1)


class TooManyFailures(Exception):
    """The address has to wait for `seconds`; its token was not checked."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"Too many logins from this address failed; try again in {seconds} s.")
        self.seconds = seconds


class FailedLogins:
    """The times of the latest failed logins from one address, oldest first."""

    def __init__(self) -> None:
        self._failures: deque[datetime] = deque(maxlen=MOST_FAILURES)
        self.turn = asyncio.Lock()

    def failed(self, now: datetime) -> int:
        """Record a failure; how many there are now within the window."""
        self._forget(now)
        self._failures.append(now)
        return len(self._failures)

    def wait(self, now: datetime) -> int:
        """Seconds until the next try is allowed, 0 if it is allowed now."""
        self._forget(now)
        if len(self._failures) < MOST_FAILURES:
            return 0
        return math.ceil((self._failures[0] + WINDOW - now).total_seconds())

    def _forget(self, now: datetime) -> None:
        while self._failures and now - self._failures[0] >= WINDOW:
            self._failures.popleft()


class LatestValues(Generic[Value]):
    """The `most` values that were put last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[object, Value] = OrderedDict()

    def get(self, key: object) -> Value | None:
        return self._values.get(key)

    def put(self, key: object, value: Value) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._most:
            self._values.popitem(last=False)

    def drop(self, key: object) -> None:
        self._values.pop(key, None)


def network_of(host: str | None) -> str:
    """The address that failures count for: for IPv6 its /64 network, all of which one machine may have."""
    try:
        address = ip_address(host or "")
    except ValueError:
        return host or "unknown"
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> 64 << 64)}/64"


# --- visits -------------------------------------------------------------------------------------

MOST_VISITS, ADDRESSES_KEPT = 120, 10_000


class Visits:
    """Visits of pages that need no login, counted by address in windows that begin with the first visit.
    `time` counts on from any moment."""

    def __init__(self, time: Callable[[], datetime]) -> None:
        self._time = time
        self._windows: LatestValues[tuple[datetime, int]] = LatestValues(ADDRESSES_KEPT)

    def visit(self, host: str | None) -> int:
        """Count a visit; seconds until the address may come again, 0 where this visit is within the limit."""
        name, now = network_of(host), self._time()
        begun, count = self._windows.get(name) or (now, 0)
        if now - begun >= WINDOW:
            begun, count = now, 0
        if count >= MOST_VISITS:
            return math.ceil((begun + WINDOW - now).total_seconds())
        self._windows.put(name, (begun, count + 1))
        return 0
