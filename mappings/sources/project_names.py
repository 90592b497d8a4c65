"""The names of projects in the configuration, and which projects they mean by the tracker's listing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, text, update

from mappings.tables import InstallationRow, SourceRow

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from connectors.base import Project

# A rule's tests of the project, wherever they are in its condition.
_RULES = text(
    "SELECT id, name, jsonb_path_query_array(\"when\", 'lax $.**.project') AS tested FROM rules"
    " WHERE jsonb_path_exists(\"when\", 'lax $.**.project') ORDER BY id"
)


async def note_names(session: AsyncSession, source_id: int, listed: Sequence[Project]) -> None:
    """Store which projects the names in the source's configuration, in rules and in the policy mean.

    A name means the project that had it when it was first seen here, as long as that one is listed. Names
    that the configuration no longer has are forgotten.
    """
    columns = SourceRow.notices, SourceRow.named_projects
    row = (await session.execute(select(*columns).where(SourceRow.id == source_id))).one_or_none()
    if row is None:
        return
    notices, before = row
    by_id = {project.remote_id: project for project in listed if project.remote_id is not None}
    by_key = {project.key.lower(): project for project in by_id.values()}
    in_scope = {name.lower(): (name, project) for project in listed for name in project.named}
    whole = all(project.problem is None for project in listed)
    places: dict[str, list[str]] = {}
    written: dict[str, str] = {lower: name for lower, (name, _) in in_scope.items()}
    for name in notices.get("projects") or ():
        written.setdefault(name.lower(), name)
    async for name, place in _elsewhere(session):
        places.setdefault(name.lower(), []).append(place)
        written.setdefault(name.lower(), name)
    named: dict[str, Any] = {}
    for lower, name in written.items():
        known = before.get(lower)
        means = in_scope[lower][1] if lower in in_scope else None
        if means is None or means.remote_id is None:
            means = by_id.get(known["id"]) if known is not None else None
        if means is None and (known is None or whole):
            means = by_key.get(lower)
        if means is not None:
            found = {"name": name, "id": means.remote_id, "key": means.key}
        elif known is not None and not whole:
            found = {"name": name, "id": known["id"], "key": known["key"]}
        else:
            continue
        named[lower] = {**found, "places": list(dict.fromkeys(places.get(lower, ())))}
    if named != before:
        await session.execute(update(SourceRow).where(SourceRow.id == source_id).values(named_projects=named))


async def _elsewhere(session: AsyncSession) -> Any:
    """The names in rules and in the policy, each with its place in words."""
    for rule in await session.execute(_RULES):
        for tested in rule.tested:
            for name in tested if isinstance(tested, list) else (tested,):
                if isinstance(name, str):
                    yield name, f"rule {rule.name}"
    policy = await session.scalar(select(InstallationRow.policy))
    for name, place in _in_policy(policy or {}):
        yield name, place


def _in_policy(policy: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in (policy.get("exempt") or {}).get("projects") or ():
        yield name, "policy.exempt.projects"
    for scope in policy.get("scopes") or ():
        if isinstance(scope.get("project"), str):
            yield scope["project"], "policy.scopes"
        for name in (scope.get("exempt") or {}).get("projects") or ():
            yield name, "policy.scopes"
