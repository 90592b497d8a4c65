"""The table of kinds of tracker, and what an address of one may look like."""

from __future__ import annotations

import asyncio
import re

import pytest

from connectors.addresses import is_loopback
from connectors.base import Unauthorized
from connectors.document import Document, Link, Paragraph, Text
from connectors.marker import Marker
from connectors.registry import KINDS, check_base_url, tracker_id
from tests.support.raw_host import connector_on, host

JIRA, GITHUB = "https://acme.atlassian.net", "https://api.github.com"


@pytest.mark.parametrize(
    ("kind", "given", "kept"),
    [
        ("jira", JIRA, JIRA),
        ("jira", JIRA + "/", JIRA),
        ("jira", "http://127.0.0.1:8901/", "http://127.0.0.1:8901"),
        ("jira", "https://jira.acme.com/jira/", "https://jira.acme.com/jira"),
        ("github", GITHUB, GITHUB),
        ("github", "https://ghe.acme.com/api/v3/", "https://ghe.acme.com/api/v3"),
        ("github", "https://api.acme.ghe.com", "https://api.acme.ghe.com"),
        ("github", "http://localhost:8902", "http://localhost:8902"),
        ("github", "http://[::1]:8902/api/v3", "http://[::1]:8902/api/v3"),
    ],
)
def test_addresses_that_will_do(kind: str, given: str, kept: str) -> None:
    assert check_base_url(kind, given) == kept


@pytest.mark.parametrize(
    ("kind", "given", "word"),
    [
        ("jira", "", "such as https://acme.atlassian.net"),
        ("jira", "acme.atlassian.net", "such as"),
        ("jira", "ftp://acme.atlassian.net", "such as"),
        ("jira", "https://", "such as"),
        ("jira", "https://acme.atlassian.net:99999", "such as"),
        ("jira", "https://acme .atlassian.net", "such as"),
        ("jira", "https://acme.atlassian.net\\@evil.example", "such as"),
        ("jira", "http://acme.atlassian.net", "https://"),
        ("jira", "http://127.0.0.1.evil.example", "https://"),
        ("jira", "http://localhost.evil.example", "https://"),
        ("jira", "https://bot:token@acme.atlassian.net", "credentials"),
        ("jira", "https://acme.atlassian.net?x=1", "without ? or #"),
        ("jira", "https://acme.atlassian.net/#", "without ? or #"),
        ("jira", "https://api.atlassian.com/ex/jira/1", "not in this build"),
        ("github", "https://github.com", "https://api.github.com"),
        ("github", "https://github.com/acme/shop", "https://api.github.com"),
        ("github", "https://ghe.acme.com", "/api/v3"),
        ("github", "https://api.github.com/repos", "https://api.github.com"),
    ],
)
def test_addresses_that_will_not_say_what_to_do(kind: str, given: str, word: str) -> None:
    with pytest.raises(ValueError, match=re.escape(word)):
        check_base_url(kind, given)


@pytest.mark.parametrize(
    ("kind", "url", "tracker"),
    [
        ("jira", "https://ACME.atlassian.net/", "acme.atlassian.net"),
        ("jira", "https://acme.atlassian.net:443", "acme.atlassian.net"),
        ("jira", "https://jira.acme.com:8443/Jira/", "jira.acme.com:8443/Jira"),
        ("github", "https://api.github.com", "api.github.com"),
        ("github", "https://GitHub.com/api/v3", "api.github.com"),
        ("github", "https://ghe.acme.com./api/v3/", "ghe.acme.com/api/v3"),
        ("github", "http://127.0.0.1:8902", "127.0.0.1:8902"),
        ("jira", "http://[::1]:80/x", "[::1]/x"),
    ],
)
def test_one_tracker_has_one_name(kind: str, url: str, tracker: str) -> None:
    assert tracker_id(kind, url) == tracker


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:1", True), ("http://127.8.9.1", True), ("https://LOCALHOST/x", True),
        ("http://[::1]:9", True), ("http://127.0.0.1.evil.example", False), ("http://10.0.0.1", False),
        ("https://localhost.evil.example", False), ("http://0.0.0.0", False), ("http://2130706433", False),
        ("https://evil.example/127.0.0.1", False), ("http://127.0.0.1@evil.example", False), ("", False),
    ],
)  # fmt: skip
def test_loopback_is_by_the_letter(url: str, local: bool) -> None:
    assert is_loopback(url) is local


def test_a_document_is_rendered_as_it_stands_on_the_ticket() -> None:
    document = Document((Paragraph((Text("*No* "), Link("page", "https://n.example"))),))
    marker = Marker("inst", 5)
    assert KINDS["github"].render(document, marker) == (
        "<!-- northing:notice -->\n<!-- northing:id inst/5 -->\n\n\\*No\\* [page](<https://n.example>)"
    )
    assert KINDS["jira"].render(document, marker) == "*No* page (https://n.example)"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_kind_describes_its_configuration(kind: str) -> None:
    models = (KINDS[kind].credentials, KINDS[kind].scope, KINDS[kind].epics)
    assert KINDS[kind].name == kind
    for model in models:
        assert model.model_config["extra"] == "forbid"
        assert all(field.description for field in model.model_fields.values())


def test_jira_sends_webhooks_to_https_only() -> None:
    assert {name: kind.webhooks.https_only for name, kind in KINDS.items()} == {"jira": True, "github": False}


@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_connecting_sends_nothing_until_the_first_call(kind: str) -> None:
    async with host() as tracker:
        tracker.says("401 Unauthorized")
        connector = connector_on(kind, tracker.url)
        await asyncio.sleep(0)
        assert (tracker.heard, connector.requests) == ([], 0)
        with pytest.raises(Unauthorized):
            await connector.account()
        await connector.aclose()
        assert (len(tracker.heard), connector.requests) == (1, 1)
