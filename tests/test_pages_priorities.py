"""The pages of priorities and conflicts without a browser: what they show, their forms, roles and errors."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.runtime import Runtime
from tests.support.clock import Clock
from tests.support.goals_api import send
from tests.support.pages import Visitor, forms_of, visiting, words_of
from tests.support.stored_epics import source_with, stored_epic

HOSTILE = '<script>alert("x")</script>'
VALUE = {"key": "VALUE", "title": "What it is worth", "weight": 3}
EASE = {"key": "EASE", "title": HOSTILE, "weight": 1}
SIDES = {"technical": "Not before March", "business": "Before Christmas"}
MONDAY = datetime(2026, 11, 23, 15, tzinfo=UTC)


@pytest.fixture
async def visitor(
    application: FastAPI, api: httpx.AsyncClient, runtime: Runtime, clock: Clock
) -> AsyncIterator[Visitor]:
    """With three epics."""
    clock.now = MONDAY
    titles = ("Pay by invoice", HOSTILE, "\u202e" + "w" * 499)
    await source_with(api, runtime, [stored_epic(n, title=title) for n, title in enumerate(titles, 1)])
    async with visiting(application) as somebody:
        await somebody.sign_in()
        yield somebody


async def _token(api: httpx.AsyncClient, role: str) -> str:
    made = await send(api, "POST", "/tokens", {"name": role, "role": role}, 201)
    return str(made["token"])


def _score(key: str, **scores: str) -> dict[str, str]:
    fields = {f"score.{name}": score for name, score in scores.items()}
    return {"do": "score", "source": "jira", "key": key, **fields}


async def test_the_first_criteria_are_one_click(visitor: Visitor, api: httpx.AsyncClient) -> None:
    assert "No criteria are agreed yet" in words_of(await visitor.get("/priorities"))
    await visitor.send("/priorities", {"do": "example"})
    assert [one["key"] for one in await send(api, "GET", "/criteria")] == ["VALUE", "URGENCY", "RISK", "EASE"]
    words = words_of(await visitor.get("/priorities"))
    assert "VALUE 38%" in words
    assert "Nothing is fully scored yet. Score the first" in words
    again = await visitor.send("/priorities?edit=1", {"do": "example"}, expect=422)
    assert "changed since you read it" in words_of(again.text)


async def test_epics_are_scored_in_place_and_undone(visitor: Visitor, api: httpx.AsyncClient) -> None:
    await send(api, "PUT", "/criteria", [VALUE, EASE])
    await visitor.send("/priorities?scored=none", _score("SHOP-1", VALUE="4", EASE="2,5"))
    html = await visitor.get("/priorities?scored=none")
    assert "SHOP-1: VALUE 4, EASE 2.5." in words_of(html)
    assert "3.62" in await visitor.get("/priorities")  # (3 * 4 + 2.5) / 4 is 3.625
    await visitor.send("/priorities", _score("SHOP-2", VALUE="4", EASE="2.5"))
    html = await visitor.get("/priorities")
    assert html.count("=1<span") == 2
    assert HOSTILE not in html
    assert "2 of" not in words_of(html)
    assert "67% of 3 open epics are fully scored." in words_of(html)
    (undo,) = [form for form in forms_of(html) if form.action == "/undo"]
    await visitor.http.post("/undo", data=undo.fields)
    assert "Undone: SHOP-2" in words_of(await visitor.get("/priorities"))
    assert (await send(api, "GET", "/epics/jira/SHOP-2/scores"))["scores"] == {}


async def test_an_undo_after_somebody_else_scored_is_refused(
    visitor: Visitor, api: httpx.AsyncClient
) -> None:
    await send(api, "PUT", "/criteria", [VALUE])
    await visitor.send("/priorities?scored=none", _score("SHOP-1", VALUE="4"))
    await send(api, "PUT", "/epics/jira/SHOP-1/scores", {"VALUE": 1})
    html = await visitor.get("/priorities?scored=none")
    (undo,) = [form for form in forms_of(html) if form.action == "/undo"]
    await visitor.http.post("/undo", data=undo.fields)
    words = words_of(await visitor.get("/priorities?scored=none"))
    assert "Not undone: somebody has scored it since." in words
    assert (await send(api, "GET", "/epics/jira/SHOP-1/scores"))["scores"] == {"VALUE": 1}


async def test_wrong_scores_are_said_in_their_row(visitor: Visitor, api: httpx.AsyncClient) -> None:
    await send(api, "PUT", "/criteria", [VALUE, EASE])
    answer = await visitor.send(
        "/priorities?scored=none", _score("SHOP-1", VALUE="6", EASE="much"), expect=422
    )
    assert "EASE must be a number from 0 to 5" in words_of(answer.text)
    answer = await visitor.send("/priorities?scored=none", _score("SHOP-1", VALUE="6"), expect=422)
    assert "1 field to mend" in answer.text
    assert "VALUE must be at most 5" in words_of(answer.text)
    assert re.search(r'name="score.VALUE"[^>]*value="6"[^>]*aria-invalid="true" autofocus', answer.text)
    await visitor.send("/priorities", {"do": "dance"}, expect=422)
    await visitor.send("/priorities?scored=none", _score("SHOP-9", VALUE="1"), expect=404)


async def test_criteria_are_changed_in_place(visitor: Visitor, api: httpx.AsyncClient) -> None:
    await send(api, "PUT", "/criteria", [VALUE, EASE])
    await send(api, "PUT", "/epics/jira/SHOP-1/scores", {"EASE": 1})
    page = await visitor.get("/priorities?edit=1")
    (form,) = [form for form in forms_of(page) if ("do", "criteria") in form.buttons]

    def fields(*lines: tuple[str, str, str]) -> dict[str, Any]:
        columns = zip(*lines, strict=True)
        names = dict(zip(("c-key", "c-title", "c-weight"), map(list, columns), strict=True))
        return {"do": "criteria", "version": form.fields["version"], **names}

    path = "/priorities?edit=1"
    wrong = fields(("VALUE", "", "3"), ("", "", ""), ("value", "Twice", "much"))
    answer = await visitor.send(path, wrong, expect=422)
    assert "3 fields to mend" in answer.text
    for words in ("Must not be empty", "Value is there twice", "Must be a number"):
        assert words in words_of(answer.text)
    left_out = fields(("VALUE", "Worth", "0,5"), ("", "", "1"))
    answer = await visitor.send(path, left_out, expect=422)
    assert "EASE has the scores of 1 epic" in words_of(answer.text)
    await visitor.send(path, left_out | {"drop": "yes"})
    assert await send(api, "GET", "/criteria") == [VALUE | {"title": "Worth", "weight": 0.5}]
    stale = await visitor.send(path, left_out, expect=422)
    assert "changed since you read it" in words_of(stale.text)


async def test_a_viewer_reads_and_changes_nothing(visitor: Visitor, api: httpx.AsyncClient) -> None:
    await send(api, "PUT", "/criteria", [VALUE])
    await send(api, "PUT", "/epics/jira/SHOP-1/scores", {"VALUE": 4})
    await send(api, "POST", "/conflicts", {"epic": {"source": "jira", "key": "SHOP-1"}, **SIDES}, 201)
    visitor.http.cookies.clear()
    await visitor.sign_in(await _token(api, "viewer"))
    for path in ("/priorities", "/conflicts"):
        html = await visitor.get(path)
        assert "You are a viewer" in words_of(html)
        assert {form.method for form in forms_of(html) if form.buttons != [("", "")]} <= {"get"}
        await visitor.send(path, {"do": "example"}, expect=403)
    forged = await visitor.http.post("/priorities", data={"do": "example"})
    assert forged.status_code == 403


async def test_filters_pages_and_the_file(visitor: Visitor, api: httpx.AsyncClient) -> None:
    await send(api, "PUT", "/criteria", [VALUE])
    for number in (1, 2, 3):
        await send(api, "PUT", f"/epics/jira/SHOP-{number}/scores", {"VALUE": number})
    assert "No open epic fits these filters" in words_of(await visitor.get("/priorities?project=OPS"))
    file = await visitor.get("/priorities?project=shop&cycle=&driver=&format=csv")
    assert [row["key"] for row in csv.DictReader(io.StringIO(file))] == ["SHOP-3", "SHOP-2", "SHOP-1"]
    await visitor.get("/priorities?source=none", 422)
    await visitor.get("/priorities?scored=half", 422)


# --- conflicts ----------------------------------------------------------------------------------


async def test_a_conflict_is_recorded_changed_decided(
    visitor: Visitor, api: httpx.AsyncClient, clock: Clock
) -> None:
    answer = await visitor.send("/conflicts", {"do": "raise", **SIDES}, expect=422)
    assert "Name the epic, or the goal" in words_of(answer.text)
    on_epic = {"do": "raise", "source": "jira", "key": "SHOP-2", **SIDES}
    answer = await visitor.send("/conflicts", on_epic | {"key": "SHOP-9"}, expect=422)
    assert "Jira has no epic" in words_of(answer.text)
    await visitor.send("/conflicts", on_epic | {"technical": HOSTILE})
    html = await visitor.get("/conflicts")
    assert HOSTILE not in html
    assert "The conflict on SHOP-2 was recorded." in words_of(html)
    assert "Goes to the sponsor on 30 Nov 2026" in words_of(html)
    change = {"do": "change", "conflict": "1", "version": "1", **SIDES}
    await visitor.send("/conflicts?edit=1", change)
    await visitor.send("/conflicts", change, expect=412)
    decision = {"do": "decide", "conflict": "1", "decision": "defer", "reason": "After the move"}
    people = {"name": ["Ann", "", "Bo"], "side": ["business", "it", "it"]}
    answer = await visitor.send("/conflicts?decide=1", decision | people, expect=422)
    assert "to mend" in answer.text
    await visitor.send("/conflicts?decide=1", decision | people | {"by": "2026-12-31"})
    assert "Decided: defer." in words_of(await visitor.get("/conflicts"))
    words = words_of(await visitor.get("/conflicts?state=decided"))
    assert "Decided by Ann (business), Bo (IT) on 23 Nov 2026." in words


async def test_they_stand_where_they_belong(visitor: Visitor, api: httpx.AsyncClient, clock: Clock) -> None:
    await send(api, "PUT", "/criteria", [VALUE])
    await send(api, "POST", "/objectives", {"title": "Pay", "sponsor": "Sue"}, 201)
    await send(api, "POST", "/objectives/O-1/key-results", {"title": "Conversion"}, 201)
    await visitor.send("/conflicts", {"do": "raise", "goal": "kr-1", **SIDES})
    await visitor.send("/epics/jira/SHOP-1", {"do": "raise-conflict", **SIDES})
    await visitor.send("/epics/jira/SHOP-1", {"do": "score", "score.VALUE": "4"})
    refused = await visitor.send("/epics/jira/SHOP-1", {"do": "score", "score.VALUE": "7"}, expect=422)
    assert "Must be at most 5" in words_of(refused.text)
    for path in ("/goals/KR-1", "/epics/jira/SHOP-1"):
        words = words_of(await visitor.get(path))
        assert "Technology cannot Not before March The business asks Before Christmas" in words
    assert "for the committee" not in words_of(await visitor.get("/"))
    clock.advance(days=14)
    await visitor.sign_in()
    assert "2 conflicts wait for the committee" in words_of(await visitor.get("/"))
    html = words_of(await visitor.get("/conflicts"))
    assert "The committee 2 Conversion" in html
    await visitor.send("/conflicts?edit=1", {"do": "withdraw", "conflict": "1", "version": "1"})
    assert [one["id"] for one in (await send(api, "GET", "/conflicts"))["items"]] == [2]
