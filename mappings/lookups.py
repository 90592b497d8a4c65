"""Rows found by the names that people use: keys in any case, epics also by their former keys, runs and
deliveries by their ids."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import ColumnElement, Select, any_, func, literal, or_, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import undefer
from sqlalchemy.types import Text

from mappings.errors import Invalid, NotFound
from mappings.locks import lock_epics
from mappings.tables import (
    CycleRow,
    DecisionRow,
    DeliveryRow,
    EpicKeyHistoryRow,
    EpicRow,
    KeyResultRow,
    ObjectiveRow,
    RunRow,
    SourceRow,
    among,
    among_ids,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Set
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

Goal = TypeVar("Goal", CycleRow, ObjectiveRow, KeyResultRow)
_WORDS: dict[type[Any], str] = {CycleRow: "cycle", ObjectiveRow: "objective", KeyResultRow: "key result"}


REMOVAL_REASON_TEXTS = {
    "deleted": "was deleted in the tracker, or is no longer visible to Northing",
    "out_of_scope": "left the source's scope",
    "not_an_epic": "no longer fits the source's selector of epics",
}


async def find_source(session: AsyncSession, name: str, *, lock: bool = False) -> SourceRow | None:
    """The source of this name; with `lock` as it is under the lock, even where the session holds it."""
    query = select(SourceRow).where(func.lower(SourceRow.name) == name.lower())
    if lock:
        query = query.with_for_update(key_share=True).execution_options(populate_existing=True)
    return (await session.scalars(query)).one_or_none()


async def source_at(session: AsyncSession, name: str, *, lock: bool = False) -> SourceRow:
    """The source of this name. Raises `NotFound`: the caller asks for the source itself."""
    row = await find_source(session, name, lock=lock)
    if row is None:
        raise NotFound.of("source", name)
    return row


async def source_in(session: AsyncSession, name: str, field: str) -> SourceRow:
    """The source that `field` names. Raises `Invalid` where there is none."""
    row = await find_source(session, name)
    if row is None:
        raise Invalid(field, no_source(name))
    return row


def no_source(name: str) -> str:
    return f"there is no source {name!r}"


async def find_goal(session: AsyncSession, table: type[Goal], key: str) -> Goal | None:
    """The goal of this key as it is now, even where the session holds it from before."""
    query = select(table).where(func.lower(table.key) == key.lower())
    return (await session.scalars(query.execution_options(populate_existing=True))).one_or_none()


async def goal_at(session: AsyncSession, table: type[Goal], key: str) -> Goal:
    """The goal of this key. Raises `NotFound`: the caller asks for the goal itself."""
    row = await find_goal(session, table, key)
    if row is None:
        raise NotFound.of(_WORDS[table], key)
    return row


async def goal_in(session: AsyncSession, table: type[Goal], key: str, field: str) -> Goal:
    """The goal that `field` names. Raises `Invalid` where there is none."""
    row = await find_goal(session, table, key)
    if row is None:
        raise Invalid(field, f"there is no {_WORDS[table]} {key!r}")
    return row


async def source_for_command(session: AsyncSession, name: str) -> SourceRow:
    """The source that a command line names. Raises `NotFound`, whose text lists the sources there are."""
    row = await find_source(session, name) if "\x00" not in name else None
    if row is None:
        names = list(await session.scalars(select(SourceRow.name).order_by(func.lower(SourceRow.name))))
        known = (
            f"there are {', '.join(names)}" if names else "none is there yet; POST /api/v1/sources makes one"
        )
        raise NotFound(f"There is no source {name!r}: {known}")
    return row


async def run_at(session: AsyncSession, id: int) -> tuple[RunRow, str]:
    """The run and its source's name. Raises `NotFound`."""
    named = select(RunRow, SourceRow.name).join(SourceRow, SourceRow.id == RunRow.source_id)
    row = (await session.execute(named.where(RunRow.id == id))).one_or_none()
    if row is None:
        raise NotFound.of("run", id)
    return row[0], row[1]


