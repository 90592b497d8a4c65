"""A comment on a GitHub issue: its body as we write and find it, and what a person's says. Pure.

https://docs.github.com/rest/issues/comments, https://docs.github.com/rest/reactions/reactions and
https://docs.github.com/rest/collaborators/collaborators#get-repository-permissions-for-a-user
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from connectors.base import BadPayload
from connectors.comments import TicketComment
from connectors.github.payloads import repository_and_number
from connectors.github.text import lines_of
from connectors.markup import quoted, to_markdown
from connectors.members import (
    MISREADINGS,
    list_in,
    moment_in,
    number_in,
    object_in,
    reason_of,
    remote_number,
    row_of,
    text_in,
)

if TYPE_CHECKING:
    from datetime import datetime

    from connectors.comments import CommandOutcome
    from connectors.document import Document
    from connectors.marker import Marker

NOTICE = "<!-- northing:notice -->"
REACTIONS: dict[CommandOutcome, str] = {"done": "+1", "not_understood": "confused", "not_allowed": "-1"}

_ISSUE_NUMBER = re.compile(r"/issues/([1-9][0-9]{0,18})\Z")
_LOGIN = re.compile(r"[A-Za-z0-9_.-]{1,100}")
# A role may be one of the organisation's own: what it may do stands beside its name.
_TRIAGES = ("triage", "push", "maintain", "admin")
_ROLES = frozenset({"triage", "write", "maintain", "admin"})

# --- our own comments -----------------------------------------------------------------------


def comment_body(text: Document, marker: Marker) -> dict[str, str]:
    return {"body": f"{_head(marker)}\n\n{to_markdown(text)}"}


_ID = re.compile(r"<!-- northing:id (.{1,100}/[0-9]{1,19}(?: [0-9a-f]{1,64})?) -->")


def _head(marker: Marker) -> str:
    return f"{NOTICE}\n<!-- northing:id {marker} -->"


def marker_of(comment: Any) -> str | None:
    """The marker in the first two lines of a comment; a marker on other lines is a quotation."""
    body = comment.get("body") if isinstance(comment, dict) else None
    lines = [line.strip() for line in str(body or "").splitlines()[:2]]
    if len(lines) < 2 or lines[0] != NOTICE:
        return None
    found = _ID.fullmatch(lines[1])
    return found and found[1]


def comment_row(row: Any) -> tuple[str, str | None, Any]:
    """The id and the author's id (None for a deleted account) of a listed comment, and the row itself.

    Raises `BadPayload`: the comment that cannot be read may be ours.
    """
    try:
        return number_in(row_of(row), "id"), remote_number(object_in(row, "user").get("id")), row
    except MISREADINGS as error:
        raise BadPayload(f"A comment in GitHub's answer could not be read: {reason_of(error)}") from None


def author_of(comment: Any) -> str | None:
    """The id of the account that wrote a comment; None where GitHub does not name one."""
    user = comment.get("user") if isinstance(comment, dict) else None
    return remote_number(user.get("id")) if isinstance(user, dict) else None


def is_notice(body: Any) -> bool:
    """Whether a comment's text begins like a notice of any installation."""
    return isinstance(body, str) and body.lstrip().partition("\n")[0].rstrip() == NOTICE


# --- comments of people -------------------------------------------------------------------------


def ticket_comment(comment: Any) -> tuple[str, TicketComment]:
    """A comment, and the number of its issue. `ours` is True for one that a program wrote.

    An app that relays what a person wrote is no program. Of the author's associations only OWNER says for
    certain what that person may do: a member may have the right to read alone, and who has contributed code
    may be anybody. Raises `BadPayload`.
    https://docs.github.com/graphql/reference/enums#commentauthorassociation
    """
    try:
        number = _ISSUE_NUMBER.search(comment["issue_url"])
        user, body = object_in(comment, "user"), text_in(comment, "body")
        ours = is_notice(body) or user.get("type") == "Bot"
        return number[1] if number else "", TicketComment(
            id=number_in(comment, "id"),
            author=quoted(user.get("login") or "ghost"),  # GitHub's own name for a deleted account
            lines=lines_of(body),
            ours=ours,
            author_id=author_of(comment),
            may_steer=not ours and comment.get("author_association") == "OWNER",
            created_at=moment_in(comment, "created_at") if comment.get("created_at") else None,
        )
    except MISREADINGS as error:
        raise BadPayload(f"A comment in GitHub's answer could not be read: {reason_of(error)}") from None


def ticket_comments(rows: list[Any]) -> list[tuple[str, TicketComment]]:
    """Those of a page that can be read, each as `ticket_comment` gives it."""
    found = []
    for row in rows:
        try:
            found.append(ticket_comment(row))
        except BadPayload:
            continue  # a comment of some issue: it must not hide the others
    return found


def updated_at(rows: list[Any]) -> datetime | None:
    """When the last comment of a page was changed, as far as its row shows it."""
    try:
        return moment_in(row_of(rows[-1]), "updated_at")
    except (*MISREADINGS, IndexError):
        return None


def is_author_or_assignee(issue: Any, account_id: str) -> bool:
    """Whether this account opened the issue or is assigned to it. Raises `BadPayload`."""
    try:
        people = [issue["user"], *list_in(issue, "assignees")]
        return account_id in [remote_number(row_of(one).get("id")) for one in people if one]
    except MISREADINGS as error:
        raise BadPayload(
            f"The author and assignees of an issue could not be read: {reason_of(error)}"
        ) from None


def is_login(name: str) -> bool:
    """Whether `name` can be that of an account, and so a part of an address."""
    return _LOGIN.fullmatch(name) is not None


def may_triage(answer: Any, account_id: str) -> bool:
    """Whether this account may triage or more, by its permission on the repository. Raises `BadPayload`.

    `permission` shows the right to triage as that to read, and a role of the organisation's own by the right
    that it begins with. A login may belong to another account now.
    """
    try:
        row = row_of(answer)
        user = object_in(row, "user")
        if user and remote_number(user.get("id")) != account_id:
            return False
        rights, role = object_in(user, "permissions"), text_in(row, "role_name")
        if role in _ROLES or any(rights.get(name) is True for name in _TRIAGES):
            return True
        return text_in(row, "permission") in _ROLES
    except MISREADINGS as error:
        raise BadPayload(f"GitHub's answer about a right could not be read: {reason_of(error)}") from None


def comment_url(web: str, key: str, comment_id: str) -> str:
    url_vars = repository_and_number(key)
    return (
        f"{web}/{url_vars['owner']}/{url_vars['repo']}/issues/{url_vars['number']}#issuecomment-{comment_id}"
    )
