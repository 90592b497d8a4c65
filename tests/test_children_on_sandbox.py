"""Parents and children as the connectors tell of them, on both simulated trackers over HTTP.

Each exchange is held against the vendor's API description, both ways.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.base import (
    BadPayload,
    ChangedChildren,
    Children,
    Connector,
    Epic,
    EpicRef,
    Parent,
    Project,
    Rejected,
    Unauthorized,
    Unavailable,
)
from connectors.jira.children import MOST_REFUSED_AT_FIRST
from connectors.registry import KINDS
from connectors.sandbox import faults
from connectors.sandbox.github.host import GitHubHost
from connectors.sandbox.github.tracker import GitHubTracker
from connectors.sandbox.jira.site import JiraSite
from connectors.sandbox.jira.tracker import JiraTracker
from connectors.sandbox.server import serve
from tests.support.tracker_guard import Guard
from tests.support.vendor_api import openapi_for

START = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
COUNTS = "GET */search/jql"


class Clock:
    """A minute passes with every look."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now


# --- Jira -----------------------------------------------------------------------------------


@asynccontextmanager
async def jira(*, hostile: bool = False) -> AsyncIterator[tuple[JiraTracker, Connector]]:
    """`hostile`: what it answers is in nobody's description."""
    site = JiraSite(Clock())
    for key in ("SHOP", "PLAN"):
        site.add_project(key, key)
    kind, tracker, guard = KINDS["jira"], JiraTracker(site), Guard(openapi_for("jira-cloud-v3"))
    async with serve(tracker, through=guard.around) as url:
        connector = kind.connect(
            url,
            kind.credentials.model_validate(
                {"type": "api_token", "email": site.bot.email, "token": site.bot.token}
            ),
            kind.scope.model_validate({"projects": ["SHOP"]}),
            kind.epics.model_validate({}),
        )
        try:
            yield tracker, connector
        finally:
            await connector.aclose()
    assert hostile or guard.found == []


def epics_with_children(site: JiraSite, counts: list[tuple[int, int]]) -> list[EpicRef]:
    """An epic for each pair of children and of those that are done, each child with a sub-task."""
    refs = []
    for total, done in counts:
        epic = site.create("SHOP", "An epic")
        refs.append(EpicRef(epic.id, epic.key))
        for number in range(total):
            child = site.create(
                "PLAN" if number % 2 else "SHOP",
                "A story",
                type="Story",
                parent=epic.key,
                status="Done" if number < done else "In Review",
            )
            site.create(child.project.key, "A part", type="Sub-task", parent=child.key, status="Done")
    return refs


async def test_250_epics_cost_one_request() -> None:
    async with jira() as (tracker, connector):
        counts = [(0, 0), (3, 1), (2, 2), *[(0, 0)] * 247, (1, 0)]
        refs = epics_with_children(tracker.site, counts)
        before = connector.requests
        assert await connector.count_children(refs) == {
            ref.remote_id: Children(*pair) for ref, pair in zip(refs, counts, strict=True)
        }
        assert (len(refs), tracker.log.count(COUNTS), connector.requests - before) == (251, 2, 2)
        assert await connector.count_children([]) == {}


async def test_the_pages_of_a_count_are_read_to_their_end() -> None:
    async with jira() as (tracker, connector):
        [ref] = epics_with_children(tracker.site, [(7, 4)])
        tracker.faults.add(COUNTS, faults.page_size(0), times=1)
        tracker.faults.add(COUNTS, faults.page_size(2), times=None)
        assert await connector.count_children([ref]) == {ref.remote_id: Children(7, 4)}
        assert tracker.log.count(COUNTS) == 5


async def test_a_ticket_that_jira_does_not_know_spoils_no_count_but_its_own() -> None:
    async with jira() as (tracker, connector):
        refs = epics_with_children(tracker.site, [(2, 1)] * 60)
        tracker.site.delete(refs[37].remote_id)
        counted = await connector.count_children(refs)
        assert counted == {ref.remote_id: Children(2, 1) for ref in refs if ref is not refs[37]}
        assert tracker.log.count(COUNTS) <= 14


@pytest.mark.parametrize("unknown", [range(20), range(100, 120), range(230, 250), range(0, 250, 25)])
async def test_many_unknown_tickets_spoil_no_count_but_their_own(unknown: range) -> None:
    async with jira() as (tracker, connector):
        refs = epics_with_children(tracker.site, [(1, 1)] * 250)
        for number in unknown:
            tracker.site.delete(refs[number].remote_id)
        counted = await connector.count_children(refs)
        known = [ref for number, ref in enumerate(refs) if number not in unknown]
        assert counted == {ref.remote_id: Children(1, 1) for ref in known}
        assert tracker.log.count(COUNTS) <= 160


