"""Suggestions behind the login: listed, rejected, taken back; made when asked for, never in a sync."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from app.runtime import Runtime
from mappings.suggestions import cache
from mappings.tables import EpicRow
from tests.support.goals_api import send
from tests.support.stored_epics import evaluate_due_epics, source_with, store, stored_epic
from tests.support.ticket_text import text_lines

pytestmark = pytest.mark.database

EPICS = (
    stored_epic(1, title="One-page checkout", text=text_lines("Too many abandoned baskets")),
    stored_epic(2, title="Checkout: guest baskets"),
    stored_epic(3, title="Office move"),
)
WORDS = {
    "KR-1": "Checkout baskets completed from 61 % to 68 %",
    "KR-2": "Search answers in 200 ms",
    "KR-3": "Warehouse picking below 90 minutes",
}


@pytest.fixture
async def company(application: FastAPI, api: httpx.AsyncClient, runtime: Runtime) -> httpx.AsyncClient:
    for number, (key, title) in enumerate(WORDS.items(), 1):
        await send(api, "POST", "/objectives", {"key": f"O-{number}", "title": f"Area {number}"}, 201)
        await send(api, "POST", f"/objectives/O-{number}/key-results", {"key": key, "title": title}, 201)
    await source_with(api, runtime, EPICS)
    return api


async def _suggested(api: httpx.AsyncClient, epic: str, **params: Any) -> list[dict[str, Any]]:
    answer = await api.get(f"/api/v1/epics/jira/{epic}/suggestions", params=params)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def _keys(items: list[dict[str, Any]]) -> list[str]:
    return [item["key_result"] for item in items]


async def test_the_best_come_first_confident_or_not(company: httpx.AsyncClient) -> None:
    items = await _suggested(company, "SHOP-1")
    assert _keys(items)[0] == "KR-1"
    assert len(items) == 3
    assert items[0].keys() == {"key_result", "title", "score", "confident", "reasons"}
    assert items[0]["title"] == WORDS["KR-1"]
    assert items[0]["reasons"] == [
        "shares “checkout” with the title",
        "shares “baskets” with the description",
    ]
    scores = [item["score"] for item in items]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert not any(item["confident"] for item in await _suggested(company, "SHOP-3"))


@pytest.mark.parametrize(("limit", "number"), [(1, 1), (2, 2), (50, 3)])
async def test_so_many_as_are_asked_for(company: httpx.AsyncClient, limit: int, number: int) -> None:
    assert len(await _suggested(company, "SHOP-1", limit=limit)) == number


@pytest.mark.parametrize("limit", [0, 51, "x"])
async def test_a_limit_out_of_bounds_is_refused(company: httpx.AsyncClient, limit: Any) -> None:
    answer = await company.get("/api/v1/epics/jira/SHOP-1/suggestions", params={"limit": limit})
    assert answer.status_code == 422


async def test_what_people_linked_counts_at_once_and_is_suggested_no_more_for_that_epic(
    company: httpx.AsyncClient, runtime: Runtime
) -> None:
    await evaluate_due_epics(runtime)
    before = await _suggested(company, "SHOP-2")
    await send(
        company, "POST", "/links", {"epic": {"source": "jira", "key": "SHOP-1"}, "key_result": "KR-1"}, 201
    )
    after = await _suggested(company, "SHOP-2")
    assert "1 other epic of SHOP serves it" not in before[0]["reasons"]
    assert "1 other epic of SHOP serves it" in after[0]["reasons"]
    assert "KR-1" not in _keys(await _suggested(company, "SHOP-1"))


async def test_a_rejected_one_is_never_suggested_again_until_that_is_taken_back(
    company: httpx.AsyncClient,
) -> None:
    place = "/api/v1/epics/jira/shop-1/suggestions/kr-1/reject"
    for _ in range(2):
        assert (await company.post(place)).status_code == 204
    assert "KR-1" not in _keys(await _suggested(company, "SHOP-1"))
    assert "KR-1" in _keys(await _suggested(company, "SHOP-2"))
    for _ in range(2):
        assert (await company.delete(place)).status_code == 204
    assert "KR-1" in _keys(await _suggested(company, "SHOP-1"))
    log = (await company.get("/api/v1/audit-log", params={"limit": 2})).json()["items"]
    entries = [(entry["action"], entry["what"], entry["key"]) for entry in log]
    assert sorted(entries) == [
        ("created", "rejection", "jira/SHOP-1 -> KR-1"),
        ("deleted", "rejection", "jira/SHOP-1 -> KR-1"),
    ]


@pytest.mark.parametrize("place", ["github/SHOP-1", "jira/SHOP-9", "jira/SHOP-1/suggestions/KR-9/reject"])
async def test_what_is_not_there_is_404(company: httpx.AsyncClient, place: str) -> None:
    if place.endswith("reject"):
        assert (await company.post(f"/api/v1/epics/{place}")).status_code == 404
        assert (await company.delete(f"/api/v1/epics/{place}")).status_code == 404
    else:
        assert (await company.get(f"/api/v1/epics/{place}/suggestions")).status_code == 404
        answer = await company.post(f"/api/v1/epics/{place}/suggestions/KR-1/reject")
        assert answer.status_code == 404


async def test_a_key_with_a_slash_is_found_encoded(company: httpx.AsyncClient, runtime: Runtime) -> None:
    await store(runtime, "jira", [stored_epic(7, "acme/shop", key="acme/shop#7", title="Checkout")])
    for key in ("acme%2Fshop%237", "acme/shop%237"):
        items = await _suggested(company, key)
        assert items[0]["key_result"] == "KR-1"
        answer = await company.post(f"/api/v1/epics/jira/{key}/suggestions/KR-2/reject")
        assert answer.status_code == 204


# --- descriptions ---------------------------------------------------------------------------------


async def _stored_description(runtime: Runtime, key: str) -> str | None:
    async with runtime.sessions() as session:
        return await session.scalar(select(EpicRow.description).where(EpicRow.key == key))


async def test_the_first_lines_of_a_description_are_stored_as_they_change(
    company: httpx.AsyncClient, runtime: Runtime
) -> None:
    assert await _stored_description(runtime, "SHOP-1") == "Too many abandoned baskets"
    assert await _stored_description(runtime, "SHOP-2") is None
    await evaluate_due_epics(runtime)
    long = replace(EPICS[0], text=text_lines("a\0b", " ", "x" * 3000, "never"))
    await store(runtime, "jira", [long])
    assert await _stored_description(runtime, "SHOP-1") == "ab\n" + "x" * 1996
    async with runtime.sessions() as session:
        due = await session.scalar(select(EpicRow.evaluate_at).where(EpicRow.key == "SHOP-1"))
        assert due is None  # no finding depends on it


async def test_neither_a_sync_nor_an_evaluation_suggests(
    company: httpx.AsyncClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise AssertionError("an index was made")

    monkeypatch.setattr(cache, "_made", refuse)
    await store(runtime, "jira", [stored_epic(8, title="Checkout")])
    await evaluate_due_epics(runtime)
