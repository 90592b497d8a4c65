"""The story: people work on tickets while anything is killed at any moment; then all is left alone.

It goes in spells. In each one every kind of kill strikes, at moments drawn from the seed or just when a
comment is on its way; trackers come and go, now and then all of them for an hour. Then nothing is killed, no
person lends a hand, and once all is quiet everything has to be as if nothing had happened.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import psycopg
from cryptography.fernet import Fernet

from app.settings import Settings
from tests.soak.clock import Clock
from tests.soak.database import Database, database
from tests.soak.findings import SoakFindings, broken, left
from tests.soak.ports import free_port
from tests.soak.process import Given, serve, work
from tests.soak.setup import TOKEN, api_at, set_up
from tests.soak.sources import LATENCY, SECRET, SoakSource
from tests.soak.supervisor import Supervised
from tests.soak.tickets import GitHubTickets, JiraTickets

SPEED = 10.0  # a lease of half a minute is three seconds
LEAPS, BETWEEN_LEAPS = 6, 0.5  # an hour without trackers, and the seconds after each part of it
KILLS = ("server", "worker", "worker", "all workers", "postgresql", "one session", "everything")
AIMED, AIM_SECONDS = (
    3,
    4,
)  # of each round the first, for then much is written: so long they wait for a comment
SHORTLY, LATELY = 0.05, 1.2  # seconds between one kill and the next
PATIENCE = 60  # seconds for all to be quiet
HOURS = 3  # at most, for what is bounded by the hour
POLL_SECONDS = 0.2
KILLS_AT_ONCE = 10
ON_ITS_WAY = "kills while a comment was on its way"


@dataclass
class Outcome:
    """What was counted, and what was found that should not be: nothing, if all is well."""

    counts: Counter[str] = field(default_factory=Counter)
    found: list[str] = field(default_factory=list)


@dataclass
class Soak:
    """Both trackers, the database, and the processes between them, all of one seed."""

    seed: int
    folder: Path
    database: Database
    clock: Clock
    outcome: Outcome
    soak_sources: list[SoakSource] = field(default_factory=list)
    server: Supervised = field(init=False)
    workers: list[Supervised] = field(init=False)
    port: int = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.port = free_port()
        self.write_came = asyncio.Event()
        self.server = self._kept(serve, "server")
        self.workers = [self._kept(work, f"worker-{number}") for number in (1, 2)]

    def _kept(self, target: Any, name: str) -> Supervised:
        given = Given(name, self.settings, self.folder, self.folder / "clock", SPEED)
        # A chance of its own: when a process starts again must not depend on who died first.
        chance = random.Random(f"{self.seed} {name}")
        return Supervised(
            target, given, lambda: chance.uniform(0, 1), self.outcome.counts, self.outcome.found
        )

    @property
    def settings(self) -> Settings:
        return Settings(
            _env_file=None,
            database_url=self.database.url,
            secret_key=_KEY,
            admin_token=TOKEN,
            data_dir=self.folder,
            port=self.port,
            public_url="http://127.0.0.1:8000",
            log_format="json",
        )

    @property
    def processes(self) -> list[Supervised]:
        return [self.server, *self.workers]

    # --- the set-up -----------------------------------------------------------------------------

    @asynccontextmanager
    async def begun(self, epics: int) -> AsyncIterator[None]:
        """Everything up, both sources connected and live, and read for the first time."""
        counts, found = self.outcome.counts, self.outcome.found
        async with AsyncExitStack() as stack:
            for tickets in (JiraTickets(self.clock), GitHubTickets(self.clock)):
                soak_source = await stack.enter_async_context(
                    SoakSource(tickets, counts, found, self.write_came)
                )
                soak_source.fill(self.chance, epics)
                self.soak_sources.append(soak_source)
            for process in self.processes:
                await stack.enter_async_context(process.kept())
            await self.server.up()
            await asyncio.to_thread(set_up, self.port, self.soak_sources)
            for soak_source in self.soak_sources:
                url = f"http://127.0.0.1:{self.port}/webhooks/{soak_source.tickets.kind}"
                soak_source.tracker.webhook_sender.set(url, SECRET)
            yield

    # --- the trouble ----------------------------------------------------------------------------

    async def spell(self, rounds: int) -> None:
        """People and trouble side by side, until every kind of kill has struck `rounds` times."""
        over = asyncio.Event()
        async with asyncio.TaskGroup() as together:
            for troubled in (self._people, self._outages):
                together.create_task(troubled(random.Random(self.chance.random()), over))
            for _ in range(rounds):
                await self._kills(random.Random(self.chance.random()))
                # By its end every claim of the dead is over, and there is much to do.
                await self.an_hour()
            over.set()

    async def _people(self, chance: random.Random, over: asyncio.Event) -> None:
        while not over.is_set():
            await asyncio.sleep(chance.uniform(0.05, 0.5))
            soak_source = chance.choice(self.soak_sources)
            soak_source.edit(chance)
            if chance.random() < 0.1:
                soak_source.send_again(chance)

    async def _outages(self, chance: random.Random, over: asyncio.Event) -> None:
        """One tracker at a time is in trouble, for up to half a minute of Northing's."""
        while not over.is_set():
            await asyncio.sleep(chance.uniform(1, 3))
            soak_source, how = chance.choice(self.soak_sources), chance.choice(["refused", "503"])
            seconds = chance.uniform(0.5, 2)
            self.outcome.counts[f"outages, {how}"] += 1
            async with soak_source.away() if how == "refused" else soak_source.in_trouble():
                await asyncio.sleep(seconds)

    async def an_hour(self) -> None:
        """Nobody can reach a tracker, so the hour may pass in leaps: no request is under way that a claim
        has to outlast. Between two of them whatever is due is tried once, and refused."""
        self.outcome.counts["outages of an hour"] += 1
        async with AsyncExitStack() as stack:
            for soak_source in self.soak_sources:
                await stack.enter_async_context(soak_source.away())
            for _ in range(LEAPS):
                await asyncio.sleep(BETWEEN_LEAPS)
                self.clock.leap(timedelta(hours=1) / LEAPS)
            await asyncio.sleep(BETWEEN_LEAPS)

    async def _kills(self, chance: random.Random) -> None:
        for number, kind in enumerate(chance.sample(KILLS, len(KILLS))):
            await asyncio.sleep(chance.uniform(SHORTLY, LATELY))
            if number < AIMED:
                await self._comment_on_its_way(chance)
            await self._strike(kind, chance)

    async def _comment_on_its_way(self, chance: random.Random) -> bool:
        """The moment at which one is, or just was; False where none comes."""
        self.write_came.clear()
        try:
            async with asyncio.timeout(AIM_SECONDS):
                await self.write_came.wait()
        except TimeoutError:
            return False
        self.outcome.counts[ON_ITS_WAY] += 1
        await asyncio.sleep(chance.uniform(0, 2 * LATENCY))
        return True

    async def _strike(self, kind: str, chance: random.Random) -> None:
        hit = {
            "server": [self.server],
            "worker": [chance.choice(self.workers)],
            "all workers": self.workers,
            "everything": self.processes,
        }.get(kind, [])
        for process in hit:
            await process.up()
        killed = [process.kill() for process in hit]
        if kind in ("postgresql", "everything"):
            await asyncio.to_thread(self.database.kill)
            killed.append(True)
        if kind == "one session":
            killed.append(await asyncio.to_thread(self.database.kill_session, chance.random()))
        self.outcome.counts[f"kills of {kind}"] += any(killed)
        self.outcome.counts["kills in all"] += sum(killed)
        if not (hit and kind != "everything"):
            await asyncio.sleep(chance.uniform(0, 1))
            await asyncio.to_thread(self.database.start)

    async def writing_kills(self, kills: int) -> None:
        """People open one epic after the other, and the workers are killed each time when a comment is on its
        way, until they were killed so often."""
        before = self.outcome.counts[ON_ITS_WAY]
        while self.outcome.counts[ON_ITS_WAY] < before + kills:
            for worker in self.workers:
                await worker.up()
            self.chance.choice(self.soak_sources).open_epic(self.chance)
            if await self._comment_on_its_way(self.chance):
                killed = [worker.kill() for worker in self.workers]
                self.outcome.counts["kills in all"] += sum(killed)

    # --- the calm -------------------------------------------------------------------------------

    async def calm(self) -> None:
        """Leave it alone until all is quiet, and check it."""
        for process in self.processes:
            await process.up()
        for soak_source in self.soak_sources:
            await soak_source.tracker.webhook_sender.idle()
        with psycopg.connect(self.database.url, autocommit=True, connect_timeout=10) as connection:
            for _ in range(HOURS):
                waits = await self._quiet(connection)
                if not waits:
                    break
                await self.an_hour()
            else:
                self.outcome.found += [f"after {HOURS} hours still {what}" for what in waits]
            self.outcome.found += broken(connection)
            with api_at(self.port) as api:
                for soak_source in self.soak_sources:
                    findings = SoakFindings(soak_source, api, connection)
                    self.outcome.found += await asyncio.to_thread(list, findings.found())

    async def _quiet(self, connection: psycopg.Connection[Any]) -> list[str]:
        """Nothing, or what is left to do when patience ends."""
        since, deadline = self.clock(), monotonic() + PATIENCE
        while waits := await asyncio.to_thread(left, connection, self.clock(), since):
            if monotonic() > deadline:
                return waits
            await asyncio.sleep(POLL_SECONDS)
        return []

    def count_webhooks(self) -> None:
        counts = self.outcome.counts
        for soak_source in self.soak_sources:
            soak_source.note_accepted()
            counts["webhooks sent"] += len(soak_source.tracker.webhook_sender.sent)
            counts["webhooks accepted"] += len(soak_source.accepted)
            counts["webhooks lost"] += sum(
                1 for one in soak_source.tracker.webhook_sender.sent if one.id not in soak_source.accepted
            )
            counts["comments and edits asked for"] += soak_source.writes


