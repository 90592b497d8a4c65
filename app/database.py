"""Everything that connects to PostgreSQL: the URL, the engine, sessions and migrations."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, TimeoutError as NoFreeConnection
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import NullPool

import migrations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import URL

log = structlog.get_logger()

OLDEST_POSTGRESQL = 15
# Alembic keeps its state in globals, so two threads at once would mix up their databases.
_ALEMBIC = threading.Lock()
Sessions = async_sessionmaker[AsyncSession]


# Classes and codes of https://www.postgresql.org/docs/current/errcodes-appendix.html for what may pass while
# the statement stays the same: no connection, no such database or role, a conflict of two transactions, no
# disk, memory or connection left, a lock, an operator's intervention, a fault of the system or of PostgreSQL,
# a server that only reads, and a transaction that was ended because it took too long.
_TROUBLE = ("08", "28", "3D", "40", "53", "55", "57", "58", "F0", "XX", "25006", "25P03", "25P04")


class DatabaseNotReady(Exception):
    """One line: what is wrong with the database and what to do."""


def sqlalchemy_url(url: str) -> URL:
    """Any accepted spelling of a PostgreSQL URL, for SQLAlchemy on psycopg 3."""
    return make_url(url.replace("postgres://", "postgresql://", 1)).set(drivername="postgresql+psycopg")


def libpq_url(url: str) -> str:
    """Any accepted spelling of a PostgreSQL URL, for psycopg and libpq."""
    return sqlalchemy_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def engine_for(url: str, *, pool_size: int = 10) -> AsyncEngine:
    """An engine whose connections give up connecting after 10 s.

    Prepared statements stay off so that a transaction pooler may stand in between.
    """
    engine = create_async_engine(
        sqlalchemy_url(url),
        pool_size=pool_size,
        max_overflow=10,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={
            "connect_timeout": 10,
            "prepare_threshold": None,
            "application_name": "northing",
        },
    )
    event.listen(engine.sync_engine, "connect", _set_up)
    return engine


def _set_up(connection: Any, _record: object) -> None:
    """Make the connection return times in UTC, whatever time zone the server or the role is set to. And no
    statement of ours runs so long that it is worth to be compiled."""
    cursor = connection.cursor()
    cursor.execute("SET TIME ZONE 'UTC'; SET jit = off")
    cursor.close()
    connection.commit()


def sessions_for(engine: AsyncEngine) -> Sessions:
    return async_sessionmaker(engine, expire_on_commit=False)


def _alembic(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    config.attributes["url"] = sqlalchemy_url(url)
    return config


@contextmanager
def _readable_errors(url: str) -> Iterator[None]:
    try:
        yield
    except psycopg.OperationalError as error:
        parsed_url = sqlalchemy_url(url)
        where = f"{parsed_url.host or parsed_url.query.get('host', 'localhost')}/{parsed_url.database}"
        reason = " ".join(str(error).split())
        raise DatabaseNotReady(
            f"PostgreSQL at {where} refuses the connection: {reason} "
            "Check NORTHING_DATABASE_URL and the server."
        ) from None


def migrate(url: str) -> None:
    """Upgrade the schema to this version. Several servers may call it at once: one migrates, the others wait.

    Raises `DatabaseNotReady` where the server cannot be reached, is older than PostgreSQL 15, or
    was migrated by a newer Northing or made before the first release.
    """
    with _readable_errors(url), psycopg.connect(libpq_url(url), connect_timeout=10) as connection:
        if connection.info.server_version < OLDEST_POSTGRESQL * 10000:
            raise DatabaseNotReady(
                f"PostgreSQL {connection.info.server_version // 10000} is too old; "
                f"Northing needs {OLDEST_POSTGRESQL} or newer."
            )
    current, known = applied_revision(url), _known_revisions()
    if current is not None and current < min(known):
        raise DatabaseNotReady(f"The {_made_before_release(current)}.")
    if current is not None and current not in known:
        raise DatabaseNotReady(f"The {_migrated_by_newer(current)}.")
    with _ALEMBIC:
        command.upgrade(_alembic(url), "head")
    now = applied_revision(url)
    if current not in (None, now):
        log.info("database migrated", before=current, now=now)


def _known_revisions() -> set[str]:
    scripts = ScriptDirectory.from_config(_alembic("postgresql://x/x"))
    return {script.revision for script in scripts.walk_revisions()}


def _made_before_release(revision: str) -> str:
    return (
        f"database was made by a Northing from before its first release (revision {revision}) and cannot be "
        "migrated; set NORTHING_DATABASE_URL to an empty database, or NORTHING_DATA_DIR to an empty folder"
    )


def _migrated_by_newer(revision: str) -> str:
    return f"database was migrated by a newer Northing (revision {revision}); run that or a newer one"


def downgrade(url: str, revision: str) -> None:
    with _ALEMBIC:
        command.downgrade(_alembic(url), revision)


def applied_revision(url: str) -> str | None:
    engine = create_engine(sqlalchemy_url(url), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()


@cache
def newest_revision() -> str:
    """Read once: `readyz` asks for it and needs no token, and to read it takes longer than all else there."""
    head = ScriptDirectory.from_config(_alembic("postgresql://x/x")).get_current_head()
    assert head is not None
    return head


def database_trouble(error: BaseException | None) -> bool:
    """Whether the database itself is in trouble, so that the same work may succeed later.

    False for an error of the data or of a statement, which another attempt would meet again. Of a group,
    every error must be the database's. The cause of an error counts where the error itself says nothing: the
    job queue wraps those of the driver.
    """
    if isinstance(error, BaseExceptionGroup):
        return all(database_trouble(one) for one in error.exceptions)
    if isinstance(error, NoFreeConnection):
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or database_trouble(error.orig)
    if isinstance(error, psycopg.Error) and error.sqlstate is not None:
        return error.sqlstate.startswith(_TROUBLE)
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return True  # without a code: the server did not answer
    return error is not None and database_trouble(error.__cause__)


async def why_not_ready(engine: AsyncEngine) -> str | None:
    """Why the database cannot be used now; None while it answers and has this version's schema."""
    try:
        async with engine.connect() as connection:
            applied = await connection.scalar(text("SELECT version_num FROM alembic_version"))
    except Exception as error:  # any failure to ask is the answer
        return f"the database does not answer ({type(error).__name__})"
    newest = newest_revision()
    if applied == newest:
        return None
    known = _known_revisions()
    if applied is not None and applied < min(known):
        return f"the {_made_before_release(applied)}"
    if applied is not None and applied not in known:
        return f"the {_migrated_by_newer(applied)}"
    return f"the schema is at {applied}, this version needs {newest}; run `northing db upgrade`"


async def try_to_write(engine: AsyncEngine) -> None:
    """Find out whether the database takes writes, without changing a row or leaving anything behind.

    A result that does not fit into `work_mem` goes into a temporary file beside the tables, so it meets a
    full disk as they would. Raises `ReadOnlySqlTransaction` on a server that only reads, and what the
    database answers.
    """
    async with engine.connect() as connection:
        only_reads = await connection.scalar(text("SELECT current_setting('transaction_read_only')::boolean"))
        if only_reads:
            raise psycopg.errors.ReadOnlySqlTransaction
        await connection.execute(text("SET LOCAL work_mem = '64kB'"))
        await connection.execute(text("SELECT count(*) FROM generate_series(1, 20000)"))
