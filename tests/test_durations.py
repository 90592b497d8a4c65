"""Durations of the policy: how they are written, grace in working days, and deadlines."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from mappings.policy.document import CYCLE_GRACE
from mappings.policy.durations import (
    Duration,
    add_grace,
    end_of_day,
    parse_duration,
    parse_span,
    parse_until,
    start_of_day,
)

NOW = datetime(2026, 1, 7, 12, tzinfo=UTC)  # a Wednesday


@pytest.mark.parametrize(
    ("text", "days", "span", "back"),
    [
        ("P5D", 5, timedelta(0), "P5D"),
        ("P2W", 10, timedelta(0), "P10D"),
        ("P1W2D", 7, timedelta(0), "P7D"),
        ("PT4H", 0, timedelta(hours=4), "PT4H"),
        ("PT24H", 0, timedelta(hours=24), "PT24H"),
        ("P1DT12H", 1, timedelta(hours=12), "P1DT12H"),
        ("PT90M", 0, timedelta(minutes=90), "PT1H30M"),
        ("PT1M1S", 0, timedelta(seconds=61), "PT1M1S"),
        ("PT0S", 0, timedelta(0), "PT0S"),
        ("P0D", 0, timedelta(0), "PT0S"),
        ("P366D", 366, timedelta(0), "P366D"),
        ("P73W1D", 366, timedelta(0), "P366D"),
        ("PT8784H", 0, timedelta(days=366), "PT8784H"),
        ("PT59M59S", 0, timedelta(seconds=3599), "PT59M59S"),
        ("PT3600S", 0, timedelta(hours=1), "PT1H"),
        ("PT60S", 0, timedelta(minutes=1), "PT1M"),
        # The longest text there is: forty characters.
        ("P000001W000001DT000001H000001M000000001S", 6, timedelta(seconds=3661), "P6DT1H1M1S"),
    ],
)
def test_durations(text: str, days: int, span: timedelta, back: str) -> None:
    duration = parse_duration(text)
    assert duration == Duration(days, span)
    assert str(duration) == back
    assert parse_duration(back) == duration


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "ISO 8601"),
        ("P", "ISO 8601"),
        ("PT", "ISO 8601"),
        ("P5DT", "ISO 8601"),
        ("5D", "ISO 8601"),
        ("p5d", "ISO 8601"),
        ("-P5D", "ISO 8601"),
        ("P5", "ISO 8601"),
        ("P1.5D", "ISO 8601"),
        ("P5D ", "ISO 8601"),
        ("P5D\n", "ISO 8601"),
        ("P٥D", "ISO 8601"),
        ("PT1D", "ISO 8601"),
        ("P1H", "ISO 8601"),
        ("P" + "9" * 1_000 + "D", "ISO 8601"),
        ("P1M", "months and years"),
        ("P1Y", "months and years"),
        ("P1Y2M3D", "months and years"),
        ("P" + "9" * 38 + "Y", "months and years"),
        ("P" + "9" * 39 + "Y", "ISO 8601"),
        ("P367D", "366"),
        ("P74W", "366"),
        ("PT999999H", "366"),
        ("PT8784H1S", "366"),
    ],
)
def test_refused_durations(text: str, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("PT15M", timedelta(minutes=15)),
        ("PT1S", timedelta(seconds=1)),
        ("PT0S", timedelta(0)),
        ("P1D", timedelta(hours=24)),
        ("P1W", timedelta(days=7)),
        ("P1W1DT1H1M1S", timedelta(days=8, hours=1, minutes=1, seconds=1)),
        ("P366D", timedelta(days=366)),
        ("PT8784H", timedelta(days=366)),
    ],
)
def test_a_plain_span_counts_every_day(text: str, span: timedelta) -> None:
    assert parse_span(text) == span


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("15", "ISO 8601"),
        ("PT", "ISO 8601"),
        ("P1M", "months and years"),
        ("P367D", "366"),
        ("P53W", "366"),
        ("P366DT1S", "366"),
    ],
)
def test_refused_spans(text: str, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        parse_span(text)


def test_a_duration_of_nothing_is_none() -> None:
    assert Duration() == Duration(0, timedelta(0)) == parse_duration("PT0S")
    assert Duration(span=timedelta(hours=4)) == parse_duration("PT4H")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


# In January 2026 the 2nd, 9th and 16th are Fridays.
@pytest.mark.parametrize(
    ("start", "grace", "end"),
    [
        ("2026-01-09T15:00:00", "P5D", "2026-01-16T15:00:00"),
        ("2026-01-09T15:00:00", "P1D", "2026-01-12T15:00:00"),
        ("2026-01-05T09:00:00", "P4D", "2026-01-09T09:00:00"),
        ("2026-01-05T09:00:00", "P5D", "2026-01-12T09:00:00"),
        ("2026-01-10T15:00:00", "P1D", "2026-01-13T00:00:00"),
        ("2026-01-11T23:59:59", "P5D", "2026-01-19T00:00:00"),
        ("2026-01-12T00:00:00", "P5D", "2026-01-19T00:00:00"),
        ("2026-01-09T15:00:00", "P2W", "2026-01-23T15:00:00"),
        ("2026-01-09T15:00:00", "P20D", "2026-02-06T15:00:00"),
        ("2026-01-09T15:00:00", "P1DT12H", "2026-01-13T03:00:00"),
        ("2026-01-09T15:00:00", "PT24H", "2026-01-10T15:00:00"),
        ("2026-01-10T15:00:00", "PT4H", "2026-01-10T19:00:00"),
        ("2026-01-10T15:00:00", "PT0S", "2026-01-10T15:00:00"),
        ("2026-01-10T15:00:00", "P0D", "2026-01-10T15:00:00"),
    ],
)
def test_grace(start: str, grace: str, end: str) -> None:
    assert add_grace(moment(start), parse_duration(grace)) == moment(end)


def test_working_days_are_days_of_utc() -> None:
    # Sunday evening in New York is Monday in UTC.
    start = datetime.fromisoformat("2026-01-11T20:00:00-05:00")
    assert add_grace(start, Duration(1)) == moment("2026-01-13T01:00:00")
    assert Duration(20) == CYCLE_GRACE


_moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


@given(_moments, st.integers(0, 366))
def test_working_days_agree_with_the_calendar(start: datetime, days: int) -> None:
    slow = start
    if days:
        while slow.weekday() >= 5:
            slow = slow.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        for _ in range(days):
            slow += timedelta(days=1)
            while slow.weekday() >= 5:
                slow += timedelta(days=1)
    assert add_grace(start, Duration(days)) == slow


@given(_moments, _moments, st.integers(0, 366), st.integers(0, 366))
def test_a_later_start_or_a_longer_grace_ends_no_sooner(one: datetime, two: datetime, n: int, m: int) -> None:
    assert add_grace(min(one, two), Duration(min(n, m))) <= add_grace(max(one, two), Duration(max(n, m)))


@pytest.mark.parametrize(
    ("value", "until"),
    [
        ("2026-12-31", "2027-01-01T00:00:00"),
        ("2026-01-07", "2026-01-08T00:00:00"),
        (date(2026, 1, 7), "2026-01-08T00:00:00"),
        ("2027-01-08", "2027-01-09T00:00:00"),
        ("2026-01-07T12:00:01Z", "2026-01-07T12:00:01"),
        ("2026-01-07t14:00:00.5+01:00", "2026-01-07T13:00:00.500000"),
        ("2026-02-01 00:00:00z", "2026-02-01T00:00:00"),
        ("2026-02-01T00:00:00." + "0" * 19 + "Z", "2026-02-01T00:00:00"),  # forty characters
        (NOW + timedelta(days=366), "2027-01-08T12:00:00"),
    ],
)
def test_until(value: str | date | datetime, until: str) -> None:
    assert parse_until(value, NOW) == moment(until)


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("2026-01-06", "is past"),
        ("2026-01-07T12:00:00Z", "is past"),
        (date(2026, 1, 6), "is past"),
        (NOW, "is past"),
        ("0001-01-01T00:00:00+14:00", "is past"),
        ("2027-01-09", "366 days"),
        ("2027-01-08T12:00:01Z", "366 days"),
        ("9999-12-31", "366 days"),
        ("9999-12-31T23:59:59-14:00", "366 days"),
        (date.max, "366 days"),
        (datetime(2026, 2, 1), "time zone"),
        ("2026-02-30", "must be a date"),
        ("2026-02-01T00:00:00", "must be a date"),
        ("2026-02-01T25:00:00Z", "must be a date"),
        ("20260201", "must be a date"),
        ("2026-W05-1", "must be a date"),
        ("14d", "must be a date"),
        ("", "must be a date"),
        ("2026-02-01\n", "must be a date"),
        ("2026-02-01T00:00:00." + "0" * 99 + "Z", "must be a date"),
        ("2026-02-01T00:00:00." + "0" * 20 + "Z", "must be a date"),
    ],
)
def test_refused_untils(value: str | date | datetime, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        parse_until(value, NOW)


def test_a_day_ends_where_the_next_begins() -> None:
    assert end_of_day(date(2026, 12, 31)) == moment("2027-01-01T00:00:00")
    assert start_of_day(date(2026, 12, 31)) == moment("2026-12-31T00:00:00")
