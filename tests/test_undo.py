"""Taking back what a run wrote: every comment it made, and all that it has not written yet."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from app import pipeline, reading
from app.outcome import Outcome
from app.runtime import Runtime
from connectors.sandbox import faults
from mappings import claims, ledger
from mappings.claims import EDITS_AN_HOUR
from mappings.tables import Run, Source
from tests.conftest import Clock
from tests.locks import holding
from tests.sides import JiraSide, Side, both, on_github, on_jira
from tests.synced import Pause, all_of, later, spent
from tests.world import World

TAKEN_BACK = ["Withdrawn. Sorry for the noise."]


async def _withdraw(world: World, run: int, body: Any = None) -> Any:
    """Ask, and do all that follows; the withdrawal as it is then."""
    asked = await world.send("POST", f"/runs/{run}/withdraw", body, expect=202)
    await world.drain()
    return await world.send("GET", f"/runs/{asked['id']}")


async def test_every_comment_of_the_run_becomes_one_line(world: World, side: Side, clock: Clock) -> None:
    older = side.add("Older")
    await side.sync()
    keys = [side.add() for _ in range(3)]
    resolved = side.add("Resolved meanwhile")
    run = await side.sync()
    side.label(resolved, "kr:KR-1")
    await side.sync()
    withdrawal = await _withdraw(world, run["id"])
    assert (withdrawal["mode"], withdrawal["state"]) == ("withdraw", "succeeded")
    assert (withdrawal["writes"]["withdrawn"], withdrawal["writes"]["pending"]) == (4, 0)
    for key in (*keys, resolved):
        assert side.comments(key) == TAKEN_BACK
        notice = await side.notice(key)
        assert (notice["state"], notice["reason"]) == ("withdrawn", "run_withdrawn")
        assert notice["run"] == withdrawal["id"]
    assert "not linked to a key result" in side.comments(older)[0]
    # Asked again it is the same run, and does nothing.
    side.tracker.log.clear()
    assert (await _withdraw(world, run["id"]))["id"] == withdrawal["id"]
    for mode in ("incremental", "full"):
        await side.sync(mode)
    assert side.tracker.log.count(side.edits) + side.tracker.log.count(side.creates) == 0


@both
async def test_an_answer_nobody_can_read_delays_it_and_no_more(
    world: World, side: Side, runtime: Runtime, clock: Clock
) -> None:
    keys = [side.add() for _ in range(2)]
    run = await side.sync()
    side.tracker.faults.add(side.reads, faults.proxy_page(200))
    withdrawal = await _withdraw(world, run["id"])
    assert (withdrawal["writes"]["withdrawn"], withdrawal["writes"]["pending"]) == (1, 1)
    await later(world, runtime, clock, minutes=2)
    assert [side.comments(key) for key in keys] == [TAKEN_BACK] * 2


@on_github
async def test_deletions_are_no_edits(world: World, side: Side, runtime: Runtime, clock: Clock) -> None:
    """The hour's edits are spent: what is to be edited waits, and says so; what is to be deleted goes."""
    edited, deleted = side.add(), side.add()
    runs = {edited: (await side.sync())["id"]}
    other = side.add()
    runs[other] = (await side.sync())["id"]
    await spent(runtime, EDITS_AN_HOUR, clock.now)
    waiting = await _withdraw(world, runs[other])
    assert waiting["writes"]["pending"] == 1
    detail = (await side.notice(other))["detail"]
    then = clock() + timedelta(hours=1)
    assert detail == f"60 comments were edited within the hour; it goes on at {then:%H:%M} UTC."
    gone = await _withdraw(world, runs[edited], {"delete": True})
    assert (gone["writes"]["withdrawn"], gone["writes"]["pending"]) == (2, 0)
    assert (side.comments(edited), side.comments(deleted)) == ([], [])
    await later(world, runtime, clock, minutes=61)
    assert side.comments(other) == TAKEN_BACK
    assert (await side.notice(other))["detail"] != detail


