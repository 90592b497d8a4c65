"""The page of notices: what it shows, and what comes of approving, withdrawing and deciding."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from app.runtime import Runtime
from connectors.sandbox import faults
from mappings.notices.burst_guard import limit_in_words
from tests.support.clock import Clock, later
from tests.support.disputes import DISPUTER, dispute
from tests.support.pages import Visitor, forms_of, visiting, words_of
from tests.support.tracker_drivers import TrackerDriver, both, driver_of, on_either, on_jira
from tests.support.world import World

QUESTION = "Which key result does this epic serve?"
HOSTILE = '<script>alert("x")</script> & co'
LIMITS = {"per_run": 2}


@pytest.fixture
async def visitor(application: FastAPI) -> AsyncIterator[Visitor]:
    async with visiting(application) as somebody:
        await somebody.sign_in()
        yield somebody


@pytest.fixture
async def driver(request: pytest.FixtureRequest, world: World) -> TrackerDriver:
    """A tracker of either kind, not connected yet, and one live key result, KR-1."""
    await world.goal("KR-1", "Checkout conversion")
    return driver_of(world, request.param)


async def held(driver: TrackerDriver, *titles: str) -> list[str]:
    """Epics whose comments the guard holds; their keys."""
    keys = [driver.add(title) for title in titles or ("One", "Two", "Three")]
    await driver.connect(notices=LIMITS)
    await driver.sync()
    return keys


async def id_of(driver: TrackerDriver, key: str) -> int:
    id: int = (await driver.notice(key))["id"]
    return id


@pytest.mark.parametrize(
    ("detail", "says"),
    [
        (
            "Run 231 asked for 5 new comments at once; per_run is 4. A person has to approve them.",
            "It would have made 5 new comments; the limit is 4 a run.",
        ),
        (
            "Run 7 asked for 1 new comments at once; per_run is 0. A person has to approve them.",
            "It would have made 1 new comment; the limit is 0 a run.",
        ),
        (
            "Run 231 and the evaluate runs of the hour before 2026-11-16 12:00 UTC asked for 5 new comments "
            "on the 20 open epics of acme/shop; max_share is 0.2. A person has to approve them.",
            "With the evaluate runs of the hour before it, it would have made 5 new comments on the 20 open "
            "epics of acme/shop; the limit is 20% of them.",
        ),
        ("Something else.", "Something else."),
    ],
)
def test_the_limit_that_held_it_is_named(detail: str, says: str) -> None:
    assert limit_in_words(detail) == says


@both
async def test_one_is_approved_the_next_withdrawn_and_the_run_let_go(
    driver: TrackerDriver, visitor: Visitor, world: World, runtime: Runtime, clock: Clock
) -> None:
    keys = await held(driver, "One", "Two", "Three", "Four")
    page = await visitor.get("/notices")
    words = words_of(page)
    run = (await driver.notice(keys[0]))["run"]
    assert f"Run {run} of {driver.kind} waits for your word." in words
    assert "It would have made 4 new comments; the limit is 2 a run." in words
    assert f"Approve all 4 Withdraw run {run} (4)" in words
    assert f"{keys[0]} as it would read in {'Jira' if driver.kind == 'jira' else 'GitHub'} 1 of 4" in words
    assert f"<strong>{QUESTION}</strong>" in page
    assert "northing:notice" not in page

    ids = [await id_of(driver, key) for key in keys]
    answer = await visitor.send("/notices", {"do": "approve", "notice": ids[1]})
    assert answer.headers["location"] == f"/notices?notice={ids[2]}", "the one behind it"
    await world.drain()
    assert [len(driver.comments(key)) for key in keys] == [0, 1, 0, 0]
    page = await visitor.get(answer.headers["location"])
    assert f"Approved the notice on {keys[1]}." in words_of(page)
    assert "2 of 3" in words_of(page)

    answer = await visitor.send(f"/notices?notice={ids[0]}", {"do": "withdraw", "notice": ids[0]})
    assert answer.headers["location"] == f"/notices?notice={ids[2]}"
    assert f"Withdrew the notice on {keys[0]}." in await visitor.get(answer.headers["location"])
    answer = await visitor.send("/notices", {"do": f"approve-run {run}"})
    assert answer.headers["location"] == "/notices"
    assert f"Approved 2 notices of run {run}." in await visitor.get("/notices")
    await later(world, runtime, clock, days=9)
    await driver.sync("full")
    assert [len(driver.comments(key)) for key in keys] == [0, 1, 1, 1]
    await visitor.sign_in()
    # What the page shows of a comment is what the tracker has.
    page = await visitor.get(f"/notices?state=posted&notice={ids[1]}")
    ours = page[page.index('<div class="says">') : page.index("</article>")]
    assert seen(ours) == seen(await on_trackers_page(driver, keys[1]))
    assert f"<strong>{QUESTION}</strong>" in ours


def seen(html: str) -> tuple[str, list[tuple[str, str]]]:
    """The words of a text, and those with emphasis in their order."""
    html = html.replace("\u2060", "")
    emphasis = re.findall(r"<(strong|code|a|li)\b[^>]*>(.*?)</\1>", html, re.DOTALL)
    return "".join(words_of(html).split()), [(tag, "".join(words_of(part).split())) for tag, part in emphasis]


async def on_trackers_page(driver: TrackerDriver, key: str) -> str:
    """The comment on the ticket as the simulated tracker's own page shows it to people."""
    world = driver.world
    url = f"{world.jira_url}/browse/{key}" if driver.kind == "jira" else world.github_url
    if driver.kind == "github":
        repository, _, number = key.partition("#")
        url += f"/{repository}/issues/{number}"
    async with httpx.AsyncClient() as http:
        page = (await http.get(url)).text
    notes = page[page.index('<section class="note"') :]
    (comment,) = re.findall(r'<div class="text \w+">(.*?)</div>', notes, re.DOTALL)
    return str(comment)


