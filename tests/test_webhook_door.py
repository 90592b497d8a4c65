"""The door for webhooks: what it refuses in which order, and what it keeps of the rest."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlencode

import pytest
from fastapi import FastAPI
from sqlalchemy import text

from app.api import webhooks
from app.runtime import Runtime
from app.webhooks import door
from app.webhooks.door import Intake
from mappings.tables import DeliveryRow
from tests.support.clock import Clock, later
from tests.support.webhook_posts import EDITED, FORM, SECRET, connect, delivery, headers, post, signature
from tests.support.world import World

pytestmark = pytest.mark.database

# --- what is refused ----------------------------------------------------------------------------


UNSIGNED: dict[str, str | None] = {"content_type": "text/plain", "x_hub_signature_256": None}
IN_FORM: dict[str, str | None] = {"content_type": FORM}
REFUSED: list[tuple[str, bytes, dict[str, str | None], int]] = [
    ("nobody", b"x" * 200, UNSIGNED, 404),
    ("github", b"x" * 200, UNSIGNED, 413),
    ("github", b"not json", UNSIGNED, 401),
    ("silent", b"{}", {}, 401),
    ("github", b"not json", {"content_type": "text/plain"}, 415),
    ("github", b"{}", {"content_type": None}, 415),
    ("github", b"not json", {}, 400),
    ("github", b"[1]", {}, 400),
    ("github", b"", {}, 400),
    ("github", b"[" * 99, {}, 400),
    ("github", b'{"a": "\xff"}', {}, 400),
    ("github", b"payload=nothing", IN_FORM, 400),
    ("github", b"\xff\xfe", IN_FORM, 400),
    ("github", b"no form at all", IN_FORM, 400),
    ("jira", b"payload=%7B%7D", {**IN_FORM, "x_hub_signature": signature(b"payload=%7B%7D")}, 415),
]


async def test_it_refuses_in_this_order(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source, the size, the signature, the content type, the text; nothing of it is stored."""
    monkeypatch.setattr(webhooks, "LARGEST", 100)
    await connect(world)
    await world.connect_jira(webhook_secret=SECRET)
    await world.connect_github("silent", scope={"repositories": ["acme/other"]})
    for name, body, others, status in REFUSED:
        answer = await post(world, None, name, body, SECRET, **others)
        assert answer.status_code == status, (name, body, others, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"]
        assert SECRET not in answer.text
    assert (await world.send("GET", "/deliveries"))["items"] == []


async def test_a_wrong_signature_is_refused(world: World) -> None:
    await connect(world)
    body = json.dumps(EDITED).encode()
    for given in (
        *(None, "", "sha256=", "sha256=" + "0" * 64, "sha1=" + "0" * 40),
        "sha1=" + hmac.new(SECRET.encode(), body, "sha1").hexdigest(),
        signature(b"{}"),
        signature(body, "another secret of somebody"),
        signature(body).removeprefix("sha256="),
        signature(body, ""),
    ):
        assert (await post(world, x_hub_signature_256=given)).status_code == 401, given
    assert (await world.send("GET", "/deliveries"))["items"] == []
    assert (await post(world, x_hub_signature_256=signature(body))).status_code == 202


async def test_trap_17_the_signature_is_over_the_bytes_as_they_came(world: World) -> None:
    await connect(world)
    odd = json.dumps(EDITED, indent=3).replace("edited", "\\u0065dited").encode()
    assert (await delivery(world, await post(world, body=odd)))["body"] == odd.decode()
    other = signature(json.dumps(EDITED).encode())
    assert (await post(world, body=odd, x_hub_signature_256=other)).status_code == 401


async def test_a_body_without_a_length_is_cut_off_while_it_comes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "LARGEST", 1000)
    await connect(world)
    asked = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal asked
        while True:
            asked += 1
            yield b"x" * 400

    answer = await world.api.post("/webhooks/github", content=endless(), headers=headers(b""))
    assert (answer.status_code, asked) == (413, 3)


async def test_a_changed_secret_counts_at_once(world: World) -> None:
    await connect(world)
    assert (await post(world)).status_code == 202
    await world.send("PATCH", "/sources/github", {"webhook_secret": "another secret entirely"})
    assert (await post(world, x_github_delivery="second")).status_code == 401
    body = json.dumps(EDITED).encode()
    fresh = signature(body, "another secret entirely")
    assert (await post(world, x_github_delivery="second", x_hub_signature_256=fresh)).status_code == 202
    await world.send("PATCH", "/sources/github", {"webhook_secret": None})
    assert (await post(world, x_github_delivery="third", x_hub_signature_256=fresh)).status_code == 401


# --- what is kept -------------------------------------------------------------------------------


async def test_it_is_stored_raw_and_shown(world: World, clock: Clock) -> None:
    await connect(world)
    body = '{"action": "edited", "issue": {"title": "caf\u00e9 \\u0000 \\ud83d"}}'.encode()
    shown = await delivery(world, await post(world, body=body, name="GitHub"))
    assert shown["body"] == body.decode()
    assert (shown["source"], shown["event"], shown["action"]) == ("github", "issues", "edited")
    assert (shown["remote_id"], shown["attempts"]) == ("72d3162e-cc78-11e3-81ab-4c9367dc0958", 0)
    assert (shown["state"], shown["reason"]) == ("ignored", "names no ticket")