@on_jira
async def test_who_asks_again_has_it_tried_again(world: World, side: JiraSide) -> None:
    """The project refused five tickets alike, and was left alone for a day."""
    keys = [side.add() for _ in range(6)]
    run = await side.sync()
    side.site.denied.add(("EDIT_OWN_COMMENTS", "SHOP"))
    first = await _withdraw(world, run["id"])
    assert first["writes"]["withdrawn"] == 0
    side.site.denied.clear()
    await _withdraw(world, run["id"])
    assert [side.comments(key) for key in keys] == [TAKEN_BACK] * 6


@on_jira
async def test_it_stays_so_for_this_opening_of_the_finding(world: World, side: Side, clock: Clock) -> None:
    key = side.add()
    run = await side.sync()
    await _withdraw(world, run["id"])
    clock.advance(minutes=5)
    side.describe(key, "Key-Result: KR-77")  # another fact, the same finding
    await side.sync()
    assert side.comments(key) == TAKEN_BACK
    side.describe(key, "Key-Result: KR-1")
    await side.sync()
    clock.advance(minutes=5)
    side.describe(key, "")
    await side.sync()
    (text,) = side.comments(key)
    assert "not linked to a key result" in text


@both
async def test_deleted_where_that_is_allowed(world: World, side: Side) -> None:
    key = side.add()
    run = await side.sync()
    withdrawal = await _withdraw(world, run["id"], {"delete": True})
    assert (side.comments(key), withdrawal["writes"]["withdrawn"]) == ([], 1)
    notice = await side.notice(key)
    assert (notice["state"], notice["reason"], notice["url"]) == ("withdrawn", "run_withdrawn", None)
    await side.sync("full")
    assert side.comments(key) == []


@on_jira
async def test_edited_where_deleting_is_not(world: World, side: JiraSide) -> None:
    key = side.add()
    run = await side.sync()
    side.site.denied |= {("DELETE_OWN_COMMENTS", "SHOP")}
    await _withdraw(world, run["id"], {"delete": True})
    assert side.comments(key) == TAKEN_BACK
    side.allow()
    # One line first, deleted afterwards.
    await _withdraw(world, run["id"], {"delete": True})
    assert side.comments(key) == []


@both
async def test_a_lost_answer_to_a_deletion(world: World, side: Side, runtime: Runtime, clock: Clock) -> None:
    key = side.add()
    run = await side.sync()
    lost = side.tracker.faults.add("DELETE *", faults.lose_answer())
    await _withdraw(world, run["id"], {"delete": True})
    await later(world, runtime, clock, minutes=2)
    assert (lost.struck, side.comments(key)) == (1, [])
    assert ((await side.notice(key))["state"], (await side.notice(key))["pending"]) == ("withdrawn", False)


async def test_what_is_not_written_yet_never_is(
    world: World, side: Side, runtime: Runtime, clock: Clock
) -> None:
    await world.send("PATCH", f"/sources/{side.kind}", {"notices": {"per_run": 2}})
    keys = [side.add() for _ in range(3)]
    guarded = await side.sync()
    await _withdraw(world, guarded["id"])
    for key in keys:
        notice = await side.notice(key)
        assert (notice["state"], notice["reason"]) == ("withdrawn", "run_withdrawn")
        assert "was withdrawn before it was written" in notice["detail"]
    answer = await world.send("POST", "/notices/approve", {"run": guarded["id"]})
    assert answer == {"approved": 0, "skipped": []}
    waiting = side.add()
    side.tracker.faults.add(side.reads, faults.answer(503))  # its write is put off
    run = await side.sync()
    assert (await side.notice(waiting))["pending"]
    await _withdraw(world, run["id"])
    await later(world, runtime, clock, hours=2)
    await side.sync("full")
    assert [side.comments(key) for key in (*keys, waiting)] == [[]] * 4


