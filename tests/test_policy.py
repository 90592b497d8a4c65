"""The policy document, what holds for one project, and the clock: grace, working days, deadlines."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from connectors.base import Epic
from mappings.policy.document import (
    CYCLE_GRACE,
    Policy,
    effective_policy,
    exemption,
    grace_for,
    is_recent_enough,
)
from mappings.policy.durations import (
    Duration,
    add_grace,
    end_of_day,
    parse_duration,
    parse_span,
    parse_until,
    start_of_day,
)
from mappings.policy.modes import mode_in

NOW = datetime(2026, 1, 7, 12, tzinfo=UTC)  # a Wednesday
EPIC = Epic("1", "SHOP-1", "SHOP", "t", "u", "Epic", "Open", "todo", NOW, NOW, labels=("Ops-1", "x"))


def policy(**document: Any) -> Policy:
    return Policy.model_validate(document)


# --- the document -----------------------------------------------------------------------------


def test_an_empty_document_is_the_default_and_shows_every_check() -> None:
    default = {"on": True, "severity": "warning", "grace": None}
    assert policy().model_dump(mode="json") == {
        "grace": "P5D",
        "since": "connected",
        "checks": {"no-key-result": default, "closed-goal": default},
        "exempt": {"labels": [], "types": [], "status_categories": [], "projects": []},
        "quiet_hours": None,
        "channel": "comment",
        "escalation": [],
        "scopes": [],
    }


def test_a_scope_shows_what_was_written_and_null_is_not_left_out() -> None:
    scope = {"source": "a", "since": None, "checks": {"closed-goal": {"on": False}}}
    written = policy(scopes=[scope]).model_dump(mode="json")
    assert written["scopes"] == [
        {
            "source": "a",
            "since": None,
            "checks": {"closed-goal": {"on": False, "severity": "warning", "grace": None}},
        }
    ]
    assert Policy.model_validate(written) == policy(scopes=[scope])


@pytest.mark.parametrize(
    ("document", "where", "part"),
    [
        ({"extra": 1}, ("extra",), "not permitted"),
        ({"grace": "5 days"}, ("grace",), "ISO 8601"),
        ({"grace": "P1M"}, ("grace",), "months and years"),
        ({"grace": 5}, ("grace",), "string"),
        ({"grace": None}, ("grace",), "string"),
        ({"since": "yesterday"}, ("since",), '"connected"'),
        ({"since": "2026-02-30"}, ("since",), '"connected"'),
        ({"since": 20260101}, ("since",), '"connected"'),
        ({"since": "2026-01-01T00:00:00Z"}, ("since",), '"connected"'),
        ({"checks": {"no-driver": {}}}, ("checks",), "no check 'no-driver' in this build"),
        ({"checks": {"closed-goal": {"on": "yes"}}}, ("checks", "closed-goal", "on"), "boolean"),
        (
            {"checks": {"closed-goal": {"severity": "fatal"}}},
            ("checks", "closed-goal", "severity"),
            "'error'",
        ),
        (
            {"checks": {"closed-goal": {"grace": "P1Y"}}},
            ("checks", "closed-goal", "grace"),
            "no fixed length",
        ),
        ({"checks": {"closed-goal": {"off": True}}}, ("checks", "closed-goal", "off"), "not permitted"),
        ({"exempt": {"labels": "x"}}, ("exempt", "labels"), "list"),
        ({"exempt": {"labels": [""]}}, ("exempt", "labels", 0), "at least 1"),
        ({"exempt": {"labels": ["a\0"]}}, ("exempt", "labels", 0), "pattern"),
        ({"exempt": {"status_categories": ["open"]}}, ("exempt", "status_categories", 0), "'done'"),
        ({"exempt": {"people": []}}, ("exempt", "people"), "not permitted"),
        ({"quiet_hours": {"from": "18:00"}}, ("quiet_hours",), "both from and to"),
        ({"channel": "label"}, ("channel",), '"label" is not in this build'),
        ({"channel": "digest"}, ("channel",), "not in this build"),
        ({"channel": "mail"}, ("channel",), "'comment' or 'none'"),
        ({"escalation": [{"after": "P5D"}]}, ("escalation",), "not in this build"),
        ({"scopes": [{"grace": None}]}, ("scopes", 0, "grace"), "string"),
        ({"scopes": [{"source": None}]}, ("scopes", 0, "source"), "string"),
        ({"scopes": [{}, {"channel": "digest"}]}, ("scopes", 1, "channel"), "not in this build"),
        ({"scopes": [{"scopes": []}]}, ("scopes", 0, "scopes"), "not permitted"),
        ({"scopes": [{"checks": {"x": {}}}]}, ("scopes", 0, "checks"), "no check 'x'"),
        ({"scopes": [{"quiet_hours": 1}]}, ("scopes", 0, "quiet_hours"), "must be an object such as"),
        ({"scopes": [{"escalation": [{}]}]}, ("scopes", 0, "escalation"), "not in this build"),
    ],
)
def test_what_is_refused_and_where(document: dict[str, Any], where: tuple[object, ...], part: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Policy.model_validate(document)
    (error,) = refused.value.errors()
    assert error["loc"] == where
    assert part in error["msg"]


SHOWN_TO = "x" * 64


def test_a_check_that_is_not_there_is_named_by_its_first_64_characters() -> None:
    with pytest.raises(
        ValidationError, match=f"no check '{SHOWN_TO}' in this build; it has no-key-result, cl"
    ):
        policy(checks={"x" * 65: {}})


@pytest.mark.parametrize("kind", ["labels", "types", "projects"])
def test_the_bounds_themselves_are_taken(kind: str) -> None:
    for exempt, taken in (
        (["x" * 500], True),
        (["x" * 501], False),
        (["x"] * 1_000, True),
        (["x"] * 1_001, False),
    ):
        document = {"exempt": {kind: exempt}, "scopes": [{"exempt": {kind: exempt}}]}
        if taken:
            policy(**document)
        else:
            with pytest.raises(ValidationError):
                policy(**document)
    assert len(policy(scopes=[{"project": "x" * 500}] * 500).scopes) == 500
    refused: list[list[dict[str, str]]] = [[{}] * 501, [{"project": "x" * 501}], [{"source": ""}]]
    for scopes in refused:
        with pytest.raises(ValidationError):
            policy(scopes=scopes)


def test_a_date_may_be_a_date_and_is_no_moment() -> None:
    assert policy(since=date(2026, 1, 31)).since == date(2026, 1, 31)
    assert policy(since="2026-01-31").since == date(2026, 1, 31)
    with pytest.raises(ValidationError):
        policy(since=datetime(2026, 1, 31, tzinfo=UTC))


@pytest.mark.parametrize("scoped", [False, True])
def test_each_check_has_its_own_setting(scoped: bool) -> None:
    checks = {"closed-goal": {"on": False, "severity": "error", "grace": "P1D"}}
    whole = policy(checks={} if scoped else checks, scopes=[{"checks": checks}] if scoped else [])
    settings = effective_policy(whole, "s", "p").checks
    assert {name: (one.on, one.severity, one.grace) for name, one in settings.items()} == {
        "no-key-result": (True, "warning", Duration(5)),
        "closed-goal": (False, "error", Duration(1)),
    }


def test_scopes_may_state_what_this_build_has() -> None:
    one = policy(scopes=[{"quiet_hours": None, "escalation": [], "channel": "none"}])
    assert effective_policy(one, "s", "p").channel == "none"


def test_the_schema_is_one_that_can_be_published() -> None:
    schema = Policy.model_json_schema()
    assert schema["additionalProperties"] is False
    assert set(schema["$defs"]["QuietHours"]["properties"]) == {"from", "to", "days", "zone"}
    assert "required" not in schema["$defs"]["Scope"]


# --- what holds for one project ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("scopes", "fitting"),
    [
        ([], None),
        ([{}], 0),
        ([{"source": "jira"}], 0),
        ([{"source": "JIRA", "project": "shop"}], 0),
        ([{"source": "other"}, {"project": "SHOP"}], 1),
        ([{"source": "jira", "project": "CORE"}, {"project": "SHO"}], None),
        ([{"project": "SHOP"}, {"source": "jira", "project": "SHOP"}], 0),
    ],
)
def test_the_first_scope_that_fits(scopes: list[dict[str, Any]], fitting: int | None) -> None:
    assert effective_policy(policy(scopes=scopes), "Jira", "SHOP").scope == fitting


def test_a_scope_overrides_the_members_it_names() -> None:
    top = {
        "grace": "P3D",
        "since": "2026-01-01",
        "checks": {
            "no-key-result": {"severity": "error"},
            "closed-goal": {"grace": "PT4H", "severity": "info"},
        },
        "exempt": {"labels": ["a"], "types": ["b"]},
    }
    scope = {"project": "SHOP", "grace": "P1D", "since": None, "channel": "none", "exempt": {"labels": ["c"]}}
    whole = policy(**top, scopes=[{**scope, "checks": {"closed-goal": {"on": False}}}])
    here, elsewhere = effective_policy(whole, "s", "SHOP"), effective_policy(whole, "s", "CORE")

    assert (here.grace, here.since, here.channel) == (Duration(1), None, "none")
    assert here.labels.texts == ("c",)
    assert here.types.texts == ()
    assert here.checks["no-key-result"].severity == "error"
    assert not here.checks["closed-goal"].on
    assert here.checks["closed-goal"].severity == "warning"
    assert grace_for(here, "closed-goal") == Duration(1)

    assert (elsewhere.grace, elsewhere.since, elsewhere.channel) == (Duration(3), date(2026, 1, 1), "comment")
    assert elsewhere.types.texts == ("b",)
    assert grace_for(elsewhere, "no-key-result") == Duration(3)
    assert grace_for(elsewhere, "closed-goal") == Duration(0, timedelta(hours=4))
    assert elsewhere.scope is None


@pytest.mark.parametrize(
    ("since", "created", "young"),
    [
        ("connected", NOW, True),
        ("connected", NOW - timedelta(microseconds=1), False),
        (None, NOW - timedelta(days=9_999), True),
        ("2026-01-07", datetime(2026, 1, 7, tzinfo=UTC), True),
        ("2026-01-07", datetime(2026, 1, 6, 23, 59, 59, tzinfo=UTC), False),
    ],
)
def test_since(since: str | None, created: datetime, young: bool) -> None:
    assert (
        is_recent_enough(effective_policy(policy(since=since), "s", "p"), created, connected_at=NOW) is young
    )


@pytest.mark.parametrize(
    ("exempt", "epic", "why"),
    [
        ({}, EPIC, None),
        ({}, replace(EPIC, status_category="done"), "finished"),
        ({"labels": ["ops-1"]}, EPIC, "exempt by policy: label is Ops-1"),
        ({"labels": ["z", "ops*"]}, EPIC, "exempt by policy: label Ops-1 matches ops*"),
        ({"labels": ["ops"]}, EPIC, None),
        ({"types": ["epic"]}, EPIC, "exempt by policy: type is Epic"),
        ({"projects": ["shop"]}, EPIC, "exempt by policy: project is SHOP"),
        ({"projects": ["SHO", "SHOP-1"]}, EPIC, None),
        ({"status_categories": ["todo"]}, EPIC, "exempt by policy: status category todo"),
        ({"status_categories": ["doing", "done"]}, EPIC, None),
        # The first of: finished, status category, label, type, project.
        (
            {"labels": ["x"], "types": ["Epic"], "projects": ["SHOP"], "status_categories": ["todo"]},
            replace(EPIC, status_category="done"),
            "finished",
        ),
        (
            {"labels": ["x"], "types": ["Epic"], "projects": ["SHOP"], "status_categories": ["todo"]},
            EPIC,
            "exempt by policy: status category todo",
        ),
        (
            {"labels": ["x"], "types": ["Epic"], "projects": ["SHOP"]},
            EPIC,
            "exempt by policy: label is x",
        ),
        ({"types": ["Epic"], "projects": ["SHOP"]}, EPIC, "exempt by policy: type is Epic"),
        (
            {"labels": ["*"], "projects": ["S*"]},
            replace(EPIC, labels=()),
            "exempt by policy: project SHOP matches S*",
        ),
    ],
)
def test_exempt(exempt: dict[str, Any], epic: Epic, why: str | None) -> None:
    assert exemption(effective_policy(policy(exempt=exempt), "s", "SHOP"), epic) == why


# --- the mode of one project --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("notices", "modes"),
    [
        ({"mode": "off"}, ["off", "off"]),
        ({"mode": "shadow"}, ["shadow", "shadow"]),
        ({"mode": "live"}, ["live", "live"]),
        ({"mode": "live", "projects": None}, ["live", "live"]),
        ({"mode": "live", "projects": ["SHOP"]}, ["live", "shadow"]),
        ({"mode": "live", "projects": ["shop", "Core"]}, ["live", "live"]),
        ({"mode": "live", "projects": ["SHO", "CORE-1"]}, ["shadow", "shadow"]),
        ({"mode": "live", "projects": []}, ["shadow", "shadow"]),
        # The list limits `live` and nothing else.
        ({"mode": "shadow", "projects": ["SHOP"]}, ["shadow", "shadow"]),
        ({"mode": "off", "projects": ["SHOP"]}, ["off", "off"]),
    ],
)
def test_the_mode_of_a_project(notices: dict[str, Any], modes: list[str]) -> None:
    assert [mode_in(notices, project) for project in ("SHOP", "core")] == modes
    assert [mode_in(notices, project) for project in ("shop", "CORE")] == modes


# --- the clock --------------------------------------------------------------------------------


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


@settings(deadline=None)
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


@settings(deadline=None)
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
