"""What each mode writes: nothing in `off`, only the end of a warning in `shadow`, all of it in `live`."""

from __future__ import annotations

import pytest

from connectors.sandbox import faults
from tests.support.clock import Clock
from tests.support.tracker_drivers import GitHubDriver, JiraDriver, driver_of, either
from tests.support.world import World

MISSING = "Which key result does this epic serve?"


async def test_shadow_is_the_default_and_shows_what_it_would_write(world: World) -> None:
    await world.goal("KR-1", "Checkout conversion")
    await world.no_grace()
    driver = JiraDriver(world)
    key = driver.add("Checkout in one step")
    await world.connect_jira()
    run = await driver.sync()
    assert sum(run["writes"].values()) == 0
    shadow = await driver.notice(key)
    assert (shadow["state"], shadow["reason"], shadow["url"]) == ("shadow", None, None)
    assert driver.comments(key) == []
    await driver.set_mode("live")
    posted = await driver.notice(key)
    assert (posted["state"], posted["body"]) == ("posted", shadow["body"])
    (text,) = driver.comments(key)
    assert [line.removeprefix("- ") for line in shadow["body"].splitlines() if line][
        :-1
    ] == text.splitlines()[:-1]


@pytest.mark.parametrize("kind", either("jira"))
async def test_each_switch_of_the_mode(world: World, kind: str, clock: Clock) -> None:
    await world.goal("KR-1", "Checkout conversion")
    driver = driver_of(world, kind)
    first, second = driver.add("First"), driver.add("Second")
    await driver.connect(mode="off")
    await driver.sync()
    assert await driver.notice(first) is None
    assert (await driver.epic(first))["alignment"] == "unaligned"

    await driver.set_mode("live")
    assert [len(driver.comments(key)) for key in (first, second)] == [1, 1]

    await driver.set_mode("shadow")
    third = driver.add("Third")
    clock.advance(minutes=1)
    driver.describe(first, "Key-Result: KR-1")
    driver.describe(second, "Key-Result: KR-99")
    await driver.sync()
    assert "Aligned with KR-1" in driver.comments(first)[0]
    assert "KR-99" not in driver.comments(second)[0]
    assert (driver.comments(third), (await driver.notice(third))["state"]) == ([], "shadow")

    await driver.set_mode("off")
    clock.advance(minutes=1)
    driver.describe(second, "Key-Result: KR-1")
    driver.describe(first, "Words.")
    driver.tracker.log.clear()
    await driver.sync()
    assert (await driver.epic(second))["alignment"] == "aligned"
    assert MISSING in driver.comments(second)[0]
    assert "Aligned with KR-1" in driver.comments(first)[0]
    assert driver.tracker.log.count(driver.creates) + driver.tracker.log.count(driver.edits) == 0

    await driver.set_mode("live")
    assert "Aligned with KR-1" in driver.comments(second)[0]
    assert [MISSING in driver.comments(key)[0] for key in (first, third)] == [True, True]


async def test_live_in_some_projects_only(world: World) -> None:
    await world.goal("KR-1", "Checkout conversion")
    world.site.add_project("CORE", "Core")
    driver = JiraDriver(world)
    shop, core = driver.add(), driver.add(project="CORE")
    await driver.connect(mode="shadow")
    await driver.sync()
    await world.send("PATCH", "/sources/jira", {"notices": {"mode": "live", "projects": ["shop"]}})
    await world.drain()
    assert [len(driver.comments(key)) for key in (shop, core)] == [1, 0]
    assert (await driver.notice(core))["state"] == "shadow"
    await world.send("PATCH", "/sources/jira", {"notices": {"projects": ["CORE"]}})
    await world.drain()
    driver.describe(shop, "Key-Result: KR-1")
    await driver.sync()
    assert "Aligned with KR-1" in driver.comments(shop)[0]
    assert len(driver.comments(core)) == 1


async def test_held_and_due_become_shadow(world: World, clock: Clock) -> None:
    driver = GitHubDriver(world)
    await driver.connect()
    limited = faults.answer(429, headers={"Retry-After": "600"})
    driver.tracker.faults.add(driver.creates, limited, times=None)
    waits = driver.add()
    await driver.sync()
    clock.advance(hours=2)
    await world.send("PATCH", "/policy", {"grace": "PT1H"})
    young = driver.add()
    await driver.sync()
    due, held = await driver.notice(waits), await driver.notice(young)
    assert [(one["state"], one["reason"]) for one in (due, held)] == [("due", None), ("held", "grace")]
    assert held["detail"].startswith("Grace ends at ")
    await driver.set_mode("shadow")
    for key in (waits, young):
        notice = await driver.notice(key)
        assert (notice["state"], notice["reason"], notice["detail"]) == ("shadow", None, None)
        assert (notice["pending"], driver.comments(key)) == (False, [])


async def test_never_on_a_service_desk(world: World) -> None:
    await world.goal("KR-1", "Checkout conversion")
    world.site.add_project("DESK", "Help", "service_desk")
    driver = JiraDriver(world)
    desk, shop = driver.add(project="DESK"), driver.add()
    await driver.connect()
    await driver.sync()
    assert (await driver.epic(desk))["alignment"] == "unaligned"
    assert (await driver.epic(desk))["findings"][0]["state"] == "open"
    assert await driver.notice(desk) is None
    assert [len(driver.comments(key)) for key in (desk, shop)] == [0, 1]


async def test_nothing_to_say_where_the_channel_is_none(world: World) -> None:
    driver = GitHubDriver(world)
    await driver.connect()
    await world.send("PATCH", "/policy", {"scopes": [{"project": "acme/shop", "channel": "none"}]})
    key = driver.add()
    await driver.sync()
    assert (await driver.epic(key))["alignment"] == "unaligned"
    assert (driver.comments(key), await driver.notice(key)) == ([], None)
