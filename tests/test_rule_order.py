"""The order of rules: the priorities that it takes, and what putting them in another one does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, strategies as st
from sqlalchemy import event, insert

from app.runtime import Runtime
from mappings.errors import Conflict, Invalid
from mappings.rules.operations import reorder_rules, rule_order
from mappings.rules.order import moved_to, new_order
from mappings.tables import RuleRow
from tests.support.clock import Clock
from tests.support.queries import all_of
from tests.support.world import World

database = pytest.mark.database

# Rules in the new order, each as id and priority; the priorities that change; the rules that moved.
ORDERS: list[tuple[list[tuple[int, int]], dict[int, int], set[int]]] = [
    ([], {}, set()),
    ([(1, 100)], {}, set()),
    ([(1, 100), (2, 100)], {}, set()),
    ([(2, 100), (1, 100)], {2: 50}, {2}),
    ([(1, 10), (3, 30), (2, 20)], {3: 15}, {3}),
    ([(2, 20), (3, 30), (1, 10)], {1: 40}, {1}),
    ([(3, 30), (1, 10), (2, 20)], {3: 5}, {3}),
    # No room between equal ones: all are given anew, but only one has moved.
    ([(1, 100), (3, 100), (2, 100)], {1: 10, 3: 20, 2: 30}, {3}),
    ([(1, 1), (3, 3), (2, 2)], {1: 10, 3: 20, 2: 30}, {3}),
    ([(2, 1), (1, 0)], {2: -10}, {2}),
    ([(2, 2**31 - 3), (3, 2**31 - 2), (1, 2**31 - 4)], {2: 10, 3: 20, 1: 30}, {1}),
]


@pytest.mark.parametrize(("rules", "changed", "moved"), ORDERS)
def test_few_priorities_change(
    rules: list[tuple[int, int]], changed: dict[int, int], moved: set[int]
) -> None:
    found = new_order(rules)
    assert (dict(found.priorities), set(found.moved)) == (changed, moved)


@given(st.lists(st.integers(-(2**31), 2**31 - 1) | st.integers(0, 5), max_size=12), st.randoms())
def test_any_order_comes_out_as_it_was_asked_for(priorities: list[int], draw: Any) -> None:
    rules = list(enumerate(priorities, 1))
    draw.shuffle(rules)
    found = new_order(rules)
    after = {id: found.priorities.get(id, old) for id, old in rules}
    assert sorted(after, key=lambda id: (after[id], id)) == [id for id, _ in rules]
    assert all(-(2**31) <= priority < 2**31 for priority in after.values())
    # Rules that did not move are in the order of before.
    kept = [(old, id) for id, old in rules if id not in found.moved]
    assert kept == sorted(kept)


@pytest.mark.parametrize(
    ("id", "place", "order"),
    [(1, 1, [1, 2, 3]), (1, 2, [2, 1, 3]), (1, 9, [2, 3, 1]), (3, 1, [3, 1, 2]), (3, -4, [3, 1, 2])],
)
def test_one_is_moved_to_a_place(id: int, place: int, order: list[int]) -> None:
    assert moved_to([1, 2, 3], id, place) == order


# --- stored ---------------------------------------------------------------------------------------


async def _rules(world: World, *names: str) -> list[int]:
    """Two epics, and rules that match both; the first to KR-1, the next to KR-2 and so on."""
    for title in ("Checkout", "Checkout again"):
        world.site.create("SHOP", title)
    await world.connect_jira()
    await world.sync("jira")
    ids = []
    for number, name in enumerate(names, 1):
        await world.goal(f"KR-{number}")
        rule = {"name": name, "when": {"title": "Checkout"}, "key_result": f"KR-{number}"}
        ids.append((await world.send("POST", "/rules", rule))["id"])
    await world.drain()
    return ids


async def _linked(world: World) -> list[str]:
    await world.drain()
    return [link["key_result"] for link in (await world.epic("jira", "SHOP-1"))["links"]]


@database
async def test_the_first_in_order_gives_the_link_and_each_source_has_one_run(world: World) -> None:
    first, second, third = await _rules(world, "A", "B", "C")
    assert await _linked(world) == ["KR-1"]
    answer = await world.api.put(
        "/api/v1/rules/order", json={"order": [third, first, second], "seen": [first, second, third]}
    )
    assert answer.json() == {"order": [third, first, second], "priorities": {str(third): 50}}
    runs = answer.headers["northing-runs"].split(",")
    assert len(runs) == 1
    assert (await world.send("GET", f"/runs/{runs[0]}"))["causes"] == ["rule C"]
    assert await _linked(world) == ["KR-3"]
    shown = await world.send("GET", "/rules?sort=order&limit=2")
    assert [rule["name"] for rule in shown["items"]] == ["C", "A"]
    rest = await world.send("GET", f"/rules?cursor={shown['next']}")
    assert [rule["name"] for rule in rest["items"]] == ["B"]
    again = await world.api.put("/api/v1/rules/order", json={"order": [third, first, second]})
    assert (again.json()["priorities"], "northing-runs" in again.headers) == ({}, False)


@database
async def test_an_order_is_taken_whole_or_not_at_all(world: World, runtime: Runtime) -> None:
    first, second = await _rules(world, "A", "B")
    stored = await all_of(runtime, "SELECT * FROM rules ORDER BY id")
    for order, seen, words in (
        ([second], None, "leaves out 'A'"),
        ([second, first, 99], None, "no rule 99 any more"),
        ([second, first], [second, first], "another order since"),
    ):
        problem = await world.send("PUT", "/rules/order", {"order": order, "seen": seen}, expect=409)
        assert words in problem["detail"], problem
    assert "twice" in (await world.refused("PUT", "/rules/order", {"order": [first, second, first]}))["order"]
    await world.refused("PUT", "/rules/order", {"order": [0]})
    assert await all_of(runtime, "SELECT * FROM rules ORDER BY id") == stored


@database
async def test_a_moved_rule_has_another_version_and_no_other_has_changed_since(world: World) -> None:
    first, second = await _rules(world, "A", "B")
    tags = {id: (await world.api.get(f"/api/v1/rules/{id}")).headers["etag"] for id in (first, second)}
    await world.send("PUT", "/rules/order", {"order": [second, first]})
    assert (await world.api.get(f"/api/v1/rules/{first}")).headers["etag"] == tags[first]
    assert (await world.api.get(f"/api/v1/rules/{second}")).headers["etag"] != tags[second]


@database
async def test_rules_that_only_get_other_numbers_evaluate_nothing(world: World, clock: Clock) -> None:
    """Between rules of one priority there is no room, so that each gets another; one has moved."""
    first, second, third = await _rules(world, "A", "B", "C")
    unmatched = (await world.send("GET", f"/rules/{second}"))["unmatched_since"]
    clock.advance(days=1)
    answer = await world.api.put("/api/v1/rules/order", json={"order": [first, third, second]})
    assert answer.json()["priorities"] == {str(first): 10, str(third): 20, str(second): 30}
    assert (await world.send("GET", f"/runs/{answer.headers['northing-runs']}"))["causes"] == ["rule C"]
    # Only what moved counts as changed: from now on it has its chance to link anything.
    assert (await world.send("GET", f"/rules/{second}"))["unmatched_since"] == unmatched
    moved = datetime.fromisoformat((await world.send("GET", f"/rules/{third}"))["unmatched_since"])
    assert moved == clock.now


@contextmanager
def _statements(runtime: Runtime) -> Iterator[list[str]]:
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    event.listen(runtime.engine.sync_engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(runtime.engine.sync_engine, "before_cursor_execute", note)


@database
async def test_five_hundred_rules_take_the_statements_of_two(world: World, runtime: Runtime) -> None:
    await _rules(world, "A", "B")
    counted: list[int] = []
    for more in (0, 498):
        async with runtime.sessions.begin() as session:
            values: dict[str, Any] = {
                "when": {"label": "x"},
                "key_result_id": 1,
                "priority": 100,
                "enabled": True,
            }
            if more:
                rows = [{"name": f"Rule {number}", **values} for number in range(more)]
                await session.execute(insert(RuleRow), rows)
        with _statements(runtime) as sent:
            async with runtime.transaction("somebody") as session:
                order = (await rule_order(session))[::-1]
                found, runs = await reorder_rules(session, order, await runtime.now(session))
        assert (len(found.moved), len(runs)) == (len(order) - 1, 1)
        counted.append(len(sent))
        async with runtime.sessions() as session:
            assert await rule_order(session) == order
    # Of the 500 no two have room between them, so each is changed and has its line in the audit log.
    assert counted[1] <= counted[0] + 1, counted
    entries = await all_of(runtime, "SELECT count(*) FROM audit_log WHERE who = 'somebody'")
    assert entries[0][0] >= 500


@database
async def test_an_operation_raises_what_the_api_answers(runtime: Runtime) -> None:
    async with runtime.sessions.begin() as session:
        with pytest.raises(Conflict):
            await reorder_rules(session, [1], await runtime.now(session))
        with pytest.raises(Invalid):
            await reorder_rules(session, [1, 1], await runtime.now(session))
