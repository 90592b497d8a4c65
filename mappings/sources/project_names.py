"""The names of projects in the configuration, and which projects they mean by the tracker's listing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import literal, select, text, update
from sqlalchemy.dialects.postgresql import JSONB

from connectors.base import NamedProject
from mappings.tables import InstallationRow, SourceRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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
    listing = _Listing(listed)
    own = [*listing.in_scope.values(), *(notices.get("projects") or ())]
    written = {name.lower(): name for name in reversed(own)}
    places: dict[str, list[str]] = {}
    for name, place in await _elsewhere(session):
        places.setdefault(name.lower(), []).append(place)
        written.setdefault(name.lower(), name)
    named: dict[str, Any] = {}
    for lower, name in written.items():
        if (found := listing.meant(lower, before.get(lower))) is not None:
            where = list(dict.fromkeys(places.get(lower, ())))
            named[lower] = {"name": name, "id": found.id, "key": found.key, "places": where}
    if listing.whole:
        unknown = [name for name in notices.get("projects") or () if name.lower() not in named]
        await note_unknown_names(session, source_id, {"notices.projects": unknown})
    if named != before:
        await session.execute(update(SourceRow).where(SourceRow.id == source_id).values(named_projects=named))


class _Listing:
    """The projects that a tracker lists. `in_scope`: the names that the scope has, by lower-case name."""

    def __init__(self, listed: Sequence[Project]) -> None:
        self.whole = all(project.problem is None for project in listed)
        self.in_scope = {name.lower(): name for project in listed for name in project.named}
        found = [
            (project, NamedProject(project.remote_id, project.key))
            for project in listed
            if project.remote_id is not None
        ]
        self._by_scope = {name.lower(): one for project, one in found for name in project.named}
        self._by_id = {one.id: one for _, one in found}
        self._by_key = {one.key.lower(): one for _, one in found}

    def meant(self, lower: str, known: Mapping[str, Any] | None) -> NamedProject | None:
        """The project that a name means, which was `known` to mean one; None where there is none."""
        if lower in self._by_scope:
            return self._by_scope[lower]
        if known is None:
            return self._by_key.get(lower)
        if known["id"] in self._by_id or not self.whole:
            return self._by_id.get(known["id"]) or NamedProject(known["id"], known["key"])
        return self._by_key.get(lower)


async def note_unknown_names(
    session: AsyncSession, source_id: int, unknown: Mapping[str, Sequence[str]]
) -> None:
    """Store which names the tracker does not have, by setting; what is known of other settings stays."""
    merged = SourceRow.unknown_names.op("||", return_type=JSONB())(literal(dict(unknown), JSONB))
    await session.execute(
        update(SourceRow)
        .where(SourceRow.id == source_id, SourceRow.unknown_names.is_distinct_from(merged))
        .values(unknown_names=merged)
    )


async def _elsewhere(session: AsyncSession) -> list[tuple[str, str]]:
    """The names in rules and in the policy, each with its place in words."""
    found = [
        (name, f"rule {rule.name}")
        for rule in await session.execute(_RULES)
        for tested in rule.tested
        for name in (tested if isinstance(tested, list) else (tested,))
        if isinstance(name, str)
    ]
    policy = await session.scalar(select(InstallationRow.policy))
    return [*found, *_in_policy(policy or {})]


def _in_policy(policy: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in (policy.get("exempt") or {}).get("projects") or ():
        yield name, "policy.exempt.projects"
    for scope in policy.get("scopes") or ():
        if isinstance(scope.get("project"), str):
            yield scope["project"], "policy.scopes"
        for name in (scope.get("exempt") or {}).get("projects") or ():
            yield name, "policy.scopes"
