"""GitHub's error responses as errors of the contract. Pure: the caller passes the time of the response."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from connectors.base import ConnectorError, Gone, Rejected, Unanswered, Unauthorized, Unavailable
from connectors.markup import clean

NEW_TOKEN = "Make a new token and put it into the source's credentials."  # noqa: S105  # words, no token
_LONGEST_WAIT = 24 * 3600.0
_SECONDARY = 60.0  # "wait for at least one minute" where nothing else is said
_SECONDARY_WORDS = "secondary rate limit"
# A new token does not help here; write access to the repository helps for a locked conversation only.
# https://docs.github.com/communities/moderating-comments-and-conversations/locking-conversations and
# https://docs.github.com/repositories/archiving-a-github-repository/archiving-repositories
_WHAT_TO_DO = {
    "is locked": "Unlock the conversation, or give the account write access to the repository.",
    "archived": "Unarchive the repository, or take it out of the scope.",
}


class Forbidden(Rejected):
    """GitHub accepts the token, but the token may not do this."""


class Moved(Unavailable):
    """The repository or issue has a new address. The connector does not repeat a write there."""


def error_of(
    status: int, headers: Mapping[str, str], body: bytes, *, write: bool, now: datetime
) -> ConnectorError | None:
    """The error for a response; None for a successful one. `headers` are looked up in lower case.

    https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api: a 403 is a rate limit
    only if it has `retry-after`, if no requests remain, or if its message says so (some secondary limits
    give only a message); else a permission is missing. `now` is our time in UTC, used if the response has
    no `Date`.
    """
    if status < 300:
        return None
    vendor_message = message_of(body) or f"HTTP {status}"
    if status < 400:
        return Moved("The repository or issue has moved; Northing looks up its new address first.")
    if status == 401:
        return Unauthorized("GitHub does not accept the token.", NEW_TOKEN)
    now = _moment(headers.get("date", "")) or now  # GitHub's clock, because GitHub says until when to wait
    limited = status == 429 or _SECONDARY_WORDS in vendor_message.casefold()
    if status in {403, 429} and (wait := _limit(limited, headers, now)) is not None:
        return Unavailable("GitHub limits our requests.", wait)
    if status == 403:
        return Forbidden(f"GitHub forbids it: {vendor_message}", _what_to_do(vendor_message))
    if status in {408, 425} or status >= 500:
        kind = Unanswered if write else Unavailable
        return kind(f"GitHub has a problem: {vendor_message}", _seconds(headers, now))
    if status in {404, 410, 451}:
        return Gone(f"GitHub does not have it, or does not show it to us: {vendor_message}")
    return Rejected(
        f"GitHub refused: {vendor_message}", "See what GitHub says, and change the source or the ticket."
    )


def _what_to_do(vendor_message: str) -> str:
    for word, what_to_do in _WHAT_TO_DO.items():
        if word in vendor_message.casefold():
            return what_to_do
    return "The token needs Issues read and write and Metadata read on this repository."


def _limit(limited: bool, headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds until the limit ends, never fewer than GitHub says; None if the response is no rate limit."""
    seconds = _seconds(headers, now)
    if seconds is not None:
        return seconds
    if headers.get("x-ratelimit-remaining", "").strip() == "0":
        try:
            reset = float(headers.get("x-ratelimit-reset", ""))
        except ValueError:
            return _SECONDARY
        return _clamped(reset - now.timestamp())
    return _SECONDARY if limited else None


def _seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    retry_after_header = headers.get("retry-after", "").strip()
    if not retry_after_header:
        return None
    try:
        return _clamped(float(retry_after_header))
    except ValueError:
        pass
    moment = _moment(retry_after_header)
    return _SECONDARY if moment is None else _clamped((moment - now).total_seconds())


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _clamped(seconds: float) -> float:
    return min(max(seconds, 1.0), _LONGEST_WAIT) if seconds == seconds else _SECONDARY


def message_of(body: bytes) -> str:
    """What an error body says, in one line that can be stored and shown; empty if it is not a JSON object."""
    try:
        vendor_message = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(vendor_message, dict):
        return ""
    message, errors = vendor_message.get("message"), vendor_message.get("errors")
    words = [message[:500]] if isinstance(message, str) else []
    if details := [*filter(None, map(_detail, errors[:3]))] if isinstance(errors, list) else []:
        words.append(f"({'; '.join(details)})")
    return clean(" ".join(words))


def _detail(error: Any) -> str:
    """https://docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api#validation-failed"""
    if not isinstance(error, dict):
        return error[:200] if isinstance(error, str) else ""
    parts = error.get("field") or error.get("resource"), error.get("code"), error.get("message")
    return ": ".join(part[:200] for part in parts if isinstance(part, str) and part)
