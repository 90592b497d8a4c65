"""The pages of rules without a browser: the list and its order, the editor and its preview, deleting."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import text

from app.runtime import Runtime
from tests.support.pages import Visitor, forms_of, visiting, words_of
from tests.support.queries import all_of, every_row
from tests.support.world import World

HOSTILE = '<script>alert("x")</script> & ‮co'
FORM: dict[str, Any] = {
    "name": "Growth",
    "key_result": "KR-1",
    "priority": "100",
    "enabled": "on",
    "joined": "all",
    "kind.0": "label",
    "is.0": "is",
    "values.0": "growth*",
}


@pytest.fixture
async def visitor(application: FastAPI) -> AsyncIterator[Visitor]:
    async with visiting(application) as somebody:
        await somebody.sign_in()
        yield somebody


async def _epics(world: World, *labels: list[str]) -> None:
    for number, names in enumerate(labels, 1):
        world.site.create("SHOP", f"{HOSTILE} {number}", labels=names)
    await world.goal("KR-1")
    await world.goal("KR-2")
    await world.no_grace()
    await world.connect_jira()
    await world.sync("jira", "full")


async def _rule(world: World, name: str, **members: Any) -> int:
    body = {"name": name, "key_result": "KR-1", "when": {"label": ["growth*"]}, **members}
    return int((await world.send("POST", "/rules", body))["id"])


async def _names(visitor: Visitor) -> list[str]:
    page = await visitor.get("/rules")
    return [part.split("</a>")[0] for part in page.split('dir="auto">')[1:] if "</a>" in part[:40]]


async def _role(world: World, visitor: Visitor, role: str) -> None:
    made = await world.send("POST", "/tokens", {"name": role, "role": role})
    await visitor.send("/rules", to="/logout")
    await visitor.sign_in(made["token"])


# --- the list -------------------------------------------------------------------------------------


async def test_the_list_is_in_the_order_in_which_rules_are_asked(world: World, visitor: Visitor) -> None:
    assert "There is no rule yet" in await visitor.get("/rules")
    await _epics(world, ["growth-1"], [])
    await _rule(world, "Late", priority=200, when={"title": "."})
    await _rule(world, HOSTILE, priority=5, enabled=False, when={"label": HOSTILE})
    await _rule(world, "Early", priority=10)
    await world.drain()
    page = await visitor.get("/rules")
    words = words_of(page)
    assert "<script>alert" not in page
    assert words.index("&lt;script&gt;") < words.index("Early") < words.index("Late")
    assert "Links an epic where one of its labels begins with “growth”." in words
    assert "Disabled" in words
    assert "1</a></td>" in page, "Early links one epic, and Late the other"


async def test_rules_are_moved_by_buttons_and_by_numbers(world: World, visitor: Visitor) -> None:
    await _epics(world, ["growth-1"])
    a, b, c = [await _rule(world, name) for name in "ABC"]
    await world.drain()

    async def send(status: int = 303, **values: Any) -> str:
        (form,) = [form for form in forms_of(await visitor.get("/rules")) if "seen" in form.fields]
        answer = await visitor.http.post("/rules", data={**form.fields, **values})
        assert answer.status_code == status, words_of(answer.text)
        return words_of(answer.text)

    await send(down=a)
    assert await _names(visitor) == ["B", "A", "C"]
    page = await visitor.get("/rules")
    assert "is asked at place 2 of 3" in words_of(page)
    assert 'href="/runs/' in page
    await send(up=c)
    assert await _names(visitor) == ["B", "C", "A"]
    await send(303, do="order", **{f"place.{a}": "1", f"place.{b}": "3"})
    assert await _names(visitor) == ["A", "C", "B"]
    await send(do="order")
    assert "No rule has another place" in words_of(await visitor.get("/rules"))
    assert "must be a whole number" in await send(422, do="order", **{f"place.{a}": "first"})
    old = (await visitor.get("/rules")).split('name="seen" value="')[1].split('"')[0]
    await _rule(world, "D")
    assert "changed since you opened" in await send(409, up=c, seen=old)
    assert "changed since you opened" in await send(409, up=999)
    assert await _names(visitor) == ["A", "C", "B", "D"]


async def test_a_rule_is_switched_and_says_what_follows(world: World, visitor: Visitor) -> None:
    await _epics(world, ["growth-1"])
    id = await _rule(world, "Growth")
    await world.drain()
    await visitor.send("/rules", {"disable": id})
    page = await visitor.get("/rules")
    assert "is disabled, and links nothing" in words_of(page)
    assert 'href="/runs/' in page
    await visitor.send("/rules", {"enable": id})
    assert (await world.send("GET", f"/rules/{id}"))["enabled"]
    await visitor.send("/rules", {"enable": 999}, expect=404)


async def test_deleting_says_first_what_it_links(world: World, visitor: Visitor) -> None:
    await _epics(world, ["growth-1"], ["growth-2"])
    id = await _rule(world, HOSTILE)
    await world.drain()
    page = await visitor.get(f"/rules?delete={id}")
    words = words_of(page)
    assert "It links 2 epics to KR-1" in words
    assert "2 would have other links" in words
    assert "2 comments would be worked out in shadow" in words
    assert "<script>alert" not in page
    await visitor.send(f"/rules?delete={id}")
    assert (await world.send("GET", "/rules"))["items"] == []
    assert "is deleted" in words_of(await visitor.get("/rules"))
    await visitor.get(f"/rules?delete={id}", expect=404)


async def test_many_rules_are_pages_with_places_that_count_all(world: World, visitor: Visitor) -> None:
    await world.goal("KR-1")
    for number in range(101):
        await _rule(world, f"Rule {number:03}")
    page = await visitor.get("/rules")
    assert ("Rule 099" in page, "Rule 100" in page) == (True, False)
    rest = await visitor.get(page.split('rel="next" href="')[1].split('"')[0].replace("?", "/rules?"))
    assert ("Rule 099" in rest, "Rule 100" in rest, 'value="101"' in rest) == (False, True, True)


# --- the editor -----------------------------------------------------------------------------------


async def test_the_preview_is_that_of_the_api_and_stores_nothing(
    world: World, visitor: Visitor, runtime: Runtime
) -> None:
    await _epics(world, ["growth-1"], ["growth-2", "kr:kr-2"], ["infra"])
    await _rule(world, "Other", when={"label": "growth-1"}, key_result="KR-2")
    await world.drain()
    await visitor.get("/rules?add=1")
    before = await every_row(runtime)
    answer = await visitor.send(
        "/rules?add=1", {**FORM, "do": "preview", "values.0": "growth*, nix"}, expect=200
    )
    assert {**(await every_row(runtime)), "web_sessions": []} == {**before, "web_sessions": []}
    body = {"when": {"label": ["growth*", "nix"]}, "key_result": "KR-1"}
    answered = await world.send("POST", "/rules/preview", body)
    words = words_of(answer.text)
    assert f"{answered['matches']} epics match, {answered['changes']} would have other links" in words
    for warning in answered["warnings"]:
        assert warning["message"][1:].split("'")[0] in words
    assert "SHOP-1" in words
    assert "by the ticket" in words
    assert "<script>alert" not in answer.text


async def test_a_long_preview_goes_on_a_page_at_a_time(world: World, visitor: Visitor) -> None:
    await _epics(world, *([["growth-1"]] * 30))
    first = (await visitor.send("/rules?add=1", {**FORM, "do": "preview"}, expect=200)).text
    cursor = first.split('name="cursor" value="')[1].split('"')[0]
    assert ("SHOP-25<" in first, "SHOP-26<" in first) == (True, False)
    second = (await visitor.send("/rules?add=1", {**FORM, "cursor": cursor}, expect=200)).text
    assert ("SHOP-25<" in second, "SHOP-30<" in second) == (False, True)
    assert "30 epics match" in words_of(second)
    # Of another form: from the first page on.
    other = await visitor.send("/rules?add=1", {**FORM, "name": "X", "cursor": cursor}, expect=200)
    assert "SHOP-25<" in other.text


async def test_a_rule_is_saved_and_changed_and_says_which_run_follows(world: World, visitor: Visitor) -> None:
    await _epics(world, ["growth-1"])
    answer = await visitor.send("/rules?add=1", {**FORM, "do": "save"})
    assert answer.headers["location"] == "/rules"
    page = await visitor.get("/rules")
    assert "Rule “Growth” is saved." in words_of(page)
    assert 'href="/runs/' in page
    (rule,) = (await world.send("GET", "/rules"))["items"]
    assert rule["when"] == {"all": [{"label": ["growth*"]}]}
    address = f"/rules?edit={rule['id']}"
    version = next(
        form.fields["version"] for form in forms_of(await visitor.get(address)) if "version" in form.fields
    )
    await visitor.send(address, {**FORM, "do": "save", "version": version, "is.0": "not"})
    (rule,) = (await world.send("GET", "/rules"))["items"]
    assert rule["when"] == {"all": [{"not": {"label": ["growth*"]}}]}
    stale = await visitor.send(
        address, {**FORM, "do": "save", "version": version, "name": "Mine"}, expect=422
    )
    assert "Somebody changed this rule" in words_of(stale.text)
    assert 'value="Mine"' in stale.text
    assert (await world.send("GET", "/rules"))["items"] == [rule]


async def test_a_rule_that_lines_show_as_it_is_keeps_its_condition(
    world: World, visitor: Visitor, runtime: Runtime
) -> None:
    await _epics(world, ["growth-1"])
    id = await _rule(world, "Growth", when={"label": "growth*"})
    await world.drain()
    changed = "SELECT count(*) FROM audit_log WHERE what = 'rule' AND action = 'changed'"
    assert await all_of(runtime, changed) == [(0,)]
    await visitor.send(f"/rules?edit={id}", {**FORM, "do": "save", "version": "1"})
    assert (await world.send("GET", f"/rules/{id}"))["when"] == {"label": "growth*"}
    assert await all_of(runtime, changed) == [(0,)]


async def test_tests_are_added_removed_and_written_as_json_without_a_loss(
    world: World, visitor: Visitor
) -> None:
    typed = {**FORM, "kind.1": "field", "is.1": "not", "field.1": "customfield_1", "values.1": '"a, b", c'}

    async def send(**values: Any) -> dict[str, str]:
        answer = await visitor.send("/rules?add=1", {**typed, **values}, expect=200)
        return next(form.fields for form in forms_of(answer.text) if "version" in form.fields)

    kept = {name: value for name, value in typed.items() if name != "enabled"}
    fields = await send(do="add-test")
    assert {name: fields[name] for name in kept} == kept
    assert fields["kind.2"] == "label"
    fields = await send(remove="0")
    assert (fields["field.0"], fields["values.0"], "kind.1" in fields) == (
        "customfield_1",
        '"a, b", c',
        False,
    )
    fields = await send(do="as-json")
    when = {
        "all": [{"label": ["growth*"]}, {"not": {"field": {"name": "customfield_1", "is": ["a, b", "c"]}}}]
    }
    assert json.loads(fields["when"]) == when
    answer = await visitor.send("/rules?add=1", {**fields, "do": "as-lines"}, expect=200)
    again = next(form.fields for form in forms_of(answer.text) if "version" in form.fields)
    assert {name: again[name] for name in kept} == kept
    nested = json.dumps({"all": [{"any": [{"label": "a"}]}]})
    answer = await visitor.send("/rules?add=1", {**FORM, "when": nested, "do": "as-lines"}, expect=422)
    assert "stays JSON" in words_of(answer.text)
    assert nested.replace('"', "&#34;") in answer.text


WRONG: list[tuple[dict[str, str], str, str]] = [
    ({"name": ""}, "name", "Field required"),
    ({"key_result": "KR-404"}, "key_result", "There is no key result"),
    ({"priority": "high"}, "priority", "valid integer"),
    ({"values.0": " , "}, "values.0", "empty list"),
    ({"kind.0": "title", "values.0": "("}, "values.0", "missing )"),
    ({"kind.0": "field", "field.0": ""}, "field.0", "Is empty"),
    ({"kind.0": "field", "field.0": "customfield_1"}, "when", "which no source reads"),
    ({"when": "{"}, "when", "Is no JSON"),
    ({"when": "[]"}, "when", "must be one object"),
    ({"when": '{"all": [{"any": [{"colour": 1}]}]}'}, "when", "there is no test"),
]


async def test_what_is_wrong_stands_at_its_field_and_what_was_typed_is_kept(
    world: World, visitor: Visitor
) -> None:
    await world.goal("KR-1")
    await _rule(world, "Taken")
    for change, field, words in WRONG:
        sent = {**FORM, **change}
        answer = await visitor.send("/rules?add=1", {**sent, "do": "save"}, expect=422)
        assert f'id="{field}-about"' in answer.text, change
        assert words.lower() in words_of(answer.text).lower(), (change, words_of(answer.text))
        assert "<title>1 to mend" in answer.text
        assert answer.text.count("autofocus") == 1
        kept = next(form.fields for form in forms_of(answer.text) if "version" in form.fields)
        # What a JSON condition replaces is not in the form then.
        assert all(
            kept.get(name, value) == value.strip() for name, value in sent.items() if "when" not in sent
        )
        preview = await visitor.send("/rules?add=1", {**sent, "do": "preview"}, expect=200)
        assert "no preview before this is mended" in words_of(preview.text) or field == "name"
    taken = await visitor.send("/rules?add=1", {**FORM, "name": "TAKEN", "do": "save"}, expect=422)
    assert "is taken" in words_of(taken.text)
    assert len((await world.send("GET", "/rules"))["items"]) == 1


async def test_hostile_names_break_nothing(world: World, visitor: Visitor) -> None:
    await world.goal("KR-1")
    id = await _rule(world, HOSTILE + "x" * 400, when={"label": [HOSTILE, "y" * 500]})
    for address in ("/rules", f"/rules?edit={id}", f"/rules?delete={id}"):
        page = await visitor.get(address)
        assert "<script>alert" not in page
        assert "&lt;script&gt;" in page
    for address in ("/rules?edit=0", "/rules?edit=x", f"/rules?edit={2**63}"):
        await visitor.get(address, expect=422)
    await visitor.get("/rules?edit=999", expect=404)
    assert (await visitor.http.get(f"/rules/{id}")).headers["location"] == f"/rules?edit={id}"


# --- who may --------------------------------------------------------------------------------------


async def test_a_viewer_reads_and_previews_and_changes_nothing(world: World, visitor: Visitor) -> None:
    await _epics(world, ["growth-1"])
    id = await _rule(world, "Growth")
    await world.drain()
    await _role(world, visitor, "viewer")
    asked = await visitor.get(f"/rules?delete={id}")
    assert '<button class="btn">Delete' not in asked
    assert "Editors can delete a rule." in words_of(asked)
    page = words_of(await visitor.get("/rules"))
    assert ("Growth" in page, "Delete" in page, "Add a rule" in page, "Put in" in page) == (
        True,
        False,
        False,
        False,
    )
    page = await visitor.get(f"/rules?edit={id}")
    assert "Editors can save a rule" in page
    assert 'value="save"' not in page
    answer = await visitor.send(f"/rules?edit={id}", {**FORM, "do": "preview"}, expect=200)
    assert "1 epic matches" in words_of(answer.text)
    for address, values in (
        ("/rules?add=1", {**FORM, "do": "save"}),
        (f"/rules?edit={id}", {**FORM, "do": "save"}),
        (f"/rules?delete={id}", {}),
        ("/rules", {"up": id}),
        ("/rules", {"disable": id}),
    ):
        refused = await visitor.send("/rules", values, to=address, expect=403)
        assert "needs the role editor" in words_of(refused.text)
    await _role(world, visitor, "editor")
    await visitor.send(f"/rules?edit={id}", {**FORM, "do": "save", "name": "Renamed"})


async def test_each_form_has_its_token_against_forgery(world: World, visitor: Visitor) -> None:
    await world.goal("KR-1")
    id = await _rule(world, "Growth")
    for address in ("/rules", "/rules?add=1", f"/rules?edit={id}", f"/rules?delete={id}"):
        for sent in ({}, {"_token": "x"}):
            assert (await visitor.http.post(address, data={**FORM, **sent, "do": "save"})).status_code == 403
    assert len((await world.send("GET", "/rules"))["items"]) == 1


async def test_names_are_offered_within_a_bound(world: World, visitor: Visitor, runtime: Runtime) -> None:
    await _epics(world, ["growth-1", HOSTILE], ["x" * 101])
    page = await visitor.get("/rules?add=1")
    for name in (
        "growth-1",
        "SHOP",
        "jira",
        "Epic",
        "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt; &amp; ",
    ):
        assert f"<option>{name}" in page, name
    assert 'value="KR-2"' in page
    assert "x" * 101 not in page, "too long to be chosen"
    async with runtime.sessions.begin() as session:
        many = "UPDATE epics SET labels = (SELECT array_agg('label-' || n) FROM generate_series(1, 501) n)"
        await session.execute(text(many))
    page = await visitor.get("/rules?add=1")
    assert ("<option>label-1<" in page, "<option>SHOP" in page) == (False, True)
