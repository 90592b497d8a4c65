"""What the runs of mode `evaluate` were opened for, and how a cause joins a run that is still queued.

A run that evaluates what its causes affect finds these epics itself, so the change that opens it costs the
same however many there are. A run that evaluates what is due never waits for one of these: each kind has its
own queued run in a source, and its own workers.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, cast

from sqlalchemy import Select, func, select, text, update

from mappings import invalidate
from mappings.leases import ALWAYS_DUE
from mappings.tables import RunCauseRow, RunRow, among_ids

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

Evaluates = Literal["affected", "due"]
CauseKind = Literal[
    # of `affected` runs
    "rule", "key_result", "key", "objective", "cycle", "policy", "source", "mode", "links", "parent",
    # of `due` runs, and of those that evaluate at once
    "webhooks", "command", "time", "epic",
]  # fmt: skip
# A failed run would probably fail again, so its causes are not tried again at once.
RETRY_AFTER_FAILURE = timedelta(minutes=15)
SHOWN = 20
_WORDS: Mapping[str, str] = {
    "rule": "rule {label}",
    "key_result": "key result {label}",
    "key": "key {label}",
    "objective": "objective {label}",
    "cycle": "cycle {label}",
    "policy": "policy for {label}",
    "source": "name of the source",
    "mode": "notices of the source",
    "links": "links {label}",
    "parent": "parent {label}",
    "webhooks": "webhooks",
    "command": "command on {label}",
    "time": "time",
    "epic": "links or findings of {label}",
}


@dataclass(frozen=True, slots=True)
class Cause:
    """Why epics are evaluated again. `reference` says which epics: the id of a rule or a goal, a key result's
    key in lower case, a project's key, the first and last id of links; of a parent see `of_parent`. `label`
    is what people call it. `source_id`: of this source alone."""

    kind: CauseKind
    reference: str = ""
    label: str = ""
    source_id: int | None = None

    @classmethod
    def of_links(cls, link_ids: Iterable[int]) -> list[Cause]:
        """One for each range of these ids without a gap."""
        causes: list[Cause] = []
        for first, last in _ranges(link_ids):
            causes.append(
                cls("links", f"{first}-{last}", str(first) if first == last else f"{first} to {last}")
            )
        return causes

    @classmethod
    def of_project(cls, source_id: int, project: str) -> Cause:
        return cls("policy", project, project, source_id)

    @classmethod
    def of_parent(cls, id: int, key: str, version: int | None = None, source_id: int | None = None) -> Cause:
        """All epics below this one; with `version`, the goals', those that were not evaluated with it."""
        return cls("parent", f"{id}@{'' if version is None else version}", key, source_id)

    @classmethod
    def of_every_parent(cls, source_id: int | None = None) -> Cause:
        """All epics that have a parent."""
        return cls("parent", "", "of many epics", source_id)


def _ranges(ids: Iterable[int]) -> list[tuple[int, int]]:
    """The first and last of each range without a gap, in ascending order."""
    ranges: list[tuple[int, int]] = []
    for id in sorted(set(ids)):
        if ranges and id == ranges[-1][1] + 1:
            ranges[-1] = ranges[-1][0], id
        else:
            ranges.append((id, id))
    return ranges


# One statement, so that a run cannot be claimed between the look for it and the joining: who claims it waits
# for its row, and a cause whose run has just been claimed gets a new one.
_JOIN = text("""
    WITH joined AS (
        INSERT INTO runs (source_id, mode, evaluates, due_at, created_at)
        SELECT id, 'evaluate', :evaluates, :due_at, :now
        FROM unnest(CAST(:sources AS bigint[])) AS id ORDER BY id
        ON CONFLICT (source_id, evaluates) WHERE state = 'queued' AND evaluates IS NOT NULL
        DO UPDATE SET due_at = excluded.due_at
        RETURNING id, source_id
    ), caused AS (
        INSERT INTO run_causes (run_id, kind, reference, label, done, created_at)
        SELECT DISTINCT ON (joined.id, kind, reference)
            joined.id, kind, reference, label, :evaluates = 'due', CAST(:now AS timestamptz)
        FROM joined, json_to_recordset(CAST(:causes AS json))
            AS cause (kind text, reference text, label text, source_id bigint)
        WHERE cause.source_id IS NULL OR cause.source_id = joined.source_id
        ORDER BY joined.id, kind, reference
        ON CONFLICT (run_id, kind, reference) DO UPDATE SET label = excluded.label
    )
    SELECT id FROM joined ORDER BY source_id
""")