async def test_where_every_count_is_refused_few_are_asked_for() -> None:
    async with jira() as (tracker, connector):
        refs = epics_with_children(tracker.site, [(0, 0)] * 120)
        for ref in refs:
            tracker.site.delete(ref.remote_id)
        with pytest.raises(Rejected, match="does not exist for field 'parent'"):
            await connector.count_children(refs)
        assert tracker.log.count(COUNTS) == MOST_REFUSED_AT_FIRST + 1


async def test_an_empty_answer_is_believed_only_with_a_login() -> None:
    async with jira() as (tracker, connector):
        refs = epics_with_children(tracker.site, [(2, 1)])
        tracker.faults.add(COUNTS, faults.rewrite(lambda _: {"issues": [], "isLast": True}))
        tracker.site.revoke_credentials()
        with pytest.raises(Unauthorized):
            await connector.count_children(refs)


def child(parent: object, category: object = "done", id: object = "1") -> dict[str, Any]:
    status = {"name": "@", "statusCategory": {"key": category}}
    return {"id": id, "fields": {"parent": parent, "status": status}}


HOSTILE: dict[str, tuple[list[Any], bool]] = {
    "no object": ([7], False),
    "no id": ([child({"id": "{id}"}, id=None)], False),
    "a parent that is a string": ([child("SHOP-1")], False),
    "a parent without an id": ([child({"key": "SHOP-1"})], False),
    "an id of 30 digits": ([child({"id": "9" * 30})], False),
    "no status": ([{"id": "1", "fields": {"parent": {"id": "{id}"}}}], False),
    "a category that is no text": ([child({"id": "{id}"}, category=[1])], False),
    "a child of another": ([child({"id": "999999"})], True),
    "its own child": ([child({"id": "{id}"}, id="{id}")], True),
    "the same twice": ([child({"id": "{id}"}), child({"id": "{id}"}), child({"id": "999999"}, id="2")], True),
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_a_child_that_cannot_be_read_leaves_the_count_of_its_epic_alone(case: str) -> None:
    rows, is_counted = HOSTILE[case]
    async with jira(hostile=True) as (tracker, connector):
        [ref] = epics_with_children(tracker.site, [(1, 0)])
        answer = json.dumps({"issues": rows, "isLast": True}).replace("{id}", ref.remote_id)
        tracker.faults.add(COUNTS, faults.rewrite(lambda _: json.loads(answer)))
        counted = await connector.count_children([ref])
        expected = Children(1, 1) if case == "the same twice" else Children(0, 0)
        assert counted == ({ref.remote_id: expected} if is_counted else {})


async def changed(connector: Connector, since: datetime) -> list[ChangedChildren]:
    return [page async for page in connector.changed_children(since)]


async def test_one_search_names_the_parents_of_all_that_changed() -> None:
    async with jira() as (tracker, connector):
        site = tracker.site
        refs = epics_with_children(site, [(1, 0)] * 30)
        since = site.clock()
        moved = site.issue(refs[4].remote_id).children[0]
        site.edit(moved.id, status="Done")
        site.edit(site.issue(refs[2].remote_id).id, summary="No child changed")
        [page] = await changed(connector, since)
        named = dict(page.parents)
        assert named == {EpicRef(refs[4].remote_id, ""): moved.updated}
        # The index lags behind: the next search begins a little before the newest.
        assert page.cursor == max(since, moved.updated - timedelta(minutes=5))
        assert tracker.log.count(COUNTS) == 1
        [nothing] = await changed(connector, moved.updated + timedelta(hours=1))
        assert (nothing.parents, nothing.cursor) == ((), moved.updated + timedelta(hours=1))


async def test_a_row_that_names_no_parent_is_passed_over() -> None:
    async with jira(hostile=True) as (tracker, connector):
        epics_with_children(tracker.site, [(1, 0)])
        good = {"id": "5", "fields": {"parent": {"id": "6"}, "updated": "2026-11-02T09:00:00.000+0000"}}
        rows = [3, {"fields": {"parent": "@"}}, {"fields": {"parent": {"id": "6"}, "updated": "@"}}, good]
        tracker.faults.add(COUNTS, faults.rewrite(lambda _: {"issues": rows, "isLast": True}))
        [page] = await changed(connector, START - timedelta(days=1))
        assert dict(page.parents) == {EpicRef("6", ""): START}


async def test_a_limit_is_a_limit_and_nonsense_is_nonsense() -> None:
    async with jira(hostile=True) as (tracker, connector):
        refs = epics_with_children(tracker.site, [(1, 0)])
        tracker.faults.add(COUNTS, faults.answer(503, "down"))
        with pytest.raises(Unavailable):
            await connector.count_children(refs)
        tracker.faults.add(COUNTS, faults.rewrite(lambda _: {"no issues": 1}))
        with pytest.raises(BadPayload):
            await connector.count_children(refs)


async def test_jira_names_a_parent_in_full_and_is_asked_for_none() -> None:
    async with jira() as (tracker, connector):
        above = tracker.site.create("PLAN", "The initiative", type="Initiative")
        tracker.site.create("SHOP", "An epic", parent=above.key)
        [page] = [page async for page in connector.changed_since(Project("SHOP"), None)]
        [epic] = page.epics
        parent = Parent(above.key, above.id, "The initiative", f"{tracker.base_url}/browse/{above.key}")
        assert (epic.parent, epic.children) == (parent, None)
        before = connector.requests
        assert (await connector.read_parents([parent]), connector.requests) == ([parent], before)


# --- GitHub ---------------------------------------------------------------------------------


@pytest.fixture
async def github() -> AsyncIterator[tuple[GitHubTracker, Connector]]:
    host = GitHubHost(Clock())
    for name in ("acme/shop", "acme/plan", "other/closed"):
        host.add_repository(name)
    kind, tracker, guard = KINDS["github"], GitHubTracker(host), Guard(openapi_for("github"))
    async with serve(tracker, through=guard.around) as url:
        connector = kind.connect(
            f"{url}/api/v3",
            kind.credentials.model_validate({"type": "token", "token": host.bot.token}),
            kind.scope.model_validate({"repositories": ["acme/shop"]}),
            kind.epics.model_validate({}),
        )
        try:
            yield tracker, connector
        finally:
            await connector.aclose()
    assert [message for message in guard.found if " -> 503: " not in message] == []


async def epics_of(connector: Connector) -> dict[str, Epic]:
    pages = [page async for page in connector.changed_since(Project("acme/shop"), None)]
    return {epic.key: epic for page in pages for epic in page.epics}


async def test_an_issue_says_its_parent_and_how_many_children_it_has(
    github: tuple[GitHubTracker, Connector],
) -> None:
    tracker, connector = github
    host = tracker.host
    above = host.create("acme/plan", "The initiative")
    both: dict[str, Any] = {"labels": ["epic"], "milestone": "Q4"}
    first = host.create("acme/shop", "Below an issue", parent=above.key, **both)
    second = host.create("acme/shop", "In a milestone", **both)
    closed = host.create("acme/shop", "A part", parent=second.key)
    host.create("acme/shop", "Another part", parent=second.key)
    host.edit(closed.key, state="closed")
    found, web = await epics_of(connector), tracker.base_url
    # A parent issue goes before a milestone.
    assert found[first.key].parent == Parent(above.key, url=f"{web}/acme/plan/issues/1")
    page = "acme/shop/milestone/1"
    assert found[second.key].parent == Parent(page, title="Q4", url=f"{web}/{page}")
    assert [found[one.key].children for one in (first, second)] == [Children(0, 0), Children(2, 1)]
    [fetched] = await connector.fetch([EpicRef(str(second.id), second.key)])
    assert isinstance(fetched, Epic)
    assert (fetched.parent, fetched.children) == (found[second.key].parent, Children(2, 1))
    refs = [EpicRef(str(one.id), one.key) for one in (first, second)]
    assert await connector.count_children([*refs, EpicRef("1", "acme/shop#99")]) == {
        refs[0].remote_id: Children(0, 0),
        refs[1].remote_id: Children(2, 1),
    }


async def test_a_page_names_the_parents_of_all_its_issues(github: tuple[GitHubTracker, Connector]) -> None:
    tracker, connector = github
    above = tracker.host.create("acme/plan", "The initiative")
    part = [tracker.host.create("acme/shop", "No epic", parent=above.key, milestone="Q4") for _ in range(2)]
    tracker.host.create("acme/shop", "No epic either", milestone="Q4")
    [page] = [page async for page in connector.changed_since(Project("acme/shop"), None)]
    assert dict(page.changed_children.parents) == {EpicRef("", above.key): part[1].updated}


async def test_a_parent_is_read_with_one_request_and_never_at_the_price_of_an_error(
    github: tuple[GitHubTracker, Connector],
) -> None:
    tracker, connector = github
    host, web = tracker.host, tracker.base_url
    above, hidden = host.create("acme/plan", "The initiative"), host.create("other/closed", "Secret")
    moved, gone = host.create("acme/plan", "Moved"), host.create("acme/plan", "Gone")
    now = host.transfer(moved.key, "acme/shop")
    host.delete(gone.key)
    host.hidden.add("other/closed")
    keys = [above.key, hidden.key, "acme/plan#2", gone.key]
    parents = [Parent(key, url=f"{web}/{key.replace('#', '/issues/')}") for key in keys]
    before = connector.requests
    assert await connector.read_parents(parents) == [
        Parent(above.key, str(above.id), "The initiative", f"{web}/acme/plan/issues/1"),
        parents[1],
        Parent("acme/plan#2", str(now.id), "Moved", f"{web}/acme/shop/issues/1"),
        parents[3],
    ]
    assert connector.requests - before == 5  # one more for the redirect
    host.no_issues.add("acme/plan")
    assert await connector.read_parents(parents[:1]) == parents[:1]
    tracker.faults.add("GET */acme/plan/issues/1", faults.answer(503, "down"))
    with pytest.raises(Unavailable):
        await connector.read_parents(parents[:1])
