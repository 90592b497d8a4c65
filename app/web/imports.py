"""Goals and links from a file: what each line would do, then that it is done; and out again as files."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, cast, get_args

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.datastructures import UploadFile

from app.api import files
from app.api.deps import LARGEST_BODY, CallerDep, RuntimeDep, SessionDep
from app.api.files import FileUploads
from app.api.problems import RETRY_LATER, Problem
from app.files.importing import import_file, read_file, read_file_columns
from app.runtime import Runtime
from app.web.page import page
from app.web.router import Form, FormDep, needs
from app.webhooks.body_budget import BudgetExhausted
from mappings.errors import Invalid
from mappings.exports.rows import ExportKind
from mappings.files.table import FILE_AT_MOST, MB
from mappings.imports.columns import KINDS, FileColumn, KindName
from mappings.imports.outcome import Imported, LineResult, Outcome
from mappings.imports.read import Lines, ReadOptions

router = APIRouter()

LARGEST_FORM = FILE_AT_MOST + LARGEST_BODY  # the file, and the fields beside it
SHOWN = 200  # lines of each outcome
LEFT_OUT = "-"
OUTCOMES: tuple[Outcome, ...] = ("error", "created", "changed", "same")  # the first ones first


@dataclass(frozen=True, slots=True)
class Group:
    """The lines of one outcome: how many there are, and the first of them."""

    outcome: Outcome
    count: int
    lines: Sequence[LineResult]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the page shows of a file. `errors`: what is wrong with it as a whole. `checksum` names the file
    with what was chosen for it; `other`: it is not that of the dry run that was to be applied."""

    columns: Sequence[FileColumn] = ()
    groups: Sequence[Group] = ()
    runs: Sequence[int] = ()
    applied: bool = False
    checksum: str = ""
    other: bool = False
    read_as: str = ""
    errors: Sequence[tuple[str, str]] = ()

    def count(self, outcome: Outcome) -> int:
        return next((group.count for group in self.groups if group.outcome == outcome), 0)

    @property
    def changes(self) -> int:
        """How many lines do something, or did."""
        return self.count("created") + self.count("changed")

    @property
    def columns_open(self) -> bool:
        """Whether the person has to say what a column is."""
        return any(field in ("file", "map") for field, _ in self.errors)


# --- in -------------------------------------------------------------------------------------------


@router.get("/import", dependencies=[needs("GET /export/objectives")])
async def show_import(
    request: Request,
    session: SessionDep,
    kind: Annotated[KindName, Query(description="The kind that is chosen already.")] = "objectives",
) -> HTMLResponse:
    return await _show(request, session, {"kind": kind}, None)


@router.post("/import", dependencies=[needs("POST /import/objectives")])
async def import_posted(
    request: Request, runtime: RuntimeDep, session: SessionDep, caller: CallerDep, form: FormDep
) -> HTMLResponse:
    """Nothing is kept between the dry run and its application: the browser sends the file again, and it is
    applied only if it is the same one."""
    upload = form.file("file")
    if upload is None:
        answer = Answer(errors=[("file", "choose a file, or drop one here")])
        return await _show(request, session, form.values(), answer, 422)
    uploads: FileUploads = request.app.state.uploads
    try:
        with uploads.budget.reserve() as reserved:
            reserved.grow(upload.size or FILE_AT_MOST)
            data = await _content(upload)
            async with uploads.turns:
                answer = await _import(runtime, caller.who, form, data)
    except BudgetExhausted:
        raise Problem(503, "Too many files come at once; send it again.", headers=RETRY_LATER) from None
    return await _show(request, session, form.values(), answer, 422 if answer.errors else 200)


async def _content(upload: UploadFile) -> bytes:
    if (upload.size or 0) > FILE_AT_MOST:
        raise Problem(413, f"A file may have {FILE_AT_MOST // MB} MB at most here; split it.")
    return await upload.read()


