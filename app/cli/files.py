"""`northing import` and `northing export`: the operations of the API, on this machine."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from app.files.exporting import count, csv_pieces, workbook
from app.files.importing import import_file, read_file
from app.server.bootstrap import open_secrets
from app.server.server import database_url, open_runtime
from app.server.signals import CommandFailed
from mappings.audit import COMMAND_LINE
from mappings.files.table import FILE_AT_MOST, MB

if TYPE_CHECKING:
    from app.runtime import Runtime
    from app.settings import Settings
    from mappings.exports.rows import ExportKind
    from mappings.imports.columns import KindName
    from mappings.imports.outcome import Imported, LineResult
    from mappings.imports.read import ReadOptions


class NoFile(CommandFailed):
    code = 2


STANDARD = "-"
LINES_SHOWN = 50
PIECE = 64 * 1024


# --- in ---------------------------------------------------------------------------------------


async def import_(
    settings: Settings, kind: KindName, path: str, options: ReadOptions, *, dry_run: bool, partial: bool
) -> int:
    """0 if no line is wrong, else 1. Raises `Invalid` for a file that cannot be read, `CommandFailed` where
    there is none, and what `open_runtime` raises."""
    data = await asyncio.to_thread(_read, path)
    with _progress() as progress:
        bar = progress.add_task("reading the file", total=None)
        file = await read_file(kind, data, options)
        progress.update(bar, description=f"applying {len(file.lines):,} lines")
        async with database_url(settings) as url, open_runtime(settings, url) as runtime:
            await open_secrets(runtime)
            done = await import_file(runtime, COMMAND_LINE, file, dry_run=dry_run, partial=partial)
    return _report(kind, done, dry_run=dry_run)


def _read(path: str) -> bytes:
    """One byte more than a file may have, at most: the reader then says what is wrong."""
    try:
        if path == STANDARD:
            data = sys.stdin.buffer.read(FILE_AT_MOST + 1)
        else:
            with Path(path).open("rb") as file:
                data = file.read(FILE_AT_MOST + 1)
    except OSError as error:
        raise NoFile(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > FILE_AT_MOST:
        raise CommandFailed(f"{path} has more than {FILE_AT_MOST // MB} MB; split it")
    return data


def _report(kind: str, done: Imported, *, dry_run: bool) -> int:
    wrong = [line for line in done.lines if line.outcome == "error"]
    if wrong:
        _print_lines(wrong, "what is wrong")
    changed = [line for line in done.lines if line.outcome == "changed"]
    if changed and dry_run:
        _print_lines(changed, "what would change")
    counts = {outcome: 0 for outcome in ("created", "changed", "same", "error")}
    for line in done.lines:
        counts[line.outcome] += 1
    shown = ", ".join(f"{number:,} {outcome}" for outcome, number in counts.items())
    applied = "applied" if done.applied else "nothing is applied" + (" (dry run)" if dry_run else "")
    Console(soft_wrap=True, highlight=False).print(Text(f"{kind}: {shown}; {applied}."))
    if done.runs:
        _print_note(
            f"Runs {', '.join(map(str, done.runs))} evaluate the epics it affects, by a server or a worker."
        )
    if wrong and not done.applied and not dry_run:
        _print_note("Mend these lines, or apply the others with --partial.")
    return 1 if wrong else 0


def _print_lines(lines: list[LineResult], what: str) -> None:
    table = Table("line", "key", what, box=None, pad_edge=False)
    for line in lines[:LINES_SHOWN]:
        table.add_row(str(line.line), Text(_visible(line.key or "")), Text(_visible(line.message)))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=200)
    console.print(table)
    if len(lines) > LINES_SHOWN:
        console.print(f"… and {len(lines) - LINES_SHOWN:,} more.")


def _visible(text: str) -> str:
    """What a file holds must not steer the terminal."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in text[:500])


# --- out --------------------------------------------------------------------------------------


async def export(settings: Settings, kind: ExportKind, form: Literal["csv", "xlsx"], path: str) -> int:
    """0. Raises `CommandFailed` where the file cannot be written, and what `open_runtime` raises."""
    if path == STANDARD and form == "xlsx" and sys.stdout.isatty():
        raise NoFile("a workbook is no text for a terminal; name a file with --output")
    async with database_url(settings) as url, open_runtime(settings, url) as runtime:
        # Now, so that a database in trouble leaves an earlier export as it is.
        try:
            file = sys.stdout.buffer if path == STANDARD else await asyncio.to_thread(open, path, "wb")
        except OSError as error:
            raise NoFile(f"{path} cannot be written: {error.strerror}") from None
        try:
            await _write(runtime, kind, form, file)
        finally:
            if path != STANDARD:
                file.close()
    return 0


async def _write(runtime: Runtime, kind: ExportKind, form: str, file: IO[bytes]) -> None:
    with _progress() as progress:
        bar = progress.add_task(f"exporting {kind}", total=await count(runtime, kind))

        def report(written: int) -> None:
            progress.update(bar, completed=written)

        if form == "xlsx":
            with await workbook(runtime, kind, report) as made:
                _copy(iter(lambda: made.read(PIECE), b""), file)
        else:
            async for piece in csv_pieces(runtime, kind, report):
                _copy([piece], file)
        file.flush()


def _copy(pieces: Iterable[bytes], file: IO[bytes]) -> None:
    for piece in pieces:
        file.write(piece)


# --- both -------------------------------------------------------------------------------------


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _print_note(line: str) -> None:
    Console(stderr=True, soft_wrap=True, highlight=False).print(Text(line))
