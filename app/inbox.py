"""Working on webhooks: what they hint at is fetched afresh, stored, judged, and its comment written.

Deliveries of a source are taken in batches; a ticket that ten of them name is fetched once. One that
cannot be worked on ends `failed` with its error and holds nobody up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from app import logs
from app.batch import MOST_ATTEMPTS, GivenUp, Part
from app.comments import Comments
from app.heartbeat import beating
from app.outcome import note_refusal
from app.runtime import Runtime
from app.usage import metered
from app.vault import CannotOpen
from app.walk import SourceChanged, storing, writing_for
from connectors.base import (
    Connector,
    Epic,
    EpicRef,
    Hint,
    Missing,
    Unauthorized,
    Unavailable,
)
from connectors.registry import KINDS, Kind
from connectors.webhooks import payload_of
from mappings import inbox, ledger, reach, store, tables
from mappings.tables import Delivery, Source

log = structlog.get_logger()


# Dead credentials are for a person to mend, who by that ends the pause; a database in trouble is not.
UNAUTHORIZED_REST, DATABASE_REST = timedelta(hours=1), timedelta(seconds=15)


async def take_deliveries(runtime: Runtime, source_id: int) -> None:
    """Work on a source's deliveries until none is due, or somebody else is at it."""
    while await _take_batch(runtime, source_id):
        pass


async def _take_batch(runtime: Runtime, source_id: int) -> bool:
    owner = f"{runtime.worker}/{uuid4().hex}"
    async with runtime.sessions.begin() as session:
        source = await session.get(Source, source_id)
        deliveries = [] if source is None else await inbox.claim(session, source_id, owner, runtime.clock())
    if source is None or not deliveries:
        return False

    async def beat() -> None:
        async with runtime.sessions.begin() as session:
            await inbox.keep(session, owner, runtime.clock())

    following = logs.following([delivery.remote_id for delivery in deliveries])
    with structlog.contextvars.bound_contextvars(source=source.name, **following):
        async with beating(beat, inbox.LEASE / 5):
            return await _Work(runtime, source, owner).work(deliveries)


