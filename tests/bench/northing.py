"""Northing itself, on a database of its own: connected through its API, its runs done by its own worker."""

from __future__ import annotations

import asyncio
import gc
import hmac
import json
import re
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, cast

import httpx
from sqlalchemy import CursorResult, event, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.types import ASGIApp, Message

from app.database import engine_for, sessions_for
from app.jobs.queue import queue_for, run_worker_until_idle
from app.pipeline import execute_run
from app.runtime import Runtime
from app.secrets import cipher_for
from app.server.application import create_app
from app.server.bootstrap import after_start, prepare_installation
from app.settings import Settings
from app.webhooks.door import Intake
from app.why_signature import why_signature
from connectors.sandbox.company.goals import goals
from mappings.access.operations import token_hash
from mappings.clock import DatabaseClock
from mappings.links.bulk import LinkRequest, link_many
from mappings.tables import EpicRow, NoticeRow, SourceRow
from tests.bench.servers import Tracker, program

SOURCE, REPOSITORY = "crowd", "acme/crowd"
SYNC_SECONDS = 400
TOKEN = "a-token-for-the-bench"
SECRET = "a secret of the trackers'"
PUBLIC_URL = "http://127.0.0.1:8000"
# One for all processes, so that a database may be opened again.
KEY = urlsafe_b64encode(b"the key of each bench's database").decode()

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


@dataclass(slots=True)
class Opened:
    """What a page or query took: `seconds` by the wall's clock, `cpu` of this process, which is all but the
    database's."""

    status: int = 0
    seconds: float = 0.0
    cpu: float = 0.0


class Northing:
    def __init__(self, runtime: Runtime, intake: Intake, app: ASGIApp, api: httpx.AsyncClient) -> None:
        self._app = app
        self._runtime = runtime
        self._intake = intake
        self._api = api

    async def send(self, method: str, path: str, body: Any = None) -> Any:
        answer = await self._api.request(method, f"/api/v1{path}", json=body)
        if not answer.is_success:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json()

    @property
    def cursor_key(self) -> bytes:
        """Signs the cursors of lists."""
        return self._runtime.signing.key("cursor")

    async def first_unaligned(self) -> tuple[int, str]:
        """The id and key of the first epic that is unaligned."""
        async with self._runtime.sessions() as session:
            unaligned = select(EpicRow.id, EpicRow.key).where(EpicRow.alignment == "unaligned")
            id, key = (await session.execute(unaligned.order_by(EpicRow.id).limit(1))).one()
        return id, key

    def why_path(self, epic_id: int) -> str:
        """Of the page behind "Why?" of this epic."""
        return f"/why/{why_signature(self._runtime.signing.key('why'), epic_id)}"

    async def sign_in(self) -> None:
        """On the pages, as a person does."""
        form = (await self.open("/login")).text
        fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form))
        answer = await self._api.post("/login", data={**fields, "token": TOKEN})
        if answer.status_code != 303:
            raise RuntimeError(f"not signed in: {answer.status_code} {answer.text}")

    def sign_out(self) -> None:
        """Forget the cookie."""
        self._api.cookies.clear()

    async def open(self, address: str) -> httpx.Response:
        """A page, or a file that one names, as a browser asks for it."""
        return await self._api.get(address, headers={"Accept-Encoding": "gzip, br"})

    async def serve(self, address: str) -> Opened:
        """A page or list, asked of the application itself, so that no client is measured."""
        path, _, query = address.partition("?")
        cookie = "; ".join(f"{name}={value}" for name, value in self._api.cookies.items())
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [
                (b"host", b"northing"),
                (b"cookie", cookie.encode()),
                (b"authorization", f"Bearer {TOKEN}".encode()),
            ],
            "client": ("127.0.0.1", 50_000),
            "server": ("northing", 80),
        }
        opened = Opened()

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            opened.status = message.get("status", opened.status)

        cpu, start = process_time(), perf_counter()
        await self._app(scope, receive, send)
        opened.seconds, opened.cpu = perf_counter() - start, process_time() - cpu
        return opened

    async def ask(self, query: Callable[[Runtime, AsyncSession], Awaitable[Any]]) -> Opened:
        """One query of the domain or list of the API, called as a page calls it."""
        cpu, start = process_time(), perf_counter()
        async with self._runtime.transaction("bench") as session:
            await query(self._runtime, session)
        return Opened(200, perf_counter() - start, process_time() - cpu)

    async def set_up(self, tracker: Tracker) -> None:
        """Goals, rules and the source, in the default mode `shadow`; nothing is read yet."""
        await self.set_up_goals()
        for name, key, when in RULES:
            await self.send("POST", "/rules", {"name": name, "key_result": key, "when": when})
        await self.connect(SOURCE, tracker)
        await run_worker_until_idle(self._runtime)

    async def set_up_goals(self) -> None:
        company = goals(datetime.now(UTC))
        await self.send("POST", "/cycles", company.cycle)
        for objective in company.objectives:
            await self.send("POST", "/objectives", objective)
        for key, body in company.key_results:
            await self.send("POST", f"/objectives/{key}/key-results", body)
        for key, body in company.check_ins:
            await self.send("POST", f"/key-results/{key}/check-ins", body)

    async def connect(self, name: str, tracker: Tracker, **members: Any) -> None:
        """A source without a timetable."""
        source = {
            "name": name,
            "kind": tracker.kind,
            "base_url": tracker.url,
            "credentials": tracker.credentials,
            "schedule": {"every": None, "full": None},
        }
        if tracker.kind == "github":
            source["scope"] = {"repositories": [REPOSITORY]}
        await self.send("POST", "/sources", source | members)

    async def warn_all(self) -> None:
        """Have a notice worked out for every epic with a gap, also for those older than the source."""
        await self.send("PATCH", "/policy", {"since": None})
        await run_worker_until_idle(self._runtime)

    async def sync(self, mode: str, source: str = SOURCE) -> Synced:
        """From asking for the run until the worker has nothing left to do."""
        gc.collect()
        start = perf_counter()
        async with asyncio.timeout(SYNC_SECONDS):
            run = await self.send("POST", f"/sources/{source}/sync", {"mode": mode})
            await run_worker_until_idle(self._runtime)
        seconds = perf_counter() - start
        run = await self.send("GET", f"/runs/{run['id']}")
        if run["state"] != "succeeded":
            raise RuntimeError(f"the run ended {run['state']}: {run['error']}")
        return Synced(run, seconds)

    async def receive(self, source: str, payload: Any, event: str) -> None:
        """A signed webhook of the tracker."""
        body = json.dumps(payload).encode()
        signature = f"sha256={hmac.new(SECRET.encode(), body, 'sha256').hexdigest()}"
        headers = {
            "Content-Type": "application/json",
            "X-Hub-Signature": signature,  # Jira's
            "X-Hub-Signature-256": signature,  # GitHub's
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": signature[-36:],
        }
        answer = await self._api.post(f"/webhooks/{source}", content=body, headers=headers)
        answer.raise_for_status()

    async def work(self) -> None:
        """Until nothing is left to do."""
        await self._intake.wait_for_wake_ups()
        await run_worker_until_idle(self._runtime)

    async def link(self, requests: Sequence[LinkRequest]) -> None:
        """Make these links in one transaction, as an import does; raises where one is not new."""
        async with self._runtime.transaction("bench") as session:
            now = await self._runtime.now(session)
            outcomes, _ = await link_many(
                session, requests, "imported", now, dry_run=False, change_existing=True
            )
        if any(found.outcome != "created" for found in outcomes):
            raise RuntimeError("a link was not made")

    @contextmanager
    def statements(self) -> Iterator[list[tuple[str, Any]]]:
        """Each statement with its parameters, as they are executed until the block ends."""
        executed: list[tuple[str, Any]] = []

        def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
            executed.append((statement, parameters))

        engine = self._runtime.engine.sync_engine
        event.listen(engine, "before_cursor_execute", note)
        try:
            yield executed
        finally:
            event.remove(engine, "before_cursor_execute", note)

    async def evaluate(self, source: str) -> None:
        """Read all and evaluate it. What is to be written is due then, and nobody writes it."""
        run = await self.send("POST", f"/sources/{source}/sync", {"mode": "full"})
        await execute_run(self._runtime, run["id"])

    async def hold_back(self) -> int:
        """Put off what is due, for as long as any bench takes; how many tickets that is."""
        async with self._runtime.sessions.begin() as session:
            held = await session.execute(_LATER)
        return cast(CursorResult[Any], held).rowcount

    async def let_go(self) -> None:
        """What is held back is due now, and every worker is woken, as at the end of a run."""
        async with self._runtime.sessions.begin() as session:
            await session.execute(_NOW)
            for source_id in await session.scalars(select(SourceRow.id).order_by(SourceRow.id)):
                await self._runtime.wake(session, "write_tickets", source_id=source_id)


