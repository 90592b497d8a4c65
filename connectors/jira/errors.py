"""Jira's error responses as errors of the contract. Pure: the caller passes the time of the response."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from connectors.base import Blocked, ConnectorError, Gone, Rejected, Unanswered, Unauthorized, Unavailable
from connectors.markup import clean
from connectors.rate_limits import response_meta
from connectors.refusals import LIMIT_PAUSE, Cause, cause_of, members_of, says_limit

if TYPE_CHECKING:
    from collections.abc import Mapping

ADDRESS = "Set base_url to the Jira site, https://NAME.atlassian.net."
NEW_TOKEN = "Make a new API token for this account and put it into the source's credentials."  # noqa: S105  # words, no token
_LONGEST_WAIT = 24 * 3600.0

# The address exists, but it does not accept this kind of request.
_NO_SUCH_CALL = {405, 501}

_SEE = "See what Jira says, and change the source or the ticket."
_NO_REASON = "Jira gives no reason; `northing check` shows which rights the account lacks."
_CAPTCHA = (
    "Sign in to Jira once in a browser as this account and solve the CAPTCHA there, or let an administrator"
    " reset its failed logins; see too that the token is right."
)
_SCHEME = "in the project's permission scheme or, where it is team-managed, in its role"

# Of the login: what Jira's gateway says with 401 and 403.
_LOGIN_CAUSES = (
    Cause(
        ("basic authentication with passwords",),
        "Jira takes no password here: put an API token for this account into the source's credentials.",
    ),
    Cause(
        ("scope does not match", "insufficient scope"),
        "Put an API token without scopes into the source's credentials.",
    ),
    Cause(("captcha", "authentication_denied"), _CAPTCHA),
)

# The first that fits counts. What is not named here is answered with Jira's own words alone.
CAUSES = (
    Cause(
        ("ip address has been rejected", "allowed list", "allowlist", "allow list"),
        "Add the address at which this machine, or its proxy, is seen to the IP allowlist"
        " (admin.atlassian.com, Security).",
        everywhere=True,
    ),
    Cause(
        ("connect session auth token",),
        "See that the source's credentials hold the account's e-mail address and a whole API token.",
        everywhere=True,
    ),
    Cause(
        ("site temporarily unavailable", "site is unavailable", "site is currently unavailable", "suspended",
         "deactivated", "subscription"),
        "See at admin.atlassian.com, Billing, whether the site and the account are active.",
        everywhere=True,
    ),
    Cause(
        ("license", "licence", "product access", "application access", "permission to use jira",
         "access to jira", "permitted to use jira"),
        "Give the account access to Jira, which takes a licence (admin.atlassian.com, Users).",
        everywhere=True,
    ),
    Cause(
        ("xsrf",),
        "See whether a proxy changes the headers User-Agent or Origin of requests.",
        everywhere=True,
    ),
    Cause(
        ("comment limit", "limit on comments", "limit of comments", "number of comments"),
        "Jira allows no further comment on this ticket: delete old ones, or go on in a new ticket.",
    ),
    Cause(("archived",), "Restore the ticket or project from the archive, or take it out of the scope."),
    Cause(
        ("permission to comment", "permission to add comment", "add comments", "add_comments"),
        f"Give the account Add Comments {_SCHEME}.",
    ),
    Cause(
        ("edit own comments", "edit_own_comments", "edit comment", "edit the comment", "edit this comment"),
        f"Give the account Edit Own Comments {_SCHEME}.",
    ),
    Cause(
        ("delete own comments", "delete_own_comments", "delete comment", "delete the comment"),
        f"Give the account Delete Own Comments {_SCHEME}.",
    ),
    Cause(
        ("browse projects", "browse_projects", "permission to see", "permission to view"),
        f"Give the account Browse Projects {_SCHEME}.",
    ),
    Cause(
        ("not editable", "jira.issue.editable"),
        "The workflow lets nobody change the ticket in its status: move it on, or see the workflow's property"
        " jira.issue.editable.",
    ),
)  # fmt: skip

_MAY_BE_LIMITS = {403, 503}  # where the words of the answer say so; a 400 may repeat words of people

# After these Jira may have executed a write nevertheless.
_TROUBLE = {408, 425, 500, 502, 503, 504}


class Forbidden(Rejected):
    """Jira accepts the login, but the account may not do this."""


class ForbiddenEverywhere(Forbidden, Blocked):
    """Jira accepts the login, but the account or the network may do nothing there."""


class NoSuchCall(Rejected):
    """The site has no such call at this address. Another call may give the same."""


class Unsuited(Rejected):
    """Jira understood the request and does not accept it as it is (400)."""


def error_of(
    status: int, headers: Mapping[str, str], body: bytes, *, write: bool, now: datetime, login: bool = True
) -> ConnectorError | None:
    """The error for a response; None for a successful one. `headers` have lower-case names.

    `now` is our time in UTC, used if the response has no `Date`. `login`: the request had our login.

    https://developer.atlassian.com/cloud/jira/platform/rest/v3/intro/#status-codes and
    https://developer.atlassian.com/cloud/jira/platform/rate-limiting/
    """
    if login and (why := _anonymous(status, headers)):
        return _unauthorized(why, headers, body)
    if status < 300:
        return None
    vendor_message = "; ".join(messages_of(body)) or f"HTTP {status}"
    cause = cause_of(CAUSES, vendor_message)
    if status < 400:
        return Rejected(
            f"Jira redirects to another address (HTTP {status}).",
            "Set base_url to the site's current address; Northing follows no redirect with its token.",
        )
    if status == 429 or (
        status in _MAY_BE_LIMITS and (says_limit(status, body) or "ratelimit-reason" in headers)
    ):
        return Unavailable("Jira limits our requests.", retry_after(headers, now) or LIMIT_PAUSE)
    if cause is not None and cause.everywhere and status in _MAY_BE_LIMITS | {404, 410}:
        return ForbiddenEverywhere(f"Jira forbids it: {vendor_message}", cause.what_to_do)
    if status in _TROUBLE:
        kind = Unanswered if write else Unavailable
        return kind(f"Jira has a problem: {vendor_message}", retry_after(headers, now))
    if status in {404, 410}:
        return Gone(f"Jira does not have it, or does not show it to us: {vendor_message}")
    if status in _NO_SUCH_CALL:
        return NoSuchCall(f"Jira does not know the call: {vendor_message}", ADDRESS)
    if status == 403:
        unnamed = _NO_REASON if vendor_message == "HTTP 403" else _SEE
        return Forbidden(f"Jira forbids it: {vendor_message}", unnamed if cause is None else cause.what_to_do)
    kind_of = Unsuited if status == 400 else Rejected
    return kind_of(f"Jira refused: {vendor_message}", _SEE if cause is None else cause.what_to_do)


def _unauthorized(why: str, headers: Mapping[str, str], body: bytes) -> Unauthorized:
    """https://developer.atlassian.com/cloud/jira/platform/basic-auth-for-rest-apis/#captcha"""
    words = "; ".join(messages_of(body))
    denied = f"{headers.get('x-authentication-denied-reason', '')} {headers.get('x-seraph-loginreason', '')}"
    cause = cause_of(_LOGIN_CAUSES, f"{words} {denied}")
    if cause is None:
        return Unauthorized(why, NEW_TOKEN)
    return Unauthorized(f"{why} It says: {words}" if words else why, cause.what_to_do)


