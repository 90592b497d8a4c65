"""POST /links/bulk: by list and by filter, what is refused as a whole, and what a dry run does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from app.api import links_bulk
from app.runtime import Runtime
from mappings.links.bulk import EVALUATED_AT_ONCE
from tests.support.goals_api import a_key_result, fields_refused, send
from tests.support.lists import item_keys
from tests.support.stored_epics import source_with, stored_epic

pytestmark = pytest.mark.database


def _link(key: str, goal: str = "KR-1", **members: Any) -> dict[str, Any]:
    return {"epic": {"source": "jira", "key": key}, "key_result": goal, **members}


async def _bulk(api: httpx.AsyncClient, **body: Any) -> tuple[list[tuple[str, str]], dict[str, int]]:
    answer = await send(api, "POST", "/links/bulk", body)
    return [(item["epic"]["key"], item["outcome"]) for item in answer["items"]], answer["counts"]


async def test_a_list_is_linked_but_for_what_is_wrong(api: httpx.AsyncClient, runtime: Runtime) -> None:
    await a_key_result(api)
    await source_with(api, runtime, [stored_epic(1), stored_epic(2)])
    await send(api, "POST", "/links", _link("SHOP-2"), 201)
    body = {
        "links": [_link("shop-1", weight=2), _link("SHOP-404"), _link("SHOP-2"), _link("SHOP-1", weight=0)]
    }
    dry = await send(api, "POST", "/links/bulk", {**body, "dry_run": True})
    assert len((await send(api, "GET", "/links"))["items"]) == 1
    answer = await api.post("/api/v1/links/bulk", json=body)
    assert "Northing-Runs" not in answer.headers  # it is evaluated by now
    assert (
        answer.json()
        == dry
        == {
            "items": [
                {
                    "epic": {"source": "jira", "key": "SHOP-1"},
                    "key_result": "KR-1",
                    "outcome": "created",
                    "message": "is a new link",
                },
                {
                    "epic": {"source": "jira", "key": "SHOP-404"},
                    "key_result": "KR-1",
                    "outcome": "error",
                    "message": "epic.key: jira has no epic 'SHOP-404'; sync it first if it is new",
                },
                {
                    "epic": {"source": "jira", "key": "SHOP-2"},
                    "key_result": "KR-1",
                    "outcome": "exists",
                    "message": "is linked already, by hand",
                },
                {
                    "epic": {"source": "jira", "key": "SHOP-1"},
                    "key_result": "KR-1",
                    "outcome": "error",
                    "message": "weight: must be more than 0",
                },
            ],
            "counts": {"created": 1, "exists": 1, "error": 2},
        }
    )
    shown = await send(api, "GET", "/epics/jira/SHOP-1")
    assert (shown["alignment"], [one["weight"] for one in shown["links"]]) == ("aligned", [2])
    assert shown["links"][0]["why"] == "linked by hand through the API, with others"


async def test_what_a_filter_lets_through_is_linked(
    api: httpx.AsyncClient, runtime: Runtime, drain: Callable[[], Awaitable[None]]
) -> None:
    await a_key_result(api)
    growing = [stored_epic(number, labels=("Growth",)) for number in range(1, EVALUATED_AT_ONCE + 2)]
    await source_with(api, runtime, [*growing, stored_epic(60)])
    by = {"filter": {"label": "growth", "sort": "-id"}, "key_result": "kr-1"}
    dry, _ = await _bulk(api, **by, dry_run=True)
    assert dry == [(epic.key, "created") for epic in reversed(growing)]
    answer = await api.post("/api/v1/links/bulk", json=by)
    assert answer.json()["counts"] == {"created": len(growing), "exists": 0, "error": 0}
    await drain()
    run = await send(api, "GET", f"/runs/{answer.headers['Northing-Runs']}")
    assert (run["mode"], run["state"]) == ("evaluate", "succeeded")
    assert await item_keys(api, "/epics?alignment=aligned&limit=500") == [epic.key for epic in growing]
    assert (await _bulk(api, **by))[1] == {"created": 0, "exists": len(growing), "error": 0}


WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["links"]),
    ({"dry_run": True}, ["links"]),
    ({"links": [], "filter": {"q": "a"}}, ["filter"]),
    ({"links": [], "key_result": "KR-1"}, ["key_result"]),
    ({"filter": {"q": "a"}}, ["key_result"]),
    ({"filter": {}, "key_result": "KR-1"}, ["filter"]),
    ({"filter": {"q": " "}, "key_result": "KR-1"}, ["filter"]),
    ({"filter": {"sort": "id", "source": None}, "key_result": "KR-1"}, ["filter"]),
    ({"filter": {"assigned": "ana"}, "key_result": "KR-1"}, ["filter.assigned"]),
    ({"filter": {"source": "none"}, "key_result": "KR-1"}, ["filter.source"]),
    ({"filter": {"check": "none"}, "key_result": "KR-1"}, ["filter.check"]),
    ({"filter": {"driver": "fame"}, "key_result": "KR-1"}, ["filter.driver"]),
    ({"filter": {"q": "a"}, "key_result": "KR-9"}, ["key_result"]),
    ({"links": [_link("SHOP-1", origin="rule")]}, ["links.0.origin"]),
    ({"links": [{"key_result": "KR-1"}]}, ["links.0.epic"]),
    ({"links": [], "dry_run": "yes"}, ["dry_run"]),
    ({"links": [_link("\ud800")]}, ["links.0.epic.key"]),
    ({"links": [_link("SHOP-1", "\ud800")]}, ["links.0.key_result"]),
]


async def test_what_is_no_such_request_is_refused_as_a_whole(
    api: httpx.AsyncClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    await a_key_result(api)
    await source_with(api, runtime, [stored_epic(number, labels=("a",)) for number in (1, 2, 3)])
    for body, fields in WRONG:
        assert await fields_refused(api, "POST", "/links/bulk", body) == fields, body
    monkeypatch.setattr(links_bulk, "MOST_LINKS", 2)
    many = {"links": [_link(f"SHOP-{number}") for number in (1, 2, 3)]}
    by = {"filter": {"label": "A"}, "key_result": "KR-1"}
    for body, message in ((many, "links: are 3; send at most 2"), (by, "filter: lets 3 epics through;")):
        assert message in (await send(api, "POST", "/links/bulk", body, 422))["detail"]
    assert (await send(api, "GET", "/links"))["items"] == []
    assert await _bulk(api, links=[]) == ([], {"created": 0, "exists": 0, "error": 0})


async def test_a_body_with_so_many_links_is_taken(api: httpx.AsyncClient) -> None:
    long = {"epic": {"source": "s" * 64, "key": f"acme/{'r' * 80}#12345"}, "key_result": "KR-1"}
    many = {"links": [long] * links_bulk.MOST_LINKS}
    answer = await send(api, "POST", "/links/bulk", {**many, "dry_run": True})
    assert answer["counts"] == {"created": 0, "exists": 0, "error": 10_000}
    beyond = {"links": [_link("x" * 5 * 1024**2)]}
    assert "4 MB" in (await send(api, "POST", "/links/bulk", beyond, 413))["detail"]
