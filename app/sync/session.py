"""What a reading run keeps while it works: its tracker, what it has met so far, and how it records that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

from app.run_result import REPORT
from app.runtime import Runtime
from connectors.base import BadPayload, Connector
from mappings.epics.upsert import UpsertResult
from mappings.locks import SYNCHRONOUS_COMMIT_OFF
from mappings.runs.queue import renew_lease
from mappings.tables import RunRow, SourceRow


class SourceChanged(Exception):
    """The source has another scope or selector now: to store what was read by the old one would undo that."""


@asynccontextmanager
async def source_transaction(
    runtime: Runtime, source: SourceRow, *, repeatable: bool = False
) -> AsyncIterator[AsyncSession]:
    """A transaction in which the source stays as `source` has it. Raises `SourceChanged` where it differs.

    `repeatable`: the commit does not wait for the disk (`locks.without_synchronous_commit`). This is set in
    the same statement, because there are many pages.
    """
    known = (source.scope, source.epics, source.tracker)
    columns: list[Any] = [SourceRow.scope, SourceRow.epics, SourceRow.tracker]
    if repeatable:
        columns.append(SYNCHRONOUS_COMMIT_OFF)
    present = select(*columns).where(SourceRow.id == source.id)
    async with runtime.sessions.begin() as session:
        row = (await session.execute(present.with_for_update(read=True))).one_or_none()
        if row is not None and tuple(row)[:3] != known:
            raise SourceChanged
        yield session


@contextmanager
def bad_payload_if_refused(what: str) -> Iterator[None]:
    """Raises `BadPayload` for a ticket that the database can never store."""
    try:
        yield
    except (DataError, OperationalError, UnicodeError) as error:
        if isinstance(error, OperationalError) and not _is_too_large(error):
            raise
        raise BadPayload(f"{what} cannot be stored.", REPORT) from None


def _is_too_large(error: OperationalError) -> bool:
    """Class 54 of https://www.postgresql.org/docs/current/errcodes-appendix.html: a limit of the program."""
    return str(getattr(error.orig, "sqlstate", "")).startswith("54")


@dataclass
class ReadSession:
    """`met_ids`: remote ids that this process has met. `resumed`: the run was interrupted, so what it met
    before is not among them. `problems`: messages, each with what to do. `overlaps`: keys that an older
    source holds."""

    runtime: Runtime
    run: RunRow
    source: SourceRow
    connector: Connector
    counted_requests: int = 0
    resumed: bool = False
    met_ids: set[str] = field(default_factory=set)
    overlaps: list[str] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)

    def transaction(self) -> AbstractAsyncContextManager[AsyncSession]:
        return source_transaction(self.runtime, self.source)

    async def record_progress(
        self, session: AsyncSession, now: datetime, found: UpsertResult, seen: int
    ) -> None:
        """Renew the run's lease and add what was found since the last time. Raises `leases.ClaimLost`."""
        requests, self.counted_requests = (
            self.connector.requests - self.counted_requests,
            self.connector.requests,
        )
        self.overlaps += found.overlaps
        await renew_lease(
            session,
            self.run,
            self.runtime.worker,
            now,
            seen=seen,
            created=found.created,
            updated=found.updated,
            deleted=found.deleted,
            skipped=found.skipped,
            requests=requests,
        )

    async def count_requests(self) -> None:
        """Add the requests since the last page to the run, failed ones too. Raises `leases.ClaimLost`."""
        async with self.runtime.sessions.begin() as session:
            await self.record_progress(session, self.runtime.clock(), UpsertResult(), seen=0)
