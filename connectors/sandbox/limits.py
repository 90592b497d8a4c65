"""Rate-limit answers as the vendors send them; a client must distinguish them from other refusals.

https://developer.atlassian.com/cloud/jira/platform/rate-limiting/ and
https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api. Some secondary limits of GitHub
have a message alone and no header (github.com/hub4j/github-api, #2009).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

from connectors.sandbox.faults import Action, answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

Headers = dict[str, str]

PRIMARY = "API rate limit exceeded for user ID 1."
SECONDARY = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."


def _jira(until: datetime, headers: Headers) -> Headers:
    reset = f"{until:%Y-%m-%dT%H:%M:%SZ}"
    return {"RateLimit-Reason": "jira-burst-based", "X-RateLimit-Reset": reset} | headers


def _github(remaining: int, until: datetime, headers: Headers) -> Headers:
    numbers = {
        "Limit": 5000,
        "Remaining": remaining,
        "Used": 5000 - remaining,
        "Reset": int(until.timestamp()),
    }
    return {f"X-RateLimit-{name}": str(number) for name, number in numbers.items()} | headers


# By name: the status, the message, and the headers, made from the seconds left and the moment the limit ends.
LIMITS: dict[str, tuple[int, str, Callable[[int, datetime], Headers]]] = {
    "jira": (429, "Rate limit exceeded.", lambda s, u: _jira(u, {"Retry-After": str(s)})),
    "jira_date": (429, "Rate limit exceeded.", lambda s, u: {"Retry-After": format_datetime(u, usegmt=True)}),
    "jira_reset": (429, "Rate limit exceeded.", lambda s, u: _jira(u, {})),
    "jira_silent": (429, "", lambda s, u: {}),
    "github_primary": (403, PRIMARY, lambda s, u: _github(0, u, {})),
    "github_primary_429": (429, PRIMARY, lambda s, u: _github(0, u, {})),
    "github_secondary": (403, SECONDARY, lambda s, u: _github(4000, u, {"Retry-After": str(s)})),
    "github_secondary_429": (429, SECONDARY, lambda s, u: _github(4000, u, {"Retry-After": str(s)})),
    "github_secondary_words": (403, SECONDARY, lambda s, u: _github(4000, u, {})),
    "github_silent": (429, "", lambda s, u: {}),
}


def limit(form: str, seconds: int, clock: Callable[[], datetime]) -> Action:
    """Answers with a rate limit that ends in `seconds`; `clock` is the tracker's own. Forms
    that end in `silent` or `words` do not tell the client when it ends."""
    status, message, headers = LIMITS[form]

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        until = clock().replace(microsecond=0) + timedelta(seconds=seconds)
        body = {"message": message} if message else ""
        await answer(status, body, headers(seconds, until))(app, scope, receive, send)

    return act
