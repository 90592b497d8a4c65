"""A name in a rule or the policy that no source has: saved, with a warning in the answer."""

from __future__ import annotations

from typing import Any

from sqlalchemy import update

from app.runtime import Runtime
from mappings.tables import EpicRow, SourceRow
from tests.support.world import World

RULE: dict[str, Any] = {"name": "One", "when": {"all": []}, "key_result": "KR-1"}


async def _synced(world: World) -> None:
    world.site.create(
        "SHOP",
        "An epic",
        labels=["Growth", "ÜBER", "50%_off"],
        components=["Pay"],
        custom={"customfield_10020": {"value": "Red"}},
    )
    await world.goal("KR-1")
    await world.connect_jira(epics={"fields": ["customfield_10020"]})
    await world.sync("jira", "full")


def _fields(answer: Any) -> list[str]:
    return [warning["field"] for warning in answer.get("warnings", [])]


KNOWN: list[dict[str, Any]] = [
    {"source": "JIRA"},
    {"source": "ji*"},
    {"project": ["shop"]},
    {"project": "S??P"},
    {"label": ["growth", "g*", "über", "ü*", "50%_off", "50%_*"]},
    {"type": "epic"},
    {"component": "PAY"},
    {"field": {"name": "customfield_10020", "is": "red"}},
    {"title": "nowhere to be found"},
    {"not": {"label": "growth"}},
    {"all": []},
]
UNKNOWN: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    ({"source": "github"}, [("when.source", "there is no source 'github'")]),
    ({"source": "g*"}, [("when.source", "no source matches 'g*'")]),
    ({"project": ["SHOP", "SHIP"]}, [("when.project[1]", "no source has a project 'SHIP'")]),
    ({"project": "SHI*"}, [("when.project", "no source has a project whose key matches 'SHI*'")]),
    ({"label": "growht"}, [("when.label", "no epic of any source has the label 'growht'")]),
    ({"label": ["x%", "gr_wth"]}, [
        ("when.label[0]", "no epic of any source has the label 'x%'"),
        ("when.label[1]", "no epic of any source has the label 'gr_wth'"),
    ]),
    ({"label": "x*"}, [("when.label", "no epic of any source has a label that matches 'x*'")]),
    ({"type": ["Story"]}, [("when.type[0]", "no epic of any source has the type 'Story'")]),
    ({"milestone": "Q4"}, [("when.milestone", "no epic of any source has the milestone 'Q4'")]),
    ({"parent": "SHOP-9"}, [("when.parent", "no epic of any source has the parent 'SHOP-9'")]),
    ({"assignee": "ann"}, [("when.assignee", "no epic of any source has the assignee 'ann'")]),
    ({"field": {"name": "customfield_10020", "is": ["red", "blue"]}}, [
        ("when.field.is[1]", "no epic of any source has the field customfield_10020 'blue'")
    ]),
    ({"any": [{"all": []}, {"not": {"component": ["pay", "x"]}}]}, [
        ("when.any[1].not.component[1]", "no epic of any source has the component 'x'")
    ]),
]  # fmt: skip


async def test_a_rule_is_saved_with_a_warning_of_each_name_that_nothing_has(world: World) -> None:
    await _synced(world)
    made = await world.send("POST", "/rules", RULE)
    assert made["warnings"] == []
    for when in KNOWN:
        assert _fields(await world.send("PATCH", f"/rules/{made['id']}", {"when": when})) == [], when
    for when, warnings in UNKNOWN:
        expected = [{"field": field, "message": message} for field, message in warnings]
        changed = await world.send("PATCH", f"/rules/{made['id']}", {"when": when})
        assert (changed["when"], changed["warnings"]) == (when, expected), "saved all the same"
        preview = await world.send("POST", "/rules/preview", {"when": when, "key_result": "KR-1"})
        assert preview["warnings"][-len(expected) :] == expected, when
    shown = await world.send("GET", f"/rules/{made['id']}")
    assert _fields(shown) == _fields(await world.send("PATCH", f"/rules/{made['id']}", {"priority": 1}))
    assert _fields(shown) == ["when.any[1].not.component[1]"]
    other = await world.send("POST", "/rules", {**RULE, "name": "Two", "when": {"label": "growht"}})
    assert _fields(other) == ["when.label"]


