"""What a person may do to rules: add, change, remove, reorder them. Runs evaluate what this affects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import func, select, text

from mappings import invalidate
from mappings.audit import Change, record_changes
from mappings.errors import Conflict, Invalid, NotFound, check_values, check_version
from mappings.locks import lock_goals_exclusive
from mappings.lookups import key_result_in
from mappings.rules.condition import InvalidCondition, fields, parse_condition
from mappings.rules.index import Rule
from mappings.rules.order import NewOrder, new_order
from mappings.runs.causes import Cause
from mappings.runs.reevaluation import reevaluate, reevaluate_sources
from mappings.tables import KeyResultRow, RuleRow, SourceRow
from mappings.values import Bounds, key_error, line_error, number_error

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

MOST_RULES = 2_000  # each evaluation reads all of them
NEXT_ID = 2**63 - 1  # stands for the id of a rule that is not saved: it comes after all others
PRIORITY: Bounds = {"ge": -(2**31), "lt": 2**31}  # a column of 32 bits


@dataclass(frozen=True, slots=True)
class RuleValues:
    """`when` is a condition as JSON, `key_result` a key in any case; the lowest `priority` is tried first."""

    name: str
    when: dict[str, Any]
    key_result: str
    priority: int
    enabled: bool


@dataclass(frozen=True, slots=True)
class DraftRule:
    """A rule as it would be saved, with its condition as JSON, and the stored one that it would replace; None
    where it is new."""

    rule: Rule
    when: Mapping[str, Any]
    enabled: bool
    stored: Rule | None = None


async def rule_at(session: AsyncSession, id: int) -> RuleRow:
    """The rule with this id as it is now, even where the session holds it from before. Raises `NotFound`."""
    row = await session.get(RuleRow, id, populate_existing=True)
    if row is None:
        raise NotFound.of("rule", id)
    return row


async def rule_in(session: AsyncSession, id: int, field: str) -> RuleRow:
    """The rule that `field` names. Raises `Invalid` where there is none."""
    row = await session.get(RuleRow, id, populate_existing=True)
    if row is None:
        raise Invalid(field, f"there is no rule {id}; GET /api/v1/rules lists them")
    return row


async def values_of(session: AsyncSession, row: RuleRow) -> RuleValues:
    goal = await session.get_one(KeyResultRow, row.key_result_id, populate_existing=True)
    return RuleValues(row.name, row.when, goal.key, row.priority, row.enabled)


async def draft_of(
    session: AsyncSession, values: RuleValues, stored: RuleRow | None, *, named: bool = True
) -> DraftRule:
    """A rule with these values as it would be saved, in place of `stored`; None: as a new one.

    `named`: its name is one that a person gave. Raises as `create_rule` and `change_rule`.
    """
    id = None if stored is None else stored.id
    key_result_id = await _checked(session, values, id, named=named)
    rule = Rule(id or NEXT_ID, values.name, parse_condition(values.when), key_result_id, values.priority)
    return DraftRule(rule, values.when, values.enabled, None if stored is None else rule_of(stored))


def rule_of(row: RuleRow) -> Rule:
    """The rule that is stored, enabled or not."""
    return Rule(row.id, row.name, parse_condition(row.when), row.key_result_id, row.priority)


async def create_rule(session: AsyncSession, values: RuleValues, now: datetime) -> tuple[RuleRow, list[int]]:
    """The new rule, and the ids of the runs that evaluate the epics it matches.

    Raises `Conflict` where the name is taken or there are too many rules, `Invalid` for a condition that
    cannot work and an unknown key result.
    """
    await lock_goals_exclusive(session)
    if (await session.scalars(select(func.count()).select_from(RuleRow))).one() >= MOST_RULES:
        raise Conflict(f"There are {MOST_RULES} rules; delete one, or let one rule list more values.")
    row = RuleRow(
        name=values.name,
        when=values.when,
        key_result_id=await _checked(session, values, None),
        priority=values.priority,
        enabled=values.enabled,
        version=1,
        changed_at=now,
    )
    session.add(row)
    await session.flush()
    return row, await _reevaluate(session, row, now, enabled=row.enabled)


async def change_rule(
    session: AsyncSession,
    id: int,
    change: Callable[[RuleValues], RuleValues],
    now: datetime,
    *,
    versions: Collection[int] | None = None,
) -> tuple[RuleRow, list[int]]:
    """Give a rule the values that `change` makes of its present ones; the ids of the runs that evaluate the
    epics it matches or matched, none where nothing changed.

    Raises `NotFound`, `StaleVersion` where its version is none of `versions` (None: any), and `Conflict`
    and `Invalid` as `create_rule`.
    """
    await lock_goals_exclusive(session)
    row = await rule_at(session, id)
    check_version(row.version, versions)
    values = change(await values_of(session, row))
    key_result_id = await _checked(session, values, row.id)
    before = (row.name, row.when, row.key_result_id, row.priority, row.enabled)
    row.name, row.when, row.key_result_id = values.name, values.when, key_result_id
    row.priority, row.enabled, row.version = values.priority, values.enabled, row.version + 1
    await session.flush()
    if before == (row.name, row.when, row.key_result_id, row.priority, row.enabled):
        return row, []
    row.changed_at = now
    return row, await _reevaluate(session, row, now, enabled=row.enabled)


async def delete_rule(session: AsyncSession, id: int, now: datetime) -> list[int]:
    """Remove a rule; the ids of the runs that evaluate the epics it linked. Raises `NotFound`."""
    await lock_goals_exclusive(session)
    row = await rule_at(session, id)
    run_ids = await _reevaluate(session, row, now, enabled=False)
    await session.delete(row)
    return run_ids


# --- the order in which they are asked ------------------------------------------------------------

_NAMED = 3  # in a sentence
_SET_PRIORITIES = text("""
    UPDATE rules SET priority = new.priority, version = rules.version + 1,
        changed_at = CASE WHEN new.moved THEN CAST(:now AS timestamptz) ELSE rules.changed_at END
    FROM json_to_recordset(CAST(:rows AS json)) AS new (id bigint, priority integer, moved boolean)
    WHERE rules.id = new.id
