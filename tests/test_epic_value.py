"""The value question: what an answer is, who gave it, what may be changed, and its block of the page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.runtime import Runtime
from connectors.base import Parent
from mappings.governance.value import is_placeholder
from tests.support.clock import Clock
from tests.support.goals_api import fields_refused, send
from tests.support.pages import Visitor, forms_of, visiting, words_of
from tests.support.stored_epics import source_with, store, stored_epic
from tests.support.triage import fill

VALUE = "/epics/jira/SHOP-2/value"
SENTENCE = "No clerk types a refund any more, so a refund costs half."
NOTHING = {
    "answer": None, "driver": None, "answered_by": None, "answered_at": None, "asked_of": None,
    "asked_by": None, "question_at": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "is_one"),
    [
        ("n/a", True),
        ("N/A.", True),
        ("-", True),
        ("TBD", True),
        ("To be  defined…", True),
        ("__todo__", True),
        ("None", True),
        ("?", True),
        ("123", True),
        ("I don\u2019t know", True),
        ("Cuts the cost of a refund by half.", False),
        ("Не будет отменённых заказов", False),
        ("收入", False),
        ("None of our customers waits for a refund any more", False),
    ],
)
def test_a_placeholder_is_no_answer(answer: str, is_one: bool) -> None:
    assert is_placeholder(answer) is is_one


# --- the API --------------------------------------------------------------------------------------


@pytest.mark.database
async def test_an_answer_says_who_gave_it_and_when_and_asking_leaves_it_open(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock
) -> None:
    await source_with(api, runtime, [stored_epic(2)])
    assert await send(api, "GET", VALUE) == NOTHING
    asked = await send(api, "PUT", VALUE, {"asked_of": "  Dana Reyes "})
    assert (asked["answer"], asked["asked_of"], asked["asked_by"]) == (None, "Dana Reyes", "admin token")
    assert asked["question_at"] is not None
    clock.advance(hours=1)
    answered = await send(api, "PUT", VALUE, {"answer": f" {SENTENCE}\n", "driver": "cost"})
    assert (answered["answer"], answered["driver"], answered["answered_by"]) == (
        SENTENCE,
        "cost",
        "admin token",
    )
    assert (answered["asked_of"], answered["question_at"]) == ("Dana Reyes", asked["question_at"])
    assert answered["answered_at"] > asked["question_at"]
    clock.advance(hours=1)
    assert await send(api, "PUT", VALUE, {"answer": SENTENCE}) == answered  # nothing changed
    assert await send(api, "GET", VALUE) == answered
    taken_back = await send(api, "PUT", VALUE, {"answer": None})
    assert taken_back == {
        **NOTHING,
        **{name: asked[name] for name in ("asked_of", "asked_by", "question_at")},
    }
    entries = (await send(api, "GET", "/audit-log"))["items"]
    changes = [(one["before"], one["after"]) for one in entries if one["what"] == "value"]
    assert [one["after"].get("answer") for one in map(lambda pair: {"after": pair[1]}, changes)][
        1
    ] == SENTENCE
    assert len(changes) == 3


@pytest.mark.database
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "answer"),
        ({"answer": ""}, "answer"),
        ({"answer": "  "}, "answer"),
        ({"answer": "n/a"}, "answer"),
        ({"answer": "x" * 501}, "answer"),
        ({"answer": "It\0 helps"}, "answer"),
        ({"answer": SENTENCE, "driver": "fun"}, "driver"),
        ({"driver": "cost"}, "driver"),
        ({"asked_of": ""}, "asked_of"),
        ({"answer": SENTENCE, "by": "me"}, "by"),
    ],
)
async def test_what_is_no_answer_is_refused(
    api: httpx.AsyncClient, runtime: Runtime, body: dict[str, Any], field: str
) -> None:
    await source_with(api, runtime, [stored_epic(2)])
    assert await fields_refused(api, "PUT", VALUE, body) == [field]
    assert await send(api, "GET", VALUE) == NOTHING


@pytest.mark.database
async def test_a_placeholder_is_refused_with_what_to_write(api: httpx.AsyncClient, runtime: Runtime) -> None:
    await source_with(api, runtime, [stored_epic(2)])
    (error,) = (await send(api, "PUT", VALUE, {"answer": "TBD"}, 422))["errors"]
    assert error["message"] == (
        "'TBD' is no answer: write one sentence that says how this helps the business grow, cut cost, serve "
        "customers better or manage risk"
    )


@pytest.mark.database
async def test_a_version_that_is_old_is_refused(api: httpx.AsyncClient, runtime: Runtime) -> None:
    await source_with(api, runtime, [stored_epic(2), stored_epic(3)])
    first = (await api.get(f"/api/v1{VALUE}")).headers["etag"]

    async def answer(text: str, tag: str) -> httpx.Response:
        return await api.put(f"/api/v1{VALUE}", json={"answer": text}, headers={"If-Match": tag})

    second = (await answer(SENTENCE, first)).headers["etag"]
    assert second != first
    assert (await answer("Another sentence.", first)).status_code == 412
    assert (await answer("Another sentence.", second)).status_code == 200
    assert (await send(api, "GET", VALUE))["answer"] == "Another sentence."


@pytest.mark.database
async def test_an_epic_that_is_gone_or_unknown_has_none(api: httpx.AsyncClient, runtime: Runtime) -> None:
    from connectors.base import EpicRef, Missing

    await source_with(api, runtime, [stored_epic(2)])
    await send(api, "PUT", "/epics/jira/SHOP-99/value", {"answer": SENTENCE}, 404)
    await send(api, "GET", "/epics/elsewhere/SHOP-2/value", status=404)
    await store(runtime, "jira", [], [Missing(EpicRef(stored_epic(2).remote_id, "SHOP-2"), "deleted")])
    problem = await send(api, "PUT", VALUE, {"answer": SENTENCE}, 404)
    assert "was deleted in the tracker" in problem["detail"]


# --- the page -------------------------------------------------------------------------------------


@pytest.fixture
async def visitor(application: FastAPI, api: httpx.AsyncClient, runtime: Runtime) -> AsyncIterator[Visitor]:
    await fill(api, runtime)
    async with visiting(application) as somebody:
        await somebody.sign_in()
        yield somebody


def _block(html: str) -> str:
    return words_of(html.partition('aria-labelledby="value"')[2].partition("</section>")[0])


async def _undo(visitor: Visitor, path: str) -> str:
    forms = [form for form in forms_of(await visitor.get(path)) if form.action == "/undo"]
    assert (await visitor.http.post("/undo", data=forms[0].fields)).status_code == 303
    return await visitor.get(path)


@pytest.mark.database
async def test_the_page_asks_an_initiative_and_takes_the_answer_and_takes_it_back(
    visitor: Visitor, api: httpx.AsyncClient, runtime: Runtime
) -> None:
    path = "/epics/jira/SHOP-2"
    assert "Only initiatives are asked" in _block(await visitor.get(path))
    await store(runtime, "jira", [stored_epic(21, parent=Parent("SHOP-2"))])
    assert "Initiative Not answered." in _block(await visitor.get(path))
    await visitor.send(path, {"do": "ask-value", "asked_of": "Dana <b>"})
    assert "Dana &lt;b&gt; is asked since" in _block(await visitor.get(path))
    await visitor.send(
        path, {"do": "answer-value", "answer": "<script>alert(1)</script> helps", "driver": "risk"}
    )
    page = await visitor.get(path)
    assert "<script>alert(1)" not in page
    assert "To manage risk. Answered by admin token" in _block(page)
    await visitor.send(path, {"do": "answer-value", "answer": SENTENCE, "driver": ""})
    assert SENTENCE in _block(await visitor.get(path))
    assert "&lt;script&gt;alert(1)&lt;/script&gt; helps" in _block(await _undo(visitor, path))
    assert (await send(api, "GET", VALUE))["driver"] == "risk"
    rows = await visitor.get("/epics?initiative=true")
    assert "&lt;script&gt;alert(1)&lt;/script&gt; helps" in rows


@pytest.mark.database
async def test_an_answer_that_was_changed_since_is_not_undone(
    visitor: Visitor, api: httpx.AsyncClient
) -> None:
    path = "/epics/jira/SHOP-2"
    await visitor.send(path, {"do": "answer-value", "answer": SENTENCE})
    await send(api, "PUT", VALUE, {"answer": "Somebody else's sentence."})
    assert "Not undone: the answer was changed since" in words_of(await _undo(visitor, path))
    assert (await send(api, "GET", VALUE))["answer"] == "Somebody else's sentence."


@pytest.mark.database
async def test_a_form_that_is_wrong_is_shown_again_with_what_was_typed(visitor: Visitor) -> None:
    path = "/epics/jira/SHOP-2"
    answer = await visitor.send(
        path, {"do": "answer-value", "answer": "n/a <i>", "driver": "cost"}, expect=303
    )
    answer = await visitor.send(path, {"do": "answer-value", "answer": "tbd", "driver": "cost"}, expect=422)
    (form,) = [form for form in forms_of(answer.text) if "answer" in form.fields]
    assert (form.fields["answer"], form.fields["driver"]) == ("tbd", "cost")
    assert "1 fault ·" in words_of(answer.text)
    assert "is no answer: write one sentence" in words_of(answer.text)
    answer = await visitor.send(path, {"do": "ask-value", "asked_of": "x" * 501}, expect=422)
    assert "Must have 500 characters at most" in words_of(answer.text)


@pytest.mark.database
async def test_viewers_read_and_do_not_answer(
    application: FastAPI, api: httpx.AsyncClient, runtime: Runtime
) -> None:
    await fill(api, runtime)
    token = (await send(api, "POST", "/tokens", {"name": "v", "role": "viewer"}, 201))["token"]
    async with visiting(application) as viewer:
        await viewer.sign_in(token)
        page = await viewer.get("/epics/jira/SHOP-2")
        assert "Editors can answer. You are a viewer." in _block(page)
        assert not [form for form in forms_of(page) if "answer" in form.fields]
        await viewer.send("/epics/jira/SHOP-2", {"do": "answer-value", "answer": SENTENCE}, expect=403)
        await viewer.get("/audit")
    headers = {"Authorization": f"Bearer {token}"}
    assert (await api.put(f"/api/v1{VALUE}", json={"answer": SENTENCE}, headers=headers)).status_code == 403
    assert (await api.get(f"/api/v1{VALUE}", headers=headers)).status_code == 200
    assert await send(api, "GET", VALUE) == NOTHING


@pytest.mark.database
async def test_the_overview_counts_as_many_as_its_list_has(
    visitor: Visitor, api: httpx.AsyncClient, runtime: Runtime
) -> None:
    children = [stored_epic(20 + number, parent=Parent(f"SHOP-{number}")) for number in (1, 2, 3)]
    done = [stored_epic(8, status_category="done"), stored_epic(28, parent=Parent("SHOP-8"))]
    await store(runtime, "jira", [*children, *done])
    await send(api, "PUT", "/epics/jira/SHOP-3/value", {"answer": SENTENCE})
    page = await visitor.get("/")
    assert "2 initiatives do not say how they help the business" in words_of(page)
    assert "/epics?initiative=true&amp;value=unanswered" in page
    assert (await visitor.get("/epics?initiative=true&value=unanswered")).count("<tr data-row=") == 2
