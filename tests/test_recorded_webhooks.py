"""Every webhook that GitHub and Jira are known to have sent, signed, posted and worked on to its end."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from tests.support.webhook_deliveries import SECRET, deliveries
from tests.support.webhook_posts import JSON, signature
from tests.support.world import OFF, World
from tests.test_recorded_payloads import FIXTURES

pytestmark = pytest.mark.skipif(
    not FIXTURES.exists(), reason="the recorded payloads lie beside the repository, not in it"
)
ENDS = {"done", "ignored"}


def _github() -> list[tuple[str, Any]]:
    events = json.loads((FIXTURES / "github-webhooks" / "webhooks-examples-api.github.com.json").read_text())
    return [(event["name"], example) for event in events for example in event["examples"]]


async def _ends(world: World, source: str) -> Counter[str]:
    await world.drain()
    items, following = [], f"/deliveries?source={source}&limit=500"
    while following:
        page = await world.send("GET", following)
        items += page["items"]
        following = f"/deliveries?limit=500&cursor={page['next']}" if page["next"] else ""
    return Counter(item["state"] for item in items)


async def test_all_329_of_github(world: World) -> None:
    """In scope, so that what may be an epic is asked for; the tracker knows none of them."""
    names = ["Codertocat/Hello-World", "octo-org/octo-repo"]
    scope = {"repositories": names, "organizations": ["github", "wei"]}
    epics = {"labels": ["bug"], "with_sub_issues": True}
    await world.connect_github(scope=scope, epics=epics, webhook_secret=SECRET, notices=OFF)
    examples = _github()
    assert len(examples) == 329
    for number, (event, example) in enumerate(examples):
        body = json.dumps(example).encode()
        headers = {
            "content-type": JSON,
            "x-github-event": event,
            "x-github-delivery": f"recorded-{number}",
            "x-hub-signature-256": signature(body),
        }
        answer = await world.api.post("/webhooks/github", content=body, headers=headers)
        assert answer.status_code == 202, (event, answer.text)
    ends = await _ends(world, "github")
    assert (ends.total(), ends.keys()) == (329, ENDS)
    assert ends["done"] >= 20
    assert world.github.log.count("GET */issues/*") > 0
    unknown = [one for one in await deliveries(world, "github") if one["reason"] == "unknown"]
    assert unknown == []


async def test_all_28_of_jira(world: World) -> None:
    await world.connect_jira(webhook_secret=SECRET, notices=OFF)
    files = sorted((FIXTURES / "jira-webhooks").glob("*.json"))
    assert len(files) == 28
    refused = []
    for file in files:
        body = file.read_bytes()
        headers = {"content-type": JSON, "x-hub-signature": signature(body)}
        answer = await world.api.post("/webhooks/jira", content=body, headers=headers)
        if answer.status_code != 202:
            assert 400 <= answer.status_code < 500
            refused.append(file.name)
    ends = await _ends(world, "jira")
    assert (ends.total() + len(refused), ends.keys(), refused) == (28, ENDS, [])
