"""The whole story: read the trackers, judge the epics, make the tickets match.

`carry_out` does one run: it reads what changed, judges what waits, and releases the writes.
`write_tickets` then does these one by one. Whoever is killed on the way is followed by somebody who
goes on: all that is to be done stands in our rows, and every step may be repeated.

No transaction is open while a tracker is called.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import uuid4

import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from app import changes, logs, reading, writing
from app.outcome import Outcome, error_of, note_health, note_waiting
from app.runtime import Runtime
from app.vault import CannotOpen
from connectors.base import ConnectorError, Unavailable
from mappings import barrier, cases, inbox, ledger, rulings, tallies, trouble
from mappings.standard import Standard, load_places
from mappings.tables import READING_MODES, Epic, Notice, Run, Source

log = structlog.get_logger()

SLICE, AT_A_TIME = 400, 100
IN_VAIN_AFTER = timedelta(minutes=15)


async def carry_out(runtime: Runtime, run_id: int) -> None:
    """Do a run that is due, or go on with one; nothing where it is done or somebody else's."""
    runtime = _for_one_claim(runtime)
    async with runtime.sessions.begin() as session:
        run = await ledger.claim_run(session, run_id, runtime.worker, runtime.clock())
        source = await session.get(Source, run.source_id) if run is not None else None
        led_here = await inbox.remote_ids(session, run_id, logs.FOLLOWED) if run is not None else []
    if run is None or source is None:
        return
    following = logs.following(led_here)
    with structlog.contextvars.bound_contextvars(run=run.id, source=source.name, mode=run.mode, **following):
        try:
            await _carry_out(runtime, run, source)
        except ledger.ClaimLost as lost:
            log.warning("claim lost", reason=str(lost))
        except SQLAlchemyError:
            raise  # the database is in trouble: the run is taken up again once its lease is over
        except Exception as error:
            # A fault of ours would break the run down each time it is taken up; so it ends, and says so.
            log.exception("run broke down")
            await _close(runtime, run, source, Outcome.broken(error), judged=False)


def _for_one_claim(runtime: Runtime) -> Runtime:
    """A name for this claim alone: who slept past the lease must not pass for the one who took over,
    though both be jobs of one process."""
    return replace(runtime, worker=f"{runtime.worker}/{uuid4().hex}")


async def _carry_out(runtime: Runtime, run: Run, source: Source) -> None:
    outcome = Outcome()
    if run.mode in READING_MODES:
        try:
            outcome = await reading.read(runtime, run, source)
        except Unavailable as error:
            await _wait(runtime, run, source, error)
            return
        except (ConnectorError, CannotOpen) as error:
            outcome = Outcome.failed(error)
    await changes.mark_matching(runtime, run, source)
    await judge_waiting(runtime, run, source)
    await _close(runtime, run, source, outcome)


async def judge_waiting(runtime: Runtime, run: Run, source: Source) -> None:
    """Judge every epic of the source that waits for it, slice by slice, the event loop free between."""
    slices = _Slices(runtime, run, source)
    try:
        # Two at a time: while the database takes in one slice the next is judged.
        async with asyncio.TaskGroup() as judging:
            for _ in range(2):
                judging.create_task(slices.judge())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None  # what it is decides what becomes of the run


@dataclass
class _Slices:
    runtime: Runtime
    run: Run
    source: Source
    standard: Standard | None = None
    after: int = 0
    done: bool = False
    taking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def judge(self) -> None:
        now = self.runtime.clock()
        while not self.done:
            async with self.runtime.sessions.begin() as session:
                await ledger.may_be_repeated(session)
                async with self.taking:
                    standard, rows = await self._take(session, now)
                held = await _judge(session, standard, rows, self.run.id, now)
                await ledger.keep_run(session, self.run, self.runtime.worker, self.runtime.clock(), held=held)

    async def _take(self, session: AsyncSession, now: datetime) -> tuple[Standard, Sequence[Epic]]:
        version = await ledger.share_goals(session)
        if self.standard is None or self.standard.version != version:
            self.standard = await self.runtime.standard(session, self.source)
        standard = replace(self.standard, places=await load_places(session, self.source.id, hold=True))
        rows = await cases.due_slice(session, self.source.id, now, self.after, SLICE)
        self.done = self.done or len(rows) < SLICE
        self.after = rows[-1].id if rows else self.after
        return standard, rows


