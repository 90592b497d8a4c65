"""The text shown before it stands on the ticket is the one that will stand there.

Key results are suggested by what other epics are linked to, and that changes while nobody judges this one.
"""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from sqlalchemy import select

from app.runtime import Runtime
from connectors.sandbox import faults
from mappings import store
from mappings.cases import epic_of
from mappings.tables import Epic, Source
from tests.conftest import Clock
from tests.sides import GitHubSide, JiraSide, Side, side_of
from tests.world import World

FITTING = "Key results that may fit:"


@pytest.fixture
async def side(request: pytest.FixtureRequest, world: World) -> Side:
    """A tracker of either kind, not connected yet, and one live key result, KR-1."""
    await world.goal("KR-1", "Checkout conversion")
    return side_of(world, request.param)


def words(text: str) -> list[str]:
    """Line by line, without our marker, and without what Jira shows as a list or behind a link."""
    lines = [re.sub(r"^- | \(http\S+\)$", "", line) for line in text.splitlines() if line]
    return [line for line in lines if not line.startswith("<!--")]


def but_for_the_time(text: str) -> list[str]:
    *lines, last = words(text)
    assert "Check no-key-result on data of " in last
    return lines


def linked(count: int, side: Side) -> str:
    project = "SHOP" if side.kind == "jira" else "acme/shop"
    epics = "1 other epic" if count == 1 else f"{count} other epics"
    return f"KR-1 (Checkout conversion): {epics} of {project} {'is' if count == 1 else 'are'} linked to it"


async def shown(side: Side, key: str) -> str:
    """The body of the epic's notice, which is the same wherever it is shown."""
    notice = await side.notice(key)
    for path in ("notices", "epics"):
        items = (await side.world.send("GET", f"/{path}?source={side.kind}"))["items"]
        notices = [one["notice"] for one in items if one["notice"]] if path == "epics" else items
        assert [one for one in notices if one["id"] == notice["id"]] == [notice]
    body: str = notice["body"]
    return body


async def test_a_first_sync_in_shadow_shows_what_people_will_get(side: Side, clock: Clock) -> None:
    """The epic is judged before those are whose links it is told of."""
    key = side.add("Search")
    others = [side.add(f"Other {number}", labels=["kr:KR-1"]) for number in range(2)]
    await side.connect(mode="shadow")
    await side.sync()
    body = await shown(side, key)
    assert words(body).count(FITTING) == 1
    assert linked(2, side) in words(body)

    clock.advance(minutes=7)
    await side.set_mode("live")
    (comment,) = side.comments(key)
    assert but_for_the_time(comment) == but_for_the_time(body)
    assert words(comment)[-1] != words(body)[-1]  # fetched again just before it was written
    assert [side.comments(other) for other in others] == [[], []]


async def test_what_becomes_of_other_epics_shows_at_once(side: Side, world: World, clock: Clock) -> None:
    """Under the time of the data that the epic was judged on."""
    key = side.add("Search")
    other, another = side.add("Other"), side.add("Another")
    await side.connect(mode="shadow")
    await side.sync()
    first = await shown(side, key)
    assert FITTING not in words(first)

    clock.advance(minutes=7)
    side.label(other, "kr:KR-1")
    await side.sync()
    one = await shown(side, key)
    assert linked(1, side) in words(one)

    clock.advance(minutes=7)
    link = {"epic": {"source": side.kind, "key": another}, "key_result": "KR-1"}
    made = await world.send("POST", "/links", link)
    two = await shown(side, key)
    assert linked(2, side) in words(two)
    assert words(first)[-1] == words(one)[-1] == words(two)[-1]

    await world.send("PATCH", "/key-results/KR-1", {"title": "Renamed"})
    assert "KR-1 (Renamed): " in await shown(side, key)
    await world.send("PATCH", "/key-results/KR-1", {"title": "Checkout conversion"})
    await world.send("DELETE", f"/links/{made['id']}")
    assert await shown(side, key) == one
    await side.set_mode("live")
    assert but_for_the_time(side.comments(key)[0]) == but_for_the_time(one)


async def test_what_the_guard_holds_shows_what_people_will_get(side: Side, world: World) -> None:
    key, linked_one = side.add("Search"), side.add("Other")
    await side.connect(notices={"per_run": 0})
    await side.sync()
    side.label(linked_one, "kr:KR-1")
    await side.sync()
    notice = await side.notice(key)
    assert (notice["state"], notice["reason"], notice["pending"]) == ("held", "guard", False)
    body = await shown(side, key)
    assert linked(1, side) in words(body)
    await world.send("POST", "/notices/approve", {"ids": [notice["id"]]})
    await world.drain()
    assert words(side.comments(key)[0]) == words(body)


