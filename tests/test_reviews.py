"""Reviews over the API: what an opening freezes, what later changes leave alone, and what is refused."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
import psycopg
import pytest
from sqlalchemy import delete, event, insert, select, update

from app.database import libpq_url
from app.runtime import Runtime
from mappings.governance.cadence import AFTER_THE_END
from mappings.governance.reviews import last_review
from mappings.tables import (
    ConflictRow,
    CycleRow,
    DecisionRow,
    EpicRow,
    EpicStageRow,
    FindingRow,
    KeyResultRow,
    LinkRow,
    SourceRow,
)
from tests.support.clock import Clock
from tests.support.epic_rows import add_epic, add_goal, add_source
from tests.support.goals_api import Q4, fields_refused, send

pytestmark = pytest.mark.database

ANN = {"name": "Ann Lee", "side": "business"}
BO = {"name": "Bo Ek", "side": "it"}
NOVEMBER = {"cycle": "2026-Q4", "held_on": "2026-11-27", "attendees": [ANN, BO]}
ANN_DECIDED = {"decided_by": [ANN], "recorded_by": "ann", "effects": {}}


@pytest.fixture
async def company(api: httpx.AsyncClient, runtime: Runtime, clock: Clock) -> list[int]:
    """The ids of three open epics, one of them aligned; beside them a finished one. Two key results, one of
    them at risk with a note of its owner."""
    clock.now = datetime(2026, 11, 27, 9, tzinfo=UTC)
    await send(api, "POST", "/cycles", Q4, 201)
    objective = {"key": "O-1", "title": "Orders", "cycle": "2026-Q4", "driver": "growth", "owner": "ann"}
    await send(api, "POST", "/objectives", objective, 201)
    metric = {"unit": "%", "baseline": 2, "target": 4, "direction": "increase"}
    for key in ("KR-1", "KR-2"):
        made = {"key": key, "title": f"Title of {key}", "metric": metric}
        await send(api, "POST", "/objectives/O-1/key-results", made, 201)
    low = {"value": 2.1, "confidence": 0.2, "note": "Nobody works on it."}
    await send(api, "POST", "/key-results/KR-2/check-ins", low, 201)
    async with runtime.sessions.begin() as session:
        source = await add_source(session)
        epics = [
            await add_epic(session, source, f"SHOP-{number}", alignment=alignment)
            for number, alignment in enumerate(("aligned", "unaligned", None), 1)
        ]
        await add_epic(session, source, "SHOP-9", status_category="done", alignment="aligned")
        goal = await session.scalar(select(KeyResultRow.id).where(KeyResultRow.key == "KR-1"))
        session.add(LinkRow(epic_id=epics[0].id, key_result_id=goal, origin="manual", why="said so"))
    return [epic.id for epic in epics]


async def _opened(api: httpx.AsyncClient, **members: Any) -> Any:
    return await send(api, "POST", "/reviews", NOVEMBER | members, 201)


async def _answers(api: httpx.AsyncClient, review: int) -> list[str]:
    """All that is said of a review, byte for byte."""
    paths = [
        "",
        "/epics",
        "/epics?alignment=aligned",
        *(f"/pack?format={name}" for name in ("md", "html", "csv")),
    ]
    return [(await api.get(f"/api/v1/reviews/{review}{path}")).text for path in paths]


# --- frozen -----------------------------------------------------------------------------------


async def test_an_opening_freezes_coverage_goals_and_epics(
    api: httpx.AsyncClient, company: list[int]
) -> None:
    review = await _opened(api)
    assert (review["cycle"], review["epics"], review["previous"], review["changes"]) == (
        "2026-Q4",
        3,
        None,
        None,
    )
    assert (review["coverage"]["aligned"], review["coverage_rate"]) == (1, 0.5)
    assert [one["project"] for one in review["coverage"]["by_project"]] == ["SHOP"]
    ((first, second),) = (one["key_results"] for one in review["objectives"])
    assert (first["key"], first["epics"], first["progress"], first["at_risk"]) == ("KR-1", 1, 0.0, True)
    assert (second["confidence"], second["note"], second["owner"]) == (0.2, "Nobody works on it.", "ann")
    page = await send(api, "GET", f"/reviews/{review['id']}/epics")
    assert [(one["key"], one["alignment"], one["key_results"]) for one in page["items"]] == [
        ("SHOP-1", "aligned", ["KR-1"]),
        ("SHOP-2", "unaligned", []),
        ("SHOP-3", None, []),
    ]
    assert await send(api, "GET", f"/reviews/{review['id']}") == review
    for query, keys in (
        ("alignment=unaligned", ["SHOP-2"]),
        ("project=shop&source=ACME&limit=1", ["SHOP-1"]),
    ):
        page = await send(api, "GET", f"/reviews/{review['id']}/epics?{query}")
        assert [one["key"] for one in page["items"]] == keys, query


@pytest.mark.parametrize("closed", [False, True])
async def test_nothing_that_happens_later_changes_what_a_review_says(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock, company: list[int], closed: bool
) -> None:
    id = (await _opened(api))["id"]
    if closed:
        await send(api, "POST", f"/reviews/{id}/close")
    before = await _answers(api, id)
    clock.advance(days=40)
    await send(api, "PATCH", "/cycles/2026-Q4", {"key": "OLD", "title": "Old", "ends": "2026-12-01"})
    await send(api, "PATCH", "/objectives/O-1", {"key": "O-9", "title": "Renamed", "weight": 9})
    await send(api, "PATCH", "/key-results/KR-1", {"key": "KR-9", "title": "Renamed", "state": "missed"})
    await send(
        api, "POST", "/key-results/KR-2/check-ins", {"value": 4, "confidence": 1, "note": "Done."}, 201
    )
    await send(api, "POST", "/key-results/KR-2/agreements", {"side": "it", "name": "Bo"}, 201)
    async with runtime.sessions.begin() as session:
        await session.execute(
            update(EpicRow).values(title="Renamed", alignment="exempt", due_on=date(2027, 1, 1), key="X-1")
        )
    assert await _answers(api, id) == before
    async with runtime.sessions.begin() as session:
        await session.execute(delete(LinkRow))
        await session.execute(delete(SourceRow))
        await session.execute(delete(KeyResultRow).where(KeyResultRow.key == "KR-9"))
    assert await _answers(api, id) == before


async def test_an_opening_costs_as_many_statements_for_2000_epics_as_for_three(
    api: httpx.AsyncClient, runtime: Runtime, company: list[int]
) -> None:
    executed: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        executed.append(statement)

    event.listen(runtime.engine.sync_engine, "before_cursor_execute", note)
    try:
        first = (await _opened(api))["id"]
        few = len(executed)
        await send(api, "POST", f"/reviews/{first}/close")
        async with runtime.sessions.begin() as session:
            epic = await session.get_one(EpicRow, company[1])
            left = {"id", "remote_id", "key", "search_text", "description"}
            columns = [column.name for column in EpicRow.__table__.columns if column.name not in left]
            plain = {name: getattr(epic, name) for name in columns}
            rows = [{**plain, "remote_id": f"r{n}", "key": f"BIG-{n}"} for n in range(2_000)]
            await session.execute(insert(EpicRow), rows)
        executed.clear()
        review = await _opened(api, held_on="2026-11-28")
        many = len(executed)
    finally:
        event.remove(runtime.engine.sync_engine, "before_cursor_execute", note)
    assert review["epics"] == 2_003
    assert len([one for one in executed if one.startswith("INSERT INTO review_epics")]) == 1
    # What moved since the first is counted in a few more.
    assert many - few <= 8, (few, many)


async def test_all_parts_are_of_one_moment(
    api: httpx.AsyncClient, runtime: Runtime, company: list[int]
) -> None:
    """Epics change right after coverage was counted."""
    url = libpq_url(runtime.settings.database_url.get_secret_value())  # type: ignore[union-attr]  # the tests give one
    changed: list[int] = []

    def change(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("SELECT epics.source_id, epics.project, epics.alignment") and not changed:
            with psycopg.connect(url) as other:
                changed.append(other.execute("UPDATE epics SET alignment = 'exempt'").rowcount)

    event.listen(runtime.engine.sync_engine, "after_cursor_execute", change)
    try:
        review = await _opened(api)
    finally:
        event.remove(runtime.engine.sync_engine, "after_cursor_execute", change)
    page = await send(api, "GET", f"/reviews/{review['id']}/epics")
    assert changed == [4]
    assert [one["alignment"] for one in page["items"]] == ["aligned", "unaligned", None]


# --- since the review before ------------------------------------------------------------------


async def test_what_moved_since_the_review_before(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock, company: list[int]
) -> None:
    first = await _opened(api, held_on="2026-11-20")
    await send(api, "POST", f"/reviews/{first['id']}/close")
    await send(api, "POST", "/key-results/KR-1/check-ins", {"value": 3, "confidence": 0.8}, 201)
    async with runtime.sessions.begin() as session:
        await session.execute(
            update(EpicRow)
            .where(EpicRow.id == company[0])
            .values(alignment="unaligned", due_on=date(2026, 12, 9))
        )
        await session.execute(update(EpicRow).where(EpicRow.id == company[1]).values(status_category="done"))
        source = (await session.scalars(select(SourceRow))).one()
        await add_epic(session, source, "SHOP-4", alignment="aligned")
    review = await _opened(api)
    changes = review["changes"]
    assert (
        review["previous"]
        == changes["previous"]
        == {"id": first["id"], "cycle": "2026-Q4", "held_on": "2026-11-20"}
    )
    assert changes["coverage"]["aligned"] == {"before": 1, "after": 1}
    assert changes["alignment"]["moves"] == [{"before": "aligned", "after": "unaligned", "epics": 1}]
    assert [one["key"] for one in changes["alignment"]["epics"]] == ["SHOP-1"]
    assert (changes["due"]["count"], changes["due"]["gained"], changes["new"], changes["left"]) == (
        1,
        1,
        1,
        1,
    )
    (moved,) = changes["key_results"]
    assert (moved["key"], moved["progress"]) == ("KR-1", {"before": 0.0, "after": 0.5})
    for query, keys in (("alignment", ["SHOP-1"]), ("due", ["SHOP-1"]), ("new", ["SHOP-4"])):
        page = await send(api, "GET", f"/reviews/{review['id']}/epics?changed={query}")
        assert [one["key"] for one in page["items"]] == keys, query
    async with runtime.sessions() as session:
        for day, held_on in (
            ("2026-11-28", "2026-11-27"),
            ("2026-11-27", "2026-11-20"),
            ("2026-11-20", None),
        ):
            row = await last_review(session, date.fromisoformat(day))
            assert (row and row.held_on.isoformat()) == held_on, day


async def test_cycles_that_overlap_have_their_own_reviews_and_see_each_others_decisions(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock, company: list[int]
) -> None:
    async with runtime.sessions.begin() as session:
        session.add(_finding(company[1], "disputed", reason="It is plumbing.", by="dev-lead"))
    year = {
        "key": "2026",
        "title": "The year",
        "starts": "2026-01-01",
        "ends": "2026-12-31",
        "review": "quarterly",
    }
    await send(api, "POST", "/cycles", year, 201)
    quarter, whole = await _opened(api), await _opened(api, cycle="2026")
    assert (quarter["id"] != whole["id"], whole["previous"]) == (True, None)
    later = await _decide(runtime, clock, company[1], review=quarter["id"])
    for review, expected in ((whole, [(quarter["id"], later, "keep")]), (quarter, [])):
        shown = await send(api, "GET", f"/reviews/{review['id']}")
        (line,) = (one for one in shown["items"] if one["kind"] == "dispute")
        found = [(one["review"], one["decision"], one["what"]) for one in line["decided_elsewhere"]]
        assert found == expected
        assert [one["decision"] for one in shown["decisions"]] == ([] if expected else ["keep"])
    async with runtime.sessions.begin() as session:
        await session.execute(update(DecisionRow).values(undone_at=clock.now))
    clock.advance(hours=1)
    await send(api, "POST", f"/reviews/{whole['id']}/close")
    shown = await send(api, "GET", f"/reviews/{whole['id']}")
    assert [one["decided_elsewhere"] for one in shown["items"] if one["kind"] == "dispute"] == [[]], "undone"


async def test_what_a_review_dealt_with_is_not_on_the_next_agenda(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock, company: list[int]
) -> None:
    await _decide(runtime, clock, company[1], what="defer", by_date=date(2026, 11, 20))
    found = []
    for day, state in ((27, "skipped"), (28, "done"), (29, "open")):
        clock.now = datetime(2026, 11, day, 9, tzinfo=UTC)
        review = await send(api, "POST", "/reviews", {**NOVEMBER, "held_on": f"2026-11-{day}"}, 201)
        lines = [one["id"] for one in review["items"] if one["kind"] == "decision"]
        found.append(len(lines))
        for line in lines:
            await send(api, "PATCH", f"/reviews/{review['id']}/items/{line}", {"state": state})
        await send(api, "POST", f"/reviews/{review['id']}/close")
    assert found == [1, 1, 0]


async def _decide(
    runtime: Runtime, clock: Clock, epic: int, review: int | None = None, what: str = "keep", **members: Any
) -> int:
    async with runtime.sessions.begin() as session:
        row = DecisionRow(
            review_id=review,
            epic_id=epic,
            epic_source="acme",
            epic_key="SHOP-2",
            epic_title="SHOP-2",
            decision=what,
            reason="Because.",
            decided_at=clock.now,
            **(ANN_DECIDED | members),
        )
        session.add(row)
        await session.flush()
        return row.id


def _finding(epic: int, state: str, **members: Any) -> FindingRow:
    moment = datetime(2026, 11, 1, tzinfo=UTC)
    return FindingRow(
        epic_id=epic,
        check="no-key-result",
        state=state,
        severity="warning",
        detail="none",
        opened_at=moment,
        changed_at=moment,
        **members,
    )


# --- the agenda -------------------------------------------------------------------------------


async def test_the_agenda_is_made_from_what_is_open(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock, company: list[int]
) -> None:
    linked, unaligned, third = company
    decided = await _decide(runtime, clock, unaligned, what="defer", by_date=date(2026, 11, 27))
    replaced = await _decide(runtime, clock, third, what="defer", by_date=date(2026, 11, 1))
    await _decide(runtime, clock, third)
    async with runtime.sessions.begin() as session:
        source = (await session.scalars(select(SourceRow))).one()
        stop = await _decide(runtime, clock, third, what="stop")
        await session.execute(
            update(EpicRow)
            .where(EpicRow.id == third)
            .values(set_aside="stop", set_aside_decision_id=stop, status_category="doing")
        )
        waived = await add_epic(session, source, "SHOP-5", alignment="waived")
        snoozed = await add_epic(session, source, "SHOP-6", alignment="unaligned")
        session.add_all(
            [
                _finding(linked, "disputed", reason="It is plumbing.", by="dev-lead"),
                _finding(unaligned, "open"),
                _finding(snoozed.id, "snoozed"),
                _finding(waived.id, "waived", reason="Agreed", until=datetime(2027, 1, 1, tzinfo=UTC)),
                EpicStageRow(epic_id=unaligned, stage="pilot", due=date(2026, 11, 26), entered_at=clock.now),
                ConflictRow(
                    epic_id=linked,
                    technical="One a second.",
                    business="By Friday.",
                    raised_at=clock.now - timedelta(days=30),
                ),
                ConflictRow(epic_id=third, technical="New.", business="New.", raised_at=clock.now),
            ]
        )
        closed = await add_goal(session, "KR-0", ends=date(2026, 9, 30))
        session.add(LinkRow(epic_id=unaligned, key_result_id=closed.id, origin="manual", why="said so"))
        finding = _finding(unaligned, "open")
        finding.check = "closed-goal"
        session.add(finding)
    review = await _opened(api)
    lines = {one["kind"]: one for one in review["items"]}
    assert [one["kind"] for one in review["items"]] == [
        *(
            "coverage",
            "at-risk",
            "at-risk",
            "dispute",
            "conflict",
            "findings",
            "closed-goal",
            "to-sign",
            "waiver",
        ),
        *("decision", "pilot", "stopped"),
    ]
    assert "“It is plumbing.” dev-lead" in lines["dispute"]["detail"]
    assert lines["dispute"]["about"] == {"epic": {"source": "acme", "key": "SHOP-1"}}
    assert lines["decision"]["about"]["decision"] == decided != replaced
    assert lines["waiver"]["detail"] == "Its waiver ends on 31 Dec 2026. Reason: “Agreed”"
    assert lines["closed-goal"]["about"]["key_result"] == "KR-0"
    assert (
        lines["closed-goal"]["detail"]
        == "Its cycle ended on 2026-09-30, and 1 open epic serves nothing else."
    )
    assert lines["findings"]["facts"] == {"source": "acme", "project": "SHOP", "findings": 2}
    for kind, number in (("findings", 2), ("closed-goal", 1)):
        filters = lines[kind]["about"]["filters"]
        listed = await send(api, "GET", f"/epics?{urlencode(filters)}")
        assert len(listed["items"]) == number, filters
    assert [one["mitigation_asked"] for one in review["items"]][:3] == [False, True, True]


async def test_red_only_since_two_weeks_before_the_end_is_late_red(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock, company: list[int]
) -> None:
    for day, value, confidence in ((1, 3.5, 0.9), (20, 3.5, 0.1)):
        check_in = {"value": value, "confidence": confidence, "at": f"2026-12-{day:02}T09:00:00Z"}
        clock.now = datetime(2026, 12, day, 10, tzinfo=UTC)
        await send(api, "POST", "/key-results/KR-1/check-ins", check_in, 201)
    review = await _opened(api, held_on="2026-12-21")
    found = [(one["kind"], one["about"]["key_result"]) for one in review["items"] if one["mitigation_asked"]]
    assert found == [("at-risk", "KR-2"), ("late-red", "KR-1")]


async def test_lines_are_dealt_with_until_the_review_is_closed(
    api: httpx.AsyncClient, company: list[int]
) -> None:
    review = await _opened(api)
    lines = f"/reviews/{review['id']}/items"
    risk = next(one["id"] for one in review["items"] if one["mitigation_asked"])
    done = await send(api, "PATCH", f"{lines}/{risk}", {"state": "done", "mitigation": " Two more people. "})
    assert (done["state"], done["mitigation"], bool(done["changed_by"])) == ("done", "Two more people.", True)
    assert "Two more people." in (await api.get(f"/api/v1/reviews/{review['id']}/pack?format=md")).text
    assert (await send(api, "PATCH", f"{lines}/{risk}", {"mitigation": ""}))["mitigation"] is None
    own = await send(api, "POST", lines, {"title": "Budget", "detail": "Of 2027"}, 201)
    assert (own["kind"], own["position"]) == ("own", len(review["items"]) + 1)
    assert await fields_refused(api, "PATCH", f"{lines}/{risk}", {"state": "gone"}) == ["state"]
    assert await fields_refused(api, "POST", lines, {"title": " "}) == ["title"]
    await send(api, "PATCH", f"{lines}/{own['id'] + 1}", {"state": "done"}, 404)
    closed = await send(api, "POST", f"/reviews/{review['id']}/close")
    assert (closed["open_items"], closed["all_items"]) == (len(review["items"]), len(review["items"]) + 1)
    await send(api, "PATCH", f"{lines}/{risk}", {"state": "skipped"}, 409)
    await send(api, "POST", lines, {"title": "Too late"}, 409)


# --- opening and closing ----------------------------------------------------------------------


async def test_of_reviews_opened_at_one_moment_one_is_made(
    api: httpx.AsyncClient, company: list[int]
) -> None:
    answers = await asyncio.gather(*(api.post("/api/v1/reviews", json=NOVEMBER) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert len((await send(api, "GET", "/reviews"))["items"]) == 1


async def test_a_review_is_opened_once_and_closed_once(api: httpx.AsyncClient, company: list[int]) -> None:
    id = (await _opened(api))["id"]
    other = NOVEMBER | {"held_on": "2026-11-28"}
    assert f"(id {id}) is still open" in (await send(api, "POST", "/reviews", other, 409))["detail"]
    closed = await send(api, "POST", f"/reviews/{id}/close")
    assert (closed["state"], closed["missing_sides"], closed["closed_at"]) == (
        "closed",
        [],
        "2026-11-27T09:00:00Z",
    )
    await send(api, "POST", f"/reviews/{id}/close", status=409)
    await send(api, "PATCH", f"/reviews/{id}", {"attendees": []}, 409)
    assert "is there already" in (await send(api, "POST", "/reviews", NOVEMBER, 409))["detail"]
    second = await _opened(api, held_on="2026-11-28")
    await send(api, "PATCH", f"/reviews/{second['id']}", {"held_on": "2026-11-27"}, 409)
    for query, ids in (
        ("", [second["id"], id]),
        ("?state=open", [second["id"]]),
        ("?cycle=2026-q4&state=closed", [id]),
    ):
        page = await send(api, "GET", f"/reviews{query}")
        assert [one["id"] for one in page["items"]] == ids, query


@pytest.mark.parametrize(
    ("attendees", "missing"),
    [
        ([], ["business", "it"]),
        ([ANN], ["it"]),
        ([BO], ["business"]),
        ([ANN, {"name": "P", "side": "partner"}], ["it"]),
    ],
)
async def test_the_missing_side_is_named_at_closing(
    api: httpx.AsyncClient, company: list[int], attendees: list[Any], missing: list[str]
) -> None:
    review = await _opened(api, attendees=attendees)
    assert review["missing_sides"] == missing
    assert (await send(api, "POST", f"/reviews/{review['id']}/close"))["missing_sides"] == missing
    assert (await api.get(f"/api/v1/reviews/{review['id']}/pack?format=md")).text.count("Nobody from") == len(
        missing
    )


async def test_who_came_can_be_changed_until_it_is_closed(api: httpx.AsyncClient, company: list[int]) -> None:
    path = f"/api/v1/reviews/{(await _opened(api, attendees=[]))['id']}"
    tag = (await api.get(path)).headers["etag"]
    changed = await api.patch(
        path, json={"attendees": [ANN], "held_on": "2026-11-30"}, headers={"If-Match": tag}
    )
    assert (changed.status_code, changed.json()["missing_sides"], changed.json()["held_on"]) == (
        200,
        ["it"],
        "2026-11-30",
    )
    stale = await api.patch(path, json={"attendees": [BO]}, headers={"If-Match": tag})
    assert stale.status_code == 412
    assert changed.headers["etag"] != tag


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"cycle": "2027-Q1"}, "cycle"),
        ({"held_on": "2026-09-30"}, "held_on"),
        ({"held_on": "2027-02-01"}, "held_on"),
        ({"held_on": "2199-01-01"}, "held_on"),
        ({"held_on": "2026-11-27T00:00:00+14:00"}, "held_on"),
        ({"attendees": [ANN, {"name": "ANN LEE", "side": "it"}]}, "attendees.1.name"),
        ({"attendees": [{"name": "Ann", "side": "boss"}]}, "attendees.0.side"),
        ({"attendees": [{"name": " ", "side": "it"}]}, "attendees.0.name"),
        ({"attendees": [{"name": f"P {n}", "side": "it"} for n in range(101)]}, "attendees"),
    ],
)
async def test_bad_input(
    api: httpx.AsyncClient, company: list[int], members: dict[str, Any], field: str
) -> None:
    assert await fields_refused(api, "POST", "/reviews", NOVEMBER | members) == [field]
    assert (await send(api, "GET", "/reviews"))["items"] == []


async def test_a_days_last_minutes_are_that_day_whatever_the_zone_of_the_people(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock
) -> None:
    """23:30 UTC on 31 October is the 1st of November where it is 14 hours later."""
    clock.now = datetime(2026, 10, 31, 23, 30, tzinfo=UTC)
    october = {
        "key": "OCT",
        "title": "October",
        "starts": "2026-10-01",
        "ends": "2026-10-31",
        "review": "monthly",
    }
    await send(api, "POST", "/cycles", october, 201)
    await send(api, "POST", "/objectives", {"key": "O-1", "title": "Orders", "cycle": "OCT"}, 201)
    await send(api, "POST", "/objectives/O-1/key-results", {"key": "KR-1", "title": "Conversion"}, 201)
    review = await send(api, "POST", "/reviews", {"cycle": "oct", "held_on": "2026-10-31"}, 201)
    assert (review["held_on"], review["frozen_at"]) == ("2026-10-31", "2026-10-31T23:30:00Z")
    assert [one["live"] for one in review["objectives"][0]["key_results"]] == [True]
    assert (await send(api, "GET", "/reviews"))["due"] == []


async def test_the_cycles_to_review_are_named(
    api: httpx.AsyncClient, clock: Clock, company: list[int]
) -> None:
    expected = {
        "cycle": "2026-Q4",
        "title": "Fourth quarter",
        "review": "monthly",
        "since": "2026-10-01",
        "due_on": "2026-10-31",
        "late": True,
        "last": None,
    }
    assert (await send(api, "GET", "/reviews"))["due"] == [expected]
    await _opened(api)
    assert (await send(api, "GET", "/reviews"))["due"] == []
    clock.advance(days=7)
    (due,) = (await send(api, "GET", "/reviews?cycle=2026-q4"))["due"]
    assert (due["since"], due["late"], due["last"]) == ("2026-12-01", False, "2026-11-27")
    clock.now = datetime(2026, 12, 31, tzinfo=UTC) + AFTER_THE_END + timedelta(days=1)
    assert (await send(api, "GET", "/reviews"))["due"] == []


async def test_a_cycle_that_was_reviewed_cannot_be_deleted(api: httpx.AsyncClient, runtime: Runtime) -> None:
    await send(api, "POST", "/cycles", Q4, 201)
    await send(api, "POST", "/reviews", NOVEMBER, 201)
    problem = await send(api, "DELETE", "/cycles/2026-Q4", status=409)
    assert "the review of 2026-11-27" in problem["detail"]
    async with runtime.sessions() as session:
        assert (await session.scalars(select(CycleRow.key))).one() == "2026-Q4"


async def test_the_pack_is_a_file_that_loads_nothing(api: httpx.AsyncClient, company: list[int]) -> None:
    id = (await _opened(api))["id"]
    for name, kind in (("md", "text/markdown"), ("html", "text/html"), ("csv", "text/csv")):
        answer = await api.get(f"/api/v1/reviews/{id}/pack?format={name}")
        assert answer.headers["content-type"] == f"{kind}; charset=utf-8"
        assert (
            answer.headers["content-disposition"]
            == f'attachment; filename="review-2026-Q4-2026-11-27.{name}"'
        )
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert await fields_refused(api, "GET", f"/reviews/{id}/pack?format=pdf", None) == ["format"]
    for path in ("", "/epics", "/pack", "/close"):
        await send(api, "POST" if path == "/close" else "GET", f"/reviews/{id + 1}{path}", status=404)
