"""The open epics of a roadmap, asked of the rows: one statement ranks and counts them all, whatever their
number, and names those that are shown."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import BigInteger, bindparam, exists, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import load_only
from sqlalchemy.types import Boolean, Date, DateTime, Text

from mappings.tables import (
    EpicRow,
    EpicStageRow,
    EpicValueRow,
    FindingRow,
    LinkRow,
    ReviewEpicRow,
    SourceRow,
    among,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.reports.roadmap_moves import MoveKind

# `aligned`: by a link to a goal that is live now. `waiting`: its next evaluation will say.
Division = Literal["aligned", "unaligned", "exempt", "waived", "waiting"]

# `live`: the key results that are live, each under the key that it had when the review was opened, and if
# it is asked for; an epic whose primary live link leads to another is left out. An epic is ranked by the
# earliest due date of its own and of those right below it in its group, so that an initiative is shown before
# what is part of it.
_WIDE = text("""
    WITH live (id, key, is_wanted) AS MATERIALIZED (
        SELECT * FROM unnest(:live_ids, :live_keys, :live_wanted)
    ), opened AS MATERIALIZED (
        SELECT epics.id, source_id, project, tracker, remote_id, lower(key) AS key, parent_remote_id,
            lower(parent_key) AS parent_key, starts_on, due_on, alignment, set_aside,
            set_aside_until
        FROM epics
        WHERE removed_at IS NULL AND status_category <> 'done'
            AND (:source_id IS NULL OR source_id = :source_id)
            AND (:project IS NULL OR lower(project) = :project)
    ), linked AS MATERIALIZED (
        SELECT links.epic_id, links.key_result_id, bool_or(links.is_primary) AS is_primary,
            min(links.id) AS first, live.key, live.is_wanted
        FROM links JOIN opened ON opened.id = links.epic_id LEFT JOIN live ON live.id = links.key_result_id
        GROUP BY links.epic_id, links.key_result_id, live.key, live.is_wanted
    ), serving AS (
        SELECT epic_id, bool_or(key IS NOT NULL) AS is_live,
            (array_agg(key_result_id ORDER BY key IS NULL, is_primary DESC, first))[1] AS key_result_id,
            (array_agg(is_wanted ORDER BY key IS NULL, is_primary DESC, first))[1] AS is_wanted,
            array_agg(key) FILTER (WHERE key IS NOT NULL) AS keys
        FROM linked GROUP BY epic_id
    ), disputed AS (
        SELECT DISTINCT epic_id FROM findings WHERE state = 'disputed' AND epic_id IS NOT NULL
    ), evaluated AS (
        SELECT opened.*, serving.key_result_id, coalesce(serving.keys, ARRAY[]::text[]) AS keys,
            CASE
                WHEN opened.alignment = 'aligned' AND serving.is_live THEN 'aligned'
                WHEN opened.alignment IS NULL OR opened.alignment = 'aligned' THEN 'waiting'
                ELSE opened.alignment
            END AS place,
            CASE
                WHEN disputed.epic_id IS NOT NULL THEN 0 WHEN serving.epic_id IS NOT NULL THEN 1 ELSE 2
            END AS reason,
            was.epic_id IS NULL AS is_new, was.due_on AS was_due, was.starts_on AS was_starts,
            was.key_results AS was_keys
        FROM opened
        LEFT JOIN serving ON serving.epic_id = opened.id
        LEFT JOIN disputed ON disputed.epic_id = opened.id
        LEFT JOIN review_epics AS was ON was.review_id = :review_id AND was.epic_id = opened.id
        WHERE opened.alignment IS DISTINCT FROM 'aligned' OR serving.is_wanted IS NOT FALSE
    ), placed AS MATERIALIZED (
        SELECT *, CASE
            WHEN place = 'aligned' AND :by_project THEN source_id || ' ' || project
            WHEN place = 'aligned' THEN key_result_id::text
            WHEN place IN ('exempt', 'waived') AND (set_aside_until IS NULL OR set_aside_until > :now)
                THEN set_aside
        END AS part
        FROM evaluated
    ), below AS MATERIALIZED (
        SELECT child.id, child.due_on, above.id AS above_id
        FROM placed AS child
        JOIN placed AS above ON above.tracker = child.tracker AND above.remote_id = child.parent_remote_id
            AND above.key_result_id = child.key_result_id AND above.part = child.part AND above.id <> child.id
        WHERE child.place = 'aligned' AND above.place = 'aligned'
        UNION
        SELECT child.id, child.due_on, above.id
        FROM placed AS child
        JOIN placed AS above ON above.tracker = child.tracker AND above.key = child.parent_key
            AND above.key_result_id = child.key_result_id AND above.part = child.part AND above.id <> child.id
        WHERE child.parent_remote_id IS NULL AND child.place = 'aligned' AND above.place = 'aligned'
    ), earliest AS (
        SELECT above_id, min(due_on) AS due_on FROM below GROUP BY above_id
    ), above AS (
        SELECT id, min(above_id) AS above_id FROM below GROUP BY id
    ), ranked AS (
        SELECT placed.id, place, part, key_result_id,
            row_number() OVER (
                PARTITION BY place, part
                ORDER BY CASE WHEN place = 'unaligned' THEN reason ELSE 0 END,
                    least(placed.due_on, earliest.due_on), earliest.above_id, placed.starts_on, placed.id
            ) AS number,
            count(*) OVER whole AS total,
            count(*) FILTER (WHERE placed.due_on < :today) OVER whole AS overdue,
            count(*) FILTER (WHERE placed.due_on IS NULL AND placed.starts_on IS NULL) OVER whole AS undated
        FROM placed LEFT JOIN earliest ON earliest.above_id = placed.id
        WINDOW whole AS (PARTITION BY place, part)
    ), linked_to AS (
        SELECT key_result_id, count(*) AS number FROM linked WHERE key IS NOT NULL GROUP BY key_result_id
    ), changed AS (
        SELECT placed.id, placed.due_on, kinds.kind
        FROM placed CROSS JOIN LATERAL (VALUES
            ('due_later', due_on > was_due),
            ('due_earlier', due_on < was_due),
            ('due_set', NOT is_new AND was_due IS NULL AND due_on IS NOT NULL),
            ('due_removed', was_due IS NOT NULL AND due_on IS NULL),
            ('start_moved', NOT is_new AND starts_on IS DISTINCT FROM was_starts),
            ('key_result_moved', NOT (was_keys @> keys AND was_keys <@ keys)),
            ('new', is_new)
        ) AS kinds (kind, is_so)
        WHERE :review_id IS NOT NULL AND kinds.is_so AND (
            is_new OR starts_on IS DISTINCT FROM was_starts OR due_on IS DISTINCT FROM was_due
            OR NOT (was_keys @> keys AND was_keys <@ keys)
        )
        UNION ALL
        SELECT was.epic_id, was.due_on,
            CASE WHEN epics.id IS NULL OR epics.removed_at IS NOT NULL THEN 'gone' ELSE 'finished' END
        FROM (
            SELECT was.* FROM review_epics AS was LEFT JOIN opened ON opened.id = was.epic_id
            WHERE was.review_id = :review_id AND opened.id IS NULL
                AND (:source_id IS NULL OR lower(was.source) = :source)
                AND (:project IS NULL OR lower(was.project) = :project)
                AND (NOT :is_filtered OR was.key_results && ARRAY(SELECT key FROM live WHERE is_wanted))
            OFFSET 0
        ) AS was
        LEFT JOIN LATERAL (SELECT * FROM epics WHERE id = was.epic_id OFFSET 0) AS epics ON true
        WHERE epics.id IS NULL OR epics.removed_at IS NOT NULL OR epics.status_category = 'done'
    ), moved AS (
        SELECT id, kind, row_number() OVER (PARTITION BY kind ORDER BY due_on, id) AS number,
            count(*) OVER (PARTITION BY kind) AS total
        FROM changed
    )
    SELECT 'epic' AS row, ranked.id, place AS kind, part, ranked.number, total, overdue, undated,
        linked_to.number AS linked, above.above_id
    FROM ranked
    LEFT JOIN linked_to ON linked_to.key_result_id = ranked.key_result_id AND ranked.number = 1
    LEFT JOIN above ON above.id = ranked.id
    WHERE ranked.number = 1 OR (
        ranked.number <= :most AND (place IN ('aligned', 'unaligned') OR part IS NOT NULL)
        AND (place <> 'aligned' OR :parts IS NULL OR part = ANY(:parts))
    )
    UNION ALL
    SELECT 'move', id, kind, NULL, number, total, NULL, NULL, NULL, NULL FROM moved
    WHERE number <= :most_moves
    ORDER BY 1, 3, 4, 5
