"""What a decision changes, and how that is taken back exactly.

`DecisionRow.effects` holds what was before; its members are `findings`, `answers`, `links`, `stage`, `goal`,
`item`, and `says`, what was changed in sentences. What a person changed since stays theirs: an undo leaves it
as it is where that does no harm, else it is refused and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, text, update

from mappings.audit import Change, record_changes
from mappings.errors import Conflict
from mappings.evaluation.findings import UNANSWERED
from mappings.evaluation.operations import BEARING, dismissal, set_finding
from mappings.goals.operations import change_key_result, change_objective
from mappings.governance.stages import (
    check_may_scale,
    locked_stage,
    move_stage,
    restore_stage,
    stored_stage,
)
from mappings.governance.values import columns_as_json, columns_from_json
from mappings.links.operations import move_manually
from mappings.policy.durations import end_of_day, last_day
from mappings.tables import (
    MANUAL_ORIGINS,
    CommandCommentRow,
    DecisionRow,
    EpicRow,
    FindingRow,
    KeyResultRow,
    LinkRow,
    ObjectiveRow,
    SourceProjectRow,
    SourceRow,
    among,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.governance.values import Stage

_OF_FINDINGS = ("state", "opened_at", "resolved_at", "until", "reason", "by", "changed_at")
_OF_LINKS = ("id", "key_result_id", "origin", "weight", "is_primary", "why", "created_at")


@dataclass(slots=True)
class Applied:
    """`effects` as `DecisionRow` keeps them; `links_changed`: what is below the epic is evaluated again too.
    `runs`: of epics that a changed goal bears on."""

    effects: dict[str, Any] = field(default_factory=dict)
    says: list[str] = field(default_factory=list)
    links_changed: bool = False
    runs: list[int] = field(default_factory=list)


async def bearing_findings(session: AsyncSession, epic_id: int) -> list[FindingRow]:
    """The findings of an epic that bear on its alignment, locked; the caller has locked the epic."""
    query = (
        select(FindingRow)
        .where(FindingRow.epic_id == epic_id, FindingRow.check.in_(BEARING))
        .order_by(FindingRow.id)
        .with_for_update()
    )
    return list(await session.scalars(query.execution_options(populate_existing=True)))


# --- a decision on an epic --------------------------------------------------------------------


async def apply_to_epic(
    session: AsyncSession,
    decision: DecisionRow,
    epic: EpicRow,
    findings: Sequence[FindingRow],
    goal: KeyResultRow | None,
    now: datetime,
) -> Applied:
    """Change what the decision, which has its id, is about. `findings` as `bearing_findings` gives them;
    `goal`: the target of a remap, or the measure of a pilot. The caller has checked the values, holds the
    goals' exclusive lock and has locked the epic, and has it evaluated.

    Raises `Conflict` where a gate of the stages is closed."""
    done = Applied()
    unresolved = [row for row in findings if row.state != "resolved"]
    done.effects["findings"] = [columns_as_json(row, ("check", *_OF_FINDINGS)) for row in unresolved]
    done.effects["answers"] = await _answers(session, epic.id)
    if decision.decision in ("stop", "defer"):
        await _set_aside(session, decision, epic, unresolved, now, done)
    else:
        await _end_set_aside(session, epic, unresolved, now, done)
    match decision.decision:
        case "keep":
            await _dismiss(session, decision, epic, unresolved, now, done)
        case "remap":
            assert goal is not None
            await _remap(session, decision, epic, goal, now, done)
        case "pilot" | "scale" as stage:
            await _move(session, epic, stage, goal, decision.by_date, now, done)
    done.effects["says"] = done.says
    return done


async def _answers(session: AsyncSession, epic_id: int) -> list[list[Any]]:
    """The answers to commands that the notice shows, each with the id of its command."""
    query = select(CommandCommentRow.id, CommandCommentRow.answer).where(
        CommandCommentRow.epic_id == epic_id, CommandCommentRow.answer.is_not(None)
    )
    return [list(row) for row in await session.execute(query)]


async def _set_aside(
    session: AsyncSession,
    decision: DecisionRow,
    epic: EpicRow,
    unresolved: Sequence[FindingRow],
    now: datetime,
    done: Applied,
) -> None:
    until = None if decision.by_date is None else end_of_day(decision.by_date)
    earlier = await _decided_at(session, epic)
    epic.set_aside, epic.set_aside_until = decision.decision, until
    epic.set_aside_decision_id = decision.id
    for row in unresolved:
        if row.state != "waived" or row.changed_at == earlier:
            await set_finding(session, row, "waived", until, decision.reason, now)
    done.says.append(f"{epic.key} is set aside {until_words(until)}.")


def until_words(until: datetime | None) -> str:
    return "until this is undone or decided anew" if until is None else f"until {last_day(until)}"


async def _end_set_aside(
    session: AsyncSession, epic: EpicRow, unresolved: Sequence[FindingRow], now: datetime, done: Applied
) -> None:
    """Any decision but to stop or to defer goes on with the work."""
    if epic.set_aside is None:
        return
    earlier = await _decided_at(session, epic)
    epic.set_aside = epic.set_aside_until = epic.set_aside_decision_id = None
    for row in unresolved:
        if row.state == "waived" and row.changed_at == earlier:
            await set_finding(session, row, "open", None, None, now)
    done.says.append(f"{epic.key} is not set aside any more.")


async def _decided_at(session: AsyncSession, epic: EpicRow) -> datetime | None:
    """When what sets the epic aside was decided: the findings that it waived are dated so."""
    decided = select(DecisionRow.decided_at).where(DecisionRow.id == epic.set_aside_decision_id)
    return await session.scalar(decided)


async def _dismiss(
    session: AsyncSession,
    decision: DecisionRow,
    epic: EpicRow,
    unresolved: Sequence[FindingRow],
    now: datetime,
    done: Applied,
) -> None:
    # Everybody may read a public ticket: what a committee gave as its reason is for the company.
    audience = select(SourceProjectRow.public).where(
        SourceProjectRow.source_id == epic.source_id, SourceProjectRow.key == epic.project
    )
    internal = await session.scalar(audience) is False
    asked = dismissal(decision.reason if internal else "kept by its committee", now)
    until = asked.until if decision.by_date is None else end_of_day(decision.by_date)
    for row in unresolved:
        if row.state == "disputed":
            await set_finding(session, row, asked.state, until, asked.reason, now)
            done.says.append(f"The dispute is over: {row.check} is waived {until_words(until)}.")


async def _remap(
    session: AsyncSession,
    decision: DecisionRow,
    epic: EpicRow,
    goal: KeyResultRow,
    now: datetime,
    done: Applied,
) -> None:
    query = select(LinkRow, KeyResultRow.key).join(KeyResultRow, KeyResultRow.id == LinkRow.key_result_id)
    before = [
        (link, key, columns_as_json(link, _OF_LINKS))
        for link, key in await session.execute(
            query.where(LinkRow.epic_id == epic.id)
            .order_by(LinkRow.id)
            .execution_options(populate_existing=True)
        )
    ]
    why = f"decided on {now.astimezone(UTC).date()}: {decision.reason}"
    row, _, left = await move_manually(session, epic.id, goal.key, "manual", why, now)
    await session.flush()
    removed = [
        {**values, "key": key}
        for link, key, values in before
        if link.origin in MANUAL_ORIGINS and link.key_result_id != goal.id
    ]
    for link, _, _ in before:
        if link.is_primary and link not in session.deleted and link.id not in {one["id"] for one in removed}:
            link.is_primary = False
    await session.flush()  # before the other is marked: an epic has only one primary link
    row.is_primary = True
    await session.flush()
    known = {values["id"]: values for _, _, values in before}
    marked = [values["id"] for values in known.values() if values["is_primary"]]
    done.effects["links"] = {
        "removed": removed,
        "made": None if row.id in known else row.id,
        "marked": row.id,
        "primary": marked,
    }
    done.links_changed = True
    if removed:
        names = ", ".join(one["key"] for one in removed)
        done.says.append(f"{'Its link' if len(removed) == 1 else 'Its links'} to {names} taken back.")
    done.says.append(f"Linked to {goal.key}, as its primary key result.")
    keys = {link.id: key for link, key, _ in before}
    by = {"ticket": "the ticket", "rule": "a rule", "inherited": "its parent"}
    # With a link by hand that counts no rule is asked and nothing is inherited.
    stays = [link for link in left if link.origin == "ticket"]
    done.says += [f"Its link to {keys[link.id]}, made by {by[link.origin]}, stays." for link in stays]


async def _move(
    session: AsyncSession,
    epic: EpicRow,
    stage: Stage,
    measure: KeyResultRow | None,
    by: date | None,
    now: datetime,
    done: Applied,
) -> None:
    row = await locked_stage(session, epic.id)
    before = stored_stage(row)
    if stage == "scale":
        await check_may_scale(session, epic.key, row)
        if row is not None and row.stage != "pilot":
            raise Conflict(f"{epic.key} is at {row.stage}; only a pilot can scale.")
        by = None
    row = await move_stage(session, epic, row, stage, measure, by, now)
    done.effects["stage"] = {"before": before, "after": stored_stage(row)}
    was = "it had none" if before is None else f"it was {before['stage']}"
    done.says.append(f"Its stage is {stage} now; {was}.")


# --- a decision on a goal ---------------------------------------------------------------------


async def apply_to_goal(
    session: AsyncSession, kind: str, goal: ObjectiveRow | KeyResultRow, now: datetime
) -> Applied:
    """To stop a goal archives it, and to keep it changes nothing. The caller holds the goals' lock."""
    done = Applied()
    if kind == "stop" and goal.state != "archived":
        done.effects["goal"] = {"before": goal.state}
        done.says.append(f"{goal.key} is archived; it was {goal.state}.")
        done.runs = await _set_goal_state(session, goal, "archived", now)
    done.effects["says"] = done.says
    return done


