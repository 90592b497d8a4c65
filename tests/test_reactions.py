"""A reaction to a comment on GitHub says how its commands ended, where something may be written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import respx
from fastapi import FastAPI
from sqlalchemy import select

from app.jobs.sweep import sweep
from app.runtime import Runtime
from connectors.base import CommentRef, Connector, EpicRef, Rejected, Unanswered, Unavailable
from connectors.registry import KINDS
from connectors.sandbox import faults
from mappings.tables import CommandCommentRow
from tests.support.clock import Clock
from tests.support.exchanges import check_exchange
from tests.support.lists import listed
from tests.support.tracker_drivers import GitHubDriver, JiraDriver, driver_of
from tests.support.webhook_deliveries import doors, process_everything
from tests.support.webhook_posts import SECRET
from tests.support.world import World

# --- the calls ------------------------------------------------------------------------------

API = "https://api.github.com"
REACTIONS = f"{API}/repos/acme/shop/issues/comments/900/reactions"
COMMENT = CommentRef(EpicRef("7001", "acme/shop#7"), "900")
LINKS = {
    name: f"https://github.example/{name}"
    for name in (
        "avatar_url", "html_url", "followers_url", "following_url", "gists_url", "starred_url",
        "subscriptions_url", "organizations_url", "repos_url", "events_url", "received_events_url", "url",
    )
}  # fmt: skip
PERSON: dict[str, Any] = {
    **LINKS, "id": 5, "node_id": "U5", "login": "bot", "type": "User", "site_admin": False,
    "gravatar_id": None,
}  # fmt: skip


def made(content: str, id: int = 17) -> dict[str, Any]:
    return {
        "id": id, "node_id": f"R{id}", "user": PERSON, "content": content,
        "created_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip


@pytest.fixture
async def octo() -> AsyncIterator[Connector]:
    kind = KINDS["github"]
    connector = kind.connect(
        API,
        kind.credentials.model_validate({"type": "token", "token": "s3cret-token"}),
        kind.scope.model_validate({"repositories": ["acme/shop"]}),
        kind.epics.model_validate({}),
    )
    yield connector
    await connector.aclose()


@respx.mock
async def test_each_outcome_has_its_reaction(octo: Connector) -> None:
    contents = {"done": "+1", "not_understood": "confused", "not_allowed": "-1"}
    for outcome, content in contents.items():
        route = respx.post(REACTIONS, json={"content": content}).respond(201, json=made(content))
        assert await octo.acknowledge(COMMENT, outcome, None) == f"{content}/17"  # type: ignore[arg-type]  # a literal
        assert route.call_count == 1
    exchanges = [(call.request, call.response) for call in respx.calls]
    assert [problem for exchange in exchanges for problem in check_exchange(*exchange)] == []


@respx.mock
async def test_one_that_shows_the_same_costs_nothing(octo: Connector) -> None:
    assert await octo.acknowledge(COMMENT, "done", "+1/17") == "+1/17"
    assert octo.requests == 0


@respx.mock
@pytest.mark.parametrize("taken_back", [204, 404])
async def test_another_outcome_takes_the_former_reaction_back(octo: Connector, taken_back: int) -> None:
    """Also where a crash came between the two requests."""
    gone: dict[str, Any] = {} if taken_back == 204 else {"json": {"message": "Not Found"}}
    former = respx.delete(f"{REACTIONS}/17").respond(taken_back, **gone)
    respx.post(REACTIONS).respond(200, json=made("+1", 18))
    assert await octo.acknowledge(COMMENT, "done", "confused/17") == "+1/18"
    assert former.call_count == 1
    assert [problem for call in respx.calls for problem in check_exchange(call.request, call.response)] == []


@respx.mock
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"status_code": 403, "json": {"message": "Resource not accessible"}}, Rejected),
        ({"status_code": 403, "json": {"message": "You have exceeded a secondary rate limit."}}, Unavailable),
        ({"status_code": 502}, Unavailable),
        ({"status_code": 201, "json": {"content": "+1"}}, Unanswered),
    ],
)
async def test_trouble_with_a_reaction(
    octo: Connector, answer: dict[str, Any], error: type[Exception]
) -> None:
    respx.post(REACTIONS).respond(**answer)
    with pytest.raises(error):
        await octo.acknowledge(COMMENT, "done", None)


# --- the whole way, on the simulated trackers -----------------------------------------------

KEY = "acme/shop#1"


@pytest.fixture
async def github(world: World, application: FastAPI, clock: Clock) -> AsyncIterator[GitHubDriver]:
    """A live source that hears of every change, one live key result, one ticket with a comment of ours."""
    driver = driver_of(world, "github")
    assert isinstance(driver, GitHubDriver)
    await world.goal("KR-1", "Checkout conversion")
    await driver.connect(webhook_secret=SECRET)
    driver.add("Checkout in one step")
    await driver.sync("full")
    clock.advance(seconds=2)
    async with doors(application, world):
        driver.tracker.log.clear()
        yield driver


def reactions(driver: GitHubDriver, comment: str) -> list[tuple[str, str]]:
    _, found = driver.host.comments[int(comment)]
    return [(one.content, one.account.login) for one in found.reactions]


BOT = "northing-bot"
POSTS = "POST */reactions"


@pytest.mark.database
@pytest.mark.parametrize(
    ("text", "outsider", "content"),
    [
        ("/northing link KR-1", False, "+1"),
        ("Key-Result: KR-1", False, "confused"),
        ("/northing link KR-1", True, "-1"),
        ("I will look into it.", False, None),
        ("We talk about Northing here.", False, None),
    ],
)
async def test_a_command_is_acknowledged(
    github: GitHubDriver, world: World, text: str, outsider: bool, content: str | None
) -> None:
    comment = github.say(KEY, text, outsider=outsider)
    await process_everything(world)
    assert reactions(github, comment) == ([] if content is None else [(content, BOT)])
    assert len(github.comments(KEY)) == 2
    reported = [one for one in await listed(world, "/deliveries", source="github") if one["event"] != "ping"]
    # The edit of our own comment comes back as a webhook; a reaction does not.
    assert {one["event"] for one in reported} == {"issue_comment"}


@pytest.mark.database
async def test_an_edited_comment_gets_the_reaction_of_its_new_outcome(
    github: GitHubDriver, world: World
) -> None:
    comment = github.say(KEY, "/northing lnk KR-1")
    await process_everything(world)
    assert reactions(github, comment) == [("confused", BOT)]
    github.host.edit_comment(int(comment), "/northing link KR-1")
    await process_everything(world)
    assert reactions(github, comment) == [("+1", BOT)]
    github.host.edit_comment(int(comment), "/northing link KR-1\n\nThanks!")
    await process_everything(world)
    assert reactions(github, comment) == [("+1", BOT)]
    assert github.tracker.log.count(POSTS) == 2


@pytest.mark.database
@pytest.mark.parametrize("mode", ["shadow", "off"])
async def test_where_notices_are_not_live_nothing_is_written(
    github: GitHubDriver, world: World, mode: str
) -> None:
    await github.set_mode(mode)
    comment = github.say(KEY, "/northing link KR-1")
    await process_everything(world)
    assert [link["key_result"] for link in (await github.epic(KEY))["links"]] == ["KR-1"]
    assert (reactions(github, comment), github.tracker.log.count(POSTS)) == ([], 0)


@pytest.mark.database
async def test_in_projects_that_are_not_live_nothing_is_written(github: GitHubDriver, world: World) -> None:
    github.host.add_repository("acme/other")
    other = github.add("Another epic", project="acme/other")
    scope = {"repositories": ["acme/shop", "acme/other"]}
    notices = {"mode": "live", "projects": ["acme/shop"]}
    await world.send("PATCH", "/sources/github", {"scope": scope, "notices": notices})
    await github.sync("full")
    comment = github.say(other, "/northing link KR-1")
    await process_everything(world)
    assert len((await github.epic(other))["links"]) == 1
    assert reactions(github, comment) == []


@pytest.mark.database
async def test_a_lost_reaction_is_made_up_for_and_the_command_is_not_repeated(
    github: GitHubDriver, world: World, clock: Clock, runtime: Runtime
) -> None:
    """The delivery waits as the tracker asks; then the reaction alone is sent."""
    github.tracker.faults.add(POSTS, faults.answer(503), times=1)
    comment = github.say(KEY, "/northing link KR-1")
    await process_everything(world)
    assert reactions(github, comment) == []
    (link,) = (await github.epic(KEY))["links"]
    await world.send("DELETE", f"/links/{link['id']}")
    clock.advance(minutes=2)
    await sweep(runtime)
    await process_everything(world)
    assert reactions(github, comment) == [("+1", BOT)]
    assert (await github.epic(KEY))["links"] == []
    asked = github.tracker.log.count("GET */collaborators/*")
    assert (asked, github.tracker.log.count(POSTS)) == (1, 2)


@pytest.mark.database
async def test_others_do_not_wait_for_a_reaction_that_fails(
    github: GitHubDriver, world: World, clock: Clock, runtime: Runtime
) -> None:
    """For as long as reactions alone get no answer, each command is executed as ever, and no batch of
    webhooks tries a second one."""
    other = github.add("Another epic")
    await github.sync("full")
    github.tracker.faults.add(POSTS, faults.answer(500), times=None)
    comments = [github.say(key, "/northing link KR-1") for key in (KEY, other)]
    await process_everything(world)
    assert [len((await github.epic(key))["links"]) for key in (KEY, other)] == [1, 1]
    tried = github.tracker.log.count(POSTS)
    clock.advance(hours=2)
    await sweep(runtime)
    await process_everything(world)
    assert github.tracker.log.count(POSTS) == tried + 1
    github.tracker.faults.clear()
    clock.advance(hours=2)
    await sweep(runtime)
    await process_everything(world)
    assert [reactions(github, comment) for comment in comments] == [[("+1", BOT)]] * 2
    assert len(github.comments(KEY)) == 2


@pytest.mark.database
async def test_a_refused_reaction_ends_the_delivery(github: GitHubDriver, world: World) -> None:
    github.tracker.faults.add(POSTS, faults.answer(403, {"message": "Resource not accessible"}), times=None)
    comment = github.say(KEY, "/northing link KR-1")
    await process_everything(world)
    heard = await listed(world, "/deliveries", source="github")
    assert {one["state"] for one in heard} <= {"done", "ignored"}
    assert reactions(github, comment) == []
    assert len((await github.epic(KEY))["links"]) == 1


@pytest.mark.database
async def test_the_reaction_is_remembered(github: GitHubDriver, world: World, runtime: Runtime) -> None:
    comment = github.say(KEY, "/northing link KR-1")
    await process_everything(world)
    _, shown = github.host.comments[int(comment)]
    async with runtime.sessions() as session:
        (row,) = await session.scalars(select(CommandCommentRow))
    assert row.reaction_id == f"+1/{shown.reactions[0].id}"


@pytest.mark.database
async def test_on_jira_nothing_is_sent(world: World, application: FastAPI, clock: Clock) -> None:
    driver = driver_of(world, "jira")
    assert isinstance(driver, JiraDriver)
    driver.site.administrators.add(driver.site.bot.account_id)
    await world.goal("KR-1")
    await driver.connect(webhook_secret=SECRET)
    key = driver.add()
    await driver.sync("full")
    clock.advance(seconds=2)
    async with doors(application, world):
        driver.tracker.log.clear()
        driver.say(key, "/northing link KR-1")
        await process_everything(world)
    assert len((await driver.epic(key))["links"]) == 1
    writes = [seen.line for seen in driver.tracker.log.entries if not seen.line.startswith("GET")]
    assert not any("reaction" in line for line in writes)
