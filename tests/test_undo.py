"""Taking back what a run wrote: every comment it made, and all that it has not written yet."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from app import evaluation, pipeline
from app.run_result import RunResult
from app.runtime import Runtime
from app.sync.reader import read_source
from connectors.sandbox import faults
from mappings.locks import LOCK_SOURCE_NOTICES
from mappings.notices.claims import EDITS_PER_HOUR
from mappings.runs.queue import claim_run, close_run
from mappings.tables import EpicRow, NoticeRow, RunRow, SourceRow
from tests.support.clock import Clock, later
from tests.support.locks import holding
from tests.support.queries import only_source, spent
from tests.support.tracker_drivers import JiraDriver, TrackerDriver, both, on_either, on_github, on_jira
from tests.support.tracker_requests import Pause
from tests.support.world import World

pytestmark = pytest.mark.database

TAKEN_BACK = ["Withdrawn. Sorry for the noise."]


async def _withdraw(world: World, run: int, body: Any = None) -> Any:
    """Ask, and do all that follows; the withdrawal as it is then."""
    asked = await world.send("POST", f"/runs/{run}/withdraw", body, expect=202)
    await world.drain()
    return await world.send("GET", f"/runs/{asked['id']}")


@on_either("github")
async def test_every_comment_of_the_run_becomes_one_line(
    world: World, driver: TrackerDriver, clock: Clock
) -> None:
    older = driver.add("Older")
    await driver.sync()
    keys = [driver.add() for _ in range(3)]
    resolved = driver.add("Resolved meanwhile")
    run = await driver.sync()
    driver.label(resolved, "kr:KR-1")
    await driver.sync()
    withdrawal = await _withdraw(world, run["id"])
    assert (withdrawal["mode"], withdrawal["state"]) == ("withdraw", "succeeded")
    assert (withdrawal["writes"]["withdrawn"], withdrawal["writes"]["pending"]) == (4, 0)
    for key in (*keys, resolved):
        assert driver.comments(key) == TAKEN_BACK
        notice = await driver.notice(key)
        assert (notice["state"], notice["reason"]) == ("withdrawn", "run_withdrawn")
        assert notice["run"] == withdrawal["id"]
    assert "Which key result does this epic serve?" in driver.comments(older)[0]
    # Asked again it is the same run, and does nothing.
    driver.tracker.log.clear()
    assert (await _withdraw(world, run["id"]))["id"] == withdrawal["id"]
    for mode in ("incremental", "full"):
        await driver.sync(mode)
    assert driver.tracker.log.count(driver.edits) + driver.tracker.log.count(driver.creates) == 0


@on_either("jira")
async def test_what_a_run_turned_back_into_a_warning_is_taken_back_with_it(
    world: World, driver: TrackerDriver, clock: Clock
) -> None:
    """And not with the run that made the comment, whose warning was taken back long before."""
    keys = [driver.add() for _ in range(2)]
    maker = await driver.sync()
    driver.describe(keys[0], "Key-Result: KR-1")
    await driver.sync()
    assert driver.comments(keys[0])[0].startswith("Aligned with")
    clock.advance(minutes=5)
    driver.describe(keys[0], "")
    returning = await driver.sync()
    assert "Which key result" in driver.comments(keys[0])[0]
    clock.advance(minutes=5)
    driver.describe(keys[1], "Key-Result: KR-77")  # a warning that stands gets another text
    edited = await driver.sync()
    assert "KR-77" in driver.comments(keys[1])[0]
    assert (await _withdraw(world, edited["id"]))["writes"]["withdrawn"] == 0
    assert (await _withdraw(world, returning["id"]))["writes"]["withdrawn"] == 1
    assert driver.comments(keys[0]) == TAKEN_BACK
    assert "Which key result" in driver.comments(keys[1])[0]
    assert (await _withdraw(world, maker["id"]))["writes"]["withdrawn"] == 1
    assert driver.comments(keys[1]) == TAKEN_BACK


@both
async def test_an_answer_nobody_can_read_delays_it_and_no_more(
    world: World, driver: TrackerDriver, runtime: Runtime, clock: Clock
) -> None:
    keys = [driver.add() for _ in range(2)]
    run = await driver.sync()
    driver.tracker.faults.add(driver.reads, faults.proxy_page(200))
    withdrawal = await _withdraw(world, run["id"])
    assert (withdrawal["writes"]["withdrawn"], withdrawal["writes"]["pending"]) == (1, 1)
    await later(world, runtime, clock, minutes=2)
    assert [driver.comments(key) for key in keys] == [TAKEN_BACK] * 2


@on_github
async def test_deletions_are_no_edits(
    world: World, driver: TrackerDriver, runtime: Runtime, clock: Clock
) -> None:
    """The hour's edits are spent: what is to be edited waits, and says so; what is to be deleted goes."""
    edited, deleted = driver.add(), driver.add()
    runs = {edited: (await driver.sync())["id"]}
    other = driver.add()
    runs[other] = (await driver.sync())["id"]
    await spent(runtime, EDITS_PER_HOUR, clock.now)
    waiting = await _withdraw(world, runs[other])
    assert waiting["writes"]["pending"] == 1
    detail = (await driver.notice(other))["detail"]
    then = clock() + timedelta(hours=1)
    assert detail == f"60 comments were edited within the hour; it goes on at {then:%H:%M} UTC."
    gone = await _withdraw(world, runs[edited], {"delete": True})
    assert (gone["writes"]["withdrawn"], gone["writes"]["pending"]) == (2, 0)
    assert (driver.comments(edited), driver.comments(deleted)) == ([], [])
    await later(world, runtime, clock, minutes=61)
    assert driver.comments(other) == TAKEN_BACK
    assert (await driver.notice(other))["detail"] != detail


