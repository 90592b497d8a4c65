"""What a bench stands on: a PostgreSQL as users get it, and a simulated tracker in a process of its own."""

from __future__ import annotations

import json
import selectors
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from app.database import migrate
from app.embedded import Server, acquire

START_SECONDS, STOP_SECONDS = 60, 10
TEMPLATE = "template_northing"


@dataclass(frozen=True, slots=True)
class Tracker:
    """Where a simulated Jira listens, the account that may read it, and how many epics it has."""

    url: str
    email: str
    token: str
    epics: int


@contextmanager
def tracker(epics: int) -> Iterator[Tracker]:
    """A simulated Jira with that many epics, until the block ends."""
    command = [sys.executable, "-m", "connectors.sandbox", "jira", "--epics", str(epics)]
    # A session of its own: Ctrl-C reaches us alone, and we stop what we started.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    try:
        yield Tracker(**json.loads(_first_line(process)), epics=epics)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)
        if process.stdout is not None:
            process.stdout.close()


def _first_line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        line = process.stdout.readline() if selector.select(START_SECONDS) else b""
    if not line:
        raise RuntimeError("the simulated tracker did not start")
    return line


class Databases:
    """Databases on one server, each a copy of a migrated template or empty."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @contextmanager
    def fresh(self, name: str, *, migrated: bool = True) -> Iterator[str]:
        """The URL of a new database, dropped when the block ends."""
        template = sql.Identifier(TEMPLATE if migrated else "template1")
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self._run(create.format(sql.Identifier(name), template))
        try:
            # Whoever is measured starts with an empty write-ahead log.
            self._run(sql.SQL("CHECKPOINT"))
            yield self._server.url(name)
        finally:
            self._server.drop_database(name)

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
