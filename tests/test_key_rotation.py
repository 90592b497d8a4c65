"""A key is replaced while servers run: the steps of docs/admin.md, and what the wrong order costs."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from cryptography.fernet import Fernet

from app.settings import Settings
from tests.support.processes import environment_of, northing
from tests.support.servers import Process, api_of, running, stopped, until
from tests.support.webhook_posts import EDITED, SECRET, headers, signature
from tests.support.world import OFF, World

pytestmark = [pytest.mark.database, pytest.mark.timeout(180)]


async def _post(server: httpx.AsyncClient) -> int:
    """The status for a webhook that no server has seen yet."""
    id = str(uuid4())
    body = json.dumps(EDITED | {"id": id}).encode()
    signed = {"x_hub_signature_256": signature(body), "x_github_delivery": id}
    return (await server.post("/webhooks/github", content=body, headers=headers(body, **signed))).status_code


async def _synced(server: httpx.AsyncClient) -> str:
    run = (await server.post("/api/v1/sources/github/sync", json={"mode": "full"})).json()

    async def ended() -> Any:
        found = (await server.get(f"/api/v1/runs/{run['id']}")).json()
        return found if found["finished_at"] else None

    return str((await until(ended))["state"])


async def test_a_key_is_replaced_while_servers_run(world: World, settings: Settings, tmp_path: Path) -> None:
    world.host.create("acme/shop", "Coupons", labels=["epic"])
    await world.connect_github(scope={"repositories": ["acme/shop"]}, webhook_secret=SECRET, notices=OFF)
    (first,) = settings.secret_key
    keys = {"OLD": first.get_secret_value(), "NEW": Fernet.generate_key().decode()}
    environment = environment_of(settings, port="0")
    servers: dict[str, httpx.AsyncClient] = {}

    async with AsyncExitStack() as exits:

        async def start(step: str) -> Process:
            key = ",".join(keys[name] for name in step.split(","))
            env = environment | {"NORTHING_SECRET_KEY": key}
            [(process, line)] = await exits.enter_async_context(
                running(1, "serves", "serve", env=env, cwd=tmp_path)
            )
            servers[step] = await exits.enter_async_context(api_of(line))
            return process

        async def statuses() -> dict[str, tuple[int, str]]:
            """What each running server answers to a webhook, and how a sync ends that it is asked for."""
            posted = await asyncio.gather(*map(_post, servers.values()))
            synced = await asyncio.gather(*map(_synced, servers.values()))
            return dict(zip(servers, zip(posted, synced, strict=True), strict=True))

        old = await start("OLD")
        await start("OLD,NEW")
        assert set((await statuses()).values()) == {(202, "succeeded")}
        await start("NEW,OLD")
        # Too early for the first, which was not restarted: our trouble, and the others do the work.
        assert await statuses() == {
            "OLD": (503, "succeeded"),
            "OLD,NEW": (202, "succeeded"),
            "NEW,OLD": (202, "succeeded"),
        }
        health = (await servers["NEW,OLD"].get("/api/v1/sources/github")).json()["health"]
        assert (health["state"], health["refused_signatures"]["day"]) == ("ok", 0)
        del servers["OLD"]
        await stopped(old)
        await start("NEW")
        assert set((await statuses()).values()) == {(202, "succeeded")}
    refused = northing("sync", "github", env=environment, cwd=tmp_path)
    assert refused.returncode == 2
    assert "NORTHING_SECRET_KEY opens none of the stored secrets" in refused.stderr
