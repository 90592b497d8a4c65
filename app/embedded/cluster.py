"""Creates, starts and stops one PostgreSQL. Call all but `answers` with the data folder's lock held."""

import os
import shutil
import signal
import socket
import struct
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from app.embedded import binaries, processes
from app.embedded.account import EmbeddedDatabaseError, name_of
from app.embedded.folder import PORT, SOCKET_NAME, Folder, elsewhere, forget_socket_folder
from app.embedded.handles import add, any_live_on

ROLE = "northing"
START_SECONDS = 120  # recovery after a crash reads at most max_wal_size
STOP_SECONDS = 60
LOG_BYTES = 10_000_000
SSL_REQUEST = struct.pack("!ii", 8, 80877103)

# For a small machine that does other work too. Parallel plans are off because they need shared memory that
# containers are short of, replication because nothing replicates and it makes bulk loads write more.
SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "512MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "logging_collector": "off",
}
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def ensure_running(folder: Folder, sockets: Path, lock: int, *, durable: bool) -> None:
    """Use the server that answers, or start one. `lock` is the held lock's file descriptor.

    Raises EmbeddedDatabaseError.
    """
    if _ready(folder, sockets):
        return
    # Launched by a process that died at once; or the sessions of a killed server, until their statements end.
    wait(lambda: _server_pid(folder) is not None or not any_live_on(folder.running), START_SECONDS)
    pid = _server_pid(folder)
    if pid is not None:  # starting, recovering or stopping for a process that died meanwhile
        wait(lambda: _ready(folder, sockets) or not _still_starting(folder, sockets, pid), START_SECONDS)
        if _ready(folder, sockets):
            return
        stop(folder)
    major, install = binaries.choose(folder)
    programs = binaries.programs(folder, major, install)
    if binaries.recorded_major(folder) is None:
        create(folder, programs, major, lock, durable=durable)
    _start(folder, programs, sockets, durable=durable)


def stop(folder: Folder, pid: int | None = None) -> None:
    """Stop the server, if one runs, ending its connections. Raises EmbeddedDatabaseError.

    `pid` is its process id where the folder cannot say it, because it was moved or deleted.
    """
    if pid is None:
        pid = recorded_pid(folder)
    if pid is not None and processes.is_server(pid, folder.cluster):
        for request, seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGQUIT, 15)):  # fast, then at once
            with suppress(ProcessLookupError):
                os.kill(pid, request)
            if wait(lambda: not processes.is_server(pid, folder.cluster), seconds):
                break
        else:
            raise EmbeddedDatabaseError(
                f"The database server in {folder.path} does not stop: end process {pid} and see {folder.log}"
            )
    forget_socket_folder(folder)


