"""What a person does on a ticket, over the tracker's own REST API.

https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-comments/ and
https://docs.github.com/rest/issues/comments
"""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx

from app.demo_company.client import DemoFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Json = dict[str, Any]


class _Person:
    """One person's access to one tracker."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def call(self, method: str, path: str, **more: Any) -> Any:
        response = await self._http.request(method, path, **more)
        if response.is_error:
            raise DemoFailed(f"The tracker answered {response.status_code} to {method} {path}")
        return response.json() if response.content else {}


class JiraPerson(_Person):
    async def say(self, key: str, text: str) -> None:
        """Write a comment of one line on the ticket."""
        paragraph = {"type": "paragraph", "content": [{"type": "text", "text": text}]}
        document = {"type": "doc", "version": 1, "content": [paragraph]}
        await self.call("POST", f"issue/{key}/comment", json={"body": document})

    async def comments_of(self, key: str, author: str) -> list[str]:
        """The texts of this account's comments on the ticket."""
        page = await self.call("GET", f"issue/{key}/comment")
        return [
            plain_text(comment["body"])
            for comment in page["comments"]
            if comment["author"]["accountId"] == author
        ]


class GitHubPerson(_Person):
    async def say(self, key: str, text: str) -> None:
        """Write a comment on the issue `owner/repo#number`."""
        await self.call("POST", _comments(key), json={"body": text})

    async def comments_of(self, key: str, author: str) -> list[str]:
        """The texts of this login's comments on the issue, without what GitHub does not show."""
        page = await self.call("GET", _comments(key))
        return [
            re.sub(r"(?m)^<!--.*-->\n+|\u2060", "", comment["body"])
            for comment in page
            if comment["user"]["login"] == author
        ]


def _comments(key: str) -> str:
    repository, _, number = key.partition("#")
    return f"repos/{repository}/issues/{number}/comments"


@asynccontextmanager
async def jira_person(url: str, email: str, token: str) -> AsyncIterator[JiraPerson]:
    address, login = f"{url}/rest/api/3/", (email, token)
    async with httpx.AsyncClient(base_url=address, auth=login, timeout=30, trust_env=False) as http:
        yield JiraPerson(http)


@asynccontextmanager
async def github_person(url: str, token: str) -> AsyncIterator[GitHubPerson]:
    headers = {"Authorization": f"Bearer {token}"}
    address = f"{url}/api/v3/"
    async with httpx.AsyncClient(base_url=address, headers=headers, timeout=30, trust_env=False) as http:
        yield GitHubPerson(http)


def plain_text(node: Json) -> str:
    """A comment in the Atlassian Document Format, as plain text with a blank line between its blocks."""
    children: list[Json] = node.get("content", [])
    match node["type"]:
        case "text":
            return str(node["text"])
        case "hardBreak":
            return "\n"
        case "bulletList" | "orderedList":
            return "\n".join("• " + plain_text(item).replace("\n", "\n  ") for item in children)
        case "codeBlock":
            return "\n".join(f"    {line}" for line in _inline(children).splitlines())
        case "doc" | "blockquote" | "panel":
            return "\n\n".join(plain_text(child) for child in children)
        case "listItem":
            return "\n".join(plain_text(child) for child in children)
        case _:
            return _inline(children)


def _inline(children: list[Json]) -> str:
    return "".join(plain_text(child) for child in children)
