"""Which epics are initiatives, whichever way their children name them, and by what the policy names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text, update

from app.runtime import Runtime
from connectors.base import Epic, EpicRef, Missing, Parent
from mappings.governance.initiatives import initiative_ids, initiatives_among
from mappings.policy.document import Policy
from mappings.policy.operations import load_policy
from mappings.tables import EpicRow
from tests.support.goals_api import send
from tests.support.stored_epics import source_with, store, stored_epic

pytestmark = pytest.mark.database


def _by_id(epic: Epic) -> Parent:
    return Parent(epic.key, epic.remote_id, epic.title, epic.url)


async def _keys(runtime: Runtime, policy: Policy | None = None) -> list[str]:
    """The keys of the initiatives, found for all epics at once and for each that is asked for: the same."""
    async with runtime.sessions() as session:
        policy = policy or await load_policy(session)
        keys = {row.id: row.key for row in await session.scalars(select(EpicRow))}
        together = set(await session.scalars(initiative_ids(policy)))
        assert await initiatives_among(session, policy, list(keys)) == together
    return sorted(keys[id] for id in together)


async def test_an_epic_that_another_one_has_as_parent_is_an_initiative(
    api: httpx.AsyncClient, runtime: Runtime
) -> None:
    one, two, three, four = (stored_epic(number) for number in range(1, 5))
    epics = [
        *(one, two, three, four),
        stored_epic(11, parent=_by_id(one)),
        stored_epic(12, parent=_by_id(one)),
        stored_epic(13, parent=Parent("shop-2")),  # by its key alone, in any case
        stored_epic(14, parent=Parent("SHOP-3", "an id that nobody has")),
        stored_epic(15, parent=Parent("NOBODY-1")),
    ]
    await source_with(api, runtime, epics)
    assert await _keys(runtime) == ["SHOP-1", "SHOP-2", "SHOP-3"]


@pytest.mark.parametrize("own", [Parent("SHOP-1"), Parent("SHOP-1", "001SHOP")], ids=["by key", "by id"])
async def test_an_epic_that_is_its_own_parent_is_none_by_that(
    api: httpx.AsyncClient, runtime: Runtime, own: Parent
) -> None:
    await source_with(api, runtime, [stored_epic(1, parent=own), stored_epic(2)])
    assert await _keys(runtime) == []
    await store(runtime, "jira", [stored_epic(2, parent=own)])
    assert await _keys(runtime) == ["SHOP-1"]


async def test_removed_epics_are_no_initiatives_and_make_none(
    api: httpx.AsyncClient, runtime: Runtime
) -> None:
    one, two = stored_epic(1), stored_epic(2)
    children = [stored_epic(11, parent=_by_id(one)), stored_epic(12, parent=Parent("SHOP-2"))]
    await source_with(api, runtime, [one, two, *children])
    gone = [
        Missing(EpicRef(one.remote_id, one.key), "deleted"),
        Missing(EpicRef(children[1].remote_id, "SHOP-12"), "deleted"),
    ]
    await store(runtime, "jira", [], gone)
    assert await _keys(runtime) == []


async def test_a_parent_is_found_by_a_former_key_and_only_where_no_epic_has_that_key_now(
    api: httpx.AsyncClient, runtime: Runtime
) -> None:
    await source_with(api, runtime, [stored_epic(1), stored_epic(11, parent=Parent("SHOP-1"))])
    await store(runtime, "jira", [replace(stored_epic(1), key="CORE-7", project="CORE")])
    assert await _keys(runtime) == ["CORE-7"]
    await store(runtime, "jira", [replace(stored_epic(3), key="SHOP-1")])
    assert await _keys(runtime) == ["SHOP-1"]


async def test_a_parent_lies_in_another_source_of_the_tracker_and_not_of_another_one(
    api: httpx.AsyncClient, runtime: Runtime
) -> None:
    await source_with(api, runtime, [stored_epic(1)])
    await source_with(api, runtime, [stored_epic(2), stored_epic(12, parent=Parent("SHOP-1"))], "other")
    assert await _keys(runtime) == []
    async with runtime.sessions.begin() as session:
        await session.execute(text("UPDATE sources SET tracker = 'one'"))
        await session.execute(text("UPDATE epics SET tracker = 'one'"))
    assert await _keys(runtime) == ["SHOP-1"]


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        ({"types": ["initiative"]}, ["SHOP-1"]),
        ({"types": ["*ITI*"]}, ["SHOP-1"]),
        ({"types": ["Epic", "Idea"]}, ["CORE-3", "SHOP-2"]),
        ({"types": ["E?ic"]}, ["CORE-3", "SHOP-2"]),
        ({"types": ["E%"]}, []),
        ({"labels": ["Big_Bet"]}, ["SHOP-2"]),
        ({"labels": ["big_*"]}, ["SHOP-2"]),
        ({"labels": ["big?bet"]}, ["CORE-3", "SHOP-2"]),
        ({"labels": ["big"]}, []),
        ({"labels": ["BIG-BET"], "types": ["Initiative"]}, ["CORE-3", "SHOP-1"]),
        ({}, []),
    ],
)
async def test_the_policy_names_types_and_labels(
    api: httpx.AsyncClient, runtime: Runtime, names: dict[str, Any], keys: list[str]
) -> None:
    epics = [
        stored_epic(1, type="Initiative"),
        stored_epic(2, labels=("big_bet", "x")),
        stored_epic(3, "CORE", labels=("big-bet",)),
    ]
    await source_with(api, runtime, epics)
    assert await _keys(runtime, Policy(initiatives=names)) == keys


@pytest.mark.parametrize(
    ("scopes", "keys"),
    [
        ([{"project": "core", "initiatives": {"types": ["Epic"]}}], ["CORE-3", "SHOP-1"]),
        ([{"project": "core", "initiatives": {}}], ["SHOP-1"]),
        # The first that fits is used, whether it names initiatives or not.
        ([{"project": "SHOP"}, {"source": "JIRA", "initiatives": {"types": ["Epic"]}}], ["CORE-3", "SHOP-1"]),
        ([{"source": "other", "initiatives": {"types": ["Epic"]}}], ["CORE-4", "SHOP-1"]),
        ([{"initiatives": {"types": ["Epic"]}}], ["CORE-3", "SHOP-2"]),
    ],
)
async def test_a_scope_names_its_own(
    api: httpx.AsyncClient, runtime: Runtime, scopes: list[Any], keys: list[str]
) -> None:
    epics = [
        stored_epic(1, type="Idea"),
        stored_epic(2),
        stored_epic(3, "CORE"),
        stored_epic(4, "CORE", type="Idea"),
    ]
    await source_with(api, runtime, epics)
    assert await _keys(runtime, Policy(initiatives={"types": ["Idea"]}, scopes=scopes)) == keys


async def test_lists_show_and_filter_them(api: httpx.AsyncClient, runtime: Runtime) -> None:
    await source_with(
        api, runtime, [stored_epic(1), stored_epic(2), stored_epic(11, parent=_by_id(stored_epic(1)))]
    )
    await send(api, "PUT", "/epics/jira/SHOP-1/value", {"answer": "Fewer refunds are typed by hand."})
    await send(api, "PUT", "/epics/jira/SHOP-2/value", {"asked_of": "Dana"})

    async def found(query: str) -> list[str]:
        return [item["key"] for item in (await send(api, "GET", f"/epics?{query}"))["items"]]

    assert await found("initiative=true") == ["SHOP-1"]
    assert await found("initiative=false") == ["SHOP-2", "SHOP-11"]
    assert await found("value=answered") == ["SHOP-1"]
    assert await found("value=unanswered") == ["SHOP-2", "SHOP-11"]
    assert await found("initiative=true&value=unanswered") == []
    items = (await send(api, "GET", "/epics"))["items"]
    shown = {item["key"]: (item["initiative"], item["value"] and item["value"]["answer"]) for item in items}
    assert shown == {
        "SHOP-1": (True, "Fewer refunds are typed by hand."),
        "SHOP-2": (False, None),
        "SHOP-11": (False, None),
    }
    assert (await send(api, "GET", "/epics/jira/SHOP-2"))["value"]["asked_of"] == "Dana"
    await send(api, "GET", "/epics?value=perhaps", status=422)


async def test_pages_of_initiatives_hold_each_once(api: httpx.AsyncClient, runtime: Runtime) -> None:
    """Also where those that are looked at first hold too few of them, and where epics change meanwhile."""
    ids = range(1, 51)
    parents = {2: 1, 3: 1, 40: 39, 50: 49}  # by their children
    epics = [
        stored_epic(id, parent=_by_id(stored_epic(parents[id])) if id in parents else None) for id in ids
    ]
    await source_with(api, runtime, epics)

    async def walk(query: str, limit: int) -> list[str]:
        found, page = [], await send(api, "GET", f"/epics?{query}&limit={limit}")
        while True:
            found += [item["key"] for item in page["items"]]
            if page["next"] is None:
                return found
            page = await send(api, "GET", f"/epics?cursor={page['next']}&limit={limit}")

    for limit in (1, 2, 3, 50):
        assert await walk("initiative=true", limit) == ["SHOP-1", "SHOP-39", "SHOP-49"]
        backwards = await walk("initiative=true&sort=-id", limit)
        assert backwards == ["SHOP-49", "SHOP-39", "SHOP-1"]
    others = [f"SHOP-{id}" for id in ids if id not in (1, 39, 49)]
    assert await walk("initiative=false", 7) == others

    first = await send(api, "GET", "/epics?initiative=true&limit=1")
    async with runtime.sessions.begin() as session:
        await session.execute(update(EpicRow).where(EpicRow.key == "SHOP-1").values(title="Changed"))
        await session.execute(
            update(EpicRow)
            .where(EpicRow.key == "SHOP-20")
            .values(parent_key="SHOP-10", parent_remote_id=None)
        )
    rest = await send(api, "GET", f"/epics?cursor={first['next']}&limit=10")
    assert [item["key"] for item in rest["items"]] == ["SHOP-10", "SHOP-39", "SHOP-49"]
