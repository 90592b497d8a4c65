"""Rules through the API: what is taken and refused, and which epics they then link."""

from __future__ import annotations

from typing import Any

from tests.support.clock import Clock
from tests.support.world import World

RULE: dict[str, Any] = {"name": "Checkout work", "when": {"title": "(?i)checkout"}, "key_result": "KR-1"}


async def _epics(world: World, *titles: str) -> None:
    for title in titles:
        world.site.create("SHOP", title)
    await world.connect_jira()
    await world.sync("jira")


async def _links(world: World, key: str) -> list[tuple[str, str]]:
    await world.drain()
    return [(link["origin"], link["key_result"]) for link in (await world.epic("jira", key))["links"]]


async def test_a_rule_there_and_back(world: World) -> None:
    await world.goal("KR-1")
    await world.goal("KR-2")
    made = await world.send("POST", "/rules", {**RULE, "key_result": "kr-1"})
    assert made == {
        "id": made["id"],
        "name": "Checkout work",
        "when": {"title": "(?i)checkout"},
        "says": "title matches (?i)checkout",
        "key_result": "KR-1",
        "priority": 100,
        "enabled": True,
        "matches": 0,
        "last_matched_at": None,
        "unmatched_since": made["unmatched_since"],
        "warnings": [],
    }
    assert await world.send("GET", f"/rules/{made['id']}") == {**made, "overlaps": []}
    path = f"/rules/{made['id']}"
    changed = await world.send("PATCH", path, {"priority": 5, "key_result": "KR-2", "enabled": False})
    assert changed == {
        **made,
        "priority": 5,
        "key_result": "KR-2",
        "enabled": False,
        "unmatched_since": None,
    }
    whole = {"any": [{"label": ["growth*"]}, {"not": {"project": "SHOP"}}]}
    assert (await world.send("PATCH", path, {"when": whole}))["when"] == whole
    other = await world.send("POST", "/rules", {**RULE, "name": "Other"})
    assert [rule["id"] for rule in (await world.send("GET", "/rules"))["items"]] == [made["id"], other["id"]]
    for query, found in (("enabled=true", other), ("enabled=false", made), ("key_result=kr-1", other)):
        listed = (await world.send("GET", f"/rules?{query}"))["items"]
        assert [rule["id"] for rule in listed] == [found["id"]], query
    await world.send("DELETE", path)
    await world.refused("GET", path, status=404)
    await world.refused("DELETE", path, status=404)


async def test_a_name_is_taken_in_any_case(world: World) -> None:
    await world.goal("KR-1")
    first = await world.send("POST", "/rules", RULE)
    second = await world.send("POST", "/rules", {**RULE, "name": "Other"})
    problem = await world.send("POST", "/rules", {**RULE, "name": "CHECKOUT work"}, expect=409)
    assert "is taken" in problem["detail"]
    await world.send("PATCH", f"/rules/{second['id']}", {"name": "checkout WORK"}, expect=409)
    await world.send("PATCH", f"/rules/{first['id']}", {"name": "CHECKOUT work"})


DEEP: dict[str, Any] = {"project": ["SHOP"]}
for _ in range(9):
    DEEP = {"not": DEEP}
WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"name": ""}, "name", "at least 1"),
    ({"name": "  "}, "name", "at least 1"),
    ({"key_result": "KR-404"}, "key_result", "there is no key result 'KR-404'"),
    ({"key_result": None}, "key_result", "string"),
    ({"priority": 2**31}, "priority", "less than"),
    ({"priority": "high"}, "priority", "integer"),
    ({"colour": "red"}, "colour", "is not known here"),
    ({"when": {}}, "when", "give"),
    ({"when": []}, "when", "dictionary"),
    ({"when": {"colour": ["red"]}}, "when", "there is no test 'colour'"),
    ({"when": {"label": ["a"], "project": ["B"]}}, "when", "join several tests"),
    ({"when": {"label": []}}, "when.label", "empty list"),
    ({"when": {"label": [7]}}, "when.label[0]", "must be text"),
    ({"when": {"title": "("}}, "when.title", "missing )"),
    ({"when": {"title": "(?=ahead)"}}, "when.title", "no look-around"),
    ({"when": {"title": "x" * 501}}, "when.title", "500"),
    ({"when": {"all": [{"project": ["A"]}, {"any": {"project": ["B"]}}]}}, "when.all[1].any", "list"),
    ({"when": {"not": [{"project": ["A"]}]}}, "when.not", "one object"),
    ({"when": {"field": {"name": "customfield_1"}}}, "when.field", "must be"),
    ({"when": {"field": {"name": "customfield_1", "is": ["x"]}}}, "when", "no source reads"),
    ({"when": {"any": [{"label": ["x"]}] * 101}}, "when.any[100]", "more than 100 tests"),
    ({"when": DEEP}, f"when{'.not' * 9}", "8 deep"),
]


