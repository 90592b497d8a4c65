"""What a committee decides about an epic, or about the goal of a conflict: recorded, done, and undone.

Both happen in one transaction under the goals' exclusive lock. The caller has the epics evaluated before it
answers (`pipeline.evaluate_at_once` takes the runs).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, get_args

from sqlalchemy import select

from mappings.audit import actor_of
from mappings.errors import Conflict, Invalid, NotFound, check_values
from mappings.evaluation.operations import reason_error
from mappings.governance.conflicts import locked_conflict
from mappings.governance.effects import (
    Applied,
    apply_to_epic,
    apply_to_goal,
    bearing_findings,
    take_back_from_epic,
    take_back_from_goal,
)
from mappings.governance.stages import by_error, live_key_result_in, measure_in
from mappings.governance.values import (
    DecisionKind,
    Person,
    people_as_json,
    people_errors,
    people_from_json,
)
from mappings.links.operations import EPIC_KEY_AT_MOST
from mappings.locks import lock_epics_and_sources, lock_goals_exclusive
from mappings.lookups import epic_in, why_removed
from mappings.runs.reevaluation import open_evaluation
from mappings.tables import (
    ConflictRow,
    DecisionRow,
    EpicRow,
    KeyResultRow,
    ObjectiveRow,
    ReviewItemRow,
    ReviewRow,
    SourceRow,
)
from mappings.values import key_error, one_of_error, text_error

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.tables import FindingRow
    from mappings.values import FieldErrors

ON_GOALS: tuple[DecisionKind, ...] = ("keep", "stop")
Goal = ObjectiveRow | KeyResultRow


@dataclass(frozen=True, slots=True)
class Recorded:
    """The decision, and the ids of the runs that evaluate what it bears on. `says`: what it changed, in
    sentences; of one that is undone, what stays because a person changed it since."""

    row: DecisionRow
    runs: list[int]
    says: list[str]


async def record_decision(
    session: AsyncSession,
    now: datetime,
    *,
    decision: str,
    epic: tuple[str, str] | None,
    goal: str | None = None,
    key_result: str | None = None,
    measure: str | None = None,
    by: date | None = None,
    reason: str,
    decided_by: Sequence[Person],
    review_id: int | None = None,
    item_id: int | None = None,
    conflict_id: int | None = None,
) -> Recorded:
    """Record what was decided, and do it at once. `epic` is a source and a key; `goal`, in its place, the key
    of the goal that the conflict `conflict_id` is on; of a conflict both may be left out. `key_result`, of a
    remap, and `measure`, of a pilot, are keys of key results. `by`: the last day that it holds, or that
    it is looked at again, inclusive, UTC.

    Raises `NotFound` for the review or the conflict, `Conflict` where the review is closed, the conflict
    decided or a gate of the stages closed, and `Invalid`.
    """
    about_conflict = conflict_id is not None
    check_values(
        [
            *_errors(decision, key_result, measure, by, reason, decided_by, now),
            *_about_errors(decision, epic, goal, about_conflict=about_conflict),
        ]
    )
    await lock_goals_exclusive(session)
    about_it = await _about(session, epic, goal, conflict_id)
    if about_it.goal is not None and decision not in ON_GOALS:
        raise Invalid("decision", f"of a goal must be one of {', '.join(ON_GOALS)}")
    findings = await _lock_epic(session, about_it.epic)
    target = await _target(session, decision, key_result, measure, now)
    review = None if review_id is None else await _open_review(session, review_id, decided_by)
    item = None if item_id is None else await _item(session, review, item_id, about_it)
    conflict = None if about_it.conflict_id is None else await _open_conflict(session, about_it.conflict_id)
    row = DecisionRow(
        review_id=review_id,
        item_id=item_id,
        conflict_id=conflict_id,
        **about_it.columns,
        decision=decision,
        key_result_id=target.id if target is not None and decision == "remap" else None,
        measure_id=target.id if target is not None and decision == "pilot" else None,
        by_date=by,
        reason=reason.strip(),
        decided_by=people_as_json(decided_by),
        recorded_by=actor_of(session),
        decided_at=now,
        effects={},
    )
    session.add(row)
    await session.flush()
    if about_it.epic is not None:
        done = await apply_to_epic(session, row, about_it.epic, findings, target, now)
    else:
        assert about_it.goal is not None
        done = await apply_to_goal(session, decision, about_it.goal, now)
    if item is not None:
        done.effects["item"] = _end_item(session, item, now)
    if conflict is not None:
        conflict.decided_at, conflict.decision_id = now, row.id
        conflict.version += 1
    row.effects = done.effects
    await session.flush()
    return Recorded(row, await _runs(session, about_it.epic, done, now), done.says)


def _errors(
    decision: str,
    key_result: str | None,
    measure: str | None,
    by: date | None,
    reason: str,
    decided_by: Sequence[Person],
    now: datetime,
) -> FieldErrors:
    """What is wrong with the values, each for itself and by the kind of decision."""
    needs_day = {
        "defer": "until which day is it put off",
        "pilot": "on which day is it decided whether it scales",
    }
    by_wrong = by_error(by, now)
    if by is None and decision in needs_day:
        by_wrong = f"is needed to {decision}: {needs_day[decision]}?"
    return [
        ("decision", one_of_error(decision, get_args(DecisionKind))),
        ("key_result", _only_of(decision, "remap", key_result, "which key result it serves from now on")),
        ("measure", _only_of(decision, "pilot", measure, "which key result tells whether it works")),
        ("by", by_wrong),
        ("reason", reason_error(reason)),
        ("decided_by", None if decided_by else "names nobody; at least one person decides"),
        *people_errors("decided_by", decided_by),
    ]


def _only_of(decision: str, kind: str, key: str | None, question: str) -> str | None:
    if decision != kind:
        return None if key is None else f"belongs to `{kind}`; leave it out"
    return f"is needed to {kind}: {question}" if key is None else key_error(key)


def _about_errors(
    decision: str, epic: tuple[str, str] | None, goal: str | None, *, about_conflict: bool
) -> FieldErrors:
    if epic is not None and goal is not None:
        return [("goal", "cannot be sent with epic; a decision is about one of the two")]
    if goal is not None and not about_conflict:
        return [("goal", "is only decided about for a conflict; name the conflict, or an epic")]
    if epic is None and goal is None and not about_conflict:
        return [("epic", "is needed: its source and key")]
    if epic is not None:
        return [("epic.source", key_error(epic[0])), ("epic.key", text_error(epic[1], EPIC_KEY_AT_MOST))]
    return [("goal", key_error(goal))]


# --- what it is about -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _About:
    source: str | None = None
    epic: EpicRow | None = None
    goal: Goal | None = None
    conflict_id: int | None = None

    @property
    def columns(self) -> dict[str, Any]:
        if self.epic is not None:
            names = {"epic_source": self.source, "epic_key": self.epic.key, "epic_title": self.epic.title}
            return {"epic_id": self.epic.id, **names}
        assert self.goal is not None
        kind = "key_result" if isinstance(self.goal, KeyResultRow) else "objective"
        return {f"about_{kind}_id": self.goal.id}


async def _about(
    session: AsyncSession, epic: tuple[str, str] | None, goal: str | None, conflict_id: int | None
) -> _About:
    if conflict_id is None:
        assert epic is not None
        source, row = await epic_in(session, *epic, "epic")
        return _About(source.name, row)
    conflict = await session.get(ConflictRow, conflict_id)
    if conflict is None:
        raise NotFound.of("conflict", conflict_id)
    if conflict.epic_id is not None:
        return await _epic_of_conflict(session, conflict.epic_id, epic, goal, conflict_id)
    if conflict.key_result_id is not None:
        held: Goal = await session.get_one(KeyResultRow, conflict.key_result_id, populate_existing=True)
    else:
        held = await session.get_one(ObjectiveRow, conflict.objective_id, populate_existing=True)
    if epic is not None or (goal is not None and goal.lower() != held.key.lower()):
        field = "epic" if epic is not None else "goal"
        raise Invalid(field, f"is not what conflict {conflict_id} is on: that is {held.key}")
    return _About(goal=held, conflict_id=conflict_id)


async def _epic_of_conflict(
    session: AsyncSession, epic_id: int, epic: tuple[str, str] | None, goal: str | None, conflict_id: int
) -> _About:
    row = await session.get_one(EpicRow, epic_id, populate_existing=True)
    name = await _source_name(session, row)
    if goal is not None or (epic is not None and (await epic_in(session, *epic, "epic"))[1].id != row.id):
        field = "goal" if goal is not None else "epic"
        raise Invalid(field, f"is not what conflict {conflict_id} is on: that is {row.key} in {name}")
    if row.removed_at is not None:
        raise Invalid("epic.key", why_removed(row.key, row.removed_at, row.removal_reason))
    return _About(name, row, conflict_id=conflict_id)


async def _source_name(session: AsyncSession, row: EpicRow) -> str:
    return (await session.get_one(SourceRow, row.source_id)).name


async def _lock_epic(session: AsyncSession, epic: EpicRow | None) -> list[FindingRow]:
    """Lock the epic with its source, then its findings, which are given back."""
    if epic is None:
        return []
    held = await lock_epics_and_sources(session, [epic.id])
    if not held:
        raise NotFound(f"{epic.key} was deleted with its source.")
    return await bearing_findings(session, epic.id)


async def _target(
    session: AsyncSession, decision: str, key_result: str | None, measure: str | None, now: datetime
) -> KeyResultRow | None:
    if key_result is not None:
        return await live_key_result_in(session, key_result, "key_result", now)
    return None if measure is None else await measure_in(session, measure, "measure", now)


async def _open_review(session: AsyncSession, review_id: int, decided_by: Sequence[Person]) -> ReviewRow:
    query = select(ReviewRow).where(ReviewRow.id == review_id).with_for_update(read=True)
    row = (await session.scalars(query.execution_options(populate_existing=True))).one_or_none()
    if row is None:
        raise NotFound.of("review", review_id)
    if row.state == "closed":
        raise Conflict(
            "The review is closed and takes no new decision. Decide in the next one, or on a conflict outside"
            " of it."
        )
    sides = {one.name.casefold(): one.side for one in people_from_json(row.attendees)}
    check_values(
        (f"decided_by.{number}.name", _attendee_error(person, sides.get(person.name.casefold())))
        for number, person in enumerate(decided_by)
    )
    return row


def _attendee_error(person: Person, side: str | None) -> str | None:
    if side is None:
        return f"{person.name} is no attendee of the review; add the attendee first, then decide"
    return None if side == person.side else f"{person.name} came to the review from {side}, not {person.side}"


async def _item(
    session: AsyncSession, review: ReviewRow | None, item_id: int, about_it: _About
) -> ReviewItemRow:
    query = select(ReviewItemRow).where(ReviewItemRow.id == item_id).with_for_update()
    row = (await session.scalars(query.execution_options(populate_existing=True))).one_or_none()
    if review is None or row is None or row.review_id != review.id:
        raise Invalid("item", f"is no item of this review's agenda: {item_id}")
    if row.epic_id is not None and (about_it.epic is None or about_it.epic.id != row.epic_id):
        raise Invalid("item", f"is about another epic: {row.title}")
    return row


def _end_item(session: AsyncSession, item: ReviewItemRow, now: datetime) -> dict[str, Any]:
    """Mark the item as done; what it was before, as JSON."""
    at = item.changed_at
    before = {"state": item.state, "by": item.changed_by, "at": None if at is None else at.isoformat()}
    item.state, item.changed_by, item.changed_at = "done", actor_of(session), now
    return before


async def _open_conflict(session: AsyncSession, conflict_id: int) -> ConflictRow:
    row = await locked_conflict(session, conflict_id)
    if row.decided_at is not None:
        raise Conflict(
            f"Conflict {conflict_id} was ended by decision {row.decision_id}. Undo that to decide anew."
        )
    return row


async def _runs(session: AsyncSession, epic: EpicRow | None, done: Applied, now: datetime) -> list[int]:
    if epic is None:
        return done.runs
    changed = await open_evaluation(session, epic, now, links=done.links_changed)
    return [changed.run_id, *changed.below]


# --- undone -----------------------------------------------------------------------------------


async def undo_decision(session: AsyncSession, decision_id: int, now: datetime) -> Recorded:
    """Make everything as it was before the decision, also in a review that is closed.

    Raises `NotFound`, and `Conflict` where it was undone, a newer decision on the same epic or goal stands,
    the epic is gone, or a person changed since what it would change back: it says what, and what to do.
    """
    await lock_goals_exclusive(session)
    row = await session.get(DecisionRow, decision_id, populate_existing=True)
    if row is None:
        raise NotFound.of("decision", decision_id)
    if row.undone_at is not None:
        who = f" by {row.undone_by}" if row.undone_by else ""
        raise Conflict(
            f"Decision {row.id} was undone on {row.undone_at:%Y-%m-%d}{who}. Nothing is left to undo."
        )
    epic = None if row.epic_id is None else await session.get_one(EpicRow, row.epic_id)
    if epic is None and row.epic_key is not None:
        raise Conflict(
            f"{row.epic_key} is gone from {row.epic_source}, and all that the decision changed with it. It"
            " stays in the log."
        )
    findings = await _lock_epic(session, epic)
    await _check_newest(session, row)
    if epic is not None:
        done = await take_back_from_epic(session, row, epic, findings, now)
    else:
        done = await take_back_from_goal(session, row, await _goal_of(session, row), now)
    await _open_item(session, row)
    await _reopen_conflict(session, row)
    row.undone_at, row.undone_by = now, actor_of(session)
    await session.flush()
    return Recorded(row, await _runs(session, epic, done, now), done.says)


async def _check_newest(session: AsyncSession, row: DecisionRow) -> None:
    newer = (
        select(DecisionRow)
        .where(DecisionRow.id > row.id, DecisionRow.undone_at.is_(None))
        .where(*_same_thing(row))
        .order_by(DecisionRow.id.desc())
        .limit(1)
    )
    found = (await session.scalars(newer)).one_or_none()
    if found is not None:
        raise Conflict(
            f"Decision {found.id} ({found.decision}, {found.decided_at:%Y-%m-%d}) is newer and builds on this"
            f" one. Undo decision {found.id} first."
        )


def _same_thing(row: DecisionRow) -> list[Any]:
    columns = DecisionRow.epic_id, DecisionRow.about_objective_id, DecisionRow.about_key_result_id
    return [column == value for column in columns if (value := getattr(row, column.key)) is not None]


async def _goal_of(session: AsyncSession, row: DecisionRow) -> Goal:
    if row.about_key_result_id is not None:
        return await session.get_one(KeyResultRow, row.about_key_result_id, populate_existing=True)
    return await session.get_one(ObjectiveRow, row.about_objective_id, populate_existing=True)


async def _open_item(session: AsyncSession, row: DecisionRow) -> None:
    """The item of the agenda as it was before, where nobody changed it since."""
    before = row.effects.get("item")
    item = (
        None if row.item_id is None else await session.get(ReviewItemRow, row.item_id, with_for_update=True)
    )
    if before is None or item is None or item.changed_at != row.decided_at:
        return
    item.state, item.changed_by = before["state"], before["by"]
    item.changed_at = None if before["at"] is None else datetime.fromisoformat(before["at"])


async def _reopen_conflict(session: AsyncSession, row: DecisionRow) -> None:
    if row.conflict_id is None:
        return
    conflict = await session.get(ConflictRow, row.conflict_id, with_for_update=True, populate_existing=True)
    if conflict is not None and conflict.decision_id == row.id:
        conflict.decided_at = conflict.decision_id = None
        conflict.version += 1
