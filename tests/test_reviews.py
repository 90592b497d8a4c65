"""Reviews: what an opening freezes, who may do what, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import pytest

from app.runtime import Runtime
from mappings.tables import LinkRow
from tests.support.clock import Clock
from tests.support.epic_rows import add_epic, add_source
from tests.support.goals_api import Q4, send

pytestmark = pytest.mark.database

ANN = {"name": "Ann Lee", "side": "business"}
BO = {"name": "Bo Ek", "side": "it"}
NOVEMBER = {"cycle": "2026-Q4", "held_on": "2026-11-27", "attendees": [ANN, BO]}


async def _fill(api: httpx.AsyncClient, runtime: Runtime) -> None:
    """A cycle with a key result, three open epics, one of them aligned, and a finished one."""
    await send(api, "POST", "/cycles", Q4, 201)
    objective = {"key": "O-1", "title": "Orders", "cycle": "2026-Q4", "driver": "growth", "owner": "ann"}
    await send(api, "POST", "/objectives", objective, 201)
    metric = {"unit": "%", "baseline": 2, "target": 4, "direction": "increase"}
    made = {"key": "KR-1", "title": "Conversion", "metric": metric}
    await send(api, "POST", "/objectives/O-1/key-results", made, 201)
    async with runtime.sessions.begin() as session:
        source = await add_source(session)
        epics = [
            await add_epic(session, source, f"SHOP-{number}", alignment=alignment)
            for number, alignment in enumerate(("aligned", "unaligned", None), 1)
        ]
        await add_epic(session, source, "SHOP-9", status_category="done", alignment="aligned")
        session.add(LinkRow(epic_id=epics[0].id, key_result_id=1, origin="manual", why="said so"))


async def test_an_opening_freezes(api: httpx.AsyncClient, runtime: Runtime, clock: Clock) -> None:
    clock.now = datetime(2026, 11, 27, 9, tzinfo=UTC)
    await _fill(api, runtime)
    review = await send(api, "POST", "/reviews", NOVEMBER, 201)
    assert (review["cycle"], review["epics"], review["previous"]) == ("2026-Q4", 3, None)
    assert (review["coverage"]["aligned"], review["coverage_rate"]) == (1, 0.5)
    page = await send(api, "GET", f"/reviews/{review['id']}/epics")
    assert [(one["key"], one["alignment"], one["key_results"]) for one in page["items"]] == [
        ("SHOP-1", "aligned", ["KR-1"]),
        ("SHOP-2", "unaligned", []),
        ("SHOP-3", None, []),
    ]
    assert await send(api, "GET", f"/reviews/{review['id']}") == review
