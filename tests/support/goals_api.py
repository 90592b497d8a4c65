"""What the tests of goals say to the API."""

from __future__ import annotations

import json
from typing import Any

import httpx

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
    """The fields that the refusal names, each with a reason."""
    errors = (await send(api, method, path, body, 422))["errors"]
    assert all(error["message"] for error in errors), errors
    return [error["field"] for error in errors]


async def a_key_result(api: httpx.AsyncClient, **members: Any) -> str:
    """The key of a new key result in an objective of its own."""
    objective = await send(api, "POST", "/objectives", {"title": "An objective"}, 201)
    path = f"/objectives/{objective['key']}/key-results"
    made = await send(api, "POST", path, {"title": "A key result", **members}, 201)
    return str(made["key"])
