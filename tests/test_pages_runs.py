"""Pages of runs and of deliveries: what they show, who may act on them, and what a click does."""

from __future__ import annotations

import html
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import text

from app.run_words import state_in_words
from app.runtime import Runtime
from app.web.deliveries import BODY_AT_MOST, INDENTED_UP_TO, readable
from tests.support.clock import Clock
from tests.support.pages import Visitor, forms_of, visiting, words_of
from tests.support.webhook_posts import EDITED, ISSUE, connect, post
from tests.support.world import OFF, World

HOSTILE = '<script>alert("x")</script> & co'

# --- pure ------------------------------------------------------------------------------------------


def test_a_body_is_shown_with_its_members_in_lines_and_within_bounds() -> None:
    assert readable('{"a": {"b": 1}}') == ('{\n  "a": {\n    "b": 1\n  }\n}', 0)
    assert readable("payload=%7B") == ("payload=%7B", 0)
    assert readable(None) == ("", 0)
    assert readable("x" * (BODY_AT_MOST + 5)) == ("x" * BODY_AT_MOST, 5)
    deep = "[" * 200_000
    assert readable(deep)[1] == 100_000
    # Too large to be read as JSON once more.
    large = json.dumps({"a": "x" * INDENTED_UP_TO})
    assert readable(large)[0].startswith('{"a": "x')
    # Half a pair of surrogates, which no page can be encoded with.
    readable('{"a": "\\ud800"}')[0].encode()


@pytest.mark.parametrize(
    ("state", "more", "words"),
    [
        ("queued", {}, "waiting its turn"),
        ("running", {}, "reading and evaluating"),
        ("stalled", {}, "waiting to be taken up again"),
        ("succeeded", {"finished": True, "pending": 2}, "writing comments, 2 to go"),
        ("succeeded", {"finished": True}, "done"),
    ],
)
def test_what_a_run_does_in_words(state: str, more: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"finished": False, "pending": 0, "waiting_until": None, **more}
    assert state_in_words(state, **given) == words


# --- runs ------------------------------------------------------------------------------------------


@pytest.fixture
async def visitor(application: FastAPI) -> AsyncIterator[Visitor]:
    async with visiting(application) as somebody:
        yield somebody


async def signed_in(world: World, visitor: Visitor, role: str) -> None:
    made = await world.send("POST", "/tokens", {"name": role, "role": role})
    await visitor.sign_in(made["token"])


@pytest.fixture
async def posted(world: World) -> int:
    """The id of a run that wrote two comments on a live Jira."""
    world.site.create("SHOP", HOSTILE)
    world.site.create("SHOP", "wide " * 100)
    await world.no_grace()
    await world.connect_jira(scope={"projects": ["SHOP"]}, notices={"mode": "live"})
    return int((await world.sync("jira", "full"))["id"])


async def test_a_run_shows_what_it_wrote_and_an_editor_takes_it_back(
    world: World, visitor: Visitor, posted: int
) -> None:
    await signed_in(world, visitor, "editor")
    page = await visitor.get(f"/runs/{posted}")
    words = html.unescape(words_of(page))
    assert "2 posted" in words
    assert "2 comments of this run are on tickets." in words
    assert "/epics/jira/SHOP-1" in page
    assert "focusedCommentId=" in page
    assert "<script>" not in page.replace('<script type="module"', "")
    assert "data-follow" not in page
    answer = await visitor.send(f"/runs/{posted}", {"do": "edit"})
    back = answer.headers["location"]
    assert "Takes comments back" in await visitor.get(back)
    assert 'data-follow="2"' in await visitor.get(back)
    await world.drain()
    assert "2 withdrawn" in words_of(await visitor.get(back))
    page = await visitor.get(f"/runs/{posted}")
    assert f'Taken back by <a href="{back}"' in page
    assert [form for form in forms_of(page) if ("do", "edit") in form.buttons] == []
    answer = await visitor.send(back, {"do": "edit"}, expect=409)
    assert "A withdrawal makes no comments" in answer.text


async def test_comments_can_be_deleted(world: World, visitor: Visitor, posted: int) -> None:
    await signed_in(world, visitor, "editor")
    await visitor.send(f"/runs/{posted}", {"do": "delete"})
    await world.drain()
    assert world.jira.log.count("DELETE */comment/*") == 2


async def test_a_viewer_sees_a_run_and_takes_nothing_back(
    world: World, visitor: Visitor, posted: int
) -> None:
    await signed_in(world, visitor, "viewer")
    page = await visitor.get(f"/runs/{posted}")
    assert "Editors can take them back. You are signed in as viewer." in page
    assert [form.action for form in forms_of(page) if form.method == "post"] == ["/logout"]
    await visitor.send(f"/runs/{posted}", {"do": "edit"}, expect=403)
    assert (await visitor.http.post(f"/runs/{posted}", data={"do": "edit"})).status_code == 403
    assert (await world.send("GET", "/runs"))["items"][0]["id"] == posted
    await visitor.get("/runs/999", expect=404)
    await visitor.get("/runs/x", expect=422)


