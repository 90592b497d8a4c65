"""The modules that work on one webhook, from its arrival to the comment on the ticket, as they are executed.

Northing runs in this process, on a database of its own, against a simulated tracker over HTTP. A module is on
the way where one of its functions is called; what is only imported or read is not.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from connectors.sandbox.company.bulk import add_epics, add_issues
from connectors.sandbox.github.host import GitHubHost
from connectors.sandbox.github.tracker import GitHubTracker
from connectors.sandbox.jira.site import JiraSite
from connectors.sandbox.jira.tracker import JiraTracker
from connectors.sandbox.server import serve
from tests.bench.bare import PROJECT
from tests.bench.northing import REPOSITORY, SECRET, Northing, northing
from tests.bench.servers import Kind, Tracker, databases
from tests.house.imports import PACKAGES, ROOT

EPICS = 3


async def webhook_to_comment(kind: Kind) -> list[str]:
    """The modules between the webhook about a new epic and the comment on it, by name."""
    tracker, access, create = _jira() if kind == "jira" else _github()
    with databases() as server, server.fresh("house") as database:
        async with serve(tracker) as url, northing(database) as instance:
            await instance.set_up_goals()
            await instance.send("PATCH", "/policy", {"since": None, "grace": "PT0S"})
            notices = {"mode": "live", "per_run": 100, "per_day": 100, "max_share": 1}
            await instance.connect(kind, access(url), webhook_secret=SECRET, notices=notices)
            await instance.sync("full", kind)
            before = await _comments(instance, kind)
            body = create()
            with _called() as files:
                await instance.receive(kind, body, "issues")
                await instance.work()
            after = await _comments(instance, kind)
    if after != before + 1:
        raise RuntimeError(f"{after} comments after the webhook, {before} before it")
    return sorted(name for file in files if (name := _module(file)) is not None)


async def _comments(instance: Northing, source: str) -> int:
    return len((await instance.send("GET", f"/notices?source={source}&state=posted&limit=500"))["items"])


def _module(file: str) -> str | None:
    path = Path(file)
    if not path.is_relative_to(ROOT):
        return None
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[0] not in PACKAGES or "sandbox" in parts:
        return None
    return ".".join(parts)


@contextmanager
def _called() -> Iterator[set[str]]:
    """The files whose functions are called while the block runs, in this thread and in those it starts."""
    files: set[str] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            files.add(frame.f_code.co_filename)

    sys.setprofile(note)
    threading.setprofile(note)
    try:
        yield files
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


Access = Callable[[str], Tracker]
Create = Callable[[], dict[str, Any]]


def _jira() -> tuple[JiraTracker, Access, Create]:
    site = JiraSite()
    add_epics(site, PROJECT, EPICS)

    def create() -> dict[str, Any]:
        issue = site.create(PROJECT, "Something new")
        named = {"id": str(issue.id), "key": issue.key, "fields": {}}
        return {"webhookEvent": "jira:issue_created", "issue": named}

    return JiraTracker(site), lambda url: Tracker(url, site.bot.token, EPICS, site.bot.email, "jira"), create


def _github() -> tuple[GitHubTracker, Access, Create]:
    host = GitHubHost()
    add_issues(host, REPOSITORY, EPICS)

    def create() -> dict[str, Any]:
        issue = host.create(REPOSITORY, "Something new", labels=["epic"])
        named = {"id": issue.id, "number": issue.number, "labels": [{"name": "epic"}]}
        return {"action": "opened", "issue": named, "repository": {"full_name": REPOSITORY}}

    return GitHubTracker(host), lambda url: Tracker(url, host.bot.token, EPICS, kind="github"), create
