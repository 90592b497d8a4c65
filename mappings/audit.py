"""The audit log: a row for every change by an actor, written in the transaction of the change itself.

Only sessions that `set_actor` has given an actor are audited: what the evaluator records has no actor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import Connection, event, insert, inspect, select
from sqlalchemy.orm import Session, UOWTransaction

from mappings.copying import copy_rows
from mappings.tables import (
    AgreementRow,
    AuditEntryRow,
    Base,
    CheckInRow,
    ConflictRow,
    CriterionRow,
    CycleRow,
    DecisionRow,
    DeliveryRow,
    EpicRow,
    EpicStageRow,
    EpicValueRow,
    EstimateRow,
    FindingRow,
    InstallationRow,
    KeyResultRow,
    LinkRow,
    ObjectiveRow,
    ReviewItemRow,
    ReviewRow,
    RuleRow,
    RunRow,
    ScoreRow,
    SourceRow,
    SuggestionRejectionRow,
    TokenRow,
    among,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy.ext.asyncio import AsyncSession

ACTOR = "actor"
COMMAND_LINE = "the command line"
NORTHING = "northing"  # what a person asked for and Northing finishes later
Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Actor:
    """`who` as it is shown. `who_id`: the tracker's id of the account, for two people may share a name."""

    who: str
    who_id: str | None


def set_actor(session: AsyncSession, who: str, who_id: str | None = None) -> None:
    """Audit the changes of mapped rows that this session flushes from now on, with `who` as their actor."""
    session.info[ACTOR] = Actor(who, who_id)


def actor_of(session: AsyncSession) -> str | None:
    """Who changes something in this session, as the audit log names them."""
    actor: Actor | None = session.info.get(ACTOR)
    return None if actor is None else actor.who


@dataclass(frozen=True)
class AuditedTable:
    """How a table's changes are recorded: `key` makes the public name of a row, `fields` names the columns.

    A column of bytes holds a secret or a hash: the entry says only that it is set or changed.
    """

    what: str
    key: Callable[[Values], str]
    fields: str

    @property
    def columns(self) -> list[str]:
        return self.fields.split()


def _thing(values: Values) -> str:
    """The public name of what a finding is on."""
    names = (values.get(member) for member in ("epic", "objective", "key_result", "source"))
    return next(str(name) for name in names if name is not None)


TABLES: dict[type[Base], AuditedTable] = {
    CycleRow: AuditedTable("cycle", itemgetter("key"), "key title starts ends review"),
    ObjectiveRow: AuditedTable(
        "objective",
        itemgetter("key"),
        "key title description driver cycle_id parent_id owner sponsor weight visibility public_label state",
    ),
    KeyResultRow: AuditedTable(
        "key_result",
        itemgetter("key"),
        "key objective_id title description owner category unit baseline target direction due state",
    ),
    CheckInRow: AuditedTable("check_in", itemgetter("key_result"), "key_result_id value confidence note at"),
    AgreementRow: AuditedTable(
        "agreement",
        itemgetter("key_result"),
        "key_result_id side name note unit baseline target direction voided_at void_reason",
    ),
    RuleRow: AuditedTable("rule", itemgetter("name"), "name when key_result_id priority enabled"),
    LinkRow: AuditedTable(
        "link", "{epic} -> {key_result}".format_map, "epic_id key_result_id origin weight is_primary"
    ),
    SuggestionRejectionRow: AuditedTable(
        "rejection", "{epic} -> {key_result}".format_map, "epic_id key_result_id"
    ),
    FindingRow: AuditedTable(
        "finding",
        lambda values: f"{_thing(values)} {values['check']}",
        "epic_id objective_id key_result_id source_id check state until reason",
    ),
    SourceRow: AuditedTable(
        "source",
        itemgetter("name"),
        "name kind base_url credentials_type credentials webhook_secret scope epics schedule notices"
        " disconnecting_at",
    ),
    InstallationRow: AuditedTable("policy", "policy".format_map, "policy"),
    TokenRow: AuditedTable("token", "{id} ({name})".format_map, "id name role expires_at hash"),
    RunRow: AuditedTable("run", "{id}".format_map, "id source_id mode accepts_run_id withdraws"),
    DeliveryRow: AuditedTable(
        "delivery", "{source} {remote_id}".format_map, "source_id remote_id event state due_at"
    ),
    EpicValueRow: AuditedTable("value", itemgetter("epic"), "epic_id answer driver asked_of"),
    EpicStageRow: AuditedTable("stage", itemgetter("epic"), "epic_id stage measure_id due"),
    EstimateRow: AuditedTable(
        "estimate", _thing, "epic_id key_result_id kind amount currency estimated_by note at"
    ),
    CriterionRow: AuditedTable("criterion", itemgetter("key"), "key title weight position"),
    ScoreRow: AuditedTable("score", "{epic} {criterion}".format_map, "epic_id criterion_id score"),
    ReviewRow: AuditedTable(
        "review", "{cycle} {held_on}".format_map, "id cycle_id held_on state attendees missing_sides"
    ),
    ReviewItemRow: AuditedTable(
        "review_item", "{review_id} {title}".format_map, "review_id title state mitigation"
    ),
    ConflictRow: AuditedTable(
        "conflict",
        _thing,
        "id epic_id objective_id key_result_id technical business decided_at decision_id",
    ),
    DecisionRow: AuditedTable(
        "decision",
        "{id}".format_map,
        "id review_id conflict_id epic_id about_objective_id about_key_result_id decision key_result_id"
        " measure_id by_date reason decided_by undone_at",
    ),
}


