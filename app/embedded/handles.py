"""Which processes use the server: the lock for joining and leaving it, and the live handles."""

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.embedded import processes
from app.embedded.account import EmbeddedDatabaseError

ACQUIRE_SECONDS = 180  # seconds; longer than a start or a stop may take


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold the data folder's lock and give its file descriptor. Raises EmbeddedDatabaseError."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + ACQUIRE_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise EmbeddedDatabaseError(
                        f"Another process has held {path} for {ACQUIRE_SECONDS} seconds: "
                        f"find it with fuser {path}, end it and start again"
                    ) from None
                time.sleep(0.01)
        yield lock
    finally:
        # closing alone does not unlock if another thread forked meanwhile: its child has the file open too
        fcntl.flock(lock, fcntl.LOCK_UN)
        os.close(lock)


def add(folder: Path) -> Path:
    """Record a handle of this process and return its file. Call it with the lock held."""
    handle = folder / f"{os.getpid()}-{processes.process_identity(os.getpid())}-{secrets.token_hex(4)}"
    handle.touch(mode=0o600)
    return handle


def any_live(folder: Path) -> bool:
    """Does a live process hold a handle? Deletes the handles of dead ones. Call it with the lock held."""
    live = False
    for handle in folder.iterdir():
        pid, born, _ = handle.name.split("-")
        if processes.process_identity(int(pid)) == born:
            live = True
        else:
            handle.unlink()
    return live
