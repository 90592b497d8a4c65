"""Simulated trackers that tell Northing of every change, by signed webhooks over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app.server.server import WebServer, open_listener
from tests.support.webhook_posts import SECRET
from tests.support.world import World


@asynccontextmanager
async def doors(app: FastAPI, world: World) -> AsyncIterator[str]:
    """Northing's address, while both trackers send their webhooks there."""
    listener = open_listener("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with WebServer(app).serving(listener):
        for name, tracker in (("jira", world.jira), ("github", world.github)):
            tracker.webhook_sender.set(f"{url}/webhooks/{name}", SECRET)
        yield url
        for tracker in (world.jira, world.github):
            await tracker.webhook_sender.idle()
            tracker.webhook_sender.clear()


async def process_everything(world: World) -> None:
    """Until the trackers have told all and Northing has done all that follows, its own echoes included."""
    reported = -1
    while reported != (
        reported := len(world.jira.webhook_sender.sent) + len(world.github.webhook_sender.sent)
    ):
        for tracker in (world.jira, world.github):
            await tracker.webhook_sender.idle()
        await world.drain()
