"""What the API of goals refuses: with the field and a reason, and nothing stored."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.support.clock import Clock
from tests.support.goals_api import JSON, Q4, a_key_result, fields_refused, send

MEASURED: dict[str, Any] = {"value": 1, "confidence": 1}
YEARS = "must lie between 1970 and 2100"

OBJECTIVE, RESULT, CHECK_IN = "/objectives", "/objectives/O-1/key-results", "/key-results/KR-1/check-ins"
AGREEMENT = "/key-results/KR-1/agreements"
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
    (RESULT, {"title": "T", "due": "20261-12-31"}, "due"),
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
    (RESULT, {"title": "T", "owner": " "}, "owner"),
    (AGREEMENT, {"side": "it"}, "name"),
    (AGREEMENT, {"name": "Ann"}, "side"),
    (AGREEMENT, {"side": "partner", "name": "Ann"}, "side"),
    (AGREEMENT, {"side": "it", "name": " "}, "name"),
    (AGREEMENT, {"side": "it", "name": "Ann", "at": "2026-12-31T00:00:00Z"}, "at"),
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


# Each body with the field that is wrong by its year alone; and the same with the last day that is right.
MISTYPED_YEARS: list[tuple[str, dict[str, Any], str, str, str]] = [
    ("/cycles", {**Q4, "starts": "0001-01-01"}, "starts", "1970-01-01", "POST"),
    ("/cycles", {**Q4, "starts": "1969-12-31"}, "starts", "1970-01-01", "POST"),
    ("/cycles", {**Q4, "ends": "2101-01-01"}, "ends", "2100-12-31", "POST"),
    ("/cycles", {**Q4, "ends": "9999-12-31"}, "ends", "2100-12-31", "POST"),
    (RESULT, {"title": "T", "due": "1969-12-31"}, "due", "1970-01-01", "POST"),
    (RESULT, {"title": "T", "due": "2206-12-31"}, "due", "2100-12-31", "POST"),
    ("/key-results/KR-1", {"due": "2101-01-01"}, "due", "2100-12-31", "PATCH"),
    (CHECK_IN, {**MEASURED, "at": "1969-12-31T23:59:59Z"}, "at", "1970-01-01T00:00:00Z", "POST"),
    (CHECK_IN, {**MEASURED, "at": "2101-01-01T00:00:00Z"}, "at", "2026-01-01T00:00:00Z", "POST"),
]


@pytest.mark.parametrize(("path", "body", "field", "right", "method"), MISTYPED_YEARS)
async def test_a_mistyped_year_is_refused_on_its_field(
    api: httpx.AsyncClient, path: str, body: dict[str, Any], field: str, right: str, method: str
) -> None:
    await a_key_result(api)
    errors = (await send(api, method, path, body, 422))["errors"]
    assert errors == [{"field": field, "message": YEARS}]
    await send(api, method, path, {**body, field: right}, 200 if method == "PATCH" else 201)


async def test_parents_make_no_loop(api: httpx.AsyncClient) -> None:
    for parent in (None, "O-1", "O-2"):
        await send(api, "POST", "/objectives", {"title": "T", "parent": parent}, 201)
    for parent in ("O-2", "o-3"):
        (error,) = (await send(api, "PATCH", "/objectives/O-1", {"parent": parent}, 422))["errors"]
        above = "is O-1 or is under it; choose one that is not"
        assert error == {"field": "parent", "message": f"{parent.upper()} {above}"}
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
        ("POST", "/key-results/none/agreements", {"side": "it", "name": "Ann"}),
        ("GET", "/key-results/none/agreements", None),
    ):
        assert "none" in (await send(api, method, path, body, 404))["detail"]
