"""The text shown before it stands on the ticket is the one that will stand there.

Key results are suggested by what other epics are linked to, and that changes while nobody evaluates this one.
"""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from sqlalchemy import select

from app.runtime import Runtime
from connectors.sandbox import faults
from mappings.epics.upsert import upsert_epics
from mappings.evaluation.load import epic_of
from mappings.tables import EpicRow, SourceRow
from tests.support.clock import Clock
from tests.support.tracker_drivers import GitHubDriver, JiraDriver, TrackerDriver, driver_of, on_either
from tests.support.world import World

FITTING = "These may fit:"


@pytest.fixture
async def driver(request: pytest.FixtureRequest, world: World) -> TrackerDriver:
    """A tracker of either kind, not connected yet, and one live key result, KR-1."""
    await world.goal("KR-1", "Checkout conversion")
    return driver_of(world, request.param)


def words(text: str) -> list[str]:
    """Line by line, without our marker, and without what Jira shows as a list or behind a link."""
    lines = [re.sub(r"^- | \(http[^\s)]+\)", "", line) for line in text.splitlines() if line]
    return [line for line in lines if not line.startswith("<!--")]


def but_for_the_time(text: str) -> list[str]:
    *lines, last = words(text)
    assert "Check no-key-result on data of " in last
    return lines


def linked(count: int, driver: TrackerDriver) -> str:
    project = "SHOP" if driver.kind == "jira" else "acme/shop"
    serving = f"1 other epic of {project} serves" if count == 1 else f"{count} other epics of {project} serve"
    return f"KR-1 (Checkout conversion): shares “Checkout”, “conversion” with the title; {serving} it"


async def shown(driver: TrackerDriver, key: str) -> str:
    """The body of the epic's notice, which is the same wherever it is shown."""
    notice = await driver.notice(key)
    for path in ("notices", "epics"):
        items = (await driver.world.send("GET", f"/{path}?source={driver.kind}"))["items"]
        notices = [one["notice"] for one in items if one["notice"]] if path == "epics" else items
        assert [one for one in notices if one["id"] == notice["id"]] == [notice]
    body: str = notice["body"]
    return body


@on_either("jira")
async def test_a_first_sync_in_shadow_shows_what_people_will_get(driver: TrackerDriver, clock: Clock) -> None:
    """The epic is evaluated before those whose links it names."""
    key = driver.add("Checkout conversion")
    others = [driver.add(f"Other {number}", labels=["kr:KR-1"]) for number in range(2)]
    await driver.connect(mode="shadow")
    await driver.sync()
    body = await shown(driver, key)
    assert words(body).count(FITTING) == 1
    assert linked(2, driver) in words(body)

    clock.advance(minutes=7)
    await driver.set_mode("live")
    (comment,) = driver.comments(key)
    assert but_for_the_time(comment) == but_for_the_time(body)
    assert words(comment)[-1] != words(body)[-1]  # fetched again just before it was written
    assert [driver.comments(other) for other in others] == [[], []]


@on_either("jira")
async def test_what_becomes_of_other_epics_shows_at_once(
    driver: TrackerDriver, world: World, clock: Clock
) -> None:
    """Under the time of the data that the epic was evaluated on."""
    key = driver.add("Checkout conversion")
    other, another = driver.add("Other"), driver.add("Another")
    await driver.connect(mode="shadow")
    await driver.sync()
    first = await shown(driver, key)
    assert "other epic" not in first

    clock.advance(minutes=7)
    driver.label(other, "kr:KR-1")
    await driver.sync()
    one = await shown(driver, key)
    assert linked(1, driver) in words(one)

    clock.advance(minutes=7)
    link = {"epic": {"source": driver.kind, "key": another}, "key_result": "KR-1"}
    made = await world.send("POST", "/links", link)
    two = await shown(driver, key)
    assert linked(2, driver) in words(two)
    assert words(first)[-1] == words(one)[-1] == words(two)[-1]

    await world.send("PATCH", "/key-results/KR-1", {"title": "Checkout conversion renamed"})
    assert "KR-1 (Checkout conversion renamed): " in await shown(driver, key)
    await world.send("PATCH", "/key-results/KR-1", {"title": "Checkout conversion"})
    await world.send("DELETE", f"/links/{made['id']}")
    assert await shown(driver, key) == one
    await driver.set_mode("live")
    assert but_for_the_time(driver.comments(key)[0]) == but_for_the_time(one)


@on_either("jira")
async def test_what_the_guard_holds_shows_what_people_will_get(driver: TrackerDriver, world: World) -> None:
    key, linked_one = driver.add("Checkout conversion"), driver.add("Other")
    await driver.connect(notices={"per_run": 0})
    await driver.sync()
    driver.label(linked_one, "kr:KR-1")
    await driver.sync()
    notice = await driver.notice(key)
    assert (notice["state"], notice["reason"], notice["pending"]) == ("held", "guard", False)
    body = await shown(driver, key)
    assert linked(1, driver) in words(body)
    await world.send("POST", "/notices/approve", {"ids": [notice["id"]]})
    await world.drain()
    assert words(driver.comments(key)[0]) == words(body)


