"""The guard: a run that would make too many new comments makes none of them until a person says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from mappings.claims import take_turn
from mappings.standard import mode_in
from mappings.tables import Epic, Notice, Run, Source, among

HOUR = timedelta(hours=1)
FEW = 3  # so many in one project are no burst, however small it is


def objection(
    new: Mapping[str, int], open_epics: Mapping[str, int], per_run: int, max_share: float
) -> str | None:
    """Why these new comments, counted by project, are too many to be made at once; None where they are not.

    `open_epics` counts the epics of each project that are neither finished nor gone.
    """
    total = sum(new.values())
    if total > per_run:
        return f"{total} new comments at once; per_run is {per_run}"
    for project, count in sorted(new.items()):
        there = open_epics.get(project, 0)
        # The whole share is no bound, though runs that count together may ask twice for one epic. Rounded, or
        # 0.29 of 100 would be a little less than 29.
        if max_share < 1 and count > FEW and count > round(max_share * there, 9):
            return f"{count} new comments on the {there} open epics of {project}; max_share is {max_share:g}"
    return None


async def ask(session: AsyncSession, run: Run, new: ColumnElement[bool], now: datetime) -> int:
    """Ask for the new comments of a judged run: all of them pass, or all are held; how many are held.

    `new` selects the notices. Judge runs of one source count together over an hour.
    """
    rows = await session.execute(
        select(Notice.id, Epic.project).join(Epic, Epic.id == Notice.epic_id).where(new)
    )
    projects = {notice_id: project for notice_id, project in rows}
    if not projects:
        return 0
    own, together = await _asked_before(session, run, now)
    own.update(projects.values())
    together.update(projects.values())
    await session.execute(update(Run).where(Run.id == run.id).values(new_comments=dict(own), asked_at=now))
    why = await _objection(session, run.source_id, together)
    asked = update(Notice).where(among(Notice.id, projects))
    if why is None:
        await session.execute(asked.values(guard="passed"))
        return 0
    words = _in_words(run, why, now)
    await session.execute(
        asked.values(
            state="held",
            reason="guard",
            detail=words,
            guard="held",
            guard_why=words,
            target=None,
            due_at=None,
            updated_at=now,
        )
    )
    return len(projects)


async def _asked_before(session: AsyncSession, run: Run, now: datetime) -> tuple[Counter[str], Counter[str]]:
    """What the run itself has asked for, and what counts with it."""
    counts = Run.id == run.id
    if run.mode == "judge":
        lately = and_(Run.source_id == run.source_id, Run.mode == "judge", Run.asked_at > now - HOUR)
        counts = or_(counts, lately)
    own: Counter[str] = Counter()
    together: Counter[str] = Counter()
    for run_id, new_comments in await session.execute(select(Run.id, Run.new_comments).where(counts)):
        together.update(new_comments)
        if run_id == run.id:
            own.update(new_comments)
    return own, together


async def _objection(session: AsyncSession, source_id: int, new: Mapping[str, int]) -> str | None:
    notices = (await session.scalars(select(Source.notices).where(Source.id == source_id))).one()
    open_epics = await session.execute(
        select(Epic.project, func.count())
        .where(Epic.source_id == source_id, Epic.project.in_(new))
        .where(Epic.gone_at.is_(None), Epic.status_category != "done")
        .group_by(Epic.project)
    )
    counts = {project: count for project, count in open_epics}
    return objection(new, counts, notices["per_run"], notices["max_share"])


def _in_words(run: Run, why: str, now: datetime) -> str:
    who = f"Run {run.id} asked for"
    if run.mode == "judge":
        who = f"Run {run.id} and the judge runs of the hour before {now:%Y-%m-%d %H:%M} UTC asked for"
    return f"{who} {why}. A person has to approve them."


async def approve(
    session: AsyncSession, which: ColumnElement[bool], now: datetime
) -> tuple[list[int], dict[int, str]]:
    """A person lets go what `which` selects of the held notices: past the guard and the day's cap.

    The ids of those let go, and why each other one was not. Each is fetched and judged again before it is
    written.
    """
    of_source = select(Epic.source_id).join(Notice, Notice.epic_id == Epic.id).where(which).distinct()
    for source_id in sorted(await session.scalars(of_source)):
        await take_turn(session, source_id)
    # Epics before their notices, as whoever judges takes them; what stands there is seen afterwards.
    epics = select(Epic.id).join(Notice, Notice.epic_id == Epic.id).where(which).order_by(Epic.id)
    locked = (await session.scalars(epics.with_for_update(of=Epic))).all()
    rows = await session.execute(
        select(Notice, Epic.project, Source.notices)
        .join(Epic, Epic.id == Notice.epic_id)
        .join(Source, Source.id == Epic.source_id)
        .where(which, among(Notice.epic_id, locked))
        .order_by(Notice.id)
    )
    approved, skipped = [], {}
    for notice, project, notices in rows.all():
        why = _why_not(notice, mode_in(notices, project))
        if why is None:
            approved.append(notice.id)
        else:
            skipped[notice.id] = why
    released = {"state": "due", "target": "posted", "reason": None, "detail": None, "due_at": now}
    await session.execute(
        update(Notice)
        .where(among(Notice.id, approved))
        .values(**released, guard="approved", guard_why=None, updated_at=now)
    )
    return approved, skipped


def _why_not(notice: Notice, mode: str) -> str | None:
    if notice.state != "held" or notice.reason not in ("guard", "cap"):
        reason = f" ({notice.reason})" if notice.reason else ""
        return f"It is {notice.state}{reason}, and not held by the guard or the cap."
    if mode != "live":
        return f"Its source is not live there but {mode}; nothing new is written."
    return None
