"""An epic's planned days, story points and finish, from a tracker's fields to the lists, through a sync."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI

from app.runtime import Runtime
from connectors.jira.config import JiraEpics
from connectors.jira.named_fields import NamedFields
from mappings.epics.rows import row_of
from tests.support.clock import Clock
from tests.support.pages import forms_of, visiting, words_of
from tests.support.queries import all_of
from tests.support.runs import counts
from tests.support.stored_epics import source_with, store, stored_epic
from tests.support.tracker_drivers import TrackerDriver, both, on_github, on_jira
from tests.support.webhook_deliveries import doors, process_everything
from tests.support.webhook_posts import SECRET
from tests.support.world import ADMIN_TOKEN, OFF

pytestmark = pytest.mark.database

PLAN = ("starts_on", "due_on", "points", "finished_at")


def _plan(epic: Any) -> tuple[Any, ...]:
    return tuple(epic[name] for name in PLAN)


async def _connect(driver: TrackerDriver, **epics: str | None) -> None:
    await _change(driver, epics={**driver.plan_fields(), **epics})


async def _change(driver: TrackerDriver, **members: Any) -> None:
    """As PATCH does, and all that follows."""
    await driver.world.send("PATCH", f"/sources/{driver.kind}", {"notices": OFF, **members})
    await driver.world.drain()


@both
async def test_a_sync_stores_what_half_of_the_epics_have(driver: TrackerDriver, clock: Clock) -> None:
    await _connect(driver)
    planned, due_alone, bare, also_bare = (driver.add(f"Epic {number}") for number in range(4))
    driver.plan(planned, start="2026-10-01", due="2027-01-31", points=8)
    driver.plan(due_alone, due="2026-12-24")
    await driver.sync("full")
    expected = {
        planned: ("2026-10-01", "2027-01-31", 8.0, None),
        due_alone: (None, "2026-12-24", None, None),
        bare: (None,) * 4,
        also_bare: (None,) * 4,
    }
    listed = (await driver.world.send("GET", "/epics"))["items"]
    assert {item["key"]: _plan(item) for item in listed} == expected
    assert {key: _plan(await driver.epic(key)) for key in expected} == expected
    assert (await driver.world.health(driver.kind))["state"] == "ok"
    assert counts(await driver.sync("full"))[2] == 0  # nothing is stored again

    clock.advance(hours=1)
    finished = clock().replace(microsecond=0)
    driver.plan(planned, start="2026-10-02", points=2.5)
    driver.finish(due_alone)
    await driver.sync()
    assert _plan(await driver.epic(planned)) == ("2026-10-02", None, 2.5, None)
    at = (await driver.epic(due_alone))["finished_at"]
    assert abs(datetime.fromisoformat(at) - finished) < timedelta(seconds=1)
    answer = await driver.world.api.get("/api/v1/export/epics?format=csv")
    rows = {row["key"]: row for row in csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig")))}
    assert [rows[planned][name] for name in PLAN] == ["2026-10-02", "", "2.5", ""]
    assert datetime.fromisoformat(rows[due_alone]["finished_at"]) == datetime.fromisoformat(at).replace(
        microsecond=0
    )
    assert [rows[bare][name] for name in PLAN] == [""] * 4


@both
async def test_what_cannot_be_read_is_in_health_once_until_it_is_mended(driver: TrackerDriver) -> None:
    await _connect(driver)
    keys = [driver.add(f"Epic {number}") for number in range(3)]
    for key in keys[:2]:
        driver.plan(key, start="0001-01-01", due="n/a", points=-1)
    run = await driver.sync("full")
    assert (run["state"], run["skipped"]) == ("succeeded", 0)
    assert {_plan(await driver.epic(key)) for key in keys} == {(None,) * 4}
    health = await driver.world.health(driver.kind)
    assert health["state"] == "degraded"
    for setting in ("epics.start_field", "epics.due_field", "epics.points_field"):
        assert health["message"].count(setting) == 1
    assert health["message"].count("cannot be read") == 1

    driver.plan(keys[0], start="2026-10-01", due="2026-10-02", points="n/a")
    driver.plan(keys[1])
    await driver.sync()
    assert (
        "epics.start_field" in (await driver.world.health(driver.kind))["message"]
    )  # not all were looked at
    await driver.sync("full")
    message = (await driver.world.health(driver.kind))["message"]
    assert ("epics.start_field" in message, "epics.points_field" in message) == (False, True)

    await driver.world.send("PATCH", f"/sources/{driver.kind}", {"epics": {"points_field": None}})
    assert "epics.points_field" not in (await driver.world.health(driver.kind))["message"]
    await driver.world.drain()
    assert (await driver.world.health(driver.kind))["state"] == "ok"


@both
async def test_a_field_that_is_named_later_starts_a_full_run(driver: TrackerDriver) -> None:
    named = driver.plan_fields()
    key = driver.add()
    driver.plan(key, start="2026-10-01", due="2026-12-24", points=5)
    await driver.sync("full")
    assert (await driver.epic(key))["starts_on"] is None
    source, runs = f"/sources/{driver.kind}", f"/runs?source={driver.kind}&mode=full"
    before = len((await driver.world.send("GET", runs))["items"])

    await _change(driver, epics=named)
    assert len((await driver.world.send("GET", runs))["items"]) == before + 1
    assert _plan(await driver.epic(key)) == ("2026-10-01", "2026-12-24", 5.0, None)
    shown = (await driver.world.send("GET", source))["epics"]
    assert {name: shown[name] for name in named} == named


@both
async def test_a_field_that_the_tracker_does_not_have_is_in_health_and_in_the_check(
    driver: TrackerDriver,
) -> None:
    await _connect(driver, points_field="Story pionts")
    driver.add()
    await driver.sync("full")
    health = await driver.world.health(driver.kind)
    assert (health["state"], "epics.points_field: Story pionts" in health["message"]) == ("degraded", True)
    facts = (await driver.world.send("POST", f"/sources/{driver.kind}/check"))["facts"]
    (wrong,) = (one for one in facts if one["state"] == "missing" and one["field"].startswith("epics"))
    assert (wrong["field"], "no epic has story points" in wrong["what_to_do"]) == ("epics.points_field", True)


@both
async def test_a_field_of_another_kind_is_in_the_check(driver: TrackerDriver) -> None:
    named = driver.plan_fields()
    await _change(driver, epics={**named, "points_field": named["start_field"]})
    driver.add()
    facts = (await driver.world.send("POST", f"/sources/{driver.kind}/check"))["facts"]
    messages = [one["message"] for one in facts if one["field"] == "epics.points_field"]
    assert len(messages) == 1
    assert messages[0].endswith("of the type date, not number.")


@both
async def test_no_run_asks_more_for_fields_but_once_for_their_names(driver: TrackerDriver) -> None:
    named = driver.plan_fields()
    for number in range(3):
        driver.plan(driver.add(f"Epic {number}"), start="2026-10-01")
    asked = []
    for epics in ({}, named):
        await _change(driver, epics=epics)
        driver.tracker.log.clear()
        await driver.sync("full")
        asked.append(driver.tracker.log.count())
    assert asked[1] - asked[0] == 1


def test_jira_is_asked_for_the_fields_that_are_needed() -> None:
    transport: Any = None  # ids need no look-up
    assert NamedFields(transport, JiraEpics()).asked == ["duedate"]
    named = JiraEpics(
        fields=["customfield_1"],
        key_result_field="customfield_2",
        start_field="customfield_10015",
        due_field="customfield_1",
        points_field="customfield_3",
    )
    assert sorted(NamedFields(transport, named).asked) == [
        "customfield_1", "customfield_10015", "customfield_2", "customfield_3",
    ]  # fmt: skip


@on_jira
async def test_an_epic_that_is_opened_again_is_not_finished(driver: TrackerDriver, clock: Clock) -> None:
    await _connect(driver)
    key = driver.add(status="Done")
    await driver.sync("full")
    first = (await driver.epic(key))["finished_at"]
    assert first is not None
    clock.advance(hours=1)
    driver.world.site.comment(key, "Well done.")
    await driver.sync()
    assert (await driver.epic(key))["finished_at"] == first
    driver.world.site.edit(key, status="In Progress")
    await driver.sync()
    assert (await driver.epic(key))["finished_at"] is None


@on_github
async def test_a_milestones_other_due_day_is_read_by_the_next_full_run(driver: TrackerDriver) -> None:
    """The time of update of its issues stays, so an incremental run does not meet them."""
    host, day = driver.world.host, datetime(2026, 12, 1, 12, tzinfo=UTC)
    host.milestone("acme/shop", "Winter", day)
    key = driver.add(milestone="Winter")
    await driver.sync("full")
    assert (await driver.epic(key))["due_on"] == "2026-12-01"
    host.edit_milestone("acme/shop", "Winter", datetime(2027, 2, 2, 12, tzinfo=UTC))
    await driver.sync("full")
    assert (await driver.epic(key))["due_on"] == "2027-02-02"


@both
async def test_a_change_of_a_date_comes_by_webhook(driver: TrackerDriver, application: FastAPI) -> None:
    """Of GitHub's milestones too, for whose issues GitHub sends nothing."""
    host = driver.world.host
    host.milestone("acme/shop", "Winter", datetime(2026, 12, 1, 12, tzinfo=UTC))
    named = {name: field for name, field in driver.plan_fields().items() if name != "due_field"}
    await _change(driver, epics=named, webhook_secret=SECRET)
    on_milestone = {"milestone": "Winter"} if driver.kind == "github" else {}
    key = driver.add(**on_milestone)
    await driver.sync("full")
    async with doors(application, driver.world):
        driver.plan(key, start="2026-10-01", due="2026-12-24", points=3)
        await process_everything(driver.world)
        if on_milestone:
            host.edit_milestone("acme/shop", "Winter", datetime(2026, 12, 24, 12, tzinfo=UTC))
        await process_everything(driver.world)
    assert _plan(await driver.epic(key)) == ("2026-10-01", "2026-12-24", 3.0, None)