@on_jira
async def test_who_asks_again_has_it_tried_again(world: World, driver: JiraDriver) -> None:
    """The project refused five tickets alike, and was left alone for a day."""
    keys = [driver.add() for _ in range(6)]
    run = await driver.sync()
    driver.site.denied.add(("EDIT_OWN_COMMENTS", "SHOP"))
    first = await _withdraw(world, run["id"])
    assert first["writes"]["withdrawn"] == 0
    driver.site.denied.clear()
    await _withdraw(world, run["id"])
    assert [driver.comments(key) for key in keys] == [TAKEN_BACK] * 6


@on_jira
async def test_it_stays_so_for_this_opening_of_the_finding(
    world: World, driver: TrackerDriver, clock: Clock
) -> None:
    key = driver.add()
    run = await driver.sync()
    await _withdraw(world, run["id"])
    clock.advance(minutes=5)
    driver.describe(key, "Key-Result: KR-77")  # another fact, the same finding
    await driver.sync()
    assert driver.comments(key) == TAKEN_BACK
    driver.describe(key, "Key-Result: KR-1")
    await driver.sync()
    clock.advance(minutes=5)
    driver.describe(key, "")
    await driver.sync()
    (text,) = driver.comments(key)
    assert "Which key result does this epic serve?" in text


@both
async def test_deleted_where_that_is_allowed(world: World, driver: TrackerDriver) -> None:
    key = driver.add()
    run = await driver.sync()
    withdrawal = await _withdraw(world, run["id"], {"delete": True})
    assert (driver.comments(key), withdrawal["writes"]["withdrawn"]) == ([], 1)
    notice = await driver.notice(key)
    assert (notice["state"], notice["reason"], notice["url"]) == ("withdrawn", "run_withdrawn", None)
    await driver.sync("full")
    assert driver.comments(key) == []


@on_jira
async def test_edited_where_deleting_is_not(world: World, driver: JiraDriver) -> None:
    key = driver.add()
    run = await driver.sync()
    driver.site.denied |= {("DELETE_OWN_COMMENTS", "SHOP")}
    await _withdraw(world, run["id"], {"delete": True})
    assert driver.comments(key) == TAKEN_BACK
    driver.allow()
    # One line first, deleted afterwards.
    await _withdraw(world, run["id"], {"delete": True})
    assert driver.comments(key) == []