async def test_a_form_is_read_as_well(world: World) -> None:
    await connect(world)
    body = urlencode({"payload": json.dumps(EDITED)}).encode()
    shown = await delivery(world, await post(world, body=body, content_type=f"{FORM}; charset=utf-8"))
    assert (shown["event"], shown["action"], shown["state"]) == ("issues", "edited", "received")


async def test_a_repeat_is_the_same_delivery_and_does_nothing(
    world: World, runtime: Runtime, drain: Callable[[], Awaitable[None]]
) -> None:
    await connect(world)
    first = await post(world)
    await drain()
    done = await delivery(world, first)
    world.github.log.clear()
    again = await post(world, body=b'{"action": "edited", "other": "text"}')
    await drain()
    assert await delivery(world, again) == done
    assert world.github.log.count() == 0


async def test_trap_18_a_failed_delivery_is_received_again(
    world: World, runtime: Runtime, drain: Callable[[], Awaitable[None]]
) -> None:
    await connect(world)
    first = await post(world)
    async with runtime.sessions.begin() as session:
        row = await session.get_one(DeliveryRow, first.json()["delivery"])
        row.state, row.due_at, row.error = "failed", None, {"code": "x", "message": "m", "what_to_do": "w"}
    again = await delivery(world, await post(world))
    assert (again["id"], again["state"], again["error"]) == (first.json()["delivery"], "received", None)
    await drain()
    done = await world.send("GET", f"/deliveries/{again['id']}")
    assert (done["state"], done["reason"], done["attempts"]) == ("ignored", "not_an_epic", 1)


@pytest.mark.parametrize("given", [None, "", "x" * 201, "with blank"])
async def test_without_a_usable_id_the_body_is_the_id(world: World, given: str | None) -> None:
    await connect(world)
    body = json.dumps(EDITED).encode()
    shown = await delivery(world, await post(world, x_github_delivery=given))
    assert shown["remote_id"] == hashlib.sha256(body).hexdigest()
    assert (await post(world, x_github_delivery=given)).json()["delivery"] == shown["id"]
    assert (await post(world, {**EDITED, "more": 1}, x_github_delivery=given)).json()["delivery"] != shown[
        "id"
    ]


async def test_two_sources_may_get_deliveries_with_one_id(world: World) -> None:
    await connect(world)
    await world.connect_github("second", scope={"repositories": ["acme/shop"]}, webhook_secret=SECRET)
    both = [await delivery(world, await post(world, name=name)) for name in ("github", "second")]
    assert [one["source"] for one in both] == ["github", "second"]
    assert len({one["remote_id"] for one in both}) == 1


async def test_an_unknown_event_is_ignored_and_counted_in_health(world: World) -> None:
    await connect(world)
    shown = await delivery(world, await post(world, x_github_event="time_travel"))
    assert (shown["event"], shown["state"], shown["reason"]) == ("time_travel", "ignored", "unknown")
    await post(world, x_github_event="ping", x_github_delivery="p")
    health = (await world.send("GET", "/sources/github"))["health"]
    assert health["unknown_deliveries"] == 1


async def test_bodies_go_after_14_days_and_rows_after_90(
    world: World, runtime: Runtime, clock: Clock, drain: Callable[[], Awaitable[None]]
) -> None:
    await connect(world)
    shown = await delivery(world, await post(world))
    await drain()
    await later(world, runtime, clock, days=13)
    assert (await world.send("GET", f"/deliveries/{shown['id']}"))["body"] is not None
    await later(world, runtime, clock, days=2)
    shown = await world.send("GET", f"/deliveries/{shown['id']}")
    assert shown["body"] is None
    refused = await world.send("POST", f"/deliveries/{shown['id']}/replay", expect=409)
    assert "14 days" in refused["detail"]
    await later(world, runtime, clock, days=80)
    assert (await world.send("GET", "/deliveries"))["items"] == []


async def test_connections_that_a_restart_broke_cost_nothing(world: World, runtime: Runtime) -> None:
    """GitHub sends nothing twice."""
    await connect(world)
    assert (await post(world)).status_code == 202
    async with runtime.sessions() as session:
        ended = await session.scalars(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'northing intake' AND datname = current_database()"
            )
        )
        assert list(ended) == [True]
    assert (await post(world, x_github_delivery="after")).status_code == 202


async def test_without_a_database_it_says_come_back(
    world: World, runtime: Runtime, application: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "CONNECTION_SECONDS", 0.5)
    await connect(world)
    away = Intake("postgresql://nobody@127.0.0.1:1/nothing", runtime.queue, runtime.clock)
    application.state.intake = away
    async with away:
        answers = await asyncio.gather(*(post(world, x_github_delivery=id) for id in ("one", "other")))
    assert [(answer.status_code, answer.headers["retry-after"]) for answer in answers] == [(503, "30")] * 2
