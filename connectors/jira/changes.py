"""What changed in Jira's projects: the searches for it, of one project or of many, page by page."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from connectors.base import BadPayload, EpicRef, Page, Rejected, SharedPage, Unreadable
from connectors.http_body import TooLarge
from connectors.jira import payloads, search
from connectors.jira.ahead import PagesAhead
from connectors.jira.paging import Found

if TYPE_CHECKING:
    from connectors.base import Epic, Project, Start
    from connectors.jira.config import JiraScope
    from connectors.jira.named_fields import NamedFields
    from connectors.jira.transport import Begun, JiraTransport

_SEARCH = "search/jql"
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")


@dataclass(frozen=True, slots=True)
class Reading:
    """How the connector reads what the searches find. `found`: the issues of an answer. `fetched`: these
    tickets, each asked for by its id. `type_ids`: of the types that are epics. `check_login_if_empty` raises
    `Unauthorized`. `with_audience` as in `connectors.base.ManyProjects`."""

    found: Callable[[Any], Found]
    fetched: Callable[[Sequence[EpicRef]], Awaitable[Found]]
    type_ids: Callable[[], Awaitable[list[str]]]
    check_login_if_empty: Callable[[Any], Awaitable[None]]
    with_audience: Callable[[list[Project]], Awaitable[list[Project]]]


class JiraChanges:
    """The changed epics of one project; of many, as `connectors.base.ManyProjects` has it."""

    def __init__(
        self, transport: JiraTransport, scope: JiraScope, fields: NamedFields, reading: Reading
    ) -> None:
        self._transport, self._scope, self._fields = transport, scope, fields
        self._reading = reading

    async def of_project(self, project: Project, since: datetime | None) -> AsyncGenerator[Page, None]:
        jql = search.jql_of(project.key, await self._reading.type_ids(), self._scope.jql, since)
        cursor: datetime | None = None
        async with aclosing(self._pages(jql, lambda found: bool(found.tickets or found.unreadable))) as pages:
            async for found in pages:
                _check_ids(found, [project])
                moments = [moment for _, moment in found.moments]
                cursor = max([*moments, *([cursor] if cursor else [])], default=None)
                yield Page(_epics(found), unreadable=tuple(found.unreadable), cursor=cursor)

    # --- many projects ------------------------------------------------------------------------

    async def with_audience(self, projects: Sequence[Project]) -> list[Project]:
        return await self._reading.with_audience([*projects])

    def groups(self, starts: Sequence[Start]) -> list[list[Start]]:
        return search.groups_of(starts)

    async def changed_since(self, group: Sequence[Start]) -> AsyncGenerator[SharedPage, None]:
        jql = search.shared_jql(group, await self._reading.type_ids(), self._scope.jql)
        keys = {start.project.key for start in group}
        showing = search.projects_that_show_login(group)

        def shows_login(found: Found) -> bool:
            return any(ticket.epic.project in showing for ticket in found.tickets)

        async with aclosing(self._pages(jql, shows_login)) as pages:
            async for found in pages:
                _check_ids(found, [start.project for start in group])
                projects = {ticket.epic.key: ticket.epic.project for ticket in found.tickets}
                cursors: dict[str, datetime] = {}
                for key, moment in found.moments:
                    if project := projects.get(key) or _project_of(key, keys):
                        cursors[project] = max(moment, cursors.get(project, moment))
                unreadable = [
                    (_project_of(one.ref.key if one.ref else "", keys), one) for one in found.unreadable
                ]
                yield SharedPage(_epics(found), tuple(unreadable), cursors)

    def refused(self, projects: Sequence[Project], reason: str) -> list[Project]:
        """Jira quotes the value that it does not have: "The value 'SHOP' does not exist for the field
        'project'."."""
        quoted = {(single or double).casefold() for single, double in _QUOTED.findall(reason)}
        return [project for project in projects if project.key.casefold() in quoted]

    # --- pages ----------------------------------------------------------------------------------

    async def _pages(self, jql: str, shows_login: Callable[[Found], bool]) -> AsyncGenerator[Found, None]:
        """The login is asked for anew where the last page does not show that it is valid."""
        await self._fields.find()

        def body_of(token: str | None) -> dict[str, Any]:
            return search.search_body(jql, self._fields.asked, token)

        def begin(token: str | None, then: Callable[[Any], None]) -> Begun[Found]:
            return self._transport.begin("POST", _SEARCH, body_of(token), self._reading.found, then)

        ahead, is_more = PagesAhead(begin), True
        try:
            while is_more:
                page = ahead.take()
                try:
                    found = await self._transport.ended(page.begun)
                except TooLarge:
                    found = await self._in_smaller_parts(body_of(page.token), partial(ahead.decoded, page))
                # An error of the next page is raised only after the caller has this one.
                is_more = ahead.is_more()
                if not is_more:
                    await self._reading.check_login_if_empty(shows_login(found))
                yield found
        finally:
            ahead.end()

    async def _in_smaller_parts(self, body: dict[str, Any], decoded: Callable[[Any], None]) -> Found:
        """A page of the search that is too large: which issues are on it, and these in smaller parts."""
        answer = await self._transport.call("POST", _SEARCH, body=body | {"fields": ["updated"]})
        decoded(answer)
        issues = payloads.issues_of(answer)
        if len(issues) > search.PAGE_SIZE:
            raise BadPayload("Jira's answer has more issues than were asked for.")
        refs: list[EpicRef] = []
        hidden, moments = list[Unreadable](), list[tuple[str, datetime]]()
        for issue in issues:
            try:
                ref, moment = payloads.ref_of(issue)
                refs.append(ref)
                key = ref.key
            except BadPayload as error:
                unreadable, moment = payloads.unreadable(issue, error)
                hidden.append(unreadable)
                key = unreadable.ref.key if unreadable.ref else ""
            moments.extend([(key, moment)] if moment else [])
        found = await self._reading.fetched(refs)
        return Found(found.tickets, [*hidden, *found.unreadable], moments)


def _check_ids(found: Found, projects: Sequence[Project]) -> None:
    """Raises `Rejected` where another project has the key of one of `projects` now: Jira searches by key."""
    ids = {project.key: project.remote_id for project in projects}
    for ticket in found.tickets:
        known = ids.get(ticket.epic.project)
        if None not in (known, ticket.project_id) and known != ticket.project_id:
            key = ticket.epic.project
            raise Rejected(f"The key '{key}' is another project's by now.", "Nothing; it is listed anew.")


def _epics(found: Found) -> tuple[Epic, ...]:
    return tuple(ticket.epic for ticket in found.tickets)


def _project_of(ticket: str, keys: set[str]) -> str:
    """The project of a ticket by its key; empty where that is none of `keys`."""
    project = ticket.rpartition("-")[0]
    return project if project in keys else ""
