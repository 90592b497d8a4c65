"""What a person may do with reviews: open, change, close them, and deal with the lines of their agendas.

A review is about one cycle. Its opening freezes the figures (`mappings.governance.snapshot`) and makes the
agenda from what is open then; nothing that happens later changes either. A closed review changes no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Date, Select, bindparam, func, insert, select
from sqlalchemy.exc import IntegrityError

from mappings.audit import actor_of
from mappings.errors import Conflict, NotFound, check_values, check_version
from mappings.governance.agenda_rows import load_agenda
from mappings.governance.cadence import DueReview, due_review, held_on_error
from mappings.governance.since import changes_since
from mappings.governance.snapshot import (
    freeze_epics,
    freeze_key_results,
    freeze_objectives,
    live_key_results,
    plain,
    review_board,
)
from mappings.governance.values import missing_sides, people_as_json, people_errors, people_from_json
from mappings.locks import lock_goals_shared
from mappings.lookups import goal_in
from mappings.tables import CycleRow, ReviewItemRow, ReviewRow
from mappings.values import day_error, line_error, one_of_error, text_error

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import date, datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.governance.agenda import Line
    from mappings.governance.values import Person

ItemState = Literal["open", "done", "skipped"]
ITEM_STATES = ("open", "done", "skipped")
MITIGATION_AT_MOST = 2_000
LINES_AT_MOST = 200  # of one agenda, with those that people add
OWN_LINE = "own"


# --- opening ----------------------------------------------------------------------------------


async def open_review(
    session: AsyncSession,
    now: datetime,
    *,
    cycle: str,
    held_on: date,
    attendees: Sequence[Person],
    coverage: Mapping[str, Any],
) -> ReviewRow:
    """Freeze the figures of now and make the agenda; `held_on` is a day, UTC.

    `coverage`: the report of all epics as it is shown, from the same transaction, which should see one moment
    (`mappings.governance.snapshot`), so that the parts agree. Raises
    `Invalid`, and `Conflict` while another review of the cycle is open, or where one was held on that day.
    """
    check_values(people_errors("attendees", attendees))
    await lock_goals_shared(session)  # so that the cycle is not deleted meanwhile
    held = await goal_in(session, CycleRow, cycle, "cycle")
    check_values([("held_on", day_error(held_on) or held_on_error(held, held_on))])
    await _check_free(session, held, held_on)
    previous = await _review_before(session, held, held_on)
    board = await review_board(session, held, now)
    row = ReviewRow(
        cycle_id=held.id,
        held_on=held_on,
        attendees=people_as_json(attendees),
        previous_id=None if previous is None else previous.id,
        frozen_at=now,
        cycle_facts=plain(
            {name: getattr(held, name) for name in ("key", "title", "starts", "ends", "review")}
        ),
        coverage=plain(dict(coverage)),
        objectives=freeze_objectives(board),
        epics=0,
        opened_by=actor_of(session),
    )
    session.add(row)
    key = held.key  # what failed leaves the session without its rows
    try:
        await session.flush()
    except IntegrityError as error:  # another opening, at the same moment
        raise Conflict(
            f"Another review of {key} was opened at the same moment, or the cycle was deleted; read the "
            "list again."
        ) from error
    key_results = await freeze_key_results(session, row, board, now)
    row.epics = await freeze_epics(session, row.id, await live_key_results(session, now))
    if previous is not None:
        row.changes = await changes_since(session, previous, row, key_results)
    lines = await load_agenda(session, row, held, key_results, now)
    await _add_lines(session, row.id, lines)
    await session.flush()
    return row


async def _check_free(session: AsyncSession, cycle: CycleRow, held_on: date) -> None:
    taken = select(ReviewRow).where(ReviewRow.cycle_id == cycle.id)
    still_open = (await session.scalars(taken.where(ReviewRow.state == "open"))).one_or_none()
    if still_open is not None:
        raise Conflict(
            f"The review of {cycle.key} on {still_open.held_on} (id {still_open.id}) is still open; close it "
            "first."
        )
    same_day = (await session.scalars(taken.where(ReviewRow.held_on == held_on))).one_or_none()
    if same_day is not None:
        raise Conflict(f"The review of {cycle.key} on {held_on} is there already (id {same_day.id}).")


async def _review_before(session: AsyncSession, cycle: CycleRow, held_on: date) -> ReviewRow | None:
    """The one before it of the same cycle, else the latest before it of any."""
    of_cycle = _latest_before(held_on).where(ReviewRow.cycle_id == cycle.id)
    found = (await session.scalars(of_cycle)).one_or_none()
    return found or await last_review(session, held_on)


async def last_review(session: AsyncSession, before: date) -> ReviewRow | None:
    """The latest review, of whatever cycle, that was held before this day."""
    return (await session.scalars(_latest_before(before))).one_or_none()


def _latest_before(day: date) -> Select[ReviewRow]:
    query = select(ReviewRow).where(ReviewRow.held_on < day)
    return query.order_by(ReviewRow.held_on.desc(), ReviewRow.id.desc()).limit(1)


async def _add_lines(session: AsyncSession, review_id: int, lines: Sequence[Line]) -> None:
    """By a statement that the audit log does not see: the opening of the review has its entry."""
    rows = [
        {
            "review_id": review_id,
            "position": position,
            "kind": line.kind,
            "title": line.title,
            "detail": line.detail,
            "epic_id": line.epic_id,
            "key_result_id": line.key_result_id,
            "about": plain(line.about),
            "facts": plain(line.facts),
        }
        for position, line in enumerate(lines, 1)
    ]
    await session.execute(insert(ReviewItemRow), rows)


# --- reading ----------------------------------------------------------------------------------


async def load_review(session: AsyncSession, review_id: int) -> ReviewRow:
    """Raises `NotFound`."""
    row = await session.get(ReviewRow, review_id, populate_existing=True)
    if row is None:
        raise NotFound.of("review", review_id)
    return row


async def review_items(session: AsyncSession, review_id: int) -> list[ReviewItemRow]:
    """The lines of its agenda, in order."""
    query = select(ReviewItemRow).where(ReviewItemRow.review_id == review_id)
    return list(await session.scalars(query.order_by(ReviewItemRow.position, ReviewItemRow.id)))


@dataclass(frozen=True, slots=True)
class CycleToReview:
    """`last`: when its latest review was held, None for never."""

    cycle: CycleRow
    due: DueReview
    last: date | None


_LAST = (
    select(ReviewRow.cycle_id, func.max(ReviewRow.held_on).label("held_on"))
    .group_by(ReviewRow.cycle_id)
    .subquery()
)
_BEGUN = (
    select(CycleRow, _LAST.c.held_on)
    .outerjoin(_LAST, _LAST.c.cycle_id == CycleRow.id)
    .where(CycleRow.starts <= bindparam("today", type_=Date))
    .order_by(CycleRow.id)
)


async def due_reviews(session: AsyncSession, today: date) -> list[CycleToReview]:
    """The cycles of which a review is missing whose period has begun, the longest missing first."""
    found = [
        CycleToReview(cycle, due, held_on)
        for cycle, held_on in await session.execute(_BEGUN, {"today": today})
        if (due := due_review(cycle, held_on, today)) is not None and due.begun
    ]
    return sorted(found, key=lambda one: (one.due.due_on, one.cycle.id))


# --- changing ---------------------------------------------------------------------------------


async def change_review(
    session: AsyncSession,
    review_id: int,
    *,
    attendees: Sequence[Person] | None = None,
    held_on: date | None = None,
    versions: Collection[int] | None = None,
) -> ReviewRow:
    """What is None stays. Raises `NotFound`, `StaleVersion`, `Invalid`, and `Conflict` where it is closed, or
    another of its cycle was held on the new day."""
    row = await lock_open_review(session, review_id, versions)
    if attendees is not None:
        check_values(people_errors("attendees", attendees))
        row.attendees = people_as_json(attendees)
    if held_on is not None and held_on != row.held_on:
        cycle = await session.get_one(CycleRow, row.cycle_id)
        check_values([("held_on", day_error(held_on) or held_on_error(cycle, held_on))])
        same_day = select(ReviewRow.id).where(
            ReviewRow.cycle_id == row.cycle_id, ReviewRow.held_on == held_on, ReviewRow.id != row.id
        )
        other = await session.scalar(same_day)
        if other is not None:
            raise Conflict(f"The review of {cycle.key} on {held_on} is there already (id {other}).")
        row.held_on = held_on
    row.version += 1
    await session.flush()
    return row


async def close_review(
    session: AsyncSession, review_id: int, now: datetime, *, versions: Collection[int] | None = None
) -> ReviewRow:
    """End it; what is still open on its agenda stays as not dealt with, and `missing_sides` says who was not
    there. Raises `NotFound`, `StaleVersion`, and `Conflict` where it is closed."""
    row = await lock_open_review(session, review_id, versions)
    row.state = "closed"
    row.closed_at = now
    row.closed_by = actor_of(session)
    row.missing_sides = list(missing_sides(people_from_json(row.attendees)))
    row.version += 1
    await session.flush()
    return row


async def set_item(
    session: AsyncSession,
    review_id: int,
    item_id: int,
    now: datetime,
    *,
    state: ItemState | None = None,
    mitigation: str | None = None,
) -> ReviewItemRow:
    """What is None stays; an empty `mitigation` takes it away. Raises `NotFound`, `Invalid`, and `Conflict`
    where the review is closed."""
    check_values(
        [
            ("state", one_of_error(state, ITEM_STATES)),
            ("mitigation", text_error(mitigation, MITIGATION_AT_MOST)),
        ]
    )
    await lock_open_review(session, review_id)
    query = select(ReviewItemRow).where(ReviewItemRow.review_id == review_id, ReviewItemRow.id == item_id)
    item = (await session.scalars(query.execution_options(populate_existing=True))).one_or_none()
    if item is None:
        raise NotFound(f"Review {review_id} has no line {item_id}.")
    if state is not None:
        item.state = state
    if mitigation is not None:
        item.mitigation = mitigation.strip() or None
    item.changed_by = actor_of(session)
    item.changed_at = now
    await session.flush()
    return item


async def add_item(
    session: AsyncSession, review_id: int, now: datetime, *, title: str, detail: str = ""
) -> ReviewItemRow:
    """Add a line of one's own at the end. Raises `NotFound`, `Invalid`, and `Conflict` where the review is
    closed or its agenda is full."""
    check_values([("title", line_error(title)), ("detail", text_error(detail, MITIGATION_AT_MOST))])
    await lock_open_review(session, review_id)
    query = select(func.count(), func.coalesce(func.max(ReviewItemRow.position), 0))
    count, last = (await session.execute(query.where(ReviewItemRow.review_id == review_id))).one()
    if count >= LINES_AT_MOST:
        raise Conflict(f"An agenda has {LINES_AT_MOST} lines at most.")
    item = ReviewItemRow(
        review_id=review_id,
        position=last + 1,
        kind=OWN_LINE,
        title=title,
        detail=detail,
        about={},
        facts={},
        state="open",
        changed_by=actor_of(session),
        changed_at=now,
    )
    session.add(item)
    await session.flush()
    return item


async def lock_open_review(
    session: AsyncSession, review_id: int, versions: Collection[int] | None = None
) -> ReviewRow:
    """The review, locked. Raises `NotFound`, `StaleVersion`, and `Conflict` where it is closed."""
    query = select(ReviewRow).where(ReviewRow.id == review_id).with_for_update(key_share=True)
    row = (await session.scalars(query.execution_options(populate_existing=True))).one_or_none()
    if row is None:
        raise NotFound.of("review", review_id)
    if row.state == "closed":
        raise Conflict(f"The review of {row.held_on} is closed; nothing of it changes any more.")
    check_version(row.version, versions)
    return row


def sides_missing(row: ReviewRow) -> list[str]:
    """The sides that nobody came from: of an open review, as it is now."""
    if row.missing_sides is not None:
        return row.missing_sides
    return list(missing_sides(people_from_json(row.attendees)))
