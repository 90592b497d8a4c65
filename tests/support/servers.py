"""Servers and workers as processes of their own, waited for and stopped."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from connectors.network import Transport
from tests.support.processes import Forked, started, wait_for_output
from tests.support.world import ADMIN_TOKEN

STOP_SECONDS = 20  # ten are promised; a busy machine gets twice as many
PATIENCE = 60

Process = subprocess.Popen[str] | Forked


async def until(holds: Callable[[], Awaitable[Any]]) -> Any:
    """What `holds` gives, as soon as that is something."""
    async with asyncio.timeout(PATIENCE):
        while not (found := await holds()):
            await asyncio.sleep(0.05)
        return found


@asynccontextmanager
async def running(
    count: int, words: str, *command: str, env: dict[str, str], cwd: Path
) -> AsyncIterator[list[tuple[Process, str]]]:
    """So many processes of one command, each with the line in which it said that it is ready."""
    async with AsyncExitStack() as exits:
        processes = [exits.enter_context(started(*command, env=env, cwd=cwd)) for _ in range(count)]
        lines = [(await asyncio.to_thread(wait_for_output, process, words))[-1] for process in processes]
        yield list(zip(processes, lines, strict=True))


async def stopped(process: Process) -> list[dict[str, Any]]:
    """Its log, once it has stopped in order and in time."""
    process.send_signal(signal.SIGTERM)
    _, log = await asyncio.to_thread(process.communicate, timeout=STOP_SECONDS)
    assert process.returncode == 0, log
    return [json.loads(line) for line in log.splitlines()]


def api_of(line: str) -> httpx.AsyncClient:
    """The API of the server that printed this line."""
    url = line.split("serves ")[1].split(",")[0]
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=30, transport=Transport())
