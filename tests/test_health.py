"""healthz and readyz, which need no token, and paths that are not there."""

from __future__ import annotations

import httpx
import psycopg
import pytest

pytestmark = pytest.mark.database


async def test_alive_and_ready(api: httpx.AsyncClient) -> None:
    del api.headers["Authorization"]
    assert (await api.get("/healthz")).json() == {"status": "ok"}
    assert (await api.get("/readyz")).json() == {"status": "ok"}


async def test_not_ready_without_the_schema(api: httpx.AsyncClient, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '2026_11_28_0002'")
    answer = await api.get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert "northing db upgrade" in answer.json()["detail"]


async def test_unknown_paths_are_problem_documents(api: httpx.AsyncClient) -> None:
    answer = await api.get("/nothing/here")
    assert (answer.status_code, answer.json()["status"]) == (404, 404)
    assert answer.headers["content-type"] == "application/problem+json"
