"""Criteria, scores, and the epics ranked by them."""

from __future__ import annotations

import asyncio
import csv
import io
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from app.runtime import Runtime
from mappings.governance.criteria import CriterionValues, criteria_version, replace_criteria
from mappings.governance.scores import set_scores
from mappings.tables import AuditEntryRow, EpicRow
from tests.support.clock import Clock
from tests.support.goals_api import fields_refused, send
from tests.support.stored_epics import source_with, stored_epic

pytestmark = pytest.mark.database

VALUE = {"key": "VALUE", "title": "What it is worth", "weight": 3}
EASE = {"key": "EASE", "title": "How easy it is", "weight": 1}
LATER = {"key": "LATER", "title": "Not agreed yet", "weight": 0}
REPORT = "/reports/priorities"


async def _company(api: httpx.AsyncClient, runtime: Runtime, epics: int = 6) -> None:
    await source_with(api, runtime, [stored_epic(number) for number in range(1, epics + 1)])
    await send(api, "PUT", "/criteria", [VALUE, EASE, LATER])


async def _score(api: httpx.AsyncClient, key: str, **scores: float | None) -> Any:
    return await send(api, "PUT", f"/epics/jira/{key}/scores", scores)


def _ranks(report: Any) -> list[tuple[str, int | None, float | None, bool]]:
    return [(one["key"], one["rank"], one["score"], one["tied"]) for one in report["items"]]


# --- criteria ---------------------------------------------------------------------------------


async def test_criteria_are_one_list_in_its_order(api: httpx.AsyncClient) -> None:
    assert await send(api, "GET", "/criteria") == []
    assert await send(api, "PUT", "/criteria", [VALUE, EASE]) == [VALUE, EASE]
    seen = await api.get("/api/v1/criteria")
    changed = [EASE | {"weight": 2.5}, VALUE | {"key": "Value", "title": "Worth"}]
    answer = await api.put("/api/v1/criteria", json=changed, headers={"If-Match": seen.headers["etag"]})
    assert (answer.status_code, answer.json()) == (200, changed)
    stale = await api.put("/api/v1/criteria", json=[], headers={"If-Match": seen.headers["etag"]})
    assert stale.status_code == 412
    assert await send(api, "GET", "/criteria") == changed
    assert await send(api, "PUT", "/criteria", []) == []


@pytest.mark.parametrize(
    ("criteria", "fields"),
    [
        ([VALUE, VALUE | {"key": "value"}], ["1.key"]),
        ([VALUE | {"key": "two words"}], ["0.key"]),
        ([VALUE | {"key": ""}], ["0.key"]),
        ([VALUE | {"title": " "}], ["0.title"]),
        ([VALUE | {"title": "a\0"}], ["0.title"]),
        ([VALUE | {"weight": -1}], ["0.weight"]),
        ([VALUE | {"weight": "3"}], ["0.weight"]),
        ([VALUE | {"weight": True}], ["0.weight"]),
        ([VALUE | {"weight": float("nan")}], ["0.weight"]),
        ([VALUE | {"weight": float("inf")}], ["0.weight"]),
        ([VALUE | {"weight": 1e-300}], ["0.weight"]),
        ([VALUE | {"weight": 0}, EASE | {"weight": 0}], ["0.weight"]),
        ([{"key": "A"}], ["0.title", "0.weight"]),
        ([VALUE | {"colour": "red"}], ["0.colour"]),
        ([VALUE | {"key": f"C{number}"} for number in range(21)], ["body"]),
        ({"key": "A"}, ["body"]),
    ],
)
async def test_criteria_that_are_refused(api: httpx.AsyncClient, criteria: Any, fields: list[str]) -> None:
    assert await fields_refused(api, "PUT", "/criteria", criteria) == fields
    assert await send(api, "GET", "/criteria") == []


