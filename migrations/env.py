"""How Alembic runs our migrations; `app.database` calls it with the URL in `config.attributes`."""

from alembic import context
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.pool import NullPool

# Any number, the same in every Northing: servers that start at once queue up here.
MIGRATION_LOCK = 6148914691236517


def run() -> None:
    engine = create_engine(context.config.attributes["url"], poolclass=NullPool)

    # One connection holds the lock, transaction-level so that a pooler may stand in between. The
    # other migrates, each migration in a transaction of its own: an enum value that one adds can
    # be used by the next only once it is committed.
    with engine.begin() as gate:
        gate.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        with engine.connect() as connection:
            event.listen(connection, "begin", _give_up_on_locks)
            context.configure(
                connection=connection,
                transaction_per_migration=True,
                # What `make migration` compares the database with; nothing where migrations only run.
                **context.config.attributes.get("comparison", {}),
            )
            with context.begin_transaction():
                context.run_migrations()
    engine.dispose()


def _give_up_on_locks(connection: Connection) -> None:
    """Rather fail after ten seconds than stand in front of everybody behind a long query."""
    connection.exec_driver_sql("SET LOCAL lock_timeout = '10s'")


run()
