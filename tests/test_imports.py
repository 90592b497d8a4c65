"""Files of objectives, key results and links through the API: a result a line, all or nothing, idempotent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import event, func, select

from app.runtime import Runtime
from mappings.tables import AuditEntryRow, LinkRow, ObjectiveRow
from tests.support.files import XLSX, a_workbook, exported, messages, outcomes, rows_of, send_file
from tests.support.goals_api import Q4, a_key_result, send
from tests.support.stored_epics import source_with, stored_epic
from tests.support.ticket_text import text_lines

pytestmark = pytest.mark.database
Drain = Callable[[], Awaitable[None]]

OBJECTIVES = """Key,Title,Description,Driver,Cycle,Parent,Owner,Sponsor,Weight,Visibility,Public Label,State
O-2,Sell online,,growth,2026-q4,o-1,Ann,,2.5,public,,active
O-1,"Grow, at last","two
lines",COST,2026-Q4,,,Bob,,confidential,Growth,draft
"""
KEY_RESULTS = """key,OBJECTIVE,title,description,owner,category,unit,baseline,target,direction,due,state
KR-1,o-1,Half of all orders,,Ann,revenue,%,0.1,50,increase,2026-12-31,
KR-2,O-1,-5 points,=formula,,,,-1.5,-5,decrease,,draft
"""


async def _objective(api: httpx.AsyncClient, key: str, **members: Any) -> None:
    await send(api, "POST", "/objectives", {"key": key, "title": f"The title of {key}", **members}, 201)


# --- objectives -------------------------------------------------------------------------------


async def test_objectives_come_in_and_again_are_the_same(api: httpx.AsyncClient) -> None:
    await send(api, "POST", "/cycles", Q4, 201)
    first = await send_file(api, "objectives", OBJECTIVES)
    assert [(line["line"], line["outcome"], line["key"]) for line in first["lines"]] == [
        (2, "created", "O-2"),
        (3, "created", "O-1"),
    ]
    assert first["applied"]
    assert first["counts"] == {"created": 2, "changed": 0, "same": 0, "error": 0}
    made = await send(api, "GET", "/objectives/O-2")
    assert (made["parent"], made["cycle"], made["weight"]) == ("O-1", "2026-Q4", 2.5)
    assert (await send(api, "GET", "/objectives/O-1"))["description"] == "two\nlines"
    again = await send_file(api, "objectives", OBJECTIVES)
    assert outcomes(again) == ["same", "same"]
    assert again["applied"]


async def test_a_column_left_out_leaves_and_an_empty_cell_clears(api: httpx.AsyncClient) -> None:
    await send_file(api, "objectives", "key,title,owner,weight,state\nO-1,Grow,Ann,3,draft\n")
    changed = await send_file(api, "objectives", "key,weight,state\no-1,,\n")
    assert [(line["outcome"], line["key"]) for line in changed["lines"]] == [("changed", "O-1")]
    made = await send(api, "GET", "/objectives/O-1")
    assert (made["title"], made["owner"], made["weight"], made["state"]) == ("Grow", "Ann", 1.0, "active")


async def test_lines_without_a_key_are_known_by_title_and_cycle(api: httpx.AsyncClient) -> None:
    await send(api, "POST", "/cycles", Q4, 201)
    file = "title,cycle\nGrow,\nGrow,2026-Q4\nSave,\nGrow,\n"
    first = await send_file(api, "objectives", file)
    assert [(line["outcome"], line["key"]) for line in first["lines"]] == [
        ("created", "O-1"),
        ("created", "O-2"),
        ("created", "O-3"),
        ("same", "O-1"),
    ]
    assert outcomes(await send_file(api, "objectives", file)) == ["same"] * 4
    ambiguous = await send_file(api, "objectives", "title,owner\nGrow,Ann\n")
    assert messages(ambiguous) == [(2, "key", "key: is needed: 2 have this title (O-1, O-2)")]


async def test_what_is_wrong_is_named_by_line_and_column_and_nothing_is_applied(
    api: httpx.AsyncClient,
) -> None:
    await _objective(api, "O-1")
    file = (
        "key,title,driver,cycle,parent,weight,visibility\n"
        "O-5,Fine,,,,,\n"
        "O 6,Bad key,,,,,\n"
        "O-7,,,,,,\n"
        "O-8,x,fast,2026-Q9,,-1,confidential\n"
        "O-9,x,,,O-99,,\n"
        "O-10,x,,,O-7,,\n"
        "O-11,x,,,O-11,,\n"
        "O-1,x,,,,many,\n"
    )
    answer = await send_file(api, "objectives", file)
    assert not answer["applied"]
    assert [(line, field) for line, field, _ in messages(answer)] == [
        (3, "key"), (4, "title"), (5, "driver"), (6, "parent"), (7, "parent"), (8, "parent"), (9, "weight"),
    ]  # fmt: skip
    by_line = {line: message for line, _, message in messages(answer)}
    assert by_line[5].startswith(
        "driver: must be one of growth, cost, experience, risk; weight: must be at least 0"
    )
    assert "public_label: is needed" in by_line[5]
    assert "cycle: there is no cycle '2026-Q9'; POST /api/v1/cycles makes it" in by_line[5]
    assert by_line[8] == "parent: makes a loop: O-11 under O-11"
    assert answer["lines"][0]["outcome"] == "created"
    await send(api, "GET", "/objectives/O-5", None, 404)
    partial = await send_file(api, "objectives", file, partial=True)
    assert partial["applied"]
    assert outcomes(partial) == outcomes(answer)
    await send(api, "GET", "/objectives/O-5")
    assert (await send(api, "GET", "/objectives/O-1"))["title"] == "The title of O-1"


async def test_loops_among_parents_of_a_file_and_of_what_is_stored(api: httpx.AsyncClient) -> None:
    await _objective(api, "O-1")
    await _objective(api, "O-2", parent="O-1")
    ring = await send_file(
        api, "objectives", "key,title,parent\nA,a,C\nB,b,A\nC,c,B\nD,d,C\nO-1,x,O-2\nE,e,O-2\n"
    )
    assert outcomes(ring) == ["error", "error", "error", "error", "error", "created"]
    by_line = dict((line, message) for line, _, message in messages(ring))
    assert by_line[2] == "parent: makes a loop: A under C under B under A"
    assert by_line[5] == "parent: there is no objective 'C'"
    assert "loop" in by_line[6]


async def test_levels_in_one_file_are_bounded(api: httpx.AsyncClient) -> None:
    lines = [f"O-{number},x,O-{number - 1 or ''}".replace("O-,", ",") for number in range(51, 0, -1)]
    file = "\n".join(["key,title,parent", *lines]).removesuffix("O-")
    answer = await send_file(api, "objectives", file)
    assert messages(answer) == [
        (2, "parent", "parent: more than 50 new levels in one file; import the upper ones first")
    ]
    assert (await send_file(api, "objectives", file, partial=True))["applied"]
    assert (await send(api, "GET", "/objectives/O-50"))["parent"] == "O-49"
    assert outcomes(await send_file(api, "objectives", file)) == ["created", *["same"] * 50]


async def test_the_same_line_twice_is_the_same_and_another_is_an_error(api: httpx.AsyncClient) -> None:
    file = "key,title,owner\nO-1,Grow,Ann\no-1,Grow,Ann\nO-1,Grow,Bob\n"
    answer = await send_file(api, "objectives", file, partial=True)
    assert outcomes(answer) == ["created", "same", "error"]
    assert messages(answer) == [(4, "owner", "owner: line 2 says otherwise of the same objective")]


async def test_a_dry_run_changes_nothing(api: httpx.AsyncClient, runtime: Runtime) -> None:
    answer = await send_file(api, "objectives", "title\nGrow\n", dry_run=True)
    assert (answer["applied"], answer["lines"][0]["key"]) == (False, "O-1")
    async with runtime.sessions() as session:
        assert await session.scalar(select(func.count()).select_from(ObjectiveRow)) == 0


async def test_ten_thousand_lines_with_a_bad_one_apply_nothing_or_all_but_that(
    api: httpx.AsyncClient,
) -> None:
    lines = [f"O-{number},Objective {number},{number / 8}" for number in range(1, 10_001)]
    lines[5_000] = "O-5001,Objective 5001,many"
    file = "\n".join(["key,title,weight", *lines])
    refused = await send_file(api, "objectives", file)
    assert not refused["applied"]
    assert messages(refused) == [(5_002, "weight", "weight: must be a number, and is 'many'")]
    assert await send(api, "GET", "/objectives?limit=1") == {"items": [], "next": None}
    applied = await send_file(api, "objectives", file, partial=True)
    assert applied["counts"] == {"created": 9_999, "changed": 0, "same": 0, "error": 1}
    keys = [row["key"] for row in rows_of(await exported(api, "objectives"))]
    assert keys == [f"O-{number}" for number in range(1, 10_001) if number != 5_001]


async def test_an_import_is_audited_as_the_operations_are(api: httpx.AsyncClient, runtime: Runtime) -> None:
    await _objective(api, "O-1")
    await send_file(api, "objectives", "key,title,parent\nO-2,Two,O-1\nO-1,New,\n")
    await send_file(api, "key-results", "key,objective,title\nKR-1,O-2,Half\n")
    async with runtime.sessions() as session:
        found = (await session.scalars(select(AuditEntryRow).order_by(AuditEntryRow.id))).all()
    shown = [(entry.who, entry.action, entry.what, entry.key) for entry in found]
    assert shown[1:] == [
        ("admin token", "created", "objective", "O-2"),
        ("admin token", "changed", "objective", "O-1"),
        ("admin token", "created", "key_result", "KR-1"),
    ]
    assert (found[1].after or {})["parent"] == "O-1"
    assert (found[2].before, found[2].after) == ({"title": "The title of O-1"}, {"title": "New"})


async def test_the_audit_asks_for_the_names_of_many_parents_at_once(
    api: httpx.AsyncClient, runtime: Runtime
) -> None:
    """Nobody evaluates while a file is applied: it holds the goals."""
    statements: list[str] = []

    def note(_: Any, __: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    above = "\n".join(f"O-{number},Above {number}," for number in range(100))
    await send_file(api, "objectives", f"key,title,parent\n{above}\n")
    below = "\n".join(f"O-{number + 100},Below {number},O-{number}" for number in range(100))
    event.listen(runtime.engine.sync_engine, "before_cursor_execute", note)
    try:
        made = await send_file(api, "objectives", f"key,title,parent\n{below}\n")
    finally:
        event.remove(runtime.engine.sync_engine, "before_cursor_execute", note)
    assert made["counts"]["created"] == 100
    assert len(statements) < 30
    async with runtime.sessions() as session:
        entries = await session.scalars(select(AuditEntryRow).where(AuditEntryRow.action == "created"))
        parents = [(entry.after or {})["parent"] for entry in entries if entry.key == "O-142"]
    assert parents == ["O-42"]


# --- key results ------------------------------------------------------------------------------


async def test_key_results_come_in_and_again_are_the_same(api: httpx.AsyncClient) -> None:
    await _objective(api, "O-1")
    assert outcomes(await send_file(api, "key-results", KEY_RESULTS)) == ["created", "created"]
    made = await send(api, "GET", "/key-results/KR-2")
    assert made["metric"] == {"unit": None, "baseline": -1.5, "target": -5.0, "direction": "decrease"}
    assert (made["title"], made["description"], made["state"]) == ("-5 points", "=formula", "draft")
    assert outcomes(await send_file(api, "key-results", KEY_RESULTS)) == ["same", "same"]


async def test_key_result_is_the_key_beside_a_title_and_else_the_title(api: httpx.AsyncClient) -> None:
    await _objective(api, "O-1")
    await send_file(api, "key-results", "Objective,Key Result,Title\nO-1,KR-7,Half\n")
    assert (await send(api, "GET", "/key-results/KR-7"))["title"] == "Half"
    await send_file(api, "key-results", "Objective,Key Result\nO-1,A quarter\n")
    assert (await send(api, "GET", "/key-results/KR-8"))["title"] == "A quarter"


async def test_a_key_result_stays_in_its_objective_which_must_exist(api: httpx.AsyncClient) -> None:
    await _objective(api, "O-1")
    await _objective(api, "O-2")
    await send_file(api, "key-results", KEY_RESULTS)
    file = "key,objective,title\nKR-1,O-2,x\nKR-9,O-9,x\nKR-8,,x\n"
    assert messages(await send_file(api, "key-results", file)) == [
        (2, "objective", "objective: is O-1; an import does not change it"),
        (3, "objective", "objective: there is no objective 'O-9'"),
        (4, "objective", "objective: is needed for a new key result"),
    ]


async def test_a_changed_metric_voids_the_agreements(api: httpx.AsyncClient) -> None:
    key = await a_key_result(api)
    await send(api, "POST", f"/key-results/{key}/agreements", {"side": "it", "name": "Ann"}, 201)
    await send_file(api, "key-results", f"key,target\n{key},9\n")
    (agreement,) = (await send(api, "GET", f"/key-results/{key}/agreements"))["items"]
    assert agreement["void_reason"] == "metric_changed"


async def test_a_changed_line_says_what_it_changes(api: httpx.AsyncClient) -> None:
    await _objective(api, "O-1")
    await send_file(api, "key-results", KEY_RESULTS)
    file = "key,title,owner,baseline\nKR-1,Other,Bo,0.1\nKR-2,-5 points,Ann,4\n"
    lines = (await send_file(api, "key-results", file, dry_run=True))["lines"]
    assert [line["message"] for line in lines] == [
        "changes title, owner",
        "changes owner, baseline, which voids its agreements",
    ]


async def test_a_closed_key_result_has_its_epics_evaluated(api: httpx.AsyncClient, runtime: Runtime) -> None:
    key = await a_key_result(api)
    await source_with(api, runtime, [stored_epic(1)])
    await send_file(api, "links", f"source,epic,key_result\njira,SHOP-1,{key}\n")
    body = f"key,state\n{key},missed\n"
    answer = await api.post("/api/v1/import/key-results", content=body, headers={"Content-Type": "text/csv"})
    assert answer.headers["Northing-Runs"]


@pytest.mark.parametrize("number", [1, 21])
async def test_new_keys_that_tickets_name_have_these_epics_evaluated(
    api: httpx.AsyncClient, runtime: Runtime, drain: Drain, number: int
) -> None:
    await source_with(api, runtime, [stored_epic(1, text=text_lines("Key-Result: kr-1")), stored_epic(2)])
    await _objective(api, "O-1")
    lines = [f"KR-{at},O-1,Result {at}" for at in range(1, number + 1)]
    await send_file(api, "key-results", "\n".join(["key,objective,title", *lines]))
    await drain()
    linked, other = (await send(api, "GET", "/epics"))["items"]
    assert (linked["alignment"], other["alignment"]) == ("aligned", None)


# --- links ------------------------------------------------------------------------------------


@pytest.fixture
async def shop(api: httpx.AsyncClient, runtime: Runtime) -> str:
    """Three epics SHOP-1 to SHOP-3 and the key of a key result."""
    await source_with(api, runtime, [stored_epic(number) for number in (1, 2, 3)])
    return await a_key_result(api)


async def test_links_come_in_and_again_are_the_same(api: httpx.AsyncClient, shop: str) -> None:
    file = (
        "Source;Epic;Key Result;Weight;Primary;Origin\n"
        f"jira;SHOP-1;{shop};2,5;yes;manual\n"
        f"JIRA;shop-2;{shop};;;\n"
        f"jira;SHOP-3;{shop};;;rule\n"
    )
    first = await send_file(api, "links", file)
    assert [(line["outcome"], line["key"]) for line in first["lines"]] == [
        ("created", "SHOP-1"),
        ("created", "SHOP-2"),
        ("same", "SHOP-3"),
    ]
    stored = (await send(api, "GET", "/links"))["items"]
    assert [(link["epic"]["key"], link["weight"], link["origin"]) for link in stored] == [
        ("SHOP-1", 2.5, "manual"),
        ("SHOP-2", 1.0, "manual"),
    ]
    assert outcomes(await send_file(api, "links", file)) == ["same"] * 3
    changed = await send_file(api, "links", f"source,epic,key_result,weight\njira,SHOP-1,{shop},3\n")
    assert outcomes(changed) == ["changed"]


async def test_wrong_links_apply_nothing_or_all_but_those(
    api: httpx.AsyncClient, runtime: Runtime, shop: str
) -> None:
    file = (
        "source,epic,key_result,weight,origin\n"
        f"jira,SHOP-1,{shop},,\n"
        f"jira,SHOP-9,{shop},,\n"
        f"other,SHOP-1,{shop},,\n"
        "jira,SHOP-2,KR-99,,\n"
        f"jira,SHOP-3,{shop},0,\n"
        f"jira,shop-1,{shop.lower()},,\n"
        f"jira,SHOP-1,{shop},2,\n"
        f"jira,,{shop},,\n"
        f"jira,SHOP-2,{shop},,somebody\n"
        f"jira,SHOP\x00,{shop},,\n"
        f'jira,SHOP-2,"{shop}, KR-99",,\n'
    )
    answer = await send_file(api, "links", file)
    assert not answer["applied"]
    assert [(line, field) for line, field, _ in messages(answer)] == [
        (3, "epic"), (4, "source"), (5, "key_result"), (6, "weight"), (8, "key_result"), (9, "epic"),
        (10, "origin"), (11, "epic"), (12, "key_result"),
    ]  # fmt: skip
    assert messages(answer)[-1][2].startswith("key_result: names several; a line links to one key result")
    assert outcomes(answer)[5] == "same"
    async with runtime.sessions() as session:
        assert await session.scalar(select(func.count()).select_from(LinkRow)) == 0
    assert (await send_file(api, "links", file, partial=True))["applied"]
    async with runtime.sessions() as session:
        assert await session.scalar(select(func.count()).select_from(LinkRow)) == 1


@pytest.mark.parametrize("format", ["csv", "xlsx"])
async def test_an_export_of_epics_with_key_results_filled_in_comes_in_as_links(
    api: httpx.AsyncClient, shop: str, format: str
) -> None:
    rows = rows_of(await exported(api, "epics"))
    assert [row["key"] for row in rows] == ["SHOP-1", "SHOP-2", "SHOP-3"]
    rows[1]["key_result"] = shop
    cells = [list(rows[0]), *(list(row.values()) for row in rows)]
    if format == "xlsx":
        answer = await send_file(api, "links", a_workbook(cells), type=XLSX)
    else:
        text = "\r\n".join(",".join(f'"{cell}"' for cell in row) for row in cells)
        answer = await send_file(api, "links", text, map="key:epic")
    assert outcomes(answer) == ["same", "created", "same"]
    assert answer["lines"][0]["message"] == "names no key result"
    (link,) = (await send(api, "GET", "/links"))["items"]
    assert (link["epic"]["key"], link["key_result"]) == ("SHOP-2", shop)
