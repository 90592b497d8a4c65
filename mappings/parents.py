"""The epics above and below an epic: what its parent is, and which epics are evaluated again with it.

An epic's parent is the epic of its tracker with the id that its ticket names, in whatever source; where no
epic has that id, or the ticket names none, the epic of that key, else of that former key, in the sources of
its tracker. A parent that is removed passes nothing on, and is found all the same: an epic does not get
another parent by that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Select, bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text

from mappings.locks import BY_INDEXES
from mappings.plain_rows import LINKS_OF_EPICS, PlainLink
from mappings.tables import EpicRow, LinkRow, SourceRow, among_ids

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

# Epics above one epic: a line of parents that is longer, which no tracker has, passes nothing on beyond.
MOST_ABOVE = 100_000

# Of the epic `child`, a row with these columns of its own: the id of its parent. Each part is one look into
# an index, and OFFSET 0 keeps it one: joined freely, PostgreSQL might read whole tables for a row it found.
_PARENT_ID = """
    coalesce(
        (SELECT id FROM epics WHERE tracker = child.tracker AND remote_id = child.parent_remote_id),
        (SELECT named.id FROM sources CROSS JOIN LATERAL (
            SELECT id, removed_at FROM epics
            WHERE source_id = sources.id AND lower(key) = lower(child.parent_key) OFFSET 0
        ) AS named WHERE sources.tracker = child.tracker ORDER BY removed_at IS NOT NULL, id LIMIT 1),
        (SELECT named.id FROM sources CROSS JOIN LATERAL (
            SELECT epic_id FROM epic_key_history
            WHERE source_id = sources.id AND key = lower(child.parent_key) OFFSET 0
        ) AS former CROSS JOIN LATERAL (
            SELECT id, removed_at FROM epics WHERE id = former.epic_id OFFSET 0
        ) AS named WHERE sources.tracker = child.tracker ORDER BY removed_at IS NOT NULL, id LIMIT 1)
    )
"""
_PARENT = f"SELECT * FROM epics WHERE id = {_PARENT_ID} OFFSET 0"  # noqa: S608  # of this module's own parts
# What a row needs to be followed up, and down.
_FOLLOWED_UP = "id, tracker, parent_key, parent_remote_id"
_FOLLOWED_DOWN = "id, tracker, remote_id, key, source_id, evaluate_at, evaluated_version"
# Of the epic `above`, a row with these columns of its own: its children.
_CHILDREN = f"""
    SELECT child.* FROM (
        (SELECT * FROM epics WHERE parent_remote_id = above.remote_id OFFSET 0)
        UNION ALL (SELECT * FROM epics WHERE lower(parent_key) = lower(above.key) OFFSET 0)
        UNION ALL (SELECT named.* FROM epic_key_history AS former CROSS JOIN LATERAL (
            SELECT * FROM epics WHERE lower(parent_key) = former.key OFFSET 0
        ) AS named WHERE former.epic_id = above.id)
    ) AS child
    WHERE child.tracker = above.tracker AND child.removed_at IS NULL AND above.id = {_PARENT_ID}
"""  # noqa: S608  # of this module's own parts
# Of the epics `changed (id)`: all that are below one of them, each with that one as `root`. UNION ends loops;
# an epic that is below itself is left out by those who ask.
_BELOW = f"""
    below (root, root_key, {_FOLLOWED_DOWN}) AS (
        SELECT above.id, above.key, {", ".join(f"child.{name}" for name in _FOLLOWED_DOWN.split(", "))}
        FROM epics AS above CROSS JOIN LATERAL ({_CHILDREN}) AS child
        WHERE above.id = ANY(ARRAY(SELECT id FROM changed))
        UNION
        SELECT above.root, above.root_key, {", ".join(f"child.{name}" for name in _FOLLOWED_DOWN.split(", "))}
        FROM below AS above CROSS JOIN LATERAL ({_CHILDREN}) AS child
    )
