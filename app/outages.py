"""What is remembered of a database or disk in trouble: for answers, for `readyz`, and for the log."""

from __future__ import annotations

import asyncio
import errno
import time
from typing import TYPE_CHECKING

import psycopg
import structlog
from psycopg_pool import PoolTimeout
from sqlalchemy.exc import DBAPIError, TimeoutError as NoFreeConnection

from app.database import database_trouble, try_to_write

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

log = structlog.get_logger()

LOG_SECONDS = 60
REMEMBERED_SECONDS = 30
WRITE_FRESH_SECONDS = 1.0  # `readyz` needs no token, so the database is asked to write no more often
RETRY_SECONDS = 30  # what callers are asked to wait

NOT_ANSWERING = "the database does not answer"
# By the beginning of the code; the first that fits.
_WORDS = {
    "53100": "the database's disk is full",
    "53200": "the database has no memory left",
    "53300": "the database takes no more connections",
    "53": "the database is short of resources",
    "25006": "the database only reads",
    "28": "the database refuses the connection",
    "3D": "the database refuses the connection",
    "40": "another change of the same rows was in the way",
    "55": "another change of the same rows was in the way",
    "57014": "the database took too long",
    "57": "the database is stopping or starting",
    "58030": "the database's disk fails",
    "F0": "the database reports a fault of its own",
    "XX": "the database reports a fault of its own",
}
# These pass, and say nothing of other requests.
_OF_ONE_REQUEST = ("40", "55", "57014")
_OWN = {
    errno.ENOSPC: "the disk of Northing's own files is full",
    errno.EDQUOT: "the disk of Northing's own files is full",
    errno.EROFS: "the disk of Northing's own files is read-only",
    errno.EMFILE: "Northing has no file descriptor left",
    errno.ENFILE: "the machine has no file descriptor left",
    errno.ENOMEM: "the machine has no memory left",
}


def reason_in_words(error: BaseException | None) -> str | None:
    """What is in trouble, in words that name no host; None where the error is of the data or of the code."""
    if isinstance(error, OSError):
        return _OWN.get(error.errno or 0)
    if not database_trouble(error):
        return None
    driver = _of_the_driver(error)
    if isinstance(driver, (PoolTimeout, NoFreeConnection)):
        return "no connection to the database is free or can be made"
    code = _code(driver)
    return next((words for start, words in _WORDS.items() if code.startswith(start)), NOT_ANSWERING)


def _of_the_driver(error: BaseException | None) -> BaseException | None:
    while error is not None and not isinstance(error, (psycopg.Error, NoFreeConnection)):
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        else:
            error = error.orig if isinstance(error, DBAPIError) else error.__cause__
    return error


def _code(error: BaseException | None) -> str:
    return error.sqlstate or "" if isinstance(error, psycopg.Error) else ""


class Outages:
    """The last trouble of this process. `seconds` is a clock that never goes back."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._last: tuple[float, str] | None = None
        self._logged: dict[str, float] = {}
        self._asking = asyncio.Lock()
        self._wrote_at: float | None = None

    def record(self, error: BaseException | None) -> str | None:
        """`reason_in_words(error)`, remembered for `readyz`, and logged at most once a minute."""
        reason = reason_in_words(error)
        if reason is None:
            return None
        now = self._seconds()
        if not _code(_of_the_driver(error)).startswith(_OF_ONE_REQUEST):
            self._last = now, reason
        if now - self._logged.get(reason, -LOG_SECONDS) >= LOG_SECONDS:
            self._logged[reason] = now
            log.warning("nothing can be stored", reason=reason)
        return reason

    def wrote(self) -> None:
        """Something was stored: what was met before says nothing any more."""
        self._last = None

    async def why_no_writes(self, engine: AsyncEngine) -> str | None:
        """Why writes fail: what was met within the past half minute, else what a try meets now."""
        async with self._asking:  # one try at a time; those that waited use its answer
            now = self._seconds()
            if self._last is not None and now - self._last[0] < REMEMBERED_SECONDS:
                return self._last[1]
            if self._wrote_at is not None and now - self._wrote_at < WRITE_FRESH_SECONDS:
                return None
            try:
                await try_to_write(engine)
            except Exception as error:  # any failure to ask is the answer
                return self.record(error) or NOT_ANSWERING
            self._wrote_at = now
            return None
