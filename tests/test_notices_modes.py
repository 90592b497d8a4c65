"""What each mode writes: nothing in `off`, only the end of a warning in `shadow`, all of it in `live`."""

from __future__ import annotations

import pytest

from tests.conftest import Clock
from tests.sides import GitHubSide, JiraSide, dealt, side_of
from tests.world import World

MISSING = "This epic is not linked to a key result."


async def test_shadow_is_the_default_and_shows_what_it_would_write(world: World) -> None:
    await world.goal("KR-1", "Checkout conversion")
    await world.no_grace()
    side = JiraSide(world)
    key = side.add("Checkout in one step")
    await world.connect_jira()
    run = await side.sync()
    assert sum(run["writes"].values()) == 0
    shadow = await side.notice(key)
    assert (shadow["state"], shadow["reason"], shadow["url"]) == ("shadow", None, None)
    assert side.comments(key) == []
    await side.set_mode("live")
    posted = await side.notice(key)
    assert (posted["state"], posted["body"]) == ("posted", shadow["body"])
    (text,) = side.comments(key)
    assert [line.removeprefix("- ") for line in shadow["body"].splitlines() if line][
        :-1
    ] == text.splitlines()[:-1]


@pytest.mark.parametrize("kind", dealt("test_there_and_back"))
async def test_there_and_back(world: World, kind: str, clock: Clock) -> None:
    await world.goal("KR-1", "Checkout conversion")
    side = side_of(world, kind)
    first, second = side.add("First"), side.add("Second")
    await side.connect(mode="off")
    await side.sync()
    assert await side.notice(first) is None
    assert (await side.epic(first))["alignment"] == "unaligned"

    await side.set_mode("live")
    assert [len(side.comments(key)) for key in (first, second)] == [1, 1]

    await side.set_mode("shadow")
    third = side.add("Third")
    clock.advance(minutes=1)
    side.describe(first, "Key-Result: KR-1")
    side.describe(second, "Key-Result: KR-99")
    await side.sync()
    assert "Aligned with KR-1" in side.comments(first)[0]
    assert "KR-99" not in side.comments(second)[0]
    assert (side.comments(third), (await side.notice(third))["state"]) == ([], "shadow")

    await side.set_mode("off")
    clock.advance(minutes=1)
    side.describe(second, "Key-Result: KR-1")
    side.describe(first, "Words.")
    side.tracker.log.clear()
    await side.sync()
    assert (await side.epic(second))["alignment"] == "aligned"
    assert MISSING in side.comments(second)[0]
    assert "Aligned with KR-1" in side.comments(first)[0]
    assert side.tracker.log.count(side.creates) + side.tracker.log.count(side.edits) == 0

    await side.set_mode("live")
    assert "Aligned with KR-1" in side.comments(second)[0]
    assert [MISSING in side.comments(key)[0] for key in (first, third)] == [True, True]


async def test_live_in_some_projects_only(world: World) -> None:
    await world.goal("KR-1", "Checkout conversion")
    world.site.add_project("CORE", "Core")
    side = JiraSide(world)
    shop, core = side.add(), side.add(project="CORE")
    await side.connect(mode="shadow")
    await side.sync()
    await world.send("PATCH", "/sources/jira", {"notices": {"mode": "live", "projects": ["shop"]}})
    await world.drain()
    assert [len(side.comments(key)) for key in (shop, core)] == [1, 0]
    assert (await side.notice(core))["state"] == "shadow"
    await world.send("PATCH", "/sources/jira", {"notices": {"projects": ["CORE"]}})
    await world.drain()
    side.describe(shop, "Key-Result: KR-1")
    await side.sync()
    assert "Aligned with KR-1" in side.comments(shop)[0]
    assert len(side.comments(core)) == 1


async def test_held_and_due_become_shadow(world: World) -> None:
    side = GitHubSide(world)
    await side.connect()
    await world.send("PATCH", "/policy", {"grace": "P5D"})
    key = side.add()
    await side.sync()
    notice = await side.notice(key)
    assert (notice["state"], notice["reason"]) == ("held", "grace")
    assert notice["detail"].startswith("Grace ends at ")
    await side.set_mode("shadow")
    notice = await side.notice(key)
    assert (notice["state"], notice["reason"], notice["detail"]) == ("shadow", None, None)


async def test_never_on_a_service_desk(world: World) -> None:
    await world.goal("KR-1", "Checkout conversion")
    world.site.add_project("DESK", "Help", "service_desk")
    side = JiraSide(world)
    desk, shop = side.add(project="DESK"), side.add()
    await side.connect()
    await side.sync()
    assert (await side.epic(desk))["alignment"] == "unaligned"
    assert (await side.epic(desk))["findings"][0]["state"] == "open"
    assert await side.notice(desk) is None
    assert [len(side.comments(key)) for key in (desk, shop)] == [0, 1]


async def test_nothing_to_say_where_the_channel_is_none(world: World) -> None:
    side = GitHubSide(world)
    await side.connect()
    await world.send("PATCH", "/policy", {"scopes": [{"project": "acme/shop", "channel": "none"}]})
    key = side.add()
    await side.sync()
    assert (await side.epic(key))["alignment"] == "unaligned"
    assert (side.comments(key), await side.notice(key)) == ([], None)
