"""What a person or a program may do to the policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from mappings import invalidate
from mappings.errors import check_values, check_version
from mappings.locks import lock_goals_exclusive
from mappings.policy.document import EffectivePolicy, Policy, effective_policy, since_errors
from mappings.policy.names import former_names
from mappings.runs.causes import Cause
from mappings.runs.reevaluation import reevaluate_sources
from mappings.tables import InstallationRow, SourceRow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession


_POLICY = select(InstallationRow.policy)


async def load_policy(session: AsyncSession) -> Policy:
    """The policy in force."""
    return Policy.model_validate((await session.scalars(_POLICY)).one())


async def change_policy(
    session: AsyncSession,
    change: Callable[[Policy], Policy],
    now: datetime,
    *,
    versions: Collection[int] | None = None,
) -> tuple[InstallationRow, list[int]]:
    """Store what `change` makes of the current policy; it is called under the goals' exclusive lock.

    The epics of the projects whose effective policy differs are evaluated again, in the runs whose ids are
    returned. `versions` are those that the caller may have read, None for any. Raises `StaleVersion`, and
    `Invalid` for a day that cannot be meant.
    """
    await lock_goals_exclusive(session)
    current = select(InstallationRow).with_for_update().execution_options(populate_existing=True)
    row = (await session.scalars(current)).one()
    check_version(row.policy_version, versions)
    old = Policy.model_validate(row.policy)
    new = change(old)
    check_values(since_errors(new))
    row.policy, row.policy_version = new.model_dump(mode="json"), row.policy_version + 1
    await session.flush()
    sources = {source.id: source for source in await session.scalars(select(SourceRow))}

    def effective(policy: Policy, source_id: int, project: str) -> EffectivePolicy:
        source = sources[source_id]
        former = former_names(source.named_projects, project)
        return effective_policy(policy, source.name, project, former_names=former)

    changed = [
        (source_id, project)
        for source_id, project in await invalidate.all_projects(session)
        if effective(old, source_id, project) != effective(new, source_id, project)
    ]
    causes = [Cause.of_project(source_id, project) for source_id, project in changed]
    projects: dict[int, list[str]] = {}
    for source_id, project in changed:
        projects.setdefault(source_id, []).append(project)
    which = {source_id: invalidate.by_projects(source_id, of_it) for source_id, of_it in projects.items()}
    return row, await reevaluate_sources(session, causes, which, now)
