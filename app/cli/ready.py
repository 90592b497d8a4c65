"""For commands that only read: the database as it is, never migrated by them."""

from __future__ import annotations

from app.database import DatabaseNotReady, engine_for, why_not_ready


async def check_ready(url: str) -> None:
    """Check the schema without migrating it. Raises `DatabaseNotReady`."""
    engine = engine_for(url)
    try:
        reason = await why_not_ready(engine)
    finally:
        await engine.dispose()
    if reason is not None:
        raise DatabaseNotReady(
            f"Nothing can be checked: {reason}. `northing serve` makes and migrates a database; else see"
            " NORTHING_DATABASE_URL"
        )
