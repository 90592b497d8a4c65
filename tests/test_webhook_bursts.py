"""Webhooks that come at once: they share a statement, and each is answered as if it had come alone."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import httpx
from sqlalchemy import text
from structlog.testing import capture_logs

from app.runtime import Runtime
from app.webhooks.door import READ_AT_ONCE
from tests.support.locks import holding
from tests.support.webhook_posts import EDITED, connect, post, signature
from tests.support.world import World


async def burst(world: World, ids: list[str]) -> list[httpx.Response]:
    """The answers to webhooks that are ready at the same moment, in this order."""
    return await asyncio.gather(*(post(world, x_github_delivery=id) for id in ids))


async def commits(runtime: Runtime) -> int:
    """How many transactions stored the deliveries there are."""
    async with runtime.sessions() as session:
        return await session.scalar(text("SELECT count(DISTINCT xmin::text) FROM deliveries")) or 0


async def test_a_burst_is_few_commits_and_keeps_its_order(world: World, runtime: Runtime) -> None:
    await connect(world)
    await post(world, x_github_delivery="before")  # the source is known from now on
    sent = [f"burst-{number:02}" for number in reversed(range(20))]
    ids = [answer.json()["delivery"] for answer in await burst(world, sent)]
    assert ids == sorted(ids)
    shown = {item["id"]: item["remote_id"] for item in (await world.send("GET", "/deliveries"))["items"]}
    assert [shown[id] for id in ids] == sent
    # The one before, the first of the burst, and all that was read while others were stored: at best all the
    # rest at once, and a commit for each turn where the database is the faster.
    assert 3 <= await commits(runtime) <= 1 + 20 / READ_AT_ONCE


async def test_repeats_within_a_burst_are_one_delivery(world: World) -> None:
    await connect(world)
    old = (await post(world, x_github_delivery="old")).json()
    with capture_logs() as lines:
        answers = [answer.json() for answer in await burst(world, ["new", "old", "new", "other", "new"])]
    first, again, *others = answers
    assert (again, others[0], others[2]) == (old, first, first)
    reported = Counter((line["event"], line["remote_id"]) for line in lines if "remote_id" in line)
    assert reported == {
        ("webhook received", "new"): 1,
        ("webhook repeated", "new"): 2,
        ("webhook repeated", "old"): 1,
        ("webhook received", "other"): 1,
    }
    metrics = (await world.api.get("/metrics")).text
    assert 'northing_webhooks_total{answer="received",source="github"} 3.0' in metrics


async def test_who_is_called_off_in_a_burst_takes_nobody_along(world: World, database_url: str) -> None:
    await connect(world)
    await post(world, x_github_delivery="before")
    async with holding(database_url) as holder:
        await holder.hold("LOCK TABLE deliveries")
        both = [asyncio.create_task(post(world, x_github_delivery=id)) for id in ("called-off", "waits")]
        await holder.until_waiting(1)
        assert not any(task.done() for task in both)
        both[0].cancel()
        await asyncio.wait({both[0]})
    assert (await both[1]).status_code == 202
    assert both[0].cancelled()
    stored = {one["remote_id"] for one in (await world.send("GET", "/deliveries"))["items"]}
    assert stored >= {"before", "waits"}


async def test_a_burst_under_a_secret_that_just_changed_is_taken_in(world: World) -> None:
    """Whoever is signed with the new one; the others are refused."""
    await connect(world)
    await post(world, x_github_delivery="before")
    await world.send("PATCH", "/sources/github", {"webhook_secret": "another secret of it"})
    body = json.dumps(EDITED).encode()
    new = signature(body, "another secret of it")
    answers = await asyncio.gather(
        *(
            post(world, x_github_delivery=f"{number}", x_hub_signature_256=given)
            for number, given in enumerate([new, signature(body)] * 4)
        )
    )
    assert [answer.status_code for answer in answers] == [202, 401] * 4
    stored = [one["remote_id"] for one in (await world.send("GET", "/deliveries"))["items"]]
    assert sorted(stored) == ["0", "2", "4", "6", "before"]