async def test_wrong_rules_name_the_place_and_the_way_out(world: World) -> None:
    await world.goal("KR-1")
    for change, field, message in WRONG:
        errors = await world.refused("POST", "/rules", {**RULE, **change})
        assert errors.keys() == {field}, (change, errors)
        assert message in errors[field], (change, errors)
    assert (await world.send("GET", "/rules"))["items"] == []
    made = await world.send("POST", "/rules", RULE)
    for change, field, _ in WRONG:
        errors = await world.refused("PATCH", f"/rules/{made['id']}", change)
        assert errors.keys() == {field}, (change, errors)
    assert await world.send("GET", f"/rules/{made['id']}") == {**made, "overlaps": []}


async def test_a_field_must_be_read_by_a_source(world: World) -> None:
    await world.goal("KR-1")
    world.site.create("SHOP", "An epic", custom={"customfield_10020": {"value": "Growth"}})
    await world.connect_jira()
    when = {"field": {"name": "customfield_10020", "is": ["growth"]}}
    assert "no source reads" in (await world.refused("POST", "/rules", {**RULE, "when": when}))["when"]
    await world.send("PATCH", "/sources/jira", {"epics": {"fields": ["customfield_10020"]}})
    await world.sync("jira")
    await world.send("POST", "/rules", {**RULE, "when": when})
    assert await _links(world, "SHOP-1") == [("rule", "KR-1")]


async def test_a_stale_version_is_412(world: World) -> None:
    await world.goal("KR-1")
    made = await world.api.post("/api/v1/rules", json=RULE)
    path, tag = f"/api/v1/rules/{made.json()['id']}", made.headers["etag"]
    first = await world.api.patch(path, json={"priority": 1}, headers={"If-Match": tag})
    assert (first.status_code, first.headers["etag"] != tag) == (200, True)
    assert (await world.api.patch(path, json={"priority": 2}, headers={"If-Match": tag})).status_code == 412
    assert (await world.api.get(path)).json()["priority"] == 1


# --- what they link ---------------------------------------------------------------------------


async def test_the_lowest_priority_then_the_oldest_gives_the_one_link(world: World) -> None:
    for number in (1, 2, 3):
        await world.goal(f"KR-{number}")
    await _epics(world, "Checkout", "Search")
    late = await world.send("POST", "/rules", {**RULE, "priority": 9})
    assert await _links(world, "SHOP-1") == [("rule", "KR-1")]
    await world.send("POST", "/rules", {**RULE, "name": "Same", "key_result": "KR-2", "priority": 9})
    assert await _links(world, "SHOP-1") == [("rule", "KR-1")]
    first = await world.send(
        "POST", "/rules", {"name": "First", "when": {"all": []}, "key_result": "KR-3", "priority": -1}
    )
    assert await _links(world, "SHOP-1") == await _links(world, "SHOP-2") == [("rule", "KR-3")]
    await world.send("PATCH", f"/rules/{first['id']}", {"enabled": False})
    assert (await _links(world, "SHOP-1"), await _links(world, "SHOP-2")) == ([("rule", "KR-1")], [])
    await world.send("DELETE", f"/rules/{late['id']}")
    assert await _links(world, "SHOP-1") == [("rule", "KR-2")]


async def test_rules_are_asked_only_where_nothing_else_holds(world: World, clock: Clock) -> None:
    await world.goal("KR-1")
    await world.goal("KR-2")
    await _epics(world, "Checkout")
    await world.send("POST", "/rules", RULE)
    assert await _links(world, "SHOP-1") == [("rule", "KR-1")]
    clock.advance(minutes=1)
    world.site.edit("SHOP-1", labels=["kr:kr-2"])
    await world.sync("jira")
    assert await _links(world, "SHOP-1") == [("ticket", "KR-2")]
    await world.send("PATCH", "/key-results/KR-2", {"state": "missed"})
    assert sorted(await _links(world, "SHOP-1")) == [("rule", "KR-1"), ("ticket", "KR-2")]
    shown = {link["key_result"]: link["live"] for link in (await world.epic("jira", "SHOP-1"))["links"]}
    assert shown == {"KR-1": True, "KR-2": False}
    assert (await world.epic("jira", "SHOP-1"))["alignment"] == "aligned"


async def test_a_renamed_rule_is_named_anew_in_its_links(world: World) -> None:
    await world.goal("KR-1")
    await _epics(world, "Checkout")
    made = await world.send("POST", "/rules", RULE)
    await world.drain()
    await world.send("PATCH", f"/rules/{made['id']}", {"name": "Other name"})
    await world.drain()
    (link,) = (await world.epic("jira", "SHOP-1"))["links"]
    assert link["why"].startswith("rule 'Other name' matches: title")
