"""Lists: pages, cursors and filters, shown on objectives and their kin."""

from __future__ import annotations

import base64
import hashlib
import string
from typing import Any

import httpx
import pytest
from sqlalchemy import event, insert

from app.api.paging import Cursors
from app.runtime import Runtime
from mappings.tables import ObjectiveRow

pytestmark = pytest.mark.database


async def items(api: httpx.AsyncClient, path: str, **query: Any) -> dict[str, Any]:
    answer = await api.get(f"/api/v1{path}", params=query)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


async def refused(api: httpx.AsyncClient, path: str, **query: Any) -> list[str]:
    answer = await api.get(f"/api/v1{path}", params=query)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return [error["field"] for error in answer.json()["errors"]]


async def objectives(api: httpx.AsyncClient, count: int, **members: Any) -> list[str]:
    made = []
    for number in range(count):
        answer = await api.post("/api/v1/objectives", json={"title": f"Objective {number}", **members})
        assert answer.status_code == 201, answer.text
        made.append(answer.json()["key"])
    return made


async def walked(api: httpx.AsyncClient, path: str, **query: Any) -> list[list[Any]]:
    """The keys of every page to the last; the cursor leads on, and the limit where one is asked for."""
    limit = {"limit": query["limit"]} if "limit" in query else {}
    pages, page = [], await items(api, path, **query)
    while True:
        pages.append([item.get("key", item.get("id")) for item in page["items"]])
        if page["next"] is None:
            return pages
        page = await items(api, path, cursor=page["next"], **limit)


# --- pages ------------------------------------------------------------------------------------


async def test_pages_hold_every_row_once_by_id(api: httpx.AsyncClient) -> None:
    made = await objectives(api, 5)
    for limit, sizes in ((2, [2, 2, 1]), (5, [5]), (4, [4, 1]), (500, [5])):
        pages = await walked(api, "/objectives", limit=limit)
        assert [len(page) for page in pages] == sizes
        assert [key for page in pages for key in page] == made


async def test_an_empty_list_is_one_page(api: httpx.AsyncClient) -> None:
    for path in ("/cycles", "/objectives", "/key-results"):
        assert await items(api, path) == {"items": [], "next": None}


async def test_a_page_holds_fifty_where_nothing_else_is_asked(
    api: httpx.AsyncClient, runtime: Runtime
) -> None:
    keys = [f"O-{number}" for number in range(1, 52)]
    async with runtime.sessions.begin() as session:
        await session.execute(insert(ObjectiveRow), [{"key": key, "title": "An objective"} for key in keys])
    assert await walked(api, "/objectives") == [keys[:50], keys[50:]]


async def test_a_row_there_during_the_whole_walk_comes_exactly_once(api: httpx.AsyncClient) -> None:
    made = await objectives(api, 6)
    page = await items(api, "/objectives", limit=2)
    for gone in (made[0], made[1], made[3]):
        await api.delete(f"/api/v1/objectives/{gone}")
    await api.patch(f"/api/v1/objectives/{made[4]}", json={"title": "Renamed", "key": "AAA"})
    new = await objectives(api, 1)
    second = await items(api, "/objectives", limit=2, cursor=page["next"])
    third = await items(api, "/objectives", limit=2, cursor=second["next"])
    seen = [item["key"] for item in (*second["items"], *third["items"])]
    assert seen == [made[2], "AAA", made[5], *new]


async def test_check_ins_come_newest_first(api: httpx.AsyncClient) -> None:
    await objectives(api, 1)
    await api.post("/api/v1/objectives/O-1/key-results", json={"title": "T"})
    path = "/key-results/KR-1/check-ins"
    for value in range(5):
        await api.post(f"/api/v1{path}", json={"value": value, "confidence": 1})
    ids = [id for page in await walked(api, path, limit=2) for id in page]
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == 5


# --- filters ----------------------------------------------------------------------------------


async def test_filters_narrow_and_the_cursor_holds_them(api: httpx.AsyncClient) -> None:
    cycle = {"key": "Q1", "title": "Q1", "starts": "2027-01-01", "ends": "2027-03-31", "review": "monthly"}
    await api.post("/api/v1/cycles", json=cycle)
    first = await objectives(api, 1)
    growing = await objectives(api, 3, driver="growth", cycle="Q1", parent="O-1")
    drafts = await objectives(api, 2, driver="cost", state="draft", visibility="public")
    for query, keys in (
        ({"driver": "growth"}, growing),
        ({"cycle": "q1"}, growing),
        ({"parent": "o-1"}, growing),
        ({"state": "draft"}, drafts),
        ({"visibility": "public", "driver": "cost"}, drafts),
        ({"driver": "growth", "state": "draft"}, []),
        ({}, [*first, *growing, *drafts]),
    ):
        assert [item["key"] for item in (await items(api, "/objectives", **query))["items"]] == keys, query
    pages = await walked(api, "/objectives", driver="growth", limit=2)
    assert [key for page in pages for key in page] == growing
    for review, keys in (("monthly", ["Q1"]), ("quarterly", [])):
        assert [item["key"] for item in (await items(api, "/cycles", review=review))["items"]] == keys


