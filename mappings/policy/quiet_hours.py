"""Quiet hours: when no new comment is written, and when that ends. Pure; moments in and out are UTC."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Annotated, Literal, get_args
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = get_args(Weekday)
_DAY = timedelta(days=1)
_MINUTE = timedelta(minutes=1)


def _refuse(message: str) -> PydanticCustomError:
    return PydanticCustomError("quiet_hours", "{message}", {"message": message})


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _zone(value: str) -> str:
    if value not in _zones():
        raise _refuse('is no IANA time zone; use a name such as "Europe/Berlin" or "UTC"')
    return value


def _each_once(days: list[Weekday]) -> list[Weekday]:
    """The days once each in the order of the week, so that the same days make equal policies."""
    return [day for day in WEEKDAYS if day in days]


def _time_of_day(value: str) -> str:
    if not re.fullmatch(_TIME, value):
        raise _refuse("must be a time of day from 00:00 to 23:59, such as 18:00")
    return value


_TIME = "([01][0-9]|2[0-3]):[0-5][0-9]"
TimeOfDay = Annotated[
    str,
    AfterValidator(_time_of_day),
    Field(examples=["18:00"], json_schema_extra={"pattern": f"^{_TIME}$"}),
]


class QuietHours(BaseModel):
    """When no new comment is written: every day from one time of day to another, and whole days.

    `from` later than `to` means overnight. Edits of existing comments do not wait.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        serialize_by_alias=True,
        json_schema_extra={
            "examples": [{"from": "18:00", "to": "08:00", "days": ["sat", "sun"], "zone": "Europe/Berlin"}]
        },
    )

    from_: TimeOfDay | None = Field(
        default=None,
        alias="from",
        description="Local time of day at which they begin; null for whole days only.",
    )
    to: TimeOfDay | None = Field(
        default=None,
        description="Local time of day at which they end, on the next day where it is earlier than `from`.",
    )
    days: Annotated[
        list[Weekday],
        Field(max_length=20, description="Days that are quiet all day."),
        AfterValidator(_each_once),
    ] = []
    zone: Annotated[
        str,
        AfterValidator(_zone),
        Field(description="IANA name of the time zone of the times and days.", examples=["Europe/Berlin"]),
    ] = "UTC"

    @model_validator(mode="before")
    @classmethod
    def _is_an_object(cls, value: object) -> object:
        if not isinstance(value, (Mapping, cls)):
            raise _refuse('must be an object such as {"from": "18:00", "to": "08:00"}, or null')
        return value

    @model_validator(mode="after")
    def _is_some_of_the_time(self) -> QuietHours:
        if (self.from_ is None) != (self.to is None):
            raise _refuse("needs both from and to, or neither and days")
        if self.from_ is None and not self.days:
            raise _refuse("is never quiet; give from and to, or days, or null")
        if self.from_ is not None and self.from_ == self.to:
            raise _refuse("from and to are the same; for whole days use days")
        if len(self.days) == len(WEEKDAYS):
            raise _refuse('is always quiet; leave a day out, or set channel to "none"')
        return self

    def end(self, now: datetime) -> datetime | None:
        """The end of the quiet time at `now`, with quiet time that follows without a gap; None outside it.

        On the day the clocks change, a time of day that occurs twice begins at its first occurrence and ends
        at its second; a time of day that is skipped means the moment of the change.
        """
        moment = now
        while (later := self._end_at(moment)) is not None:
            moment = later
        return moment if moment > now else None

    def _end_at(self, moment: datetime) -> datetime | None:
        zone = ZoneInfo(self.zone)
        today = moment.astimezone(zone).date()
        spans = (span for day in (today - _DAY, today) for span in self._spans(day, zone))
        return max((end for start, end in spans if start <= moment < end), default=None)

    def _spans(self, day: date, zone: ZoneInfo) -> Iterator[tuple[datetime, datetime]]:
        """The quiet times that begin on `day`."""
        if WEEKDAYS[day.weekday()] in self.days:
            yield _first_moment(day, time.min, zone), _first_moment(day + _DAY, time.min, zone)
        if self.from_ is not None and self.to is not None:
            start, end = time.fromisoformat(self.from_), time.fromisoformat(self.to)
            last = day if start < end else day + _DAY
            yield _first_moment(day, start, zone), _last_moment(last, end, zone)

    def words(self, end: datetime) -> str:
        local = end.astimezone(ZoneInfo(self.zone))
        return f"Quiet hours end at {local:%Y-%m-%d %H:%M} {self.zone}."


def _first_moment(day: date, at: time, zone: ZoneInfo) -> datetime:
    """The moment at which the clocks first show, or skip, this time of day."""
    return _moment(datetime.combine(day, at, zone))


def _last_moment(day: date, at: time, zone: ZoneInfo) -> datetime:
    return _moment(datetime.combine(day, at, zone).replace(fold=1))


def _moment(local: datetime) -> datetime:
    moment = local.astimezone(UTC)
    if moment.astimezone(local.tzinfo).replace(tzinfo=None) == local.replace(tzinfo=None):
        return moment
    # The clocks skip this time: with the offset before the change it lies after the change (`late`), with the
    # offset after the change before it (`early`). Search the minutes between for the change.
    late, early = (local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    offset = late.astimezone(local.tzinfo).utcoffset()
    minutes = range(1, (late - early) // _MINUTE + 1)
    changed = [(early + n * _MINUTE).astimezone(local.tzinfo).utcoffset() == offset for n in minutes]
    return early + (bisect_left(changed, True) + 1) * _MINUTE
