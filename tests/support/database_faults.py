"""A database that refuses to write a table, with an error of its own choice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text

from app.runtime import Runtime


@asynccontextmanager
async def refusing(runtime: Runtime, table: str, sqlstate: str, when: str = "true") -> AsyncIterator[None]:
    """Each row that is inserted or updated in `table` where `when` is true of NEW raises this SQLSTATE."""
    async with runtime.sessions.begin() as session:
        await session.execute(
            text(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
                f" $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '{sqlstate}'; END $$"
            )
        )
        await session.execute(
            text(
                f"CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW WHEN ({when})"
                " EXECUTE FUNCTION refuse()"
            )
        )
    try:
        yield
    finally:
        async with runtime.sessions.begin() as session:
            await session.execute(text("DROP FUNCTION refuse() CASCADE"))
