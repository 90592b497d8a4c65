"""Epics through the API: found by any key they ever had, listed by what they are, explained in words."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from tests.support.clock import Clock
from tests.support.world import World, epic_path


async def _world(world: World) -> None:
    """In Jira an epic that names KR-1 and one that names nothing that exists; on GitHub one that is done."""
    await world.goal("KR-1", "Checkout conversion")
    world.site.create("SHOP", "Checkout in one step", description="Key-Result: KR-1", labels=["growth"])
    world.site.create("SHOP", "100% of the _cart_", description="Key-Result: KR-99")
    world.host.create("acme/shop", "Dark mode", labels=["epic"], state="closed")
    await world.connect_jira()
    await world.connect_github(scope={"repositories": ["acme/shop"]})
    for source in ("jira", "github"):
        await world.sync(source)


async def test_an_epic_shows_what_it_is_and_where_it_stands(world: World, clock: Clock) -> None:
    await _world(world)
    epic = await world.epic("jira", "SHOP-1")
    issue = world.site.issue("SHOP-1")
    assert {name: epic[name] for name in ("source", "key", "id", "title", "project", "labels")} == {
        "source": "jira",
        "key": "SHOP-1",
        "id": issue.id,
        "title": "Checkout in one step",
        "project": "SHOP",
        "labels": ["growth"],
    }
    assert epic["url"] == f"{world.jira_url}/browse/SHOP-1"
    assert (epic["status"], epic["status_category"], epic["alignment"]) == ("To Do", "todo", "aligned")
    assert [link["key_result"] for link in epic["links"]] == ["KR-1"]
    assert (epic["findings"], epic["notice"]) == ([], None)
    assert datetime.fromisoformat(epic["updated_at"]) == issue.updated
    done = await world.epic("github", "acme/shop#1")
    assert (done["status_category"], done["alignment"]) == ("done", "exempt")


PATHS = [
    "/api/v1/epics/jira/SHOP-1",
    "/api/v1/epics/JIRA/shop-1",
    "/api/v1/epics?source=jira&key=SHOP-1",
    "/api/v1/epics?source=Jira&key=shop-1",
]
GITHUB_PATHS = [
    "/api/v1/epics/github/acme%2Fshop%231",
    "/api/v1/epics/github/acme/shop%231",
    "/api/v1/epics/GitHub/ACME%2FShop%231",
    "/api/v1/epics?source=github&key=acme/shop%231",
]


async def test_a_key_in_any_case_and_spelling(world: World) -> None:
    await _world(world)
    for source, key, paths in (("jira", "SHOP-1", PATHS), ("github", "acme/shop#1", GITHUB_PATHS)):
        epic = await world.epic(source, key)
        assert (epic["source"], epic["key"]) == (source, key)
        for path in paths:
            answer = await world.api.get(path)
            assert answer.status_code == 200, (path, answer.text)
            body = answer.json()
            assert body.get("items", [body]) == [epic], path
    assert epic_path("github", "acme/shop#1") == GITHUB_PATHS[0]
    for other in ("label=growth", "steered=false", "sort=title"):
        refused = await world.refused("GET", f"/epics?source=jira&key=SHOP-1&{other}")
        assert refused == {other.partition("=")[0]: "cannot be sent with key, which names one epic"}


async def test_by_a_former_key_with_its_present_one(world: World, clock: Clock) -> None:
    await _world(world)
    world.site.add_project("CORE", "Core")
    for project in ("CORE", "SHOP"):
        clock.advance(minutes=1)
        world.site.move("SHOP-1", project)
        await world.sync("jira")
    for key in ("shop-1", "Core-1", "SHOP-3"):
        assert (await world.epic("jira", key))["key"] == "SHOP-3"


async def test_an_epic_that_has_left_says_which_and_since_when(world: World, clock: Clock) -> None:
    await _world(world)
    clock.advance(minutes=1)
    world.site.edit("SHOP-1", type=world.site.type_named("Story"))
    world.site.delete("SHOP-2")
    await world.sync("jira", "full")
    for key, why in (
        ("SHOP-1", "no longer fits the source's selector"),
        ("SHOP-2", "was deleted in the tracker"),
    ):
        for path in (epic_path("jira", key), f"/api/v1/epics?source=jira&key={key}"):
            answer = await world.api.get(path)
            assert answer.status_code == 404
            assert why in answer.json()["detail"]
            assert f"{clock():%Y-%m-%d %H:%M} UTC" in answer.json()["detail"]
    assert [one["key"] for one in (await world.send("GET", "/epics"))["items"]] == ["acme/shop#1"]
    assert (await world.send("GET", "/findings"))["items"] == []
    unknown = await world.api.get(epic_path("jira", "SHOP-404"))
    assert (unknown.status_code, "SHOP-404" in unknown.json()["detail"]) == (404, True)


FILTERS: list[tuple[str, list[str]]] = [
    ("", ["SHOP-1", "SHOP-2", "acme/shop#1"]),
    ("source=JIRA", ["SHOP-1", "SHOP-2"]),
    ("alignment=aligned", ["SHOP-1"]),
    ("alignment=unaligned", ["SHOP-2"]),
    ("alignment=exempt", ["acme/shop#1"]),
    ("alignment=waived", []),
    ("key_result=kr-1", ["SHOP-1"]),
    ("project=shop", ["SHOP-1", "SHOP-2"]),
    ("project=ACME/shop", ["acme/shop#1"]),
    ("q=CHECKOUT", ["SHOP-1"]),
    ("q=shop%23", ["acme/shop#1"]),
    ("q=100%25", ["SHOP-2"]),
    ("q=%25", ["SHOP-2"]),
    ("q=_", ["SHOP-2"]),
    ("q=nothing", []),
    ("source=jira&alignment=aligned&project=SHOP&key_result=KR-1&q=step", ["SHOP-1"]),
]


async def test_lists_hold_what_fits_all_filters(world: World) -> None:
    await _world(world)
    for query, keys in FILTERS:
        page = await world.send("GET", f"/epics?{query}")
        assert [one["key"] for one in page["items"]] == keys, query
        assert page["next"] is None
        assert all("why" not in one for one in page["items"])
    first = await world.send("GET", "/epics?source=jira&limit=1")
    rest = await world.send("GET", f"/epics?limit=1&cursor={first['next']}")
    assert [one["key"] for one in first["items"] + rest["items"]] == ["SHOP-1", "SHOP-2"]
    assert rest["next"] is None


# --- why --------------------------------------------------------------------------------------


async def _why(world: World, key: str, kind: str, rules: str = "matching") -> list[tuple[str, str, Any]]:
    why = (await world.send("GET", f"/epics/jira/{key}?rules={rules}"))["why"]
    return [(one["name"], one["says"], one["matched"]) for one in why if one["kind"] == kind]


async def test_why_an_epic_is_aligned(world: World) -> None:
    await _world(world)
    await world.send("POST", "/rules", {"name": "All", "when": {"all": []}, "key_result": "KR-1"})
    await world.drain()
    says = "Linked to KR-1 (Checkout conversion): the description says `Key-Result: KR-1`."
    assert await _why(world, "SHOP-1", "link") == [("ticket", says, True)]
    ((name, says, matched),) = await _why(world, "SHOP-1", "rule")
    assert (name, matched) == ("All", True)
    assert says.endswith("; not asked, for a link that counts comes before the rules.")
    assert await _why(world, "SHOP-1", "check") == [
        ("no-key-result", "Found nothing.", True),
        ("closed-goal", "Found nothing.", True),
    ]
    says = "There is no comment, for no check has anything to say on the ticket."
    assert await _why(world, "SHOP-1", "notice") == [("none", says, None)]
    says = "Aligned: linked to KR-1 (Checkout conversion)."
    assert (await world.epic("jira", "SHOP-1"))["why"][0] == {
        "kind": "result", "name": "aligned", "says": says, "matched": True, "at": None, "setting": None,
    }  # fmt: skip


async def test_why_an_epic_is_not_aligned(world: World, clock: Clock) -> None:
    await _world(world)
    rules = [("Growth", {"label": ["growth"]}, 1), ("Cart", {"title": "cart"}, 2), ("Later", {"all": []}, 3)]
    await world.goal("KR-2", "Cart")
    await world.send("PATCH", "/key-results/KR-2", {"state": "missed"})
    for name, when, priority in rules:
        body = {"name": name, "when": when, "key_result": "KR-2", "priority": priority}
        await world.send("POST", "/rules", body)
    await world.drain()
    says = "The ticket names KR-99, which does not exist, so it makes no link."
    assert await _why(world, "SHOP-2", "ticket") == [("KR-99", says, False)]
    ((origin, says, live),) = await _why(world, "SHOP-2", "link")
    assert (origin, live) == ("rule", False)
    assert says.endswith("; it does not align the epic, it is missed.")
    before = "its priority 2 is lower than 3 of 'Later', the next that matches"
    growth = ("Growth", "gives no link.", False)
    matching = [
        ("Cart", f"gives the link (priority 2), for {before}.", True),
        ("Later", "not asked, for a rule before it matches.", True),
    ]
    counted = ("others", "`rules=all` names each.", False)
    for which, expected in (("matching", [*matching, counted]), ("all", [growth, *matching])):
        named = await _why(world, "SHOP-2", "rule", which)
        assert [(name, says.rsplit("; ", 1)[1], matched) for name, says, matched in named] == expected
    checks = {name: says for name, says, _ in await _why(world, "SHOP-2", "check")}
    moment = f"{clock():%Y-%m-%d %H:%M} UTC"
    assert checks["closed-goal"] == (
        "No linked key result is live (KR-2: it is missed). The ticket names KR-99, which does not exist."
        f" Open, found at {moment}."
    )
    assert checks["no-key-result"] == (
        f"Resolved at {moment}; before that: No key result is linked. The ticket names KR-99, which does not"
        " exist."
    )


@pytest.mark.parametrize("mode", ["off", "shadow", "live"])
async def test_why_says_what_becomes_of_the_ticket(world: World, mode: str) -> None:
    await _world(world)
    await world.send("PATCH", "/policy", {"since": None})
    await world.send("PATCH", "/sources/jira", {"notices": {"mode": mode}})
    await world.drain()
    ((name, says, _),) = await _why(world, "SHOP-2", "notice")
    expected = {
        "off": ("off", "Notices are off here, so what is on the ticket, if anything, stays as it is."),
        "shadow": ("shadow", "The notice is shadow."),
        "live": ("held", "The notice is held, grace: Grace ends at "),
    }[mode]
    assert (name, says[: len(expected[1])]) == expected


async def test_why_says_what_the_policy_exempts(world: World) -> None:
    await _world(world)
    await world.send("PATCH", "/policy", {"exempt": {"projects": ["SH*"]}})
    await world.drain()
    assert (await world.epic("jira", "SHOP-2"))["alignment"] == "exempt"
    _, (name, says, _) = await _why(world, "SHOP-2", "policy")
    assert (name, says) == ("exempt", "Exempt by policy: project SHOP matches SH*.")