_KEY = Fernet.generate_key().decode()


async def soak(
    seed: int,
    *,
    epics: int,
    rounds: int,
    goes_on: Callable[[int], bool],
    say: Callable[[str], None],
    keep: Path | None = None,
) -> Outcome:
    """Spell after spell while `goes_on`, asked with the number of those done, says so and nothing is found.

    Each kind of kill strikes `rounds` times a spell. `keep` is a folder for the processes' logs.
    """
    async with _begun(seed, epics, keep) as one:
        outcome = one.outcome
        while not outcome.found and goes_on(outcome.counts["spells"]):
            await one.spell(rounds)
            await one.calm()
            outcome.counts["spells"] += 1
            say(f"{outcome.counts['spells']} spells, {outcome.counts['kills in all']} kills")
    return outcome


async def soak_writing(
    seed: int, *, epics: int, kills: int, say: Callable[[str], None], keep: Path | None = None
) -> Outcome:
    """Kill all workers `kills` times while a comment is on its way, then leave all alone and check it."""
    async with _begun(seed, epics, keep) as one:
        for done in range(0, kills, KILLS_AT_ONCE):
            await one.writing_kills(min(KILLS_AT_ONCE, kills - done))
            say(f"{one.outcome.counts[ON_ITS_WAY]} kills while a comment was on its way")
        await one.calm()
    return one.outcome


@asynccontextmanager
async def _begun(seed: int, epics: int, keep: Path | None) -> AsyncIterator[Soak]:
    with TemporaryDirectory(prefix="northing-soak-") as temporary:
        folder = Path(temporary) if keep is None else keep
        with database() as own:
            clock = Clock.make(folder / "clock", SPEED)
            one = Soak(seed, folder, own, clock, Outcome())
            async with one.begun(epics):
                yield one
            one.count_webhooks()
