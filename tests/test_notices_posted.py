"""A warning on the ticket: posted once, edited for facts alone, one line when the gap is closed."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from app.runtime import Runtime
from mappings.tables import InstallationRow
from tests.support.adf import adf_problems
from tests.support.clock import Clock
from tests.support.rendered_text import PARSER, REFERENCE, plain_runs
from tests.support.tracker_drivers import GitHubDriver, JiraDriver, TrackerDriver, both, on_github, on_jira
from tests.support.world import World

pytestmark = pytest.mark.database

MISSING = "Which key result does this epic serve?"


def writes(**counts: int) -> dict[str, int]:
    none = dict.fromkeys(("pending", "posted", "edited", "resolved", "withdrawn", "held", "failed"), 0)
    return {**none, **counts}


@both
async def test_it_is_posted_once(driver: TrackerDriver) -> None:
    key = driver.add("Checkout conversion")
    run = await driver.sync()
    assert run["writes"] == writes(posted=1)
    (text,) = driver.comments(key)
    assert MISSING in text
    assert "KR-1 (Checkout conversion): shares “Checkout”, “conversion” with the title" in text
    notice = await driver.notice(key)
    assert (notice["state"], notice["pending"], notice["run"]) == ("posted", False, run["id"])
    (comment,) = driver.comment_ids(key)
    assert notice["url"].endswith(comment)
    driver.tracker.log.clear()
    for mode in ("incremental", "full"):
        assert (await driver.sync(mode))["writes"] == writes()
    assert driver.tracker.log.count(driver.creates) + driver.tracker.log.count(driver.edits) == 0


async def test_the_marker_names_installation_and_epic(world: World, runtime: Runtime) -> None:
    """On GitHub two lines above the text, on Jira a property of the comment, sent with it."""
    jira, github = JiraDriver(world), GitHubDriver(world)
    on_jira, on_github = jira.add(), github.add()
    for driver in (jira, github):
        await driver.connect()
        await driver.sync()
    async with runtime.sessions() as session:
        uuid = (await session.get_one(InstallationRow, 1)).uuid
    (comment,) = jira.site.issue(on_jira).comments
    assert [*comment.properties] == ["northing"]
    assert re.fullmatch(rf"{uuid}/1 [0-9a-f]{{32}}", comment.properties["northing"]["id"])
    assert adf_problems(comment.body) == []
    (note,) = github.host.issue(on_github).comments
    head = rf"<!-- northing:notice -->\n<!-- northing:id {uuid}/2 [0-9a-f]{{32}} -->\n\n"
    assert re.match(head, note.body)
    assert (await github.notice(on_github))["body"] == note.body
    github.describe(on_github, "Key-Result: KR-9")
    await github.sync()
    assert re.match(head, note.body)


@on_github
async def test_words_edit_nothing_and_facts_do(driver: TrackerDriver, world: World, clock: Clock) -> None:
    key = driver.add("Checkout without tears")
    await driver.sync()
    (posted,) = driver.comments(key)
    await world.send("PATCH", "/key-results/KR-1", {"title": "Checkout without tears"})
    await world.goal("KR-2", "Checkout errors")
    clock.advance(hours=1)
    driver.describe(key, "Some words.")
    run = await driver.sync()
    assert (run["writes"], driver.comments(key)) == (writes(), [posted])

    clock.advance(hours=1)
    driver.describe(key, "Some words.\n\nKey-Result: KR-99")
    before = driver.comment_ids(key)
    run = await driver.sync()
    assert run["writes"] == writes(edited=1)
    (edited,) = driver.comments(key)
    assert "The ticket names " in edited
    assert "KR-99" in edited
    assert "KR-1 (Checkout without tears)" in edited
    assert driver.comment_ids(key) == before


@on_jira
async def test_each_way_of_closing_the_gap_makes_it_one_line(
    driver: TrackerDriver, world: World, clock: Clock
) -> None:
    keys = {
        name: driver.add(f"Epic {name}")
        for name in ("line", "label", "rule", "hand", "waived", "done", "off")
    }
    await driver.sync()
    clock.advance(minutes=1)
    driver.describe(keys["line"], "Words.\n\nkey-result: kr-1")
    driver.label(keys["label"], "kr:KR-1")
    driver.finish(keys["done"])
    await world.send("POST", "/rules", {"name": "R", "when": {"title": "Epic rule"}, "key_result": "KR-1"})
    await world.send(
        "POST", "/links", {"epic": {"source": driver.kind, "key": keys["hand"]}, "key_result": "KR-1"}
    )
    (finding,) = (await driver.epic(keys["waived"]))["findings"]
    until = (clock().date()).isoformat()
    await world.send("POST", f"/findings/{finding['id']}/waive", {"reason": "agreed", "until": until})
    run = await driver.sync()
    assert run["writes"] == writes(resolved=3)  # line, label and done; the API's own runs wrote the others
    thanks = ["Aligned with KR-1 (Checkout conversion). Thank you."]
    lines = {name: driver.comments(key) for name, key in keys.items()}
    assert {name for name, message in lines.items() if message == thanks} == {"line", "label", "rule", "hand"}
    assert lines["waived"] == [f"Waived until {until}: agreed."]
    assert lines["done"] == ["No longer checked."]
    assert MISSING in lines["off"][0]
    for name in ("line", "label", "rule", "hand", "waived", "done"):
        notice = await driver.notice(keys[name])
        assert (notice["state"], notice["pending"]) == ("resolved", False)


@on_github
async def test_a_gap_that_returns_edits_the_same_comment(driver: TrackerDriver, clock: Clock) -> None:
    key = driver.add(description="Key-Result: KR-1")
    await driver.sync()
    assert driver.comments(key) == []
    seen: list[str] = []
    for text, message in (
        ("Words.", MISSING),
        ("Key-Result: KR-1", "Aligned with KR-1"),
        ("Words.", MISSING),
    ):
        clock.advance(minutes=1)
        driver.describe(key, text)
        await driver.sync()
        (comment,) = driver.comments(key)
        assert message in comment
        seen += driver.comment_ids(key)
    assert len(set(seen)) == 1


@on_jira
async def test_a_gap_that_returns_has_its_grace(driver: TrackerDriver, world: World, clock: Clock) -> None:
    key = driver.add()
    await driver.sync()
    await world.send("PATCH", "/policy", {"grace": "PT4H"})
    for text, hours, state in (
        ("Key-Result: KR-1", 1, "resolved"),
        ("Words.", 1, "resolved"),
        ("Words!", 4, "posted"),
    ):
        clock.advance(hours=hours)
        driver.describe(key, text)
        await driver.sync()
        assert (await driver.notice(key))["state"] == state
    assert MISSING in driver.comments(key)[0]


@both
async def test_titles_mention_nobody_on_the_ticket(driver: TrackerDriver, world: World) -> None:
    hostile = "@octocat fixes #12 in acme/shop#1, https://evil.example [~accountid:5b10] <b>[x](http://y)"
    await world.goal("KR-3", f"Checkout {hostile}", visibility="public")
    key = driver.add(f"Checkout {hostile}")
    await driver.sync()
    if isinstance(driver, JiraDriver):
        (comment,) = driver.site.issue(key).comments
        assert adf_problems(comment.body) == []
        assert "'mention'" not in str(comment.body)
        assert "evil.example [~accountid:5b10]" in driver.comments(key)[0]
        return
    (text,) = driver.comments(key)
    tokens = PARSER.parse(text)
    assert "octocat" in text
    assert not [run for run in plain_runs(tokens) if REFERENCE.search(run)]


PUBLIC_OR_NOT: list[tuple[str, str, Callable[[World], object]]] = [
    ("a private repository", "KR-2 (Checkout speed)", lambda world: None),
    (
        "a public repository",
        "KR-2",
        lambda world: setattr(world.host.repository("acme/shop"), "private", False),
    ),
]


@pytest.mark.parametrize(("place", "name", "make"), PUBLIC_OR_NOT, ids=[row[0] for row in PUBLIC_OR_NOT])
async def test_goals_are_named_as_the_place_allows(
    world: World, place: str, name: str, make: Callable[[World], object]
) -> None:
    make(world)
    driver = GitHubDriver(world)
    await world.goal("KR-1", "Checkout conversion", visibility="public")
    await world.goal("KR-2", "Checkout speed")
    await world.goal("KR-3", "Checkout takeover", visibility="confidential", public_label="Checkout plan")
    epics = [
        driver.add(title) for title in ("Checkout conversion", "Checkout speed", "Checkout takeover plan")
    ]
    linked = driver.add("Linked", description="Key-Result: KR-2")
    await driver.connect()
    await driver.sync()
    first, second, third = (driver.comments(epic)[0] for epic in epics)
    assert "KR-1 (Checkout conversion)" in first
    assert ("KR-2" in second) == (place == "a private repository")
    assert all(word not in third for word in ("KR-3", "takeover", "Checkout plan"))
    assert driver.comments(linked) == []
    key = epics[0]
    world.host.edit(key, body="Key-Result: KR-2")
    await driver.sync()
    assert driver.comments(key) == [f"Aligned with {name}. Thank you."]


@on_github
async def test_a_goal_that_becomes_confidential_is_taken_out_of_the_ticket(
    driver: TrackerDriver, world: World
) -> None:
    warned, linked = driver.add("Checkout"), driver.add("Linked")
    await driver.sync()
    driver.describe(linked, "Key-Result: KR-1")
    await driver.sync()
    assert all("Checkout conversion" in driver.comments(key)[0] for key in (warned, linked))
    await driver.set_mode("shadow")
    hidden = {"visibility": "confidential", "public_label": "Plan"}
    await world.send("PATCH", "/objectives/O-1", hidden)
    await world.drain()
    assert driver.comments(linked) == ["Aligned with KR-1 (Plan). Thank you."]
    assert "conversion" not in driver.comments(warned)[0]
    assert "conversion" not in (await driver.notice(warned))["body"]
