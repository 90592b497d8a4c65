"""The one comment that is made for the answer to a command, on both simulated trackers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from sqlalchemy import select, update

from app import pipeline
from app.api.bodies import unwritten_texts
from app.runtime import Runtime
from connectors.sandbox import faults
from mappings import invalidate
from mappings.checks.check import Check
from mappings.evaluation.load import load_records
from mappings.notices.claims import EDITS_PER_HOUR, claim_notice
from mappings.runs.queue import open_run
from mappings.tables import CommandCommentRow, EpicRow, NoticeRow
from tests.support.clock import Clock, later
from tests.support.queries import command_comments, spent
from tests.support.tracker_drivers import TrackerDriver, both, driver_of, on_either
from tests.support.world import World

pytestmark = pytest.mark.database

ANSWER = "There is no key result `KR-99`."
SAID = ["There is no key result KR-99."]
MISSING = "Which key result does this epic serve?"
ids = count(1)


@pytest.fixture
async def driver(world: World, request: pytest.FixtureRequest) -> TrackerDriver:
    """Connected, with a grace of 28 working days, and one live key result KR-1."""
    await world.goal("KR-1", "Checkout conversion")
    made = driver_of(world, request.param)
    await made.connect()
    await world.send("PATCH", "/policy", {"grace": "P28D"})
    return made


async def asks(world: World, runtime: Runtime, clock: Clock, key: str, answer: str | None = ANSWER) -> int:
    """A person gives a command on the ticket, which is answered in words, or with None by its effect; all
    that follows is done. The run that it opened."""
    clock.advance(seconds=1)
    async with runtime.sessions.begin() as session:
        epic = (await session.scalars(select(EpicRow).where(EpicRow.key == key))).one()
        now = await runtime.now(session)
        await session.execute(update(CommandCommentRow).values(answer=None))
        given: dict[str, Any] = {"remote_id": f"c{next(ids)}", "author": "an-editor", "commands": ["help"]}
        session.add(CommandCommentRow(epic_id=epic.id, answer=answer, at=now, **given))
        await invalidate.mark_for_evaluation(session, [epic.id], now)
        run = await open_run(session, epic.source_id, "evaluate", now)
    clock.advance(seconds=1)
    await pipeline.execute_run(runtime, run.id)
    await world.drain()
    return run.id


def words(driver: TrackerDriver, key: str) -> list[str]:
    return [text.replace("`", "").replace("\\", "").replace("\u2060", "") for text in driver.comments(key)]


@both
async def test_an_answer_makes_the_one_comment_and_the_warning_follows_in_it(
    world: World, driver: TrackerDriver, runtime: Runtime, clock: Clock
) -> None:
    key = driver.add()
    await driver.sync()
    run = await asks(world, runtime, clock, key)
    assert words(driver, key) == SAID
    notice = await driver.notice(key)
    assert (notice["state"], notice["pending"], notice["run"]) == ("resolved", False, run)
    writes = (await world.send("GET", f"/runs/{run}"))["writes"]
    assert (writes["posted"], writes["resolved"], writes["pending"]) == (1, 0, 0)
    await driver.sync("full")
    await later(world, runtime, clock, hours=2)
    assert driver.tracker.log.count(driver.edits) == 0, "no edit only because time passes"
    await later(world, runtime, clock, days=45)
    assert MISSING in words(driver, key)[0]
    assert SAID[0] not in words(driver, key)[0], "stale help helps nobody"
    assert (driver.tracker.log.count(driver.creates), len(driver.comments(key))) == (1, 1)


@on_either("jira")
async def test_the_warning_that_follows_an_answer_is_taken_back_with_its_own_run(
    world: World, driver: TrackerDriver, runtime: Runtime, clock: Clock
) -> None:
    key = driver.add()
    await driver.sync()
    await asks(world, runtime, clock, key)
    clock.advance(days=45)
    run = await driver.sync("full")
    assert "Which key result" in words(driver, key)[0]
    await world.send("POST", f"/runs/{run['id']}/withdraw", expect=202)
    await world.drain()
    assert words(driver, key) == ["Withdrawn. Sorry for the noise."]


@on_either("jira")
async def test_withdrawing_the_commands_run_takes_the_answer_back(
    world: World, driver: TrackerDriver, runtime: Runtime, clock: Clock
) -> None:
    key = driver.add(labels=["kr:KR-1"])
    await driver.sync()
    run = await asks(world, runtime, clock, key)
    assert words(driver, key) == [f"Aligned with KR-1 (Checkout conversion). Thank you.\n{SAID[0]}"]
    await world.send("POST", f"/runs/{run}/withdraw", expect=202)
    await world.drain()
    assert words(driver, key) == ["Withdrawn. Sorry for the noise."]


@on_either("github")
async def test_who_deletes_our_comment_has_said_no(
    world: World, driver: TrackerDriver, runtime: Runtime, clock: Clock
) -> None:
    key = driver.add()
    await driver.sync()
    await asks(world, runtime, clock, key)
    driver.delete_comments(key)
    for answer in ("Other words.", "And other ones."):
        await asks(world, runtime, clock, key, answer)
        assert driver.comments(key) == []
        assert (await driver.notice(key))["reason"] == "deleted_on_ticket"
    assert [answer for _, answer, _ in await command_comments(runtime)] == [None] * 3


@on_either("jira")
async def test_beyond_the_daily_cap_an_answer_is_dropped(
    world: World, driver: TrackerDriver, runtime: Runtime, clock: Clock
) -> None:
    await world.send("PATCH", f"/sources/{driver.kind}", {"notices": {"per_day": 1}})
    first, second = driver.add(), driver.add()
    await driver.sync()
    await asks(world, runtime, clock, first)
    await asks(world, runtime, clock, second)
    await later(world, runtime, clock, seconds=1)
    assert (words(driver, first), driver.comments(second)) == (SAID, [])
    notice = await driver.notice(second)
    assert (notice["state"], notice["reason"], notice["pending"]) == ("held", "grace", False)
    assert [answer for _, answer, _ in await command_comments(runtime)] == [None, None]
    await later(world, runtime, clock, days=2)
    assert driver.comments(second) == []


@both
@pytest.mark.parametrize("arrives", [True, False])
async def test_a_lost_answer_makes_no_second_comment(
    world: World, driver: TrackerDriver, runtime: Runtime, clock: Clock, arrives: bool
) -> None:
    key = driver.add()
    await driver.sync()
    driver.tracker.faults.add(driver.creates, faults.lose_answer() if arrives else faults.drop())
    await asks(world, runtime, clock, key)
    for span in (timedelta(seconds=62), timedelta(hours=2)):
        await later(world, runtime, clock, seconds=span.total_seconds())
        assert words(driver, key) == SAID
    notice = await driver.notice(key)
    assert (notice["state"], notice["pending"]) == ("resolved", False), "no warning within its grace"
    assert driver.tracker.log.count(driver.creates) == (1 if arrives else 2)


@on_either("github")
async def test_an_answer_that_cannot_be_written_within_the_hour_is_dropped(
    world: World, driver: TrackerDriver, runtime: Runtime, clock: Clock
) -> None:
    key = driver.add()
    await driver.sync()
    driver.tracker.faults.add(driver.reads, faults.proxy_page(503), times=None)
    await asks(world, runtime, clock, key)
    await later(world, runtime, clock, minutes=61)
    driver.tracker.faults.clear()
    await later(world, runtime, clock, hours=3)
    assert driver.comments(key) == []
    assert (await driver.notice(key))["reason"] == "grace"


@on_either("github")
async def test_an_edit_that_answers_a_person_waits_for_no_other_edits(
    world: World, driver: TrackerDriver, runtime: Runtime, clock: Clock
) -> None:
    await world.no_grace()
    asked, other = driver.add(), driver.add()
    await driver.sync()
    await spent(runtime, EDITS_PER_HOUR, clock.now)
    for key in (asked, other):
        driver.label(key, "kr:KR-1")
    await driver.sync()
    assert MISSING in words(driver, asked)[0]
    await asks(world, runtime, clock, asked, None)
    assert words(driver, asked) == ["Aligned with KR-1 (Checkout conversion). Thank you."]
    assert MISSING in words(driver, other)[0], "these wait for the hour"


@on_either("jira")
async def test_what_answers_a_person_is_claimed_before_all_else(
    world: World, driver: TrackerDriver, runtime: Runtime, clock: Clock
) -> None:
    keys = [driver.add() for _ in range(4)]
    await driver.sync()
    queued: dict[str, dict[str, Any]] = {
        keys[0]: {"target": "posted"},
        keys[1]: {"target": "resolved", "remote_id": "1"},
        keys[2]: {"target": "withdrawn", "remote_id": "2"},
        keys[3]: {"target": "posted", "answers": True, "due_at": clock.now},
    }
    async with runtime.sessions.begin() as session:
        for key, values in queued.items():
            epic = select(EpicRow.id).where(EpicRow.key == key).scalar_subquery()
            due: dict[str, Any] = {"state": "due", "due_at": clock.now - timedelta(hours=1), **values}
            await session.execute(update(NoticeRow).where(NoticeRow.epic_id == epic).values(due))
        source = (await session.scalars(select(EpicRow.source_id).limit(1))).one()
        names = {row.id: row.key for row in await session.scalars(select(EpicRow))}
        order: list[str] = []
        while claim := await claim_notice(session, source, f"w{len(order)}", clock, one_at_a_time=False):
            order.append(names[claim.epic_id])
    assert order == [keys[3], keys[2], keys[1], keys[0]]


@on_either("jira")
async def test_nothing_is_composed_in_a_sync(world: World, driver: TrackerDriver, runtime: Runtime) -> None:
    await world.no_grace()
    await driver.set_mode("shadow")
    keys = [driver.add() for _ in range(3)]
    composed: list[str] = []

    def counting(check: Check[Any]) -> Check[Any]:
        def counted(facts: Any, public: bool, now: Any) -> Any:
            composed.append(facts.epic.key)
            assert check.words is not None
            return check.words(facts, public, now)

        return check if check.words is None else replace(check, words=counted)

    counted = replace(runtime, checks=tuple(counting(check) for check in runtime.checks))
    async with counted.sessions.begin() as session:
        source = (await session.scalars(select(EpicRow.source_id).limit(1))).first()
        now = await counted.now(session)
        run = await open_run(session, source or 1, "full", now)
    await pipeline.execute_run(counted, run.id)
    assert composed == []
    async with counted.sessions() as session:
        rows = (await session.scalars(select(EpicRow).order_by(EpicRow.id))).all()
        found = await load_records(session, rows)
        texts = await unwritten_texts(counted, session, found, now)
    assert (sorted(composed), len(texts)) == (sorted(keys), 3)
