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
from tests.conftest import Clock
from tests.synced import OFF, all_of, counts, health, keys
from tests.world import World

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


def _fields(**changes: Any) -> Callable[[Any], Any]:
    """The first issue of a search with other fields."""

    def change(body: Any) -> Any:
        body["issues"][0]["fields"] |= changes
        return body

    return change


def _members(**changes: Any) -> Callable[[Any], Any]:
    def change(body: Any) -> Any:
        body["issues"][0] |= changes
        return body

    return change


def _twice(body: Any) -> Any:
    return body | {"issues": body["issues"] * 2}


DEEP: dict[str, Any] = {"type": "doc", "version": 1, "content": []}
for _ in range(200):
    DEEP = {"type": "doc", "version": 1, "content": [{"type": "blockquote", "content": [DEEP]}]}

STORED = {
    "U+0000": (_fields(summary="a\0b"), "ab"),
    "half a pair": (_fields(summary="a\ud800b"), None),
    "emoji": (_fields(summary="🚀 \\u0000 \\ud83d"), "🚀 \\u0000 \\ud83d"),
    "long": (_fields(summary="x" * 60_000), "x" * 60_000),
    "empty": (_fields(summary=""), ""),
    "null": (_fields(summary=None), ""),
    "markup": (_fields(summary="<script>alert(1)</script> '; DROP TABLE epics; --"), None),
    "labels": (_fields(labels=[f"label-{number}" for number in range(5_000)]), "Strange"),
    "long label": (_fields(labels=["kr:" + "K" * 50_000, "kr:\0", "\ud800"]), "Strange"),
    "components": (_fields(components=[{"name": "\0"}] * 2_000), "Strange"),
    "deep text": (_fields(description=DEEP), "Strange"),
    "twice": (_twice, "Strange"),
    "far future": (_fields(updated="9999-12-31T23:59:59.000+0000"), "Strange"),
    "not yet": (_fields(created="9999-12-31T23:59:59.000+0000"), "Strange"),
    "long ago": (_fields(created="0001-01-01T00:00:00.000+0000"), "Strange"),
}


@pytest.mark.parametrize("case", STORED)
async def test_what_is_strange_is_stored(world: World, runtime: Runtime, case: str) -> None:
    change, title = STORED[case]
    world.site.create("SHOP", "Strange")
    world.site.create("SHOP", "Plain")
    await world.connect_jira(notices={"mode": "shadow"}, scope=SHOP)
    world.jira.faults.add("POST */search/jql", _answering(change))
    run = await world.sync("jira", "full")
    assert (run["state"], run["error"], run["created"]) == ("succeeded", None, 2)
    assert await keys(world) == ["SHOP-1", "SHOP-2"]
    shown = await world.epic("jira", "SHOP-1")
    if title is not None:
        assert shown["title"] == title
    assert (shown["alignment"], (await health(world))["state"]) == ("unaligned", "ok")
    # Read again as it is, the epic is an ordinary one.
    world.site.edit("SHOP-1", summary="Mended")
    if case != "far future":
        await world.sync("jira")
        assert (await world.epic("jira", "SHOP-1"))["title"] == "Mended"


REFUSED = {
    "a key of many thousand characters": _members(key="SHOP-" + random.Random(1).randbytes(9_000).hex()),
    "an id that is no text": _members(id="1\ud800"),
    "an id with U+0000": _members(id="1\0"),
    "no fields": _members(fields=None),
    "no time": _fields(updated="yesterday"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_cannot_be_stored_is_refused_in_words(
    world: World, runtime: Runtime, clock: Clock, case: str
) -> None:
    world.site.add_project("CORE", "Core")
    world.site.create("CORE", "Elsewhere")
    world.site.create("SHOP", "Strange")
    await world.connect_jira(notices=OFF, scope={"projects": ["SHOP", "CORE"]})
    world.jira.faults.add("POST */search/jql", _answering(REFUSED[case]))
    run = await world.sync("jira", "full")
    assert (run["state"], counts(run)) == ("partial", (1, 1, 0, 0, 0))
    assert run["error"]["code"] == "unread"
    assert "SHOP" in run["error"]["message"]
    assert len(run["error"]["message"]) < 1_000
    assert (await health(world))["what_to_do"]
    assert await all_of(runtime, "SELECT key FROM epics") == [("CORE-1",)]
    assert (await world.sync("jira"))["state"] == "succeeded"


@pytest.mark.parametrize("moment", [2, 4, 6])
async def test_a_fault_of_ours_ends_the_run_and_says_so(
    world: World, runtime: Runtime, clock: Clock, moment: int
) -> None:
    """A clock that fails once, in reading and in judging, stands for what nobody thought of."""
    world.site.create("SHOP", "One")
    await world.connect_jira(notices={"mode": "shadow"}, scope=SHOP)
    run_id = (await world.send("POST", "/sources/jira/sync", {"mode": "full"}))["id"]
    looks = iter(range(1, 100))

    def failing() -> datetime:
        if next(looks) == moment:
            raise ZeroDivisionError("what a tracker sent")
        return clock()

    await pipeline.carry_out(replace(runtime, clock=failing), run_id)
    run = await world.send("GET", f"/runs/{run_id}")
    assert (run["state"], run["error"]["code"]) == ("failed", "internal")
    assert "ZeroDivisionError" in run["error"]["message"]
    assert "what a tracker sent" not in run["error"]["message"]
    assert (await health(world))["state"] == "failing"
    assert (await world.sync("jira"))["state"] == "succeeded"
    assert (await world.epic("jira", "SHOP-1"))["alignment"] == "unaligned"
