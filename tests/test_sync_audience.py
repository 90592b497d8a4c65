"""A project that everyone may read from now on hides the goals that not everyone may know, and back again."""

from __future__ import annotations

import pytest

from app.runtime import Runtime
from connectors.sandbox import faults
from tests.support.clock import Clock
from tests.support.queries import projects
from tests.support.tracker_drivers import GitHubDriver, TrackerDriver, both, driver_of, either
from tests.support.webhook_posts import SECRET, post
from tests.support.world import World

pytestmark = pytest.mark.database

TITLE = "Win the tender of the north"


def publish(world: World, kind: str, *, public: bool) -> None:
    if kind == "jira":
        world.site.publish("SHOP", public=public)
    else:
        world.host.repository("acme/shop").private = not public


async def _confidential_goals(world: World) -> None:
    await world.goal("KR-8", TITLE, visibility="internal")
    await world.send("PATCH", "/key-results/KR-8", {"state": "missed"})
    await world.goal("KR-9", TITLE, visibility="internal")


@both
async def test_its_comments_are_set_right_though_no_ticket_changed(
    world: World, clock: Clock, driver: TrackerDriver
) -> None:
    await _confidential_goals(world)
    warned, aligned = driver.add(description="Key-Result: KR-8"), driver.add()
    await driver.sync()
    driver.describe(aligned, "Key-Result: KR-9")
    await driver.sync()
    assert f"KR-8 ({TITLE})" in driver.comments(warned)[0]
    assert driver.comments(aligned) == [f"Aligned with KR-9 ({TITLE}). Thank you."]
    for public in (True, False):
        publish(world, driver.kind, public=public)
        clock.advance(minutes=1)
        assert (await driver.sync())["updated"] == 0
        assert (TITLE in driver.comments(warned)[0]) == (not public)
        # A line that says too little is left: only one that says too much is set right.
        assert driver.comments(aligned) == ["Aligned with KR-9. Thank you."]


@pytest.mark.parametrize("kind", either("jira"))
async def test_what_is_prepared_in_shadow_follows_too(world: World, clock: Clock, kind: str) -> None:
    driver = driver_of(world, kind)
    await driver.connect("shadow")
    await _confidential_goals(world)
    key = driver.add(description="Key-Result: KR-8")
    await driver.sync()
    for public in (True, False):
        publish(world, kind, public=public)
        clock.advance(minutes=1)
        await driver.sync()
        assert (TITLE in (await driver.notice(key))["body"]) == (not public)


async def test_a_webhook_says_so_first(world: World, clock: Clock) -> None:
    driver = GitHubDriver(world)
    await driver.connect(webhook_secret=SECRET)
    await _confidential_goals(world)
    key = driver.add(description="Key-Result: KR-8")
    await driver.sync()
    assert TITLE in driver.comments(key)[0]
    publish(world, "github", public=True)
    publicized = {"action": "publicized", "repository": {"full_name": "acme/shop"}}
    assert (await post(world, publicized, x_github_event="repository")).status_code == 202
    await world.drain()
    assert TITLE not in driver.comments(key)[0]


async def test_a_tracker_that_could_not_be_asked_changes_nothing(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    """Neither does a project that cannot be read for a while."""
    driver = driver_of(world, "jira")
    await driver.connect("shadow", scope={"projects": ["SHOP"]})
    publish(world, "jira", public=True)
    await driver.sync()
    assert (await projects(runtime))["SHOP"].public
    publish(world, "jira", public=False)
    world.jira.faults.add("GET */project/search", faults.answer(503, {}), skip=1)
    await driver.sync()
    assert (await projects(runtime))["SHOP"].public
    publish(world, "jira", public=True)
    world.site.denied.add(("BROWSE_PROJECTS", "SHOP"))
    await driver.sync()
    assert (await projects(runtime))["SHOP"].public


async def test_a_place_that_was_never_asked_about_counts_as_public(world: World, clock: Clock) -> None:
    driver = driver_of(world, "jira")
    await driver.connect(scope={"projects": ["SHOP"]})
    await _confidential_goals(world)
    key = driver.add(description="Key-Result: KR-8")
    # The first question has our login, the second one has none.
    world.jira.faults.add("GET */project/search", faults.answer(503, {}), skip=1)
    await driver.sync()
    assert TITLE not in driver.comments(key)[0]
    clock.advance(minutes=1)
    await driver.sync()
    assert TITLE in driver.comments(key)[0]


async def test_a_place_not_listed_yet_counts_as_public(world: World, runtime: Runtime, clock: Clock) -> None:
    """A webhook may bring an epic of a repository before any run has listed it."""
    driver = GitHubDriver(world)
    await driver.connect(scope={"organizations": ["acme"]}, webhook_secret=SECRET)
    await _confidential_goals(world)
    await driver.sync("full")
    world.host.add_repository("acme/new", private=False)
    made = world.host.create("acme/new", "An epic", labels=["epic"], body="Key-Result: KR-8")
    issue = {"id": made.id, "number": 1, "labels": [{"name": "epic"}]}
    opened = {"action": "opened", "issue": issue, "repository": {"full_name": "acme/new"}}
    assert (await post(world, opened, x_github_event="issues")).status_code == 202
    await world.drain()
    body = (await driver.notice("acme/new#1"))["body"]
    assert ("KR-8" in body, TITLE in body) == (True, False)
