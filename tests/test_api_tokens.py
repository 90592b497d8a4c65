"""API tokens: shown once, kept hashed, good until they expire or are deleted, their use noted."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import event, select

from app.auth.authenticator import Authenticator, UnknownToken
from app.auth.roles import Caller
from app.runtime import Runtime
from mappings.access.operations import token_hash
from mappings.tables import TokenRow
from tests.support.clock import Clock
from tests.support.locks import holding
from tests.support.queries import every_row
from tests.support.world import ADMIN_TOKEN


async def make(api: httpx.AsyncClient, role: str = "viewer", **members: Any) -> Any:
    answer = await api.post("/api/v1/tokens", json={"name": "ci", "role": role, **members})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def listed(api: httpx.AsyncClient) -> list[Any]:
    answer = await api.get("/api/v1/tokens")
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def use(api: httpx.AsyncClient, token: str, path: str = "/api/v1/cycles") -> int:
    return (await api.get(path, headers={"Authorization": f"Bearer {token}"})).status_code


async def test_a_token_is_shown_once_and_kept_hashed(api: httpx.AsyncClient, runtime: Runtime) -> None:
    answer = await api.post("/api/v1/tokens", json={"name": " ci ", "role": "editor"})
    made = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert made.keys() == {"id", "name", "role", "token", "expires_at", "created_at"}
    assert (made["name"], made["role"], made["expires_at"]) == ("ci", "editor", None)
    assert re.fullmatch(r"nt_[A-Za-z0-9_-]{43}", made["token"])
    (shown,) = await listed(api)
    assert shown == {name: made[name] for name in made if name != "token"} | {"last_used_at": None}
    async with runtime.sessions() as session:
        stored = (await session.scalars(select(TokenRow.hash))).one()
    assert stored == hashlib.sha256(made["token"].encode()).digest()
    rows = await every_row(runtime)
    assert made["token"] not in str(rows)
    (entry,) = rows["audit_log"]
    assert stored.hex() not in entry


async def test_tokens_are_all_different_and_listed_page_by_page(api: httpx.AsyncClient) -> None:
    made = [await make(api) for _ in range(5)]
    assert len({token["token"] for token in made}) == 5
    pages: list[list[int]] = []
    query = {"limit": "2"}
    while len(pages) < 3:
        page = (await api.get("/api/v1/tokens", params=query)).json()
        pages.append([item["id"] for item in page["items"]])
        query = {"limit": "2", "cursor": page["next"]}
    ids = [token["id"] for token in made]
    assert (pages, page["next"]) == ([ids[:2], ids[2:4], ids[4:]], None)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"role": "viewer"}, "name"),
    ({"name": " ", "role": "viewer"}, "name"),
    ({"name": "a\0b", "role": "viewer"}, "name"),
    ({"name": "n" * 101, "role": "viewer"}, "name"),
    ({"name": "ci"}, "role"),
    ({"name": "ci", "role": "owner"}, "role"),
    ({"name": "ci", "role": "viewer", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
    ({"name": "ci", "role": "viewer", "expires_at": "2099-01-01T00:00:00"}, "expires_at"),
    ({"name": "ci", "role": "viewer", "expires_at": 4070908800}, "expires_at"),
    ({"name": "ci", "role": "viewer", "token": "mine"}, "token"),
]


async def test_a_wrong_token_is_not_made(api: httpx.AsyncClient) -> None:
    for body, field in REFUSED:
        answer = await api.post("/api/v1/tokens", json=body)
        assert answer.status_code == 422, body
        assert [error["field"] for error in answer.json()["errors"]] == [field], body
    assert await listed(api) == []


async def test_a_token_expires_at_its_moment(api: httpx.AsyncClient, clock: Clock) -> None:
    at = clock.now + timedelta(hours=1)
    made = await make(api, expires_at=at.isoformat())
    assert datetime.fromisoformat(made["expires_at"]) == at
    clock.advance(minutes=59, seconds=59)
    assert await use(api, made["token"]) == 200
    clock.advance(seconds=1)
    assert await use(api, made["token"]) == 401
    assert [token["id"] for token in await listed(api)] == [made["id"]]
    now = await api.post(
        "/api/v1/tokens", json={"name": "ci", "role": "viewer", "expires_at": clock.now.isoformat()}
    )
    assert now.status_code == 422


async def test_a_deleted_token_is_refused_at_once_by_every_replica(
    api: httpx.AsyncClient, runtime: Runtime
) -> None:
    made = await make(api, "editor")
    replicas = [Authenticator(token_hash(ADMIN_TOKEN)) for _ in range(2)]
    for authenticator in replicas:
        caller = await authenticator.authenticate(runtime, made["token"], "192.0.2.1")
        assert caller == Caller(f"token {made['id']} (ci)", "editor")
    assert (await api.delete(f"/api/v1/tokens/{made['id']}")).status_code == 204
    for authenticator in replicas:
        with pytest.raises(UnknownToken):
            await authenticator.authenticate(runtime, made["token"], "192.0.2.1")
    assert await use(api, made["token"]) == 401
    assert await listed(api) == []
    assert (await api.delete(f"/api/v1/tokens/{made['id']}")).status_code == 404


async def test_the_bootstrap_token_stays_an_admin_and_another_admin_is_its_equal(
    api: httpx.AsyncClient,
) -> None:
    other = await make(api, "admin")
    for token in (ADMIN_TOKEN, other["token"]):
        headers = {"Authorization": f"Bearer {token}"}
        body = {"name": "next", "role": "admin"}
        assert (await api.post("/api/v1/tokens", json=body, headers=headers)).status_code == 201


# --- last use ---------------------------------------------------------------------------------


@pytest.fixture
async def statements(runtime: Runtime) -> AsyncIterator[list[str]]:
    """The first word of each statement about tokens."""
    asked: list[str] = []

    def note(_c: Any, _u: Any, statement: str, *_: Any) -> None:
        if "tokens" in statement:
            asked.append(statement.split()[0])

    event.listen(runtime.engine.sync_engine, "before_cursor_execute", note)
    yield asked
    event.remove(runtime.engine.sync_engine, "before_cursor_execute", note)


async def test_last_use_is_written_once_a_minute(
    api: httpx.AsyncClient, clock: Clock, statements: list[str]
) -> None:
    made = await make(api)
    first = clock.now
    for advance, asked, last in (
        (0, ["SELECT", "UPDATE"], first),
        (0, ["SELECT"], first),
        (59, ["SELECT"], first),
        (1, ["SELECT", "UPDATE"], first + timedelta(seconds=60)),
    ):
        clock.advance(seconds=advance)
        statements.clear()
        assert await use(api, made["token"]) == 200
        assert statements == asked
        (shown,) = await listed(api)
        assert datetime.fromisoformat(shown["last_used_at"]) == last


async def test_the_admin_token_is_looked_up_in_no_table(
    api: httpx.AsyncClient, statements: list[str]
) -> None:
    assert await use(api, ADMIN_TOKEN) == 200
    assert statements == []


async def test_many_uses_at_once_are_all_answered_and_written_once(
    api: httpx.AsyncClient, database_url: str, clock: Clock
) -> None:
    made = await make(api)
    # Let in once, the token no longer waits its turn: all find the old use, and each tries to write its own.
    assert await use(api, made["token"]) == 200
    clock.advance(minutes=1)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE uses (at timestamptz)")
        connection.execute(
            "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN INSERT INTO uses VALUES (new.last_used_at); RETURN new; END $$"
        )
        connection.execute(
            "CREATE TRIGGER noted AFTER UPDATE ON tokens FOR EACH ROW EXECUTE FUNCTION noted()"
        )
        async with holding(database_url) as row:
            await row.hold("SELECT FROM tokens FOR UPDATE")
            asked = [asyncio.create_task(use(api, made["token"])) for _ in range(5)]
            await row.until_waiting(5)
            await row.let_go()
            assert await asyncio.gather(*asked) == [200] * 5
        assert connection.execute("SELECT count(*) FROM uses").fetchone() == (1,)


async def test_a_use_that_cannot_be_written_is_answered_all_the_same(
    api: httpx.AsyncClient, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    made = await make(api)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'read-only'; END $$"
        )
        connection.execute("CREATE TRIGGER refuse BEFORE UPDATE ON tokens EXECUTE FUNCTION refuse()")
    assert await use(api, made["token"]) == 200
    assert "last use of a token not written" in caplog.text
    (shown,) = await listed(api)
    assert shown["last_used_at"] is None