async def join_run(
    session: AsyncSession,
    sources: Collection[int],
    evaluates: Evaluates,
    causes: Iterable[Cause],
    now: datetime,
) -> list[int]:
    """Add the causes to the queued run of each source that evaluates this, or to a new one where there is
    none; their ids, in the order of the sources. Their rows stay locked until the commit.
    """
    if not sources:
        return []
    parameters = {
        "sources": list(sources),
        "evaluates": evaluates,
        "causes": json.dumps([asdict(cause) for cause in causes]),
        "due_at": ALWAYS_DUE,
        "now": now,
    }
    return list(await session.scalars(_JOIN, parameters))


# More of them, and every epic with a parent is evaluated: that costs less than so many questions.
MOST_PARENTS = 500
_ADD_CAUSES = text("""
    INSERT INTO run_causes (run_id, kind, reference, label, created_at)
    SELECT :run_id, kind, reference, label, CAST(:now AS timestamptz)
    FROM json_to_recordset(CAST(:causes AS json)) AS cause (kind text, reference text, label text)
    ON CONFLICT DO NOTHING RETURNING reference
""")
_TOO_MANY_PARENTS = text("""
    WITH many AS (
        SELECT run_id FROM run_causes WHERE run_id = ANY(:runs) AND kind = 'parent'
        GROUP BY run_id HAVING count(*) > :most
    ), left_out AS (
        DELETE FROM run_causes USING many
        WHERE run_causes.run_id = many.run_id AND kind = 'parent' AND reference <> ''
    )
    INSERT INTO run_causes (run_id, kind, reference, label, created_at)
    SELECT run_id, :kind, :reference, :label, CAST(:now AS timestamptz) FROM many ON CONFLICT DO NOTHING
""")


async def add_causes(
    session: AsyncSession, run_id: int, causes: Sequence[Cause], now: datetime
) -> list[Cause]:
    """Add causes to the run that the caller executes, which looks for them when it has evaluated all others;
    those that it had already are given back: it may be past them."""
    dumped = json.dumps([asdict(cause) for cause in causes])
    added = set(await session.scalars(_ADD_CAUSES, {"run_id": run_id, "causes": dumped, "now": now}))
    return [cause for cause in causes if cause.reference not in added]


async def merge_parents(session: AsyncSession, runs: Sequence[int], now: datetime) -> None:
    """Of queued runs which the caller has joined: one cause instead of more than `MOST_PARENTS` parents."""
    every = Cause.of_every_parent()
    parameters = {"kind": every.kind, "reference": every.reference, "label": every.label, "now": now}
    await session.execute(_TOO_MANY_PARENTS, {"runs": list(runs), "most": MOST_PARENTS, **parameters})


async def add_counts(session: AsyncSession, run_id: int, **counts: int) -> None:
    """Add to the counts of a run that the caller has joined in this transaction."""
    added = {name: getattr(RunRow, name) + number for name, number in counts.items()}
    await session.execute(update(RunRow).where(RunRow.id == run_id).values(added))


def references(causes: Iterable[Cause], kind: CauseKind) -> list[str]:
    return [cause.reference for cause in causes if cause.kind == kind]


def changed_parents(causes: Iterable[Cause]) -> list[tuple[int, int | None]]:
    """The epics of `Cause.of_parent`, each with its version."""
    parts = [reference.split("@") for reference in references(causes, "parent") if reference]
    return [(int(id), int(version) if version else None) for id, version in parts]


