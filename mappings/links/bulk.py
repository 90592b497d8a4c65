"""Many links by hand in one transaction: of a list, of a filter, of a file. A fixed number of statements."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal

import orjson
from sqlalchemy import func, or_, select, text, tuple_

from mappings.audit import Change, record_changes
from mappings.copying import copy_rows
from mappings.links.operations import link_errors
from mappings.locks import lock_epics, lock_goals_exclusive, share_source
from mappings.lookups import (
    FoundEpic,
    find_epics,
    find_key_results,
    find_sources,
    no_epic,
    no_key_result,
    no_source,
    why_removed,
)
from mappings.parents import ChangedParent
from mappings.runs.reevaluation import open_evaluations, reevaluate_below, reevaluate_links
from mappings.tables import MANUAL_ORIGINS, EpicRow, KeyResultRow, LinkRow, SourceRow, among

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

# More than these are evaluated after the answer.
EVALUATED_AT_ONCE = 50
Outcome = Literal["created", "changed", "exists", "error"]
SourceAndKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class LinkRequest:
    """The epic of this source and key, present or former, is to be linked to the key result of this key, each
    in any case. None for `weight` and `primary`: 1 and not primary in a new link, as it is in one that
    stands."""

    source: str
    epic: str
    key_result: str
    weight: float | None = None
    primary: bool | None = None


@dataclass(frozen=True, slots=True)
class LinkOutcome:
    """What a request does. `field` is what is wrong in an error, as `link_epic` names it; `epic` is the
    source's name and the epic's present key, and `key_result` its present key, where they are found."""

    outcome: Outcome
    field: str | None
    message: str
    epic: SourceAndKey | None
    key_result: str | None


async def link_many(
    session: AsyncSession,
    requests: Sequence[LinkRequest],
    why: str,
    now: datetime,
    *,
    dry_run: bool,
    change_existing: bool = False,
) -> tuple[list[LinkOutcome], list[int]]:
    """Make the links that are not wrong and not there; the outcomes, in the order of the requests, and the
    ids of the runs that evaluate their epics, which `pipeline.evaluate_at_once` takes after the commit.

    An error does not stop the other requests: a caller that wants all or nothing rolls back. A link that a
    person made stays as it is; with `change_existing` one made through the API gets the weight asked for, and
    is made primary or not. `dry_run` changes and locks nothing.
    """
    if not dry_run:
        await lock_goals_exclusive(session)
    errors = [_error(request) for request in requests]
    valid = [request for request, error in zip(requests, errors, strict=True) if error is None]
    plan = await _plan(session, valid, change_existing=change_existing)
    outcomes = [
        plan.add(request) if error is None else LinkOutcome("error", *error, None, None)
        for request, error in zip(requests, errors, strict=True)
    ]
    if dry_run or not (plan.new or plan.changed):
        return outcomes, []
    return outcomes, await _write(session, plan, why, now)


async def ids_of_created(session: AsyncSession, outcomes: Sequence[LinkOutcome]) -> list[int]:
    """The ids of the links that these outcomes created, in the transaction that did."""
    named = [
        (*one.epic, one.key_result)
        for one in outcomes
        if one.outcome == "created" and one.epic is not None and one.key_result is not None
    ]
    made = (
        select(LinkRow.id)
        .join(EpicRow, EpicRow.id == LinkRow.epic_id)
        .join(SourceRow, SourceRow.id == EpicRow.source_id)
        .join(KeyResultRow, KeyResultRow.id == LinkRow.key_result_id)
        .where(LinkRow.origin == "manual", EpicRow.removed_at.is_(None))
        .where(tuple_(SourceRow.name, EpicRow.key, KeyResultRow.key).in_(named))
    )
    return list(await session.scalars(made.order_by(LinkRow.id))) if named else []


def _error(request: LinkRequest) -> tuple[str, str] | None:
    """The first field whose value cannot be right, and why."""
    for name, error in link_errors(request.source, request.epic, request.key_result, request.weight):
        if error is not None:
            return name, error
    return None


# --- what is to be done: no database ---------------------------------------------------------------


@dataclass(slots=True)
class _Link:
    """A link that stands, and the columns that are to be changed. `goal` is the key result's key."""

    id: int
    epic_id: int
    key_result_id: int
    goal: str
    origin: str
    weight: float
    is_primary: bool
    asked: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Plan:
    """`found` as the rows were read; `new` and `changed` are what the requests added so far come to."""

    change_existing: bool
    sources: dict[str, tuple[int, str]]
    epics: dict[tuple[int, str], FoundEpic]
    key_results: dict[str, tuple[int, str]]
    links: dict[tuple[int, int], _Link]
    primary: dict[int, _Link]
    new: dict[tuple[int, int], LinkRequest] = field(default_factory=dict)
    changed: dict[int, _Link] = field(default_factory=dict)
    _seen: set[tuple[int, int]] = field(default_factory=set)
    _made_primary: set[int] = field(default_factory=set)

    def add(self, request: LinkRequest) -> LinkOutcome:
        source = self.sources.get(request.source.lower())
        if source is None:
            return LinkOutcome("error", "epic.source", no_source(request.source), None, None)
        epic = self.epics.get((source[0], request.epic.lower()))
        if epic is None:
            return LinkOutcome("error", "epic.key", no_epic(source[1], request.epic), None, None)
        name = source[1], epic.key
        if epic.removed_at is not None:
            why = why_removed(epic.key, epic.removed_at, epic.removal_reason)
            return LinkOutcome("error", "epic.key", why, name, None)
        goal = self.key_results.get(request.key_result.lower())
        if goal is None:
            return LinkOutcome("error", "key_result", no_key_result(request.key_result), name, None)
        outcome, wrong_field, message = self._add(request, epic.id, goal[0])
        return LinkOutcome(outcome, wrong_field, message, name, goal[1])

    def _add(self, request: LinkRequest, epic: int, goal: int) -> tuple[Outcome, str | None, str]:
        pair = epic, goal
        if pair in self._seen:
            return "exists", None, "the same link was asked for before, in the same call"
        if request.primary:
            if epic in self._made_primary:
                return "error", "primary", "another link was made the epic's primary one in the same call"
            self._made_primary.add(epic)
        self._seen.add(pair)
        link = self.links.get(pair)
        if link is None:
            self.new[pair] = request
            if request.primary:
                self._take_primary(epic)
            return "created", None, "is a new link"
        if self.change_existing and link.origin == "manual":
            asked = {"weight": request.weight, "is_primary": request.primary}
            differ = {
                name: value
                for name, value in asked.items()
                if value is not None and value != getattr(link, name)
            }
            if differ:
                if differ.get("is_primary"):
                    self._take_primary(epic)
                self._change(link, differ)
                return "changed", None, f"changes {' and '.join(map(_public, differ))}"
        return "exists", None, f"is linked already, {_ORIGINS[link.origin]}"

    def _take_primary(self, epic: int) -> None:
        """The link that was the epic's primary one is so no more, for the request asks for another."""
        before = self.primary.get(epic)
        if before is not None:
            self._change(before, {"is_primary": False})

    def _change(self, link: _Link, asked: dict[str, Any]) -> None:
        link.asked |= asked
        self.changed[link.id] = link


