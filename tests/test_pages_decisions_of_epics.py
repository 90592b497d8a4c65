"""The stage and the decisions on an epic's page, and the decisions on a goal's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest
from fastapi import FastAPI

from app.runtime import Runtime
from tests.support.clock import Clock
from tests.support.goals_api import send
from tests.support.governance import Committee
from tests.support.pages import Visitor, forms_of, visiting, words_of

pytestmark = pytest.mark.database

PAGE = "/epics/acme/SHOP-1"


@pytest.fixture
async def committee(api: httpx.AsyncClient, runtime: Runtime, clock: Clock) -> Committee:
    clock.now = datetime(2026, 11, 16, 12, tzinfo=UTC)
    return await Committee.on_rows(api, runtime)


@pytest.fixture
async def visitor(application: FastAPI, committee: Committee) -> AsyncIterator[Visitor]:
    async with visiting(application) as somebody:
        await somebody.sign_in()
        yield somebody


async def test_a_stage_is_set_and_undone_there(visitor: Visitor, committee: Committee) -> None:
    wrong = await visitor.send(
        PAGE, {"do": "set-stage", "stage": "pilot", "measure": "KR-9", "by": ""}, expect=422
    )
    assert 'value="KR-9"' in wrong.text
    assert "Is needed for a pilot: the last day" in words_of(wrong.text)
    no_day = {"do": "set-stage", "stage": "pilot", "measure": "KR-1", "by": "soon"}
    assert "must be a day" in words_of((await visitor.send(PAGE, no_day, expect=422)).text).lower()
    await visitor.send(PAGE, {"do": "set-stage", "stage": "idea"})
    await visitor.send(PAGE, {"do": "set-stage", "stage": "pilot", "measure": "KR-1", "by": "2026-12-31"})
    shown = await visitor.get(PAGE)
    assert "Measured by KR-1 until 31 Dec 2026." in words_of(shown)
    assert "admin token moved it to the stage pilot, measured by KR-1, until 2026-12-31" in words_of(shown)
    refused = await visitor.send(PAGE, {"do": "set-stage", "stage": "scale"}, expect=422)
    assert "was not checked in since the pilot began" in words_of(refused.text)
    (undo,) = (form for form in forms_of(shown) if form.action.endswith("/undo"))
    await visitor.http.post("/undo", data=undo.fields)
    assert (await committee.stage())["stage"] == "idea"


async def test_a_decision_is_shown_and_undone_there(visitor: Visitor, committee: Committee) -> None:
    reason = "<script>alert(1)</script> \u202eabc"
    await committee.decide("remap", key_result="KR-2", reason=reason)
    decided = await committee.decide("defer", by="2027-01-15", reason="The audit comes first")
    page = await visitor.get(PAGE)
    words = words_of(page)
    assert "<script>alert" not in page
    assert "Deferred until 2027-01-15 by the review of 16 November 2026: The audit comes first." in words
    assert "Defer until 15 Jan 2027: The audit comes first Ann Lee (business), Bo Chen (IT)" in words
    assert "Remap to KR-2" in words
    assert page.count('value="undo-decision"') == 1, "the newest that stands"
    goal = words_of(await visitor.get("/goals/KR-2"))
    assert "SHOP-1 Remap to KR-2" in goal
    await visitor.send(PAGE, {"do": "undo-decision", "decision": str(decided["id"])})
    words = words_of(await visitor.get(PAGE))
    assert "Undone: the decision on SHOP-1 is taken back." in words
    assert "admin token undid the decision to defer it" in words
    again = await visitor.send(PAGE, {"do": "undo-decision", "decision": str(decided["id"])}, expect=422)
    assert "Nothing is left to undo" in words_of(again.text)
    await visitor.send(PAGE, {"do": "undo-decision", "decision": "x"}, expect=422)


async def test_a_viewer_sees_them_and_changes_nothing(
    application: FastAPI, api: httpx.AsyncClient, committee: Committee
) -> None:
    token = (await send(api, "POST", "/tokens", {"name": "reader", "role": "viewer"}, 201))["token"]
    async with visiting(application) as reader:
        await reader.sign_in(token)
        assert 'id="stage"' not in await reader.get(PAGE), "nobody has set one"
        await committee.decide("pilot", measure="KR-1", by="2026-12-31")
        page = await reader.get(PAGE)
        assert "Measured by KR-1 until 31 Dec 2026." in words_of(page)
        assert not {"set-stage", "undo-decision"} & {
            value for form in forms_of(page) for _, value in form.buttons
        }
        for body in ({"do": "set-stage", "stage": "idea"}, {"do": "undo-decision", "decision": "1"}):
            await reader.send(PAGE, body, expect=403)
    headers = {"Authorization": f"Bearer {token}"}
    for method, path in (
        ("PUT", "/api/v1/epics/acme/SHOP-1/stage"),
        ("POST", f"/api/v1/reviews/{committee.review}/decisions"),
        ("POST", "/api/v1/conflicts/1/decisions"),
        ("POST", "/api/v1/decisions/1/undo"),
    ):
        assert (await api.request(method, path, headers=headers)).status_code == 403, path
