"""A person's comment on a Jira ticket, and whether that person may edit the ticket. Pure.

https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-comments/ and
https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-permissions/
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from connectors.base import BadPayload
from connectors.comments import TicketComment
from connectors.jira.text import lines_of
from connectors.markup import quoted
from connectors.members import MISREADINGS, moment_in, number_in, object_in, reason_of, row_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

EDIT = "EDIT_ISSUES"
PERSON_FIELDS = ("reporter", "creator", "assignee")

_ID = re.compile(r"[0-9]{1,19}")


def id_of(text: str) -> int:
    """A ticket's or comment's id as a number, as the calls for many ids need it. Raises `BadPayload`."""
    if not _ID.fullmatch(text):
        raise BadPayload(f"{quoted(text)} is not an id of Jira.")
    return int(text)


def ticket_comment(comment: Any) -> TicketComment:
    """A comment; `ours` is True for one that an app wrote.

    The caller still has to find out whether it has a marker, and its author's right. Raises `BadPayload`.
    """
    try:
        author = object_in(row_of(comment), "author")
        return TicketComment(
            id=number_in(comment, "id"),
            author=quoted(author.get("displayName") or author.get("accountId") or "anonymous"),
            lines=lines_of(comment.get("body")),
            ours=author.get("accountType") == "app",
            may_steer=False,
            author_id=author_of(comment),
            restricted=_is_restricted(comment),
            created_at=moment_in(comment, "created") if comment.get("created") else None,
        )
    except MISREADINGS as error:
        raise BadPayload(f"A comment in Jira's answer could not be read: {reason_of(error)}") from None


def _is_restricted(comment: dict[str, Any]) -> bool:
    """For a role or group alone, or internal to a service desk, which its customers do not see."""
    return bool(comment.get("visibility")) or comment.get("jsdPublic") is False


def ticket_comments(rows: Iterable[Any], since: datetime) -> list[TicketComment]:
    """The comments written or changed at or after `since`, without those that cannot be read."""
    found = []
    for row in rows:
        try:
            if moment_in(row_of(row), "updated") >= since:
                found.append(ticket_comment(row))
        except (*MISREADINGS, BadPayload):
            continue  # it must not hide the others
    return found


def author_of(comment: Any) -> str | None:
    """The id of the account that wrote a comment; None where Jira does not name one."""
    author = comment.get("author") if isinstance(comment, dict) else None
    account = author.get("accountId") if isinstance(author, dict) else None
    return account if isinstance(account, str) and account else None


def permission_question(account_id: str, issue_id: str) -> dict[str, Any]:
    """The body of `POST permissions/check`: may this account edit this issue?"""
    return {
        "accountId": account_id,
        "projectPermissions": [{"permissions": [EDIT], "issues": [id_of(issue_id)]}],
    }


def is_permitted(answer: Any, issue_id: str) -> bool:
    """Whether the answer of `permissions/check`, a list of issues with the right, contains the issue.

    Raises `BadPayload`.
    """
    try:
        return any(
            str(issue) == issue_id
            for grant in answer["projectPermissions"]
            if grant["permission"] == EDIT
            for issue in grant["issues"]
        )
    except MISREADINGS as error:
        raise BadPayload(f"Jira's answer about permissions could not be read: {reason_of(error)}") from None


def is_a_person_of(issue: Any, account_id: str) -> bool:
    """Whether this account is active and the ticket's reporter, creator or assignee. Raises `BadPayload`."""
    try:
        people = [object_in(row_of(issue["fields"]), name) for name in PERSON_FIELDS]
        return any(
            person.get("accountId") == account_id and person.get("active") is True for person in people
        )
    except MISREADINGS as error:
        raise BadPayload(f"Jira's answer about a ticket could not be read: {reason_of(error)}") from None


def concerns_administrators(message: str) -> bool:
    """Whether a refusal says that only administrators may ask; the word is similar in most languages."""
    return re.search(r"administ", message, re.IGNORECASE) is not None
