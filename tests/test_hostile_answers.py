"""Answers no tracker would give: the run says what happened, and the next one is as if nothing had been."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from connectors.sandbox.faults import Action, answer_of
from tests.support.tracker_drivers import KINDS, TrackerDriver, driver_of
from tests.support.world import World

LISTINGS = {"jira": "POST */search/jql", "github": "GET */repos/acme/shop/issues"}


def answering(change: Callable[[bytes], bytes]) -> Action:
    """The answer's bytes changed, still said to be JSON in UTF-8."""

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        _, body = await answer_of(app, scope, receive)
        await Response(change(body), media_type="application/json")(scope, receive, send)

    return act


def each_issue(**members: Any) -> Callable[[bytes], bytes]:
    """Members of each issue, in Jira those of `fields`, given as text of JSON."""

    def change(body: bytes) -> bytes:
        listing = json.loads(body)
        for issue in listing["issues"] if isinstance(listing, dict) else listing:
            issue.get("fields", issue).update(dict.fromkeys(members, "HERE"))
        text = json.dumps(listing)
        for name, value in members.items():
            text = text.replace(f'"{name}": "HERE"', f'"{name}": {value}')
        return text.encode("utf-8", "surrogatepass")

    return change


DEEP = '{"type":"doc","content":[' * 10_000 + "1" + "]}" * 10_000
LONG = json.dumps("word " * 200_000)
LABELS = json.dumps([{"name": f"label {number}"} for number in range(100_000)])
HOSTILE: dict[str, Callable[[bytes], bytes]] = {
    "lists 10,000 deep": lambda body: b"[" * 10_000 + b"]" * 10_000,
    "cut off 10,000 deep": lambda body: b'{"issues":' + b"[" * 10_000,
    "a description 10,000 deep": each_issue(description=DEEP, body=DEEP),
    "no object": lambda body: b'"issues"',
    "nothing": lambda body: b"",
    "latin-1": lambda body: body.replace(b"An epic", "Ein Épos".encode("latin-1")),
    "UTF-16": lambda body: body.decode().encode("utf-16"),
    "a null byte": lambda body: body.replace(b"An epic", b"An\x00epic"),
    "half a surrogate pair": lambda body: body.replace(b"An epic", b"An \\ud83d epic"),
    "NaN": each_issue(summary="NaN", title="NaN", customfield_1="NaN"),
    "Infinity": each_issue(summary="-Infinity", title="Infinity", milestone="Infinity"),
    "beyond 64 bits": each_issue(id=str(2**70), number=str(2**70), customfield_1="1e400"),
    "5,000 digits": each_issue(id="9" * 5_000, number="9" * 5_000, customfield_1="9" * 5_000),
    "100,000 labels": each_issue(labels=LABELS),
    "a title of 60,000": each_issue(summary=json.dumps("x" * 60_000), title=json.dumps("x" * 60_000)),
    "a megabyte in one line": each_issue(
        description=json.dumps("![" * 500_000), body=json.dumps("[" * 65_000)
    ),
    "names twice": lambda body: body.replace(b'"id":', b'"id":5,"id":[],"id":'),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_no_answer_breaks_a_run_down(world: World, kind: str) -> None:
    driver: TrackerDriver = driver_of(world, kind)
    key = driver.add("An epic")
    await driver.connect(mode="off")
    ended = {}
    for name, change in HOSTILE.items():
        driver.tracker.faults.add(LISTINGS[kind], answering(change), times=None)
        run = await driver.sync("full")
        driver.tracker.faults.clear()
        error = run["error"] or {"code": None, "message": "", "what_to_do": "x"}
        ended[name] = (run["state"], error["code"])
        assert run["state"] in ("succeeded", "partial", "failed"), name
        assert error["code"] != "internal", (name, error)
        assert len(error["message"]) < 2_000
        assert error["what_to_do"]
    assert {state for state, _ in ended.values()} >= {"succeeded"}
    assert ended["nothing"][0] != "succeeded"
    run = await driver.sync("full")
    assert (run["state"], run["error"]) == ("succeeded", None)
    assert await world.keys(kind) == [key]
    assert (await driver.epic(key))["title"] == "An epic"