async def delivery_at(session: AsyncSession, id: int, *, lock: bool = False) -> tuple[DeliveryRow, str]:
    """The delivery with its body, and its source's name. Raises `NotFound`."""
    query = select(DeliveryRow, SourceRow.name).join(SourceRow, SourceRow.id == DeliveryRow.source_id)
    query = query.where(DeliveryRow.id == id).options(undefer(DeliveryRow.body))
    if lock:
        query = query.with_for_update(of=DeliveryRow).execution_options(populate_existing=True)
    row = (await session.execute(query)).one_or_none()
    if row is None:
        raise NotFound.of("delivery", id)
    return row[0], row[1]


async def key_result_in(session: AsyncSession, key: str, field: str) -> KeyResultRow:
    """The key result that `field` names. Raises `Invalid` where there is none."""
    row = await find_goal(session, KeyResultRow, key)
    if row is None:
        raise Invalid(field, no_key_result(key))
    return row


def no_key_result(key: str) -> str:
    return f"there is no key result {key!r}; GET /api/v1/key-results lists them"


async def find_epic(session: AsyncSession, source: SourceRow, key: str) -> EpicRow | None:
    """The epic by its present key, else by a former one; it may be removed."""
    lower = key.lower()
    former = select(EpicKeyHistoryRow.epic_id).where(
        EpicKeyHistoryRow.source_id == source.id, EpicKeyHistoryRow.key == lower
    )
    query = (
        select(EpicRow)
        .where(EpicRow.source_id == source.id)
        .where(or_(func.lower(EpicRow.key) == lower, EpicRow.id == former.scalar_subquery()))
        .order_by(func.lower(EpicRow.key) != lower, EpicRow.removed_at.is_not(None), EpicRow.id)
        .limit(1)
    )
    return (await session.scalars(query)).one_or_none()


async def epic_at(session: AsyncSession, source: SourceRow, key: str) -> EpicRow:
    """The epic of this key. Raises `NotFound`, with the reason and since when for one that is removed."""
    row = await find_epic(session, source, key)
    if row is None:
        raise NotFound.of(f"epic in {source.name} with the key", key)
    if row.removed_at is not None:
        raise NotFound(f"{why_removed(row.key, row.removed_at, row.removal_reason)}.")
    return row


async def locked_epic_at(session: AsyncSession, source: str, key: str) -> tuple[SourceRow, EpicRow]:
    """The epic of this source and key, locked with all its columns as they are then, and its source: neither
    it nor its source goes until this transaction ends. Raises `NotFound` as `source_at` and `epic_at`."""
    held = await source_at(session, source)
    found = await epic_at(session, held, key)
    rows = await lock_epics(session, [found.id])
    if not rows:  # deleted meanwhile, with its source
        raise NotFound.of("source", source)
    (row,) = rows
    if row.removed_at is not None:
        raise NotFound(f"{why_removed(row.key, row.removed_at, row.removal_reason)}.")
    return held, row


def why_removed(key: str, removed_at: datetime, reason: str | None) -> str:
    return f"{key} {REMOVAL_REASON_TEXTS[reason or 'deleted']}, seen {removed_at:%Y-%m-%d %H:%M} UTC"


async def epic_in(session: AsyncSession, source: str, key: str, field: str) -> tuple[SourceRow, EpicRow]:
    """The epic that `field` names, and its source. Raises `Invalid` where there is none, or it
    is removed."""
    held = await source_in(session, source, f"{field}.source")
    row = await find_epic(session, held, key)
    if row is None:
        raise Invalid(f"{field}.key", no_epic(held.name, key))
    if row.removed_at is not None:
        raise Invalid(f"{field}.key", why_removed(row.key, row.removed_at, row.removal_reason))
    return held, row


def no_epic(source: str, key: str) -> str:
    return f"{source} has no epic {key!r}; sync it first if it is new"


