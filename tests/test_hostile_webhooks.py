"""Webhooks as Jira and GitHub send them, and then spoilt: all end in words and hurt no neighbour."""

from __future__ import annotations

import copy
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
import structlog
from hypothesis import HealthCheck, Phase, given, seed, settings, strategies as st
from sqlalchemy import select

from app.runtime import Runtime
from mappings.tables import DeliveryRow
from tests.support.fuzzer import EXAMPLES
from tests.support.lists import listed
from tests.support.recorded import Payloads, expecting
from tests.support.webhook_posts import FORM, SECRET, signature
from tests.support.world import OFF, World

log = structlog.get_logger()
Sent = tuple[str, str | None, Any]


def sent_about(payloads: Payloads, jira_issue: Any, github_issue: Any) -> Iterator[Sent]:
    """Kind, event and payload of each webhook, those of issues changed to be about issues that are there."""
    for payload in payloads.jira_webhooks().values():
        if isinstance(payload.get("issue"), dict):
            payload["issue"] |= {"id": jira_issue.id, "key": jira_issue.key}
        yield "jira", None, payload
    # One of each action; the rest differ little.
    by_action = {(event, payload.get("action")): payload for event, payload in payloads.github_webhooks()}
    for (event, _), payload in by_action.items():
        if isinstance(payload.get("issue"), dict):
            payload["issue"] |= {"id": github_issue.id, "number": github_issue.number}
        yield "github", event, _in_the_repository(payload)


def _in_the_repository(payload: Any) -> Any:
    return json.loads(re.sub("Acme/Shop|Codertocat/Hello-World", "acme/shop", json.dumps(payload)))


# --- how they are spoilt ----------------------------------------------------------------------

VALUES: st.SearchStrategy[Any] = st.sampled_from([
    None, True, False, 0, -1, 2**31, 2**63, 2**64, 10**30, 1.5, 1e308, float("nan"), float("inf"), "", "\0",
    "\ud800", "LONG", "MANY", "@everyone <script>", "../..", "acme/shop#1", "{{a", "9999-99-99", "null",
    "/northing link KR-1\n/northing help", [], {}, [[]], [None] * 50, {"a": {"b": {}}},
    {"": ""},
    {"id": "1", "name": {"id": []}}, [[[[[[[[[[]]]]]]]]]],
    {"type": "doc", "content": [{"type": "text", "text": 5}]},
]) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
HUGE: dict[str, Any] = {"LONG": "x" * 60_000, "MANY": ["label"] * 5_000}
WAYS = st.sampled_from(["replace", "replace", "replace", "drop", "double"])
BYTES = st.sampled_from(["", "", "", "cut", "latin-1", "UTF-16", "flip", "double keys", "form", "NUL", "BOM"])


