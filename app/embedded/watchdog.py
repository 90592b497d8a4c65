"""Starts and ends the watchdog: a process that stops the server once no process uses it, however they ended.

Every user of the server starts one where none lives, and before the server. It has a session of its own, so
no signal for a terminal or its processes reaches it. Call both functions with the data folder's lock held.
"""

import os
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from app.embedded import cluster, handles, processes
from app.embedded.folder import Folder

SECONDS = 1.0  # how often it looks
END_SECONDS = 5
MODULE = "app.embedded.watchdog_process"
# Where they are set, Python may not start without them.
NEEDED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONHOME")


def ensure_running(folder: Folder) -> None:
    """Start the watchdog of this folder unless it lives; it need not be waited for."""
    own = handles.open_lock_file(folder.watchdog)
    try:
        if handles.try_lock(own):
            os.ftruncate(own, 0)
            os.write(own, str(_start(folder, own)).encode())
    finally:
        os.close(own)  # without unlocking it: the watchdog has inherited the lock


def _start(folder: Folder, own: int) -> int:
    command = [sys.executable, "-B", "-P", "-S", "-m", MODULE, str(folder.path), str(own), str(SECONDS)]
    # Found as we found ours, and without what site-packages run at the start of every Python.
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    needed = {name: os.environ[name] for name in NEEDED if name in os.environ}
    ourselves = replace(folder.account, switch=False)
    with os.fdopen(os.open(folder.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
        return ourselves.start(command, log, keep=(own,), environment={**needed, "PYTHONPATH": path})


def end(folder: Folder) -> None:
    """End the watchdog, if one lives: there is no server any more."""
    try:
        pid = int(folder.watchdog.read_text())
    except (FileNotFoundError, ValueError):
        return
    if processes.is_module(pid, MODULE, folder.path):
        with suppress(ProcessLookupError):
            # It waits for the lock that we hold, so it is in the midst of nothing.
            os.kill(pid, signal.SIGKILL)
        cluster.wait(lambda: processes.process_identity(pid) is None, END_SECONDS)
