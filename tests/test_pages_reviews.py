"""The pages of reviews and decisions without a browser: what they show, their forms, roles and escaping."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.runtime import Runtime
from connectors.base import EpicRef, Missing
from mappings.reports.counts import rate_if_linked
from tests.support.clock import Clock
from tests.support.goals_api import send
from tests.support.pages import Visitor, forms_of, visiting, words_of
from tests.support.reviews import DISPUTED, PEOPLE, committee, decide, line_of, name, open_review
from tests.support.stored_epics import store

pytestmark = pytest.mark.database

HOSTILE = '<script>alert("x")</script> & co'
LONG = "Wort" * 125
LISTS = {"business": "coo\ncfo\n", "it": "cto", "partner": ""}
BOTH = ["coo", "cto"]


@pytest.fixture
async def visitor(
    application: FastAPI, api: httpx.AsyncClient, runtime: Runtime, clock: Clock
) -> AsyncIterator[Visitor]:
    await committee(runtime, api, clock)
    async with visiting(application) as somebody:
        await somebody.sign_in()
        yield somebody


def _said(html: str) -> str:
    return words_of(html.partition('id="said"')[2].partition("</div>")[0]).partition("> ")[2]


async def _record(visitor: Visitor, path: str, expect: int = 303, **values: Any) -> httpx.Response:
    given = {"do": "record", "reason": "Two clusters less.", "decided_by": BOTH, **values}
    return await visitor.send(path, given, expect=expect)


def _path(review: Any, kind: str, key: str | None = None) -> str:
    return f"/reviews/{review['id']}/items/{line_of(review, kind, key)['id']}"


# --- the list and opening ---------------------------------------------------------------------


async def test_a_review_that_is_due_is_opened_in_place(api: httpx.AsyncClient, visitor: Visitor) -> None:
    html = await visitor.get("/reviews")
    assert "never reviewed was to be held by 31 Oct 2026 Open a review…" in words_of(html)
    (form,) = [one for one in forms_of(await visitor.get("/reviews?open=2026-Q4")) if "held_on" in one.fields]
    assert (form.fields["cycle"], form.fields["held_on"]) == ("2026-Q4", "2026-11-27")
    given = {"do": "open", "cycle": "2026-Q4", "held_on": "2026-11-27", **LISTS}
    answer = await visitor.send("/reviews?open=2026-Q4", given)
    assert answer.headers["location"] == "/reviews/1"
    page = await visitor.get("/reviews/1")
    assert _said(page) == "Opened: 8 open epics and the goals are frozen."
    made = await send(api, "GET", "/reviews/1")
    assert [(one["name"], one["side"]) for one in made["attendees"]] == [
        ("coo", "business"),
        ("cfo", "business"),
        ("cto", "it"),
    ]
    words = words_of(await visitor.get("/reviews"))
    assert "Review of 27 Nov 2026 2026-Q4 0 of" in words
    assert "Due" not in words.partition("Open")[0]


async def test_the_next_review_begins_with_those_who_came_last(
    api: httpx.AsyncClient, visitor: Visitor
) -> None:
    await open_review(api)
    await send(api, "POST", "/reviews/1/close")
    (form,) = [one for one in forms_of(await visitor.get("/reviews?open=2026-Q4")) if "held_on" in one.fields]
    assert form.fields["business"].split() == ["coo", "cfo", "head-of-commerce"]
    assert form.fields["it"].split() == ["cto", "head-of-platform"]


WRONG_REVIEWS = (
    ({"held_on": "soon"}, "Must be a day such as 2026-11-27"),
    ({"held_on": "2026-02-30"}, "Is no day of the calendar"),
    ({"held_on": "2027-06-01"}, "Must lie between 2026-10-01"),
    ({"cycle": "2031-Q1"}, "2031-Q1"),
    ({"it": "coo"}, "Coo is named twice"),
    ({"partner": HOSTILE + "x" * 500}, "&lt;script&gt;"),
)


async def test_what_is_wrong_with_a_new_review_stands_in_its_form(visitor: Visitor) -> None:
    for values, words in WRONG_REVIEWS:
        given = {"do": "open", "cycle": "2026-Q4", "held_on": "2026-11-27", **LISTS, **values}
        answer = await visitor.send("/reviews?open=2026-Q4", given, expect=422)
        assert words in answer.text
        assert "1 to correct: Open a review" in answer.text
        assert "<script>alert" not in answer.text
        assert "\ncoo\ncfo</textarea>" in answer.text
        assert "autofocus" in answer.text


async def test_a_second_open_review_of_a_cycle_is_refused(api: httpx.AsyncClient, visitor: Visitor) -> None:
    await open_review(api)
    given = {"do": "open", "cycle": "2026-Q4", "held_on": "2026-11-28", **LISTS}
    answer = await visitor.send("/reviews?open=2026-Q4", given, expect=409)
    assert "The review of 2026-Q4 on 2026-11-27 (id 1) is still open; close it first." in answer.text
    assert "\ncoo\ncfo</textarea>" in answer.text


# --- prepared ---------------------------------------------------------------------------------


async def test_mitigations_and_own_lines_are_written_before(api: httpx.AsyncClient, visitor: Visitor) -> None:
    review = await open_review(api)
    one = line_of(review, "at-risk", "KR-6")["id"]
    html = await visitor.get("/reviews/1")
    assert f'name="mitigation.{one}"' in html
    assert "App store rating from 4.1 to 4.5" in html
    await visitor.send("/reviews/1", {"do": "mitigate", f"mitigation.{one}": HOSTILE})
    html = await visitor.get("/reviews/1")
    assert (_said(html), "<script>alert" in html) == ("Saved 1 line.", False)
    assert (await send(api, "GET", "/reviews/1"))["items"][1]["mitigation"] == HOSTILE
    await visitor.send("/reviews/1", {"do": "add", "title": "Budget of the next quarter"})
    assert "Budget of the next quarter" in words_of(await visitor.get("/reviews/1"))
    answer = await visitor.send("/reviews/1", {"do": "add", "title": ""}, expect=422)
    assert 'id="f-title-bad"' in answer.text
    too_long = {"do": "mitigate", f"mitigation.{one}": "m" * 2001}
    answer = await visitor.send("/reviews/1", too_long, expect=422)
    assert "m" * 2001 in answer.text
    assert f'id="f-mitigation.{one}-bad"' in answer.text


async def test_who_comes_is_changed_unless_somebody_did_so_meanwhile(
    api: httpx.AsyncClient, visitor: Visitor
) -> None:
    await open_review(api)
    await visitor.send("/reviews/1", {"do": "attendees", "version": "1", **LISTS})
    assert _said(await visitor.get("/reviews/1")) == "Saved: 3 people come."
    stale = {"do": "attendees", "version": "1", "business": "ceo", "it": "cto", "partner": ""}
    answer = await visitor.send("/reviews/1", stale, expect=412)
    assert "Somebody changed this while you had it open" in answer.text
    assert "Stored now: coo, cfo" in answer.text
    assert "\nceo</textarea>" in answer.text
    (form,) = [one for one in forms_of(answer.text) if "business" in one.fields]
    await visitor.send("/reviews/1", {"do": "attendees", **form.fields})
    assert (await send(api, "GET", "/reviews/1"))["missing_sides"] == []
    twice = {"do": "attendees", "business": "Ann", "it": "ann", "partner": ""}
    assert "Ann is named twice" in (await visitor.send("/reviews/1", twice, expect=422)).text


async def test_what_was_frozen_stays_and_is_marked(
    api: httpx.AsyncClient, visitor: Visitor, clock: Clock
) -> None:
    review = await open_review(api)
    link = {"epic": name("HELP-8"), "key_result": "KR-8"}
    await send(api, "POST", "/links", link, 201)
    await send(api, "PATCH", "/key-results/KR-6", {"title": "Renamed since"})
    words = words_of(await visitor.get("/reviews/1"))
    assert "Coverage, frozen 50 % 4 of 8 epics served a key result on 27 Nov 2026, 09:00 UTC" in words
    assert "Key results, frozen as of 27 Nov 2026, 09:00 UTC" in words
    assert "Renamed since" not in words
    words = words_of(await visitor.get(_path(review, "coverage")))
    assert "When the figures were frozen 50% 4 of 8 epics" in words
    assert "Now 63% 13 up Coverage as of 27 Nov 2026, 09:00 UTC" in words
    html = await visitor.get("/reviews/1/epics?alignment=unaligned")
    assert "Augmented reality in the help app" in html
    assert "All that was open on 27 Nov 2026, 09:00 UTC : 8 epics" in words_of(html)
    assert "Faster checkout on phones" not in html


async def test_the_pack_is_downloaded(api: httpx.AsyncClient, visitor: Visitor) -> None:
    await open_review(api)
    for format, kind in (("md", "markdown"), ("html", "html"), ("csv", "csv")):
        answer = await visitor.http.get(f"/reviews/1/pack?format={format}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, f"text/{kind}; charset=utf-8")
        assert answer.headers["content-disposition"].endswith(f'.{format}"')
        assert "App store rating" in answer.text


# --- held -------------------------------------------------------------------------------------


async def test_a_dispute_is_decided_and_the_coverage_is_what_was_said(
    api: httpx.AsyncClient, visitor: Visitor
) -> None:
    review = await open_review(api)
    path = _path(review, "dispute", "CORE-4")
    html = await visitor.get(path)
    assert '<body class="projector">' in html
    words = words_of(html)
    assert f"“{DISPUTED}” dev-lead , on the ticket, 7 Nov 2026" in words
    assert "May serve KR-4 0.37 → 0.3 EUR" in words
    assert "If re-mapped 63 % 13 up Coverage, from 50%" in words
    assert 'aria-label="KR-4: 42% of the way, 20 points behind a steady pace"' in html
    answer = await _record(visitor, path, decision="remap", key_result="KR-4")
    assert answer.headers["location"] == _path(review, "conflict")
    words = _said(await visitor.get(answer.headers["location"]))
    assert words.startswith("Re-mapped: CORE-4. Linked to KR-4, as its primary key result. Undo")
    assert round((await send(api, "GET", "/reports/coverage"))["rate"], 3) == 0.625
    (made,) = (await send(api, "GET", "/decisions"))["items"]
    assert (made["decision"], made["key_result"], made["review"]) == ("remap", "KR-4", 1)
    assert [(one["name"], one["side"]) for one in made["decided_by"]] == [("coo", "business"), ("cto", "it")]
    assert "Re-map to KR-4 : CORE-4 Order service in smaller pieces" in words_of(await visitor.get(path))
    assert "Agenda 1 of 10 done" in words_of(await visitor.get(path))


async def test_a_decision_is_undone_where_it_was_said_and_in_the_list(
    api: httpx.AsyncClient, visitor: Visitor
) -> None:
    review = await open_review(api)
    path = _path(review, "dispute", "CORE-4")
    for where in ("said", "list"):
        answer = await _record(visitor, path, decision="defer", by="2027-01-15")
        onwards = answer.headers["location"]
        page = await visitor.get(onwards)
        if where == "said":
            (undo,) = [form for form in forms_of(page) if form.action == "/undo"]
            await visitor.http.post("/undo", data=undo.fields)
            assert _said(await visitor.get(onwards)).startswith("Undone: Deferred: CORE-4.")
        else:
            newest = (await send(api, "GET", "/decisions"))["items"][0]["id"]
            await visitor.send(onwards, {"do": "undo", "decision_id": newest})
            words = _said(await visitor.get(onwards))
            assert words == "Undone: the decision on CORE-4 is taken back."
        epic = await send(api, "GET", "/epics/acme-jira/CORE-4")
        assert [one["state"] for one in epic["findings"]] == ["disputed"]
        again = await send(api, "GET", "/reviews/1")
        assert line_of(again, "dispute", "CORE-4")["state"] == "open"
    answer = await visitor.send(path, {"do": "undo", "decision_id": newest}, expect=409)
    assert "was undone on 2026-11-27" in answer.text


WRONG_DECISIONS: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({}, "decision", "Choose what is decided"),
    ({"decision": "remap"}, "key_result", "Choose the key result"),
    ({"decision": "remap", "key_result": "KR-99"}, "key_result", "KR-99"),
    ({"decision": "defer"}, "by", "Choose the day"),
    ({"decision": "defer", "by": "2026-11-01"}, "by", "Is past; give a day to come"),
    ({"decision": "pilot", "measure": "KR-10", "by": "2027-01-15"}, "measure", "KR-10 is not measured"),
    ({"decision": "keep", "reason": ""}, "reason", "Say why; the log shows it"),
    ({"decision": "keep", "decided_by": []}, "decided_by", "Tick who decides"),
    ({"decision": "keep", "decided_by": ["ceo"]}, "decided_by", "Ceo is not among those who came"),
)


async def test_what_is_wrong_with_a_decision_stands_at_its_field(
    api: httpx.AsyncClient, visitor: Visitor
) -> None:
    review = await open_review(api)
    for values, field, words in WRONG_DECISIONS:
        answer = await _record(visitor, _path(review, "dispute"), 422, **values)
        assert f'id="f-{field}-bad"' in answer.text, values
        assert words in words_of(answer.text)
        assert "1 to correct: " in answer.text
        assert "/api/v1/" not in answer.text
        assert 'value="Two clusters less."' in answer.text or "reason" in values
        assert answer.text.count(" checked") >= 2 or "decided_by" in values
    assert (await send(api, "GET", "/decisions"))["items"] == []


async def test_a_stage_that_is_skipped_is_refused_in_words(api: httpx.AsyncClient, visitor: Visitor) -> None:
    review = await open_review(api)
    path = _path(review, "dispute")
    answer = await _record(visitor, path, 409, decision="scale")
    assert "only what was a pilot can scale" in answer.text
    assert 'value="scale" checked' in answer.text
    day: dict[str, Any] = {"by": "2027-01-15", "measure": "KR-4"}
    await _record(visitor, path, decision="pilot", **day)
    words = words_of(await visitor.get(path))
    assert "A pilot until 15 Jan 2027, measured by KR-4" in words
    assert "Pilot measured by KR-4 until 15 Jan 2027 : CORE-4" in words


async def test_fields_that_a_choice_does_not_need_are_left_out(
    api: httpx.AsyncClient, visitor: Visitor
) -> None:
    """Without a script and an old browser all of them are shown, and sent."""
    review = await open_review(api)
    every: dict[str, Any] = {"key_result": "KR-4", "measure": "KR-4", "by": "2027-01-15"}
    await _record(visitor, _path(review, "dispute"), decision="keep", **every)
    (made,) = (await send(api, "GET", "/decisions"))["items"]
    assert (made["decision"], made["key_result"], made["measure"], made["by"]) == ("keep", None, None, None)


async def test_an_epic_that_is_gone_meanwhile_keeps_what_was_typed(
    api: httpx.AsyncClient, visitor: Visitor, runtime: Runtime
) -> None:
    review = await open_review(api)
    path = _path(review, "dispute", "CORE-4")
    page = await visitor.get(path)
    token = next(form.fields["_token"] for form in forms_of(page) if "_token" in form.fields)
    await store(runtime, "acme-jira", [], [Missing(EpicRef("004CORE", "CORE-4"), "deleted")])
    sent = {"_token": token, "do": "record", "decision": "keep", "reason": "Typed before", "decided_by": BOTH}
    answer = await visitor.http.post(path, data=sent)
    assert answer.status_code == 422
    assert 'value="Typed before"' in answer.text
    assert "CORE-4" in answer.text.partition('role="alert"')[2].partition("</p>")[0]
    words = words_of(await visitor.get(path))
    assert "CORE-4 is gone" in words
    assert "Nothing can be decided about it." in words
    await visitor.send(path, {"do": "done"})
    assert line_of(await send(api, "GET", "/reviews/1"), "dispute")["state"] == "done"


async def test_lines_without_an_epic_are_dealt_with_skipped_and_opened_again(
    api: httpx.AsyncClient, visitor: Visitor
) -> None:
    review = await open_review(api)
    first = await visitor.http.get("/reviews/1/items")
    assert first.headers["location"] == _path(review, "coverage")
    await visitor.send(_path(review, "coverage"), {"do": "done"})
    risk = _path(review, "at-risk", "KR-6")
    words = words_of(await visitor.get(risk))
    assert "KR-6 now 4.2 → 4.5 stars as when the figures were frozen" in words
    answer = await visitor.send(risk, {"do": "done", "mitigation": "Two people join in January."})
    assert answer.headers["location"] == _path(review, "at-risk", "KR-8")
    await visitor.send(answer.headers["location"], {"do": "skip"})
    items = (await send(api, "GET", "/reviews/1"))["items"]
    assert [one["state"] for one in items[:3]] == ["done", "done", "skipped"]
    assert items[1]["mitigation"] == "Two people join in January."
    await visitor.send(risk, {"do": "reopen"})
    assert (await send(api, "GET", "/reviews/1"))["items"][1]["state"] == "open"
    words = words_of(await visitor.get(_path(review, "to-sign")))
    assert "KR-4 Cloud cost of an order IT has not signed its metric as it is now Sign" in words


async def test_a_conflict_ends_with_the_decision(api: httpx.AsyncClient, visitor: Visitor) -> None:
    review = await open_review(api)
    path = _path(review, "conflict", "SHOP-3")
    words = words_of(await visitor.get(path))
    assert "IT cannot, because The points need the new customer database" in words
    assert "The business wants Marketing has promised" in words
    await _record(visitor, path, decision="defer", by="2027-03-31")
    assert "It was decided on 27 Nov 2026" in words_of(await visitor.get(path))
    assert (await send(api, "GET", "/conflicts?state=open"))["items"] == []


async def test_after_the_last_line_the_review_is_shown(api: httpx.AsyncClient, visitor: Visitor) -> None:
    review = await open_review(api)
    answer = None
    for item in review["items"]:
        answer = await visitor.send(f"/reviews/1/items/{item['id']}", {"do": "skip"})
    assert answer is not None
    assert answer.headers["location"] == "/reviews/1"
    assert "– skipped" in words_of(await visitor.get("/reviews/1"))


# --- closed -----------------------------------------------------------------------------------


async def test_closing_asks_first_and_names_who_is_missing(api: httpx.AsyncClient, visitor: Visitor) -> None:
    review = await open_review(api, people=PEOPLE[:2])
    number = len(review["items"])
    words = words_of(await visitor.get("/reviews/1?close=1"))
    assert "Nobody came from IT. The review is closed all the same, and says so." in words
    assert f"{number} of {number} on the agenda are not dealt with" in words
    await decide(api, review, "HELP-8", "stop", decided_by=PEOPLE[:1])
    await visitor.send("/reviews/1?close=1", {"do": "close"}, to="/reviews/1")
    html = await visitor.get("/reviews/1")
    words = words_of(html)
    assert _said(html) == "The review of 2026-11-27 is closed."
    assert f"Nobody came from IT. {number} of {number} on the agenda were not dealt with: Coverage" in words
    assert "Stop HELP-8 Augmented reality in the help app" in words
    assert "nothing is written" in words
    assert [
        form
        for form in forms_of(html)
        if form.method == "post" and form.buttons and form.action == "/reviews/1" and form.buttons[0][0]
    ] == []
    path = _path(review, "dispute")
    assert "This review is closed; nothing more is decided in it." in words_of(await visitor.get(path))
    assert "27 Nov 2026 2026-Q4 50% 1" in words_of(await visitor.get("/reviews"))


async def test_a_closed_review_takes_nothing_more(api: httpx.AsyncClient, visitor: Visitor) -> None:
    review = await open_review(api)
    page = await visitor.get("/reviews/1")
    token = next(form.fields["_token"] for form in forms_of(page) if "_token" in form.fields)
    await send(api, "POST", "/reviews/1/close")
    for path, values in (
        ("/reviews/1", {"do": "close"}),
        ("/reviews/1", {"do": "attendees", **LISTS}),
        ("/reviews/1", {"do": "add", "title": "One more"}),
        (_path(review, "coverage"), {"do": "done"}),
        (_path(review, "dispute"), {"do": "record", "decision": "keep", "reason": "r", "decided_by": BOTH}),
    ):
        answer = await visitor.http.post(path, data={"_token": token, **values})
        assert (answer.status_code, "closed" in answer.text) == (409, True), values


# --- the log ----------------------------------------------------------------------------------


async def test_the_log_is_filtered_and_says_what_each_did(api: httpx.AsyncClient, visitor: Visitor) -> None:
    review = await open_review(api)
    await decide(api, review, "HELP-8", "stop", reason=HOSTILE)
    await decide(api, review, "CORE-4", "remap", key_result="KR-4")
    undone = await decide(api, review, "CORE-5", "defer", by="2027-01-15")
    await send(api, "POST", f"/decisions/{undone['id']}/undo")
    html = await visitor.get("/decisions")
    assert "<script>alert" not in html
    words = words_of(html)
    assert (
        "Re-map to KR-4 : CORE-4 Order service in smaller pieces As the committee sees it. coo business"
        in words
    )
    assert "Linked to KR-4, as its primary key result." in words
    assert "Undone on 27 Nov 2026, 09:00 UTC by admin token" in words
    for query, keys in (
        ("epic_key=help-8", ["HELP-8"]),
        ("epic_source=acme-jira&epic_key=CORE-4", ["CORE-4"]),
        ("goal=KR-4", ["CORE-4"]),
        ("review=1&decision=defer", ["CORE-5"]),
        ("undone=false", ["CORE-4", "HELP-8"]),
        ("undone=true", ["CORE-5"]),
        ("review=7", []),
    ):
        page = await visitor.get(f"/decisions?{query}")
        assert re.findall(r'class="nowrap">(\w+-\d)</a>', page.partition("<tbody>")[2]) == keys, query
        assert ("No decision fits these filters." in page) == (keys == [])
    assert (
        "there is no objective or key result"
        in (await visitor.get("/decisions?goal=KR-99", expect=422)).lower()
    )
    await visitor.get("/decisions?decision=later", expect=422)


async def test_a_decision_is_undone_in_the_log(api: httpx.AsyncClient, visitor: Visitor) -> None:
    review = await open_review(api)
    first = await decide(api, review, "CORE-4", "defer", by="2027-01-15")
    second = await decide(api, review, "CORE-4", "keep")
    where = "/decisions?epic_key=CORE-4"
    answer = await visitor.send(where, {"do": "undo", "decision_id": first["id"]}, expect=409)
    assert f"Not undone: Decision {second['id']} (keep, 2026-11-27) is newer" in words_of(answer.text)
    for one in (second, first):
        answer = await visitor.send(where, {"do": "undo", "decision_id": one["id"]})
        assert answer.headers["location"] == where
    assert "disputed" in str((await send(api, "GET", "/epics/acme-jira/CORE-4"))["findings"])
    await visitor.send(where, {"do": "undo", "decision_id": "99"}, expect=404)


# --- who may, and what is escaped -------------------------------------------------------------


async def test_a_viewer_reads_all_of_it_and_changes_nothing(api: httpx.AsyncClient, visitor: Visitor) -> None:
    review = await open_review(api)
    await decide(api, review, "HELP-8", "stop")
    made = await send(api, "POST", "/tokens", {"name": "guest", "role": "viewer"}, 201)
    visitor.http.cookies.clear()
    await visitor.sign_in(made["token"])
    item = _path(review, "dispute")
    for path in ("/reviews", "/reviews?open=2026-Q4", "/reviews/1", "/reviews/1?close=1", item, "/decisions"):
        html = await visitor.get(path)
        acts = [form for form in forms_of(html) if form.method == "post" and form.action != "/logout"]
        assert [form.buttons for form in acts if form.buttons] == [], path
    assert "Editors record what is decided. You are a viewer." in words_of(await visitor.get(item))
    page = await visitor.get("/reviews/1")
    token = next(form.fields["_token"] for form in forms_of(page) if "_token" in form.fields)
    for path, act in (
        ("/reviews", "open"),
        *(("/reviews/1", act) for act in ("attendees", "mitigate", "add", "close", "undo")),
        *((item, act) for act in ("record", "done", "undo")),
        ("/decisions", "undo"),
    ):
        answer = await visitor.http.post(path, data={"_token": token, "do": act, "decision_id": "1"})
        assert answer.status_code == 403, (path, act)


async def test_a_form_without_its_token_changes_nothing(api: httpx.AsyncClient, visitor: Visitor) -> None:
    await open_review(api)
    for path in ("/reviews", "/reviews/1", "/reviews/1/items/1", "/decisions"):
        answer = await visitor.http.post(path, data={"do": "close", "_token": "x"})
        assert answer.status_code == 403, path
    assert (await send(api, "GET", "/reviews/1"))["state"] == "open"


async def test_what_is_not_there_is_said(api: httpx.AsyncClient, visitor: Visitor) -> None:
    for path in (
        "/reviews/9",
        "/reviews/9/items",
        "/reviews/9/items/1",
        "/reviews/9/epics",
        "/reviews/9/pack",
    ):
        assert "There is no review 9" in words_of(await visitor.get(path, expect=404)), path
    await open_review(api)
    await visitor.get("/reviews/1/items/999", expect=404)
    await visitor.send("/reviews/1", {"do": "burn"}, expect=422)


async def test_texts_of_others_are_escaped(
    application: FastAPI, api: httpx.AsyncClient, runtime: Runtime, clock: Clock
) -> None:
    await committee(runtime, api, clock, CORE_4=HOSTILE, SHOP_3=LONG)
    await send(api, "PATCH", "/key-results/KR-6", {"title": HOSTILE})
    people = [{"name": HOSTILE, "side": "business"}, {"name": "x" * 500, "side": "it"}]
    review = await open_review(api, people=people)
    await decide(api, review, "HELP-8", "stop", decided_by=people, reason=LONG)
    async with visiting(application) as visitor:
        await visitor.sign_in()
        for path in (
            "/reviews",
            "/reviews/1",
            "/reviews/1?close=1",
            "/reviews/1/epics",
            *(f"/reviews/1/items/{item['id']}" for item in review["items"]),
            "/decisions",
        ):
            html = await visitor.get(path)
            assert "<script>alert" not in html, path
            assert re.findall(r"<style|<script>|\son\w+=|\sstyle=|javascript:", html) == [], path
        assert "&lt;script&gt;" in await visitor.get(_path(review, "dispute"))


@pytest.mark.parametrize(
    ("alignment", "rate"),
    [(None, 0.5), ("unaligned", 0.625), ("waived", 5 / 9), ("exempt", 5 / 9)],
)
def test_coverage_if_an_epic_were_linked(alignment: str | None, rate: float) -> None:
    counts: dict[str | None, int] = {"aligned": 4, "unaligned": 4, "waived": 1, "exempt": 1, None: 3}
    assert rate_if_linked(counts, alignment) == rate
    assert rate_if_linked({}, None) is None
    assert rate_if_linked({"waived": 1}, "waived") == 1
