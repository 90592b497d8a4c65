"""Which processes use the server: the lock for joining and leaving it, and the live handles.

A handle is a shared flock on one file. The kernel takes it back when its process ends, however it ends. A
process id could belong to another process by then, and means nothing in another container. The processes of
the server hold such a handle on a file of their own.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.embedded.account import EmbeddedDatabaseError

ACQUIRE_SECONDS = 180  # seconds; longer than a start or a stop may take


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold the data folder's lock and give its file descriptor. Raises EmbeddedDatabaseError."""
    with _unlocking(path) as lock:
        deadline = time.monotonic() + ACQUIRE_SECONDS
        while not try_lock(lock):
            if time.monotonic() > deadline:
                raise EmbeddedDatabaseError(
                    f"Another process has held {path} for {ACQUIRE_SECONDS} seconds: "
                    f"find it with fuser {path}, end it and start again"
                )
            time.sleep(0.01)
        yield lock


@contextmanager
def locked_if_free(path: Path) -> Iterator[bool]:
    """Hold the data folder's lock unless another process does; is it held now?"""
    with _unlocking(path) as lock:
        yield try_lock(lock)


@contextmanager
def _unlocking(path: Path) -> Iterator[int]:
    lock = open_lock_file(path)
    try:
        yield lock
    finally:
        # closing alone does not unlock if another thread forked meanwhile: its child has the file open too
        fcntl.flock(lock, fcntl.LOCK_UN)
        os.close(lock)


def open_lock_file(path: Path) -> int:
    """The file, made if need be, as a descriptor that no other program inherits."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def try_lock(file: int) -> bool:
    """Lock the open file against every other opening of it; False where another one holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def add(path: Path) -> int:
    """Hold a handle of this process: an open file. Call it with the lock held."""
    handle = open_lock_file(path)
    fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return handle


def remove(handle: int) -> bool:
    """Give up the handle; does no live process hold another? Call it with the lock held."""
    try:
        fcntl.flock(handle, fcntl.LOCK_UN)  # a forked child has the file open too
        return not any_live(handle)
    finally:
        os.close(handle)


def any_live(file: int) -> bool:
    """Does a live process hold a handle on the open file? Call it with the lock held: no two may ask at once.

    A stopped process lives, and so does one of which the system does not say.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    fcntl.flock(file, fcntl.LOCK_UN)
    return False


def any_live_on(path: Path) -> bool:
    """`any_live` on the file at `path`."""
    file = open_lock_file(path)
    try:
        return any_live(file)
    finally:
        os.close(file)
