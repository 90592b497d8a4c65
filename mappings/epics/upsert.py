"""Epics as observed: stored in bulk, never twice, never backwards."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import orjson
from sqlalchemy import text

from mappings.epics.outside_parents import with_known_parents
from mappings.epics.rows import COLUMNS, DETAIL_COLUMNS, EVALUATION_COLUMNS, row_of
from mappings.epics.stored import load_different

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from connectors import base
    from mappings.epics.stored import StoredEpic

_COUNTS = ("children", "children_done", "children_at")
# The sort key of an epic that is not stored yet: larger than every id.
NOT_STORED = 2**63 - 1


# Rows of epics, before others have their turn.
MADE_AT_A_TIME = 50


@dataclass
class UpsertResult:
    """What the upsert of one page changed. `overlaps`: the keys that belong to an older source of the same
    tracker; they are counted in `skipped`. `moved_ids`: the ids in the tracker of those that are new, removed
    or back, have another key or parent, or were not evaluated yet; the caller gives them to
    `runs.reevaluation.reevaluate_below_tickets`."""

    created: int = 0
    updated: int = 0
    deleted: int = 0
    skipped: int = 0
    held: int = 0
    overlaps: list[str] = field(default_factory=list)
    moved_ids: list[str] = field(default_factory=list)

    def add(self, other: UpsertResult) -> None:
        self.created += other.created
        self.updated += other.updated
        self.deleted += other.deleted
        self.skipped += other.skipped
        self.held += other.held
        self.overlaps += other.overlaps
        self.moved_ids += other.moved_ids


class NewEpicsEvaluator(Protocol):
    """Evaluates new epics before they are stored."""

    async def evaluate(
        self, session: AsyncSession, rows: Sequence[dict[str, Any]], now: datetime
    ) -> EvaluatedNewEpics | None:
        """Give those rows that it can evaluate the `EVALUATION_COLUMNS`; the others are left as they are."""


class EvaluatedNewEpics(Protocol):
    """Those that were evaluated."""

    async def confirm(self, session: AsyncSession) -> None:
        """Hold what they were evaluated by until this transaction ends; where it is no longer as it was, take
        the columns from the rows again."""

    async def record(self, session: AsyncSession, stored: Collection[int], now: datetime) -> int:
        """Record what else was found of the epics with the ids `stored`; how many notices are held."""


@dataclass(slots=True)
class ComparedEpics:
    """What is to be stored of epics, after a look at what is stored of them. `fresh` are rows to be written,
    `detailed` those of which details changed, each with its id, `NOT_STORED` for a new one; `moved` former
    keys by ids, `taken_over` the ids of those that another source had."""

    found: UpsertResult = field(default_factory=UpsertResult)
    fresh: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    detailed: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    moved: list[tuple[int, str]] = field(default_factory=list)
    taken_over: list[int] = field(default_factory=list)
    evaluated: EvaluatedNewEpics | None = None


async def upsert_epics(
    session: AsyncSession,
    source_id: int,
    tracker: str,
    epics: Sequence[base.Epic],
    missing: Iterable[base.Missing],
    now: datetime,
    requested_at: datetime | None = None,
) -> UpsertResult:
    """Store the epics of one page or fetch and remove the `missing`; changed epics are evaluated from `now`.

    A fixed number of statements for any number of epics. A state older than the stored one is ignored. If two
    sources see the same ticket, the older source keeps it. Counts of children are newer than those that were
    asked for before `requested_at` (`now` where it is None).
    """
    compared = await compare_epics(session, source_id, tracker, epics, now, requested_at)
    return await store_compared(session, source_id, tracker, compared, missing, now)


async def compare_epics(
    session: AsyncSession,
    source_id: int,
    tracker: str,
    epics: Sequence[base.Epic],
    now: datetime,
    requested_at: datetime | None = None,
    evaluator: NewEpicsEvaluator | None = None,
) -> ComparedEpics:
    """The first step of `upsert_epics`, which may be a transaction of its own. New epics are evaluated by
    `evaluator`, which may leave some."""
    compared, requested_at = ComparedEpics(), requested_at or now
    found = compared.found
    epics = await with_known_parents(session, source_id, tracker, epics)
    read = await _with_rows(epics, requested_at)
    stored = await load_different(session, source_id, tracker, [row for _, row in read])
    for epic, row in read:
        if epic.remote_id not in stored:
            continue
        before = stored[epic.remote_id]
        if before is not None and before.source_id < source_id and before.removed_at is None:
            found.skipped += 1
            found.overlaps.append(epic.key)
            continue
        if before is not None and not before.is_replaced_by(epic, row, source_id):
            if before.has_other_details(epic, row, requested_at):
                compared.detailed.append((before.id, row))
            continue
        if before is not None and before.key.lower() != epic.key.lower():
            compared.moved.append((before.id, before.key.lower()))
        if before is not None and before.source_id != source_id:
            compared.taken_over.append(before.id)
        found.created += before is None
        found.updated += before is not None
        compared.fresh.append((before.id if before is not None else NOT_STORED, row))
    # Sorted by epic id, as in every bulk write, so that two bulk writes cannot deadlock.
    compared.fresh.sort(key=lambda pair: (pair[0], pair[1]["remote_id"]))
    compared.detailed.sort(key=lambda pair: pair[0])
    found.moved_ids += _moved(stored, [row for _, row in (*compared.fresh, *compared.detailed)])
    if evaluator is not None:
        new = [row for id, row in compared.fresh if id == NOT_STORED]
        compared.evaluated = await evaluator.evaluate(session, new, now)
    return compared


async def store_compared(
    session: AsyncSession,
    source_id: int,
    tracker: str,
    compared: ComparedEpics,
    missing: Iterable[base.Missing],
    now: datetime,
) -> UpsertResult:
    """The second step of `upsert_epics`. What another transaction changed since the first is compared once
    more, by the statements that write."""
    result, fresh, detailed = compared.found, compared.fresh, compared.detailed
    removed = {item.ref.remote_id: item.reason for item in missing}
    if compared.evaluated is not None:
        await compared.evaluated.confirm(session)
    if (bool(fresh), bool(removed), bool(detailed)).count(True) > 1:
        await lock_stored_epics(session, tracker, [id for id, _ in (*fresh, *detailed)], removed)
    stored = await _upsert(session, source_id, tracker, [row for _, row in fresh], now)
    if compared.evaluated is not None:
        result.held = await compared.evaluated.record(session, stored, now)
    await _update_details(session, source_id, detailed, now)
    await _record_old_keys(session, source_id, compared.taken_over, compared.moved)
    if removed:
        gone = await _mark_removed(session, source_id, tracker, removed, now)
        result.deleted = len(gone)
        result.moved_ids += gone
    return result


def _moved(stored: Mapping[str, StoredEpic | None], rows: Iterable[dict[str, Any]]) -> list[str]:
    """The tickets that are new, or whose parent or children may be others now."""
    found = [(row, stored.get(row["remote_id"])) for row in rows]
    return [row["remote_id"] for row, before in found if before is None or before.is_moved_by(row)]


async def _with_rows(
    epics: Sequence[base.Epic], requested_at: datetime
) -> list[tuple[base.Epic, dict[str, Any]]]:
    read = []
    for epic in _newest_of_each(epics):
        read.append((epic, row_of(epic, requested_at)))
        if not len(read) % MADE_AT_A_TIME:
            await asyncio.sleep(0)
    return read


def _newest_of_each(epics: Sequence[base.Epic]) -> Iterable[base.Epic]:
    """The newest state of each ticket, because one statement cannot write a row twice."""
    return {epic.remote_id: epic for epic in sorted(epics, key=lambda epic: epic.updated_at)}.values()


async def lock_stored_epics(
    session: AsyncSession, tracker: str, ids: list[int], remote_ids: Iterable[str], *, key_share: bool = True
) -> None:
    """Lock the rows that several statements are about to write, in the order that each of them keeps.

    `key_share`: others may still refer to them; not where one is deleted or gets another id in the tracker.
    """
    strength = "FOR NO KEY UPDATE" if key_share else "FOR UPDATE"
    rows = "SELECT id FROM epics WHERE id = ANY(:ids) OR (tracker = :tracker AND remote_id = ANY(:others))"
    await session.execute(
        text(f"{rows} ORDER BY id {strength}"),
        {"ids": ids, "tracker": tracker, "others": list(remote_ids)},
    )


# A creation time in the future (a wrong clock of the tracker) becomes `:now`, because grace starts there.
_CLAMPED = {"tracker_created_at": "least(tracker_created_at, :now)"}
# Another transaction may insert or change the ticket after `load_different`, so the conflict clause checks
# again: a newer state is kept, and so is an older source.
_CHANGING = [name for name in COLUMNS if name != "remote_id"]
# So it does with the counts: those that were asked for later are kept, and those of a ticket that names none.
_NEW = {
    name: f"CASE WHEN excluded.children IS NULL OR epics.children_at > excluded.children_at"
    f" THEN epics.{name} ELSE excluded.{name} END"
    for name in _COUNTS
}
# A row that has an id was evaluated; if it meets another one here, it is to be evaluated by what is stored.
_UPSERT = text(
    f"""
    INSERT INTO epics (source_id, tracker, read_at, {", ".join((*EVALUATION_COLUMNS, *COLUMNS))})
    OVERRIDING SYSTEM VALUE SELECT :source_id, :tracker, :now,
        coalesce(id, nextval(pg_get_serial_sequence('epics', 'id'))), alignment,
        CASE WHEN id IS NULL THEN :now ELSE evaluate_at END, evaluated_at, evaluated_version,
        {", ".join(_CLAMPED.get(name, name) for name in COLUMNS)}
    FROM json_to_recordset(CAST(:rows AS json))
        AS fresh({", ".join(f"{name} {kind}" for name, kind in (EVALUATION_COLUMNS | COLUMNS).items())})
    ON CONFLICT (tracker, remote_id) DO UPDATE SET
        source_id = excluded.source_id, read_at = excluded.read_at,
        evaluate_at = :now, evaluated_version = NULL,
        removed_at = NULL, removal_reason = NULL,
        {", ".join(f"{name} = {_NEW.get(name, f'excluded.{name}')}" for name in _CHANGING)}
    WHERE epics.tracker_updated_at <= excluded.tracker_updated_at
        AND (epics.source_id >= excluded.source_id OR epics.removed_at IS NOT NULL)
    RETURNING id
    """  # noqa: S608  # only the column names above are put in
)


async def _upsert(
    session: AsyncSession, source_id: int, tracker: str, rows: Sequence[dict[str, Any]], now: datetime
) -> set[int]:
    """Returns the ids of what is stored now: of a row that was evaluated its own, where it is new."""
    if not rows:
        return set()
    given = {"source_id": source_id, "tracker": tracker, "now": now, "rows": orjson.dumps(rows).decode()}
    return set(await session.scalars(_UPSERT, given))


_UPDATE_DETAILS = text(
    f"""
    UPDATE epics SET parent_remote_id = excluded.parent_remote_id, parent_title = excluded.parent_title,
        parent_url = excluded.parent_url, description = excluded.description,
        {", ".join(f"{name} = {new}" for name, new in _NEW.items())},
        evaluate_at = CASE WHEN epics.parent_remote_id IS DISTINCT FROM excluded.parent_remote_id
            THEN :now ELSE epics.evaluate_at END,
        evaluated_version = CASE WHEN epics.parent_remote_id IS DISTINCT FROM excluded.parent_remote_id
            THEN NULL ELSE epics.evaluated_version END
    FROM json_to_recordset(CAST(:rows AS json))
        AS excluded(id bigint, tracker_updated_at timestamptz,
            {", ".join(f"{name} {kind}" for name, kind in DETAIL_COLUMNS.items())})
    WHERE epics.id = excluded.id AND epics.source_id = :source_id
        AND epics.tracker_updated_at <= excluded.tracker_updated_at
    """  # noqa: S608  # only the column names above are put in
)


async def _update_details(
    session: AsyncSession, source_id: int, rows: Sequence[tuple[int, dict[str, Any]]], now: datetime
) -> None:
    """One whose parent has another id under the same key is evaluated: what it inherits may be another."""
    stored = ("tracker_updated_at", *DETAIL_COLUMNS)
    fresh = [{"id": id, **{name: row[name] for name in stored}} for id, row in rows]
    if fresh:
        given = {"source_id": source_id, "now": now, "rows": orjson.dumps(fresh).decode()}
        await session.execute(_UPDATE_DETAILS, given)


async def _record_old_keys(
    session: AsyncSession, source_id: int, taken_over: list[int], moved: list[tuple[int, str]]
) -> None:
    """Record former keys: those of epics taken over from another source move to this source; an epic with a
    new key gets its former one."""
    if taken_over:
        await session.execute(
            text(
                "UPDATE epic_key_history SET source_id = :source_id WHERE epic_id = ANY(:ids)"
                " AND NOT EXISTS (SELECT FROM epic_key_history AS held"
                " WHERE held.source_id = :source_id AND held.key = epic_key_history.key)"
            ),
            {"source_id": source_id, "ids": taken_over},
        )
    if moved:
        await session.execute(
            text(
                "INSERT INTO epic_key_history (source_id, key, epic_id)"
                " SELECT :source_id, key, epic_id FROM unnest(CAST(:keys AS text[]), CAST(:ids AS bigint[]))"
                " AS old(key, epic_id) ON CONFLICT (source_id, key) DO UPDATE SET epic_id = excluded.epic_id"
            ),
            {"source_id": source_id, "keys": [key for _, key in moved], "ids": [id for id, _ in moved]},
        )


async def _mark_removed(
    session: AsyncSession, source_id: int, tracker: str, reasons: Mapping[str, str], now: datetime
) -> list[str]:
    """Mark the epics of these tickets as removed, which takes them out of every list. Returns the ids in the
    tracker of those that were not removed before."""
    marked = await session.execute(
        text(
            "UPDATE epics SET removed_at = :now, removal_reason = gone.reason, evaluate_at = :now"
            " FROM (SELECT epics.id, left_.reason FROM epics"
            "   JOIN unnest(CAST(:ids AS text[]), CAST(:reasons AS text[])) AS left_(remote_id, reason)"
            "   ON left_.remote_id = epics.remote_id"
            "   WHERE epics.tracker = :tracker AND epics.source_id = :source_id AND epics.removed_at IS NULL"
            "   ORDER BY epics.id FOR UPDATE OF epics) AS gone"
            " WHERE epics.id = gone.id RETURNING epics.remote_id"
        ),
        {
            "now": now,
            "source_id": source_id,
            "tracker": tracker,
            "ids": list(reasons),
            "reasons": list(reasons.values()),
        },
    )
    return list(marked.scalars())


async def remove_projects(
    session: AsyncSession, source_id: int, projects: Sequence[str], now: datetime
) -> list[str]:
    """Mark every epic of these projects as removed (`out_of_scope`): a person narrowed the source's scope.
    Returns their ids in the tracker."""
    marked = await session.execute(
        text(
            "UPDATE epics SET removed_at = :now, removal_reason = 'out_of_scope', evaluate_at = :now"
            " FROM (SELECT id FROM epics WHERE source_id = :source AND project = ANY(:projects)"
            "   AND removed_at IS NULL ORDER BY id FOR UPDATE) AS outside WHERE epics.id = outside.id"
            " RETURNING epics.remote_id"
        ),
        {"now": now, "source": source_id, "projects": list(projects)},
    )
    return list(marked.scalars())
