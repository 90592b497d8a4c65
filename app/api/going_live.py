"""Whether a source may be `live`, and in which projects: checked before a source is created or changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.problems import Problem, invalid
from connectors.registry import is_loopback, tracker_id
from mappings.tables import RunRow, SourceProjectRow, SourceRow

NAMED = 10


async def check_notices(session: AsyncSession, body: Any, row: SourceRow | None) -> None:
    """409 where `live` is not allowed yet, 422 for projects that the source does not read.

    `body` is the source as it will be, `row` as it is, None for a new one.
    """
    if body.notices.mode == "live":
        await _check_live(session, body, row)
    await _check_projects(session, body, row)


async def _check_live(session: AsyncSession, body: Any, row: SourceRow | None) -> None:
    """409 for a tracker beyond this machine, until a full run of it has succeeded in shadow."""
    if is_loopback(body.base_url):
        return
    tracker = tracker_id(body.kind, body.base_url)
    if row is not None:
        was_live = row.notices["mode"] == "live" and not is_loopback(row.base_url)
        if was_live and row.tracker == tracker:
            return
        in_shadow = exists().where(
            RunRow.source_id == row.id,
            RunRow.mode == "full",
            RunRow.state == "succeeded",
            RunRow.notices_mode == "shadow",
            RunRow.tracker == tracker,
        )
        if await session.scalar(select(in_shadow)):
            return
    raise Problem(409, _way_to_live(body.name, tracker))


def _way_to_live(name: str, tracker: str) -> str:
    return (
        f"`live` is not allowed yet for {tracker}: first a full sync has to succeed in shadow. Send "
        '{"notices": {"mode": "shadow"}}, then POST '
        f'/api/v1/sources/{name}/sync with {{"mode": "full"}}, and see what would be written with '
        f"GET /api/v1/notices?source={name}. Then set `live`, with `projects` for some projects only."
    )


# --- projects -------------------------------------------------------------------------------------


async def _check_projects(session: AsyncSession, body: Any, row: SourceRow | None) -> None:
    """New names in the list, and all names when it becomes `live`, must be projects that the source reads."""
    asked: Sequence[str] = body.notices.projects or ()
    before = () if row is None else row.notices.get("projects") or ()
    becomes_live = body.notices.mode == "live" and (row is None or row.notices["mode"] != "live")
    kept = set() if becomes_live else {name.lower() for name in before}
    rows: Sequence[SourceProjectRow] = ()
    if row is not None:
        of_source = select(SourceProjectRow).where(SourceProjectRow.source_id == row.id)
        rows = (await session.scalars(of_source.order_by(SourceProjectRow.key))).all()
    known = {project.key.lower() for project in rows}
    # Only a complete listing of what the source will read shows that a project does not exist.
    whole = row is not None and bool(rows) and all(project.problem is None for project in rows)
    whole = whole and row is not None and _reads(body) == (row.scope, row.tracker)
    for name in asked:
        if name.lower() in known | kept or (body.scope.covers(name) and not whole):
            continue
        raise invalid("notices.projects", _unknown(name, [project.key for project in rows]))


def _reads(body: Any) -> tuple[dict[str, Any], str]:
    return body.scope.model_dump(mode="json"), tracker_id(body.kind, body.base_url)


def _unknown(name: str, keys: Sequence[str]) -> str:
    if not keys:
        return f"{name} is not in the source's scope"
    shown = ", ".join(keys[:NAMED]) + (f" and {len(keys) - NAMED} more" if len(keys) > NAMED else "")
    return f"{name} is not a project this source reads; it reads {shown}. Sync in full first if it is new"
