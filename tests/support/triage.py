"""A source with epics to settle: SHOP-1 is aligned, SHOP-5 finished, the others are unaligned."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx

from app.runtime import Runtime
from tests.support.goals_api import send
from tests.support.stored_epics import evaluate_due_epics, source_with, stored_epic

HOSTILE = '<script>alert("x")</script> & co'
LONG = "Wort" * 125
RIGHT_TO_LEFT = "\u202etxt.exe \u05e9\u05dc\u05d5\u05dd"
_AT = datetime(2026, 3, 1, tzinfo=UTC)

EPICS = [
    stored_epic(1, title="Faster checkout", assignees=("ana",)),
    stored_epic(2, title="Checkout conversion on phones"),
    stored_epic(3, title=HOSTILE, assignees=("bo",), labels=("infra",)),
    stored_epic(4, "Core", title=LONG),
    stored_epic(5, title="Over", status="Done", status_category="done"),
    stored_epic(6, title=RIGHT_TO_LEFT),
]
# Created a day after the other, so that the list begins with the last.
DATED = [replace(epic, created_at=_AT + timedelta(days=number)) for number, epic in enumerate(EPICS)]


async def fill(api: httpx.AsyncClient, runtime: Runtime) -> None:
    """KR-1 to KR-3, and the epics; SHOP-1 is linked to KR-2."""
    for number, title in enumerate(("Checkout conversion from 2 to 4 %", "Cloud cost", "Ratings"), 1):
        made = await send(
            api, "POST", "/objectives", {"title": f"Objective {number}", "driver": "growth"}, 201
        )
        body = {"key": f"KR-{number}", "title": title}
        await send(api, "POST", f"/objectives/{made['key']}/key-results", body, 201)
    await source_with(api, runtime, DATED)
    link = {"epic": {"source": "jira", "key": "SHOP-1"}, "key_result": "KR-2"}
    await send(api, "POST", "/links", link, 201)
    await evaluate_due_epics(runtime)