def ids(causes: Iterable[Cause], kind: CauseKind) -> list[int]:
    return [int(reference) for reference in references(causes, kind)]


def link_ranges(causes: Iterable[Cause]) -> list[tuple[int, int]]:
    """The first and the last ids of the links of these causes."""
    parts = (reference.partition("-") for reference in references(causes, "links"))
    return [(int(first), int(last)) for first, _, last in parts]


async def by_goals(session: AsyncSession, causes: Sequence[Cause]) -> list[Select[Any]]:
    """The ids of epics that are linked to the goals of these causes, show one of them, or name their keys."""
    selects: list[Select[Any]] = []
    of_goals = invalidate.key_results_of(ids(causes, "objective"), ids(causes, "cycle"))
    key_results = {*ids(causes, "key_result"), *await session.scalars(of_goals)}
    if key_results:
        selects += invalidate.by_key_results(key_results)
    if keys := references(causes, "key"):
        selects.append(invalidate.by_references(keys))
    return selects


async def causes_of(session: AsyncSession, run_id: int) -> list[Cause]:
    rows = await session.scalars(select(RunCauseRow).where(RunCauseRow.run_id == run_id))
    return [Cause(cast("CauseKind", row.kind), row.reference, row.label) for row in rows]


@cache
def _oldest() -> Select[Any]:
    """Of each of the runs `ids` the oldest causes, each with its place and with how many there are."""
    place = func.row_number().over(
        partition_by=RunCauseRow.run_id,
        order_by=(RunCauseRow.created_at, RunCauseRow.kind, RunCauseRow.reference),
    )
    total = func.count().over(partition_by=RunCauseRow.run_id)
    columns = RunCauseRow.run_id, RunCauseRow.kind, RunCauseRow.label
    numbered = (
        select(*columns, place.label("place"), total.label("total"))
        .where(among_ids(RunCauseRow.run_id))
        .subquery()
    )
    return select(numbered).where(numbered.c.place <= SHOWN).order_by(numbered.c.run_id, numbered.c.place)


async def causes_in_words(session: AsyncSession, run_ids: Collection[int]) -> dict[int, list[str]]:
    """The causes of these runs in words, the oldest `SHOWN` of each, and then how many more there are."""
    rows = await session.execute(_oldest(), {"ids": list(run_ids)})
    words: dict[int, list[str]] = {run_id: [] for run_id in run_ids}
    for run_id, kind, label, at, count in rows:
        words[run_id].append(_WORDS[kind].format(label=label))
        if at == SHOWN and count > SHOWN:
            words[run_id].append(f"{count - SHOWN} more")
    return words


async def end_causes(session: AsyncSession, run_id: int) -> None:
    """What these causes affect is evaluated; no other run has to."""
    await session.execute(
        update(RunCauseRow).where(RunCauseRow.run_id == run_id, ~RunCauseRow.done).values(done=True)
    )


async def retry_causes(session: AsyncSession, now: datetime) -> None:
    """Give the causes of runs that failed `RETRY_AFTER_FAILURE` ago to other runs: a goal that was closed
    must not leave an epic aligned because the run that was to evaluate it failed."""
    failed = (
        select(RunRow.id, RunRow.source_id)
        .where(RunRow.finished_at <= now - RETRY_AFTER_FAILURE)
        .where(RunRow.id.in_(select(RunCauseRow.run_id).where(~RunCauseRow.done)))
        .order_by(RunRow.source_id, RunRow.id)
        .with_for_update(skip_locked=True)
    )
    for run_id, source_id in (await session.execute(failed)).all():
        await join_run(session, [source_id], "affected", await causes_of(session, run_id), now)
        await end_causes(session, run_id)


async def record_progress(session: AsyncSession, run_id: int, up_to: int) -> None:
    """The affected epics with ids up to this one are evaluated; the run goes on there if it is resumed."""
    await session.execute(update(RunRow).where(RunRow.id == run_id).values(evaluated_up_to=up_to))
