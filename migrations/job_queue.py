"""Procrastinate's schema, from the files it ships. A migration takes a pinned stretch of them."""

from importlib.resources import files

from alembic import op
from sqlalchemy import text

ENUMS_GROW = "02.06.00_01_add_cancel_states.sql"
NEWEST = "03.04.00_50_post_add_retry_failed_job_procedure.sql"


def create() -> None:
    """Create the queue as procrastinate 3.10 has it.

    PostgreSQL lets a transaction use the values that an enum gained only once they are committed, so this
    commits half-way. After a start that was killed behind that commit, the next start goes on from there.
    """
    if op.get_bind().scalar(text("SELECT to_regclass('procrastinate_jobs') IS NULL")):
        run_shipped_files(after="", newest=ENUMS_GROW)
        with op.get_context().autocommit_block():
            pass
    run_shipped_files(after=ENUMS_GROW, newest=NEWEST)


def run_shipped_files(*, after: str, newest: str) -> None:
    """Run the files named above `after` up to `newest`, in the order of their names."""
    folder = files("procrastinate.sql").joinpath("migrations")
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".sql"))
    if newest not in names:
        raise RuntimeError(f"this procrastinate does not ship {newest}; install the locked version")
    connection = op.get_bind().connection.driver_connection
    assert connection is not None
    for name in names:
        if after < name <= newest:
            # Without parameters psycopg sends the text as it is, several statements at once.
            connection.execute(folder.joinpath(name).read_text(encoding="utf-8"))


def drop() -> None:
    for catalog, kind, prefix, name, namespace, condition in (
        ("pg_class", "TABLE", "rel", "regclass", "relnamespace", "relkind = 'r'"),
        ("pg_proc", "FUNCTION", "pro", "regprocedure", "pronamespace", "true"),
        ("pg_type", "TYPE", "typ", "regtype", "typnamespace", "typtype IN ('e', 'c')"),
    ):
        op.execute(
            f"""
            DO $$
            DECLARE thing record;
            BEGIN
                FOR thing IN SELECT oid::{name} AS name FROM {catalog}
                    WHERE {prefix}name LIKE 'procrastinate%' AND {condition}
                    AND {namespace} = current_schema()::regnamespace
                LOOP EXECUTE 'DROP {kind} IF EXISTS ' || thing.name || ' CASCADE'; END LOOP;
            END $$
            """  # noqa: S608  # the names are the three above
        )