@both
async def test_a_lost_answer_to_a_deletion(
    world: World, driver: TrackerDriver, runtime: Runtime, clock: Clock
) -> None:
    key = driver.add()
    run = await driver.sync()
    lost = driver.tracker.faults.add("DELETE *", faults.lose_answer())
    await _withdraw(world, run["id"], {"delete": True})
    await later(world, runtime, clock, minutes=2)
    assert (lost.struck, driver.comments(key)) == (1, [])
    assert ((await driver.notice(key))["state"], (await driver.notice(key))["pending"]) == (
        "withdrawn",
        False,
    )


@on_either("jira")
async def test_what_is_not_written_yet_never_is(
    world: World, driver: TrackerDriver, runtime: Runtime, clock: Clock
) -> None:
    await world.send("PATCH", f"/sources/{driver.kind}", {"notices": {"per_run": 2}})
    keys = [driver.add() for _ in range(3)]
    guarded = await driver.sync()
    await _withdraw(world, guarded["id"])
    for key in keys:
        notice = await driver.notice(key)
        assert (notice["state"], notice["reason"]) == ("withdrawn", "run_withdrawn")
        assert "was withdrawn before it was written" in notice["detail"]
    answer = await world.send("POST", "/notices/approve", {"run": guarded["id"]})
    assert answer == {"approved": 0, "skipped": []}
    waiting = driver.add()
    driver.tracker.faults.add(driver.reads, faults.answer(503))  # its write is put off
    run = await driver.sync()
    assert (await driver.notice(waiting))["pending"]
    await _withdraw(world, run["id"])
    await later(world, runtime, clock, hours=2)
    await driver.sync("full")
    assert [driver.comments(key) for key in (*keys, waiting)] == [[]] * 4


@on_either("jira")
async def test_a_comment_on_its_way_is_taken_back_when_it_arrives(
    world: World, driver: TrackerDriver
) -> None:
    key = driver.add()
    pause = Pause()
    driver.tracker.faults.add(driver.creates, pause)
    syncing = asyncio.create_task(driver.sync())
    await pause.reached.wait()
    (run,) = (await world.send("GET", "/runs"))["items"]
    asked = await world.send("POST", f"/runs/{run['id']}/withdraw")
    assert (asked["writes"]["pending"], len(driver.comments(key))) == (1, 1)
    pause.go_on.set()
    await syncing
    await world.drain()
    assert driver.comments(key) == TAKEN_BACK


@on_either("jira")
async def test_a_comment_whose_answer_was_lost_is_found_and_taken_back(
    world: World, driver: TrackerDriver, runtime: Runtime, clock: Clock
) -> None:
    arrived, not_arrived = driver.add(), driver.add()
    driver.tracker.faults.add(driver.creates, faults.lose_answer())
    driver.tracker.faults.add(driver.creates, faults.drop())
    run = await driver.sync()
    await _withdraw(world, run["id"])
    await later(world, runtime, clock, seconds=61)
    assert (driver.comments(arrived), driver.comments(not_arrived)) == (TAKEN_BACK, [])
    for key in (arrived, not_arrived):
        assert (await driver.notice(key))["state"] == "withdrawn"


@on_jira
async def test_a_run_withdrawn_while_it_evaluates_writes_nothing(
    world: World, driver: TrackerDriver, runtime: Runtime, database_url: str
) -> None:
    key = driver.add()
    asked = await world.send("POST", "/sources/jira/sync")
    source_id = (await only_source(runtime)).id
    async with holding(database_url) as holder:
        await holder.hold("SELECT pg_advisory_xact_lock(%s, %s)", LOCK_SOURCE_NOTICES, source_id)
        run = asyncio.create_task(pipeline.execute_run(runtime, asked["id"]))
        await holder.until_waiting(1)
        withdrawing = asyncio.create_task(world.send("POST", f"/runs/{asked['id']}/withdraw"))
        await holder.until_waiting(2)
    await asyncio.gather(run, withdrawing)
    await world.drain()
    assert (driver.comments(key), (await driver.notice(key))["state"]) == ([], "withdrawn")
    assert driver.tracker.log.count(driver.creates) == 0


