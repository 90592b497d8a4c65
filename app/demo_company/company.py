"""The company of the demo: two simulated trackers, its goals, and what its people do about their tickets, all
of it through Northing's API and the trackers' HTTP."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import httpx

from app.demo_company.client import Api, DemoFailed, synced_sentence
from app.demo_company.ticket import github_person, jira_person
from connectors.sandbox.company import GITHUB_SOURCE, JIRA_SOURCE, github_host, goals, jira_site
from connectors.sandbox.company.answers import BY_HAND, FIRST_LIVE, GITHUB_PER_RUN, Answer, other_answers
from connectors.sandbox.company.committee import INITIATIVES
from connectors.sandbox.github.tracker import GitHubTracker
from connectors.sandbox.jira.tracker import JiraTracker
from connectors.sandbox.server import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from datetime import datetime

    from app.demo_company.client import Json
    from connectors.sandbox.github.host import GitHubHost
    from connectors.sandbox.jira.site import JiraSite
    from connectors.sandbox.pages import SyncNow

SOURCES = (JIRA_SOURCE, GITHUB_SOURCE)
Kind = Literal["cycle", "objective", "key_result", "rule", "source"]


class Maker:
    """Makes the company's things through the API, one after the other. A subclass may remember them.
    `by_webhook`: what people write on tickets reaches Northing by itself, else by the next sync."""

    by_webhook = True

    def __init__(self, api: Api) -> None:
        self.api = api

    async def step(self, text: str) -> None:
        """What is being done from now on, for whoever waits."""

    async def make(self, kind: Kind, key: str, path: str, body: Json) -> Json:
        """`key` is what the thing is known by: a name, where it has no key."""
        return await self.api.post(path, body)

    async def put_criteria(self, criteria: list[Json]) -> None:
        """Agree on these criteria, where there are none."""
        await self.api.put("criteria", criteria)

    async def put_scopes(self, scopes: list[Json]) -> None:
        """Put these scopes before those that the policy has."""
        policy = await self.api.get("policy")
        await self.api.patch("policy", {"scopes": [*scopes, *policy["scopes"]]})


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
async def trackers_running(buttons: SyncButtons | None) -> AsyncIterator[Trackers]:
    """Both trackers on free ports of this machine, until the block ends; without `buttons` their pages have
    no `Sync now`."""
    site, host = jira_site(), github_host()
    # Only an administrator may ask Jira which accounts may edit a ticket. On a real site Northing's account
    # should be none.
    site.administrators.add(site.bot.account_id)

    def button(source: str) -> SyncNow | None:
        return None if buttons is None else buttons.of(source)

    async with AsyncExitStack() as stack:
        jira_url = await stack.enter_async_context(serve(JiraTracker(site, sync_now=button(JIRA_SOURCE))))
        github_url = await stack.enter_async_context(
            serve(GitHubTracker(host, sync_now=button(GITHUB_SOURCE)))
        )
        yield Trackers(site, host, jira_url, github_url)


# --- what the company has -------------------------------------------------------------------------


async def set_up(
    maker: Maker, trackers: Trackers, now: datetime, webhook_url: Callable[[Json], str | None]
) -> dict[str, int]:
    """Send Northing the goals, rules, policy and sources; gives how many goals and rules there are.
    `webhook_url`: where the tracker of a source that was made reaches Northing, None for nowhere."""
    api, company = maker.api, goals(now)
    await maker.step("Adding its goals")
    await maker.make("cycle", company.cycle["key"], "cycles", company.cycle)
    for body in company.objectives:
        await maker.make("objective", body["key"], "objectives", body)
    for objective, body in company.key_results:
        await maker.make("key_result", body["key"], f"objectives/{objective}/key-results", body)
    for key, body in company.check_ins:
        await api.post(f"key-results/{key}/check-ins", body)
    for key, body in company.agreements:
        await api.post(f"key-results/{key}/agreements", body)
    for rule in company.rules:
        await maker.make("rule", rule["name"], "rules", rule)
    await maker.put_scopes(policy_scopes())
    await maker.step("Connecting its trackers")
    for source in _sources(trackers):
        secret = secrets.token_urlsafe(24)
        made = await maker.make("source", source["name"], "sources", {**source, "webhook_secret": secret})
        url = webhook_url(made)
        if url is not None:
            await _send_webhooks(trackers.url_of(source["name"]), url, secret)
    return {
        "objectives": len(company.objectives),
        "key results": len(company.key_results),
        "rules": len(company.rules),
    }


def policy_scopes() -> list[Json]:
    """By default an epic has five working days of grace, and epics older than the connection get no comment.
    Both are set aside for these two sources alone, whose initiatives have a label."""
    scope = {"grace": "PT0S", "since": None, "initiatives": INITIATIVES}
    return [{"source": name, **scope} for name in SOURCES]


def webhook_url_of(source: Json) -> str:
    url: str = source["webhook_url"]
    return url


async def _send_webhooks(tracker_url: str, webhook_url: str, secret: str) -> None:
    """Register the webhook, as an administrator does on the tracker's own page."""
    async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
        answer = await http.put(f"{tracker_url}/-/webhook", json={"url": webhook_url, "secret": secret})
    if answer.is_error:
        raise DemoFailed(f"{tracker_url} does not accept the webhook: {answer.text}")


