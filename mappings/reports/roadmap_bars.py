"""Where work stands on an axis of months: its bar, and what is to be said of its dates. Pure.

A day is a date in UTC; the last day of work and of an axis is inclusive. Shares are per cent of the axis.
"""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from mappings.errors import Invalid
from mappings.words import day_words

MONTHS_BACK, MONTHS_AHEAD, MONTHS_AT_MOST = 3, 5, 60
_LAST_MONTH = 9999 * 12 + 11
_EVERY_NAMED = 12  # months of an axis that names each of them
_STEPS = ((18, 3), (36, 6), (MONTHS_AT_MOST, 12))  # up to so many months, every so many is named
_ROOM_FOR_A_NAME = 92  # per cent; further right a name with its year would leave the axis

PieceKind = Literal["planned", "dashed", "done"]
DateState = Literal["dated", "no_start", "no_due", "no_dates", "due_before_start"]


@dataclass(frozen=True, slots=True)
class Month:
    """A month of the axis that a line marks. `name`: None where there is no room for one."""

    at: float
    name: str | None


@dataclass(frozen=True, slots=True)
class Axis:
    """From the first day of a month to the last day of a month. `today` in per cent, None outside."""

    first: date
    last: date
    months: Sequence[Month]
    today: float | None

    @property
    def words(self) -> str:
        return f"{self.first:%B} {self.first.year} to {self.last:%B} {self.last.year}"

    def at(self, ordinal: int) -> float:
        """Where a day begins, as `date.toordinal` numbers it; outside it may be below 0 or above 100."""
        days = self.last.toordinal() - self.first.toordinal() + 1
        return (ordinal - self.first.toordinal()) / days * 100


@dataclass(frozen=True, slots=True)
class Piece:
    """`at` and `width` in per cent, both within the axis. `dashed`: what no planned date says."""

    kind: PieceKind
    at: float
    width: float


@dataclass(frozen=True, slots=True)
class Remark:
    """What stands under a name. `warn`: something is to be done."""

    words: str
    warn: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    """`words` tells it all, for who does not see it; `remarks` what the bar cannot show."""

    pieces: Sequence[Piece]
    words: str
    remarks: Sequence[Remark]
    dates: DateState
    is_overdue: bool


def axis_of(today: date, first: date | None = None, last: date | None = None) -> Axis:
    """Whole months from that of `first` to that of `last`; without them from three before today's to five
    after it, and as many where one of both is given. Raises `Invalid` on `to` (the last day)."""
    if first is not None and last is not None and last < first:
        raise Invalid("to", "must not be before `from`")
    low, high = _month(today) - MONTHS_BACK, _month(today) + MONTHS_AHEAD
    width = high - low
    if first is not None:
        low = _month(first)
        high = max(high, low + width)
    if last is not None:
        high = _month(last)
        low = min(low, high - width) if first is None else low
    low, high = max(low, 12), min(high, _LAST_MONTH)
    if high - low + 1 > MONTHS_AT_MOST:
        raise Invalid("to", f"must be at most {MONTHS_AT_MOST} months after `from`")
    axis = Axis(_first_of(low), _last_of(high), (), None)
    at_today = axis.at(today.toordinal())
    return Axis(axis.first, axis.last, _months(axis, low, high), at_today if 0 <= at_today <= 100 else None)


def _month(day: date) -> int:
    return day.year * 12 + day.month - 1