_ORIGINS = {"manual": "by hand", "command": "by a command on the ticket"}


def _public(column: str) -> str:
    return column.removeprefix("is_")


# --- reading -----------------------------------------------------------------------------------------


async def _plan(session: AsyncSession, valid: Sequence[LinkRequest], *, change_existing: bool) -> _Plan:
    sources = await find_sources(session)
    keys = {
        (sources[request.source.lower()][0], request.epic.lower())
        for request in valid
        if request.source.lower() in sources
    }
    epics = await find_epics(session, keys)
    links = await _links(session, {epic.id for epic in epics.values()})
    by_hand: dict[tuple[int, int], _Link] = {}
    for link in links:
        if link.origin in MANUAL_ORIGINS:
            by_hand.setdefault((link.epic_id, link.key_result_id), link)
    return _Plan(
        change_existing=change_existing,
        sources=sources,
        epics=epics,
        key_results=await find_key_results(session, {request.key_result for request in valid}),
        links=by_hand,
        primary={link.epic_id: link for link in links if link.is_primary},
    )


async def _links(session: AsyncSession, epic_ids: Collection[int]) -> list[_Link]:
    rows = await session.execute(
        select(
            LinkRow.id,
            LinkRow.epic_id,
            LinkRow.key_result_id,
            KeyResultRow.key,
            LinkRow.origin,
            LinkRow.weight,
            LinkRow.is_primary,
        )
        .join(KeyResultRow, KeyResultRow.id == LinkRow.key_result_id)
        .where(among(LinkRow.epic_id, epic_ids))
        .where(or_(LinkRow.origin.in_(MANUAL_ORIGINS), LinkRow.is_primary))
        .order_by(LinkRow.id)
    )
    return [_Link(*row) for row in rows]


