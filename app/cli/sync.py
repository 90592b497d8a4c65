"""`northing sync`: synchronise one source now, by a worker of this process or of a running server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text
from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.jobs.worker import worker_running
from app.run_words import state_in_words
from app.runtime import Runtime
from app.server.bootstrap import open_secrets
from app.server.server import database_url, open_runtime, run_until_exit
from app.settings import Settings
from mappings.audit import COMMAND_LINE
from mappings.leases import is_held
from mappings.lookups import source_for_command
from mappings.notices.claims import count_writes
from mappings.sources.operations import sync_source
from mappings.tables import EpicRow, NoticeRow, RunRow

Mode = Literal["incremental", "full"]
POLL_SECONDS = 0.2
WRITES_SOON = timedelta(minutes=2)


@dataclass(frozen=True)
class _Shown:
    """A run at one moment, and its writes by kind."""

    run: RunRow
    source: str
    writes: Mapping[str, int]

    @property
    def pending(self) -> int:
        return self.writes.get("pending", 0)


async def _read(session: AsyncSession, run: RunRow, source: str) -> _Shown:
    return _Shown(run, source, (await count_writes(session, [run.id]))[run.id])


async def sync(settings: Settings, name: str, mode: Mode) -> int:
    """0 for a run that succeeded, else 1. Raises `NotFound`, `Conflict` and what `open_runtime` raises."""
    async with database_url(settings) as url, open_runtime(settings, url) as runtime:
        await open_secrets(runtime)
        return await sync_and_report(runtime, name, mode)


async def sync_and_report(runtime: Runtime, name: str, mode: Mode) -> int:
    """Sync with a progress bar and print how it ended; 0 for a run that succeeded, else 1. Raises `NotFound`,
    `Conflict`."""
    source, run, known = await _open(runtime, name, mode)
    try:
        async with worker_running(runtime) as worker:
            with _progress() as progress:
                show = _ProgressBar(progress, source, known)
                shown = await run_until_exit([worker], _follow(runtime, source, run.id, show))
    except asyncio.CancelledError:
        _print_error(f"Stopped. Run {run.id} goes on where it stopped, with the next sync or by a server.")
        raise
    return _report(shown)


async def _open(runtime: Runtime, name: str, mode: Mode) -> tuple[str, RunRow, int | None]:
    """The source's name, the run that this opened or joined, and about how many epics it will see, if
    known."""
    async with runtime.transaction(COMMAND_LINE) as session:
        named = await source_for_command(session, name)
        run, source = await sync_source(session, named.name, mode, await runtime.now(session))
        live = select(func.count()).where(EpicRow.source_id == run.source_id, EpicRow.removed_at.is_(None))
        known = await session.scalar(live) if run.mode == "full" else None
        return source, run, known or None


async def _follow(runtime: Runtime, source: str, run_id: int, show: Callable[[_Shown], None]) -> _Shown:
    while True:
        async with runtime.sessions() as session:
            run = await session.get_one(RunRow, run_id)
            show(await _read(session, run, source))
            if run.finished_at is not None and not await _still_writing(
                session, run_id, await runtime.now(session)
            ):
                # The last comment may have been written after the run was read.
                await session.refresh(run)
                return await _read(session, run, source)
        await asyncio.sleep(POLL_SECONDS)


async def _still_writing(session: AsyncSession, run_id: int, now: datetime) -> bool:
    """Whether Northing is still writing the run's comments, or will within `WRITES_SOON`.

    A write that waits for longer (a paused tracker, the limit of edits an hour, a read-only project) may
    take a day and does not count.
    """
    left = select(NoticeRow.id).where(NoticeRow.run_id == run_id, NoticeRow.target.is_not(None))
    soon = or_(is_held(NoticeRow, now), NoticeRow.due_at <= now + WRITES_SOON)
    return await session.scalar(left.where(soon).limit(1)) is not None


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:.0f} epics seen"),
        TextColumn("{task.fields[state]}", markup=False),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


class _ProgressBar:
    """The progress bar of one run. Without a terminal, it prints one line for each wait, with the reason."""

    def __init__(self, progress: Progress, source: str, known: int | None) -> None:
        self._progress = progress
        self._bar = progress.add_task(source, total=known, state="waiting its turn")
        self._printed_until: datetime | None = None

    def __call__(self, shown: _Shown) -> None:
        run, text = shown.run, _state_text(shown)
        self._progress.update(self._bar, completed=run.seen, state=text)
        if self._progress.disable and run.state == "waiting" and run.waiting_until != self._printed_until:
            self._printed_until = run.waiting_until
            _print_error(f"{shown.source}: {text}.")


def _state_text(shown: _Shown) -> str:
    run = shown.run
    return state_in_words(
        run.state,
        finished=run.finished_at is not None,
        pending=shown.pending,
        waiting_until=run.waiting_until,
        why="" if run.error is None else run.error["message"],
    )


def _uncounted(run: RunRow) -> str:
    some = run.uncounted_requests
    return f", {some} of which the tracker does not count" if some else ""


def _report(shown: _Shown) -> int:
    run = shown.run
    wrote = {kind: shown.writes.get(kind, 0) for kind in ("posted", "edited", "resolved", "failed")}
    Console(soft_wrap=True, highlight=False).print(
        Text(
            f"{shown.source}: {run.state}. Epics: {run.seen} seen, {run.created} new, {run.updated} changed, "
            f"{run.deleted} gone, {run.skipped} skipped. Comments: {wrote['posted']} posted, "
            f"{wrote['edited']} edited, {wrote['resolved']} resolved, {run.held} held, "
            f"{wrote['failed']} failed. Requests: {run.requests}{_uncounted(run)}."
        )
    )
    if shown.pending:
        _print_error(
            f"{shown.pending} comments have to wait; a server or worker writes them when they are due."
        )
    if run.error is not None:
        _print_error(f"{run.error['message']} {run.error['what_to_do']}".strip())
    return 0 if run.state == "succeeded" else 1


def _print_error(line: str) -> None:
    Console(stderr=True, soft_wrap=True, highlight=False).print(Text(line))
