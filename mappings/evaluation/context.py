"""The evaluation context of one source: read once, used to evaluate many epics."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, select, true
from sqlalchemy.orm import defer

from mappings.checks.registry import CHECKS
from mappings.goals.rows import key_result_of
from mappings.links.resolve import GoalsAndRules
from mappings.notices.marker import MarkerSigner
from mappings.policy.document import EffectivePolicy, Policy, effective_policy
from mappings.policy.modes import NoticesMode, mode_in
from mappings.policy.names import former_names
from mappings.rules.index import RuleIndex
from mappings.rules.operations import rule_of
from mappings.sources.unreadable import unreadable_ids
from mappings.suggestions.cache import prepare, suggest_for
from mappings.suggestions.load import Audience, cache_key
from mappings.tables import (
    CycleRow,
    InstallationRow,
    KeyResultRow,
    ObjectiveRow,
    RuleRow,
    SourceProjectRow,
    SourceRow,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from connectors.document import Document
    from connectors.marker import Marker
    from mappings.checks.check import Check
    from mappings.goals.key_results import KeyResult
    from mappings.suggestions.material import Suggestion
    from mappings.tables import EpicRow


@dataclass(frozen=True, slots=True)
class ProjectInfo:
    """The facts of a project that an evaluation needs."""

    public: bool = False
    service_desk: bool = False
    fresh: bool = False


# As long as its audience is not known, nothing is told there that not everybody may read.
NOT_READ_YET = ProjectInfo(public=True)


@dataclass(frozen=True, slots=True)
class KnownGoals:
    """Goals, rules and policy at `version`, which counts every change of them. `installation`: its id."""

    installation: str
    version: int
    goals: GoalsAndRules
    policy: Policy


@dataclass
class EvaluationContext:
    """Goals, rules, policy and modes in force for one source at one moment.

    `version` counts every change of goals, rules and policy: while it is the same, the caller may
    reuse this context. `render` gives a notice's text as people find it on the ticket. `page_url` gives
    the address of an epic's page by the epic's row, None where readers of the ticket cannot open it. `checks`
    are those that the epics are checked with. `unreadable`: the tracker's ids of tickets that could not be
    read again.
    """

    source: SourceRow
    signer: MarkerSigner
    version: int
    goals: GoalsAndRules
    policy: Policy
    project_infos: Mapping[str, ProjectInfo]
    render: Callable[[Document, Marker], str]
    page_url: Callable[[EpicRow], str | None]
    checks: Sequence[Check[Any]] = CHECKS
    unreadable: frozenset[str] = frozenset()
    _effective: dict[str, EffectivePolicy] = field(default_factory=dict)
    _former: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def policy_for(self, project: str) -> EffectivePolicy:
        if project not in self._effective:
            self._effective[project] = effective_policy(
                self.policy, self.source.name, project, self.checks, self.former_names(project)
            )
        return self._effective[project]

    def mode_for(self, project: str) -> NoticesMode:
        return mode_in(self.source.notices, project, self.source.named_projects)

    def former_names(self, project: str) -> tuple[str, ...]:
        """The former keys by which the configuration names the project."""
        if project not in self._former:
            self._former[project] = former_names(self.source.named_projects, project)
        return self._former[project]

    def project_info(self, project: str) -> ProjectInfo:
        return self.project_infos.get(project, NOT_READ_YET)

    async def suggest(self, session: AsyncSession, row: EpicRow, now: datetime) -> Sequence[Suggestion]:
        """The key results that its ticket may show as fitting the epic, best first."""
        found = await suggest_for(session, [row.id], cache_key(self._audience(row.project)), now)
        return found[row.id]

    async def suggest_confidently(
        self, session: AsyncSession, rows: Sequence[EpicRow], now: datetime
    ) -> dict[int, Sequence[Suggestion]]:
        """Those that a notice shows, of many by the epic's id: tickets of the same readers are asked for at
        once."""
        by_audience: dict[Audience | None, list[int]] = {}
        for row in rows:
            by_audience.setdefault(cache_key(self._audience(row.project)), []).append(row.id)
        found: dict[int, Sequence[Suggestion]] = {}
        for audience, ids in by_audience.items():
            found.update(await suggest_for(session, ids, audience, now, confident=True))
        return found

    async def prepare_suggestions(self, session: AsyncSession, project: str, now: datetime) -> None:
        """What takes seconds the first time, before a transaction that holds locks suggests."""
        await prepare(session, self._audience(project), now)

    def _audience(self, project: str) -> Audience:
        return Audience(self.source.id, project, self.project_info(project).public)


async def load_context(
    session: AsyncSession,
    source: SourceRow,
    render: Callable[[Document, Marker], str],
    page_url: Callable[[EpicRow], str | None],
    marker_key: bytes,
    *,
    shared: EvaluationContext | None = None,
    known: KnownGoals | None = None,
    checks: Sequence[Check[Any]] = CHECKS,
) -> EvaluationContext:
    """Read the context of `source`.

    `marker_key` signs the markers of comments. `shared` is the context of another source, read a moment ago:
    its goals, rules and policy are reused. So are those that are `known`.
    """
    if shared is not None:
        return replace(
            shared,
            source=source,
            project_infos=await load_project_infos(session, source.id),
            render=render,
            page_url=page_url,
            unreadable=await unreadable_ids(session, source.id),
            _effective={},
            _former={},
        )
    if known is None:
        row = (await session.scalars(select(InstallationRow))).one()
        policy = Policy.model_validate(row.policy)
        known = KnownGoals(row.uuid, row.goals_version, await load_goals(session), policy)
    return EvaluationContext(
        source=source,
        signer=MarkerSigner(known.installation, marker_key),
        version=known.version,
        goals=known.goals,
        policy=known.policy,
        project_infos=await load_project_infos(session, source.id),
        render=render,
        page_url=page_url,
        checks=checks,
        unreadable=await unreadable_ids(session, source.id),
    )


async def load_project_infos(
    session: AsyncSession, source_id: int, *, lock: bool = False
) -> dict[str, ProjectInfo]:
    """The projects of a source as they are now, by key.

    With `lock` the rows are locked, so that no project becomes fully synced until this transaction ends:
    `sources.projects.record_project_read` waits, then finds the notices made here too and marks their epics
    for evaluation. The caller takes this lock before it locks any epic.
    """
    query = _PROJECTS.where(SourceProjectRow.source_id == source_id)
    if lock:
        # The weakest lock: the reader can still store a page and advance the project's cursor.
        query = query.order_by(SourceProjectRow.key).with_for_update(read=True, key_share=True)
    return {key: ProjectInfo(*facts) for key, *facts in await session.execute(query)}


_PROJECTS = select(
    SourceProjectRow.key,
    SourceProjectRow.public,
    SourceProjectRow.service_desk,
    SourceProjectRow.fully_synced,
)


async def refresh_context(
    session: AsyncSession, context: EvaluationContext, project: str
) -> EvaluationContext | None:
    """`context` with the facts of `project` as they are now; None where goals, rules, policy or the source
    changed after it was read. One statement, where reading it again takes six."""
    query = (
        select(InstallationRow.goals_version, SourceRow.version, SourceRow.named_projects, SourceProjectRow)
        .select_from(SourceRow)
        .join(InstallationRow, true())
        .outerjoin(
            SourceProjectRow,
            and_(
                SourceProjectRow.source_id == SourceRow.id,
                SourceProjectRow.key == project,
            ),
        )
        .where(SourceRow.id == context.source.id)
        .execution_options(populate_existing=True)
    )
    row = (await session.execute(query)).one_or_none()
    source = context.source
    if row is None or tuple(row)[:3] != (context.version, source.version, source.named_projects):
        return None
    return replace(context, project_infos={project: _project_info(row[3])} if row[3] is not None else {})


def _project_info(row: SourceProjectRow) -> ProjectInfo:
    return ProjectInfo(row.public, row.service_desk, row.fully_synced)


async def load_goals(session: AsyncSession) -> GoalsAndRules:
    rules = await session.scalars(select(RuleRow).where(RuleRow.enabled))
    return GoalsAndRules(await load_key_results(session), RuleIndex(map(rule_of, rules)))


async def load_key_results(session: AsyncSession) -> dict[int, KeyResult]:
    """Every key result by id, with the facts of its objective and cycle."""
    rows = await session.execute(
        select(KeyResultRow, ObjectiveRow, CycleRow.ends)
        .join(ObjectiveRow, ObjectiveRow.id == KeyResultRow.objective_id)
        .outerjoin(CycleRow, CycleRow.id == ObjectiveRow.cycle_id)
        .order_by(KeyResultRow.id)
        .options(defer(KeyResultRow.description), defer(ObjectiveRow.description))
    )
    return {row.id: key_result_of(row, objective, ends) for row, objective, ends in rows}
