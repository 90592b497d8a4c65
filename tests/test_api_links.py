"""Links by hand: made, listed, taken back; a change is evaluated before the answer goes out."""

from __future__ import annotations

from typing import Any

from tests.support.clock import Clock
from tests.support.world import World


def link(key: str, key_result: str = "KR-1", **members: Any) -> dict[str, Any]:
    return {"epic": {"source": "jira", "key": key}, "key_result": key_result, **members}


async def _world(world: World, *titles: str) -> None:
    """Epics SHOP-1 and so on, KR-1 and KR-2 live, KR-3 missed, everything read and evaluated."""
    for title in titles or ("First", "Second"):
        world.site.create("SHOP", title)
    for number in (1, 2, 3):
        await world.goal(f"KR-{number}", f"Goal {number}")
    await world.send("PATCH", "/key-results/KR-3", {"state": "missed"})
    await world.connect_jira()
    await world.sync("jira")


async def test_a_link_is_evaluated_before_the_answer(world: World) -> None:
    await _world(world)
    assert (await world.epic("jira", "SHOP-1"))["alignment"] == "unaligned"
    made = await world.send("POST", "/links", link("shop-1", "kr-1"), expect=201)
    assert made == {
        "id": made["id"],
        "epic": {"source": "jira", "key": "SHOP-1"},
        "key_result": "KR-1",
        "origin": "manual",
        "weight": 1.0,
        "primary": True,
        "live": True,
        "why": "linked by hand through the API",
        "inherited_from": None,
    }
    epic = await world.epic("jira", "SHOP-1")
    assert (epic["alignment"], epic["links"]) == ("aligned", [made])
    assert [finding["state"] for finding in epic["findings"]] == ["resolved"]
    assert epic["notice"] is None
    answer = await world.api.delete(f"/api/v1/links/{made['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    epic = await world.epic("jira", "SHOP-1")
    assert (epic["alignment"], epic["links"]) == ("unaligned", [])
    (run, *_) = (await world.send("GET", "/runs"))["items"]
    assert (run["mode"], run["state"]) == ("evaluate", "succeeded")


async def test_a_link_that_stands_answers_200_with_it(world: World) -> None:
    await _world(world)
    made = await world.send("POST", "/links", link("SHOP-1", weight=2), expect=201)
    runs = await world.send("GET", "/runs")
    again = await world.send("POST", "/links", link("SHOP-1", "kr-1", weight=5, primary=True), expect=200)
    assert again == made
    assert await world.send("GET", "/runs") == runs


async def test_lists_show_goals_as_they_are_after_each_change(world: World) -> None:
    await _world(world)
    await world.send("POST", "/links", link("SHOP-1"), expect=201)

    async def shown() -> set[tuple[str, bool]]:
        (own,) = (await world.send("GET", "/links"))["items"]
        epics = (await world.send("GET", "/epics"))["items"]
        return {(one["key_result"], one["live"]) for one in (own, *epics[0]["links"])}

    assert await shown() == {("KR-1", True)}
    await world.send("PATCH", "/key-results/KR-1", {"state": "missed"})
    assert await shown() == {("KR-1", False)}


async def test_a_link_to_a_goal_that_is_not_live_does_not_align(world: World) -> None:
    await _world(world)
    made = await world.send("POST", "/links", link("SHOP-1", "KR-3"), expect=201)
    assert made["live"] is False
    epic = await world.epic("jira", "SHOP-1")
    assert epic["alignment"] == "unaligned"
    states = {finding["check"]: finding["state"] for finding in epic["findings"]}
    assert states == {"no-key-result": "resolved", "closed-goal": "open"}


async def test_the_primary_link_is_the_one_marked_so_else_the_oldest(world: World) -> None:
    await _world(world)
    first = await world.send("POST", "/links", link("SHOP-1", "KR-1"))
    second = await world.send("POST", "/links", link("SHOP-1", "KR-2"))

    async def primary() -> list[int]:
        return [one["id"] for one in (await world.epic("jira", "SHOP-1"))["links"] if one["primary"]]

    assert await primary() == [first["id"]]
    third = await world.send("POST", "/links", link("SHOP-1", "KR-3", primary=True))
    assert (third["primary"], await primary()) == (True, [third["id"]])
    await world.send("DELETE", f"/links/{third['id']}")
    assert await primary() == [first["id"]]
    await world.send("DELETE", f"/links/{first['id']}")
    assert await primary() == [second["id"]]


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"key_result": "KR-1"}, "epic", "required"),
    ({"epic": {"source": "jira", "key": "SHOP-1"}}, "key_result", "required"),
    (link("SHOP-404"), "epic.key", "jira has no epic 'SHOP-404'; sync it first"),
    ({"epic": {"source": "none", "key": "SHOP-1"}, "key_result": "KR-1"}, "epic.source", "no source 'none'"),
    (link("SHOP-1", "KR-404"), "key_result", "there is no key result 'KR-404'; GET /api/v1/key-results"),
    (link("SHOP-1", "not a key"), "key_result", "letters"),
    (link("SHOP-1", weight=0), "weight", "greater than 0"),
    (link("SHOP-1", weight=1001), "weight", "less than or equal to 1000"),
    (link("SHOP-1", weight="heavy"), "weight", "number"),
    (link("SHOP-1", origin="rule"), "origin", "is not known here"),
    ({"epic": {"source": "jira", "key": "SHOP-1", "id": 1}, "key_result": "KR-1"}, "epic.id", "is not known"),
    (link("SHOP\0-1"), "epic.key", "U+0000"),
    (link(""), "epic.key", "jira has no epic"),
]