def answers(path: Path) -> bool:
    """Does a PostgreSQL answer on this socket? It needs no login, so a full server answers too.

    https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(5)
        try:
            client.connect(str(path))
            client.sendall(SSL_REQUEST)
            return client.recv(1) in (b"N", b"S")
        except OSError:
            return False


def _ready(folder: Folder, sockets: Path) -> bool:
    return _pid_file(folder)[1] == "ready" and answers(sockets / SOCKET_NAME)


def _still_starting(folder: Folder, sockets: Path, pid: int) -> bool:
    """May this server still become ready? Not if it has ended, or its socket was deleted while it runs."""
    lost = _pid_file(folder)[1] == "ready" and not (sockets / SOCKET_NAME).exists()
    return not lost and processes.is_server(pid, folder.cluster)


def _pid_file(folder: Folder) -> tuple[int | None, str]:
    """The process id and state in postmaster.pid. They may be outdated: the file outlives a killed server."""
    try:
        lines = (folder.cluster / "postmaster.pid").read_text().splitlines()
        return int(lines[0]), lines[7].strip() if len(lines) > 7 else "starting"
    except (FileNotFoundError, ValueError, IndexError):
        return None, ""


def recorded_pid(folder: Folder) -> int | None:
    """The process id in postmaster.pid, which may be outdated."""
    return _pid_file(folder)[0]


def _server_pid(folder: Folder) -> int | None:
    pid = recorded_pid(folder)
    return pid if pid is not None and processes.is_server(pid, folder.cluster) else None


def create(folder: Folder, programs: Path, major: int, lock: int, *, durable: bool) -> None:
    """Create the cluster under another name, then rename it: a killed initdb leaves no incomplete cluster."""
    _remove_half_made(folder)
    fresh = Path(tempfile.mkdtemp(prefix="new-", dir=folder.path))
    try:
        if folder.account.switch:
            os.chown(fresh, folder.account.uid, folder.account.gid)
        # from 17 on PostgreSQL has its own Unicode rules, the same on every machine
        unicode = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if major >= 17 else []
        command = [
            str(programs / "initdb"),
            "-D",
            str(fresh),
            "-U",
            ROLE,
            "--encoding=UTF8",
            "--locale=C",
            *unicode,
        ]
        command += ["--data-checksums", "--auth=reject", "--no-instructions"]
        # initdb inherits the lock: if this process is killed, no other begins before initdb has ended
        done = folder.account.run(
            command if durable else [*command, "--no-sync"], timeout=START_SECONDS, keep=(lock,)
        )
        if done.returncode:
            raise _failure(folder, _reason(done.stderr))
        fresh.rename(folder.cluster)
        _sync(folder.path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def remove_leftovers(folder: Folder) -> None:
    """Remove what killed processes left. No process of the server may live."""
    _remove_half_made(folder)
    for sockets in (folder.sockets, elsewhere(folder)):
        if sockets is not None:
            _remove_stale(folder, sockets)
    forget_socket_folder(folder)


def _remove_half_made(folder: Folder) -> None:
    for leftover in folder.path.glob("new-*"):
        shutil.rmtree(leftover)


def _remove_stale(folder: Folder, sockets: Path) -> None:
    for stale in (folder.cluster / "postmaster.pid", sockets / SOCKET_NAME, sockets / f"{SOCKET_NAME}.lock"):
        stale.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    entry = os.open(path, os.O_RDONLY)
    os.fsync(entry)
    os.close(entry)


def _start(folder: Folder, programs: Path, sockets: Path, *, durable: bool) -> None:
    # No server of this cluster runs, so files of a dead one are useless. They do harm once its process id
    # belongs to another process: PostgreSQL would refuse to start.
    _remove_stale(folder, sockets)
    _write_access(folder)
    deadline = time.monotonic() + START_SECONDS
    while True:
        pid, begin = _launch(folder, _command(folder, programs, sockets, durable=durable))
        if _wait_for_start(folder, sockets, pid, deadline):
            return
        reason = _reason(folder.log.read_bytes()[begin:])
        # sessions of a killed server run until their statement ends, and must not run beside a new server
        if "shared memory block" not in reason or time.monotonic() > deadline:
            raise _failure(folder, reason)
        time.sleep(0.2)


def _wait_for_start(folder: Folder, sockets: Path, pid: int, deadline: float) -> bool:
    """True once the server answers, false if it ended; EmbeddedDatabaseError if neither comes in time."""
    wait(
        lambda: _ready(folder, sockets) or processes.process_identity(pid) is None,
        deadline - time.monotonic(),
    )
    if _ready(folder, sockets):
        return True
    if processes.process_identity(pid) is not None:
        stop(folder)
        raise _failure(folder, f"no answer within {START_SECONDS} seconds")
    return False


def _command(folder: Folder, programs: Path, sockets: Path, *, durable: bool) -> list[str]:
    settings = {
        **SETTINGS,
        "unix_socket_directories": str(sockets),
        "hba_file": str(folder.path / "pg_hba.conf"),
        "ident_file": str(folder.path / "pg_ident.conf"),
        **({} if durable else NOT_DURABLE),
    }
    command = [str(programs / "postgres"), "-D", str(folder.cluster)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    return command


def _launch(folder: Folder, command: list[str]) -> tuple[int, int]:
    """Start the server; gives its process id and the length of the log before it."""
    with os.fdopen(os.open(folder.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
        if log.tell() > LOG_BYTES:
            log.truncate(0)
        begin = log.tell() if log.tell() <= LOG_BYTES else 0
        running = add(folder.running)  # which every process of the server inherits
        try:
            return folder.account.start(command, log, keep=(running,)), begin
        finally:
            os.close(running)


def _write_access(folder: Folder) -> None:
    """Allow logins of the user that runs Northing alone: `peer` asks the kernel which user connects."""
    user = name_of(os.geteuid()).replace('"', '""')
    for name, text in (
        ("pg_hba.conf", f"local all {ROLE} peer map=northing\n"),
        ("pg_ident.conf", f'northing "{user}" {ROLE}\n'),
    ):
        path = folder.path / name
        path.write_text(text)
        path.chmod(0o644)  # it holds no secret, and if we are root the server's user must read it


def wait(done: Callable[[], bool], seconds: float) -> bool:
    """Wait until it is done; False if it is not in time."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _reason(output: bytes) -> str:
    lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
    serious = [line for line in lines if "FATAL:" in line or "PANIC:" in line or "error:" in line]
    if serious:
        return serious[0]
    return " ".join(lines[-3:]) or "no output"


def _failure(folder: Folder, reason: str) -> EmbeddedDatabaseError:
    return EmbeddedDatabaseError(
        f"PostgreSQL did not start in {folder.path} ({reason}): fix that and start again, "
        f"see {folder.log}; or use another server with NORTHING_DATABASE_URL"
    )
