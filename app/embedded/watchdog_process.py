"""The watchdog itself: `python -m app.embedded.watchdog_process <folder> <open file> <seconds>`.

It holds no terminal, pipe or socket, and reads nothing but the folder. It imports nothing but what it needs,
for it lives as long as the server does.
"""

import fcntl
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from app.embedded import cluster, databases, handles, processes
from app.embedded.account import EmbeddedDatabaseError, server_user
from app.embedded.folder import Folder


class Watchdog:
    """Its files stay the same where the folder is moved, deleted or made anew under the old name."""

    def __init__(self, base: Path, own: int, seconds: float) -> None:
        self._own = own
        self._seconds = seconds
        self._folder = Folder(base, server_user(base / "cluster"))
        self._lock = handles.open_lock_file(self._folder.lock)
        self._base = os.open(base, os.O_RDONLY | os.O_CLOEXEC)
        self._users = handles.open_lock_file(self._folder.users)
        self._running = handles.open_lock_file(self._folder.running)
        self._server: int | None = None
        self._said = ""

    def run(self) -> None:
        """Until neither a user nor a server lives. Signals to end change nothing: the users get them too."""
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        with suppress(OSError):  # Linux alone: what `ps` shows, so that `killall python` does not mean this
            Path("/proc/self/comm").write_text("pg-watchdog")
        ended = False
        while not ended:
            time.sleep(self._seconds)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            try:
                ended = self._look()
            except (OSError, subprocess.SubprocessError, EmbeddedDatabaseError) as error:
                self._say(f"{error}; trying again")
            finally:
                if ended:
                    os.close(self._own)  # before the next user may look for a watchdog
                fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _look(self) -> bool:
        """Has everything ended? The server is stopped if no process uses it."""
        there = self._is_there()
        if there:
            self._server = cluster.recorded_pid(self._folder) or self._server
            self._drop_abandoned()
        if handles.any_live(self._users) or (there and handles.any_live_on(self._folder.users)):
            return False
        if self._server is not None and processes.is_server(self._server, self._folder.cluster):
            self._say("no process uses the server any more, stopping it")
            cluster.stop(self._folder, self._server)
        # A server that a killed process has just launched does not say its process id at once.
        if handles.any_live(self._running):
            return False
        if there:
            cluster.remove_leftovers(self._folder)
        return True

    def _drop_abandoned(self) -> None:
        try:
            databases.drop_abandoned(self._folder)
        # ImportError: Northing may be uninstalled meanwhile.
        except (OSError, ImportError, EmbeddedDatabaseError) as error:
            self._say(f"{error}; a temporary database is dropped at the next start")

    def _is_there(self) -> bool:
        with suppress(FileNotFoundError, NotADirectoryError):
            return os.path.samestat(os.fstat(self._base), self._folder.path.stat())
        return False

    def _say(self, what: str) -> None:
        """One line in the server's log; not again until there was another."""
        if what != self._said:
            self._said = what
            sys.stderr.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S UTC} watchdog: {what}\n")


if __name__ == "__main__":
    Watchdog(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])).run()
