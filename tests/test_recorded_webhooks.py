"""Every webhook that GitHub and Jira are known to send, recorded and re-made: signed, posted, processed."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from tests.support.lists import listed
from tests.support.recorded import Payloads, both_folders, expecting
from tests.support.webhook_posts import JSON, SECRET, signature
from tests.support.world import OFF, World


@expecting(
    remade={
        "scope": {"repositories": ["Acme/Shop", "acme-tools/core"], "organizations": ["AcmeLabs"]},
        "label": "quarter",
        "posted": 83,
        "states": {"done": 34, "ignored": 49},
    },
    recorded={
        "scope": {
            "repositories": ["Codertocat/Hello-World", "octo-org/octo-repo"],
            "organizations": ["github", "wei"],
        },
        "label": "bug",
        "posted": 329,
        "states": {"done": 34, "ignored": 295},
    },
)
async def test_all_of_github(world: World, payloads: Payloads, expected: dict[str, Any]) -> None:
    """In scope, so that what may be an epic is asked for; the tracker knows none of them."""
    epics = {"labels": [expected["label"]], "with_sub_issues": True}
    await world.connect_github(scope=expected["scope"], epics=epics, webhook_secret=SECRET, notices=OFF)
    posted = payloads.github_webhooks()
    assert len(posted) == expected["posted"]
    for number, (event, payload) in enumerate(posted):
        body = json.dumps(payload).encode()
        headers = {
            "content-type": JSON,
            "x-github-event": event,
            "x-github-delivery": f"recorded-{number}",
            "x-hub-signature-256": signature(body),
        }
        answer = await world.api.post("/webhooks/github", content=body, headers=headers)
        assert answer.status_code == 202, (event, answer.text)
    await world.drain()
    found = await listed(world, "/deliveries", source="github")
    assert Counter(delivery["state"] for delivery in found) == expected["states"]
    assert world.github.log.count("GET */issues/*") > 0
    assert [delivery for delivery in found if delivery["reason"] == "unknown"] == []


@both_folders
async def test_all_28_of_jira(world: World, payloads: Payloads) -> None:
    await world.connect_jira(webhook_secret=SECRET, notices=OFF)
    posted = payloads.jira_webhooks()
    assert len(posted) == 28
    for name, payload in posted.items():
        body = json.dumps(payload, ensure_ascii=False).encode()
        headers = {"content-type": JSON, "x-hub-signature": signature(body)}
        answer = await world.api.post("/webhooks/jira", content=body, headers=headers)
        assert answer.status_code == 202, (name, answer.text)
    await world.drain()
    found = await listed(world, "/deliveries", source="jira")
    assert Counter(delivery["state"] for delivery in found) == {"done": 21, "ignored": 7}
    assert [delivery for delivery in found if delivery["reason"] == "unknown"] == []