async def test_a_comment_on_its_way_is_taken_back_when_it_arrives(world: World, side: Side) -> None:
    key = side.add()
    pause = Pause()
    side.tracker.faults.add(side.creates, pause)
    syncing = asyncio.create_task(side.sync())
    await pause.reached.wait()
    (run,) = (await world.send("GET", "/runs"))["items"]
    asked = await world.send("POST", f"/runs/{run['id']}/withdraw")
    assert (asked["writes"]["pending"], len(side.comments(key))) == (1, 1)
    pause.go_on.set()
    await syncing
    await world.drain()
    assert side.comments(key) == TAKEN_BACK


async def test_a_comment_whose_answer_was_lost_is_found_and_taken_back(
    world: World, side: Side, runtime: Runtime, clock: Clock
) -> None:
    arrived, not_arrived = side.add(), side.add()
    side.tracker.faults.add(side.creates, faults.lose_answer())
    side.tracker.faults.add(side.creates, faults.drop())
    run = await side.sync()
    await _withdraw(world, run["id"])
    await later(world, runtime, clock, seconds=61)
    assert (side.comments(arrived), side.comments(not_arrived)) == (TAKEN_BACK, [])
    for key in (arrived, not_arrived):
        assert (await side.notice(key))["state"] == "withdrawn"


@on_jira
async def test_a_run_withdrawn_while_it_judges_writes_nothing(
    world: World, side: Side, runtime: Runtime, database_url: str
) -> None:
    key = side.add()
    asked = await world.send("POST", "/sources/jira/sync")
    ((source_id,),) = await all_of(runtime, "SELECT id FROM sources")
    async with holding(database_url) as holder:
        await holder.hold("SELECT pg_advisory_xact_lock(%s, %s)", claims.LOCK_TURN, source_id)
        run = asyncio.create_task(pipeline.carry_out(runtime, asked["id"]))
        await holder.until_waiting(1)
        withdrawing = asyncio.create_task(world.send("POST", f"/runs/{asked['id']}/withdraw"))
        await holder.until_waiting(2)
    await asyncio.gather(run, withdrawing)
    await world.drain()
    assert side.comments(key) == [] or side.comments(key) == TAKEN_BACK
    assert (await side.notice(key))["state"] == "withdrawn"


@on_jira
async def test_withdrawing_takes_its_epics_in_the_order_of_their_ids(
    world: World, side: Side, database_url: str
) -> None:
    """The first is held and the second posted: a judge that has the first and wants the second goes on."""
    first, second = side.add(), side.add()
    await side.world.send("PATCH", "/sources/jira", {"notices": {"per_run": 1}})
    run = await side.sync()
    await world.send("POST", "/notices/approve", {"ids": [(await side.notice(second))["id"]]})
    await world.drain()
    row = "SELECT 1 FROM epics WHERE key = %s FOR UPDATE"
    async with holding(database_url) as holder:
        await holder.hold(row, first)
        withdrawing = asyncio.create_task(_withdraw(world, run["id"]))
        await holder.until_waiting(1)
        await holder.hold(row, second)
        await holder.let_go()
        await withdrawing
    assert (side.comments(first), side.comments(second)) == ([], TAKEN_BACK)


@on_jira
async def test_withdrawn_while_it_judged_and_then_broken_down(
    world: World, side: Side, runtime: Runtime
) -> None:
    """What it had judged after the withdrawal is not let go by another run either."""
    key = side.add()
    run = await world.send("POST", "/sources/jira/sync")
    await world.send("POST", f"/runs/{run['id']}/withdraw")
    claimed = await _claimed(runtime, run["id"])
    await reading.read(runtime, *claimed)
    await pipeline.judge_waiting(runtime, *claimed)
    async with runtime.sessions.begin() as session:
        broken = Outcome.broken(RuntimeError())
        await ledger.close_run(
            session, claimed[0], runtime.worker, broken.state, runtime.clock(), broken.error
        )
    assert (await side.notice(key))["state"] == "due"
    await side.sync()
    assert side.comments(key) == []
    assert (await side.notice(key))["reason"] == "run_withdrawn"


async def _claimed(runtime: Runtime, run_id: int) -> tuple[Run, Source]:
    async with runtime.sessions.begin() as session:
        run = await ledger.claim_run(session, run_id, runtime.worker, runtime.clock())
        assert run is not None
        return run, await session.get_one(Source, run.source_id)