@on_jira
async def test_withdrawing_takes_its_epics_in_the_order_of_their_ids(
    world: World, driver: TrackerDriver, database_url: str
) -> None:
    """The first is held and the second posted: an evaluation that has the first gets the second, too."""
    first, second = driver.add(), driver.add()
    await driver.world.send("PATCH", "/sources/jira", {"notices": {"per_run": 1}})
    run = await driver.sync()
    await world.send("POST", "/notices/approve", {"ids": [(await driver.notice(second))["id"]]})
    await world.drain()
    row = "SELECT 1 FROM epics WHERE key = %s FOR UPDATE"
    async with holding(database_url) as holder:
        await holder.hold(row, first)
        withdrawing = asyncio.create_task(_withdraw(world, run["id"]))
        await holder.until_waiting(1)
        await holder.hold(row, second)
        await holder.let_go()
        await withdrawing
    assert (driver.comments(first), driver.comments(second)) == ([], TAKEN_BACK)


@on_jira
async def test_withdrawn_while_it_evaluated_and_then_broken_down(
    world: World, driver: TrackerDriver, runtime: Runtime
) -> None:
    """What it had evaluated after the withdrawal is not let go by another run either."""
    key = driver.add()
    run = await world.send("POST", "/sources/jira/sync")
    await world.send("POST", f"/runs/{run['id']}/withdraw")
    claimed = await _claimed(runtime, run["id"])
    await read_source(runtime, *claimed)
    await evaluation.evaluate_due(runtime, *claimed)
    async with runtime.sessions.begin() as session:
        broken = RunResult.broken(RuntimeError())
        await close_run(
            session, claimed[0], runtime.worker, broken.state, await runtime.now(session), broken.error
        )
    assert (await driver.notice(key))["state"] == "due"
    await driver.sync()
    assert driver.comments(key) == []
    assert (await driver.notice(key))["reason"] == "run_withdrawn"


async def _claimed(runtime: Runtime, run_id: int) -> tuple[RunRow, SourceRow]:
    async with runtime.sessions.begin() as session:
        run = await claim_run(session, run_id, runtime.worker, await runtime.now(session))
        assert run is not None
        return run, await session.get_one(SourceRow, run.source_id)


@pytest.mark.parametrize("state", ["failed", "held"])
@on_jira
async def test_what_it_had_let_go_and_is_to_be_tried_again_never_is_either(
    world: World, driver: TrackerDriver, runtime: Runtime, clock: Clock, state: str
) -> None:
    """The tracker refused it, or a person approved it and it has to wait for its grace by now."""
    keys = [driver.add(), driver.add()]
    if state == "held":
        await world.send("PATCH", "/sources/jira", {"notices": {"per_run": 1}})
    driver.tracker.faults.add(driver.creates, faults.answer(403), times=2)
    run = await driver.sync()
    if state == "held":
        await world.send("POST", "/notices/approve", {"run": run["id"]})
        await world.send("PATCH", "/policy", {"grace": "PT2H"})
        await world.drain()
    driver.tracker.faults.clear()
    assert [(await driver.notice(key))["state"] for key in keys] == [state] * 2
    await _withdraw(world, run["id"])
    await later(world, runtime, clock, hours=3)
    await driver.sync("full")
    for key in keys:
        assert (driver.comments(key), (await driver.notice(key))["reason"]) == ([], "run_withdrawn")


@on_jira
async def test_deletion_asked_for_while_it_is_edited(world: World, driver: TrackerDriver) -> None:
    key = driver.add()
    run = await driver.sync()
    pause = Pause()
    driver.tracker.faults.add(driver.edits, pause)
    editing = asyncio.create_task(_withdraw(world, run["id"]))
    await pause.reached.wait()
    await world.send("POST", f"/runs/{run['id']}/withdraw", {"delete": True})
    pause.go_on.set()
    await editing
    await world.drain()
    assert driver.comments(key) == []