class _Work(Comments):
    """One claim's work."""

    @property
    def kind(self) -> Kind:
        return KINDS[self.source.kind]

    async def work(self, deliveries: Sequence[Delivery]) -> bool:
        """False where there is no sense in taking the next batch now."""
        parts = await self._heard(deliveries)
        try:
            connector = self.runtime.connect(self.source)
        except CannotOpen as error:
            await self.fail(parts, error)
            return True
        async with metered(self.runtime, self.source.id, connector):
            return await self._carry_out(parts, connector)

    async def _heard(self, deliveries: Sequence[Delivery]) -> list[Part]:
        parts: list[Part] = []
        for delivery in deliveries:
            try:
                if delivery.attempts > MOST_ATTEMPTS:
                    raise GivenUp
                payload = await asyncio.to_thread(payload_of, delivery.body or b"", delivery.is_form)
                part = Part(delivery, self.kind.webhooks.hear(delivery.event, payload), payload)
            except Exception as error:  # whatever it is, only this delivery has it
                log.exception("webhook not understood", delivery=delivery.id)
                await self.fail([Part(delivery, Hint(delivery.event))], error)
                continue
            if part.hint.kind == "handled":
                parts.append(part)
            else:
                await self.end([part], "ignored", reason=part.hint.reason)
        return parts

    async def _carry_out(self, parts: list[Part], connector: Connector) -> bool:
        """The whole batch at once; where that fails, each delivery alone, so that only the bad one does."""
        if not parts:
            return True
        now = self.runtime.clock()
        try:
            await self._look(parts, connector)
            return True
        except SourceChanged:
            await self.put_off(parts, now)
            return True
        except Unavailable as error:
            await self.wait(parts, error)
            return False
        except Unauthorized as error:
            async with self.runtime.sessions.begin() as session:
                await note_refusal(session, self.source.id, "webhooks", error, now)
            await self.pause(now + UNAUTHORIZED_REST, error)
            return False
        except SQLAlchemyError as error:
            log.exception("webhooks not stored", reason=type(error).__name__)
            await self.put_off(parts, now + DATABASE_REST)
            return False
        except Exception as error:
            if len(parts) == 1:
                log.exception("webhook failed", delivery=parts[0].id)
                await self.fail(parts, error)
                return True
        for part in parts:
            if not await self._carry_out([part], connector):
                return False
        return True

    async def _look(self, parts: list[Part], connector: Connector) -> None:
        parts = await self._reread(parts)
        told = await self._look_at_tickets([part for part in parts if part.hint.tickets], connector)
        for part in parts:
            if part.hint.comment is not None:
                await self.look_at_comment(part, part.hint.comment, connector, told.get(part.id))

    # --- whole projects -------------------------------------------------------------------------

    async def _reread(self, parts: list[Part]) -> list[Part]:
        """Have all read where names or visibility changed. A run under way may have passed by already."""
        asking = [part for part in parts if part.hint.reread]
        ours = [part for part in asking if part.hint.project is None or self._covers(part.hint.project)]
        await self.end([part for part in asking if part not in ours], "ignored", "out_of_scope")
        if ours:
            async with self.runtime.sessions.begin() as session:
                now = self.runtime.clock()
                run = await ledger.open_run(session, self.source.id, "full", now, afresh=True)
                await self.runtime.wake_run(session, run.id, run.mode)
                await self.ended(session, ours, "done", run_id=run.id)
        return [part for part in parts if not part.hint.reread]

    def _covers(self, project: str) -> bool:
        scope: Any = self.kind.scope.model_validate(self.source.scope)
        return bool(scope.covers(project))

    # --- tickets --------------------------------------------------------------------------------

    async def _look_at_tickets(self, parts: list[Part], connector: Connector) -> dict[int, int | None]:
        """Fetch what they name, once each, and store it; the run each delivery led to, by its id."""
        parts, known = await self._concerning_us(parts)
        named = {ref.remote_id: ref for part in parts for ref in part.hint.tickets}
        # A webhook may come after a rename; what is stored leads on, also to a ticket that moved.
        refs = [EpicRef(id, known[id].key) if id in known else ref for id, ref in named.items()]
        if not refs:
            return {}
        before = connector.requests
        seen = dict(zip(refs, await connector.fetch(refs), strict=True))
        log.info("tickets fetched", epics=[ref.key for ref in refs[: logs.FOLLOWED]], tickets=len(refs))
        removed = {ref.remote_id for part in parts if part.hint.removed for ref in part.hint.tickets}
        told = [item.remote_id for item in seen.values() if isinstance(item, Epic)]
        async with self.runtime.sessions.begin() as session:
            # Apart from what follows, for each locks its epics in the order of their ids.
            again = await reach.try_again(session, self.source.id, told, self.runtime.clock())
        requests = connector.requests - before
        with storing("A ticket"):
            async with writing_for(self.runtime, self.source) as session:
                return await self._take_in(session, parts, seen, removed, requests, again=again)

    async def _take_in(
        self,
        session: AsyncSession,
        parts: Sequence[Part],
        seen: dict[EpicRef, Epic | Missing],
        removed: Collection[str],
        requests: int,
        *,
        again: bool,
    ) -> dict[int, int | None]:
        """`again`: tickets whose notice could not be written wait to be judged."""
        found = await self._store(session, seen, removed)
        run_id = None
        if again or found.created or found.updated or found.deleted:
            run_id = await self.open_run(session, found, len(seen), requests)
        await self.ended(
            session, [part for part in parts if part.hint.comment is None], "done", run_id=run_id
        )
        return {part.id: run_id for part in parts}

    async def _concerning_us(self, parts: list[Part]) -> tuple[list[Part], dict[str, tables.Epic]]:
        """Those about tickets we know, which come too, or that may be epics of ours; others cost no call."""
        named = {ref.remote_id for part in parts for ref in part.hint.tickets}
        async with self.runtime.sessions() as session:
            known = await inbox.epics_by_id(session, self.source, named)
        scope: Any = self.kind.scope.model_validate(self.source.scope)
        epics: Any = self.kind.epics.model_validate(self.source.epics)
        leave_out = self.kind.webhooks.leave_out
        ours: list[Part] = []
        for part in parts:
            reasons = [
                None if ref.remote_id in known else leave_out(ref, part.payload, scope, epics)
                for ref in part.hint.tickets
            ]
            if None in reasons:
                ours.append(part)
            elif part.hint.comment is None:
                await self.end([part], "ignored", reasons[0])
        return ours, known

    async def _store(
        self, session: AsyncSession, seen: dict[EpicRef, Epic | Missing], removed: Collection[str]
    ) -> store.Observed:
        now, total = self.runtime.clock(), store.Observed()
        source_id, tracker = self.source.id, self.source.tracker
        found = [(ref, item) for ref, item in seen.items() if isinstance(item, Epic)]
        for ref, item in found:
            if item.remote_id != ref.remote_id:
                _add(total, await store.take_over(session, source_id, tracker, ref.remote_id, item, now))
        # Not found may also mean that we lost access; only where the tracker says so was it deleted.
        missing = [
            item
            for ref, item in seen.items()
            if isinstance(item, Missing) and (item.reason != "deleted" or ref.remote_id in removed)
        ]
        same = [item for ref, item in found if item.remote_id == ref.remote_id]
        _add(total, await store.observe(session, source_id, tracker, same, missing, now))
        return total


def _add(total: store.Observed, found: store.Observed) -> None:
    total.created += found.created
    total.updated += found.updated
    total.deleted += found.deleted
    total.skipped += found.skipped