async def test_the_row_of_an_epic_has_its_plan(api: httpx.AsyncClient, runtime: Runtime) -> None:
    """Each of the four is among the facts by whose hash a changed epic is known."""
    moment = datetime(2026, 11, 2, 9, 30, 0, 123456, tzinfo=UTC)
    plan: dict[str, Any] = {
        "starts_on": date(2026, 10, 1), "due_on": date(2027, 1, 31), "points": 2.5, "finished_at": moment
    }  # fmt: skip
    epics = [stored_epic(1, **plan), stored_epic(2)]
    await source_with(api, runtime, epics)

    async def stored() -> list[tuple[Any, ...]]:
        return await all_of(runtime, f"SELECT {', '.join(PLAN)} FROM epics ORDER BY id")

    assert await stored() == [(*plan.values(),), (None,) * 4]
    await store(runtime, "jira", [stored_epic(1), stored_epic(2, **plan)])
    assert await stored() == [(None,) * 4, (*plan.values(),)]
    hashes = {row_of(stored_epic(1, **{name: value}), moment)["content_hash"] for name, value in plan.items()}
    assert len(hashes | {row_of(stored_epic(1), moment)["content_hash"]}) == 5


@both
async def test_the_pages_show_and_set_the_fields(driver: TrackerDriver, application: FastAPI) -> None:
    await _connect(driver)
    key, bare = driver.add("Planned"), driver.add("Bare")
    driver.plan(key, start="2026-10-01", due="2027-01-31", points=8)
    await driver.sync("full")
    source = f"/sources/{driver.kind}"
    async with visiting(application) as admin:
        await admin.sign_in(ADMIN_TOKEN)
        words = words_of(await admin.get(f"/epics/{driver.kind}/{quote(key, safe='')}"))
        assert "Start 1 Oct 2026 Due 31 Jan 2027 Points 8" in words
        assert " Due " not in words_of(await admin.get(f"/epics/{driver.kind}/{quote(bare, safe='')}"))
        page = await admin.get(source)
        (form,) = (one for one in forms_of(page) if "epics.start_field" in one.fields)
        assert form.fields["epics.start_field"] == "start DATE"
        sent = {**form.fields, "do": "scope", "epics.start_field": "Kick-off"}
        assert "Kick-off" in words_of((await admin.send(source, sent, expect=422)).text)
        await admin.send(
            source, {**sent, "epics.start_field": "", "epics.points_field": "12", "unchecked": "on"}
        )
    epics = (await driver.world.send("GET", source))["epics"]
    assert (epics["start_field"], epics["points_field"]) == (None, "12")
