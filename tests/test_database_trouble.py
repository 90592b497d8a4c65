"""Which errors are the database's own trouble, after which the same work may succeed, and which are not."""

from __future__ import annotations

import psycopg
import pytest
from procrastinate.exceptions import ConnectorException
from psycopg import errors
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    OperationalError,
    StatementError,
    TimeoutError as NoFreeConnection,
)

from app.database import database_trouble


def _wrapped(error: Exception, by: type[DBAPIError] = DBAPIError, *, lost: bool = False) -> Exception:
    return by("SELECT 1", {}, error, connection_invalidated=lost)


def _queued(error: Exception) -> Exception:
    wrapped = ConnectorException("Database error.")
    wrapped.__cause__ = error
    return wrapped


TROUBLE: list[BaseException] = [
    psycopg.OperationalError("server closed the connection unexpectedly"),
    psycopg.InterfaceError("the connection is closed"),
    _wrapped(psycopg.OperationalError("connection refused"), OperationalError),
    _wrapped(RuntimeError("whatever it says"), lost=True),
    NoFreeConnection("QueuePool limit reached"),
    _queued(errors.AdminShutdown()),
    BaseExceptionGroup("two tasks", [errors.DeadlockDetected(), _wrapped(errors.DiskFull())]),
    *(
        _wrapped(error())
        for error in (
            errors.SerializationFailure,
            errors.DeadlockDetected,
            errors.DiskFull,
            errors.OutOfMemory,
            errors.TooManyConnections,
            errors.AdminShutdown,
            errors.CrashShutdown,
            errors.CannotConnectNow,
            errors.QueryCanceled,
            errors.LockNotAvailable,
            errors.ReadOnlySqlTransaction,
            errors.IdleInTransactionSessionTimeout,
            errors.IoError,
            errors.InvalidPassword,
            errors.InvalidCatalogName,
            errors.ConnectionFailure,
        )
    ),
]
OF_THE_DATA: list[BaseException | None] = [
    None,
    ValueError("A string literal cannot contain NUL (0x00) characters."),
    UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
    RecursionError(),
    ConnectionResetError("of a tracker"),
    psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"),
    StatementError("too deep", "SELECT 1", {}, RecursionError()),
    _wrapped(errors.ForeignKeyViolation(), IntegrityError),
    _wrapped(errors.ProgramLimitExceeded(), OperationalError),
    _queued(errors.UniqueViolation()),
    BaseExceptionGroup("two tasks", [errors.DeadlockDetected(), ValueError()]),
    *(
        _wrapped(error())
        for error in (
            errors.UntranslatableCharacter,
            errors.CharacterNotInRepertoire,
            errors.NumericValueOutOfRange,
            errors.DatetimeFieldOverflow,
            errors.StringDataRightTruncation,
            errors.InvalidTextRepresentation,
            errors.CardinalityViolation,
            errors.NotNullViolation,
            errors.CheckViolation,
            errors.StatementTooComplex,
            errors.UndefinedColumn,
            errors.InFailedSqlTransaction,
        )
    ),
]


@pytest.mark.parametrize("error", TROUBLE, ids=repr)
def test_the_database_is_in_trouble(error: BaseException) -> None:
    assert database_trouble(error)


@pytest.mark.parametrize("error", OF_THE_DATA, ids=repr)
def test_the_data_or_the_statement_is_wrong(error: BaseException | None) -> None:
    assert not database_trouble(error)
