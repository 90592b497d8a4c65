"""A change has evaluated again what it affects and nothing else: `evaluated_at` of all others stays."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from app.runtime import Runtime
from mappings.tables import EpicRow
from tests.support.clock import Clock
from tests.support.world import World

RULE = {"name": "Checkout", "when": {"title": "Checkout"}, "key_result": "KR-3"}


async def _evaluated(runtime: Runtime) -> dict[str, datetime]:
    async with runtime.sessions() as session:
        rows = await session.execute(select(EpicRow.key, EpicRow.evaluated_at))
    return {key: evaluated_at for key, evaluated_at in rows if evaluated_at is not None}


async def _company(world: World) -> None:
    """SHOP-1 and CORE-1 name KR-1, SHOP-2 names KR-2, SHOP-3 is for the rule, the others are for nobody."""
    world.site.add_project("CORE", "Core")
    world.site.create("SHOP", "Names one", description="Key-Result: KR-1")
    world.site.create("SHOP", "Names two", description="Key-Result: KR-2")
    world.site.create("SHOP", "Checkout in one step")
    world.site.create("SHOP", "Nothing")
    world.site.create("CORE", "Names one", description="Key-Result: KR-1")
    world.host.create("acme/shop", "Nothing", labels=["epic"])
    for number in (1, 2, 3):
        await world.goal(f"KR-{number}")
    await world.connect_jira()
    await world.connect_github(scope={"repositories": ["acme/shop"]})
    await world.sync("jira")
    await world.sync("github")


ONE = {"SHOP-1", "CORE-1"}
SHOP = {"SHOP-1", "SHOP-2", "SHOP-3", "SHOP-4"}
CHANGES: list[tuple[str, str, Any, set[str]]] = [
    ("PATCH", "/key-results/KR-1", {"state": "achieved"}, ONE),
    ("PATCH", "/key-results/KR-1", {"state": "active"}, ONE),
    ("PATCH", "/objectives/O-2", {"state": "archived"}, {"SHOP-2"}),
    ("PATCH", "/objectives/O-1", {"visibility": "public"}, ONE),
    ("PATCH", "/objectives/O-3", {"visibility": "public"}, set()),  # which no epic is linked to yet
    ("PATCH", "/objectives/O-1", {"title": "Renamed"}, set()),
    ("PATCH", "/objectives/O-1", {"cycle": "Q"}, ONE),
    ("PATCH", "/cycles/Q", {"ends": "2100-01-01"}, ONE),
    ("PATCH", "/cycles/Q", {"title": "Renamed"}, set()),
    ("POST", "/rules", RULE, {"SHOP-3"}),
    ("PATCH", "/rules/1", {"priority": 7}, {"SHOP-3"}),
    ("PATCH", "/rules/1", {"priority": 7}, set()),
    ("PATCH", "/rules/1", {"key_result": "KR-1"}, {"SHOP-3"}),
    ("PATCH", "/rules/1", {"when": {"title": "Nothing"}}, {"SHOP-3", "SHOP-4", "acme/shop#1"}),
    ("PATCH", "/rules/1", {"enabled": False}, {"SHOP-4", "acme/shop#1"}),
    ("PATCH", "/rules/1", {"enabled": True}, {"SHOP-4", "acme/shop#1"}),
    ("DELETE", "/rules/1", None, {"SHOP-4", "acme/shop#1"}),
    ("PATCH", "/policy", {"scopes": [{"project": "CORE", "grace": "P9D"}]}, {"CORE-1"}),
    ("PATCH", "/policy", {"scopes": [{"project": "core", "grace": "P9D"}]}, set()),
    ("PATCH", "/policy", {"scopes": [{"source": "github", "since": None}]}, {"CORE-1", "acme/shop#1"}),
    ("PATCH", "/policy", {"grace": "P1D"}, {*SHOP, "CORE-1", "acme/shop#1"}),
    ("PATCH", "/policy", {"grace": "P1D"}, set()),
    ("POST", "/links", {"epic": {"source": "jira", "key": "SHOP-4"}, "key_result": "KR-1"}, {"SHOP-4"}),
    ("POST", "/links", {"epic": {"source": "jira", "key": "shop-4"}, "key_result": "kr-1"}, set()),
    # What has a gap: SHOP-2, whose objective is archived, and SHOP-3.
    ("PATCH", "/sources/jira", {"notices": {"mode": "off"}}, {"SHOP-2", "SHOP-3"}),
    ("PATCH", "/sources/jira", {"schedule": {"every": "PT1H"}}, set()),
    ("PATCH", "/sources/jira", {"name": "acme"}, {*SHOP, "CORE-1"}),
]


async def test_a_change_evaluates_what_it_bears_on_and_nothing_else(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    await _company(world)
    today = clock().date()
    cycle = {"key": "Q", "title": "Q", "starts": str(today), "ends": str(today + timedelta(days=90))}
    await world.send("POST", "/cycles", {**cycle, "review": "monthly"})
    for method, path, body, touched in CHANGES:
        clock.advance(minutes=1)
        before = await _evaluated(runtime)
        answer = await world.api.request(method, f"/api/v1{path}", json=body)
        assert answer.is_success, answer.text
        await world.drain()
        after = await _evaluated(runtime)
        case = (method, path, body)
        assert {key for key in after if after[key] != before[key]} == touched, case
        runs = [int(run) for run in answer.headers.get("Northing-Runs", "").split(",") if run]
        for run in runs:
            assert (await world.send("GET", f"/runs/{run}"))["state"] == "succeeded", case
        if path.startswith("/links"):
            assert not runs
        else:
            assert bool(runs) == bool(touched), case


async def test_a_sync_evaluates_what_changed_and_nothing_else(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    await _company(world)
    before = await _evaluated(runtime)
    clock.advance(minutes=1)
    world.site.edit("SHOP-4", summary="Something")
    for mode in ("incremental", "full"):
        await world.sync("jira", mode)
    after = await _evaluated(runtime)
    assert {key for key in after if after[key] != before[key]} == {"SHOP-4"}
