"""GitHub's error responses as errors of the contract. Pure: the caller passes the time of the response."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from connectors.addresses import split_address
from connectors.base import Blocked, ConnectorError, Gone, Rejected, Unanswered, Unauthorized, Unavailable
from connectors.markup import clean
from connectors.refusals import LIMIT_PAUSE, Cause, cause_of, members_of, says_limit

if TYPE_CHECKING:
    from collections.abc import Mapping

NEW_TOKEN = "Make a new token and put it into the source's credentials."  # noqa: S105  # words, no token
SINGLE_SIGN_ON = (
    "Authorise the token for the organisation's single sign-on (GitHub, Settings, Developer settings,"
    " Configure SSO beside the token)"
)
_LONGEST_WAIT = 24 * 3600.0
_MAY_BE_LIMITS = {400, 403, 409, 422, 503}  # where the words of the answer say so
_PERMISSIONS = "The token needs Issues read and write and Metadata read on this repository."
_NO_REASON = "GitHub gives no reason; `northing check` shows which rights the token has."
_ONLY_GITHUB = "Only GitHub can lift this; see what it says, or take the repository out of the scope."
_SEE = "See what GitHub says, and change the source or the ticket."

_EXPIRED = Cause(("expired",), NEW_TOKEN, everywhere=True)
# The first that fits counts. What is not named here is answered with GitHub's own words alone, because a
# wrong advice costs more time than none. https://docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api
CAUSES = (
    Cause(("saml enforcement", "single sign-on", "saml sso"), f"{SINGLE_SIGN_ON}.", everywhere=True),
    Cause(
        ("ip allow list", "ip address is not permitted"),
        "Add the address at which this machine, or its proxy, is seen to the organisation's IP allow list.",
        everywhere=True,
    ),
    Cause(
        ("token's lifetime", "token lifetime"),
        "Make a token that lives no longer than GitHub says, and put it into the source's credentials.",
        everywhere=True,
    ),
    Cause(
        ("personal access token (classic)", "personal access tokens (classic)", "classic personal access"),
        "Make a fine-grained token for the organisation, and put it into the source's credentials.",
        everywhere=True,
    ),
    Cause(
        ("forbids access via",),
        "Make a token of a kind that the organisation allows, and put it into the source's credentials.",
        everywhere=True,
    ),
    Cause(
        ("oauth app access restrictions",),
        "Let an owner of the organisation approve the app, or use a fine-grained personal access token.",
        everywhere=True,
    ),
    Cause(
        ("installation has been suspended", "installation is suspended"),
        "Let an owner of the organisation unsuspend the installation (Settings, GitHub Apps).",
        everywhere=True,
    ),
    Cause(
        (
            "account was suspended",
            "account is suspended",
            "account has been suspended",
            "account was flagged",
        ),
        "Let GitHub's support or the site's administrator restore the account, or use another one's token.",
        everywhere=True,
    ),
    Cause(
        ("enterprise managed user",),
        "Use the token of an account that is not managed by an enterprise, or of one of the same enterprise.",
        everywhere=True,
    ),
    Cause(
        ("email address must be verified", "verify your email", "verified email"),
        "Verify the e-mail address of the account (GitHub, Settings, Emails).",
        everywhere=True,
    ),
    Cause(
        ("two-factor",),
        "Turn on two-factor authentication for the account (GitHub, Settings, Password and authentication).",
        everywhere=True,
    ),
    Cause(("trade controls",), "Only GitHub can lift this; see what it says.", everywhere=True),
    Cause(
        ("spending limit", "billing", "payment"),
        "See the billing settings of the account or organisation that owns the repository.",
        everywhere=True,
    ),
    Cause(
        ("administrative rules", "user-agent"),
        "See whether a proxy takes the header User-Agent out of requests.",
        everywhere=True,
    ),
    Cause(("access blocked", "repository has been disabled", "dmca"), _ONLY_GITHUB),
    Cause(("resource not accessible by",), _PERMISSIONS),
    Cause(
        ("must have admin", "must have push", "must have write", "must have maintain", "must have triage"),
        "Give the account the role in the repository that GitHub names.",
    ),
    Cause(
        ("locked for migration", "being migrated"),
        "Wait for the end of the migration, or unlock the repository; then sync again.",
    ),
    # A new token does not help here; write access to the repository helps for a locked conversation only.
    # https://docs.github.com/communities/moderating-comments-and-conversations/locking-conversations
    Cause(
        ("is locked", "been locked"),
        "Unlock the conversation, or give the account write access to the repository.",
    ),
    # https://docs.github.com/repositories/archiving-a-github-repository/archiving-repositories
    Cause(("archived",), "Unarchive the repository, or take it out of the scope."),
    # https://docs.github.com/communities/moderating-comments-and-conversations/limiting-interactions-in-your-repository
    Cause(
        ("limited the ability", "interaction limit", "interactions", "collaborators", "prior contributors"),
        "End the limit on who may comment (repository or organisation Settings, Moderation options), or make"
        " the account a collaborator.",
    ),
    Cause(
        ("user is blocked", "been blocked", "are blocked", "blocked you", "blocked by"),
        "Unblock the account (Settings of the owner, Moderation, Blocked users).",
    ),
    Cause(
        ("commenting is disabled", "comments are disabled"),
        "GitHub allows no further comment on this issue: delete old ones, or go on in a new issue.",
    ),
    Cause(
        ("issues are disabled", "issues has been disabled"),
        "Turn on Issues in the repository's Settings, or take it out of the scope.",
    ),
)

_ACCEPTED = re.compile(r"[a-z_]{1,60}=[a-z]{1,20}(?:[;,] ?[a-z_]{1,60}=[a-z]{1,20}){0,9}")
_SSO_ADDRESS = re.compile(r"(?:^|;)\s*url=([!-~]{1,1000})\s*$")


class Forbidden(Rejected):
    """GitHub accepts the token, but the token may not do this."""


class ForbiddenEverywhere(Forbidden, Blocked):
    """GitHub accepts the token, but the account, the token or the network may do nothing there."""


class Moved(Unavailable):
    """The repository or issue has a new address. The connector does not repeat a write there."""


def error_of(
    status: int, headers: Mapping[str, str], body: bytes, *, write: bool, now: datetime, web: str = ""
) -> ConnectorError | None:
    """The error for a response; None for a successful one. `headers` are looked up in lower case.

    https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api: a 403 is a rate limit
    only if it has `retry-after`, if no requests remain, or if its words say so (some secondary limits
    give only words, and comments sent too quickly are a 422); else something forbids the call. `now` is our
    time in UTC, used if the response has no `Date`. `web`: the address of GitHub's pages for people.
    """
    if status < 300:
        return None
    vendor_message = message_of(body) or f"HTTP {status}"
    if status < 400:
        return Moved("The repository or issue has moved; Northing looks up its new address first.")
    if status == 401:
        cause = cause_of((_EXPIRED, *CAUSES), vendor_message)  # mostly "Bad credentials", which says no cause
        words = "" if cause is None else f" It says: {vendor_message}"
        todo = NEW_TOKEN if cause is None else cause.what_to_do
        return Unauthorized(f"GitHub does not accept the token.{words}", todo)
    if (header := headers.get("x-github-sso", "").strip()).startswith("required"):
        return ForbiddenEverywhere(f"GitHub forbids it: {vendor_message}", _single_sign_on(header, web))
    now = _moment(headers.get("date", "")) or now  # GitHub's clock, because GitHub says until when to wait
    if (wait := _limit(status, headers, body, now)) is not None:
        return Unavailable("GitHub limits our requests.", wait)
    if status in {408, 425} or status >= 500:
        kind = Unanswered if write else Unavailable
        return kind(f"GitHub has a problem: {vendor_message}", _seconds(headers, now))
    return _refusal(status, headers, vendor_message)


def _refusal(status: int, headers: Mapping[str, str], vendor_message: str) -> ConnectorError:
    cause = cause_of(CAUSES, vendor_message)
    if status in {404, 410, 451}:
        gone = f"GitHub does not have it, or does not show it to us: {vendor_message}"
        return Gone(gone, "" if cause is None else cause.what_to_do)
    if cause is None:
        what_to_do = _NO_REASON if vendor_message == f"HTTP {status}" else _SEE
    elif cause.what_to_do == _PERMISSIONS:
        what_to_do = _permissions(headers)
    else:
        what_to_do = cause.what_to_do
    everywhere = cause is not None and cause.everywhere
    if status == 403 or everywhere:
        forbidden = ForbiddenEverywhere if everywhere else Forbidden
        return forbidden(f"GitHub forbids it: {vendor_message}", what_to_do)
    return Rejected(f"GitHub refused: {vendor_message}", what_to_do)


def is_missing_permission(error: ConnectorError) -> bool:
    """Whether the token may lack a permission: GitHub says so, or that there is nothing."""
    cause = cause_of(CAUSES, error.message)
    return isinstance(error, Gone) or (cause is not None and cause.what_to_do == _PERMISSIONS)


def _permissions(headers: Mapping[str, str]) -> str:
    """The permissions that GitHub asks for, in its own words where it names them."""
    accepted = headers.get("x-accepted-github-permissions", "").strip()
    if not _ACCEPTED.fullmatch(accepted):
        return _PERMISSIONS
    return f"Give the token the permission that GitHub asks for on this repository: {accepted}."


def _single_sign_on(header: str, web: str) -> str:
    """What to do, with the address that GitHub names if it is one of GitHub's own pages.

    https://docs.github.com/rest/authentication/authenticating-to-the-rest-api#authorizing-your-personal-access-token-for-saml-single-sign-on
    """
    named = _SSO_ADDRESS.search(header)
    address = split_address(named[1]) if named else None
    ours = split_address(web)
    if named is None or address is None or ours is None or address.scheme != "https" or "@" in address.netloc:
        return f"{SINGLE_SIGN_ON}."
    if not address.hostname or (address.hostname, address.port or 443) != (ours.hostname, ours.port or 443):
        return f"{SINGLE_SIGN_ON}."
    return f"{SINGLE_SIGN_ON}, or open this address within an hour, signed in as the account: {named[1]}"


def leaves_out(headers: Mapping[str, str]) -> bool:
    """Whether a list leaves out what an organisation protects by single sign-on."""
    return headers.get("x-github-sso", "").strip().startswith("partial-results")


def _limit(status: int, headers: Mapping[str, str], body: bytes, now: datetime) -> float | None:
    """Seconds until the limit ends, never fewer than GitHub says; None if the response is no rate limit."""
    seconds = _seconds(headers, now)
    if status in {403, 429}:
        if seconds is not None:
            return seconds
        if headers.get("x-ratelimit-remaining", "").strip() == "0":
            try:
                reset = float(headers.get("x-ratelimit-reset", ""))
            except ValueError:
                return LIMIT_PAUSE
            return _clamped(reset - now.timestamp())
    if status != 429 and not (status in _MAY_BE_LIMITS and says_limit(status, body)):
        return None
    return LIMIT_PAUSE if seconds is None else seconds


def _seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    retry_after_header = headers.get("retry-after", "").strip()
    if not retry_after_header:
        return None
    try:
        return _clamped(float(retry_after_header))
    except ValueError:
        pass
    moment = _moment(retry_after_header)
    return LIMIT_PAUSE if moment is None else _clamped((moment - now).total_seconds())


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _clamped(seconds: float) -> float:
    return min(max(seconds, 1.0), _LONGEST_WAIT) if seconds == seconds else LIMIT_PAUSE


def message_of(body: bytes) -> str:
    """What an error body says, in one line that can be stored and shown; empty if it is not a JSON object."""
    vendor_message = members_of(body)
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
