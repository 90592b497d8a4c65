"""Migrated databases for tests. One whose schema a test has left as it was is emptied and lent again.

That takes a third of what a new copy takes, which is a thousand files.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Callable

# No deleting of rows takes back a changed schema, which an event trigger notes, or a changed revision.
_NOTE_CHANGES = """
    CREATE SCHEMA testing;
    CREATE TABLE testing.changes (tag text);
    CREATE TABLE testing.version AS TABLE alembic_version;
    CREATE FUNCTION testing.note() RETURNS event_trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO testing.changes VALUES (tg_tag); END $$;
    CREATE EVENT TRIGGER note ON ddl_command_end EXECUTE FUNCTION testing.note();
"""
_CHANGED = """
    SELECT EXISTS (SELECT FROM testing.changes)
        OR EXISTS (TABLE testing.version EXCEPT TABLE alembic_version)
        OR EXISTS (TABLE alembic_version EXCEPT TABLE testing.version)
"""
# A table that was not written since it was emptied is a file without a page. To look into each of more than a
# hundred tables takes most of the time of emptying them.
_FILLED = """
    SELECT format('%I', relname) FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'alembic_version'
        AND (pg_stat_file(pg_relation_filepath(oid))).size > 0
"""
_OTHERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
_RESTART = """
    SELECT setval(format('%I.%I', schemaname, sequencename)::regclass, start_value, false)
    FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL
"""


class Databases:
    """`server` is a superuser's connection to a database beside these; `url_of` gives a database's URL."""

    def __init__(self, server: psycopg.Connection, url_of: Callable[[str], str], template: str) -> None:
        self._server = server
        self._url_of = url_of
        self._template = template
        self._empty: list[str] = []
        self._caretakers: dict[str, psycopg.Connection] = {}
        with psycopg.connect(url_of(template), autocommit=True) as connection:
            connection.execute(_NOTE_CHANGES)

    def lend(self) -> str:
        """The name of a database as migrations leave it, for one test."""
        if self._empty:
            return self._empty.pop()
        name = f"test_{uuid4().hex}"
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        self._server.execute(create.format(sql.Identifier(name), sql.Identifier(self._template)))
        return name

    def take_back(self, name: str, *, idle: int = 0) -> bool:
        """Keep it for the next test; drop it where its schema was changed or somebody is still connected.

        `idle` connections to it stay open, and serve the next test. True: it was kept.
        """
        emptied = False
        with suppress(psycopg.OperationalError):
            emptied = self._emptied(name, idle)
        if emptied:
            self._empty.append(name)
        else:
            self._drop(name)
        return emptied

    def close(self) -> None:
        """Drop what no test will take any more."""
        while self._empty:
            self._drop(self._empty.pop())
        while self._caretakers:
            self._caretakers.popitem()[1].close()

    def _drop(self, name: str) -> None:
        if name in self._caretakers:
            self._caretakers.pop(name).close()
        self._server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _caretaker(self, name: str) -> psycopg.Connection:
        """The connection that empties it each time: to a new one each table would be new."""
        with suppress(KeyError, psycopg.OperationalError):  # a test may have ended it, with all the others
            self._caretakers[name].execute("SELECT 1")
            return self._caretakers[name]
        if name in self._caretakers:
            self._caretakers.pop(name).close()
        made = psycopg.connect(self._url_of(name), autocommit=True)
        made.execute("SET session_replication_role = replica")  # without triggers and foreign keys
        self._caretakers[name] = made
        return made

    def _emptied(self, name: str, idle: int) -> bool:
        connection = self._caretaker(name)
        changed = connection.execute(_CHANGED).fetchone()
        others = connection.execute(_OTHERS).fetchone()
        if (changed, others) != ((False,), (idle,)):
            return False
        filled = [table for (table,) in connection.execute(_FILLED)]
        if filled:
            connection.execute("".join(f"DELETE FROM {table};" for table in filled))
            # So that rows come back in the order in which the next test writes them.
            connection.execute(f"VACUUM (INDEX_CLEANUP ON) {', '.join(filled)}")
        connection.execute(_RESTART)
        return True
