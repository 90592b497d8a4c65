"""The burst guard: a run that would make too many new comments makes none until a person approves them."""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, func, or_, select, update

from mappings.locks import lock_notices_of_source
from mappings.notices.gates import Facts, first_hold
from mappings.notices.state import approve_notices, hold_new_comments
from mappings.policy.modes import mode_in
from mappings.tables import EpicRow, NoticeRow, RunRow, SourceRow, among

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncSession

HOUR = timedelta(hours=1)
NO_BURST_UP_TO = 3  # up to this many new comments in one project are no burst, however small the project is


def why_too_many(
    new: Mapping[str, int], open_epics: Mapping[str, int], per_run: int, max_share: float
) -> str | None:
    """Why these new comments, counted by project, are too many to be made at once; None if they are not.

    `open_epics` counts the epics of each project that are neither done nor removed.
    """
    total = sum(new.values())
    if total > per_run:
        return f"{total} new comments at once; per_run is {per_run}"
    for project, count in sorted(new.items()):
        open_count = open_epics.get(project, 0)
        # A share of 1 is no limit: runs that count together may count one epic twice and exceed the whole
        # project. The product is rounded, because 0.29 * 100 is slightly less than 29 as a float.
        if max_share < 1 and count > NO_BURST_UP_TO and count > round(max_share * open_count, 9):
            return (
                f"{count} new comments on the {open_count} open epics of {project}; "
                f"max_share is {max_share:g}"
            )
    return None


_DETAIL = re.compile(
    r"Run [0-9]+(?P<together> and the evaluate runs of the hour before .{1,40}?)? asked for "
    r"(?P<count>[0-9]+) new comments (?:at once; per_run is (?P<per_run>[0-9]+)|"
    r"on the (?P<open>[0-9]+) open epics of (?P<project>.+); max_share is (?P<share>[0-9.e-]+))\. .*",
    re.DOTALL,
)


def limit_in_words(detail: str) -> str:
    """Why the guard holds a run's comments, as a page says it: what the run wanted, and the limit that held
    it. `detail` is the reason stored with them."""
    found = _DETAIL.fullmatch(detail)
    if found is None:
        return detail
    who = "With the evaluate runs of the hour before it, it" if found["together"] else "It"
    asked = f"{who} would have made {found['count']} new comment{'' if found['count'] == '1' else 's'}"
    if found["per_run"] is not None:
        return f"{asked}; the limit is {found['per_run']} a run."
    share = f"{float(found['share']) * 100:.10g}%"
    return f"{asked} on the {found['open']} open epics of {found['project']}; the limit is {share} of them."


async def check_new_comments(
    session: AsyncSession, run: RunRow, new: ColumnElement[bool], now: datetime
) -> int:
    """Check the new comments of an evaluated run: all pass, or all are held. Returns how many are held.

    `new` selects the notices. The `evaluate` runs of one source count together over an hour.
    """
    rows = await session.execute(
        select(NoticeRow.id, EpicRow.project).join(EpicRow, EpicRow.id == NoticeRow.epic_id).where(new)
    )
    projects = {notice_id: project for notice_id, project in rows}
    if not projects:
        return 0
    own, together = await _counted_before(session, run, now)
    own.update(projects.values())
    together.update(projects.values())
    await session.execute(
        update(RunRow).where(RunRow.id == run.id).values(new_comments=dict(own), guard_checked_at=now)
    )
    why = await _why_too_many(session, run.source_id, together)
    hold = first_hold("release", Facts(now=now, guard_reason=None if why is None else _detail(run, why, now)))
    if hold is None:
        await session.execute(update(NoticeRow).where(among(NoticeRow.id, projects)).values(guard="passed"))
        return 0
    await hold_new_comments(session, dict.fromkeys(projects, hold), now)
    return len(projects)


async def _counted_before(
    session: AsyncSession, run: RunRow, now: datetime
) -> tuple[Counter[str], Counter[str]]:
    """New comments by project counted before: of the run itself, and of all runs that count with it."""
    counts = RunRow.id == run.id
    if run.mode == "evaluate":
        lately = and_(
            RunRow.source_id == run.source_id, RunRow.mode == "evaluate", RunRow.guard_checked_at > now - HOUR
        )
        counts = or_(counts, lately)
    own: Counter[str] = Counter()
    together: Counter[str] = Counter()
    for run_id, new_comments in await session.execute(select(RunRow.id, RunRow.new_comments).where(counts)):
        together.update(new_comments)
        if run_id == run.id:
            own.update(new_comments)
    return own, together


async def _why_too_many(session: AsyncSession, source_id: int, new: Mapping[str, int]) -> str | None:
    notices = (await session.scalars(select(SourceRow.notices).where(SourceRow.id == source_id))).one()
    open_epics = await session.execute(
        select(EpicRow.project, func.count())
        .where(EpicRow.source_id == source_id, EpicRow.project.in_(new))
        .where(EpicRow.removed_at.is_(None), EpicRow.status_category != "done")
        .group_by(EpicRow.project)
    )
    counts = {project: count for project, count in open_epics}
    return why_too_many(new, counts, notices["per_run"], notices["max_share"])


def _detail(run: RunRow, why: str, now: datetime) -> str:
    runs_text = f"Run {run.id} asked for"
    if run.mode == "evaluate":
        runs_text = (
            f"Run {run.id} and the evaluate runs of the hour before {now:%Y-%m-%d %H:%M} UTC asked for"
        )
    return f"{runs_text} {why}. A person has to approve them."


async def approve(
    session: AsyncSession, which: ColumnElement[bool], now: datetime
) -> tuple[list[int], dict[int, str]]:
    """Approve the held notices that `which` selects; the burst guard and the daily cap no longer hold them.

    Returns the ids of the approved notices, and for each other notice why it was skipped. The writer fetches
    and evaluates each ticket again before it writes.
    """
    of_source = (
        select(EpicRow.source_id).join(NoticeRow, NoticeRow.epic_id == EpicRow.id).where(which).distinct()
    )
    await lock_notices_of_source(session, *(await session.scalars(of_source)))
    # Epics are locked before their notices, in the evaluator's order; the notices are read after the lock.
    epics = (
        select(EpicRow.id).join(NoticeRow, NoticeRow.epic_id == EpicRow.id).where(which).order_by(EpicRow.id)
    )
    locked = (await session.scalars(epics.with_for_update(of=EpicRow))).all()
    rows = await session.execute(
        select(NoticeRow, EpicRow.project, SourceRow.notices, SourceRow.named_projects)
        .join(EpicRow, EpicRow.id == NoticeRow.epic_id)
        .join(SourceRow, SourceRow.id == EpicRow.source_id)
        .where(which, among(NoticeRow.epic_id, locked))
        .order_by(NoticeRow.id)
    )
    approved, skipped = [], {}
    for notice, project, notices, named in rows.all():
        why = _why_not(notice, mode_in(notices, project, named))
        if why is None:
            approved.append(notice.id)
        else:
            skipped[notice.id] = why
    await approve_notices(session, approved, now)
    return approved, skipped


def _why_not(notice: NoticeRow, mode: str) -> str | None:
    if notice.state != "held" or notice.reason not in ("guard", "cap"):
        reason = f" ({notice.reason})" if notice.reason else ""
        return f"It is {notice.state}{reason}, and not held by the guard or the cap."
    if mode != "live":
        return f"Its source is not live there but {mode}; nothing new is written."
    return None
