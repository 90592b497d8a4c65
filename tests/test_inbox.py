"""What a webhook leads to: one fetch, the judge, the comment; and what keeps silent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI

from app.inbox import MOST_ATTEMPTS
from app.jobs import sweep
from app.runtime import Runtime
from connectors.sandbox import faults
from mappings import inbox
from mappings.tables import Delivery
from tests.conftest import Clock
from tests.heard import SECRET, deliveries, doors, fetches, settle
from tests.sides import GitHubSide, JiraSide, Side, both, on_github, on_jira, side_of
from tests.synced import gone, health, keys, later
from tests.test_webhook_door import signature
from tests.world import World

ALIGNED = "Aligned with KR-1 (Checkout conversion). Thank you."


@pytest.fixture
async def side(
    request: pytest.FixtureRequest, world: World, applications: list[FastAPI]
) -> AsyncIterator[Side]:
    """A live source of either kind that hears of every change, one live key result, one warned epic."""
    made = side_of(world, request.param)
    await world.goal("KR-1", "Checkout conversion")
    await made.connect(webhook_secret=SECRET)
    first = made.add("Checkout in one step")
    await made.sync("full")
    assert len(made.comments(first)) == 1
    async with doors(applications[0], world):
        made.tracker.log.clear()
        yield made


def first(side: Side) -> str:
    return "SHOP-1" if side.kind == "jira" else "acme/shop#1"


# --- what takes effect --------------------------------------------------------------------------


@both
async def test_a_line_in_the_description_closes_the_gap(side: Side, world: World) -> None:
    side.describe(first(side), "What it is.\n\nKey-Result: KR-1")
    await settle(world)
    assert side.comments(first(side)) == [ALIGNED]
    (heard,) = [one for one in await deliveries(world, side.kind) if one["run"]]
    run = await world.send("GET", f"/runs/{heard['run']}")
    assert (heard["state"], run["mode"], run["updated"], run["writes"]["resolved"]) == ("done", "judge", 1, 1)
    assert fetches(side) == 2  # one for the webhook, one just before the write


async def test_a_label_closes_it_and_its_removal_opens_it_again(side: Side, world: World) -> None:
    side.label(first(side), "kr:KR-1")
    await settle(world)
    assert side.comments(first(side)) == [ALIGNED]
    side.label(first(side))
    await settle(world)
    (text,) = side.comments(first(side))
    assert "not linked to a key result" in text


@both
async def test_a_new_epic_is_stored_and_warned_of(side: Side, world: World) -> None:
    key = side.add("Another epic")
    await settle(world)
    assert len(side.comments(key)) == 1


async def test_what_was_refused_is_tried_again_at_the_next_word_of_the_ticket(
    side: Side, world: World
) -> None:
    """Though nothing of it has changed that is stored: it was unlocked, say."""
    side.forbid()
    key = side.add("Another epic")
    await settle(world)
    assert (await side.notice(key))["state"] == "failed"
    side.allow()
    heard = (await deliveries(world, side.kind))[0]
    await world.send("POST", f"/deliveries/{heard['id']}/replay", expect=202)
    await settle(world)
    assert ((await side.notice(key))["state"], len(side.comments(key))) == ("posted", 1)


@both
async def test_a_deleted_ticket_leaves_the_lists(side: Side, world: World, runtime: Runtime) -> None:
    side.delete(first(side))
    await settle(world)
    assert await keys(world, side.kind) == []
    assert await gone(runtime) == {first(side): "deleted"}


@on_github
async def test_a_ticket_that_is_only_out_of_sight_stays(side: GitHubSide, world: World) -> None:
    """A webhook that says nothing of a deletion is not believed to mean one."""
    side.tracker.faults.add(side.reads, faults.answer(404, {"message": "Not Found"}))
    side.describe(first(side), "changed")
    await settle(world)
    assert await keys(world, side.kind) == [first(side)]


@on_jira
async def test_a_moved_issue_goes_on_under_its_new_key(side: JiraSide, world: World) -> None:
    side.site.add_project("CORE", "Core")
    await world.sync("jira", "full")
    side.site.move("SHOP-1", "CORE")
    await settle(world)
    assert await keys(world, "jira") == ["CORE-1"]
    assert (await world.epic("jira", "SHOP-1"))["key"] == "CORE-1"


@on_github
async def test_a_transferred_issue_takes_its_links_and_its_comment_along(
    side: GitHubSide, world: World
) -> None:
    side.host.add_repository("acme/core")
    await world.send("PATCH", "/sources/github", {"scope": {"repositories": ["acme/shop", "acme/core"]}})
    await world.drain()
    epic = {"source": "github", "key": "acme/shop#1"}
    link = await world.send("POST", "/links", {"epic": epic, "key_result": "KR-1"})
    await settle(world)
    side.host.transfer("acme/shop#1", "acme/core")
    await settle(world)
    assert await keys(world, "github") == ["acme/core#1"]
    (there,) = (await world.epic("github", "acme/core#1"))["links"]
    assert there["id"] == link["id"]
    assert side.comments("acme/core#1") == [ALIGNED]


@both
async def test_what_is_no_epic_any_more_leaves_the_lists(side: Side, world: World, runtime: Runtime) -> None:
    if isinstance(side, JiraSide):
        side.site.edit("SHOP-1", type=side.site.type_named("Story"))
    else:
        assert isinstance(side, GitHubSide)
        side.host.edit("acme/shop#1", labels=[])
    await settle(world)
    assert await gone(runtime) == {first(side): "not_an_epic"}


# --- as little as possible ----------------------------------------------------------------------


async def test_a_burst_on_one_epic_costs_one_fetch(side: Side, world: World) -> None:
    for number in range(10):
        side.describe(first(side), f"Version {number}")
    await settle(world)
    told = await deliveries(world, side.kind)
    assert [one["state"] for one in told] == ["done"] * 10
    assert fetches(side) == 1


@both
async def test_trap_20_our_own_comments_wake_nobody(side: Side, world: World) -> None:
    """New ones, edits and resolutions come back as webhooks and lead to no call at all."""
    key = side.add("Another epic")
    await settle(world)
    side.label(key, "kr:KR-1")
    await settle(world)
    told = await deliveries(world, side.kind)
    echoes = [one for one in told if "comment" in one["event"]]
    assert len(echoes) == 2
    assert {(one["state"], one["reason"]) for one in echoes} == {("ignored", "own")}
    side.tracker.log.clear()
    await settle(world)
    assert side.tracker.log.count() == 0


@both
async def test_a_comment_without_a_command_costs_no_call(side: Side, world: World) -> None:
    side.say(first(side), "I will look into it.")
    await settle(world)
    assert side.tracker.log.count() == 0
    (heard,) = await deliveries(world, side.kind)
    assert (heard["state"], heard["run"]) == ("done", None)


@on_github
async def test_tickets_out_of_scope_cost_no_call(side: GitHubSide, world: World) -> None:
    side.host.add_repository("acme/other")
    side.host.create("acme/other", "An epic elsewhere", labels=["epic"])
    await settle(world)
    assert side.tracker.log.count() == 0
    assert {(one["state"], one["reason"]) for one in await deliveries(world, "github")} == {
        ("ignored", "out_of_scope")
    }


@on_github
async def test_issues_that_are_no_epics_cost_no_call(side: GitHubSide, world: World) -> None:
    side.host.create("acme/shop", "A bug")
    await settle(world)
    assert side.tracker.log.count() == 0
    (heard,) = await deliveries(world, "github")
    assert (heard["state"], heard["reason"]) == ("ignored", "not_an_epic")


# --- trouble ------------------------------------------------------------------------------------


async def test_a_tracker_that_asks_for_time_gets_it(
    side: Side, world: World, runtime: Runtime, clock: Clock
) -> None:
    side.tracker.faults.add(side.reads, faults.answer(429, headers={"retry-after": "90"}))
    side.label(first(side), "kr:KR-1")
    await settle(world)
    (heard,) = await deliveries(world, side.kind)
    assert (heard["state"], heard["attempts"], heard["error"]["code"]) == ("received", 0, "unavailable")
    side.describe(first(side), "Another change meanwhile.")
    await settle(world)
    await later(world, runtime, clock, seconds=60)
    assert fetches(side) == 1
    await later(world, runtime, clock, seconds=60)
    await settle(world)
    assert side.comments(first(side)) == [ALIGNED]


@on_github
async def test_a_poison_delivery_fails_alone(side: GitHubSide, world: World) -> None:
    """Those before and behind it are done; sent again it is worked on once more."""
    others = [side.add("Before"), side.add("Poison"), side.add("Behind")]
    poison = others[1]
    broken = side.tracker.faults.add(
        f"GET */issues/{poison.partition('#')[2]}", faults.answer(200, {"id": "no issue"}), times=None
    )
    await settle(world)
    told = [one for one in await deliveries(world, "github") if one["event"] == "issues"]
    assert {one["action"] for one in told} == {"opened", "labeled"}
    assert sorted(one["state"] for one in told) == ["done"] * 4 + ["failed"] * 2
    failed = next(one for one in told if one["state"] == "failed")
    assert (failed["error"]["code"], failed["attempts"]) == ("bad_payload", 1)
    assert failed["error"]["what_to_do"]
    assert sorted(await keys(world, "github")) == sorted([first(side), others[0], others[2]])
    broken.left = 0
    await world.send("POST", f"/deliveries/{failed['id']}/replay", expect=202)
    await settle(world)
    assert poison in await keys(world, "github")


@on_github
async def test_dead_credentials_show_in_health_and_nothing_is_lost(side: GitHubSide, world: World) -> None:
    """What waits for better ones is worked on as soon as a person sends them."""
    world.host.revoke_credentials()
    side.label(first(side), "kr:KR-1")
    await settle(world)
    (waiting,) = await deliveries(world, "github")
    assert (waiting["state"], waiting["error"]["code"]) == ("received", "unauthorized")
    assert (await health(world, "github"))["state"] == "failing"
    assert await keys(world, "github") == [first(side)]
    world.host.restore_credentials()
    credentials = {"type": "token", "token": world.host.bot.token}
    await world.send("PATCH", "/sources/github", {"credentials": credentials})
    await settle(world)
    assert side.comments(first(side)) == [ALIGNED]


@on_github
async def test_one_by_one_stops_where_the_tracker_asks_for_time(side: GitHubSide, world: World) -> None:
    await side.set_mode("off")  # no writer asks for the same tickets
    numbers = [side.add(f"Epic {number}").partition("#")[2] for number in range(4)]
    side.tracker.faults.add(f"GET */issues/{numbers[0]}", faults.answer(200, {"id": "no issue"}), times=None)
    for number in numbers[1:]:
        asked = faults.answer(429, headers={"retry-after": "90"})
        side.tracker.faults.add(f"GET */issues/{number}", asked, times=None, skip=1)
    await side.tracker.hook.idle()
    side.tracker.log.clear()
    await settle(world)
    limited = [seen for seen in side.tracker.log.matching(side.reads) if seen.status == 429]
    assert len(limited) == 1


@both
async def test_who_deletes_our_comment_has_said_no(side: Side, world: World) -> None:
    side.delete_comments(first(side))
    await settle(world)
    notice = await side.notice(first(side))
    assert (notice["state"], notice["reason"]) == ("withdrawn", "deleted_on_ticket")
    side.describe(first(side), "Changed again.")
    await settle(world)
    assert side.comments(first(side)) == []


@both
async def test_a_command_of_somebody_without_the_right_does_nothing(side: Side, world: World) -> None:
    before = side.comments(first(side))
    side.say(first(side), "/northing link KR-1", outsider=True)
    await settle(world)
    assert side.comments(first(side))[: len(before)] == before
    (heard,) = [one for one in await deliveries(world, side.kind) if "comment" in one["event"]]
    assert (heard["state"], heard["reason"]) == ("ignored", "not_allowed")


@on_github
async def test_a_label_renamed_elsewhere_reads_nothing(side: GitHubSide, world: World) -> None:
    for repository, state in (("acme/other", ("ignored", "out_of_scope")), ("acme/shop", ("done", None))):
        payload = {"action": "deleted", "label": {"name": "epic"}, "repository": {"full_name": repository}}
        body = json.dumps(payload).encode()
        sent = {"x-github-event": "label", "x-github-delivery": repository.replace("/", "-")}
        given = {**sent, "x-hub-signature-256": signature(body), "content-type": "application/json"}
        answer = await world.api.post("/webhooks/github", content=body, headers=given)
        await settle(world)
        heard = await world.send("GET", f"/deliveries/{answer.json()['delivery']}")
        assert (heard["state"], heard["reason"]) == state
    modes = [run["mode"] for run in (await world.send("GET", "/runs?source=github"))["items"]]
    assert modes.count("full") == 2  # the first, and one for the label that matters


async def test_a_worker_that_stops_gives_its_webhooks_back(
    side: Side, world: World, runtime: Runtime
) -> None:
    side.label(first(side), "kr:KR-1")
    await side.tracker.hook.idle()
    async with runtime.sessions.begin() as session:
        assert await inbox.claim(session, 1, f"{runtime.worker}/a claim", runtime.clock())
        await inbox.give_back(session, runtime.worker)
    await settle(world)
    assert side.comments(first(side)) == [ALIGNED]
    assert [one["attempts"] for one in await deliveries(world, side.kind) if one["state"] == "done"] == [1]


async def test_trap_19_what_webhooks_lose_the_next_sync_finds(side: Side, world: World) -> None:
    side.tracker.hook.muted = True
    side.label(first(side), "kr:KR-1")
    await settle(world)
    assert await deliveries(world, side.kind) == []
    await side.sync()
    assert side.comments(first(side)) == [ALIGNED]


async def test_who_dies_over_a_delivery_is_followed_by_another(
    side: Side, world: World, runtime: Runtime, clock: Clock
) -> None:
    side.label(first(side), "kr:KR-1")
    await side.tracker.hook.idle()
    async with runtime.sessions.begin() as session:
        assert len(await inbox.claim(session, 1, "who dies", runtime.clock())) == 1
    await settle(world)
    assert fetches(side) == 0
    clock.advance(seconds=inbox.LEASE.total_seconds() + 1)
    await sweep(runtime)
    await settle(world)
    assert side.comments(first(side)) == [ALIGNED]
    assert [one["attempts"] for one in await deliveries(world, side.kind) if one["state"] == "done"] == [2]


async def test_a_delivery_that_takes_its_workers_down_is_given_up(
    side: Side, world: World, runtime: Runtime
) -> None:
    side.label(first(side), "kr:KR-1")
    await side.tracker.hook.idle()
    async with runtime.sessions.begin() as session:
        (heard,) = await deliveries(world, side.kind)
        (await session.get_one(Delivery, heard["id"])).attempts = MOST_ATTEMPTS
    await settle(world)
    (heard,) = await deliveries(world, side.kind)
    assert (heard["state"], heard["error"]["code"]) == ("failed", "given_up")
    assert fetches(side) == 0
