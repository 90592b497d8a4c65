"""Both trackers seen alike: what a person does to a ticket there, and what stands on it.

A test that takes a `driver` names its trackers: `both`, `on_jira`, `on_github`, or `on_either("jira")`.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from typing import Any

import pytest

from connectors.sandbox.jira import adf
from connectors.sandbox.tracker import Tracker
from tests.support.world import World

KINDS = ["jira", "github"]
# Everything on both trackers, and every fault at every place: some minutes more.
ALL = os.environ.get("NORTHING_TEST_ALL", "") not in ("", "0")

on_jira = pytest.mark.parametrize("driver", ["jira"], indirect=True)
on_github = pytest.mark.parametrize("driver", ["github"], indirect=True)
both = pytest.mark.parametrize("driver", KINDS, indirect=True)


def either(kind: str) -> list[str]:
    """Where both trackers would show the same: this one, or both where everything is asked for."""
    return KINDS if ALL else [kind]


def on_either(kind: str) -> pytest.MarkDecorator:
    """As `either`, for a test that takes a `driver`."""
    return pytest.mark.parametrize("driver", either(kind), indirect=True)


class TrackerDriver(ABC):
    """One tracker of a world. `creates`, `edits`, `reads` and `looks` are globs over its requests."""

    kind: str
    tracker: Tracker
    creates: str
    edits: str
    reads: str  # a ticket, just before it is written
    looks: str  # the comments of a ticket

    def __init__(self, world: World) -> None:
        self.world = world

    async def connect(self, mode: str = "live", **members: Any) -> None:
        """A source with no timetable that lets a run make any number of comments, and a policy without
        grace for epics of any age."""
        await self.world.no_grace()
        connect = self.world.connect_jira if self.kind == "jira" else self.world.connect_github
        notices = {"mode": mode, "per_run": 1000, "max_share": 1, **members.pop("notices", {})}
        await connect(self.kind, notices=notices, **{**self._scope(), **members})

    async def set_mode(self, mode: str) -> None:
        """Switch the mode and do all that follows."""
        await self.world.send("PATCH", f"/sources/{self.kind}", {"notices": {"mode": mode}})
        await self.world.drain()

    async def sync(self, mode: str = "incremental") -> Any:
        return await self.world.sync(self.kind, mode)

    async def epic(self, key: str) -> Any:
        return await self.world.epic(self.kind, key)

    async def notice(self, key: str) -> Any:
        return (await self.epic(key))["notice"]

    @abstractmethod
    def plan_fields(self) -> dict[str, str]:
        """The members of `epics` that name the fields which `plan` fills; made where the tracker has none."""

    @abstractmethod
    def plan(self, key: str, *, start: Any = None, due: Any = None, points: Any = None) -> None:
        """The values of these fields, as the tracker is to show them; None for none."""

    def _scope(self) -> dict[str, Any]:
        return {}

    @abstractmethod
    def add(self, title: str = "An epic", **members: Any) -> str:
        """A new epic; its key."""

    @abstractmethod
    def describe(self, key: str, text: str) -> None: ...

    @abstractmethod
    def label(self, key: str, *labels: str) -> None: ...

    @abstractmethod
    def finish(self, key: str) -> None: ...

    @abstractmethod
    def put_below(self, key: str, parent: str) -> None:
        """The ticket gets this parent."""

    @abstractmethod
    def delete(self, key: str) -> None: ...

    @abstractmethod
    def say(self, key: str, text: str, *, outsider: bool = False) -> str:
        """A comment of a person who may edit tickets, or who may not; its id."""

    @abstractmethod
    def account_of_comment(self, key: str, id: str) -> str:
        """The tracker's id of the account that wrote the comment."""

    @abstractmethod
    def credentials(self, name: str) -> dict[str, str]:
        """Those of the account of that name, made where there is none."""

    @abstractmethod
    def give_comment(self, key: str, name: str | None) -> str:
        """The first comment is of the account of that name now, or of the source's own; the account's id."""

    @abstractmethod
    def comments(self, key: str) -> list[str]:
        """The words of each comment, oldest first, without our marker."""

    @abstractmethod
    def comment_ids(self, key: str) -> list[str]: ...

    @abstractmethod
    def delete_comments(self, key: str) -> None: ...

    @abstractmethod
    def forbid(self) -> None:
        """The account may read and no longer write."""

    @abstractmethod
    def allow(self) -> None: ...


