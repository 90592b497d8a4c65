"""One webhook is followed by its id through the logs of a real process, from the door to the comment."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from app.settings import Settings
from tests.support.metrics import samples
from tests.support.processes import environment_of
from tests.support.servers import api_of, running, stopped, until
from tests.support.tracker_drivers import KINDS, TrackerDriver, driver_of
from tests.support.webhook_posts import SECRET
from tests.support.world import ADMIN_TOKEN, World

STORY = [
    "webhook received",
    "tickets fetched",
    "webhook worked on",
    "epics evaluated",
    "run ended",
    "ticket written",
]
WORDS = "The quarterly reordering nobody may read"


async def test_one_id_leads_from_the_door_to_the_comment(
    world: World, settings: Settings, tmp_path: Path
) -> None:
    await world.goal()
    await world.no_grace()
    drivers = [driver_of(world, kind) for kind in KINDS]
    env = environment_of(settings, port="0")
    async with running(1, "serves http://", "serve", env=env, cwd=tmp_path) as [(server, line)]:
        async with api_of(line) as world.api:
            for driver in drivers:
                await connected(world, driver)
            written = await asyncio.gather(*(warned(world, driver) for driver in drivers))
            counted = samples((await world.api.get("/metrics")).text)
        log = await stopped(server)
    for kind in KINDS:
        # Done by the worker, seen at the server.
        assert counted[f'northing_ticket_writes_total{{kind="posted",source="{kind}"}}'] == 1
    for driver, (remote_id, id, comment) in zip(drivers, written, strict=True):
        # As `grep` finds them.
        story = [entry for entry in log if remote_id in json.dumps(entry)]
        assert [entry["event"] for entry in story if entry["event"] in STORY] == STORY
        assert {entry["source"] for entry in story} == {driver.kind}
        by_event = {entry["event"]: entry for entry in story}
        assert by_event["webhook received"]["delivery"] == by_event["webhook worked on"]["delivery"] == id
        run = by_event["webhook worked on"]["opened_run"]
        assert {by_event[event]["run"] for event in STORY[3:]} == {run}
        assert by_event["ticket written"]["comment"] == comment
    text = json.dumps(log)
    assert not [secret for secret in secrets_of(world) if secret in text]


async def test_the_lines_of_an_evaluation_at_once_name_its_run_and_source(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.goal()
    key = world.site.create("SHOP", "One-page checkout").key
    await world.connect_jira()
    await world.sync("jira")
    caplog.set_level(logging.INFO)
    caplog.clear()
    await world.send("POST", "/links", {"epic": {"source": "jira", "key": key}, "key_result": "KR-1"})
    lines = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    runs = {line["event"]: (line["source"], line["run"]) for line in lines if line["event"] in STORY}
    assert set(runs) == {"epics evaluated", "run ended"}
    (run,) = (await world.send("GET", "/runs?limit=1"))["items"]
    assert set(runs.values()) == {("jira", run["id"])}


def secrets_of(world: World) -> list[str]:
    return [WORDS, SECRET, ADMIN_TOKEN, world.site.bot.token, world.host.bot.token]


async def connected(world: World, driver: TrackerDriver) -> None:
    await driver.connect(notices={"mode": "live"}, webhook_secret=SECRET)
    run = await world.send("POST", f"/sources/{driver.kind}/sync", {"mode": "full"})

    async def over() -> bool:
        return bool((await world.send("GET", f"/runs/{run['id']}"))["finished_at"])

    await until(over)
    driver.tracker.webhook_sender.set(f"{world.api.base_url}/webhooks/{driver.kind}", SECRET)


async def warned(world: World, driver: TrackerDriver) -> tuple[str, int, str]:
    """A new epic gets its comment: the ids of the delivery that told of it, and the comment's address."""
    key = driver.add(WORDS)

    async def posted() -> Any:
        found = (await world.send("GET", f"/notices?source={driver.kind}&state=posted"))["items"]
        return found[0] if found else None

    notice = await until(posted)
    assert len(driver.comments(key)) == 1
    await driver.tracker.webhook_sender.idle()
    reported = (await world.send("GET", f"/deliveries?source={driver.kind}"))["items"]
    led = [delivery for delivery in reported if delivery["run"] == notice["run"]]
    return led[-1]["remote_id"], led[-1]["id"], notice["url"]
