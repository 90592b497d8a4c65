"""Every fault of a tracker where it is read: somewhere at least, and at every place one of each meaning."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from app.runtime import Runtime
from connectors.timeouts import Timeouts
from tests.support.clock import Clock
from tests.support.fault_bench import READING, Bench
from tests.support.faults import DRIPS, HANGS, Trouble, dealt
from tests.support.tracker_drivers import ALL, KINDS, driver_of
from tests.support.world import World


@pytest.fixture
def runtime(runtime: Runtime) -> Runtime:
    """What an answer means, where it is not asked for again (`test_unreadable`)."""
    return replace(runtime, hiccup_pauses=())


@pytest.fixture
async def bench(request: pytest.FixtureRequest, world: World, runtime: Runtime, clock: Clock) -> Bench:
    """Five epics are known, and since then one was born, one renamed and one deleted."""
    made = Bench(world, runtime, clock, driver_of(world, request.getfixturevalue("kind")))
    await made.begin()
    first, second, _ = made.add(), made.add(), made.add()
    made.add_quiet()
    await made.driver.sync()
    await made.truth()
    clock.advance(hours=1)
    made.add()
    made.rename(first)
    made.driver.delete(second)
    return made


def expected(trouble: Trouble, kind: str, place: str) -> tuple[str, str]:
    """The state of the run that meets it, and the code of its error.

    GitHub says to a stranger of each thing that it is not there, and only of his name that he has none; of a
    repository that is not there the others are no worse.
    """
    if trouble.meaning == "later":
        return "waiting", "unavailable"
    silent = kind == "github" and place not in ("account", "lookup")
    if trouble.meaning == "nobody" and not (silent and trouble.name == "credentials die"):
        return "failed", "unauthorized"
    if trouble.meaning == "unreadable" and place in ("account", "projects"):
        return "failed", "bad_payload"
    if place == "account" or (place == "projects" and (kind == "jira" or trouble.name == "redirect")):
        return "failed", "rejected"
    return "partial", "unread"


@pytest.mark.parametrize("kind", KINDS)
async def test_what_strikes_where_we_read(bench: Bench, kind: str) -> None:
    """One after the other. A run that waits is the same that meets the next; one that ended is followed."""
    chosen = dealt(kind, list(READING[kind]))
    cases = [(trouble, place) for place, troubles in chosen.items() for trouble in troubles]
    for trouble, place in cases:
        await meet(bench, trouble, place)
    await heal(bench)
    assert bench.struck == len(cases) >= (79 if ALL else 24)


async def meet(bench: Bench, trouble: Trouble, place: str) -> None:
    """A full run strikes upon it and says so, and nothing is removed."""
    message = (trouble.name, place)
    fault = bench.strike(trouble, READING[bench.driver.kind][place])
    run, health = await bench.sync_in_full()
    bench.over(fault)
    state, code = expected(trouble, bench.driver.kind, place)
    assert (run["state"], run["error"] and run["error"]["code"]) == (state, code), (message, run["error"])
    assert run["deleted"] == 0, message
    # The latter once it has waited long.
    worst = {"failing"} if state == "failed" else {"degraded", "failing"}
    assert health["state"] in worst, message
    assert run["error"]["message"] in health["message"], message
    assert run["error"]["what_to_do"] == health["what_to_do"] != "", message
    if state == "waiting":
        reported = datetime.fromisoformat(run["waiting_until"])
        wait = reported - bench.clock()
        # Where the tracker names no time, it depends on how long there has been trouble.
        least = trouble.wait if trouble.named else 5
        assert timedelta(seconds=least - 2) < wait < timedelta(seconds=trouble.wait + 2), (message, wait)
        assert f"{reported:%H:%M:%S} UTC" in health["message"], message
        bench.clock.advance(seconds=trouble.wait + 2)


async def heal(bench: Bench) -> None:
    """The tracker is well again: the one that is gone goes, and the truth is ours."""
    assert len(await bench.world.keys(bench.driver.kind)) in (5, 6)
    run, health = await bench.sync_in_full()
    assert (run["state"], run["deleted"], run["error"]) == ("succeeded", 1, None)
    assert (health["state"], health["what_to_do"]) == ("ok", "")
    await bench.truth()


class TestSlow:
    """A call that hangs, or drips for ever, ends with our patience, which is short here."""

    @pytest.fixture
    def runtime(self, runtime: Runtime) -> Runtime:
        return replace(runtime, timeouts=Timeouts(connect=5, read=1.5, total=3))

    @pytest.mark.parametrize("kind", KINDS)
    async def test_who_hangs_or_drips(self, bench: Bench, kind: str) -> None:
        await meet(bench, DRIPS, "first page")
        for place in READING[kind]:
            await meet(bench, HANGS, place)
        await heal(bench)
        assert bench.struck == len(READING[kind]) + 1
