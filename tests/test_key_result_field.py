"""The field that a source names for key results: a Jira field, a GitHub issue field."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from app.runtime import Runtime
from connectors.github.issue_fields import named_field
from connectors.github.webhooks import parse_event
from connectors.jira.named_fields import ids_of
from connectors.sandbox.github.host import GitHubHost
from connectors.sandbox.github.tracker import GitHubTracker
from connectors.sandbox.server import serve
from connectors.ticket_text import NamedField
from mappings.epics.rows import row_of
from mappings.links.references import READER_VERSION
from tests.support.clock import Clock
from tests.support.evaluations import an_epic
from tests.support.runs import counts
from tests.support.tracker_requests import listings, searches
from tests.support.webhook_posts import SECRET
from tests.support.webhook_receiver import Receiver
from tests.support.world import OFF, World

SHOP = {"projects": ["SHOP"]}
REPOSITORY = {"repositories": ["acme/shop"]}
CUSTOM = "customfield_10035"


@pytest.mark.parametrize(
    ("row", "values"),
    [
        ({"data_type": "text", "value": "KR-1, KR-2"}, ("KR-1, KR-2",)),
        ({"data_type": "single_select", "value": 7, "single_select_option": {"name": "KR-1"}}, ("KR-1",)),
        ({"value": ["KR-1"], "multi_select_options": [{"name": "KR-1"}, {"name": "b"}]},
         ("KR-1", "b")),
        ({"data_type": "multi_select", "value": ["KR-1", "b"]}, ("KR-1", "b")),
        ({"data_type": "number", "value": 12}, ("12",)),
        ({"value": None}, ()), ({"value": {"a": 1}}, ()), ({"value": True}, ()), ({}, ()),
        ({"single_select_option": None, "multi_select_options": "x", "value": "KR\x00-1"}, ("KR-1",)),
    ],
)  # fmt: skip
def test_the_values_of_an_issue_field(row: Any, values: tuple[str, ...]) -> None:
    for configured in ("key RESULT", "41"):
        shown = {"issue_field_id": 41, "issue_field_name": "Key Result", **row}
        others = [None, 7, {"issue_field_id": 4, "issue_field_name": "Other", "value": "KR-9"}]
        found = named_field({"issue_field_values": [*others, shown]}, configured)
        assert found == NamedField(configured, values)


@pytest.mark.parametrize("shown", [{}, {"issue_field_values": None}, {"issue_field_values": {"a": 1}}])
def test_a_host_without_issue_fields(shown: Any) -> None:
    assert named_field(shown, "Key Result") == NamedField("Key Result", ())
    assert named_field(shown, None) is None


@pytest.mark.parametrize(
    ("configured", "ids"),
    [("customfield_1", ["customfield_1"]), ("KEY result", ["customfield_1", "customfield_2"]),
     ("Ziel", ["b"]), ("other", []), ("", [])],
)  # fmt: skip
def test_the_ids_of_a_jira_field(configured: str, ids: list[str]) -> None:
    fields = [
        {"id": "customfield_2", "name": "Key result"}, {"id": "customfield_1", "name": "Key Result"},
        {"id": "b", "name": "Goal", "untranslatedName": "Ziel"}, None, {"id": 7, "name": "other"},
    ]  # fmt: skip
    assert ids_of(fields, configured) == ids
    assert ids_of({"not": "a list"}, configured) == []


def _epic(world: World, kind: str, value: Any, days_old: int = 0) -> str:
    if kind == "jira":
        born = world.site.clock() - timedelta(days=days_old)
        return world.site.create("SHOP", "An epic", custom={CUSTOM: value}, created=born).key
    more: Any = {"labels": ["epic"], "fields": {"Key Result": value}}
    born = world.host.clock() - timedelta(days=days_old)
    return world.host.create("acme/shop", "An epic", created=born, **more).key


async def _connect(world: World, kind: str, field: str | None = None) -> None:
    more = {} if field is None else {"epics": {"key_result_field": field}}
    if kind == "jira":
        await world.connect_jira("source", notices=OFF, scope=SHOP, **more)
    else:
        if not world.host.fields:
            world.host.add_issue_field("Key Result")
        await world.connect_github("source", notices=OFF, scope=REPOSITORY, **more)


async def _links(world: World, key: str) -> list[tuple[str, str]]:
    links = (await world.epic("source", key))["links"]
    return [(link["key_result"], link["why"]) for link in links]


@pytest.mark.database
@pytest.mark.parametrize("kind", ["jira", "github"])
async def test_a_field_named_later_links_and_one_that_is_not_there_is_in_health(
    world: World, kind: str
) -> None:
    await world.goal("KR-1")
    await _connect(world, kind)
    key = _epic(world, kind, "KR-1: grow")
    await world.sync("source")
    assert await _links(world, key) == []
    runs = (await world.send("GET", "/runs?source=source&mode=full"))["items"]

    await world.send("PATCH", "/sources/source", {"epics": {"key_result_field": "key RESULT"}})
    await world.drain()

    assert await _links(world, key) == [("KR-1", "the ticket's field `key RESULT` says KR-1")]
    assert len((await world.send("GET", "/runs?source=source&mode=full"))["items"]) == len(runs) + 1
    assert (await world.health("source"))["state"] == "ok"

    await world.send("PATCH", "/sources/source", {"epics": {"key_result_field": "Kee Result"}})
    await world.drain()
    health = await world.health("source")
    assert (health["state"], "epics.key_result_field: Kee Result" in health["message"]) == ("degraded", True)
    assert await _links(world, key) == []


@pytest.mark.parametrize("action", ["field_added", "field_removed"])
async def test_a_webhook_about_an_issue_field_has_the_issue_fetched(action: str) -> None:
    host = GitHubHost()
    host.add_repository("acme/shop")
    host.add_issue_field("Key Result", "single_select", "KR-1", "KR-2")
    issue = host.create("acme/shop", "An epic", labels=["epic"], fields={"Key Result": "KR-1"})
    tracker = GitHubTracker(host)
    async with serve(Receiver()) as there, serve(tracker):
        tracker.webhook_sender.set(there, SECRET)
        host.edit(issue.key, fields={"Key Result": "KR-2" if action == "field_added" else None})
        await tracker.webhook_sender.idle()
    (sent,) = tracker.webhook_sender.sent
    hint = parse_event(sent.event, json.loads(sent.body))
    assert (hint.kind, hint.action, [ref.key for ref in hint.tickets]) == ("handled", action, [issue.key])


@pytest.mark.database
async def test_a_select_of_a_host_and_a_name_cost_no_more_requests(world: World) -> None:
    """GitHub shows the values on the issue; Jira's field is looked up once for a run."""
    await world.goal("KR-1")
    await world.goal("KR-2")
    field = world.host.add_issue_field("Goals", "multi_select", "KR-1", "KR-2")
    key = world.host.create("acme/shop", "An epic", labels=["epic"], fields={"Goals": ["KR-1", "KR-2"]}).key
    await world.connect_github(
        "source", notices=OFF, scope=REPOSITORY, epics={"key_result_field": str(field.id)}
    )
    await world.sync("source")
    assert [found for found, _ in await _links(world, key)] == ["KR-1", "KR-2"]
    world.github.log.clear()
    await world.sync("source")
    assert world.github.log.count("GET */issue-field*") == 0
    world.site.create("SHOP", "An epic", custom={CUSTOM: "KR-1"})
    await world.connect_jira(notices=OFF, scope=SHOP, epics={"key_result_field": "Key result"})
    await world.sync("jira")
    world.jira.log.clear()
    await world.sync("jira", "incremental")
    assert world.jira.log.count("GET */field") == 1


