"""`live` opens after a look in shadow, and then project by project."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import delete, select

from app.runtime import Runtime
from connectors.sandbox import faults
from mappings.tables import RunRow, SourceRow
from tests.support.clock import Clock, later
from tests.support.tracker_drivers import JiraDriver, TrackerDriver, driver_of, either
from tests.support.world import World

MISSING = "Which key result does this epic serve?"
SIGNED_IN = {"type": "api_token", "email": "bot@acme.example", "token": "token"}
FAR: dict[str, dict[str, Any]] = {
    "jira": {
        "name": "far",
        "kind": "jira",
        "base_url": "https://acme.atlassian.net",
        "credentials": SIGNED_IN,
    },
    "github": {
        "name": "far",
        "kind": "github",
        "base_url": "https://api.github.com",
        "credentials": {"type": "token", "token": "token"},
        "scope": {"repositories": ["acme/shop"]},
    },
}
TRACKERS = {"jira": "acme.atlassian.net", "github": "api.github.com"}
LIVE = {"notices": {"mode": "live"}}


async def _ran(runtime: Runtime, **members: Any) -> None:
    """A run of the source `far`, as it stands once it has ended."""
    row = {"mode": "full", "state": "succeeded", "notices_mode": "shadow", **members}
    async with runtime.sessions.begin() as session:
        far = select(SourceRow.id).where(SourceRow.name == "far")
        source_id = (await session.scalars(far)).one()
        session.add(RunRow(source_id=source_id, finished_at=await runtime.now(session), **row))


async def _full_runs(runtime: Runtime) -> list[tuple[str, str | None, str | None]]:
    """State, mode and tracker of each full run, as it ended; oldest first."""
    async with runtime.sessions() as session:
        rows = await session.scalars(select(RunRow).where(RunRow.mode == "full").order_by(RunRow.id))
        return [(row.state, row.notices_mode, row.tracker) for row in rows]


# --- beyond this machine --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["jira", "github"])
async def test_live_opens_with_a_full_run_in_shadow(world: World, runtime: Runtime, kind: str) -> None:
    tracker = TRACKERS[kind]
    problem = await world.send("POST", "/sources", {**FAR[kind], **LIVE}, expect=409)
    for expected in (tracker, "/api/v1/sources/far/sync", '"shadow"', "full", "/api/v1/notices?source=far"):
        assert expected in problem["detail"]
    await world.send("GET", "/sources/far", expect=404)
    await world.send("POST", "/sources", FAR[kind])
    unfit: tuple[dict[str, str | None], ...] = (
        {"mode": "incremental"},
        {"mode": "evaluate"},
        {"state": "partial"},
        {"state": "failed"},
        {"notices_mode": "off"},  # nothing was worked out that a person could have looked at
        {"notices_mode": "live"},
        {"notices_mode": None},  # one from before this was written down
        {"tracker": "other.example"},
    )
    for members in unfit:
        await _ran(runtime, **{"tracker": tracker, **members})
        await _not_allowed(world, "far", tracker)
    await _ran(runtime, tracker=tracker)
    opened = await world.send("PATCH", "/sources/far", {"notices": {"mode": "live"}})
    assert opened["notices"]["mode"] == "live"
    # What is live stays so, whatever else is changed, and though its old runs are cleaned away.
    async with runtime.sessions.begin() as session:
        await session.execute(delete(RunRow))
    others = {"notices": {"per_day": 3}, "schedule": {"every": "PT15M"}}
    changed = await world.send("PATCH", "/sources/far", others)
    assert (changed["notices"]["mode"], changed["notices"]["per_day"]) == ("live", 3)
    await world.send("PATCH", "/sources/far", {"notices": {"mode": "shadow"}})
    await _not_allowed(world, "far", tracker)


async def _not_allowed(world: World, source: str, tracker: str, **members: Any) -> None:
    """The source may not be live on this tracker, and stays as it is."""
    before = await world.send("GET", f"/sources/{source}")
    problem = await world.send("PATCH", f"/sources/{source}", {**LIVE, **members}, expect=409)
    assert problem["detail"].startswith(f"`live` is not allowed yet for {tracker}: "), members
    assert await world.send("GET", f"/sources/{source}") == before


async def test_the_run_of_another_source_does_not_open_live(world: World, runtime: Runtime) -> None:
    await world.send("POST", "/sources", FAR["jira"])
    await _ran(runtime, tracker="acme.atlassian.net")
    await world.send("PATCH", "/sources/far", {"name": "first"})
    await world.send("POST", "/sources", FAR["jira"])
    await _not_allowed(world, "far", "acme.atlassian.net")
    await world.send("PATCH", "/sources/first", LIVE)


async def test_a_live_source_does_not_move_to_a_tracker_nobody_has_looked_at(
    world: World, runtime: Runtime
) -> None:
    elsewhere = {"base_url": "https://other.atlassian.net", "credentials": SIGNED_IN}
    await world.send("POST", "/sources", FAR["jira"])
    await _ran(runtime, tracker="acme.atlassian.net")
    await world.send("PATCH", "/sources/far", LIVE)
    await _not_allowed(world, "far", "other.atlassian.net", **elsewhere)
    same = {"base_url": "https://ACME.atlassian.net:443/", "credentials": SIGNED_IN}
    assert (await world.send("PATCH", "/sources/far", same))["notices"]["mode"] == "live"
    await world.send("PATCH", "/sources/far", {**elsewhere, "notices": {"mode": "shadow"}})
    await _not_allowed(world, "far", "other.atlassian.net")
    await _ran(runtime, tracker="other.atlassian.net")
    await world.send("PATCH", "/sources/far", LIVE)


async def test_a_live_source_on_this_machine_does_not_move_beyond_it(world: World) -> None:
    local = world.jira_url.replace("127.0.0.1", "localhost")
    await world.connect_jira(base_url=local, notices=LIVE["notices"])
    # The first is the same tracker by its name, and still not this machine by the letter.
    for address, tracker in (
        (local.replace("http://localhost", "https://localhost."), local.removeprefix("http://")),
        ("https://acme.atlassian.net", "acme.atlassian.net"),
    ):
        elsewhere = {"base_url": address, "credentials": SIGNED_IN}
        await _not_allowed(world, "jira", tracker, **elsewhere)
    moved = await world.send("PATCH", "/sources/jira", {**elsewhere, "notices": {"mode": "shadow"}})
    assert (moved["base_url"], moved["notices"]["mode"]) == (address, "shadow")


async def test_a_run_keeps_the_mode_and_the_tracker_with_which_it_ended(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    here = world.jira_url.removeprefix("http://")
    await world.connect_jira(notices={"mode": "off"})
    await world.sync("jira", "full")
    world.jira.faults.add("GET */myself", faults.answer(429, headers={"Retry-After": "30"}))
    waits = await world.sync("jira", "full")
    assert waits["state"] == "waiting"
    # What counts is the mode as the run ends: the first notices come with it.
    await world.send("PATCH", "/sources/jira", {"notices": {"mode": "shadow"}})
    await later(world, runtime, clock, minutes=1)
    assert await _full_runs(runtime) == [("succeeded", "off", here), ("succeeded", "shadow", here)]


async def test_a_run_that_a_change_of_address_met_says_nothing_of_the_new_tracker(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    here = world.jira_url.removeprefix("http://")
    there = here.replace("127.0.0.1", "localhost")
    bot = world.site.bot
    await world.connect_jira()
    world.site.create("SHOP", "An epic")
    world.jira.faults.add("POST */search/jql", faults.answer(429, headers={"Retry-After": "30"}))
    assert (await world.sync("jira", "full"))["state"] == "waiting"
    credentials = {"type": "api_token", "email": bot.email, "token": bot.token}
    moved = {"base_url": f"http://{there}", "credentials": credentials}
    await world.send("PATCH", "/sources/jira", moved)
    await later(world, runtime, clock, minutes=1)
    assert await _full_runs(runtime) == [("succeeded", "shadow", here), ("succeeded", "shadow", there)]


# --- project by project ---------------------------------------------------------------------------


def _two_projects(world: World, kind: str) -> tuple[TrackerDriver, str, str]:
    """A tracker with two projects; the names of both, as a person may write them."""
    if kind == "jira":
        world.site.add_project("CORE", "Core")
        return JiraDriver(world), "shop", "Core"
    world.host.add_repository("acme/core")
    return driver_of(world, kind), "Acme/Shop", "acme/CORE"


async def _connect(world: World, driver: TrackerDriver, **notices: Any) -> None:
    await world.no_grace()
    if driver.kind == "jira":
        await world.connect_jira(notices=notices)
    else:
        await world.connect_github(notices=notices, scope={"organizations": ["acme"]})


async def _set(world: World, driver: TrackerDriver, **notices: Any) -> list[int]:
    """Change the source's notices and do what follows; the runs that evaluated."""
    answer = await world.api.patch(f"/api/v1/sources/{driver.kind}", json={"notices": notices})
    assert answer.status_code == 200, answer.text
    await world.drain()
    return [int(run) for run in answer.headers.get("Northing-Runs", "").split(",") if run]


