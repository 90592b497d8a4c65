"""What an account may do with a comment in Jira: a person who wrote one, and Northing with its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from connectors.base import CommentRef, Gone, Unauthorized
from connectors.jira import comments
from connectors.jira.errors import Forbidden, NoSuchCall, Unsuited
from connectors.jira.paging import property_of
from connectors.webhooks import member

if TYPE_CHECKING:
    from connectors.comments import TicketComment
    from connectors.jira.transport import JiraTransport

# Raises `Unauthorized` if the credentials are not, or no longer, valid.
EnsureSignedIn = Callable[[], Awaitable[object]]


async def read_comment(
    transport: JiraTransport, comment: CommentRef, make_sure: EnsureSignedIn
) -> TicketComment | None:
    """The comment on the ticket that the webhook names; None if it is gone. Takes up to four requests.

    They read the comment, whether it has a notice's marker, its author's right (unless a program wrote it),
    and the ticket if Jira does not say that right. The comment is read by way of its ticket, because
    `POST comment/list` does not say on which ticket a comment is. If the comment is not there, `make_sure`
    checks the credentials, because without valid ones Jira shows nothing.
    """
    ticket, comment_id = comments.id_of(comment.ticket.remote_id), comments.id_of(comment.id)
    try:
        raw = await transport.call("GET", f"issue/{ticket}/comment/{comment_id}", not_found_is_gone=True)
        found = comments.ticket_comment(raw)
        if found.ours or await property_of(transport, comment.id) is not None:
            return replace(found, ours=True)
        return replace(found, may_steer=await _may_edit(transport, comment.ticket.remote_id, raw, make_sure))
    except Gone:
        await make_sure()
        return None


async def _may_edit(
    transport: JiraTransport, ticket: str, raw: dict[str, Any], make_sure: EnsureSignedIn
) -> bool:
    """Whether the comment's author may edit the ticket, as Jira says.

    The question about another account needs the permission Administer Jira, which Northing should not have.
    If Jira refuses the question or does not know it, the ticket's reporter, creator and assignee have the
    right.
    """
    account = member(raw, "author", "accountId")
    if not isinstance(account, str):
        return False
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
