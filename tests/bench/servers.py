"""What a bench stands on: a PostgreSQL as users get it, and programs in processes of their own."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psycopg
from psycopg import sql

from app.database import migrate
from app.embedded import Server, acquire

START_SECONDS, STOP_SECONDS = 60, 12
TEMPLATE = "template_northing"
ROOT = Path(__file__).parents[2]
LAST_WORDS = 2000
Kind = Literal["jira", "github"]


@dataclass(frozen=True, slots=True)
class Tracker:
    """Where a simulated tracker listens, the account that may read it, and how many epics it has."""

    url: str
    token: str
    epics: int
    email: str = ""
    kind: Kind = "jira"

    @property
    def credentials(self) -> dict[str, str]:
        if self.kind == "github":
            return {"type": "token", "token": self.token}
        return {"type": "api_token", "email": self.email, "token": self.token}


@contextmanager
def tracker(epics: int, kind: Kind = "jira", latency: float = 0) -> Iterator[Tracker]:
    """A simulated tracker with that many epics, until the block ends. `latency` is in milliseconds."""
    command = ("connectors.sandbox", kind, "--epics", str(epics), "--latency", str(latency))
    with program(*command) as line:
        yield Tracker(**json.loads(line), epics=epics, kind=kind)


@contextmanager
def program(module: str, *arguments: str, settings: Mapping[str, str] | None = None) -> Iterator[str]:
    """`python -m module` until the block ends; yields the first line it prints, which says that it is ready.

    `settings` are Northing's: `{"port": "0"}` is NORTHING_PORT=0. Raises RuntimeError with the end of its
    log where it ended by itself.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith("NORTHING_")}
    given = {f"NORTHING_{name.upper()}": value for name, value in (settings or {}).items()}
    with (
        tempfile.TemporaryDirectory(prefix="northing-bench-") as folder,
        Path(folder, "log").open("w+b") as log,
    ):
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=folder,  # where no .env is
            env={**own, **given, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=log,
            # A session of its own: Ctrl-C reaches us alone, and we stop what we started.
            start_new_session=True,
        )
        with process:
            try:
                yield _first_line(process)
            finally:
                code = process.poll()
                _stop(process)
                if code is not None:
                    log.seek(0)
                    words = log.read().decode(errors="replace")[-LAST_WORDS:]
                    raise RuntimeError(f"{module} ended by itself with {code}:\n{words}")


def _first_line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        line = process.stdout.readline() if selector.select(START_SECONDS) else b""
    if not line:
        with suppress(subprocess.TimeoutExpired):
            process.wait(1)  # then its log is told
        raise RuntimeError("a program of the bench did not start")
    return line.decode()


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_SECONDS)


class Databases:
    """Databases on one server, each a copy of a migrated template or empty."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @contextmanager
    def fresh(self, name: str, *, migrated: bool = True, template: str | None = None) -> Iterator[str]:
        """The URL of a new database, dropped when the block ends; a copy of `template`, if one is named."""
        origin = template or (TEMPLATE if migrated else "template1")
        # A large one is copied file by file, not through the write-ahead log.
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY {}").format(
            sql.Identifier(name), sql.Identifier(origin), sql.SQL("FILE_COPY" if template else "WAL_LOG")
        )
        self._run(create)
        try:
            # Whoever is measured starts with an empty write-ahead log.
            self._run(sql.SQL("CHECKPOINT"))
            yield self._server.url(name)
        finally:
            self._server.drop_database(name)

    def url(self, name: str) -> str:
        return self._server.url(name)

    def rename(self, name: str, to: str) -> None:
        """A database that nothing uses; `fresh` drops it no more."""
        rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
        self._run(rename.format(sql.Identifier(name), sql.Identifier(to)))

    def _run(self, statement: sql.SQL | sql.Composed) -> None:
        with psycopg.connect(self._server.url("postgres"), autocommit=True, connect_timeout=10) as connection:
            connection.execute(statement)


@contextmanager
def databases() -> Iterator[Databases]:
    """The embedded PostgreSQL with its ordinary settings, safe against power loss, in a folder of its own."""
    # As root the server runs as another user, who has to get into the folder.
    folder = Path(tempfile.mkdtemp(prefix="northing-bench-"))
    try:
        folder.chmod(0o755)
        with acquire(folder) as server:
            server.create_database(TEMPLATE)
            migrate(server.url(TEMPLATE))
            yield Databases(server)
    finally:
        shutil.rmtree(folder)
