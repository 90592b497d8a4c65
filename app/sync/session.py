"""What a reading run carries along: its tracker, what it has met so far, and how it writes that down."""

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
    """The source has another scope or selector by now: what is read by the old one would undo the change."""


@asynccontextmanager
async def source_transaction(
    runtime: Runtime, source: SourceRow, *, repeatable: bool = False
) -> AsyncIterator[AsyncSession]:
    """A transaction in which the source stays as we know it. Raises `SourceChanged` where it is not.

    `repeatable` is said in the same statement, for a page is one of many; see `locks.without_synchronous_commit`.
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
    """Raises `BadPayload` for a ticket that the database refuses whatever we do."""
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
    """`met` are the remote ids this process has seen. `went_on`: a run taken up again, so some that it met
    before are not among them. `problems` are in words, each with the way out; `overlaps` keys that an older
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

    async def renew_lease(self, session: AsyncSession, now: datetime, found: UpsertResult, seen: int) -> None:
        """A sign of life with what was found since the last one. Raises `leases.ClaimLost`."""
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
        """The calls since the last page, whatever came of them; nothing where the run is another's now."""
        async with self.runtime.sessions.begin() as session:
            await self.renew_lease(session, self.runtime.clock(), UpsertResult(), seen=0)
