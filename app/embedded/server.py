"""Sharing the embedded server: `acquire` gives a handle on it, `release` ends that handle."""

import atexit
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from app.embedded import cluster, databases, handles, watchdog
from app.embedded.account import EmbeddedDatabaseError
from app.embedded.folder import SOCKET_NAME, Folder, open_folder, socket_folder


def acquire(data_dir: Path, *, durable: bool = True) -> "Server":
    """Join the server of this data folder, or create and start it; safe from several processes at once.

    The folder is created if need be. `durable=False` gives up safety against power loss for speed, for
    tests; the process that starts the server decides. Blocks, in the worst case for some minutes after a
    crash. Raises EmbeddedDatabaseError.
    """
    folder = open_folder(data_dir)
    try:
        with handles.locked(folder.lock) as lock:
            handle = handles.add(folder.users)
            try:
                watchdog.ensure_running(folder)
                sockets = socket_folder(folder)
                cluster.ensure_running(folder, sockets, lock, durable=durable)
                databases.drop_abandoned(folder)
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

    An open handle is released when the interpreter ends; the handle of a killed process no longer counts, and
    where it was the last the watchdog stops the server.
    """

    def __init__(self, folder: Folder, sockets: Path, handle: int, *, durable: bool) -> None:
        self._folder = folder
        self._durable = durable
        self._sockets = sockets
        self._handle = handle
        self._temporary: dict[str, int] = {}
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
        return databases.url_of(self._sockets, database)

    def create_database(self, name: str) -> None:
        """Create an empty database unless there is one of this name."""
        databases.create(self._sockets, name)

    def create_temporary_database(self, name: str) -> None:
        """Create an empty database in place of one of this name, if there is one, for this process alone.

        It is dropped with `release`, or once the process has ended. Raises EmbeddedDatabaseError where a live
        process has a temporary one of this name.
        """
        with handles.locked(self._folder.lock):
            self._temporary[name] = databases.mark_temporary(self._folder, name)
        databases.drop(self._sockets, name)
        databases.create(self._sockets, name)

    def drop_database(self, name: str) -> None:
        """Drop the database, if there is one, and end the sessions in it."""
        databases.drop(self._sockets, name)
        if name in self._temporary:
            with handles.locked(self._folder.lock):
                databases.unmark_temporary(self._folder, name, self._temporary.pop(name))

    def revive(self) -> bool:
        """Start the server again if it was killed; True if it was. Blocks as `acquire` does.

        A killed watchdog is started again too. Raises EmbeddedDatabaseError.
        """
        try:
            if cluster.answers(self._sockets / SOCKET_NAME):
                with handles.locked_if_free(self._folder.lock) as held:
                    if held and not self._released:
                        watchdog.ensure_running(self._folder)
                return False
            with handles.locked(self._folder.lock) as lock:
                if self._released:
                    return False
                watchdog.ensure_running(self._folder)
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
        if not self._folder.lock.exists():  # the folder was deleted, and the watchdog stops the server
            self._released = True
            return
        with handles.locked(self._folder.lock):
            self._released = True
            atexit.unregister(self.release)
            try:
                self._drop_temporary()
            finally:
                _leave(self._folder, self._handle)

    def _drop_temporary(self) -> None:
        while self._temporary:
            os.close(self._temporary.popitem()[1])
        databases.drop_abandoned(self._folder)


def _leave(folder: Folder, handle: int) -> None:
    if handles.remove(handle):
        cluster.stop(folder)
        watchdog.end(folder)
