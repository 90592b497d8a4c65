"""Sharing the embedded server: `acquire` gives a handle on it, `release` ends that handle."""

import atexit
import contextlib
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import psycopg
from psycopg import errors, sql

from app.embedded import cluster, handles
from app.embedded.account import EmbeddedDatabaseError
from app.embedded.folder import PORT, SOCKET_NAME, Folder, open_folder, socket_folder


def acquire(data_dir: Path, *, durable: bool = True) -> "Server":
    """Join the server of this data folder, or create and start it; safe from several processes at once.

    The folder is created if need be. `durable=False` gives up safety against power loss for speed, for
    tests; the process that starts the server decides. Blocks, in the worst case for some minutes after a
    crash. Raises EmbeddedDatabaseError.
    """
    folder = open_folder(data_dir)
    try:
        with handles.locked(folder.lock) as lock:
            handle = handles.add(folder.handles)
            try:
                sockets = socket_folder(folder)
                cluster.ensure_running(folder, sockets, lock, durable=durable)
            except BaseException:  # Ctrl-C too must not leave a server that no process stops
                _leave(folder, handle)
                raise
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EmbeddedDatabaseError(
            f"The embedded database in {folder.path} did not start ({error}): fix that and start again, "
            "or set NORTHING_DATABASE_URL"
        ) from error
    return Server(folder, sockets, handle, durable=durable)


class Server:
    """One handle on the running server. The last handle to be released, of all processes, stops it.

    An open handle is released when the interpreter ends; the handle of a killed process no longer counts.
    """

    def __init__(self, folder: Folder, sockets: Path, handle: Path, *, durable: bool) -> None:
        self._folder = folder
        self._durable = durable
        self._sockets = sockets
        self._handle = handle
        self._owner = os.getpid()
        self._released = False
        atexit.register(self.release)

    def __repr__(self) -> str:
        return f"<Server {self._folder.path}{' released' if self._released else ''}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def url(self, database: str) -> str:
        """`postgresql://northing@/<database>?host=<socket folder>&port=5432`, without a password."""
        host = quote(str(self._sockets), safe="")
        return f"postgresql://{cluster.ROLE}@/{quote(database, safe='')}?host={host}&port={PORT}"

    def create_database(self, name: str) -> None:
        """Create an empty database unless there is one of this name."""
        # UniqueViolation: another process creates it at the same moment
        there = contextlib.suppress(errors.DuplicateDatabase, errors.UniqueViolation)
        with self._connect() as connection, there:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def drop_database(self, name: str) -> None:
        """Drop the database, if there is one, and end the sessions in it."""
        with self._connect() as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )

    def revive(self) -> bool:
        """Start the server again if it was killed; True if it was. Blocks as `acquire` does.

        Raises EmbeddedDatabaseError.
        """
        if cluster.answers(self._sockets / SOCKET_NAME):
            return False
        try:
            with handles.locked(self._folder.lock) as lock:
                if self._released:
                    return False
                cluster.ensure_running(self._folder, self._sockets, lock, durable=self._durable)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EmbeddedDatabaseError(
                f"The embedded database in {self._folder.path} did not start again ({error})"
            ) from error
        return True

    def release(self) -> None:
        """Release the handle; stop the server if no live handle is left. Repeating it does nothing.

        Raises EmbeddedDatabaseError when the server does not stop.
        """
        # a forked child has the object but not the handle, which belongs to its parent
        if self._released or os.getpid() != self._owner:
            return
        with handles.locked(self._folder.lock):
            _leave(self._folder, self._handle)
        self._released = True
        atexit.unregister(self.release)

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self.url("postgres"), autocommit=True, connect_timeout=10)


def _leave(folder: Folder, handle: Path) -> None:
    handle.unlink(missing_ok=True)
    if not handles.any_live(folder.handles):
        cluster.stop(folder)