async def test_key_results_by_objective_state_and_category(api: httpx.AsyncClient) -> None:
    await objectives(api, 2)
    for objective, state, category in (
        ("O-1", "active", "roi"),
        ("O-2", "draft", "roi"),
        ("O-2", None, None),
    ):
        body = {"title": "T", "state": state, "category": category}
        await api.post(f"/api/v1/objectives/{objective}/key-results", json=body)
    for query, keys in (
        ({"objective": "o-2"}, ["KR-2", "KR-3"]),
        ({"state": "draft"}, ["KR-2"]),
        ({"category": "roi", "objective": "O-1"}, ["KR-1"]),
    ):
        assert [item["key"] for item in (await items(api, "/key-results", **query))["items"]] == keys


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("/objectives", {"State": "draft"}, "State"),
    ("/objectives", {"state": "done"}, "state"),
    ("/objectives", {"state": ""}, "state"),
    ("/objectives", {"driver": "luck"}, "driver"),
    ("/objectives", {"visibility": "secret"}, "visibility"),
    ("/objectives", {"cycle": "none"}, "cycle"),
    ("/objectives", {"cycle": "\0"}, "cycle"),
    ("/objectives", {"parent": "none"}, "parent"),
    ("/key-results", {"objective": "none"}, "objective"),
    ("/key-results", {"category": "fun"}, "category"),
    ("/cycles", {"review": "weekly"}, "review"),
    ("/cycles", {"state": "active"}, "state"),
]


async def test_unknown_parameters_and_values_are_422(api: httpx.AsyncClient) -> None:
    for path, query, field in REFUSED:
        assert await refused(api, path, **query) == [field], query


# --- cursors ----------------------------------------------------------------------------------


ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"


def packed(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


async def test_a_cursor_that_is_not_ours_is_422(api: httpx.AsyncClient) -> None:
    await objectives(api, 2)
    ours = (await items(api, "/objectives", limit=1))["next"]
    content = base64.urlsafe_b64decode(ours + "=" * (-len(ours) % 4))
    assert b'"state":null' in content
    for cursor in (
        "",
        "x",
        "ü",
        "!!!!",
        "A" * 4001,
        ours[:-1],
        ours[1:],
        f"{ours}=A",
        packed(content.replace(b'"state":null', b'"state":5')),
        packed(content[16:]),
        packed(hashlib.blake2b(content[16:], digest_size=6).digest() + content[16:]),  # without a key
        ours[:-1] + ALPHABET[ALPHABET.index(ours[-1]) ^ 1],  # perhaps the same bytes
        f"{ours}=",
        packed(b"[" * 2900),
        packed(b"\xff\xfe"),
    ):
        assert await refused(api, "/objectives", cursor=cursor) == ["cursor"], cursor


@pytest.mark.parametrize(
    "content",
    [
        b"7", b"null", b"[]", b"[1]", b"[1,2]", b"[1,[]]", b"[1,{},3]", b'{"1":{}}', b"[1.5,{}]",
        b"[true,{}]", b'["1",{}]', b"[0,{}]", b"[-1,{}]", b"[9223372036854775808,{}]", b"[NaN,{}]", b"[1,{}]",
        b"\xff",
    ],
)  # fmt: skip
async def test_a_signed_cursor_of_another_shape_is_422(
    api: httpx.AsyncClient, runtime: Runtime, content: bytes
) -> None:
    """Not even who has the key, or an older version that signed something else, breaks a list."""
    cursors = Cursors(None, runtime.signing.key("cursor"), "/api/v1/objectives")
    cursor = packed(cursors.digest(content) + content)
    assert await refused(api, "/objectives", cursor=cursor) == ["cursor"]


async def test_a_cursor_leads_through_its_own_list_only(api: httpx.AsyncClient) -> None:
    await objectives(api, 3, driver="growth")
    cursor = (await items(api, "/objectives", driver="growth", limit=1))["next"]
    assert len((await items(api, "/objectives", driver="growth", cursor=cursor))["items"]) == 2
    assert await refused(api, "/objectives", driver="cost", cursor=cursor) == ["cursor"]
    assert await refused(api, "/key-results", cursor=cursor) == ["cursor"]
    # A list with the same filters, none, is another one too.
    await api.post("/api/v1/tokens", json={"name": "a", "role": "viewer"})
    await api.post("/api/v1/tokens", json={"name": "b", "role": "viewer"})
    cursor = (await items(api, "/tokens", limit=1))["next"]
    assert len((await items(api, "/tokens", cursor=cursor))["items"]) == 1
    assert await refused(api, "/sources", cursor=cursor) == ["cursor"]


# --- cost -------------------------------------------------------------------------------------


async def test_a_longer_page_asks_the_database_no_more(api: httpx.AsyncClient, runtime: Runtime) -> None:
    for number in range(12):
        cycle = {"key": f"C{number}", "title": "C", "review": "monthly"}
        await api.post("/api/v1/cycles", json={**cycle, "starts": "2027-01-01", "ends": "2027-03-31"})
        await objectives(api, 1, cycle=f"C{number}")
        await api.post(f"/api/v1/objectives/O-{number + 1}/key-results", json={"title": "T"})
        check_in = {"value": number, "confidence": 1}
        await api.post(f"/api/v1/key-results/KR-{number + 1}/check-ins", json=check_in)
    statements: list[str] = []

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(runtime.engine.sync_engine, "before_cursor_execute", count)
    for path in ("/objectives", "/key-results", "/cycles"):
        asked = []
        for limit in (1, 12):
            statements.clear()
            assert len((await items(api, path, limit=limit))["items"]) == limit
            asked.append(len(statements))
        assert 0 < asked[0] == asked[1], path
    event.remove(runtime.engine.sync_engine, "before_cursor_execute", count)
