"""Exports: what the import takes, unchanged there and back, and harmless in a spreadsheet program."""

from __future__ import annotations

import asyncio
import csv
import io
import tempfile
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from app.runtime import Runtime
from mappings.files.table import FILE_AT_MOST
from tests.support.files import CSV, XLSX, a_workbook, exported, outcomes, rows_of, send_file
from tests.support.goals_api import Q4, send
from tests.support.stored_epics import source_with, stored_epic

pytestmark = pytest.mark.database
NASTY = [
    "=1+1", "+1", "-1", "@SUM(A1)", "＝1", "'=1", "''-1", "'tis", 'a "quote", a;b\tc', "two\nlines", "a\r\nb",
    "1,250", "TRUE", "2026-12-31", "007", "1e5", "_x000D_", "Größe 😀", "http://a.b/c?d=e",
]  # fmt: skip


@pytest.fixture
async def goals(api: httpx.AsyncClient) -> None:
    """Objectives and key results whose texts and numbers are hard to write down."""
    await send(api, "POST", "/cycles", Q4, 201)
    for number, text in enumerate(NASTY, 1):
        members = {"title": text, "description": f"{text}\n", "owner": text, "weight": number / 3}
        await send(api, "POST", "/objectives", {"key": f"O{number}", "cycle": "2026-Q4", **members}, 201)
    for number, (baseline, target) in enumerate(
        [(-1.5, -1250.0), (0.1 + 0.2, 1e22), (1e-7, -0.0), (5, None)], 1
    ):
        body = {"title": NASTY[number], "metric": {"unit": "%", "baseline": baseline, "target": target}}
        await send(api, "POST", "/objectives/O1/key-results", {"due": f"2026-12-0{number}", **body}, 201)
    await send(api, "POST", "/objectives/O1/key-results", {"title": "Old", "due": "1970-01-01"}, 201)


@pytest.mark.usefixtures("goals")
@pytest.mark.parametrize(("format", "type"), [("csv", CSV), ("xlsx", XLSX)])
async def test_what_went_out_comes_in_again_the_same(api: httpx.AsyncClient, format: str, type: str) -> None:
    for kind, lines in (("objectives", len(NASTY)), ("key-results", 5)):
        file = await exported(api, kind, format)
        answer = await send_file(api, kind, file, type=type)
        assert outcomes(answer) == ["same"] * lines, answer
        assert answer["read_as"]["format"] == format


@pytest.mark.usefixtures("goals")
async def test_a_text_like_a_formula_is_a_text_and_a_negative_number_a_number(api: httpx.AsyncClient) -> None:
    objectives = rows_of(await exported(api, "objectives"))
    assert [row["title"] for row in objectives[:7]] == [
        "'=1+1", "'+1", "'-1", "'@SUM(A1)", "'＝1", "''=1", "'''-1",
    ]  # fmt: skip
    metrics = [(row["baseline"], row["target"]) for row in rows_of(await exported(api, "key-results"))]
    assert metrics[:2] == [("-1.5", "-1250"), ("0.30000000000000004", "1e+22")]
    with zipfile.ZipFile(io.BytesIO(await exported(api, "objectives", "xlsx"))) as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
        assert 'quotePrefix="1"' in book.read("xl/styles.xml").decode()
    assert "<f>" not in sheet
    assert "<t>=1+1</t>" in sheet


async def test_links_and_epics_go_out(api: httpx.AsyncClient, runtime: Runtime) -> None:
    await source_with(api, runtime, [stored_epic(1, title="=cmd()", labels=("a", "b")), stored_epic(2)])
    await send_file(api, "objectives", "key,title\nO-1,x\n")
    await send_file(api, "key-results", "key,title,objective\nKR-1,x,O-1\nKR-2,y,O-1\n")
    links = "source,epic,key_result,weight,primary\njira,SHOP-1,KR-2,2.5,yes\njira,SHOP-1,KR-1,,\n"
    await send_file(api, "links", links)
    assert (await exported(api, "links")).decode() == (
        "source,epic,key_result,weight,primary,origin\r\n"
        "jira,SHOP-1,KR-1,1,false,manual\r\njira,SHOP-1,KR-2,2.5,true,manual\r\n"
    )
    assert (
        outcomes(await send_file(api, "links", await exported(api, "links", "xlsx"), type=XLSX))
        == ["same"] * 2
    )
    first, second = rows_of(await exported(api, "epics"))
    assert (first["key"], first["key_result"], first["title"]) == ("SHOP-1", "", "'=cmd()")
    assert (first["labels"], first["key_results"], first["created_at"]) == (
        "a, b", "KR-1, KR-2", "2026-01-05T00:00:00Z",
    )  # fmt: skip
    assert (second["source"], second["key_results"]) == ("jira", "")