async def test_a_criterion_with_scores_is_not_deleted_unasked(
    api: httpx.AsyncClient, runtime: Runtime
) -> None:
    await _company(api, runtime)
    await _score(api, "SHOP-1", VALUE=5, EASE=1)
    await _score(api, "SHOP-2", VALUE=2)
    refused = await send(api, "PUT", "/criteria", [EASE], 409)
    assert "VALUE has the scores of 2 epics, which would be deleted" in refused["detail"]
    assert await send(api, "PUT", "/criteria?scores=drop", [EASE]) == [EASE]
    assert (await send(api, "GET", "/epics/jira/SHOP-1/scores"))["scores"] == {"EASE": 1}
    async with runtime.sessions() as session:
        entries = select(AuditEntryRow.what, AuditEntryRow.key, AuditEntryRow.after)
        deleted = [
            tuple(row) for row in await session.execute(entries.where(AuditEntryRow.action == "deleted"))
        ]
    assert sorted(deleted) == [
        ("criterion", "LATER", None),
        ("criterion", "VALUE", None),
        ("score", "VALUE", {"criterion": "VALUE", "epics": 2}),
    ]


async def test_of_two_lists_at_one_moment_the_second_is_stale(runtime: Runtime) -> None:
    """One waits for the other, and finds another list than the one it was made from."""

    async def put(key: str) -> None:
        async with runtime.transaction() as session:
            criteria = [CriterionValues(key, key, 1)]
            seen = [criteria_version([])]
            await replace_criteria(session, criteria, await runtime.now(session), versions=seen)

    results = await asyncio.gather(put("A"), put("B"), return_exceptions=True)
    assert sorted(type(one).__name__ for one in results) == ["NoneType", "StaleVersion"]


# --- scores -----------------------------------------------------------------------------------


async def test_scores_are_merged_and_say_by_whom_and_when(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock
) -> None:
    await _company(api, runtime)
    first = clock.now.isoformat().replace("+00:00", "Z")
    made = await _score(api, "shop-1", value=4)
    given = {"criterion": "VALUE", "score": 4, "by": "admin token", "at": first}
    assert made == {
        "epic": {"source": "jira", "key": "SHOP-1"},
        "scores": {"VALUE": 4},
        "given": [given],
        "missing": ["EASE"],
    }
    clock.advance(days=1)
    later = clock.now.isoformat().replace("+00:00", "Z")
    # The same score again keeps who gave it, and when.
    merged = await _score(api, "SHOP-1", VALUE=4, EASE=2.25)
    assert merged["given"] == [given, given | {"criterion": "EASE", "score": 2.25, "at": later}]
    assert merged["missing"] == []
    assert await _score(api, "SHOP-1") == merged
    assert await send(api, "GET", "/epics/jira/SHOP-1/scores") == merged
    assert (await _score(api, "SHOP-1", VALUE=None, LATER=0))["scores"] == {"EASE": 2.25, "LATER": 0}


@pytest.mark.parametrize(
    ("scores", "fields"),
    [
        ({"WORTH": 3}, ["WORTH"]),
        ({"VALUE": 6, "EASE": -1}, ["VALUE", "EASE"]),
        ({"VALUE": 5.001}, ["VALUE"]),
        ({"VALUE": 1.125}, ["VALUE"]),
        ({"VALUE": True}, ["VALUE"]),
        ({"VALUE": "3"}, ["VALUE"]),
        ({"VALUE": float("nan")}, ["VALUE"]),
        ({"VALUE": float("-inf")}, ["VALUE"]),
        ({"VALUE": [3]}, ["VALUE"]),
        ({"VALUE": 1, "value": 2}, ["value"]),
        ({"VALUE": 3, "": 1}, [""]),
        ([3], ["body"]),
    ],
)
async def test_scores_that_are_refused(
    api: httpx.AsyncClient, runtime: Runtime, scores: Any, fields: list[str]
) -> None:
    await _company(api, runtime, 1)
    assert await fields_refused(api, "PUT", "/epics/jira/SHOP-1/scores", scores) == fields
    assert (await send(api, "GET", "/epics/jira/SHOP-1/scores"))["scores"] == {}


async def test_scores_by_somebody_who_read_older_ones_are_refused(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock
) -> None:
    await _company(api, runtime)
    path = "/api/v1/epics/jira/SHOP-1/scores"
    first = {"If-Match": (await api.get(path)).headers["ETag"]}
    made = await api.put(path, json={"VALUE": 4}, headers=first)
    assert (made.status_code, (await api.get(path)).headers["ETag"]) == (200, made.headers["ETag"])
    stale = await api.put(path, json={"VALUE": 1}, headers=first)
    assert (stale.status_code, (await api.get(path)).json()["scores"]) == (412, {"VALUE": 4})
    assert (await api.put(path, json={"VALUE": 1}, headers={"If-Match": "*"})).status_code == 200


