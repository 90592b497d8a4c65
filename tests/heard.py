"""Simulated trackers that tell Northing of every change, by signed webhooks over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from app.server import Web, listen
from connectors.sandbox.tracker import Tracker
from tests.sides import Side
from tests.world import World

SECRET = "a secret of the tracker's"


@asynccontextmanager
async def doors(app: FastAPI, world: World) -> AsyncIterator[str]:
    """Northing's address, while both trackers send their webhooks there."""
    listener = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with Web(app).serving(listener):
        for name, tracker in (("jira", world.jira), ("github", world.github)):
            tracker.hook.set(f"{url}/webhooks/{name}", SECRET)
        yield url
        for tracker in (world.jira, world.github):
            await tracker.hook.idle()
            tracker.hook.clear()


async def settle(world: World) -> None:
    """Until the trackers have told all and Northing has done all that follows, its own echoes included."""
    told = -1
    while told != (told := len(world.jira.hook.sent) + len(world.github.hook.sent)):
        for tracker in (world.jira, world.github):
            await tracker.hook.idle()
        await world.drain()


async def deliveries(world: World, source: str) -> list[Any]:
    """Newest first."""
    items: list[Any] = (await world.send("GET", f"/deliveries?source={source}&limit=500"))["items"]
    return items


def fetches(side: Side) -> int:
    """How often a ticket was fetched."""
    tracker: Tracker = side.tracker
    return tracker.log.count(side.reads)
