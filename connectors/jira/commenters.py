"""A person's comment, and that person's right to edit the ticket, both read from Jira."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from connectors.base import CommentRef, Gone, TicketComment, Unauthorized
from connectors.jira import comments
from connectors.jira.errors import Forbidden, NoSuchCall, Unsuited
from connectors.jira.paging import property_of
from connectors.webhooks import member

if TYPE_CHECKING:
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