async def test_wrong_links_name_the_field_and_the_way_out(world: World) -> None:
    await _world(world)
    for body, field, message in WRONG:
        errors = await world.refused("POST", "/links", body)
        assert errors.keys() == {field}, (body, errors)
        assert message in errors[field], (body, errors)
    assert (await world.send("GET", "/links"))["items"] == []


async def test_an_epic_that_has_left_cannot_be_linked(world: World) -> None:
    await _world(world)
    made = await world.send("POST", "/links", link("SHOP-1"))
    world.site.delete("SHOP-1")
    await world.sync("jira", "full")
    errors = await world.refused("POST", "/links", link("SHOP-1", "KR-2"))
    assert errors["epic.key"].startswith("SHOP-1 was deleted in the tracker, or is no longer visible")
    assert (await world.send("GET", "/links"))["items"] == []
    await world.send("DELETE", f"/links/{made['id']}")


async def test_derived_links_say_where_to_change_them(world: World, clock: Clock) -> None:
    await _world(world, "Checkout", "Named", "Labelled")
    rule = await world.send(
        "POST", "/rules", {"name": "R", "when": {"title": "Checkout"}, "key_result": "KR-1"}
    )
    clock.advance(minutes=1)
    world.site.edit("SHOP-2", description="Key-Result: KR-1")
    world.site.edit("SHOP-3", labels=["kr:KR-1"])
    await world.sync("jira")
    links = {one["epic"]["key"]: one for one in (await world.send("GET", "/links"))["items"]}
    assert {key: one["origin"] for key, one in links.items()} == {
        "SHOP-1": "rule",
        "SHOP-2": "ticket",
        "SHOP-3": "ticket",
    }
    assert links["SHOP-1"]["why"] == "rule 'R' matches: title matches Checkout"
    assert links["SHOP-2"]["why"] == "the description says `Key-Result: KR-1`"
    assert links["SHOP-3"]["why"] == "the ticket has the label `kr:KR-1`"
    for key, way_out in (
        ("SHOP-1", f"/api/v1/rules/{rule['id']}"),
        ("SHOP-2", "`Key-Result:` line"),
        ("SHOP-3", "label"),
    ):
        problem = await world.send("DELETE", f"/links/{links[key]['id']}", expect=409)
        assert way_out in problem["detail"]
    assert len((await world.send("GET", "/links"))["items"]) == 3


async def test_links_by_hand_and_by_ticket_hold_together(world: World, clock: Clock) -> None:
    await _world(world)
    await world.send("POST", "/links", link("SHOP-1", "KR-1"))
    clock.advance(minutes=1)
    world.site.edit("SHOP-1", description="Key-Result: KR-1, KR-2")
    await world.sync("jira")
    shown = [(one["origin"], one["key_result"]) for one in (await world.epic("jira", "SHOP-1"))["links"]]
    assert shown == [("manual", "KR-1"), ("ticket", "KR-1"), ("ticket", "KR-2")]


async def test_lists_are_filtered_and_walked(world: World) -> None:
    await _world(world)
    for key, goal in (("SHOP-1", "KR-1"), ("SHOP-1", "KR-2"), ("SHOP-2", "KR-1")):
        await world.send("POST", "/links", link(key, goal))

    async def listed(query: str) -> list[tuple[str, str]]:
        items = (await world.send("GET", f"/links?{query}"))["items"]
        return [(one["epic"]["key"], one["key_result"]) for one in items]

    assert await listed("epic_source=JIRA") == [("SHOP-1", "KR-1"), ("SHOP-1", "KR-2"), ("SHOP-2", "KR-1")]
    assert await listed("epic_source=jira&epic_key=shop-1") == [("SHOP-1", "KR-1"), ("SHOP-1", "KR-2")]
    assert await listed("key_result=kr-1") == [("SHOP-1", "KR-1"), ("SHOP-2", "KR-1")]
    assert await listed("epic_source=jira&epic_key=SHOP-404") == []
    first = await world.send("GET", "/links?key_result=KR-1&limit=1")
    rest = await world.send("GET", f"/links?cursor={first['next']}&limit=1")
    assert [one["epic"]["key"] for one in first["items"] + rest["items"]] == ["SHOP-1", "SHOP-2"]
    assert rest["next"] is None
    assert (first["items"][0]["primary"], rest["items"][0]["primary"]) == (True, True)


async def test_a_former_key_will_do(world: World, clock: Clock) -> None:
    await _world(world)
    world.site.add_project("CORE", "Core")
    clock.advance(minutes=1)
    world.site.move("SHOP-1", "CORE")
    await world.sync("jira")
    made = await world.send("POST", "/links", link("shop-1"))
    assert made["epic"]["key"] == "CORE-1"
    assert len((await world.send("GET", "/links?epic_source=jira&epic_key=SHOP-1"))["items"]) == 1
