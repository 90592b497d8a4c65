"""Loads the demo's company into a running installation, and removes it again.

The simulated trackers run in this process, on loopback ports, and end with it. The company is made through
the API, called in this process with a token made for it, which is deleted once that is done and ends by
itself after ten minutes. A row names what was made (`mappings.demo_company`).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote

import httpx
import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.demo_company.client import Api, DemoFailed
from app.demo_company.committee import steer
from app.demo_company.company import (
    SOURCES,
    Maker,
    answer_tickets,
    first_syncs,
    go_live_everywhere,
    remaining_answers,
    set_up,
    trackers_running,
)
from app.jobs.queue import QUEUES
from connectors.sandbox.company import goals
from connectors.sandbox.company.answers import DISPUTED, LINKED
from connectors.sandbox.company.github_epics import EPICS as GITHUB_EPICS
from connectors.sandbox.company.jira_epics import EPICS as JIRA_EPICS
from mappings import demo_company
from mappings.clock import QUEUE_CLOCK
from mappings.errors import Conflict, NotFound
from mappings.leases import LEASE, RENEW_EVERY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncSession
    from starlette.types import ASGIApp

    from app.demo_company.client import Json
    from app.demo_company.company import Kind, Trackers
    from app.runtime import Runtime
    from mappings.demo_company import CompanyState

log = structlog.get_logger()

LOOK_SECONDS = 1.0  # how long a removal that another process was asked for may wait
RELEASE_SECONDS = 1.5
LOADING_POLL_SECONDS = 0.2  # the server has people to answer meanwhile
NO_WORKER = (
    "The demo company needs a server that does its own jobs, for no other process reaches its trackers: "
    "start `northing serve` without `--no-worker`."
)
OTHER_WORKERS = (
    "Another process of Northing works on this database, or did until half a minute ago. It could not reach "
    "the simulated trackers, which run inside this one: `northing demo` shows the company without it."
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of what the company has. `things`: what loading makes one by one."""

    epics: int
    key_results: int
    things: int


def sizes() -> Sizes:
    company = goals(datetime(2026, 1, 1, tzinfo=UTC))  # as many at any time
    things = 1 + len(company.objectives) + len(company.key_results) + len(company.rules) + len(SOURCES)
    return Sizes(len(JIRA_EPICS) + len(GITHUB_EPICS), len(company.key_results), things)


STEPS = sizes().things + 8  # the things, and what `Maker.step` announces


Story: TypeAlias = "Callable[[Maker, Trackers, datetime], Awaitable[None]]"


async def whole_story(maker: Maker, trackers: Trackers, now: datetime) -> None:
    await first_syncs(maker)
    await go_live_everywhere(maker)
    await answer_tickets(maker, trackers, (LINKED, DISPUTED))
    await remaining_answers(maker, trackers, now)
    await steer(maker, now)


class _RememberingMaker(Maker):
    """Keeps in the row, before and after, what is made."""

    def __init__(self, api: Api, runtime: Runtime, claim: str) -> None:
        super().__init__(api)
        self._runtime, self._claim = runtime, claim

    async def step(self, text: str) -> None:
        async with self._runtime.sessions.begin() as session:
            await demo_company.note_step(session, self._claim, text)

    async def make(self, kind: Kind, key: str, path: str, body: Json) -> Json:
        async with self._runtime.sessions.begin() as session:
            await demo_company.note_pending(session, self._claim, kind, key)
        made = await super().make(kind, key, path, body)
        async with self._runtime.sessions.begin() as session:
            await demo_company.note_made(session, self._claim, kind, key)
        return made

    async def put_criteria(self, criteria: list[Json]) -> None:
        async with self._runtime.sessions.begin() as session:
            await demo_company.note_criteria(session, self._claim, [one["key"] for one in criteria])
        await super().put_criteria(criteria)

    async def put_scopes(self, scopes: list[Json]) -> None:
        async with self._runtime.sessions.begin() as session:
            await demo_company.note_scopes(session, self._claim, scopes)
        await super().put_scopes(scopes)


@dataclass(frozen=True, slots=True)
class _Loading:
    claim: str
    token: str
    who: str


