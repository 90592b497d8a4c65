"""A project that gets another key or name is followed by its id; another one under its old key is not."""

from __future__ import annotations

from typing import Any

import pytest

from app.runtime import Runtime
from mappings.tables import SourceRow
from tests.support.clock import Clock
from tests.support.queries import gone, projects
from tests.support.tracker_drivers import TrackerDriver, both, driver_of, on_either
from tests.support.world import World

pytestmark = pytest.mark.database

SHADOW = {"mode": "shadow"}
OLD = {"jira": "SHOP", "github": "acme/shop"}
NEW = {"jira": "STORE", "github": "acme/store"}
SCOPES: dict[str, dict[str, Any]] = {
    "jira": {"projects": ["SHOP"]},
    "github": {"repositories": ["acme/shop"]},
}


def rename(world: World, kind: str) -> None:
    if kind == "jira":
        world.site.rename_project("SHOP", "STORE")
    else:
        world.host.rename_repository("acme/shop", "store")


def another_with_the_old_key(world: World, kind: str) -> None:
    if kind == "jira":
        world.site.add_project("SHOP", "Another shop")
    else:
        world.host.add_repository("acme/shop")


def number_one(kind: str, project: str) -> str:
    return f"{project}-1" if kind == "jira" else f"{project}#1"


@both
async def test_the_same_epics_and_comments_and_everything_that_named_it_goes_on(
    world: World, runtime: Runtime, clock: Clock, driver: TrackerDriver
) -> None:
    kind = driver.kind
    old, new = OLD[kind], NEW[kind]
    limited = {"scope": SCOPES[kind], "notices": {"projects": [old]}}
    await world.send("PATCH", f"/sources/{kind}", limited)
    rule = {"name": "all of it", "when": {"project": [old]}, "key_result": "KR-1", "enabled": False}
    await world.send("POST", "/rules", rule)
    await world.send("PATCH", "/policy", {"scopes": [{"project": old, "exempt": {"labels": ["ktlo"]}}]})
    key = driver.add("With a comment")
    exempt = driver.add("Exempt in this project", labels=["ktlo"])
    await driver.sync("full")
    before = await driver.epic(key)
    assert (len(driver.comments(key)), len(driver.comments(exempt))) == (1, 0)
    clock.advance(hours=1)
    rename(world, kind)
    # The next run may be either; on GitHub here a full one.
    run = await driver.sync("incremental" if kind == "jira" else "full")
    assert (run["state"], run["updated"], run["created"], await gone(runtime)) == ("succeeded", 2, 0, {})
    after = await driver.epic(number_one(kind, new))
    assert (after["id"], after["project"], after["key"]) == (before["id"], new, number_one(kind, new))
    assert after["notice"]["id"] == before["notice"]["id"]
    assert (await driver.epic(key))["key"] == after["key"], "its old key finds it"
    assert sorted(await projects(runtime)) == [new]
    # `notices.projects` still means this project, so that comments are made there; and so does the policy.
    added = driver.add("New", project=new)
    await driver.sync()
    assert len(driver.comments(added)) == 1
    exempt_now = next(epic for epic in await world.keys(kind) if epic not in (after["key"], added))
    assert (await driver.epic(exempt_now))["alignment"] == "exempt"
    await world.send("PATCH", "/rules/1", {"enabled": True})
    await world.drain()
    assert {link["key_result"] for link in (await driver.epic(added))["links"]} == {"KR-1"}
    assert "Aligned with KR-1" in driver.comments(after["key"])[0]
    assert [len(driver.comments(one)) for one in (after["key"], added)] == [1, 1]
    health = await world.health(kind)
    assert (health["state"], f"project {old} is now {new}" in health["message"]) == ("degraded", True)
    (member,) = SCOPES[kind]
    places = f"scope.{member}, notices.projects, rule all of it, policy.scopes"
    assert f"Change {old} to {new} in {places}." in health["what_to_do"]


@on_either("jira")
async def test_done_as_advised_nothing_leaves_and_the_message_goes(
    world: World, runtime: Runtime, clock: Clock, driver: TrackerDriver
) -> None:
    kind = driver.kind
    await world.send("PATCH", f"/sources/{kind}", {"scope": SCOPES[kind], "notices": SHADOW})
    driver.add()
    await driver.sync("full")
    rename(world, kind)
    await driver.sync()
    assert (await world.health(kind))["state"] == "degraded"
    live = {"mode": "live", "projects": [OLD[kind]]}
    await world.send("PATCH", f"/sources/{kind}", {"notices": live})  # its old key is no unknown one
    await world.drain()
    assert len(driver.comments(number_one(kind, NEW[kind]))) == 1
    (member,) = SCOPES[kind]
    await world.send("PATCH", f"/sources/{kind}", {"notices": {"projects": None}})
    await world.send("PATCH", f"/sources/{kind}", {"scope": {member: [NEW[kind]]}})
    await world.drain()
    health = await world.health(kind)
    assert (health["state"], await gone(runtime)) == ("ok", {}), health
    assert await world.keys(kind) == [number_one(kind, NEW[kind])]


