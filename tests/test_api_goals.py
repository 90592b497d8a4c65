"""Cycles, objectives, key results and check-ins through the API: what is taken, shown and deleted."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import Any

import httpx

from app.api.goal_models import ObjectiveIn
from app.runtime import Runtime
from tests.support.clock import Clock
from tests.support.goals_api import Q4, a_key_result, fields_refused, send
from tests.support.queries import goals_version

OPTIONAL = ObjectiveIn.model_fields.keys() - {"title"}


# --- what is shown ----------------------------------------------------------------------------


async def test_a_cycle_there_and_back(api: httpx.AsyncClient) -> None:
    made = await send(api, "POST", "/cycles", Q4, 201)
    assert {name: made[name] for name in Q4} == Q4
    assert made["objectives"] == 0
    changed = await send(api, "PATCH", "/cycles/2026-q4", {"key": "Q4", "ends": "2027-01-15"})
    assert changed == {**made, "key": "Q4", "ends": "2027-01-15"}
    assert await send(api, "GET", "/cycles/q4") == changed
    await send(api, "DELETE", "/cycles/Q4", None, 204)
    await send(api, "GET", "/cycles/Q4", None, 404)


async def test_an_objective_has_its_defaults(api: httpx.AsyncClient) -> None:
    made = await send(api, "POST", "/objectives", {"title": "  Grow  "}, 201)
    assert made.pop("created_at").endswith("Z")
    assert made == {
        "key": "O-1",
        "title": "Grow",
        "description": None,
        "driver": None,
        "cycle": None,
        "parent": None,
        "owner": None,
        "sponsor": None,
        "weight": 1.0,
        "visibility": "internal",
        "public_label": None,
        "state": "active",
        "key_results": 0,
    }


async def test_what_may_be_left_out_may_be_null(api: httpx.AsyncClient) -> None:
    made = await send(api, "POST", "/objectives", {"title": "Grow", **dict.fromkeys(OPTIONAL)}, 201)
    assert (made["key"], made["weight"], made["visibility"], made["state"]) == (
        "O-1",
        1.0,
        "internal",
        "active",
    )
    nulls = dict.fromkeys(["key", "category", "metric", "due", "state"])
    result = await send(api, "POST", "/objectives/o-1/key-results", {"title": "More", **nulls}, 201)
    assert (result["key"], result["state"], result["objective"]) == ("KR-1", "active", "O-1")
    assert result["metric"] == {"unit": None, "baseline": None, "target": None, "direction": None}


async def test_other_goals_are_named_in_any_case_and_shown_as_stored(api: httpx.AsyncClient) -> None:
    await send(api, "POST", "/cycles", Q4, 201)
    await send(api, "POST", "/objectives", {"key": "Company", "title": "All of it"}, 201)
    body = {"title": "Part", "cycle": "2026-q4", "parent": "COMPANY"}
    made = await send(api, "POST", "/objectives", body, 201)
    assert (made["cycle"], made["parent"]) == ("2026-Q4", "Company")
    assert (await send(api, "GET", "/cycles/2026-Q4"))["objectives"] == 1


async def test_a_key_result_tells_how_far_it_is(api: httpx.AsyncClient, clock: Clock) -> None:
    metric = {"unit": "%", "baseline": 68, "target": 58, "direction": "decrease"}
    key = await a_key_result(api, metric=metric, due="2026-12-15", category="revenue")

    async def measured() -> tuple[Any, ...]:
        shown = await send(api, "GET", f"/key-results/{key}")
        return shown["current"], shown["progress"], shown["confidence"]

    assert await measured() == (68.0, 0.0, None)
    check_ins = f"/key-results/{key}/check-ins"
    first = await send(api, "POST", check_ins, {"value": 63, "confidence": 0.5, "note": "New basket"}, 201)
    assert first["at"] == clock.now.isoformat().replace("+00:00", "Z")
    assert await measured() == (63.0, 0.5, 0.5)
    earlier = (clock.now - timedelta(days=3)).isoformat()
    await send(api, "POST", check_ins, {"value": 70, "confidence": 0.1, "at": earlier}, 201)
    assert await measured() == (63.0, 0.5, 0.5)
    await send(api, "POST", check_ins, {"value": 40, "confidence": 1, "at": clock.now.isoformat()}, 201)
    assert await measured() == (40.0, 1.0, 1.0)
    listed = (await send(api, "GET", check_ins))["items"]
    assert [item["value"] for item in listed] == [40.0, 70.0, 63.0]
    assert {item["key_result"] for item in listed} == {key}
    shown = (await send(api, "GET", "/key-results"))["items"]
    assert shown == [await send(api, "GET", f"/key-results/{key}")]


async def test_a_key_result_is_live_until_its_cycle_is_past(api: httpx.AsyncClient, clock: Clock) -> None:
    today = clock.now.date().isoformat()
    await send(api, "POST", "/cycles", {**Q4, "starts": today, "ends": today}, 201)
    key = await a_key_result(api)
    await send(api, "PATCH", "/objectives/O-1", {"cycle": "2026-Q4"})
    assert (await send(api, "GET", f"/key-results/{key}"))["live"] is True
    clock.advance(days=1)
    assert (await send(api, "GET", f"/key-results/{key}"))["live"] is False


async def test_times_are_utc_whatever_zone_they_came_in(api: httpx.AsyncClient) -> None:
    check_ins = f"/key-results/{await a_key_result(api)}/check-ins"
    body = {"value": 1, "confidence": 1, "at": "2026-01-01T01:00:00+02:00"}
    assert (await send(api, "POST", check_ins, body, 201))["at"] == "2025-12-31T23:00:00Z"
    assert (await send(api, "GET", check_ins))["items"][0]["at"] == "2025-12-31T23:00:00Z"


# --- keys -------------------------------------------------------------------------------------


async def test_a_made_key_is_one_above_the_highest(api: httpx.AsyncClient) -> None:
    for key in ("o-41", "O-007", "O-x", "X-99", f"O-{10**30}"):
        await send(api, "POST", "/objectives", {"key": key, "title": "Given"}, 201)
    assert (await send(api, "POST", "/objectives", {"title": "Made"}, 201))["key"] == "O-42"


async def test_keys_made_at_the_same_time_differ(api: httpx.AsyncClient) -> None:
    body = {"title": "Made"}
    made = await asyncio.gather(*(send(api, "POST", "/objectives", body, 201) for _ in range(8)))
    assert {objective["key"] for objective in made} == {f"O-{number}" for number in range(1, 9)}


async def test_a_key_that_is_taken_is_409_in_any_case(api: httpx.AsyncClient) -> None:
    await send(api, "POST", "/cycles", Q4, 201)
    await send(api, "POST", "/cycles", {**Q4, "key": "2026-q4"}, 409)
    key = await a_key_result(api, key="Mine")
    await send(api, "POST", "/objectives", {"key": "o-1", "title": "Again"}, 409)
    other = await a_key_result(api)
    for path, expected in (("/objectives/O-2", "o-1"), (f"/key-results/{other}", key.upper())):
        problem = await send(api, "PATCH", path, {"key": expected}, 409)
        assert expected in problem["detail"]
    assert (await send(api, "PATCH", f"/key-results/{key}", {"key": "MINE"}))["key"] == "MINE"


# --- change -----------------------------------------------------------------------------------


async def test_a_patch_changes_what_it_names_and_null_takes_back(api: httpx.AsyncClient) -> None:
    body = {"title": "Grow", "owner": "ann", "weight": 3, "state": "draft"}
    made = await send(api, "POST", "/objectives", body, 201)
    changed = await send(
        api, "PATCH", "/objectives/O-1", {"title": "Grow fast", "owner": None, "weight": None}
    )
    assert changed == {**made, "title": "Grow fast", "owner": None, "weight": 1.0}


async def test_a_patch_merges_the_metric(api: httpx.AsyncClient) -> None:
    key = await a_key_result(api, metric={"unit": "%", "baseline": 1, "target": 5, "direction": "increase"})
    changed = await send(api, "PATCH", f"/key-results/{key}", {"metric": {"target": 9, "unit": None}})
    assert changed["metric"] == {"unit": None, "baseline": 1.0, "target": 9.0, "direction": "increase"}
    assert await fields_refused(api, "PATCH", f"/key-results/{key}", {"metric": {"target": 0}}) == [
        "metric.direction"
    ]
    cleared = await send(api, "PATCH", f"/key-results/{key}", {"metric": None})
    assert set(cleared["metric"].values()) == {None}


async def test_a_merge_patch_may_say_that_it_is_one(api: httpx.AsyncClient) -> None:
    await a_key_result(api)
    answer = await api.patch(
        "/api/v1/objectives/O-1",
        content=b'{"title": "Renamed"}',
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert answer.json()["title"] == "Renamed"


async def test_a_stale_version_is_412(api: httpx.AsyncClient) -> None:
    await send(api, "POST", "/cycles", Q4, 201)
    await a_key_result(api)
    for path in ("/cycles/2026-Q4", "/objectives/O-1", "/key-results/KR-1"):
        await _versions_count(api, path)


async def _versions_count(api: httpx.AsyncClient, path: str) -> None:
    url = f"/api/v1{path}"
    seen = (await api.get(url)).headers["ETag"]
    assert seen == '"1"'
    first = await api.patch(url, json={"title": "One"}, headers={"If-Match": seen})
    assert (first.status_code, first.headers["ETag"]) == (200, '"2"')
    late = await api.patch(url, json={"title": "Two"}, headers={"If-Match": seen})
    assert (late.status_code, late.json()["title"]) == (412, "Precondition Failed")
    assert (await api.get(url)).json()["title"] == "One"
    unchanged = await api.patch(url, json={"title": "One"}, headers={"If-Match": '"2"'})
    assert unchanged.headers["ETag"] == '"2"'


# --- delete -----------------------------------------------------------------------------------


async def test_what_is_referred_to_stays_and_says_by_what(api: httpx.AsyncClient) -> None:
    await send(api, "POST", "/cycles", Q4, 201)
    key = await a_key_result(api, key="KR-7")
    await send(api, "PATCH", "/objectives/O-1", {"cycle": "2026-Q4"})
    await send(api, "POST", "/objectives", {"title": "Below", "parent": "O-1"}, 201)
    rule = {"name": "All of SHOP", "when": {"project": "SHOP"}, "key_result": key}
    rule_id = (await send(api, "POST", "/rules", rule, 201))["id"]
    for path, users in (
        ("/cycles/2026-Q4", ["the objective O-1"]),
        ("/objectives/O-1", ["the objective O-2", "the key result KR-7"]),
        ("/key-results/KR-7", ["the rule All of SHOP"]),
    ):
        detail = (await send(api, "DELETE", path, None, 409))["detail"]
        assert all(user in detail for user in users), detail
        assert "`archived`" in detail
    await send(api, "POST", f"/key-results/{key}/check-ins", {"value": 1, "confidence": 1}, 201)
    for path in (f"/rules/{rule_id}", "/key-results/KR-7", "/objectives/O-2", "/objectives/O-1"):
        await send(api, "DELETE", path, None, 204)
    await send(api, "DELETE", "/cycles/2026-Q4", None, 204)


async def test_many_users_are_named_in_short(api: httpx.AsyncClient) -> None:
    await send(api, "POST", "/objectives", {"title": "Above"}, 201)
    for _ in range(6):
        await send(api, "POST", "/objectives", {"title": "Below", "parent": "O-1"}, 201)
    detail = (await send(api, "DELETE", "/objectives/O-1", None, 409))["detail"]
    assert "the objectives O-2, O-3, O-4, O-5, O-6 and more." in detail


# --- as a whole -------------------------------------------------------------------------------


async def test_a_refused_change_is_rolled_back_whole(api: httpx.AsyncClient, runtime: Runtime) -> None:
    """The lock's counter stands for everything written before the refusal."""

    before = await goals_version(runtime)
    await send(api, "POST", "/objectives", {"title": "T", "cycle": "none"}, 422)
    await send(api, "DELETE", "/objectives/none", None, 404)
    assert await goals_version(runtime) == before
    await send(api, "POST", "/objectives", {"title": "T"}, 201)
    assert await goals_version(runtime) == before + 1


