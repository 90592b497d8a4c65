"""What a full run did not meet: asked for by id, and removed, or held until a person accepts it."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from app.run_result import error_of
from app.sync.progress import Batch
from connectors.base import (
    ConnectorError,
    Epic,
    EpicRef,
    Missing,
    Project,
    Unauthorized,
    Unavailable,
    Unreadable,
)
from mappings.epics.upsert import UpsertResult, upsert_epics
from mappings.runs.reevaluation import reevaluate_below_tickets
from mappings.sources.known_answers import forget_answers
from mappings.sources.projects import projects_read_by, retry_notices
from mappings.sources.removals import (
    allowed_removals,
    changed_since_full_run,
    delete_held_removals,
    epics_not_removed,
    hold_removals,
)
from mappings.sources.unreadable import forget_not_met, projects_with_unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from app.sync.progress import Progress

# If more than this share of a source's epics, and more than this many, are gone, a person must accept it.
DROP_SHARE, DROP_COUNT = 0.2, 5
FETCHED_AT_ONCE = 100


class Removals:
    """Removes what a full run did not meet. If too many epics are gone, none is removed until a person
    accepts it (drop guard)."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.runtime, self.run, self.source = progress.runtime, progress.run, progress.source
        self.project_of: dict[str, str] = {}

    async def remove_missing(self, projects: Sequence[Project]) -> dict[str, Any] | None:
        """Remove what the run did not meet; the error where that is too much and no person has accepted it.

        What the run met before an interruption is asked for again. `projects`: those that the tracker
        lists now.
        """
        async with self.runtime.sessions() as session:
            read = await projects_read_by(session, self.run.id)
            source_changed = await changed_since_full_run(session, self.source)
            allowed = await allowed_removals(session, self.run, self.source.tracker)
            out_of_reach = self._out_of_reach(projects)
            stored, unmet = await self._unmet(session, lambda key: key in read or out_of_reach(key))
        # Accepted removals come last: the guard does not count them, and may stop the look-up before them.
        unmet.sort(key=lambda ref: ref.remote_id in allowed)
        seen = _LookedUp(stored, allowed, source_changed)
        await self._look_up(unmet, seen)
        if unmet:
            # Asked again: with credentials that expired meanwhile, every ticket would look deleted.
            await self.progress.ask(self.progress.connector.account)
        async with self.progress.transaction() as session:
            now = await self.runtime.now(session)
            await delete_held_removals(session, self.source.id, self.run.id)
            if seen.too_many:
                held = [ref.remote_id for ref in unmet if ref.remote_id not in seen.present]
                await hold_removals(session, self.run.id, held)
                change = UpsertResult()
            else:
                change = await upsert_epics(
                    session, self.source.id, self.source.tracker, (), seen.missing, now
                )
            if seen.too_many or not seen.all_answered:
                await forget_answers(session, self.source.id)
            await reevaluate_below_tickets(session, self.source.tracker, change.moved_ids, now)
            await self.progress.record(session, now, change, seen=0)
        if seen.too_many:
            return self._drop_guard_error(seen)
        await self._forget_unreadable(seen, read, out_of_reach)
        return None

    async def _unmet(
        self, session: AsyncSession, covered: Callable[[str], bool]
    ) -> tuple[int, list[EpicRef]]:
        """How many epics are stored, and those that the run did not meet, of projects that it `covered`."""
        stored, unmet = 0, []
        async with aclosing(epics_not_removed(session, self.source.id)) as epics:
            async for some in epics:
                stored += len(some)
                for project, remote_id, key in some:
                    if remote_id not in self.progress.met_ids and covered(project):
                        unmet.append(EpicRef(remote_id, key))
                        self.project_of[remote_id] = project
        return stored, unmet

    async def _forget_unreadable(
        self, seen: _LookedUp, read: set[str], out_of_reach: Callable[[str], bool]
    ) -> None:
        """Tickets that are gone, and those of earlier runs that this one would have met."""
        await self.progress.forget_unreadable(
            self.progress.unreadable.intersection(item.ref.remote_id for item in seen.missing)
        )
        if not seen.all_answered:
            return
        async with self.progress.transaction() as session:
            known = await projects_with_unreadable(session, self.source.id)
            covered = [key for key in known if key in read or out_of_reach(key)]
            forgotten = await forget_not_met(session, self.source.id, self.run.id, covered)
            await retry_notices(session, self.source.id, forgotten, await self.runtime.now(session))

    def _out_of_reach(self, projects: Sequence[Project]) -> Callable[[str], bool]:
        """Whether a project is out of reach: then its epics may be removed although none of them was read.

        An incomplete listing says this only of projects that the source's scope does not cover.
        """
        listed, whole = {p.key for p in projects}, all(p.problem is None for p in projects)
        scope = self.runtime.scope_of(self.source)
        return lambda project: project not in listed and (whole or not scope.covers(project))

    async def _look_up(self, refs: Sequence[EpicRef], seen: _LookedUp) -> None:
        """Ask for each ticket, `FETCHED_AT_ONCE` per call, until it is clear that too many are gone.

        A resumed run does not know what it met before, so it asks for all: else those would be held too.
        """
        for start in range(0, len(refs), FETCHED_AT_ONCE):
            if seen.too_many and not self.progress.resumed:
                seen.stopped_early = True
                return
            asked = refs[start : start + FETCHED_AT_ONCE]
            items = await self._fetch(asked)
            seen.all_answered = seen.all_answered and len(items) == len(asked)
            for ref, item in zip(asked, items, strict=False):
                seen.add(ref, item)

    async def _fetch(self, refs: Sequence[EpicRef]) -> Sequence[Epic | Missing | Unreadable]:
        """The state of each ticket now; epics are stored. Empty where the tracker refuses the request."""
        try:
            items = await self.progress.fetch([*refs])
        except (Unavailable, Unauthorized):
            raise
        except ConnectorError as error:
            self.progress.problems.append((error.message, error.what_to_do))
            return ()
        asked = list(zip(refs, items, strict=True))
        unreadable = [
            (self.project_of.get(ref.remote_id, ""), Unreadable(ref, item.reason))
            for ref, item in asked
            if isinstance(item, Unreadable)
        ]
        await self.progress.store(
            Batch(
                tuple(item for _, item in asked if isinstance(item, Epic)),
                unreadable=tuple(unreadable),
                transferred={
                    item.remote_id: ref
                    for ref, item in asked
                    if isinstance(item, Epic) and item.remote_id != ref.remote_id
                },
            )
        )
        return items

    def _drop_guard_error(self, seen: _LookedUp) -> dict[str, Any]:
        count = f"{seen.counted_missing} or more" if seen.stopped_early else str(seen.counted_missing)
        accepted = self.run.accepts_run_id
        beyond = f", beyond what run {accepted} was allowed to remove" if accepted else ""
        return error_of(
            "drop_guard",
            f"{count} of {seen.stored} epics are gone from the tracker{beyond}; none was removed.",
            "Check whether the account lost access or the scope is wrong, then run a full sync again. "
            "If they are to be removed, an admin accepts that with "
            f"POST /api/v1/runs/{self.run.id}/accept-removals.",
        )


@dataclass
class _LookedUp:
    """What the tracker answers. `missing`: tickets that are gone or do not fit any more, of which
    `counted_missing` count for the guard. `present`: ids of tickets that are still there. `all_answered`: the
    tracker refused no request.

    The guard does not count what a person has `allowed`. With `source_changed` (since the last full run) it
    does not count tickets that exist and do not fit either: a person changed what fits.
    """

    stored: int
    allowed: set[str]
    source_changed: bool
    missing: list[Missing] = field(default_factory=list)
    counted_missing: int = 0
    present: set[str] = field(default_factory=set)
    stopped_early: bool = False
    all_answered: bool = True

    @property
    def too_many(self) -> bool:
        return self.counted_missing > DROP_COUNT and self.counted_missing > DROP_SHARE * self.stored

    def add(self, ref: EpicRef, item: Epic | Missing | Unreadable) -> None:
        if isinstance(item, Missing):
            self.missing.append(item)
            expected = item.reason != "deleted" and self.source_changed
            self.counted_missing += not expected and ref.remote_id not in self.allowed
        else:
            self.present.add(ref.remote_id)
