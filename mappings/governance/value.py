"""The value question: how an epic helps the business, in a sentence, and who was asked for it.

Any epic may have an answer; initiatives (`mappings.governance.initiatives`) are asked for one.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, get_args

from sqlalchemy import ColumnElement, exists, select

from mappings.audit import actor_of
from mappings.errors import Conflict, Invalid, check_values, check_version
from mappings.goals.values import Driver
from mappings.lookups import epic_at, locked_epic_at, source_at
from mappings.tables import EpicRow, EpicValueRow, among_ids
from mappings.values import LINE_AT_MOST, FieldErrors, line_error, one_of_error

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.ext.asyncio import AsyncSession

VALUE_DRIVERS: tuple[str, ...] = get_args(Driver)
# The version of a value that was never written: its first writing makes it 2.
FIRST_VERSION = 1
WHAT_TO_WRITE = (
    "is no answer: write one sentence that says how this helps the business grow, cut cost, serve customers "
    "better or manage risk"
)
_PLACEHOLDERS = frozenset(
    {
        *("n/a", "na", "none", "nothing", "nil", "null", "no", "yes", "tbd", "tba", "tbc", "todo", "to do"),
        *("to be defined", "to be determined", "to be decided", "to be done", "to be confirmed", "wip", "x"),
        *("xx", "xxx", "test", "unknown", "not known", "later", "not yet", "pending", "same", "asdf"),
        *("value", "answer", "any", "something", "not applicable", "not available", "no idea"),
        *("don't know", "i don't know", "see above", "see ticket", "see description", "lorem ipsum"),
    }
)
_AROUND = re.compile(r"^[^\w]+|[^\w]+$|_+")


class _Unchanged:
    """What a person did not send."""


UNCHANGED: Final = _Unchanged()


@dataclass(frozen=True, slots=True)
class ValueOfEpic:
    """`question_at`: when somebody was asked. `version` grows with each change. Times are in UTC."""

    answer: str | None = None
    driver: str | None = None
    answered_by: str | None = None
    answered_at: datetime | None = None
    asked_of: str | None = None
    asked_by: str | None = None
    question_at: datetime | None = None
    version: int = FIRST_VERSION

    def as_json(self) -> dict[str, Any]:
        stored = asdict(self)
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in stored.items()
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> ValueOfEpic:
        moments = {
            name: datetime.fromisoformat(stored[name])
            for name in ("answered_at", "question_at")
            if stored[name]
        }
        return cls(**{**stored, **moments})


NOT_ANSWERED = ValueOfEpic()


def value_of(row: EpicValueRow | None) -> ValueOfEpic:
    """The value as it is stored; of an epic that nobody was asked about nothing is."""
    return NOT_ANSWERED if row is None else ValueOfEpic(**{name: getattr(row, name) for name in _MEMBERS})


_MEMBERS = ValueOfEpic.__slots__


def is_placeholder(answer: str) -> bool:
    """Whether it stands for an answer that is still to come, or holds no letter at all."""
    words = " ".join(_AROUND.sub("", answer.casefold().replace("\u2019", "'")).split())
    return not any(sign.isalpha() for sign in words) or words in _PLACEHOLDERS


def answer_error(answer: str | None) -> str | None:
    error = line_error(answer)
    if error is None and answer is not None and is_placeholder(answer):
        return f"{answer.strip()[:40]!r} {WHAT_TO_WRITE}"
    return error


def value_errors(answer: Any, driver: Any, asked_of: Any) -> FieldErrors:
    """Of what was sent; `UNCHANGED` is never wrong."""
    sent = {name: None if value is UNCHANGED else value for name, value in
            (("answer", answer), ("driver", driver), ("asked_of", asked_of))}  # fmt: skip
    return [
        ("answer", answer_error(sent["answer"])),
        ("driver", one_of_error(sent["driver"], VALUE_DRIVERS)),
        ("asked_of", line_error(sent["asked_of"], LINE_AT_MOST)),
    ]


async def load_value(session: AsyncSession, source: str, key: str) -> tuple[EpicRow, ValueOfEpic]:
    """Raises `NotFound`, with the reason for an epic that is removed."""
    epic = await epic_at(session, await source_at(session, source), key)
    return epic, value_of(await session.get(EpicValueRow, epic.id))


def is_answered() -> ColumnElement[bool]:
    """Whether the epic says how it helps the business."""
    # Not `IN`: PostgreSQL would compare each epic with each answer where the denial of this is asked.
    return exists().where(EpicValueRow.epic_id == EpicRow.id, EpicValueRow.answer.is_not(None))


async def load_values(session: AsyncSession, ids: Collection[int]) -> dict[int, ValueOfEpic]:
    """Of those of these epics that were answered or asked about, by their ids."""
    rows = await session.execute(_VALUES, {"ids": list(ids)}) if ids else ()
    return {epic_id: ValueOfEpic(*members) for epic_id, *members in rows}


_STORED = EpicValueRow.__table__.c  # these columns name no class
_VALUES = select(_STORED.epic_id, *(_STORED[name] for name in _MEMBERS)).where(among_ids(_STORED.epic_id))


@dataclass(frozen=True, slots=True)
class AnsweredValue:
    """`before` and `after` are the same where nothing changed."""

    epic: EpicRow
    before: ValueOfEpic
    after: ValueOfEpic


async def answer_value(
    session: AsyncSession,
    source: str,
    key: str,
    now: datetime,
    *,
    answer: str | _Unchanged | None = UNCHANGED,
    driver: str | _Unchanged | None = UNCHANGED,
    asked_of: str | _Unchanged | None = UNCHANGED,
    versions: Collection[int] | None = None,
) -> AnsweredValue:
    """Store what is sent; what is left out stays, None takes it back. Who answers, and who asks, is the actor
    of the session. `versions` are those that the caller may have read, None for any.

    Raises `NotFound`, `StaleVersion`, and `Invalid`: for an answer that is none, a driver without an answer,
    and where nothing is sent.
    """
    if answer is UNCHANGED and driver is UNCHANGED and asked_of is UNCHANGED:
        raise Invalid("answer", "send `answer`, or `asked_of`: who is asked for it")
    check_values(value_errors(answer, driver, asked_of))
    epic, row = await _locked(session, source, key)
    before = value_of(row)
    check_version(before.version, versions)
    new_answer = before.answer if isinstance(answer, _Unchanged) else _one_line(answer)
    new_driver = before.driver if isinstance(driver, _Unchanged) else driver
    new_asked = before.asked_of if isinstance(asked_of, _Unchanged) else _one_line(asked_of)
    if new_answer is None:
        if new_driver is not None and not isinstance(driver, _Unchanged):
            raise Invalid("driver", "names the way in which the answer helps: send `answer` with it")
        new_driver = None
    changed = (new_answer, new_driver) != (before.answer, before.driver)
    asks = new_asked != before.asked_of
    if not changed and not asks:
        return AnsweredValue(epic, before, before)
    if row is None:
        row = EpicValueRow(epic_id=epic.id)
        session.add(row)
    row.answer, row.driver, row.asked_of = new_answer, new_driver, new_asked
    if changed:
        row.answered_by = actor_of(session) if new_answer is not None else None
        row.answered_at = now if new_answer is not None else None
    if asks:
        row.asked_by = actor_of(session) if new_asked is not None else None
        row.question_at = now if new_asked is not None else None
    row.version = before.version + 1
    await session.flush()
    return AnsweredValue(epic, before, value_of(row))


async def restore_value(session: AsyncSession, epic_id: int, before: ValueOfEpic, version: int) -> None:
    """Make it what it was before, who and when included. Raises `Conflict` where it is not of `version` any
    more, which that change made."""
    row = await session.get(EpicValueRow, epic_id, with_for_update=True, populate_existing=True)
    if row is None or row.version != version:
        raise Conflict("the answer was changed since; open the epic to see it.")
    for name in _MEMBERS:
        if name != "version":
            setattr(row, name, getattr(before, name))
    row.version = version + 1
    await session.flush()


async def _locked(session: AsyncSession, source: str, key: str) -> tuple[EpicRow, EpicValueRow | None]:
    """The epic's row is locked, so that of two first answers the second sees the first."""
    _, epic = await locked_epic_at(session, source, key)
    return epic, await session.get(EpicValueRow, epic.id, populate_existing=True)


def _one_line(text: str | None) -> str | None:
    return None if text is None else " ".join(text.split())
