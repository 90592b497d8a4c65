"""A small world for the pipeline's tests: both simulated trackers over HTTP, and Northing's API on them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from connectors.sandbox.github.host import GitHubHost
from connectors.sandbox.github.tracker import GitHubTracker
from connectors.sandbox.jira.site import JiraSite
from connectors.sandbox.jira.tracker import JiraTracker

ADMIN_TOKEN = "a-token-for-the-tests"
OFF = {"mode": "off"}  # a source whose notices are off


def epic_path(source: str, key: str) -> str:
    return f"/api/v1/epics/{quote(source, safe='')}/{quote(key, safe='')}"


@dataclass
class World:
    """`api` speaks to Northing, `drain` does its jobs; `jira` and `github` are the trackers."""

    api: httpx.AsyncClient
    drain: Callable[[], Awaitable[None]]
    jira: JiraTracker
    github: GitHubTracker
    jira_url: str
    github_url: str

    @property
    def site(self) -> JiraSite:
        return self.jira.site

    @property
    def host(self) -> GitHubHost:
        return self.github.host

    async def send(self, method: str, path: str, body: Any = None, *, expect: int | None = None) -> Any:
        answer = await self.api.request(method, f"/api/v1{path}", json=body)
        asked = (method, path, body, answer.text)
        if expect is None:
            assert answer.is_success, asked
        else:
            assert answer.status_code == expect, asked
        return answer.json() if answer.content else None

    async def refused(self, method: str, path: str, body: Any = None, status: int = 422) -> dict[str, str]:
        """What the problem document says of each wrong field."""
        answer = await self.api.request(method, f"/api/v1{path}", json=body)
        assert answer.status_code == status, (method, path, body, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert (problem["status"], bool(problem["title"]), bool(problem["detail"])) == (status, True, True)
        return {error["field"]: error["message"] for error in problem.get("errors", ())}

    async def connect_jira(self, name: str = "jira", **members: Any) -> Any:
        return await self.send(
            "POST",
            "/sources",
            {
                "name": name,
                "kind": "jira",
                "base_url": self.jira_url,
                "credentials": {
                    "type": "api_token",
                    "email": self.site.bot.email,
                    "token": self.site.bot.token,
                },
                **members,
            },
        )

    async def connect_github(self, name: str = "github", **members: Any) -> Any:
        return await self.send(
            "POST",
            "/sources",
            {
                "name": name,
                "kind": "github",
                "base_url": self.github_url,
                "credentials": {"type": "token", "token": self.host.bot.token},
                **members,
            },
        )

    async def sync(self, source: str, mode: str = "incremental") -> Any:
        """Sync, do all the work that follows, and answer with the run as it ended."""
        run = await self.send("POST", f"/sources/{source}/sync", {"mode": mode})
        await self.drain()
        return await self.send("GET", f"/runs/{run['id']}")

    async def epic(self, source: str, key: str) -> Any:
        return await self.send("GET", epic_path(source, key).removeprefix("/api/v1"))

    async def keys(self, source: str = "jira") -> list[str]:
        """The epics in the source's list."""
        page = await self.send("GET", f"/epics?source={source}&limit=500")
        return [item["key"] for item in page["items"]]

    async def health(self, source: str = "jira") -> Any:
        return (await self.send("GET", f"/sources/{source}"))["health"]

    async def no_grace(self) -> None:
        """Warn at once, whatever the epic's age."""
        await self.send("PATCH", "/policy", {"grace": "PT0S", "since": None})

    async def goal(self, key: str = "KR-1", title: str = "Checkout conversion", **objective: Any) -> None:
        """A live key result in an objective of its own."""
        made = await self.send("POST", "/objectives", {"title": f"Objective of {key}", **objective})
        await self.send("POST", f"/objectives/{made['key']}/key-results", {"key": key, "title": title})