def places(value: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """Each container with one of its keys, the first levels more often, for there is what we read."""
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in entries:
        yield from [(value, key)] * max(1, 6 - 2 * depth)
        yield from places(inner, depth + 1)


def spoil(payload: Any, where: int, way: str, value: Any) -> None:
    every = list(places(payload))
    if not every:
        return
    container, key = every[where % len(every)]
    if way == "drop" and isinstance(container, dict):
        del container[key]
    elif way == "double" and isinstance(container, list):
        container.extend(container[:50])
    else:
        # A copy, for what is put into itself has no text.
        container[key] = copy.deepcopy(HUGE.get(value, value)) if isinstance(value, str) else value


def in_bytes(payload: Any, way: str, where: int) -> bytes:
    text = json.dumps(payload)
    body = text.encode()
    place = where % len(body)
    spoilt: dict[str, bytes] = {
        "cut": body[:place],
        "latin-1": json.dumps(payload, ensure_ascii=False).encode("latin-1", "replace"),
        "UTF-16": body.decode().encode("utf-16"),
        "flip": body[:place] + bytes([body[place] ^ 0x80]) + body[place + 1 :],
        "double keys": body[:-1] + b"," + body[1:] if len(body) > 2 else body,
        "form": urlencode({"payload": text}).encode(),
        "NUL": body[:place] + b"\0" + body[place:],
        "BOM": b"\xef\xbb\xbf" + body,
    }
    return spoilt.get(way, body)


SPOILT = st.tuples(
    st.integers(0, 10**6),
    st.lists(st.tuples(st.integers(0, 10**6), WAYS, VALUES), max_size=4),
    BYTES,
    st.integers(0, 10**6),
)


def made_up(every: list[Sent], count: int) -> list[tuple[str, str | None, str, bytes]]:
    """Kind, event, how its bytes were spoilt, and the body."""
    made = []

    @seed(1)
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(SPOILT)
    def make(spoilt: Any) -> None:
        number, changes, way, place = spoilt
        kind, event, payload = copy.deepcopy(every[number % len(every)])
        for change in changes:
            spoil(payload, *change)
        made.append((kind, event, way, in_bytes(payload, way, place)))

    make()
    return made


# --- what comes of it -------------------------------------------------------------------------


async def send(world: World, kind: str, event: str | None, way: str, body: bytes, number: int) -> int:
    headers = {
        "content-type": FORM if way == "form" else "application/json",
        "x-hub-signature": signature(body),
        "x-hub-signature-256": signature(body),
        "x-github-delivery": f"delivery {number}".replace(" ", "-"),
        "x-atlassian-webhook-identifier": f"delivery-{number}",
    }
    headers |= {"x-github-event": event} if event else {}
    answer = await world.api.post(f"/webhooks/{kind}", content=body, headers=headers)
    assert answer.status_code == 202 or answer.json()["detail"], answer.text
    return answer.status_code


@pytest.mark.timeout(36_000 if EXAMPLES > 5 else 300)
@expecting(remade=28 + 45, recorded=28 + 161)
async def test_whatever_is_sent_ends_in_words_and_the_neighbours_are_worked_on(
    world: World, runtime: Runtime, payloads: Payloads, expected: int
) -> None:
    about_jira = world.site.create("SHOP", "Before")
    about_github = world.host.create("acme/shop", "Before", labels=["epic"])
    await world.goal("KR-1")
    await world.connect_jira(scope={"projects": ["SHOP"]}, webhook_secret=SECRET, notices=OFF)
    await world.connect_github(scope={"repositories": ["acme/shop"]}, webhook_secret=SECRET, notices=OFF)
    for source in ("jira", "github"):
        assert (await world.sync(source, "full"))["state"] == "succeeded"
    every = list(sent_about(payloads, about_jira, about_github))
    assert len(every) == expected
    found: Counter[int] = Counter()
    for number, (kind, event, way, body) in enumerate(made_up(every, 40 * EXAMPLES)):
        status = await send(world, kind, event, way, body, number)
        found[status] += 1
        assert status in (202, 400, 415), (kind, event, way, body[:500])
    # Two that are as they should be, with the spoilt ones before and after them.
    world.site.edit(about_jira.key, summary="After")
    world.host.edit(f"acme/shop#{about_github.number}", title="After")
    good = {"webhookEvent": "jira:issue_updated", "issue": {"id": about_jira.id, "key": about_jira.key}}
    assert await send(world, "jira", None, "", json.dumps(good).encode(), -1) == 202
    issue = {"id": about_github.id, "number": about_github.number}
    good = {"action": "edited", "issue": issue, "repository": {"full_name": "acme/shop"}}
    assert await send(world, "github", "issues", "", json.dumps(good).encode(), -2) == 202
    await world.drain()

    assert (await world.epic("jira", about_jira.key))["title"] == "After"
    assert (await world.epic("github", f"acme/shop#{about_github.number}"))["title"] == "After"
    rows = await listed(world, "/deliveries")
    assert len(rows) == found[202] + 2
    ended = Counter(row["state"] for row in rows)
    assert ended.keys() <= {"done", "ignored", "failed"}, ended
    good_ones = {"delivery--1", "delivery--2"}
    assert Counter(row["state"] for row in rows if row["remote_id"] in good_ones) == {"done": 2}
    assert min(ended["done"], ended["ignored"], found[400]) > 5, (ended, found)
    for row in rows:
        assert row["state"] != "ignored" or row["reason"]
        assert row["state"] != "failed" or (row["error"]["message"] and row["error"]["what_to_do"])
    async with runtime.sessions() as session:
        assert set(await session.scalars(select(DeliveryRow.due_at))) == {None}
    log.info("spoilt webhooks", answers=found, ended=ended)
    assert {run["state"] for run in await listed(world, "/runs")} == {"succeeded"}