@pytest.mark.parametrize("kind", either("jira"))
async def test_live_goes_on_from_one_project_to_the_next(world: World, clock: Clock, kind: str) -> None:
    driver, first, second = _two_projects(world, kind)
    home, away = ("SHOP", "CORE") if kind == "jira" else ("acme/shop", "acme/core")
    shop, core, more = driver.add(project=home), driver.add(project=away), driver.add(project=away)
    await _connect(world, driver, mode="shadow")
    await driver.sync("full")
    [run] = await _set(world, driver, mode="live", projects=[first])
    assert [len(driver.comments(key)) for key in (shop, core, more)] == [1, 0, 0]
    assert (await driver.notice(shop))["run"] == run
    assert {(await driver.notice(key))["state"] for key in (core, more)} == {"shadow"}
    # A new epic of the other project stays in shadow too.
    third = driver.add(project=away)
    clock.advance(minutes=1)
    await driver.sync()
    assert (driver.comments(third), (await driver.notice(third))["state"]) == ([], "shadow")

    [run] = await _set(world, driver, projects=[first, second])
    notices = [await driver.notice(key) for key in (core, more, third)]
    assert [(notice["state"], notice["run"]) for notice in notices] == [("posted", run)] * 3
    assert [len(driver.comments(key)) for key in (shop, core, more, third)] == [1, 1, 1, 1]
    assert (await world.send("GET", f"/runs/{run}"))["writes"]["posted"] == 3