@on_either("jira")
async def test_what_waits_for_the_tracker_shows_what_people_will_get(
    driver: TrackerDriver, world: World, clock: Clock
) -> None:
    """A comment that is due, and then an edit of it."""
    key, other, another = driver.add("Checkout conversion"), driver.add("Other"), driver.add("Another")
    await driver.connect()
    driver.tracker.faults.add(driver.creates, faults.answer(429, headers={"Retry-After": "600"}))
    await driver.sync()
    await world.send("POST", "/links", {"epic": {"source": driver.kind, "key": other}, "key_result": "KR-1"})
    assert ((await driver.notice(key))["state"], driver.comments(key)) == ("due", [])
    due = await shown(driver, key)
    assert linked(1, driver) in words(due)
    clock.advance(minutes=11)
    await driver.sync()
    assert but_for_the_time(driver.comments(key)[0]) == but_for_the_time(due)

    driver.tracker.faults.add(driver.edits, faults.answer(429, headers={"Retry-After": "600"}))
    driver.describe(key, "Key-Result: KR-99")
    clock.advance(minutes=1)
    await driver.sync()
    await world.send(
        "POST", "/links", {"epic": {"source": driver.kind, "key": another}, "key_result": "KR-1"}
    )
    assert ((await driver.notice(key))["state"], (await driver.notice(key))["pending"]) == ("posted", True)
    edit = await shown(driver, key)
    assert linked(2, driver) in words(edit)
    assert words(driver.comments(key)[0]) != words(edit)
    clock.advance(minutes=11)
    await driver.sync()
    assert but_for_the_time(driver.comments(key)[0]) == but_for_the_time(edit)


@on_either("github")
async def test_what_stands_on_the_ticket_is_shown_as_it_stands(driver: TrackerDriver, world: World) -> None:
    key, other = driver.add("Search"), driver.add("Other")
    await driver.connect()
    await driver.sync()
    await world.send("POST", "/links", {"epic": {"source": driver.kind, "key": other}, "key_result": "KR-1"})
    await world.send("PATCH", "/key-results/KR-1", {"title": "Checkout without tears"})
    await world.drain()
    await world.send("PATCH", "/policy", {"channel": "none"})  # still to be evaluated, and to end the warning
    body = await shown(driver, key)
    assert FITTING not in words(body)
    assert words(driver.comments(key)[0]) == words(body)


@on_either("jira")
async def test_while_a_request_is_on_its_way_its_text_is_shown(driver: TrackerDriver, world: World) -> None:
    """Should the answer be lost, that text is what may stand on the ticket."""
    key, other = driver.add("Checkout conversion"), driver.add("Other")
    await driver.connect()
    driver.tracker.faults.add(driver.creates, faults.lose_answer())
    await driver.sync()
    await world.send("POST", "/links", {"epic": {"source": driver.kind, "key": other}, "key_result": "KR-1"})
    assert (await driver.notice(key))["state"] == "due"
    assert words(await shown(driver, key)) == words(driver.comments(key)[0])


@on_either("github")
async def test_what_was_read_and_not_evaluated_yet_shows_what_would_be_written_now(
    driver: TrackerDriver, runtime: Runtime, clock: Clock
) -> None:
    key = driver.add("Search")
    await driver.connect(mode="shadow")
    await driver.sync()
    assert FITTING not in words(await shown(driver, key))
    clock.advance(minutes=7)
    async with runtime.sessions.begin() as session:
        row = (await session.scalars(select(EpicRow).where(EpicRow.key == key))).one()
        source = await session.get_one(SourceRow, row.source_id)
        read = replace(epic_of(row), title="Checkout conversion", updated_at=clock())
        await upsert_epics(session, source.id, source.tracker, [read], [], clock())
    assert FITTING in words(await shown(driver, key))


async def test_each_on_a_page_by_its_own_source(world: World) -> None:
    """Two trackers with other links and other words."""
    await world.goal("KR-1", "Checkout conversion")
    drivers: list[TrackerDriver] = [JiraDriver(world), GitHubDriver(world)]
    bodies: dict[str, str] = {}
    for count, driver in enumerate(drivers, 1):
        key = driver.add("Checkout conversion")
        for number in range(count):
            driver.add(f"Other {number}", labels=["kr:KR-1"])
        secret = {"webhook_secret": "a-secret-of-the-door"} if driver.kind == "github" else {}
        await driver.connect(mode="shadow", **secret)
        await driver.sync()
        bodies[driver.kind] = (await driver.notice(key))["body"]
        assert linked(count, driver) in words(bodies[driver.kind])
        assert "/northing link KR-1" in bodies[driver.kind], "with a webhook or without one"
    page_url = (await world.send("GET", "/notices"))["items"]
    assert {one["epic"]["source"]: one["body"] for one in page_url} == bodies


async def test_a_context_shared_from_another_source_is_the_sources_own(
    world: World, runtime: Runtime
) -> None:
    await world.goal("KR-1", "Checkout conversion")
    for driver in (JiraDriver(world), GitHubDriver(world)):
        driver.add("Other", labels=["kr:KR-1"])
        await driver.connect(mode="shadow")
        await driver.sync()
    await world.send("PATCH", "/policy", {"scopes": [{"source": "github", "channel": "none"}]})
    login = runtime.settings.model_copy(update={"why_links": "login"})
    runtime = replace(runtime, settings=login)  # so that an address names its source
    async with runtime.sessions() as session:
        first, second = await session.scalars(select(SourceRow).order_by(SourceRow.id))
        epic = (await session.scalars(select(EpicRow).limit(1))).one()
        jira = await runtime.evaluation_context(session, first)
        assert jira.policy_for("acme/shop").channel == "comment"
        own, like = [
            await runtime.evaluation_context(session, second, shared=given) for given in (None, jira)
        ]
    for name in ("source", "signer", "version", "policy", "project_infos"):
        assert getattr(like, name) == getattr(own, name), name
    assert like.policy_for("acme/shop").channel == "none"
    assert like.page_url(epic) == own.page_url(epic) != jira.page_url(epic)
    assert (like.render is own.render, like.goals is jira.goals) == (True, True)
