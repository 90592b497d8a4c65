"""Agreements: the business and IT sign a key result's metric, and a changed metric voids both."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from app.runtime import Runtime
from mappings.goals.agreements import sign_key_result
from mappings.goals.operations import change_key_result
from mappings.goals.values import KeyResultValues
from tests.support.clock import Clock
from tests.support.goals_api import a_key_result, send
from tests.support.locks import holding

pytestmark = pytest.mark.database

METRIC = {"unit": "%", "baseline": 68.0, "target": 55.0, "direction": "decrease"}
BUSINESS = {"side": "business", "name": "Ann Lee", "note": "In the review"}
IT = {"side": "it", "name": "Bo"}


async def _signed(api: httpx.AsyncClient, **members: Any) -> str:
    """The path of a key result that both sides have signed."""
    path = f"/key-results/{await a_key_result(api, **{'metric': METRIC, **members})}"
    for body in (BUSINESS, IT):
        await send(api, "POST", f"{path}/agreements", body, 201)
    return path


async def _sides(api: httpx.AsyncClient, path: str) -> tuple[bool, list[tuple[str, str, bool]]]:
    shown = await send(api, "GET", path)
    latest = [(one["side"], one["name"], one["valid"]) for one in shown["agreements"]]
    return shown["agreed"], latest


async def test_both_sides_sign(api: httpx.AsyncClient, clock: Clock) -> None:
    path = f"/key-results/{await a_key_result(api, metric=METRIC)}"
    assert await _sides(api, path) == (False, [])
    made = await send(api, "POST", f"{path.lower()}/agreements", BUSINESS, 201)
    assert made == {
        "id": 1,
        "key_result": "KR-1",
        **BUSINESS,
        "metric": METRIC,
        "valid": True,
        "voided_at": None,
        "void_reason": None,
        "created_at": clock.now.isoformat().replace("+00:00", "Z"),
    }
    assert await _sides(api, path) == (False, [("business", "Ann Lee", True)])
    other = await send(api, "POST", f"{path}/agreements", IT, 201)
    assert await _sides(api, path) == (True, [("business", "Ann Lee", True), ("it", "Bo", True)])
    assert (await send(api, "GET", f"{path}/agreements"))["items"] == [other, made]
    listed = (await send(api, "GET", "/key-results"))["items"]
    assert listed == [await send(api, "GET", path)]


@pytest.mark.parametrize(
    "patch",
    [
        {"metric": {"target": 50}},
        {"metric": {"baseline": 70}},
        {"metric": {"unit": "points"}},
        {"metric": {"direction": None}},
        {"metric": None, "title": "Another"},
    ],
)
async def test_a_changed_metric_voids_both(api: httpx.AsyncClient, clock: Clock, patch: Any) -> None:
    path = await _signed(api)
    clock.advance(days=1)
    at = clock.now.isoformat().replace("+00:00", "Z")
    changed = await send(api, "PATCH", path, patch)
    assert changed["agreed"] is False
    assert [(one["side"], one["valid"], one["voided_at"]) for one in changed["agreements"]] == [
        ("business", False, at),
        ("it", False, at),
    ]
    # Set back it is the metric that was signed, and yet it changed after the signatures.
    await send(api, "PATCH", path, {"metric": METRIC})
    assert await _sides(api, path) == (False, [("business", "Ann Lee", False), ("it", "Bo", False)])
    history = (await send(api, "GET", f"{path}/agreements"))["items"]
    assert [(one["void_reason"], one["metric"]) for one in history] == [("metric_changed", METRIC)] * 2
    await send(api, "POST", f"{path}/agreements", IT, 201)
    assert await _sides(api, path) == (False, [("business", "Ann Lee", False), ("it", "Bo", True)])
    await send(api, "POST", f"{path}/agreements", BUSINESS, 201)
    assert (await _sides(api, path))[0] is True


@pytest.mark.parametrize(
    "patch",
    [
        {"metric": METRIC},
        {"metric": {"baseline": 68, "unit": " % "}},
        {"title": "Another", "owner": "ann", "due": "2026-12-31", "state": "achieved", "key": "KR-7"},
        {},
    ],
)
async def test_what_leaves_the_metric_as_it_is_voids_nothing(api: httpx.AsyncClient, patch: Any) -> None:
    path = await _signed(api)
    changed = await send(api, "PATCH", path, patch)
    assert (changed["agreed"], [one["valid"] for one in changed["agreements"]]) == (True, [True, True])


async def test_of_one_side_the_latest_signature_counts(api: httpx.AsyncClient) -> None:
    path = await _signed(api)
    await send(api, "POST", f"{path}/agreements", {"side": "it", "name": "Cy"}, 201)
    assert await _sides(api, path) == (True, [("business", "Ann Lee", True), ("it", "Cy", True)])
    history = (await send(api, "GET", f"{path}/agreements"))["items"]
    assert [(one["name"], one["void_reason"]) for one in history] == [
        ("Cy", None),
        ("Bo", "signed_again"),
        ("Ann Lee", None),
    ]


async def test_a_metric_that_comes_later_voids_what_was_signed_without_one(api: httpx.AsyncClient) -> None:
    path = await _signed(api, metric=None)
    shown = await send(api, "GET", path)
    assert (shown["agreed"], shown["steered"]) == (True, False)
    assert shown["not_steered_because"][0] == "it has no baseline and no target"
    assert (await send(api, "PATCH", path, {"metric": METRIC}))["agreed"] is False


async def test_a_key_result_tells_whether_it_is_steered(api: httpx.AsyncClient) -> None:
    path = await _signed(api)
    shown = await send(api, "GET", path)
    assert (shown["steered"], shown["not_steered_because"]) == (False, ["nobody has checked in a value"])
    await send(api, "POST", f"{path}/check-ins", {"value": 66, "confidence": 1}, 201)
    shown = await send(api, "GET", path)
    assert (shown["steered"], shown["not_steered_because"]) == (True, [])


async def test_the_log_says_who_signed_and_what_was_voided(api: httpx.AsyncClient) -> None:
    path = await _signed(api)
    await send(api, "PATCH", path, {"metric": {"target": 50}})
    await send(api, "DELETE", path, None, 204)
    entries = (await send(api, "GET", "/audit-log?what=agreement"))["items"]
    assert [(entry["who"], entry["action"]) for entry in entries] == [
        ("admin token", "changed"),
        ("admin token", "changed"),
        ("admin token", "created"),
        ("admin token", "created"),
    ]
    assert entries[0]["after"].keys() == {"voided_at", "void_reason"}
    assert (entries[-1]["after"]["name"], entries[-1]["after"]["target"]) == ("Ann Lee", 55.0)


async def test_a_signature_and_a_change_of_the_metric_at_once(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock, database_url: str
) -> None:
    """Whichever comes first: no signature counts that was under the metric of before."""
    path = f"/key-results/{await a_key_result(api, metric=METRIC)}"

    def no_target(values: KeyResultValues) -> KeyResultValues:
        return KeyResultValues(title=values.title, key=values.key)

    async def sign() -> None:
        async with runtime.sessions.begin() as session:
            await sign_key_result(session, "KR-1", clock.now, side="it", name="Bo")

    async def change() -> None:
        async with runtime.sessions.begin() as session:
            await change_key_result(session, "KR-1", no_target, clock.now)

    for first, second in ((sign, change), (change, sign)):
        await send(api, "PATCH", path, {"metric": METRIC})
        async with holding(database_url) as holder:
            await holder.hold("SELECT FROM key_results FOR UPDATE")
            tasks = [asyncio.create_task(first())]
            await holder.until_waiting(1)
            tasks.append(asyncio.create_task(second()))
            await holder.until_waiting(2)
            await holder.let_go()
            await asyncio.gather(*tasks)
        for one in (await send(api, "GET", f"{path}/agreements"))["items"]:
            assert not one["valid"] or one["metric"]["target"] is None
