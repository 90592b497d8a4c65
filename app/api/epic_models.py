"""Epics, links, findings and notices as the API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from mappings.evaluation.load import EpicRecords
from mappings.goals.key_results import KeyResult, is_live
from mappings.tables import EpicRow, FindingRow, NoticeRow

Origin = Literal["manual", "rule", "ticket", "command", "inherited"]
FindingState = Literal["open", "snoozed", "waived", "disputed", "resolved"]
NoticeState = Literal["shadow", "held", "due", "posted", "resolved", "withdrawn", "failed"]
Alignment = Literal["aligned", "exempt", "waived", "unaligned"]


class EpicName(BaseModel):
    source: str = Field(description="The source's name.", examples=["acme-jira"])
    key: str = Field(description="The tracker's present key.", examples=["SHOP-12", "acme/shop#7"])


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
    until: datetime | None = Field(description="When a snooze or waiver ends, exclusive.")
    reason: str | None = Field(description="The reason a person gave for a snooze or waiver.")


class NoticeOut(BaseModel):
    id: int = Field(description="Each epic has one notice at most.")
    epic: EpicName = Field(description="The epic that it is about.")
    state: NoticeState = Field(description="What is on the ticket; `shadow`, `held` and `due`: nothing yet.")
    reason: str | None = Field(description="Why it is held or withdrawn.", examples=["grace"])
    detail: str | None = Field(description="The same in words, or why a write failed.")
    body: str = Field(
        description="The text on the ticket; while it is still to be written, the text as of now."
    )
    url: str | None = Field(description="The address of the comment, once there is one.")
    run: int | None = Field(description="The run it belongs to.")
    pending: bool = Field(description="Whether a write is queued.")
    updated_at: datetime = Field(description="When it last changed.")


class Reason(BaseModel):
    kind: Literal["link", "ticket", "rule", "check", "policy", "notice"] = Field(
        description="Where it comes from."
    )
    name: str = Field(description="The rule's or check's name, the link's origin, or the key on the ticket.")
    says: str = Field(description="Its result, in a sentence.")
    matched: bool | None = Field(description="Whether it applied; null where that question makes no sense.")


class ChildrenOut(BaseModel):
    total: int = Field(description="Tickets that have it as their parent, as far as the account sees them.")
    done: int = Field(description="Those of them that are done or closed.")


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
    assignees: list[str] = Field(description="Names or logins.")
    alignment: Alignment | None = Field(description="Null until the first evaluation.")
    children: ChildrenOut | None = Field(
        description="As of the latest sync; null where they are not counted yet, or the tracker has none."
    )
    links: list[LinkOut] = Field(description="Its links to key results, live or not.")
    findings: list[FindingOut] = Field(description="One for each check that ever found something.")
    notice: NoticeOut | None = Field(description="The one comment, written or not; null for none.")
    created_at: datetime = Field(description="When it was created in the tracker.")
    updated_at: datetime = Field(description="When it was last changed in the tracker.")


class EpicWithWhy(EpicOut):
    why: list[Reason] = Field(description="Each origin of links, each rule and each check, with its result.")


def show_links(name: EpicName, rows: Any, goals: dict[int, KeyResult], now: datetime) -> list[LinkOut]:
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
        )
        for row in rows
    ]


def show_finding(
    row: FindingRow, epic: EpicName | None, goal: str | None = None, source: str | None = None
) -> FindingOut:
    """A finding with the name of what it is on: an epic, a goal or a source."""
    named = {"epic": epic, "goal": goal, "source": source}
    members = {name: getattr(row, name) for name in FindingOut.model_fields if name not in named}
    return FindingOut.model_validate({**members, **named})


def show_notice(name: EpicName, row: NoticeRow, unwritten: str | None) -> NoticeOut:
    """`unwritten`: the text that would be written now; None shows the stored text."""
    members = {
        member: getattr(row, member) for member in ("id", "state", "reason", "detail", "url", "updated_at")
    }
    return NoticeOut.model_validate(
        {
            **members,
            "epic": name,
            "body": row.body if unwritten is None else unwritten,
            "run": row.run_id,
            "pending": row.target is not None,
        }
    )


def _children(row: EpicRow) -> ChildrenOut | None:
    if row.children is None or row.children_done is None:
        return None
    return ChildrenOut(total=row.children, done=row.children_done)


def show_epic(
    source: str, records: EpicRecords, goals: dict[int, KeyResult], now: datetime, unwritten: str | None
) -> EpicOut:
    """`unwritten` as in `show_notice`."""
    row = records.row
    name = EpicName(source=source, key=row.key)
    members = {
        member: getattr(row, member)
        for member in ("title", "url", "project", "type", "status", "status_category", "labels", "assignees")
    }
    return EpicOut.model_validate(
        {
            **members,
            "source": source,
            "key": row.key,
            "id": row.remote_id,
            "alignment": row.alignment,
            "children": _children(row),
            "links": show_links(name, records.links, goals, now),
            "findings": [show_finding(found, name) for found in records.findings],
            "notice": None if records.notice is None else show_notice(name, records.notice, unwritten),
            "created_at": row.tracker_created_at,
            "updated_at": row.tracker_updated_at,
        }
    )
