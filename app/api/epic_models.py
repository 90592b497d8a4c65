"""Epics, links, findings and notices as the API shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date, datetime
from operator import attrgetter
from typing import Literal

from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.deps import Moment
from mappings.evaluation.explain import ReasonKind
from mappings.evaluation.load import EpicRecords
from mappings.goals.key_results import KeyResult, is_live
from mappings.goals.values import Driver
from mappings.governance.initiatives import initiatives_among
from mappings.governance.value import ValueOfEpic, load_values
from mappings.lists.epics import Alignment
from mappings.parents import EpicName as NamedEpic, load_names, load_parents
from mappings.policy.document import Policy
from mappings.tables import EpicRow, FindingRow, LinkRow, NoticeRow

Origin = Literal["manual", "rule", "ticket", "command", "inherited"]
FindingState = Literal["open", "snoozed", "waived", "disputed", "resolved"]
NoticeState = Literal["shadow", "held", "due", "posted", "resolved", "withdrawn", "failed"]

ANSWER = "How it helps the business grow, cut cost, serve customers better or manage risk, in one sentence."


class EpicName(BaseModel):
    source: str = Field(description="The source's name.", examples=["acme-jira"])
    key: str = Field(description="The tracker's present key.", examples=["SHOP-12", "acme/shop#7"])


class ParentOut(BaseModel):
    source: str | None = Field(description="Its source; null for a ticket that is no epic of any source.")
    key: str = Field(description="Its key, or the milestone's name.", examples=["SHOP-1"])
    title: str | None = Field(description="Null where its tracker does not say it.")
    url: str | None = Field(description="Its page; null where its tracker does not say it.")


class InheritedFrom(EpicName):
    title: str = Field(description="As in the tracker.")


class LinkOut(BaseModel):
    id: int = Field(description="The id for `DELETE`.")
    epic: EpicName = Field(description="The epic.")
    key_result: str = Field(description="The key of the key result.", examples=["KR-12"])
    origin: Origin = Field(
        description="`manual`: through the API; `command`: by a comment; `ticket`: by a line or label there; "
        "`rule`; `inherited`: from the parent."
    )
    weight: float = Field(description="How much of the epic counts towards it, relative to its other links.")
    primary: bool = Field(description="True for the link that is marked so, else for the oldest.")
    live: bool = Field(description="False where the key result, its objective or its cycle is over.")
    why: str = Field(description="Where the link comes from, in words.")
    inherited_from: InheritedFrom | None = Field(
        description="For an inherited link, the epic whose own it is: the parent, or one further up."
    )


class FindingOut(BaseModel):
    id: int = Field(description="Stays the same when the gap returns.")
    check: str = Field(description="The check that found it.", examples=["no-key-result"])
    state: FindingState = Field(description="`resolved`: the gap is closed.")
    severity: Literal["info", "warning", "error"] = Field(description="As the policy sets it.")
    epic: EpicName | None = Field(description="The epic, for a check on epics.")
    goal: str | None = Field(description="The objective or key result, for a check on goals.")
    source: str | None = Field(description="The source, for a check on sources.")
    detail: str = Field(description="What is missing, in words.")
    opened_at: datetime = Field(description="When the gap was found; set again each time it returns.")
    resolved_at: datetime | None = Field(description="When the gap was closed; null for an unresolved one.")
    until: datetime | None = Field(description="When a snooze or waiver ends, exclusive.")
    reason: str | None = Field(description="The reason a person gave for a snooze, waiver or dispute.")
    by: str | None = Field(
        description="Who snoozed, waived or disputed it, as the audit log names them; of a dispute that was "
        "dismissed, who did that.",
        examples=["acme-jira: dev-lead on SHOP-12"],
    )
    changed_at: datetime | None = Field(description="When they did.")


class NoticeOut(BaseModel):
    id: int = Field(description="Each epic has one notice at most.")
    epic: EpicName = Field(description="The epic that it is about.")
    state: NoticeState = Field(description="What is on the ticket; `shadow`, `held` and `due`: nothing yet.")
    reason: str | None = Field(description="Why it is held or withdrawn.", examples=["grace"])
    detail: str | None = Field(description="The same in words, or why a write failed.")
    body: str = Field(
        description="The text on the ticket; while it is still to be written, the text as of now. Empty "
        "where nothing is there and nothing would be: withdrawn before it was sent, or notices are off there."
    )
    url: str | None = Field(description="The address of the comment, once there is one.")
    run: int | None = Field(description="The run it belongs to.")
    pending: bool = Field(description="Whether a write is queued.")
    updated_at: datetime = Field(description="When it last changed.")


class Reason(BaseModel):
    kind: ReasonKind = Field(
        description="`result`: the one fact that counts, always the first. Then `read` (what was seen when), "
        "`link`, `ticket` (a key there that does not exist), `rule`, `policy`, `check`, `notice` (why there "
        "is a comment, or none) and `change` (what would change the result)."
    )
    name: str = Field(
        description="Which of its kind: the alignment, the link's origin, the rule's or check's name, the "
        "key on the ticket, the notice's state or what keeps it away.",
        examples=["unaligned", "no-key-result", "since"],
    )
    says: str = Field(description="In words.", examples=["Unaligned: it is linked to no key result."])
    matched: bool | None = Field(description="Whether it applied; null where that question makes no sense.")
    at: datetime | None = Field(description="The moment it is about: of a resolved finding its resolution.")
    setting: str | None = Field(description="The setting that decides it.", examples=["policy.since"])


class ChildrenOut(BaseModel):
    total: int = Field(description="Tickets that have it as their parent, as far as the account sees them.")
    done: int = Field(description="Those of them that are done or closed.")


class ValueOut(BaseModel):
    answer: str | None = Field(description=f"{ANSWER} Null while nobody has answered.")
    driver: Driver | None = Field(description="Which of the four ways the answer names.")
    answered_by: str | None = Field(description="Who gave the answer.")
    answered_at: Moment | None = Field(description="When it was given, or last changed.")
    asked_of: str | None = Field(description="Who is asked for it.")
    asked_by: str | None = Field(description="Who asked.")
    question_at: Moment | None = Field(description="When that person was asked.")

    @classmethod
    def of(cls, value: ValueOfEpic) -> ValueOut:
        return cls(**{name: getattr(value, name) for name in cls.model_fields})


class SetAsideOut(BaseModel):
    decision: int = Field(description="The id of the decision.")
    kind: Literal["stop", "defer"] = Field(description="What was decided.")
    until: datetime | None = Field(description="When it ends, exclusive; null: when it is undone.")


class EpicOut(BaseModel):
    source: str = Field(description="The source that it belongs to.")
    key: str = Field(description="The tracker's present key.", examples=["SHOP-12"])
    id: str = Field(description="The tracker's own id; the key may change, this does not.")
    title: str = Field(description="As in the tracker; not escaped, hostile text included.")
    url: str = Field(description="The ticket's page.")
    project: str = Field(description="Jira project key, or owner/repository.")
    type: str = Field(description="The tracker's name of its type.")
    status: str = Field(description="The tracker's name of its status.")
    status_category: Literal["todo", "doing", "done"] = Field(description="One of three kinds of status.")
    labels: list[str] = Field(description="Its labels.")
    parent: ParentOut | None = Field(
        description="What its ticket is part of: another ticket or a milestone. Its links are inherited "
        "where it is an epic and this one has no live link of its own."
    )
    assignees: list[str] = Field(description="Names or logins.")
    alignment: Alignment | None = Field(description="Null until the first evaluation.")
    set_aside: SetAsideOut | None = Field(
        description="A decision to stop it or to put it off: while that holds, its alignment is `waived`."
    )
    children: ChildrenOut | None = Field(
        description="As of the latest sync; null where they are not counted yet, or the tracker has none."
    )
    initiative: bool = Field(
        description="Whether it is another epic's parent, or of a type or label that the policy names."
    )
    value: ValueOut | None = Field(
        description="How it helps the business; null where nobody answered, and nobody was asked."
    )
    links: list[LinkOut] = Field(description="Its links to key results, live or not.")
    findings: list[FindingOut] = Field(description="One for each check that ever found something.")
    notice: NoticeOut | None = Field(description="The one comment, written or not; null for none.")
    starts_on: date | None = Field(
        description="Its planned first day, inclusive, from the field that the source names "
        "(`epics.start_field`); null for none."
    )
    due_on: date | None = Field(
        description="Its planned last day, inclusive: Jira's due date, GitHub's milestone, or the field that "
        "the source names (`epics.due_field`); null for none."
    )
    points: float | None = Field(
        description="Story points, from the field that the source names (`epics.points_field`); null for "
        "none."
    )
    finished_at: datetime | None = Field(
        description="When it was done; null while it is not, and where the tracker does not say it."
    )
    created_at: datetime = Field(description="When it was created in the tracker.")
    updated_at: datetime = Field(description="When it was last changed in the tracker.")


class EpicWithWhy(EpicOut):
    why: list[Reason] = Field(
        description="Why it stands so: the one fact that counts first. Of the rules those that match it, and "
        "how many do not; `?rules=all` names these too."
    )


@dataclass(frozen=True, slots=True)
class NamesAround:
    """What some epics are shown with: the names of their parents, by the ids of the children, and of those
    that they inherit from, by their own ids; the ids of those that are initiatives; and, by their ids, what
    they say of their value."""

    parents: Mapping[int, NamedEpic]
    above: Mapping[int, NamedEpic]
    initiatives: Set[int]
    values: Mapping[int, ValueOfEpic]


async def load_names_around(
    session: AsyncSession, found: Iterable[EpicRecords], policy: Policy
) -> NamesAround:
    """In five statements at most, for any number of epics."""
    records = list(found)
    ids = [one.row.id for one in records]
    return NamesAround(
        await load_parents(session, [one.row for one in records]),
        await load_origins(session, [link for one in records for link in one.links]),
        await initiatives_among(session, policy, ids),
        await load_values(session, ids),
    )


async def load_origins(session: AsyncSession, links: Iterable[LinkRow]) -> dict[int, NamedEpic]:
    """The names of the epics that these links are inherited from, by their ids."""
    return await load_names(
        session, {link.inherited_from for link in links if link.inherited_from is not None}
    )


def show_links(
    name: EpicName,
    rows: Sequence[LinkRow],
    goals: Mapping[int, KeyResult],
    origins: Mapping[int, NamedEpic],
    now: datetime,
) -> list[LinkOut]:
    """`origins` as `load_origins` gives them."""
    marked = next((row.id for row in rows if row.is_primary), rows[0].id if rows else None)
    return [
        LinkOut(
            id=row.id,
            epic=name,
            key_result=goals[row.key_result_id].key,
            origin=row.origin,
            weight=row.weight,
            primary=row.id == marked,
            live=is_live(goals[row.key_result_id], now),
            why=row.why,
            inherited_from=_inherited_from(origins.get(row.inherited_from or 0)),
        )
        for row in rows
        if row.key_result_id in goals  # else both are gone since
    ]


def _inherited_from(named: NamedEpic | None) -> InheritedFrom | None:
    return None if named is None else InheritedFrom(source=named.source, key=named.key, title=named.title)


def show_parent(row: EpicRow, named: NamedEpic | None) -> ParentOut | None:
    """`named`: the parent's own row, where it is an epic."""
    if row.parent_key is None:
        return None
    if named is not None:
        return ParentOut(source=named.source, key=named.key, title=named.title, url=named.url)
    return ParentOut(source=None, key=row.parent_key, title=row.parent_title, url=row.parent_url)


