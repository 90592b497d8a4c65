"""Failed logins: ten a minute from one address, then it waits; who is known already goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import event

from app.auth.authenticator import Authenticator, UnknownToken
from app.auth.rate_limit import LatestValues, TooManyFailures
from app.auth.roles import Caller
from app.runtime import Runtime
from mappings.access.operations import token_hash
from tests.support.clock import Clock
from tests.support.pages import forms_of
from tests.support.world import ADMIN_TOKEN

ME, ANOTHER = "192.0.2.1", "192.0.2.2"


@pytest.fixture
def authenticator() -> Authenticator:
    return Authenticator(token_hash(ADMIN_TOKEN))


@pytest.fixture
async def asked(runtime: Runtime) -> AsyncIterator[list[str]]:
    """The look-ups of tokens."""
    statements: list[str] = []

    def note(_c: Any, _u: Any, statement: str, *_: Any) -> None:
        if "FROM tokens" in statement:
            statements.append(statement)

    event.listen(runtime.engine.sync_engine, "before_cursor_execute", note)
    yield statements
    event.remove(runtime.engine.sync_engine, "before_cursor_execute", note)


async def tried(
    authenticator: Authenticator, runtime: Runtime, token: str, host: str | None = ME
) -> str | int:
    """The role, `no`, or the seconds to wait."""
    try:
        return (await authenticator.authenticate(runtime, token, host)).role
    except UnknownToken:
        return "no"
    except TooManyFailures as limit:
        return limit.seconds


async def fail(
    authenticator: Authenticator, runtime: Runtime, times: int = 10, host: str | None = ME
) -> None:
    for number in range(times):
        assert await tried(authenticator, runtime, f"guess {number}", host) == "no"


async def test_the_eleventh_failure_within_a_minute_is_not_looked_up(
    authenticator: Authenticator, runtime: Runtime, clock: Clock, asked: list[str]
) -> None:
    await fail(authenticator, runtime, 9)
    clock.advance(seconds=20)
    await fail(authenticator, runtime, 1)
    assert len(asked) == 10
    assert await tried(authenticator, runtime, "one more") == 40
    assert await tried(authenticator, runtime, ADMIN_TOKEN) == 40  # or that one could be guessed on and on
    assert len(asked) == 10
    clock.advance(seconds=39.5)
    assert await tried(authenticator, runtime, "one more") == 1
    clock.advance(seconds=0.5)
    await fail(authenticator, runtime, 9)  # those of the first moment are forgotten, the one after stays
    assert await tried(authenticator, runtime, "one more") == 20
    assert len(asked) == 19


async def test_another_address_goes_on(authenticator: Authenticator, runtime: Runtime) -> None:
    await fail(authenticator, runtime)
    assert await tried(authenticator, runtime, ADMIN_TOKEN, ANOTHER) == "admin"
    assert await tried(authenticator, runtime, "guess", ANOTHER) == "no"
    # Who was let in elsewhere is known here too.
    assert await tried(authenticator, runtime, ADMIN_TOKEN) == "admin"
    assert await tried(authenticator, runtime, "guess") == 60


async def test_who_was_let_in_within_the_hour_goes_on_from_a_limited_address(
    authenticator: Authenticator, runtime: Runtime, clock: Clock
) -> None:
    assert await tried(authenticator, runtime, ADMIN_TOKEN) == "admin"
    for _ in range(5):
        clock.advance(minutes=59)
        await fail(authenticator, runtime)
        assert await tried(authenticator, runtime, "one more") == 60
        assert await tried(authenticator, runtime, ADMIN_TOKEN) == "admin"
    clock.advance(minutes=60)
    await fail(authenticator, runtime)
    assert await tried(authenticator, runtime, ADMIN_TOKEN) == 60
    clock.advance(minutes=1)
    assert await tried(authenticator, runtime, ADMIN_TOKEN) == "admin"


async def test_a_token_once_known_and_deleted_is_a_guess_like_any_other(
    api: httpx.AsyncClient, authenticator: Authenticator, runtime: Runtime
) -> None:
    made = (await api.post("/api/v1/tokens", json={"name": "ci", "role": "viewer"})).json()
    assert await tried(authenticator, runtime, made["token"]) == "viewer"
    assert (await api.delete(f"/api/v1/tokens/{made['id']}")).status_code == 204
    for _ in range(10):
        assert await tried(authenticator, runtime, made["token"]) == "no"
    assert await tried(authenticator, runtime, made["token"]) == 60


async def test_each_caller_has_the_name_and_the_role_of_its_token(
    api: httpx.AsyncClient, authenticator: Authenticator, runtime: Runtime
) -> None:
    made = (await api.post("/api/v1/tokens", json={"name": "ci", "role": "viewer"})).json()
    callers = [await authenticator.authenticate(runtime, token, ME) for token in (ADMIN_TOKEN, made["token"])]
    assert callers == [Caller("admin token", "admin"), Caller(f"token {made['id']} (ci)", "viewer")]


async def test_a_burst_of_guesses_is_looked_up_ten_times(
    authenticator: Authenticator, runtime: Runtime, asked: list[str]
) -> None:
    results = await asyncio.gather(*(tried(authenticator, runtime, f"guess {n}") for n in range(60)))
    assert (results.count("no"), results.count(60)) == (10, 50)
    assert len(asked) == 10


async def test_a_burst_with_one_good_token_is_all_let_in(
    api: httpx.AsyncClient, authenticator: Authenticator, runtime: Runtime
) -> None:
    made = (await api.post("/api/v1/tokens", json={"name": "ci", "role": "editor"})).json()
    results = await asyncio.gather(*(tried(authenticator, runtime, made["token"]) for _ in range(30)))
    assert set(results) == {"editor"}


async def test_no_token_is_no_guess(authenticator: Authenticator, runtime: Runtime) -> None:
    for _ in range(20):
        assert await tried(authenticator, runtime, "") == "no"
    assert await tried(authenticator, runtime, ADMIN_TOKEN) == "admin"


SAME = [
    (("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"), True),
    (("2001:db8:1:2::1", "2001:db8:1:3::1"), False),
    (("fe80::1%eth0", "fe80::2%eth0"), True),
    (("::ffff:192.0.2.1", "192.0.2.1"), True),
    (("192.0.2.1", "192.0.2.2"), False),
    ((None, None), True),  # a Unix socket has no address
]


@pytest.mark.parametrize(("hosts", "same"), SAME)
async def test_an_address_is_what_one_machine_has(
    authenticator: Authenticator, runtime: Runtime, hosts: tuple[str | None, str | None], same: bool
) -> None:
    first, second = hosts
    await fail(authenticator, runtime, host=first)
    assert await tried(authenticator, runtime, "guess", second) == (60 if same else "no")


def test_what_is_remembered_is_bounded() -> None:
    latest: LatestValues[int] = LatestValues(3)
    for key in (1, 2, 3, 1, 4):
        latest.put(key, key)
    assert [latest.get(key) for key in (1, 2, 3, 4)] == [1, None, 3, 4]
    latest.drop(3)
    latest.put(5, 5)
    assert [latest.get(key) for key in (1, 3, 4, 5)] == [1, None, 4, 5]


# --- over HTTP --------------------------------------------------------------------------------


@asynccontextmanager
async def calling(app: FastAPI, host: str) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, client=(host, 40000))
    async with httpx.AsyncClient(transport=transport, base_url="http://northing") as client:
        yield client


async def test_api_and_pages_count_together_and_say_when_to_come_back(
    api: httpx.AsyncClient, application: FastAPI, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with calling(application, ME) as me, calling(application, ANOTHER) as other:
        (form,) = forms_of((await me.get("/login")).text)

        async def log_in(token: str) -> httpx.Response:
            return await me.post("/login", data={**form.fields, "token": token})

        for number in range(5):
            headers = {"Authorization": f"Bearer guess-{number}"}
            assert (await me.get("/api/v1/cycles", headers=headers)).status_code == 401
            assert (await log_in(f"guess-{number}")).status_code == 401
        clock.advance(seconds=15)
        problem = await me.get("/api/v1/cycles", headers={"Authorization": "Bearer guess-11"})
        assert problem.headers["content-type"] == "application/problem+json"
        for answer in (problem, await log_in("guess-11")):
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "45")
            assert "try again in 45 s" in answer.text
        assert (await me.get("/api/v1/cycles")).status_code == 401  # no token, no guess
        assert (await log_in("")).status_code == 401
        good = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        assert (await other.get("/api/v1/cycles", headers=good)).status_code == 200
        assert (await log_in(ADMIN_TOKEN)).status_code == 303
    assert caplog.text.count("login failed") == 10
    assert ME in caplog.text
    assert "guess" not in caplog.text
