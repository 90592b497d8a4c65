"""Objectives, key results, links and epics in and out as CSV and XLSX."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from email.message import Message
from typing import IO, Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, Field

from app.api.deps import CallerDep, get_runtime, put_runs, response_headers
from app.api.guard import GuardedRouter
from app.api.problems import RETRY_LATER, Problem, error_responses
from app.auth.roles import Caller
from app.files.exporting import csv_pieces, workbook
from app.files.importing import import_file, read_file
from app.webhooks.body_budget import BodyBudget, BodyReservation, BudgetExhausted
from mappings.exports.rows import ExportKind
from mappings.files.table import FILE_AT_MOST, MB
from mappings.imports.columns import KINDS, KindName
from mappings.imports.outcome import Imported
from mappings.imports.read import Lines, ReadOptions

router = APIRouter(tags=["files"])

CSV, XLSX = "text/csv", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
# What programs send that do not know; the bytes tell.
_ACCEPTED = (
    CSV,
    XLSX,
    "application/octet-stream",
    "application/csv",
    "application/vnd.ms-excel",
    "text/plain",
)
PIECE = 64 * 1024


class FilesRouter(GuardedRouter):
    largest_body = FILE_AT_MOST


class FileUploads:
    """What imports of this process share: memory for the bodies that are being received, and turns, for a
    table takes many times the memory of its file."""

    def __init__(self) -> None:
        self.budget = BodyBudget(small=4 * MB, large=4 * FILE_AT_MOST)
        self.turns = asyncio.Semaphore(2)


# --- in ---------------------------------------------------------------------------------------


class LineOut(BaseModel):
    line: int = Field(description="Its number, as a spreadsheet program shows it.", examples=[2])
    outcome: Literal["created", "changed", "same", "error"] = Field(
        description="What the line does, or would do where nothing is applied."
    )
    key: str | None = Field(description="The goal's key, or the epic's; null where the line names none.")
    field: str | None = Field(description="The first column that is wrong.")
    message: str = Field(description="What is wrong with each column; or more about the outcome.")


class ReadAs(BaseModel):
    format: Literal["csv", "xlsx"] = Field(description="What the file is.")
    encoding: str | None = Field(description="Of a CSV file.")
    separator: str | None = Field(description="Of a CSV file.")
    sheet: str | None = Field(description="The sheet of a workbook that was taken.")
    decimal: Literal[",", "."] = Field(description="The decimal sign of numbers that are text.")
    header_line: int = Field(description="The line of the names of columns.")
    columns: list[str] = Field(description="Our names of its columns, in the file's order.")


class ImportOut(BaseModel):
    lines: list[LineOut] = Field(description="A result for each line below the header that is not empty.")
    applied: bool = Field(description="Whether what the lines say is stored now.")
    counts: dict[Literal["created", "changed", "same", "error"], int] = Field(
        description="How many lines have each outcome."
    )
    read_as: ReadAs = Field(description="How the file was read.")


_UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": (
            f"The file, up to {FILE_AT_MOST // MB} MB and 20,000 lines. CSV: UTF-8, UTF-16 or "
            "Windows-1252, separated by commas, semicolons or tabs."
        ),
        "content": {
            CSV: {
                "schema": {"type": "string"},
                "example": "key,title,cycle\r\nO-1,Grow the shop,2026-Q4\r\n",
            },
            XLSX: {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


async def _receive(request: Request, reserved: BodyReservation) -> bytes:
    """The file as it was sent; the router bounds it while it comes."""
    kind = request.headers.get("content-type", CSV).partition(";")[0].strip().lower()
    if kind not in _ACCEPTED:
        raise Problem(415, f"Send the file itself, with Content-Type: {CSV} or {XLSX}; this is {kind!r}.")
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        reserved.grow(size)
        parts.append(part)
    return b"".join(parts)


def _charset(request: Request) -> str | None:
    header = Message()
    header["Content-Type"] = request.headers.get("content-type", "")
    named = header.get_param("charset")
    return named if isinstance(named, str) and named else None


DryRun = Annotated[bool, Query(description="Answer what the file would do, and store nothing.")]
Partial = Annotated[bool, Query(description="Apply the lines without errors, even where others have some.")]
Maps = Annotated[
    list[str] | None,
    Query(
        alias="map",
        max_length=50,
        description="`theirs:ours` takes the file's column `theirs` as ours; `theirs:` leaves it out. "
        "May stand several times.",
        examples=[["Ziel:title"]],
    ),
]
Decimal = Annotated[
    Literal[",", "."] | None,
    Query(
        description="The decimal sign of numbers that are text. Without it a comma in a CSV file separated "
        "by semicolons, else a full stop."
    ),
]
Sheet = Annotated[
    str | None,
    Query(
        max_length=200,
        description="The sheet of a workbook. Without it the one named as the kind, else the first visible "
        "one with cells.",
    ),
]


async def _options(
    request: Request, maps: Maps = None, decimal: Decimal = None, sheet: Sheet = None
) -> ReadOptions:
    return ReadOptions(maps=maps or (), decimal=decimal, charset=_charset(request), sheet=sheet)


Options = Annotated[ReadOptions, Depends(_options)]


async def _import(
    kind: KindName,
    request: Request,
    response: Response,
    caller: Caller,
    options: ReadOptions,
    *,
    dry_run: bool,
    partial: bool,
) -> ImportOut:
    uploads: FileUploads = request.app.state.uploads
    runtime = get_runtime(request)
    try:
        with uploads.budget.reserve() as reserved:
            data = await _receive(request, reserved)
            async with uploads.turns:
                file = await read_file(kind, data, options)
                done = await import_file(runtime, caller.who, file, dry_run=dry_run, partial=partial)
                put_runs(response, done.runs)
                return await asyncio.to_thread(_show, file, done)
    except BudgetExhausted:
        raise Problem(503, "Too many files come at once; send it again.", headers=RETRY_LATER) from None


def _show(file: Lines, done: Imported) -> ImportOut:
    lines = [LineOut.model_validate(line, from_attributes=True) for line in done.lines]
    counts = {outcome: 0 for outcome in ("created", "changed", "same", "error")}
    for line in lines:
        counts[line.outcome] += 1
    table = file.table
    read_as = ReadAs(
        format=table.format,
        encoding=table.encoding,
        separator=table.separator,
        sheet=table.sheet,
        decimal=file.decimal,
        header_line=file.header_line,
        columns=list(file.columns),
    )
    return ImportOut.model_validate(
        {"lines": lines, "applied": done.applied, "counts": counts, "read_as": read_as}
    )


_ABOUT = """
The first line with names of columns is the header; these are known, in any case, with blanks or underscores:

