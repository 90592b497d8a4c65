"""Exports: CSV a slice at a time, XLSX as a temporary file without a name, which ends with its reader."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from typing import IO, TYPE_CHECKING

from mappings.errors import Conflict
from mappings.exports.rows import EXPORTS, ExportKind, count_rows, read_slice
from mappings.files.write import ROWS_AT_MOST, Value, WorkbookWriter, csv_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.runtime import Runtime

Report = Callable[[int], None]  # called with the number of rows written so far


def _unreported(_: int) -> None:
    pass


async def count(runtime: Runtime, kind: ExportKind) -> int:
    async with runtime.sessions() as session:
        return await count_rows(session, kind)


async def csv_pieces(
    runtime: Runtime, kind: ExportKind, report: Report = _unreported
) -> AsyncIterator[bytes]:
    yield csv_rows([EXPORTS[kind].columns]).encode()
    written = 0
    async for rows in _slices(runtime, kind):
        # In a thread: another request waits for a few of these lines, not for all.
        yield (await asyncio.to_thread(csv_rows, rows)).encode()
        written += len(rows)
        report(written)


async def workbook(runtime: Runtime, kind: ExportKind, report: Report = _unreported) -> IO[bytes]:
    """The workbook, at its start; closing it deletes it. Raises `Conflict` for more rows than a sheet has."""
    if await count(runtime, kind) > ROWS_AT_MOST:
        raise Conflict(f"A sheet holds {ROWS_AT_MOST:,} rows, and there are more {kind}; export CSV.")
    file = tempfile.TemporaryFile(prefix="northing-export-")  # noqa: SIM115  # closed by its reader
    try:
        with tempfile.TemporaryDirectory(prefix="northing-export-") as folder:
            writer = WorkbookWriter(file, folder, kind, EXPORTS[kind].columns)
            written = 0
            async for rows in _slices(runtime, kind):
                await asyncio.to_thread(writer.write, rows)
                written += len(rows)
                report(written)
            await asyncio.to_thread(writer.close)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


async def _slices(runtime: Runtime, kind: ExportKind) -> AsyncIterator[Sequence[Sequence[Value]]]:
    after: int | None = 0
    while after is not None:
        async with runtime.sessions() as session:
            found = await read_slice(session, kind, after)
        yield found.rows
        after = found.last_id
