"""Other people's tickets: comments deleted, doubled, not ours to edit, and tickets closed to us."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from app import pipeline
from app.jobs.sweep import sweep
from app.runtime import Runtime
from app.webhooks.processor import process_deliveries
from app.writing.writer import FOREIGN_COMMENT
from connectors.sandbox import faults
from mappings.evaluation.load import may_be_on_ticket
from mappings.notices.pauses import REFUSAL_PAUSE
from mappings.notices.state import mark_deleted
from mappings.tables import NoticeRow
from tests.support.clock import Clock, later
from tests.support.lists import listed
from tests.support.queries import only_source, projects, remember_as_ours
from tests.support.tracker_drivers import (
    GitHubDriver,
    JiraDriver,
    TrackerDriver,
    driver_of,
    on_either,
    on_jira,
)
from tests.support.webhook_deliveries import doors
from tests.support.world import World

MISSING = "Which key result does this epic serve?"
ALIGNED = "Aligned with KR-1 (Checkout conversion). Thank you."
WITHDRAWN = "Withdrawn. Sorry for the noise."
DELETES = "DELETE *comment*"
OTHER_ID = "0b9f4a34-0000-4000-8000-000000000000/1"
FORBIDDEN = faults.answer(403, {"message": "Not you.", "errorMessages": ["Not you."]})


async def link(driver: TrackerDriver, key: str) -> None:
    epic = {"source": driver.kind, "key": key}
    await driver.world.send("POST", "/links", {"epic": epic, "key_result": "KR-1"})
    await driver.world.drain()


async def state(driver: TrackerDriver, key: str) -> tuple[str, str | None, int]:
    """The notice's state and reason, and how many comments stand on the ticket."""
    notice = await driver.notice(key)
    return notice["state"], notice["reason"], len(driver.comments(key))


# --- somebody deletes our comment -------------------------------------------------------------------


@on_jira
async def test_a_new_opening_may_be_said_again_once_under_the_guard(
    driver: TrackerDriver, clock: Clock
) -> None:
    world, key = driver.world, driver.add()
    await driver.sync()
    driver.delete_comments(key)
    clock.advance(hours=1)
    driver.describe(key, "Key-Result: KR-99")
    await driver.sync()
    assert await state(driver, key) == ("withdrawn", "deleted_on_ticket", 0)
    held = {"notices": {"per_run": 0}}
    await world.send("PATCH", f"/sources/{driver.kind}", held)
    for text in ("Key-Result: KR-1", "Words."):
        clock.advance(days=1)
        driver.describe(key, text)
        await driver.sync()
    assert await state(driver, key) == ("held", "guard", 0)
    await world.send("POST", "/notices/approve", {"ids": [(await driver.notice(key))["id"]]})
    await world.drain()
    assert await state(driver, key) == ("posted", None, 1)
    driver.delete_comments(key)
    for number in range(2):
        clock.advance(days=1)
        driver.describe(key, f"Key-Result: KR-9{number}")
        await driver.sync()
    assert await state(driver, key) == ("withdrawn", "deleted_on_ticket", 0)
    assert driver.tracker.log.count(driver.creates) == 2


