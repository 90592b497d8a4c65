"""Epics with parents, stored as a page of a tracker is, whatever the tracker shows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import aliased

from app.runtime import Runtime
from app.sync.transaction import source_transaction
from connectors.base import Epic, EpicRef, Missing, Parent
from mappings.epics.transfers import store_ticket
from mappings.epics.upsert import UpsertResult, upsert_epics
from mappings.runs.causes import Cause, join_run
from mappings.runs.reevaluation import reevaluate_below_tickets
from mappings.tables import EpicRow, LinkRow, RunRow, SourceRow
from tests.support.clock import Clock
from tests.support.evaluations import an_epic
from tests.support.world import World


def part(
    key: str,
    parent: str | Parent | None = None,
    *,
    title: str | None = None,
    id: str | None = None,
    **members: Any,
) -> Epic:
    """An epic whose ticket names this parent, by its key alone where it is a word."""
    if isinstance(parent, str):
        parent = Parent(parent)
    named = {"title": f"Title of {key}", "remote_id": id or f"id-{key}", "parent": parent}
    return an_epic(key=key, project=key.split("-")[0].split("#")[0], **named, **members)


def by_id(epic: Epic) -> Parent:
    """This epic as a parent, as Jira names it."""
    return Parent(epic.key, epic.remote_id, epic.title, epic.url)


@dataclass
class Hierarchy:
    """Epics of the sources of a world. The clock goes on with each change, so that `evaluated` knows which
    epics the last one has evaluated."""

    world: World
    runtime: Runtime
    clock: Clock

    async def source(self, name: str) -> SourceRow:
        async with self.runtime.sessions() as session:
            return (await session.scalars(select(SourceRow).where(SourceRow.name == name))).one()

    async def store(self, source: str, *epics: Epic, missing: Iterable[Missing] = ()) -> None:
        """As a page of a tracker is stored; nothing is evaluated yet. Each state is newer than the last."""
        row = await self.source(source)
        self.clock.advance(seconds=1)
        newer = [replace(epic, updated_at=self.clock.now) for epic in epics]
        async with source_transaction(self.runtime, row) as session:
            now = await self.runtime.now(session)
            found = await upsert_epics(session, row.id, row.tracker, newer, missing, now)
            await self._follow(session, row, found, now)

    async def transfer(self, source: str, old_id: str, epic: Epic) -> None:
        """The ticket stored under this id is this epic now."""
        row = await self.source(source)
        self.clock.advance(seconds=1)
        async with source_transaction(self.runtime, row) as session:
            now = await self.runtime.now(session)
            found = await store_ticket(session, row, old_id, replace(epic, updated_at=now), now)
            await self._follow(session, row, found, now)

    async def remove(self, source: str, epic: Epic) -> None:
        await self.store(source, missing=[Missing(EpicRef(epic.remote_id, epic.key), "deleted")])

    async def _follow(self, session: Any, row: SourceRow, found: UpsertResult, now: Any) -> None:
        await reevaluate_below_tickets(session, row.tracker, found.moved_ids, now)
        if found.created or found.updated or found.deleted:
            (run_id,) = await join_run(session, [row.id], "due", [Cause("webhooks")], now)
            await self.runtime.wake_run(session, run_id, "evaluate")

    async def settle(self) -> None:
        """Do all that follows."""
        self.clock.advance(seconds=1)
        await self.world.drain()

    async def evaluated(self) -> list[str]:
        """The keys of the epics that were evaluated since the clock was last moved."""
        query = select(EpicRow.key).where(EpicRow.evaluated_at == self.clock.now).order_by(EpicRow.key)
        async with self.runtime.sessions() as session:
            return list(await session.scalars(query))

    async def links(self, *keys: str) -> dict[str, list[str]]:
        """The epics' links, in their order: the key result, and for an inherited one the epic it is from."""
        above_it = aliased(EpicRow)
        query = (
            select(EpicRow.key, LinkRow.key_result_id, LinkRow.origin, above_it.key)
            .join(LinkRow, LinkRow.epic_id == EpicRow.id)
            .outerjoin(above_it, above_it.id == LinkRow.inherited_from)
        )
        async with self.runtime.sessions() as session:
            rows = await session.execute(query.order_by(LinkRow.id))
        found: dict[str, list[str]] = {key: [] for key in keys}
        for key, number, origin, above in rows:
            if key in found or not keys:
                found.setdefault(key, []).append(f"{number} {origin if above is None else f'from {above}'}")
        return found

    async def forget(self) -> None:
        """No source has an epic any more."""
        async with self.runtime.sessions.begin() as session:
            await session.execute(delete(EpicRow))

    async def runs(self) -> int:
        """How many runs there were."""
        async with self.runtime.sessions() as session:
            return len((await session.scalars(select(RunRow.id))).all())
