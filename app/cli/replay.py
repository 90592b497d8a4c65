"""`northing replay`: processes one stored delivery again, in this process or in a server's worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from app.jobs.worker import worker_running
from app.runtime import Runtime
from app.server.bootstrap import open_secrets
from app.server.server import database_url, open_runtime, run_until_exit
from app.settings import Settings
from mappings.audit import COMMAND_LINE
from mappings.errors import NotFound
from mappings.tables import DeliveryRow
from mappings.webhooks.operations import replay_delivery

POLL_SECONDS = 0.2


async def replay(settings: Settings, delivery_id: int, print_line: Callable[[str], None]) -> int:
    """0 if it ends `done` or `ignored`, else 1. Raises `NotFound`, `Conflict` and what `open_runtime`
    raises."""
    async with database_url(settings) as url, open_runtime(settings, url) as runtime:
        await open_secrets(runtime)
        await _receive_again(runtime, delivery_id)
        async with worker_running(runtime) as worker:
            delivery = await run_until_exit([worker], _ended(runtime, delivery_id))
    about = f"Delivery {delivery_id} ({delivery.event}"
    about += f", {delivery.action})" if delivery.action else ")"
    error = delivery.error or {}
    if delivery.state == "received":
        again = f"A server tries again at {delivery.due_at:%H:%M:%S} UTC."
        print_line(f"{about} waits: {error.get('message', '')} {again}")
    elif delivery.state == "failed":
        print_line(f"{about} failed: {error.get('message', '')} {error.get('what_to_do', '')}".rstrip())
    else:
        why = f": {delivery.reason}" if delivery.reason else ""
        print_line(f"{about} is {delivery.state}{why}.")
    return 0 if delivery.state in ("done", "ignored") else 1


async def _receive_again(runtime: Runtime, delivery_id: int) -> None:
    async with runtime.transaction(COMMAND_LINE) as session:
        try:
            await replay_delivery(session, delivery_id, await runtime.now(session))
        except NotFound:
            raise NotFound(f"There is no delivery {delivery_id}; GET /api/v1/deliveries lists them") from None


async def _ended(runtime: Runtime, delivery_id: int) -> DeliveryRow:
    """The delivery, once it has ended or has to wait for its tracker."""
    while True:
        async with runtime.sessions() as session:
            delivery = await session.get_one(DeliveryRow, delivery_id)
        waits = delivery.due_at is not None and delivery.error is not None
        if delivery.due_at is None or waits:
            return delivery
        await asyncio.sleep(POLL_SECONDS)
