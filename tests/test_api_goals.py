"""Cycles, objectives, key results and check-ins through the API: what is taken, shown and refused."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import httpx

from app.api.goal_models import ObjectiveIn
from app.runtime import Runtime
from mappings import tables
from tests.conftest import Clock

OPTIONAL = ObjectiveIn.model_fields.keys() - {"title"}
JSON = {"Content-Type": "application/json"}
Q4 = {
    "key": "2026-Q4",
    "title": "Fourth quarter",
    "starts": "2026-10-01",
    "ends": "2026-12-31",
    "review": "monthly",
}


async def send(api: httpx.AsyncClient, method: str, path: str, body: Any = None, status: int = 200) -> Any:
    # Written here, since httpx encodes no lone surrogate.
    content = None if body is None else json.dumps(body)
    answer = await api.request(method, f"/api/v1{path}", content=content, headers=JSON)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


async def fields_refused(api: httpx.AsyncClient, method: str, path: str, body: Any) -> list[str]:
    return [error["field"] for error in (await send(api, method, path, body, 422))["errors"]]


async def a_key_result(api: httpx.AsyncClient, **members: Any) -> str:
    """The key of a new key result in an objective of its own."""
    objective = await send(api, "POST", "/objectives", {"title": "An objective"}, 201)
    path = f"/objectives/{objective['key']}/key-results"
    made = await send(api, "POST", path, {"title": "A key result", **members}, 201)
    return str(made["key"])


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


async def test_a_key_that_is_taken_is_409_in_any_case(api: httpx.AsyncClient) -> None:
    await send(api, "POST", "/cycles", Q4, 201)
    await send(api, "POST", "/cycles", {**Q4, "key": "2026-q4"}, 409)
    key = await a_key_result(api, key="Mine")
    await send(api, "POST", "/objectives", {"key": "o-1", "title": "Again"}, 409)
    other = await a_key_result(api)
    for path, wanted in (("/objectives/O-2", "o-1"), (f"/key-results/{other}", key.upper())):
        problem = await send(api, "PATCH", path, {"key": wanted}, 409)
        assert wanted in problem["detail"]
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


# --- refused ----------------------------------------------------------------------------------

OBJECTIVE, RESULT, CHECK_IN = "/objectives", "/objectives/O-1/key-results", "/key-results/KR-1/check-ins"
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("/cycles", {**Q4, "ends": "2026-09-30"}, "ends"),
    ("/cycles", {**Q4, "starts": "tomorrow"}, "starts"),
    ("/cycles", {**Q4, "starts": 1790000000}, "starts"),
    ("/cycles", {**Q4, "starts": "1790000000"}, "starts"),
    ("/cycles", {**Q4, "starts": "2026-02-30"}, "starts"),
    ("/cycles", {**Q4, "review": "weekly"}, "review"),
    ("/cycles", {**Q4, "key": "a b"}, "key"),
    ("/cycles", {**Q4, "key": "Q4\n"}, "key"),
    ("/cycles", {**Q4, "key": "k" * 65}, "key"),
    ("/cycles", {**Q4, "key": None}, "key"),
    (OBJECTIVE, {}, "title"),
    (OBJECTIVE, {"title": "   "}, "title"),
    (OBJECTIVE, {"title": "a\0b"}, "title"),
    (OBJECTIVE, {"title": "a\ud800b"}, "title"),
    (OBJECTIVE, {"title": "T" * 501}, "title"),
    (OBJECTIVE, {"title": "T", "description": "\0"}, "description"),
    (OBJECTIVE, {"title": "T", "driver": "luck"}, "driver"),
    (OBJECTIVE, {"title": "T", "cycle": "2031"}, "cycle"),
    (OBJECTIVE, {"title": "T", "parent": "O-9"}, "parent"),
    (OBJECTIVE, {"title": "T", "weight": -1}, "weight"),
    (OBJECTIVE, {"title": "T", "weight": "3"}, "weight"),
    (OBJECTIVE, {"title": "T", "weight": 10**400}, "weight"),
    (OBJECTIVE, {"title": "T", "visibility": "confidential"}, "public_label"),
    (OBJECTIVE, {"title": "T", "visibility": "confidential", "public_label": " "}, "public_label"),
    (OBJECTIVE, {"title": "T", "state": "done"}, "state"),
    (OBJECTIVE, {"title": "T", "colour": "red"}, "colour"),
    (RESULT, {"title": "T", "category": "fun"}, "category"),
    (RESULT, {"title": "T", "objective": "O-1"}, "objective"),
    (RESULT, {"title": "T", "due": "2026-12-31T00:00:00Z"}, "due"),
    (RESULT, {"title": "T", "metric": {"target": True}}, "metric.target"),
    (RESULT, {"title": "T", "metric": {"current": 1}}, "metric.current"),
    (RESULT, {"title": "T", "metric": {"unit": "\0"}}, "metric.unit"),
    (
        RESULT,
        {"title": "T", "metric": {"baseline": 5, "target": 1, "direction": "increase"}},
        "metric.direction",
    ),
    (
        RESULT,
        {"title": "T", "metric": {"baseline": 1, "target": 5, "direction": "decrease"}},
        "metric.direction",
    ),
    (CHECK_IN, {"confidence": 1}, "value"),
    (CHECK_IN, {"value": 1}, "confidence"),
    (CHECK_IN, {"value": 1, "confidence": 1.01}, "confidence"),
    (CHECK_IN, {"value": "1", "confidence": 1}, "value"),
    (CHECK_IN, {"value": 1, "confidence": 1, "at": "2026-10-01T12:00:00"}, "at"),
    (CHECK_IN, {"value": 1, "confidence": 1, "at": "2026-10-01"}, "at"),
    (CHECK_IN, {"value": 1, "confidence": 1, "at": "1790000000"}, "at"),
    (CHECK_IN, {"value": 1, "confidence": 1, "at": 1790000000}, "at"),
    (CHECK_IN, {"value": 1, "confidence": 1, "at": "0001-01-01T00:00:00+14:00"}, "at"),
    (CHECK_IN, {"value": 1, "confidence": 1, "at": "9999-12-31T23:59:59-14:00"}, "at"),
    (CHECK_IN, {"value": 1, "confidence": 1, "note": "\0"}, "note"),
]


async def test_wrong_bodies_are_422_on_the_field_and_store_nothing(api: httpx.AsyncClient) -> None:
    await a_key_result(api)
    for path, body, field in REFUSED:
        assert await fields_refused(api, "POST", path, body) == [field], body
    assert (await send(api, "GET", "/cycles"))["items"] == []
    assert len((await send(api, "GET", "/objectives"))["items"]) == 1
    assert len((await send(api, "GET", "/key-results"))["items"]) == 1
    assert (await send(api, "GET", CHECK_IN))["items"] == []


async def test_numbers_are_finite(api: httpx.AsyncClient) -> None:
    key = await a_key_result(api)
    for number in ("NaN", "Infinity", "-Infinity", "1e999"):
        for path, text, field in (
            (f"/key-results/{key}/check-ins", f'{{"value": {number}, "confidence": 1}}', "value"),
            (RESULT, f'{{"title": "T", "metric": {{"target": {number}}}}}', "metric.target"),
        ):
            answer = await api.post(f"/api/v1{path}", content=text, headers=JSON)
            assert answer.status_code == 422, (number, answer.text)
            assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_wrong_patches_change_nothing(api: httpx.AsyncClient) -> None:
    await a_key_result(api)
    for path, patch, field in (
        ("/objectives/O-1", {"title": None}, "title"),
        ("/objectives/O-1", {"key": None}, "key"),
        ("/objectives/O-1", {"parent": "o-1"}, "parent"),
        ("/objectives/O-1", {"visibility": "confidential"}, "public_label"),
        ("/objectives/O-1", {"key_results": 3}, "key_results"),
        ("/key-results/KR-1", {"key": None}, "key"),
        ("/key-results/KR-1", {"current": 3}, "current"),
        ("/key-results/KR-1", [], "body"),
    ):
        before = await send(api, "GET", path)
        assert await fields_refused(api, "PATCH", path, patch) == [field], patch
        assert await send(api, "GET", path) == before


async def test_the_public_label_of_a_confidential_objective_stays(api: httpx.AsyncClient) -> None:
    body = {"title": "Secret", "visibility": "confidential", "public_label": "Quality"}
    await send(api, "POST", "/objectives", body, 201)
    assert await fields_refused(api, "PATCH", "/objectives/O-1", {"public_label": None}) == ["public_label"]


async def test_parents_make_no_loop(api: httpx.AsyncClient) -> None:
    for parent in (None, "O-1", "O-2"):
        await send(api, "POST", "/objectives", {"title": "T", "parent": parent}, 201)
    assert await fields_refused(api, "PATCH", "/objectives/O-1", {"parent": "O-3"}) == ["parent"]
    assert (await send(api, "PATCH", "/objectives/O-3", {"parent": "O-1"}))["parent"] == "O-1"


async def test_a_check_in_tells_of_no_far_future(api: httpx.AsyncClient, clock: Clock) -> None:
    check_ins = f"/key-results/{await a_key_result(api)}/check-ins"
    body = {"value": 1, "confidence": 1, "at": (clock.now + timedelta(hours=25)).isoformat()}
    assert await fields_refused(api, "POST", check_ins, body) == ["at"]
    soon = {**body, "at": (clock.now + timedelta(hours=23)).isoformat()}
    await send(api, "POST", check_ins, soon, 201)


async def test_what_is_not_there_is_404(api: httpx.AsyncClient) -> None:
    named, measured = {"title": "T"}, {"value": 1, "confidence": 1}
    body: Any
    for table in ("cycles", "objectives", "key-results"):
        for method, body in (("GET", None), ("PATCH", named), ("DELETE", None)):
            assert "none" in (await send(api, method, f"/{table}/none", body, 404))["detail"]
    for method, path, body in (
        ("POST", "/objectives/none/key-results", named),
        ("POST", "/key-results/none/check-ins", measured),
        ("GET", "/key-results/none/check-ins", None),
    ):
        assert "none" in (await send(api, method, path, body, 404))["detail"]


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

    async def version() -> int:
        async with runtime.sessions() as session:
            row = await session.get(tables.Installation, 1)
            assert row is not None
            return row.goals_version

    before = await version()
    await send(api, "POST", "/objectives", {"title": "T", "cycle": "none"}, 422)
    await send(api, "DELETE", "/objectives/none", None, 404)
    assert await version() == before
    await send(api, "POST", "/objectives", {"title": "T"}, 201)
    assert await version() == before + 1


async def test_openapi_tells_of_every_field_and_error(api: httpx.AsyncClient) -> None:
    document = (await api.get("/openapi.json")).json()
    named = ("Cycle", "Objective", "KeyResult")
    models = [f"{name}{end}" for name in named for end in ("In", "Out", "Patch")]
    for model in (*models, "Metric", "CheckInIn", "CheckInOut"):
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
    assert {"200", "400", "401", "404", "409", "412", "422"} == set(patch["responses"])
    assert set(patch["responses"]["200"]["headers"]) == {"ETag", "Northing-Runs"}
    body = patch["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/ObjectivePatch"}
