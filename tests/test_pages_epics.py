"""The list of epics and an epic's page: what they show, what they change, and what takes it back."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import event, text

from app.runtime import Runtime
from connectors.base import EpicRef, Missing, Parent
from tests.support.clock import Clock
from tests.support.disputes import DISPUTER, dispute
from tests.support.goals_api import send
from tests.support.pages import Visitor, forms_of, visiting, words_of
from tests.support.stored_epics import source_with, store, stored_epic
from tests.support.triage import HOSTILE, LONG, RIGHT_TO_LEFT, fill

pytestmark = pytest.mark.database

UNALIGNED = ["SHOP-6", "Core-4", "SHOP-3", "SHOP-2"]
ROW = re.compile(r'<tr data-row="\w+ ([^"]+)"')


@pytest.fixture
async def visitor(application: FastAPI, api: httpx.AsyncClient, runtime: Runtime) -> AsyncIterator[Visitor]:
    await fill(api, runtime)
    async with visiting(application) as somebody:
        await somebody.sign_in()
        yield somebody


def _rows(html: str) -> list[str]:
    return ROW.findall(html)


def _line(html: str) -> str:
    return words_of(html.partition('id="said"')[2].partition("</div>")[0]).partition("> ")[2]


async def _epic(api: httpx.AsyncClient, key: str) -> Any:
    return await send(api, "GET", f"/epics/jira/{key}")


async def _finding(api: httpx.AsyncClient, key: str) -> tuple[str, str | None, str | None]:
    (found,) = (await _epic(api, key))["findings"]
    return found["state"], found["until"], found["reason"]


async def _links(api: httpx.AsyncClient, key: str) -> list[tuple[str, str, float, bool]]:
    links = (await _epic(api, key))["links"]
    return [(one["key_result"], one["origin"], one["weight"], one["primary"]) for one in links]


async def _undo(visitor: Visitor, path: str = "/epics") -> str:
    """What the page says after the last change was taken back."""
    forms = [form for form in forms_of(await visitor.get(path)) if form.action == "/undo"]
    answer = await visitor.http.post("/undo", data=forms[0].fields)
    assert answer.status_code == 303, words_of(answer.text)
    return _line(await visitor.get(answer.headers["location"]))


# --- the list ---------------------------------------------------------------------------------------


async def test_the_list_begins_with_open_unaligned_epics_and_a_filter_means_all_open_ones(
    visitor: Visitor,
) -> None:
    page = await visitor.get("/epics")
    assert _rows(page) == UNALIGNED
    words = words_of(page)
    assert "Unaligned 4 Aligned 1 Waived 0 Exempt 0 All open 5" in words
    assert "4 open epics serve no live key result" in words
    assert "Link KR-1" in page
    assert "shares “Checkout”" in page
    for query, keys in {
        "alignment=": [*UNALIGNED, "SHOP-1"],
        "alignment=aligned": ["SHOP-1"],
        "alignment=exempt": [],
        "alignment=exempt&open=": ["SHOP-5"],
        "project=core": ["Core-4"],
        "project=shop": ["SHOP-6", "SHOP-3", "SHOP-2", "SHOP-1"],
        "assignee=ANA": ["SHOP-1"],
        "label=infra": ["SHOP-3"],
        "driver=growth": ["SHOP-1"],
        "key_result=KR-2": ["SHOP-1"],
        "check=no-key-result": UNALIGNED,
        "steered=no": [*UNALIGNED, "SHOP-1"],
        "q=checkout": ["SHOP-2", "SHOP-1"],
        "q=over": [],
        "q=over&open=": ["SHOP-5"],
        "open=false": ["SHOP-5"],
        "source=jira&sort=created": ["SHOP-1", "SHOP-2", "SHOP-3", "Core-4", "SHOP-6"],
        "sort=title": ["SHOP-3", "SHOP-2", "Core-4", "SHOP-6"],
        "parent=SHOP-1": [],
    }.items():
        assert _rows(await visitor.get(f"/epics?{query}")) == keys, query


async def test_what_is_no_filter_is_said_and_what_was_typed_stays(visitor: Visitor) -> None:
    for query, words in {
        "source=other": "there is no source",
        "key_result=KR-9": "there is no key result",
        "alignment=crooked": "Input should be",
        "sort=size": "must be one of",
        "label=" + "x" * 201: "at most 200 characters",
        "cursor=x": "is not a cursor",
    }.items():
        page = await visitor.get(f"/epics?{query}", expect=422)
        assert words in page, query
        assert "<title>1 fault" in page
    assert 'value="KR-9"' in await visitor.get("/epics?key_result=KR-9", expect=422)


async def test_a_title_is_text_whatever_it_is(visitor: Visitor) -> None:
    for path in ("/epics", "/epics/jira/SHOP-3"):
        page = await visitor.get(path)
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt; &amp; co" in page, path
    assert f'dir="auto">{LONG}</h1>' in await visitor.get("/epics/jira/Core-4")
    assert f'dir="auto">{RIGHT_TO_LEFT}</h1>' in await visitor.get("/epics/jira/SHOP-6")
    assert HOSTILE not in await visitor.get("/epics?q=%3Cscript%3E")


async def test_a_list_goes_on_page_by_page(
    visitor: Visitor, api: httpx.AsyncClient, runtime: Runtime
) -> None:
    await source_with(api, runtime, [stored_epic(number, "MANY") for number in range(1, 61)], "many")
    page, seen = await visitor.get("/epics?project=many&sort=created"), []
    while True:
        seen += _rows(page)
        following = re.search(r'rel="next" href="(\?cursor=[^"]+)"', page)
        if following is None:
            break
        page = await visitor.get(f"/epics{following[1]}")
        assert 'value="many"' in page, "the filters stand in the form"
    assert seen == [f"MANY-{number}" for number in range(1, 61)]


async def test_views_are_saved_shown_and_deleted_each_persons_own(
    visitor: Visitor, api: httpx.AsyncClient, application: FastAPI
) -> None:
    address = "/epics?project=core"
    await visitor.send(address, {"do": "save", "name": " <b>Core</b> "})
    page = await visitor.get(address)
    assert 'project=core" aria-current="page">&lt;b&gt;Core&lt;/b&gt;' in page
    assert "Delete the view" in page
    viewer = await send(api, "POST", "/tokens", {"name": "v", "role": "viewer"}, 201)
    async with visiting(application) as other:
        await other.sign_in(viewer["token"])
        assert "&lt;b&gt;Core" not in await other.get("/epics")
        await other.send("/epics", {"do": "save", "name": "Mine"})
        assert ">Mine<" in await other.get("/epics")
        assert (await other.send("/epics", {"do": "forget", "name": "<b>core</b>"}, expect=404)).text
    for name, words in (("", "must not be empty"), ("x" * 41, "40 characters at most")):
        answer = await visitor.send(address, {"do": "save", "name": name}, expect=422)
        assert words in answer.text
    for number in range(19):
        await visitor.send(address, {"do": "save", "name": f"View {number}"})
    assert "20 saved views" in (await visitor.send(address, {"do": "save", "name": "x"}, expect=422)).text
    await visitor.send(address, {"do": "save", "name": "VIEW 3"})  # the same name replaces
    await visitor.send(address, {"do": "forget", "name": "<B>Core</B>"})
    assert "&lt;b&gt;Core" not in await visitor.get("/epics")


# --- linking, waiving, snoozing ------------------------------------------------------------------------


async def test_a_row_is_linked_by_its_button_and_undo_unlinks_it(
    visitor: Visitor, api: httpx.AsyncClient
) -> None:
    address = "/epics?alignment=unaligned&sort=title"
    answer = await visitor.send(address, {"link": "jira SHOP-2 KR-1"})
    assert answer.headers["location"] == address, "filters stay"
    page = await visitor.get(address)
    assert _line(page).startswith("SHOP-2 linked to KR-1. Undo")
    assert "SHOP-2" not in _rows(page)
    assert (await _epic(api, "SHOP-2"))["alignment"] == "aligned", "evaluated before the answer"
    assert "SHOP-2 was linked to KR-1 before." in _line(
        await visitor.get((await visitor.send("/epics", {"link": "jira SHOP-2 KR-1"})).headers["location"])
    )
    await visitor.send("/epics", {"link": "jira SHOP-3 KR-1"})
    assert await _undo(visitor) == "Undone: SHOP-3 linked to KR-1."
    assert (await _epic(api, "SHOP-3"))["alignment"] == "unaligned"
    assert await _links(api, "SHOP-2") == [("KR-1", "manual", 1, True)], "no more than the last is undone"
    entries = (await send(api, "GET", "/audit-log?limit=2"))["items"]
    assert [(one["action"], one["key"]) for one in entries] == [
        ("deleted", "jira/SHOP-3 -> KR-1"),
        ("created", "jira/SHOP-3 -> KR-1"),
    ]


async def test_a_link_that_cannot_be_made_is_said(visitor: Visitor) -> None:
    for value, words in {
        "jira SHOP-99 KR-1": "has no epic",
        "none SHOP-2 KR-1": "there is no source",
        "jira SHOP-2 KR-9": "There is no key result",
    }.items():
        answer = await visitor.send("/epics", {"link": value}, expect=422)
        assert words in words_of(answer.text), value
    for data, words in (
        ({"do": "link", "key_result": "KR-1"}, "No epic is selected"),
        ({"do": "link", "epic": "jira SHOP-2"}, "is needed"),
        ({"do": "link", "epic": ["jira SHOP-2"] * 51, "key_result": "KR-1"}, "50 at most"),
    ):
        assert words in words_of((await visitor.send("/epics", data, expect=422)).text)


async def test_many_are_linked_as_one_and_one_that_is_gone_stops_no_other(
    visitor: Visitor, api: httpx.AsyncClient, runtime: Runtime
) -> None:
    await store(runtime, "jira", [], [Missing(EpicRef("003SHOP", "SHOP-3"), "deleted")])
    chosen = [f"jira {key}" for key in ("SHOP-2", "SHOP-3", "SHOP-6")]
    await visitor.send("/epics", {"do": "link", "epic": chosen, "key_result": "kr-1"})
    line = _line(await visitor.get("/epics"))
    assert line.startswith("2 epics linked to KR-1. SHOP-3: ")
    assert "was deleted in the tracker" in line
    assert [await _links(api, key) for key in ("SHOP-2", "SHOP-6")] == [[("KR-1", "manual", 1, True)]] * 2
    assert (await _undo(visitor)).startswith("Undone: 2 epics linked")
    assert [await _links(api, key) for key in ("SHOP-2", "SHOP-6")] == [[], []]


@pytest.mark.parametrize(("act", "state"), [("waive", "waived"), ("snooze", "snoozed")])
async def test_a_day_and_a_reason_are_asked_for_in_the_row(
    visitor: Visitor, api: httpx.AsyncClient, clock: Clock, act: str, state: str
) -> None:
    asked = await visitor.send("/epics", {act: "jira SHOP-2"}, expect=200)
    (form,) = [form for form in forms_of(asked.text) if form.fields.get("epic") == "jira SHOP-2"]
    assert ("do", act) in form.buttons
    until = form.fields["until"]
    bad = await visitor.send("/epics", {**form.fields, "do": act, "until": "2001-01-01"}, expect=422)
    assert "Is past; give a day" in bad.text
    assert 'value="2001-01-01"' in bad.text
    await visitor.send("/epics", {**form.fields, "do": act, "reason": "Agreed"})
    assert _line(await visitor.get("/epics")).startswith(f"SHOP-2 {state} until {until}. Undo")
    assert (await _finding(api, "SHOP-2"))[::2] == (state, "Agreed")
    await _undo(visitor)
    assert await _finding(api, "SHOP-2") == ("open", None, None)


async def test_a_waiver_needs_a_reason(visitor: Visitor) -> None:
    data = {"do": "waive", "epic": "jira SHOP-2", "place": "row", "until": "2026-13-01", "reason": " "}
    answer = await visitor.send("/epics", data, expect=422)
    assert "Must not be empty" in answer.text
    assert "Must be a date such as" in answer.text
    assert "<title>2 faults" in answer.text


async def test_many_are_waived_as_one_and_the_state_before_comes_back(
    visitor: Visitor, api: httpx.AsyncClient, clock: Clock
) -> None:
    day = clock.now.date().isoformat()
    chosen = ["jira SHOP-2", "jira SHOP-1", "jira Core-4", "jira SHOP-3"]
    snoozed = {"do": "snooze", "epic": "jira SHOP-2", "place": "row", "until": day, "reason": "Later"}
    await visitor.send("/epics", snoozed)
    before = await _finding(api, "SHOP-2")
    asked = await visitor.send("/epics", {"do": "waive", "epic": chosen}, expect=200)
    assert "Waive 4" in asked.text
    assert len(re.findall(r'name="epic"[^>]*checked', asked.text)) == 3, "SHOP-1 is not in the list"
    await visitor.send("/epics", {"do": "waive", "epic": chosen, "until": day, "reason": "Law"})
    line = _line(await visitor.get("/epics"))
    assert line.startswith(f"3 epics waived until {day}. SHOP-1: nothing is missing")
    assert [(await _epic(api, key))["alignment"] for key in ("SHOP-2", "Core-4")] == ["waived"] * 2
    await _undo(visitor)
    assert await _finding(api, "SHOP-2") == before
    assert await _finding(api, "Core-4") == ("open", None, None)
    assert (await _epic(api, "SHOP-2"))["findings"][0]["by"] == "admin token", "who snoozed it"


# --- undo ---------------------------------------------------------------------------------------------


async def test_undo_is_done_once(visitor: Visitor, api: httpx.AsyncClient) -> None:
    await visitor.send("/epics", {"link": "jira SHOP-2 KR-1"})
    (form,) = [form for form in forms_of(await visitor.get("/epics")) if form.action == "/undo"]
    assert (await visitor.http.post("/undo", data=form.fields)).status_code == 303
    await visitor.send("/epics", {"link": "jira SHOP-2 KR-1"})
    again = await visitor.http.post("/undo", data=form.fields)
    assert again.status_code == 409, "another change is the last now"
    assert "another change was made since" in again.text
    assert await _links(api, "SHOP-2") != []
    assert (await visitor.http.post("/undo", data={**form.fields, "_token": "x"})).status_code == 403
    assert (await visitor.http.get("/undo")).headers["location"] == "/epics"


async def test_undo_of_what_has_changed_since_is_refused_and_changes_nothing(
    visitor: Visitor, api: httpx.AsyncClient, clock: Clock
) -> None:
    day = clock.now.date().isoformat()
    data = {"do": "waive", "epic": ["jira SHOP-2", "jira SHOP-3"], "until": day, "reason": "Law"}
    await visitor.send("/epics", data)
    (found,) = (await _epic(api, "SHOP-3"))["findings"]
    clock.advance(seconds=1)
    await send(api, "POST", f"/findings/{found['id']}/snooze", {"until": day})
    assert await _undo(visitor) == (
        "Not undone: The finding of SHOP-3 has changed since: it is snoozed by admin token. "
        "Nothing was undone."
    )
    assert (await _finding(api, "SHOP-2"))[0] == "waived"
    await visitor.send("/epics", {"do": "link", "epic": "jira SHOP-2", "key_result": "KR-1"})
    (link,) = (await _epic(api, "SHOP-2"))["links"]
    await send(api, "DELETE", f"/links/{link['id']}", None, 204)
    assert (await _undo(visitor)).startswith("Not undone: A link of this change was taken back already.")


async def test_an_unlink_is_undone_with_weight_primary_origin_and_words(
    visitor: Visitor, api: httpx.AsyncClient
) -> None:
    page = "/epics/jira/SHOP-3"
    for goal, weight, primary in (("KR-1", 1, False), ("KR-2", 2.5, True)):
        body = {"epic": {"source": "jira", "key": "SHOP-3"}, "key_result": goal, "weight": weight}
        await send(api, "POST", "/links", {**body, "primary": primary}, 201)
    before = (await _epic(api, "SHOP-3"))["links"]
    await visitor.send(page, {"unlink": str(before[1]["id"])})
    assert await _links(api, "SHOP-3") == [("KR-1", "manual", 1, True)]
    assert (await _undo(visitor, page)).startswith("Undone: The link of SHOP-3 to KR-2")
    after = (await _epic(api, "SHOP-3"))["links"]
    assert [{**one, "id": 0} for one in after] == [{**one, "id": 0} for one in before]

    await visitor.send(page, {"unlink": str(after[1]["id"])})
    await send(api, "POST", "/links", {**body, "primary": True}, 201)
    assert "Another link of SHOP-3 was made primary since" in await _undo(visitor, page)
    await visitor.send(page, {"unlink": str(after[0]["id"])})
    await send(api, "POST", "/links", {**body, "key_result": "KR-1"}, 201)
    assert "SHOP-3 was linked to KR-1 again since" in await _undo(visitor, page)
    for wrong in (str(before[0]["id"]), "x", "9" * 30):
        await visitor.send("/epics/jira/SHOP-2", {"unlink": wrong}, expect=422)


async def test_a_rejected_suggestion_comes_back(visitor: Visitor) -> None:
    page = "/epics/jira/SHOP-2"
    assert 'aria-label="Link KR-1"' in await visitor.get(page)
    await visitor.send(page, {"reject": "KR-1"})
    shown = await visitor.get(page)
    assert 'aria-label="Link KR-1"' not in shown
    assert "Not suggested again:" in shown
    assert (await _undo(visitor, page)).startswith("Undone: KR-1 is not suggested for SHOP-2 again.")
    assert 'aria-label="Link KR-1"' in await visitor.get(page)
    await visitor.send(page, {"reject": "KR-1"})
    await visitor.send(page, {"accept": "KR-1"})
    assert 'aria-label="Link KR-1"' in await visitor.get(page)
    await _undo(visitor, page)
    assert 'aria-label="Link KR-1"' not in await visitor.get(page)


@pytest.mark.parametrize(("act", "state"), [("dismiss", "waived"), ("uphold", "open"), ("reopen", "open")])
async def test_a_decided_dispute_is_disputed_again(
    visitor: Visitor, api: httpx.AsyncClient, runtime: Runtime, clock: Clock, act: str, state: str
) -> None:
    page = "/epics/jira/SHOP-2"
    await dispute(runtime, "SHOP-2", "We are right", clock())
    before = (await _epic(api, "SHOP-2"))["findings"]
    shown = words_of(await visitor.get(page))
    assert "Disputed by dev-lead" in shown
    assert "We are right" in shown
    if act == "dismiss":
        bad = await visitor.send(page, {"do": act, "reason": ""}, expect=422)
        assert "Must not be empty" in bad.text
    await visitor.send(page, {"do": act, "reason": "Office"})
    assert (await _finding(api, "SHOP-2"))[0] == state
    await _undo(visitor, page)
    assert (await _epic(api, "SHOP-2"))["findings"] == before
    assert before[0]["by"] == DISPUTER


async def test_undo_of_a_link_gives_back_the_dispute_that_it_ended(
    visitor: Visitor, api: httpx.AsyncClient, runtime: Runtime, clock: Clock
) -> None:
    await dispute(runtime, "SHOP-2", "We are right", clock())
    before = (await _epic(api, "SHOP-2"))["findings"]
    await visitor.send("/epics", {"do": "link", "epic": ["jira SHOP-2", "jira SHOP-3"], "key_result": "KR-1"})
    assert (await _finding(api, "SHOP-2"))[0] == "resolved"
    await _undo(visitor)
    assert (await _epic(api, "SHOP-2"))["findings"] == before
    assert (await _finding(api, "SHOP-3"))[0] == "open"


# --- roles ------------------------------------------------------------------------------------------------


async def test_a_viewer_sees_and_changes_nothing(
    visitor: Visitor, api: httpx.AsyncClient, application: FastAPI
) -> None:
    viewer = await send(api, "POST", "/tokens", {"name": "v", "role": "viewer"}, 201)
    async with visiting(application) as other:
        await other.sign_in(viewer["token"])
        page = await other.get("/epics")
        assert _rows(page) == UNALIGNED
        assert "Editors can link them. You are a viewer." in page
        for absent in ('name="link"', 'name="epic"', 'name="waive"', 'class="bulk"'):
            assert absent not in page, absent
        for data in (
            {"link": "jira SHOP-2 KR-1"},
            {"do": "link", "epic": "jira SHOP-2", "key_result": "KR-1"},
            {"waive": "jira SHOP-2"},
            {"do": "snooze", "epic": "jira SHOP-2", "until": "2026-12-01"},
        ):
            assert "needs the role editor" in (await other.send("/epics", data, expect=403)).text
        for data in (
            {"link": "KR-1"}, {"unlink": "1"}, {"reject": "KR-1"}, {"accept": "KR-1"}, {"do": "waive"},
            {"do": "snooze"}, {"do": "reopen"}, {"do": "uphold"}, {"do": "dismiss", "reason": "x"},
        ):  # fmt: skip
            await other.send("/epics", data, to="/epics/jira/SHOP-2", expect=403)
        await other.send("/epics", {"of": "x"}, to="/undo", expect=403)
        shown = await other.get("/epics/jira/SHOP-2")
        assert "You are a viewer" in shown
        assert 'name="link"' not in shown
    assert await _links(api, "SHOP-2") == []


async def test_a_form_without_its_token_changes_nothing(visitor: Visitor, api: httpx.AsyncClient) -> None:
    for path in ("/epics", "/epics/jira/SHOP-2"):
        for token in ({}, {"_token": "x"}):
            sent = await visitor.http.post(path, data={"link": "jira SHOP-2 KR-1", **token})
            assert sent.status_code == 403
    assert await _links(api, "SHOP-2") == []


# --- an epic's page --------------------------------------------------------------------------------------


async def test_an_epics_page_says_the_fact_first_and_what_settles_it(
    visitor: Visitor, api: httpx.AsyncClient
) -> None:
    page = await visitor.get("/epics/jira/SHOP-2?find=COST")
    words = words_of(page)
    for one in (
        "It is linked to no key result.",
        "What settles it",
        "Cloud cost",
        "There is no comment",
        "created in",
    ):
        assert one.lower() in words.lower(), one
    assert words.index("It is linked to no key result.") < words.index("What settles it")
    assert "rules=all" in page
    await visitor.send("/epics/jira/SHOP-2", {"link": "KR-2"})
    words = words_of(await visitor.get("/epics/jira/SHOP-2"))
    assert "SHOP-2 linked to KR-2." in words
    assert "Linked to KR-2 (Cloud cost)." in words
    assert "Unlink" in words
    assert "admin token linked it to KR-2" in words, "the history"
    await visitor.send("/epics/jira/SHOP-2", {"link": "KR-9"}, expect=422)
    await visitor.send("/epics/jira/SHOP-2", {"do": "dance"})


async def test_a_history_shows_the_audit_log_to_those_who_may_read_it(
    visitor: Visitor, api: httpx.AsyncClient, application: FastAPI, runtime: Runtime, clock: Clock
) -> None:
    await visitor.send("/epics/jira/SHOP-2", {"link": "KR-1"})
    await store(runtime, "jira", [stored_epic(2, "NEW", key="NEW-7", remote_id="002SHOP", title="Moved")])
    assert "admin token linked it to KR-1" in words_of(await visitor.get("/epics/jira/NEW-7"))
    editor = await send(api, "POST", "/tokens", {"name": "e", "role": "editor"}, 201)
    async with visiting(application) as other:
        await other.sign_in(editor["token"])
        words = words_of(await other.get("/epics/jira/SHOP-2"))
        assert "admin token" not in words
        assert "Linked to KR-1: linked by hand" in words


async def test_children_are_listed_on_their_parents_page(
    visitor: Visitor, runtime: Runtime, api: httpx.AsyncClient
) -> None:
    await store(runtime, "jira", [stored_epic(7, title="Below", parent=Parent("SHOP-3"))])
    page = await visitor.get("/epics/jira/SHOP-3")
    assert '<a href="/epics/jira/SHOP-7">SHOP-7</a>' in page
    assert '<a href="/epics/jira/SHOP-3">SHOP-3</a>' in await visitor.get("/epics/jira/SHOP-7")


async def test_a_gone_epics_page_says_since_when_and_why(visitor: Visitor, runtime: Runtime) -> None:
    await store(runtime, "jira", [], [Missing(EpicRef("003SHOP", "SHOP-3"), "deleted")])
    assert "SHOP-3 was deleted in the tracker" in await visitor.get("/epics/jira/SHOP-3", expect=404)
    await visitor.get("/epics/jira/SHOP-99", expect=404)
    await visitor.get("/epics/none/SHOP-2", expect=404)


# --- at scale ---------------------------------------------------------------------------------------------

_MANY = """
INSERT INTO epics (source_id, tracker, remote_id, key, project, title, url, type, status, status_category,
    labels, assignees, components, ticket_references, fields, tracker_created_at, tracker_updated_at,
    content_hash, read_at, alignment)
