"""What an incremental sync reads: only what changed, each project from its own cursor."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from app.runtime import Runtime
from connectors.sandbox.faults import rewrite
from connectors.sandbox.jira.records import IssueType
from tests.support.clock import Clock
from tests.support.queries import versions
from tests.support.runs import counts
from tests.support.tracker_requests import listings, searches
from tests.support.world import OFF, World

pytestmark = pytest.mark.database

SHOP = {"projects": ["SHOP"]}


async def _connect(world: World, kind: str) -> None:
    if kind == "jira":
        await world.connect_jira("source", notices=OFF, scope=SHOP)
    else:
        await world.connect_github("source", notices=OFF, scope={"repositories": ["acme/shop"]})


def _epic(world: World, kind: str, title: str, age: timedelta = timedelta(0)) -> str:
    if kind == "jira":
        return world.site.create("SHOP", title, created=world.site.clock() - age).key
    return world.host.create("acme/shop", title, labels=["epic"], created=world.host.clock() - age).key


def _rename(world: World, kind: str, key: str, title: str) -> None:
    if kind == "jira":
        world.site.edit(key, summary=title)
    else:
        world.host.edit(key, title=title)


@pytest.mark.parametrize("kind", ["jira", "github"])
async def test_reads_and_writes_only_what_changed(
    world: World, runtime: Runtime, clock: Clock, kind: str
) -> None:
    made = [_epic(world, kind, f"Epic {number}", timedelta(days=number)) for number in range(20)]
    await _connect(world, kind)
    first = await world.sync("source")
    assert (first["state"], counts(first)) == ("succeeded", (20, 20, 0, 0, 0))
    clock.advance(hours=1)
    _rename(world, kind, made[3], "Renamed")
    before = await versions(runtime)
    tracker = world.jira if kind == "jira" else world.github
    tracker.log.clear()

    run = await world.sync("source")

    assert (run["state"], run["error"], run["mode"]) == ("succeeded", None, "incremental")
    # The newest of the first sync lies within the overlap.
    assert counts(run) == (2, 0, 1, 0, 0)
    assert len(searches(tracker) if kind == "jira" else listings(tracker)) == 1
    assert run["requests"] == tracker.log.count()
    after = await versions(runtime)
    assert [key for key in after if after[key] != before[key]] == [made[3]]
    assert (await world.epic("source", made[3]))["title"] == "Renamed"
    assert (await world.health("source"))["state"] == "ok"

    quiet = await world.sync("source")
    seen = 1 if kind == "jira" else 0  # GitHub says that the list is still the same
    assert (counts(quiet), await versions(runtime)) == ((seen, 0, 0, 0, 0), after)


@pytest.mark.parametrize("kind", ["jira", "github"])
async def test_full_reads_every_epic_again_and_writes_what_differs(
    world: World, runtime: Runtime, clock: Clock, kind: str
) -> None:
    made = [_epic(world, kind, f"Epic {number}") for number in range(5)]
    await _connect(world, kind)
    await world.sync("source")
    clock.advance(days=1)
    _rename(world, kind, made[0], "Renamed")
    before = await versions(runtime)
    run = await world.sync("source", "full")
    assert (run["state"], counts(run)) == ("succeeded", (5, 0, 1, 0, 0))
    after = await versions(runtime)
    assert [key for key in after if after[key] != before[key]] == [made[0]]


async def test_a_project_new_to_the_scope_starts_from_nothing(world: World, clock: Clock) -> None:
    world.site.add_project("CORE", "Core")
    world.site.create("CORE", "Old and quiet", created=world.site.clock() - timedelta(days=300))
    world.site.create("SHOP", "Fresh")
    await world.connect_jira(notices=OFF, scope=SHOP)
    await world.sync("jira")
    clock.advance(hours=1)
    await world.send("PATCH", "/sources/jira", {"scope": {"projects": ["SHOP", "CORE"]}})
    await world.drain()
    assert sorted(await world.keys()) == ["CORE-1", "SHOP-1"]
    clock.advance(hours=1)
    # Of the newest project what lies within the overlap; the other has been still for so long that a search
    # from its newest change on shows all that is new.
    assert counts(await world.sync("jira")) == (1, 0, 0, 0, 0)
    world.site.edit("CORE-1", summary="Not quiet any more")
    assert counts(await world.sync("jira")) == (2, 0, 1, 0, 0)


async def test_a_project_that_appears_by_itself_starts_from_nothing(world: World, clock: Clock) -> None:
    """The scope is every project; the new one's epics are older than all we have seen."""
    world.site.create("SHOP", "Fresh")
    await world.connect_jira(notices=OFF)
    await world.sync("jira")
    clock.advance(hours=1)
    world.site.add_project("CORE", "Core")
    world.site.create("CORE", "Imported", created=world.site.clock() - timedelta(days=300))
    run = await world.sync("jira")
    assert (run["created"], await world.keys()) == (1, ["SHOP-1", "CORE-1"])