async def test_removals_that_are_held_are_accepted_by_an_admin_alone(
    world: World, visitor: Visitor, application: FastAPI
) -> None:
    made = [world.site.create("SHOP", f"Epic {number}").key for number in range(10)]
    await world.connect_jira(notices=OFF, scope={"projects": ["SHOP"]})
    await world.sync("jira")
    for key in made[:7]:
        world.site.delete(key)
    run = (await world.sync("jira", "full"))["id"]
    await signed_in(world, visitor, "editor")
    words = words_of(await visitor.get(f"/runs/{run}"))
    assert "7 removals held" in words
    assert f"{made[0]}, {made[1]}" in words
    assert "Admins can accept them." in words
    await visitor.send(f"/runs/{run}", {"do": "accept"}, expect=403)
    async with visiting(application) as admin:
        await admin.sign_in()
        assert "holds 7 removals" in words_of(await admin.get("/sources/jira"))
        answer = await admin.send("/sources/jira", {"do": "accept", "run": str(run)})
        assert answer.headers["location"].startswith("/runs/")
        await world.drain()
        assert len(await world.keys()) == 3
        assert "holds" not in words_of(await admin.get("/sources/jira"))
        await admin.send(f"/runs/{run}", {"do": "accept"})  # once more: the same run
        await admin.send(f"/runs/{run}", {"do": "other"}, expect=422)
        await admin.send("/sources/jira", {"do": "accept", "run": "x"}, expect=422)


async def test_a_run_that_goes_on_is_followed(world: World, visitor: Visitor) -> None:
    world.site.create("SHOP", "One")
    await world.connect_jira(scope={"projects": ["SHOP"]})
    run = await world.send("POST", "/sources/jira/sync", {"mode": "full"})
    await visitor.sign_in()
    page = await visitor.get(f"/runs/{run['id']}")
    assert 'id="run" data-follow="2"' in page
    assert "waiting its turn" in page
    await world.drain()
    page = await visitor.get(f"/runs/{run['id']}")
    assert "data-follow" not in page
    assert "1 seen" in words_of(page)


# --- deliveries ------------------------------------------------------------------------------------


@pytest.fixture
async def delivered(world: World) -> World:
    """Two deliveries of GitHub's: one known, one not."""
    await connect(world)
    hostile = {**EDITED, "issue": {**ISSUE, "title": HOSTILE}}
    await post(world, hostile)
    await post(world, {"action": "thrown"}, x_github_event="confetti", x_github_delivery="2")
    await world.drain()
    return world


async def test_deliveries_are_filtered_by_the_address(delivered: World, visitor: Visitor) -> None:
    await visitor.sign_in()
    words = words_of(await visitor.get("/deliveries"))
    assert "issues edited" in words
    assert "confetti" in words
    words = words_of(await visitor.get("/deliveries?source=github&state=ignored"))
    assert "confetti thrown" in words
    assert "Ignored unknown" in words
    assert "No delivery fits these filters" in await visitor.get("/deliveries?source=github&state=received")
    await visitor.get("/deliveries?state=x", expect=422)
    await visitor.get("/deliveries?source=nothing", expect=422)


async def test_a_body_is_for_admins_alone_and_escaped(
    delivered: World, visitor: Visitor, application: FastAPI
) -> None:
    for role in ("viewer", "editor"):
        async with visiting(application) as somebody:
            await signed_in(delivered, somebody, role)
            page = await somebody.get("/deliveries")
            assert "/deliveries/1" not in page
            assert "Replay" not in page
            await somebody.get("/deliveries/1", expect=403)
            await somebody.send("/deliveries", {"replay": "1"}, expect=403)
            await somebody.send("/deliveries", {"do": "replay"}, to="/deliveries/1", expect=403)
    await visitor.sign_in()
    page = await visitor.get("/deliveries/1")
    assert "&lt;script&gt;" in page
    assert "<script>" not in page.replace('<script type="module"', "")
    assert "  &#34;action&#34;: &#34;edited&#34;" in page


async def test_a_replay_and_one_whose_body_is_gone(
    delivered: World, visitor: Visitor, runtime: Runtime, clock: Clock
) -> None:
    await visitor.sign_in()
    answer = await visitor.send("/deliveries?source=github", {"replay": "1"})
    assert answer.headers["location"] == "/deliveries?source=github"
    assert "Delivery 1 of github is processed once more." in await visitor.get("/deliveries?source=github")
    await delivered.drain()
    assert (await delivered.send("GET", "/deliveries/1"))["state"] != "received"
    await visitor.send("/deliveries/2", {"do": "replay"})
    async with runtime.sessions.begin() as session:
        await session.execute(text("UPDATE deliveries SET body = NULL"))
    assert "It was deleted after 14 days" in await visitor.get("/deliveries/1")
    for path, fields in (("/deliveries", {"replay": "1"}), ("/deliveries/1", {"do": "replay"})):
        answer = await visitor.send(path, fields, expect=409)
        assert "Its body was deleted after 14 days; sync the source instead." in answer.text
    for wrong in ("", "x", "0", "9" * 30):
        await visitor.send("/deliveries", {"replay": wrong}, expect=422)
    await visitor.send("/deliveries", {"replay": "999"}, expect=404)
    for path in ("/deliveries", "/deliveries/1"):
        assert (await visitor.http.post(path, data={"replay": "1"})).status_code == 403
