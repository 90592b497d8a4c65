"""What a full run did not meet: each ticket is asked for by its id; too many go only at a person's word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.outcome import error_of
from app.walk import Walk
from connectors.base import ConnectorError, Epic, EpicRef, Missing, Project, Unauthorized, Unavailable
from connectors.registry import KINDS
from mappings import reach, store

# More than this share of a source's epics, and more than this many, go only at a person's word.
DROP_SHARE, DROP_COUNT = 0.2, 5
FETCHED_AT_ONCE = 100


async def remove_missing(walk: Walk, projects: Sequence[Project]) -> dict[str, Any] | None:
    """Take out what a full run did not meet; the error where that is too much and nobody has allowed it.

    What was met before a kill is asked for again. `projects` are those the tracker lists now.
    """
    async with walk.runtime.sessions() as session:
        stored = await reach.live(session, walk.source.id)
        read = await reach.read_by(session, walk.run.id)
        worded = await reach.changed_by_a_person(session, walk.source)
        allowed = await reach.allowed_removals(session, walk.run, walk.source.tracker)
    left = _left(walk, projects)
    unmet = [
        EpicRef(remote_id, key)
        for project, remote_id, key in stored
        if remote_id not in walk.met and (project in read or left(project))
    ]
    # What a person has allowed comes last: the guard may break off before it.
    unmet.sort(key=lambda ref: ref.remote_id in allowed)
    looked = _LookUp(walk, len(stored), allowed, worded)
    await looked.up(unmet)
    if unmet:
        # Asked again: credentials that died on the way would make everything look deleted.
        await walk.connector.account()
    now = walk.runtime.clock()
    async with walk.writing() as session:
        await reach.forget_held_removals(session, walk.source.id, walk.run.id)
        if looked.too_many:
            held = [ref.remote_id for ref in unmet if ref.remote_id not in looked.answered]
            await reach.hold_removals(session, walk.run.id, held)
            change = store.Observed()
        else:
            change = await store.observe(session, walk.source.id, walk.source.tracker, (), looked.gone, now)
        await walk.keep(session, now, change, seen=0)
    return _in_words(looked, walk) if looked.too_many else None


def _left(walk: Walk, projects: Sequence[Project]) -> Callable[[str], bool]:
    """Whether a project is out of reach, so that its epics may go though nothing of it was read.

    A listing that is not whole says this only of what the configuration leaves out.
    """
    listed, whole = {p.key for p in projects}, all(p.problem is None for p in projects)
    scope: Any = KINDS[walk.source.kind].scope.model_validate(walk.source.scope)
    return lambda project: project not in listed and (whole or not scope.covers(project))


@dataclass
class _LookUp:
    """`gone` are tickets no longer there, of which the guard counts `counted`; `answered` are there still.

    The guard does not count what a person has `allowed`, nor, where the source was `worded` anew since the
    last full run, tickets that answer and do not fit: somebody changed what fits.
    """

    walk: Walk
    stored: int
    allowed: set[str]
    worded: bool
    gone: list[Missing] = field(default_factory=list)
    counted: int = 0
    answered: set[str] = field(default_factory=set)
    broke_off: bool = False

    @property
    def too_many(self) -> bool:
        return self.counted > DROP_COUNT and self.counted > DROP_SHARE * self.stored

    async def up(self, refs: Sequence[EpicRef]) -> None:
        """Ask for each, a hundred at once, until it is clear that they are too many.

        A run that went on has forgotten what it met before: it asks for all, or those would be held too.
        """
        for start in range(0, len(refs), FETCHED_AT_ONCE):
            if self.too_many and not self.walk.went_on:
                self.broke_off = True
                return
            asked = refs[start : start + FETCHED_AT_ONCE]
            for ref, item in zip(asked, await _look_up(self.walk, asked), strict=False):
                if isinstance(item, Missing):
                    self.gone.append(item)
                    expected = item.reason != "deleted" and self.worded
                    self.counted += not expected and ref.remote_id not in self.allowed
                else:
                    self.answered.add(ref.remote_id)


async def _look_up(walk: Walk, refs: Sequence[EpicRef]) -> Sequence[Epic | Missing]:
    """The present state of each, stored where there is one; nothing where the tracker refuses to say."""
    try:
        items = await walk.connector.fetch(refs)
    except (Unavailable, Unauthorized):
        raise
    except ConnectorError as error:
        walk.problems.append((error.message, error.what_to_do))
        return ()
    now, source = walk.runtime.clock(), walk.source
    found = [item for item in items if isinstance(item, Epic)]
    async with walk.writing() as session:
        for ref, item in zip(refs, items, strict=True):
            if isinstance(item, Epic) and item.remote_id != ref.remote_id:
                change = await store.take_over(session, source.id, source.tracker, ref.remote_id, item, now)
                await walk.keep(session, now, change, seen=0)
        change = await store.observe(session, source.id, source.tracker, found, (), now)
        await walk.keep(session, now, change, seen=len(found))
    return items


def _in_words(looked: _LookUp, walk: Walk) -> dict[str, Any]:
    count = f"{looked.counted} or more" if looked.broke_off else str(looked.counted)
    beyond = f", beyond what run {walk.run.accepts} was allowed to remove" if walk.run.accepts else ""
    return error_of(
        "drop_guard",
        f"{count} of {looked.stored} epics are gone from the tracker{beyond}; none was removed.",
        "See whether the account lost access or the scope is wrong, then sync in full again. If they are to "
        f"go, an admin says so with POST /api/v1/runs/{walk.run.id}/accept-removals.",
    )