@pytest.mark.parametrize("kind", either("jira"))
async def test_a_project_taken_out_is_as_in_shadow(
    world: World, runtime: Runtime, clock: Clock, kind: str
) -> None:
    """Held and due become shadow; what is posted is resolved still, and nothing else."""
    await world.goal("KR-1", "Checkout conversion")
    driver, first, _ = _two_projects(world, kind)
    away = "CORE" if kind == "jira" else "acme/core"
    fixed, changed = driver.add(project=away), driver.add(project=away)
    await _connect(world, driver, mode="live")
    await driver.sync()
    driver.tracker.faults.add(driver.creates, faults.answer(429, headers={"Retry-After": "600"}), times=None)
    due = driver.add(project=away)
    await driver.sync()
    clock.advance(hours=2)
    await world.send("PATCH", "/policy", {"grace": "PT1H"})
    held = driver.add(project=away)
    await driver.sync()
    states = [(await driver.notice(key))["state"] for key in (fixed, changed, due, held)]
    assert states == ["posted", "posted", "due", "held"]

    await _set(world, driver, projects=[first])
    driver.tracker.faults.clear()
    for key in (held, due):
        notice = await driver.notice(key)
        assert (notice["state"], notice["reason"], notice["url"]) == ("shadow", None, None)
    driver.tracker.log.clear()
    clock.advance(minutes=30)
    driver.describe(fixed, "Key-Result: KR-1")
    driver.describe(changed, "Key-Result: KR-99")
    await driver.sync()
    await later(world, runtime, clock, hours=1)
    assert "Aligned with KR-1" in driver.comments(fixed)[0]
    assert MISSING in driver.comments(changed)[0]
    assert "KR-99" not in driver.comments(changed)[0]
    assert (driver.comments(held), driver.comments(due)) == ([], [])
    assert driver.tracker.log.count(driver.creates) == 0
    assert driver.tracker.log.count(driver.edits) == 1


