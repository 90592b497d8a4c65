"""Where the embedded database keeps its files; the folders are checked before anything is read or written.

This module changes mode and owner only of what it has just created, and of the socket folder that it made.
"""

import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from app.embedded.account import EmbeddedDatabaseError, SystemUser, name_of, server_user

PORT = 5432  # only part of the socket's name: nothing listens on TCP
SOCKET_NAME = f".s.PGSQL.{PORT}"
LONGEST_SOCKET_PATH = 103  # macOS keeps 104 bytes with the closing zero, Linux 108


@dataclass(frozen=True)
class Folder:
    """The files of one embedded database. `account` is the user its server runs as."""

    path: Path
    account: SystemUser

    @property
    def cluster(self) -> Path:
        return self.path / "cluster"

    @property
    def log(self) -> Path:
        return self.path / "server.log"

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def users(self) -> Path:
        return self.path / "users"

    @property
    def running(self) -> Path:
        return self.path / "running"

    @property
    def watchdog(self) -> Path:
        return self.path / "watchdog"

    @property
    def temporary(self) -> Path:
        return self.path / "temporary"

    @property
    def sockets(self) -> Path:
        return self.path / "run"

    @property
    def elsewhere(self) -> Path:
        return self.path / "run-elsewhere"


def open_folder(data_dir: Path) -> Folder:
    """Create what is missing and refuse what is not safe to use. Raises EmbeddedDatabaseError."""
    data_dir = data_dir.resolve()
    base = data_dir / "postgresql"
    try:
        _check_owned(data_dir)
        _check_owned(base)
        account = server_user(base / "cluster")
        if account.switch:
            _check_access(account, data_dir)
        # the server's user only passes through root's folders, it cannot list them
        mode = 0o711 if account.switch else 0o700
        for path in (*reversed(data_dir.parents), data_dir, base):
            make_folder(path, mode)
        for path in (data_dir, base):  # again: another user may have created them first
            _check_owned(path)
        make_folder(base / "temporary", 0o700)
    except OSError as error:
        raise EmbeddedDatabaseError(
            f"The data folder {data_dir} cannot be used ({error.strerror}: {error.filename}): "
            "fix that, or choose another folder with NORTHING_DATA_DIR"
        ) from error
    return Folder(base, account)


def make_folder(path: Path, mode: int) -> None:
    """Create `path` with exactly this mode, whatever the umask; leave it alone if it is there."""
    if path.is_dir():
        return
    try:
        path.mkdir(mode=mode)
    except FileExistsError:
        return
    if stat.S_IMODE(path.lstat().st_mode) != mode:
        path.chmod(mode)


def _check_owned(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode):
        raise EmbeddedDatabaseError(
            f"{path} is not a folder: move it away, or choose another folder with NORTHING_DATA_DIR"
        )
    if found.st_uid != os.geteuid():
        raise EmbeddedDatabaseError(
            f"{path} belongs to {name_of(found.st_uid)}, and Northing runs as {name_of(os.geteuid())}: "
            f"run it as {name_of(found.st_uid)}, or choose another folder with NORTHING_DATA_DIR"
        )
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        # any local user could replace our folder with one of their own
        raise EmbeddedDatabaseError(
            f"Every local user may write to {path}: close it with chmod o-w {path}, "
            "or choose another folder with NORTHING_DATA_DIR"
        )


def _check_access(account: SystemUser, data_dir: Path) -> None:
    there = data_dir
    while not there.exists():
        there = there.parent
    closed = account.first_closed(there)
    if closed is not None:
        raise EmbeddedDatabaseError(
            f"The database server runs as {account.name}, which may not enter {closed}: choose another "
            f"folder with NORTHING_DATA_DIR, or allow passing through with chmod o+x {closed}"
        )


def socket_folder(folder: Folder) -> Path:
    """The private folder of the server's socket, created if need be. Call it with the lock held.

    The mode keeps other users away from the socket, and `peer` in pg_hba.conf refuses them if the mode is
    ever loosened. There is no password: a user that could read one owns the cluster's files anyway.

    Raises EmbeddedDatabaseError.
    """
    near = folder.sockets
    length = len(os.fsencode(near / SOCKET_NAME))
    if length <= LONGEST_SOCKET_PATH and "," not in str(near):  # libpq takes a comma for a list of hosts
        return _near(near, folder.account)
    recorded = elsewhere(folder)
    if recorded is not None:
        return recorded
    # A new random name each time: a folder under a name that other users can guess may be theirs.
    made = Path(tempfile.mkdtemp(prefix="northing-", dir=_short_parent()))
    _change_owner(made, folder.account)
    folder.elsewhere.write_text(str(made))
    return made


def forget_socket_folder(folder: Folder) -> None:
    """Remove the socket folder made outside the data folder, once its server is down."""
    made = elsewhere(folder)
    if made is not None and not any(made.iterdir()):
        made.rmdir()
        folder.elsewhere.unlink()


def elsewhere(folder: Folder) -> Path | None:
    """The socket folder made outside the data folder, if there is one and it is still private."""
    if not folder.elsewhere.exists():
        return None
    made = Path("/", folder.elsewhere.read_text())  # absolute even if a kill left the file empty
    return made if _is_private(made, folder.account.uid) else None


def _near(path: Path, account: SystemUser) -> Path:
    make_folder(path, 0o700)
    if not _is_private(path, account.uid):
        # just made; or its process was killed before it changed the owner; or a person loosened the mode
        if path.is_symlink() or path.lstat().st_uid not in (account.uid, os.geteuid()):
            raise EmbeddedDatabaseError(f"{path} is not Northing's own folder: remove it and start again")
        path.chmod(0o700)
        _change_owner(path, account)
    return path


def _change_owner(path: Path, account: SystemUser) -> None:
    if account.switch:
        os.chown(path, account.uid, account.gid)


def _is_private(path: Path, uid: int) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == uid and not found.st_mode & 0o077


def _short_parent() -> Path:
    """A folder with a short name in which no other user can rename or remove what we make."""
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or "/nonexistent")
    if os.geteuid() == 0:
        runtime = Path("/run")
    # su and sudo may leave another user's XDG_RUNTIME_DIR in the environment
    usable = (
        runtime.is_dir() and runtime.lstat().st_uid == os.geteuid() and not runtime.lstat().st_mode & 0o022
    )
    if usable and len(os.fsencode(runtime)) < 60 and os.access(runtime, os.W_OK):
        return runtime
    return Path("/tmp")  # noqa: S108  # mkdtemp: a random name, created 0700, and the folder is sticky