async def test_openapi_tells_of_every_field_and_error(api: httpx.AsyncClient) -> None:
    document = (await api.get("/openapi.json")).json()
    named = ("Cycle", "Objective", "KeyResult")
    models = [f"{name}{end}" for name in named for end in ("In", "Out", "Patch")]
    for model in (*models, "Metric", "CheckInIn", "CheckInOut", "AgreementIn", "AgreementOut"):
        for field, schema in document["components"]["schemas"][model]["properties"].items():
            assert schema.get("description"), f"{model}.{field}"
    bodies = [model for model in models if not model.endswith("Out")]
    assert all(document["components"]["schemas"][model].get("examples") for model in bodies)
    for path, operations in document["paths"].items():
        if re.match("/api/v1/(cycles|objectives|key-results)", path):
            for operation in operations.values():
                for parameter in operation.get("parameters", ()):
                    assert parameter.get("description"), f"{path}: {parameter['name']}"
    patch = document["paths"]["/api/v1/objectives/{key}"]["patch"]
    assert {"200", "401", "403", "404", "408", "409", "412", "413", "422", "429", "503"} == set(
        patch["responses"]
    )
    assert set(patch["responses"]["200"]["headers"]) == {"ETag", "Northing-Runs"}
    body = patch["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/ObjectivePatch"}