async def _import(runtime: Runtime, who: str, form: Form, data: bytes) -> Answer:
    kind = _kind(form)
    options = ReadOptions(
        decimal=cast(Literal[",", "."], form.get("decimal")) if form.get("decimal") in (",", ".") else None,
        charset=form.get("charset") or None,
        sheet=form.get("sheet") or None,
    )
    columns: Sequence[FileColumn] = ()
    try:
        options = await _with_choices(kind, form, data, options)
        columns = await read_file_columns(kind, data, options)
        file = await read_file(kind, data, options)
    except Invalid as error:
        return Answer(columns=columns, errors=[(field, _on_page(text)) for field, text in error.errors])
    checksum = _checksum(kind, options, data)
    asked, partial = form.get("do").startswith("apply"), form.get("do") == "apply-others"
    same = form.get("checksum") == checksum
    done = await import_file(runtime, who, file, dry_run=not (asked and same), partial=partial)
    return await asyncio.to_thread(_answer, columns, file, done, checksum, other=asked and not same)


def _on_page(message: str) -> str:
    """Without the parameter of the API that mends it: the page has fields for that."""
    return message.partition("`map=")[0].rstrip("; .")


def _kind(form: Form) -> KindName:
    kind = form.get("kind")
    if kind not in get_args(KindName):
        raise Problem(422, f"kind: must be one of {', '.join(get_args(KindName))}")
    return cast(KindName, kind)


async def _with_choices(kind: KindName, form: Form, data: bytes, options: ReadOptions) -> ReadOptions:
    """With those columns of the file for which the person chose another one of ours than it is taken for."""
    chosen = dict(zip(form.all("theirs"), form.all("ours"), strict=False))
    if not chosen:
        return options
    maps = []
    for column in await read_file_columns(kind, data, options):
        ours = chosen.get(column.theirs, "")
        if ours == LEFT_OUT and column.ours != "":
            maps.append(f"{column.theirs}:")
        elif ours in KINDS[kind].by_name and ours != column.ours:
            maps.append(f"{column.theirs}:{ours}")
    return replace(options, maps=tuple(maps))


def _checksum(kind: KindName, options: ReadOptions, data: bytes) -> str:
    digest = hashlib.sha256(data)
    digest.update(repr((kind, options)).encode())
    return digest.hexdigest()


def _answer(
    columns: Sequence[FileColumn], file: Lines, done: Imported, checksum: str, *, other: bool
) -> Answer:
    by_outcome: dict[Outcome, list[LineResult]] = {outcome: [] for outcome in OUTCOMES}
    for line in done.lines:
        by_outcome[line.outcome].append(line)
    return Answer(
        columns=columns,
        groups=[Group(name, len(lines), lines[:SHOWN]) for name, lines in by_outcome.items() if lines],
        runs=done.runs,
        applied=done.applied and not other and bool(done.lines),
        checksum=checksum,
        other=other,
        read_as=_read_as(file),
    )


def _read_as(file: Lines) -> str:
    """How the file was read, in words."""
    table = file.table
    if table.format == "xlsx":
        return f"Read as XLSX, sheet “{table.sheet}”, its columns named in line {file.header_line}."
    separator = {",": "commas", ";": "semicolons", "\t": "tabs"}.get(table.separator or "", "commas")
    comma = "a decimal comma" if file.decimal == "," else "a decimal point"
    return f"Read as CSV in {table.encoding}, separated by {separator}, with {comma}."


async def _show(
    request: Request, session: AsyncSession, values: dict[str, Any], answer: Answer | None, status: int = 200
) -> HTMLResponse:
    kind = values.get("kind", "objectives")
    names: Collection[str] = KINDS[kind].names if kind in KINDS else ()
    shown = {
        "values": {**values, "kind": kind},
        "kinds": {"objectives": "Objectives", "key-results": "Key results", "links": "Links"},
        "exports": get_args(ExportKind),
        "names": names,
        "answer": answer,
        "left_out": LEFT_OUT,
        "most": FILE_AT_MOST // MB,
    }
    return await page(request, session, "import.html", shown, status)


# --- out ------------------------------------------------------------------------------------------


@router.get("/export/{kind}", dependencies=[needs("GET /export/objectives")])
async def export(
    kind: ExportKind, request: Request, format: Annotated[Literal["csv", "xlsx"], Query()] = "csv"
) -> Response:
    """What the API answers there, for a person with a session."""
    calls = {
        "objectives": files.export_objectives,
        "key-results": files.export_key_results,
        "links": files.export_links,
        "epics": files.export_epics,
    }
    answer = await calls[kind](request, format)
    answer.headers["Cache-Control"] = "no-store"
    return answer