async def test_a_name_the_source_does_not_read_is_refused(world: World) -> None:
    world.site.add_project("CORE", "Core")
    await world.connect_jira(notices={"projects": ["SHPO"]})  # nobody knows yet
    refused = ("PATCH", "/sources/jira")
    await world.sync("jira", "full")
    for notices in ({"projects": ["SHOP", "SHPO", "NEW"]}, {"mode": "live"}):
        errors = await world.refused(*refused, {"notices": notices})
        assert "it reads CORE, SHOP" in errors["notices.projects"], notices
    # What stood there before keeps nobody from changing something else.
    await world.send("PATCH", "/sources/jira", {"notices": {"per_day": 5}})
    for projects in (["shop", "Core"], [], None, ["CORE"]):
        shown = await world.send(
            "PATCH", "/sources/jira", {"notices": {"mode": "live", "projects": projects}}
        )
        assert shown["notices"]["projects"] == projects
    world.site.add_project("NEW", "New")
    assert (
        "Sync in full first"
        in (await world.refused(*refused, {"notices": {"projects": ["new"]}}))["notices.projects"]
    )
    await world.sync("jira", "full")
    await world.send("PATCH", "/sources/jira", {"notices": {"projects": ["new"]}})


async def test_a_name_outside_the_scope_is_refused_before_the_first_sync(world: World) -> None:
    for kind, outside, inside in (("jira", "CORE", "shop"), ("github", "acme/core", "ACME/shop")):
        body = {**FAR[kind], "name": kind}
        if kind == "jira":
            body["scope"] = {"projects": ["SHOP"]}
        errors = await world.refused("POST", "/sources", {**body, "notices": {"projects": [outside]}})
        assert "is not in the source's scope" in errors["notices.projects"]
        await world.send("POST", "/sources", {**body, "notices": {"projects": [inside]}})


async def test_a_name_may_come_with_the_scope_that_has_it(world: World) -> None:
    world.site.add_project("CORE", "Core")
    await world.connect_jira(scope={"projects": ["SHOP"]})
    await world.sync("jira", "full")
    with_it = {"scope": {"projects": ["SHOP", "CORE"]}, "notices": {"projects": ["CORE"]}}
    errors = await world.refused("PATCH", "/sources/jira", {"notices": with_it["notices"]})
    assert set(errors) == {"notices.projects"}
    changed = await world.send("PATCH", "/sources/jira", with_it)
    assert (changed["scope"]["projects"], changed["notices"]["projects"]) == (["SHOP", "CORE"], ["CORE"])


async def test_a_listing_that_is_not_whole_refuses_nothing_that_may_be_there(world: World) -> None:
    world.github.faults.add("GET */orgs/acme/repos", faults.answer(404, {"message": "Not Found"}))
    await world.connect_github(scope={"organizations": ["acme"]})
    assert (await world.sync("github", "full"))["state"] == "partial"
    await world.send("PATCH", "/sources/github", {"notices": {"projects": ["acme/core"]}})
    errors = await world.refused("PATCH", "/sources/github", {"notices": {"projects": ["other/core"]}})
    assert "other/core" in errors["notices.projects"]