async def _set_goal_state(
    session: AsyncSession, goal: ObjectiveRow | KeyResultRow, state: Any, now: datetime
) -> list[int]:
    if isinstance(goal, KeyResultRow):
        return (await change_key_result(session, goal.key, lambda old: replace(old, state=state), now))[1]
    return (await change_objective(session, goal.key, lambda old: replace(old, state=state), now))[1]


# --- taken back -------------------------------------------------------------------------------


async def take_back_from_epic(
    session: AsyncSession,
    decision: DecisionRow,
    epic: EpicRow,
    findings: Sequence[FindingRow],
    now: datetime,
) -> Applied:
    """Make everything as it was before the decision. In `says` of what is given back: what stays because a
    person changed it since. Raises `Conflict`, which names what was changed and what to do."""
    done, before = Applied(), decision.effects
    if "stage" in before:
        await restore_stage(session, epic, before["stage"]["before"], before["stage"]["after"])
    if "links" in before:
        await _restore_links(session, decision, epic, before["links"])
        done.links_changed = True
    await _restore_set_aside(session, decision, epic)
    await _restore_findings(session, decision, epic, findings, done)
    if not await _answers(session, epic.id):
        for id, answer in before["answers"]:
            await session.execute(
                update(CommandCommentRow).where(CommandCommentRow.id == id).values(answer=answer)
            )
    return done


