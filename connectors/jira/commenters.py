"""What an account may do with a comment in Jira: a person who wrote one, and Northing with its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from connectors.base import BadPayload, Blocked, CommentRef, Gone, RecentComments, Rejected, Unauthorized
from connectors.http_body import TooLarge
from connectors.jira import comments
from connectors.jira.errors import Forbidden, NoSuchCall, Unsuited
from connectors.jira.paging import listed, property_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from connectors.base import EpicRef
    from connectors.comments import TicketComment
    from connectors.jira.transport import JiraTransport

MOST_COMMENTS = 100  # of a ticket that are looked through, the newest first

# Raises `Unauthorized` if the credentials are not, or no longer, valid.
EnsureSignedIn = Callable[[], Awaitable[object]]


async def read_comment(
    transport: JiraTransport, comment: CommentRef, make_sure: EnsureSignedIn
) -> TicketComment | None:
    """The comment on the ticket that the webhook names; None if it is gone.

    It is read by way of its ticket, because `POST comment/list` does not say on which ticket a comment is. If
    it is not there, `make_sure` checks the credentials, because without valid ones Jira shows nothing.
    """
    ticket, comment_id = comments.id_of(comment.ticket.remote_id), comments.id_of(comment.id)
    try:
        raw = await transport.call("GET", f"issue/{ticket}/comment/{comment_id}", not_found_is_gone=True)
    except Gone:
        await make_sure()
        return None
    return comments.ticket_comment(raw)


async def with_right(
    transport: JiraTransport, ticket: EpicRef, comment: TicketComment, make_sure: EnsureSignedIn
) -> TicketComment | None:
    """See `Connector.with_right`. Up to three requests: whether the comment has a notice's marker, its
    author's right, and the ticket if Jira does not say that right."""
    if comment.ours:
        return comment
    try:
        if await property_of(transport, comment.id) is not None:
            return replace(comment, ours=True)
        account = comment.author_id
        may = account is not None and await _may_edit(transport, ticket.remote_id, account, make_sure)
        return replace(comment, may_steer=may)
    except Gone:
        await make_sure()
        return None


async def recent_comments(
    transport: JiraTransport, tickets: Sequence[EpicRef], since: datetime
) -> RecentComments:
    """See `Connector.recent_comments`. One request for each ticket, for its newest `MOST_COMMENTS`.

    A ticket that cannot be read does not hide the others; where none can, its error is raised.
    """
    found: list[tuple[EpicRef, TicketComment]] = []
    unread: set[EpicRef] = set()
    for ticket in tickets:
        path = f"issue/{comments.id_of(ticket.remote_id)}/comment"
        params = {"orderBy": "-created", "maxResults": MOST_COMMENTS}
        try:
            answer = await transport.call("GET", path, params, not_found_is_gone=True)
            rows = listed(answer, "comments")
        except (Gone, TooLarge):
            continue
        except Blocked:
            raise
        except (BadPayload, Rejected):
            unread.add(ticket)
            if len(unread) == len(tickets):
                raise
            continue
        found += [(ticket, one) for one in comments.ticket_comments(rows, since)]
    return RecentComments(tuple(found), unread=frozenset(unread))


async def _may_edit(transport: JiraTransport, ticket: str, account: str, make_sure: EnsureSignedIn) -> bool:
    """Whether the comment's author may edit the ticket, as Jira says.

    The question about another account needs the permission Administer Jira, which Northing should not have.
    If Jira refuses the question or does not know it, the ticket's reporter, creator and assignee have the
    right.
    """
    question = comments.permission_question(account, ticket)
    try:
        answer = await transport.call("POST", "permissions/check", body=question)
    except (Forbidden, NoSuchCall):
        return await _is_a_person_of(transport, ticket, account)
    except Unsuited as error:
        if not comments.concerns_administrators(error.message):
            raise
        return await _is_a_person_of(transport, ticket, account)
    except Unauthorized:
        await make_sure()
        return await _is_a_person_of(transport, ticket, account)
    return comments.is_permitted(answer, ticket)


async def _is_a_person_of(transport: JiraTransport, ticket: str, account: str) -> bool:
    fields = {"fields": ",".join(comments.PERSON_FIELDS)}
    return comments.is_a_person_of(
        await transport.call("GET", f"issue/{ticket}", fields, not_found_is_gone=True), account
    )


@asynccontextmanager
async def explain_not_found(
    transport: JiraTransport, comment: str | None, make_sure: EnsureSignedIn
) -> AsyncIterator[None]:
    """Find out why Jira answered "not found" to a write: it also says so if the account may not see or change
    the ticket or comment. `comment`: the path of the one that was to be changed, None for a new one.

    Such a write has changed nothing. Re-raises `Gone`, unless the login is not valid (`Unauthorized`) or the
    comment is still there (`Forbidden`).
    """
    try:
        yield
    except Gone as error:
        await make_sure()
        if comment is None:
            raise
        await transport.call("GET", comment, not_found_is_gone=True)
        raise Forbidden(
            f"Jira shows our comment and does not let us change it. {error.message}",
            "Give the account the permission Edit own comments.",
        ) from error
