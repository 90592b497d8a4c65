"""Northing itself, on a database of its own: connected through its API, its runs done by its own worker."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx
from cryptography.fernet import Fernet

from app.api.deps import token_hash
from app.application import create_app
from app.database import engine_for, sessions_for
from app.installation import prepare
from app.jobs import queue_on, work_until_idle
from app.runtime import Runtime
from app.settings import Settings
from app.vault import vault_for
from connectors.sandbox.company.goals import goals
from tests.bench.servers import Tracker

SOURCE = "crowd"
SYNC_SECONDS = 120
TOKEN = "a-token-for-the-bench"
KEY = Fernet.generate_key().decode()  # one for all, so that a database may be opened again

# Name, key result, condition: most of the crowd's epics match one, some conditions match nothing.
RULES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("Security backlog", "KR-9", {"all": [{"label": ["security"]}, {"not": {"label": ["wont-fix"]}}]}),
    ("First areas", "KR-1", {"all": [{"label": ["area-1", "area-2"]}, {"not": {"label": ["team-3"]}}]}),
    ("Areas in the teens", "KR-2", {"all": [{"project": ["CROWD"]}, {"label": ["area-1?"]}]}),
    ("Parts ending in five", "KR-3", {"all": [{"component": ["data"]}, {"title": r"(?i)\bpart \d*5:"}]}),
    ("Led by one person", "KR-4", {"any": [{"assignee": ["lead-3"]}, {"milestone": ["Leaner platform"]}]}),
    ("Refunds without hands", "KR-5", {"title": r"(?i)\brefunds?\b"}),
    ("One team", "KR-6", {"all": [{"type": ["Epic"]}, {"label": ["team-1"]}]}),
    ("Compute", "KR-7", {"all": [{"source": SOURCE}, {"component": ["compute"]}, {"label": ["area-2?"]}]}),
    ("Below the first epic", "KR-8", {"parent": ["CROWD-1"]}),
    ("A goal that is closed", "KR-10", {"label": ["area-9"]}),
)


@dataclass(frozen=True, slots=True)
class Synced:
    """A run as the API shows it, and the seconds from asking for it until its work was done."""

    run: dict[str, Any]
    seconds: float


class Northing:
    def __init__(self, runtime: Runtime, api: httpx.AsyncClient) -> None:
        self._runtime = runtime
        self._api = api

    async def send(self, method: str, path: str, body: Any = None) -> Any:
        answer = await self._api.request(method, f"/api/v1{path}", json=body)
        if not answer.is_success:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json()

    async def set_up(self, tracker: Tracker) -> None:
        """Goals, rules and the source, in the default mode `shadow`; nothing is read yet."""
        company = goals(datetime.now(UTC))
        await self.send("POST", "/cycles", company.cycle)
        for objective in company.objectives:
            await self.send("POST", "/objectives", objective)
        for key, body in company.key_results:
            await self.send("POST", f"/objectives/{key}/key-results", body)
        for key, body in company.check_ins:
            await self.send("POST", f"/key-results/{key}/check-ins", body)
        for name, key, when in RULES:
            await self.send("POST", "/rules", {"name": name, "key_result": key, "when": when})
        credentials = {"type": "api_token", "email": tracker.email, "token": tracker.token}
        source = {"name": SOURCE, "kind": "jira", "base_url": tracker.url, "credentials": credentials}
        await self.send("POST", "/sources", {**source, "schedule": {"every": None, "full": None}})
        await work_until_idle(self._runtime)

    async def warn_all(self) -> None:
        """Have a notice worked out for every epic with a gap, also for those older than the source."""
        await self.send("PATCH", "/policy", {"since": None})
        await work_until_idle(self._runtime)

    async def sync(self, mode: str) -> Synced:
        """From asking for the run until the worker has nothing left to do."""
        gc.collect()
        start = perf_counter()
        async with asyncio.timeout(SYNC_SECONDS):
            run = await self.send("POST", f"/sources/{SOURCE}/sync", {"mode": mode})
            await work_until_idle(self._runtime)
        seconds = perf_counter() - start
        run = await self.send("GET", f"/runs/{run['id']}")
        if run["state"] != "succeeded":
            raise RuntimeError(f"the run ended {run['state']}: {run['error']}")
        return Synced(run, seconds)


@asynccontextmanager
async def northing(database: str) -> AsyncIterator[Northing]:
    """On a migrated database, until the block ends."""
    settings = Settings(
        _env_file=None,
        database_url=database,
        secret_key=KEY,
        admin_token=TOKEN,
        data_dir=Path(),
        public_url="http://127.0.0.1:8000",
        log_format="json",
    )
    engine, queue = engine_for(database), queue_on(database)
    runtime = Runtime(settings, engine, sessions_for(engine), vault_for(settings), queue)
    transport = httpx.ASGITransport(create_app(runtime, token_hash(TOKEN)))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    try:
        async with (
            queue.open_async(),
            httpx.AsyncClient(transport=transport, base_url="http://northing", headers=headers) as api,
        ):
            await prepare(runtime)
            yield Northing(runtime, api)
    finally:
        await engine.dispose()