# --- many at once, each by one or two statements ------------------------------------------------


@dataclass(frozen=True, slots=True)
class FoundEpic:
    """An epic as `find_epic` finds it."""

    id: int
    source_id: int
    key: str
    removed_at: datetime | None
    removal_reason: str | None


async def goal_keys(session: AsyncSession, table: type[Goal], ids: Collection[int]) -> dict[int, str]:
    """The keys of those goals that are there, by id; without ids no statement."""
    if not ids:
        return {}
    return {id: key for id, key in await session.execute(_keys(table), {"ids": list(ids)})}


@cache
def _keys(table: type[Goal]) -> Select[int, str]:
    return select(table.id, table.key).where(among_ids(table.id))


def about_goal(row: ObjectiveRow | KeyResultRow) -> ColumnElement[bool]:
    """The decisions that were about this goal, or had it as their target or measure."""
    if isinstance(row, ObjectiveRow):
        return DecisionRow.about_objective_id == row.id
    columns = DecisionRow.about_key_result_id, DecisionRow.key_result_id, DecisionRow.measure_id
    return or_(*(column == row.id for column in columns))


async def find_epics(session: AsyncSession, asked: Set[tuple[int, str]]) -> dict[tuple[int, str], FoundEpic]:
    """The epics of these pairs of a source's id and a key in lower case, as `find_epic` finds each."""
    columns = EpicRow.id, EpicRow.source_id, EpicRow.key, EpicRow.removed_at, EpicRow.removal_reason
    lower = func.lower(EpicRow.key)
    present: Any = select(lower, *columns).where(*_one_of(EpicRow.source_id, lower, asked))
    found = await _by_key(session, present)
    left = asked - found.keys()
    if left:
        former: Any = (
            select(EpicKeyHistoryRow.key, *columns)
            .join(
                EpicRow,
                (EpicRow.id == EpicKeyHistoryRow.epic_id)
                & (EpicRow.source_id == EpicKeyHistoryRow.source_id),
            )
            .where(*_one_of(EpicKeyHistoryRow.source_id, EpicKeyHistoryRow.key, left))
        )
        found = {**await _by_key(session, former), **found}
    return {pair: epic for pair, epic in found.items() if pair in asked}


def _one_of(source_id: Any, key: Any, pairs: Set[tuple[int, str]]) -> tuple[ColumnElement[bool], ...]:
    """What is true for each of the pairs, and for some that the caller leaves out: an index finds these
    quicker than the pairs alone."""
    keys = literal(sorted({key for _, key in pairs}), ARRAY(Text))
    return among(source_id, {source for source, _ in pairs}), key == any_(keys)


async def _by_key(session: AsyncSession, query: Select[Any]) -> dict[tuple[int, str], FoundEpic]:
    """By the key that a row of `query` begins with: one that is not removed, the oldest of several."""
    found: dict[tuple[int, str], FoundEpic] = {}
    for key, *values in await session.execute(query):
        epic = FoundEpic(*values)
        other = found.setdefault((epic.source_id, key), epic)
        if (epic.removed_at is not None, epic.id) < (other.removed_at is not None, other.id):
            found[epic.source_id, key] = epic
    return found


async def find_sources(session: AsyncSession) -> dict[str, tuple[int, str]]:
    """Every source by its name in lower case: its id and its name."""
    rows = await session.execute(select(SourceRow.id, SourceRow.name))
    return {name.lower(): (id, name) for id, name in rows}


async def find_key_results(session: AsyncSession, keys: Collection[str]) -> dict[str, tuple[int, str]]:
    """The key results of these keys, by the key in lower case: id and key."""
    lower = sorted({key.lower() for key in keys})
    rows = await session.execute(
        select(KeyResultRow.id, KeyResultRow.key).where(func.lower(KeyResultRow.key).in_(lower))
    )
    return {key.lower(): (id, key) for id, key in rows}