"""  # noqa: S608  # of this module's own parts
_ABOVE = text(f"""
    WITH RECURSIVE above (child_id, {_FOLLOWED_UP}) AS (
        SELECT child.id, {", ".join(f"parent.{name}" for name in _FOLLOWED_UP.split(", "))}
        FROM epics AS child CROSS JOIN LATERAL ({_PARENT}) AS parent
        WHERE child.id = ANY(:ids) AND child.parent_key IS NOT NULL AND parent.removed_at IS NULL
        UNION
        SELECT child.id, {", ".join(f"parent.{name}" for name in _FOLLOWED_UP.split(", "))}
        FROM above AS child CROSS JOIN LATERAL ({_PARENT}) AS parent
        WHERE child.parent_key IS NOT NULL AND parent.removed_at IS NULL
    )
    SELECT child_id, id FROM above LIMIT {MOST_ABOVE}
""").bindparams(bindparam("ids", type_=ARRAY(BigInteger)))  # noqa: S608  # of this module's own parts
_PARENTS = text(f"""
    SELECT child.id AS child_id, sources.name AS source, parent.key, parent.title, parent.url
    FROM epics AS child CROSS JOIN LATERAL ({_PARENT}) AS parent JOIN sources ON sources.id = parent.source_id
    WHERE child.id = ANY(:ids) AND child.parent_key IS NOT NULL AND parent.removed_at IS NULL
""").bindparams(bindparam("ids", type_=ARRAY(BigInteger)))  # noqa: S608  # of this module's own parts

_CHILDREN_OF = text(f"""
    SELECT child.id, sources.name AS source, child.key, child.title, child.alignment, child.status
    FROM epics AS above CROSS JOIN LATERAL ({_CHILDREN}) AS child JOIN sources ON sources.id = child.source_id
    WHERE above.id = :id AND child.id <> above.id ORDER BY child.id LIMIT :most
""")  # noqa: S608  # of this module's own parts

_WITH_CHILDREN = text(f"""
    SELECT above.id FROM epics AS above
    WHERE above.id = ANY(:ids) AND above.removed_at IS NULL
        AND EXISTS (SELECT FROM ({_CHILDREN}) AS below WHERE below.id <> above.id)
