"""Estimates: what an epic or a key result is worth, planned and realised; the newest of each counts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from app.runtime import Runtime
from mappings.governance.estimates import Worth, worth
from mappings.tables import EstimateRow
from tests.support.clock import Clock
from tests.support.goals_api import a_key_result, fields_refused, send
from tests.support.stored_epics import source_with, stored_epic

PLANNED = {"kind": "planned", "amount": 120000.5, "currency": "EUR", "estimated_by": "Ann Lee"}
AT = datetime(2026, 1, 5, tzinfo=UTC)


def _row(kind: str, amount: float, currency: str) -> EstimateRow:
    return EstimateRow(kind=kind, amount=amount, currency=currency, estimated_by="Ann", at=AT)


@pytest.mark.parametrize(
    ("estimates", "sums"),
    [
        ([], []),
        ([("planned", 0.1, "EUR"), ("planned", 0.2, "EUR")], [Worth("EUR", 0.3, None)]),
        (
            [("planned", 5, "USD"), ("realised", -2, "EUR"), ("planned", 7, "EUR")],
            [Worth("EUR", 7, -2), Worth("USD", 5, None)],
        ),
        ([("realised", 0, "EUR")], [Worth("EUR", None, 0)]),
        (
            [("planned", 1e15, "EUR"), ("planned", -1e15, "EUR"), ("planned", 1, "EUR")],
            [Worth("EUR", 1, None)],
        ),
    ],
)
def test_amounts_are_added_up_within_one_currency(
    estimates: list[tuple[str, float, str]], sums: list[Worth]
) -> None:
    found = worth(_row(*one) for one in estimates)
    assert [(one.currency, one.realised) for one in found] == [(one.currency, one.realised) for one in sums]
    assert [one.planned for one in found] == [pytest.approx(one.planned) for one in sums]


async def _things(api: httpx.AsyncClient, runtime: Runtime) -> dict[str, str]:
    """The paths of an epic and of a key result."""
    await source_with(api, runtime, [stored_epic(1)])
    return {"epic": "/epics/jira/SHOP-1", "key_result": f"/key-results/{await a_key_result(api)}"}


@pytest.mark.database
@pytest.mark.parametrize("of", ["epic", "key_result"])
async def test_of_a_kind_and_currency_the_newest_counts(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock, of: str
) -> None:
    path = f"{(await _things(api, runtime))[of]}/estimates"

    async def add(**members: Any) -> Any:
        return await send(api, "POST", path, {**PLANNED, **members}, 201)

    first = await add()
    now = clock.now.isoformat().replace("+00:00", "Z")
    assert first == {
        "id": first["id"],
        "epic": {"source": "jira", "key": "SHOP-1"} if of == "epic" else None,
        "key_result": None if of == "epic" else "KR-1",
        **PLANNED,
        "note": None,
        "at": now,
        "created_at": now,
        "counts": True,
    }
    older = await add(amount=1, at="2025-12-31T23:59:59Z")
    assert not older["counts"], "it says how things were before"
    newer = await add(amount=90000, currency="eur", note="Two markets fewer")
    assert (newer["counts"], newer["currency"]) == (True, "EUR")
    other = [await add(currency="USD"), await add(kind="realised", amount=-5)]
    listed = (await send(api, "GET", path))["items"]
    assert [one["id"] for one in listed] == sorted((one["id"] for one in listed), reverse=True)
    counting = {one["id"] for one in listed if one["counts"]}
    assert counting == {newer["id"], *(one["id"] for one in other)}
    await send(api, "DELETE", f"/estimates/{newer['id']}", status=204)
    listed = (await send(api, "GET", path))["items"]
    assert {one["id"] for one in listed if one["counts"]} == {first["id"], *(one["id"] for one in other)}
    await send(api, "DELETE", f"/estimates/{newer['id']}", status=404)
    log = (await send(api, "GET", "/audit-log?what=estimate"))["items"]
    assert [one["action"] for one in log] == ["deleted", *["created"] * 5]
    assert log[0]["before"]["amount"] == 90000
    assert log[0]["key"] == ("jira/SHOP-1" if of == "epic" else "KR-1")


@pytest.mark.database
async def test_wrong_estimates_are_refused_by_field(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock
) -> None:
    for path in (await _things(api, runtime)).values():
        for field, value in (
            ("kind", "hoped"),
            ("amount", "5"),
            ("amount", 1.1e15),
            ("amount", -1.1e15),
            ("amount", True),
            ("currency", "EURO"),
            ("currency", "€€€"),
            ("currency", "EUR\n"),
            ("currency", ""),
            ("estimated_by", " "),
            ("estimated_by", "x" * 501),
            ("note", "a\x00b"),
            ("at", "2026-01-05T00:00:00"),
            ("at", "2199-01-01T00:00:00Z"),
            ("by", "Ann"),
        ):
            assert await fields_refused(api, "POST", f"{path}/estimates", {**PLANNED, field: value}) == [
                field
            ], value
        for field in PLANNED:
            body = {name: value for name, value in PLANNED.items() if name != field}
            assert await fields_refused(api, "POST", f"{path}/estimates", body) == [field]
        ahead = {**PLANNED, "at": clock.now.replace(year=clock.now.year + 1).isoformat()}
        assert await fields_refused(api, "POST", f"{path}/estimates", ahead) == ["at"]
        assert (await send(api, "GET", f"{path}/estimates"))["items"] == []
    for path in ("/epics/jira/SHOP-9", "/epics/nowhere/SHOP-1", "/key-results/KR-9"):
        await send(api, "POST", f"{path}/estimates", PLANNED, 404)
        await send(api, "GET", f"{path}/estimates", status=404)


@pytest.mark.database
async def test_a_key_result_that_is_estimated_is_not_deleted(
    api: httpx.AsyncClient, runtime: Runtime
) -> None:
    path = (await _things(api, runtime))["key_result"]
    made = await send(api, "POST", f"{path}/estimates", PLANNED, 201)
    refused = await send(api, "DELETE", path, status=409)
    assert "1 estimate of what it is worth" in refused["detail"]
    await send(api, "DELETE", f"/estimates/{made['id']}", status=204)
    await send(api, "DELETE", path, status=204)