async def test_an_export_names_its_file_and_its_form(api: httpx.AsyncClient) -> None:
    answer = await api.get("/api/v1/export/key-results")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="northing-key-results.csv"'
    assert next(csv.reader(io.StringIO(answer.text)))[:3] == ["key", "objective", "title"]
    assert (await api.get("/api/v1/export/key-results?format=ods")).status_code == 422
    assert (await api.get("/api/v1/export/everything")).status_code == 404


async def test_a_viewer_exports_and_an_editor_imports(api: httpx.AsyncClient) -> None:
    made = await send(api, "POST", "/tokens", {"name": "v", "role": "viewer"}, 201)
    viewer = {"Authorization": f"Bearer {made['token']}", "Content-Type": CSV}
    assert (await api.get("/api/v1/export/epics", headers=viewer)).status_code == 200
    refused = await api.post("/api/v1/import/links", content=b"", headers=viewer)
    assert refused.status_code == 403
    assert (
        await api.get("/api/v1/export/epics", headers={"Authorization": "Bearer x" * 9})
    ).status_code == 401


# --- uploads ----------------------------------------------------------------------------------


@pytest.mark.parametrize("type", ["application/json", "multipart/form-data; boundary=x", "image/png"])
async def test_what_is_no_file_is_refused(api: httpx.AsyncClient, type: str) -> None:
    assert "Content-Type: text/csv or" in (await send_file(api, "links", "{}", 415, type=type))["detail"]


async def test_an_upload_is_bounded_while_it_comes(api: httpx.AsyncClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 64 * 1024
            yield b"a" * 64 * 1024

    answer = await api.post("/api/v1/import/links", content=endless(), headers={"Content-Type": CSV})
    assert (answer.status_code, answer.json()["detail"]) == (413, "A body may have 8 MB at most here.")
    assert sent <= FILE_AT_MOST + 128 * 1024
    await send_file(api, "links", b"a" * (FILE_AT_MOST + 1), 413)


async def test_too_many_files_at_once_are_asked_to_come_again(
    api: httpx.AsyncClient, application: FastAPI
) -> None:
    with application.state.uploads.budget.reserve() as taken:
        taken.grow(4 * FILE_AT_MOST)
        answer = await api.post(
            "/api/v1/import/links", content=b"a" * FILE_AT_MOST, headers={"Content-Type": CSV}
        )
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
        await send_file(api, "objectives", "title\nGrow\n")


async def test_a_file_that_cannot_be_read_is_refused_whole(api: httpx.AsyncClient) -> None:
    refused = await send_file(api, "links", b"%PDF-1.7", 422, type=XLSX)
    assert refused["errors"] == [{"field": "file", "message": "is a PDF; save the table as XLSX or CSV"}]
    refused = await send_file(api, "links", "a\n", 422, map="b:epic")
    assert refused["errors"][0]["field"] == "map"
    refused = await send_file(api, "objectives", a_workbook([["title"]]), 422, sheet="x")
    assert refused["errors"][0]["field"] == "sheet"
    await send_file(api, "objectives", "title\n", 422, decimal=";")
    await send_file(api, "objectives", "title\n", 422, colour="red")


async def test_the_first_bytes_and_the_charset_tell_what_a_file_is(api: httpx.AsyncClient) -> None:
    book = a_workbook([["title"], ["Größe"]])
    assert (await send_file(api, "objectives", book, type=CSV))["read_as"]["format"] == "xlsx"
    text = "title\nGröße\n".encode("iso-8859-15")
    answer = await send_file(api, "objectives", text, type='text/csv; charset="ISO-8859-15"')
    assert (outcomes(answer), answer["read_as"]["encoding"]) == (["same"], "iso-8859-15")


async def test_exports_at_once_leave_no_file(
    api: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    answers = await asyncio.gather(*(exported(api, "epics", "xlsx") for _ in range(6)))
    assert all(answer.startswith(b"PK") for answer in answers)
    assert list(tmp_path.glob("northing-export-*")) == []
