"""Every call of a connector, on a tracker with one epic."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from connectors.base import CommentRef, Connector, EpicRef, Project
from connectors.document import Document, Paragraph, Text
from connectors.marker import Marker
from connectors.registry import KINDS
from connectors.sandbox.github.host import GitHubHost
from connectors.sandbox.github.tracker import GitHubTracker
from connectors.sandbox.jira.site import JiraSite
from connectors.sandbox.jira.tracker import JiraTracker
from connectors.sandbox.server import serve
from connectors.sandbox.tracker import Tracker
from connectors.timeouts import TIMEOUTS, Timeouts

MARKER = Marker("0b9f4a34-0000-4000-8000-000000000000", 1)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
WORDS = Document((Paragraph((Text("Words."),)),))


@dataclass
class Target:
    """A connector on a tracker with one epic, which has a comment of ours and one of a person."""

    connector: Connector
    tracker: Tracker
    project: str
    epic: EpicRef
    ours: str
    theirs: str


async def _walk(on: Target) -> list[Any]:
    return [page async for page in on.connector.changed_since(Project(on.project), None)]


async def _read_whole(on: Target) -> object:
    found = await on.connector.read_comment(CommentRef(on.epic, on.theirs))
    return found and await on.connector.with_right(on.epic, found)


Call = Callable[[Target], Awaitable[object]]

READS: dict[str, Call] = {
    "account": lambda on: on.connector.account(),
    "projects": lambda on: on.connector.projects(),
    "listing": _walk,
    "fetch": lambda on: on.connector.fetch([on.epic]),
    "find": lambda on: on.connector.find_comments(on.epic, MARKER),
    "read": _read_whole,
    "recent": lambda on: on.connector.recent_comments([on.epic], LONG_AGO),
}

WRITES: dict[str, Call] = {
    "create": lambda on: on.connector.put_comment(on.epic, None, WORDS, MARKER),
    "edit": lambda on: on.connector.put_comment(on.epic, on.ours, WORDS, MARKER),
    "delete": lambda on: on.connector.delete_comment(on.epic, on.ours),
    "acknowledge": lambda on: on.connector.acknowledge(CommentRef(on.epic, on.theirs), "done", None),
}


@asynccontextmanager
async def target(kind: str, timeouts: Timeouts = TIMEOUTS) -> AsyncIterator[Target]:
    site, host = JiraSite(), GitHubHost()
    tracker: Tracker
    if kind == "jira":
        site.add_project("SHOP", "Shop")
        epic = site.create("SHOP", "An epic")
        credentials = {"type": "api_token", "email": site.bot.email, "token": site.bot.token}
        scope, tracker = {"projects": ["SHOP"]}, JiraTracker(site)
        ref = EpicRef(epic.id, epic.key)
        ours, theirs = site.comment(ref.key, "Ours.", site.bot).id, site.comment(ref.key, "Theirs.").id
    else:
        host.add_repository("acme/shop")
        issue = host.create("acme/shop", "An epic", labels=["epic"])
        credentials = {"type": "token", "token": host.bot.token}
        scope, tracker = {"repositories": ["acme/shop"]}, GitHubTracker(host)
        ref = EpicRef(str(issue.id), issue.key)
        made = host.comment(ref.key, "Ours.", host.bot), host.comment(ref.key, "Theirs.")
        ours, theirs = str(made[0].id), str(made[1].id)
    of_kind = KINDS[kind]
    async with serve(tracker) as url:
        connector = of_kind.connect(
            url,
            of_kind.credentials.model_validate(credentials),
            of_kind.scope.model_validate(scope),
            of_kind.epics.model_validate({}),
            timeouts,
        )
        project = scope[next(iter(scope))][0]
        try:
            yield Target(connector, tracker, project, ref, ours, theirs)
        finally:
            await connector.aclose()