@pytest.mark.parametrize("state", ["failed", "held"])
@on_jira
async def test_what_it_had_let_go_and_is_to_be_tried_again_never_is_either(
    world: World, side: Side, runtime: Runtime, clock: Clock, state: str
) -> None:
    """The tracker refused it, or a person approved it and it has to wait for its grace by now."""
    keys = [side.add(), side.add()]
    if state == "held":
        await world.send("PATCH", "/sources/jira", {"notices": {"per_run": 1}})
    side.tracker.faults.add(side.creates, faults.answer(403), times=2)
    run = await side.sync()
    if state == "held":
        await world.send("POST", "/notices/approve", {"run": run["id"]})
        await world.send("PATCH", "/policy", {"grace": "PT2H"})
        await world.drain()
    side.tracker.faults.clear()
    assert [(await side.notice(key))["state"] for key in keys] == [state] * 2
    await _withdraw(world, run["id"])
    await later(world, runtime, clock, hours=3)
    await side.sync("full")
    for key in keys:
        assert (side.comments(key), (await side.notice(key))["reason"]) == ([], "run_withdrawn")


@on_jira
async def test_deletion_asked_for_while_it_is_edited(world: World, side: Side) -> None:
    key = side.add()
    run = await side.sync()
    pause = Pause()
    side.tracker.faults.add(side.edits, pause)
    editing = asyncio.create_task(_withdraw(world, run["id"]))
    await pause.reached.wait()
    await world.send("POST", f"/runs/{run['id']}/withdraw", {"delete": True})
    pause.go_on.set()
    await editing
    await world.drain()
    assert side.comments(key) == []


@on_jira
async def test_the_guards_word_does_not_outlive_the_withdrawal(
    world: World, side: Side, runtime: Runtime, clock: Clock
) -> None:
    """Or those it let pass would come anew, all at once, when their findings open anew."""
    side.add()
    side.tracker.faults.add(side.creates, faults.drop())
    run = await side.sync()
    await _withdraw(world, run["id"])
    await later(world, runtime, clock, seconds=61)
    assert await all_of(runtime, "SELECT state, guard FROM notices") == [("withdrawn", None)]


@pytest.mark.parametrize("mode", ["off", "shadow"])
@on_jira
async def test_it_is_done_whatever_the_mode(world: World, side: Side, mode: str) -> None:
    key = side.add()
    run = await side.sync()
    await side.set_mode(mode)
    await _withdraw(world, run["id"])
    assert side.comments(key) == TAKEN_BACK


@on_jira
async def test_an_edit_it_had_queued_is_another_runs(
    world: World, side: Side, runtime: Runtime, clock: Clock
) -> None:
    key = side.add()
    await side.sync()
    clock.advance(minutes=1)
    side.describe(key, "Key-Result: KR-1")
    side.tracker.faults.add(side.reads, faults.answer(503))
    run = await side.sync()
    assert (await side.notice(key))["run"] == run["id"]
    await _withdraw(world, run["id"])
    assert "not linked" in side.comments(key)[0]
    await later(world, runtime, clock, minutes=2)
    assert "Aligned with KR-1" in side.comments(key)[0]
    assert (await world.send("GET", f"/runs/{run['id']}"))["writes"]["resolved"] == 0


@on_jira
async def test_what_cannot_be_withdrawn(world: World, side: Side) -> None:
    run = await side.sync()
    withdrawal = await _withdraw(world, run["id"])
    await world.refused("POST", "/runs/999/withdraw", status=404)
    await world.refused("POST", f"/runs/{withdrawal['id']}/withdraw", status=409)
    assert "delete" in await world.refused("POST", f"/runs/{run['id']}/withdraw", {"delete": "some"})


# --- disconnecting ------------------------------------------------------------------------------------