async def test_the_policy_is_saved_with_a_warning_of_each_name_that_nothing_has(world: World) -> None:
    await _synced(world)
    exempt = {"labels": ["growth", "ktlo", "x*"], "types": ["Epic", "Spike"], "projects": ["SHOP", "OPS"]}
    scopes = [{"source": "jira", "project": "shop"}, {"source": "git", "project": "S*", "exempt": exempt}]
    in_exempt = ["labels.1", "labels.2", "types.1", "projects.1"]
    at_fault = [f"exempt.{name}" for name in in_exempt]
    for method in ("PUT", "PATCH"):
        saved = await world.send(method, "/policy", {"exempt": exempt, "scopes": scopes})
        assert sorted(_fields(saved)) == sorted(
            [*at_fault, *[f"scopes.1.{name}" for name in at_fault], "scopes.1.source", "scopes.1.project"]
        )
        shown = await world.send("GET", "/policy")
        assert saved.pop("warnings")
        assert saved == shown, "saved all the same, and GET shows what PUT takes"
        assert "warnings" not in await world.send("PUT", "/policy", {"exempt": {"labels": ["GROWTH"]}})


async def test_nothing_is_said_as_long_as_a_source_was_not_read(world: World) -> None:
    await world.goal("KR-1")
    when = {"any": [{"label": "x"}, {"project": "NONE"}]}
    assert (await world.send("POST", "/rules", {**RULE, "when": when}))["warnings"] == []
    assert "warnings" not in await world.send("PUT", "/policy", {"scopes": [{"source": "jira"}]})
    await world.connect_jira()
    assert (await world.send("GET", "/rules/1"))["warnings"] == []
    await world.sync("jira", "full")
    assert _fields(await world.send("GET", "/rules/1")) == ["when.any[1].project"], "there are no epics yet"
    world.site.create("SHOP", "An epic")
    await world.sync("jira", "full")
    assert sorted(_fields(await world.send("GET", "/rules/1"))) == [
        "when.any[0].label",
        "when.any[1].project",
    ]
    await world.connect_github(scope={"repositories": ["acme/shop"]}, epics={"labels": ["epic"]})
    assert _fields(await world.send("GET", "/rules/1")) == []
    world.host.create("acme/shop", "Another", labels=["epic", "x"])
    await world.sync("github", "full")
    assert _fields(await world.send("GET", "/rules/1")) == ["when.any[1].project"]


async def test_what_left_the_source_is_no_value_and_a_former_project_is_one(
    world: World, runtime: Runtime
) -> None:
    await _synced(world)
    rule = {**RULE, "when": {"any": [{"project": "OLD"}, {"label": "growth"}]}}
    made = await world.send("POST", "/rules", rule)
    assert _fields(made) == ["when.any[0].project"]
    async with runtime.sessions.begin() as session:
        old = {"name": "OLD", "id": "1", "key": "SHOP", "places": []}
        await session.execute(update(SourceRow).values(named_projects={"old": old}))
    assert _fields(await world.send("GET", f"/rules/{made['id']}")) == []
    preview = {"id": made["id"], "when": {"project": "old"}}
    assert (await world.send("POST", "/rules/preview", preview))["matches"] == 1
    world.site.create("SHOP", "Another")
    await world.sync("jira")
    async with runtime.sessions.begin() as session:
        gone = update(EpicRow).where(EpicRow.key == "SHOP-1")
        await session.execute(gone.values(removed_at=EpicRow.read_at, removal_reason="deleted"))
    assert "when.any[1].label" in _fields(await world.send("GET", f"/rules/{made['id']}"))


async def test_many_unknown_names_are_counted(world: World) -> None:
    await _synced(world)
    labels = [f"none-{number}" for number in range(60)]
    warnings = (await world.send("POST", "/rules", {**RULE, "when": {"label": labels}}))["warnings"]
    assert (len(warnings), warnings[-1]["message"]) == (51, "10 more are unknown")
    globs = [f"none-{number}*" for number in range(201)]
    made = await world.send("POST", "/rules", {**RULE, "name": "Two", "when": {"label": globs}})
    assert made["warnings"] == [], "too many to compare"
