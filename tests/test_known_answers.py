"""What GitHub answers to a tag that is known costs nothing of its limit, and hides no change."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import select

from app.metrics.collector import Metrics
from app.runtime import Runtime
from app.webhooks.door import Intake
from connectors.sandbox.faults import answer, rewrite
from connectors.sandbox.github.records import Account
from mappings.tables import KnownAnswerRow, SourceProjectRow
from tests.support.clock import Clock
from tests.support.database_faults import refusing
from tests.support.metrics import samples
from tests.support.pages import visiting, words_of
from tests.support.runs import counts
from tests.support.tracker_requests import listings
from tests.support.world import OFF, World

pytestmark = pytest.mark.database

REPOSITORIES = [f"acme/r{number:03}" for number in range(12)]
SCOPE = {"repositories": ["acme/shop"]}


class Cost:
    """How many requests were sent since it was made, and how many of these the tracker has counted."""

    def __init__(self, world: World) -> None:
        self._tracker, self._before = world.github, world.github.rate.counted
        world.github.log.clear()

    def __call__(self) -> tuple[int, int]:
        return self._tracker.log.count(), self._tracker.rate.counted - self._before


async def known(runtime: Runtime) -> dict[str, str]:
    """The tags that are stored, by the names of what was asked for."""
    async with runtime.sessions() as session:
        rows = await session.scalars(select(KnownAnswerRow).order_by(KnownAnswerRow.name))
        return {row.name: row.tag for row in rows}


async def not_modified(app: Any, scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 304, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def make_repositories(world: World) -> None:
    for name in REPOSITORIES:
        world.host.add_repository(name)
        world.host.create(name, "An epic", labels=["epic"])


@pytest.fixture
async def shop(world: World, clock: Clock) -> World:
    """One repository with three epics, read once and then once more by the cursor; nothing has changed."""
    for age in (30, 20, 10):
        made = clock.now - timedelta(days=age)
        world.host.create("acme/shop", f"Of {age} days", labels=["epic"], created=made)
    await world.connect_github(notices=OFF, scope=SCOPE)
    assert counts(await world.sync("github")) == (3, 3, 0, 0, 0)
    return world


async def test_a_quiet_sync_of_many_repositories_costs_no_counted_request(
    world: World, runtime: Runtime, intake: Intake, clock: Clock, application: FastAPI
) -> None:
    make_repositories(world)
    world.host.add_repository("acme/empty")
    await world.connect_github(notices=OFF, scope={"repositories": [*REPOSITORIES, "acme/empty"]})
    full = await world.sync("github", "full")
    assert (full["created"], full["uncounted_requests"]) == (len(REPOSITORIES), 0)
    for _ in range(2):
        clock.advance(hours=1)
        cost = Cost(world)
        run = await world.sync("github")
        # The account, and each repository and its issues.
        sent = 1 + 2 * (len(REPOSITORIES) + 1)
        assert (run["state"], run["error"], cost()) == ("succeeded", None, (sent, 0))
        assert (run["requests"], run["uncounted_requests"]) == (sent, sent)
    seen = samples(await Metrics().scrape(runtime, intake))
    assert seen['northing_tracker_requests_uncounted_total{source="github"}'] == 2 * sent
    assert seen['northing_tracker_requests_total{source="github"}'] == full["requests"] + 2 * sent
    async with visiting(application) as visitor:
        await visitor.sign_in()
        shown = words_of(await visitor.get(f"/runs/{run['id']}"))
    assert f"{sent}, {sent} of which the tracker does not count" in shown


async def test_changed_issues_cost_what_is_asked_of_their_repository(world: World, clock: Clock) -> None:
    make_repositories(world)
    await world.connect_github(notices=OFF, scope={"repositories": REPOSITORIES})
    await world.sync("github")
    for title in ("Once", "Twice"):
        clock.advance(hours=1)
        world.host.edit("acme/r003#1", title=title)
        world.host.create("acme/r003", f"New: {title}", labels=["epic"])
        cost = Cost(world)
        run = await world.sync("github")
        # The repository, which shows how many are open, its issues, and the comments on them.
        assert (run["created"], run["updated"], cost()[1]) == (1, 1, 3)
        assert (await world.epic("github", "acme/r003#1"))["title"] == title
        cost = Cost(world)
        assert (await world.sync("github"))["state"] == "succeeded"
        assert cost()[1] == 0


async def test_what_is_older_than_the_cursor_is_not_read_again_with_what_changed(
    shop: World, clock: Clock
) -> None:
    clock.advance(hours=1)
    shop.host.edit("acme/shop#1", title="Changed")
    # The newest of the first sync lies within the overlap, the second is older.
    assert counts(await shop.sync("github")) == (2, 0, 1, 0, 0)


async def test_a_change_is_not_hidden_by_a_crash_before_its_page_is_stored(
    shop: World, runtime: Runtime, clock: Clock
) -> None:
    before = await known(runtime)
    clock.advance(hours=1)
    shop.host.edit("acme/shop#1", title="Changed")
    async with refusing(runtime, "known_answers", "XX000", "NEW.name LIKE 'issues %'"):
        assert (await shop.sync("github"))["state"] == "running"
    assert (await known(runtime), (await shop.epic("github", "acme/shop#1"))["title"]) == (
        before,
        "Of 30 days",
    )
    clock.advance(minutes=2)
    assert (await shop.sync("github"))["updated"] == 1
    assert (await shop.epic("github", "acme/shop#1"))["title"] == "Changed"
    assert (await known(runtime)).keys() == before.keys()
    assert await known(runtime) != before


async def test_another_token_asks_anew(shop: World, runtime: Runtime, clock: Clock) -> None:
    before = await known(runtime)
    other = Account("another-bot", shop.host.new_id())
    shop.host.tokens[other.token] = other
    await shop.send("PATCH", "/sources/github", {"credentials": {"type": "token", "token": other.token}})
    await shop.drain()
    clock.advance(hours=1)
    cost = Cost(shop)
    run = await shop.sync("github")
    assert (run["state"], run["uncounted_requests"]) == ("succeeded", 0)
    assert cost()[0] == cost()[1] == run["requests"]
    assert not before.items() & (await known(runtime)).items()
    cost = Cost(shop)
    await shop.sync("github")
    assert cost()[1] == 0


async def test_a_proxy_that_answers_304_wrongly_is_healed_by_a_full_sync(
    shop: World, runtime: Runtime, clock: Clock
) -> None:
    clock.advance(hours=1)
    shop.host.edit("acme/shop#1", title="Changed")
    shop.github.faults.add("GET */issues", not_modified)
    assert counts(await shop.sync("github")) == (0, 0, 0, 0, 0)
    clock.advance(hours=1)
    run = await shop.sync("github", "full")
    assert (run["uncounted_requests"], run["updated"]) == (0, 1)


@pytest.mark.parametrize(("status", "state"), [(401, "failed"), (403, "partial")])
async def test_a_full_sync_that_removes_nothing_hides_no_epic_that_is_none_any_more(
    shop: World, clock: Clock, status: int, state: str
) -> None:
    """It has read the page, and asks for the ticket by its id before it removes the epic at its end."""
    clock.advance(hours=1)
    shop.host.edit("acme/shop#3", labels=[])
    shop.github.faults.add("GET */issues/3", answer(status), times=None)
    assert (await shop.sync("github", "full"))["state"] == state
    shop.github.faults.clear()
    await shop.sync("github")
    assert await shop.keys("github") == ["acme/shop#1", "acme/shop#2"]


async def test_a_304_that_no_tag_asked_for_is_no_answer(shop: World, clock: Clock) -> None:
    shop.github.faults.add("GET */issues", not_modified, times=9)
    run = await shop.sync("github", "full")
    assert (run["state"], run["uncounted_requests"]) == ("partial", 0)
    assert await shop.keys("github") == ["acme/shop#1", "acme/shop#2", "acme/shop#3"]


async def test_two_sources_with_the_same_repository_each_know_their_own(
    shop: World, runtime: Runtime, clock: Clock
) -> None:
    await shop.connect_github("second", notices=OFF, scope=SCOPE, epics={"labels": ["epic", "goal"]})
    cost = Cost(shop)
    await shop.sync("second")
    assert cost()[0] == cost()[1]
    clock.advance(hours=1)
    shop.host.edit("acme/shop#2", title="Changed")
    assert (await shop.sync("github"))["updated"] == 1
    shop.host.create("acme/shop", "A goal", labels=["goal"])
    run = await shop.sync("second")
    assert (run["created"], await shop.keys("second")) == (1, ["acme/shop#4"])


async def test_who_may_read_a_repository_is_noticed_though_its_issues_are_the_same(
    shop: World, runtime: Runtime, clock: Clock
) -> None:
    shop.host.repository("acme/shop").private = False
    cost = Cost(shop)
    run = await shop.sync("github")
    assert (run["requests"] - run["uncounted_requests"], cost()[1]) == (1, 1)
    async with runtime.sessions() as session:
        assert await session.scalar(select(SourceProjectRow.public)) is True


async def test_a_renamed_repository_is_asked_for_by_its_id(shop: World, clock: Clock) -> None:
    shop.host.rename_repository("acme/shop", "store")
    clock.advance(hours=1)
    assert (await shop.sync("github", "full"))["state"] == "succeeded"
    for counted in (1, 0):  # by its id, at first
        clock.advance(hours=1)
        cost = Cost(shop)
        assert (await shop.sync("github"))["state"] == "succeeded"
        assert cost()[1] == counted
    shop.host.edit("acme/store#1", title="Changed")
    assert (await shop.sync("github"))["updated"] == 1


async def test_a_repository_that_comes_back_is_read_from_nothing(
    shop: World, runtime: Runtime, clock: Clock
) -> None:
    """Its list is the same as when it left, and its tag is still known."""
    shop.host.add_repository("acme/other")
    await shop.send("PATCH", "/sources/github", {"scope": {"repositories": [], "organizations": ["acme"]}})
    await shop.drain()
    shop.host.hidden.add("acme/shop")
    clock.advance(hours=1)
    await shop.sync("github")
    assert "issues acme/shop" in await known(runtime)
    shop.host.hidden.clear()
    clock.advance(hours=1)
    shop.github.log.clear()
    assert counts(await shop.sync("github")) == (3, 0, 0, 0, 0)
    assert [seen.status for seen in shop.github.log.matching("GET */acme/shop/issues")] == [200]


async def test_a_full_sync_forgets_what_left_the_source(shop: World, runtime: Runtime, clock: Clock) -> None:
    shop.host.add_repository("acme/other")
    await shop.send("PATCH", "/sources/github", {"scope": {"repositories": ["acme/other"]}})
    await shop.drain()
    await shop.sync("github", "full")
    assert {name.rpartition("/")[2] for name in await known(runtime)} == {
        "user",
        "other",
        "{repo} acme other",
    }


async def test_a_list_with_a_ticket_that_cannot_be_read_is_asked_for_whole(
    shop: World, runtime: Runtime, clock: Clock
) -> None:
    clock.advance(hours=1)
    shop.host.edit("acme/shop#1", title="Changed")
    shop.github.faults.add(
        "GET */issues",
        rewrite(lambda rows: [row | ({"state": 5} if row["number"] == 1 else {}) for row in rows]),
    )
    assert (await shop.sync("github"))["state"] == "partial"
    assert not [name for name in await known(runtime) if name.startswith("issues")]
    assert (await shop.sync("github"))["updated"] == 1
    # It was read at last; the page is known from the next time on.
    await shop.sync("github")
    cost = Cost(shop)
    assert (await shop.sync("github"))["state"] == "succeeded"
    assert cost()[1] == 0


async def test_a_list_of_several_pages_is_asked_for_whole_and_then_by_its_end(
    world: World, clock: Clock
) -> None:
    for number in range(101):
        made = clock.now - timedelta(hours=200 - number)
        world.host.create("acme/shop", f"Epic {number}", labels=["epic"], created=made)
    await world.connect_github(notices=OFF, scope=SCOPE)
    await world.sync("github", "full")
    for counted in (1, 0):
        cost = Cost(world)
        await world.sync("github")
        assert cost()[1] == counted
    assert "since=" in listings(world.github)[0].query


async def test_what_comes_behind_a_full_page_is_not_hidden_by_its_tag(world: World, clock: Clock) -> None:
    """The page of a hundred is the same, with the same tag, when there is a second one."""
    for number in range(100):
        made = clock.now - timedelta(minutes=number)
        world.host.create("acme/shop", f"Epic {number}", labels=["epic"], created=made)
    world.host.edit("acme/shop#1", title="Changed")
    await world.connect_github(notices=OFF, scope=SCOPE)
    await world.sync("github")
    clock.advance(minutes=1)
    world.host.create("acme/shop", "The next", labels=["epic"])
    assert (await world.sync("github"))["created"] == 1


async def test_a_repository_behind_a_full_page_is_not_hidden_by_its_tag(world: World, clock: Clock) -> None:
    for number in range(99):
        world.host.add_repository(f"acme/r{number:03}")
    await world.connect_github(notices=OFF, scope={"organizations": ["acme"]})
    await world.sync("github")
    clock.advance(hours=1)
    world.host.add_repository("acme/zoo")
    world.host.create("acme/zoo", "An epic", labels=["epic"])
    assert (await world.sync("github"))["created"] == 1


async def test_pull_requests_that_change_do_not_make_a_list_longer_and_longer(
    world: World, clock: Clock
) -> None:
    made = clock.now - timedelta(days=2)
    world.host.create("acme/shop", "An epic", labels=["epic"], created=made)
    for number in range(120):
        world.host.create(
            "acme/shop", f"A change {number}", pull_request=True, created=made + timedelta(minutes=number + 1)
        )
    await world.connect_github(notices=OFF, scope=SCOPE)
    await world.sync("github")
    await world.sync("github")
    cost = Cost(world)
    await world.sync("github")
    assert cost() == (3, 0)


async def test_an_organisation_is_asked_page_by_page(world: World, runtime: Runtime, clock: Clock) -> None:
    for number in range(101):
        world.host.add_repository(f"acme/r{number:03}")
    await world.connect_github(notices=OFF, scope={"organizations": ["acme"]})
    await world.sync("github")
    clock.advance(hours=1)
    cost = Cost(world)
    run = await world.sync("github")
    sent = 1 + 2 + 102
    assert (run["state"], cost()) == ("succeeded", (sent, 0))
    world.host.repository("acme/r100").private = False
    cost = Cost(world)
    await world.sync("github")
    assert cost() == (sent, 1)
    async with runtime.sessions() as session:
        public = select(SourceProjectRow.key).where(SourceProjectRow.public)
        assert (await session.scalars(public)).all() == ["acme/r100"]


async def test_what_another_version_has_kept_is_not_used(shop: World, runtime: Runtime, clock: Clock) -> None:
    async with runtime.sessions.begin() as session:
        for row in await session.scalars(select(KnownAnswerRow)):
            if "form" in row.value:
                row.value = row.value | {"form": "key,name"}
    cost = Cost(shop)
    assert (await shop.sync("github"))["state"] == "succeeded"
    assert cost()[1] == 2


async def test_no_tag_goes_with_a_write_or_is_kept_of_one(world: World, runtime: Runtime) -> None:
    seen: list[tuple[str, bool]] = []

    async def look(app: Any, scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["method"], b"if-none-match" in dict(scope["headers"])))
        await app(scope, receive, send)

    await world.no_grace()
    await world.goal()
    world.host.create("acme/shop", "An epic", labels=["epic"])
    await world.connect_github(notices={"mode": "live"}, scope=SCOPE)
    world.github.faults.add("*", look, times=100)
    await world.sync("github")
    await world.sync("github")
    assert ("POST", False) in seen
    assert ("GET", True) in seen
    assert ("POST", True) not in seen
