"""People's comments on GitHub issues: what their authors may do, which are new, and our reaction to one."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from connectors.base import Gone, RecentComments, Rejected, Unanswered
from connectors.github import comments, payloads
from connectors.github.errors import Forbidden, ForbiddenEverywhere
from connectors.github.listing import SMALLER
from connectors.http_body import TooLarge
from connectors.members import remote_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from connectors.base import CommentRef, EpicRef
    from connectors.comments import CommandOutcome, TicketComment
    from connectors.github.transport import GitHubTransport

# Of one repository at once: 1,000 comments. What is left is asked for by the next call.
MOST_PAGES = 10

_ISSUE = "/repos/{owner}/{repo}/issues/{number}"
_PERMISSION = "/repos/{owner}/{repo}/collaborators/{login}/permission"
_COMMENTS = "/repos/{owner}/{repo}/issues/comments?sort=updated&direction=asc"
_REACTIONS = "/repos/{owner}/{repo}/issues/comments/{comment}/reactions"


async def with_right(
    transport: GitHubTransport, ticket: EpicRef, comment: TicketComment
) -> TicketComment | None:
    """See `Connector.with_right`. Up to two requests: the permission of the author, then the issue, whose
    author and assignees have the right. Who has none of these two can be anybody."""
    if comment.ours or comment.may_steer or comment.author_id is None:
        return comment
    url_vars = payloads.repository_and_number(ticket.key)
    if await _may_triage(transport, url_vars, comment.author, comment.author_id):
        return replace(comment, may_steer=True)
    try:
        issue = await transport.item(_ISSUE, url_vars)
    except Gone:
        return None
    return replace(comment, may_steer=comments.is_author_or_assignee(issue, comment.author_id))


async def _may_triage(
    transport: GitHubTransport, url_vars: dict[str, str], login: str, account_id: str
) -> bool:
    """A 404 means that the account is no collaborator; a refusal, that our token may not ask."""
    if not comments.is_login(login):
        return False
    try:
        answer = await transport.item(_PERMISSION, url_vars | {"login": login})
    except ForbiddenEverywhere:
        raise
    except (Gone, Forbidden):
        return False
    return comments.may_triage(answer, account_id)


async def recent_comments(
    transport: GitHubTransport, tickets: Sequence[EpicRef], since: datetime
) -> RecentComments:
    """See `Connector.recent_comments`. One list for the whole repository, the oldest change first."""
    size = payloads.PAGE_SIZE
    while True:
        try:
            return await _listed(transport, tickets, since, size)
        except TooLarge:
            if size not in SMALLER:
                raise
            size = SMALLER[size]


async def _listed(
    transport: GitHubTransport, tickets: Sequence[EpicRef], since: datetime, size: int
) -> RecentComments:
    url_vars = [payloads.repository_and_number(ticket.key) for ticket in tickets]
    by_number = {one["number"]: ticket for one, ticket in zip(url_vars, tickets, strict=True)}
    if not by_number:
        return RecentComments()
    stamp = f"{since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    url: str | None = f"{_COMMENTS}&since={stamp}&per_page={size}"
    found: list[tuple[EpicRef, TicketComment]] = []
    used: set[str] = set()
    rows: list[Any] = []
    for _ in range(MOST_PAGES):
        try:
            rows, url = await transport.page(url or "", url_vars[0])
        except Gone as error:
            raise Rejected(f"The comments of the repository cannot be read. {error.message}") from error
        payloads.record_page_url(url, used)
        read = await asyncio.to_thread(comments.ticket_comments, rows)
        found += [(by_number[number], one) for number, one in read if number in by_number]
        if url is None:
            return RecentComments(tuple(found))
    return RecentComments(tuple(found), comments.updated_at(rows) or since)


async def acknowledge(
    transport: GitHubTransport, comment: CommentRef, outcome: CommandOutcome, former: str | None
) -> str | None:
    """See `Connector.acknowledge`. The id is `+1/123`, so that it says what is shown.

    GitHub answers a reaction that is there already with the same one.
    """
    content = comments.REACTIONS[outcome]
    shown, _, former_id = (former or "").partition("/")
    if shown == content:
        return former
    url_vars = payloads.repository_and_number(comment.ticket.key) | {"comment": comment.id}
    if former_id:
        with suppress(Gone):  # taken back already, perhaps by ourselves just before a crash
            await transport.remove(f"{_REACTIONS}/{{reaction}}", url_vars | {"reaction": former_id})
    made = await transport.send("POST", _REACTIONS, url_vars, {"content": content})
    if (made_id := remote_number(made.get("id"))) is None:
        raise Unanswered("GitHub accepted the reaction but did not give its id.")
    return f"{content}/{made_id}"