# --- writing -----------------------------------------------------------------------------------------


_LAST_ID = select(func.max(LinkRow.id))
# Two statements, for an epic has only one primary link at any moment.
_NO_LONGER_PRIMARY = text("UPDATE links SET is_primary = false WHERE id = ANY(CAST(:ids AS bigint[]))")
_CHANGE = text("""
    UPDATE links SET weight = coalesce(new.weight, links.weight),
        is_primary = coalesce(new.is_primary, links.is_primary)
    FROM json_to_recordset(CAST(:rows AS json)) AS new (id bigint, weight float8, is_primary boolean)
    WHERE links.id = new.id
""")


async def _write(session: AsyncSession, plan: _Plan, why: str, now: datetime) -> list[int]:
    touched = {epic for epic, _ in plan.new} | {link.epic_id for link in plan.changed.values()}
    epics = {epic.id: epic for epic in plan.epics.values() if epic.id in touched}
    await share_source(session, *{epic.source_id for epic in epics.values()})
    few = len(epics) <= EVALUATED_AT_ONCE
    if few:
        await lock_epics(session, list(epics))
    sources = dict(plan.sources.values())
    names = {epic.id: f"{sources[epic.source_id]}/{epic.key}" for epic in epics.values()}
    await _change(session, plan.changed.values(), names)
    link_ids = [*plan.changed, *await _insert(session, plan, names, why, now)]
    if few:
        runs = await open_evaluations(session, epics.values(), now)
    else:
        runs = await reevaluate_links(session, link_ids, {epic.source_id for epic in epics.values()}, now)
    changed = [ChangedParent(epic.id, epic.key) for epic in epics.values()]
    below = await reevaluate_below(session, changed, list(epics), now)
    return list(dict.fromkeys([*runs, *below]))


async def _change(session: AsyncSession, links: Collection[_Link], names: dict[int, str]) -> None:
    """`names` are those of the epics, by id, as the audit log has them."""
    if not links:
        return
    freed = [link.id for link in links if link.asked.get("is_primary") is False]
    if freed:
        await session.execute(_NO_LONGER_PRIMARY, {"ids": freed})
    rows = [{"id": link.id, **link.asked} for link in links if link.asked != {"is_primary": False}]
    if rows:
        await session.execute(_CHANGE, {"rows": orjson.dumps(rows).decode()})
    changes = (
        Change(
            {"epic": names[link.epic_id], "key_result": link.goal},
            {name: getattr(link, name) for name in link.asked},
            link.asked,
        )
        for link in links
    )
    await record_changes(session, "changed", LinkRow, changes)


async def _insert(
    session: AsyncSession, plan: _Plan, names: dict[int, str], why: str, now: datetime
) -> Sequence[int]:
    """The ids of the new links: nobody else makes links while the goals are locked."""
    if not plan.new:
        return []
    goals = dict(plan.key_results.values())
    last = await session.scalar(_LAST_ID) or 0
    columns = "epic_id", "key_result_id", "origin", "weight", "is_primary", "why", "created_at"
    # In the order of the epics, whose rows the foreign key locks.
    new = sorted(plan.new.items(), key=itemgetter(0))
    rows = ((*pair, "manual", *_values(request), why, now) for pair, request in new)
    await copy_rows(session, LinkRow, columns, rows)
    await record_changes(
        session,
        "created",
        LinkRow,
        (_created(names[epic], goals[goal], request) for (epic, goal), request in plan.new.items()),
    )
    return range(last + 1, (await session.scalar(_LAST_ID) or 0) + 1)


def _values(request: LinkRequest) -> tuple[float, bool]:
    return 1.0 if request.weight is None else float(request.weight), bool(request.primary)


def _created(epic: str, goal: str, request: LinkRequest) -> Change:
    weight, is_primary = _values(request)
    values = {
        "epic": epic,
        "key_result": goal,
        "origin": "manual",
        "weight": weight,
        "is_primary": is_primary,
    }
    return Change(values, None, values)