@both
async def test_another_project_with_its_old_key_at_once_is_not_meant(
    world: World, runtime: Runtime, clock: Clock, driver: TrackerDriver
) -> None:
    kind = driver.kind
    await world.send("PATCH", f"/sources/{kind}", {"scope": SCOPES[kind], "notices": SHADOW})
    driver.add("The same")
    await driver.sync("full")
    rename(world, kind)
    another_with_the_old_key(world, kind)
    driver.add("Another")
    for mode in ("incremental", "full"):
        run = await driver.sync(mode)
        assert (run["state"], await gone(runtime)) == ("succeeded", {})
        assert await world.keys(kind) == [number_one(kind, NEW[kind])]
    assert "where another project has got it" in (await world.health(kind))["what_to_do"]


@on_either("jira")
async def test_one_made_under_the_key_of_a_deleted_one_has_new_epics(
    world: World, runtime: Runtime, clock: Clock, driver: TrackerDriver
) -> None:
    kind = driver.kind
    await world.send("PATCH", f"/sources/{kind}", {"scope": SCOPES[kind], "notices": SHADOW})
    driver.add("Of the old one")
    await driver.sync("full")
    before = await driver.epic(number_one(kind, OLD[kind]))
    if kind == "jira":
        world.site.delete_project("SHOP")
    else:
        world.host.repositories.pop(world.host.repository("acme/shop").id)
    another_with_the_old_key(world, kind)
    driver.add("Of the new one")
    await driver.sync("full")
    after = await driver.epic(number_one(kind, OLD[kind]))
    assert (after["title"], after["id"] == before["id"]) == ("Of the new one", False)
    assert (await world.health(kind))["state"] == "ok"


async def test_keys_that_two_projects_exchange(world: World, runtime: Runtime, clock: Clock) -> None:
    world.site.add_project("CORE", "Core")
    driver = driver_of(world, "jira")
    await driver.connect("shadow")
    driver.add("Of the shop")
    driver.add("Of the core", project="CORE")
    await driver.sync("full")
    for old, new in (("SHOP", "TMP"), ("CORE", "SHOP"), ("TMP", "CORE")):
        world.site.rename_project(old, new)
    run = await driver.sync()
    assert (run["state"], run["created"], await gone(runtime)) == ("succeeded", 0, {})
    titles = {key: (await driver.epic(key))["title"] for key in ("CORE-1", "SHOP-1")}
    assert titles == {"CORE-1": "Of the shop", "SHOP-1": "Of the core"}
    assert (await world.health("jira"))["state"] == "ok", "the configuration names neither"


async def test_a_pause_and_what_was_not_read_stay_with_the_project(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    driver = driver_of(world, "jira")
    await driver.connect(scope=SCOPES["jira"])
    driver.forbid()
    for _ in range(6):
        driver.add()
    await driver.sync()
    paused = (await projects(runtime))["SHOP"]
    assert paused.writes_paused_at is not None
    rename(world, "jira")
    await driver.sync()
    (row,) = (await projects(runtime)).values()
    kept = ("remote_id", "writes_paused_at", "fully_synced")
    assert [getattr(row, name) for name in kept] == [getattr(paused, name) for name in kept]


async def test_a_project_that_was_renamed_before_ids_were_stored(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    """Its old key leads to it, in the tracker too."""
    driver = driver_of(world, "jira")
    await driver.connect("shadow", scope=SCOPES["jira"])
    driver.add()
    await driver.sync("full")
    async with runtime.sessions.begin() as session:
        for row in (await projects(runtime)).values():
            (await session.merge(row)).remote_id = None
        source = await session.get_one(SourceRow, 1)
        source.named_projects = {}
    rename(world, "jira")
    run = await driver.sync()
    assert (run["state"], await world.keys()) == ("succeeded", ["STORE-1"])
    assert list(await projects(runtime)) == ["STORE"]
    assert "SHOP is now STORE" in (await world.health())["message"]
