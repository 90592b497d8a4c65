"""The timetable: opens the runs that each source's `schedule` asks for, once for all replicas.

Every `northing serve` keeps the timetable, with or without a worker. Every replica tries to act on every
moment; the row in `schedule_ticks` decides which replica was first, and only that one opens the run. A
replica reads the schedules when a notification says that one has changed, and every 30 seconds, which also
finds missed ticks.
"""

from __future__ import annotations

import asyncio
import platform
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import structlog
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from sqlalchemy import and_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError

from app.jobs.listen import listen
from app.jobs.schedule import due_moment
from connectors.clock import utc_now
from mappings.clock import QUEUE_CLOCK
from mappings.locks import locked_source
from mappings.runs.queue import open_run
from mappings.sources.machine_clocks import record_machine_clock
from mappings.sources.schedules import SCHEDULES_CHANNEL
from mappings.tables import ScheduleTickRow, SourceRow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from apscheduler.job import Job
    from sqlalchemy.ext.asyncio import AsyncSession

    from app.runtime import Runtime

log = structlog.get_logger()

REREAD_SECONDS = 30
CLOCK_WAS_SET = timedelta(seconds=1)
MODES = {"every": "incremental", "full": "full"}


@dataclass(frozen=True, slots=True)
class ScheduleEntry:
    """One line of a source's schedule: its member (`every` or `full`) and the text of that member.
    `source` is the source's name."""

    source_id: int
    source: str
    member: str
    line: str

    @property
    def mode(self) -> str:
        """The mode of the runs that this line opens."""
        return MODES[self.member]


async def read_entries(session: AsyncSession) -> dict[ScheduleEntry, datetime]:
    """Every line of every schedule, with the time up to which it is done: its last tick, or the source's last
    change if that is later, since ticks missed before a change are not made up for."""
    entries: dict[ScheduleEntry, datetime] = {}
    for member, mode in MODES.items():
        rows = await session.execute(
            select(SourceRow.id, SourceRow.name, SourceRow.schedule, SourceRow.updated_at, ScheduleTickRow.at)
            .outerjoin(
                ScheduleTickRow, and_(ScheduleTickRow.source_id == SourceRow.id, ScheduleTickRow.mode == mode)
            )
            .where(SourceRow.schedule[member].astext.is_not(None))
        )
        for source_id, name, schedule, changed_at, ticked_at in rows:
            done = changed_at if ticked_at is None else max(changed_at, ticked_at)
            entries[ScheduleEntry(source_id, name, member, schedule[member])] = done
    return entries


async def open_scheduled_run(runtime: Runtime, entry: ScheduleEntry, moment: datetime) -> int | None:
    """Open the run of one moment and wake a worker for it; the run's id, or None.

    None if another replica has done so, or if the source was deleted or changed meanwhile. A queued or
    running run that does as much is used instead of a new one.
    """
    async with runtime.sessions.begin() as session:
        # Locked first, as in the deletion of a source, or the two transactions could deadlock.
        locked = locked_source(entry.source_id, SourceRow.schedule, SourceRow.updated_at)
        source = (await session.execute(locked)).one_or_none()
        if source is None or source.schedule[entry.member] != entry.line or moment <= source.updated_at:
            return None
        row = insert(ScheduleTickRow).values(source_id=entry.source_id, mode=entry.mode, at=moment)
        first = row.on_conflict_do_update(
            index_elements=[ScheduleTickRow.source_id, ScheduleTickRow.mode],
            set_={"at": row.excluded.at},
            where=ScheduleTickRow.at < row.excluded.at,
        ).returning(ScheduleTickRow.at)
        if (await session.execute(first)).one_or_none() is None:
            return None
        run = await open_run(session, entry.source_id, entry.mode, moment, due_at=moment)
        await runtime.wake_run(session, run.id, run.mode)
        return run.id