def _anonymous(status: int, headers: Mapping[str, str]) -> str | None:
    """Why Jira did not accept the login, else None. Without a valid login, many calls give an empty 200."""
    if status == 401:
        return "Jira does not accept the credentials."
    reason = f"{headers.get('x-seraph-loginreason', '')} {headers.get('x-authentication-denied-reason', '')}"
    for word in ("AUTHENTICATED_FAILED", "AUTHENTICATION_DENIED", "CAPTCHA_CHALLENGE"):
        if word in reason:
            return f"Jira did not accept the credentials ({word})."
    if headers.get("x-ausername", "").casefold() == "anonymous":
        return "Jira treats our requests as anonymous."
    return None


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds to wait, never fewer than Jira says: `Retry-After` (number or date), else `X-RateLimit-Reset`.

    Else the time until a limit ends that `RateLimit` says is used up. None if the response has none of them.
    For a time in the past, one second.
    """
    retry_after_header = headers.get("retry-after", "").strip()
    try:
        seconds = float(retry_after_header)
    except ValueError:
        moment = _moment(retry_after_header) or _moment(headers.get("x-ratelimit-reset", ""))
        if moment is None:
            return _spent_for(headers, now)
        # Counted with Jira's clock (`Date`), because our clock may differ from it by hours.
        seconds = max((moment - (_moment(headers.get("date", "")) or now)).total_seconds(), 0.0)
    return min(max(seconds, 1.0), _LONGEST_WAIT) if 0 <= seconds < float("inf") else None


def _spent_for(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds until the limit ends that the structured header `RateLimit` says is used up."""
    budget = response_meta(headers, now).budget
    if budget is None or budget.remaining > 0 or budget.resets_at is None:
        return None
    return min(max((budget.resets_at - now).total_seconds(), 1.0), _LONGEST_WAIT)


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
    vendor_message = members_of(body)
    found = [vendor_message.get(name) for name in ("message", "errorMessage", "error", "detail")]
    listed = vendor_message.get("errorMessages")
    found += listed if isinstance(listed, list) else [listed]
    fields = vendor_message.get("errors")
    if isinstance(fields, dict):
        found += [f"{field}: {text}" for field, text in fields.items()]
    return [clean(text[:500]) for text in found if isinstance(text, str) and text][:5]