class DemoCompany:
    """The demo's company, as the application of this process offers it.

    `address`: where this machine's own programs reach the application, None for nowhere; then what people
    write on simulated tickets is found by syncs. `has_worker`: this process does jobs.
    """

    def __init__(self, app: ASGIApp, runtime: Callable[[], Runtime], story: Story | None = None) -> None:
        """`story`: what happens once the company is there, in place of all that happens in the demo."""
        self._app, self._runtime, self._story = app, runtime, story or whole_story
        self._task: asyncio.Task[None] | None = None
        self.address: str | None = None
        self.has_worker = False

    async def state(self, session: AsyncSession) -> CompanyState | None:
        """None where the company is not loaded, nor being loaded, nor has failed to be."""
        if await demo_company.company_row(session) is None:
            return None  # as on nearly every page
        return await demo_company.company_state(session, await self._runtime().now(session), STEPS)

    async def why_not(self, session: AsyncSession) -> str | None:
        """Why the company cannot be loaded here, where it is not; None where it can."""
        if not self.has_worker:
            return NO_WORKER
        since = await QUEUE_CLOCK.read(session) - LEASE
        if await demo_company.count_workers(session, since) > len(QUEUES):
            return OTHER_WORKERS
        return await demo_company.why_not_empty(session)

    async def load(self, who: str) -> None:
        """Begin to load it; the row tells how far it is. Raises `Conflict` where that cannot be."""
        runtime = self._runtime()
        claim = runtime.claim_name()
        async with runtime.transaction(who) as session:
            state = await self.state(session)
            refused = await self.why_not(session)
            if refused is not None and (state is None or state.state == "failed"):
                raise Conflict(refused)
            token = await demo_company.begin_loading(session, claim, who, await runtime.now(session))
        self._task = asyncio.create_task(self._run(_Loading(claim, token, who)), name="demo company")

    async def remove(self, who: str) -> bool:
        """Remove all that loading made. Where another process loads it, that one is asked to, and False is
        returned.

        Raises `mappings.demo_company.Kept` where a person's own thing refers to it; then nothing is removed.
        """
        runtime = self._runtime()
        async with runtime.sessions.begin() as session:
            state = await self.state(session)
        if state is not None and state.is_loading:
            await self.aclose()  # so that no call is under way that makes something
        async with runtime.transaction(who) as session:
            removed = await demo_company.remove_company(session, who, await runtime.now(session))
        if removed:
            await self.aclose()
        return removed

    async def aclose(self) -> None:
        """End the trackers, and loading where it is under way; what was made stays."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    # --- in the background ------------------------------------------------------------------------

    async def _run(self, loading: _Loading) -> None:
        """Load the company and run its trackers, until it is removed or this process stops."""
        work = asyncio.create_task(self._load_and_serve(loading))
        watch = asyncio.create_task(self._until_removed(loading))
        asked_by: str | None = None
        try:
            await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
            if watch.done():
                asked_by = watch.result()
        finally:
            ended = work.done() and not work.cancelled()
            for task in (work, watch):
                task.cancel()
            await asyncio.gather(work, watch, return_exceptions=True)
            if not ended or asked_by is not None:
                await self._release(loading.claim)
        if asked_by is not None:
            await self._remove_as(asked_by)
        elif ended and (error := work.exception()) is not None:
            await self._fail(loading, error)

    async def _load_and_serve(self, loading: _Loading) -> None:
        runtime = self._runtime()
        transport = httpx.ASGITransport(self._app)
        api = Api("http://northing", loading.token, transport=transport, poll_seconds=LOADING_POLL_SECONDS)
        try:
            async with trackers_running(None) as trackers:
                maker = _RememberingMaker(api, runtime, loading.claim)
                maker.by_webhook = self.address is not None
                async with runtime.sessions() as session:
                    now = await runtime.now(session)
                await set_up(maker, trackers, now, self._webhook_url)
                await self._story(maker, trackers, now)
                async with runtime.transaction(loading.who) as session:
                    await demo_company.note_loaded(session, loading.claim)
                log.info("the demo's company is loaded", by=loading.who)
                await asyncio.Event().wait()
        finally:
            await api.aclose()

    def _webhook_url(self, source: Json) -> str | None:
        """Straight to this process: the public address may be a proxy's, on another machine."""
        return None if self.address is None else f"{self.address}/webhooks/{quote(source['name'], safe='')}"

    async def _until_removed(self, loading: _Loading) -> str | None:
        """Keep the claim until the company is removed; who asked for that, where it is still to be done."""
        runtime = self._runtime()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                async with asyncio.timeout(RENEW_EVERY.total_seconds()), runtime.sessions.begin() as session:
                    ours, asked_by = await demo_company.renew_claim(
                        session, loading.claim, await runtime.now(session)
                    )
            except (SQLAlchemyError, TimeoutError) as error:
                log.warning("the demo's company is not watched", reason=type(error).__name__)
                continue
            if not ours or asked_by is not None:
                return asked_by

    async def _remove_as(self, who: str) -> None:
        """As another process asked. What is refused stays, and the page says why once more."""
        runtime = self._runtime()
        try:
            async with runtime.transaction(who) as session:
                await demo_company.remove_company(session, who, await runtime.now(session))
        except (SQLAlchemyError, Conflict) as error:
            log.warning("the demo's company is not removed", reason=str(error))

    async def _release(self, claim: str) -> None:
        runtime = self._runtime()
        try:
            async with asyncio.timeout(RELEASE_SECONDS), runtime.transaction("northing") as session:
                await demo_company.release_claim(session, claim)
        except (SQLAlchemyError, TimeoutError) as error:
            log.warning("the demo's company ends with its lease", reason=type(error).__name__)

    async def _fail(self, loading: _Loading, error: BaseException) -> None:
        """What was made goes again; where that fails too, the row stays and a person can remove it."""
        runtime = self._runtime()
        if isinstance(error, NotFound):
            return  # removed meanwhile
        if isinstance(error, DemoFailed):
            log.warning("the demo's company could not be loaded", reason=str(error))
        else:
            log.error("the demo's company could not be loaded", exc_info=error)
        detail = str(error) if isinstance(error, DemoFailed) else f"{type(error).__name__}; the log says more"
        try:
            async with runtime.transaction(loading.who) as session:
                await demo_company.note_failure(session, loading.claim, detail, await runtime.now(session))
        except (SQLAlchemyError, Conflict, NotFound) as failed:
            log.warning("what was made of it stays until a person removes it", reason=str(failed))
            await self._release(loading.claim)
