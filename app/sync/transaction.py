"""How what was read of a tracker is stored: in a transaction in which the source stays as it was."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import Select, bindparam, literal_column, select
from sqlalchemy.exc import DataError, DBAPIError, StatementError

from app.runtime import ASKED_FOR_AT
from connectors.base import BadPayload
from mappings.locks import SYNCHRONOUS_COMMIT_OFF
from mappings.sources.health import UNREADABLE_TO_DO
from mappings.tables import SourceRow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

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
    the same statement, which reads the time too (`Runtime.now`), because there are many pages.
    """
    known = (source.scope, source.epics, source.tracker)
    present = _present(runtime.clock.in_sql(), repeatable)
    async with runtime.transaction() as session:
        row = (await session.execute(present, {"source": source.id})).one_or_none()
        if row is not None:
            *there, session.info[ASKED_FOR_AT] = tuple(row)[:4]
            if tuple(there) != known:
                raise SourceChanged
        yield session


@lru_cache(8)
def _present(now: str, repeatable: bool) -> Select[Any]:
    """The source's row, shared until the transaction ends, and the time; made once, for its size."""
    columns: list[Any] = [SourceRow.scope, SourceRow.epics, SourceRow.tracker, literal_column(now)]
    if repeatable:
        columns.append(SYNCHRONOUS_COMMIT_OFF)
    return select(*columns).where(SourceRow.id == bindparam("source")).with_for_update(read=True)


@contextmanager
def bad_payload_if_refused(what: str) -> Iterator[None]:
    """Raises `BadPayload` for a ticket that the database can never store."""
    try:
        yield
    except Exception as error:
        if not is_refused_data(error):
            raise
        raise BadPayload(f"{what}: {what_was_refused(error)}", UNREADABLE_TO_DO) from None


# SQLSTATE classes of wrong data: a row twice in one statement, a value, a constraint, a size.
_OF_THE_DATA = ("21", "22", "23", "54")


def is_refused_data(error: Exception) -> bool:
    """Whether the error says that data cannot be stored, whenever and by whom it is tried: the database
    refuses them, or they cannot be sent to it."""
    if isinstance(error, DBAPIError):
        state = str(getattr(error.orig, "sqlstate", None) or "")
        return state.startswith(_OF_THE_DATA) or (not state and isinstance(error, DataError))
    if isinstance(error, StatementError):
        return isinstance(error.orig, _CANNOT_BE_SENT)
    return isinstance(error, _CANNOT_BE_SENT)


# Half a surrogate pair, a moment or number out of range, a value nested too deeply.
_CANNOT_BE_SENT = (ValueError, OverflowError, RecursionError, orjson.JSONEncodeError)


def what_was_refused(error: Exception) -> str:
    """In words. The message of the error may quote all of the data, so its type alone is shown."""
    orig = error.orig if isinstance(error, StatementError) and error.orig is not None else error
    return f"it cannot be stored ({type(orig).__name__})."
