"""The pages of goals without a browser: what they show, their forms, roles and escaping."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest
from fastapi import FastAPI

from app.runtime import Runtime
from mappings.goals.operations import change_objective
from mappings.tables import KeyResultRow
from tests.support.clock import Clock
from tests.support.company_goals import TODAY, company_goals
from tests.support.goals_api import Q4, send
from tests.support.pages import Visitor, forms_of, visiting, words_of
from tests.support.world import World

HOSTILE = '<script>alert("x")</script>'


@pytest.fixture
async def visitor(application: FastAPI, clock: Clock) -> AsyncIterator[Visitor]:
    clock.now = TODAY
    async with visiting(application) as somebody:
        await somebody.sign_in()
        yield somebody


@pytest.fixture
async def company(
    visitor: Visitor, api: httpx.AsyncClient, runtime: Runtime, clock: Clock
) -> httpx.AsyncClient:
    await company_goals(runtime, clock)
    return api


def rows_of(html: str) -> list[str]:
    """The keys of the key results that the page lists."""
    return re.findall(r'<tr id="([^"]+)">', html)


def tabs_of(html: str) -> dict[str, tuple[str, int]]:
    found = re.findall(r'<a href="([^"]+)"[^>]*>([\w ]+) <span>(\d+)</span></a>', html)
    return {words: (to.replace("&amp;", "&"), int(count)) for to, words, count in found}


async def test_the_tree_shows_what_counts(company: httpx.AsyncClient, visitor: Visitor) -> None:
    html = await visitor.get("/goals")
    assert rows_of(html) == ["KR-1", "KR-2", "KR-4", "KR-5", "KR-10", "KR-6", "KR-8"]
    words = words_of(html)
    for part in (
        "2026-Q4 , 62% of the time gone",
        "2.4 → 2.7 → 3.2 % 38% 0.7 ↑ rising",
        "IT has not signed its metric as it is now",
        "Names what is made, not what changes by it",
        "Not measured: it has no baseline and no target",
        "serves O-2",
        "no driver",
        "weight 37% internal head-1 for coo",
    ):
        assert part in words
    assert 'aria-label="38% of the way, 24 points behind a steady pace"' in html
    assert 'class="f-ink" x="62.4%"' in html
    assert 'class="sub-1"' in html


async def test_each_tab_counts_the_list_that_it_leads_to(
    company: httpx.AsyncClient, visitor: Visitor
) -> None:
    await send(company, "PATCH", "/key-results/KR-2", {"state": "achieved"})
    tabs = tabs_of(await visitor.get("/goals"))
    assert {words: count for words, (_, count) in tabs.items()} == {
        "All": 7,
        "To check in": 2,
        "At risk": 3,
        "Not agreed": 3,
        "Unmeasured": 1,
        "Without owner": 1,
        "No work": 6,
        "Not steered": 3,
        "Closed": 1,
    }
    assert tabs_of(await visitor.get("/goals?steered=no")) == tabs
    for to, count in tabs.values():
        assert len(rows_of(await visitor.get(to))) == count, to
    assert rows_of(await visitor.get("/goals?driver=none")) == ["KR-10"]
    assert rows_of(await visitor.get("/goals?driver=cost&check=check-in")) == ["KR-5"]
    assert "No key result fits these filters." in await visitor.get("/goals?driver=risk")


async def test_the_cycle_is_chosen_by_its_key_and_is_else_the_running_one(
    company: httpx.AsyncClient, visitor: Visitor, clock: Clock
) -> None:
    later = {**Q4, "key": "2027-Q1", "starts": "2027-01-01", "ends": "2027-03-31"}
    await send(company, "POST", "/cycles", later, 201)
    await send(company, "POST", "/objectives", {"title": "Next year", "cycle": "2027-q1"}, 201)
    await send(company, "POST", "/objectives", {"title": "At any time"}, 201)
    titles = ("Turn more visits", "Next year", "At any time")

    async def shown(path: str) -> list[str]:
        html = await visitor.get(path)
        return [title for title in titles if title in html]

    assert await shown("/goals") == [titles[0], titles[2]]
    assert await shown("/goals?cycle=2027-q1") == [titles[1]]
    assert await shown("/goals?cycle=-") == [titles[2]]
    assert await shown("/goals?cycle=&driver=&check=&page=1") == [titles[0], titles[2]]
    assert "There is no cycle 2030" in await visitor.get("/goals?cycle=2030", expect=404)
    clock.now += timedelta(days=60)
    await visitor.sign_in()
    assert await shown("/goals") == [titles[1], titles[2]]


@pytest.mark.parametrize(
    "query", ["check=nothing", "driver=x", "steered=1", "page=0", "page=x", "add=token", "risk=2"]
)
async def test_a_parameter_that_is_none_is_said(visitor: Visitor, query: str) -> None:
    await visitor.get(f"/goals?{query}", expect=422)


async def test_epics_are_counted_once_each(
    world: World, company: httpx.AsyncClient, visitor: Visitor
) -> None:
    for number in range(3):
        world.host.create("acme/shop", f"Epic {number}", body="Key-Result: KR-1", labels=["epic"])
    await world.connect_github(scope={"repositories": ["acme/shop"]})
    await world.sync("github")
    epic = {"source": "github", "key": "acme/shop#1"}
    await world.send("POST", "/links", {"epic": epic, "key_result": "KR-1"})
    html = await visitor.get("/goals")
    assert 'href="/epics?key_result=KR-1&amp;open=" aria-label="3 epics of KR-1"' in html
    page = await visitor.get("/goals/KR-1")
    assert page.count("/epics/github/acme/shop%23") == 3
    assert "3 epics in all" in words_of(await visitor.get("/goals/O-1"))
    closed = await world.send("PATCH", "/key-results/KR-1", {"state": "missed"})
    assert closed["state"] == "missed"
    assert "Missed; 3 epics are still linked to it" in words_of(await visitor.get("/goals"))


async def test_checking_in_opens_in_the_row_and_leads_back(
    company: httpx.AsyncClient, visitor: Visitor
) -> None:
    path = "/goals?check=check-in&check_in=KR-5"
    html = await visitor.get(path)
    form = next(one for one in forms_of(html) if ("do", "check-in") in one.buttons)
    assert form.fields["at"] == "2026-11-27"
    assert 'aria-label="KR-5: from 0, no check-in yet; a steady pace to 40 would be at 24.95 today"' in html
    wrong = await visitor.send(path, {"value": "many", "confidence": "1.5", "note": "So"}, expect=422)
    words = words_of(wrong.text)
    assert "Must be a number, such as 2.4" in words
    assert "Must be at most 1" in words
    assert "<title>2 to correct: Goals of 2026-Q4" in wrong.text
    assert 'value="many"' in wrong.text
    assert ">\nSo</textarea>" in wrong.text
    done = await visitor.send(
        path, {"value": "12", "confidence": "0.5", "note": "a\r\nb", "at": "2026-11-20"}
    )
    assert done.headers["location"] == "/goals?check=check-in"
    assert "KR-5 checked in at 12." in words_of(await visitor.get("/goals?check=check-in"))
    (first,) = (await send(company, "GET", "/key-results/KR-5/check-ins"))["items"]
    assert (first["value"], first["note"], first["at"]) == (12, "a\nb", "2026-11-20T12:00:00Z")
    assert rows_of(await visitor.get("/goals?check=check-in")) == ["KR-10"]


async def test_a_check_in_of_today_is_of_now(company: httpx.AsyncClient, visitor: Visitor) -> None:
    sent = {"do": "check-in", "value": "62", "confidence": "0.6", "at": "2026-11-27"}
    await visitor.send("/goals/KR-8", sent)
    newest = (await send(company, "GET", "/key-results/KR-8/check-ins"))["items"][0]
    assert newest["at"] == "2026-11-27T09:00:00Z"
    page = await visitor.get("/goals/KR-8")
    assert "KR-8 checked in at 62 %." in words_of(page)
    assert "57 on 30 Oct 2026, 61 on 20 Nov 2026, 62 on 27 Nov 2026; a steady pace to 75%" in page


async def test_both_sides_sign_and_a_changed_measure_voids_it(
    company: httpx.AsyncClient, visitor: Visitor
) -> None:
    refused = await visitor.send("/goals/KR-4", {"do": "sign", "side": "it", "name": " "}, expect=422)
    assert "autofocus" in refused.text
    await visitor.send(
        "/goals/KR-4", {"do": "sign", "side": "it", "name": "Ann Lee", "note": "In the review"}
    )
    words = words_of(await visitor.get("/goals/KR-4"))
    assert "Ann Lee signed for IT how KR-4 is measured." in words
    assert "Steered It is measured, agreed by both sides, and has moved." in words
    form = next(one for one in forms_of(await visitor.get("/goals/KR-4?edit=1")) if "version" in one.fields)
    await visitor.send("/goals/KR-4", {**form.fields, "metric.target": "0.25", "do": "save"})
    words = words_of(await visitor.get("/goals/KR-4"))
    assert "Has to sign again: the measure was changed." in words
    assert "Ann Lee for IT on 27 Nov 2026 : 0.42 → 0.3 EUR . The measure was changed on" in words
    list_words = words_of(await visitor.get("/goals"))
    assert "The measure was changed since it was signed: the business and IT to sign again" in list_words


async def test_objectives_and_key_results_are_made_from_an_example(
    company: httpx.AsyncClient, visitor: Visitor
) -> None:
    path = "/goals?add=objective"
    filled = next(one for one in forms_of(await visitor.get(path)) if "visibility" in one.fields)
    assert filled.fields["cycle"] == "2026-Q4"
    wrong = await visitor.send(path, {**filled.fields, "visibility": "confidential"}, expect=422)
    assert "<title>2 to correct: New objective" in wrong.text
    assert "Must not be empty" in wrong.text
    assert (
        'name="title" type="text" value="" aria-describedby="f-title-about" aria-invalid="true" autofocus'
        in (wrong.text)
    )
    sent = {**filled.fields, "title": "Sleep well", "driver": "risk", "weight": "2", "parent": "O-2"}
    answer = await visitor.send(path, {**sent, "do": "add"})
    assert answer.headers["location"] == "/goals?cycle=2026-Q4"
    words = words_of(await visitor.get("/goals?cycle=2026-Q4"))
    assert "O-5 set. Open it to say how it is measured." in words
    assert "No key result says how it is measured. Add one" in words

    add = "/goals/O-5?add=key-result"
    assert "Service is back sooner after an outage" in await visitor.get(add)
    example = next(
        one for one in forms_of(await visitor.get(f"{add}&template=risk-2")) if "due" in one.fields
    )
    assert (example.fields["metric.baseline"], example.fields["metric.target"]) == ("180", "45")
    made = await visitor.send(add, {**example.fields, "do": "add", "owner": "Ann", "due": "2026-12-15"})
    assert made.headers["location"] == "/goals/KR-11"
    stored = await send(company, "GET", "/key-results/KR-11")
    assert stored["metric"] == {"unit": "min", "baseline": 180, "target": 45, "direction": "decrease"}
    assert (stored["owner"], stored["due"], stored["category"]) == ("Ann", "2026-12-15", "risk")
    assert "Launch" not in words_of(await visitor.get("/goals/KR-11"))


async def test_an_output_has_a_hint_and_is_saved(company: httpx.AsyncClient, visitor: Visitor) -> None:
    made = await visitor.send("/goals/O-1", {"do": "add", "title": "Launch the new app", "state": "active"})
    page = words_of(await visitor.get(made.headers["location"]))
    assert "This names what is made, not what changes by it. Name what people then do more often" in page
    assert (await send(company, "GET", "/key-results/KR-11"))["hint"].startswith("This names what is made")
    assert (await send(company, "GET", "/key-results/KR-1"))["hint"] is None


async def test_a_change_meanwhile_is_shown_and_both_are_kept(
    company: httpx.AsyncClient, visitor: Visitor
) -> None:
    for path, field, api in (
        ("/goals/KR-1", "title", "/key-results/KR-1"),
        ("/goals/O-1", "title", "/objectives/O-1"),
        ("/goals/2026-Q4", "title", "/cycles/2026-Q4"),
    ):
        form = next(one for one in forms_of(await visitor.get(f"{path}?edit=1")) if "version" in one.fields)
        await send(company, "PATCH", api, {field: "Of somebody else"})
        mine = {**form.fields, field: "Mine", "do": "save"}
        stale = await visitor.send(f"{path}?edit=1", mine, expect=412)
        words = words_of(stale.text)
        assert "Somebody changed this while you had it open." in words
        assert words.count("Stored now:") == 1
        assert "Stored now: Of somebody else" in words
        again = next(one for one in forms_of(stale.text) if "version" in one.fields)
        assert (again.fields[field], again.fields["version"]) == ("Mine", "2")
        await visitor.send(f"{path}?edit=1", {**again.fields, "do": "save"})
        assert (await send(company, "GET", api))[field] == "Mine"


async def test_saving_what_is_stored_changes_nothing(company: httpx.AsyncClient, visitor: Visitor) -> None:
    described = {"description": "One line\nand another", "weight": 0.1}
    await send(company, "PATCH", "/objectives/O-1", described)
    for path, api in (
        ("/goals/KR-4", "/key-results/KR-4"),
        ("/goals/O-1", "/objectives/O-1"),
        ("/goals/2026-Q4", "/cycles/2026-Q4"),
    ):
        before = await send(company, "GET", api)
        form = next(one for one in forms_of(await visitor.get(f"{path}?edit=1")) if "version" in one.fields)
        fields = {name: value.replace("\n", "\r\n") for name, value in form.fields.items()}
        await visitor.send(f"{path}?edit=1", {**fields, "do": "save"})
        assert await send(company, "GET", api) == before
        form_after = next(
            one for one in forms_of(await visitor.get(f"{path}?edit=1")) if "version" in one.fields
        )
        assert form_after.fields["version"] == form.fields["version"]


async def test_what_is_used_is_not_deleted(company: httpx.AsyncClient, visitor: Visitor) -> None:
    for path, words in (
        ("/goals/O-2", "O-2 is still used by the objective O-4, and by the key results KR-4, KR-5."),
        ("/goals/2026-Q4", "2026-Q4 is still used by the objectives O-1, O-2, O-3, O-4."),
    ):
        refused = await visitor.send(f"{path}?edit=1", {"do": "delete"}, expect=409)
        assert words in words_of(refused.text)
    gone = await visitor.send("/goals/KR-10?edit=1", {"do": "delete"})
    assert gone.headers["location"] == "/goals/O-4"
    assert "KR-10 deleted." in words_of(await visitor.get("/goals/O-4"))
    await visitor.send("/goals/O-4?edit=1", {"do": "delete"})
    assert "There is no goal O-4." in await visitor.get("/goals/O-4", expect=404)


async def test_a_key_may_name_several_goals(company: httpx.AsyncClient, visitor: Visitor) -> None:
    await send(
        company, "POST", "/objectives", {"key": "kr-1", "title": "An objective", "cycle": "2026-Q4"}, 201
    )
    await send(company, "POST", "/objectives", {"key": "2026-q4", "title": "As the cycle"}, 201)
    html = await visitor.get("/goals")
    assert 'href="/goals/kr-1?kind=objective"' in html
    assert "Checkout conversion" in await visitor.get("/goals/KR-1")
    objective = await visitor.get("/goals/kr-1?kind=objective")
    assert "A key result has the key kr-1 too." in words_of(objective)
    assert "As the cycle" in await visitor.get("/goals/2026-Q4")
    assert "Fourth quarter" in await visitor.get("/goals/2026-Q4?kind=cycle")
    await visitor.get("/goals/KR-2?kind=cycle", expect=404)
    answer = await visitor.send(
        "/goals/kr-1?kind=objective", {"do": "add", "title": "More", "state": "active"}
    )
    assert answer.headers["location"] == "/goals/KR-11"


async def test_a_tree_on_several_pages_has_each_key_result_once(
    visitor: Visitor, api: httpx.AsyncClient, runtime: Runtime
) -> None:
    made = await send(api, "POST", "/objectives", {"title": "Much"}, 201)
    async with runtime.transaction("somebody") as session:
        row = await change_objective(session, made["key"], lambda values: values, await runtime.now(session))
        session.add_all(
            KeyResultRow(
                key=f"K{number}",
                title="One of many",
                objective_id=row[0].id,
                state="active",
                created_at=TODAY,
            )
            for number in range(230)
        )

    found: list[str] = []
    for number in (1, 2, 3, 4):
        html = await visitor.get(f"/goals?page={number}")
        assert f"Page {number} of 4" in html
        assert "Much" in html
        found += rows_of(html)
    assert len(found) == len(set(found)) == 230
    assert 'id="f-value"' in await visitor.get(f"/goals?check_in={found[200].lower()}")
    elsewhere = await visitor.http.get("/goals?driver=risk&check_in=K1")
    assert elsewhere.headers["location"] == "/goals/K1?check_in=1"
    assert 'id="f-value"' in await visitor.get("/goals/K1?check_in=1")


# --- roles, forms, escaping ----------------------------------------------------------------------


async def test_a_viewer_sees_all_and_changes_nothing(company: httpx.AsyncClient, visitor: Visitor) -> None:
    hidden = {"visibility": "confidential", "public_label": "Later", "state": "draft"}
    await send(company, "PATCH", "/objectives/O-2", hidden)
    token = (await send(company, "POST", "/tokens", {"name": "v", "role": "viewer"}, 201))["token"]
    visitor.http.cookies.clear()
    await visitor.sign_in(token)
    html = await visitor.get("/goals?check_in=KR-4")
    assert "Serve every order for less" in html
    assert "draft confidential" in words_of(html)
    for path in (
        "/goals?check_in=KR-4",
        "/goals/KR-4",
        "/goals/O-2",
        "/goals/2026-Q4",
        "/goals?add=objective",
    ):
        page = await visitor.get(path)
        posted = [one for one in forms_of(page) if one.method == "post" and not one.action.endswith("logout")]
        assert posted == [], path
        for word in ("New objective", ">Edit<", "Check in KR", "Add a key result"):
            assert word not in page.split("<main")[1], (path, word)
        await visitor.send(path, {"do": "delete"}, expect=403)


async def test_an_editor_may_do_it(company: httpx.AsyncClient, visitor: Visitor) -> None:
    token = (await send(company, "POST", "/tokens", {"name": "e", "role": "editor"}, 201))["token"]
    visitor.http.cookies.clear()
    await visitor.sign_in(token)
    await visitor.send("/goals/KR-8", {"do": "check-in", "value": "62", "confidence": "0.6"})
    await visitor.send("/goals?add=cycle", {**Q4, "key": "next", "do": "add"})
    log = await send(company, "GET", "/audit-log")
    assert {entry["who"] for entry in log["items"][:2]} == {"token 1 (e)"}


async def test_forms_need_their_token_and_say_what_to_do(
    company: httpx.AsyncClient, visitor: Visitor
) -> None:
    for path in ("/goals?check_in=KR-8", "/goals/KR-8", "/goals/O-1", "/goals/2026-Q4"):
        answer = await visitor.http.post(path, data={"do": "check-in", "value": "1", "confidence": "1"})
        assert answer.status_code == 403
        await visitor.send(path.partition("?")[0], {"do": "nothing"}, expect=422)
    assert len((await send(company, "GET", "/key-results/KR-8/check-ins"))["items"]) == 2


async def test_titles_are_escaped_and_may_be_long(company: httpx.AsyncClient, visitor: Visitor) -> None:
    hostile = {"title": HOSTILE, "owner": HOSTILE, "sponsor": HOSTILE, "description": HOSTILE}
    await send(company, "PATCH", "/objectives/O-1", hostile)
    own = {"title": HOSTILE, "owner": HOSTILE, "description": HOSTILE, "metric": {"unit": HOSTILE}}
    await send(company, "PATCH", "/key-results/KR-1", own)
    for side in ("business", "it"):
        await send(
            company,
            "POST",
            "/key-results/KR-1/agreements",
            {"side": side, "name": HOSTILE, "note": HOSTILE},
            201,
        )
    note = {"value": 3, "confidence": 1, "note": HOSTILE}
    await send(company, "POST", "/key-results/KR-1/check-ins", note, 201)
    await send(company, "PATCH", "/cycles/2026-Q4", {"title": HOSTILE})
    await send(company, "PATCH", "/objectives/O-2", {"title": "م" * 500})
    for path in (
        "/goals?check_in=KR-1",
        "/goals/KR-1",
        "/goals/KR-1?edit=1",
        "/goals/O-1",
        "/goals/O-1?edit=1",
        "/goals/O-1?add=key-result",
        "/goals/O-4",
        "/goals/2026-Q4",
        "/goals/2026-Q4?edit=1",
        "/goals?add=objective",
    ):
        html = await visitor.get(path)
        assert "<script>" not in html, path
        assert "style=" not in html, path


async def test_nothing_yet_says_how_to_begin(visitor: Visitor) -> None:
    words = words_of(await visitor.get("/goals"))
    assert "No goal yet." in words
    assert "Make a cycle first" in words
    await visitor.send("/goals?add=cycle", {**Q4, "starts": "2026-12-31", "ends": "2026-01-01"}, expect=422)
    made = await visitor.send("/goals?add=cycle", {**Q4, "do": "add"})
    assert made.headers["location"] == "/goals?cycle=2026-Q4"
    assert "No objective here yet." in words_of(await visitor.get("/goals?cycle=2026-Q4"))
    taken = await visitor.send("/goals?add=cycle", {**Q4, "do": "add"}, expect=409)
    assert "is taken" in words_of(taken.text)
