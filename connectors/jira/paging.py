"""Lists that take several requests: pages by position, and the markers of a ticket's comments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from connectors.base import BadPayload, Gone, Rejected, Unavailable, Unreadable
from connectors.http_body import TooLarge
from connectors.jira import payloads, search
from connectors.jira.errors import NoSuchCall

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence
    from datetime import datetime

    from connectors.jira.transport import JiraTransport

MOST_ASKED_ONE_BY_ONE = 100
MARKERS_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Found:
    """The issues of an answer. `moments`: the key of each, empty where its row hides it, and when it was
    updated, as far as that could be read. `not_returned`: ids that it names with an error."""

    tickets: list[payloads.Ticket]
    unreadable: list[Unreadable]
    moments: list[tuple[str, datetime]]
    not_returned: frozenset[str] = frozenset()


def together(parts: Sequence[Found]) -> Found:
    """The issues of several answers, which have no next page."""
    whole = Found([], [], [])
    for part in parts:
        whole.tickets.extend(part.tickets)
        whole.unreadable.extend(part.unreadable)
        whole.moments.extend(part.moments)
    return whole


async def whole_list(
    transport: JiraTransport,
    path: str,
    member: str,
    params: dict[str, Any],
    *,
    not_found_is_gone: bool = False,
    keys: Collection[str] = (),
    anonymous: bool = False,
) -> list[dict[str, Any]]:
    """The items of all pages of a list; with `keys` (in capitals), of the pages until each key was found.

    An item on two pages is returned once: it moved while the list was read. Raises `BadPayload` if there are
    too many pages, or if a page has nothing new, as from a server that ignores `startAt`: such a list may be
    incomplete. A page that is too large is asked for again by halves of `params["maxResults"]`.
    """
    found: dict[str, dict[str, Any]] = {}
    start_at = 0
    for _ in range(search.MOST_PAGES):
        try:
            answer = await transport.call(
                "GET",
                path,
                params | {"startAt": start_at},
                not_found_is_gone=not_found_is_gone,
                anonymous=anonymous,
            )
        except TooLarge:
            if params["maxResults"] == 1:
                raise
            params = params | {"maxResults": params["maxResults"] // 2}
            continue
        page = listed(answer, member)
        new = {str(item.get("id") or item.get("key")): item for item in page}
        if page and new.keys() <= found.keys():
            raise BadPayload(f"Jira's list at {path} has a page with nothing new; it cannot be read in full.")
        start_at += len(page)
        found |= new
        if search.at_end(answer, page, list(found)) or _has_all(found, keys):
            return list(found.values())
    raise BadPayload(f"Jira's list at {path} has more than {search.MOST_PAGES} pages.")


def _has_all(found: dict[str, dict[str, Any]], keys: Collection[str]) -> bool:
    return bool(keys) and {str(item.get("key")).upper() for item in found.values()} >= set(keys)


def listed(answer: Any, member: str) -> list[dict[str, Any]]:
    found = answer.get(member) if isinstance(answer, dict) else None
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise BadPayload(f"Jira's answer has no list of {member}.")
    return found


async def property_of(transport: JiraTransport, comment_id: str) -> Any:
    """The property, with its key, that marks a comment as a notice of any installation; None without one.

    None also if the comment is not there or Jira does not show it.
    https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-comment-properties/
    """
    try:
        return await transport.call(
            "GET", f"comment/{comment_id}/properties/{payloads.PROPERTY}", not_found_is_gone=True
        )
    except Gone:
        return None


async def markers_of(
    transport: JiraTransport, ids: Sequence[str], account: Callable[[], Awaitable[object]]
) -> dict[str, str | None]:
    """The markers of these comments by id. `account` finds out whether the login is still valid, which an
    answer that leaves comments out makes doubtful, and raises `Unauthorized`."""
    markers: dict[str, str | None] = {}
    try:
        for start in range(0, len(ids), MARKERS_AT_ONCE):
            batch = ids[start : start + MARKERS_AT_ONCE]
            body = {"ids": [int(i) for i in batch]}
            answer = await transport.call("POST", "comment/list", {"expand": "properties"}, body)
            shown = {payloads.comment_id(c): payloads.marker_of(c) for c in listed(answer, "values")}
            if not shown.keys() >= set(batch):
                # The ticket would seem to have no comment of ours, and the writer would add a second one.
                await account()
                raise Unavailable("Jira did not show every comment that it had listed.")
            markers |= shown
    except NoSuchCall:
        markers = await _markers_one_by_one(transport, ids)
        if not all(markers.values()):
            await account()
    return markers


async def _markers_one_by_one(transport: JiraTransport, own: Sequence[str]) -> dict[str, str | None]:
    """The markers of our own account's comments, for a site that cannot list comments with their properties.

    One request for each comment. Raises `Rejected` if there are too many.
    """
    if len(own) > MOST_ASKED_ONE_BY_ONE:
        raise Rejected(
            f"The account has written {len(own)} comments on this ticket; finding Northing's takes one"
            " request for each.",
            "Give the source an account of its own that writes nothing else.",
        )
    return {i: payloads.marker_of({"properties": [await property_of(transport, i)]}) for i in own}
