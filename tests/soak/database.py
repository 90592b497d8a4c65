"""A PostgreSQL of the soak's own that is killed with all its processes, as by a machine that loses power."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from app.embedded import Server, acquire

DATABASE = "northing"
ROOMY = 2 * 1024**3
_SESSIONS = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid() ORDER BY pid"


class Database:
    """With its ordinary settings: without fsync's companions a kill alone would lose what was committed."""

    def __init__(self, folder: Path, server: Server) -> None:
        self._folder = folder
        self.url = server.url(DATABASE)

    def kill(self) -> None:
        kill_server(self._folder)

    def kill_session(self, choose: float) -> bool:
        """SIGKILL for one session, `choose` of the way through the list of them; the server then ends all
        others and recovers. False where there is none."""
        try:
            with psycopg.connect(self.url, autocommit=True, connect_timeout=5) as connection:
                pids = [pid for (pid,) in connection.execute(_SESSIONS, [DATABASE])]
        except psycopg.Error:
            return False
        if not pids:
            return False
        with suppress(ProcessLookupError):
            os.kill(pids[int(choose * len(pids))], signal.SIGKILL)
        return True

    def start(self) -> None:
        """Start it again, or wait until it answers."""
        acquire(self._folder).release()


def kill_server(folder: Path) -> None:
    """SIGKILL for the server in a data folder and every process of it; it first, or it would mend itself."""
    server = int((folder / "postgresql" / "cluster" / "postmaster.pid").read_text().split()[0])
    for pid in [server, *_children(server)]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _children(parent: int) -> list[int]:
    listed = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=True)
    pairs = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()]
    return [pid for pid, of in pairs if of == parent]


@contextmanager
def database() -> Iterator[Database]:
    # Not a test's own folder: as root the server runs as another user, who has to get there.
    folder = Path(tempfile.mkdtemp(prefix="northing-soak-", dir=_quick_place()))
    try:
        folder.chmod(0o755)
        with acquire(folder) as server:
            server.create_database(DATABASE)
            yield Database(folder, server)
    finally:
        shutil.rmtree(folder)


def _quick_place() -> Path | None:
    """Memory, where there is plenty: what a killed process has written is as safe there as on a disk."""
    memory = Path("/dev/shm")
    there = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ROOMY
    return memory if there else None
