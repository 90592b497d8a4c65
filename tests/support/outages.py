"""A database that takes no writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from app.database import libpq_url


@contextmanager
def refusing(url: str, table: str, code: str) -> Iterator[None]:
    """Each insert or update in a table ends with this error of the server's."""
    with psycopg.connect(libpq_url(url), autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" RAISE EXCEPTION SQLSTATE '{code}'; END $$"
        )
        connection.execute(
            f"CREATE TRIGGER refuse AFTER INSERT OR UPDATE ON {table} EXECUTE FUNCTION refuse()"
        )
        try:
            yield
        finally:
            connection.execute("DROP FUNCTION refuse CASCADE")


@contextmanager
def only_reading(url: str) -> Iterator[None]:
    """New connections only read, as those to a server that another one has replaced."""
    with psycopg.connect(libpq_url(url), autocommit=True) as connection:
        name = connection.info.dbname
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> %s"
        try:
            connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
            connection.execute(others, (name, connection.info.backend_pid))
            yield
        finally:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
            connection.execute(others, (name, connection.info.backend_pid))