def record_action(session: AsyncSession, action: str, what: str, key: str, after: Values) -> None:
    """Add an entry for what the session's actor did to many rows at once; without an actor, none."""
    actor: Actor | None = session.info.get(ACTOR)
    if actor is not None:
        session.add(AuditEntryRow(**asdict(actor), action=action, what=what, key=key, after=after))


@dataclass(frozen=True, slots=True)
class Change:
    """A row that a statement wrote: the public values that make its name, and those recorded."""

    names: Values
    before: Values | None
    after: Values | None


async def record_changes(
    session: AsyncSession, action: str, table: type[Base], changes: Iterable[Change]
) -> None:
    """Add the entries of rows that one statement wrote, which no flush sees: those that a flush would add."""
    actor: Actor | None = session.info.get(ACTOR)
    if actor is None:
        return
    audited = TABLES[table]
    common = actor.who, actor.who_id, action, audited.what
    columns = "who", "who_id", "action", "what", "key", "before", "after"
    rows = (
        (*common, audited.key(change.names), _json(change.before), _json(change.after)) for change in changes
    )
    await copy_rows(session, AuditEntryRow, columns, rows)


def _json(values: Values | None) -> str | None:
    return None if values is None else orjson.dumps(values).decode()


@event.listens_for(Session, "after_flush")
def _record_changes(session: Session, _: UOWTransaction) -> None:
    # After the flush the rows have their ids, and their histories still hold the old values.
    actor: Actor | None = session.info.get(ACTOR)
    if actor is None:
        return
    changed = [
        (action, row)
        for action, rows in (
            ("created", session.new),
            ("changed", session.dirty),
            ("deleted", session.deleted),
        )
        for row in rows
        if type(row) in TABLES
    ]
    names = _names(session.connection(), [row for _, row in changed])
    entries = []
    for action, row in changed:
        entry = _entry(names, action, row)
        if entry is not None:
            entries.append({**asdict(actor), "action": action, **entry})
    if entries:
        session.connection().execute(insert(AuditEntryRow), entries)


def _entry(names: _Names, action: str, row: Any) -> Values | None:
    table = TABLES[type(row)]
    # A run that only evaluates is a consequence of the change, which has its own entry.
    if isinstance(row, RunRow) and row.mode == "evaluate":
        return None
    present = {name: _shown(names, name, row.__dict__.get(name)) for name in table.columns}
    values = {_public(name): value for name, value in present.items()}
    entry: Values = {"what": table.what, "key": table.key(values), "before": None, "after": None}
    if action == "created":
        entry["after"] = values
    elif action == "deleted":
        entry["before"] = values
    else:
        before, after = _differences(names, row, table)
        if not after:
            return None
        entry |= {"before": before, "after": after}
    return entry


def _differences(names: _Names, row: Any, table: AuditedTable) -> tuple[Values, Values]:
    """The recorded columns that differ, before and after."""
    before, after = {}, {}
    for name in table.columns:
        history = inspect(row).attrs[name].history
        if not history.has_changes():
            continue
        was = history.deleted[0] if history.deleted else None
        now = history.added[0] if history.added else None
        public = _public(name)
        before[public], after[public] = _shown(names, name, was), _shown(names, name, now)
        if isinstance(was, bytes) and isinstance(now, bytes):
            after[public] = "changed"
    return before, after


# --- values -----------------------------------------------------------------------------------

_Names = dict[tuple[str, int], str]  # by the column that refers to something, and its id
REFERENCES: dict[str, Any] = {
    "cycle_id": select(CycleRow.id, CycleRow.key),
    "parent_id": select(ObjectiveRow.id, ObjectiveRow.key),
    "objective_id": select(ObjectiveRow.id, ObjectiveRow.key),
    "key_result_id": select(KeyResultRow.id, KeyResultRow.key),
    "measure_id": select(KeyResultRow.id, KeyResultRow.key),
    "about_objective_id": select(ObjectiveRow.id, ObjectiveRow.key),
    "about_key_result_id": select(KeyResultRow.id, KeyResultRow.key),
    "criterion_id": select(CriterionRow.id, CriterionRow.key),
    "source_id": select(SourceRow.id, SourceRow.name),
    "epic_id": select(EpicRow.id, SourceRow.name + "/" + EpicRow.key).join(SourceRow),
}


def _names(connection: Connection, rows: Iterable[Any]) -> _Names:
    """The public names of what these rows refer to, and did before: a statement for each column that refers
    to anything, whatever the number of rows."""
    ids: dict[str, set[int]] = {}
    for row in rows:
        for column in REFERENCES.keys() & TABLES[type(row)].columns:
            history = inspect(row).attrs[column].history
            ids.setdefault(column, set()).update(id for id in history.sum() if id is not None)
    found: _Names = {}
    for column, referred in ids.items():
        if referred:
            query = REFERENCES[column]
            id_column = query.selected_columns[0]
            for id, name in connection.execute(query.where(among(id_column, referred))):
                found[column, id] = name
    return found


def _public(column: str) -> str:
    return column.removesuffix("_id") if column in REFERENCES else column


def _shown(names: _Names, column: str, value: Any) -> Any:
    """The value as JSON and by public names, never a secret."""
    if value is None:
        return None
    if column in REFERENCES:
        return names.get((column, value))
    if isinstance(value, bytes):
        return "set"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value
