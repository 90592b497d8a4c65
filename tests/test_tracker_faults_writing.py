"""Every fault of a tracker at a request that writes a ticket, or that makes sure before one; at each of these
one of each meaning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.runtime import Runtime
from connectors.sandbox import faults
from connectors.timeouts import Timeouts
from tests.support.clock import Clock
from tests.support.fault_bench import ALIGNED, MISSING, Bench
from tests.support.faults import DRIPS, HANGS, HANGS_AFTER, Trouble, before_a_write, dealt
from tests.support.tracker_drivers import KINDS, driver_of
from tests.support.world import World


@pytest.fixture
async def bench(request: pytest.FixtureRequest, world: World, runtime: Runtime, clock: Clock) -> Bench:
    made = Bench(world, runtime, clock, driver_of(world, request.getfixturevalue("kind")), small=False)
    await made.begin()
    made.add_quiet()
    return made


async def notice(bench: Bench, key: str) -> dict[str, Any]:
    found: dict[str, Any] = await bench.driver.notice(key)
    return found


async def is_said(bench: Bench, trouble: Trouble, key: str) -> None:
    """While the trouble lasts: a notice waits, or is stale or has failed and says why."""
    found = await notice(bench, key)
    if trouble.meaning != "nobody" and found["pending"]:
        assert found["state"] in ("due", "held", "posted"), (trouble.name, found)
        return
    assert found["detail"], (trouble.name, found)
    assert found["state"] == "failed" or found["reason"] == "stale", (trouble.name, found)


async def is_failing(bench: Bench, trouble: Trouble) -> None:
    """Credentials that died are for a person to mend, and health says so."""
    health = await bench.health()
    if trouble.meaning == "nobody":
        assert (health["state"], "token" in health["what_to_do"]) == ("failing", True), (trouble.name, health)


# --- a new comment --------------------------------------------------------------------------------


async def create(bench: Bench, *troubles: Trouble) -> None:
    """However it ends, there is one comment, and not a second request before the ticket was looked at."""
    driver = bench.driver
    tickets = {bench.add(): trouble for trouble in troubles}
    struck = bench.strike_all([(trouble, bench.on(key, "create")) for key, trouble in tickets.items()])
    run = await driver.sync()
    assert (run["state"], run["writes"]["posted"]) == ("succeeded", 0)
    sent = driver.tracker.log.count(driver.creates)
    assert sent == len(troubles)
    for key, trouble in tickets.items():
        assert len(driver.comments(key)) <= 1, trouble.name
        await is_said(bench, trouble, key)
    await is_failing(bench, troubles[0])
    if troubles[0].limit:
        await bench.later(seconds=troubles[0].wait - 2)
        assert driver.tracker.log.count(driver.creates) == sent, troubles[0].name
    bench.over(*struck)
    await bench.later(minutes=62)
    bench.posts_are_not_repeated_blindly()
    for key, trouble in tickets.items():
        assert [MISSING in text for text in driver.comments(key)] == [True], trouble.name
        found = await notice(bench, key)
        assert (found["state"], found["pending"], found["detail"]) == ("posted", False, None), trouble.name


# --- before it: the ticket is fetched, and after an answer that was lost its comments are looked at ---


async def fetch(bench: Bench, trouble: Trouble) -> None:
    driver = bench.driver
    key = bench.add()
    fault = bench.strike(trouble, bench.on(key, "fetch"))
    await driver.sync()
    assert (driver.comments(key), driver.tracker.log.count(driver.creates)) == ([], 0), trouble.name
    await is_said(bench, trouble, key)
    bench.over(fault)
    await driver.sync()  # which finds out whether it was deleted, where that was said
    await bench.later(minutes=62)
    assert [MISSING in text for text in driver.comments(key)] == [True], trouble.name


async def find(bench: Bench, trouble: Trouble, place: str = "find") -> None:
    driver = bench.driver
    key = bench.add()
    # Before its first comment the ticket is looked at too; then there is nothing whose marks to ask for. The
    # sync looks for commands before, on Jira by the same request.
    before = 0 if place == "marks" else {"jira": 2, "github": 1}[driver.kind]
    fault = bench.strike(trouble, replace(bench.on(key, place), skip=before))
    driver.tracker.faults.add(driver.creates, faults.lose_answer())
    await driver.sync()
    assert (len(driver.comments(key)), fault.struck) == (1, 0)
    await bench.later(seconds=62)
    assert fault.struck == 1, trouble.name
    assert len(driver.comments(key)) == 1, trouble.name
    await is_said(bench, trouble, key)
    await is_failing(bench, trouble)
    bench.over(fault)
    await bench.later(minutes=62)
    found = await notice(bench, key)
    assert (found["state"], found["pending"]) == ("posted", False), (trouble.name, found)
    assert driver.tracker.log.count(driver.creates) == 1, trouble.name
    bench.posts_are_not_repeated_blindly()
    assert [MISSING in text for text in driver.comments(key)] == [True], trouble.name


async def marks(bench: Bench, trouble: Trouble) -> None:
    """Jira lists comments without their marks, which are asked for by a request of their own."""
    await find(bench, trouble, "marks")


# --- an edit, a deletion ------------------------------------------------------------------------


async def edit(bench: Bench, *troubles: Trouble) -> None:
    """Sent again it changes nothing, so nobody has to look first."""
    driver = bench.driver
    tickets = {bench.add(): trouble for trouble in troubles}
    await driver.sync()
    before = {key: driver.comment_ids(key) for key in tickets}
    for key in tickets:
        driver.describe(key, "Key-Result: KR-1")
    struck = bench.strike_all([(trouble, bench.on(key, "edit")) for key, trouble in tickets.items()])
    await driver.sync()
    await is_failing(bench, troubles[0])
    bench.over(*struck)
    await bench.later(minutes=62)
    for key, trouble in tickets.items():
        assert driver.comment_ids(key) == before[key], trouble.name
        assert ALIGNED in driver.comments(key)[0], trouble.name
        found = await notice(bench, key)
        assert (found["state"], found["pending"]) == ("resolved", False), (trouble.name, found)


async def delete(bench: Bench, *troubles: Trouble) -> None:
    """Whatever comes between, the comment is gone, or one line where we may not delete it."""
    driver = bench.driver
    tickets = {bench.add(): trouble for trouble in troubles}
    run = await driver.sync()
    struck = bench.strike_all([(trouble, bench.on(key, "delete")) for key, trouble in tickets.items()])
    await bench.world.send("POST", f"/runs/{run['id']}/withdraw", {"delete": True})
    await bench.world.drain()
    await is_failing(bench, troubles[0])
    bench.over(*struck)
    await bench.later(minutes=62)
    bench.withdrawn.update(tickets)
    for key, trouble in tickets.items():
        found = await notice(bench, key)
        assert (found["state"], found["pending"]) == ("withdrawn", False), (trouble.name, found)
        assert not any(MISSING in text for text in driver.comments(key)), trouble.name


TOGETHER = {"create": create, "edit": edit, "delete": delete}
SINGLY = {
    "jira": {"fetch": fetch, "find": find, "marks": marks},
    "github": {"fetch": fetch, "find": find},
}


@pytest.mark.parametrize("place", TOGETHER)
@pytest.mark.parametrize("kind", KINDS)
async def test_what_strikes_the_write_itself(bench: Bench, kind: str, place: str) -> None:
    """What holds up all tickets strikes alone, what concerns one of them strikes many at once."""
    troubles = dealt(kind, list(TOGETHER), write=True)[place]
    await TOGETHER[place](bench, *(trouble for trouble in troubles if not trouble.lone))
    for trouble in troubles:
        if trouble.lone:
            await TOGETHER[place](bench, trouble)
    await bench.truth()
    assert bench.struck == len(troubles)


@pytest.mark.parametrize("kind", KINDS)
async def test_what_strikes_before_a_write(bench: Bench, kind: str) -> None:
    for place, story in SINGLY[kind].items():
        for trouble in before_a_write(kind, place):
            await story(bench, trouble)
    await bench.truth()
    assert bench.struck == sum(len(before_a_write(kind, place)) for place in SINGLY[kind])


class TestSlow:
    """A call that hangs, or drips for ever, ends with our patience, which is short here."""

    @pytest.fixture
    def runtime(self, runtime: Runtime) -> Runtime:
        return replace(runtime, timeouts=Timeouts(connect=5, read=1.5, total=3))

    @pytest.mark.parametrize("kind", KINDS)
    async def test_who_hangs_or_drips(self, bench: Bench, kind: str) -> None:
        await create(bench, HANGS, HANGS_AFTER, DRIPS)
        await delete(bench, HANGS, HANGS_AFTER)
        await find(bench, HANGS)
        await bench.truth()
        assert bench.struck == 6