_LATER = (
    update(NoticeRow).where(NoticeRow.due_at.is_not(None)).values(due_at=NoticeRow.due_at + timedelta(days=1))
)
_NOW = (
    update(NoticeRow).where(NoticeRow.due_at.is_not(None)).values(due_at=NoticeRow.due_at - timedelta(days=1))
)


@contextmanager
def serving(database: str, *, worker: bool) -> Iterator[str]:
    """The address of `northing serve` on a migrated database, a process of its own."""
    arguments = ("serve",) if worker else ("serve", "--no-worker")
    with program("app", *arguments, settings=_environment(database) | {"port": "0"}) as line:
        yield line.removeprefix("Northing serves ").partition(",")[0]


@contextmanager
def working(database: str) -> Iterator[None]:
    """`northing worker` on a migrated database, a process of its own; it does jobs by now."""
    with program("app", "worker", settings=_environment(database)):
        yield


def _environment(database: str) -> dict[str, str]:
    return {
        "database_url": database,
        "secret_key": KEY,
        "admin_token": TOKEN,
        "data_dir": "data",
        "public_url": PUBLIC_URL,
        "log_format": "json",
    }


@asynccontextmanager
async def northing(database: str) -> AsyncIterator[Northing]:
    """On a migrated database, until the block ends."""
    settings = Settings(
        _env_file=None,
        database_url=database,
        secret_key=KEY,
        admin_token=TOKEN,
        data_dir=Path(),
        public_url=PUBLIC_URL,
        log_format="json",
    )
    engine, queue = engine_for(database), queue_for(database)
    intake = Intake(database, queue, DatabaseClock())
    runtime = Runtime(settings, engine, sessions_for(engine), cipher_for(settings), queue)
    app = create_app(runtime, intake, token_hash(TOKEN))
    transport = httpx.ASGITransport(app)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    try:
        async with (
            queue.open_async(),
            intake,
            httpx.AsyncClient(transport=transport, base_url="http://northing", headers=headers) as api,
        ):
            await prepare_installation(runtime)
            with after_start():
                yield Northing(runtime, intake, app, api)
    finally:
        await engine.dispose()
