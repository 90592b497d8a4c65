"""`northing replay`: one stored delivery, once more, in this process or by a server's worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from app.audit import COMMAND_LINE, acting
from app.process import Failed
from app.runtime import Runtime
from app.server import attend, database, opened
from app.settings import Settings
from app.sweeper import working
from mappings import inbox
from mappings.tables import Delivery

POLL_SECONDS = 0.2


class CannotReplay(Failed):
    """There is no such delivery, or its body is gone."""


async def replay(settings: Settings, delivery_id: int, say: Callable[[str], None]) -> int:
    """0 where it ends `done` or `ignored`, else 1. Raises `CannotReplay` and what `server.opened` raises."""
    async with database(settings) as url, opened(settings, url) as runtime:
        await _receive_again(runtime, delivery_id)
        async with working(runtime) as worker:
            delivery = await attend([worker], _ended(runtime, delivery_id))
    about = f"Delivery {delivery_id} ({delivery.event}"
    about += f", {delivery.action})" if delivery.action else ")"
    error = delivery.error or {}
    if delivery.state == "received":
        again = f"A server tries again at {delivery.due_at:%H:%M:%S} UTC."
        say(f"{about} waits: {error.get('message', '')} {again}")
    elif delivery.state == "failed":
        say(f"{about} failed: {error.get('message', '')} {error.get('what_to_do', '')}".rstrip())
    else:
        why = f": {delivery.reason}" if delivery.reason else ""
        say(f"{about} is {delivery.state}{why}.")
    return 0 if delivery.state in ("done", "ignored") else 1


async def _receive_again(runtime: Runtime, delivery_id: int) -> None:
    async with runtime.sessions.begin() as session:
        acting(session, COMMAND_LINE)
        delivery = await session.get(Delivery, delivery_id, with_for_update=True)
        if delivery is None:
            raise CannotReplay(f"There is no delivery {delivery_id}; GET /api/v1/deliveries lists them")
        await session.refresh(delivery, ["body"])
        refused = inbox.why_no_replay(delivery, runtime.clock())
        if refused is not None:
            raise CannotReplay(refused)
        inbox.receive_again(delivery)
        await runtime.wake(session, "take_deliveries", source_id=delivery.source_id)


async def _ended(runtime: Runtime, delivery_id: int) -> Delivery:
    """The delivery once nobody works on it any more; it may have to wait for its tracker."""
    while True:
        async with runtime.sessions() as session:
            delivery = await session.get_one(Delivery, delivery_id)
        waits = delivery.due_at is not None and delivery.error is not None
        if delivery.due_at is None or waits:
            return delivery
        await asyncio.sleep(POLL_SECONDS)