def show_finding(
    row: FindingRow, epic: EpicName | None, goal: str | None = None, source: str | None = None
) -> FindingOut:
    """A finding with the name of what it is on: an epic, a goal or a source."""
    members = dict(zip(_OF_FINDING, _finding_members(row), strict=True))
    return FindingOut.model_validate({**members, "epic": epic, "goal": goal, "source": source})


_OF_FINDING = [name for name in FindingOut.model_fields if name not in ("epic", "goal", "source")]
_finding_members = attrgetter(*_OF_FINDING)


def show_notice(name: EpicName, row: NoticeRow, unwritten: str | None) -> NoticeOut:
    """`unwritten`: the text that would be written now; None shows the one that is on the ticket, if any."""
    return NoticeOut.model_validate(
        {
            "id": row.id,
            "epic": name,
            "state": row.state,
            "reason": row.reason,
            "detail": row.detail,
            "body": (row.posted_body or "") if unwritten is None else unwritten,
            "url": row.url,
            "run": row.run_id,
            "pending": row.target is not None,
            "updated_at": row.updated_at,
        }
    )


def _children(row: EpicRow) -> ChildrenOut | None:
    if row.children is None or row.children_done is None:
        return None
    return ChildrenOut(total=row.children, done=row.children_done)


def _set_aside(records: EpicRecords, now: datetime) -> SetAsideOut | None:
    row, aside = records.row, records.set_aside
    if aside is None or not aside.holds(now) or row.set_aside_decision_id is None:
        return None
    return SetAsideOut(decision=row.set_aside_decision_id, kind=aside.kind, until=aside.until)