""").bindparams(
    bindparam("live_ids", type_=ARRAY(BigInteger)),
    bindparam("live_keys", type_=ARRAY(Text)),
    bindparam("live_wanted", type_=ARRAY(Boolean)),
    bindparam("source_id", type_=BigInteger),
    bindparam("source", type_=Text),
    bindparam("project", type_=Text),
    bindparam("by_project", type_=Boolean),
    bindparam("is_filtered", type_=Boolean),
    bindparam("review_id", type_=BigInteger),
    bindparam("parts", type_=ARRAY(Text)),
    bindparam("today", type_=Date),
    bindparam("now", type_=DateTime(timezone=True)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the statement is asked. `live`: the key results that are live, by id, each with the key that it
    had in the review and whether it is wanted. `parts`: the groups whose epics are wanted, None for all.
    `most` epics a group, and as many moves of a kind as `most_moves`."""

    live: Mapping[int, tuple[str, bool]]
    source: SourceRow | None
    project: str | None
    by_project: bool
    review_id: int | None
    parts: Collection[str] | None
    most: int
    most_moves: int


@dataclass(slots=True)
class EpicGroup:
    """A group of epics. `shown`: their ids, the nearest due first, each with the id of the one that it is
    part of, in this group, None for none. `linked`: to its key result, wherever they stand; None without."""

    total: int
    overdue: int
    undated: int
    linked: int | None
    shown: dict[int, int | None] = field(default_factory=dict)


