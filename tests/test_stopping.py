"""A stop in the midst of everything: within ten seconds, in order, and nothing lost."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx

from app.runtime import Runtime
from app.settings import Settings
from tests.support.clock import Clock, later
from tests.support.processes import environment_of
from tests.support.queries import all_of
from tests.support.servers import api_of, running, until
from tests.support.tracker_requests import Pause
from tests.support.webhook_posts import SECRET, headers
from tests.support.world import World

PROMISED = 10.0
BURST = 40


async def test_stops_within_ten_seconds_whatever_is_under_way(
    world: World, runtime: Runtime, settings: Settings, clock: Clock, tmp_path: Path
) -> None:
    await world.goal()
    await world.no_grace()
    ticket = world.site.create("SHOP", "One-page checkout")
    issue = world.host.create("acme/shop", "Reorder in two taps", labels=["epic"])
    inside, write = world.api, Pause()
    world.jira.faults.add("POST */issue/*/comment", write)
    env = environment_of(settings, port="0")
    async with AsyncExitStack() as exits:
        started = running(1, "serves http://", "serve", env=env, cwd=tmp_path)
        [(server, line)] = await exits.enter_async_context(started)
        async with api_of(line) as world.api:
            await world.connect_github(
                scope={"repositories": ["acme/shop"]}, webhook_secret=SECRET, notices={"mode": "off"}
            )
            world.github.latency = 29  # still within the connector's patience
            sync = await world.send("POST", "/sources/github/sync")
            await until(_some(world.github.log.count))
            await world.connect_jira(notices={"mode": "live"})
            await world.send("POST", "/sources/jira/sync")
            await asyncio.wait_for(write.reached.wait(), 60)
            upload = asyncio.create_task(_slow_upload(world.api))
            burst = [asyncio.create_task(_webhook(world.api, issue.id, n)) for n in range(BURST)]
            await until(_some(lambda: sum(task.done() for task in burst)))
            begun = time.monotonic()
            _half_requests(exits, world.api.base_url.port)
            server.send_signal(signal.SIGTERM)
            _, log = await asyncio.to_thread(server.communicate, timeout=60)
            took = time.monotonic() - begun
            accepted = {id for id in await asyncio.gather(*burst) if id is not None}
            upload.cancel()
    assert (server.returncode, took < PROMISED) == (0, True), (took, log)
    assert accepted

    # Nothing is lost, and nothing waits for a lease to end.
    stored = await all_of(runtime, "SELECT id, claimed_by FROM deliveries")
    assert accepted <= {id for id, _ in stored}
    assert {claimed for _, claimed in stored} == {None}
    unfinished = "SELECT id, claimed_by FROM runs WHERE finished_at IS NULL"
    assert (sync["id"], None) in await all_of(runtime, unfinished)
    # The request may have arrived, as this one did.
    assert await all_of(runtime, "SELECT claimed_by, write_unconfirmed_at IS NULL FROM notices") == [
        (None, False)
    ]

    # Whoever comes next goes on at once, and looks at the ticket before it writes.
    write.go_on.set()
    world.github.latency, world.api, clock.now = 0, inside, datetime.now(UTC)
    await later(world, runtime, clock)
    assert (await all_of(runtime, f"SELECT state FROM runs WHERE id = {sync['id']}")) == [("succeeded",)]
    assert await all_of(runtime, "SELECT DISTINCT state FROM deliveries") == [("done",)]
    await later(world, runtime, clock, seconds=90)
    assert len(world.site.issue(ticket.key).comments) == 1
    assert world.jira.log.count("POST */issue/*/comment") == 1
    assert await all_of(runtime, "SELECT state FROM notices") == [("posted",)]


def _some(count: Callable[[], int]) -> Callable[[], Awaitable[int]]:
    async def counted() -> int:
        return count()

    return counted


def _half_requests(exits: AsyncExitStack, port: int | None) -> None:
    for _ in range(20):
        half = exits.enter_context(closing(socket.create_connection(("127.0.0.1", port or 0))))
        half.sendall(b"POST /webhooks/github HTTP/1.1\r\nHost: ")


async def _webhook(api: httpx.AsyncClient, issue_id: int, number: int) -> int | None:
    """The delivery's id where it was accepted; None where the door was closed by then."""
    payload = {
        "action": "edited",
        "issue": {"id": issue_id, "number": 1, "labels": [{"name": "epic"}]},
        "repository": {"full_name": "acme/shop"},
        "padding": f"{number}" + "x" * 10_000,
    }
    body = json.dumps(payload).encode()
    try:
        answered = await api.post(
            "/webhooks/github", content=body, headers=headers(body, x_github_delivery=f"burst-{number}")
        )
    except httpx.TransportError:
        return None
    return int(answered.json()["delivery"]) if answered.status_code == 202 else None


async def _slow_upload(api: httpx.AsyncClient) -> None:
    """A request that never comes to its end."""

    async def drip() -> AsyncIterator[bytes]:
        while True:
            yield b"x"
            await asyncio.sleep(1)

    with suppress(httpx.TransportError):
        await api.post("/webhooks/github", content=drip())
