"""One import from the file's bytes to its answer: read in a thread, applied in one transaction."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from app import pipeline
from mappings.imports.columns import KINDS, FileColumn, KindName
from mappings.imports.operations import import_lines
from mappings.imports.outcome import Imported, NotApplied
from mappings.imports.read import Lines, ReadOptions, read_columns, read_lines

if TYPE_CHECKING:
    from app.runtime import Runtime


async def read_file(kind: KindName, data: bytes, options: ReadOptions) -> Lines:
    """Raises `Invalid` for a file that cannot be read as a whole."""
    return await asyncio.to_thread(read_lines, KINDS[kind], data, options)


async def read_file_columns(kind: KindName, data: bytes, options: ReadOptions) -> list[FileColumn]:
    """What the file calls its columns, and which of ours each is taken for. Raises `Invalid` as
    `read_file`."""
    return await asyncio.to_thread(read_columns, KINDS[kind], data, options)


async def import_file(
    runtime: Runtime, who: str, file: Lines, *, dry_run: bool = False, partial: bool = False
) -> Imported:
    """The result of each line; `runs` are those that workers execute after the answer."""
    try:
        async with runtime.transaction(who) as session:
            now = await runtime.now(session)
            done = await import_lines(session, file, now, dry_run=dry_run, partial=partial)
    except NotApplied as nothing:
        return nothing.result
    return Imported(done.lines, done.applied, await pipeline.evaluate_at_once(runtime, done.runs))
