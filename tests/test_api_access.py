"""Every operation of /api/v1, as OpenAPI lists them, asks for a token of the role it needs, and refuses what
it does not know."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.auth.roles import OPERATIONS
from mappings.tables import ROLES
from tests.support.clock import Clock
from tests.support.world import ADMIN_TOKEN


async def _operations(api: httpx.AsyncClient) -> list[tuple[str, str, Any]]:
    document = (await api.get("/openapi.json")).json()
    found = list(_listed(document))
    assert len(found) > 40
    return found


def _listed(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, item in document["paths"].items():
        if path.startswith("/api/v1"):
            for method, operation in item.items():
                yield method.upper(), path, operation


def _filled(path: str, value: str = "1") -> str:
    """The path with this value in each place."""
    return re.sub(r"\{[^}]+\}", value, path)


WRONG: list[dict[str, str]] = [
    {},
    {"Authorization": ""},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer "},
    {"Authorization": "Bearer wrong"},
    {"Authorization": f"Bearer {ADMIN_TOKEN}x"},
    {"Authorization": f"Bearer {ADMIN_TOKEN[:-1]}"},
    {"Authorization": f"Basic {ADMIN_TOKEN}"},
    {"Authorization": ADMIN_TOKEN},
]


async def test_every_operation_asks_for_the_token(api: httpx.AsyncClient, clock: Clock) -> None:
    operations = await _operations(api)
    del api.headers["Authorization"]
    for method, path, operation in operations:
        for headers in WRONG[:: 1 if path.endswith("/sources") else 4]:
            clock.advance(seconds=10)  # for failed logins are limited
            answer = await api.request(method, _filled(path), headers=headers, json={})
            assert answer.status_code == 401, (method, path, headers)
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["www-authenticate"] == "Bearer"
            assert "Authorization: Bearer" in answer.json()["detail"]
        assert {"401", "403", "429"} <= operation["responses"].keys()
        assert "Retry-After" in operation["responses"]["429"]["headers"]


async def _unread() -> AsyncIterator[bytes]:
    raise AssertionError("the body was read")
    yield b""


async def test_the_token_is_asked_for_before_the_body_is_read(api: httpx.AsyncClient) -> None:
    with_body = [found for found in await _operations(api) if "requestBody" in found[2]]
    assert len(with_body) > 10
    token = api.headers.pop("Authorization")
    as_json = {"Content-Type": "application/json"}
    for method, path, operation in with_body:
        for content in (b"{", b"\xff\xfe", _unread()):
            answer = await api.request(method, _filled(path), content=content, headers=as_json)
            assert answer.status_code == 401, (method, path, content)
        headers = {**as_json, "Authorization": token}
        answer = await api.request(method, _filled(path), content=b"{", headers=headers)
        takes_json = "application/json" in operation["requestBody"]["content"]
        assert answer.status_code == (422 if takes_json else 415), (method, path)


# --- roles ------------------------------------------------------------------------------------


async def test_the_table_of_roles_names_every_operation_and_no_other(api: httpx.AsyncClient) -> None:
    described = {(method, path.removeprefix("/api/v1")) for method, path, _ in await _operations(api)}
    assert {(method, path) for path, item in OPERATIONS.items() for method in item} == described


# What a role below the admin's may do, by CONTRACT.md, told the other way round than in `OPERATIONS`.
ADMIN_ALONE = ["sources", "tokens", "audit-log"]
READ_BY_ADMIN_ALONE = ["tokens", "tokens/999", "audit-log", "deliveries/999"]


def _least(method: str, path: str) -> str:
    place = path.removeprefix("/api/v1/")
    if method == "GET":
        return "admin" if place in READ_BY_ADMIN_ALONE else "viewer"
    if place == "rules/preview":  # which changes nothing
        return "viewer"
    by_admin = place.split("/")[0] in [*ADMIN_ALONE, "deliveries"] or place.endswith("/accept-removals")
    return "admin" if by_admin else "editor"


async def _token(api: httpx.AsyncClient, role: str, **members: Any) -> str:
    made = await api.post("/api/v1/tokens", json={"name": role, "role": role, **members})
    assert made.status_code == 201, made.text
    return f"Bearer {made.json()['token']}"


async def test_every_operation_takes_its_role_and_those_above(api: httpx.AsyncClient, clock: Clock) -> None:
    operations = await _operations(api)
    tokens = {role: await _token(api, role) for role in ROLES}
    soon = (clock.now + timedelta(minutes=1)).isoformat()
    refused = [await _token(api, "admin", expires_at=soon), "Bearer nt_wrong", ""]
    clock.advance(minutes=1)
    seen: dict[str, int] = {}
    for method, path, _ in operations:
        path = _filled(path, "999")
        for wrong in refused:
            clock.advance(seconds=10)
            answer = await api.request(method, path, json={}, headers={"Authorization": wrong})
            assert answer.status_code == 401, (method, path)
        needed = _least(method, path)
        seen[needed] = seen.get(needed, 0) + 1
        for role in ROLES:
            answer = await api.request(method, path, json={}, headers={"Authorization": tokens[role]})
            case = (method, path, role, answer.text)
            if ROLES.index(role) >= ROLES.index(needed):
                assert answer.status_code not in (401, 403, 429, 500), case
            else:
                assert answer.status_code == 403, case
                assert answer.headers["content-type"] == "application/problem+json"
                assert f"`{needed}`" in answer.json()["detail"], case
    assert min(seen[role] for role in ROLES) > 5


async def test_what_the_table_forgets_is_the_admins(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = {"Authorization": await _token(api, "editor")}
    assert (await api.get("/api/v1/cycles", headers=editor)).status_code == 200
    monkeypatch.delitem(OPERATIONS, "/cycles")
    assert (await api.get("/api/v1/cycles", headers=editor)).status_code == 403
    assert (await api.get("/api/v1/cycles")).status_code == 200


# --- parameters, paths, methods -----------------------------------------------------------------


async def test_without_the_token_nobody_learns_what_is_there(api: httpx.AsyncClient) -> None:
    assert (await api.post("/api/v1/objectives", json={"key": "O-1", "title": "Grow"})).status_code == 201
    del api.headers["Authorization"]
    there, *others = [
        await api.get(f"/api/v1/{path}")
        for path in ("objectives/O-1", "objectives/O-2", "objectives/a%00b", "objectives?unknown=1")
    ]
    assert there.status_code == 401
    assert {(other.status_code, other.text) for other in others} == {(401, there.text)}
    for path in ("/healthz", "/readyz", "/openapi.json"):
        assert (await api.get(path)).status_code == 200


async def test_every_operation_refuses_an_unknown_query_parameter(api: httpx.AsyncClient) -> None:
    for method, path, _ in await _operations(api):
        answer = await api.request(method, _filled(path), params={"colour": "red"})
        assert answer.status_code == 422, (method, path, answer.text)
        assert [error["field"] for error in answer.json()["errors"]] == ["colour"], (method, path)


async def test_every_parameter_refuses_a_nul(api: httpx.AsyncClient) -> None:
    asked = 0
    for method, path, operation in await _operations(api):
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "query":
                asked += 1
                answer = await api.request(method, _filled(path), params={parameter["name"]: "a\0b"})
                assert answer.status_code == 422, (method, path, parameter["name"], answer.text)
            if parameter["in"] == "path":
                asked += 1
                named = path.replace(f"{{{parameter['name']}}}", "a%00b")
                answer = await api.request(method, _filled(named), json={})
                assert answer.status_code == 422, (method, path, parameter["name"], answer.text)
                assert [error["field"] for error in answer.json()["errors"]] == [parameter["name"]]
    assert asked > 50


async def test_a_limit_is_within_bounds(api: httpx.AsyncClient) -> None:
    lists = [
        path
        for method, path, operation in await _operations(api)
        if method == "GET"
        and any(parameter["name"] == "limit" for parameter in operation.get("parameters", ()))
    ]
    assert len(lists) == 25
    for path in lists:
        most = 50 if path.endswith("/suggestions") else 500
        for limit in ("0", str(most + 1), "-1", "ten", "", str(10**30)):
            answer = await api.get(_filled(path), params={"limit": limit})
            assert answer.status_code == 422, (path, limit, answer.text)
            assert [error["field"] for error in answer.json()["errors"]] == ["limit"], (path, limit)
        for limit in ("1", str(most)):
            answer = await api.get(_filled(path), params={"limit": limit})
            assert answer.status_code == (404 if "{" in path else 200), (path, limit, answer.text)


UNKNOWN_VALUES = [
    ("epics", "alignment", "sideways"),
    ("epics", "source", "nowhere"),
    ("epics", "key_result", "KR-404"),
    ("findings", "check", "no-coffee"),
    ("findings", "state", "asleep"),
    ("findings", "source", "nowhere"),
    ("notices", "state", "asleep"),
    ("notices", "source", "nowhere"),
    ("links", "epic_source", "nowhere"),
    ("links", "key_result", "KR-404"),
    ("rules", "key_result", "KR-404"),
    ("rules", "enabled", "perhaps"),
    ("runs", "source", "nowhere"),
    ("runs", "state", "asleep"),
    ("runs", "mode", "sideways"),
    ("audit-log", "what", "weather"),
    ("audit-log", "since", "yesterday"),
    ("audit-log", "until", "2026-11-22T09:00:00"),
]


async def test_an_unknown_value_of_a_filter_is_422_on_it(api: httpx.AsyncClient) -> None:
    for name, parameter, value in UNKNOWN_VALUES:
        answer = await api.get(f"/api/v1/{name}", params={parameter: value})
        assert answer.status_code == 422, (name, parameter, answer.text)
        assert [error["field"] for error in answer.json()["errors"]] == [parameter], (name, value)


async def test_a_key_needs_its_source(api: httpx.AsyncClient) -> None:
    for path, field in (("epics?key=SHOP-1", "source"), ("links?epic_key=SHOP-1", "epic_source")):
        answer = await api.get(f"/api/v1/{path}")
        (error,) = answer.json()["errors"]
        assert (answer.status_code, error["field"]) == (422, field)
        assert "needed" in error["message"]


async def test_wrong_paths_and_methods_are_problem_documents(api: httpx.AsyncClient) -> None:
    for method, path, status in (
        ("GET", "/api/v1/nothing", 404),
        ("PUT", "/api/v1/sources", 405),
        ("GET", "/api/v1/runs/none", 422),
        ("GET", "/api/v1/runs/0", 422),
        ("GET", "/api/v1/runs/99999999999999999999", 422),
        ("GET", "/api/v1/runs/9", 404),
        ("POST", "/api/v1/findings/9/reopen", 404),
        ("DELETE", "/api/v1/links/9", 404),
        ("GET", "/api/v1/rules/9", 404),
        ("GET", "/api/v1/sources/none", 404),
        ("GET", "/api/v1/epics/none/SHOP-1", 404),
    ):
        answer = await api.request(method, path)
        assert answer.status_code == status, (method, path, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status


async def test_the_document_is_encoded_once(
    api: httpx.AsyncClient, application: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may ask for it, and nothing else is answered while it is encoded."""
    first = await api.get("/openapi.json")
    monkeypatch.setattr(application, "openapi", None)  # is not asked again
    assert (await api.get("/openapi.json")).content == first.content
    assert first.headers["content-type"] == "application/json"