async def _judge(
    session: AsyncSession, standard: Standard, rows: Sequence[Epic], run_id: int, now: datetime
) -> int:
    judged = []
    for number, case in enumerate(await cases.load_cases(session, rows), 1):
        judged.append(cases.judge(case, standard, now))
        if not number % AT_A_TIME:
            await asyncio.sleep(0)  # others' turn
    held = await rulings.record(session, judged, standard, run_id, now)
    if rows:
        log.info("epics judged", epics=[row.key for row in rows[: logs.FOLLOWED]], judged=len(rows))
    return held


async def _close(
    runtime: Runtime, run: Run, source: Source, outcome: Outcome, *, judged: bool = True
) -> None:
    """The barrier: all is judged, nothing of this run is written yet. Here its writes are let go."""
    now = runtime.clock()
    if judged:
        # A transaction of its own: it locks epics, and what follows the source, in no order others keep.
        async with runtime.sessions.begin() as session:
            await ledger.may_be_repeated(session)
            held = await barrier.release(session, run, now)
            await ledger.keep_run(session, run, runtime.worker, now, held=held)
    async with runtime.sessions.begin() as session:
        await ledger.close_run(session, run, runtime.worker, outcome.state, now, outcome.error)
        if run.mode in READING_MODES:
            await note_health(session, source.id, outcome, now, whole=run.mode == "full")
            following = await ledger.next_reading(session, source.id)
            if following is not None:
                await runtime.wake(session, "read", run_id=following)
        await runtime.wake(session, "write_tickets", source_id=source.id)
        took = (now - (run.started_at or now)).total_seconds()
        await tallies.add(session, source.id, "run", f"{run.mode} {outcome.state}", took=[took])
    log.info(
        "run ended",
        run=run.id,
        source=source.name,
        mode=run.mode,
        state=outcome.state,
        error=outcome.error,
    )


async def _wait(runtime: Runtime, run: Run, source: Source, error: Unavailable) -> None:
    now = runtime.clock()
    rest = error.rest(trouble.of_run(run, now))
    until = now + rest
    async with runtime.sessions.begin() as session:
        error_shown = error_of(error.code, error.message, error.what_to_do)
        await ledger.let_run_wait(session, run, runtime.worker, until, error_shown)
        begun = run.started_at or now
        in_vain = run.seen == 0 and now - begun > IN_VAIN_AFTER
        await note_waiting(session, source.id, error, until, now, in_vain=in_vain)
        if not error.named:
            await runtime.wake(session, "read", after=rest, run_id=run.id)
    log.warning("run waits", until=until.isoformat(), reason=error.message)


async def judge_now(runtime: Runtime, source: Source, run_id: int, epic_ids: Sequence[int]) -> None:
    """Judge these epics before returning: a person changed their links or findings.

    The caller has committed its change, the marks and the run (`changes.open_judging`); should we die
    here, whoever takes the run up finds them.
    """
    runtime, now = _for_one_claim(runtime), runtime.clock()
    async with runtime.sessions.begin() as session:
        run = await ledger.claim_run(session, run_id, runtime.worker, now)
    async with runtime.sessions.begin() as session:
        await ledger.share_goals(session)
        await load_places(session, source.id, hold=True)
        rows = await cases.these_epics(session, epic_ids)
        standard = await runtime.standard(session, source, sorted({row.project for row in rows}))
        held = await _judge(session, standard, rows, run_id, now)
        if run is not None:
            await ledger.keep_run(session, run, runtime.worker, now, held=held)
    if run is not None:
        await _close(runtime, run, source, Outcome())


async def write_tickets(runtime: Runtime, source_id: int) -> None:
    """Write one due ticket of a source after the other until none is left or the tracker says later."""
    async with runtime.sessions.begin() as session:
        source = await session.get(Source, source_id)
    if source is None:
        return
    with structlog.contextvars.bound_contextvars(source=source.name):
        try:
            async with writing.writing(runtime, source) as writer:
                while await writer.write_next():
                    pass
        except CannotOpen as error:
            log.error("tickets not written", reason=str(error))


async def settled(session: AsyncSession, run_id: int) -> bool:
    """Whether a run has ended and none of its writes is left."""
    run = await session.get(Run, run_id)
    left = select(Notice.id).where(Notice.run_id == run_id, Notice.target.is_not(None)).limit(1)
    return run is not None and run.finished_at is not None and (await session.scalars(left)).first() is None
