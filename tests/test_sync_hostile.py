"""Tickets that nobody in his right mind writes: stored, or refused in words, and the run goes on."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import pipeline
from app.runtime import Runtime
from connectors.sandbox.faults import Action
from tests.support.clock import Clock, ClockOf
from tests.support.world import OFF, World

SHOP = {"projects": ["SHOP"]}


def _answering(change: Callable[[Any], Any]) -> Action:
    """`rewrite`, in ASCII: halves of surrogate pairs go out as a tracker would write them, escaped."""

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        body = bytearray()

        async def keep(message: Message) -> None:
            body.extend(message.get("body", b""))

        await app(scope, receive, keep)
        changed = json.dumps(change(json.loads(body)))
        await Response(changed, media_type="application/json")(scope, receive, send)

    return act


DEEP: dict[str, Any] = {"type": "doc", "version": 1, "content": []}
for _ in range(200):
    DEEP = {"type": "doc", "version": 1, "content": [{"type": "blockquote", "content": [DEEP]}]}

# Fields of one issue each, and its title as stored.
STORED: list[tuple[dict[str, Any], str]] = [
    ({"summary": "a\0b"}, "ab"),
    ({"summary": "a\ud800b"}, "a?b"),
    ({"summary": "🚀 \\u0000 \\ud83d"}, "🚀 \\u0000 \\ud83d"),
    ({"summary": "x" * 60_000}, "x" * 60_000),
    ({"summary": ""}, ""),
    ({"summary": None}, ""),
    (
        {"summary": "<script>alert(1)</script> '; DROP TABLE epics; --"},
        "<script>alert(1)</script> '; DROP TABLE epics; --",
    ),
    ({"labels": [f"label-{number}" for number in range(5_000)]}, "Strange"),
    ({"labels": ["kr:" + "K" * 50_000, "kr:\0", "\ud800"]}, "Strange"),
    ({"components": [{"name": "\0"}] * 2_000}, "Strange"),
    ({"description": DEEP}, "Strange"),
    ({"updated": "9999-12-31T23:59:59.000+0000"}, "Strange"),
    ({"created": "9999-12-31T23:59:59.000+0000"}, "Strange"),
    ({"created": "0001-01-01T00:00:00.000+0000"}, "Strange"),
]


async def test_what_is_strange_is_stored(world: World, clock: Clock) -> None:
    made = [world.site.create("SHOP", "Strange").key for _ in STORED]
    await world.connect_jira(notices={"mode": "shadow"}, scope=SHOP)

    def change(body: Any) -> Any:
        for issue in body["issues"]:
            issue["fields"] |= STORED[made.index(issue["key"])][0]
        # And each of them twice on the page.
        return body | {"issues": body["issues"] * 2}

    world.jira.faults.add("POST */search/jql", _answering(change))
    run = await world.sync("jira", "full")
    assert (run["state"], run["error"], run["created"]) == ("succeeded", None, len(STORED))
    assert (await world.health())["state"] == "ok"
    for key, (fields, title) in zip(made, STORED, strict=True):
        shown = await world.epic("jira", key)
        assert shown["alignment"] == "unaligned", fields.keys()
        assert shown["title"] == title
    # Read again as they are, they are ordinary epics; but for what was said of a time to come.
    clock.advance(hours=1)
    for key in made:
        world.site.edit(key, summary="Mended")
    await world.sync("jira")
    titles = [(await world.epic("jira", key))["title"] for key in made]
    assert [title for title in titles if title != "Mended"] == ["Strange"]


REFUSED: dict[str, dict[str, Any]] = {
    "KEY": {"key": "SHOP-" + random.Random(1).randbytes(9_000).hex()},
    "NOTEXT": {"id": "1\ud800"},
    "ZERO": {"id": "1\0"},
    "EMPTY": {"fields": None},
    "TIMELESS": {"fields": {"created": "yesterday", "updated": "today"}},
}


async def test_what_cannot_be_read_or_stored_is_said_in_words(world: World) -> None:
    """One in a page leaves the others, in its project and elsewhere."""
    for project in (*REFUSED, "LAST"):
        world.site.add_project(project, project)
        world.site.create(project, "An epic")
        world.site.create(project, "Its neighbour")
    await world.connect_jira(notices=OFF, scope={"projects": [*REFUSED, "LAST"]})

    def change(body: Any) -> Any:
        changed = [
            issue | (REFUSED.get(issue["key"].partition("-")[0], {}) if issue["key"].endswith("-1") else {})
            for issue in body["issues"]
        ]
        return body | {"issues": changed}

    fault = world.jira.faults.add("POST */search/jql", _answering(change), times=None)
    run = await world.sync("jira", "full")
    assert (run["state"], run["error"]["code"]) == ("partial", "unread")
    # An id with a NUL is that id without it, so another ticket than the one that comes afterwards.
    assert run["skipped"] == len(REFUSED) - 1
    assert len(run["error"]["message"]) < 1_500
    assert (await world.health())["what_to_do"]
    assert {f"{project}-2" for project in REFUSED} | {"LAST-1", "LAST-2", "ZERO-1"} == set(await world.keys())
    fault.left = 0
    run = await world.sync("jira", "full")
    assert (run["state"], run["created"]) == ("succeeded", len(REFUSED))
    every = (f"{project}-{number}" for project in (*REFUSED, "LAST") for number in (1, 2))
    assert sorted(await world.keys()) == sorted(every)


@pytest.mark.parametrize("moment", [2, 4, 6])
async def test_a_fault_of_ours_ends_the_run_and_says_so(
    world: World, runtime: Runtime, clock: Clock, moment: int
) -> None:
    """A clock that fails once, in reading and in evaluating, stands for what nobody thought of."""
    world.site.create("SHOP", "One")
    await world.connect_jira(notices={"mode": "shadow"}, scope=SHOP)
    run_id = (await world.send("POST", "/sources/jira/sync", {"mode": "full"}))["id"]
    looks = iter(range(1, 100))

    def failing() -> datetime:
        if next(looks) == moment:
            raise ZeroDivisionError("what a tracker sent")
        return clock()

    await pipeline.execute_run(replace(runtime, clock=ClockOf(failing)), run_id)
    run = await world.send("GET", f"/runs/{run_id}")
    assert (run["state"], run["error"]["code"]) == ("failed", "internal")
    assert "ZeroDivisionError" in run["error"]["message"]
    assert "what a tracker sent" not in run["error"]["message"]
    assert (await world.health())["state"] == "failing"
    assert (await world.sync("jira"))["state"] == "succeeded"
    assert (await world.epic("jira", "SHOP-1"))["alignment"] == "unaligned"
