"""A database that a test gives back is lent again as new, or is dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from tests.support.databases import Databases
from tests.support.lasting_connections import LastingConnection, LastingPool

pytestmark = pytest.mark.database

# As ours: numbered rows, a row that others refer to, and rows that no statement may delete.
TABLES = """
    CREATE TABLE alembic_version (version_num text);
    INSERT INTO alembic_version VALUES ('first');
    CREATE TABLE epics (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text);
    CREATE TABLE links (epic_id bigint REFERENCES epics);
    CREATE TABLE log (entry text);
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'kept for ever'; END $$;
    CREATE TRIGGER kept BEFORE DELETE ON log EXECUTE FUNCTION refuse();
"""
FILL = """
    INSERT INTO epics (key) SELECT 'SHOP-' || number FROM generate_series(1, 3) AS number;
    INSERT INTO links SELECT id FROM epics;
    INSERT INTO log VALUES ('made');
"""


@pytest.fixture
def small(server: psycopg.Connection, postgresql: Callable[[str], str]) -> Iterator[Databases]:
    """Databases with the few tables above."""
    template = f"template_{uuid4().hex}"
    server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(template)))
    with psycopg.connect(postgresql(template)) as connection:
        connection.execute(TABLES)
    made = Databases(server, postgresql, template)
    yield made
    made.close()
    server.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(template)))


def is_there(server: psycopg.Connection, name: str) -> bool:
    return bool(server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchall())


def wait_until_gone(server: psycopg.Connection, backend: int) -> None:
    """PostgreSQL ends the process of a closed connection a moment later."""
    with_id = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"
    while server.execute(with_id, [backend]).fetchall():
        pass


def test_one_that_was_filled_is_lent_again_as_new(
    small: Databases, server: psycopg.Connection, postgresql: Callable[[str], str]
) -> None:
    name = small.lend()
    for _ in range(2):
        with psycopg.connect(postgresql(name)) as connection:
            connection.execute(FILL)
            found = connection.execute("SELECT id, key FROM epics").fetchall()
            assert found == [(1, "SHOP-1"), (2, "SHOP-2"), (3, "SHOP-3")]
            assert connection.execute("SELECT epic_id FROM links").fetchall() == [(1,), (2,), (3,)]
            assert connection.execute("SELECT entry FROM log").fetchall() == [("made",)]
            backend = connection.info.backend_pid
        wait_until_gone(server, backend)
        small.take_back(name)
        assert small.lend() == name


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE epics ADD title text",
        "DROP TABLE log",
        "UPDATE alembic_version SET version_num = 'second'",
        "INSERT INTO alembic_version VALUES ('second')",
        "DELETE FROM alembic_version",
    ],
)
def test_one_whose_schema_or_revision_was_changed_is_dropped(
    small: Databases, server: psycopg.Connection, postgresql: Callable[[str], str], change: str
) -> None:
    name = small.lend()
    with psycopg.connect(postgresql(name)) as connection:
        connection.execute(change)
    small.take_back(name)
    assert not is_there(server, name)


def test_one_with_a_connection_left_is_dropped(
    small: Databases, server: psycopg.Connection, postgresql: Callable[[str], str]
) -> None:
    name = small.lend()
    with psycopg.connect(postgresql(name)) as left:
        small.take_back(name)
        assert not is_there(server, name)
        with pytest.raises(psycopg.OperationalError):
            left.execute("SELECT 1")


def test_none_is_left_at_the_end(small: Databases, server: psycopg.Connection) -> None:
    names = [small.lend(), small.lend()]
    for name in names:
        small.take_back(name)
    assert [is_there(server, name) for name in names] == [True, True]
    small.close()
    assert [is_there(server, name) for name in names] == [False, False]


async def test_a_lasting_connection_serves_the_next_pool_and_a_broken_one_none(database_url: str) -> None:
    async def backend() -> tuple[int, LastingConnection]:
        async with LastingPool(database_url, min_size=1, open=False) as pool, pool.connection() as connection:
            return connection.info.backend_pid, connection

    first, connection = await backend()
    assert (await backend())[0] == first
    connection.pgconn.finish()
    assert (await backend())[0] != first


async def test_one_in_a_transaction_is_closed_with_its_pool(database_url: str) -> None:
    connection = await LastingConnection.connect(database_url)
    await connection.execute("SELECT 1")
    await connection.close()
    assert connection.closed
    assert all(connection not in kept for kept in LastingConnection.idle.values())
