"""The intake's connections: what is planned once is planned for the tables as they are."""

from __future__ import annotations

import pytest

from app.webhooks.connections import PlanningConnection, intake_pool

pytestmark = pytest.mark.database

FIND = "SELECT name FROM growing WHERE id = %s"


async def _plan(connection: PlanningConnection) -> str:
    found = await connection.execute(
        "SELECT name FROM pg_prepared_statements WHERE statement LIKE '%FROM growing%'", prepare=False
    )
    row = await found.fetchone()
    assert row is not None
    lines = await connection.execute(f"EXPLAIN EXECUTE {row[0]} (1)", prepare=False)
    return "\n".join(line for (line,) in await lines.fetchall())


async def test_a_statement_is_planned_anew_for_a_table_that_grew(database_url: str) -> None:
    async with intake_pool(database_url, 5) as pool, pool.connection() as connection:
        await connection.execute("CREATE TEMP TABLE growing (id int PRIMARY KEY, name text)")
        await connection.execute("INSERT INTO growing VALUES (1, 'one')")
        await connection.execute("VACUUM ANALYZE growing")
        await connection.renew_plans()
        await connection.execute(FIND, [1])
        before = await _plan(connection)
        await connection.execute("INSERT INTO growing SELECT id, 'more' FROM generate_series(2, 20000) AS id")
        await connection.renew_plans()
        kept = await _plan(connection)
        connection.planned_at = float("-inf")  # as long ago as it may be
        await connection.renew_plans()
        renewed = await _plan(connection)
    assert "Seq Scan" in before
    assert kept == before
    assert "Index Scan" in renewed
