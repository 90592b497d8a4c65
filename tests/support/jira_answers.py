"""A Jira that answers from a table, without a socket, and a connector on it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import responses
from requests import PreparedRequest

from connectors.base import Connector, EpicRef, Page, Project
from connectors.document import Document, Paragraph, Text
from connectors.jira.client import JiraConnector
from connectors.jira.config import JiraCredentials, JiraEpics, JiraScope
from connectors.marker import Marker

SITE = "https://acme.atlassian.net"
API = f"{SITE}/rest/api/3"
TOKEN = "s3cret-token"
MARKER = Marker("inst", 5)
NOTICE = Document((Paragraph((Text("No key result"),)),))
TYPES = [
    {"id": "10000", "name": "Epic", "hierarchyLevel": 1},
    {"id": "10001", "name": "Story", "hierarchyLevel": 0},
]

ME = {"accountId": "me", "displayName": "Northing"}
SHOP = Project("SHOP")
START = datetime(2026, 1, 1, tzinfo=UTC)


def issue(
    number: int, *, project: str = "SHOP", kind: str = "10000", key: str | None = None
) -> dict[str, Any]:
    updated = (START + timedelta(hours=number)).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
    return {
        "id": str(number),
        "key": key or f"{project}-{number}",
        "self": f"https://elsewhere.example/rest/api/3/issue/{number}",
        "fields": {
            "summary": f"Epic {number}", "issuetype": {"id": kind, "name": "?"}, "project": {"key": project},
            "status": {"name": "Open", "statusCategory": {"key": "new"}},
            "created": "2026-01-01T00:00:00.000+0000", "updated": updated,
        },
    }  # fmt: skip


@pytest.fixture
def jira() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        mock.get(f"{API}/issuetype", json=TYPES)
        mock.get(f"{API}/myself", json=ME)
        yield mock


Make = Callable[..., JiraConnector]


@pytest.fixture
async def make_jira() -> AsyncIterator[Make]:
    made: list[JiraConnector] = []

    def connector(
        scope: dict[str, Any] | None = None, epics: dict[str, Any] | None = None, site: str = SITE
    ) -> JiraConnector:
        credentials = {"type": "api_token", "email": "bot@acme.com", "token": TOKEN}
        made.append(
            JiraConnector(
                site,
                JiraCredentials.model_validate(credentials),
                JiraScope.model_validate(scope or {"projects": ["SHOP"]}),
                JiraEpics.model_validate(epics or {}),
            )
        )
        return made[-1]

    yield connector
    for one in made:
        await one.aclose()


def sent(mock: responses.RequestsMock, path: str) -> list[PreparedRequest]:
    return [c.request for c in mock.calls if urlsplit(c.request.url or "").path.endswith(path)]


def signed_in(requests: list[PreparedRequest]) -> list[PreparedRequest]:
    """Those with our login; the others ask what everyone may see."""
    return [request for request in requests if "Authorization" in request.headers]


def body(request: PreparedRequest) -> Any:
    assert request.body is not None
    return json.loads(request.body)


async def read(connector: Connector, since: datetime | None = None) -> list[Page]:
    return [page async for page in connector.changed_since(SHOP, since)]


REF = EpicRef("1", "SHOP-1")
COMMENTS = f"{API}/issue/1/comment"


def comment(number: int, author: str | None = "me", marker: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"id": str(number), "body": {}, "properties": []}
    if author:
        found["author"] = {"accountId": author}
    if marker:
        found["properties"] = [{"key": "northing", "value": {"id": marker}}]
    return found
