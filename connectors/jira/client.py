"""Jira Cloud over the network: this module makes the calls; all that needs no call is in the pure modules."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from connectors.base import (
    Account,
    BadPayload,
    Blocked,
    ChangedChildren,
    Children,
    Comment,
    CommentRef,
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
from connectors.config import joined, unread_project
from connectors.http_body import TooLarge
from connectors.jira import commenters, comments, payloads, search
from connectors.jira.changes import JiraChanges, Reading
from connectors.jira.children import JiraChildren
from connectors.jira.choices import choices_of
from connectors.jira.commenters import explain_not_found
from connectors.jira.errors import NEW_TOKEN, Forbidden, NoSuchCall
from connectors.jira.inspect import JiraInspector
from connectors.jira.named_fields import NamedFields
from connectors.jira.paging import Found, markers_of, together, whole_list
from connectors.jira.transport import THREADS, JiraTransport
from connectors.members import remote_number
from connectors.network import DIRECT, Network
from connectors.rate_limits import ResponseMeta, response_meta
from connectors.timeouts import TIMEOUTS, Timeouts
from connectors.webhooks import member

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from connectors.base import Wait
    from connectors.comments import CommandOutcome, TicketComment
    from connectors.diagnostics import Choice, Inspection
    from connectors.document import Document
    from connectors.jira.config import JiraCredentials, JiraEpics, JiraScope
    from connectors.marker import Marker

_FETCH, _RECONCILE, _KEYS = 100, 50, 50  # how many ids or keys one call accepts
_LISTED = 100  # projects, the longest page that Jira gives of them


class JiraConnector:
    """A Jira Cloud site; see `connectors.base.Connector`."""

    tickets_change_id = False
    writes_one_at_a_time = False
    children_on_tickets = False
    answers = None
    uncounted_requests = 0
    # A site takes about a hundred requests a second from all its users; Northing sends as many at once as it
    # has connections. https://developer.atlassian.com/cloud/jira/platform/rate-limiting/
    reads_at_once = THREADS

    def __init__(
        self,
        base_url: str,
        credentials: JiraCredentials,
        scope: JiraScope,
        epics: JiraEpics,
        timeouts: Timeouts = TIMEOUTS,
        clock: Clock = utc_now,
        network: Network = DIRECT,
    ) -> None:
        self._site = base_url.rstrip("/")
        self._transport = JiraTransport(
            self._site, credentials.email, credentials.token.get_secret_value(), timeouts, clock, network
        )
        self._children = JiraChildren(self._transport, self._check_login_if_empty)
        self._scope = scope
        self._epics = epics
        self._fields = NamedFields(self._transport, epics)
        self._types: list[str] | None = None
        self._asking_types = asyncio.Lock()  # several projects are read side by side
        self._account: Account | None = None
        self._in_bulk = True  # False once the site says that it has no call for a bulk fetch
        self._changes = JiraChanges(
            self._transport,
            scope,
            self._fields,
            Reading(
                self._found,
                self._fetched,
                self._type_ids,
                self._check_login_if_empty,
                self._with_audience_at_once,
            ),
        )

    @property
    def many_projects(self) -> ManyProjects:
        return self._changes

    @property
    def requests(self) -> int:
        return self._transport.requests

    @property
    def response_meta(self) -> ResponseMeta:
        return response_meta(self._transport.headers, self._transport.received_at)

    def restore_budget(self, response_meta: ResponseMeta, received_at: datetime) -> None:
        """Nothing: Jira has several limits for different calls, and answers 429 when one is used up."""

    def keep_pace(self, wait: Wait) -> None:
        """A site has no limit that as many requests at once as here could pass."""

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def inspect(self, seconds: float | None = None) -> Inspection:
        return await JiraInspector(self, self._transport, self._scope, self._epics).inspect(seconds)

    async def choices(self) -> list[Choice]:
        return await choices_of(self._transport)

    # --- reading ---

    async def account(self) -> Account:
        try:
            myself = await self._transport.call("GET", "myself")
        except Blocked:
            raise
        except Forbidden as error:
            raise Unauthorized(error.message, NEW_TOKEN) from error
        self._account = payloads.account_of(myself)
        return self._account

    async def projects(self) -> list[Project]:
        self._types = None  # a new project may bring new types, so each run reads them again
        if self._scope.projects is None:
            shown = await self._project_pages({}, ())
            await self._check_login_if_empty(shown)
            return await self._with_audience(payloads.projects_of(shown))
        keys_in_scope = list(dict.fromkeys(self._scope.projects))
        found: dict[str, Project] = {}
        for start in range(0, len(keys_in_scope), _KEYS):
            keys = keys_in_scope[start : start + _KEYS]
            for project in payloads.projects_of(await self._project_pages({"keys": keys}, keys)):
                found[project.key.upper()] = project
        by_id = await self._by_id(keys_in_scope, found)
        await self._check_login_if_empty(found or by_id)
        named = [await self._named(key, found.get(key), by_id) for key in keys_in_scope]
        return await self._with_audience(joined(named))

    async def unknown_names(self, projects: Sequence[Project]) -> dict[str, list[str]]:
        """Fields alone: a type that Jira does not have ends the reading of every project with an error."""
        return await self._fields.unknown()

    async def _by_id(self, keys: Sequence[str], found: Mapping[str, Project]) -> dict[str, Project]:
        """The known projects of those keys that none, or another project, has now; by their ids."""
        known = {key: self._scope.known_project(key) for key in keys}
        ids = [
            one.id
            for key, one in known.items()
            if one is not None and (key not in found or found[key].remote_id != one.id)
        ]
        by_id: dict[str, Project] = {}
        for start in range(0, len(ids), _KEYS):
            shown = await self._project_pages({"id": ids[start : start + _KEYS]}, ())
            for project in payloads.projects_of(shown):
                by_id[str(project.remote_id)] = project
        return by_id

    async def _named(self, key: str, listed: Project | None, by_id: Mapping[str, Project]) -> Project:
        """The project that the scope means by `key`: the known one, else that with the key or former key."""
        known = self._scope.known_project(key)
        found = (by_id.get(known.id) if known else None) or listed or await self._by_former_key(key)
        if found is None:
            return Project(key, problem=payloads.NO_PROJECT, named=(key,))
        return replace(found, named=(key,))

    async def _by_former_key(self, key: str) -> Project | None:
        """The project that `key` leads to, which the list of projects finds by its present key alone."""
        try:
            raw = await self._transport.call("GET", f"project/{_quoted(key)}", not_found_is_gone=True)
        except (Gone, Forbidden):
            return None
        try:
            found = payloads.project_of(raw)
        except BadPayload as error:
            return unread_project(key, error)
        # One that has this very key, and is not listed, is archived or in the bin.
        hidden = raw.get("archived") or raw.get("deleted") or found.key.upper() == key
        return None if hidden else found

    async def _with_audience_at_once(self, projects: list[Project]) -> list[Project]:
        """By their ids, since one may have another key by now. Of more than one call accepts, by one list of
        all that is public, which on most sites is nothing."""
        ids = [project.remote_id for project in projects]
        return await self._with_audience(projects, [{"id": ids} if len(ids) <= _KEYS else {}])

    async def _with_audience(
        self, projects: list[Project], params: list[dict[str, Any]] | None = None
    ) -> list[Project]:
        """Whether each is public: whether Jira lists it without a login. No member of a project says so.

        https://support.atlassian.com/jira-cloud-administration/docs/allow-anonymous-access-to-projects/
        """
        keys = [project.key for project in projects if project.problem is None]
        if params is None:
            parts = [keys[start : start + _KEYS] for start in range(0, len(keys), _KEYS)]
            params = [{}] if self._scope.projects is None else [{"keys": part} for part in parts]
        public: set[str | None] = set()
        try:
            for one in params if keys else ():
                shown = await self._project_pages(one, one.get("keys", ()), anonymous=True)
                public |= {payloads.project_of(raw).remote_id for raw in shown}
        except (Gone, Rejected):
            pass  # who has no login is let in nowhere
        except (BadPayload, Unavailable):
            return [replace(project, public=None) for project in projects]
        return [replace(project, public=project.remote_id in public - {None}) for project in projects]

    async def _project_pages(
        self, params: dict[str, Any], keys: Sequence[str], *, anonymous: bool = False
    ) -> list[Any]:
        params = params | {"maxResults": _LISTED}
        return await whole_list(
            self._transport, "project/search", "values", params, keys=keys, anonymous=anonymous
        )

    def changed_since(self, project: Project, since: datetime | None) -> AsyncGenerator[Page, None]:
        return self._changes.of_project(project, since)

    def _found(self, answer: Any) -> Found:
        found = Found([], [], [], payloads.not_returned(answer))
        for issue in payloads.issues_of(answer):
            try:
                ticket = self._ticket(issue)
            except BadPayload as error:
                unreadable, moment = payloads.unreadable(issue, error)
                found.unreadable.append(unreadable)
                key = unreadable.ref.key if unreadable.ref else ""
            else:
                found.tickets.append(ticket)
                key, moment = ticket.epic.key, ticket.epic.updated_at
            found.moments.extend([(key, moment)] if moment else [])
        return found

    async def fetch(self, refs: Sequence[EpicRef]) -> list[Epic | Missing | Unreadable]:
        types = set(await self._type_ids() if refs else [])
        await self._fields.find()
        tickets: dict[str, payloads.Ticket] = {}
        unreadable: dict[str, Unreadable] = {}
        for start in range(0, len(refs), _FETCH):
            batch = refs[start : start + _FETCH]
            found = await self._fetched(batch)
            tickets |= {ticket.epic.remote_id: ticket for ticket in found.tickets}
            unreadable |= payloads.unreadable_of(batch, tickets, found.unreadable)
        fitting = {i for i, t in tickets.items() if self._in_projects(t) and t.type_id in types}
        members = await self._members(sorted(fitting))

        def present(ref: EpicRef) -> Epic | Missing | Unreadable:
            ticket = tickets.get(ref.remote_id)
            if ticket is None:
                return unreadable.get(ref.remote_id) or Missing(ref, "deleted")
            if ticket.epic.remote_id in members:
                return ticket.epic
            here = self._in_projects(ticket) and ticket.type_id not in types
            return Missing(ticket.epic.ref, "not_an_epic" if here else "out_of_scope")

        return [present(ref) for ref in refs]

    async def _fetched(self, refs: Sequence[EpicRef]) -> Found:
        """The tickets, at most `_FETCH`. An answer that is too large is asked for again by halves."""
        fields = [*search.FIELDS, *self._fields.asked]
        if not refs:
            return Found([], [], [])
        if self._in_bulk:
            body = {"issueIdsOrKeys": [ref.remote_id for ref in refs], "fields": fields}
            try:
                found = await self._transport.call("POST", "issue/bulkfetch", body=body, read=self._found)
                left = [ref for ref in refs if ref.remote_id in found.not_returned]
                return together([found, await self._fetched_singly(left, fields)]) if left else found
            except TooLarge as error:
                if len(refs) == 1:
                    return Found([], [Unreadable(refs[0], error.message)], [])
            except NoSuchCall:
                self._in_bulk = False
        if self._in_bulk:  # the answer was too large
            half = len(refs) // 2
            return together([await self._fetched(refs[:half]), await self._fetched(refs[half:])])
        return await self._fetched_singly(refs, fields)

    async def _fetched_singly(self, refs: Sequence[EpicRef], fields: Sequence[str]) -> Found:
        shown = [await self._one_fetched(ref, {"fields": ",".join(fields)}) for ref in refs]
        # Without a valid login, Jira answers 404 for every issue.
        await self._check_login_if_empty(all(shown))
        return together([found for found in shown if found])

    async def _one_fetched(self, ref: EpicRef, params: dict[str, str]) -> Found | None:
        try:
            found = await self._transport.call(
                "GET",
                f"issue/{_quoted(ref.remote_id)}",
                params,
                read=lambda issue: self._found({"issues": [issue]}),
                not_found_is_gone=True,
            )
            found.unreadable[:] = [Unreadable(ref, one.reason) for one in found.unreadable]
            return found
        except TooLarge as error:
            return Found([], [Unreadable(ref, error.message)], [])
        except Gone:
            return None

    def _ticket(self, issue: Any) -> payloads.Ticket:
        return payloads.ticket_of(
            issue, self._site, self._epics.fields, self._fields.key_results, self._fields.planned
        )

    def _in_projects(self, ticket: payloads.Ticket) -> bool:
        return self._scope.covers(ticket.epic.project, ticket.project_id)

    async def _members(self, ids: Sequence[str]) -> set[str]:
        """The ids that fit the scope's JQL."""
        if self._scope.jql is None:
            return set(ids)
        found: set[str] = set()
        for start in range(0, len(ids), _RECONCILE):
            body = search.membership_body(self._scope.jql, ids[start : start + _RECONCILE])
            used: set[str] = set()
            while True:
                answer = await self._transport.call("POST", "search/jql", body=body)
                found |= {payloads.ref_of(issue)[0].remote_id for issue in payloads.issues_of(answer)}
                token = search.next_token(answer, used)
                if token is None:
                    break
                body["nextPageToken"] = token
        return found

    async def _type_ids(self) -> list[str]:
        async with self._asking_types:
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

    def changed_children(self, since: datetime) -> AsyncGenerator[ChangedChildren, None]:
        return self._children.changed(since)

    async def count_children(self, refs: Sequence[EpicRef]) -> dict[str, Children]:
        return await self._children.count(refs)

    async def read_parents(self, parents: Sequence[Parent]) -> list[Parent]:
        """Nothing more: a ticket names its parent in full."""
        return [*parents]

    # --- comments ---

    async def find_comments(self, ref: EpicRef, marker: Marker) -> list[Comment]:
        """Jira lists comments without their properties, so a second call fetches the properties by id."""
        account = self._account or await self.account()
        async with explain_not_found(self._transport, None, self.account):
            shown = await self._comments(ref)
        authors = {payloads.comment_id(c): comments.author_of(c) for c in shown}
        # What others wrote is not ours, whatever its marker; so it is not asked for.
        own = [i for i in authors if marker.is_by_us(authors[i], account.id)]
        own.sort(key=lambda i: (authors[i] != account.id, int(i)))
        markers = await markers_of(self._transport, own, self.account)
        return [
            self._comment(ref, i, ours=authors[i] == account.id)
            for i in own
            if marker.fits(markers.get(i), authors[i], account.id)
        ]

    async def _comments(self, ref: EpicRef) -> list[dict[str, Any]]:
        path = f"issue/{_quoted(ref.remote_id)}/comment"
        params = {"maxResults": 100, "orderBy": "created"}
        return await whole_list(self._transport, path, "comments", params, not_found_is_gone=True)

    async def put_comment(
        self, ref: EpicRef, comment_id: str | None, text: Document, marker: Marker
    ) -> Comment:
        path = f"issue/{_quoted(ref.remote_id)}/comment"
        edited = None if comment_id is None else f"{path}/{_quoted(comment_id)}"
        async with explain_not_found(self._transport, edited, self.account):
            if edited is None:
                sent = await self._transport.write("POST", path, payloads.new_comment(text, marker))
            else:
                sent = await self._transport.write("PUT", edited, payloads.edited_comment(text))
        if not (made := remote_number(member(sent, "id"))):
            raise Unanswered("Jira accepted the comment but did not give its id.")
        return replace(self._comment(ref, made), author=comments.author_of(sent))

    async def delete_comment(self, ref: EpicRef, comment_id: str) -> None:
        path = f"issue/{_quoted(ref.remote_id)}/comment/{_quoted(comment_id)}"
        async with explain_not_found(self._transport, path, self.account):
            await self._transport.remove(path)

    async def read_comment(self, comment: CommentRef) -> TicketComment | None:
        return await commenters.read_comment(self._transport, comment, self.account)

    async def with_right(self, ticket: EpicRef, comment: TicketComment) -> TicketComment | None:
        return await commenters.with_right(self._transport, ticket, comment, self.account)

    async def recent_comments(self, tickets: Sequence[EpicRef], since: datetime) -> RecentComments:
        return await commenters.recent_comments(self._transport, tickets, since)

    async def acknowledge(
        self, comment: CommentRef, outcome: CommandOutcome, former: str | None
    ) -> str | None:
        """Nothing: Jira Cloud has no reactions that its API can make."""
        return None

    def _comment(self, ref: EpicRef, comment_id: str, ours: bool = True) -> Comment:
        return Comment(comment_id, payloads.comment_url(self._site, ref.key, comment_id), ours)


def _quoted(value: str) -> str:
    return quote(value, safe="")