@on_either("github")
async def test_a_run_is_withdrawn_and_never_written(
    driver: TrackerDriver, visitor: Visitor, world: World, runtime: Runtime, clock: Clock
) -> None:
    keys = await held(driver)
    run = (await driver.notice(keys[0]))["run"]
    await visitor.send("/notices", {"do": "approve", "notice": await id_of(driver, keys[0])})
    await world.drain()
    assert f"Approve all 2 Withdraw run {run} (3)" in words_of(await visitor.get("/notices"))
    await visitor.send("/notices", {"do": f"withdraw-run {run}"})
    await later(world, runtime, clock, days=9)
    assert [driver.comments(key) for key in keys] == [["Withdrawn. Sorry for the noise."], [], []]
    await visitor.sign_in()
    page = words_of(await visitor.get("/notices?state=withdrawn"))
    assert "The run that made it was withdrawn." in page
    assert "The run it belongs to was withdrawn before it was written." in page


@on_jira
async def test_a_selection_is_approved_and_what_cannot_be_is_named(
    driver: TrackerDriver, visitor: Visitor, world: World
) -> None:
    keys = await held(driver)
    ids = [await id_of(driver, key) for key in keys]
    await visitor.send("/notices", {"do": "withdraw", "notice": ids[0]})
    await visitor.send("/notices", {"do": "approve", "notice": [*map(str, ids)]})
    shown = words_of(await visitor.get("/notices"))
    assert "Approved 2 notices." in shown
    assert "1 left as it is: It is withdrawn (withdrawn), and not held by the guard or the cap." in shown
    await world.drain()
    assert [len(driver.comments(key)) for key in keys] == [0, 1, 1]
    await visitor.send("/notices", {"do": "approve"})
    assert "Nothing was selected." in await visitor.get("/notices")
    await visitor.send("/notices?state=posted", {"do": "withdraw", "notice": str(ids[1])})
    await world.drain()
    assert driver.comments(keys[1]) == ["Withdrawn. Sorry for the noise."]


@both
async def test_a_dispute_is_upheld_and_taken_back_and_dismissed(
    driver: TrackerDriver, visitor: Visitor, world: World, runtime: Runtime, clock: Clock
) -> None:
    key = driver.add()
    await driver.connect()
    await driver.sync()
    await dispute(runtime, key, "It is <b>office</b> work", clock())
    await world.drain()
    clock.advance(days=3)
    await visitor.sign_in()
    page = await visitor.get("/notices")
    words = words_of(page)
    assert f"Disputed by {DISPUTER}" in words
    assert "(3 days)" in words
    assert "It is &lt;b&gt;office&lt;/b&gt; work" in page
    assert "Disputed; waiting for a decision." in words
    assert 'href="/epics/' in page

    (found,) = (await world.send("GET", "/findings?state=disputed"))["items"]
    values = {"finding": str(found["id"])}
    await visitor.send("/notices?state=disputed", {**values, "do": "uphold"})
    await world.drain()
    assert QUESTION in driver.comments(key)[0]
    page = await visitor.get("/notices?state=disputed")
    assert "Upheld: the finding on" in page
    (undo,) = [form for form in forms_of(page) if form.action == "/undo"]
    await visitor.http.post("/undo", data=undo.fields)
    await world.drain()
    assert driver.comments(key) == ["Disputed; waiting for a decision."]

    answer = await visitor.send("/notices?state=disputed", {**values, "do": "dismiss"}, expect=422)
    assert "1 field to mend" in answer.text
    assert "Say in a few words why; the ticket shows it" in answer.text
    assert "autofocus" in answer.text
    await visitor.send("/notices?state=disputed", {**values, "do": "dismiss", "reason": "Office"})
    await world.drain()
    assert re.fullmatch(r"Waived until [0-9-]+: Office\.", driver.comments(key)[0])
    assert "is waived for 366 days" in await visitor.get("/notices?state=disputed")
    await visitor.send("/notices?state=disputed", {**values, "do": "uphold"})
    assert "not disputed; there is nothing to decide" in await visitor.get("/notices?state=disputed")