@dataclass(slots=True)
class Found:
    """By place its parts: of `aligned` by key result or project, of `exempt` and `waived` by what set them
    aside, None where no decision did. `moved`: by kind how many, and the ids of the first."""

    parts: defaultdict[Division, dict[str | None, EpicGroup]]
    moved: dict[MoveKind, tuple[int, list[int]]]


def _without_loops(setting: str) -> Any:
    """PostgreSQL knows nothing of how many rows a part of the statement has, and takes one epic after the
    other through another part, which takes minutes, where it believes that there are few."""
    return func.set_config("enable_nestloop", setting, True)


async def find_open_epics(session: AsyncSession, asked: Asked, now: datetime) -> Found:
    """All open epics that the filters let through, ranked and counted."""
    parameters = {
        "live_ids": list(asked.live),
        "live_keys": [key for key, _ in asked.live.values()],
        "live_wanted": [is_wanted for _, is_wanted in asked.live.values()],
        "is_filtered": not all(is_wanted for _, is_wanted in asked.live.values()),
        "source_id": asked.source and asked.source.id,
        "source": asked.source and asked.source.name.lower(),
        "project": None if asked.project is None else asked.project.lower(),
        "by_project": asked.by_project,
        "review_id": asked.review_id,
        "parts": None if asked.parts is None else list(asked.parts),
        "most": asked.most,
        "most_moves": asked.most_moves,
        "today": now.date(),
        "now": now,
    }
    found = Found(defaultdict(dict), {})
    await session.execute(select(_without_loops("off")))
    rows = (await session.execute(_WIDE, parameters)).all()
    await session.execute(select(_without_loops("on")))
    for row in rows:
        if row.row == "move":
            found.moved.setdefault(row.kind, (row.total, []))[1].append(row.id)
            continue
        parts = found.parts[row.kind]
        if row.part not in parts:
            parts[row.part] = EpicGroup(row.total, row.overdue, row.undated, row.linked)
        parts[row.part].shown[row.id] = row.above_id
    return found