async def test_scores_of_what_is_not_there(api: httpx.AsyncClient, runtime: Runtime, clock: Clock) -> None:
    await source_with(api, runtime, [stored_epic(1)])
    errors = (await send(api, "PUT", "/epics/jira/SHOP-1/scores", {"VALUE": 1}, 422))["errors"]
    assert "no criteria are agreed yet" in errors[0]["message"]
    await send(api, "PUT", "/epics/jira/SHOP-9/scores", {}, 404)
    await send(api, "GET", "/epics/none/SHOP-1/scores", status=404)
    async with runtime.transaction() as session:
        epic = (await session.scalars(select(EpicRow))).one()
        epic.removed_at, epic.removal_reason = clock.now, "deleted"
    await send(api, "PUT", "/epics/jira/SHOP-1/scores", {}, 404)


async def test_two_who_score_at_one_moment_both_count(api: httpx.AsyncClient, runtime: Runtime) -> None:
    await _company(api, runtime)

    async def score(key: str, value: float) -> None:
        async with runtime.transaction() as session:
            await set_scores(session, "jira", "SHOP-1", {key: value}, await runtime.now(session))

    await asyncio.gather(score("VALUE", 1), score("EASE", 2), score("VALUE", 3), score("LATER", 4))
    scores = (await send(api, "GET", "/epics/jira/SHOP-1/scores"))["scores"]
    assert scores.keys() == {"VALUE", "EASE", "LATER"}
    assert scores["VALUE"] in (1, 3)


# --- the ranking ------------------------------------------------------------------------------


async def test_without_criteria_it_says_how_to_begin(api: httpx.AsyncClient, runtime: Runtime) -> None:
    await source_with(api, runtime, [stored_epic(1)])
    report = await send(api, "GET", REPORT)
    assert "PUT /api/v1/criteria" in report["advice"]
    assert (report["open"], report["ranked"], report["unscored"], report["coverage"]) == (1, 0, 1, 0.0)
    assert report["items"] == []
    assert [one["key"] for one in (await send(api, "GET", f"{REPORT}?scored=none"))["items"]] == ["SHOP-1"]


async def test_ties_share_a_rank_and_partly_scored_ones_stand_apart(
    api: httpx.AsyncClient, runtime: Runtime
) -> None:
    await _company(api, runtime, 7)
    await _score(api, "SHOP-5", VALUE=5, EASE=5)
    await _score(api, "SHOP-2", VALUE=4, EASE=0)  # (3 * 4 + 0) / 4
    await _score(api, "SHOP-1", VALUE=3, EASE=3)  # 3 as well, by other scores
    await _score(api, "SHOP-3", VALUE=0, EASE=0)
    await _score(api, "SHOP-4", VALUE=5, LATER=5)
    await _score(api, "SHOP-6", LATER=5)  # of weight 0: it counts nothing
    report = await send(api, "GET", REPORT)
    assert report["advice"] is None
    assert _ranks(report) == [
        ("SHOP-5", 1, 5.0, False),
        ("SHOP-1", 2, 3.0, True),
        ("SHOP-2", 2, 3.0, True),
        ("SHOP-3", 4, 0.0, False),
    ]
    counts = {name: report[name] for name in ("open", "ranked", "partly_scored", "unscored")}
    assert counts == {"open": 7, "ranked": 4, "partly_scored": 1, "unscored": 2}
    assert report["coverage"] == 4 / 7
    partly = await send(api, "GET", f"{REPORT}?scored=partly")
    assert _ranks(partly) == [("SHOP-4", None, None, False)]
    assert partly["items"][0]["missing"] == ["EASE"]
    unscored = await send(api, "GET", f"{REPORT}?scored=none")
    assert [one["key"] for one in unscored["items"]] == ["SHOP-6", "SHOP-7"]


async def test_equal_scores_tie_whatever_the_order_of_adding(
    api: httpx.AsyncClient, runtime: Runtime
) -> None:
    """As binary numbers 0.1 * 3 + 0.2 * 1 + 0.7 * 2 differs with the order of its parts."""
    await source_with(api, runtime, [stored_epic(number) for number in (1, 2)])
    weights = {"A": 0.1, "B": 0.2, "C": 0.7}
    await send(
        api,
        "PUT",
        "/criteria",
        [{"key": key, "title": key, "weight": weight} for key, weight in weights.items()],
    )
    await _score(api, "SHOP-1", A=3, B=1, C=2)
    await _score(api, "SHOP-2", A=1, B=2, C=2)
    assert _ranks(await send(api, "GET", REPORT)) == [
        ("SHOP-1", 1, 1.9, True),
        ("SHOP-2", 1, 1.9, True),
    ]