def _sources(trackers: Trackers) -> list[dict[str, Any]]:
    bot = trackers.jira.bot
    jira = {
        "name": JIRA_SOURCE,
        "kind": "jira",
        "base_url": trackers.jira_url,
        "credentials": {"type": "api_token", "email": bot.email, "token": bot.token},
        "epics": {"start_field": "Start date", "points_field": "Story point estimate"},
        "notices": {"mode": "live"},
    }
    github = {
        "name": GITHUB_SOURCE,
        "kind": "github",
        "base_url": f"{trackers.github_url}/api/v3",
        "credentials": {"type": "token", "token": trackers.github.bot.token},
        "scope": {"organizations": ["acme"]},
        "epics": {"start_field": "Start date", "points_field": "Estimate"},
        "notices": {"mode": "live", "projects": FIRST_LIVE},
    }
    return [jira, github]


# --- what happens there ---------------------------------------------------------------------------


async def first_syncs(maker: Maker) -> list[Json]:
    """Read both trackers, and write the comments of Jira and of the first project of GitHub; the runs."""
    await maker.step("Reading its epics")
    return list(await asyncio.gather(*(maker.api.sync(source, "full") for source in SOURCES)))


async def go_live_everywhere(maker: Maker) -> list[Json]:
    """GitHub goes live as a whole; the comments that the guard holds then."""
    await maker.step("Going live, project by project")
    notices = {"projects": None, "per_run": GITHUB_PER_RUN}
    await maker.api.patch(f"sources/{GITHUB_SOURCE}", {"notices": notices})
    await maker.api.wait_until_idle(GITHUB_SOURCE)
    return await maker.api.every("notices", source=GITHUB_SOURCE, state="held")


async def link_by_hand(api: Api) -> None:
    for source, title, key, weight in BY_HAND:
        epic = {"source": source, "key": (await epic_titled(api, source, title))["key"]}
        await api.post("links", {"epic": epic, "key_result": key, "weight": weight})


async def answer_tickets(maker: Maker, trackers: Trackers, answers: Sequence[Answer]) -> None:
    """People comment their commands, and Northing does what they say."""
    await maker.step("Its people answer on their tickets")
    for answer in answers:
        epic = await epic_titled(maker.api, answer.source, answer.title)
        await comment(trackers, answer, epic["key"])
        if not maker.by_webhook:
            await maker.api.sync(answer.source)
        await maker.api.wait_for_finding(answer.source, epic["key"], answer.state)


async def remaining_answers(maker: Maker, trackers: Trackers, now: datetime) -> None:
    """Those beside the two that the demo's story shows one by one."""
    await answer_tickets(maker, trackers, other_answers(now.date()))
    await link_by_hand(maker.api)


async def epic_titled(api: Api, source: str, title: str) -> Json:
    epics = await api.every("epics", source=source)
    found = [epic for epic in epics if epic["title"] == title]
    if len(found) != 1:
        raise DemoFailed(f"{source} has {len(found)} epics named {title!r}")
    return found[0]


async def comment(trackers: Trackers, answer: Answer, key: str) -> None:
    if answer.source == JIRA_SOURCE:
        account = trackers.jira.account(answer.person)
        async with jira_person(trackers.jira_url, account.email, account.token) as person:
            await person.say(key, answer.command)
    else:
        token = trackers.github.account(answer.person).token
        async with github_person(trackers.github_url, token) as writer:
            await writer.say(key, answer.command)
