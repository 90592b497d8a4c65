"""What a full run did not meet: the tracker is asked for each ticket by its id. If too many are gone, none is
removed until a person accepts it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.run_result import error_of
from app.sync.session import ReadSession
from connectors.base import ConnectorError, Epic, EpicRef, Missing, Project, Unauthorized, Unavailable
from connectors.registry import KINDS
from mappings.epics.transfers import merge_transferred
from mappings.epics.upsert import UpsertResult, upsert_epics
from mappings.sources.projects import projects_read_by
from mappings.sources.removals import (
    allowed_removals,
    changed_since_full_run,
    delete_held_removals,
    epics_not_removed,
    hold_removals,
)

# If more than this share of a source's epics, and more than this many, are gone, a person must accept it.
DROP_SHARE, DROP_COUNT = 0.2, 5
FETCHED_AT_ONCE = 100


async def remove_missing(reading: ReadSession, projects: Sequence[Project]) -> dict[str, Any] | None:
    """Remove what a full run did not meet; the error where that is too much and no person has accepted it.

    What the run met before an interruption is asked for again. `projects`: those that the tracker lists now.
    """
    async with reading.runtime.sessions() as session:
        stored = await epics_not_removed(session, reading.source.id)
        read = await projects_read_by(session, reading.run.id)
        source_changed = await changed_since_full_run(session, reading.source)
        allowed = await allowed_removals(session, reading.run, reading.source.tracker)
    out_of_reach = _out_of_reach(reading, projects)
    unmet = [
        EpicRef(remote_id, key)
        for project, remote_id, key in stored
        if remote_id not in reading.met_ids and (project in read or out_of_reach(project))
    ]
    # Accepted removals come last: the guard does not count them, and may stop the look-up before them.
    unmet.sort(key=lambda ref: ref.remote_id in allowed)
    lookup = _Lookup(reading, len(stored), allowed, source_changed)
    await lookup.look_up(unmet)
    if unmet:
        # Asked again: with credentials that expired meanwhile, every ticket would look deleted.
        await reading.connector.account()
    now = reading.runtime.clock()
    async with reading.transaction() as session:
        await delete_held_removals(session, reading.source.id, reading.run.id)
        if lookup.too_many:
            held = [ref.remote_id for ref in unmet if ref.remote_id not in lookup.answered]
            await hold_removals(session, reading.run.id, held)
            change = UpsertResult()
        else:
            change = await upsert_epics(
                session, reading.source.id, reading.source.tracker, (), lookup.missing, now
            )
        await reading.record_progress(session, now, change, seen=0)
    return _drop_guard_error(lookup, reading) if lookup.too_many else None


def _out_of_reach(reading: ReadSession, projects: Sequence[Project]) -> Callable[[str], bool]:
    """Whether a project is out of reach: then its epics may be removed although none of them was read.

    An incomplete listing says this only of projects that the source's scope does not cover.
    """
    listed, whole = {p.key for p in projects}, all(p.problem is None for p in projects)
    scope: Any = KINDS[reading.source.kind].scope.model_validate(reading.source.scope)
    return lambda project: project not in listed and (whole or not scope.covers(project))


@dataclass
class _Lookup:
    """What the tracker answers. `missing`: tickets that are gone or do not fit any more, of which
    `counted_missing` count for the guard. `answered`: ids of tickets that are still there.

    The guard does not count what a person has `allowed`. With `source_changed` (since the last full run) it
    does not count tickets that exist and do not fit either: a person changed what fits.
    """

    reading: ReadSession
    stored: int
    allowed: set[str]
    source_changed: bool
    missing: list[Missing] = field(default_factory=list)
    counted_missing: int = 0
    answered: set[str] = field(default_factory=set)
    stopped_early: bool = False

    @property
    def too_many(self) -> bool:
        return self.counted_missing > DROP_COUNT and self.counted_missing > DROP_SHARE * self.stored

    async def look_up(self, refs: Sequence[EpicRef]) -> None:
        """Ask for each ticket, `FETCHED_AT_ONCE` per call, until it is clear that too many are gone.

        A resumed run does not know what it met before, so it asks for all: else those would be held too.
        """
        for start in range(0, len(refs), FETCHED_AT_ONCE):
            if self.too_many and not self.reading.resumed:
                self.stopped_early = True
                return
            asked = refs[start : start + FETCHED_AT_ONCE]
            for ref, item in zip(asked, await _fetch(self.reading, asked), strict=False):
                if isinstance(item, Missing):
                    self.missing.append(item)
                    expected = item.reason != "deleted" and self.source_changed
                    self.counted_missing += not expected and ref.remote_id not in self.allowed
                else:
                    self.answered.add(ref.remote_id)


async def _fetch(reading: ReadSession, refs: Sequence[EpicRef]) -> Sequence[Epic | Missing]:
    """The state of each ticket now; epics are stored. Empty where the tracker refuses the request."""
    try:
        items = await reading.connector.fetch(refs)
    except (Unavailable, Unauthorized):
        raise
    except ConnectorError as error:
        reading.problems.append((error.message, error.what_to_do))
        return ()
    now, source = reading.runtime.clock(), reading.source
    found = [item for item in items if isinstance(item, Epic)]
    async with reading.transaction() as session:
        for ref, item in zip(refs, items, strict=True):
            if isinstance(item, Epic) and item.remote_id != ref.remote_id:
                change = await merge_transferred(session, source.id, source.tracker, ref.remote_id, item, now)
                await reading.record_progress(session, now, change, seen=0)
        change = await upsert_epics(session, source.id, source.tracker, found, (), now)
        await reading.record_progress(session, now, change, seen=len(found))
    return items


def _drop_guard_error(lookup: _Lookup, reading: ReadSession) -> dict[str, Any]:
    count = f"{lookup.counted_missing} or more" if lookup.stopped_early else str(lookup.counted_missing)
    beyond = (
        f", beyond what run {reading.run.accepts_run_id} was allowed to remove"
        if reading.run.accepts_run_id
        else ""
    )
    return error_of(
        "drop_guard",
        f"{count} of {lookup.stored} epics are gone from the tracker{beyond}; none was removed.",
        "Check whether the account lost access or the scope is wrong, then run a full sync again. If they "
        f"are to be removed, an admin accepts that with POST /api/v1/runs/{reading.run.id}/accept-removals.",
    )
