"""The demo's company in an installation of one's own: loaded, removed, and what lies between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.demo_company.client import DemoFailed
from app.demo_company.loader import DemoCompany
from app.jobs.queue import queue_for
from app.jobs.worker import worker_running
from app.runtime import Runtime
from connectors.addresses import is_loopback
from mappings import demo_company
from mappings.clock import DatabaseClock
from mappings.demo_company import CompanyState, Kept
from mappings.errors import Conflict
from mappings.leases import RENEW_EVERY
from mappings.locks import LOCK_GOALS
from mappings.tables import Base
from tests.support.clock import Clock
from tests.support.goals_api import send
from tests.support.locks import holding
from tests.support.queries import all_of
from tests.support.world import World

WHO = "admin token"
EMPTY = {"cycles": 0, "objectives": 0, "key-results": 0, "rules": 0, "sources": 0, "tokens": 0}
OF_COMMITTEES = [
    mapper.class_.__tablename__
    for mapper in Base.registry.mappers
    if mapper.class_.__module__ in ("mappings.tables.governance", "mappings.tables.reports")
]
# Months are frozen after they ended, and a day is counted by a sweep.
MADE_LATER = {"allocation_months", "allocation_rows", "coverage_days"}
Until = Callable[[str], Awaitable[CompanyState | None]]


@pytest.fixture
def company(application: FastAPI) -> DemoCompany:
    made: DemoCompany = application.state.demo_company
    made.has_worker = True
    return made


async def state_of(company: DemoCompany, runtime: Runtime) -> CompanyState | None:
    async with runtime.sessions.begin() as session:
        return await company.state(session)


@pytest.fixture
async def until(application: FastAPI, runtime: Runtime) -> Until:
    async def wait(state: str) -> CompanyState | None:
        """For this state; `none`: until the company is not there."""
        async with asyncio.timeout(100):
            while True:
                found = await state_of(application.state.demo_company, runtime)
                if (found.state if found else "none") == state:
                    return found
                await asyncio.sleep(0.2)

    return wait


@pytest.fixture
async def working(application: FastAPI, runtime: Runtime, intake: object) -> AsyncIterator[Runtime]:
    """With a worker, as a server has one, and by the clock that the simulated trackers go by too."""
    made = replace(runtime, clock=DatabaseClock(), renew_every=RENEW_EVERY)
    application.state.runtime = made
    async with worker_running(made):
        yield made


async def counts(api: httpx.AsyncClient) -> dict[str, int]:
    return {name: len((await send(api, "GET", f"/{name}?limit=500"))["items"]) for name in EMPTY}


async def test_it_is_loaded_through_the_api_and_removed_without_a_trace(
    api: httpx.AsyncClient,
    application: FastAPI,
    runtime: Runtime,
    until: Until,
    working: Runtime,
) -> None:
    company = application.state.demo_company = DemoCompany(application, lambda: working)
    company.has_worker = True
    policy = await send(api, "GET", "/policy")
    await company.load(WHO)
    with pytest.raises(Conflict, match="is being loaded already"):
        await company.load(WHO)
    state = await until("loaded")
    assert state is not None
    assert state.running
    assert await counts(api) == EMPTY | {
        "cycles": 1, "objectives": 5, "key-results": 11, "rules": 9, "sources": 2,
    }  # fmt: skip
    sources = (await send(api, "GET", "/sources"))["items"]
    assert all(is_loopback(source["base_url"]) for source in sources)
    for table in OF_COMMITTEES:
        counted = await all_of(runtime, f"SELECT count(*) FROM {table}")
        assert counted > [(0,)] or table in MADE_LATER, table
    held = (await send(api, "GET", "/notices?state=held"))["items"]
    # Five were held; the committee has mapped the work of one to a key result.
    assert [notice["reason"] for notice in held] == ["guard"] * 4
    states = {one["state"] for one in (await send(api, "GET", "/findings?about=epic&limit=500"))["items"]}
    assert states == {"open", "resolved", "disputed", "waived", "snoozed"}
    written = (await send(api, "GET", "/audit-log?limit=500"))["items"]
    assert "demo company, loaded by admin token" in {one["who"][len("token 1 (") : -1] for one in written}
    with pytest.raises(Conflict, match="It is loaded"):
        await company.load(WHO)

    await company.aclose()  # as at a stop of the server, with which its trackers end
    state = await state_of(company, runtime)
    assert state is not None
    assert (state.is_loaded, state.running) == (True, False)
    started = DemoCompany(application, lambda: working)
    assert await started.remove(WHO)
    assert await state_of(company, runtime) is None
    assert await counts(api) == EMPTY
    assert await send(api, "GET", "/policy") == policy
    for table in ("epics", "findings", "notices", "runs", "links", *OF_COMMITTEES):
        assert await all_of(runtime, f"SELECT count(*) FROM {table}") == [(0,)], table
    assert await started.remove(WHO)  # again: nothing is there to remove


async def nothing_more(*_: object) -> None:
    """The company stands there, and nothing happens."""


async def test_with_the_company_its_trackers_go_and_it_can_be_loaded_again(
    api: httpx.AsyncClient, application: FastAPI, runtime: Runtime, until: Until
) -> None:
    company = DemoCompany(application, lambda: runtime, nothing_more)
    company.has_worker = True
    for _ in range(2):
        await company.load(WHO)
        await until("loaded")
        addresses = [source["base_url"] for source in (await send(api, "GET", "/sources"))["items"]]
        assert await company.remove(WHO)
        assert await counts(api) == EMPTY
        for address in addresses:
            with pytest.raises(httpx.ConnectError):
                httpx.get(address)


async def test_a_tracker_beyond_this_machine_waits_until_the_company_is_removed(
    api: httpx.AsyncClient, world: World, company: DemoCompany, runtime: Runtime
) -> None:
    beyond = {
        "name": "real", "kind": "github", "base_url": "https://api.github.com",
        "credentials": {"type": "token", "token": "x"}, "scope": {"repositories": ["acme/shop"]},
    }  # fmt: skip
    async with runtime.transaction(WHO) as session:
        await demo_company.begin_loading(session, "gone", WHO, await runtime.now(session))
    refused = await api.post("/api/v1/sources", json=beyond)
    assert (refused.status_code, "remove it first" in refused.text) == (409, True)
    await world.connect_github("local", scope=beyond["scope"], schedule={"every": None, "full": None})
    moved = {"base_url": "https://api.github.com", "credentials": beyond["credentials"]}
    assert (await api.patch("/api/v1/sources/local", json=moved)).status_code == 409
    async with runtime.transaction(WHO) as session:
        await demo_company.release_claim(session, "gone")
        assert await demo_company.remove_company(session, WHO, await runtime.now(session))
    assert (await api.post("/api/v1/sources", json=beyond)).status_code == 201


# --- a process that ends meanwhile -----------------------------------------------------------------


async def begin(runtime: Runtime, claim: str = "killed") -> str:
    async with runtime.transaction(WHO) as session:
        return await demo_company.begin_loading(session, claim, WHO, await runtime.now(session))


async def note(runtime: Runtime, what: Any, *values: Any) -> None:
    async with runtime.sessions.begin() as session:
        await what(session, "killed", *values)


async def remove(runtime: Runtime) -> bool:
    async with runtime.transaction(WHO) as session:
        return await demo_company.remove_company(session, WHO, await runtime.now(session))


async def test_loading_and_removing_at_once_wait_for_each_other(runtime: Runtime, database_url: str) -> None:
    await begin(runtime)
    async with runtime.transaction(WHO) as session:
        await demo_company.note_failure(session, "killed", "It was.", await runtime.now(session))
    async with holding(database_url) as holder:
        await holder.hold("SELECT pg_advisory_xact_lock(%s)", LOCK_GOALS)
        loading = asyncio.create_task(begin(runtime, "anew"))
        await holder.until_waiting(1)
        removing = asyncio.create_task(remove(runtime))
        await holder.until_waiting(2)
        await holder.let_go()
        await loading
        assert await removing is False, "the process that loads it is asked to"


async def made_until_killed(runtime: Runtime, application: FastAPI) -> httpx.AsyncClient:
    """As a process leaves it that is killed right before it makes an objective."""
    token = await begin(runtime)
    transport = httpx.ASGITransport(application)
    api = httpx.AsyncClient(
        transport=transport, base_url="http://northing", headers={"Authorization": f"Bearer {token}"}
    )
    cycle = {
        "key": "2026-Q4",
        "title": "Q4",
        "starts": "2026-10-01",
        "ends": "2026-12-31",
        "review": "monthly",
    }
    await note(runtime, demo_company.note_pending, "cycle", "2026-Q4")
    await send(api, "POST", "/cycles", cycle, 201)
    await note(runtime, demo_company.note_made, "cycle", "2026-Q4")
    await note(runtime, demo_company.note_pending, "objective", "O-1")
    return api


async def test_what_a_killed_process_made_last_is_removed_too(
    api: httpx.AsyncClient, application: FastAPI, company: DemoCompany, runtime: Runtime, clock: Clock
) -> None:
    of_demo = await made_until_killed(runtime, application)
    await send(of_demo, "POST", "/objectives", {"key": "O-1", "title": "Made up", "cycle": "2026-Q4"}, 201)
    clock.advance(minutes=1)
    state = await state_of(company, runtime)
    assert state is not None
    assert (state.is_loading, state.running) == (True, False)
    await send(api, "PATCH", "/cycles/2026-Q4", {"key": "renamed"})
    await company.remove(WHO)
    assert await counts(api) == EMPTY


async def test_what_a_person_made_under_the_name_that_was_to_come_stays(
    api: httpx.AsyncClient, application: FastAPI, company: DemoCompany, runtime: Runtime, clock: Clock
) -> None:
    await made_until_killed(runtime, application)
    await send(api, "POST", "/objectives", {"key": "O-1", "title": "My own"}, 201)
    clock.advance(minutes=1)
    await company.remove(WHO)
    assert await counts(api) == EMPTY | {"objectives": 1}


async def test_its_token_ends_by_itself_and_with_the_company(
    application: FastAPI, company: DemoCompany, runtime: Runtime, clock: Clock
) -> None:
    of_demo = await made_until_killed(runtime, application)
    assert (await of_demo.get("/api/v1/cycles")).status_code == 200
    clock.advance(minutes=11)
    assert (await of_demo.get("/api/v1/cycles")).status_code == 401
    await company.remove(WHO)
    assert await all_of(runtime, "SELECT count(*) FROM tokens") == [(0,)]


async def test_a_removal_while_it_is_loaded_stops_loading_first(
    api: httpx.AsyncClient, company: DemoCompany, runtime: Runtime, until: Until
) -> None:
    """Without a worker the first syncs never end, so loading is under way for sure."""
    await company.load(WHO)
    async with asyncio.timeout(30):
        while (await counts(api))["sources"] < 2:
            await asyncio.sleep(0.05)
    await company.remove(WHO)
    assert await counts(api) == EMPTY


async def test_another_process_asks_the_one_that_loads(
    api: httpx.AsyncClient, application: FastAPI, company: DemoCompany, runtime: Runtime, until: Until
) -> None:
    await company.load(WHO)
    elsewhere = DemoCompany(application, lambda: runtime)
    assert not await elsewhere.remove(WHO)
    await until("none")
    assert await counts(api) == EMPTY


async def test_where_loading_fails_what_was_made_goes_and_the_reason_stays(
    api: httpx.AsyncClient, application: FastAPI, runtime: Runtime, until: Until
) -> None:
    async def fail(*_: object) -> None:
        raise DemoFailed("The sync of acme-jira ended failed")

    company = DemoCompany(application, lambda: runtime, fail)
    company.has_worker = True
    await company.load(WHO)
    state = await until("failed")
    assert state is not None
    assert (state.detail, state.running) == ("The sync of acme-jira ended failed", False)
    assert await counts(api) == EMPTY
    await company.load(WHO)  # once more
    await until("failed")
    await company.remove(WHO)
    assert await state_of(company, runtime) is None


# --- where it may be loaded ------------------------------------------------------------------------


async def test_it_is_loaded_only_where_nothing_is_yet(
    api: httpx.AsyncClient, company: DemoCompany, runtime: Runtime
) -> None:
    await send(api, "POST", "/objectives", {"title": "My own"}, 201)
    with pytest.raises(Conflict, match="here is already an objective"):
        await company.load(WHO)
    assert await state_of(company, runtime) is None
    assert await all_of(runtime, "SELECT count(*) FROM tokens") == [(0,)]


async def test_it_is_loaded_only_where_the_one_worker_is_this_process(
    company: DemoCompany, runtime: Runtime, database_url: str
) -> None:
    company.has_worker = False
    with pytest.raises(Conflict, match="does its own jobs"):
        await company.load(WHO)
    company.has_worker = True
    other = replace(runtime, queue=queue_for(database_url))
    async with other.queue.open_async(), worker_running(runtime), worker_running(other):
        async with asyncio.timeout(10):
            while await all_of(runtime, "SELECT count(*) FROM procrastinate_workers") != [(10,)]:
                await asyncio.sleep(0.02)
        with pytest.raises(Conflict, match="Another process of Northing works"):
            await company.load(WHO)


# --- what a person adds ----------------------------------------------------------------------------


async def test_what_a_person_hangs_on_it_is_named_and_nothing_is_removed(
    api: httpx.AsyncClient, application: FastAPI, company: DemoCompany, runtime: Runtime, clock: Clock
) -> None:
    of_demo = await made_until_killed(runtime, application)
    await send(of_demo, "POST", "/objectives", {"key": "O-1", "title": "Made up", "cycle": "2026-Q4"}, 201)
    await note(runtime, demo_company.note_made, "objective", "O-1")
    await note(runtime, demo_company.note_pending, "key_result", "KR-1")
    await send(of_demo, "POST", "/objectives/O-1/key-results", {"key": "KR-1", "title": "Made up"}, 201)
    clock.advance(minutes=1)
    before = await counts(api)
    mine = [
        ("POST", "/objectives/O-1/key-results", {"key": "KR-7", "title": "Mine"}, "/key-results/KR-7"),
        ("POST", "/objectives", {"key": "O-7", "title": "Mine", "cycle": "2026-Q4"}, "/objectives/O-7"),
        ("POST", "/objectives", {"key": "O-8", "title": "Mine", "parent": "O-1"}, "/objectives/O-8"),
        (
            "POST",
            "/rules",
            {"name": "Mine", "key_result": "KR-1", "when": {"label": "x"}, "priority": 1},
            None,
        ),
    ]
    rule = 0
    for method, path, body, _ in mine:
        rule = (await send(api, method, path, body, 201)).get("id", rule)
    with pytest.raises(Kept) as refused:
        await company.remove(WHO)
    assert refused.value.things == (
        "key result KR-7 is under O-1",
        "objective O-7 is in its cycle, or under one of its objectives",
        "objective O-8 is in its cycle, or under one of its objectives",
        "rule “Mine” links to KR-1",
    )
    for *_, made in mine:
        await send(api, "DELETE", made or f"/rules/{rule}", None, 204)
    assert await counts(api) == before
    await company.remove(WHO)
    assert await counts(api) == EMPTY


async def test_a_scope_of_ones_own_is_named_and_the_rest_of_the_policy_stays(
    api: httpx.AsyncClient, world: World, company: DemoCompany, runtime: Runtime
) -> None:
    await begin(runtime)
    scopes = [{"source": "acme-jira", "grace": "PT0S", "since": None}]
    await note(runtime, demo_company.note_scopes, scopes)
    await note(runtime, demo_company.note_pending, "source", "acme-jira")
    await world.connect_jira("acme-jira", schedule={"every": None, "full": None})
    await note(runtime, demo_company.note_made, "source", "acme-jira")
    own = {"source": "acme-jira", "project": "SHOP", "grace": "P1D"}
    await send(api, "PATCH", "/policy", {"grace": "P10D", "scopes": [*scopes, own]})
    async with runtime.sessions.begin() as session:
        await demo_company.release_claim(session, "killed")
    with pytest.raises(Kept, match="the policy has a scope of yours for acme-jira"):
        await company.remove(WHO)
    kept = {"project": "SHOP", "grace": "P1D"}
    await send(api, "PATCH", "/policy", {"scopes": [*scopes, kept]})
    await company.remove(WHO)
    policy = await send(api, "GET", "/policy")
    assert (policy["grace"], policy["scopes"]) == ("P10D", [kept])
