"""What cycles, objectives and key results share: keys, changes, and what refers to them.

A caller that writes holds the goals' exclusive lock, so a key that is free here stays free until the commit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, TypeVar

from fastapi import Path
from sqlalchemy import Numeric, Select, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.deps import Key
from app.api.problems import Problem, invalid, not_found, taken
from mappings.tables import CycleRow, KeyResultRow, ObjectiveRow

Goal = TypeVar("Goal", CycleRow, ObjectiveRow, KeyResultRow)
WORDS: dict[type[Any], str] = {CycleRow: "cycle", ObjectiveRow: "objective", KeyResultRow: "key result"}
PREFIXES: dict[type[Any], str] = {ObjectiveRow: "O-", KeyResultRow: "KR-"}
NAMED_AT_MOST = 5
KeyInPath = Annotated[Key, Path(description="A key, in any case.")]


# --- keys -------------------------------------------------------------------------------------


async def find_goal(session: AsyncSession, table: type[Goal], key: str) -> Goal | None:
    return (await session.scalars(select(table).where(func.lower(table.key) == key.lower()))).one_or_none()


async def goal_at(session: AsyncSession, table: type[Goal], key: str) -> Goal:
    """404 where there is none: `key` is part of the path."""
    row = await find_goal(session, table, key)
    if row is None:
        raise not_found(WORDS[table], key)
    return row


async def goal_in(session: AsyncSession, table: type[Goal], key: str, field: str) -> Goal:
    """422 on `field` where there is none: `key` is a filter or a member of a body."""
    row = await find_goal(session, table, key)
    if row is None:
        raise invalid(field, f"there is no {WORDS[table]} {key!r}")
    return row


async def key_for(
    session: AsyncSession, table: type[Goal], key: str | None, *, of: Goal | None = None
) -> str:
    """The key to store: `key`, or for a new goal without one the next number.

    409 where another goal has the key in any case, 422 where `of` would lose its key.
    """
    if key is None:
        if of is not None:
            raise invalid("key", "cannot be removed; leave it out, or send another")
        return await _next_key(session, table)
    other = await find_goal(session, table, key)
    if other is not None and (of is None or other.id != of.id):
        raise taken("key", key)
    return key


async def _next_key(session: AsyncSession, table: type[Goal]) -> str:
    prefix = PREFIXES[table]
    number = func.substring(func.lower(table.key), f"^{prefix.lower()}([0-9]{{1,18}})$")
    highest = await session.scalar(select(func.max(cast(number, Numeric))))
    return f"{prefix}{int(highest or 0) + 1}"


# --- changes ----------------------------------------------------------------------------------


def set_changed_columns(row: Goal, values: dict[str, Any]) -> set[str]:
    """Set the columns that differ, raise the version if there are any; the names of these columns."""
    changed = {name for name, value in values.items() if getattr(row, name) != value}
    for name in changed:
        setattr(row, name, values[name])
    if changed:
        row.version += 1
    return changed


# --- what refers to a goal --------------------------------------------------------------------


async def named_users(session: AsyncSession, one: str, many: str, query: Select[str]) -> list[str]:
    """The names that `query` finds, as one phrase of the first few; empty where it finds none."""
    names = (await session.scalars(query.limit(NAMED_AT_MOST + 1))).all()
    if not names:
        return []
    more = " and more" if len(names) > NAMED_AT_MOST else ""
    return [f"the {one if len(names) == 1 else many} {', '.join(names[:NAMED_AT_MOST])}{more}"]


def check_unused(row: CycleRow | ObjectiveRow | KeyResultRow, users: Iterable[str], way_out: str) -> None:
    """409 that names the users, where there are any."""
    phrases = list(users)
    if phrases:
        raise Problem(409, f"{row.key} is still used by {', and by '.join(phrases)}. {way_out}")
