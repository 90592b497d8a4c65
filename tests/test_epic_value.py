"""The value question: which epics are asked, what an answer is, who gave it, and its block of the page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.runtime import Runtime
from mappings.governance.value import is_placeholder
from tests.support.goals_api import send
from tests.support.pages import Visitor, visiting, words_of
from tests.support.triage import fill

pytestmark = pytest.mark.database


@pytest.fixture
async def visitor(application: FastAPI, api: httpx.AsyncClient, runtime: Runtime) -> AsyncIterator[Visitor]:
    await fill(api, runtime)
    async with visiting(application) as somebody:
        await somebody.sign_in()
        yield somebody


@pytest.mark.parametrize(
    ("answer", "is_one"),
    [
        ("n/a", True),
        ("N/A.", True),
        (" - ", True),
        ("TBD", True),
        ("to be defined", True),
        ("todo", True),
        ("None", True),
        ("?", True),
        ("…", True),
        ("123", True),
        ("Cuts the cost of a refund by half.", False),
        ("Не будет отменённых заказов", False),
        ("收入", False),
        ("None of our customers waits for a refund any more", False),
    ],
)
def test_a_placeholder_is_no_answer(answer: str, is_one: bool) -> None:
    assert is_placeholder(answer) is is_one


async def test_the_page_takes_an_answer(visitor: Visitor) -> None:
    path = "/epics/jira/SHOP-2"
    await visitor.send(
        path, {"do": "answer-value", "answer": "Fewer carts are left behind.", "driver": "growth"}
    )
    words = words_of(await visitor.get(path))
    assert "Fewer carts are left behind." in words
    print(words)