""")


async def rule_order(session: AsyncSession) -> list[int]:
    """The ids of all rules, disabled ones too, in the order in which they are asked."""
    return list(await session.scalars(select(RuleRow.id).order_by(RuleRow.priority, RuleRow.id)))


async def reorder_rules(
    session: AsyncSession, order: Sequence[int], now: datetime, *, seen: Sequence[int] | None = None
) -> tuple[NewOrder, list[int]]:
    """Have the rules asked in this order, which names each by its id; what changed, and the ids of the runs
    that evaluate the epics that moved rules match or link, none where no enabled rule moved.

    `seen`: the order that the caller read, None for any. Raises `Conflict` where it is another now, and where
    `order` leaves out a rule that is stored or names one that is not; `Invalid` for an id that comes twice.
    """
    if len(set(order)) != len(order):
        raise Invalid("order", "names a rule twice; name each once")
    await lock_goals_exclusive(session)
    columns = RuleRow.id, RuleRow.name, RuleRow.priority, RuleRow.enabled
    rows = (await session.execute(select(*columns).order_by(RuleRow.priority, RuleRow.id))).all()
    _check_order(order, {row.id: row.name for row in rows})
    if seen is not None and list(seen) != [row.id for row in rows]:
        raise Conflict("The rules were put in another order since you read them; read them again.")
    stored = {row.id: row for row in rows}
    found = new_order([(id, stored[id].priority) for id in order])
    if not found.priorities:
        return found, []
    changed = [
        {"id": id, "priority": priority, "moved": id in found.moved}
        for id, priority in found.priorities.items()
    ]
    await session.execute(_SET_PRIORITIES, {"rows": orjson.dumps(changed).decode(), "now": now})
    entries = (
        Change({"name": stored[id].name}, {"priority": stored[id].priority}, {"priority": priority})
        for id, priority in found.priorities.items()
    )
    await record_changes(session, "changed", RuleRow, entries)
    # Rules that did not move come after the same of each other as before, whatever number they have now.
    moved = [stored[id] for id in order if id in found.moved and stored[id].enabled]
    causes = [Cause("rule", str(row.id), row.name) for row in moved]
    return found, await _reevaluate_all(session, causes, now) if causes else []


def _check_order(order: Sequence[int], names: Mapping[int, str]) -> None:
    left_out = [names[id] for id in names.keys() - set(order)]
    if left_out:
        shown = ", ".join(repr(name) for name in sorted(left_out)[:_NAMED])
        more = f" and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
        raise Conflict(f"This order leaves out {shown}{more}; read the rules again, and name each.")
    unknown = next((id for id in order if id not in names), None)
    if unknown is not None:
        raise Conflict(f"There is no rule {unknown} any more; read the rules again.")


async def _reevaluate_all(session: AsyncSession, causes: Sequence[Cause], now: datetime) -> list[int]:
    sources = await session.scalars(select(SourceRow.id))
    return await reevaluate_sources(session, causes, {id: invalidate.by_source(id) for id in sources}, now)


async def _reevaluate(session: AsyncSession, row: RuleRow, now: datetime, *, enabled: bool) -> list[int]:
    """Evaluate again the epics that a rule links now, and those that it matches if it is enabled: only a run
    can find these, in any source that has epics."""
    causes = [Cause("rule", str(row.id), row.name)]
    if enabled:
        return await _reevaluate_all(session, causes, now)
    return await reevaluate(session, causes, [invalidate.by_rules([row.id])], now)


async def _checked(
    session: AsyncSession, values: RuleValues, itself: int | None, *, named: bool = True
) -> int:
    """The id of the key result; `Conflict` for a name that is taken, `Invalid` for a condition that cannot
    work and for other values that are wrong."""
    check_values(
        [
            ("name", line_error(values.name)),
            ("key_result", key_error(values.key_result)),
            ("priority", number_error(values.priority, PRIORITY)),
        ]
    )
    other = select(RuleRow.id).where(
        func.lower(RuleRow.name) == values.name.lower(), RuleRow.id != (itself or 0)
    )
    if named and (await session.scalars(other)).first() is not None:
        raise Conflict.taken("name", values.name)
    try:
        condition = parse_condition(values.when)
    except InvalidCondition as error:
        raise Invalid(error.path, error.message) from None
    read_fields: set[str] = set()
    for epics in await session.scalars(select(SourceRow.epics)):
        read_fields.update(epics.get("fields") or ())
    for name in sorted(fields(condition) - read_fields):
        raise Invalid("when", f"asks for field {name!r}, which no source reads; add it to its epics.fields")
    return (await key_result_in(session, values.key_result, "key_result")).id
