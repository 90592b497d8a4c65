"""New epics are evaluated by the page that brings them, and written once; the others at the end of the run.

Whatever is evaluated when, the rows at the end are those of a run that evaluates all at its end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import event, text

from app.runtime import Runtime
from connectors.base import Epic, Parent
from connectors.sandbox import faults
from tests.support.clock import Clock, later
from tests.support.new_epics import connected, evaluated, number, reading, rows
from tests.support.queries import all_of, versions
from tests.support.ticket_text import text_lines
from tests.support.tracker_drivers import JiraDriver, driver_of
from tests.support.world import World

pytestmark = pytest.mark.database

TOKYO = timezone(timedelta(hours=9))


@contextmanager
def written_epics(runtime: Runtime) -> Iterator[list[str]]:
    """The statements that update rows of epics while the block runs."""
    sent: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if re.search(r"\bUPDATE epics\b", statement) and cursor.rowcount:
            sent.append(statement)

    event.listen(runtime.engine.sync_engine, "after_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(runtime.engine.sync_engine, "after_cursor_execute", note)


# --- written once -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["jira", "github"])
@pytest.mark.parametrize("mode", ["off", "shadow", "live"])
async def test_a_new_epic_is_written_once(world: World, runtime: Runtime, kind: str, mode: str) -> None:
    """A live source has a grace here: nothing is to be written on a ticket."""
    driver = driver_of(world, kind)
    await world.goal()
    keys = [driver.add(f"Epic {of}", labels=["kr:KR-1"] if of % 2 else []) for of in range(6)]
    await driver.connect(mode)
    await world.send("PATCH", "/policy", {"grace": "P5D"})
    await world.drain()
    with written_epics(runtime) as sent:
        assert (await driver.sync("full"))["created"] == 6
    assert sent == []
    assert sorted(await evaluated(runtime)) == sorted(keys)
    alignments = dict(await all_of(runtime, "SELECT key, alignment FROM epics"))
    assert [alignments[key] for key in keys] == ["unaligned", "aligned"] * 3
    held = {"off": [], "shadow": [("shadow", None)] * 3, "live": [("held", "grace")] * 3}
    assert await all_of(runtime, "SELECT state, reason FROM notices ORDER BY id") == held[mode]


async def test_what_a_page_brings_is_evaluated_though_the_next_page_fails(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    await world.goal()
    for of in range(4):
        world.site.create("SHOP", f"Epic {of}", labels=["kr:KR-1"] if of % 2 else [])
    await JiraDriver(world).connect("shadow")
    world.site.page_cap = 2
    world.jira.faults.add("POST */search/jql", faults.answer(503, "busy"), times=None, skip=1)
    await world.send("POST", "/sources/jira/sync", {"mode": "full"})
    await world.drain()
    assert (await all_of(runtime, "SELECT state FROM runs"))[0] == ("waiting",)
    assert len(await all_of(runtime, "SELECT FROM epics")) == 2
    assert len(await evaluated(runtime)) == 2
    stored = await rows(runtime)
    assert [len(stored[name]) for name in ("links", "findings", "notices")] == [1, 1, 1]
    before = await versions(runtime)
    world.jira.faults.clear()
    await later(world, runtime, clock, minutes=5)
    after = await versions(runtime)
    assert len(after) == 4
    assert {key: after[key] for key in before} == before
    assert len(await evaluated(runtime)) == 4


# --- what is left to the end of the run ----------------------------------------------------------


async def test_epics_with_a_parent_inherit_whatever_page_brings_it(world: World, runtime: Runtime) -> None:
    await connected(world)
    run = await reading(runtime)
    parent = Parent("SHOP-9", "009", "Above", "https://t/SHOP-9")
    await run.page(number(1, parent=parent), number(2, parent=Parent("SHOP-9")), number(3))
    await run.page(number(4, parent=parent), number(5, parent=Parent("SHOP-404")))
    assert await evaluated(runtime) == ["SHOP-3"]
    await run.page(number(9, "Checkout"), number(10, parent=Parent("SHOP-9")))
    assert await evaluated(runtime) == ["SHOP-3", "SHOP-9"]
    due = await all_of(runtime, "SELECT key FROM epics WHERE evaluate_at IS NOT NULL ORDER BY remote_id")
    assert due == [("SHOP-1",), ("SHOP-2",), ("SHOP-4",), ("SHOP-5",), ("SHOP-10",)]
    await run.end()
    aligned = "SELECT key FROM epics WHERE alignment = 'aligned' ORDER BY remote_id"
    assert await all_of(runtime, aligned) == [(f"SHOP-{of}",) for of in (1, 2, 4, 9, 10)]


async def test_a_child_of_an_earlier_run_is_evaluated_once_its_parent_comes(
    world: World, runtime: Runtime
) -> None:
    await connected(world)
    first = await reading(runtime)
    await first.page(number(1, parent=Parent("SHOP-9")))
    await first.end()
    assert await all_of(runtime, "SELECT alignment FROM epics") == [("unaligned",)]
    second = await reading(runtime)
    await second.page(number(9, "Checkout"))
    assert "SHOP-9" in await evaluated(runtime)
    await second.end()
    await world.drain()
    assert await all_of(runtime, "SELECT DISTINCT alignment FROM epics") == [("aligned",)]


def _all_kinds(now: datetime) -> list[Epic]:
    return [
        number(1),
        number(2, text=text_lines("Why", "Key-Result: KR-1")),
        number(3, text=text_lines("Key-Result: KR-404")),
        number(4, labels=("kr:KR-1",)),
        number(5, "Pay at the CHECKOUT"),
        number(6, labels=("ktlo",)),
        number(7, status="Done", status_category="done", finished_at=now),
        number(
            8,
            "A\0 checkout \ud800",
            labels=("a\0b", "\udfff"),
            fields={"Team": ("x\0", "\ud800")},
            text=text_lines("Key-Result: KR-1\0", "\ud800"),
            assignees=("\0",),
        ),
        number(9, created_at=now + timedelta(days=2), updated_at=now + timedelta(days=3)),
        number(10, created_at=now.astimezone(TOKYO), updated_at=now.astimezone(TOKYO)),
        number(11, created_at=datetime(2001, 2, 3, tzinfo=UTC)),
        number(12, text=text_lines("Key-Result: KR-2", "Key-Result: KR-3")),
        number(13, labels=("kr:KR-2",)),
        number(14, parent=Parent("SHOP-4", "004", "Above", "https://t/SHOP-4")),
        number(15, parent=Parent("SHOP-2")),
        number(16, parent=Parent("GONE-1", "g1")),
    ]


# Of the project, and what it is in the table of projects.
PROJECTS = {
    "read": "fully_synced = true, public = true",
    "unread": "fully_synced = false",
    "private": "fully_synced = true, public = false",
    "service desk": "service_desk = true",
    "unknown": "key = 'OTHER'",
}
CASES = [
    *(("read", mode, grace) for mode in ("off", "shadow", "live") for grace in ("P5D", "PT0S")),
    *(("unread", mode, grace) for mode, grace in (("shadow", "PT0S"), ("live", "P5D"), ("live", "PT0S"))),
    *(("private", mode, "PT0S") for mode in ("shadow", "live")),
    ("service desk", "live", "PT0S"),
    ("unknown", "live", "PT0S"),
]


@pytest.mark.parametrize(("project", "mode", "grace"), CASES)
async def test_the_rows_are_those_of_a_run_that_evaluates_all_at_its_end(
    world: World, runtime: Runtime, clock: Clock, project: str, mode: str, grace: str
) -> None:
    await world.goal("KR-2", "Secret plan", visibility="confidential", public_label="A plan")
    await world.goal("KR-3", "Was given up")
    await connected(world, mode)
    await world.send("PATCH", "/policy", {"grace": grace, "exempt": {"labels": ["ktlo"]}})
    await world.send("PATCH", "/key-results/KR-3", {"state": "missed"})
    await world.drain()
    async with runtime.sessions.begin() as session:
        await session.execute(text(f"UPDATE source_projects SET {PROJECTS[project]}"))
    epics = _all_kinds(clock.now)
    by_page = await reading(runtime)
    await by_page.page(*epics[:8])
    await by_page.page(*epics[8:])
    early = await evaluated(runtime)
    on_the_way = "SELECT FROM notices WHERE target IS NOT NULL OR state = 'due' OR reason = 'stale'"
    assert await all_of(runtime, on_the_way) == []
    await by_page.end()
    found = await rows(runtime)
    waits = {key for key, notice in found["notices"] if notice["target"] or notice["reason"] == "stale"}
    below = {"SHOP-14", "SHOP-15", "SHOP-16"}
    assert bool(waits) is (mode == "live" and grace == "PT0S" and project != "service desk")
    keys = {epic.key for epic in epics}
    assert set(early) == (set() if project == "unknown" else keys - waits - below)

    async with runtime.sessions.begin() as session:
        await session.execute(text("DELETE FROM epics"))
    at_the_end = await reading(runtime, mode="incremental")
    await at_the_end.page(*epics[:8])
    await at_the_end.page(*epics[8:])
    assert await evaluated(runtime) == []
    await at_the_end.end()
    assert await rows(runtime) == found