@dataclass
class DeletedAtOnce:
    """The tracker does the work; before its answer goes out a person deletes the comment, and we hear it."""

    driver: TrackerDriver
    key: str
    runtime: Runtime

    async def __call__(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        start, body = await faults.answer_of(app, scope, receive)
        self.driver.delete_comments(self.key)
        await self.driver.tracker.webhook_sender.idle()
        await process_deliveries(self.runtime, (await only_source(self.runtime)).id)
        await send(start)
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def heard(driver: TrackerDriver, application: FastAPI) -> AsyncIterator[TrackerDriver]:
    """The same, and the tracker tells of every change."""
    secret = {"webhook_secret": "a secret of the tracker's"}
    await driver.world.send("PATCH", f"/sources/{driver.kind}", secret)
    async with doors(application, driver.world):
        yield driver


@pytest.mark.parametrize(("driver", "when"), [("jira", "created"), ("github", "edited")], indirect=["driver"])
async def test_deleted_before_we_know_that_it_stands_there(
    heard: TrackerDriver, runtime: Runtime, clock: Clock, when: str
) -> None:
    driver, key = heard, heard.add()
    if when == "edited":
        await driver.sync()
        clock.advance(minutes=1)
    expected = driver.creates if when == "created" else driver.edits
    strike = driver.tracker.faults.add(expected, DeletedAtOnce(driver, key, runtime))
    await (driver.sync() if when == "created" else link(driver, key))
    assert strike.struck == 1
    for _ in range(2):  # our own echo, then what we were told while we wrote
        await driver.tracker.webhook_sender.idle()
        await later(driver.world, runtime, clock, seconds=3)
    assert await state(driver, key) == ("withdrawn", "deleted_on_ticket", 0)
    reported = await listed(driver.world, "/deliveries", source=driver.kind)
    assert "deleted" in f"{reported[0]['event']} {reported[0]['action']}"
    assert all(one["state"] in ("done", "ignored") for one in reported)
    clock.advance(hours=1)
    driver.describe(key, "Changed.")
    await driver.sync("full")
    assert await state(driver, key) == ("withdrawn", "deleted_on_ticket", 0)
    assert driver.tracker.log.count(driver.creates) == 1


def test_what_was_deleted_leaves_no_request_to_look_for(clock: Clock) -> None:
    """Whoever died editing it left a mark; a new comment would pass the guard by that."""
    notice = NoticeRow(remote_id="1", state="posted", write_unconfirmed_at=clock(), claimed_by=None)
    mark_deleted(notice, clock())
    assert not may_be_on_ticket(notice)


# --- two comments of ours, and others that look like it ------------------------------------------------


def empty_list() -> faults.Action:
    """The tracker does not show the new comment yet."""
    return faults.rewrite(lambda body: [] if isinstance(body, list) else {**body, "comments": [], "total": 0})


def others_that_look_like_ours(driver: TrackerDriver, key: str) -> list[str]:
    """By our own account: another installation's notice, a person's copy and quotation of ours; their ids."""
    if isinstance(driver, JiraDriver):
        ours, theirs = driver.site.issue(key).comments[0], {"northing": {"id": OTHER_ID}}
        made = [
            driver.site.comment(key, "Theirs.", driver.site.bot, theirs),
            driver.site.comment(key, copy.deepcopy(ours.body), driver.site.bot),
        ]
        return [one.id for one in made]
    assert isinstance(driver, GitHubDriver)
    body = driver.host.issue(key).comments[0].body
    head = f"<!-- northing:notice -->\n<!-- northing:id {OTHER_ID} -->"
    quoted = "\n".join(f"> {line}" for line in body.splitlines())
    texts = [f"{head}\n\nTheirs.", f"See this:\n{body}", f"{quoted}\n\nIs that so?"]
    return [str(driver.host.comment(key, text, driver.host.bot).id) for text in texts]


@pytest.mark.parametrize(
    ("driver", "allowed"),
    [("github", "deleting"), ("jira", "editing"), ("github", "neither")],
    indirect=["driver"],
)
async def test_of_two_comments_of_ours_the_oldest_stays(
    driver: TrackerDriver, runtime: Runtime, clock: Clock, allowed: str
) -> None:
    """Two answers are lost, and in between the tracker does not show what the first one did."""
    world, key = driver.world, driver.add()
    driver.tracker.faults.add(driver.creates, faults.lose_answer(), times=2)
    driver.tracker.faults.add(driver.looks, empty_list(), times=2)
    await driver.sync()
    (oldest,) = driver.comment_ids(key)  # of which nobody knows yet
    others = others_that_look_like_ours(driver, key)
    looked_like = driver.comments(key)[1:]
    driver.describe(key, "Key-Result: KR-99")
    await driver.sync()  # so that the second says something else
    await later(world, runtime, clock, seconds=61)
    assert len(driver.comments(key)) == 2 + len(others)
    if allowed != "deleting":
        driver.tracker.faults.add(DELETES, FORBIDDEN, times=None)
    if allowed == "neither":
        driver.tracker.faults.add(driver.edits, FORBIDDEN, times=None)
    await later(world, runtime, clock, seconds=61)
    ids, texts = driver.comment_ids(key), driver.comments(key)
    assert ids[: 1 + len(others)] == [oldest, *others]
    assert texts[1 : 1 + len(others)] == looked_like
    left = texts[1 + len(others) :]
    if allowed == "neither":
        assert ["KR-99" in text for text in left] == [True]
    else:
        assert "KR-99" in texts[0]
        assert left == ([] if allowed == "deleting" else [WITHDRAWN])
    notice = await driver.notice(key)
    assert (notice["state"], notice["pending"]) == ("posted", False)
    assert notice["url"].endswith(oldest)
    driver.tracker.faults.clear()
    await link(driver, key)
    assert driver.comments(key)[: 1 + len(others)] == [ALIGNED, *looked_like]
    assert driver.tracker.log.count(driver.creates) == 2


@on_either("github")
async def test_a_second_comment_goes_whenever_ours_is_edited(driver: TrackerDriver) -> None:
    """However it came to stand there: the one that we know stays."""
    key = driver.add()
    await driver.sync()
    (ours,) = driver.comment_ids(key)
    if isinstance(driver, JiraDriver):
        first = driver.site.issue(key).comments[0]
        driver.site.comment(key, copy.deepcopy(first.body), driver.site.bot, dict(first.properties))
    elif isinstance(driver, GitHubDriver):
        driver.host.comment(key, driver.host.issue(key).comments[0].body, driver.host.bot)
    assert len(driver.comments(key)) == 2
    await link(driver, key)
    assert (driver.comment_ids(key), driver.comments(key)) == ([ours], [ALIGNED])


# --- a comment of ours that we may not edit ------------------------------------------------------------


@pytest.mark.parametrize(
    ("driver", "answer"), [("jira", "was lost"), ("github", "came")], indirect=["driver"]
)
async def test_another_accounts_comment_is_never_joined_by_a_second(
    driver: TrackerDriver, runtime: Runtime, clock: Clock, answer: str
) -> None:
    world, key = driver.world, driver.add()
    if answer == "was lost":
        driver.tracker.faults.add(driver.creates, faults.lose_answer())
    await driver.sync()
    # The source has other credentials since the comment was made, say.
    await remember_as_ours(runtime, driver.give_comment(key, "somebody-else"))
    text = driver.comments(key)
    driver.describe(key, "Key-Result: KR-99")
    await driver.sync()
    for number in range(2):
        await later(world, runtime, clock, minutes=61)
        notice = await driver.notice(key)
        assert (notice["state"], notice["pending"]) == ("failed", False)
        assert notice["detail"].startswith(FOREIGN_COMMENT)
        driver.describe(key, f"Key-Result: KR-{90 + number}")
        await driver.sync("full" if number else "incremental")
    assert driver.comments(key) == text
    driver.give_comment(key, None)
    await later(world, runtime, clock, minutes=61)
    assert "KR-91" in driver.comments(key)[0]
    assert await state(driver, key) == ("posted", None, 1)
    assert driver.tracker.log.count(driver.creates) == 1


async def test_a_token_without_the_scope_does_not_make_us_forget_our_comment(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    """GitHub says of a comment that a classic token may not change what it says of one that is gone."""
    driver = GitHubDriver(world)
    world.host.repository("acme/shop").private = False
    await world.goal("KR-1", "Checkout conversion")
    await driver.connect()
    key, other = driver.add(), driver.add()
    run = await driver.sync()
    world.host.scopes["northing-bot"] = "read:user"
    new = driver.add()
    await driver.sync()
    notice = await driver.notice(new)
    assert (notice["state"], "no comment written there" in notice["detail"]) == ("failed", True)
    await link(driver, key)
    notice = await driver.notice(key)
    assert (notice["state"], "does not let us change it" in notice["detail"]) == ("failed", True)
    await world.send("POST", f"/runs/{run['id']}/withdraw", {"delete": True})
    await world.drain()
    assert (await state(driver, other))[::2] == ("failed", 1)
    world.host.scopes["northing-bot"] = "repo"
    await later(world, runtime, clock, minutes=61)
    assert driver.comments(key) == driver.comments(other) == [WITHDRAWN]  # deleting was refused
    assert await state(driver, new) == ("posted", None, 1)
    assert driver.tracker.log.count(driver.creates) == 4


# --- tickets closed to us ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Closed:
    """`close` (or, with False, open again) a ticket to us; `says` stands in the notice's detail."""

    kind: str
    close: Callable[[Any, str, bool], None]
    says: str


def archive_repository(driver: GitHubDriver, key: str, closed: bool) -> None:
    driver.host.repository("acme/shop").archived = closed


CLOSED = {
    "locked": Closed("github", lambda driver, key, on: driver.host.lock(key, locked=on), "issue is locked"),
    "archived repository": Closed("github", archive_repository, "Repository was archived"),
    "archived project": Closed(
        "jira",
        lambda driver, _, on: driver.site.archive("SHOP", archived=on),
        "do not have the permission to edit",
    ),
    "security level": Closed(
        "jira", lambda driver, key, on: driver.site.close_to_bot(key, closed=on), "may no longer see it"
    ),
}


@pytest.mark.parametrize("how", CLOSED)
async def test_a_closed_ticket_fails_and_says_why(
    world: World, runtime: Runtime, clock: Clock, how: str
) -> None:
    case, driver = CLOSED[how], driver_of(world, CLOSED[how].kind)
    await world.goal("KR-1", "Checkout conversion")
    await driver.connect()
    key, new = driver.add(), None
    await driver.sync()
    if how != "security level":  # then the new one could not be read, and would be held as stale
        new = driver.add()
        driver.tracker.faults.add(driver.reads, faults.first(lambda: case.close(driver, new, True)))
        run = await driver.sync()
        assert (run["writes"]["failed"], run["writes"]["pending"]) == (1, 0)
        notice = await driver.notice(new)
        assert (notice["state"], notice["pending"], driver.comments(new)) == ("failed", False, [])
    case.close(driver, key, True)
    await link(driver, key)
    notice = await driver.notice(key)
    assert (notice["state"], notice["pending"], case.says in notice["detail"]) == ("failed", False, True)
    assert MISSING in driver.comments(key)[0]
    for each in filter(None, (key, new)):
        case.close(driver, each, False)
    await later(world, runtime, clock, minutes=61)
    assert driver.comments(key) == [ALIGNED]
    assert await state(driver, key) == ("resolved", None, 1)
    assert driver.tracker.log.count(driver.creates) == (1 if new is None else 3)


# --- the same refusal on many tickets -----------------------------------------------------------------


def shut(driver: TrackerDriver, keys: list[str], shut: bool = True) -> None:
    """No new comment in the first project: Jira's permission, GitHub's locks."""
    if isinstance(driver, JiraDriver):
        (driver.site.denied.add if shut else driver.site.denied.discard)(("ADD_COMMENTS", "SHOP"))
    elif isinstance(driver, GitHubDriver):
        for key in keys:
            driver.host.lock(key, locked=shut)


async def stops(runtime: Runtime) -> list[tuple[str, datetime, str | None]]:
    """The projects in which nothing is written, since when and why."""
    return [
        (key, row.writes_paused_at, row.writes_paused_reason)
        for key, row in (await projects(runtime)).items()
        if row.writes_paused_at is not None
    ]


async def refused_in(driver: TrackerDriver, other: str) -> list[str]:
    """Seven tickets of a project in which all are refused, one of another; the seven."""
    if isinstance(driver, JiraDriver):
        driver.site.add_project(other, "Other")
    elif isinstance(driver, GitHubDriver):
        driver.host.add_repository(other)
        scope = {"scope": {"repositories": ["acme/shop", other]}}
        await driver.world.send("PATCH", "/sources/github", scope)
    keys, elsewhere = [driver.add() for _ in range(7)], driver.add(project=other)
    shut(driver, keys)
    run = await driver.sync()
    assert (run["writes"]["failed"], run["writes"]["posted"], run["writes"]["pending"]) == (5, 1, 2)
    assert len(driver.comments(elsewhere)) == 1
    return keys


async def race(world: World, runtime: Runtime) -> None:
    """What waits for its evaluation is released, and three workers write at once."""
    await sweep(runtime)
    for run in (await world.send("GET", "/runs?state=queued"))["items"]:
        await pipeline.execute_run(runtime, run["id"])
    source_id = (await only_source(runtime)).id
    await asyncio.gather(*(pipeline.write_tickets(runtime, source_id) for _ in range(3)))


@pytest.mark.parametrize(
    ("driver", "lifted_by"), [("jira", "a change"), ("github", "a success")], indirect=["driver"]
)
async def test_five_refusals_stop_the_project_and_no_other(
    driver: TrackerDriver, runtime: Runtime, clock: Clock, lifted_by: str
) -> None:
    world, other = driver.world, {"jira": "OPS", "github": "acme/ops"}[driver.kind]
    keys = await refused_in(driver, other)
    ((project, since, why),) = await stops(runtime)
    assert (project, since) == ({"jira": "SHOP", "github": "acme/shop"}[driver.kind], clock())
    assert why in {(await driver.notice(key))["detail"] for key in keys}
    shown = await world.health(driver.kind)
    assert (shown["state"], f"Nothing is written in {project}" in shown["message"]) == ("degraded", True)
    assert "PATCH" in shown["what_to_do"]

    before, creates = driver.tracker.log.count(), driver.tracker.log.count(driver.creates)
    for _ in range(10):  # the refused are evaluated again after an hour, and wait with the others
        await later(world, runtime, clock, hours=2)
    assert driver.tracker.log.count() == before
    new = driver.add(project=other)
    await driver.sync()
    assert (len(driver.comments(new)), driver.tracker.log.count(driver.creates)) == (1, creates + 1)

    clock.now = since + REFUSAL_PAUSE
    await race(world, runtime)
    assert driver.tracker.log.count(driver.creates) == creates + 2
    assert [at for _, at, _ in await stops(runtime)] == [clock()]
    shut(driver, keys, shut=False)
    for _ in range(3):
        await later(world, runtime, clock, hours=7)
    assert driver.tracker.log.count(driver.creates) == creates + 2
    if lifted_by == "a change":
        await world.send("PATCH", f"/sources/{driver.kind}", {"schedule": {"full": None}})
        await later(world, runtime, clock, seconds=15)
    else:
        clock.advance(hours=3)
        await race(world, runtime)
    assert await stops(runtime) == []
    await later(world, runtime, clock, minutes=61)
    assert [len(driver.comments(key)) for key in keys] == [1] * 7
    await driver.sync()
    assert (await world.health(driver.kind))["state"] == "ok"


async def test_a_stopped_project_takes_no_slots_of_the_day_from_others(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    driver = JiraDriver(world)
    world.site.add_project("OPS", "Operations")
    await driver.connect(notices={"per_day": 6})
    locked = [driver.add() for _ in range(8)]
    shut(driver, locked)
    await driver.sync()
    others = [driver.add(project="OPS") for _ in range(3)]
    for _ in range(2):
        await driver.sync()
        await later(world, runtime, clock, hours=12)
    assert [len(driver.comments(key)) for key in others] == [1] * 3
    # Once it takes comments again they come by the day's measure.
    shut(driver, locked, shut=False)
    made = []
    for _ in range(4):
        await later(world, runtime, clock, hours=12)
        made.append(sum(len(driver.comments(key)) for key in locked))
    assert made == [0, 6, 6, 8]


async def test_who_was_refused_does_not_keep_the_others_waiting_for_ever(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    """Five tickets stay locked. A day later one is tried that was not refused before; the others follow."""
    driver = GitHubDriver(world)
    await driver.connect()
    locked = [driver.add() for _ in range(5)]
    shut(driver, locked)
    fine = [driver.add() for _ in range(3)]
    await driver.sync()
    assert len(await stops(runtime)) == 1
    await later(world, runtime, clock, hours=2)
    await later(world, runtime, clock, hours=22)
    assert [len(driver.comments(key)) for key in fine] == [1, 1, 1]
    assert [len(driver.comments(key)) for key in locked] == [0] * 5


@on_jira
async def test_the_same_refusal_in_five_projects_stops_nothing(
    driver: JiraDriver, runtime: Runtime, clock: Clock
) -> None:
    for project in ("SHOP", "CORE", "OPS", "PAY", "WEB"):
        if project != "SHOP":
            driver.site.add_project(project, project)
        driver.site.denied.add(("ADD_COMMENTS", project))
        driver.add(project=project)
    run = await driver.sync()
    assert (run["writes"]["failed"], await stops(runtime)) == (5, [])
    failed = (await driver.world.send("GET", "/notices?state=failed"))["items"]
    assert (len(failed), len({notice["detail"] for notice in failed})) == (5, 1)
    clock.advance(hours=1)
    await sweep(runtime)
    await driver.world.drain()
    assert driver.tracker.log.count(driver.creates) == 10