@on_jira
async def test_each_state_has_its_tab(driver: TrackerDriver, visitor: Visitor, world: World) -> None:
    await driver.connect("shadow")
    shadowed = driver.add("In shadow")
    await driver.sync()
    page = words_of(await visitor.get("/notices"))
    assert "What would be said if these projects were live." in page
    assert "SHOP jira 1 Go live" in page
    assert "It is written only once SHOP is live: go live" in page
    driver.label(shadowed, "kr:KR-1")
    await driver.set_mode("live")
    await world.send("PATCH", "/policy", {"grace": "P5D"})
    waiting = driver.add("In its grace")
    await driver.sync()
    page = words_of(await visitor.get("/notices"))
    assert "Grace 1 come due by themselves, each when its grace ends" in page
    assert "Grace ends at" in page
    await world.no_grace()
    driver.tracker.faults.add(driver.creates, faults.answer(403))
    await driver.sync("full")
    page = words_of(await visitor.get("/notices"))
    assert "It is tried again when its epic is next evaluated." in page
    driver.tracker.faults.clear()
    await driver.sync("full")
    page = await visitor.get("/notices?state=posted")
    assert "Open the comment in Jira" in page
    assert (await driver.notice(waiting))["url"] in page
    for state in ("due", "resolved", "withdrawn", "failed", "disputed", "held"):
        await visitor.get(f"/notices?state={state}")
    await visitor.get("/notices?state=none", expect=422)
    assert "No notice fits these filters." in words_of(await visitor.get("/notices?state=posted&project=X"))
    assert waiting in await visitor.get("/notices?state=posted&project=shop&source=JIRA")
    assert "That notice is gone" in await visitor.get("/notices?notice=99")


@on_jira
async def test_words_of_others_stay_words(driver: TrackerDriver, visitor: Visitor, world: World) -> None:
    titles = (HOSTILE, "x" * 500, "\u202eמשימה right to left")
    await world.goal("KR-2", f"{HOSTILE} x")
    keys = await held(driver, *titles)
    for key in keys:
        page = await visitor.get(f"/notices?notice={await id_of(driver, key)}")
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert" in page
        assert key in page


@on_jira
async def test_who_may_do_what(driver: TrackerDriver, visitor: Visitor, world: World) -> None:
    (key, *_) = await held(driver)
    id = str(await id_of(driver, key))
    await visitor.send("/notices", {"do": "approve", "notice": "x"}, expect=422)
    await visitor.send("/notices", {"do": "nothing", "notice": id}, expect=422)
    await visitor.send("/notices", {"do": "approve-run 99"}, expect=422)
    await visitor.send("/notices", {"do": "withdraw-run 99"}, expect=404)
    forged = await visitor.http.post("/notices", data={"do": "approve", "notice": id, "_token": "x"})
    assert forged.status_code == 403
    made = await world.send("POST", "/tokens", {"name": "reader", "role": "viewer"})
    visitor.http.cookies.clear()
    await visitor.sign_in(made["token"])
    page = words_of(await visitor.get("/notices"))
    assert "Editors can approve and withdraw. You are a viewer." in page
    assert "Approve all" not in page
    assert QUESTION in page
    for values in ({"do": "approve", "notice": id}, {"do": "dismiss", "finding": "1"}):
        await visitor.send("/notices", values, expect=403)
    assert (await driver.notice(key))["state"] == "held"
    made = await world.send("POST", "/tokens", {"name": "editor", "role": "editor"})
    visitor.http.cookies.clear()
    await visitor.sign_in(made["token"])
    await visitor.send("/notices", {"do": "approve", "notice": id})
    assert (await driver.notice(key))["state"] == "due"
    (entry,) = (await world.send("GET", "/audit-log?limit=1"))["items"]
    assert (entry["what"], entry["action"], entry["who"]) == ("notices", "approved", "token 2 (editor)")


@on_jira
async def test_many_are_listed_page_by_page(driver: TrackerDriver, visitor: Visitor) -> None:
    keys = await held(driver, *(f"Epic {number}" for number in range(55)))
    page = await visitor.get("/notices")
    assert page.count('name="notice" value=') == 50 + 1  # and that of the preview
    (following,) = re.findall(r'rel="next" href="([^"]+)"', page)
    page = await visitor.get(following.replace("&amp;", "&"))
    assert page.count('name="notice" value=') == 5 + 1
    assert f"{keys[50]} as it would read" in words_of(page)
    assert "51 of 55" in words_of(page)
    ids = re.findall(r"notice=([0-9]+)#", page)
    to = re.findall(r'href="([^"]+)#preview"', page)[1].replace("&amp;", "&")
    assert f"notice={ids[1]}" in to
    assert "52 of 55" in words_of(await visitor.get(to))