async def test_it_is_paged_over_ties(api: httpx.AsyncClient, runtime: Runtime) -> None:
    await _company(api, runtime, 9)
    for number, score in enumerate((3, 3, 5, 3, 1, 0, 0, 0), 1):
        await _score(api, f"SHOP-{number}", VALUE=score, EASE=score)
    whole = _ranks(await send(api, "GET", REPORT))
    assert [rank for _, rank, *_ in whole] == [1, 2, 2, 2, 5, 6, 6, 6]
    for limit in (1, 2, 3):
        paged, cursor = [], ""
        while cursor is not None:
            part = await send(api, "GET", f"{REPORT}?limit={limit}&{cursor}")
            paged += _ranks(part)
            assert part["ranked"] == 8
            cursor = part["next"] and f"cursor={part['next']}"
        assert paged == whole
    assert await fields_refused(api, "GET", f"{REPORT}?cursor=x", None) == ["cursor"]


async def test_filters_and_what_stands_beside_each(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock
) -> None:
    await source_with(api, runtime, [stored_epic(1), stored_epic(2), stored_epic(1, "OPS")])
    await send(api, "PUT", "/criteria", [VALUE])
    cycle = {"key": "Q4", "title": "Q4", "starts": "2026-10-01", "ends": "2099-12-31", "review": "monthly"}
    await send(api, "POST", "/cycles", cycle, 201)
    objective = await send(api, "POST", "/objectives", {"title": "O", "driver": "cost", "cycle": "Q4"}, 201)
    goal = await send(api, "POST", f"/objectives/{objective['key']}/key-results", {"title": "Cheaper"}, 201)
    link = {"epic": {"source": "jira", "key": "SHOP-1"}, "key_result": goal["key"]}
    await send(api, "POST", "/links", link, 201)
    for key in ("SHOP-1", "SHOP-2", "OPS-1"):
        await _score(api, key, VALUE=4)

    async def keys(query: str) -> list[str]:
        return [one["key"] for one in (await send(api, "GET", f"{REPORT}?{query}"))["items"]]

    assert await keys("source=JIRA") == ["OPS-1", "SHOP-1", "SHOP-2"]
    assert await keys("project=ops") == ["OPS-1"]
    assert await keys("cycle=q4") == await keys("driver=cost") == ["SHOP-1"]
    assert await keys("driver=none") == []
    for query, field in (("source=none", "source"), ("cycle=Q9", "cycle"), ("driver=x", "driver")):
        assert await fields_refused(api, "GET", f"{REPORT}?{query}", None) == [field]
    (item,) = (await send(api, "GET", f"{REPORT}?cycle=Q4"))["items"]
    assert item["key_result"] == {"key": goal["key"], "title": "Cheaper"}
    assert item["scores"] == {"VALUE": 4}
    async with runtime.transaction() as session:
        for row in await session.scalars(select(EpicRow).order_by(EpicRow.id)):
            if row.key == "SHOP-2":
                row.status_category = "done"
            if row.key == "OPS-1":
                row.removed_at, row.removal_reason = clock.now, "deleted"
    assert await keys("source=jira") == ["SHOP-1"]


async def test_the_file_has_a_line_for_each_and_no_formula(api: httpx.AsyncClient, runtime: Runtime) -> None:
    await source_with(api, runtime, [stored_epic(1, title="=1+1"), stored_epic(2, title="<script>")])
    await send(api, "PUT", "/criteria", [VALUE, EASE])
    for key in ("SHOP-1", "SHOP-2"):
        await _score(api, key, VALUE=4, EASE=0)
    answer = await api.get(f"/api/v1{REPORT}?format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["rank"], row["tied"], row["score"], row["title"]) for row in rows] == [
        ("1", "true", "3.0", "'=1+1"),
        ("1", "true", "3.0", "<script>"),
    ]
    assert (rows[0]["VALUE"], rows[0]["VALUE by"], rows[0]["EASE"]) == ("4.0", "admin token", "0.0")
    assert rows[0]["EASE at"].endswith("Z")
