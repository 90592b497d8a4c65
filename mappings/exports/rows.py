"""The rows of an export, some at a time in the order of their ids: what the import takes, and epics.

Each slice is a statement of its own, so that neither memory nor an open transaction grows with the table or
with the time that the reader takes. A row that is there during all of it comes exactly once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import func, select
from sqlalchemy.orm import aliased

from mappings.imports.columns import EPICS_COLUMNS, KEY_RESULTS, LINKS, OBJECTIVES
from mappings.tables import CycleRow, EpicRow, KeyResultRow, LinkRow, ObjectiveRow, SourceRow

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.files.write import Value

ExportKind = Literal["objectives", "key-results", "links", "epics"]
ROWS_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Export:
    """`select` gives the ids and the rows; `cells` makes one row's cells of what it selected after the id."""

    columns: Sequence[str]
    select: Callable[[], Any]
    id: Any
    cells: Callable[..., Sequence[Value]]


@dataclass(frozen=True, slots=True)
class Slice:
    """`last_id` is where the next slice begins, None after the last one."""

    rows: Sequence[Sequence[Value]]
    last_id: int | None


async def read_slice(session: AsyncSession, kind: ExportKind, after: int = 0) -> Slice:
    """The rows after the one with this id."""
    export = EXPORTS[kind]
    query = export.select().where(export.id > after).order_by(export.id).limit(ROWS_AT_ONCE)
    found = (await session.execute(query)).all()
    rows = [export.cells(*row[1:]) for row in found]
    return Slice(rows, found[-1][0] if len(found) == ROWS_AT_ONCE else None)


async def count_rows(session: AsyncSession, kind: ExportKind) -> int:
    export = EXPORTS[kind]
    query = export.select().with_only_columns(func.count(), maintain_column_froms=True)
    count: int = (await session.scalars(query)).one()
    return count


# --- goals ------------------------------------------------------------------------------------


def _objectives() -> Any:
    parent = aliased(ObjectiveRow)
    return (
        select(ObjectiveRow.id, ObjectiveRow, CycleRow.key, parent.key)
        .outerjoin(CycleRow, CycleRow.id == ObjectiveRow.cycle_id)
        .outerjoin(parent, parent.id == ObjectiveRow.parent_id)
    )


def _objective(row: ObjectiveRow, cycle: str | None, parent: str | None) -> Sequence[Value]:
    elsewhere = {"cycle": cycle, "parent": parent}
    return [elsewhere[name] if name in elsewhere else getattr(row, name) for name in OBJECTIVES.names]


def _key_results() -> Any:
    return select(KeyResultRow.id, KeyResultRow, ObjectiveRow.key).join(
        ObjectiveRow, ObjectiveRow.id == KeyResultRow.objective_id
    )


def _key_result(row: KeyResultRow, objective: str) -> Sequence[Value]:
    return [objective if name == "objective" else getattr(row, name) for name in KEY_RESULTS.names]


# --- links and epics --------------------------------------------------------------------------


def _links() -> Any:
    return (
        select(
            LinkRow.id, SourceRow.name, EpicRow.key, KeyResultRow.key, LinkRow.weight, LinkRow.is_primary,
            LinkRow.origin,
        )
        .join(EpicRow, EpicRow.id == LinkRow.epic_id)
        .join(SourceRow, SourceRow.id == EpicRow.source_id)
        .join(KeyResultRow, KeyResultRow.id == LinkRow.key_result_id)
        .where(EpicRow.removed_at.is_(None))
    )  # fmt: skip


def _link(*cells: Value) -> Sequence[Value]:
    return cells


def _epics() -> Any:
    linked = (
        select(func.string_agg(KeyResultRow.key.distinct(), ", "))
        .join(LinkRow, LinkRow.key_result_id == KeyResultRow.id)
        .where(LinkRow.epic_id == EpicRow.id)
        .correlate(EpicRow)
        .scalar_subquery()
    )
    return (
        select(EpicRow.id, EpicRow, SourceRow.name, linked)
        .join(SourceRow, SourceRow.id == EpicRow.source_id)
        .where(EpicRow.removed_at.is_(None))
    )


def _epic(row: EpicRow, source: str, key_results: str | None) -> Sequence[Value]:
    elsewhere: dict[str, Value] = {
        "source": source,
        "key_result": None,  # to be filled
        "labels": ", ".join(row.labels),
        "assignees": ", ".join(row.assignees),
        "key_results": key_results,
        "parent": row.parent_key,
        "id": row.remote_id,
        "finished_at": None if row.finished_at is None else _moment(row.finished_at),
        "created_at": _moment(row.tracker_created_at),
        "updated_at": _moment(row.tracker_updated_at),
    }
    return [elsewhere[name] if name in elsewhere else getattr(row, name) for name in EPICS_COLUMNS]


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


EXPORTS: dict[ExportKind, Export] = {
    "objectives": Export(OBJECTIVES.names, _objectives, ObjectiveRow.id, _objective),
    "key-results": Export(KEY_RESULTS.names, _key_results, KeyResultRow.id, _key_result),
    "links": Export(LINKS.names, _links, LinkRow.id, _link),
    "epics": Export(EPICS_COLUMNS, _epics, EpicRow.id, _epic),
}
