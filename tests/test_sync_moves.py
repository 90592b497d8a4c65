"""Tickets and repositories that get another key, name or id: the epic stays the same one."""

from __future__ import annotations

from typing import Any

import pytest

from app.runtime import Runtime
from tests.support.clock import Clock, later
from tests.support.queries import gone
from tests.support.runs import counts
from tests.support.tracker_drivers import GitHubDriver
from tests.support.world import OFF, World

LIVE = {"mode": "live"}
BOTH = {"repositories": ["acme/core", "acme/shop"]}


async def test_a_moved_jira_epic_keeps_its_id_and_answers_to_its_old_key(world: World, clock: Clock) -> None:
    world.site.add_project("CORE", "Core")
    world.site.create("SHOP", "Moves")
    await world.connect_jira(notices=OFF)
    await world.sync("jira")
    before = await world.epic("jira", "SHOP-1")
    clock.advance(hours=1)
    world.site.move("SHOP-1", "CORE")
    run = await world.sync("jira")
    assert counts(run) == (1, 0, 1, 0, 0)
    for key in ("CORE-1", "core-1", "SHOP-1", "shop-1"):
        shown = await world.epic("jira", key)
        assert (shown["id"], shown["key"], shown["project"]) == (before["id"], "CORE-1", "CORE")
        assert shown["url"].endswith("/browse/CORE-1")
    assert await world.keys() == ["CORE-1"]
    # And back again: the key it has now comes first.
    clock.advance(hours=1)
    world.site.move("CORE-1", "SHOP")
    await world.sync("jira")
    assert (await world.epic("jira", "core-1"))["key"] == "SHOP-2"
    assert (await world.epic("jira", "shop-1"))["key"] == "SHOP-2"
    assert (await world.send("GET", "/epics?source=jira&key=Core-1"))["items"][0]["key"] == "SHOP-2"


async def test_a_full_run_follows_a_key_that_moved(world: World, clock: Clock) -> None:
    world.site.add_project("CORE", "Core")
    world.site.create("SHOP", "Moves")
    await world.connect_jira(notices=OFF)
    await world.sync("jira")
    clock.advance(hours=1)
    world.site.move("SHOP-1", "CORE")
    run = await world.sync("jira", "full")
    assert (run["state"], counts(run)) == ("succeeded", (1, 0, 1, 0, 0))
    assert (await world.epic("jira", "SHOP-1"))["key"] == "CORE-1"
    assert await world.keys() == ["CORE-1"]


async def test_a_link_by_an_old_key_finds_the_epic(world: World, clock: Clock) -> None:
    world.site.add_project("CORE", "Core")
    world.site.create("SHOP", "Moves")
    await world.goal("KR-1")
    await world.connect_jira(notices=OFF)
    await world.sync("jira")
    world.site.move("SHOP-1", "CORE")
    await world.sync("jira")
    link = {"epic": {"source": "jira", "key": "shop-1"}, "key_result": "KR-1"}
    made = await world.send("POST", "/links", link)
    assert made["epic"]["key"] == "CORE-1"


@pytest.mark.parametrize("scope", [{"repositories": ["acme/shop"]}, {"organizations": ["acme"]}])
async def test_a_renamed_repository_keeps_its_epics(
    world: World, runtime: Runtime, clock: Clock, scope: Any
) -> None:
    world.host.create("acme/shop", "Stays the same", labels=["epic"])
    await world.connect_github(notices=OFF, scope=scope)
    await world.sync("github")
    before = await world.epic("github", "acme/shop#1")
    clock.advance(days=1)
    world.host.rename_repository("acme/shop", "store")
    run = await world.sync("github")
    assert (run["state"], counts(run)) == ("succeeded", (1, 0, 1, 0, 0))
    for key in ("acme/store#1", "Acme/Shop#1"):
        shown = await world.epic("github", key)
        assert (shown["id"], shown["key"]) == (before["id"], "acme/store#1")
    run = await world.sync("github", "full")
    assert (run["state"], counts(run), await gone(runtime)) == ("succeeded", (1, 0, 0, 0, 0), {})


# --- transfers on GitHub ------------------------------------------------------------------------


async def _commented(world: World, scope: Any) -> Any:
    """An epic in acme/shop without a key result, our comment on it, and a link by hand that is closed."""
    world.host.add_repository("acme/core")
    world.host.create("acme/shop", "Transferred", labels=["epic"])
    await world.no_grace()
    await world.goal("KR-1")
    await world.goal("KR-2")
    await world.connect_github(notices=LIVE, scope=scope)
    await world.sync("github")
    link = {"epic": {"source": "github", "key": "acme/shop#1"}, "key_result": "KR-1"}
    await world.send("POST", "/links", link)
    await world.send("PATCH", "/key-results/KR-1", {"state": "missed"})
    await world.drain()
    shown = await world.epic("github", "acme/shop#1")
    assert shown["notice"]["state"] == "posted"
    assert len(_ours(world, "acme/shop#1")) == 1
    return shown


def _ours(world: World, key: str) -> list[str]:
    comments = world.host.issue(key).comments
    return [comment.body for comment in comments if comment.author == world.host.bot]


def _same(before: Any, after: Any) -> None:
    assert after["alignment"] == before["alignment"]
    for name in ("links", "findings"):
        assert [held["id"] for held in after[name]] == [held["id"] for held in before[name]]
    assert (after["notice"]["id"], after["notice"]["state"]) == (before["notice"]["id"], "posted")


