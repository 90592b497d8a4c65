"""A source is checked at its tracker before it is made or changed, and when a person asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from app.api.source_models import BODIES as MODELS, draft_of
from app.diagnostics.check import check_draft, refuse_wrong
from app.diagnostics.states import state_of
from app.runtime import Runtime
from connectors.diagnostics import Fact, Level
from connectors.sandbox import faults
from mappings.errors import Invalid
from tests.support.queries import every_row
from tests.support.world import World

pytestmark = pytest.mark.database

Json = dict[str, Any]
Change = Callable[[World, Json], object]


def jira_body(world: World) -> Json:
    credentials = {"type": "api_token", "email": world.site.bot.email, "token": world.site.bot.token}
    return {
        "name": "jira",
        "kind": "jira",
        "base_url": world.jira_url,
        "credentials": credentials,
        "scope": {"projects": ["SHOP"]},
    }


def github_body(world: World) -> Json:
    return {
        "name": "github",
        "kind": "github",
        "base_url": world.github_url,
        "credentials": {"type": "token", "token": world.host.bot.token},
        "scope": {"repositories": ["acme/shop"]},
    }


BODIES = {"jira": jira_body, "github": github_body}


def prepared(world: World, kind: str) -> Json:
    world.site.create("SHOP", "One-page checkout")
    world.host.create("acme/shop", "Coupons", labels=["epic"])
    return BODIES[kind](world)


def page(world: World, kind: str, answer: Any) -> None:
    tracker = world.jira if kind == "jira" else world.github
    tracker.faults.add("*", answer, times=None)


WRONG: list[tuple[str, str, Change, str, str]] = [
    ("a token", "jira", lambda w, b: b["credentials"].update(token="wrong"),
     "credentials.token", "does not accept the credentials"),
    ("another's mail", "jira", lambda w, b: b["credentials"].update(email="else@acme.example"),
     "credentials.token", "See that the e-mail address is that of the token's account"),
    ("a project", "jira", lambda w, b: b["scope"].update(projects=["SHOPP"]),
     "scope.projects", "Is SHOP meant?"),
    ("a project like none", "jira", lambda w, b: b["scope"].update(projects=["SHOP", "QQQ"]),
     "scope.projects", "The login sees"),
    ("JQL", "jira", lambda w, b: b["scope"].update(jql="colour = red"),
     "scope.jql", "Field 'colour' does not exist"),
    ("JQL's grammar", "jira", lambda w, b: b["scope"].update(jql="labels growth"),
     "scope.jql", "The operator 'growth'"),
    ("a type", "jira", lambda w, b: b.update(epics={"issue_types": ["Saga"]}),
     "epics.issue_types", "there are: "),
    ("a field", "jira", lambda w, b: b.update(epics={"fields": ["customfield_1"]}),
     "epics.fields", "customfield_1"),
    ("no Jira", "jira", lambda w, b: page(w, "jira", faults.answer(404, {"hello": "there"})),
     "base_url", "No Jira answers at http://127.0.0.1"),
    ("a sign-in page", "jira", lambda w, b: page(w, "jira", faults.answer(302, {}, {"Location": "/login"})),
     "base_url", "redirects to another address"),
    ("nobody", "jira", lambda w, b: page(w, "jira", faults.drop()),
     "base_url", "did not answer"),
    ("may not read", "jira", lambda w, b: w.site.denied.add(("BROWSE_PROJECTS", "SHOP")),
     "scope.projects", "may not browse it"),
    ("a closed port", "jira", lambda w, b: b.update(base_url="http://127.0.0.1:9"),
     "base_url", "this machine reaches it."),
    ("a token", "github", lambda w, b: b["credentials"].update(token="wrong"),
     "credentials.token", "does not accept the token"),
    ("a repository", "github", lambda w, b: b["scope"].update(repositories=["acme/shopp"]),
     "scope.repositories", "Is acme/shop meant?"),
    ("a hidden one", "github", lambda w, b: w.host.hidden.add("acme/shop"),
     "scope.repositories", "Not Found. Give the token access to it"),
    ("an organisation", "github", lambda w, b: b.update(scope={"organizations": ["acmee"]}),
     "scope.organizations", "acmee/*"),
    ("an organisation that shows none", "github", lambda w, b: (
        b.update(scope={"organizations": ["acme"]}),
        w.github.faults.add("GET */orgs/acme/repos", faults.answer(200, []), times=None)),
     "scope.organizations", "no repository with issues"),
    ("types that are refused", "github", lambda w, b: (
        b.update(epics={"labels": ["epic"], "issue_types": ["Epic"]}),
        w.github.faults.add("GET */issue-types", faults.answer(400, {"message": "no"}), times=None)),
     "epics.issue_types", "GitHub refused"),
    ("a label", "github", lambda w, b: b.update(epics={"labels": ["initiative"]}),
     "epics.labels", "label initiative"),
    ("a type", "github", lambda w, b: b.update(epics={"issue_types": ["Saga"]}),
     "epics.issue_types", "there are: Bug, Epic"),
    ("no issues", "github", lambda w, b: w.host.no_issues.add("acme/shop"),
     "credentials.token", "Issues: Read-only"),
    ("no GitHub", "github", lambda w, b: page(w, "github", faults.answer(404, {"hello": "there"})),
     "base_url", "No GitHub API answers"),
    ("a page", "github", lambda w, b: page(w, "github", faults.answer(200, "<html>Sign in</html>")),
     "base_url", "could not be read"),
    ("nobody", "github", lambda w, b: page(w, "github", faults.drop()),
     "base_url", "did not answer"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "change", "field", "words"), [row[1:] for row in WRONG], ids=[f"{r[1]}: {r[0]}" for r in WRONG]
)
async def test_what_is_wrong_is_said_by_its_field_and_nothing_is_made(
    world: World, runtime: Runtime, kind: str, change: Change, field: str, words: str
) -> None:
    body = prepared(world, kind)
    change(world, body)
    before = await every_row(runtime)
    refused = await world.refused("POST", "/sources?check=true", body)
    assert list(refused) == [field]
    assert words in refused[field]
    assert "wrong" not in refused[field]
    assert "Sign in" not in refused[field]
    assert "tries again" not in refused[field]  # nothing is made, so nothing is tried again
    assert not refused[field].startswith(field)
    assert await every_row(runtime) == before


@pytest.mark.parametrize("kind", BODIES)
async def test_a_source_with_which_nothing_is_wrong_is_made(world: World, kind: str) -> None:
    made = await world.send("POST", "/sources?check=true", prepared(world, kind), expect=201)
    assert (made["name"], made["health"]["state"]) == (kind, "unknown")
    tracker = world.jira if kind == "jira" else world.github
    assert tracker.log.count("POST *") == tracker.log.count("POST */search/*")


async def test_without_check_no_tracker_is_called(world: World) -> None:
    body = jira_body(world)
    body["credentials"]["token"] = "wrong"
    await world.send("POST", "/sources", body, expect=201)
    await world.send("PATCH", "/sources/jira", {"scope": {"projects": ["QQQ"]}})
    assert world.jira.log.count() == 0


async def test_a_name_that_is_taken_calls_no_tracker(world: World) -> None:
    await world.connect_jira()
    await world.refused("POST", "/sources?check=true", jira_body(world), 409)
    assert world.jira.log.count() == 0


async def test_a_change_is_checked_as_the_source_would_be(world: World) -> None:
    await world.send("POST", "/sources", prepared(world, "jira"))
    refused = await world.refused("PATCH", "/sources/jira?check=true", {"scope": {"jql": "colour = red"}})
    assert list(refused) == ["scope.jql"]
    stored = await world.send("GET", "/sources/jira")
    assert stored["scope"] == {"projects": ["SHOP"], "jql": None}
    changed = await world.send("PATCH", "/sources/jira?check=true", {"scope": {"jql": "labels = growth"}})
    assert changed["scope"]["jql"] == "labels = growth"


async def test_a_change_of_the_address_alone_sends_the_stored_token_nowhere(world: World) -> None:
    await world.send("POST", "/sources", jira_body(world))
    refused = await world.refused("PATCH", "/sources/jira?check=true", {"base_url": world.github_url})
    assert list(refused) == ["credentials"]
    assert world.jira.log.count() == world.github.log.count() == 0


async def test_a_change_of_a_version_that_is_past_is_not_checked(world: World) -> None:
    await world.send("POST", "/sources", jira_body(world))
    answer = await world.api.patch(
        "/api/v1/sources/jira?check=true", json={"scope": {"projects": ["SHOP"]}}, headers={"If-Match": '"7"'}
    )
    assert (answer.status_code, world.jira.log.count()) == (412, 0)


@pytest.mark.parametrize("kind", BODIES)
async def test_a_check_ends_in_time_and_says_so(world: World, runtime: Runtime, kind: str) -> None:
    world.jira.latency = world.github.latency = 600.0
    draft = draft_of(MODELS[kind].model_validate(prepared(world, kind)))
    late, others, clock = await check_draft(runtime, draft, seconds=0.05)
    assert (clock.level, clock.what) == ("unknown", "clock")
    assert (late.level, late.what, late.field) == ("failed", "sign-in", "base_url")
    assert late.why.startswith("The check ended after 0.05 s")
    assert (others.level, others.why) == ("unknown", "Not looked at.")
    with pytest.raises(Invalid, match="The check ended"):
        refuse_wrong([late, others])


# --- a source that is stored -----------------------------------------------------------------------


async def facts_of(world: World, name: str) -> dict[str, Json]:
    checked = await world.send("POST", f"/sources/{name}/check")
    return {fact["name"]: fact for fact in checked["facts"]}


async def test_a_stored_source_is_checked_and_nothing_is_written(world: World, runtime: Runtime) -> None:
    world.site.denied |= {("ADD_COMMENTS", "SHOP"), ("DELETE_OWN_COMMENTS", "SHOP")}
    await world.send("POST", "/sources", prepared(world, "jira"))
    before = await every_row(runtime)
    found = await facts_of(world, "jira")
    assert await every_row(runtime) == before
    states = {name: fact["state"] for name, fact in found.items()}
    assert {name: states[name] for name in ("sign-in", "Browse Projects", "withdrawn comments", "epics")} == {
        "sign-in": "ok",
        "Browse Projects": "ok",
        "withdrawn comments": "ok",
        "epics": "ok",
    }
    assert "Delete Own Comments" not in states
    assert (states["Add Comments"], states["Edit Issues"], states["token expiry"]) == (
        "not_needed",
        "not_needed",
        "not_shown",
    )
    assert found["Add Comments"]["projects"] == ["SHOP"]
    assert "until notices.mode is live" in found["Add Comments"]["message"]
    assert found["Edit Issues"]["what_to_do"].startswith("Take it from the account")
    assert set(found["sign-in"]) == {"name", "state", "message", "what_to_do", "field", "projects"}


async def test_a_token_that_is_refused_has_failed_and_stands_in_no_answer(world: World) -> None:
    await world.send("POST", "/sources", prepared(world, "github"))
    world.host.revoke_credentials()
    found = await facts_of(world, "github")
    assert (found["sign-in"]["state"], found["sign-in"]["field"]) == ("failed", "credentials.token")
    assert "new token" in found["sign-in"]["what_to_do"]
    assert world.host.bot.token not in str(found)


def test_the_words_of_what_is_wrong() -> None:
    facts = [
        Fact("missing", "scope.jql", "Jira says: no.", "Correct it.", field="scope.jql"),
        Fact("missing", "project", "Not there.", projects=("SHOP",)),
    ]
    with pytest.raises(Invalid) as refused:
        refuse_wrong(facts)
    assert refused.value.errors == (
        ("scope.jql", "Jira says: no. Correct it."),
        ("base_url", "project (SHOP): Not there."),
    )


async def test_a_source_that_is_not_there_is_404(world: World) -> None:
    await world.refused("POST", "/sources/nowhere/check", None, 404)


@pytest.mark.parametrize(
    ("level", "what", "writing", "state"),
    [
        ("ok", "epics", False, "ok"),
        ("missing", "project", False, "missing"),
        ("failed", "sign-in", False, "failed"),
        ("not_needed", "Edit Issues", False, "not_needed"),
        ("unknown", "token expiry", False, "not_shown"),
        ("warning", "token expiry", False, "ok"),
        ("warning", "clock", False, "failed"),
        ("warning", "writing", True, "failed"),
        ("warning", "Add Comments", True, "not_needed"),
    ],
)
def test_a_state_is_true_of_its_fact(level: Level, what: str, writing: bool, state: str) -> None:
    assert state_of(Fact(level, what, "Why.", writing=writing)) == state
