"""Whether a source may be `live`, and in which projects: checked before a source is created or changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import exists, func, select

from mappings.errors import Conflict, Invalid
from mappings.notices.burst_guard import why_too_many
from mappings.tables import DemoCompanyRow, EpicRow, NoticeRow, RunRow, SourceProjectRow, SourceRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.sources.values import SourceValues, TrackerFacts

NAMED = 10


async def check_live(
    session: AsyncSession, values: SourceValues, row: SourceRow | None, was: TrackerFacts | None
) -> None:
    """Raise `Conflict` for a tracker beyond this machine, until a full run of it has succeeded in shadow.

    `values` is the source as it will be, `row` as it is with the facts `was`, None for a new one.
    """
    if values.notices["mode"] != "live" or values.facts.loopback:
        return
    tracker = values.facts.tracker
    if row is not None and was is not None:
        was_live = row.notices["mode"] == "live" and not was.loopback
        if was_live and row.tracker == tracker:
            return
        if await _was_read_in_shadow(session, row.id, tracker):
            return
    raise Conflict(_way_to_live(values.name, tracker))


async def may_go_live(session: AsyncSession, row: SourceRow, *, loopback: bool) -> bool:
    """Whether a stored source, whose tracker is perhaps on `loopback`, is live or may be set so."""
    if row.notices["mode"] == "live" or loopback:
        return True
    return await _was_read_in_shadow(session, row.id, row.tracker)


async def _was_read_in_shadow(session: AsyncSession, source_id: int, tracker: str) -> bool:
    """Whether a full run of this tracker has succeeded in shadow."""
    in_shadow = exists().where(
        RunRow.source_id == source_id,
        RunRow.mode == "full",
        RunRow.state == "succeeded",
        RunRow.notices_mode == "shadow",
        RunRow.tracker == tracker,
    )
    return bool(await session.scalar(select(in_shadow)))


async def check_apart_from_demo(session: AsyncSession, values: SourceValues) -> None:
    """Raise `Conflict` for a tracker beyond this machine while the demo's company is loaded: on its tickets
    the made-up goals would count, and be named."""
    if values.facts.loopback:
        return
    loaded = select(DemoCompanyRow.id).where(DemoCompanyRow.state != "failed")
    if await session.scalar(loaded) is not None:
        raise Conflict(
            "The demo company is loaded here, and its goals are made up: remove it first, with the button "
            "that each page shows, then connect your tracker."
        )


def _way_to_live(name: str, tracker: str) -> str:
    return (
        f"`live` is not allowed yet for {tracker}: first a full sync has to succeed in shadow. Send "
        '{"notices": {"mode": "shadow"}}, then POST '
        f'/api/v1/sources/{name}/sync with {{"mode": "full"}}, and see what would be written with '
        f"GET /api/v1/notices?source={name}. Then set `live`, with `projects` for some projects only."
    )


# --- what it would mean ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LivePreview:
    """What going live would write. `project`: None for all of the source. `prepared`: the comments that are
    prepared there; `held`: why the burst guard would hold all of them if they came due at once, None if it
    would not."""

    project: str | None
    prepared: int
    open_epics: int
    held: str | None


async def preview_of_live(session: AsyncSession, row: SourceRow, project: str | None) -> LivePreview:
    """What is prepared in a project of this key, in any case, or in those that are in shadow now."""
    here = [EpicRow.source_id == row.id, EpicRow.removed_at.is_(None)]
    if project is not None:
        here.append(func.lower(EpicRow.project) == project.lower())
    prepared = (
        select(EpicRow.project, func.count())
        .join(NoticeRow, NoticeRow.epic_id == EpicRow.id)
        .where(*here, NoticeRow.state == "shadow")
        .group_by(EpicRow.project)
    )
    new: dict[str, int] = {key: number for key, number in await session.execute(prepared)}
    counted = select(EpicRow.project, func.count()).where(*here, EpicRow.status_category != "done")
    open_epics: dict[str, int] = {
        key: number for key, number in await session.execute(counted.group_by(EpicRow.project))
    }
    held = why_too_many(new, open_epics, row.notices["per_run"], row.notices["max_share"])
    return LivePreview(project, sum(new.values()), sum(open_epics.values()), held)


# --- projects -------------------------------------------------------------------------------------


async def check_projects(session: AsyncSession, values: SourceValues, row: SourceRow | None) -> None:
    """Raise `Invalid` for names in `notices.projects` that are no projects which the source reads.

    New names are checked, and all names when the source becomes `live`.
    """
    asked: Sequence[str] = values.notices["projects"] or ()
    before = () if row is None else row.notices.get("projects") or ()
    becomes_live = values.notices["mode"] == "live" and (row is None or row.notices["mode"] != "live")
    kept = set() if becomes_live else {name.lower() for name in before}
    rows: Sequence[SourceProjectRow] = ()
    if row is not None:
        of_source = select(SourceProjectRow).where(SourceProjectRow.source_id == row.id)
        rows = (await session.scalars(of_source.order_by(SourceProjectRow.key))).all()
    # A former key that is known to mean a project names it too; the source's health says what to change.
    known = {project.key.lower() for project in rows} | (set() if row is None else row.named_projects.keys())
    # Only a complete listing of what the source will read shows that a project does not exist.
    whole = row is not None and bool(rows) and all(project.problem is None for project in rows)
    whole = whole and row is not None and (values.scope, values.facts.tracker) == (row.scope, row.tracker)
    for name in asked:
        if name.lower() in known | kept or (values.facts.scope.covers(name) and not whole):
            continue
        raise Invalid("notices.projects", _unknown(name, [project.key for project in rows]))


def _unknown(name: str, keys: Sequence[str]) -> str:
    if not keys:
        return f"{name} is not in the source's scope"
    shown = ", ".join(keys[:NAMED]) + (f" and {len(keys) - NAMED} more" if len(keys) > NAMED else "")
    return f"{name} is not a project this source reads; it reads {shown}. Sync in full first if it is new"
