"""How what was read of a tracker is stored: in a transaction in which the source stays as it was."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.exc import DataError, OperationalError

from app.run_result import REPORT
from connectors.base import BadPayload
from mappings.locks import SYNCHRONOUS_COMMIT_OFF
from mappings.tables import SourceRow

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from app.runtime import Runtime


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
