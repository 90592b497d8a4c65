"""Sources through the API: what is taken, shown, changed and refused, without a call to their trackers."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from app.runtime import Runtime
from app.secrets import binding_of
from mappings.tables import SourceRow
from tests.support.clock import Clock
from tests.support.world import World

JIRA: dict[str, Any] = {
    "name": "acme-jira",
    "kind": "jira",
    "base_url": "https://acme.atlassian.net",
    "credentials": {"type": "api_token", "email": "bot@acme.example", "token": "jira-token"},
}
GITHUB: dict[str, Any] = {
    "name": "acme-github",
    "kind": "github",
    "base_url": "https://api.github.com",
    "credentials": {"type": "token", "token": "github-token"},
    "scope": {"repositories": ["acme/shop"]},
}
NO_FIELDS = dict.fromkeys(("key_result_field", "start_field", "due_field", "points_field"))


async def test_a_source_there_and_back(world: World) -> None:
    made = await world.send("POST", "/sources", {**JIRA, "base_url": f"{JIRA['base_url']}/"})
    assert made["base_url"] == "https://acme.atlassian.net"
    assert made["credentials"] == {"type": "api_token"}
    assert made["scope"] == {"projects": None, "jql": None}
    assert made["epics"] == {"issue_types": None, "fields": [], **NO_FIELDS}
    assert made["schedule"] == {"every": None, "full": None}
    assert made["notices"] == {
        "mode": "shadow",
        "projects": None,
        "per_run": 10,
        "per_day": 25,
        "max_share": 0.2,
    }
    health = {"state": "unknown", "message": "", "what_to_do": "", "checked_at": None}
    refused = {"hour": 0, "day": 0, "since": None}
    assert made["health"] == {**health, "unknown_deliveries": 0, "refused_signatures": refused}
    assert made["last_run"] is None
    assert made["webhook_url"] == "http://127.0.0.1:8000/webhooks/acme-jira"
    assert await world.send("GET", "/sources/ACME-jira") == made
    other = await world.send("POST", "/sources", GITHUB)
    assert other["epics"] == {
        "labels": ["epic"],
        "issue_types": [],
        "with_sub_issues": False,
        **NO_FIELDS,
    }
    listed = await world.send("GET", "/sources?limit=1")
    rest = await world.send("GET", f"/sources?limit=1&cursor={listed['next']}")
    assert listed["items"] + rest["items"] == [made, other]
    await world.send("DELETE", "/sources/acme-jira")
    await world.refused("GET", "/sources/acme-jira", status=404)


async def test_no_tracker_is_called_until_a_sync(world: World) -> None:
    for connected in (await world.connect_jira(), await world.connect_github(scope=GITHUB["scope"])):
        path = f"/sources/{connected['name']}"
        credentials = {"type": "token", "token": world.host.bot.token}
        if connected["kind"] == "jira":
            credentials = {"type": "api_token", "email": world.site.bot.email, "token": "another"}
        await world.send("PATCH", path, {"credentials": credentials, "notices": {"per_run": 3}})
        await world.send("GET", path)
    await world.drain()
    await world.send("DELETE", "/sources/github")
    assert (world.jira.log.count(), world.github.log.count()) == (0, 0)
    await world.sync("jira")
    assert world.jira.log.count() > 0


async def test_a_schedule_may_be_any_span(world: World) -> None:
    await world.send("POST", "/sources", JIRA)
    for every in ("P1D", "P1W", "P1DT12H", "P366D", "PT1S", "PT90M"):
        changed = await world.send("PATCH", "/sources/acme-jira", {"schedule": {"every": every}})
        assert changed["schedule"] == {"every": every, "full": None}


async def test_what_may_be_left_out_may_be_null(world: World) -> None:
    """Where null says nothing of its own."""
    made = await world.send("POST", "/sources", {**JIRA, "schedule": None, "webhook_secret": None})
    assert (made["schedule"], made["webhook_secret_set"]) == ({"every": None, "full": None}, False)
    await world.send("PATCH", "/sources/acme-jira", {"schedule": {"every": "PT15M"}})
    changed = await world.send("PATCH", "/sources/acme-jira", {"schedule": None})
    assert changed["schedule"] == {"every": None, "full": None}


async def test_a_name_is_taken_in_any_case(world: World) -> None:
    await world.send("POST", "/sources", JIRA)
    await world.send("POST", "/sources", GITHUB)
    problem = await world.send("POST", "/sources", {**GITHUB, "name": "ACME-Jira"}, expect=409)
    assert "'ACME-Jira' is taken" in problem["detail"]
    await world.send("PATCH", "/sources/acme-github", {"name": "acme-JIRA"}, expect=409)
    renamed = await world.send("PATCH", "/sources/acme-github", {"name": "ACME-GitHub"})
    assert (renamed["name"], renamed["webhook_url"].rsplit("/", 1)[1]) == ("ACME-GitHub", "ACME-GitHub")


def _without(body: dict[str, Any], member: str) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != member}


WRONG: list[tuple[dict[str, Any], str, str]] = [
    (_without(JIRA, "name"), "name", "required"),
    (_without(JIRA, "credentials"), "credentials", "required"),
    (_without(GITHUB, "scope"), "scope", "at least one"),
    ({**JIRA, "name": "a b"}, "name", "letters"),
    ({**JIRA, "name": ""}, "name", "letters"),
    ({**JIRA, "name": "x" * 65}, "name", "letters"),
    ({**JIRA, "kind": "trello"}, "kind", "'jira', 'github'"),
    (_without(JIRA, "kind"), "kind", "discriminator"),
    ({**JIRA, "colour": "red"}, "colour", "is not known here"),
    ({**JIRA, "base_url": "http://acme.atlassian.net"}, "base_url", "https://"),
    ({**JIRA, "base_url": "acme"}, "base_url", "must be an address"),
    ({**GITHUB, "base_url": "https://github.com"}, "base_url", "https://api.github.com"),
    (
        {**JIRA, "credentials": {"type": "api_token", "email": "bot@acme.example"}},
        "credentials.token",
        "required",
    ),
    ({**JIRA, "credentials": {**JIRA["credentials"], "email": "bot"}}, "credentials.email", "pattern"),
    ({**JIRA, "credentials": {**JIRA["credentials"], "pin": "1"}}, "credentials.pin", "is not known here"),
    ({**JIRA, "credentials": {"type": "bearer", "token": "t"}}, "credentials.type", "not in this build"),
    ({**GITHUB, "credentials": {"type": "app", "app_id": 1}}, "credentials.type", "not in this build"),
    ({**GITHUB, "credentials": {"type": "token", "token": "a b"}}, "credentials.token", "printable"),
    ({**JIRA, "scope": {"jql": "project = X ORDER BY key"}}, "scope.jql", "ORDER BY"),
    ({**JIRA, "scope": {"projects": []}}, "scope.projects", "at least 1"),
    ({**GITHUB, "scope": {"repositories": ["shop"]}}, "scope.repositories.0", "pattern"),
    ({**GITHUB, "scope": {}}, "scope", "at least one"),
    ({**GITHUB, "epics": {"labels": []}}, "epics", "give labels"),
    ({**JIRA, "schedule": {"every": "PT0S"}}, "schedule.every", "at least PT1S"),
    ({**JIRA, "schedule": {"every": "P1Y"}}, "schedule.every", "no fixed length"),
    ({**JIRA, "schedule": {"every": "soon"}}, "schedule.every", "ISO 8601"),
    ({**JIRA, "schedule": {"full": "daily"}}, "schedule.full", "cron line"),
    ({**JIRA, "notices": {"mode": "loud"}}, "notices.mode", "'off', 'shadow' or 'live'"),
    ({**JIRA, "notices": {"max_share": 2}}, "notices.max_share", "less than or equal to 1"),
    ({**JIRA, "webhook_secret": ""}, "webhook_secret", "at least 1"),
    ({**JIRA, "scope": {"jql": "labels = a\0"}}, "scope.jql", "U+0000"),
    ({**JIRA, "epics": {"issue_types": ["a\0"]}}, "epics.issue_types.0", "U+0000"),
    ({**GITHUB, "epics": {"labels": ["a\0"]}}, "epics.labels.0", "U+0000"),
    ({**JIRA, "notices": {"projects": ["a\0"]}}, "notices.projects.0", "U+0000"),
]


async def test_wrong_bodies_name_the_field_and_the_way_out(world: World) -> None:
    for body, field, message in WRONG:
        errors = await world.refused("POST", "/sources", body)
        assert errors.keys() == {field}, (body, errors)
        assert message in errors[field], (body, errors)
    assert (await world.send("GET", "/sources"))["items"] == []


async def test_a_patch_merges_and_replaces(world: World) -> None:
    await world.send("POST", "/sources", {**JIRA, "scope": {"projects": ["SHOP"], "jql": "labels = x"}})
    changed = await world.send(
        "PATCH",
        "/sources/acme-jira",
        {
            "scope": {"jql": None},
            "notices": {"per_run": 3},
            "schedule": {"every": "PT15M"},
            "epics": {"fields": ["customfield_1"]},
        },
    )
    assert changed["scope"] == {"projects": ["SHOP"], "jql": None}
    assert (changed["notices"]["per_run"], changed["notices"]["per_day"]) == (3, 25)
    assert (changed["schedule"]["every"], changed["epics"]["fields"]) == ("PT15M", ["customfield_1"])
    again = await world.send("PATCH", "/sources/acme-jira", {"schedule": {"every": None}})
    assert again["schedule"] == {"every": None, "full": None}
    for patch, field in (
        ({"kind": "github"}, "kind"),
        ({"name": None}, "name"),
        ({"scope": {"projects": ["no key"]}}, "scope.projects.0"),
        ({"notices": {"mode": "loud"}}, "notices.mode"),
    ):
        errors = await world.refused("PATCH", "/sources/acme-jira", patch)
        assert errors.keys() == {field}, errors
    assert await world.send("GET", "/sources/acme-jira") == again


HALVES: list[tuple[Any, set[str]]] = [
    ({}, {"credentials.type", "credentials.email", "credentials.token"}),
    ({"type": "api_token"}, {"credentials.email", "credentials.token"}),
    ({"type": "api_token", "email": "evil@evil.example"}, {"credentials.token"}),
    (None, {"credentials"}),
]


async def test_credentials_are_replaced_whole(world: World, runtime: Runtime) -> None:
    """A half would be filled up with the stored token, which then went to the new host."""
    before = await world.send("POST", "/sources", JIRA)
    for half, fields in HALVES:
        for other in ({}, {"base_url": "https://evil.example"}):
            body = {**other, "credentials": half}
            errors = await world.refused("PATCH", "/sources/acme-jira", body)
            assert errors.keys() == fields, (body, errors)
    assert await world.send("GET", "/sources/acme-jira") == before
    async with runtime.sessions() as session:
        row = (await session.scalars(select(SourceRow))).one()
    assert runtime.cipher.decrypt(row.credentials, binding_of(row, "credentials")) == JIRA["credentials"]


async def test_a_changed_address_needs_credentials(world: World) -> None:
    await world.send("POST", "/sources", JIRA)
    errors = await world.refused("PATCH", "/sources/acme-jira", {"base_url": "https://new.atlassian.net"})
    assert "no token goes to another host" in errors["credentials"]
    same = await world.send("PATCH", "/sources/acme-jira", {"base_url": f"{JIRA['base_url']}/"})
    assert same["base_url"] == JIRA["base_url"]
    moved = {"base_url": "https://new.atlassian.net", "credentials": JIRA["credentials"]}
    assert (await world.send("PATCH", "/sources/acme-jira", moved))["base_url"] == moved["base_url"]


async def test_a_stale_version_is_412(world: World) -> None:
    made = await world.api.post("/api/v1/sources", json=JIRA)
    tag = made.headers["etag"]
    patch = {"notices": {"per_run": 5}}
    first = await world.api.patch("/api/v1/sources/acme-jira", json=patch, headers={"If-Match": tag})
    assert (first.status_code, first.headers["etag"] != tag) == (200, True)
    stale = await world.api.patch(
        "/api/v1/sources/acme-jira", json={"notices": {"per_run": 9}}, headers={"If-Match": tag}
    )
    assert stale.status_code == 412
    shown = await world.api.get("/api/v1/sources/acme-jira")
    assert (shown.json()["notices"]["per_run"], shown.headers["etag"]) == (5, first.headers["etag"])
    anyway = await world.api.patch("/api/v1/sources/acme-jira", json=patch, headers={"If-Match": "*"})
    assert anyway.status_code == 200


async def test_health_shows_the_last_error_and_what_to_do(world: World, clock: Clock) -> None:
    world.site.create("SHOP", "An epic")
    await world.connect_jira()
    await world.sync("jira")
    shown = await world.send("GET", "/sources/jira")
    assert (shown["health"]["state"], shown["last_run"]["state"]) == ("ok", "succeeded")
    world.site.revoke_credentials()
    clock.advance(minutes=1)
    await world.sync("jira")
    shown = await world.send("GET", "/sources/jira")
    assert (shown["health"]["state"], shown["last_run"]["state"]) == ("failing", "failed")
    assert "does not accept the credentials" in shown["health"]["message"]
    assert "new API token" in shown["health"]["what_to_do"]
    assert shown["last_run"]["error"]["what_to_do"] == shown["health"]["what_to_do"]


async def test_a_source_stays_while_comments_of_ours_stand(world: World) -> None:
    issue = world.site.create("SHOP", "An epic")
    await world.no_grace()
    await world.connect_jira(notices={"mode": "live"})
    await world.sync("jira")
    assert len(issue.comments) == 1
    problem = await world.send("DELETE", "/sources/jira", expect=409)
    assert "?comments=leave" in problem["detail"]
    await world.refused("DELETE", "/sources/jira?comments=burn")
    await world.send("DELETE", "/sources/jira?comments=leave")
    assert len(issue.comments) == 1
    assert (await world.send("GET", "/epics"))["items"] == []
    assert (await world.send("GET", "/runs"))["items"] == []
