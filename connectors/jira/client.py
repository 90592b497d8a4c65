"""Jira Cloud over the network: this module makes the calls; all that needs no call is in the pure modules."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

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
    TicketComment,
    Unanswered,
    Unauthorized,
    Unavailable,
)
from connectors.clock import Clock, utc_now
from connectors.jira import commenters, payloads
from connectors.jira.errors import NEW_TOKEN, Forbidden, NoSuchCall
from connectors.jira.inspect import JiraInspector
from connectors.jira.paging import listed, markers_one_by_one, whole_list
from connectors.jira.transport import JiraTransport
from connectors.rate_limits import ResponseMeta, response_meta
from connectors.timeouts import TIMEOUTS, Timeouts

if TYPE_CHECKING:
    from connectors.diagnostics import Inspection
    from connectors.document import Document
    from connectors.jira.config import JiraCredentials, JiraEpics, JiraScope

_FETCH, _RECONCILE, _KEYS = 100, 50, 50  # how many ids or keys one call accepts


@dataclass(frozen=True, slots=True)
class _Found:
    tickets: list[payloads.Ticket]
    answer: dict[str, Any]


class JiraConnector:
    """A Jira Cloud site; see `connectors.base.Connector`."""

    tickets_change_id = False
    writes_one_at_a_time = False

    def __init__(
        self,
        base_url: str,
        credentials: JiraCredentials,
        scope: JiraScope,
        epics: JiraEpics,
        timeouts: Timeouts = TIMEOUTS,
        clock: Clock = utc_now,
    ) -> None:
        self._site = base_url.rstrip("/")
        self._transport = JiraTransport(
            self._site, credentials.email, credentials.token.get_secret_value(), timeouts, clock
        )
        self._scope = scope
        self._epics = epics
        self._types: list[str] | None = None
        self._account: Account | None = None
        self._in_bulk = True  # False once the site says that it has no call for a bulk fetch

    @property
    def requests(self) -> int:
        return self._transport.requests

    @property
    def response_meta(self) -> ResponseMeta:
        return response_meta(self._transport.headers, self._transport.received_at)

    def restore_budget(self, response_meta: ResponseMeta, received_at: datetime) -> None:
        """Nothing: Jira has several limits for different calls, and answers 429 when one is used up."""

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def inspect(self) -> Inspection:
        return await JiraInspector(self, self._transport, self._scope, self._epics).inspect()

    # --- reading ---

    async def account(self) -> Account:
        try:
            myself = await self._transport.call("GET", "myself")
        except Forbidden as error:
            raise Unauthorized(error.message, NEW_TOKEN) from error
        self._account = payloads.account_of(myself)
        return self._account

    async def projects(self) -> list[Project]:
        self._types = None  # a new project may bring new types, so each run reads them again
        if self._scope.projects is None:
            shown = await self._project_pages({}, ())
            await self._check_login_if_empty(shown)
            return [payloads.project_of(p) for p in shown]
        found: dict[str, Project] = {}
        keys_in_scope = list(dict.fromkeys(self._scope.projects))
        for start in range(0, len(keys_in_scope), _KEYS):
            keys = keys_in_scope[start : start + _KEYS]
            for raw in await self._project_pages({"keys": keys}, keys):
                project = payloads.project_of(raw)
                found[project.key.upper()] = project
        await self._check_login_if_empty(found)
        problem = "Jira has no project with this key, or the account may not browse it."
        return [found.get(key) or Project(key, problem=problem) for key in keys_in_scope]

    async def _project_pages(self, params: dict[str, Any], keys: Sequence[str]) -> list[Any]:
        params = params | {"maxResults": _KEYS}
        return await whole_list(self._transport, "project/search", "values", params, keys=keys)

    async def changed_since(self, project: Project, since: datetime | None) -> AsyncGenerator[Page, None]:
        jql = payloads.jql_of(project.key, await self._type_ids(), self._scope.jql, since)
        used: set[str] = set()
        cursor: datetime | None = None
        # The connector fetches the next page while the caller stores this one. An error of the next page
        # is raised only after the caller has this one.
        next_page: asyncio.Task[_Found] | None = asyncio.create_task(self._search(jql, None))
        try:
            while next_page is not None:
                found = await next_page
                token = payloads.next_token(found.answer, used)
                if token is None:
                    await self._check_login_if_empty(found.tickets)
                next_page = asyncio.create_task(self._search(jql, token)) if token else None
                epics = tuple(ticket.epic for ticket in found.tickets)
                cursor = max((e.updated_at for e in epics), default=cursor)
                yield Page(epics, cursor=cursor)
        finally:
            if next_page is not None:
                next_page.cancel()
                await asyncio.gather(next_page, return_exceptions=True)

    async def _search(self, jql: str, token: str | None) -> _Found:
        body = payloads.search_body(jql, self._epics.fields, token)
        return await self._transport.call("POST", "search/jql", body=body, read=self._found)

    def _found(self, answer: Any) -> _Found:
        issues = payloads.issues_of(answer)
        return _Found([self._ticket(issue) for issue in issues], answer)

    async def fetch(self, refs: Sequence[EpicRef]) -> list[Epic | Missing]:
        types = set(await self._type_ids() if refs else [])
        tickets: dict[str, payloads.Ticket] = {}
        for start in range(0, len(refs), _FETCH):
            found = await self._fetched([ref.remote_id for ref in refs[start : start + _FETCH]])
            tickets |= {ticket.epic.remote_id: ticket for ticket in found}
        fitting = {i for i, t in tickets.items() if self._in_projects(t.epic) and t.type_id in types}
        members = await self._members(sorted(fitting))

        def present(ref: EpicRef) -> Epic | Missing:
            ticket = tickets.get(ref.remote_id)
            if ticket is None:
                return Missing(ref, "deleted")
            if ticket.epic.remote_id in members:
                return ticket.epic
            here = self._in_projects(ticket.epic) and ticket.type_id not in types
            return Missing(ticket.epic.ref, "not_an_epic" if here else "out_of_scope")

        return [present(ref) for ref in refs]

    async def _fetched(self, ids: list[str]) -> list[payloads.Ticket]:
        fields = [*payloads.FIELDS, *self._epics.fields]
        if self._in_bulk:
            body = {"issueIdsOrKeys": ids, "fields": fields}
            try:
                return (
                    await self._transport.call("POST", "issue/bulkfetch", body=body, read=self._found)
                ).tickets
            except NoSuchCall:
                self._in_bulk = False
        found = [await self._one_fetched(i, {"fields": ",".join(fields)}) for i in ids]
        # Without a valid login, Jira answers 404 for every issue.
        await self._check_login_if_empty(all(found))
        return [ticket for ticket in found if ticket is not None]

    async def _one_fetched(self, issue_id: str, params: dict[str, str]) -> payloads.Ticket | None:
        try:
            return await self._transport.call(
                "GET", f"issue/{_quoted(issue_id)}", params, read=self._ticket, not_found_is_gone=True
            )
        except Gone:
            return None

    def _ticket(self, issue: Any) -> payloads.Ticket:
        return payloads.ticket_of(issue, self._site, self._epics.fields)

    def _in_projects(self, epic: Epic) -> bool:
        return self._scope.projects is None or epic.project.upper() in self._scope.projects

    async def _members(self, ids: Sequence[str]) -> set[str]:
        """The ids that fit the scope's JQL."""
        if self._scope.jql is None:
            return set(ids)
        found: set[str] = set()
        for start in range(0, len(ids), _RECONCILE):
            body = payloads.membership_body(self._scope.jql, ids[start : start + _RECONCILE])
            used: set[str] = set()
            while True:
                answer = await self._transport.call("POST", "search/jql", body=body)
                found |= {str(issue.get("id")) for issue in payloads.issues_of(answer)}
                token = payloads.next_token(answer, used)
                if token is None:
                    break
                body["nextPageToken"] = token
        return found

    async def _type_ids(self) -> list[str]:
        if self._types is None:
            types = await self._transport.call("GET", "issuetype")
            await self._check_login_if_empty(types)
            self._types = payloads.epic_type_ids(types, self._epics.issue_types)
        return self._types

    async def _check_login_if_empty(self, found: Any) -> None:
        """Jira gives an empty answer if the login is not valid, so check the login if nothing was `found`.

        Raises `Unauthorized`.
        """
        if not found:
            await self.account()

    # --- comments ---

    async def find_comments(self, ref: EpicRef, marker: Marker) -> list[Comment]:
        """Jira lists comments without their properties, so a second call fetches the properties by id."""
        account = self._account or await self.account()
        async with self._explain_not_found(ref, None):
            shown = await self._comments(ref)
        authors = {str(c.get("id")): str((c.get("author") or {}).get("accountId")) for c in shown}
        # What others wrote is not ours, whatever its marker; so it is not asked for.
        own = [i for i in authors if i.isdigit() and marker.is_by_us(authors[i], account.id)]
        own.sort(key=lambda i: (authors[i] != account.id, int(i)))
        markers = await self._markers(own)
        return [
            self._comment(ref, i, ours=authors[i] == account.id)
            for i in own
            if marker.fits(markers.get(i), authors[i], account.id)
        ]

    async def _markers(self, ids: list[str]) -> dict[str, str | None]:
        markers: dict[str, str | None] = {}
        try:
            for start in range(0, len(ids), _FETCH):
                batch = ids[start : start + _FETCH]
                body = {"ids": [int(i) for i in batch]}
                answer = await self._transport.call("POST", "comment/list", {"expand": "properties"}, body)
                shown = {str(c.get("id")): payloads.marker_of(c) for c in listed(answer, "values")}
                if not shown.keys() >= set(batch):
                    # The ticket would seem to have no comment of ours, and the writer would add a second one.
                    await self.account()
                    raise Unavailable("Jira did not show every comment that it had listed.")
                markers |= shown
        except NoSuchCall:
            markers = await markers_one_by_one(self._transport, ids)
            await self._check_login_if_empty(all(markers.values()))
        return markers

    async def _comments(self, ref: EpicRef) -> list[dict[str, Any]]:
        path = f"issue/{_quoted(ref.remote_id)}/comment"
        params = {"maxResults": 100, "orderBy": "created"}
        return await whole_list(self._transport, path, "comments", params, not_found_is_gone=True)

    async def put_comment(
        self, ref: EpicRef, comment_id: str | None, text: Document, marker: Marker
    ) -> Comment:
        path = f"issue/{_quoted(ref.remote_id)}/comment"
        async with self._explain_not_found(ref, comment_id):
            if comment_id is None:
                sent = await self._transport.write("POST", path, payloads.new_comment(text, marker))
            else:
                path += f"/{_quoted(comment_id)}"
                sent = await self._transport.write("PUT", path, payloads.edited_comment(text))
        if not isinstance(sent, dict) or not sent.get("id"):
            raise Unanswered("Jira accepted the comment but did not give its id.")
        return replace(self._comment(ref, str(sent["id"])), author=payloads.author_of(sent))

    async def delete_comment(self, ref: EpicRef, comment_id: str) -> None:
        async with self._explain_not_found(ref, comment_id):
            await self._transport.remove(f"issue/{_quoted(ref.remote_id)}/comment/{_quoted(comment_id)}")

    @asynccontextmanager
    async def _explain_not_found(self, ref: EpicRef, comment_id: str | None) -> AsyncIterator[None]:
        """Find out why Jira answered "not found": it also says so if the account may not see or change it.

        A write with this answer has changed nothing. Re-raises `Gone`, unless the login is not valid
        (`Unauthorized`) or the comment is still there (`Forbidden`).
        """
        try:
            yield
        except Gone as error:
            await self.account()
            if comment_id is None:
                raise
            await self._transport.call(
                "GET", f"issue/{_quoted(ref.remote_id)}/comment/{_quoted(comment_id)}", not_found_is_gone=True
            )
            raise Forbidden(
                f"Jira shows our comment and does not let us change it. {error.message}",
                "Give the account the permission Edit own comments.",
            ) from error

    async def read_comment(self, comment: CommentRef) -> TicketComment | None:
        return await commenters.read_comment(self._transport, comment, self.account)

    def _comment(self, ref: EpicRef, comment_id: str, ours: bool = True) -> Comment:
        return Comment(comment_id, payloads.comment_url(self._site, ref.key, comment_id), ours)


def _quoted(value: str) -> str:
    return quote(value, safe="")