""").bindparams(bindparam("ids", type_=ARRAY(BigInteger)))  # noqa: S608  # of this module's own parts


async def with_children(session: AsyncSession, ids: Collection[int]) -> set[int]:
    """Those of these epics that are in a list and have another epic of a list right below them."""
    return set(await session.scalars(_WITH_CHILDREN, {"ids": list(ids)})) if ids else set()


async def children_of(session: AsyncSession, epic_id: int, most: int) -> Sequence[Any]:
    """The epics right below one that are in a list, at most so many: `id`, `source`, `key`, `title`,
    `alignment` and `status` of each."""
    return (await session.execute(_CHILDREN_OF, {"id": epic_id, "most": most})).all()


# --- above ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Above:
    """The epics above some epics. `parents`: the parent's id by the child's, of these and of those above
    them. `rows`: those that are not among them, by id, as `columns` plus `source_name` and `named_projects`;
    `links` are their link rows, oldest first."""

    parents: Mapping[int, int] = field(default_factory=dict)
    rows: Mapping[int, Any] = field(default_factory=dict)
    links: Mapping[int, Sequence[LinkRow]] = field(default_factory=dict)


NONE_ABOVE = Above()


async def prefer_indexes(session: AsyncSession, rows: Iterable[EpicRow]) -> None:
    """Before `load_above`, where this transaction holds locks: it reads no whole table for what is above
    these epics, until it ends. Where no ticket names a parent, no statement."""
    if any(row.parent_key is not None for row in rows):
        await session.execute(_USE_INDEXES)


_USE_INDEXES = select(BY_INDEXES)


async def load_above(session: AsyncSession, rows: Iterable[EpicRow], columns: tuple[Any, ...]) -> Above:
    """Everything above these epics, in three statements; in none where no ticket names a parent."""
    known = {row.id: row.parent_key for row in rows}
    ids = [id for id, parent_key in known.items() if parent_key is not None]
    if not ids:
        return NONE_ABOVE
    parents: dict[int, int] = {
        child_id: parent_id for child_id, parent_id in await session.execute(_ABOVE, {"ids": ids})
    }
    others = sorted({id for id in parents.values() if id not in known})
    if not others:
        return Above(parents)
    ids_above = {"ids": others}
    found = {row.id: row for row in await session.execute(_with_source(columns), ids_above)}
    links: dict[int, list[Any]] = {}
    rows_of_links: Iterator[Any] = map(PlainLink._make, await session.execute(_LINKS_ABOVE, ids_above))
    for link in rows_of_links:
        links.setdefault(link.epic_id, []).append(link)
    return Above(parents, found, links)


_LINKS_ABOVE = LINKS_OF_EPICS.order_by("id")


@cache
def _with_source(columns: tuple[Any, ...]) -> Select[Any]:
    of_source = SourceRow.name.label("source_name"), SourceRow.named_projects
    return select(*columns, *of_source).select_from(EpicRow).join(SourceRow).where(among_ids(EpicRow.id))


@dataclass(frozen=True, slots=True)
class EpicName:
    """How people name an epic: its source and key, and its title."""

    source: str
    key: str
    title: str
    url: str


async def load_parents(session: AsyncSession, rows: Iterable[EpicRow]) -> dict[int, EpicName]:
    """The names of the parents that are epics of a source and not removed, by the ids of their children."""
    ids = [row.id for row in rows if row.parent_key is not None]
    if not ids:
        return {}
    found = await session.execute(_PARENTS, {"ids": ids})
    return {row.child_id: EpicName(row.source, row.key, row.title, row.url) for row in found}


async def load_names(session: AsyncSession, ids: Collection[int]) -> dict[int, EpicName]:
    """The names of these epics, removed ones too, by their ids; one that was deleted is left out."""
    if not ids:
        return {}
    rows = await session.execute(_NAMES, {"ids": list(ids)})
    return {id: EpicName(*members) for id, *members in rows}


_NAMES = (
    select(EpicRow.id, SourceRow.name, EpicRow.key, EpicRow.title, EpicRow.url)
    .join(SourceRow)
    .where(among_ids(EpicRow.id))
)


# --- below ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ChangedParent:
    """An epic that passes on other links than before. `version`: the goals' version that alone changed them,
    so that an epic below which was evaluated with it is right; None where the ticket changed."""

    id: int
    key: str
    version: int | None = None


_BELOW_ONE = text(f"""
    WITH RECURSIVE changed (id) AS (SELECT unnest(:changed_ids)), {_BELOW}
    SELECT id AS epic_id FROM below WHERE id <> root
""").bindparams(bindparam("changed_ids", type_=ARRAY(BigInteger)))  # noqa: S608  # of this module's own parts


def by_parents(ids: Collection[int]) -> Select[Any]:
    """The ids of epics below these, of any source."""
    below = _BELOW_ONE.bindparams(changed_ids=list(ids)).columns(epic_id=BigInteger).subquery()
    return select(below.c.epic_id)


async def load_all_below(session: AsyncSession, ids: Collection[int]) -> set[int]:
    """The ids of epics below these, of any source. Where no ticket names a parent, it costs two short
    statements."""
    await session.execute(select(BY_INDEXES))
    if not await session.scalar(_ANY_CHILD):
        return set()
    return set(await session.scalars(by_parents(ids)))


_BELOW_IN_SOURCE = text(f"""
    WITH RECURSIVE changed (id, version) AS (SELECT * FROM unnest(:ids, :versions)), {_BELOW}
    SELECT DISTINCT below.id FROM below JOIN changed ON changed.id = below.root
    WHERE below.id <> below.root AND below.source_id = :source_id
        AND (changed.version IS NULL OR below.evaluated_version IS NULL
            OR below.evaluated_version < changed.version)
    ORDER BY below.id