@both
async def test_a_tracker_is_disconnected_once_our_comments_are_taken_back(
    world: World, side: Side, runtime: Runtime, clock: Clock
) -> None:
    keys = [side.add(), side.add()]
    await side.sync()
    await world.refused("DELETE", f"/sources/{side.kind}", status=409)
    side.tracker.faults.add(side.edits, faults.answer(503))
    run = await world.send("DELETE", f"/sources/{side.kind}?comments=withdraw", expect=202)
    assert (run["mode"], run["writes"]["pending"]) == ("withdraw", 2)
    source = await world.send("GET", f"/sources/{side.kind}")
    assert (source["leaving_at"] is not None, source["notices"]["mode"]) == (True, "off")
    for method, path, body in (
        ("PATCH", f"/sources/{side.kind}", {"notices": {"mode": "live"}}),
        ("POST", f"/sources/{side.kind}/sync", None),
    ):
        await world.refused(method, path, body, status=409)
    await later(world, runtime, clock, seconds=1)
    await later(world, runtime, clock, hours=1)
    await later(world, runtime, clock, seconds=15)
    assert [side.comments(key) for key in keys] == [TAKEN_BACK, TAKEN_BACK]
    await world.refused("GET", f"/sources/{side.kind}", status=404)


@on_jira
async def test_leaving_them_there_ends_it_at_once(world: World, side: Side) -> None:
    key = side.add()
    await side.sync()
    await world.send("DELETE", "/sources/jira?comments=withdraw", expect=202)
    await world.send("DELETE", "/sources/jira?comments=leave", expect=204)
    await world.drain()
    assert "not linked" in side.comments(key)[0]


@on_jira
async def test_without_a_comment_there_is_nothing_to_wait_for(world: World, side: Side) -> None:
    await side.sync()
    await world.send("DELETE", "/sources/jira?comments=withdraw", expect=204)


@both
async def test_a_ticket_that_was_deleted_has_no_comment_to_take_back(
    world: World, side: Side, runtime: Runtime, clock: Clock
) -> None:
    deleted, there = side.add(), side.add()
    await side.sync()
    side.delete(deleted)
    await side.sync("full")
    await world.send("DELETE", f"/sources/{side.kind}?comments=withdraw", expect=202)
    await world.drain()
    await later(world, runtime, clock, seconds=15)
    assert side.comments(there) == TAKEN_BACK
    await world.refused("GET", f"/sources/{side.kind}", status=404)


@on_jira
async def test_withdrawing_and_disconnecting_at_once(
    world: World, side: Side, runtime: Runtime, database_url: str
) -> None:
    """Both take the source's turn first: the other order was a deadlock."""
    side.add()
    run = await side.sync()
    ((source_id,),) = await all_of(runtime, "SELECT id FROM sources")
    async with holding(database_url) as holder:
        await holder.hold("SELECT pg_advisory_xact_lock(%s, %s)", claims.LOCK_TURN, source_id)
        withdrawing = asyncio.create_task(world.send("POST", f"/runs/{run['id']}/withdraw", expect=202))
        await holder.until_waiting(1)
        leaving = asyncio.create_task(world.send("DELETE", "/sources/jira?comments=withdraw", expect=202))
        await holder.until_waiting(2)
    await asyncio.gather(withdrawing, leaving)


@on_jira
async def test_a_write_whose_run_went_with_its_source_holds_up_nobody(
    world: World, side: Side, runtime: Runtime, clock: Clock
) -> None:
    """Its epic is another source's by now; who judges it next takes it over."""
    orphan, other = side.add(), side.add()
    side.tracker.faults.add(side.reads, faults.answer(503))
    await side.sync()
    async with runtime.sessions.begin() as session:
        await session.execute(
            text("UPDATE notices SET run_id = NULL FROM epics WHERE epics.id = epic_id AND key = :key"),
            {"key": orphan},
        )
    await later(world, runtime, clock, minutes=2)
    assert (side.comments(orphan), len(side.comments(other))) == ([], 1)
    await world.send("PATCH", "/sources/jira", {"notices": {"per_run": 999}})  # has all judged
    await world.drain()
    assert len(side.comments(orphan)) == 1