class JiraDriver(TrackerDriver):
    kind = "jira"
    creates = "POST */issue/*/comment"
    edits = "PUT */issue/*/comment/*"
    reads = "POST */issue/bulkfetch"
    looks = "GET */issue/*/comment"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.tracker, self.site = world.jira, world.site

    def add(self, title: str = "An epic", **members: Any) -> str:
        return self.site.create(members.pop("project", "SHOP"), title, **members).key

    def describe(self, key: str, text: str) -> None:
        self.site.edit(key, description=text)

    def label(self, key: str, *labels: str) -> None:
        self.site.edit(key, labels=list(labels))

    def finish(self, key: str) -> None:
        self.site.edit(key, status="Done")

    def plan_fields(self) -> dict[str, str]:
        return {"start_field": "start DATE", "points_field": "Story point estimate"}

    def plan(self, key: str, *, start: Any = None, due: Any = None, points: Any = None) -> None:
        self.site.edit(key, custom={"customfield_10015": start, "duedate": due, "customfield_10016": points})

    def put_below(self, key: str, parent: str) -> None:
        self.site.edit(key, parent=self.site.issue(parent))

    def delete(self, key: str) -> None:
        self.site.delete(key)

    def say(self, key: str, text: str, *, outsider: bool = False) -> str:
        author = self.site.account("passer-by") if outsider else None
        return self.site.comment(key, text, author).id

    def account_of_comment(self, key: str, id: str) -> str:
        (comment,) = (one for one in self.site.issue(key).comments if one.id == id)
        return comment.author.account_id

    def credentials(self, name: str) -> dict[str, str]:
        account = self.site.account(name)
        return {"type": "api_token", "email": account.email, "token": account.token}

    def give_comment(self, key: str, name: str | None) -> str:
        account = self.site.bot if name is None else self.site.account(name)
        self.site.issue(key).comments[0].author = account
        return account.account_id

    def comments(self, key: str) -> list[str]:
        return [adf.to_text(comment.body) for comment in self.site.issue(key).comments]

    def comment_ids(self, key: str) -> list[str]:
        return [comment.id for comment in self.site.issue(key).comments]

    def delete_comments(self, key: str) -> None:
        for comment in self.comment_ids(key):
            self.site.delete_comment(comment)

    def forbid(self) -> None:
        self.site.denied |= {("ADD_COMMENTS", "SHOP"), ("EDIT_OWN_COMMENTS", "SHOP")}

    def allow(self) -> None:
        self.site.denied.clear()


class GitHubDriver(TrackerDriver):
    kind = "github"
    creates = "POST */issues/*/comments"
    edits = "PATCH */issues/comments/*"
    reads = "GET */issues/*[0-9]"
    looks = "GET */issues/*/comments"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.tracker, self.host = world.github, world.host

    def _scope(self) -> dict[str, Any]:
        return {"scope": {"repositories": ["acme/shop"]}}

    def add(self, title: str = "An epic", **members: Any) -> str:
        repository = members.pop("project", "acme/shop")
        if "description" in members:
            members["body"] = members.pop("description")
        members["labels"] = ["epic", *members.get("labels", ())]
        return f"{repository}#{self.host.create(repository, title, **members).number}"

    def describe(self, key: str, text: str) -> None:
        self.host.edit(key, body=text)

    def label(self, key: str, *labels: str) -> None:
        self.host.edit(key, labels=["epic", *labels])

    def finish(self, key: str) -> None:
        self.host.edit(key, state="closed")

    def plan_fields(self) -> dict[str, str]:
        if not self.host.fields:
            self.host.add_issue_field("Start date", "date")
            self.host.add_issue_field("Target date", "date")
            self.host.add_issue_field("Estimate", "number")
        return {"start_field": "start DATE", "due_field": "Target date", "points_field": "Estimate"}

    def plan(self, key: str, *, start: Any = None, due: Any = None, points: Any = None) -> None:
        self.host.edit(key, fields={"Start date": start, "Target date": due, "Estimate": points})

    def put_below(self, key: str, parent: str) -> None:
        self.host.add_sub_issue(parent, self.host.issue(key))

    def delete(self, key: str) -> None:
        self.host.delete(key)

    def say(self, key: str, text: str, *, outsider: bool = False) -> str:
        author = self.host.account("passer-by") if outsider else None
        return str(self.host.comment(key, text, author).id)

    def account_of_comment(self, key: str, id: str) -> str:
        (comment,) = (one for one in self.host.issue(key).comments if str(one.id) == id)
        return str(comment.author.id)

    def credentials(self, name: str) -> dict[str, str]:
        return {"type": "token", "token": self.host.account(name).token}

    def give_comment(self, key: str, name: str | None) -> str:
        account = self.host.bot if name is None else self.host.account(name)
        self.host.issue(key).comments[0].author = account
        return str(account.id)

    def comments(self, key: str) -> list[str]:
        return [re.sub(r"(?m)^<!--.*-->\n+", "", comment.body) for comment in self.host.issue(key).comments]

    def comment_ids(self, key: str) -> list[str]:
        return [str(comment.id) for comment in self.host.issue(key).comments]

    def delete_comments(self, key: str) -> None:
        for comment in self.comment_ids(key):
            self.host.delete_comment(int(comment))

    def forbid(self) -> None:
        self.host.read_only.add("acme/shop")

    def allow(self) -> None:
        self.host.read_only.clear()


def driver_of(world: World, kind: str) -> TrackerDriver:
    return JiraDriver(world) if kind == "jira" else GitHubDriver(world)