async def _restore_set_aside(session: AsyncSession, decision: DecisionRow, epic: EpicRow) -> None:
    """As the newest decision that stands beside this one has it; one that is over the evaluation ends."""
    others = (
        select(DecisionRow)
        .where(DecisionRow.epic_id == epic.id, DecisionRow.undone_at.is_(None), DecisionRow.id != decision.id)
        .order_by(DecisionRow.id.desc())
        .limit(1)
    )
    newest = (await session.scalars(others)).one_or_none()
    epic.set_aside = epic.set_aside_until = epic.set_aside_decision_id = None
    if newest is not None and newest.decision in ("stop", "defer"):
        epic.set_aside, epic.set_aside_decision_id = newest.decision, newest.id
        epic.set_aside_until = None if newest.by_date is None else end_of_day(newest.by_date)


async def _restore_findings(
    session: AsyncSession,
    decision: DecisionRow,
    epic: EpicRow,
    findings: Sequence[FindingRow],
    done: Applied,
) -> None:
    """A finding is as it was before, unless a person has answered it since; one that a decision waived and
    that was not there before is open again."""
    kept = {one["check"]: columns_from_json(one) for one in decision.effects["findings"]}
    moved = "links" in decision.effects
    for row in findings:
        before = kept.get(row.check)
        if row.changed_at is not None and row.changed_at > decision.decided_at:
            done.says.append(f"{row.check} stays {row.state}, as {row.by or 'a person'} had it since.")
            continue
        same = before is not None and row.opened_at == before["opened_at"]
        if before is not None and (moved or (same and row.state != "resolved")):
            values = {name: before[name] for name in _OF_FINDINGS}
        elif row.state == "waived" and row.changed_at == decision.decided_at:
            values = {"state": "open", **UNANSWERED}
        else:
            continue
        for name, value in values.items():
            setattr(row, name, value)
    await session.flush()