@on_jira
async def test_the_guards_word_does_not_outlive_the_withdrawal(
    world: World, driver: TrackerDriver, runtime: Runtime, clock: Clock
) -> None:
    """Or those it let pass would come anew, all at once, when their findings open anew."""
    driver.add()
    driver.tracker.faults.add(driver.creates, faults.drop())
    run = await driver.sync()
    await _withdraw(world, run["id"])
    await later(world, runtime, clock, seconds=61)
    async with runtime.sessions() as session:
        notice = (await session.scalars(select(NoticeRow))).one()
    assert (notice.state, notice.guard) == ("withdrawn", None)


@pytest.mark.parametrize("mode", ["off", "shadow"])
@on_jira
async def test_it_is_done_whatever_the_mode(world: World, driver: TrackerDriver, mode: str) -> None:
    key = driver.add()
    run = await driver.sync()
    await driver.set_mode(mode)
    await _withdraw(world, run["id"])
    assert driver.comments(key) == TAKEN_BACK


@on_jira
async def test_an_edit_it_had_queued_is_another_runs(
    world: World, driver: TrackerDriver, runtime: Runtime, clock: Clock
) -> None:
    key = driver.add()
    await driver.sync()
    clock.advance(minutes=1)
    driver.describe(key, "Key-Result: KR-1")
    driver.tracker.faults.add(driver.reads, faults.answer(503))
    run = await driver.sync()
    assert (await driver.notice(key))["run"] == run["id"]
    await _withdraw(world, run["id"])
    assert "Which key result does this epic serve?" in driver.comments(key)[0]
    await later(world, runtime, clock, minutes=2)
    assert "Aligned with KR-1" in driver.comments(key)[0]
    assert (await world.send("GET", f"/runs/{run['id']}"))["writes"]["resolved"] == 0


@on_jira
async def test_what_cannot_be_withdrawn(world: World, driver: TrackerDriver) -> None:
    run = await driver.sync()
    withdrawal = await _withdraw(world, run["id"])
    await world.refused("POST", "/runs/999/withdraw", status=404)
    problem = await world.send("POST", f"/runs/{withdrawal['id']}/withdraw", expect=409)
    assert "withdraw" in problem["detail"]
    assert "delete" in await world.refused("POST", f"/runs/{run['id']}/withdraw", {"delete": "some"})


# --- disconnecting ------------------------------------------------------------------------------------


@both
async def test_a_tracker_is_disconnected_once_our_comments_are_taken_back(
    world: World, driver: TrackerDriver, runtime: Runtime, clock: Clock
) -> None:
    keys = [driver.add(), driver.add()]
    await driver.sync()
    await world.refused("DELETE", f"/sources/{driver.kind}", status=409)
    driver.tracker.faults.add(driver.edits, faults.answer(503))
    run = await world.send("DELETE", f"/sources/{driver.kind}?comments=withdraw", expect=202)
    assert (run["mode"], run["writes"]["pending"]) == ("withdraw", 2)
    source = await world.send("GET", f"/sources/{driver.kind}")
    assert (source["disconnecting_at"] is not None, source["notices"]["mode"]) == (True, "off")
    for method, path, body in (
        ("PATCH", f"/sources/{driver.kind}", {"notices": {"mode": "live"}}),
        ("POST", f"/sources/{driver.kind}/sync", None),
    ):
        await world.refused(method, path, body, status=409)
    await later(world, runtime, clock, seconds=1)
    await later(world, runtime, clock, hours=1)
    await later(world, runtime, clock, seconds=15)
    assert [driver.comments(key) for key in keys] == [TAKEN_BACK, TAKEN_BACK]
    await world.refused("GET", f"/sources/{driver.kind}", status=404)


