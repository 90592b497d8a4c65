"""GitHub over the network: this module makes the calls; all that needs no call is in the pure modules."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from connectors.base import (
    Account,
    BadPayload,
    Blocked,
    ChangedChildren,
    Children,
    Comment,
    CommentRef,
    ConnectorError,
    Epic,
    EpicRef,
    Gone,
    ManyProjects,
    Missing,
    Page,
    Parent,
    Project,
    RecentComments,
    Rejected,
    Unanswered,
    Unauthorized,
    Unavailable,
    Unreadable,
)
from connectors.clock import Clock, utc_now
from connectors.config import joined
from connectors.github import commenters, comments, payloads
from connectors.github.choices import choices_of
from connectors.github.epic_names import EpicNames
from connectors.github.errors import NEW_TOKEN, SINGLE_SIGN_ON, Forbidden
from connectors.github.inspect import GitHubInspector
from connectors.github.known_answers import KnownAnswers
from connectors.github.listing import SMALLER, Listing, moment_of
from connectors.github.pace import AT_ONCE
from connectors.github.transport import GitHubTransport, NotModified
from connectors.http_body import TooLarge, answer_in_memory
from connectors.members import remote_number
from connectors.network import DIRECT, Network
from connectors.rate_limits import ResponseMeta, budget_spent_until
from connectors.side_by_side import side_by_side
from connectors.timeouts import TIMEOUTS, Timeouts

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from connectors.base import NamedProject, Wait
    from connectors.comments import CommandOutcome, TicketComment
    from connectors.diagnostics import Choice, Inspection
    from connectors.document import Document
    from connectors.github.config import GitHubCredentials, GitHubEpics, GitHubScope
    from connectors.marker import Marker

_PAGE = f"per_page={payloads.PAGE_SIZE}"
_ISSUE = "/repos/{owner}/{repo}/issues/{number}"
_COMMENT = "/repos/{owner}/{repo}/issues/comments/{comment}"
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass
class _Read:
    """What was read of an answer's issues. `moments`: when each was updated, as far as it could be read.
    `parents`: the issues that are parents of these."""

    issues: list[payloads.Issue] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    moments: list[datetime] = field(default_factory=list)
    parents: dict[EpicRef, datetime] = field(default_factory=dict)


class GitHubConnector:
    """Repositories of one GitHub host; see `connectors.base.Connector`.

    It reads repositories side by side, within GitHub's limits, and sends all else one after the other.
    https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api
    """

    tickets_change_id = True
    writes_one_at_a_time = True
    children_on_tickets = True
    reads_at_once = AT_ONCE
    many_projects: ManyProjects | None = None  # each repository has a list of issues of its own

    def __init__(
        self,
        base_url: str,
        credentials: GitHubCredentials,
        scope: GitHubScope,
        epics: GitHubEpics,
        timeouts: Timeouts = TIMEOUTS,
        clock: Clock = utc_now,
        network: Network = DIRECT,
    ) -> None:
        self._transport = GitHubTransport(
            base_url.rstrip("/"), credentials.token.get_secret_value(), timeouts, clock, network
        )
        self._web = payloads.web_base(base_url)
        self._scope = scope
        self._epics = epics
        self.answers = KnownAnswers(self._transport)
        self._account: Account | None = None
        self._present: set[str] | None = None  # the current names of the repositories in scope, case-folded

    @property
    def requests(self) -> int:
        return self._transport.calls

    @property
    def uncounted_requests(self) -> int:
        return self._transport.uncounted

    @property
    def response_meta(self) -> ResponseMeta:
        return self._transport.response_meta

    def restore_budget(self, response_meta: ResponseMeta, received_at: datetime) -> None:
        self._transport.paused_until = budget_spent_until(response_meta, received_at)

    def keep_pace(self, wait: Wait) -> None:
        self._transport.wait = wait

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def inspect(self, seconds: float | None = None) -> Inspection:
        return await GitHubInspector(self, self._transport, self._epics).inspect(seconds)

    async def choices(self) -> list[Choice]:
        return await choices_of(self._transport)

    # --- reading ---

    async def account(self) -> Account:
        try:
            self._account = await self.answers.account()
        except Blocked:
            raise
        except Forbidden as error:
            raise Unauthorized(error.message, NEW_TOKEN) from error
        except Gone as error:
            raise Rejected(
                "No GitHub API answers at base_url.",
                "Set base_url to https://api.github.com or https://HOST/api/v3.",
            ) from error
        return self._account

    async def projects(self) -> list[Project]:
        names = {name.casefold(): name for name in self._scope.repositories}.values()
        # Without a pace, what the second limit takes is not known to be enough for more than one.
        at_once = 1 if self._transport.wait is None else AT_ONCE
        found = await side_by_side(self._repository, names, at_once)
        for organization in self._scope.organizations:
            found += await self._organization(organization)
        projects = joined(found)
        self._present = {project.key.casefold() for project in projects}
        return projects

    async def unknown_names(self, projects: Sequence[Project]) -> dict[str, list[str]]:
        readable = [project for project in projects if project.problem is None]
        return await EpicNames(self._transport, self._epics, readable).unknown() if readable else {}

    async def _repository(self, name: str) -> Project:
        """The repository that the scope means by `name`; GitHub redirects from the name of before a rename.

        That redirect ends once another repository gets the name, and it is a request more, which counts: one
        that is known to have another name is asked for by its id, at the address to which GitHub's own
        redirects lead.
        """
        owner, _, repo = name.partition("/")
        known = self._scope.known_project(name)
        found: Project | None = None
        problem = what_to_do = ""
        if known is not None and known.key.casefold() != name.casefold():
            found = await self._by_id(known)
        if found is None:
            try:
                found = await self.answers.repository("/repos/{owner}/{repo}", {"owner": owner, "repo": repo})
            except (Gone, Forbidden) as error:
                problem, what_to_do = error.message, error.what_to_do
        if known is not None and (found is None or found.remote_id != known.id):
            found = await self._by_id(known) or found
        return replace(found or Project(name, problem=problem, what_to_do=what_to_do), named=(name,))

    async def _by_id(self, known: NamedProject) -> Project | None:
        """None where it was deleted: the name then means the repository that has it now."""
        try:
            return await self.answers.repository("/repositories/{id}", {"id": known.id})
        except (Gone, Forbidden):
            return None

    async def _organization(self, organization: str) -> list[Project]:
        """The organisation's repositories, without those that are archived or have no issues.

        Each repository costs one request per sync, and in old organisations most are archived. A source that
        needs one of these names it in `repositories`.
        """
        url: str | None = f"/orgs/{{org}}/repos?sort=full_name&direction=asc&{_PAGE}"
        used: set[str] = set()
        found: list[Project] = []
        partial = False
        try:
            while url:
                page = await self.answers.repositories(url, organization)
                payloads.record_page_url(url := page.next_page, used)
                found += [p for p in page.projects if p.public is None or not (p.problem or p.read_only)]
                partial = partial or page.partial
        except (Gone, Forbidden) as error:
            return [Project(f"{organization}/*", problem=error.message, what_to_do=error.what_to_do)]
        if partial:
            why = "GitHub leaves out of this list what single sign-on protects."
            found.append(Project(f"{organization}/*", problem=why, what_to_do=f"{SINGLE_SIGN_ON}."))
        return found

    async def changed_since(self, project: Project, since: datetime | None) -> AsyncGenerator[Page, None]:
        owner, _, repo = project.key.partition("/")
        url_vars = {"owner": owner, "repo": repo}
        name = f"issues {project.key}".lower()
        listing = Listing(since, name, self.answers.known.get(name))
        while listing.url:
            await self._transport.keep_pace()
            try:
                with answer_in_memory():
                    answer = await self._transport.tagged_page(listing.url, url_vars, listing.tag)
                    rows, next_page, tag = listing.without_older(answer.data), answer.next_page, answer.tag
                    read: _Read | None = await asyncio.to_thread(self._read, rows, project.key)
                    count = len(answer.data)
                    del rows, answer
            except NotModified:
                return
            except Gone as error:
                raise Rejected(
                    f"The issues of {project.key} cannot be read. {error.message}",
                    "Give the token access to it, or take it out of the scope.",
                ) from error
            except TooLarge as error:
                left_out = [Unreadable(None, error.message)] if listing.too_large(error) else []
                read = None
            if read is None:  # outside the block above, as the error holds the answer
                if left_out:
                    unread = tuple(left_out)
                    yield Page((), unreadable=unread, cursor=listing.cursor, answer=listing.known_by(None))
                continue
            known_by = listing.known_by(tag if not (next_page or read.unreadable) else None, count)
            listing.read(read.moments, next_page)
            yield Page(
                tuple(i.epic for i in read.issues if i.fits),
                tuple(Missing(i.epic.ref, "not_an_epic") for i in read.issues if not i.fits),
                tuple(read.unreadable),
                listing.cursor,
                ChangedChildren(tuple(read.parents.items())),
                known_by,
            )

    def _read(self, rows: Sequence[Any], repository: str) -> _Read:
        """The issues in an answer, without pull requests. Called in a thread: a page has a hundred issues,
        and anyone may write a text that takes long to parse."""
        if len(rows) > payloads.MOST_ROWS:
            raise BadPayload(f"GitHub's answer has {len(rows)} issues, more than were asked for.")
        read = _Read()
        for row in rows:
            try:
                issue = payloads.issue_of(row, repository, self._web, self._epics)
            except BadPayload as error:
                ticket, moment = payloads.unreadable(row, repository, error)
                read.unreadable.append(ticket)
            else:
                moment = issue.epic.updated_at if issue else moment_of(row)  # of a pull request
                read.issues += [issue] if issue else []
                if issue and (above := payloads.parent_issue(issue.epic)):
                    read.parents[above] = max(issue.epic.updated_at, read.parents.get(above, _LONG_AGO))
            read.moments += [moment] if moment else []
        return read

    async def fetch(self, refs: Sequence[EpicRef]) -> list[Epic | Missing | Unreadable]:
        return [await self._one(ref) for ref in refs]

    async def _one(self, ref: EpicRef) -> Epic | Missing | Unreadable:
        """The issue at `ref`'s key or, after a transfer, at its new place, with the new id."""
        try:
            raw = await self._transport.item(_ISSUE, url_vars := payloads.repository_and_number(ref.key))
        except Gone:
            return Missing(ref, "deleted")
        except TooLarge as error:
            return Unreadable(ref, error.message)
        if not isinstance(raw, dict):
            raise BadPayload("GitHub's answer is no issue.")
        read = await asyncio.to_thread(self._read, [raw], f"{url_vars['owner']}/{url_vars['repo']}")
        if read.unreadable:
            return Unreadable(ref, read.unreadable[0].reason)
        if not read.issues:
            return Missing(ref, "not_an_epic")
        [issue] = read.issues
        if payloads.replaced(ref, issue.epic):
            return Missing(ref, "deleted")
        if not await self._in_scope(issue.epic.project):
            return Missing(ref, "out_of_scope")
        return issue.epic if issue.fits else Missing(ref, "not_an_epic")

    async def changed_children(self, since: datetime) -> AsyncGenerator[ChangedChildren, None]:
        """Nothing: `changed_since` shows the children of its repositories."""
        return
        yield  # makes it a generator

    async def count_children(self, refs: Sequence[EpicRef]) -> dict[str, Children]:
        """One request for each: GitHub has no list of issues by their numbers."""
        found: dict[str, Children] = {}
        for ref in refs:
            try:
                item = await self._one(ref)
            except (Blocked, Unavailable):
                raise
            except ConnectorError:
                continue
            if isinstance(item, Epic) and item.children and item.remote_id == ref.remote_id:
                found[ref.remote_id] = item.children
        return found

    async def read_parents(self, parents: Sequence[Parent]) -> list[Parent]:
        """One request for each. It may be in a repository or an organisation that the token may not read."""
        return [await self._parent(parent) for parent in parents]

    async def _parent(self, parent: Parent) -> Parent:
        try:
            url_vars = payloads.repository_and_number(parent.key)
            return payloads.named_parent(await self._transport.item(_ISSUE, url_vars), parent, self._web)
        except (Unauthorized, Unavailable):
            raise
        except ConnectorError:
            return parent

    async def _in_scope(self, repository: str) -> bool:
        """Whether the repository is in scope, by its configured name or by the new name of a renamed one."""
        if self._scope.covers(repository):
            return True
        if self._present is None:
            await self.projects()
        return repository.casefold() in (self._present or ())

    # --- comments ---

    async def find_comments(self, ref: EpicRef, marker: Marker) -> list[Comment]:
        size = payloads.PAGE_SIZE
        while True:
            try:
                return await self._marked_comments(ref, marker, size)
            except TooLarge:
                if size not in SMALLER:
                    raise
                size = SMALLER[size]

    async def _marked_comments(self, ref: EpicRef, marker: Marker, page_size: int) -> list[Comment]:
        account = self._account or await self.account()
        url: str | None = f"{_ISSUE}/comments?per_page={page_size}"
        used: set[str] = set()
        found: list[Comment] = []
        while url:
            async with self._explain_not_found(ref, None):
                rows, url = await self._transport.page(url, payloads.repository_and_number(ref.key))
            payloads.record_page_url(url, used)
            for comment_id, author, row in map(comments.comment_row, rows):
                if marker.fits(comments.marker_of(row), author, account.id):
                    found.append(self._comment(ref, comment_id, author == account.id))
        return sorted(found, key=lambda comment: not comment.ours)

    async def put_comment(
        self, ref: EpicRef, comment_id: str | None, text: Document, marker: Marker
    ) -> Comment:
        url_vars = payloads.repository_and_number(ref.key)
        body = comments.comment_body(text, marker)
        async with self._explain_not_found(ref, comment_id):
            if comment_id is None:
                sent = await self._transport.send("POST", f"{_ISSUE}/comments", url_vars, body)
            else:
                sent = await self._transport.send("PATCH", _COMMENT, url_vars | {"comment": comment_id}, body)
        if not (made := remote_number(sent.get("id"))):
            raise Unanswered("GitHub accepted the comment but did not give its id.")
        return replace(self._comment(ref, made), author=comments.author_of(sent))

    async def delete_comment(self, ref: EpicRef, comment_id: str) -> None:
        async with self._explain_not_found(ref, comment_id):
            await self._transport.remove(
                _COMMENT, payloads.repository_and_number(ref.key) | {"comment": comment_id}
            )

    @asynccontextmanager
    async def _explain_not_found(self, ref: EpicRef, comment_id: str | None) -> AsyncIterator[None]:
        """Find out why GitHub answered "not found", which it also says when the account may not write.

        A write with this answer has changed nothing. Re-raises `Gone`, unless the token is not valid
        (`Unauthorized`) or the comment is still there (`Forbidden`).
        https://docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api#404-not-found-for-an-existing-resource
        """
        try:
            yield
        except Gone as error:
            await self.account()
            if comment_id is None:
                raise
            await self._transport.item(
                _COMMENT, payloads.repository_and_number(ref.key) | {"comment": comment_id}
            )
            raise Forbidden(
                f"GitHub shows our comment and does not let us change it. {error.message}",
                "The token needs Issues read and write on this repository.",
            ) from error

    async def read_comment(self, comment: CommentRef) -> TicketComment | None:
        url_vars = payloads.repository_and_number(comment.ticket.key)
        try:
            raw = await self._transport.item(_COMMENT, url_vars | {"comment": comment.id})
        except Gone:
            return None
        number, found = await asyncio.to_thread(comments.ticket_comment, raw)
        return found if number == url_vars["number"] else None

    async def with_right(self, ticket: EpicRef, comment: TicketComment) -> TicketComment | None:
        return await commenters.with_right(self._transport, ticket, comment)

    async def recent_comments(self, tickets: Sequence[EpicRef], since: datetime) -> RecentComments:
        return await commenters.recent_comments(self._transport, tickets, since)

    async def acknowledge(
        self, comment: CommentRef, outcome: CommandOutcome, former: str | None
    ) -> str | None:
        return await commenters.acknowledge(self._transport, comment, outcome, former)

    def _comment(self, ref: EpicRef, comment_id: str, ours: bool = True) -> Comment:
        return Comment(comment_id, comments.comment_url(self._web, ref.key, comment_id), ours)
