"""What leaves the lists and why, what comes back, and the guard against removing too much."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from app.runtime import Runtime
from connectors.sandbox import faults
from mappings.sources.removals import FETCHED_AT_ONCE, epics_not_removed
from tests.support.clock import Clock
from tests.support.epic_rows import NOW, add_epic, add_source
from tests.support.queries import gone, projects
from tests.support.runs import counts
from tests.support.world import OFF, World, epic_path

SHOP = {"projects": ["SHOP"]}
REPOSITORY = {"repositories": ["acme/shop"]}
_COPIES = f"""
    INSERT INTO epics (source_id, tracker, remote_id, key, project, title, url, type, status, status_category,
        labels, assignees, components, ticket_references, fields, tracker_created_at, tracker_updated_at,
        content_hash, read_at)
    SELECT source_id, tracker, 'SHOP-' || n, 'SHOP-' || n, project, title, url, type, status,
        status_category, labels, assignees, components, ticket_references, fields, tracker_created_at,
        tracker_updated_at, content_hash, read_at
    FROM epics, generate_series(1, {FETCHED_AT_ONCE}) AS n ORDER BY n
"""


async def _refused(world: World, source: str, key: str) -> str:
    answer = await world.api.get(epic_path(source, key))
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    detail: str = answer.json()["detail"]
    return detail


def _delete(world: World, clock: Clock) -> None:
    world.site.delete("SHOP-2")


def _hide_the_type(world: World, clock: Clock) -> None:
    world.site.edit("SHOP-2", type=world.site.type_named("Story"))


def _move_out(world: World, clock: Clock) -> None:
    world.site.add_project("AWAY", "Away")
    world.site.move("SHOP-2", "AWAY")


@pytest.mark.parametrize(
    ("leave", "reason", "words"),
    [
        (_delete, "deleted", "was deleted in the tracker, or is no longer visible"),
        (_hide_the_type, "not_an_epic", "no longer fits the source's selector"),
        (_move_out, "out_of_scope", "left the source's scope"),
    ],
)
async def test_jira_epics_that_are_gone_leave_with_a_full_run(
    world: World, runtime: Runtime, clock: Clock, leave: Callable[..., None], reason: str, words: str
) -> None:
    for title in ("Stays", "Leaves"):
        world.site.create("SHOP", title)
    await world.connect_jira(notices=OFF, scope=SHOP)
    await world.sync("jira")
    clock.advance(hours=1)
    leave(world, clock)
    # An incremental run cannot see it: the search shows no longer what left.
    assert (await world.sync("jira"))["deleted"] == 0
    clock.advance(hours=1)
    run = await world.sync("jira", "full")
    assert (run["state"], counts(run)) == ("succeeded", (1, 0, 0, 1, 0))
    assert (await world.keys(), await gone(runtime)) == (["SHOP-1"], {"SHOP-2": reason})
    detail = await _refused(world, "jira", "shop-2")
    assert words in detail
    assert f"{clock():%Y-%m-%d %H:%M} UTC" in detail
    # Told once; the next full run has nothing to remove.
    assert counts(await world.sync("jira", "full")) == (1, 0, 0, 0, 0)
    assert await _refused(world, "jira", "SHOP-2") == detail


async def test_an_epic_comes_back_with_its_history(world: World, runtime: Runtime, clock: Clock) -> None:
    await world.goal("KR-1")
    world.site.create("SHOP", "Leaves and returns")
    await world.connect_jira(scope=SHOP)
    await world.sync("jira")
    link = {"epic": {"source": "jira", "key": "SHOP-1"}, "key_result": "KR-1"}
    await world.send("POST", "/links", link)
    before = await world.epic("jira", "SHOP-1")
    world.site.edit("SHOP-1", type=world.site.type_named("Story"))
    await world.sync("jira", "full")
    assert await world.keys() == []
    clock.advance(hours=1)
    world.site.edit("SHOP-1", type=world.site.type_named("Epic"))
    run = await world.sync("jira")
    assert counts(run) == (1, 0, 1, 0, 0)
    after = await world.epic("jira", "SHOP-1")
    assert (after["id"], after["alignment"], after["links"]) == (before["id"], "aligned", before["links"])
    assert [found["id"] for found in after["findings"]] == [found["id"] for found in before["findings"]]


async def test_the_notice_of_an_epic_leaves_and_comes_back_with_it(world: World, clock: Clock) -> None:
    await world.no_grace()
    issue = world.site.create("SHOP", "Leaves and returns")
    await world.connect_jira(scope=SHOP, notices={"mode": "live"})
    await world.sync("jira")
    listed = (await world.send("GET", "/notices"))["items"]
    assert [(one["epic"]["key"], one["state"]) for one in listed] == [("SHOP-1", "posted")]
    world.site.delete("SHOP-1")
    assert (await world.sync("jira", "full"))["deleted"] == 1
    for query in ("", "?state=posted", "?source=jira"):
        assert (await world.send("GET", f"/notices{query}"))["items"] == []
    metrics = (await world.api.get("/metrics")).text
    assert "northing_database_up 1" in metrics
    assert "northing_notices{" not in metrics
    clock.advance(hours=1)
    world.site.issues[issue.id] = issue  # restored from the trash
    world.site.edit("SHOP-1", summary="Returned")
    await world.sync("jira")
    assert [one["id"] for one in (await world.send("GET", "/notices"))["items"]] == [listed[0]["id"]]
    assert len(issue.comments) == 1


async def test_github_shows_a_lost_label_to_an_incremental_run(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    for title in ("Stays", "Leaves"):
        world.host.create("acme/shop", title, labels=["epic"])
    await world.connect_github(notices=OFF, scope=REPOSITORY)
    await world.sync("github")
    clock.advance(hours=1)
    world.host.edit("acme/shop#2", labels=["later"])
    run = await world.sync("github")
    assert (run["state"], run["deleted"]) == ("succeeded", 1)
    assert await gone(runtime) == {"acme/shop#2": "not_an_epic"}
    assert "no longer fits" in await _refused(world, "github", "ACME/Shop#2")
    clock.advance(hours=1)
    world.host.edit("acme/shop#2", labels=["Epic"])
    assert counts(await world.sync("github"))[1:] == (0, 1, 0, 0)
    assert await world.keys("github") == ["acme/shop#1", "acme/shop#2"]


async def test_github_deleted_and_out_of_scope(world: World, runtime: Runtime, clock: Clock) -> None:
    world.host.add_repository("acme/away")
    for title in ("Stays", "Deleted", "Moves away"):
        world.host.create("acme/shop", title, labels=["epic"])
    await world.connect_github(notices=OFF, scope=REPOSITORY)
    await world.sync("github")
    clock.advance(hours=1)
    world.host.delete("acme/shop#2")
    world.host.transfer("acme/shop#3", "acme/away")
    run = await world.sync("github", "full")
    assert (run["state"], run["deleted"]) == ("succeeded", 2)
    assert await gone(runtime) == {"acme/shop#2": "deleted", "acme/shop#3": "out_of_scope"}


# --- the drop guard -----------------------------------------------------------------------------


GUARDED = [
    # stored, deleted, whether the guard holds them
    (10, 5, False),  # half of them, but no more than five
    (10, 6, True),
    (30, 6, False),  # a fifth, and not more
    (30, 7, True),
]


async def test_the_drop_guard_holds_what_is_more_than_a_fifth_and_more_than_five(
    world: World, clock: Clock
) -> None:
    for number, (stored, deleted, held) in enumerate(GUARDED):
        project, name = f"P{number}", f"source-{number}"
        world.site.add_project(project, project)
        made = [world.site.create(project, "An epic").key for _ in range(stored)]
        await world.connect_jira(name, notices=OFF, scope={"projects": [project]})
        await world.sync(name)
        for key in made[:deleted]:
            world.site.delete(key)
        run = await world.sync(name, "full")
        if not held:
            assert (run["state"], run["deleted"]) == ("succeeded", deleted)
            assert await world.keys(name) == made[deleted:]
            continue
        assert (run["state"], run["deleted"], run["error"]["code"]) == ("partial", 0, "drop_guard")
        assert f"of {stored} epics" in run["error"]["message"]
        assert await world.keys(name) == made
        shown = await world.health(name)
        assert (shown["state"], shown["message"]) == ("degraded", run["error"]["message"])
        assert shown["what_to_do"] == run["error"]["what_to_do"] != ""
        # What the guard held is held again, until a person does something; an incremental run goes on.
        assert (await world.sync(name, "full"))["error"]["code"] == "drop_guard"
        assert (await world.sync(name))["state"] == "succeeded"


async def test_what_the_search_left_out_though_it_is_there_stays(world: World, clock: Clock) -> None:
    """Nothing is removed because a search did not show it: each ticket is asked for by its id."""
    for number in range(8):
        world.site.create("SHOP", f"Epic {number}")
    await world.connect_jira(notices=OFF, scope=SHOP)
    await world.sync("jira")
    clock.advance(hours=1)
    world.site.edit("SHOP-8", summary="Changed")
    world.jira.faults.add("POST */search/jql", faults.answer(200, {"issues": [], "isLast": True}))
    run = await world.sync("jira", "full")
    assert (run["state"], counts(run)) == ("succeeded", (8, 0, 1, 0, 0))
    assert len(await world.keys()) == 8


async def test_a_repository_not_listed_any_more_loses_its_epics(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    world.host.add_repository("acme/core")
    for name in ("acme/core", "acme/shop"):
        world.host.create(name, name, labels=["epic"])
    await world.connect_github(notices=OFF, scope={"organizations": ["acme"]})
    await world.sync("github")
    clock.advance(hours=1)
    world.host.hidden.add("acme/core")
    run = await world.sync("github", "full")
    assert (run["state"], run["deleted"]) == ("succeeded", 1)
    assert await gone(runtime) == {"acme/core#1": "deleted"}


async def test_stored_epics_are_looked_through_some_at_a_time(runtime: Runtime) -> None:
    async with runtime.sessions.begin() as session:
        source, other = await add_source(session), await add_source(session, "other")
        await add_epic(session, source, "SHOP-0")
        await session.execute(text(_COPIES))
        await add_epic(session, source, "GONE-1", removed_at=NOW, removal_reason="deleted")
        await add_epic(session, other, "OTHER-1")
        lists = [[*some] async for some in epics_not_removed(session, source.id)]
    assert [len(some) for some in lists] == [FETCHED_AT_ONCE, 1]
    seen = [tuple(epic) for some in lists for epic in some]
    assert seen == [("SHOP", f"SHOP-{n}", f"SHOP-{n}") for n in range(FETCHED_AT_ONCE + 1)]


async def test_an_organization_that_cannot_be_listed_loses_nothing(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    """Its repositories are not listed then, which does not mean that they are gone."""
    for number in range(3):
        world.host.create("acme/shop", f"Epic {number}", labels=["epic"])
    await world.connect_github(notices=OFF, scope={"organizations": ["acme"]})
    await world.sync("github")
    clock.advance(hours=1)
    world.host.hidden.add("acme/shop")
    world.github.faults.add("GET */orgs/acme/repos", faults.answer(404, {"message": "Not Found"}), times=None)
    run: Any = await world.sync("github", "full")
    assert (run["state"], run["deleted"], run["error"]["code"]) == ("partial", 0, "unread")
    assert "acme/*" in run["error"]["message"]
    assert len(await world.keys("github")) == 3
    assert (await projects(runtime))["acme/shop"].fully_synced is False
