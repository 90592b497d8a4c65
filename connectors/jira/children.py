"""The children of Jira's tickets, which no ticket shows: found and counted by searches.

Jira dates no epic anew when a child of it changes, only the child. So one search asks which children changed,
whatever their number of epics, and one search counts the children of 250 epics. Both send their JQL in
the address, which holds ids alone.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from connectors.base import Blocked, ChangedChildren, Children, EpicRef, Rejected
from connectors.http_body import TooLarge
from connectors.jira import payloads, search
from connectors.jira.errors import Forbidden, NoSuchCall
from connectors.members import MISREADINGS, moment_in, number_in, object_in, remote_number, row_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from connectors.jira.transport import JiraTransport

AT_ONCE = 250  # epics whose children one search counts: an address of at most about four thousand signs
ROWS = 1000  # Jira may give fewer, and gives more of a short row
MOST_PAGES = 100  # of one search; an epic with more children is not counted
# Of one count, before any is answered and in all. To find one ticket of 250 that Jira does not know takes
# eight, and twenty that are neighbours about fifty.
MOST_REFUSED_AT_FIRST, MOST_REFUSED = 31, 100


class JiraChildren:
    """`check_login` raises `Unauthorized` where the login is not valid any more. It is called where an answer
    does not show a ticket that it must show, as Jira then shows nothing."""

    def __init__(self, transport: JiraTransport, check_login: Callable[[Any], Awaitable[None]]) -> None:
        self._transport, self._check_login = transport, check_login

    async def changed(self, since: datetime) -> AsyncGenerator[ChangedChildren, None]:
        """The parents of all tickets of the site updated since, of projects out of scope too.

        The index lags behind, so the whole answer goes on a little before its end the next time; a part of an
        answer that is too long goes on exactly where it ended.
        """
        newest = since
        async for rows, last in self._pages(search.changed_children_jql(since), ["parent", "updated"]):
            parents: dict[EpicRef, datetime] = {}
            for row in rows:
                try:
                    fields = row_of(row_of(row).get("fields"))
                    parent = EpicRef(number_in(object_in(fields, "parent"), "id"), "")
                    moment = moment_in(fields, "updated")
                except MISREADINGS:
                    continue
                parents[parent] = max(moment, parents.get(parent, moment))
                newest = max(newest, moment)
            yield ChangedChildren(
                tuple(parents.items()), max(since, newest - search.OVERLAP) if last else newest
            )

    async def count(self, refs: Sequence[EpicRef]) -> dict[str, Children]:
        """Raises `Rejected` where Jira refuses one search after the other, whatever its epics. Where it
        answers some and refuses very many, the epics that are left are not counted."""
        counted: dict[str, Children] = {}
        ids = [ref.remote_id for ref in refs if remote_number(ref.remote_id)]
        waiting = deque(ids[start : start + AT_ONCE] for start in range(0, len(ids), AT_ONCE))
        refused = 0
        while waiting and refused < MOST_REFUSED:
            batch = waiting.popleft()
            try:
                counted |= await self._counted(batch)
            except (Blocked, Forbidden, NoSuchCall):
                raise
            except (Rejected, TooLarge) as error:
                # Jira refuses a search that names one ticket it does not know, or does not show. Larger parts
                # are asked for first: those without such a ticket are answered before it is found.
                refused += isinstance(error, Rejected)
                if refused > MOST_REFUSED_AT_FIRST and not counted:
                    raise
                half = len(batch) // 2
                waiting += [part for part in (batch[:half], batch[half:]) if half]
        return counted

    async def _counted(self, ids: Sequence[str]) -> dict[str, Children]:
        """The children of these epics. One of whose children a row cannot be read is left out."""
        total, done, left_out, seen = Counter[str](), Counter[str](), set[str](), set[str]()
        whole = shown = False
        async for rows, last in self._pages(search.children_jql(ids), ["parent", "status"]):
            for row in rows:
                child, parent, is_done = _child_of(row)
                if child == ids[0]:
                    shown = True
                    if parent not in ids:
                        continue
                if parent is None or is_done is None:
                    left_out |= set(ids) if parent is None else {parent}
                elif child not in seen and child != parent:
                    seen.add(child)  # it is on two pages, where it changed meanwhile
                    total[parent] += 1
                    done[parent] += is_done
            whole = last
        if not whole:
            raise TooLarge(f"Jira's list of children has more than {MOST_PAGES} pages.")
        await self._check_login(shown)
        return {i: Children(total[i], done[i]) for i in ids if i not in left_out}

    async def _pages(self, jql: str, fields: list[str]) -> AsyncGenerator[tuple[list[Any], bool], None]:
        """The rows of each page, and whether it is the last; at most `MOST_PAGES`."""
        params: dict[str, Any] = {"jql": jql, "fields": fields, "maxResults": ROWS}
        used: set[str] = set()
        for _ in range(MOST_PAGES):
            answer = await self._transport.call("GET", "search/jql", params)
            token = search.next_token(payloads.only_token(answer), used)
            yield payloads.issues_of(answer), token is None
            if token is None:
                return
            params["nextPageToken"] = token


def _child_of(row: Any) -> tuple[str, str | None, bool | None]:
    """A child's id, its parent's, and whether it is done, each as far as the row says it."""
    issue: Mapping[str, Any] = row if isinstance(row, dict) else {}
    fields = issue.get("fields")
    fields = fields if isinstance(fields, dict) else {}
    parent, status = fields.get("parent"), fields.get("status")
    above = remote_number(parent.get("id")) if isinstance(parent, dict) else None
    child = remote_number(issue.get("id"))
    category = status.get("statusCategory") if isinstance(status, dict) else None
    if child is None or not isinstance(category, dict) or not isinstance(category.get("key"), str):
        return "", above, None
    return child, above, payloads.category_of({"statusCategory": category}) == "done"