""").bindparams(  # noqa: S608  # of this module's own parts
    bindparam("ids", type_=ARRAY(BigInteger)), bindparam("versions", type_=ARRAY(BigInteger))
)


async def load_below(
    session: AsyncSession, source_id: int, changed: Sequence[tuple[int, int | None]]
) -> list[int]:
    """The ids of the epics of a source below the epics of these ids, in order, each with the `version` of
    `ChangedParent`: without those that were evaluated with it."""
    ids, versions = [id for id, _ in changed], [version for _, version in changed]
    await session.execute(select(BY_INDEXES))
    parameters = {"ids": ids, "versions": versions, "source_id": source_id}
    return list(await session.scalars(_BELOW_IN_SOURCE, parameters))


# An epic that is due is evaluated again anyhow. It sees the change if nobody evaluates it now: who does so
# has locked it, and has perhaps read what is above it before.
_LEFT_BELOW = f"""
    {_BELOW}, waiting AS MATERIALIZED (
        SELECT id FROM epics
        WHERE id = ANY(ARRAY(SELECT id FROM below WHERE evaluate_at <= :now)) AND evaluate_at <= :now
        ORDER BY id FOR KEY SHARE SKIP LOCKED
    )
    SELECT DISTINCT below.root, below.root_key, changed.version, below.source_id FROM below
    JOIN changed ON changed.id = below.root
    WHERE below.id <> below.root AND NOT below.id = ANY(:evaluated)
        AND below.id NOT IN (SELECT id FROM waiting)
        AND (changed.version IS NULL OR below.evaluated_version IS NULL
            OR below.evaluated_version < changed.version)
    ORDER BY below.source_id, below.root
"""  # noqa: S608  # of this module's own parts
_LEFT_BELOW_IDS = text(f"""
    WITH RECURSIVE changed (id, version) AS (SELECT * FROM unnest(:ids, :versions)), {_LEFT_BELOW}
""").bindparams(  # noqa: S608  # of this module's own parts
    bindparam("ids", type_=ARRAY(BigInteger)),
    bindparam("versions", type_=ARRAY(BigInteger)),
    bindparam("evaluated", type_=ARRAY(BigInteger)),
)
_LEFT_BELOW_TICKETS = text(f"""
    WITH RECURSIVE changed (id, version) AS (
        SELECT id, CAST(NULL AS bigint) FROM epics WHERE tracker = :tracker AND remote_id = ANY(:remote_ids)
    ), {_LEFT_BELOW}
""").bindparams(  # noqa: S608  # of this module's own parts
    bindparam("remote_ids", type_=ARRAY(Text)), bindparam("evaluated", type_=ARRAY(BigInteger))
)


_ANY_CHILD = text("SELECT EXISTS (SELECT FROM epics WHERE parent_key IS NOT NULL)")


async def left_below(
    session: AsyncSession, changed: Sequence[ChangedParent], evaluated: Sequence[int], now: datetime
) -> list[tuple[ChangedParent, int]]:
    """Those of `changed` with epics below that have to be evaluated again, and have not been with it
    (`evaluated`) nor will be anyhow; each with the source of such epics. Where no ticket names a parent, it
    costs two short statements."""
    ids = [parent.id for parent in changed]
    await session.execute(select(BY_INDEXES))
    if not await session.scalar(_ANY_CHILD):
        return []
    parameters = {
        "ids": ids,
        "versions": [parent.version for parent in changed],
        "evaluated": evaluated,
        "now": now,
    }
    return _left(await session.execute(_LEFT_BELOW_IDS, parameters))


async def left_below_tickets(
    session: AsyncSession, tracker: str, remote_ids: Collection[str], now: datetime
) -> list[tuple[ChangedParent, int]]:
    """As `left_below`, of the epics of these tickets. Where no ticket names a parent, it costs one short
    statement. The caller has taken `locks.lock_parents`."""
    if not await session.scalar(_ANY_CHILD):
        return []
    parameters = {"tracker": tracker, "remote_ids": list(remote_ids), "evaluated": [], "now": now}
    return _left(await session.execute(_LEFT_BELOW_TICKETS, parameters))


def _left(rows: Iterable[Any]) -> list[tuple[ChangedParent, int]]:
    return [(ChangedParent(id, key, version), source_id) for id, key, version, source_id in rows]