async def test_a_project_that_comes_back_is_read_from_nothing(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    """Its epics were removed meanwhile and have not changed since, so the old cursor would miss them."""
    world.site.add_project("CORE", "Core")
    world.site.create("CORE", "Quiet", created=world.site.clock() - timedelta(days=10))
    world.site.create("CORE", "Recent")
    world.site.create("SHOP", "Other")
    await world.connect_jira(notices=OFF)
    await world.sync("jira")
    clock.advance(days=1)
    world.site.denied.add(("BROWSE_PROJECTS", "CORE"))
    assert (await world.sync("jira", "full"))["deleted"] == 2
    clock.advance(days=1)
    world.site.denied.clear()
    run = await world.sync("jira")
    assert (run["updated"], sorted(await world.keys())) == (2, ["CORE-1", "CORE-2", "SHOP-1"])


async def test_trouble_in_one_project_does_not_move_anothers_cursor(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    world.site.add_project("CORE", "Core")
    for project in ("CORE", "SHOP"):
        world.site.create(project, project)
    await world.connect_jira(notices=OFF, scope={"projects": ["CORE", "SHOP"]})
    await world.sync("jira")
    clock.advance(hours=1)
    world.site.denied.add(("BROWSE_PROJECTS", "CORE"))
    world.site.edit("CORE-1", summary="While nobody could see it")
    clock.advance(hours=2)
    world.site.edit("SHOP-1", summary="Later")
    assert (await world.sync("jira"))["state"] == "partial"
    clock.advance(hours=1)
    world.site.denied.clear()
    run = await world.sync("jira")
    assert (run["state"], run["updated"]) == ("succeeded", 1)
    assert (await world.epic("jira", "CORE-1"))["title"] == "While nobody could see it"


async def test_what_the_index_showed_late_is_found_by_the_overlap(world: World, clock: Clock) -> None:
    world.site.create("SHOP", "Seen at once")
    await world.connect_jira(notices=OFF, scope=SHOP)
    await world.sync("jira")
    clock.advance(hours=1)
    world.site.freeze_index()
    late = world.site.edit("SHOP-1", summary="Changed while the index slept")
    fresh = world.site.create("SHOP", "New while the index slept")
    unseen = await world.sync("jira")
    assert (unseen["updated"], unseen["created"]) == (0, 0)
    world.site.unfreeze_index()
    clock.advance(minutes=2)
    world.site.create("SHOP", "Seen at once, later than both")
    run = await world.sync("jira")
    assert (run["updated"], run["created"]) == (1, 2)
    assert (await world.epic("jira", late.key))["title"] == "Changed while the index slept"
    assert (await world.epic("jira", fresh.key))["title"] == "New while the index slept"


async def test_what_the_index_showed_after_a_later_change_is_found_too(world: World, clock: Clock) -> None:
    """The cursor stands at a change newer than the one that came late."""
    world.site.create("SHOP", "A")
    world.site.create("SHOP", "B")
    await world.connect_jira(notices=OFF, scope=SHOP)
    await world.sync("jira")
    clock.advance(hours=1)
    world.site.edit("SHOP-1", summary="Came late")
    lagging = rewrite(lambda body: body | {"issues": [i for i in body["issues"] if i["key"] != "SHOP-1"]})
    clock.advance(minutes=4)
    world.site.edit("SHOP-2", summary="Came at once")
    world.jira.faults.add("POST */search/jql", lagging)
    assert (await world.sync("jira"))["updated"] == 1
    run = await world.sync("jira")
    assert (run["updated"], (await world.epic("jira", "SHOP-1"))["title"]) == (1, "Came late")


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Niue"])
async def test_the_time_zone_of_the_account_loses_nothing(world: World, clock: Clock, zone: str) -> None:
    site = world.site
    site.bot = replace(site.bot, time_zone=zone)
    site.restore_credentials()
    site.create("SHOP", "One")
    await world.connect_jira(notices=OFF, scope=SHOP)
    await world.sync("jira")
    for title in ("Two", "Three"):
        clock.advance(minutes=20)
        site.edit("SHOP-1", summary=title)
        run = await world.sync("jira")
        assert (run["updated"], (await world.epic("jira", "SHOP-1"))["title"]) == (1, title)
    clock.advance(hours=30)
    assert counts(await world.sync("jira"))[1:] == (0, 0, 0, 0)


async def test_reads_oldest_first_so_that_a_fault_leaves_the_newest_unread(world: World) -> None:
    for minutes in (30, 10, 20, 50, 40):
        moment = world.site.clock() - timedelta(hours=1, minutes=minutes)
        world.site.create("SHOP", f"{minutes} minutes", created=moment)
    world.site.page_cap = 2
    await world.connect_jira(notices=OFF, scope=SHOP)
    no_answer = rewrite(lambda body: ["no search answer"])
    world.jira.faults.add("POST */search/jql", no_answer, times=None, skip=1)
    run = await world.sync("jira")
    assert (run["state"], run["created"]) == ("partial", 2)
    titles = [epic["title"] for epic in (await world.send("GET", "/epics"))["items"]]
    assert sorted(titles) == ["40 minutes", "50 minutes"]
    world.jira.faults.clear()
    assert (await world.sync("jira"))["created"] == 3


async def test_a_ticket_dated_in_the_future_hides_nothing(world: World, clock: Clock) -> None:
    world.site.create("SHOP", "From a clock that runs ahead", updated=world.site.clock() + timedelta(days=9))
    world.site.create("SHOP", "Ordinary")
    await world.connect_jira(notices=OFF, scope=SHOP)
    await world.sync("jira")
    clock.advance(hours=1)
    world.site.edit("SHOP-2", summary="Changed")
    run = await world.sync("jira")
    assert (run["updated"], (await world.epic("jira", "SHOP-2"))["title"]) == (1, "Changed")


async def test_epics_are_known_by_their_level_and_not_by_their_name(world: World) -> None:
    site = world.site
    site.types["10000"] = IssueType("10000", "史诗", 1)  # as a Chinese site names it
    site.create("SHOP", "Of the site's type")
    site.create("SHOP", "Above epics", type="Initiative")
    site.create("SHOP", "Below epics", type="Story")
    site.add_project("TEAM", "Team", team_managed=True)
    site.create("TEAM", "Of a type of the project's own")
    await world.connect_jira(notices=OFF)
    run = await world.sync("jira")
    assert (run["state"], sorted(await world.keys())) == ("succeeded", ["SHOP-1", "TEAM-1"])
    assert [(await world.epic("jira", key))["type"] for key in ("SHOP-1", "TEAM-1")] == ["史诗", "Epic"]
    # Named, a type is still taken by its id, in any project.
    await world.connect_jira("named", notices=OFF, epics={"issue_types": ["initiative"]})
    assert counts(await world.sync("named")) == (1, 1, 0, 0, 0)