async def test_what_waits_for_the_tracker_shows_what_people_will_get(
    side: Side, world: World, clock: Clock
) -> None:
    """A comment that is due, and then an edit of it."""
    key, other, another = side.add("Search"), side.add("Other"), side.add("Another")
    await side.connect()
    side.tracker.faults.add(side.creates, faults.answer(429, headers={"Retry-After": "600"}))
    await side.sync()
    await world.send("POST", "/links", {"epic": {"source": side.kind, "key": other}, "key_result": "KR-1"})
    assert ((await side.notice(key))["state"], side.comments(key)) == ("due", [])
    due = await shown(side, key)
    assert linked(1, side) in words(due)
    clock.advance(minutes=11)
    await side.sync()
    assert but_for_the_time(side.comments(key)[0]) == but_for_the_time(due)

    side.tracker.faults.add(side.edits, faults.answer(429, headers={"Retry-After": "600"}))
    side.describe(key, "Key-Result: KR-99")
    clock.advance(minutes=1)
    await side.sync()
    await world.send("POST", "/links", {"epic": {"source": side.kind, "key": another}, "key_result": "KR-1"})
    assert ((await side.notice(key))["state"], (await side.notice(key))["pending"]) == ("posted", True)
    edit = await shown(side, key)
    assert linked(2, side) in words(edit)
    assert words(side.comments(key)[0]) != words(edit)
    clock.advance(minutes=11)
    await side.sync()
    assert but_for_the_time(side.comments(key)[0]) == but_for_the_time(edit)


async def test_what_stands_on_the_ticket_is_shown_as_it_stands(side: Side, world: World) -> None:
    key, other = side.add("Search"), side.add("Other")
    await side.connect()
    await side.sync()
    await world.send("POST", "/links", {"epic": {"source": side.kind, "key": other}, "key_result": "KR-1"})
    await world.send("PATCH", "/key-results/KR-1", {"title": "Checkout without tears"})
    await world.drain()
    await world.send("PATCH", "/policy", {"channel": "none"})  # to be judged yet, and to end the warning
    body = await shown(side, key)
    assert FITTING not in words(body)
    assert words(side.comments(key)[0]) == words(body)


async def test_while_a_request_is_on_its_way_its_text_is_shown(side: Side, world: World) -> None:
    """Should the answer be lost, that text is what may stand on the ticket."""
    key, other = side.add("Search"), side.add("Other")
    await side.connect()
    side.tracker.faults.add(side.creates, faults.lose_answer())
    await side.sync()
    await world.send("POST", "/links", {"epic": {"source": side.kind, "key": other}, "key_result": "KR-1"})
    assert (await side.notice(key))["state"] == "due"
    assert words(await shown(side, key)) == words(side.comments(key)[0])


async def test_what_was_read_and_not_judged_yet_shows_the_judged_text(
    side: Side, runtime: Runtime, clock: Clock
) -> None:
    key = side.add("Search")
    await side.connect(mode="shadow")
    await side.sync()
    before = await shown(side, key)
    clock.advance(minutes=7)
    async with runtime.sessions.begin() as session:
        row = (await session.scalars(select(Epic).where(Epic.key == key))).one()
        source = await session.get_one(Source, row.source_id)
        read = replace(epic_of(row), title="Checkout", updated_at=clock())
        await store.observe(session, source.id, source.tracker, [read], [], clock())
    assert await shown(side, key) == before


async def test_each_on_a_page_by_its_own_source(world: World) -> None:
    """Two trackers with other links, other words and another way out."""
    await world.goal("KR-1", "Checkout conversion")
    sides: list[Side] = [JiraSide(world), GitHubSide(world)]
    bodies: dict[str, str] = {}
    for count, side in enumerate(sides, 1):
        key = side.add("Search")
        for number in range(count):
            side.add(f"Other {number}", labels=["kr:KR-1"])
        hears = {"webhook_secret": "a-secret-of-the-door"} if side.kind == "github" else {}
        await side.connect(mode="shadow", **hears)
        await side.sync()
        bodies[side.kind] = (await side.notice(key))["body"]
        assert linked(count, side) in words(bodies[side.kind])
        assert ("/northing link" in bodies[side.kind]) is (side.kind == "github")
    page = (await world.send("GET", "/notices"))["items"]
    assert {one["epic"]["source"]: one["body"] for one in page} == bodies


async def test_a_standard_like_another_sources_is_the_sources_own(world: World, runtime: Runtime) -> None:
    await world.goal("KR-1", "Checkout conversion")
    for side in (JiraSide(world), GitHubSide(world)):
        side.add("Other", labels=["kr:KR-1"])
        await side.connect(mode="shadow")
        await side.sync()
    await world.send("PATCH", "/policy", {"scopes": [{"source": "github", "channel": "none"}]})
    async with runtime.sessions() as session:
        first, second = await session.scalars(select(Source).order_by(Source.id))
        jira = await runtime.standard(session, first)
        assert jira.policy_for("acme/shop").channel == "comment"
        own, like = [await runtime.standard(session, second, like=given) for given in (None, jira)]
    for name in ("source", "installation", "version", "policy", "places", "linked"):
        assert getattr(like, name) == getattr(own, name), name
    assert (like.policy_for("acme/shop").channel, like.linked) == ("none", {"acme/shop": {1: 1}})
    assert like.page("acme/shop#1") == own.page("acme/shop#1") != jira.page("acme/shop#1")
    assert (like.render is own.render, like.goals is jira.goals) == (True, True)
