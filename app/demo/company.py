"""The company of the demo: two simulated trackers, and its goals, sent to Northing through the API."""

from __future__ import annotations

import secrets
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from app.demo.client import Api, DemoFailed, synced_sentence
from connectors.sandbox.company import GITHUB_SOURCE, JIRA_SOURCE, github_host, goals, jira_site
from connectors.sandbox.github.tracker import GitHubTracker
from connectors.sandbox.jira.tracker import JiraTracker
from connectors.sandbox.server import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from connectors.sandbox.github.host import GitHubHost
    from connectors.sandbox.jira.site import JiraSite
    from connectors.sandbox.pages import SyncNow

SOURCES = (JIRA_SOURCE, GITHUB_SOURCE)


@dataclass(frozen=True)
class Trackers:
    """Both trackers, listening. Of `jira` and `github` only accounts and tokens are read."""

    jira: JiraSite
    github: GitHubHost
    jira_url: str
    github_url: str

    def url_of(self, source: str) -> str:
        return self.jira_url if source == JIRA_SOURCE else self.github_url


class SyncButtons:
    """What `Sync now` on the trackers' pages does; `api` is None until Northing runs."""

    def __init__(self) -> None:
        self.api: Api | None = None

    def of(self, source: str) -> SyncNow:
        async def sync_now() -> str:
            if self.api is None:
                return "Northing is still starting."
            try:
                return synced_sentence(await self.api.sync(source))
            except DemoFailed as error:
                return f"{error}."

        return sync_now


@asynccontextmanager
async def trackers_running(buttons: SyncButtons) -> AsyncIterator[Trackers]:
    """Both trackers on free ports of this machine, until the block ends."""
    site, host = jira_site(), github_host()
    # Only an administrator may ask Jira which accounts may edit a ticket. On a real site Northing's account
    # should be none.
    site.administrators.add(site.bot.account_id)
    async with AsyncExitStack() as stack:
        jira_url = await stack.enter_async_context(serve(JiraTracker(site, sync_now=buttons.of(JIRA_SOURCE))))
        github_url = await stack.enter_async_context(
            serve(GitHubTracker(host, sync_now=buttons.of(GITHUB_SOURCE)))
        )
        yield Trackers(site, host, jira_url, github_url)


async def set_up(api: Api, trackers: Trackers, now: datetime) -> dict[str, int]:
    """Send Northing the goals, rules, policy and sources; gives how many goals and rules there are."""
    goals_of_company = goals(now)
    await api.post("cycles", goals_of_company.cycle)
    for objective in goals_of_company.objectives:
        await api.post("objectives", objective)
    for key, body in goals_of_company.key_results:
        await api.post(f"objectives/{key}/key-results", body)
    for key, body in goals_of_company.check_ins:
        await api.post(f"key-results/{key}/check-ins", body)
    for key, body in goals_of_company.agreements:
        await api.post(f"key-results/{key}/agreements", body)
    for rule in goals_of_company.rules:
        await api.post("rules", rule)
    # By default an epic has five working days of grace, and epics older than the connection get no comment.
    await api.patch("policy", {"grace": "PT0S", "since": None})
    for source in _sources(trackers):
        secret = secrets.token_urlsafe(24)
        made = await api.post("sources", {**source, "webhook_secret": secret})
        await _send_webhooks(trackers.url_of(source["name"]), made["webhook_url"], secret)
    return {
        "objectives": len(goals_of_company.objectives),
        "key results": len(goals_of_company.key_results),
        "rules": len(goals_of_company.rules),
    }


async def _send_webhooks(tracker_url: str, webhook_url: str, secret: str) -> None:
    """Register the webhook, as an administrator does on the tracker's own page."""
    async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
        answer = await http.put(f"{tracker_url}/-/webhook", json={"url": webhook_url, "secret": secret})
    if answer.is_error:
        raise DemoFailed(f"{tracker_url} does not accept the webhook: {answer.text}")


def _sources(trackers: Trackers) -> list[dict[str, Any]]:
    # The first sync of the demo has to comment on all tickets at once, so no guard may hold its comments.
    notices = {"mode": "live", "per_run": 100, "per_day": 100, "max_share": 1.0}
    bot = trackers.jira.bot
    jira = {
        "name": JIRA_SOURCE,
        "kind": "jira",
        "base_url": trackers.jira_url,
        "credentials": {"type": "api_token", "email": bot.email, "token": bot.token},
        "notices": notices,
    }
    github = {
        "name": GITHUB_SOURCE,
        "kind": "github",
        "base_url": f"{trackers.github_url}/api/v3",
        "credentials": {"type": "token", "token": trackers.github.bot.token},
        "scope": {"organizations": ["acme"]},
        "notices": notices,
    }
    return [jira, github]
