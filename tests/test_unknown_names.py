"""A label, type, field or project that a source names and the tracker does not have is in its health."""

from __future__ import annotations

from typing import Any

import pytest

from app.runtime import Runtime
from tests.support.queries import only_source
from tests.support.world import OFF, World

pytestmark = pytest.mark.database

SHOP = {"repositories": ["acme/shop"]}


async def _health(world: World, source: str, *, mode: str = "full") -> tuple[str, str]:
    run = await world.sync(source, mode)
    assert run["state"] == "succeeded"
    health = await world.health(source)
    return health["state"], health["message"]


@pytest.mark.parametrize(
    ("epics", "named"),
    [
        ({"labels": ["epik"]}, "epics.labels: epik"),
        ({"labels": ["EPIC", "epik"]}, "epics.labels: epik"),
        ({"labels": ["Epic"]}, None),  # in any case, as on GitHub
        ({"labels": ["planned"]}, None),  # a label that no issue has yet
        ({"issue_types": ["Epik", "epic"]}, "epics.issue_types: Epik"),
        ({"labels": ["a/b"], "issue_types": ["Saga"]}, "epics.issue_types: Saga, epics.labels: a/b"),
    ],
)
async def test_half_a_label_or_type_on_github(world: World, epics: Any, named: str | None) -> None:
    world.host.create("acme/shop", "An epic", labels=["epic"])
    world.host.repository("acme/shop").labels["Planned"] = 1
    await world.connect_github(notices=OFF, scope=SHOP, epics=epics)
    state, message = await _health(world, "github")
    if named is None:
        assert state == "ok", message
        return
    words = f"found nothing in the tracker that has the name in {named}."
    assert (state, words in message) == ("degraded", True), message
    assert (await _health(world, "github", mode="incremental"))[0] == "degraded"
    await world.send("PATCH", "/sources/github", {"epics": {"labels": ["epic"], "issue_types": []}})
    await world.drain()
    assert (await world.health("github"))["state"] == "ok"


async def test_what_github_does_not_show_is_not_called_unknown(world: World) -> None:
    """A user's repositories have no types, and of issues that the token may not read it says nothing."""
    world.host.add_repository("somebody/shop", organization=False)
    world.host.create("acme/shop", "An epic", labels=["epic"])
    world.host.features = frozenset()
    epics = {"labels": ["epic"], "issue_types": ["Saga"]}
    scope = {"repositories": ["acme/shop", "somebody/shop"]}
    await world.connect_github(notices=OFF, scope=scope, epics=epics)
    assert (await _health(world, "github"))[0] == "ok"


async def test_it_costs_a_full_run_a_bounded_number_of_requests_and_others_none(world: World) -> None:
    world.host.create("acme/shop", "An epic", labels=["epic"])
    await world.connect_github(notices=OFF, scope=SHOP, epics={"labels": ["epic", "epik"]})
    for mode, asked in (("full", 2), ("incremental", 0)):
        world.github.log.clear()
        await world.sync("github", mode)
        assert world.github.log.count("GET */labels/*") == asked


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


async def test_a_project_in_notices_that_only_source_does_not_read(world: World, runtime: Runtime) -> None:
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
