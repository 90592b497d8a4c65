"""Quiet hours: which they are and when they end, the days the clocks change among them, and what waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from mappings.policy.document import Policy, effective_policy
from mappings.policy.modes import NoticesMode
from mappings.policy.quiet_hours import WEEKDAYS, QuietHours
from tests.support.clock import Clock
from tests.support.evaluations import (
    OPENED,
    decision_on,
    evaluation_input,
    found,
    goal,
    links_to,
    on,
    policy,
    state_reason_target,
    written,
)
from tests.support.tracker_drivers import driver_of, either
from tests.support.world import World

NIGHTS = {"from": "18:00", "to": "08:00"}
NOON = {"from": "12:00", "to": "13:30"}
WEEKENDS = {"days": ["sat", "sun"]}
BERLIN = {"zone": "Europe/Berlin"}


def quiet(**document: Any) -> QuietHours:
    return QuietHours.model_validate(document)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# --- when they end ----------------------------------------------------------------------------

# 16 November 2026 is a Monday. In Berlin clocks go from 02:00 to 03:00 on Sunday 29 March 2026 (01:00
# UTC), and from 03:00 back to 02:00 on Sunday 25 October 2026 (01:00 UTC).
ENDS: list[tuple[str, dict[str, Any], str, str | None]] = [
    ("before the evening", NIGHTS, "2026-11-16T17:59:59", None),
    ("from the evening on", NIGHTS, "2026-11-16T18:00", "2026-11-17T08:00"),
    ("after midnight", NIGHTS, "2026-11-17T00:00", "2026-11-17T08:00"),
    ("the last second", NIGHTS, "2026-11-17T07:59:59", "2026-11-17T08:00"),
    ("the end itself is not quiet", NIGHTS, "2026-11-17T08:00", None),
    ("within one day", NOON, "2026-11-16T12:00", "2026-11-16T13:30"),
    ("after it", NOON, "2026-11-16T13:30", None),
    ("before it", NOON, "2026-11-16T11:59", None),
    ("midnight to morning", {"from": "00:00", "to": "08:00"}, "2026-11-16T00:00", "2026-11-16T08:00"),
    ("evening to midnight", {"from": "18:00", "to": "00:00"}, "2026-11-16T18:00", "2026-11-17T00:00"),
    ("a whole day", {"days": ["mon"]}, "2026-11-16T00:00", "2026-11-17T00:00"),
    ("the day before it", {"days": ["tue"]}, "2026-11-16T23:59:59", None),
    ("a weekend", WEEKENDS, "2026-11-21T09:00", "2026-11-23T00:00"),
    ("a weekend and nights: Friday night", NIGHTS | WEEKENDS, "2026-11-20T19:00", "2026-11-23T08:00"),
    ("a weekend and nights: Sunday noon", NIGHTS | WEEKENDS, "2026-11-22T12:00", "2026-11-23T08:00"),
    ("a weekend and nights: Monday noon", NIGHTS | WEEKENDS, "2026-11-23T12:00", None),
    ("a weekend and noons", NOON | WEEKENDS, "2026-11-22T12:30", "2026-11-23T00:00"),
    ("six days", {"days": [*WEEKDAYS[1:]]}, "2026-11-17T00:00", "2026-11-23T00:00"),
    ("Berlin in winter", NIGHTS | BERLIN, "2026-11-16T17:00", "2026-11-17T07:00"),
    ("Berlin in winter, too early", NIGHTS | BERLIN, "2026-11-16T16:59", None),
    ("Berlin in summer", NIGHTS | BERLIN, "2026-07-01T16:00", "2026-07-02T06:00"),
    ("a day of Berlin", {"days": ["mon"]} | BERLIN, "2026-11-15T23:00", "2026-11-16T23:00"),
    ("Kathmandu", NIGHTS | {"zone": "Asia/Kathmandu"}, "2026-11-16T12:15", "2026-11-17T02:15"),
    (
        "a day ahead of UTC",
        {"days": ["tue"], "zone": "Pacific/Auckland"},
        "2026-11-16T12:00",
        "2026-11-17T11:00",
    ),
    (
        "a day behind it",
        {"days": ["sun"], "zone": "Pacific/Honolulu"},
        "2026-11-16T09:00",
        "2026-11-16T10:00",
    ),
    # the night in which an hour is skipped
    ("spring: a short night", NIGHTS | BERLIN, "2026-03-28T17:00", "2026-03-29T06:00"),
    (
        "spring: ends in the hour skipped",
        {"from": "22:00", "to": "02:30"} | BERLIN,
        "2026-03-29T00:30",
        "2026-03-29T01:00",
    ),
    ("spring: and not later", {"from": "22:00", "to": "02:30"} | BERLIN, "2026-03-29T01:00", None),
    (
        "spring: begins in the hour skipped",
        {"from": "02:30", "to": "04:00"} | BERLIN,
        "2026-03-29T01:00",
        "2026-03-29T02:00",
    ),
    ("spring: and not earlier", {"from": "02:30", "to": "04:00"} | BERLIN, "2026-03-29T00:59", None),
    (
        "spring: begins with the hour skipped",
        {"from": "02:00", "to": "04:00"} | BERLIN,
        "2026-03-29T01:00",
        "2026-03-29T02:00",
    ),
    (
        "spring: and not before the change",
        {"from": "02:00", "to": "04:00"} | BERLIN,
        "2026-03-29T00:59:59",
        None,
    ),
    (
        "spring: ends with the last minute skipped",
        {"from": "22:00", "to": "02:59"} | BERLIN,
        "2026-03-29T00:59",
        "2026-03-29T01:00",
    ),
    ("spring: all of it is skipped", {"from": "02:10", "to": "02:50"} | BERLIN, "2026-03-29T01:00", None),
    ("spring: a day of 23 hours", {"days": ["sun"]} | BERLIN, "2026-03-28T23:00", "2026-03-29T22:00"),
    # the night in which an hour comes twice
    ("autumn: a long night", NIGHTS | BERLIN, "2026-10-24T16:00", "2026-10-25T07:00"),
    (
        "autumn: ends in the second of the two hours",
        {"from": "22:00", "to": "02:30"} | BERLIN,
        "2026-10-25T00:29",
        "2026-10-25T01:30",
    ),
    (
        "autumn: quiet between the two",
        {"from": "22:00", "to": "02:30"} | BERLIN,
        "2026-10-25T00:45",
        "2026-10-25T01:30",
    ),
    ("autumn: and not longer", {"from": "22:00", "to": "02:30"} | BERLIN, "2026-10-25T01:30", None),
    (
        "autumn: begins in the first of them",
        {"from": "02:30", "to": "04:00"} | BERLIN,
        "2026-10-25T00:30",
        "2026-10-25T03:00",
    ),
    ("autumn: and not earlier", {"from": "02:30", "to": "04:00"} | BERLIN, "2026-10-25T00:29", None),
    ("autumn: a day of 25 hours", {"days": ["sun"]} | BERLIN, "2026-10-24T22:00", "2026-10-25T23:00"),
    # clocks that change at midnight, and by half an hour
    (
        "a day that begins at 01:00",
        {"days": ["sun"], "zone": "America/Santiago"},
        "2026-09-06T04:00",
        "2026-09-07T03:00",
    ),
    (
        "half an hour skipped",
        {"from": "22:00", "to": "02:10", "zone": "Australia/Lord_Howe"},
        "2026-10-03T15:00",
        "2026-10-03T15:30",
    ),
]


@pytest.mark.parametrize(("document", "now", "end"), [row[1:] for row in ENDS], ids=[row[0] for row in ENDS])
def test_ends(document: dict[str, Any], now: str, end: str | None) -> None:
    assert quiet(**document).end(at(now)) == (None if end is None else at(end))


_times = st.times().map(lambda time: f"{time:%H:%M}")
_some_quiet = st.builds(
    lambda start, end, days, zone: {"from": start, "to": end, "days": days, "zone": zone},
    _times,
    _times,
    st.lists(st.sampled_from(WEEKDAYS), unique=True, max_size=6),
    st.sampled_from(["UTC", "Europe/Berlin", "America/Santiago", "Australia/Lord_Howe", "Asia/Kathmandu"]),
).filter(lambda document: document["from"] != document["to"])
_moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))


@given(_some_quiet, _moments)
def test_all_before_the_end_is_quiet_and_the_end_is_not(document: dict[str, Any], now: datetime) -> None:
    hours = quiet(**document)
    end = hours.end(now)
    if end is None:
        return
    assert now < end < now + timedelta(days=15)
    assert hours.end(end) is None
    for part in (0.1, 0.5, 0.9, 1):
        assert hours.end(now + (end - now) * part - timedelta(microseconds=1)) == end


def test_the_words_name_the_local_time_and_its_zone() -> None:
    hours = quiet(**NIGHTS, **BERLIN)
    assert hours.words(at("2026-11-17T07:00")) == "Quiet hours end at 2026-11-17 08:00 Europe/Berlin."


# --- the document -----------------------------------------------------------------------------

REFUSED: list[tuple[Any, str, str]] = [
    ("22-6", "", "must be an object such as"),
    (["sat"], "", "must be an object such as"),
    ({}, "", "is never quiet; give from and to, or days"),
    ({"days": []}, "", "is never quiet"),
    ({"from": "18:00"}, "", "needs both from and to"),
    ({"to": "08:00", "days": ["sat"]}, "", "needs both from and to"),
    ({"from": "08:00", "to": "08:00"}, "", "from and to are the same"),
    ({"days": [*WEEKDAYS]}, "", 'is always quiet; leave a day out, or set channel to "none"'),
    ({"from": "8:00", "to": "09:00"}, "from", "must be a time of day from 00:00 to 23:59, such as 18:00"),
    ({"from": "24:00", "to": "09:00"}, "from", "must be a time of day"),
    ({"from": "08:60", "to": "09:00"}, "from", "must be a time of day"),
    ({"from": "08:00\n", "to": "09:00"}, "from", "must be a time of day"),
    ({"from": "٠٨:٠٠", "to": "09:00"}, "from", "must be a time of day"),
    ({"from": 18, "to": "09:00"}, "from", "string"),
    ({"days": ["Saturday"]}, "days.0", "'mon', 'tue'"),
    ({"days": "sat"}, "days", "list"),
    ({"days": ["sat"] * 21}, "days", "at most 20"),
    (NIGHTS | {"zone": "Berlin"}, "zone", 'is no IANA time zone; use a name such as "Europe/Berlin"'),
    (NIGHTS | {"zone": "europe/berlin"}, "zone", "IANA"),
    (NIGHTS | {"zone": "../../etc/passwd"}, "zone", "IANA"),
    (NIGHTS | {"zone": "/etc/localtime"}, "zone", "IANA"),
    (NIGHTS | {"zone": ""}, "zone", "IANA"),
    (NIGHTS | {"zone": None}, "zone", "string"),
    (NIGHTS | {"colour": "red"}, "colour", "not permitted"),
    (NIGHTS | {"from_": "18:00"}, "from_", "not permitted"),
]


@pytest.mark.parametrize(("document", "where", "part"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_refused(document: Any, where: str, part: str) -> None:
    for whole, place in (
        ({"quiet_hours": document}, ()),
        ({"scopes": [{"quiet_hours": document}]}, ("scopes", 0)),
    ):
        with pytest.raises(ValidationError) as refused:
            Policy.model_validate(whole)
        (error,) = refused.value.errors()
        expected_value = ".".join(map(str, (*place, "quiet_hours", *filter(None, [where]))))
        assert ".".join(map(str, error["loc"])) == expected_value
        assert part in error["msg"]


def test_it_is_shown_as_it_is_written_and_the_same_days_are_the_same() -> None:
    document = {**NIGHTS, "days": ["sun", "sat", "sun"]}
    written_back = Policy.model_validate({"quiet_hours": document}).model_dump(mode="json")
    assert written_back["quiet_hours"] == {**NIGHTS, "days": ["sat", "sun"], "zone": "UTC"}
    assert Policy.model_validate(written_back).model_dump(mode="json") == written_back
    assert quiet(**document) == quiet(**NIGHTS, **WEEKENDS)


def test_the_bounds_themselves_are_taken() -> None:
    assert quiet(days=["sat"] * 20).days == ["sat"]
    assert quiet(**{"from": "00:00", "to": "23:59"}).from_ == "00:00"
    assert len(quiet(days=[*WEEKDAYS[1:]] * 3).days) == 6


def test_a_scope_has_its_own_or_none_or_those_of_the_top() -> None:
    whole = Policy.model_validate(
        {
            "quiet_hours": NIGHTS,
            "scopes": [{"project": "A", "quiet_hours": NOON}, {"project": "B", "quiet_hours": None}],
        }
    )
    assert [effective_policy(whole, "s", project).quiet_hours for project in "ABC"] == [
        quiet(**NOON),
        None,
        quiet(**NIGHTS),
    ]


# --- what waits -------------------------------------------------------------------------------

EVENING, MORNING = on(16, 19), on(17, 8)
RULES = policy(quiet_hours=NIGHTS)


@pytest.mark.parametrize(
    ("mode", "members", "grace", "now", "expected"),
    [
        ("live", {}, "P5D", EVENING, ("held", "quiet_hours", None)),
        ("live", {}, "P5D", MORNING, ("due", None, "posted")),
        ("live", {}, "P30D", EVENING, ("held", "grace", None)),
        ("live", {"fresh": False}, "P5D", EVENING, ("held", "stale", None)),
        ("live", {"fresh": False}, "P30D", EVENING, ("held", "grace", None)),
        ("shadow", {}, "P5D", EVENING, ("shadow", None, None)),
    ],
)
def test_their_place_among_the_reasons(
    mode: NoticesMode, members: dict[str, Any], grace: str, now: datetime, expected: Any
) -> None:
    rules = policy(quiet_hours=NIGHTS, grace=grace)
    decision = decision_on(evaluation_input(**members), found(), mode=mode, rules=rules, now=now)
    assert state_reason_target(decision) == expected


def test_a_dispute_comes_first_and_off_says_nothing() -> None:
    disputed = decision_on(evaluation_input(), found(state="disputed"), rules=RULES, now=EVENING)
    assert state_reason_target(disputed) == ("held", "disputed", None)
    off = decision_on(evaluation_input(), found(), mode="off", rules=RULES, now=EVENING)
    assert (off.keep_notice, off.evaluate_at) == (True, None)


def test_it_is_looked_at_again_when_they_end() -> None:
    decision = decision_on(evaluation_input(), found(), rules=RULES, now=EVENING)
    assert decision.evaluate_at == MORNING
    assert decision.notice is not None
    assert decision.notice.detail == "Quiet hours end at 2026-11-17 08:00 UTC."


def test_grace_that_ends_at_night_ends_again_in_the_morning() -> None:
    rules = policy(quiet_hours=NIGHTS, grace="PT12H")
    opened = on(16, 12)
    before = decision_on(evaluation_input(), found(opened_at=opened), rules=rules, now=EVENING)
    assert (state_reason_target(before), before.evaluate_at) == (("held", "grace", None), on(17))
    after = decision_on(evaluation_input(), found(opened_at=opened), rules=rules, now=on(17))
    assert (state_reason_target(after), after.evaluate_at) == (("held", "quiet_hours", None), MORNING)


def test_no_time_to_look_again_where_nothing_waits() -> None:
    aligned, waived = evaluation_input(links_to(goal(1))), found(state="waived", until=on(30))
    assert (
        decision_on(evaluation_input(), found(), mode="shadow", rules=RULES, now=EVENING).evaluate_at is None
    )
    assert decision_on(aligned, found(), rules=RULES, now=EVENING).evaluate_at is None
    assert decision_on(evaluation_input(), waived, rules=RULES, now=EVENING).evaluate_at == on(30)


def test_edits_and_resolutions_are_not_held_back() -> None:
    posted = written(decision_on(evaluation_input(), found()))
    resolved = written(decision_on(evaluation_input(links_to(goal(1))), notice=posted), "resolved")
    gap = found(opened_at=OPENED)
    dead = evaluation_input(links_to(goal(2, state="missed")))
    edited = decision_on(dead, found("closed-goal"), notice=posted, rules=RULES, now=EVENING)
    assert state_reason_target(edited) == ("posted", None, "posted")
    closed = decision_on(evaluation_input(links_to(goal(1))), gap, notice=posted, rules=RULES, now=EVENING)
    assert state_reason_target(closed) == ("posted", None, "resolved")
    returned = decision_on(evaluation_input(), gap, notice=resolved, rules=RULES, now=EVENING)
    assert state_reason_target(returned) == ("resolved", None, "posted")


@pytest.mark.parametrize("kind", either("github"))
async def test_a_ticket_is_left_in_peace_until_they_end(world: World, kind: str, clock: Clock) -> None:
    clock.now = at("2026-11-16T18:30")
    driver = driver_of(world, kind)
    first, second = driver.add("First"), driver.add("Second")
    await driver.connect()
    await world.goal("KR-1")
    await world.send("PATCH", "/policy", {"quiet_hours": NIGHTS | BERLIN})
    await driver.sync()
    for key in (first, second):
        notice = await driver.notice(key)
        assert (notice["state"], notice["reason"]) == ("held", "quiet_hours")
        assert notice["detail"] == "Quiet hours end at 2026-11-17 08:00 Europe/Berlin."
        assert driver.comments(key) == []
    clock.now = at("2026-11-17T06:59")
    await driver.sync()
    assert driver.comments(first) == []
    clock.now = at("2026-11-17T07:00")
    await driver.sync()
    assert [len(driver.comments(key)) for key in (first, second)] == [1, 1]
    # What stands is set right at any hour.
    clock.now = at("2026-11-17T23:00")
    driver.describe(first, "Key-Result: KR-1")
    await driver.sync()
    assert driver.comments(first)[0].startswith("Aligned with KR-1")


async def test_a_change_of_them_is_evaluated_at_once(world: World, clock: Clock) -> None:
    clock.now = at("2026-11-16T18:30")
    driver = driver_of(world, "jira")
    key = driver.add("First")
    await driver.connect()
    await world.send("PATCH", "/policy", {"quiet_hours": NIGHTS})
    await driver.sync()
    merged = await world.send("PATCH", "/policy", {"quiet_hours": {"zone": "Europe/Berlin"}})
    assert merged["quiet_hours"] == {**NIGHTS, "days": [], "zone": "Europe/Berlin"}
    await world.drain()
    assert (await driver.notice(key))["detail"] == "Quiet hours end at 2026-11-17 08:00 Europe/Berlin."
    assert (await world.send("PATCH", "/policy", {"quiet_hours": None}))["quiet_hours"] is None
    await world.drain()
    assert (await driver.notice(key))["state"] == "posted"
