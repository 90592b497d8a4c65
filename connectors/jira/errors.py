"""Jira's error responses as errors of the contract. Pure: the caller passes the time of the response."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from connectors.base import ConnectorError, Gone, Rejected, Unanswered, Unauthorized, Unavailable
from connectors.markup import clean

ADDRESS = "Set base_url to the Jira site, https://NAME.atlassian.net."
NEW_TOKEN = "Make a new API token for this account and put it into the source's credentials."  # noqa: S105  # words, no token
_LONGEST_WAIT = 24 * 3600.0

# The address exists, but it does not accept this kind of request.
_NO_SUCH_CALL = {405, 501}

# After these Jira may have executed a write nevertheless.
_TROUBLE = {408, 425, 500, 502, 503, 504}


class Forbidden(Rejected):
    """Jira accepts the login, but the account may not do this."""


class NoSuchCall(Rejected):
    """The site has no such call at this address. Another call may give the same."""


class Unsuited(Rejected):
    """Jira understood the request and does not accept it as it is (400)."""


def error_of(
    status: int, headers: Mapping[str, str], body: bytes, *, write: bool, now: datetime
) -> ConnectorError | None:
    """The error for a response; None for a successful one. `headers` have lower-case names.

    `now` is our time in UTC, used if the response has no `Date`.

    https://developer.atlassian.com/cloud/jira/platform/rest/v3/intro/#status-codes and
    https://developer.atlassian.com/cloud/jira/platform/rate-limiting/
    """
    if why := _anonymous(status, headers):
        return Unauthorized(why, NEW_TOKEN)
    if status < 300:
        return None
    vendor_message = "; ".join(messages_of(body)) or f"HTTP {status}"
    if status < 400:
        return Rejected(
            f"Jira redirects to another address (HTTP {status}).",
            "Set base_url to the site's current address; Northing follows no redirect with its token.",
        )
    if status == 429:
        return Unavailable("Jira limits our requests.", retry_after(headers, now) or 60.0)
    if status in _TROUBLE:
        kind = Unanswered if write else Unavailable
        return kind(f"Jira has a problem: {vendor_message}", retry_after(headers, now))
    if status in {404, 410}:
        return Gone(f"Jira does not have it, or does not show it to us: {vendor_message}")
    if status in _NO_SUCH_CALL:
        return NoSuchCall(f"Jira does not know the call: {vendor_message}", ADDRESS)
    if status == 403:
        return Forbidden(f"Jira forbids it: {vendor_message}", "Give the account the missing permission.")
    kind_of = Unsuited if status == 400 else Rejected
    return kind_of(
        f"Jira refused: {vendor_message}", "See what Jira says, and change the source or the ticket."
    )


def _anonymous(status: int, headers: Mapping[str, str]) -> str | None:
    """Why Jira did not accept the login, else None. Without a valid login, many calls give an empty 200."""
    if status == 401:
        return "Jira does not accept the credentials."
    reason = headers.get("x-seraph-loginreason", "")
    for word in ("AUTHENTICATED_FAILED", "AUTHENTICATION_DENIED"):
        if word in reason:
            return f"Jira did not accept the credentials ({word})."
    if headers.get("x-ausername", "").casefold() == "anonymous":
        return "Jira treats our requests as anonymous."
    return None


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds to wait, never fewer than Jira says: `Retry-After` (number or date), else `X-RateLimit-Reset`.

    None if the response has neither. For a time in the past, one second.
    """
    retry_after_header = headers.get("retry-after", "").strip()
    try:
        seconds = float(retry_after_header)
    except ValueError:
        moment = _moment(retry_after_header) or _moment(headers.get("x-ratelimit-reset", ""))
        if moment is None:
            return None
        # Counted with Jira's clock (`Date`), because our clock may differ from it by hours.
        seconds = max((moment - (_moment(headers.get("date", "")) or now)).total_seconds(), 0.0)
    return min(max(seconds, 1.0), _LONGEST_WAIT) if 0 <= seconds < float("inf") else None


def _moment(text: str) -> datetime | None:
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = parse(text)
        except (ValueError, TypeError):
            continue
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None


def messages_of(body: bytes) -> list[str]:
    """What an error body says, in lines that can be stored and shown; empty if it is not a JSON object."""
    try:
        vendor_message: Any = json.loads(body)
    except (ValueError, RecursionError):
        return []
    if not isinstance(vendor_message, dict):
        return []
    found = [vendor_message.get("message"), vendor_message.get("errorMessage")]
    listed = vendor_message.get("errorMessages")
    found += listed if isinstance(listed, list) else [listed]
    fields = vendor_message.get("errors")
    if isinstance(fields, dict):
        found += [f"{field}: {text}" for field, text in fields.items()]
    return [clean(text[:500]) for text in found if isinstance(text, str) and text][:5]
