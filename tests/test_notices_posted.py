"""A warning on the ticket: posted once, edited for facts alone, one line when the gap is closed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.runtime import Runtime
from mappings.tables import Installation
from tests.conftest import Clock
from tests.sides import GitHubSide, JiraSide, Side, both, on_github, on_jira
from tests.test_markup import PARSER, REFERENCE, plain_runs
from tests.vendor_api import adf_problems
from tests.world import World

MISSING = "This epic is not linked to a key result."


def writes(**counts: int) -> dict[str, int]:
    none = dict.fromkeys(("pending", "posted", "edited", "resolved", "withdrawn", "held", "failed"), 0)
    return {**none, **counts}


@both
async def test_it_is_posted_once(side: Side) -> None:
    key = side.add("Checkout in one step")
    run = await side.sync()
    assert run["writes"] == writes(posted=1)
    (text,) = side.comments(key)
    assert MISSING in text
    assert "KR-1 (Checkout conversion): shares “checkout” with the title" in text
    notice = await side.notice(key)
    assert (notice["state"], notice["pending"], notice["run"]) == ("posted", False, run["id"])
    (comment,) = side.comment_ids(key)
    assert notice["url"].endswith(comment)
    side.tracker.log.clear()
    for mode in ("incremental", "full"):
        assert (await side.sync(mode))["writes"] == writes()
    assert side.tracker.log.count(side.creates) + side.tracker.log.count(side.edits) == 0


async def test_the_marker_names_installation_and_epic(world: World, runtime: Runtime) -> None:
    """On GitHub two lines above the text, on Jira a property of the comment, sent with it."""
    jira, github = JiraSide(world), GitHubSide(world)
    on_jira, on_github = jira.add(), github.add()
    for side in (jira, github):
        await side.connect()
        await side.sync()
    async with runtime.sessions() as session:
        uuid = (await session.get_one(Installation, 1)).uuid
    (comment,) = jira.site.issue(on_jira).comments
    assert comment.properties == {"northing": {"id": f"{uuid}/1"}}
    assert adf_problems(comment.body) == []
    (note,) = github.host.issue(on_github).comments
    assert note.body.splitlines()[:2] == ["<!-- northing:notice -->", f"<!-- northing:id {uuid}/2 -->"]
    assert (await github.notice(on_github))["body"] == note.body
    github.describe(on_github, "Key-Result: KR-9")
    await github.sync()
    assert note.body.splitlines()[:2] == ["<!-- northing:notice -->", f"<!-- northing:id {uuid}/2 -->"]


@on_github
async def test_words_edit_nothing_and_facts_do(side: Side, world: World, clock: Clock) -> None:
    key = side.add("Checkout in one step")
    await side.sync()
    (posted,) = side.comments(key)
    await world.send("PATCH", "/key-results/KR-1", {"title": "Checkout without tears"})
    await world.goal("KR-2", "Checkout errors")
    clock.advance(hours=1)
    side.describe(key, "Some words.")
    run = await side.sync()
    assert (run["writes"], side.comments(key)) == (writes(), [posted])

    clock.advance(hours=1)
    side.describe(key, "Some words.\n\nKey-Result: KR-99")
    before = side.comment_ids(key)
    run = await side.sync()
    assert run["writes"] == writes(edited=1)
    (edited,) = side.comments(key)
    assert "The ticket names " in edited
    assert "KR-99" in edited
    assert "KR-1 (Checkout without tears)" in edited
    assert side.comment_ids(key) == before


@on_jira
async def test_each_way_of_closing_the_gap_makes_it_one_line(side: Side, world: World, clock: Clock) -> None:
    keys = {
        name: side.add(f"Epic {name}") for name in ("line", "label", "rule", "hand", "waived", "done", "off")
    }
    await side.sync()
    clock.advance(minutes=1)
    side.describe(keys["line"], "Words.\n\nkey-result: kr-1")
    side.label(keys["label"], "kr:KR-1")
    side.finish(keys["done"])
    await world.send("POST", "/rules", {"name": "R", "when": {"title": "Epic rule"}, "key_result": "KR-1"})
    await world.send(
        "POST", "/links", {"epic": {"source": side.kind, "key": keys["hand"]}, "key_result": "KR-1"}
    )
    (finding,) = (await side.epic(keys["waived"]))["findings"]
    until = (clock().date()).isoformat()
    await world.send("POST", f"/findings/{finding['id']}/waive", {"reason": "agreed", "until": until})
    run = await side.sync()
    assert run["writes"]["resolved"] >= 3
    thanks = ["Aligned with KR-1 (Checkout conversion). Thank you."]
    lines = {name: side.comments(key) for name, key in keys.items()}
    assert {name for name, said in lines.items() if said == thanks} == {"line", "label", "rule", "hand"}
    assert lines["waived"] == [f"Waived until {until}: agreed."]
    assert lines["done"] == ["No longer checked."]
    assert MISSING in lines["off"][0]
    for name in ("line", "label", "rule", "hand", "waived", "done"):
        notice = await side.notice(keys[name])
        assert (notice["state"], notice["pending"]) == ("resolved", False)


@on_github
async def test_a_gap_that_returns_edits_the_same_comment(side: Side, clock: Clock) -> None:
    key = side.add(description="Key-Result: KR-1")
    await side.sync()
    assert side.comments(key) == []
    seen: list[str] = []
    for text, said in (("Words.", MISSING), ("Key-Result: KR-1", "Aligned with KR-1"), ("Words.", MISSING)):
        clock.advance(minutes=1)
        side.describe(key, text)
        await side.sync()
        (comment,) = side.comments(key)
        assert said in comment
        seen += side.comment_ids(key)
    assert len(set(seen)) == 1


@on_jira
async def test_a_gap_that_returns_has_its_grace(side: Side, world: World, clock: Clock) -> None:
    key = side.add()
    await side.sync()
    await world.send("PATCH", "/policy", {"grace": "PT4H"})
    for text, hours, state in (
        ("Key-Result: KR-1", 1, "resolved"),
        ("Words.", 1, "resolved"),
        ("Words!", 4, "posted"),
    ):
        clock.advance(hours=hours)
        side.describe(key, text)
        await side.sync()
        assert (await side.notice(key))["state"] == state
    assert MISSING in side.comments(key)[0]


@both
async def test_titles_mention_nobody_on_the_ticket(side: Side, world: World) -> None:
    hostile = "@octocat fixes #12 in acme/shop#1, https://evil.example [~accountid:5b10] <b>[x](http://y)"
    await world.goal("KR-3", f"Checkout {hostile}", visibility="public")
    key = side.add(f"Checkout {hostile}")
    await side.sync()
    if isinstance(side, JiraSide):
        (comment,) = side.site.issue(key).comments
        assert adf_problems(comment.body) == []
        assert "'mention'" not in str(comment.body)
        assert "evil.example [~accountid:5b10]" in side.comments(key)[0]
        return
    (text,) = side.comments(key)
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
    side = GitHubSide(world)
    await world.goal("KR-1", "Checkout conversion", visibility="public")
    await world.goal("KR-2", "Checkout speed")
    await world.goal("KR-3", "Checkout takeover", visibility="confidential", public_label="Checkout plan")
    key, linked = side.add("Checkout"), side.add("Linked", description="Key-Result: KR-2")
    await side.connect()
    await side.sync()
    (text,) = side.comments(key)
    assert "KR-1 (Checkout conversion)" in text
    assert "KR-3 (Checkout plan)" in text
    assert "takeover" not in text
    assert ("KR-2 (Checkout speed)" in text) == (place == "a private repository")
    assert side.comments(linked) == []
    world.host.edit(key, body="Key-Result: KR-2")
    await side.sync()
    assert side.comments(key) == [f"Aligned with {name}. Thank you."]


@on_github
async def test_a_goal_that_becomes_confidential_is_taken_out_of_the_ticket(side: Side, world: World) -> None:
    warned, linked = side.add("Checkout"), side.add("Linked")
    await side.sync()
    side.describe(linked, "Key-Result: KR-1")
    await side.sync()
    assert all("Checkout conversion" in side.comments(key)[0] for key in (warned, linked))
    await side.set_mode("shadow")
    hidden = {"visibility": "confidential", "public_label": "Plan"}
    await world.send("PATCH", "/objectives/O-1", hidden)
    await world.drain()
    assert side.comments(linked) == ["Aligned with KR-1 (Plan). Thank you."]
    assert "conversion" not in side.comments(warned)[0]
    assert "conversion" not in (await side.notice(warned))["body"]
