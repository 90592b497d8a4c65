"""Two sources of one tracker, and what a change of a source means for its epics and runs."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from app import pipeline
from app.runtime import Runtime
from tests.support.clock import Clock
from tests.support.queries import gone, only_source
from tests.support.runs import counts
from tests.support.tracker_requests import Pause
from tests.support.world import OFF, World, epic_path

SHOP = {"projects": ["SHOP"]}


# --- two that see the same ticket ---------------------------------------------------------------


async def test_the_older_of_two_sources_holds_what_both_see(world: World, clock: Clock) -> None:
    world.site.add_project("CORE", "Core")
    start = world.site.clock() - timedelta(days=1)
    for number, project in enumerate(("SHOP", "SHOP", "CORE")):
        world.site.create(project, project, created=start + timedelta(hours=number))
    await world.connect_jira("older", notices=OFF, scope=SHOP)
    await world.connect_jira("newer", notices=OFF, scope={"projects": ["SHOP", "CORE"]})
    # Whoever comes first: at first the newer reads all, then the older takes what is its own.
    assert counts(await world.sync("newer")) == (3, 3, 0, 0, 0)
    assert (await world.health("newer"))["state"] == "ok"
    run = await world.sync("older")
    assert (run["state"], counts(run), await world.keys("older")) == (
        "succeeded",
        (2, 0, 2, 0, 0),
        ["SHOP-1", "SHOP-2"],
    )
    run = await world.sync("newer", "full")
    assert (run["state"], counts(run), await world.keys("newer")) == (
        "succeeded",
        (3, 0, 0, 0, 2),
        ["CORE-1"],
    )
    shown = await world.health("newer")
    assert (shown["state"], (await world.health("older"))["state"]) == ("degraded", "ok")
    assert "2 of its epics" in shown["message"]
    assert "SHOP-1, SHOP-2" in shown["message"]
    assert "scope" in shown["what_to_do"]
    # An incremental run meets none of them, and must not say that there are none.
    clock.advance(hours=1)
    run = await world.sync("newer")
    assert (run["skipped"], await world.health("newer")) == (0, {**shown, "checked_at": run["finished_at"]})
    # Once the older gives them up, the newer holds them with the next full run.
    world.site.add_project("ELSE", "Else")
    await world.send("PATCH", "/sources/older", {"scope": {"projects": ["ELSE"]}})
    await world.drain()
    run = await world.sync("newer", "full")
    assert (counts(run), (await world.health("newer"))["state"]) == ((3, 0, 2, 0, 0), "ok")
    assert sorted(await world.keys("newer")) == ["CORE-1", "SHOP-1", "SHOP-2"]


async def test_former_keys_go_with_the_epic_to_the_source_that_holds_it(world: World) -> None:
    world.site.add_project("CORE", "Core")
    world.site.create("CORE", "Moves")
    await world.connect_jira("older", notices=OFF, scope=SHOP)
    await world.connect_jira("newer", notices=OFF, scope={"projects": ["SHOP", "CORE"]})
    await world.sync("newer")
    world.site.move("CORE-1", "SHOP")
    await world.sync("newer")
    assert (await world.epic("newer", "CORE-1"))["key"] == "SHOP-1"
    await world.sync("older")
    assert (await world.epic("older", "core-1"))["key"] == "SHOP-1"


async def test_a_full_run_of_one_source_removes_nothing_of_another(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    world.site.create("SHOP", "Both see it", labels=["one"])
    await world.connect_jira("older", notices=OFF, scope=SHOP)
    await world.sync("older")
    await world.connect_jira("newer", notices=OFF, scope={**SHOP, "jql": "labels = two"})
    assert counts(await world.sync("newer", "full")) == (0, 0, 0, 0, 0)
    world.site.delete("SHOP-1")
    assert (await world.sync("newer", "full"))["deleted"] == 0
    assert (await world.sync("older", "full"))["deleted"] == 1


# --- changing a source --------------------------------------------------------------------------


async def test_a_narrower_scope_takes_its_epics_out_at_once_and_unguarded(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    world.site.add_project("CORE", "Core")
    for number in range(12):
        world.site.create("SHOP" if number < 2 else "CORE", f"Epic {number}")
    await world.connect_jira(notices=OFF, scope={"projects": ["SHOP", "CORE"]})
    await world.sync("jira")
    before = len(world.jira.log.matching())
    await world.send("PATCH", "/sources/jira", {"scope": {"projects": ["SHOP"]}})
    assert len(world.jira.log.matching()) == before
    assert await world.keys() == ["SHOP-1", "SHOP-2"]
    assert set((await gone(runtime)).values()) == {"out_of_scope"}
    answer = await world.api.get(epic_path("jira", "CORE-1"))
    assert answer.status_code == 404
    assert f"left the source's scope, seen {clock():%Y-%m-%d %H:%M} UTC" in answer.json()["detail"]
    await world.drain()
    last = (await world.send("GET", "/sources/jira"))["last_run"]
    assert (last["state"], last["error"], await world.keys()) == ("succeeded", None, ["SHOP-1", "SHOP-2"])
    # And back again, though none of them has changed since.
    clock.advance(days=1)
    await world.send("PATCH", "/sources/jira", {"scope": {"projects": ["SHOP", "CORE"]}})
    await world.drain()
    assert (len(await world.keys()), await gone(runtime)) == (12, {})


async def test_another_scope_or_selector_starts_a_full_run(world: World) -> None:
    changes: list[tuple[dict[str, Any], list[str]]] = [
        ({"scope": {"projects": ["SHOP", "CORE"]}}, ["full"]),
        ({"scope": {"jql": "labels = big"}}, ["full"]),
        ({"epics": {"issue_types": ["Story"]}}, ["full"]),
        ({"schedule": {"every": "PT15M"}}, []),
        ({"scope": {"projects": ["shop"]}}, []),
    ]
    world.site.create("SHOP", "One")
    for number in range(len(changes)):
        await world.connect_jira(f"source-{number}", notices=OFF, scope=SHOP)
        await world.send("POST", f"/sources/source-{number}/sync")
    await world.drain()
    for number, (change, opened) in enumerate(changes):
        name = f"source-{number}"
        assert (await world.send("GET", f"/sources/{name}"))["last_run"]["state"] == "succeeded"
        answer = await world.api.patch(f"/api/v1/sources/{name}", json=change)
        assert answer.status_code == 200, answer.text
        runs = (await world.send("GET", f"/runs?source={name}&state=queued"))["items"]
        assert [run["mode"] for run in runs if run["mode"] != "evaluate"] == opened, change
        named = filter(None, answer.headers.get("Northing-Runs", "").split(","))
        assert {int(run_id) for run_id in named} == {run["id"] for run in runs}


async def test_another_selector_of_github_takes_and_leaves(world: World, runtime: Runtime) -> None:
    world.host.create("acme/shop", "By label", labels=["epic"])
    world.host.create("acme/shop", "By type", type="Epic")
    await world.connect_github(notices=OFF, scope={"repositories": ["acme/shop"]})
    await world.sync("github")
    assert await world.keys("github") == ["acme/shop#1"]
    await world.send("PATCH", "/sources/github", {"epics": {"labels": [], "issue_types": ["epic"]}})
    await world.drain()
    assert await world.keys("github") == ["acme/shop#2"]
    assert await gone(runtime) == {"acme/shop#1": "not_an_epic"}


@pytest.mark.parametrize("under_way", ["incremental", "full"])
@pytest.mark.parametrize("wider", [False, True])
async def test_a_change_of_scope_is_not_undone_by_a_run_under_way(
    world: World, runtime: Runtime, clock: Clock, under_way: str, wider: bool
) -> None:
    """The run reads by the old scope; it stops at its next page, and a full run follows."""
    world.site.add_project("CORE", "Core")
    for project in ("CORE", "SHOP"):
        for number in range(3):
            world.site.create(project, f"Epic {number}")
    both, one = {"projects": ["CORE", "SHOP"]}, SHOP
    await world.connect_jira(notices=OFF, scope=one if wider else both)
    await world.sync("jira")
    clock.advance(days=1)
    for key in await world.keys():
        world.site.edit(key, summary="Changed")
    run_id = (await world.send("POST", "/sources/jira/sync", {"mode": under_way}))["id"]
    pause = Pause()
    world.jira.faults.add("POST */search/jql", pause)
    worker = asyncio.create_task(pipeline.execute_run(runtime, run_id))
    await pause.reached.wait()

    clock.advance(seconds=1)
    await world.send("PATCH", "/sources/jira", {"scope": both if wider else {"projects": ["SHOP"]}})
    pause.go_on.set()
    await worker

    run = await world.send("GET", f"/runs/{run_id}")
    assert (run["state"], run["updated"], run["error"]["code"]) == ("partial", 0, "changed")
    await world.drain()
    newest, *_ = (await world.send("GET", "/runs?source=jira&mode=full"))["items"]
    assert newest["id"] > run_id
    assert (newest["state"], newest["error"], newest["updated"]) == ("succeeded", None, 3)
    expected = {"CORE", "SHOP"} if wider else {"SHOP"}
    assert {key.partition("-")[0] for key in await world.keys()} == expected
    assert (await world.health())["state"] == "ok"


async def test_a_persons_selector_is_not_guarded_and_a_loss_of_labels_is(world: World, clock: Clock) -> None:
    """Each ticket answers and does not fit; whether that was meant only a change of the source tells."""
    for number in range(8):
        world.host.create("acme/shop", f"Epic {number}", labels=["epic"])
    await world.connect_github(notices=OFF, scope={"repositories": ["acme/shop"]})
    await world.sync("github", "full")
    # A label that is deleted leaves no trace in the times of its issues: only a full run sees it.
    for number in range(7):
        issue = world.host.issue(f"acme/shop#{number + 1}")
        issue.labels = ["big"]
        issue.rendered.clear()
    run = await world.sync("github", "full")
    assert (run["state"], run["deleted"], run["error"]["code"]) == ("partial", 0, "drop_guard")
    assert len(await world.keys("github")) == 8

    for labels, left in ((["big"], 7), (["epic"], 1), (["big", "epic"], 8)):
        clock.advance(hours=1)
        await world.send("PATCH", "/sources/github", {"epics": {"labels": labels}})
        await world.drain()
        last = (await world.send("GET", "/runs?source=github&mode=full"))["items"][0]
        assert (last["state"], len(await world.keys("github"))) == ("succeeded", left), labels


async def test_a_selector_holds_though_the_full_run_for_it_failed(world: World, clock: Clock) -> None:
    """What fits it and has not changed for long is found by the next run, whatever its mode."""
    long_ago = world.site.clock() - timedelta(days=90)
    world.site.create("SHOP", "Quiet for long", type="Story", created=long_ago)
    world.site.create("SHOP", "Fresh")
    await world.connect_jira(notices=OFF, scope=SHOP)
    await world.sync("jira")
    clock.advance(days=1)
    world.site.revoke_credentials()
    await world.send("PATCH", "/sources/jira", {"epics": {"issue_types": ["Epic", "Story"]}})
    await world.drain()
    assert (await world.send("GET", "/sources/jira"))["last_run"]["state"] == "failed"
    world.site.restore_credentials()
    assert (await world.sync("jira"))["created"] == 1
    assert sorted(await world.keys()) == ["SHOP-1", "SHOP-2"]


async def test_a_wider_scope_leaves_a_renamed_repository_alone(world: World, clock: Clock) -> None:
    """The scope still names it as it was called before."""
    world.host.add_repository("acme/core")
    world.host.create("acme/shop", "Stays", labels=["epic"])
    await world.connect_github(notices=OFF, scope={"repositories": ["acme/shop"]})
    world.host.rename_repository("acme/shop", "store")
    await world.sync("github")
    both = {"repositories": ["acme/shop", "acme/core"]}
    await world.send("PATCH", "/sources/github", {"scope": both})
    assert await world.keys("github") == ["acme/store#1"]
    await world.drain()
    assert await world.keys("github") == ["acme/store#1"]


async def test_a_new_address_needs_its_credentials(world: World, runtime: Runtime) -> None:
    await world.connect_jira(notices=OFF, scope=SHOP)
    before = await only_source(runtime)
    moved = {"base_url": "http://127.0.0.1:9"}
    assert list(await world.refused("PATCH", "/sources/jira", moved)) == ["credentials"]
    after = await only_source(runtime)
    assert (after.credentials, after.base_url) == (before.credentials, before.base_url)


async def test_with_a_timetable_the_first_run_starts_at_once(world: World) -> None:
    world.site.create("SHOP", "One")
    for number, schedule in enumerate(({"every": "PT15M"}, {"full": "0 3 * * *"}, {})):
        await world.connect_jira(f"source-{number}", notices=OFF, scope=SHOP, schedule=schedule)
    assert world.jira.log.count() == 0
    await world.drain()
    runs = (await world.send("GET", "/runs"))["items"]
    assert [(run["source"], run["state"]) for run in reversed(runs)] == [
        ("source-0", "succeeded"),
        ("source-1", "succeeded"),
    ]
    assert await world.keys("source-0") == ["SHOP-1"]
