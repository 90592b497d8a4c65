"""Files of goals and links: sent to the API, made as workbooks, and broken."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import xlsxwriter

CSV = "text/csv"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
SHEET = "xl/worksheets/sheet1.xml"


async def send_file(
    api: httpx.AsyncClient,
    kind: str,
    content: bytes | str,
    status: int = 200,
    *,
    type: str = CSV,
    **query: Any,
) -> Any:
    data = content.encode() if isinstance(content, str) else content
    path = f"/api/v1/import/{kind}"
    answer = await api.post(path, content=data, params=query, headers={"Content-Type": type})
    assert answer.status_code == status, answer.text
    return answer.json()


async def exported(api: httpx.AsyncClient, kind: str, format: str = "csv") -> bytes:
    answer = await api.get(f"/api/v1/export/{kind}", params={"format": format})
    assert answer.status_code == 200, answer.text
    return answer.content


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def outcomes(answer: Any) -> list[str]:
    return [line["outcome"] for line in answer["lines"]]


def messages(answer: Any) -> list[tuple[int, str, str]]:
    """Line, field and message of each line that is wrong."""
    return [
        (line["line"], line["field"], line["message"])
        for line in answer["lines"]
        if line["outcome"] == "error"
    ]


def a_workbook(
    rows: Sequence[Sequence[Any]],
    *,
    sheet: str | None = None,
    change: Callable[[Any, Any], None] | None = None,
    **options: Any,
) -> bytes:
    """A workbook of one sheet; `change` gets the workbook and the sheet before it is closed."""
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file, {"in_memory": True, **options})
    written = book.add_worksheet(sheet)
    for row, cells in enumerate(rows):
        for column, cell in enumerate(cells):
            if cell is not None:
                written.write(row, column, cell)
    if change is not None:
        change(book, written)
    book.close()
    return file.getvalue()


def with_part(workbook: bytes, name: str, part: bytes) -> bytes:
    """The workbook with this part in the place of its own."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(workbook)) as before,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as after,
    ):
        for member in before.namelist():
            after.writestr(member, part if member == name else before.read(member))
    return file.getvalue()


def sheet_xml(rows: str) -> bytes:
    start = '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
    return f"{start}{rows}</sheetData></worksheet>".encode()
