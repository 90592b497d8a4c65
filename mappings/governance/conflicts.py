"""Conflicts: a technical constraint against a business demand, and who each is with until it is decided.

One on an epic that is removed from the lists is in no list of open ones, for nobody can decide it there; it
comes back with the epic, its days counted on. `mappings.governance.decisions` ends one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import aliased

from mappings.audit import actor_of
from mappings.errors import Conflict, Invalid, NotFound, check_values, check_version
from mappings.governance.escalation import ladder_of, position_on
from mappings.locks import lock_goals_shared, share_source
from mappings.lookups import epic_in, find_goal, no_source
from mappings.policy.names import former_names
from mappings.tables import (
    ConflictRow,
    DecisionRow,
    EpicRow,
    KeyResultRow,
    LinkRow,
    ObjectiveRow,
    SourceRow,
    among_ids,
)
from mappings.values import is_blank, text_error

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.governance.escalation import Ladder, LadderPosition
    from mappings.policy.document import EscalatedTo, Policy
    from mappings.values import FieldErrors

CONFLICT_TEXT_AT_MOST = 2_000  # characters of each of the two texts
OPEN_ON_ONE_AT_MOST, OPEN_AT_MOST = 20, 1_000  # all open ones are read to say who each is with
ConflictState = Literal["open", "decided"]


# --- what a person may do ----------------------------------------------------------------------


async def raise_conflict(
    session: AsyncSession,
    now: datetime,
    *,
    epic: tuple[str, str] | None = None,
    goal: str | None = None,
    technical: str,
    business: str,
) -> ConflictRow:
    """On an epic (its source's name and key), or on the objective or key result with the key `goal`.

    `technical`: the constraint; `business`: the demand. Raises `Invalid`, and `Conflict` where as many are
    open already as may be.
    """
    check_values(text_errors(technical, business))
    if (epic is None) == (goal is None):
        raise Invalid("epic", "give either the epic or the goal that it is about")
    if epic is None:
        await lock_goals_shared(session)  # so that the goal is not deleted meanwhile
        about = await _goal(session, goal)
    else:
        source, found = await epic_in(session, *epic, "epic")
        if not await share_source(session, source.id):
            raise Invalid("epic.source", no_source(epic[0]))
        about = {"epic_id": found.id}
    await _check_number(session, about)
    row = ConflictRow(
        **about,
        technical=technical.strip(),
        business=business.strip(),
        raised_by=actor_of(session),
        raised_at=now,
        version=1,
    )
    session.add(row)
    await session.flush()
    return row


async def _check_number(session: AsyncSession, about: dict[str, int]) -> None:
    ((column, id),) = about.items()
    on_it = func.count().filter(getattr(ConflictRow, column) == id)
    counted = select(func.count(), on_it).where(ConflictRow.decided_at.is_(None))
    everywhere, here = (await session.execute(counted)).one()
    if here >= OPEN_ON_ONE_AT_MOST or everywhere >= OPEN_AT_MOST:
        number, where = (here, "on this") if here >= OPEN_ON_ONE_AT_MOST else (everywhere, "in all")
        raise Conflict(f"{number} conflicts are open {where}. Decide or withdraw one of them first.")


async def _goal(session: AsyncSession, key: str | None) -> dict[str, int]:
    key_result = await find_goal(session, KeyResultRow, key or "")
    objective = await find_goal(session, ObjectiveRow, key or "")
    if key_result is not None and objective is not None:
        raise Invalid(
            "goal",
            f"{objective.key} is the key of an objective and of a key result; give one of them another",
        )
    if key_result is not None:
        return {"key_result_id": key_result.id}
    if objective is not None:
        return {"objective_id": objective.id}
    raise Invalid("goal", f"there is no objective and no key result {key!r}")


def text_errors(technical: str | None, business: str | None) -> FieldErrors:
    """Of the two texts; None: left out."""
    return [
        (
            name,
            "must not be empty"
            if text is not None and is_blank(text)
            else text_error(text, CONFLICT_TEXT_AT_MOST),
        )
        for name, text in (("technical", technical), ("business", business))
    ]


async def change_conflict(
    session: AsyncSession,
    id: int,
    *,
    technical: str | None = None,
    business: str | None = None,
    versions: Collection[int] | None = None,
) -> ConflictRow:
    """None leaves a text as it is. `versions`: those that the caller may have read, None for any.

    Raises `NotFound`, `StaleVersion`, `Conflict` once it is decided, and `Invalid`.
    """
    check_values(text_errors(technical, business))
    row = await locked_conflict(session, id)
    check_version(row.version, versions)
    if row.decided_at is not None:
        raise Conflict("This conflict is decided, and stays as it was; raise another one.")
    texts = {"technical": technical, "business": business}
    changed = {
        name: text.strip()
        for name, text in texts.items()
        if text is not None and text.strip() != getattr(row, name)
    }
    for name, text in changed.items():
        setattr(row, name, text)
    if changed:
        row.version += 1
    await session.flush()
    return row


async def withdraw_conflict(
    session: AsyncSession, id: int, *, versions: Collection[int] | None = None
) -> None:
    """It was raised by mistake. Raises `NotFound`, `StaleVersion`, and `Conflict` where a decision was
    recorded on it, one that was undone too."""
    row = await locked_conflict(session, id)
    check_version(row.version, versions)
    recorded = await session.scalar(select(DecisionRow.id).where(DecisionRow.conflict_id == id).limit(1))
    if row.decided_at is not None or recorded is not None:
        raise Conflict(
            "A decision was recorded on this conflict, so it stays; change its texts, or decide it."
        )
    await session.delete(row)
    await session.flush()


async def locked_conflict(session: AsyncSession, id: int) -> ConflictRow:
    """The conflict as it is under its lock. Raises `NotFound`."""
    query = select(ConflictRow).where(ConflictRow.id == id).with_for_update()
    row = (await session.scalars(query.execution_options(populate_existing=True))).one_or_none()
    if row is None:
        raise NotFound.of("conflict", id)
    return row


# --- what is shown -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ConflictAbout:
    """What a conflict is on. Of an epic `source`, `key`, `title`, `url` and its `project`; of a goal `key`
    and `title` alone. `owner` and `sponsor`: of the goal, or of the goal that the epic's primary link is to;
    None where none is known. `removed`: the epic is in no list now."""

    kind: Literal["epic", "objective", "key_result"]
    id: int
    key: str
    title: str
    source: str | None = None
    project: str | None = None
    url: str | None = None
    owner: str | None = None
    sponsor: str | None = None
    removed: bool = False


@dataclass(frozen=True, slots=True)
class ConflictShown:
    """A conflict with what it is on and who it is with; `decision` ended it. `position` of a decided one: as
    it was then, with nothing next."""

    row: ConflictRow
    about: ConflictAbout
    position: LadderPosition
    decision: DecisionRow | None

    def name_of(self, step: EscalatedTo | None) -> str | None:
        """Who that is, as far as goals say it."""
        return {"owner": self.about.owner, "sponsor": self.about.sponsor}.get(step or "")

    @property
    def who(self) -> str | None:
        return self.name_of(self.position.step)


_LINKED = (
    select(LinkRow.key_result_id)
    .where(LinkRow.epic_id == EpicRow.id)
    .order_by(LinkRow.is_primary.desc(), LinkRow.id)
    .limit(1)
    .correlate(EpicRow)
    .scalar_subquery()
)
_OWN_OBJECTIVE = aliased(ObjectiveRow)


def _selected() -> Any:
    """Each conflict with its epic and source, the key result of either, that one's objective or its own, and
    its decision."""
    selected: Any = (
        select(ConflictRow, EpicRow, SourceRow, KeyResultRow, ObjectiveRow, _OWN_OBJECTIVE, DecisionRow)
        .select_from(ConflictRow)
        .outerjoin(EpicRow, EpicRow.id == ConflictRow.epic_id)
        .outerjoin(SourceRow, SourceRow.id == EpicRow.source_id)
        .outerjoin(KeyResultRow, KeyResultRow.id == func.coalesce(ConflictRow.key_result_id, _LINKED))
        .outerjoin(ObjectiveRow, ObjectiveRow.id == KeyResultRow.objective_id)
        .outerjoin(_OWN_OBJECTIVE, _OWN_OBJECTIVE.id == ConflictRow.objective_id)
        .outerjoin(DecisionRow, DecisionRow.id == ConflictRow.decision_id)
    )
    return selected


def _about(
    epic: EpicRow | None,
    source: SourceRow | None,
    key_result: KeyResultRow | None,
    objective: ObjectiveRow | None,
    own: ObjectiveRow | None,
) -> ConflictAbout:
    if own is not None:
        return ConflictAbout("objective", own.id, own.key, own.title, owner=own.owner, sponsor=own.sponsor)
    above = objective.owner if objective is not None else None
    owner = (key_result.owner if key_result is not None else None) or above
    sponsor = objective.sponsor if objective is not None else None
    if epic is not None:
        assert source is not None
        return ConflictAbout(
            "epic",
            epic.id,
            epic.key,
            epic.title,
            source=source.name,
            project=epic.project,
            url=epic.url,
            owner=owner,
            sponsor=sponsor,
            removed=epic.removed_at is not None,
        )
    assert key_result is not None
    return ConflictAbout(
        "key_result", key_result.id, key_result.key, key_result.title, owner=owner, sponsor=sponsor
    )


class _Ladders:
    """The ladder of each project, worked out once."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._known: dict[tuple[str, str], Ladder] = {}

    def of(self, source: SourceRow | None, project: str) -> Ladder:
        name = "" if source is None else source.name
        if (name, project) not in self._known:
            former = () if source is None else former_names(source.named_projects, project)
            self._known[name, project] = ladder_of(self._policy, name, project, former)
        return self._known[name, project]


def _shown(row: Any, ladders: _Ladders, now: datetime) -> ConflictShown:
    conflict, epic, source, *goals, decision = row
    about = _about(epic, source, *goals)
    ladder = ladders.of(source, about.project or "")
    position = position_on(ladder, conflict.raised_at, conflict.decided_at or now)
    if conflict.decided_at is not None:
        position = type(position)(position.step, position.since, None, None)
    return ConflictShown(conflict, about, position, decision)


async def load_conflicts(
    session: AsyncSession,
    policy: Policy,
    now: datetime,
    *,
    state: ConflictState | None = None,
    epic_id: int | None = None,
    goal: tuple[str, int] | None = None,
    step: EscalatedTo | None = None,
    ids: Sequence[int] | None = None,
    newest: int | None = None,
) -> list[ConflictShown]:
    """Those that all that is given lets through, the oldest first; `goal`: `key_result` or `objective`, and
    its id. `ids` leaves those of a page, `newest` so many that were raised last.

    With `ids` neither `state`, `epic_id` nor `goal` is looked at; without them those that are open on a
    removed epic are left out.
    """
    if ids is not None:
        query, parameters = _newest_of_ids(), {"ids": list(ids)}
    else:
        query, parameters = _newest_first().where(*_which(state, epic_id, goal)), {}
    if newest is not None:
        query = query.limit(newest)
    ladders = _Ladders(policy)
    rows = (await session.execute(query, parameters)).all()
    found = [_shown(row, ladders, now) for row in reversed(rows)]
    return [one for one in found if step is None or one.position.step == step]


def _newest_first() -> Any:
    query = _selected().execution_options(populate_existing=True)
    return query.order_by(ConflictRow.raised_at.desc(), ConflictRow.id.desc())


@cache
def _newest_of_ids() -> Any:
    return _newest_first().where(among_ids(ConflictRow.id))


def _which(
    state: ConflictState | None, epic_id: int | None, goal: tuple[str, int] | None
) -> list[ColumnElement[bool]]:
    """The conditions on conflicts, each with its epic."""
    is_open = ConflictRow.decided_at.is_(None)
    found: list[ColumnElement[bool]] = [or_(EpicRow.removed_at.is_(None), ~is_open)]
    if state is not None:
        found.append(is_open if state == "open" else ~is_open)
    if epic_id is not None:
        found.append(ConflictRow.epic_id == epic_id)
    if goal is not None:
        column = ConflictRow.key_result_id if goal[0] == "key_result" else ConflictRow.objective_id
        found.append(column == goal[1])
    return found


@lru_cache(maxsize=100)
def conflict_ids(
    *,
    state: ConflictState | None = None,
    source_id: int | None = None,
    epic_id: int | None = None,
    goal: tuple[str, int] | None = None,
) -> Select[Any]:
    """The ids of those that `load_conflicts` finds, for a page of them; `source_id`: on its epics."""
    query = select(ConflictRow.id).outerjoin(EpicRow, EpicRow.id == ConflictRow.epic_id)
    query = query.where(*_which(state, epic_id, goal))
    return query if source_id is None else query.where(EpicRow.source_id == source_id)


async def count_decided(session: AsyncSession) -> int:
    decided = select(func.count()).select_from(ConflictRow).where(ConflictRow.decided_at.is_not(None))
    return await session.scalar(decided) or 0


async def load_open_conflicts(session: AsyncSession, policy: Policy, now: datetime) -> list[ConflictShown]:
    """Those to be decided, the oldest first."""
    return await load_conflicts(session, policy, now, state="open")


async def load_conflict(session: AsyncSession, policy: Policy, id: int, now: datetime) -> ConflictShown:
    """Raises `NotFound`."""
    found = await load_conflicts(session, policy, now, ids=[id])
    if not found:
        raise NotFound.of("conflict", id)
    return found[0]


async def goal_of_key(session: AsyncSession, key: str, field: str) -> tuple[str, int]:
    """`key_result` or `objective`, and the id. Raises `Invalid` on `field` where there is no such goal."""
    try:
        ((column, id),) = (await _goal(session, key)).items()
    except Invalid as error:
        raise Invalid(field, error.errors[0][1]) from None
    return column.removesuffix("_id"), id