def test_the_hash_of_the_facts_holds_the_readers_version() -> None:
    now = an_epic().updated_at
    hashes = {
        row_of(an_epic(), now, version)["content_hash"] for version in (READER_VERSION - 1, READER_VERSION)
    }
    assert len(hashes) == 2
    assert row_of(an_epic(), now)["content_hash"] in hashes


@pytest.mark.database
@pytest.mark.parametrize("kind", ["jira", "github"])
async def test_what_another_version_stored_is_stored_again_at_the_next_full_run(
    world: World, runtime: Runtime, clock: Clock, kind: str
) -> None:
    """An incremental run asks for no more than before."""
    await _connect(world, kind)
    for number in range(3):
        _epic(world, kind, None, days_old=number)
    await world.sync("source", "full")
    clock.advance(hours=1)
    tracker = world.jira if kind == "jira" else world.github
    asked = []
    for old in (False, True):
        if old:
            async with runtime.transaction() as session:
                await session.execute(text("UPDATE epics SET content_hash = '\\x00'"))
        tracker.log.clear()
        await world.sync("source", "incremental")
        asked.append(len(searches(tracker) if kind == "jira" else listings(tracker)))
    assert asked[0] == asked[1]
    assert counts(await world.sync("source", "full"))[2] >= 2
    assert counts(await world.sync("source", "full"))[2] == 0
    async with runtime.sessions() as session:
        assert await session.scalar(text("SELECT count(*) FROM epics WHERE evaluated_at IS NULL")) == 0
