"""What the epics of one source are judged by, read in one go and used for many epics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, cast

from sqlalchemy import and_, func, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from connectors.base import Epic, Marker
from connectors.document import Document
from mappings import tables
from mappings.conditions import parse
from mappings.goals import KeyResult, State, Visibility
from mappings.linking import Goals
from mappings.policy import EffectivePolicy, Policy, effective
from mappings.rules import Rule, RuleBook
from mappings.suggest import Candidates, Suggestion
from mappings.verdict import Mode


@dataclass(frozen=True, slots=True)
class Place:
    """What the judge must know of a project. A project not read yet is neither public nor fresh."""

    public: bool = False
    service_desk: bool = False
    fresh: bool = False


@dataclass
class Standard:
    """Goals, rules, policy and modes in force for one source at one moment.

    `version` is that of goals, rules and policy together: who finds it unchanged may go on with
    this. `render` gives a notice's text as it stands on the tracker, `page` an epic's page.
    """

    source: tables.Source
    installation: str
    version: int
    goals: Goals
    policy: Policy
    places: Mapping[str, Place]
    render: Callable[[Document, Marker], str]
    page: Callable[[str], str | None]
    linked: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    _candidates: dict[bool, Candidates] = field(default_factory=dict)
    _effective: dict[str, EffectivePolicy] = field(default_factory=dict)

    @property
    def hears(self) -> bool:
        """Whether comments on the source's tickets reach us, so that commands there work."""
        return self.source.webhook_secret is not None

    def policy_for(self, project: str) -> EffectivePolicy:
        if project not in self._effective:
            self._effective[project] = effective(self.policy, self.source.name, project)
        return self._effective[project]

    def mode_for(self, project: str) -> Mode:
        return mode_in(self.source.notices, project)

    def place(self, project: str) -> Place:
        return self.places.get(project, Place())

    def suggest(self, epic: Epic, now: datetime) -> Sequence[Suggestion]:
        public = self.place(epic.project).public
        if public not in self._candidates:
            self._candidates[public] = Candidates(list(self.goals.key_results.values()), now, public)
        return self._candidates[public].fitting(epic, self.linked.get(epic.project))


def mode_in(notices: Mapping[str, Any], project: str) -> Mode:
    """`live` only where the source is, and only in the projects it is limited to."""
    mode: Mode = notices["mode"]
    only = notices.get("projects")
    if mode == "live" and only is not None and project.lower() not in {name.lower() for name in only}:
        return "shadow"
    return mode


async def load_standard(
    session: AsyncSession,
    source: tables.Source,
    render: Callable[[Document, Marker], str],
    page: Callable[[str], str | None],
    *,
    projects: Iterable[str] | None = None,
    like: Standard | None = None,
) -> Standard:
    """Read the standard; `projects` are those whose links help to suggest key results, None for all.

    With `like`, another source's that was read a moment ago, goals, rules and policy are taken from there.
    """
    if like is not None:
        return replace(
            like,
            source=source,
            places=await load_places(session, source.id),
            render=render,
            page=page,
            linked=await _linked(session, source.id, projects),
            _effective={},
        )
    installation = (await session.scalars(select(tables.Installation))).one()
    return Standard(
        source=source,
        installation=installation.uuid,
        version=installation.goals_version,
        goals=await load_goals(session),
        policy=Policy.model_validate(installation.policy),
        places=await load_places(session, source.id),
        render=render,
        page=page,
        linked=await _linked(session, source.id, projects),
    )


async def load_places(session: AsyncSession, source_id: int, *, hold: bool = False) -> dict[str, Place]:
    """The projects of a source as they are now, by their keys.

    With `hold` none comes to be believed until this transaction ends: who has read one to its end waits
    (`reach.note_read`), and then finds our notices too and has them judged anew. Held before any epic is.
    """
    places = select(tables.SourceProject).where(tables.SourceProject.source_id == source_id)
    if hold:
        # The weakest lock: a page that is stored goes on, and may move the project's cursor.
        places = places.order_by(tables.SourceProject.key).with_for_update(read=True, key_share=True)
    rows = await session.scalars(places.execution_options(populate_existing=True))
    return {row.key: _place(row) for row in rows}


async def as_it_stands(session: AsyncSession, standard: Standard, project: str) -> Standard | None:
    """`standard` with the place of `project` as it is now; None where goals, rules, policy or the source
    have changed since it was read. One statement, where reading it anew takes six."""
    query = (
        select(tables.Installation.goals_version, tables.Source.version, tables.SourceProject)
        .select_from(tables.Source)
        .join(tables.Installation, true())
        .outerjoin(
            tables.SourceProject,
            and_(tables.SourceProject.source_id == tables.Source.id, tables.SourceProject.key == project),
        )
        .where(tables.Source.id == standard.source.id)
        .execution_options(populate_existing=True)
    )
    row = (await session.execute(query)).one_or_none()
    if row is None or (row[0], row[1]) != (standard.version, standard.source.version):
        return None
    return replace(standard, places={project: _place(row[2])} if row[2] is not None else {})


def _place(row: tables.SourceProject) -> Place:
    return Place(row.public, row.service_desk, row.read_to_end)


async def load_goals(session: AsyncSession) -> Goals:
    rules = await session.scalars(select(tables.Rule).where(tables.Rule.enabled))
    book = RuleBook(
        Rule(rule.id, rule.name, parse(rule.when), rule.key_result_id, rule.priority) for rule in rules
    )
    return Goals(await load_key_results(session), book)


async def load_key_results(session: AsyncSession) -> dict[int, KeyResult]:
    """Every key result by id, with what its objective and cycle say of it."""
    rows = await session.execute(
        select(tables.KeyResult, tables.Objective, tables.Cycle.ends)
        .join(tables.Objective, tables.Objective.id == tables.KeyResult.objective_id)
        .outerjoin(tables.Cycle, tables.Cycle.id == tables.Objective.cycle_id)
        .order_by(tables.KeyResult.id)
    )
    return {row.id: goal_of(row, objective, ends) for row, objective, ends in rows}


def goal_of(row: tables.KeyResult, objective: tables.Objective, cycle_ends: date | None) -> KeyResult:
    """The judge's value of a key result with what its objective and cycle say of it."""
    return KeyResult(
        id=row.id,
        key=row.key,
        title=row.title,
        objective_key=objective.key,
        objective_title=objective.title,
        driver=objective.driver,
        visibility=cast("Visibility", objective.visibility),
        public_label=objective.public_label,
        state=cast("State", row.state),
        objective_state=cast("State", objective.state),
        cycle_ends=cycle_ends,
    )


async def _linked(
    session: AsyncSession, source_id: int, projects: Iterable[str] | None
) -> dict[str, dict[int, int]]:
    """How many epics of each project are linked to each key result."""
    query = (
        select(tables.Epic.project, tables.Link.key_result_id, func.count())
        .join(tables.Link, tables.Link.epic_id == tables.Epic.id)
        .where(tables.Epic.source_id == source_id, tables.Epic.gone_at.is_(None))
        .group_by(tables.Epic.project, tables.Link.key_result_id)
    )
    if projects is not None:
        query = query.where(tables.Epic.project.in_(list(projects)))
    counts: dict[str, dict[int, int]] = {}
    for project, key_result_id, count in await session.execute(query):
        counts.setdefault(project, {})[key_result_id] = count
    return counts
