"""The page that imports files: what it would do, that it does it, columns that it has to ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from mappings.files.table import FILE_AT_MOST
from mappings.imports.columns import KEY_RESULTS, LINKS, FileColumn, file_columns
from tests.support.files import XLSX, a_workbook
from tests.support.goals_api import send
from tests.support.pages import Visitor, forms_of, visiting, words_of

GOOD = "key,title,driver\nO-1,Grow,growth\nO-2,Save,cost\n"
WITH_ONE_WRONG = "key,title,weight\nO-1,Grow,1\nO-2,Save,many\n"


@pytest.fixture
async def visitor(application: FastAPI) -> AsyncIterator[Visitor]:
    async with visiting(application) as made:
        await made.sign_in()
        yield made


async def post(
    visitor: Visitor,
    content: str | bytes,
    do: str = "try",
    expect: int = 200,
    name: str = "o.csv",
    **more: Any,
) -> str:
    data = content.encode() if isinstance(content, str) else content
    values = {"kind": "objectives", "do": do, **more}
    answer = await visitor.send("/import", values, files={"file": (name, data)}, expect=expect)
    return answer.text


def hidden(html: str, name: str) -> str:
    found = [form.fields[name] for form in forms_of(html) if name in form.fields]
    assert found, name
    return found[0]


def buttons(html: str) -> set[str]:
    return {value for form in forms_of(html) for name, value in form.buttons if name == "do"}


async def objectives(api: httpx.AsyncClient) -> list[str]:
    return [one["key"] for one in (await send(api, "GET", "/objectives"))["items"]]


async def test_a_file_is_shown_line_by_line_and_then_applied(
    api: httpx.AsyncClient, visitor: Visitor
) -> None:
    html = await post(visitor, GOOD)
    assert "Nothing is applied yet. 2 new." in words_of(html)
    assert "Read as CSV in utf-8, separated by commas, with a decimal point." in words_of(html)
    assert buttons(html) == {"try", "apply"}
    assert await objectives(api) == []
    done = await post(visitor, GOOD, "apply", checksum=hidden(html, "checksum"))
    assert "Applied: 2 created." in words_of(done)
    assert await objectives(api) == ["O-1", "O-2"]
    again = await post(visitor, GOOD)
    assert "Nothing is applied yet. 2 the same as here." in words_of(again)
    assert buttons(again) == {"try"}
    written = (await send(api, "GET", "/audit-log"))["items"]
    assert {one["who"] for one in written if one["what"] == "objective"} == {"admin token"}


async def test_another_file_than_the_one_that_was_shown_is_not_applied(
    api: httpx.AsyncClient, visitor: Visitor
) -> None:
    checksum = hidden(await post(visitor, GOOD), "checksum")
    for content, decimal in ((GOOD + "O-3,Third,risk\n", ""), (GOOD, ",")):
        html = await post(visitor, content, "apply", checksum=checksum, decimal=decimal)
        assert "is not that of the last look" in words_of(html)
    assert await objectives(api) == []
    await post(visitor, GOOD, "apply")  # without any dry run
    assert await objectives(api) == []


async def test_lines_that_are_wrong_come_first_and_the_others_can_be_applied(
    api: httpx.AsyncClient, visitor: Visitor
) -> None:
    html = await post(visitor, WITH_ONE_WRONG)
    shown = words_of(html)
    assert "Nothing is applied yet. 1 wrong, 1 new." in shown
    assert shown.index("weight: ") < shown.index("O-1")
    assert buttons(html) == {"try", "apply-others"}
    checksum = hidden(html, "checksum")
    assert "Nothing is applied yet" in words_of(
        await post(visitor, WITH_ONE_WRONG, "apply", checksum=checksum)
    )
    assert await objectives(api) == []
    done = await post(visitor, WITH_ONE_WRONG, "apply-others", checksum=checksum)
    assert "Applied: 1 wrong, 1 created." in words_of(done)
    assert await objectives(api) == ["O-1"]


async def test_columns_that_are_not_known_are_asked_for(api: httpx.AsyncClient, visitor: Visitor) -> None:
    file = "Nr,Ziel,<b>Notiz</b>\nO-1,Wachsen,x\n"
    html = await post(visitor, file, expect=422)
    assert "This file cannot be read yet" in words_of(html)
    assert "<title>1 problem · " in html
    assert "&lt;b&gt;Notiz" in html
    assert html.count('name="theirs"') == 3
    assert "map=" not in html
    theirs = ["Nr", "Ziel", "<b>Notiz</b>"]
    mapped = await post(visitor, file, theirs=theirs, ours=["key", "title", "-"])
    assert "Nothing is applied yet. 1 new." in words_of(mapped)
    checksum = hidden(mapped, "checksum")
    await post(visitor, file, "apply", checksum=checksum, theirs=theirs, ours=["key", "title", "-"])
    assert (await send(api, "GET", "/objectives/O-1"))["title"] == "Wachsen"
    # Choices for the columns of another file do no harm.
    other = await post(visitor, "key,title\nO-2,Sparen\n", theirs=["Nr", "weg"], ours=["key", "title"])
    assert "Nothing is applied yet. 1 new." in words_of(other)


async def test_workbooks_decimal_commas_and_sheets(api: httpx.AsyncClient, visitor: Visitor) -> None:
    comma = await post(visitor, "key;title;weight\nO-1;Grow;1,5\n")
    assert "with a decimal comma" in words_of(comma)
    point = await post(visitor, "key;title;weight\nO-1;Grow;1,5\n", decimal=".")
    assert "1 wrong" in words_of(point)
    book = a_workbook([["key", "title"], ["O-7", "From a book"]])
    html = await post(visitor, book, name="o.xlsx")
    assert "Read as XLSX, sheet “" in words_of(html)
    missing = await post(visitor, book, name="o.xlsx", sheet="Nowhere", expect=422)
    assert "Its sheet:" in words_of(missing)


async def test_what_cannot_be_imported_is_said_in_the_form(visitor: Visitor) -> None:
    assert "choose a file" in words_of((await visitor.send("/import", {"kind": "links"}, expect=422)).text)
    assert "is empty" in words_of(await post(visitor, "", expect=422))
    assert "must be one of" in words_of(await post(visitor, GOOD, kind="epics", expect=422))
    await visitor.get("/import?kind=nothing", expect=422)
    assert 'value="links" checked' in await visitor.get("/import?kind=links")


async def test_a_file_may_be_as_large_as_by_the_api(visitor: Visitor) -> None:
    wide = "key,title,description\n" + "".join(f"O-{n},Goal {n},{'x' * 6_000}\n" for n in range(300))
    assert len(wide) > 1_500_000
    html = await post(visitor, wide)
    assert "Nothing is applied yet. 300 new." in words_of(html)
    assert "100 more lines have this outcome and are not shown" in words_of(html)
    token = hidden(await visitor.get("/import"), "_token")
    for size in (FILE_AT_MOST + 1, FILE_AT_MOST + 2 * 1024**2):
        upload = {"file": ("o.csv", b"x" * size)}
        answer = await visitor.http.post(
            "/import", data={"_token": token, "kind": "objectives"}, files=upload
        )
        assert answer.status_code == 413


async def test_words_of_a_file_are_text(visitor: Visitor) -> None:
    title, right_to_left = "<script>alert(1)</script>", "\u202eevil"
    html = await post(visitor, f"key,title,driver\n{title},{title},{right_to_left}\nO-1,{'x' * 500},growth\n")
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


async def test_roles_and_forgery(api: httpx.AsyncClient, application: FastAPI) -> None:
    for role, imports in (("viewer", False), ("editor", True)):
        token = (await send(api, "POST", "/tokens", {"name": role, "role": role}, 201))["token"]
        async with visiting(application) as somebody:
            await somebody.sign_in(token)
            html = await somebody.get("/import")
            assert ("/export/links?format=csv" in html, 'type="file"' in html) == (True, imports)
            answer = await somebody.http.get("/export/objectives?format=csv")
            assert (answer.status_code, answer.text.startswith("key,title")) == (200, True)
            forged = await somebody.http.post(
                "/import", data={"kind": "objectives"}, files={"file": ("o", GOOD)}
            )
            assert forged.status_code == 403
    assert await objectives(api) == []


@pytest.mark.parametrize("kind", ["objectives", "key-results", "links", "epics"])
async def test_exports_are_those_of_the_api(api: httpx.AsyncClient, visitor: Visitor, kind: str) -> None:
    html = await visitor.get("/import")
    for format in ("csv", "xlsx"):
        assert f'href="/export/{kind}?format={format}"' in html
    page = await visitor.http.get(f"/export/{kind}")
    assert page.content == (await api.get(f"/api/v1/export/{kind}")).content
    assert page.headers["content-disposition"] == f'attachment; filename="northing-{kind}.csv"'
    assert (await visitor.http.get(f"/export/{kind}?format=xlsx")).headers["content-type"] == XLSX
    await visitor.get("/export/tokens", expect=422)


@pytest.mark.parametrize(
    ("kind", "cells", "expected"),
    [
        (KEY_RESULTS, ["Key Result", "Title"], ["key", "title"]),
        (KEY_RESULTS, ["Key Result", "Owner", ""], ["title", "owner"]),
        (LINKS, ["Source", "Epic", "KR", "Status", "Wert"], ["source", "epic", "key_result", "", None]),
    ],
)
def test_what_a_files_columns_are_taken_for(kind: Any, cells: list[str], expected: list[str | None]) -> None:
    named = [cell for cell in cells if cell]
    found = file_columns(kind, cells, {})
    assert found == [FileColumn(name, ours) for name, ours in zip(named, expected, strict=True)]
    assert file_columns(kind, cells, {"wert": "weight"})[-1].ours in (expected[-1], "weight")
