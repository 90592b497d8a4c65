"""The filters and orders of epics and of key results."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from app.runtime import Runtime
from connectors.base import EpicRef, Missing, Parent
from mappings.tables import AgreementRow
from tests.support.goals_api import Q4, fields_refused, send
from tests.support.lists import item_keys
from tests.support.stored_epics import evaluate_due_epics, source_with, store, stored_epic

pytestmark = pytest.mark.database
_AT = datetime(2026, 3, 1, tzinfo=UTC)

EPICS = [
    stored_epic(1, title="Faster checkout", labels=("Growth", "infra"), assignees=("Ana", "Bo")),
    stored_epic(2, title="100% of the_cart", labels=("growth-2026",), parent=Parent("SHOP-1")),
    stored_epic(3, title="checkout again", assignees=("ana",), parent=Parent("OPS-9", title="Not here")),
    stored_epic(4, "Core", title="Ledger", labels=("GROWTH",), parent=Parent("Shop-1")),
    stored_epic(5, "CORE", title="Gone", labels=("growth",)),
]
KEYS = ["SHOP-1", "SHOP-2", "SHOP-3", "Core-4"]

FILTERS: list[tuple[str, list[str]]] = [
    ("", ["SHOP-1", "SHOP-2", "SHOP-3", "Core-4", "CORE-1"]),
    ("label=growth", ["SHOP-1", "Core-4"]),
    ("label=INFRA", ["SHOP-1"]),
    ("label=grow", []),
    ("label=growth&project=core", ["Core-4"]),
    ("project=CORE", ["Core-4", "CORE-1"]),
    ("source=JIRA&project=CORE", ["Core-4"]),
    ("source=other", ["CORE-1"]),
    ("assignee=ANA", ["SHOP-1", "SHOP-3"]),
    ("assignee=ANA&label=infra", ["SHOP-1"]),
    ("assignee=an", []),
    ("parent=shop-1", ["SHOP-2", "Core-4"]),
    ("parent=SHOP-1&source=other", []),
    ("parent=ops-9", ["SHOP-3"]),
    ("parent=OPS-9&q=cart", []),
    ("parent=none", []),
    ("q=CHECKOUT", ["SHOP-1", "SHOP-3"]),
    ("q=%25", ["SHOP-2"]),
    ("q=_", ["SHOP-2"]),
    ("q=/", []),
    ("q=core-", ["Core-4", "CORE-1"]),
    ("key_result=kr-1", ["SHOP-1", "Core-4"]),
    ("driver=growth", ["SHOP-1", "Core-4"]),
    ("driver=none", ["SHOP-2"]),
    ("driver=cost", []),  # the key result is missed
    ("driver=risk", []),
    ("check=no-key-result", ["CORE-1"]),
    ("check=closed-goal", ["SHOP-3"]),
    ("check=closed-goal&alignment=aligned", []),
    ("steered=true", ["SHOP-1", "Core-4"]),
    ("steered=false", ["SHOP-2", "SHOP-3", "CORE-1"]),
    ("steered=false&source=other", ["CORE-1"]),
]


async def _world(api: httpx.AsyncClient, runtime: Runtime) -> None:
    """KR-1 grows and is steered, KR-2 has no driver, KR-3 is missed; SHOP-1 to SHOP-3 are linked to them, and
    Core-4 inherits from SHOP-1."""
    for number, driver in ((1, "growth"), (2, None), (3, "cost")):
        await send(api, "POST", "/objectives", {"title": "An objective", "driver": driver}, 201)
        metric = {"baseline": 1, "target": 2}
        body = {"key": f"KR-{number}", "title": "A key result", "metric": metric}
        await send(api, "POST", f"/objectives/O-{number}/key-results", body, 201)
    await send(api, "POST", "/key-results/KR-1/check-ins", {"value": 1.5, "confidence": 1}, 201)
    async with runtime.sessions.begin() as session:
        for side in ("business", "it"):
            session.add(AgreementRow(key_result_id=1, side=side, name="Ana", baseline=1, target=2))
    await source_with(api, runtime, EPICS)
    await store(runtime, "jira", [], [Missing(EpicRef("005CORE", "CORE-5"), "deleted")])
    other = replace(stored_epic(1, "CORE"), remote_id="X")
    await source_with(api, runtime, [other], "other")
    links = [
        {"epic": {"source": "jira", "key": key}, "key_result": f"KR-{number}"}
        for number, key in enumerate(KEYS[:3], 1)
    ]
    await send(api, "POST", "/links/bulk", {"links": links})
    await send(api, "PATCH", "/key-results/KR-3", {"state": "missed"})


async def test_each_filter_lets_through_what_it_says(
    api: httpx.AsyncClient, runtime: Runtime, drain: Callable[[], Awaitable[None]]
) -> None:
    await _world(api, runtime)
    await drain()
    await evaluate_due_epics(runtime)
    for query, keys in FILTERS:
        assert await item_keys(api, f"/epics?{query}") == keys, query


async def test_a_parent_is_found_by_its_former_keys(api: httpx.AsyncClient, runtime: Runtime) -> None:
    await source_with(api, runtime, EPICS[:2])
    moved = replace(EPICS[0], key="NEW-7", project="NEW", updated_at=_AT)
    await store(runtime, "jira", [moved])
    for key in ("SHOP-1", "new-7"):
        assert await item_keys(api, f"/epics?parent={key}") == ["SHOP-2"], key
    await store(runtime, "jira", [replace(EPICS[1], parent=Parent("NEW-7"), updated_at=_AT)])
    for key in ("SHOP-1", "new-7"):
        assert await item_keys(api, f"/epics?parent={key}") == ["SHOP-2"], key


@pytest.mark.parametrize("limit", [1, 2, 50])
async def test_an_order_is_walked_page_by_page(api: httpx.AsyncClient, runtime: Runtime, limit: int) -> None:
    titles = ["b", "A", "c", "a", "B", "c"]
    epics = [
        stored_epic(number, title=title, updated_at=_AT - timedelta(days=number % 4))
        for number, title in enumerate(titles, 1)
    ]
    await source_with(api, runtime, epics)
    orders = {
        "id": [1, 2, 3, 4, 5, 6],
        "-id": [6, 5, 4, 3, 2, 1],
        "updated": [3, 2, 6, 1, 5, 4],
        "-updated": [4, 5, 1, 6, 2, 3],
        "title": [2, 4, 1, 5, 3, 6],
        "-title": [6, 3, 5, 1, 4, 2],
    }
    for sort, numbers in orders.items():
        page = await send(api, "GET", f"/epics?sort={sort}&limit={limit}&project=shop")
        walked = [item["key"] for item in page["items"]]
        while page["next"] is not None:
            page = await send(api, "GET", f"/epics?cursor={page['next']}&limit={limit}")
            walked += [item["key"] for item in page["items"]]
        assert walked == [f"SHOP-{number}" for number in numbers], sort


async def test_a_row_that_stays_comes_once_whatever_else_changes(
    api: httpx.AsyncClient, runtime: Runtime
) -> None:
    epics = [stored_epic(number, title=f"t{number}", updated_at=_AT) for number in range(1, 6)]
    await source_with(api, runtime, epics)
    page = await send(api, "GET", "/epics?sort=title&limit=2")
    moved = [replace(epics[0], title="t9"), replace(epics[3], title="t0"), stored_epic(6, title="t2")]
    await store(runtime, "jira", [replace(epic, updated_at=_AT + timedelta(days=1)) for epic in moved])
    rest = await item_keys(api, f"/epics?cursor={page['next']}")
    assert [item["key"] for item in page["items"]] == ["SHOP-1", "SHOP-2"]
    assert rest == ["SHOP-6", "SHOP-3", "SHOP-5", "SHOP-1"]


async def test_what_is_no_filter_is_refused(api: httpx.AsyncClient, runtime: Runtime) -> None:
    await source_with(api, runtime, EPICS[:2])
    wrong = {
        "source": "none", "key_result": "KR-9", "alignment": "crooked", "driver": "fame", "check": "none",
        "steered": "perhaps", "sort": "size", "q": "x" * 201, "label": "x" * 201, "parent": "x" * 301,
        "assigned": "ana",
    }  # fmt: skip
    for name, value in wrong.items():
        assert await fields_refused(api, "GET", f"/epics?{name}={value}", None) == [name], name
    for name, value in {"cycle": "Q9", "state": "open", "unlinked": "no way", "objective": "O-9"}.items():
        assert await fields_refused(api, "GET", f"/key-results?{name}={value}", None) == [name], name
    page = await send(api, "GET", "/epics?sort=title&limit=1")
    assert await fields_refused(api, "GET", f"/epics?cursor={page['next']}&sort=id", None) == ["cursor"]


async def test_the_longest_filters_have_a_cursor(api: httpx.AsyncClient, runtime: Runtime) -> None:
    letters = "\N{MATHEMATICAL BOLD SMALL A}" * 200
    epics = [
        stored_epic(
            number,
            project="P",
            title=letters,
            labels=(letters,),
            assignees=(letters,),
            parent=Parent(letters),
        )
        for number in (1, 2)
    ]
    await source_with(api, runtime, epics)
    query = "&".join(f"{name}={letters}" for name in ("label", "assignee", "parent", "q"))
    page = await send(api, "GET", f"/epics?{query}&limit=1&sort=title")
    assert await item_keys(api, f"/epics?cursor={page['next']}") == ["P-2"]


async def test_key_results_by_cycle_text_and_links(api: httpx.AsyncClient, runtime: Runtime) -> None:
    await send(api, "POST", "/cycles", Q4, 201)
    for cycle in ("2026-Q4", None):
        await send(api, "POST", "/objectives", {"title": "An objective", "cycle": cycle}, 201)
    for number, (objective, title, state) in enumerate(
        [("O-1", "Faster checkout", "active"), ("O-1", "100% up", "draft"), ("O-2", "checkout", "missed")], 1
    ):
        body = {"key": f"KR-{number}", "title": title, "state": state}
        await send(api, "POST", f"/objectives/{objective}/key-results", body, 201)
    await source_with(api, runtime, [stored_epic(1), stored_epic(2)])
    links = [
        {"epic": {"source": "jira", "key": f"SHOP-{number}"}, "key_result": f"KR-{number}"}
        for number in (1, 2)
    ]
    await send(api, "POST", "/links/bulk", {"links": links})
    await store(runtime, "jira", [], [Missing(EpicRef("002SHOP", "SHOP-2"), "deleted")])
    for query, keys in (
        ("cycle=2026-q4", ["KR-1", "KR-2"]),
        ("cycle=2026-Q4&state=draft", ["KR-2"]),
        ("q=CHECKOUT", ["KR-1", "KR-3"]),
        ("q=%25", ["KR-2"]),
        ("q=kr-2", ["KR-2"]),
        ("unlinked=true", ["KR-2", "KR-3"]),
        ("unlinked=false", ["KR-1"]),
        ("unlinked=true&objective=o-1", ["KR-2"]),
    ):
        assert await item_keys(api, f"/key-results?{query}") == keys, query
