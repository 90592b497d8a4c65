"""Lists that take several requests: pages by position, and the markers of a ticket's comments."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from connectors.base import BadPayload, Gone, Rejected
from connectors.jira import payloads
from connectors.jira.transport import JiraTransport

MOST_ASKED_ONE_BY_ONE = 100


async def whole_list(
    transport: JiraTransport,
    path: str,
    member: str,
    params: dict[str, Any],
    *,
    not_found_is_gone: bool = False,
    keys: Collection[str] = (),
) -> list[dict[str, Any]]:
    """All pages of a list, or, with `keys` (in capitals), those until each of these is there.

    What stands on two pages is listed once: it moved while the list was read. Raises `BadPayload` where there
    are too many pages, or one has nothing new, as from a server that does not heed `startAt`: whether that
    has shown all cannot be told.
    """
    found: dict[str, dict[str, Any]] = {}
    place = 0
    for _ in range(payloads.MOST_PAGES):
        answer = await transport.call(
            "GET", path, params | {"startAt": place}, not_found_is_gone=not_found_is_gone
        )
        page = listed(answer, member)
        new = {str(item.get("id") or item.get("key")): item for item in page}
        if page and new.keys() <= found.keys():
            raise BadPayload(f"Jira's list at {path} goes on and has nothing new; it has no end to read to.")
        place += len(page)
        found |= new
        if payloads.at_end(answer, page, list(found)) or _has_all(found, keys):
            return list(found.values())
    raise BadPayload(f"Jira's list at {path} has more than {payloads.MOST_PAGES} pages.")


def _has_all(found: dict[str, dict[str, Any]], keys: Collection[str]) -> bool:
    return bool(keys) and {str(item.get("key")).upper() for item in found.values()} >= set(keys)


def listed(answer: Any, member: str) -> list[dict[str, Any]]:
    found = answer.get(member) if isinstance(answer, dict) else None
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise BadPayload(f"Jira's answer has no list of {member}.")
    return found


async def property_of(transport: JiraTransport, comment_id: str) -> Any:
    """What a comment carries as any installation's notice, with its key; None where there is no such thing.

    A comment that is not there, or not shown to us, has none either.
    https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-comment-properties/
    """
    try:
        return await transport.call(
            "GET", f"comment/{comment_id}/properties/{payloads.PROPERTY}", not_found_is_gone=True
        )
    except Gone:
        return None


async def markers_one_by_one(transport: JiraTransport, own: Sequence[str]) -> dict[str, str | None]:
    """The markers of our own account's comments, for a site that does not list them with their properties."""
    if len(own) > MOST_ASKED_ONE_BY_ONE:
        raise Rejected(
            f"The account has written {len(own)} comments on this ticket; which of them is Northing's would"
            " have to be asked for each.",
            "Give the source an account of its own, which writes nothing else.",
        )
    return {i: payloads.marker_of({"properties": [await property_of(transport, i)]}) for i in own}
