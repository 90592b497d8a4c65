"""GitHub's limit is respected before it is passed: once an answer says that none is left, none is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
import respx

from app.runtime import Runtime
from connectors.base import ConnectorError, Unavailable
from connectors.github.client import GitHubConnector
from connectors.github.config import GitHubCredentials, GitHubEpics, GitHubScope
from connectors.rate_limits import Budget, ResponseMeta
from connectors.timeouts import TIMEOUTS
from tests.support.clock import Clock, later
from tests.support.tracker_drivers import GitHubDriver
from tests.support.world import World

API = "https://api.github.com"
ME = {"id": 42, "login": "northing-bot"}


@pytest.fixture
async def connector(clock: Clock) -> AsyncIterator[GitHubConnector]:
    made = GitHubConnector(
        API,
        GitHubCredentials.model_validate({"type": "token", "token": "ghp_s3cret"}),
        GitHubScope(repositories=["acme/shop"]),
        GitHubEpics(),
        TIMEOUTS,
        clock,
    )
    yield made
    await made.aclose()


RESTS = [
    ("nothing left", 200, {}, 90),
    ("nothing left, GitHub's clock 2 h ahead", 200, {"ahead": 7200}, 90),
    ("of what is not there", 404, {}, 90),
    ("nobody's, for the token is not good", 401, {}, None),
    ("one left", 200, {"x-ratelimit-remaining": "1"}, None),
    ("of searches", 200, {"x-ratelimit-resource": "search"}, None),
    ("no end told", 200, {"x-ratelimit-reset": ""}, None),
    ("over already", 200, {"reset": -5}, None),
    ("nonsense", 200, {"reset": 10**8}, 86400),
]


@pytest.mark.parametrize(
    ("status", "reported", "rest"), [row[1:] for row in RESTS], ids=[row[0] for row in RESTS]
)
async def test_after_an_answer_with_nothing_left_nothing_is_sent(
    clock: Clock, connector: GitHubConnector, status: int, reported: dict[str, str | int], rest: int | None
) -> None:
    extra = {name: str(value) for name, value in reported.items() if name.startswith("x-")}
    theirs = clock() + timedelta(seconds=int(reported.get("ahead", 0)))
    until = theirs + timedelta(seconds=int(reported.get("reset", 90)))
    headers = {
        "date": format_datetime(theirs, usegmt=True),
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": str(int(until.timestamp())),
    } | extra
    with respx.mock:
        asked = respx.get(f"{API}/user").respond(status, json=ME, headers=headers)
        with nullcontext() if status == 200 else pytest.raises(ConnectorError):
            await connector.account()
        asked.respond(json=ME)
        if rest is not None:
            with pytest.raises(Unavailable, match="limits our requests") as caught:
                await connector.account()
            assert (caught.value.retry_after, asked.call_count, connector.requests) == (rest, 1, 1)
            clock.advance(seconds=rest)
        await connector.account()
        assert (asked.call_count, connector.requests) == (2, 2)


async def test_an_answer_that_was_late_ends_no_pause(clock: Clock, connector: GitHubConnector) -> None:
    """Requests go side by side: the one with a last request left was answered before, and is here after."""
    until = int((clock() + timedelta(seconds=90)).timestamp())
    spent, sent = asyncio.Event(), asyncio.Event()

    def limit(left: int) -> dict[str, str]:
        date = format_datetime(clock(), usegmt=True)
        return {"date": date, "x-ratelimit-remaining": f"{left}", "x-ratelimit-reset": f"{until}"}

    async def late(_: httpx.Request) -> httpx.Response:
        sent.set()
        await spent.wait()
        return httpx.Response(200, json=ME, headers=limit(1))

    with respx.mock:
        asked = respx.get(f"{API}/user").mock(side_effect=late)
        first = asyncio.create_task(connector.account())
        await sent.wait()
        respx.get(f"{API}/repos/acme/shop").respond(404, json={}, headers=limit(0))
        await connector.projects()
        spent.set()
        await first
        with pytest.raises(Unavailable, match="limits our requests") as caught:
            await connector.account()
        assert (caught.value.retry_after, asked.call_count) == (90, 1)
        budget = connector.response_meta.budget
        assert budget is not None
        assert budget.remaining == 0
        clock.advance(seconds=90)
        await connector.account()
        assert connector.response_meta.budget == Budget(1, None, datetime.fromtimestamp(until, UTC))


async def test_what_another_connector_was_told_counts(clock: Clock, connector: GitHubConnector) -> None:
    until = clock() + timedelta(seconds=60)
    connector.restore_budget(
        ResponseMeta(Budget(0, 5000, until + timedelta(hours=1)), clock_ahead=3600), clock()
    )
    with respx.mock:
        asked = respx.get(f"{API}/user").respond(json=ME)
        with pytest.raises(Unavailable) as caught:
            await connector.account()
        assert (caught.value.retry_after, asked.call_count) == (60, 0)
        connector.restore_budget(ResponseMeta(Budget(7, 5000, until)), clock())
        await connector.account()


@pytest.mark.parametrize("ends", ["with the hour", "by another token"])
async def test_who_writes_respects_what_the_reader_was_told(
    world: World, runtime: Runtime, clock: Clock, ends: str
) -> None:
    """The hour's last request is the reader's: the comments wait for the next hour, and nobody is refused."""
    driver = GitHubDriver(world)
    await driver.connect()
    await driver.sync()
    before = driver.tracker.log.count()
    await driver.sync()
    key, cost = driver.add(), driver.tracker.log.count() - before
    await later(world, runtime, clock, hours=2)
    world.host.rate_limit = 2  # the repository and its issues; that the account is the same does not count
    run = await driver.sync()
    assert (run["state"], run["seen"], run["writes"]["pending"]) == ("succeeded", 1, 1)
    assert driver.tracker.log.count() == before + 2 * cost
    notice = await driver.notice(key)
    assert "limits our requests" in notice["detail"]
    world.host.rate_limit = 5000
    await later(world, runtime, clock, minutes=30)
    assert driver.tracker.log.count() == before + 2 * cost
    if ends == "with the hour":
        await later(world, runtime, clock, minutes=31)
    else:
        credentials = {"type": "token", "token": world.host.bot.token}
        await world.send("PATCH", "/sources/github", {"credentials": credentials})
        await later(world, runtime, clock, seconds=1)
    assert (len(driver.comments(key)), {seen.status for seen in driver.tracker.log.entries}) == (
        1,
        {200, 201, 304},
    )
