"""GitHub over the network: this module makes the calls; all that needs no call is in the pure modules."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from connectors.base import (
    Account,
    Comment,
    CommentRef,
    Epic,
    EpicRef,
    Gone,
    Marker,
    Missing,
    Page,
    Project,
    Rejected,
    TicketComment,
    Unanswered,
    Unauthorized,
)
from connectors.clock import Clock, utc_now
from connectors.github import payloads
from connectors.github.errors import NEW_TOKEN, Forbidden
from connectors.github.inspect import GitHubInspector
from connectors.github.transport import GitHubTransport
from connectors.rate_limits import ResponseMeta, budget_spent_until
from connectors.timeouts import TIMEOUTS, Timeouts

if TYPE_CHECKING:
    from connectors.diagnostics import Inspection
    from connectors.document import Document
    from connectors.github.config import GitHubCredentials, GitHubEpics, GitHubScope

_PAGE = f"per_page={payloads.PAGE_SIZE}"
_ISSUE = "/repos/{owner}/{repo}/issues/{number}"
_COMMENT = "/repos/{owner}/{repo}/issues/comments/{comment}"


class GitHubConnector:
    """Repositories of one GitHub host; see `connectors.base.Connector`.

    The connector sends its requests one after the other, as GitHub asks.
    https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api
    """

    tickets_change_id = True
    writes_one_at_a_time = True

    def __init__(
        self,
        base_url: str,
        credentials: GitHubCredentials,
        scope: GitHubScope,
        epics: GitHubEpics,
        timeouts: Timeouts = TIMEOUTS,
        clock: Clock = utc_now,
    ) -> None:
        self._transport = GitHubTransport(
            base_url.rstrip("/"), credentials.token.get_secret_value(), timeouts, clock
        )
        self._web = payloads.web_base(base_url)
        self._scope = scope
        self._epics = epics
        self._account: Account | None = None
        self._present: set[str] | None = None  # the current names of the repositories in scope, case-folded

    @property
    def requests(self) -> int:
        return self._transport.calls

    @property
    def response_meta(self) -> ResponseMeta:
        return self._transport.response_meta

    def restore_budget(self, response_meta: ResponseMeta, received_at: datetime) -> None:
        self._transport.paused_until = budget_spent_until(response_meta, received_at)

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def inspect(self) -> Inspection:
        return await GitHubInspector(self, self._transport, self._epics).inspect()

    # --- reading ---

    async def account(self) -> Account:
        try:
            user = await self._transport.item("/user", {})
        except Forbidden as error:
            raise Unauthorized(error.message, NEW_TOKEN) from error
        except Gone as error:
            raise Rejected(
                "No GitHub API answers at base_url.",
                "Set base_url to https://api.github.com or https://HOST/api/v3.",
            ) from error
        self._account = payloads.account_of(user)
        return self._account

    async def projects(self) -> list[Project]:
        found: dict[str, Project] = {}
        for name in {name.casefold(): name for name in self._scope.repositories}.values():
            project = await self._repository(name)
            found.setdefault(project.key.casefold(), project)
        for organization in self._scope.organizations:
            for project in await self._organization(organization):
                found.setdefault(project.key.casefold(), project)
        self._present = set(found)
        return list(found.values())

    async def _repository(self, name: str) -> Project:
        owner, _, repo = name.partition("/")
        try:
            raw = await self._transport.item("/repos/{owner}/{repo}", {"owner": owner, "repo": repo})
        except (Gone, Forbidden) as error:
            return Project(name, problem=error.message)
        return payloads.project_of(raw)

    async def _organization(self, organization: str) -> list[Project]:
        """The organisation's repositories, without those that are archived or have no issues.

        Each repository costs one request per sync, and in old organisations most are archived. A source that
        needs one of these names it in `repositories`.
        """
        url: str | None = f"/orgs/{{org}}/repos?sort=full_name&direction=asc&{_PAGE}"
        used: set[str] = set()
        found: list[Project] = []
        try:
            while url:
                rows, url = await self._transport.page(url, {"org": organization})
                payloads.record_page_url(url, used)
                projects = map(payloads.project_of, rows)
                found += [p for p in projects if p.problem is None and p.read_only is None]
        except (Gone, Forbidden) as error:
            return [Project(f"{organization}/*", problem=error.message)]
        return found

    async def changed_since(self, project: Project, since: datetime | None) -> AsyncGenerator[Page, None]:
        owner, _, repo = project.key.partition("/")
        url_vars = {"owner": owner, "repo": repo}
        url: str | None = f"/repos/{{owner}}/{{repo}}/issues?{urlencode(payloads.listing_query(since))}"
        used: set[str] = set()
        cursor: datetime | None = None
        while url:
            try:
                rows, url = await self._transport.page(url, url_vars)
            except Gone as error:
                raise Rejected(
                    f"The issues of {project.key} cannot be read. {error.message}",
                    "Give the token access to it, or take it out of the scope.",
                ) from error
            payloads.record_page_url(url, used)
            issues = await asyncio.to_thread(self._issues_in, rows, project.key)
            cursor = max([i.epic.updated_at for i in issues] + ([cursor] if cursor else []), default=None)
            yield Page(
                tuple(i.epic for i in issues if i.fits),
                tuple(Missing(i.epic.ref, "not_an_epic") for i in issues if not i.fits),
                cursor=cursor,
            )

    def _issues_in(self, rows: Sequence[Any], repository: str) -> list[payloads.Issue]:
        """The issues in an answer, without pull requests. Called in a thread: anyone may write a text that
        takes a second to parse, and a page has a hundred issues."""
        issues = [payloads.issue_of(row, repository, self._web, self._epics) for row in rows]
        return [issue for issue in issues if issue is not None]

    async def fetch(self, refs: Sequence[EpicRef]) -> list[Epic | Missing]:
        return [await self._one(ref) for ref in refs]

    async def _one(self, ref: EpicRef) -> Epic | Missing:
        """The issue at `ref`'s key or, after a transfer, at its new place, with the new id."""
        try:
            raw = await self._transport.item(_ISSUE, url_vars := payloads.repository_and_number(ref.key))
        except Gone:
            return Missing(ref, "deleted")
        found = await asyncio.to_thread(self._issues_in, [raw], f"{url_vars['owner']}/{url_vars['repo']}")
        if not found:
            return Missing(ref, "not_an_epic")
        [issue] = found
        if payloads.replaced(ref, issue.epic):
            return Missing(ref, "deleted")
        if not await self._in_scope(issue.epic.project):
            return Missing(ref, "out_of_scope")
        return issue.epic if issue.fits else Missing(ref, "not_an_epic")

    async def _in_scope(self, repository: str) -> bool:
        """Whether the repository is in scope, by its configured name or by the new name of a renamed one."""
        name = repository.casefold()
        owners = {organization.casefold() for organization in self._scope.organizations}
        if name.partition("/")[0] in owners or name in map(str.casefold, self._scope.repositories):
            return True
        if self._present is None:
            await self.projects()
        return name in (self._present or ())

    # --- comments ---

    async def find_comments(self, ref: EpicRef, marker: Marker) -> list[Comment]:
        account = self._account or await self.account()
        url: str | None = f"{_ISSUE}/comments?{_PAGE}"
        used: set[str] = set()
        found: list[Comment] = []
        while url:
            async with self._explain_not_found(ref, None):
                rows, url = await self._transport.page(url, payloads.repository_and_number(ref.key))
            payloads.record_page_url(url, used)
            for row in rows:
                author = str((row.get("user") or {}).get("id"))
                if marker.fits(payloads.marker_of(row), author, account.id):
                    found.append(self._comment(ref, str(row["id"]), author == account.id))
        return sorted(found, key=lambda comment: not comment.ours)

    async def put_comment(
        self, ref: EpicRef, comment_id: str | None, text: Document, marker: Marker
    ) -> Comment:
        url_vars = payloads.repository_and_number(ref.key)
        body = payloads.comment_body(text, marker)
        async with self._explain_not_found(ref, comment_id):
            if comment_id is None:
                sent = await self._transport.send("POST", f"{_ISSUE}/comments", url_vars, body)
            else:
                sent = await self._transport.send("PATCH", _COMMENT, url_vars | {"comment": comment_id}, body)
        if not sent.get("id"):
            raise Unanswered("GitHub accepted the comment but did not give its id.")
        return replace(self._comment(ref, str(sent["id"])), author=payloads.author_of(sent))

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
        """One request if the author's association shows the right to edit, else a second for the issue."""
        url_vars = payloads.repository_and_number(comment.ticket.key)
        try:
            raw = await self._transport.item(_COMMENT, url_vars | {"comment": comment.id})
        except Gone:
            return None
        found = await asyncio.to_thread(payloads.ticket_comment, raw, url_vars["number"])
        if found is None or found.ours or found.may_steer:
            return found
        try:
            issue = await self._transport.item(_ISSUE, url_vars)
        except Gone:
            return None
        return replace(found, may_steer=payloads.is_author_or_assignee(issue, raw))

    def _comment(self, ref: EpicRef, comment_id: str, ours: bool = True) -> Comment:
        return Comment(comment_id, payloads.comment_url(self._web, ref.key, comment_id), ours)
