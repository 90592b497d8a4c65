"""The material that suggestions are made from, as one audience may read it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import (
    Select,
    and_,
    bindparam,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
)

from mappings.goals.key_results import may_name
from mappings.goals.rows import key_result_of
from mappings.suggestions.material import GoalText, LinkedEpic, TicketText
from mappings.suggestions.reasons import MOST_OF_PROJECT
from mappings.tables import (
    CycleRow,
    EpicRow,
    InstallationRow,
    KeyResultRow,
    LinkRow,
    ObjectiveRow,
    SourceProjectRow,
    SuggestionRejectionRow,
    among_ids,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.goals.key_results import KeyResult

# Of links that people made, as an index has it.
_CONFIRMED = LinkRow.origin.in_([literal_column(f"'{name}'") for name in ("manual", "command", "ticket")])
MOST_LINKED = 1_000


@dataclass(frozen=True, slots=True)
class Audience:
    """Those who read a ticket of this project of a source. `public`: everybody does."""

    source_id: int
    project: str
    public: bool


# Those behind the login, who may read everything.
EVERYTHING: Audience | None = None


@dataclass(frozen=True, slots=True)
class AskedTicket:
    """A ticket, and the key results not to suggest for it: rejected ones, and those it is linked to."""

    ticket: TicketText
    without: frozenset[int]


def cache_key(audience: Audience | None) -> Audience | None:
    """Tickets that everybody reads have one audience, whatever their project."""
    return Audience(0, "", True) if audience is not None and audience.public else audience


# Whose statements are alike: each is made once, with the source and project of an audience left open.
_Kind = Literal["everything", "public", "project"]


def _kind_of(audience: Audience | None) -> tuple[_Kind, dict[str, Any]]:
    """And what its statements leave open."""
    if audience is None:
        return "everything", {}
    if audience.public:
        return "public", {}
    return "project", {"own_source_id": audience.source_id, "own_project": audience.project}


def _readable(kind: _Kind) -> list[ColumnElement[bool]]:
    """Of links with their epic, objective and project: those that such an audience may read."""
    if kind == "everything":
        return []
    if kind == "public":
        return [SourceProjectRow.public.is_(True), ObjectiveRow.visibility == "public"]
    own = and_(EpicRow.source_id == bindparam("own_source_id"), EpicRow.project == bindparam("own_project"))
    return [
        or_(SourceProjectRow.public.is_(True), own),
        ObjectiveRow.visibility.in_(("public", "internal")),
    ]


def _newest(kind: _Kind) -> Any:
    """The newest links that people made: of each key result `MOST_OF_PROJECT`, of all `MOST_LINKED`; of those
    that this audience may read. An index has them in this order, for each key result by itself."""
    of_one = (
        select(LinkRow.id, LinkRow.epic_id, EpicRow.read_at)
        .join(EpicRow, EpicRow.id == LinkRow.epic_id)
        .outerjoin(
            SourceProjectRow,
            and_(SourceProjectRow.source_id == EpicRow.source_id, SourceProjectRow.key == EpicRow.project),
        )
        .where(LinkRow.key_result_id == KeyResultRow.id, _CONFIRMED, EpicRow.removed_at.is_(None))
        .where(*_readable(kind))
        .order_by(LinkRow.id.desc())
        .limit(MOST_OF_PROJECT)
        .correlate(KeyResultRow, ObjectiveRow)
        .lateral("of_one")
    )
    return (
        select(of_one.c.id, of_one.c.epic_id, of_one.c.read_at, KeyResultRow.id.label("key_result_id"))
        .select_from(KeyResultRow)
        .join(ObjectiveRow, ObjectiveRow.id == KeyResultRow.objective_id)
        .join(of_one, true())
        .order_by(of_one.c.id.desc())
        .limit(MOST_LINKED)
    )


async def load_version(session: AsyncSession, audience: Audience | None) -> tuple[Any, ...]:
    """Another one after each change of goals, of the newest confirmed links or of their tickets' text, and in
    another database at the same address. One statement, which reads these links alone."""
    kind, left_open = _kind_of(audience)
    return tuple((await session.execute(_version(kind), left_open)).one())


@cache
def _version(kind: _Kind) -> Select[Any]:
    newest = _newest(kind).subquery("newest")
    links = select(
        func.count().label("number"),
        func.sum(newest.c.id).label("ids"),
        func.max(newest.c.read_at).label("read"),
    ).subquery()
    installation = InstallationRow.uuid, InstallationRow.goals_version
    return select(*installation, links).join_from(InstallationRow, links, literal(True))


async def load_goal_texts(session: AsyncSession, audience: Audience | None) -> list[GoalText]:
    """The goals that this audience may name, but those that a person closed."""
    rows = await session.execute(
        select(KeyResultRow, ObjectiveRow, CycleRow.starts, CycleRow.ends)
        .join(ObjectiveRow, ObjectiveRow.id == KeyResultRow.objective_id)
        .outerjoin(CycleRow, CycleRow.id == ObjectiveRow.cycle_id)
        .order_by(KeyResultRow.id)
    )
    found = []
    for row, objective, starts, ends in rows:
        goal = key_result_of(row, objective, ends)
        if not goal.closed_by_person and _may_name(goal, audience):
            own = (row.title, row.description, row.unit, objective.title, objective.description)
            team = "\n".join(filter(None, (row.owner or objective.owner, row.category)))
            text = "\n".join(filter(None, own))
            found.append(GoalText(key_result=goal, text=text, team=team, starts=starts))
    return found


def _may_name(goal: KeyResult, audience: Audience | None) -> bool:
    return audience is None or may_name(goal, audience.public)


async def load_linked_epics(session: AsyncSession, audience: Audience | None) -> list[LinkedEpic]:
    """The newest tickets that people linked, as `_newest` has them."""
    kind, left_open = _kind_of(audience)
    newest = _newest(kind).subquery("newest")
    links = await session.execute(
        select(newest.c.epic_id, newest.c.key_result_id).order_by(newest.c.id.desc()), left_open
    )
    goals: dict[int, set[int]] = {}
    for epic_id, key_result_id in links:
        goals.setdefault(epic_id, set()).add(key_result_id)
    rows = await session.execute(_TICKETS.order_by(_EPICS.id), {"ids": list(goals)})
    return [LinkedEpic(_ticket(row, audience), tuple(sorted(goals[row.id]))) for row in rows]


async def load_asked(
    session: AsyncSession, epic_ids: Collection[int], audience: Audience | None
) -> dict[int, AskedTicket]:
    """Epics by their ids, to suggest key results for. Two statements, whatever their number."""
    ids = {"ids": list(epic_ids)}
    rows = await session.execute(_TICKETS, ids)
    without: dict[int, set[int]] = {}
    for epic_id, key_result_id in await session.execute(_LINKED_OR_REJECTED, ids):
        without.setdefault(epic_id, set()).add(key_result_id)
    return {row.id: AskedTicket(_ticket(row, audience), frozenset(without.get(row.id, ()))) for row in rows}


# These columns name no class: no object is made of a row.
_EPICS, _LINKS, _REJECTED = (table.__table__.c for table in (EpicRow, LinkRow, SuggestionRejectionRow))
_TICKETS = select(
    *(_EPICS.id, _EPICS.source_id, _EPICS.project, _EPICS.key, _EPICS.title, _EPICS.description),
    *(_EPICS.labels, _EPICS.components, _EPICS.parent_key, _EPICS.parent_title),
).where(among_ids(_EPICS.id))
_LINKED_OR_REJECTED = (
    select(_LINKS.epic_id, _LINKS.key_result_id)
    .where(among_ids(_LINKS.epic_id))
    .union(select(_REJECTED.epic_id, _REJECTED.key_result_id).where(among_ids(_REJECTED.epic_id)))
)


def _ticket(row: Any, audience: Audience | None) -> TicketText:
    return TicketText(
        id=row.id,
        source_id=row.source_id,
        project=row.project,
        key=row.key,
        title=row.title,
        lines=tuple((row.description or "").splitlines()),
        labels=tuple(row.labels),
        components=tuple(row.components),
        parent_title=_readable_parent(row, audience) or "",
    )


def _readable_parent(row: Any, audience: Audience | None) -> str | None:
    """A parent in another project may be hidden from those who read the ticket."""
    parent_title: str | None = row.parent_title
    if audience is None:
        return parent_title
    above, project = (row.parent_key or "").lower(), row.project.lower()
    same = any(above.startswith(f"{project}{mark}") for mark in ("-", "#", "/"))
    return parent_title if same else None