def _first_of(month: int) -> date:
    return date(month // 12, month % 12 + 1, 1)


def _last_of(month: int) -> date:
    year, number = month // 12, month % 12 + 1
    return date(year, number, calendar.monthrange(year, number)[1])


def _months(axis: Axis, low: int, high: int) -> list[Month]:
    number = high - low + 1
    if number <= _EVERY_NAMED:
        firsts = [_first_of(month) for month in range(low, high + 1)]
        return [Month(axis.at(day.toordinal()), f"{day:%b}") for day in firsts]
    step = next(step for most, step in _STEPS if number <= most)
    found = []
    for month in range(low, high + 1):
        if month % step == 0:
            day = _first_of(month)
            at = axis.at(day.toordinal())
            found.append(Month(at, f"{day:%b} {day.year}" if at <= _ROOM_FOR_A_NAME else None))
    return found


def days_words(days: int) -> str:
    return "1 day" if days == 1 else f"{days:,} days"


def bar_of(
    starts: date | None,
    due: date | None,
    *,
    created: date,
    children: int | None,
    done: int | None,
    today: date,
    axis: Axis,
) -> Bar:
    """The bar of one epic. Without a start it begins, dashed, on the day it was created; without a due day it
    goes on, dashed, from today to the end of the axis; without both there is none. `done` of its `children`
    are finished, None where that is not known."""
    share = min(1.0, max(0.0, (done or 0) / children)) if children else None
    state = _state(starts, due)
    overdue = due is not None and due < today
    remarks: list[Remark] = []
    if due is not None and overdue:
        remarks.append(Remark(f"was due {day_words(due, today)}", warn=True))
    if state == "no_dates":
        remarks.append(Remark("no dates", warn=True))
    if state == "due_before_start":
        remarks.append(Remark("due before its start", warn=True))
    spans = _spans(starts, due, created, today, axis)
    pieces = _clipped(spans, share, axis)
    remarks += _cut_remarks(starts, due, spans, pieces, today, axis)
    words = ", ".join([_dates_words(starts, due, created, today), *_done_words(children, done)])
    if overdue:
        words += ", overdue"
    return Bar(pieces, words, remarks, state, overdue)


def _state(starts: date | None, due: date | None) -> DateState:
    if starts is None and due is None:
        return "no_dates"
    if due is None:
        return "no_due"
    if starts is None:
        return "no_start"
    return "due_before_start" if due < starts else "dated"


@dataclass(frozen=True, slots=True)
class _Span:
    """From the beginning of a day to the beginning of another, as `date.toordinal` numbers them."""

    dashed: bool
    start: int
    end: int


def _spans(starts: date | None, due: date | None, created: date, today: date, axis: Axis) -> list[_Span]:
    now = today.toordinal()
    if starts is not None and due is not None:
        low, high = sorted((starts.toordinal(), due.toordinal()))
        return [_Span(due < starts, low, high + 1)]
    if starts is not None:
        begin = starts.toordinal()
        open_end = max(axis.last.toordinal() + 1, begin + 1)
        return _parts(begin, min(max(begin, now), open_end), open_end, dashed_first=False)
    if due is not None:
        end = due.toordinal() + 1
        begin = min(created.toordinal(), end - 1)
        return _parts(begin, max(begin, min(now, end)), end, dashed_first=True)
    return []


def _parts(begin: int, middle: int, end: int, *, dashed_first: bool) -> list[_Span]:
    both = _Span(dashed_first, begin, middle), _Span(not dashed_first, middle, end)
    return [span for span in both if span.start < span.end]


def _clipped(spans: Sequence[_Span], share: float | None, axis: Axis) -> list[Piece]:
    """Those within the axis, and on top of them what is done: a share of the time that is planned so far."""
    found = [piece_of("dashed" if span.dashed else "planned", span.start, span.end, axis) for span in spans]
    if share and spans:
        planned = [span for span in spans if not span.dashed] or spans
        begin = spans[0].start
        end = planned[-1].end
        found.append(piece_of("done", begin, begin + (end - begin) * share, axis))
    return [piece for piece in found if piece is not None]


def piece_of(kind: PieceKind, start: float, end: float, axis: Axis) -> Piece | None:
    """What of it lies within the axis, None where nothing does. Days as `date.toordinal` numbers them, the
    end exclusive."""
    first = axis.first.toordinal()
    days = axis.last.toordinal() - first + 1
    low, high = max(0.0, (start - first) / days * 100), min(100.0, (end - first) / days * 100)
    return Piece(kind, low, high - low) if high > low else None


def _cut_remarks(
    starts: date | None,
    due: date | None,
    spans: Sequence[_Span],
    pieces: Sequence[Piece],
    today: date,
    axis: Axis,
) -> list[Remark]:
    """What the edges of the axis hide: a bar that lies outside, and one that goes beyond both."""
    if not spans:
        return []
    before = spans[0].start < axis.first.toordinal()
    after = due is not None and spans[-1].end > axis.last.toordinal() + 1
    if not pieces and before and due is not None:
        return [] if due < today else [Remark(f"due {day_words(due, today)}, before this time")]
    if not pieces:
        begins = starts or due
        assert begins is not None
        return [Remark(f"{'starts' if starts else 'due'} {day_words(begins, today)}, after this time")]
    if before and after and starts is not None and due is not None:
        return [Remark(f"{day_words(min(starts, due), today)} to {day_words(max(starts, due), today)}")]
    return []


def _dates_words(starts: date | None, due: date | None, created: date, today: date) -> str:
    if starts is None and due is None:
        return "No start and no due date"
    if starts is None and due is not None:
        return f"No start date, created {day_words(created, today)}, due {day_words(due, today)}"
    assert starts is not None
    if due is None:
        return f"{day_words(starts, today)}, no due date"
    if due < starts:
        return f"Due {day_words(due, today)}, before its start {day_words(starts, today)}"
    return f"{day_words(starts, today)} to {day_words(due, today)}"


def _done_words(children: int | None, done: int | None) -> list[str]:
    return [f"{done or 0} of {children} done"] if children else []