SELECT 1, 'x', 'r' || n, 'MANY-' || n, 'MANY', 'Epic ' || n, '', 'Epic', 'Open',
    CASE n % 10 WHEN 0 THEN 'todo' ELSE 'done' END, '{}', '{}', '{}', '{}', '{}',
    timestamptz '2020-01-01 00:00Z' + n * interval '1 hour', now(), '', now(),
    CASE n % 10 WHEN 0 THEN (CASE n % 20 WHEN 0 THEN 'unaligned' ELSE 'aligned' END) ELSE 'exempt' END
FROM generate_series(1, 20000) AS n
"""


async def test_tabs_and_the_first_page_are_read_from_an_index(
    visitor: Visitor, runtime: Runtime, application: FastAPI
) -> None:
    async with runtime.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text(_MANY))
        await connection.execute(text("VACUUM ANALYZE epics"))
    seen: list[tuple[str, Any]] = []

    def remember(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        seen.append((statement, parameters))

    event.listen(runtime.engine.sync_engine, "before_cursor_execute", remember)
    try:
        await visitor.get("/epics")
    finally:
        event.remove(runtime.engine.sync_engine, "before_cursor_execute", remember)
    main = [one for one in seen if "epics.status_category !=" in one[0]]
    assert len(main) == 2, [statement for statement, _ in seen]
    for statement, parameters in main:
        async with runtime.engine.connect() as connection:
            lines = await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", parameters)
            plan = "\n".join(line for (line,) in lines)
        assert "ix_epics_open_created_id" in plan, plan
        assert "Seq Scan on epics" not in plan, plan
    assert len(seen) < 45, "a fixed number of statements, whatever the rows"
