"""The preview of a rule: what it matches, what changes, which comments come; and nothing is stored."""

from __future__ import annotations

from typing import Any

from sqlalchemy import update

from app.runtime import Runtime
from mappings.locks import lock_goals_exclusive
from mappings.tables import EpicRow
from tests.support.queries import every_row
from tests.support.tracker_drivers import TrackerDriver, both, on_jira
from tests.support.world import World

RULE: dict[str, Any] = {"when": {"label": ["growth*"]}, "key_result": "KR-1"}
NO_NOTICES = dict.fromkeys(("posted", "held", "shadow", "edited", "resolved", "spared"), 0)


async def _epics(world: World, *labels: list[str], live: bool = False) -> None:
    """SHOP-1, SHOP-2 and so on, each with these labels."""
    for number, names in enumerate(labels, 1):
        world.site.create("SHOP", f"Epic {number}", labels=names)
    await world.goal("KR-1")
    await world.goal("KR-2")
    await world.no_grace()
    await world.connect_jira()
    await world.sync("jira", "full")
    if live:
        await world.send("PATCH", "/sources/jira", {"notices": {"mode": "live"}})
        await world.drain()


async def _preview(world: World, query: str = "", **changes: Any) -> Any:
    return await world.send("POST", f"/rules/preview{query}", {**RULE, **changes})


def _changes(preview: Any) -> dict[str, tuple[list[str], list[str]]]:
    """By epic, the key results now and then."""
    return {
        item["epic"]["key"]: (
            [link["key_result"] for link in item["now"]],
            [link["key_result"] for link in item["then"]],
        )
        for item in preview["items"]
    }


async def test_it_shows_every_match_with_its_links_now_and_then(world: World, runtime: Runtime) -> None:
    await _epics(world, ["growth-1"], ["growth-2", "kr:kr-2"], ["infra"])
    before = await every_row(runtime)
    shown = await _preview(world)
    assert await every_row(runtime) == before, "nothing is stored"
    assert (shown["matches"], shown["changes"], shown["next"]) == (2, 1, None)
    assert _changes(shown) == {"SHOP-1": ([], ["KR-1"]), "SHOP-2": (["KR-2"], ["KR-2"])}
    assert shown["items"][0]["then"] == [
        {"key_result": "KR-1", "origin": "rule", "live": True, "rule": "this rule"}
    ]
    assert shown["items"][1]["now"] == [
        {"key_result": "KR-2", "origin": "ticket", "live": True, "rule": None}
    ]
    assert (shown["would_post"], shown["warnings"], shown["overlaps"]) == (0, [], [])
    assert shown["notices"] == {**NO_NOTICES, "spared": 1}


async def test_saving_it_does_what_it_said(world: World) -> None:
    await _epics(world, ["growth-1"], ["growth-2"], ["infra"], live=True)
    shown = await _preview(world)
    assert shown["notices"] == {**NO_NOTICES, "resolved": 2}
    rule = await world.send("POST", "/rules", {**RULE, "name": "Growth"})
    await world.drain()
    posted = await world.send("GET", "/notices?state=posted")
    resolved = await world.send("GET", "/notices?state=resolved")
    assert (len(posted["items"]), len(resolved["items"])) == (1, 2), "as it said"
    shown = await _preview(world, id=rule["id"], enabled=False)
    assert _changes(shown) == {"SHOP-1": (["KR-1"], []), "SHOP-2": (["KR-1"], [])}
    assert (shown["matches"], shown["changes"], shown["would_post"]) == (2, 2, 0)
    assert shown["notices"] == {**NO_NOTICES, "edited": 2}


async def test_new_comments_are_counted_by_what_becomes_of_them(world: World) -> None:
    """Epics that a rule alone keeps from a comment: at once, after a grace, or in shadow."""
    await _epics(world, ["growth-1"], ["growth-2"], ["infra"])
    rule = await world.send("POST", "/rules", {**RULE, "when": {"all": []}, "name": "Growth"})
    await world.drain()
    away = {"id": rule["id"], "when": {"label": "infra"}}
    assert (await _preview(world, **away))["notices"] == {**NO_NOTICES, "shadow": 2}
    await world.send("PATCH", "/sources/jira", {"notices": {"mode": "live"}})
    await world.drain()
    shown = await _preview(world, **away)
    assert _changes(shown) == {
        "SHOP-1": (["KR-1"], []),
        "SHOP-2": (["KR-1"], []),
        "SHOP-3": (["KR-1"], ["KR-1"]),
    }
    assert (shown["matches"], shown["changes"], shown["would_post"]) == (1, 2, 2)
    assert shown["notices"] == {**NO_NOTICES, "posted": 2}
    await world.send("PATCH", "/policy", {"grace": "P5D"})
    assert (await _preview(world, **away))["notices"] == {**NO_NOTICES, "held": 2}
    await world.send("PATCH", "/policy", {"grace": "PT0S"})
    await world.drain()
    await world.send("PATCH", f"/rules/{rule['id']}", {"when": {"label": "infra"}})
    await world.drain()
    assert len((await world.send("GET", "/notices?state=posted"))["items"]) == 2, "as it said"


