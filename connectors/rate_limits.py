"""What the headers of a tracker's response say about its rate limit and its clock. Pure.

GitHub: https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#checking-the-status-of-your-rate-limit
Jira: https://developer.atlassian.com/cloud/jira/platform/rate-limiting/ (`X-RateLimit-*`, and the structured
`RateLimit: "name";r=…;t=…` with `RateLimit-Policy: "name";q=…;w=…`, also under `Beta-`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Budget:
    """How many requests a tracker still accepts until `resets_at` (UTC), out of `limit` where it says so."""

    remaining: int
    limit: int | None = None
    resets_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ResponseMeta:
    """What a response says about the tracker.

    `clock_ahead`: seconds by which the tracker's clock is ahead of ours. None: the response did not say.
    """

    budget: Budget | None = None
    clock_ahead: float | None = None


_MOST = 2**31 - 1  # the largest value of the database column; a larger number limits nothing
_LONGEST_PAUSE = timedelta(hours=24)
_POLICY = re.compile(r'"([^"]{1,100})"((?:\s*;\s*[a-z]+=[0-9]{1,12})+)')
_MEMBER = re.compile(r"([a-z]+)=([0-9]+)")


def response_meta(headers: Mapping[str, str], received_at: datetime) -> ResponseMeta:
    """What a response received at `received_at` (UTC) says. `headers` are looked up in lower case."""
    # A cache's response has an Age header, and its Date is the time at which the tracker made it.
    ahead = None if "age" in headers else clock_ahead(headers, received_at)
    return ResponseMeta(_structured(headers, received_at) or _plain(headers), ahead)


def budget_spent_until(meta: ResponseMeta, received_at: datetime) -> datetime | None:
    """Until when (UTC, by our clock) the connector must not send a request.

    None if requests are left, or if the tracker does not say when the limit ends. The end of the limit is
    read as a time of the tracker's clock, as GitHub's is.
    https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit
    """
    budget = meta.budget
    if budget is None or budget.remaining > 0 or budget.resets_at is None:
        return None
    until = budget.resets_at - timedelta(seconds=meta.clock_ahead or 0)
    return min(until, received_at + _LONGEST_PAUSE)


def clock_ahead(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds from `now` to the header `Date`, which has whole seconds; None if there is no such header."""
    try:
        date = parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, TypeError):
        return None
    return ((date if date.tzinfo else date.replace(tzinfo=UTC)) - now).total_seconds()


def _plain(headers: Mapping[str, str]) -> Budget | None:
    if headers.get("x-ratelimit-resource", "core") != "core":
        return None  # GitHub has separate limits for searches and some other calls that connectors never make
    remaining = _number(headers.get("x-ratelimit-remaining"))
    if remaining is None:
        return None
    reset = _reset(headers.get("x-ratelimit-reset", ""))
    return Budget(remaining, _number(headers.get("x-ratelimit-limit")), reset)


def _structured(headers: Mapping[str, str], now: datetime) -> Budget | None:
    """Of several limits, the one with the smallest share left: that limit is reached first."""
    for prefix in ("", "beta-"):
        left = _policies(headers.get(f"{prefix}ratelimit", ""))
        limits = _policies(headers.get(f"{prefix}ratelimit-policy", ""))
        found = [
            Budget(
                min(members["r"], _MOST),
                limits.get(name, {}).get("q"),
                now + timedelta(seconds=min(members["t"], 10**7)) if "t" in members else None,
            )
            for name, members in left.items()
            if "r" in members
        ]
        if found:
            return min(found, key=lambda budget: budget.remaining / max(budget.limit or budget.remaining, 1))
    return None


def _policies(text: str) -> dict[str, dict[str, int]]:
    return {
        name: {key: min(int(value), _MOST) for key, value in _MEMBER.findall(members)}
        for name, members in _POLICY.findall(text[:2000])
    }


def _number(text: str | None) -> int | None:
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdigit() and int(text[:12]) <= _MOST else None


def _reset(text: str) -> datetime | None:
    """Seconds since 1970 (GitHub), or ISO 8601 (Jira)."""
    try:
        seconds = _number(text)
        if seconds is not None:
            return datetime.fromtimestamp(seconds, UTC)
        moment = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
