"""The roadmap: what stands where, how many there are, and what moved since the last review."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from app.runtime import Runtime
from mappings.tables import (
    EpicStageRow,
    EpicValueRow,
    FindingRow,
    ReviewKeyResultRow,
)
from tests.support.clock import Clock
from tests.support.goals_api import fields_refused, send
from tests.support.roadmaps import NOW, TODAY, Company, company_in

pytestmark = pytest.mark.database


@pytest.fixture
async def company(runtime: Runtime, clock: Clock) -> AsyncIterator[Company]:
    clock.now = NOW
    async with runtime.sessions.begin() as session:
        yield await company_in(session)


async def _roadmap(company: Company, api: httpx.AsyncClient, query: str = "") -> Any:
    await company.session.commit()
    return await send(api, "GET", f"/reports/roadmap{query}")


def _keys(group: Any) -> list[str]:
    return [epic["key"] for epic in group["epics"]]


def _of(report: Any, key_result: str) -> Any:
    (group,) = [one for one in report["groups"] if one["key_result"]["key"] == key_result]
    return group


async def test_an_epic_stands_under_its_primary_live_link_and_names_the_others(
    company: Company, api: httpx.AsyncClient
) -> None:
    await company.epic("SHOP-1", "KR-2", "KR-1")
    await company.epic("SHOP-2", "KR-9", "KR-1")  # its primary link is to a closed goal
    await company.epic("SHOP-3", "KR-1", status_category="done")
    await company.epic("SHOP-4", "KR-1", removed_at=NOW)
    report = await _roadmap(company, api)
    first, second = _of(report, "KR-1"), _of(report, "KR-2")
    assert _keys(first) == ["SHOP-2"]
    assert _keys(second) == ["SHOP-1"]
    assert second["epics"][0]["other_key_results"] == ["KR-1"]
    assert (first["total"], first["linked"]) == (1, 2)
    listed = await send(api, "GET", "/epics?key_result=KR-1&open=true")
    assert len(listed["items"]) == first["linked"]


async def test_the_nearest_due_comes_first_and_the_rest_is_counted(
    company: Company, api: httpx.AsyncClient
) -> None:
    for number, due in enumerate([30, -2, None, 5, -10, 12], 1):
        day = None if due is None else TODAY + timedelta(days=due)
        await company.epic(f"SHOP-{number}", "KR-1", due_on=day)
    group = _of(await _roadmap(company, api, "?limit=4"), "KR-1")
    assert _keys(group) == ["SHOP-5", "SHOP-2", "SHOP-4", "SHOP-6"]
    assert (group["total"], group["more"], group["overdue"], group["undated"]) == (6, 2, 2, 1)
    assert [epic["overdue"] for epic in group["epics"]] == [True, True, False, False]


@pytest.mark.parametrize("named", ["parent_remote_id", "parent_key"])
async def test_an_epic_stands_below_its_initiative_where_both_serve_the_same(
    company: Company, api: httpx.AsyncClient, named: str
) -> None:
    part = {"parent_key": "SHOP-9", "parent_remote_id": "SHOP-9" if named == "parent_remote_id" else None}
    await company.epic("SHOP-9", "KR-1")
    await company.epic("SHOP-1", "KR-1", due_on=TODAY)
    await company.epic("SHOP-2", "KR-1", due_on=TODAY - timedelta(days=1), **part)
    await company.epic("SHOP-3", "KR-2", due_on=TODAY, **part)
    report = await _roadmap(company, api, "?limit=2")
    group = _of(report, "KR-1")
    assert [(epic["key"], epic["depth"]) for epic in group["epics"]] == [("SHOP-9", 0), ("SHOP-2", 1)]
    (elsewhere,) = _of(report, "KR-2")["epics"]
    assert (elsewhere["depth"], elsewhere["parent"]) == (0, "SHOP-9")


async def test_epics_that_are_each_others_parents_are_shown_once(
    company: Company, api: httpx.AsyncClient
) -> None:
    await company.epic("SHOP-1", "KR-1", parent_key="SHOP-2", parent_remote_id="SHOP-2")
    await company.epic("SHOP-2", "KR-1", parent_key="SHOP-1", parent_remote_id="SHOP-1")
    assert sorted(_keys(_of(await _roadmap(company, api), "KR-1"))) == ["SHOP-1", "SHOP-2"]


async def test_unaligned_work_stands_apart_by_its_reasons(company: Company, api: httpx.AsyncClient) -> None:
    await company.epic("SHOP-1")
    await company.epic("SHOP-2", "KR-9")
    disputed = await company.epic("SHOP-3")
    company.session.add(
        FindingRow(
            epic_id=disputed.id,
            check="no-key-result",
            state="disputed",
            severity="warning",
            detail="",
            opened_at=NOW,
        )
    )
    apart = (await _roadmap(company, api, "?driver=cost"))["work_without_outcome"]
    assert _keys(apart) == ["SHOP-3", "SHOP-2", "SHOP-1"]
    assert apart["epics"][0]["disputed"]
    assert apart["epics"][1]["closed_key_results"] == ["KR-9"]


async def test_the_rest_is_counted_and_what_a_decision_set_aside_is_shown(
    company: Company, api: httpx.AsyncClient
) -> None:
    await company.epic("SHOP-1", alignment="waived")
    await company.epic("SHOP-2", alignment="exempt")
    await company.epic("SHOP-3", alignment=None)
    await company.epic("SHOP-4", "KR-1", alignment="exempt", set_aside="stop")
    await company.epic(
        "SHOP-5", alignment="exempt", set_aside="defer", set_aside_until=NOW - timedelta(days=1)
    )
    report = await _roadmap(company, api)
    counts = {name: report[name] for name in ("total", "aligned", "exempt", "waived", "not_evaluated")}
    assert counts == {"total": 5, "aligned": 0, "exempt": 3, "waived": 1, "not_evaluated": 1}
    assert _keys(report["set_aside"]) == ["SHOP-4"]


async def test_each_grouping_and_the_file_show_the_same_epics(
    company: Company, api: httpx.AsyncClient
) -> None:
    for number in range(9):
        goals = [["KR-1"], ["KR-2", "KR-1"], []][number % 3]
        await company.epic(f"{'SHOP' if number < 5 else 'PAY'}-{number}", *goals)
    await company.session.commit()
    totals = set()
    for by in ("outcome", "driver", "project"):
        report = await send(api, "GET", f"/reports/roadmap?by={by}&limit=1")
        groups = report["groups"]
        shown = sum(len(group["epics"]) + group["more"] for group in groups)
        assert shown == report["aligned"]
        assert report["aligned"] + report["unaligned"] == report["total"]
        totals.add((report["total"], report["aligned"], report["unaligned"]))
    assert totals == {(9, 6, 3)}
    assert [(group["source"], group["project"]) for group in groups] == [("acme", "PAY"), ("acme", "SHOP")]
    answer = await api.get("/api/v1/reports/roadmap?format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    lines = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(lines) == 9
    assert sum(line["key_result"] != "" for line in lines) == 6


async def test_filters_leave_what_they_name(company: Company, api: httpx.AsyncClient) -> None:
    await company.epic("SHOP-1", "KR-1")
    await company.epic("PAY-1", "KR-2")
    await company.epic("PAY-2")
    growth = await _roadmap(company, api, "?driver=growth")
    assert [group["key_result"]["key"] for group in growth["groups"]] == ["KR-1"]
    assert (growth["aligned"], growth["unaligned"], growth["total"]) == (1, 1, 2)
    pay = await send(api, "GET", "/reports/roadmap?project=pay&source=ACME")
    assert (_of(pay, "KR-1")["total"], _of(pay, "KR-2")["total"], pay["unaligned"]) == (0, 1, 1)
    text = (await api.get("/api/v1/reports/roadmap?format=csv&driver=growth")).text
    assert [line["key"] for line in csv.DictReader(io.StringIO(text))] == ["SHOP-1", "PAY-2"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("source=nowhere", "source"),
        ("cycle=Q0", "cycle"),
        ("from=2026-11-02&to=2026-11-01", "to"),
        ("from=2020-01-01&to=2026-01-01", "to"),
        ("from=yesterday", "from"),
        ("driver=none-such", "driver"),
        ("limit=0", "limit"),
        ("by=colour", "by"),
    ],
)
async def test_what_names_nothing_is_refused(api: httpx.AsyncClient, query: str, field: str) -> None:
    for form in ("json", "csv"):
        assert await fields_refused(api, "GET", f"/reports/roadmap?{query}&format={form}", None) == [field]


# --- what moved -------------------------------------------------------------------------------


async def test_before_the_first_review_nothing_moved(company: Company, api: httpx.AsyncClient) -> None:
    await company.epic("SHOP-1", "KR-1")
    await company.review(NOW + timedelta(hours=1))  # is yet to come
    report = await _roadmap(company, api)
    assert (report["last_review"], report["moves"]) == (None, [])
    assert _of(report, "KR-1")["epics"][0]["moves"] == []


async def test_what_moved_since_the_last_review_is_named_and_counted(
    company: Company, api: httpx.AsyncClient
) -> None:
    day = timedelta(days=1)
    later = await company.epic("SHOP-1", "KR-1", due_on=TODAY)
    earlier = await company.epic("SHOP-2", "KR-1", due_on=TODAY, starts_on=TODAY - 9 * day)
    other = await company.epic("SHOP-3", "KR-2")
    finished = await company.epic("SHOP-4", "KR-1", status_category="done")
    removed = await company.epic("SHOP-5", "KR-1", removed_at=NOW)
    same = await company.epic("SHOP-6", "KR-1", "KR-2")
    undated = await company.epic("SHOP-8", "KR-1")
    await company.epic("SHOP-7")
    frozen = (later, earlier, other, finished, removed, same, undated)
    served = {"key_results": ["KR-1"]}
    await company.review(NOW - 40 * day)  # an older one
    await company.review(
        NOW - 20 * day,
        *frozen,
        SHOP1=served | {"due_on": TODAY - 7 * day},
        SHOP2=served | {"due_on": TODAY + day, "starts_on": TODAY - 8 * day},
        SHOP3=served,
        SHOP6={"key_results": ["KR-2", "KR-1"]},
        SHOP8=served | {"due_on": TODAY},
    )
    report = await _roadmap(company, api)
    moves = {one["kind"]: [(epic["key"], epic["words"]) for epic in one["epics"]] for one in report["moves"]}
    assert moves == {
        "due_later": [("SHOP-1", "due moved from 20 Nov, 7 days later")],
        "due_earlier": [("SHOP-2", "due moved from 28 Nov, 1 day earlier")],
        "due_removed": [("SHOP-8", "had the due date 27 Nov")],
        "start_moved": [("SHOP-2", "start moved from 19 Nov, 1 day earlier")],
        "key_result_moved": [("SHOP-3", "served KR-1, now KR-2")],
        "new": [("SHOP-7", "new since the review")],
        "finished": [("SHOP-4", "finished")],
        "gone": [("SHOP-5", "gone")],
    }
    assert all(one["count"] == len(one["epics"]) for one in report["moves"])
    shown = {epic["key"]: epic["moves"] for group in report["groups"] for epic in group["epics"]}
    assert [move["kind"] for move in shown["SHOP-2"]] == ["due_earlier", "start_moved"]
    assert shown["SHOP-6"] == []
    other_source = await send(api, "GET", "/reports/roadmap?project=PAY")
    assert other_source["moves"] == []


async def test_a_key_result_that_got_another_key_is_the_same(
    company: Company, api: httpx.AsyncClient
) -> None:
    epic = await company.epic("SHOP-1", "KR-1")
    review = await company.review(NOW - timedelta(days=9), epic, SHOP1={"key_results": ["OLD-1"]})
    frozen = {"key_result_id": company.goals["KR-1"].id, "key": "OLD-1", "title": "", "objective": "O"}
    company.session.add(ReviewKeyResultRow(review_id=review.id, facts={}, **frozen))
    assert (await _roadmap(company, api))["moves"] == []


async def test_an_epic_that_was_deleted_is_gone_under_the_name_it_had(
    company: Company, api: httpx.AsyncClient
) -> None:
    epic = await company.epic("SHOP-1", "KR-1")
    await company.review(NOW - timedelta(days=9), epic)
    await company.session.delete(epic)
    (gone,) = (await _roadmap(company, api))["moves"]
    assert (gone["kind"], [one["key"] for one in gone["epics"]]) == ("gone", ["SHOP-1"])


async def test_stage_and_value_stand_beside_the_epic(company: Company, api: httpx.AsyncClient) -> None:
    epic = await company.epic("SHOP-1", "KR-1")
    company.session.add(EpicStageRow(epic_id=epic.id, stage="pilot", entered_at=NOW))
    company.session.add(EpicValueRow(epic_id=epic.id, answer="More orders", driver="growth"))
    (shown,) = _of(await _roadmap(company, api), "KR-1")["epics"]
    assert shown["stage"] == "pilot"
    assert shown["value"] == {"answer": "More orders", "driver": "growth"}