def show_epic(
    source: str,
    records: EpicRecords,
    goals: Mapping[int, KeyResult],
    names: NamesAround,
    now: datetime,
    unwritten: str | None,
) -> EpicOut:
    """`unwritten` as in `show_notice`."""
    row = records.row
    name = EpicName(source=source, key=row.key)
    members = dict(zip(_OF_EPIC, _epic_members(row), strict=True))
    return EpicOut.model_validate(
        {
            **members,
            "source": source,
            "key": row.key,
            "id": row.remote_id,
            "parent": show_parent(row, names.parents.get(row.id)),
            "set_aside": _set_aside(records, now),
            "children": _children(row),
            "initiative": row.id in names.initiatives,
            "value": None if (value := names.values.get(row.id)) is None else ValueOut.of(value),
            "links": show_links(name, records.links, goals, names.above, now),
            "findings": [show_finding(found, name) for found in records.findings],
            "notice": None if records.notice is None else show_notice(name, records.notice, unwritten),
            "created_at": row.tracker_created_at,
            "updated_at": row.tracker_updated_at,
        }
    )


_OF_EPIC = (
    *("title", "url", "project", "type", "status", "status_category", "labels", "assignees"),
    *("alignment", "starts_on", "due_on", "points", "finished_at"),
)
_epic_members = attrgetter(*_OF_EPIC)
