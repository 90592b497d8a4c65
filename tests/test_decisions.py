"""Decisions as they are recorded, refused, listed and undone, on epics that no tracker answers for."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import delete, select

from app.runtime import Runtime
from connectors.base import Epic
from mappings.epics.transfers import merge_transferred
from mappings.governance.stages import overdue_pilots
from mappings.tables import DecisionRow, EpicRow, EpicStageRow, SourceRow
from tests.support.clock import Clock
from tests.support.governance import ANN, Committee, change_row, without_times
from tests.support.locks import holding

pytestmark = pytest.mark.database

NOON = datetime(2026, 11, 16, 12, tzinfo=UTC)
PILOT: dict[str, Any] = {"measure": "KR-1", "by": "2026-12-31"}


@pytest.fixture
async def committee(api: httpx.AsyncClient, runtime: Runtime, clock: Clock) -> Committee:
    clock.now = NOON
    return await Committee.on_rows(api, runtime, "SHOP-1", "SHOP-2")


async def _refusal(committee: Committee, status: int, kind: str = "keep", **members: Any) -> str:
    """What the refusal says."""
    return str((await committee.decide(kind, status=status, **members))["detail"])


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "members", "field", "words"),
    [
        ("keep", {"reason": "two\nlines"}, "reason", "one line"),
        ("keep", {"decided_by": []}, "decided_by", "at least 1"),
        ("keep", {"decided_by": [ANN, ANN]}, "decided_by.1.name", "named twice"),
        (
            "keep",
            {"decided_by": [{"name": "Cy Vo", "side": "it"}]},
            "decided_by.0.name",
            "Cy Vo is no attendee",
        ),
        (
            "keep",
            {"decided_by": [{**ANN, "side": "it"}]},
            "decided_by.0.name",
            "came to the review from business",
        ),
        ("keep", {"key_result": "KR-1"}, "key_result", "belongs to `remap`"),
        ("keep", {"measure": "KR-1"}, "measure", "belongs to `pilot`"),
        ("keep", {"goal": "KR-1"}, "goal", "cannot be sent with epic"),
        ("keep", {"goal": "KR-1", "epic": None}, "goal", "only decided about for a conflict"),
        ("keep", {"epic": None}, "epic", "is needed"),
        ("keep", {"epic": {"source": "acme", "key": "SHOP-9"}}, "epic.key", "has no epic"),
        ("keep", {"epic": {"source": "nobody", "key": "SHOP-9"}}, "epic.source", "no source"),
        ("keep", {"item": 99}, "item", "no item of this review"),
        ("remap", {}, "key_result", "is needed"),
        ("remap", {"key_result": "KR-9"}, "key_result", "no key result"),
        ("remap", {"key_result": "KR-3"}, "key_result", "it is missed"),
        ("defer", {}, "by", "until which day"),
        ("defer", {"by": "2026-11-15"}, "by", "is past"),
        ("defer", {"by": "2027-11-18"}, "by", "more than 366 days"),
        ("stop", {"by": "1026-11-15"}, "by", "between 1970 and 2100"),
        ("pilot", {"by": "2026-12-31"}, "measure", "is needed"),
        ("pilot", {"measure": "KR-1"}, "by", "is needed"),
        (
            "pilot",
            {"by": "2026-12-31", "measure": "KR-2"},
            "measure",
            "no baseline and target|is not measured",
        ),
    ],
)
async def test_what_cannot_be_decided_so(
    committee: Committee, kind: str, members: dict[str, Any], field: str, words: str
) -> None:
    await committee.send("PATCH", "/key-results/KR-3", {"state": "missed"})
    await committee.send("PATCH", "/key-results/KR-2", {"metric": None})
    answer = await committee.decide(kind, status=422, **members)
    refused = {error["field"]: error["message"] for error in answer["errors"]}
    assert any(word in refused[field] for word in words.split("|")), refused
    assert (await committee.send("GET", "/decisions"))["items"] == []


async def test_the_last_day_of_a_month_just_before_midnight_is_still_today(
    committee: Committee, clock: Clock
) -> None:
    clock.now = datetime(2026, 11, 30, 23, 30, tzinfo=UTC)
    decided = await committee.decide("defer", by="2026-11-30")
    assert (await committee.epic())["set_aside"]["until"] == "2026-12-01T00:00:00Z"
    assert decided["by"] == "2026-11-30"


async def test_an_epic_that_is_gone_is_not_decided_about(committee: Committee, runtime: Runtime) -> None:
    await change_row(runtime, "SHOP-1", removed_at=NOON, removal_reason="deleted")
    assert "was deleted in the tracker" in await _refusal(committee, 422)


async def test_a_closed_review_takes_no_decision_but_an_undo(committee: Committee) -> None:
    decided = await committee.decide("stop")
    await committee.send("POST", f"/reviews/{committee.review}/close")
    assert "The review is closed" in await _refusal(committee, 409)
    assert (await committee.undo(decided["id"]))["undone_at"] is not None
    await committee.send("POST", "/reviews/99/decisions", committee.body("keep"), 404)


async def test_which_side_was_missing_is_shown(committee: Committee) -> None:
    decided = await committee.decide("keep", decided_by=[ANN])
    assert decided["missing_sides"] == ["it"]
    assert (decided["review"], decided["held_on"]) == (committee.review, "2026-11-16")
    assert decided["recorded_by"] == "admin token"


# --- one after the other -----------------------------------------------------------------------


async def test_a_later_decision_replaces_what_holds_and_undone_brings_it_back(
    committee: Committee, clock: Clock
) -> None:
    states = [await committee.epic()]
    ids = []
    for kind, members in (
        ("stop", {}),
        ("defer", {"by": "2027-01-15"}),
        ("keep", {}),
        ("stop", {"by": "2027-02-01"}),
        ("remap", {"key_result": "KR-2"}),
        ("pilot", PILOT),
    ):
        clock.advance(hours=1)
        ids.append((await committee.decide(kind, **members))["id"])
        states.append(await committee.epic())
    aside = [None if one["set_aside"] is None else one["set_aside"]["kind"] for one in states]
    assert aside == [None, "stop", "defer", None, "stop", None, None]
    alignments = [one["alignment"] for one in states]
    assert alignments == [None, "waived", "waived", "unaligned", "waived", "aligned", "aligned"]
    refused = await committee.undo(ids[0], 409)
    assert f"Undo decision {ids[-1]} first" in refused["detail"]
    for id, before in zip(reversed(ids), reversed(states[:-1]), strict=True):
        clock.advance(hours=1)
        await committee.undo(id)
        after = await committee.epic()
        if before["alignment"] is not None:  # the first decision had it evaluated for the first time
            assert without_times(after) == without_times(before)
    assert "Nothing is left to undo" in (await committee.undo(ids[0], 409))["detail"]
    assert (await committee.stage())["stage"] is None
    listed = (await committee.send("GET", "/decisions?undone=true"))["items"]
    assert [one["id"] for one in listed] == ids[::-1]


async def test_a_kept_dispute_is_over_and_comes_back(committee: Committee, clock: Clock) -> None:
    undone = await committee.decide("stop")
    await committee.undo(undone["id"])
    (found,) = (await committee.epic())["findings"]
    assert found["state"] == "open"
    kept = await committee.decide("keep")
    assert kept["effects"] == []
    assert (await committee.epic())["findings"] == [found]


# --- what a person changed since ---------------------------------------------------------------


async def test_what_a_person_waived_since_stays_theirs(committee: Committee, clock: Clock) -> None:
    decided = await committee.decide("stop")
    (found,) = (await committee.epic())["findings"]
    refused = await committee.send("POST", f"/findings/{found['id']}/reopen", None, 409)
    assert f"is stopped by decision {decided['id']}" in refused["detail"]
    clock.advance(hours=1)
    waiver = {"until": "2027-03-01", "reason": "Law"}
    await committee.send("POST", f"/findings/{found['id']}/waive", waiver)
    undone = await committee.undo(decided["id"])
    assert undone["left"] == ["no-key-result stays waived, as admin token had it since."]
    epic = await committee.epic()
    assert (epic["set_aside"], epic["findings"][0]["reason"]) == (None, "Law")


async def test_links_made_again_are_not_made_twice(committee: Committee) -> None:
    await committee.link("KR-1")
    decided = await committee.decide("remap", key_result="KR-2")
    again = await committee.link("KR-1")
    before = await committee.epic()
    refused = await committee.undo(decided["id"], 409)
    assert refused["detail"].startswith("SHOP-1 was linked to KR-1 again since. Take that link back")
    assert await committee.epic() == before, "never half done"
    await committee.send("DELETE", f"/links/{again['id']}", None, 204)
    await committee.undo(decided["id"])
    assert [link["key_result"] for link in (await committee.epic())["links"]] == ["KR-1"]


async def test_another_primary_link_and_a_deleted_goal_are_named(committee: Committee) -> None:
    await committee.link("KR-1", primary=True)
    decided = await committee.decide("remap", key_result="KR-2")
    other = await committee.link("KR-3", primary=True)
    assert "made primary since" in (await committee.undo(decided["id"], 409))["detail"]
    await committee.send("DELETE", f"/links/{other['id']}", None, 204)
    await committee.send("DELETE", "/key-results/KR-1", None, 204)
    assert (
        "KR-1, which SHOP-1 was linked to, was deleted since"
        in (await committee.undo(decided["id"], 409))["detail"]
    )


async def test_the_oldest_link_is_the_primary_one_again(committee: Committee) -> None:
    for key in ("KR-1", "KR-2", "KR-3"):
        await committee.link(key, weight=2)
    before = await committee.epic()
    decided = await committee.decide("remap", key_result="KR-2")
    assert [link["key_result"] for link in (await committee.epic())["links"]] == ["KR-2"]
    await committee.undo(decided["id"])
    assert (await committee.epic())["links"] == before["links"]


async def test_a_stage_moved_since_is_not_taken_back(committee: Committee, clock: Clock) -> None:
    decided = await committee.decide("pilot", **PILOT)
    clock.advance(hours=1)
    await committee.stage(body={"stage": "idea"})
    refused = await committee.undo(decided["id"], 409)
    assert "The stage of SHOP-1 was changed since: it is at idea" in refused["detail"]


async def test_an_epic_moved_or_removed_since(committee: Committee, runtime: Runtime) -> None:
    decided = await committee.decide("stop")
    await change_row(
        runtime, "SHOP-1", key="CORE-1", project="CORE", removed_at=NOON, removal_reason="deleted"
    )
    shown = await committee.send("GET", f"/decisions/{decided['id']}")
    assert (shown["epic"]["key"], shown["epic_now"]) == ("SHOP-1", None)
    await committee.undo(decided["id"])
    await change_row(runtime, "CORE-1", removed_at=None, removal_reason=None)
    assert (await committee.epic("CORE-1"))["set_aside"] is None


async def test_what_was_decided_stays_where_the_source_goes(committee: Committee, runtime: Runtime) -> None:
    decided = await committee.decide("pilot", **PILOT)
    async with runtime.sessions.begin() as session:
        await session.execute(delete(SourceRow))
    (shown,) = (await committee.send("GET", "/decisions?epic_source=acme&epic_key=shop-1"))["items"]
    assert (shown["id"], shown["epic"]["title"], shown["epic_now"]) == (decided["id"], "SHOP-1", None)
    assert "SHOP-1 is gone from acme" in (await committee.undo(decided["id"], 409))["detail"]


# --- conflicts, goals, the agenda --------------------------------------------------------------


async def test_a_conflict_ends_with_a_decision_and_is_open_again(committee: Committee) -> None:
    about = {"epic": {"source": "acme", "key": "SHOP-1"}, "technical": "A", "business": "B"}
    raised = await committee.send("POST", "/conflicts", about, 201)
    path = f"/conflicts/{raised['id']}/decisions"
    body = {"decision": "stop", "reason": "Agreed", "decided_by": [ANN]}
    other = {"source": "acme", "key": "SHOP-2"}
    refused = await committee.send("POST", path, {**body, "epic": other}, 422)
    assert "that is SHOP-1 in acme" in refused["detail"]
    decided = await committee.send("POST", path, body, 201)
    assert (decided["conflict"], decided["review"], decided["epic"]["key"]) == (raised["id"], None, "SHOP-1")
    why = (await committee.epic())["why"][0]["says"]
    assert why == "Waived: stopped by a decision of 16 November 2026: Agreed."
    assert "was ended by decision" in (await committee.send("POST", path, body, 409))["detail"]
    await committee.undo(decided["id"])
    assert (await committee.send("GET", f"/conflicts/{raised['id']}"))["state"] == "open"
    await committee.send("POST", "/conflicts/99/decisions", body, 404)


async def test_the_goal_of_a_conflict_is_archived_and_as_before(committee: Committee) -> None:
    raised = await committee.send(
        "POST", "/conflicts", {"goal": "KR-1", "technical": "A", "business": "B"}, 201
    )
    conflict = {"conflict": raised["id"], "epic": None, "goal": "kr-1"}
    assert "of a goal must be one of keep, stop" in await _refusal(
        committee, 422, "defer", by="2026-12-01", **conflict
    )
    decided = await committee.decide("stop", **conflict)
    assert (decided["goal"], decided["epic"]) == ("KR-1", None)
    assert decided["effects"] == ["KR-1 is archived; it was active."]
    assert (await committee.send("GET", "/key-results/KR-1"))["state"] == "archived"
    assert [one["id"] for one in (await committee.send("GET", "/decisions?goal=KR-1"))["items"]] == [
        decided["id"]
    ]
    await committee.undo(decided["id"])
    assert (await committee.send("GET", "/key-results/KR-1"))["state"] == "active"
    refused = await committee.send("DELETE", "/key-results/KR-1", None, 409)
    assert f"decision {decided['id']}" in refused["detail"]


async def test_an_item_of_the_agenda_is_done_and_open_again(committee: Committee) -> None:
    item = await committee.send(
        "POST", f"/reviews/{committee.review}/items", {"title": "SHOP-1", "detail": "What now?"}, 201
    )
    decided = await committee.decide("keep", item=item["id"])

    async def state() -> str:
        review = await committee.send("GET", f"/reviews/{committee.review}")
        return next(str(one["state"]) for one in review["items"] if one["id"] == item["id"])

    assert await state() == "done"
    await committee.undo(decided["id"])
    assert await state() == "open"


# --- stages ------------------------------------------------------------------------------------


async def test_the_gates_between_the_stages(committee: Committee, clock: Clock) -> None:
    assert await committee.stage() == {
        "epic": {"source": "acme", "key": "SHOP-1"},
        **dict.fromkeys(("stage", "measure", "by", "entered_at", "changed_by")),
        "overdue": False,
    }
    for refused in ("scale", "done"):
        await committee.stage(body={"stage": refused}, status=409)
    await committee.stage(body={"stage": "idea"})
    for refused in ("scale", "done"):
        await committee.stage(body={"stage": refused}, status=409)
    await committee.stage(body={"stage": "pilot"}, status=422)
    await committee.stage(body={"stage": "idea", **PILOT}, status=422)
    check_in = {"value": 1.5, "confidence": 0.5}
    await committee.send("POST", "/key-results/KR-1/check-ins", check_in, 201)
    clock.advance(hours=1)
    pilot = await committee.stage(body={"stage": "pilot", **PILOT})
    assert (pilot["stage"], pilot["measure"], pilot["by"]) == ("pilot", "KR-1", "2026-12-31")
    refused = await committee.stage(body={"stage": "scale"}, status=409)
    assert "KR-1, the measure of the pilot SHOP-1, was not checked in since" in refused["detail"]
    assert "only a pilot" not in await _refusal(committee, 409, "scale")
    await committee.stage(body={"stage": "done"})
    await committee.stage(body={"stage": "scale"}, status=409)  # not by this way round either
    await committee.stage(body={"stage": "pilot", **PILOT})
    clock.advance(hours=1)
    await committee.send("POST", "/key-results/KR-1/check-ins", check_in, 201)
    decided = await committee.decide("scale")
    assert (await committee.stage())["stage"] == "scale"
    await committee.undo(decided["id"])
    assert (await committee.stage())["by"] == "2026-12-31"
    for stage in ("scale", "done", "scale", "idea"):
        await committee.stage(body={"stage": stage})
    assert (await committee.stage())["measure"] is None


async def test_a_stage_has_a_version(committee: Committee) -> None:
    path = "/api/v1/epics/acme/SHOP-1/stage"
    made = await committee.api.put(path, json={"stage": "idea"})
    assert made.headers["etag"] == '"1"'
    late = await committee.api.put(path, json={"stage": "idea"}, headers={"If-Match": '"9"'})
    assert late.status_code == 412
    fine = await committee.api.put(path, json={"stage": "idea"}, headers={"If-Match": '"1"'})
    assert fine.headers["etag"] == '"2"'
    history = await committee.send("GET", "/audit-log?limit=1")
    assert history["items"][0]["what"] == "stage"


async def test_a_pilot_is_overdue_after_its_day(committee: Committee, runtime: Runtime) -> None:
    await committee.stage(body={"stage": "pilot", **PILOT})
    await committee.stage("SHOP-2", {"stage": "pilot", "measure": "KR-2", "by": "2026-12-30"})
    async with runtime.sessions() as session:
        assert await overdue_pilots(session, date(2026, 12, 30)) == []
        found = await overdue_pilots(session, date(2027, 1, 1))
    assert [(one.key, one.measure, one.due.day) for one in found] == [
        ("SHOP-2", "KR-2", 30),
        ("SHOP-1", "KR-1", 31),
    ]
    refused = await committee.send("DELETE", "/key-results/KR-1", None, 409)
    assert "the pilot SHOP-1" in refused["detail"]


# --- the same epic stored twice ----------------------------------------------------------------


async def test_merged_epics_have_what_both_had(committee: Committee, runtime: Runtime) -> None:
    first = await committee.decide("pilot", "SHOP-1", **PILOT)
    second = await committee.decide("stop", "SHOP-2", by="2026-12-31")
    await committee.stage("SHOP-2", {"stage": "idea"})
    await committee.send("PUT", "/epics/acme/SHOP-2/value", {"answer": "Half as many refunds"})
    about = {"epic": {"source": "acme", "key": "SHOP-2"}, "technical": "A", "business": "B"}
    await committee.send("POST", "/conflicts", about, 201)
    async with runtime.sessions.begin() as session:
        source = (await session.scalars(select(SourceRow))).one()
        row = (await session.scalars(select(EpicRow).where(EpicRow.key == "SHOP-2"))).one()
        on_the_tracker = row.tracker_updated_at + timedelta(days=1)
        ticket = Epic(
            remote_id="SHOP-2", key="SHOP-2", project="SHOP", title="One", url="", type="Epic", status="Open",
            status_category="todo", created_at=row.tracker_created_at, updated_at=on_the_tracker,
        )  # fmt: skip
        await merge_transferred(session, source.id, source.tracker, "SHOP-1", ticket, NOON)
    epic = await committee.epic("SHOP-2")
    aside = {"decision": second["id"], "kind": "stop", "until": "2027-01-01T00:00:00Z"}
    assert (epic["set_aside"], epic["value"]["answer"]) == (aside, "Half as many refunds")
    assert (await committee.stage("SHOP-2"))["stage"] == "pilot", "its own comes first"
    listed = await committee.send("GET", "/decisions?epic_source=acme&epic_key=SHOP-2")
    assert [one["id"] for one in listed["items"]] == [second["id"], first["id"]]
    assert len((await committee.send("GET", "/conflicts"))["items"]) == 1
    await committee.undo(second["id"])
    assert (await committee.epic("SHOP-2"))["set_aside"] is None


# --- two at once -------------------------------------------------------------------------------


async def test_two_decisions_at_once_come_one_after_the_other(
    committee: Committee, database_url: str
) -> None:
    async with holding(database_url) as holder:
        await holder.hold("SELECT 1 FROM epics WHERE key = 'SHOP-1' FOR UPDATE")
        both = [asyncio.create_task(committee.decide(kind)) for kind in ("stop", "keep")]
        await holder.until_waiting(2)
        await holder.let_go()
        decided = [await one for one in both]
    newest = max(decided, key=lambda one: one["id"])
    aside = (await committee.epic())["set_aside"]
    assert (aside is not None) == (newest["decision"] == "stop")
    await committee.undo(newest["id"])
    await committee.undo(min(one["id"] for one in decided))
    assert (await committee.epic())["set_aside"] is None


async def test_an_undo_waits_for_the_sync_that_has_the_epic(
    committee: Committee, runtime: Runtime, database_url: str
) -> None:
    decided = await committee.decide("stop")
    async with holding(database_url) as holder:
        await holder.hold("UPDATE epics SET key = 'CORE-7', project = 'CORE' WHERE key = 'SHOP-1'")
        undoing = asyncio.create_task(committee.undo(decided["id"]))
        await holder.until_waiting(1)
        await holder.let_go()
        await undoing
    epic = await committee.epic("CORE-7")
    assert (epic["project"], epic["set_aside"]) == ("CORE", None)
    async with runtime.sessions() as session:
        rows = list(await session.scalars(select(DecisionRow)))
        stages = list(await session.scalars(select(EpicStageRow)))
    assert ([row.undone_by for row in rows], stages) == (["admin token"], [])