@both
async def test_what_epics_below_would_inherit_is_counted(world: World, driver: TrackerDriver) -> None:
    await world.goal("KR-2")
    top, middle, low, linked, aside = (driver.add(f"{name} epic") for name in ("Top", "a", "b", "c", "d"))
    for key, parent in ((middle, top), (low, middle), (linked, top)):
        driver.put_below(key, parent)
    driver.describe(linked, "Key-Result: KR-2")
    await driver.sync("full")
    rule: dict[str, Any] = {"when": {"title": "Top"}, "key_result": "KR-1"}
    shown = await _preview(world, **rule)
    assert _changes(shown) == {top: ([], ["KR-1"])}
    assert (shown["matches"], shown["changes"], shown["below"]) == (1, 3, 2)
    assert shown["notices"] == {**NO_NOTICES, "resolved": 3}
    made = await world.send("POST", "/rules", {**rule, "name": "Top"})
    await world.drain()
    resolved = {
        notice["epic"]["key"] for notice in (await world.send("GET", "/notices?state=resolved"))["items"]
    }
    assert resolved == {top, middle, low}, "as it said"
    away = await _preview(world, id=made["id"], **{**rule, "when": {"title": "d epic"}})
    assert _changes(away) == {top: (["KR-1"], []), aside: ([], ["KR-1"])}
    assert (away["matches"], away["changes"], away["below"]) == (1, 4, 2)
    assert away["notices"] == {**NO_NOTICES, "edited": 3, "resolved": 1}
    assert (await _preview(world, id=made["id"], **{**rule, "priority": 5}))["changes"] == 0


@on_jira
async def test_what_it_matches_may_inherit_too(world: World, driver: TrackerDriver) -> None:
    """Where a rule before it links an epic to a key result that is over, the epic asks those above it."""
    await world.goal("KR-2")
    top, low = driver.add("Epic, top"), driver.add("Epic, low")
    driver.put_below(low, top)
    await driver.sync("full")
    before = {"name": "Low", "when": {"title": "low"}, "key_result": "KR-2", "priority": 1}
    await world.send("POST", "/rules", before)
    await world.send("PATCH", "/key-results/KR-2", {"state": "missed"})
    await world.drain()
    shown = await _preview(world, when={"title": "Epic"})
    assert _changes(shown) == {top: ([], ["KR-1"]), low: (["KR-2"], ["KR-2", "KR-1"])}
    assert (shown["matches"], shown["changes"], shown["below"]) == (2, 2, 1)
    assert shown["notices"] == {**NO_NOTICES, "resolved": 2}
    assert [link["rule"] for link in shown["items"][1]["then"]] == ["Low", "this rule"]


async def test_it_comes_in_pages_that_keep_the_counts(world: World) -> None:
    await _epics(world, *[["growth"]] * 5, ["infra"])
    whole = await _preview(world)
    pages, cursor = [], ""
    while cursor is not None:
        pages.append(await _preview(world, f"?limit=2{cursor and f'&cursor={cursor}'}"))
        cursor = pages[-1]["next"]
    assert [len(page["items"]) for page in pages] == [2, 2, 1]
    assert [item for page in pages for item in page["items"]] == whole["items"]
    for page in pages:
        assert {name: page[name] for name in ("matches", "changes", "would_post", "notices")} == {
            name: whole[name] for name in ("matches", "changes", "would_post", "notices")
        }
    other = await world.refused("POST", f"/rules/preview?cursor={pages[0]['next']}", {**RULE, "priority": 1})
    assert "other filters" in other["cursor"]
    exact = await _preview(world, "?limit=5")
    assert (len(exact["items"]), exact["next"]) == (5, None)


def _said(preview: Any) -> list[tuple[str, str]]:
    return [(warning["field"], warning["message"]) for warning in preview["warnings"]]


async def test_it_warns_of_what_a_person_would_want_to_know_first(world: World) -> None:
    await _epics(world, ["growth", "kr:kr-2"], ["growth", "kr:kr-2"], ["infra"])
    otherwise = "every epic it matches is linked otherwise, so it changes nothing"
    assert _said(await _preview(world)) == [("when", otherwise)]
    assert _said(await _preview(world, enabled=False)) == [("enabled", "it is disabled, so it links nothing")]
    assert _said(await _preview(world, when={"label": "grwth"})) == [
        ("when", "matches no epic"),
        ("when.label", "no epic of any source has the label 'grwth'"),
    ]
    await world.send("PATCH", "/key-results/KR-1", {"state": "missed"})
    closed = ("key_result", "a link to KR-1 aligns no epic: it is missed")
    assert _said(await _preview(world))[0] == closed


