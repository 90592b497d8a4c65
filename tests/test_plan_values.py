"""When an epic is planned and was done, and its story points, from what trackers show of it. Pure."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.base import Epic
from connectors.github import payloads as github
from connectors.github.config import GitHubEpics
from connectors.jira import payloads as jira
from connectors.jira.config import JiraEpics
from connectors.jira.named_fields import ids_of
from connectors.jira.payloads import DUE_DATE, PlannedField
from connectors.json import parse_json
from connectors.plan_values import first_moment
from connectors.ticket_text import UnreadableField
from mappings.sources.health import HealthConcern, HealthFacts, HealthInput, UnreadableValues, assess_health
from mappings.sources.unreadable_fields import unreadable_fields_in
from tests.support.recorded import Payloads, both_folders

START, DUE, POINTS = "epics.start_field", "epics.due_field", "epics.points_field"
GITHUB_FIELDS = {"start_field": "start date", "due_field": "Target date", "points_field": "12"}
DAYS_READ: list[tuple[Any, date | None]] = [
    ("2026-11-30", date(2026, 11, 30)), (" 2028-02-29 ", date(2028, 2, 29)),
    ("1970-01-01", date(1970, 1, 1)), (None, None), ("", None), ([], None),
]  # fmt: skip
NO_DAYS: list[Any] = [
    "0001-01-01", "9999-12-31", "2026-02-30", "2026-13-01", "20261130", "2026-W48-1", "30.11.2026", "n/a",
    "2026-11-30T00:00:00.000+0000", "2026-11-30T23:59:59-0800", 1_796_000_000_000, True,
    {"value": "2026-11-30"}, ["2026-11-30"], '{"start":"2026-11-01","end":"2026-11-30"}', "２０２６-11-30",
]  # fmt: skip
POINTS_READ: list[tuple[Any, float | None]] = [
    (3, 3.0), (2.5, 2.5), (0, 0.0), ("8", 8.0), (" 0.5 ", 0.5), (1_000_000, 1e6), (None, None), ("", None),
]  # fmt: skip
NO_POINTS: list[Any] = [
    -1, float("nan"), float("inf"), 1e7, 10**400, "n/a", "NaN", "1e3", "-3", "8,5", "8 points", True,
    {"value": "8", "id": "10030"}, [{"value": "8"}], ["8"], "9" * 5000,
]  # fmt: skip


def on_jira(start: Any = None, due: Any = None, points: Any = None, **more: Any) -> Epic:
    fields = {
        "summary": "An epic",
        "issuetype": {"id": "1", "name": "Epic"},
        "project": {"id": "1", "key": "SHOP"},
        "status": {"name": "Open", "statusCategory": {"key": more.pop("category", "new")}},
        "created": "2026-01-05T10:00:00.000+0000",
        "updated": "2026-01-06T10:00:00.000+0000",
        "customfield_1": start,
        "duedate": due,
        "customfield_3": points,
        **more,
    }
    planned = (
        PlannedField("start_field", "start date", ("customfield_1", "customfield_9")),
        DUE_DATE,
        PlannedField("points_field", "12", ("customfield_3",)),
    )
    return jira.ticket_of({"id": "1", "key": "SHOP-1", "fields": fields}, "https://t", planned=planned).epic


def on_github(start: Any = None, due: Any = None, points: Any = None, **more: Any) -> Epic:
    rows = [
        {"issue_field_id": 10, "issue_field_name": "Start Date", "data_type": "date", "value": start},
        {"issue_field_id": 11, "issue_field_name": "Target date", "data_type": "date", "value": due},
        {"issue_field_id": 12, "issue_field_name": "Size", "data_type": "number", "value": points},
        {"issue_field_id": 13, "issue_field_name": "Other", "data_type": "number", "value": 99},
    ]
    issue = {
        "id": 7,
        "number": 1,
        "title": "An epic",
        "state": "open",
        "labels": [{"name": "epic"}],
        "created_at": "2026-01-05T10:00:00Z",
        "updated_at": "2026-01-06T10:00:00Z",
        "issue_field_values": rows,
    }
    fields = more.pop("epics", GITHUB_FIELDS)
    found = github.issue_of(issue | more, "acme/shop", "https://t", GitHubEpics.model_validate(fields))
    assert found is not None
    return found.epic


READERS = pytest.mark.parametrize("read", [on_jira, on_github])


@pytest.mark.parametrize("epics", [JiraEpics, GitHubEpics])
@pytest.mark.parametrize("member", ["start_field", "due_field", "points_field"])
def test_blanks_around_the_name_of_a_field_do_not_count(
    epics: type[JiraEpics | GitHubEpics], member: str
) -> None:
    assert getattr(epics.model_validate({member: "  Target end\u00a0"}), member) == "Target end"
    for name in (" ", "", "\t\u00a0", "A\x00"):
        with pytest.raises(ValidationError):
            epics.model_validate({member: name})


@READERS
@pytest.mark.parametrize(("value", "day"), DAYS_READ)
def test_days(read: Any, value: Any, day: date | None) -> None:
    epic = read(start=value, due=value)
    assert (epic.starts_on, epic.due_on, epic.unreadable_fields) == (day, day, ())


@READERS
@pytest.mark.parametrize("value", NO_DAYS)
def test_what_is_no_day_counts_as_empty_and_is_named(read: Any, value: Any) -> None:
    epic = read(start=value, due=value, points=3)
    assert (epic.key, epic.starts_on, epic.due_on, epic.points) == (epic.key, None, None, 3.0)
    assert [(one.setting, one.kind) for one in epic.unreadable_fields] == [(START, "date"), (DUE, "date")]
    assert {one.name.casefold() for one in epic.unreadable_fields} <= {
        "start date",
        "due date",
        "target date",
    }


@READERS
@pytest.mark.parametrize(("value", "points"), POINTS_READ)
def test_points(read: Any, value: Any, points: float | None) -> None:
    epic = read(points=value)
    assert (epic.points, epic.unreadable_fields) == (points, ())


@READERS
@pytest.mark.parametrize("value", NO_POINTS)
def test_what_is_no_number_counts_as_empty_and_is_named(read: Any, value: Any) -> None:
    epic = read(points=value, start="2026-11-30")
    assert (epic.points, epic.starts_on) == (None, date(2026, 11, 30))
    assert epic.unreadable_fields == (UnreadableField(POINTS, "12", "number"),)


@READERS
def test_points_beyond_any_number_do_not_spoil_the_page(read: Any) -> None:
    """JSON has no such numbers, and trackers written in other languages send them all the same."""
    for written in (b"1e400", b"NaN", b"-1e400"):
        assert read(points=parse_json(b"[" + written + b"]")[0]).points is None


def test_a_select_is_no_day_and_no_number() -> None:
    option = {"id": 1, "name": "8", "color": "red"}
    for kind in ({"data_type": "single_select", "single_select_option": option},
                 {"data_type": "multi_select", "multi_select_options": [option]}):  # fmt: skip
        row = {"issue_field_id": 12, "issue_field_name": "Size", "value": "8", **kind}
        epic = on_github(issue_field_values=[row])
        assert (epic.points, [one.setting for one in epic.unreadable_fields]) == (None, [POINTS])


def test_of_several_fields_of_one_name_the_one_that_can_be_read_counts() -> None:
    """Each team-managed project of Jira has its own "Start date"."""
    assert on_jira(customfield_9="2026-11-30").starts_on == date(2026, 11, 30)
    both = on_jira(start="soon", customfield_9="2026-11-30")
    assert (both.starts_on, both.unreadable_fields) == (date(2026, 11, 30), ())
    fields = [{"id": f"customfield_{n}", "name": "Start date"} for n in (9, 1)] + [{"id": "duedate"}]
    assert ids_of(fields, "START date") == ["customfield_1", "customfield_9"]


@pytest.mark.parametrize(
    ("due_on", "day"),
    [
        ("2026-11-30T08:00:00Z", date(2026, 11, 30)),  # midnight in California in winter
        ("2026-07-01T07:00:00Z", date(2026, 7, 1)),  # and in summer
        ("2026-03-08T08:00:00Z", date(2026, 3, 8)),  # the days on which the clocks change
        ("2026-11-01T07:00:00Z", date(2026, 11, 1)),
        ("2026-12-31T08:00:00Z", date(2026, 12, 31)),
        ("2026-11-30T00:00:00Z", date(2026, 11, 30)),
        (None, None), ("", None),
    ],
)  # fmt: skip
def test_a_milestones_due_day_is_the_one_that_github_shows(due_on: Any, day: date | None) -> None:
    milestone = {"number": 1, "title": "Autumn", "due_on": due_on}
    epic = on_github(milestone=milestone, epics={})
    assert (epic.due_on, epic.milestone, epic.unreadable_fields) == (day, "Autumn", ())
    # A field that is named takes its place, also where it is empty.
    assert on_github(milestone=milestone).due_on is None
    assert on_github(due="2027-01-15", milestone=milestone).due_on == date(2027, 1, 15)


@pytest.mark.parametrize("due_on", ["soon", "2026-11-30", "0001-01-01T08:00:00Z", 7, {"a": 1}])
def test_a_milestone_without_a_readable_day_loses_no_epic(due_on: Any) -> None:
    epic = on_github(milestone={"number": 1, "title": "Autumn", "due_on": due_on}, epics={})
    assert (epic.due_on, epic.milestone) == (None, "Autumn")
    assert epic.unreadable_fields == (UnreadableField(DUE, "the milestone", "date"),)


@pytest.mark.parametrize(
    ("category", "changed", "resolved", "finished"),
    [
        ("done", "2026-11-02T09:00:00.000+0800", "2026-11-01T09:00:00.000+0000",
         datetime(2026, 11, 2, 1, tzinfo=UTC)),
        ("done", None, "2026-11-01T09:00:00.000+0000", datetime(2026, 11, 1, 9, tzinfo=UTC)),
        ("done", "n/a", "2026-11-01T09:00:00.000+0000", datetime(2026, 11, 1, 9, tzinfo=UTC)),
        ("done", "0001-01-01T00:00:00.000+0000", None, None),
        ("done", "2026-11-02T09:00:00", "2026-11-02", None),
        ("done", None, None, None),
        ("indeterminate", "2026-11-02T09:00:00.000+0000", "2026-11-01T09:00:00.000+0000", None),
        ("new", "2026-11-02T09:00:00.000+0000", None, None),
    ],
)  # fmt: skip
def test_when_a_jira_epic_was_done(category: str, changed: Any, resolved: Any, finished: Any) -> None:
    """An epic that was opened again may still carry when it was resolved."""
    epic = on_jira(category=category, statuscategorychangedate=changed, resolutiondate=resolved)
    assert (epic.finished_at, epic.unreadable_fields) == (finished, ())


@pytest.mark.parametrize(
    ("state", "closed_at", "finished"),
    [
        ("closed", "2026-11-02T09:00:00Z", datetime(2026, 11, 2, 9, tzinfo=UTC)),
        ("closed", None, None), ("closed", "n/a", None), ("open", "2026-11-02T09:00:00Z", None),
    ],
)  # fmt: skip
def test_when_a_github_epic_was_done(state: str, closed_at: Any, finished: Any) -> None:
    assert on_github(state=state, closed_at=closed_at).finished_at == finished


def test_a_moment_beyond_the_calendar_is_none() -> None:
    assert first_moment("9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", 7, None) is None


def test_without_fields_nothing_is_planned() -> None:
    bare = on_github(issue_field_values=None, epics={})
    assert (bare.starts_on, bare.due_on, bare.points, bare.finished_at) == (None,) * 4


@both_folders
def test_recorded_tickets_have_their_days_and_finish(payloads: Payloads) -> None:
    """Half of them and more have none."""
    sent = parse_json(json.dumps(payloads.jira_issues()).encode())
    epics = [jira.ticket_of(raw, "https://t").epic for raw in sent]
    done = [epic for epic in epics if epic.status_category == "done"]
    assert done
    assert all(epic.finished_at is not None for epic in done)
    assert all(epic.finished_at is None for epic in epics if epic.status_category != "done")
    due = [epic.due_on for epic in epics if epic.due_on is not None]
    assert len(due) <= len(epics) / 2
    assert all(epic.unreadable_fields == () for epic in epics)
    shown = [
        {**issue, "labels": [{"name": "epic"}]}
        for event, payload in payloads.github_webhooks()
        if event == "issues" and isinstance(issue := payload.get("issue"), dict) and issue.get("milestone")
    ]
    read = [github.issue_of(issue, "acme/shop", "https://t", GitHubEpics()) for issue in shown]
    assert {found.epic.due_on for found in read if found} == {
        date.fromisoformat(issue["milestone"]["due_on"][:10]) for issue in shown
    }


def test_health_names_each_field_once() -> None:
    epics = [on_jira(start="soon", points="many"), on_jira(start="later")]
    epics[1].key = "SHOP-2"
    found = unreadable_fields_in(epics)
    assert found[START] == {"name": "start date", "kind": "date", "epic": "SHOP-1"}
    fields = tuple(UnreadableValues(setting, **one) for setting, one in found.items())
    ok = HealthConcern("ok", "All was read.")
    source = HealthInput("jira", True, None, ok, unreadable_values=fields)
    health = assess_health(source, HealthFacts(), datetime(2026, 11, 20, tzinfo=UTC))
    assert health.state == "degraded"
    assert health.message == (
        "Some tickets have values that cannot be read, and count as empty: start date (epics.start_field) as "
        "a date, on SHOP-1 for one, 12 (epics.points_field) as a number, on SHOP-1 for one."
    )
    assert "next full sync" in health.what_to_do
