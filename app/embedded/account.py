"""The operating system user the server runs as, and running a command as that user."""

import os
import pwd
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

# PostgreSQL refuses to run as root, so under root the server runs as the first of these that exists.
UNPRIVILEGED = ("northing", "postgres", "nobody")


class EmbeddedDatabaseError(Exception):
    """The embedded database cannot be used. The message is one line and says what to do."""


@dataclass(frozen=True)
class SystemUser:
    name: str
    uid: int
    gid: int
    switch: bool  # true when commands must give up root first

    def run(
        self,
        command: list[str],
        *,
        timeout: float,
        stderr: int | IO[bytes] = subprocess.PIPE,
        keep: tuple[int, ...] = (),
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run and wait, outside our terminal and working directory; only the files in `keep` are inherited.

        Of the caller's environment only what is in `environment` is passed on: PGPORT, PGDATA or a locale
        must not leak into a server that others will share, nor a secret into a process that lives longer.
        """
        return subprocess.run(  # noqa: S603  # a list of arguments, no shell reads it
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            timeout=timeout,
            check=False,
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C", **(environment or {})},
            user=self.uid if self.switch else None,
            group=self.gid if self.switch else None,
            extra_groups=[] if self.switch else None,
            umask=0o077,
            pass_fds=keep,
            start_new_session=True,  # Ctrl-C in the terminal is for us, never for the server
        )

    def start(
        self,
        command: list[str],
        log: IO[bytes],
        *,
        keep: tuple[int, ...] = (),
        environment: Mapping[str, str] | None = None,
    ) -> int:
        """Start as no child of ours, so that any process may end it and none has to reap it; gives its id.

        It has `log` for both outputs, and outlives us. The rest is as in `run`.
        """
        shell = ["/bin/sh", "-c", '"$@" >&2 & echo $!', "sh"]
        done = self.run([*shell, *command], timeout=30, stderr=log, keep=keep, environment=environment)
        return int(done.stdout)

    def first_closed(self, path: Path) -> Path | None:
        """The first folder on the way to `path` (itself included) that this user may not enter."""
        way = [str(folder) for folder in (*reversed(path.parents), path)]
        # cd asks the kernel, so access lists and security modules count too, which mode bits would miss
        script = 'for folder; do cd -- "$folder" 2>/dev/null || { printf %s "$folder"; exit 1; }; done'
        answer = self.run(["/bin/sh", "-c", script, "sh", *way], timeout=10)
        return Path(os.fsdecode(answer.stdout)) if answer.returncode else None


def name_of(uid: int) -> str:
    """The user's name, or the number where the passwd database has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def server_user(cluster: Path) -> SystemUser:
    """The current user; for root the owner of `cluster`, or before it exists the first of `UNPRIVILEGED`.

    Raises EmbeddedDatabaseError.
    """
    if os.geteuid() != 0:
        return _system_user(os.geteuid(), switch=False)
    if cluster.exists():
        uid = cluster.lstat().st_uid
        if uid == 0:
            raise EmbeddedDatabaseError(
                f"{cluster} belongs to root, and PostgreSQL does not run as root: "
                f"change its owner to the user that had it, for example chown -R nobody {cluster}"
            )
        return _system_user(uid, switch=True)
    for name in UNPRIVILEGED:
        try:
            return _system_user(pwd.getpwnam(name).pw_uid, switch=True)
        except KeyError:
            continue
    raise EmbeddedDatabaseError(
        "PostgreSQL does not run as root, and no user northing, postgres or nobody exists: "
        "add one with useradd --system northing, or set NORTHING_DATABASE_URL"
    )


def _system_user(uid: int, *, switch: bool) -> SystemUser:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise EmbeddedDatabaseError(
            f"PostgreSQL needs a user with a name, and user id {uid} has none: "
            "add it to the passwd database, or set NORTHING_DATABASE_URL"
        ) from None
    return SystemUser(entry.pw_name, uid, entry.pw_gid, switch)
