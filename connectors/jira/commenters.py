"""A person's comment and their right, asked of Jira."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from connectors.base import CommentRef, Gone, TicketComment, Unauthorized
from connectors.jira import comments
from connectors.jira.errors import Forbidden, NoSuchCall, Unsuited
from connectors.jira.paging import property_of
from connectors.jira.transport import JiraTransport

# Raises `Unauthorized` where the credentials are not, or no longer, good.
EnsureSignedIn = Callable[[], Awaitable[object]]


async def read_comment(
    transport: JiraTransport, comment: CommentRef, make_sure: EnsureSignedIn
) -> TicketComment | None:
    """Three requests: the comment on the ticket that it is said to be on, whether it carries a notice's
    marker, and its author's right unless no person wrote it; a fourth where Jira does not say that.

    The way over the ticket, and not `POST comment/list`: that says of no comment where it stands. Before one
    counts as gone another makes sure that the credentials hold, for Jira shows nothing to those it does not
    know.
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
    """Whether the comment's author may edit the ticket, as Jira says it.

    To ask for somebody else takes Administer Jira, which Northing neither needs nor wants. Where Jira
    refuses the question, or does not know it, those whom the ticket itself names may: reporter, creator and
    assignee.
    """
    author = raw.get("author") or {}
    account = author.get("accountId")
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
