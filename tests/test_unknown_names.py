"""A label, type, field or project that a source names and the tracker does not have is in its health."""

from __future__ import annotations

from typing import Any

import pytest

from app.runtime import Runtime
from connectors.registry import KINDS
from connectors.sandbox.github.host import GitHubHost
from connectors.sandbox.github.tracker import GitHubTracker
from connectors.sandbox.server import serve
from tests.support.queries import only_source
from tests.support.world import OFF, World

SHOP = {"repositories": ["acme/shop"]}


async def _health(world: World, source: str, *, mode: str = "full") -> tuple[str, str]:
    run = await world.sync(source, mode)
    assert run["state"] == "succeeded"
    health = await world.health(source)
    return health["state"], health["message"]


@pytest.mark.parametrize(
    ("epics", "labels", "types"),
    [
        ({"labels": ["epik"]}, ["epik"], []),
        ({"labels": ["EPIC", "epik"]}, ["epik"], []),
        ({"labels": ["Epic"]}, [], []),  # in any case, as on GitHub
        ({"labels": ["planned"]}, [], []),  # a label that no issue has yet
        ({"issue_types": ["Epik", "epic"]}, [], ["Epik"]),
        ({"labels": ["a/b"], "issue_types": ["Saga"]}, ["a/b"], ["Saga"]),
    ],
)
async def test_half_a_label_or_type_on_github(epics: Any, labels: list[str], types: list[str]) -> None:
    host = _shop(GitHubHost())
    assert await _unknown(host, SHOP, epics) == {"epics.labels": labels, "epics.issue_types": types}


async def test_what_github_does_not_show_is_not_called_unknown() -> None:
    """A user's repositories have no types, and of issues that the token may not read it says nothing."""
    epics = {"labels": ["epik"], "issue_types": ["Saga"]}
    both = {"repositories": ["acme/shop", "somebody/shop"]}
    host = _shop(GitHubHost())
    host.add_repository("somebody/shop", organization=False)
    assert (await _unknown(host, both, epics))["epics.issue_types"] == []
    assert (await _unknown(_shop(GitHubHost(features=())), SHOP, epics))["epics.issue_types"] == []
    host.no_issues.add("acme/shop")
    assert (await _unknown(host, both, epics))["epics.labels"] == []


def _shop(host: GitHubHost) -> GitHubHost:
    host.add_repository("acme/shop").labels["Planned"] = 1
    host.create("acme/shop", "An epic", labels=["epic"])
    return host


async def _unknown(host: GitHubHost, scope: Any, epics: Any) -> dict[str, list[str]]:
    kind = KINDS["github"]
    async with serve(GitHubTracker(host)) as url:
        connector = kind.connect(
            f"{url}/api/v3",
            kind.credentials.model_validate({"type": "token", "token": host.bot.token}),
            kind.scope.model_validate(scope),
            kind.epics.model_validate(epics),
        )
        try:
            return await connector.unknown_names(await connector.projects())
        finally:
            await connector.aclose()


@pytest.mark.database
async def test_it_is_in_the_health_until_the_name_is_right(world: World) -> None:
    world.host.create("acme/shop", "An epic", labels=["epic"])
    epics = {"labels": ["EPIC", "epik"], "issue_types": ["Saga"]}
    await world.connect_github(notices=OFF, scope=SHOP, epics=epics)
    for mode in ("full", "incremental"):
        state, message = await _health(world, "github", mode=mode)
        words = "has the name in epics.issue_types: Saga, epics.labels: epik."
        assert (state, words in message) == ("degraded", True), message
    await world.send("PATCH", "/sources/github", {"epics": {"labels": ["epic"], "issue_types": []}})
    await world.drain()
    assert (await world.health("github"))["state"] == "ok"


@pytest.mark.database
async def test_it_costs_a_full_run_a_bounded_number_of_requests_and_others_none(world: World) -> None:
    world.host.create("acme/shop", "An epic", labels=["epic"])
    await world.connect_github(notices=OFF, scope=SHOP, epics={"labels": ["epic", "epik"]})
    for mode, asked in (("full", 2), ("incremental", 0)):
        world.github.log.clear()
        await world.sync("github", mode)
        assert world.github.log.count("GET */labels/*") == asked


@pytest.mark.database
async def test_a_field_or_type_that_jira_does_not_have(world: World) -> None:
    world.site.create("SHOP", "An epic")
    fields = ["customfield_10020", "customfield_99999"]
    await world.connect_jira(notices=OFF, epics={"fields": fields})
    state, message = await _health(world, "jira")
    assert (state, "epics.fields: customfield_99999." in message) == ("degraded", True), message
    await world.send("PATCH", "/sources/jira", {"epics": {"fields": [], "issue_types": ["Epic", "Saga"]}})
    await world.drain()
    health = await world.health("jira")
    assert (health["state"], "no issue type named Saga" in health["message"]) == ("degraded", True)
    assert await world.keys() == ["SHOP-1"]


@pytest.mark.database
async def test_a_project_in_notices_that_the_source_does_not_read(world: World, runtime: Runtime) -> None:
    """Named before the first listing, when nobody could know; and again once it is gone."""
    world.site.add_project("CORE", "Core")
    await world.connect_jira(notices={"mode": "shadow", "projects": ["CORE", "SHOPP"]})
    state, message = await _health(world, "jira", mode="incremental")
    assert (state, "notices.projects: SHOPP." in message) == ("degraded", True), message
    world.site.delete_project("CORE")
    assert "notices.projects: CORE, notices.projects: SHOPP." in (await _health(world, "jira"))[1]
    await world.send("PATCH", "/sources/jira", {"notices": {"projects": None}})
    assert (await world.health("jira"))["state"] == "ok"
    assert (await only_source(runtime)).named_projects == {}