async def test_rules_that_match_the_same_epics_are_named(world: World) -> None:
    await _epics(world, ["growth", "a"], ["growth", "a"], ["growth", "b"], ["growth"])
    first = await world.send("POST", "/rules", {"name": "A", "when": {"label": "a"}, "key_result": "KR-2"})
    last = await world.send(
        "POST", "/rules", {"name": "B", "when": {"label": ["b", "a"]}, "key_result": "KR-2", "priority": 200}
    )
    await world.drain()
    shown = await _preview(world)
    overlaps = [
        {"rule": first["id"], "name": "A", "epics": 2, "wins": 0},
        {"rule": last["id"], "name": "B", "epics": 3, "wins": 1},
    ]
    assert sorted(shown["overlaps"], key=lambda one: one["rule"]) == overlaps
    assert _said(shown) == [
        ("priority", "rule 'A' before it takes 2 of 4"),
        ("priority", "takes 1 from rule 'B', which links it now"),
    ]
    assert (shown["matches"], shown["changes"]) == (4, 2)
    saved = await world.send("POST", "/rules", {**RULE, "name": "Growth"})
    of_saved = (await world.send("GET", f"/rules/{saved['id']}"))["overlaps"]
    assert sorted(of_saved, key=lambda one: one["rule"]) == overlaps
    (of_last,) = [
        one
        for one in (await world.send("GET", f"/rules/{first['id']}"))["overlaps"]
        if one["rule"] == last["id"]
    ]
    assert of_last == {"rule": last["id"], "name": "B", "epics": 2, "wins": 2}
    await world.send("PATCH", f"/rules/{last['id']}", {"enabled": False})
    assert [one["name"] for one in (await _preview(world))["overlaps"]] == ["Growth", "A"]


async def test_what_saving_refuses_the_preview_refuses(world: World) -> None:
    await _epics(world, ["growth"])
    rule = await world.send("POST", "/rules", {**RULE, "name": "Growth"})
    for change, field, message in (
        ({"when": {}}, "when", "give"),
        ({"key_result": "KR-404"}, "key_result", "there is no key result"),
        ({"priority": 2**31}, "priority", "less than"),
        ({"id": 404}, "id", "there is no rule 404"),
        ({"id": True}, "id", "integer"),
        ({"colour": "red"}, "colour", "is not known here"),
    ):
        errors = await world.refused("POST", "/rules/preview", {**RULE, **change})
        assert errors.keys() == {field}, (change, errors)
        assert message in errors[field], (change, errors)
    for missing in RULE:
        body = {name: value for name, value in RULE.items() if name != missing}
        assert await world.refused("POST", "/rules/preview", body) == {missing: "Field required"}
    await world.send("POST", "/rules/preview", {**RULE, "name": "GROWTH"}, expect=409)
    await _preview(world, name="GROWTH", id=rule["id"])


async def test_it_waits_for_no_change_and_no_evaluation(world: World, runtime: Runtime) -> None:
    """Its answer is that of one moment, and what changes goals or evaluates epics goes on beside it."""
    await _epics(world, ["growth"])
    async with runtime.sessions.begin() as changing:
        await lock_goals_exclusive(changing)
        await changing.execute(update(EpicRow).values(title="Locked"))
        shown = await _preview(world)
    assert (shown["matches"], shown["changes"]) == (1, 1)


async def test_it_goes_over_all_sources_and_over_none(world: World) -> None:
    await world.goal("KR-1")
    assert (await _preview(world))["matches"] == 0, "nothing is connected yet"
    world.site.create("SHOP", "One", labels=["growth"])
    world.host.create("acme/shop", "Two", labels=["epic", "growth"])
    world.host.create("acme/shop", "Three", labels=["epic"])
    await world.connect_github(scope={"repositories": ["acme/shop"]}, epics={"labels": ["epic"]})
    await world.connect_jira()
    for source in ("github", "jira"):
        await world.sync(source, "full")
    names = [tuple(item["epic"].values()) for item in (await _preview(world))["items"]]
    assert names == [("github", "acme/shop#1"), ("jira", "SHOP-1")]
    of_one = await _preview(world, when={"all": [{"label": "growth"}, {"source": "jira"}]})
    assert [item["epic"]["key"] for item in of_one["items"]] == ["SHOP-1"]