@on_jira
async def test_the_audit_log_says_that_it_is_deleted_in_the_end(
    world: World, driver: TrackerDriver, runtime: Runtime, clock: Clock
) -> None:
    driver.add()
    await driver.sync()
    await world.send("DELETE", "/sources/jira?comments=withdraw", expect=202)
    await world.drain()
    await later(world, runtime, clock, seconds=15)
    last, asked, *_ = (await world.send("GET", "/audit-log?what=source&key=jira"))["items"]
    assert (last["who"], last["action"], last["after"]) == ("northing", "deleted", None)
    assert (last["before"]["name"], last["before"]["notices"]["mode"]) == ("jira", "off")
    assert (asked["who"], asked["action"]) == ("admin token", "changed")


@on_jira
async def test_leaving_them_there_ends_it_at_once(world: World, driver: TrackerDriver) -> None:
    key = driver.add()
    await driver.sync()
    await world.send("DELETE", "/sources/jira?comments=withdraw", expect=202)
    await world.send("DELETE", "/sources/jira?comments=leave", expect=204)
    await world.refused("GET", "/sources/jira", status=404)
    await world.drain()
    assert "Which key result does this epic serve?" in driver.comments(key)[0]


@on_jira
async def test_without_a_comment_there_is_nothing_to_wait_for(world: World, driver: TrackerDriver) -> None:
    await driver.sync()
    await world.send("DELETE", "/sources/jira?comments=withdraw", expect=204)
    await world.refused("GET", "/sources/jira", status=404)


@both
async def test_a_ticket_that_was_deleted_has_no_comment_to_take_back(
    world: World, driver: TrackerDriver, runtime: Runtime, clock: Clock
) -> None:
    deleted, there = driver.add(), driver.add()
    await driver.sync()
    driver.delete(deleted)
    await driver.sync("full")
    await world.send("DELETE", f"/sources/{driver.kind}?comments=withdraw", expect=202)
    await world.drain()
    await later(world, runtime, clock, seconds=15)
    assert driver.comments(there) == TAKEN_BACK
    await world.refused("GET", f"/sources/{driver.kind}", status=404)


@on_jira
async def test_withdrawing_and_disconnecting_at_once(
    world: World, driver: TrackerDriver, runtime: Runtime, clock: Clock, database_url: str
) -> None:
    """Both take the source's turn first: the other order was a deadlock."""
    key = driver.add()
    run = await driver.sync()
    source_id = (await only_source(runtime)).id
    async with holding(database_url) as holder:
        await holder.hold("SELECT pg_advisory_xact_lock(%s, %s)", LOCK_SOURCE_NOTICES, source_id)
        withdrawing = asyncio.create_task(world.send("POST", f"/runs/{run['id']}/withdraw", expect=202))
        await holder.until_waiting(1)
        leaving = asyncio.create_task(world.send("DELETE", "/sources/jira?comments=withdraw", expect=202))
        await holder.until_waiting(2)
    await asyncio.gather(withdrawing, leaving)
    await world.drain()
    await later(world, runtime, clock, seconds=15)
    assert driver.comments(key) == TAKEN_BACK
    await world.refused("GET", "/sources/jira", status=404)


@on_jira
async def test_a_write_whose_run_went_with_its_source_holds_up_nobody(
    world: World, driver: TrackerDriver, runtime: Runtime, clock: Clock
) -> None:
    """Its epic is another source's by now; who evaluates it next takes it over."""
    orphan, other = driver.add(), driver.add()
    driver.tracker.faults.add(driver.reads, faults.answer(503))
    await driver.sync()
    async with runtime.sessions.begin() as session:
        epic = select(EpicRow.id).where(EpicRow.key == orphan).scalar_subquery()
        await session.execute(update(NoticeRow).where(NoticeRow.epic_id == epic).values(run_id=None))
    await later(world, runtime, clock, minutes=2)
    assert (driver.comments(orphan), len(driver.comments(other))) == ([], 1)
    await world.send("PATCH", "/sources/jira", {"notices": {"per_run": 999}})  # has all evaluated
    await world.drain()
    assert len(driver.comments(orphan)) == 1