@asynccontextmanager
async def scheduler_running(runtime: Runtime) -> AsyncIterator[asyncio.Task[None]]:
    """Keep the timetable until the block ends. The yielded task ends earlier only if the timetable fails."""
    timetable = asyncio.create_task(Scheduler(runtime).keep(), name="timetable")
    try:
        yield timetable
    finally:
        timetable.cancel()
        await asyncio.wait({timetable})


class Scheduler:
    """The timetable of one replica. `planned` is the next moment of each entry, in UTC.

    APScheduler compares its moments with this machine's clock, so each is shifted by what that clock is ahead
    of the database's (`_ahead`), and planned again when this has changed: the clock was set.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.planned: dict[ScheduleEntry, datetime] = {}
        self._jobs: dict[ScheduleEntry, Job] = {}
        self._runtime = runtime
        self._changed = asyncio.Event()
        self._ahead = timedelta()
        self._scheduler = AsyncIOScheduler(
            timezone=UTC, job_defaults={"misfire_grace_time": None, "coalesce": True}
        )

    async def keep(self) -> None:
        """Keep the timetable until cancelled."""
        self._scheduler.start()
        try:
            async with asyncio.TaskGroup() as together:
                together.create_task(listen(self._runtime, {SCHEDULES_CHANNEL: self._changed.set}))
                together.create_task(self._keep_reading_schedules())
        finally:
            self._scheduler.shutdown(wait=False)

    async def _keep_reading_schedules(self) -> None:
        while True:
            self._changed.clear()
            try:
                await self.read()
            except (SQLAlchemyError, OSError) as error:
                log.warning("schedules not read, they stay as they were", reason=type(error).__name__)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), REREAD_SECONDS)

    async def read(self) -> None:
        """Plan what the schedules say now, missed ticks included, and drop what they no longer say."""
        async with self._runtime.sessions.begin() as session:
            entries = await read_entries(session)
            now = await self._runtime.now(session)
            await record_machine_clock(session, platform.node(), utc_now(), await QUEUE_CLOCK.read(session))
        ahead = utc_now() - now
        if abs(ahead - self._ahead) > CLOCK_WAS_SET:
            self._ahead = ahead
            for entry in list(self.planned):
                self._forget(entry)
        for entry in self.planned.keys() - entries.keys():
            self._forget(entry)
        for entry, done in entries.items():
            moment = due_moment(entry.line, done, now)
            if moment is not None and (entry not in self.planned or moment < self.planned[entry]):
                self._plan(entry, moment)

    def _plan(self, entry: ScheduleEntry, moment: datetime) -> None:
        self._forget(entry)
        self.planned[entry] = moment
        # Each moment has its own job, with the moment as argument, so that no earlier job can delay it.
        self._jobs[entry] = self._scheduler.add_job(
            self._open_run, "date", (entry, moment), run_date=moment + self._ahead
        )

    def _forget(self, entry: ScheduleEntry) -> None:
        if self.planned.pop(entry, None) is not None:
            with suppress(JobLookupError):  # the job has run, or runs now
                self._jobs.pop(entry).remove()

    async def _open_run(self, entry: ScheduleEntry, moment: datetime) -> None:
        # APScheduler cancels this job when it stops, and would report that as an error.
        with suppress(asyncio.CancelledError):
            following = None
            try:
                async with self._runtime.sessions() as session:
                    now = await self._runtime.now(session)
                if moment <= now + CLOCK_WAS_SET:  # else this machine's clock was set while the job waited
                    run_id = await open_scheduled_run(self._runtime, entry, moment)
                    if run_id is not None:
                        log.info("tick", source=entry.source, mode=entry.mode, run=run_id)
                    following = due_moment(entry.line, moment, now)
            except Exception as error:  # whatever the error, the next tick is planned
                log.error("tick failed", source=entry.source, mode=entry.mode, exc_info=error)
                following = due_moment(entry.line, moment, moment)
            if self.planned.get(entry) == moment:
                self._forget(entry)
                if following is not None:
                    self._plan(entry, following)
