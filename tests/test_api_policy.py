"""The policy through the API: shown whole, merged or replaced, and refused with the way out."""

from __future__ import annotations

from typing import Any

from mappings.policy.document import Policy
from tests.support.world import World

DEFAULT = Policy().model_dump(mode="json")


async def test_the_default_is_shown_whole(world: World) -> None:
    assert await world.send("GET", "/policy") == {
        "grace": "P5D",
        "since": "connected",
        "checks": {
            "no-key-result": {"on": True, "severity": "warning", "grace": None},
            "closed-goal": {"on": True, "severity": "warning", "grace": None},
        },
        "exempt": {"labels": [], "types": [], "status_categories": [], "projects": []},
        "initiatives": {"types": [], "labels": []},
        "quiet_hours": None,
        "channel": "comment",
        "escalation": [],
        "scopes": [],
    }


async def test_a_put_replaces_and_a_patch_merges(world: World) -> None:
    replaced = await world.send("PUT", "/policy", {"grace": "P3D", "exempt": {"labels": ["tech*"]}})
    assert replaced == {**DEFAULT, "grace": "P3D", "exempt": {**DEFAULT["exempt"], "labels": ["tech*"]}}
    merged = await world.send(
        "PATCH", "/policy", {"exempt": {"types": ["Spike"]}, "checks": {"closed-goal": {"on": False}}}
    )
    assert merged["exempt"] == {**DEFAULT["exempt"], "labels": ["tech*"], "types": ["Spike"]}
    assert merged["checks"]["closed-goal"]["on"] is False
    assert merged["checks"]["no-key-result"]["on"] is True
    assert merged["grace"] == "P3D"
    assert await world.send("GET", "/policy") == merged
    assert (await world.send("PATCH", "/policy", {"grace": None, "exempt": None}))["exempt"] == DEFAULT[
        "exempt"
    ]
    assert await world.send("PUT", "/policy", {}) == DEFAULT


async def test_since_may_be_null_on_purpose(world: World) -> None:
    for since in ("2026-11-01", None, "connected"):
        assert (await world.send("PATCH", "/policy", {"since": since}))["since"] == since
        assert (await world.send("GET", "/policy"))["since"] == since


async def test_a_scope_says_only_what_is_different(world: World) -> None:
    scopes: list[dict[str, Any]] = [
        {"source": "jira", "project": "SHOP", "grace": "P1D"},
        {"project": "CORE", "since": None, "checks": {"closed-goal": {"on": False}}},
        {"channel": "none"},
    ]
    shown = await world.send("PATCH", "/policy", {"scopes": scopes})
    scopes[1]["checks"] = {"closed-goal": {"on": False, "severity": "warning", "grace": None}}
    assert shown["scopes"] == scopes, "a check that is named is shown whole"
    assert await world.send("PUT", "/policy", shown) == shown


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"grace": "5 days"}, "grace", "P5D"),
    ({"grace": "P1M"}, "grace", "no fixed length"),
    ({"grace": 5}, "grace", "string"),
    ({"since": "yesterday"}, "since", '"connected", a date'),
    ({"since": "2026-13-01"}, "since", '"connected", a date'),
    ({"since": "1969-12-31"}, "since", "must lie between 1970 and 2100"),
    ({"since": "2101-01-01"}, "since", "must lie between 1970 and 2100"),
    ({"scopes": [{}, {"since": "0999-01-01"}]}, "scopes.1.since", "must lie between 1970 and 2100"),
    ({"checks": {"review-overdue": {"on": True}}}, "checks", "no check 'review-overdue' in this build"),
    ({"checks": {"closed-goal": {"severity": "loud"}}}, "checks.closed-goal.severity", "'info'"),
    ({"checks": {"closed-goal": {"on": "maybe"}}}, "checks.closed-goal.on", "boolean"),
    ({"checks": {"closed-goal": {"colour": 1}}}, "checks.closed-goal.colour", "is not known here"),
    ({"exempt": {"labels": "tech"}}, "exempt.labels", "list"),
    ({"exempt": {"labels": [""]}}, "exempt.labels.0", "at least 1"),
    ({"exempt": {"status_categories": ["closed"]}}, "exempt.status_categories.0", "'todo'"),
    ({"exempt": {"people": []}}, "exempt.people", "is not known here"),
    ({"channel": "digest"}, "channel", "not in this build"),
    ({"channel": "smoke"}, "channel", "'comment' or 'none'"),
    ({"quiet_hours": "22-6"}, "quiet_hours", "must be an object such as"),
    ({"quiet_hours": {"from": "18:00", "to": "18:00"}}, "quiet_hours", "are the same"),
    ({"quiet_hours": {"from": "6pm", "to": "08:00"}}, "quiet_hours.from", "such as 18:00"),
    ({"quiet_hours": {"days": ["sun"], "zone": "Mars/Base"}}, "quiet_hours.zone", "IANA"),
    ({"escalation": [{"after": "P1D"}]}, "escalation.0.to", "required"),
    ({"escalation": [{"to": "lead", "after": "soon"}]}, "escalation.0.after", "P5D"),
    ({"scopes": [{"project": "SHOP", "grace": "soon"}]}, "scopes.0.grace", "P5D"),
    ({"scopes": [{"team": "SHOP"}]}, "scopes.0.team", "is not known here"),
    ({"colour": "red"}, "colour", "is not known here"),
]


async def test_wrong_policies_name_the_place_and_the_way_out(world: World) -> None:
    for method in ("PATCH", "PUT"):
        for body, field, message in WRONG:
            errors = await world.refused(method, "/policy", body)
            assert errors.keys() == {field}, (method, body, errors)
            assert message in errors[field], (method, body, errors)
        no_object: Any
        for no_object in ([], "policy", 5):
            errors = await world.refused(method, "/policy", no_object)
            assert errors.keys() == {"body"}, (method, no_object, errors)
    assert await world.send("GET", "/policy") == DEFAULT


async def test_a_stale_version_is_412(world: World) -> None:
    seen = await world.api.get("/api/v1/policy")
    tag = seen.headers["etag"]
    first = await world.api.patch("/api/v1/policy", json={"grace": "P1D"}, headers={"If-Match": tag})
    assert (first.status_code, first.headers["etag"] != tag) == (200, True)
    for method in ("PATCH", "PUT"):
        stale = await world.api.request(
            method, "/api/v1/policy", json={"grace": "P2D"}, headers={"If-Match": tag}
        )
        assert stale.status_code == 412
    assert (await world.send("GET", "/policy"))["grace"] == "P1D"


async def test_what_it_changes_is_evaluated_anew(world: World) -> None:
    """Exempt, no longer checked, checked again: each answered at once and then evaluated."""
    world.site.create("SHOP", "An epic", labels=["tech-debt"])
    await world.connect_jira()
    await world.sync("jira")
    steps: list[tuple[dict[str, Any], str, list[str]]] = [
        ({"exempt": {"labels": ["tech*"]}}, "exempt", ["resolved"]),
        ({"exempt": {"labels": []}}, "unaligned", ["open"]),
        ({"checks": {"no-key-result": {"on": False}}}, "unaligned", ["resolved"]),
        ({"checks": {"no-key-result": {"on": True, "severity": "error"}}}, "unaligned", ["open"]),
    ]
    for patch, alignment, states in steps:
        await world.send("PATCH", "/policy", patch)
        await world.drain()
        epic = await world.epic("jira", "SHOP-1")
        assert (epic["alignment"], [one["state"] for one in epic["findings"]]) == (alignment, states), patch
    assert (await world.epic("jira", "SHOP-1"))["findings"][0]["severity"] == "error"
