"""Which epics a list shows: the filters that a person may name, and the condition that each is.

Each has an index. At 100,000 epics none reads them all but `q`, and that one reads an index which has nothing
but the ids and the texts searched.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, get_args

from sqlalchemy import ColumnElement, Select, false, func, literal, literal_column, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text

from mappings.errors import Invalid, check_values
from mappings.evaluation.context import load_key_results
from mappings.goals.key_results import is_live
from mappings.goals.values import Driver
from mappings.governance.initiatives import initiative_ids
from mappings.governance.value import is_answered
from mappings.lookups import find_epics, find_sources, key_result_in, source_in
from mappings.policy.operations import load_policy
from mappings.reports.steering import is_steered, steered_key_results
from mappings.tables import EpicKeyHistoryRow, EpicRow, FindingRow, LinkRow, SourceRow, among
from mappings.values import one_of_error, text_error

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.checks.check import Check

Alignment = Literal["aligned", "exempt", "waived", "unaligned"]
# Of the objective of a linked, live key result; `none`: that objective has no driver.
DriverFilter = Literal[Driver, "none"]
ValueFilter = Literal["answered", "unanswered"]
Sort = Literal["id", "-id", "created", "-created", "updated", "-updated", "title", "-title"]
DRIVERS: tuple[str, ...] = get_args(DriverFilter)
TEXT_AT_MOST = 200
IS_OPEN = EpicRow.status_category != "done"
KEY_AT_MOST = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class EpicFilters:
    """None: not asked for. Text is compared in any case, `q` with a part of the title or the key, all else
    whole. `source` and `key_result` name one that exists. `parent` is a key, present or former, of an epic
    that the others belong to, or of a ticket that is no epic here. `check` has an unresolved finding there.
    `open`: whether its status is none of those that are done, as coverage counts it. `initiative` as
    `mappings.governance.initiatives` has it; `value`: whether the value question has an answer.
    """

    source: str | None = None
    alignment: Alignment | None = None
    key_result: str | None = None
    project: str | None = None
    label: str | None = None
    assignee: str | None = None
    driver: DriverFilter | None = None
    parent: str | None = None
    check: str | None = None
    steered: bool | None = None
    open: bool | None = None
    initiative: bool | None = None
    value: ValueFilter | None = None
    q: str | None = None

    def __bool__(self) -> bool:
        """Whether any of them is asked for; a blank `q` is a part of nearly every title."""
        return any(value is not None and str(value).strip() for value in asdict(self).values())


def check_filters(filters: EpicFilters, checks: Iterable[Check[Any]]) -> None:
    """Raises `Invalid`."""
    names = [check.name for check in checks if check.about == "epic"]
    short = ("project", "label", "assignee", "q")
    check_values(
        [
            ("alignment", one_of_error(filters.alignment, get_args(Alignment))),
            ("driver", one_of_error(filters.driver, DRIVERS)),
            ("check", one_of_error(filters.check, names)),
            ("value", one_of_error(filters.value, get_args(ValueFilter))),
            ("parent", text_error(filters.parent, KEY_AT_MOST)),
            *((name, text_error(getattr(filters, name), TEXT_AT_MOST)) for name in short),
        ]
    )


async def conditions(
    session: AsyncSession, filters: EpicFilters, checks: Iterable[Check[Any]], now: datetime
) -> list[ColumnElement[bool]]:
    """The conditions on `EpicRow` of epics that these filters let through; removed epics are in no list.

    Raises `Invalid` on the filter that names nothing, or is none.
    """
    check_filters(filters, checks)
    found = [*_conditions(filters, await _named(session, filters, now))]
    if filters.initiative is not None:
        found.append(await _is_initiative(session, filters))
    return found


async def listed_ids(
    session: AsyncSession, filters: EpicFilters, checks: Iterable[Check[Any]], now: datetime
) -> Select[Any]:
    """The query of their ids, the same object where the same is asked for again. Raises as `conditions`."""
    check_filters(filters, checks)
    listed = _listed(filters, await _named(session, filters, now))
    return listed if filters.initiative is None else listed.where(await _is_initiative(session, filters))


@dataclass(frozen=True, slots=True)
class _Named:
    """What the filters name, as it is now; None: not asked for. `steered`: the key results that are."""

    source_id: int | None = None
    key_result_id: int | None = None
    of_driver: tuple[int, ...] | None = None
    keys_of_parent: tuple[str, ...] | None = None
    steered: frozenset[int] | None = None


_NOTHING = _Named()


async def _named(session: AsyncSession, filters: EpicFilters, now: datetime) -> _Named:
    named: dict[str, Any] = {}
    if filters.source is not None:
        named["source_id"] = (await source_in(session, filters.source, "source")).id
    if filters.key_result is not None:
        named["key_result_id"] = (await key_result_in(session, filters.key_result, "key_result")).id
    if filters.driver is not None:
        named["of_driver"] = tuple(await _of_driver(session, filters.driver, now))
    if filters.parent is not None:
        named["keys_of_parent"] = tuple(await _keys_of(session, filters.parent))
    if filters.steered is not None:
        named["steered"] = frozenset(await steered_key_results(session, now))
    return _Named(**named) if named else _NOTHING


# To make a statement takes longer than to read a short list: those asked for last are kept.
@lru_cache(maxsize=200)
def _listed(filters: EpicFilters, named: _Named) -> Select[Any]:
    return select(EpicRow.id).where(*_conditions(filters, named))


@lru_cache(maxsize=200)
def _conditions(filters: EpicFilters, named: _Named) -> tuple[ColumnElement[bool], ...]:
    """All but that on initiatives, which is as long as the policy."""
    found = [EpicRow.removed_at.is_(None), *_of_own_columns(filters)]
    if named.source_id is not None:
        found.append(EpicRow.source_id == named.source_id)
    if named.key_result_id is not None:
        found.append(_linked_to([named.key_result_id]))
    if named.of_driver is not None:
        found.append(_linked_to(named.of_driver))
    if named.keys_of_parent is not None:
        # Without the first, a planner that knows nothing of the keys in lower case reads all epics in order.
        found += [EpicRow.parent_key.is_not(None), func.lower(EpicRow.parent_key).in_(named.keys_of_parent)]
    if named.steered is not None:
        steered = is_steered(named.steered)
        found.append(steered if filters.steered else ~func.coalesce(steered, false()))
    return tuple(found)


async def _is_initiative(session: AsyncSession, filters: EpicFilters) -> ColumnElement[bool]:
    """Or that it is none, as the filters ask."""
    initiatives = initiative_ids(await load_policy(session))
    if filters.initiative:
        return EpicRow.id.in_(initiatives)
    # Not `not_in`, which goes through all initiatives for each epic where they are many.
    one = EpicRow.id == initiatives.subquery("initiatives").c.id
    return ~select(1).where(one).exists()


def _of_own_columns(filters: EpicFilters) -> Iterator[ColumnElement[bool]]:
    """The conditions that need no other row to be read first."""
    if filters.alignment is not None:
        yield EpicRow.alignment == filters.alignment
    if filters.open is not None:
        yield IS_OPEN if filters.open else EpicRow.status_category == "done"
    if filters.project is not None:
        yield func.lower(EpicRow.project) == func.lower(filters.project)
    if filters.label is not None:
        yield _has(EpicRow.labels, filters.label)
    if filters.assignee is not None:
        yield _has(EpicRow.assignees, filters.assignee)
    if filters.value is not None:
        yield is_answered() if filters.value == "answered" else ~is_answered()
    if filters.check is not None:
        yield EpicRow.id.in_(_unresolved(filters.check))
    if filters.q is not None:
        yield EpicRow.search_text.like(func.lower(_part(filters.q)), escape=_ESCAPE)


async def listed_epics(
    session: AsyncSession,
    filters: EpicFilters,
    sort: str,
    checks: Iterable[Check[Any]],
    now: datetime,
    *,
    most: int,
) -> list[tuple[str, str]]:
    """The epics that these filters let through, each as its source's name and its key, in the list's order.

    Raises `Invalid` as `conditions`, with `filter.` before the name, and on `filter` for more than `most`.
    """
    try:
        found = await conditions(session, filters, checks, now)
    except Invalid as error:
        first, *more = [(f"filter.{name}", message) for name, message in error.errors]
        raise Invalid(*first, more=more) from None
    count = await session.scalar(select(func.count()).select_from(EpicRow).where(*found)) or 0
    if count > most:
        raise Invalid("filter", f"lets {count:,} epics through; name more, so that {most:,} at most are left")
    value, greatest_first = sort_value(sort)
    order = [EpicRow.id] if value is None else [value, EpicRow.id]
    listed = select(SourceRow.name, EpicRow.key).join(SourceRow, SourceRow.id == EpicRow.source_id)
    rows = await session.execute(
        listed.where(*found).order_by(*(column.desc() if greatest_first else column for column in order))
    )
    return [(source, key) for source, key in rows]


async def count_open_epics(session: AsyncSession) -> dict[str | None, int]:
    """How many open epics are in the lists, by alignment; None: not evaluated yet. Read from an index."""
    counted = (
        select(EpicRow.alignment, func.count())
        .where(EpicRow.removed_at.is_(None), IS_OPEN)
        .group_by(EpicRow.alignment)
    )
    return {alignment: number for alignment, number in await session.execute(counted)}


def sort_value(sort: str) -> tuple[Any, bool]:
    """The column that a list is ordered by before the id, None for none; whether the greatest come first."""
    return _VALUES[sort.removeprefix("-")], sort.startswith("-")


_VALUES: dict[str, Any] = {
    "id": None,
    "created": EpicRow.tracker_created_at,
    "updated": EpicRow.tracker_updated_at,
    # As an index has it.
    "title": func.lower(func.left(EpicRow.title, literal_column("100")), type_=Text),
}


_ESCAPE = "/"


def _part(q: str) -> str:
    """The pattern of a text that has `q` in it."""
    for special in (_ESCAPE, "%", "_"):
        q = q.replace(special, _ESCAPE + special)
    return f"%{q}%"


def _linked_to(key_results: Collection[int]) -> ColumnElement[bool]:
    return EpicRow.id.in_(select(LinkRow.epic_id).where(among(LinkRow.key_result_id, key_results)))


def _has(texts: Any, one: str) -> ColumnElement[bool]:
    """The expression of the index: both sides in lower case."""
    folded = func.northing_lower(texts, type_=ARRAY(Text))
    return folded.contains(func.northing_lower(literal([one], ARRAY(Text)), type_=ARRAY(Text)))


def _unresolved(check: str) -> Select[Any]:
    return select(FindingRow.epic_id).where(
        FindingRow.check == check, FindingRow.state != "resolved", FindingRow.epic_id.is_not(None)
    )


async def _of_driver(session: AsyncSession, driver: str, now: datetime) -> list[int]:
    known = (await load_key_results(session)).values()
    return [goal.id for goal in known if (goal.driver or "none") == driver and is_live(goal, now)]


async def _keys_of(session: AsyncSession, key: str) -> list[str]:
    """The key and, where it is or was an epic's, all keys that this epic has had, in lower case: a child that
    was not read again since its parent moved names the former one."""
    sources = await find_sources(session)
    found = await find_epics(session, {(id, key.lower()) for id, _ in sources.values()})
    former = select(EpicKeyHistoryRow.key).where(
        among(EpicKeyHistoryRow.epic_id, {epic.id for epic in found.values()})
    )
    keys = {key.lower(), *(epic.key.lower() for epic in found.values())}
    return sorted(keys.union(await session.scalars(former)))