async def _restore_links(
    session: AsyncSession, decision: DecisionRow, epic: EpicRow, kept: dict[str, Any]
) -> None:
    query = select(LinkRow).where(LinkRow.epic_id == epic.id, LinkRow.origin.in_(MANUAL_ORIGINS))
    rows = {
        row.id: row
        for row in await session.scalars(query.order_by(LinkRow.id).execution_options(populate_existing=True))
    }
    await _check_links(session, epic, kept, rows)
    marked = rows.get(kept["marked"])
    if marked is not None and marked.is_primary:
        marked.is_primary = False
        await session.flush()
    if kept["made"] in rows:
        await session.delete(rows[kept["made"]])
        await session.flush()
    await _insert_links(session, epic, kept["removed"])
    for id in kept["primary"]:
        if id in rows:
            rows[id].is_primary = True
    await session.flush()


async def _check_links(
    session: AsyncSession, epic: EpicRow, kept: dict[str, Any], rows: dict[int, LinkRow]
) -> None:
    """Raises `Conflict` where the links cannot be as they were."""
    removed = kept["removed"]
    goals = select(KeyResultRow.id).where(among(KeyResultRow.id, [one["key_result_id"] for one in removed]))
    present = set(await session.scalars(goals))
    again = {(row.key_result_id, row.origin) for row in rows.values()}
    nothing = "Nothing was undone."
    for one in removed:
        if one["key_result_id"] not in present:
            raise Conflict(
                f"{one['key']}, which {epic.key} was linked to, was deleted since. Link it to another key"
                f" result, or decide anew. {nothing}"
            )
        if (one["key_result_id"], one["origin"]) in again:
            raise Conflict(
                f"{epic.key} was linked to {one['key']} again since. Take that link back, then undo this."
                f" {nothing}"
            )
    others = [row for row in rows.values() if row.is_primary and row.id != kept["marked"]]
    if kept["primary"] and others:
        raise Conflict(
            f"Another link of {epic.key} was made primary since. Take it back, then undo this. {nothing}"
        )


_INSERT_LINK = text(
    f"INSERT INTO links (epic_id, {', '.join(_OF_LINKS)}) OVERRIDING SYSTEM VALUE"  # noqa: S608  # column names
    f" VALUES (:epic_id, {', '.join(f':{name}' for name in _OF_LINKS)})"
)


async def _insert_links(session: AsyncSession, epic: EpicRow, removed: Sequence[dict[str, Any]]) -> None:
    """With their former ids: without a marked one an epic's oldest link is its primary one."""
    source = await session.scalar(select(SourceRow.name).where(SourceRow.id == epic.source_id))
    changes = []
    for one in removed:
        values = columns_from_json({name: one[name] for name in _OF_LINKS})
        await session.execute(_INSERT_LINK, {"epic_id": epic.id, **values})
        names = {"epic": f"{source}/{epic.key}", "key_result": one["key"]}
        shown = {name: one[name] for name in ("origin", "weight", "is_primary")}
        changes.append(Change(names, None, {**names, **shown}))
    await record_changes(session, "created", LinkRow, changes)


async def take_back_from_goal(
    session: AsyncSession, decision: DecisionRow, goal: ObjectiveRow | KeyResultRow, now: datetime
) -> Applied:
    """Raises `Conflict` where a person gave the goal another state since."""
    done = Applied()
    if "goal" in decision.effects:
        before = decision.effects["goal"]["before"]
        if goal.state not in ("archived", before):
            raise Conflict(
                f"{goal.key} is {goal.state} since the decision archived it. Set its state as you want it; to"
                " undo the decision, set it to archived first. Nothing was undone."
            )
        done.runs = await _set_goal_state(session, goal, before, now)
    return done
