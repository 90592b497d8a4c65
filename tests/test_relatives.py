"""Parents and counts of children, from the tracker to the API."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from sqlalchemy import text

from app.runtime import Runtime
from app.sync import ready, relatives
from connectors.sandbox.faults import answer, drop, rewrite
from tests.support.clock import Clock, later
from tests.support.queries import versions
from tests.support.webhook_deliveries import doors, process_everything
from tests.support.webhook_posts import SECRET
from tests.support.world import OFF, World

pytestmark = pytest.mark.database

COUNTS = "GET */search/jql"
PARENT = ("parent_key", "parent_remote_id", "parent_title", "parent_url")


def children(total: int, done: int) -> dict[str, int]:
    return {"total": total, "done": done}


async def counted(world: World, source: str = "jira") -> list[Any]:
    """Of each epic, in the order in which they were made."""
    page = await world.send("GET", f"/epics?source={source}&limit=500")
    return [item["children"] for item in sorted(page["items"], key=lambda item: int(item["id"]))]


async def columns(runtime: Runtime, *names: str) -> dict[str, tuple[Any, ...]]:
    """These columns of each epic, by its key."""
    async with runtime.sessions() as session:
        rows = await session.execute(text(f"SELECT key, {', '.join(names)} FROM epics ORDER BY id"))
        return {key: tuple(values) for key, *values in rows}


# --- counts on Jira -------------------------------------------------------------------------


async def jira(world: World, epics: int, *, of_each: int = 1) -> list[str]:
    """A source with so many epics, each with so many stories, one of them done; their keys."""
    world.site.add_project("CORE", "Core")
    keys = [world.site.create("SHOP", "An epic").key for _ in range(epics)]
    for key in keys:
        for number in range(of_each):
            status = "To Do" if number else "Done"
            world.site.create("SHOP", "A story", type="Story", parent=key, status=status)
    await world.connect_jira(notices=OFF, scope={"projects": ["SHOP"]}, webhook_secret=SECRET)
    return keys


@pytest.mark.parametrize("mode", ["incremental", "full"])
async def test_n_epics_cost_a_request_for_each_hundred(world: World, mode: str) -> None:
    await jira(world, 203, of_each=2)
    world.site.page_cap = 1000
    world.jira.log.clear()
    run = await world.sync("jira", mode)
    assert (run["state"], run["error"]) == ("succeeded", None)
    assert await counted(world) == [children(2, 1)] * 203
    requests = world.jira.log.count(COUNTS)  # a full run counts those of pages that came together at once
    assert requests == 3 if mode == "incremental" else 1 <= requests <= 3
    assert run["requests"] == world.jira.log.count()


async def due(runtime: Runtime) -> int:
    """How many epics are still to be counted."""
    async with runtime.sessions() as session:
        return int((await session.scalars(text("SELECT count(*) FROM children_due"))).one())


async def test_a_full_run_stores_each_epic_once_with_its_count(world: World, runtime: Runtime) -> None:
    await jira(world, 8)
    world.site.page_cap = 4
    # It stops at the third page: what is on the first is stored by then, with its counts.
    world.jira.faults.add("POST */search/jql", answer(429, headers={"Retry-After": "30"}), skip=1)
    assert (await world.sync("jira", "full"))["state"] == "waiting"
    assert await counted(world) == [children(1, 1)] * 4
    assert await due(runtime) == 0


async def test_what_cannot_be_counted_with_its_page_is_counted_at_the_end(
    world: World, runtime: Runtime
) -> None:
    await jira(world, 8)
    world.site.page_cap = 4
    fault = world.jira.faults.add(COUNTS, answer(500))
    run = await world.sync("jira", "full")
    assert (run["state"], fault.struck) == ("succeeded", 1)
    assert await counted(world) == [children(1, 1)] * 8
    assert await due(runtime) == 0


async def test_a_run_counts_what_changed_and_nothing_else(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    keys = await jira(world, 30)
    await world.sync("jira")
    clock.advance(hours=1)
    story = world.site.issue(keys[7]).children[0]
    world.site.edit(story.key, status="To Do")
    world.site.create("CORE", "A story elsewhere", type="Story", parent=keys[9])
    before = await columns(runtime, "children", "children_done", "evaluated_at", "content_hash")
    world.jira.log.clear()
    run = await world.sync("jira")
    assert run["updated"] == 0
    found = await counted(world)
    assert (found[7], found[9]) == (children(1, 0), children(2, 1))
    # One search finds the changes, another counts; none of it evaluates an epic.
    assert world.jira.log.count(COUNTS) == 2
    after = await columns(runtime, "children", "children_done", "evaluated_at", "content_hash")
    assert [key for key in after if after[key] != before[key]] == [keys[7], keys[9]]
    assert all(after[key][2:] == before[key][2:] for key in keys)


async def test_an_hour_in_which_nothing_changes_costs_one_request_and_writes_nothing(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    await jira(world, 3)
    await world.sync("jira")
    clock.advance(hours=1)
    await world.sync("jira")
    before = await versions(runtime)
    for mode in ("incremental", "full", "incremental"):
        clock.advance(hours=1)
        world.jira.log.clear()
        run = await world.sync("jira", mode)
        assert (run["state"], world.jira.log.count(COUNTS)) == ("succeeded", 1), mode
        assert await versions(runtime) == before


async def test_a_full_run_finds_what_no_change_shows(world: World, clock: Clock) -> None:
    """A deleted child is in no search, and no webhook told of it."""
    keys = await jira(world, 2)
    await world.sync("jira")
    clock.advance(hours=1)
    world.site.delete(world.site.issue(keys[0]).children[0].key)
    await world.sync("jira")
    assert await counted(world) == [children(1, 1)] * 2
    await world.sync("jira", "full")
    assert await counted(world) == [children(0, 0), children(1, 1)]


async def test_a_webhook_about_a_child_has_its_parents_counted(
    world: World, application: FastAPI, clock: Clock
) -> None:
    """Also of one that was deleted, or left for another epic."""
    keys = await jira(world, 3, of_each=2)
    await world.sync("jira")
    clock.advance(hours=1)
    issue = world.site.issue
    async with doors(application, world):
        world.site.delete(issue(keys[0]).children[0].key)
        world.site.edit(issue(keys[1]).children[0].key, parent=issue(keys[2]))
        await process_everything(world)
    assert await counted(world) == [children(2, 1)] * 3
    assert world.jira.log.count(COUNTS) == 1
    await world.sync("jira")
    assert await counted(world) == [children(1, 0), children(1, 0), children(3, 2)]
    assert world.jira.log.count(COUNTS) == 3


REFUSED = {"errorMessages": ["The value 'parent' does not exist."], "errors": {}}


@pytest.mark.parametrize(
    "fault",
    [
        answer(400, REFUSED), answer(403, REFUSED), answer(404, REFUSED), rewrite(lambda _: {"no": "issues"}),
        answer(500), drop(),
    ],
    ids=["refused", "forbidden", "unknown", "unreadable", "broken", "unanswered"],
)  # fmt: skip
async def test_a_count_that_fails_leaves_the_counts_and_fails_no_run(
    world: World, clock: Clock, fault: Any
) -> None:
    keys = await jira(world, 2)
    await world.sync("jira")
    clock.advance(hours=1)
    world.site.edit(world.site.issue(keys[0]).children[0].key, status="To Do")
    world.jira.faults.add(COUNTS, fault, times=None)
    world.jira.log.clear()
    for mode in ("incremental", "full"):
        run = await world.sync("jira", mode)
        assert (run["state"], run["error"]) == ("succeeded", None)
    assert await counted(world) == [children(1, 1)] * 2
    assert 0 < world.jira.log.count(COUNTS) <= 10
    world.jira.faults.clear()
    await world.sync("jira", "full")
    assert await counted(world) == [children(1, 0), children(1, 1)]


async def test_a_limit_is_waited_for_and_no_count_is_made_twice(
    world: World, runtime: Runtime, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ready, "MOST_TOGETHER", 1)  # each page is stored, and counted, by itself
    await jira(world, 150)
    # The first hundred takes two pages: a hundred children, and the first epic itself.
    world.jira.faults.add(COUNTS, answer(429, headers={"Retry-After": "30"}), skip=2)
    run = await world.sync("jira", "full")
    assert run["state"] == "waiting"
    # A page is counted while the one before is, so the limit strikes either.
    known = (await counted(world)).count(children(1, 1))
    assert known in (50, 100)
    world.jira.log.clear()
    await later(world, runtime, clock, minutes=1)
    assert (await world.send("GET", f"/runs/{run['id']}"))["state"] == "succeeded"
    assert await counted(world) == [children(1, 1)] * 150
    assert world.jira.log.count(COUNTS) == (1 if known == 100 else 2)


async def test_an_incremental_run_counts_within_its_bound_and_the_next_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relatives, "MOST_COUNTS", 1)
    await jira(world, 150)
    await world.sync("jira")
    assert (await counted(world)).count(None) == 50
    await world.sync("jira")
    assert await counted(world) == [children(1, 1)] * 150


async def test_an_older_answer_does_not_overwrite_a_newer_count(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    await jira(world, 1)
    await world.sync("jira")
    async with runtime.sessions.begin() as session:
        at = clock() + timedelta(hours=1)
        await session.execute(text("UPDATE epics SET children = 9, children_at = :at"), {"at": at})
    await world.sync("jira", "full")
    assert await counted(world) == [children(9, 1)]
    clock.advance(hours=2)
    await world.sync("jira", "full")
    assert await counted(world) == [children(1, 1)]


async def test_a_parent_on_jira_comes_with_its_title(world: World, runtime: Runtime) -> None:
    world.site.add_project("CORE", "Core")
    above = world.site.create("CORE", "The initiative", type="Initiative")
    epic = world.site.create("SHOP", "An epic", parent=above.key)
    await world.connect_jira(notices=OFF, scope={"projects": ["SHOP"]})
    await world.sync("jira")
    page = f"{world.jira_url}/browse/{above.key}"
    assert await columns(runtime, *PARENT) == {epic.key: (above.key, above.id, "The initiative", page)}
    # Jira dates no child anew: a full run takes the new title, which evaluates nothing.
    world.site.edit(above.key, summary="Renamed")
    before = await columns(runtime, "evaluated_at", "content_hash")
    run = await world.sync("jira", "full")
    assert (await columns(runtime, "parent_title"), run["updated"]) == ({epic.key: ("Renamed",)}, 0)
    assert await columns(runtime, "evaluated_at", "content_hash") == before


# --- GitHub ---------------------------------------------------------------------------------


async def github(world: World) -> None:
    scope = {"repositories": ["acme/shop"]}
    await world.connect_github(notices=OFF, scope=scope, webhook_secret=SECRET)


async def test_a_count_on_github_comes_with_its_issue(world: World, runtime: Runtime, clock: Clock) -> None:
    """GitHub may date a parent anew when a child closes, or not: the child is on the page, the parent then
    fetched with one request."""
    host = world.host
    above = host.create("acme/shop", "An epic", labels=["epic"], created=host.clock() - timedelta(days=1))
    parts = [host.create("acme/shop", "A part", parent=above.key) for _ in range(3)]
    await github(world)
    await world.sync("github")
    assert await counted(world, "github") == [children(3, 0)]
    clock.advance(hours=1)
    before = await columns(runtime, "evaluated_at", "content_hash", "tracker_updated_at")
    for part in parts[:2]:
        host.edit(part.key, state="closed")
    world.github.log.clear()
    run = await world.sync("github")
    assert (await counted(world, "github"), run["updated"]) == ([children(3, 2)], 0)
    assert world.github.log.count(f"GET */issues/{above.number}") == 1
    assert await columns(runtime, "evaluated_at", "content_hash", "tracker_updated_at") == before
    # Clocks differ: a count made within minutes of the change is made once more, and no third time.
    for _ in range(3):
        clock.advance(hours=1)
        await world.sync("github")
        assert world.github.log.count(f"GET */issues/{above.number}") == 2
    # A full run reads it as any issue.
    host.edit(parts[2].key, state="closed")
    await world.sync("github", "full")
    assert await counted(world, "github") == [children(3, 3)]
    assert world.github.log.count(f"GET */issues/{above.number}") == 2


async def test_a_parent_that_nobody_knows_is_read_once(world: World, runtime: Runtime, clock: Clock) -> None:
    host, web = world.host, world.github_url.removesuffix("/api/v3")
    host.add_repository("acme/web")
    host.add_repository("other/plan")
    above, hidden = host.create("acme/web", "The initiative"), host.create("other/plan", "Secret")
    host.hidden.add("other/plan")
    below = [host.create("acme/shop", "An epic", labels=["epic"], parent=above.key) for _ in range(3)]
    lost = host.create("acme/shop", "An epic", labels=["epic"], parent=hidden.key)
    await github(world)
    run = await world.sync("github")
    assert (run["state"], run["error"]) == ("succeeded", None)
    page = f"{web}/acme/web/issues/{above.number}"
    expected: dict[str, tuple[Any, ...]] = {
        epic.key: (above.key, str(above.id), "The initiative", page) for epic in below
    }
    expected[lost.key] = (hidden.key, None, None, f"{web}/other/plan/issues/1")
    assert await columns(runtime, *PARENT) == expected
    requests = ("GET */acme/web/issues/*", "GET */other/plan/issues/*")
    assert [world.github.log.count(one) for one in requests] == [1, 1]
    clock.advance(hours=1)
    host.edit(below[0].key, title="Renamed")
    host.edit(lost.key, title="Renamed too")
    run = await world.sync("github")
    assert (run["updated"], await columns(runtime, *PARENT)) == (2, expected)
    assert [world.github.log.count(one) for one in requests] == [1, 1]
    # A full run asks again, and a title alone evaluates nothing.
    clock.advance(hours=1)
    host.edit(above.key, title="Another name")
    before = await columns(runtime, "evaluated_at", "content_hash")
    run = await world.sync("github", "full")
    assert (await columns(runtime, "parent_title"))[below[0].key] == ("Another name",)
    assert (run["updated"], await columns(runtime, "evaluated_at", "content_hash")) == (0, before)
    assert [world.github.log.count(one) for one in requests] == [2, 2]


async def test_a_parent_that_is_found_to_be_an_epic_elsewhere_reaches_what_is_below(
    world: World, clock: Clock
) -> None:
    """The tracker tells of a former key that it is the ticket which another source has as an epic."""
    host = world.host
    host.add_repository("acme/web")
    host.add_repository("acme/site")
    await world.goal("KR-1")
    top = host.create("acme/site", "Top", labels=["epic", "kr:KR-1"])
    former = host.create("acme/web", "Top")
    middle = host.create("acme/shop", "Middle", labels=["epic"], parent=former.key)
    low = host.create("acme/shop", "Low", labels=["epic"], parent=middle.key)
    await world.connect_github("more", notices=OFF, scope={"repositories": ["acme/site"]})
    await world.sync("more")
    await github(world)
    await world.sync("github")
    path = f"GET */acme/web/issues/{former.number}"
    world.github.faults.add(path, rewrite(lambda issue: {**issue, "id": top.id}))
    clock.advance(hours=1)
    await world.sync("github", "full")
    links = {key: (await world.epic("github", key))["links"] for key in (middle.key, low.key)}
    assert {key: [link["origin"] for link in found] for key, found in links.items()} == {
        middle.key: ["inherited"],
        low.key: ["inherited"],
    }


@pytest.mark.parametrize(
    "fault", [answer(429, headers={"Retry-After": "30"}), answer(500)], ids=["limited", "broken"]
)
async def test_a_title_is_left_to_the_next_run_and_none_waits_for_it(world: World, fault: Any) -> None:
    """A full run taken up again asks for each epic, one request for each on GitHub."""
    world.host.add_repository("acme/web")
    above = world.host.create("acme/web", "The initiative")
    epics = [world.host.create("acme/shop", "An epic", labels=["epic"], parent=above.key) for _ in range(3)]
    await github(world)
    world.github.faults.add("GET */acme/web/issues/*", fault)
    run = await world.sync("github", "full")
    assert (run["state"], run["error"]) == ("succeeded", None)
    assert world.github.log.count("GET */acme/shop/issues/*") == 0
    shown = f"/epics/github/{quote(epics[0].key, safe='')}"
    assert (await world.send("GET", shown))["parent"]["title"] is None
    await world.sync("github", "full")
    assert (await world.send("GET", shown))["parent"]["title"] == "The initiative"


async def test_a_parent_that_is_an_epic_is_known_by_its_id_and_not_asked_for(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    """Whichever of both is read first."""
    host = world.host
    first = host.create("acme/shop", "An epic", labels=["epic"])
    above = host.create("acme/shop", "An epic above", labels=["epic"])
    second = host.create("acme/shop", "An epic", labels=["epic"], parent=above.key)
    host.add_sub_issue(above.key, first)
    await github(world)
    await world.sync("github")
    names = ("parent_remote_id", "parent_title")
    expected = {first.key: (str(above.id), None), second.key: (str(above.id), None), above.key: (None, None)}
    assert await columns(runtime, *names) == expected
    assert world.github.log.count("GET */issues/*") == 0
    run = await world.sync("github", "full")
    assert (await columns(runtime, *names), run["updated"]) == (expected, 0)
    assert world.github.log.count("GET */issues/*") == 0


async def test_a_milestone_is_a_parent_and_keeps_its_key(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    host, web = world.host, world.github_url.removesuffix("/api/v3")
    epic = host.create("acme/shop", "An epic", labels=["epic"], milestone="Q4")
    await github(world)
    await world.sync("github")
    page = "acme/shop/milestone/1"
    assert await columns(runtime, *PARENT) == {epic.key: (page, None, "Q4", f"{web}/{page}")}
    host.milestone("acme/shop", "Q4").title = "Q1"
    epic.rendered.clear()
    await world.sync("github", "full")
    assert await columns(runtime, *PARENT) == {epic.key: (page, None, "Q1", f"{web}/{page}")}
    assert world.github.log.count("GET */milestone*") == 0


async def test_what_no_epic_names_any_more_is_forgotten(world: World, runtime: Runtime, clock: Clock) -> None:
    host = world.host
    host.add_repository("acme/web")
    above = host.create("acme/web", "The initiative")
    epic = host.create("acme/shop", "An epic", labels=["epic"], parent=above.key)
    await github(world)
    await world.sync("github")
    host.delete(above.key)
    clock.advance(hours=1)
    host.edit(epic.key, title="Renamed")
    await world.sync("github", "full")
    async with runtime.sessions() as session:
        assert (await session.scalars(text("SELECT key FROM outside_parents"))).all() == []
    assert (await columns(runtime, *PARENT))[epic.key] == (None, None, None, None)