{columns}

An empty cell clears a value, a column that is left out leaves it. Nothing is applied where a line is wrong,
unless `partial` is true. The same file again is all `same`. Every line has its result, also where nothing is
applied. {more}
"""
_MORE: dict[KindName, str] = {
    "objectives": "A line without a key is known by its title within its cycle.",
    "key-results": "A line without a key is known by its title within its objective. `Key Result` is the key "
    "where a title column stands beside it, else the title.",
    "links": "Only `manual` links are made; lines of another origin are `same`. An export of epics whose "
    "column `key_result` is filled comes in as it is.",
}


def _about(kind: KindName) -> str:
    columns = "\n".join(
        f"- `{column.name}`: {column.what}" + (f" One of {', '.join(column.words)}." if column.words else "")
        for column in KINDS[kind].columns
    )
    return _ABOUT.format(columns=columns, more=_MORE[kind])


_IMPORT: dict[str, Any] = {
    "responses": {**response_headers(200, "Northing-Runs"), **error_responses(415)},
    "openapi_extra": _UPLOAD,
}


@router.post("/import/objectives", summary="Import objectives", description=_about("objectives"), **_IMPORT)
async def import_objectives(
    request: Request,
    response: Response,
    caller: CallerDep,
    options: Options,
    dry_run: DryRun = False,
    partial: Partial = False,
) -> ImportOut:
    return await _import("objectives", request, response, caller, options, dry_run=dry_run, partial=partial)


@router.post(
    "/import/key-results", summary="Import key results", description=_about("key-results"), **_IMPORT
)
async def import_key_results(
    request: Request,
    response: Response,
    caller: CallerDep,
    options: Options,
    dry_run: DryRun = False,
    partial: Partial = False,
) -> ImportOut:
    return await _import("key-results", request, response, caller, options, dry_run=dry_run, partial=partial)


@router.post("/import/links", summary="Import links", description=_about("links"), **_IMPORT)
async def import_links(
    request: Request,
    response: Response,
    caller: CallerDep,
    options: Options,
    dry_run: DryRun = False,
    partial: Partial = False,
) -> ImportOut:
    return await _import("links", request, response, caller, options, dry_run=dry_run, partial=partial)


# --- out --------------------------------------------------------------------------------------

Format = Annotated[Literal["csv", "xlsx"], Query(description="The form of the file.")]
_EXPORT: dict[str, Any] = {
    "response_class": StreamingResponse,
    "responses": {
        200: {
            "description": "The file; what the import takes.",
            "content": {
                CSV: {"schema": {"type": "string"}},
                XLSX: {"schema": {"type": "string", "format": "binary"}},
            },
        },
        **error_responses(409),
    },
}


async def _export(kind: ExportKind, request: Request, format: Literal["csv", "xlsx"]) -> Response:
    runtime = get_runtime(request)
    headers = {"Content-Disposition": f'attachment; filename="northing-{kind}.{format}"'}
    if format == "xlsx":
        async with request.app.state.uploads.turns:
            file = await workbook(runtime, kind)
        return StreamingResponse(_pieces(file), headers=headers, media_type=XLSX)
    pieces = csv_pieces(runtime, kind)
    # Before the answer begins: a database in trouble is a problem document, not half a file.
    start = [await anext(pieces), await anext(pieces)]
    return StreamingResponse(_after(start, pieces), headers=headers, media_type=CSV)


async def _after(start: list[bytes], pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for piece in start:
        yield piece
    async for piece in pieces:
        yield piece


async def _pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        while piece := await asyncio.to_thread(file.read, PIECE):
            yield piece


@router.get("/export/objectives", summary="Export objectives", **_EXPORT)
async def export_objectives(request: Request, format: Format = "csv") -> Response:
    return await _export("objectives", request, format)


@router.get("/export/key-results", summary="Export key results", **_EXPORT)
async def export_key_results(request: Request, format: Format = "csv") -> Response:
    return await _export("key-results", request, format)


@router.get("/export/links", summary="Export links", **_EXPORT)
async def export_links(request: Request, format: Format = "csv") -> Response:
    """Of all origins; the import makes only those by hand."""
    return await _export("links", request, format)


@router.get("/export/epics", summary="Export epics", **_EXPORT)
async def export_epics(request: Request, format: Format = "csv") -> Response:
    """Its column `key_result` is empty: filled with keys, the file comes in as links."""
    return await _export("epics", request, format)
