"""The policy document, and what holds for one project."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.base import Epic
from mappings.policy.document import (
    Policy,
    effective_policy,
    exemption,
    grace_for,
    is_recent_enough,
)
from mappings.policy.durations import (
    Duration,
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
        "initiatives": {"types": [], "labels": []},
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
        ({"initiatives": {"types": "x"}}, ("initiatives", "types"), "list"),
        ({"initiatives": {"labels": [""]}}, ("initiatives", "labels", 0), "at least 1"),
        ({"initiatives": {"projects": []}}, ("initiatives", "projects"), "not permitted"),
        ({"quiet_hours": {"from": "18:00"}}, ("quiet_hours",), "both from and to"),
        ({"channel": "label"}, ("channel",), '"label" is not in this build'),
        ({"channel": "digest"}, ("channel",), "not in this build"),
        ({"channel": "mail"}, ("channel",), "'comment' or 'none'"),
        ({"scopes": [{"grace": None}]}, ("scopes", 0, "grace"), "string"),
        ({"scopes": [{"source": None}]}, ("scopes", 0, "source"), "string"),
        ({"scopes": [{}, {"channel": "digest"}]}, ("scopes", 1, "channel"), "not in this build"),
        ({"scopes": [{"scopes": []}]}, ("scopes", 0, "scopes"), "not permitted"),
        ({"scopes": [{"checks": {"x": {}}}]}, ("scopes", 0, "checks"), "no check 'x'"),
        ({"scopes": [{"quiet_hours": 1}]}, ("scopes", 0, "quiet_hours"), "must be an object such as"),
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