# --- what is shown of them --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EpicDetails:
    """`links`: the ids of the key results that it is linked to, the primary one first. `was`: as the review
    froze it, None where it was not open then. `disputed`: its finding is."""

    row: EpicRow
    source: str
    links: Sequence[int]
    stage: EpicStageRow | None
    value: EpicValueRow | None
    was: ReviewEpicRow | None
    disputed: bool


# A file has all open epics, and half of what a row costs is its columns.
_SHOWN = (
    *("key", "title", "url", "project", "status", "status_category", "alignment", "parent_key"),
    *("parent_title", "starts_on", "due_on", "tracker_created_at", "children", "children_done"),
    *("set_aside", "set_aside_until", "removed_at"),
)


async def load_details(
    session: AsyncSession, ids: Collection[int], review_id: int | None
) -> dict[int, EpicDetails]:
    """By id, in three statements. One that was deleted meanwhile is left out."""
    disputed = exists().where(FindingRow.epic_id == EpicRow.id, FindingRow.state == "disputed")
    query = (
        select(EpicRow, SourceRow.name, EpicStageRow, EpicValueRow, disputed)
        .join(SourceRow, SourceRow.id == EpicRow.source_id)
        .outerjoin(EpicStageRow, EpicStageRow.epic_id == EpicRow.id)
        .outerjoin(EpicValueRow, EpicValueRow.epic_id == EpicRow.id)
        .where(among(EpicRow.id, ids))
        .options(load_only(*(getattr(EpicRow, name) for name in _SHOWN), raiseload=True))
    )
    rows = (await session.execute(query)).all()
    linked: dict[int, dict[int, None]] = {}
    order = LinkRow.epic_id, LinkRow.is_primary.desc(), LinkRow.id
    links = select(LinkRow.epic_id, LinkRow.key_result_id).where(among(LinkRow.epic_id, ids)).order_by(*order)
    for epic_id, key_result_id in await session.execute(links):
        linked.setdefault(epic_id, {})[key_result_id] = None
    was = await load_frozen(session, ids, review_id)
    return {
        row.id: EpicDetails(
            row, source, list(linked.get(row.id, ())), stage, value, was.get(row.id), is_disputed
        )
        for row, source, stage, value, is_disputed in rows
    }


_FROZEN = ("source", "key", "title", "starts_on", "due_on", "key_results")


async def load_frozen(
    session: AsyncSession, ids: Collection[int], review_id: int | None
) -> dict[int, ReviewEpicRow]:
    """The epics of a review, by id."""
    if review_id is None:
        return {}
    query = select(ReviewEpicRow).where(
        ReviewEpicRow.review_id == review_id, among(ReviewEpicRow.epic_id, ids)
    )
    query = query.options(load_only(*(getattr(ReviewEpicRow, name) for name in _FROZEN), raiseload=True))
    return {row.epic_id: row for row in await session.scalars(query)}


async def open_ids(
    session: AsyncSession, after: int, most: int, *, source_id: int | None, project: str | None
) -> list[int]:
    """The ids of open epics after one, in order, at most so many."""
    query = select(EpicRow.id).where(
        EpicRow.removed_at.is_(None), EpicRow.status_category != "done", EpicRow.id > after
    )
    if source_id is not None:
        query = query.where(EpicRow.source_id == source_id)
    if project is not None:
        query = query.where(func.lower(EpicRow.project) == project.lower())
    return list(await session.scalars(query.order_by(EpicRow.id).limit(most)))
