"""Creates and drops databases of a running server; a temporary one ends with its process, however that ends.

A temporary database has a file in `temporary/`, locked by its process as a handle is. psycopg is imported
where it is needed: the watchdog rarely needs it, and would be twice as large with it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from app.embedded.account import EmbeddedDatabaseError
from app.embedded.cluster import ROLE
from app.embedded.folder import PORT, Folder, socket_folder
from app.embedded.handles import open_lock_file, try_lock

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg


def url_of(sockets: Path, database: str) -> str:
    """`postgresql://northing@/<database>?host=<socket folder>&port=5432`, without a password."""
    host = quote(str(sockets), safe="")
    return f"postgresql://{ROLE}@/{quote(database, safe='')}?host={host}&port={PORT}"


def create(sockets: Path, name: str) -> None:
    """Create an empty database unless there is one of this name."""
    from psycopg import errors, sql

    # UniqueViolation: another process creates it at the same moment
    there = suppress(errors.DuplicateDatabase, errors.UniqueViolation)
    with _connect(sockets) as connection, there:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def drop(sockets: Path, name: str) -> None:
    """Drop the database, if there is one, and end the sessions in it."""
    from psycopg import sql

    with _connect(sockets) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _connect(sockets: Path) -> psycopg.Connection[tuple[object, ...]]:
    import psycopg

    return psycopg.connect(url_of(sockets, "postgres"), autocommit=True, connect_timeout=10)


# --- temporary ones: call these with the data folder's lock held ------------------------------------


def mark_temporary(folder: Folder, name: str) -> int:
    """Mark the database as this process's, with an open file: the mark holds until the file is closed.

    Raises EmbeddedDatabaseError where a live process has one of this name.
    """
    mark = open_lock_file(_mark(folder, name))
    if not try_lock(mark):
        os.close(mark)
        raise EmbeddedDatabaseError(f"Another process uses the database {name} in {folder.path}: end it")
    return mark


def unmark_temporary(folder: Folder, name: str, mark: int) -> None:
    """The database is dropped."""
    _mark(folder, name).unlink(missing_ok=True)
    os.close(mark)


def drop_abandoned(folder: Folder) -> None:
    """Drop the temporary databases of processes that have ended; what cannot be dropped now stays marked."""
    for path in list(folder.temporary.iterdir()):
        mark = open_lock_file(path)
        try:
            if try_lock(mark):
                _drop_abandoned(folder, path)
        finally:
            os.close(mark)


def _drop_abandoned(folder: Folder, mark: Path) -> None:
    import psycopg

    with suppress(psycopg.Error):
        drop(socket_folder(folder), unquote(mark.name))
        mark.unlink()


def _mark(folder: Folder, name: str) -> Path:
    return folder.temporary / quote(name, safe="")