@pytest.mark.parametrize("mode", ["incremental", "full"])
@pytest.mark.parametrize("target_first", [True, False])
async def test_a_transferred_epic_keeps_its_history_and_its_one_comment(
    world: World, runtime: Runtime, clock: Clock, mode: str, target_first: bool
) -> None:
    names = ["acme/core", "acme/shop"] if target_first else ["acme/shop", "acme/core"]
    before = await _commented(world, {"repositories": names})
    clock.advance(hours=1)
    world.host.transfer("acme/shop#1", "acme/core")
    run = await world.sync("github", mode)
    assert (run["state"], counts(run)[1:]) == ("succeeded", (0, 1, 0, 0))
    after = await world.epic("github", "acme/core#1")
    assert after["id"] != before["id"]
    _same(before, after)
    assert (await world.epic("github", "acme/shop#1"))["key"] == "acme/core#1"
    assert await world.keys("github") == ["acme/core#1"]
    # The gap is closed: the comment that was there before is the one that is edited.
    await world.send("PATCH", "/key-results/KR-1", {"state": "active"})
    await world.drain()
    (comment,) = _ours(world, "acme/core#1")
    assert "Aligned with KR-1" in comment
    assert world.github.log.count("POST */comments") == 1


async def test_a_transfer_with_another_title_is_found_by_the_full_run(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    """The incremental run takes it for a new epic; the full one joins both, and what was linked meanwhile."""
    before = await _commented(world, BOTH)
    await world.send("PATCH", "/sources/github", {"notices": {"mode": "shadow"}})
    clock.advance(hours=1)
    world.host.transfer("acme/shop#1", "acme/core")
    world.host.edit("acme/core#1", title="With another title")
    assert (await world.sync("github"))["created"] == 1
    link = {"epic": {"source": "github", "key": "acme/core#1"}, "key_result": "KR-2"}
    await world.send("POST", "/links", link)
    run = await world.sync("github", "full")
    assert (run["state"], run["deleted"], await gone(runtime)) == ("succeeded", 0, {})
    after = await world.epic("github", "acme/core#1")
    assert await world.keys("github") == ["acme/core#1"]
    assert [held["key_result"] for held in after["links"]] == ["KR-1", "KR-2"]
    assert after["notice"]["id"] == before["notice"]["id"]
    notices = (await world.send("GET", "/notices"))["items"]
    assert [notice["id"] for notice in notices] == [before["notice"]["id"]]
    assert len(_ours(world, "acme/core#1")) == 1


async def test_a_transfer_out_of_the_scope_leaves_and_comes_back(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    before = await _commented(world, {"repositories": ["acme/shop"]})
    clock.advance(hours=1)
    world.host.transfer("acme/shop#1", "acme/core")
    assert (await world.sync("github", "full"))["deleted"] == 1
    assert await gone(runtime) == {"acme/shop#1": "out_of_scope"}
    await world.send("PATCH", "/sources/github", {"scope": BOTH})
    await world.drain()
    after = await world.epic("github", "acme/core#1")
    assert [held["id"] for held in after["links"]] == [held["id"] for held in before["links"]]
    # Out of reach, its comment counted as deleted; there is still no second one.
    assert after["notice"]["id"] == before["notice"]["id"]
    assert len(_ours(world, "acme/core#1")) == 1


async def test_two_epics_of_one_title_and_moment_are_two(world: World, runtime: Runtime) -> None:
    """An import makes many tickets in one second; that alone is no transfer."""
    world.host.add_repository("acme/core")
    for name in ("acme/core", "acme/shop"):
        world.host.create(name, "Quarterly clean-up", labels=["epic"])
    await world.connect_github(notices=OFF, scope=BOTH)
    run = await world.sync("github")
    assert (run["state"], counts(run)) == ("succeeded", (2, 2, 0, 0, 0))
    assert sorted(await world.keys("github")) == ["acme/core#1", "acme/shop#1"]


async def test_a_transferred_and_retitled_ticket_comes_to_one_comment(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    """Nobody knows it under its new name, so it is taken for a new epic until a full run asks where the old
    one leads. The comment that it brought is found before a second is written."""
    driver = GitHubDriver(world)
    world.host.add_repository("acme/other")
    await driver.connect(scope={"repositories": ["acme/shop", "acme/other"]})
    key = driver.add("Old title")
    await driver.sync()
    assert len(driver.comments(key)) == 1
    clock.advance(minutes=5)
    world.host.transfer(key, "acme/other")
    world.host.edit("acme/other#1", title="New title")
    clock.advance(minutes=5)
    await driver.sync()
    assert len(driver.comments("acme/other#1")) == 1
    await driver.sync("full")
    await later(world, runtime, clock, minutes=2)
    assert len(driver.comments("acme/other#1")) == 1
    notice = await driver.notice("acme/other#1")
    assert (notice["state"], notice["pending"]) == ("posted", False)
    assert notice["url"].endswith(driver.comment_ids("acme/other#1")[0])


async def test_a_comment_deleted_after_a_transfer_is_not_made_again(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    driver = GitHubDriver(world)
    world.host.add_repository("acme/other")
    await driver.connect(scope={"repositories": ["acme/shop", "acme/other"]})
    key = driver.add()
    await driver.sync()
    clock.advance(minutes=5)
    world.host.transfer(key, "acme/other")
    driver.delete_comments("acme/other#1")
    await driver.sync()
    await later(world, runtime, clock, minutes=2)
    assert driver.comments("acme/other#1") == []
    notice = await driver.notice("acme/other#1")
    assert (notice["state"], notice["reason"]) == ("withdrawn", "deleted_on_ticket")
