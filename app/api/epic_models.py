"""Epics, links, findings and notices as the API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from mappings import tables
from mappings.evaluation.load import EpicRecords
from mappings.goals.key_results import KeyResult, is_live

Origin = Literal["manual", "rule", "ticket", "command", "inherited"]
FindingState = Literal["open", "snoozed", "waived", "disputed", "resolved"]
NoticeState = Literal["shadow", "held", "due", "posted", "resolved", "withdrawn", "failed"]
Alignment = Literal["aligned", "exempt", "waived", "unaligned"]


class EpicName(BaseModel):
    source: str = Field(description="The source's name.", examples=["acme-jira"])
    key: str = Field(description="The tracker's present key.", examples=["SHOP-12", "acme/shop#7"])


class LinkOut(BaseModel):
    id: int = Field(description="For `DELETE`.")
    epic: EpicName = Field(description="The epic.")
    key_result: str = Field(description="The key of the key result.", examples=["KR-12"])
    origin: Origin = Field(description="`manual`: by the API; `ticket`: a line or label there; `rule`.")
    weight: float = Field(description="How much of the epic counts towards it, relative to its other links.")
    primary: bool = Field(description="The one marked so, else the oldest.")
    live: bool = Field(description="False where the key result, its objective or its cycle is over.")
    why: str = Field(description="Where the link comes from, in words.")


class FindingOut(BaseModel):
    id: int = Field(description="Stays the same when the gap returns.")
    check: str = Field(description="The check that found it.", examples=["no-key-result"])
    state: FindingState = Field(description="`resolved`: the gap is closed.")
    severity: Literal["info", "warning", "error"] = Field(description="As the policy has it.")
    epic: EpicName | None = Field(description="The epic, for a check on epics.")
    goal: str | None = Field(description="The goal, for a check on goals; none is in this build.")
    detail: str = Field(description="What is missing, in words.")
    opened_at: datetime = Field(description="When the gap was seen, anew each time it returns.")
    until: datetime | None = Field(description="When a snooze or waiver ends, exclusive.")
    reason: str | None = Field(description="The reason a person gave for a snooze or waiver.")


class NoticeOut(BaseModel):
    id: int = Field(description="One for each epic.")
    epic: EpicName = Field(description="Whose ticket it is about.")
    state: NoticeState = Field(description="What is on the ticket; `shadow`, `held` and `due`: nothing yet.")
    reason: str | None = Field(description="Why it is held or withdrawn.", examples=["grace"])
    detail: str | None = Field(description="The same in words, or why a write failed.")
    body: str = Field(
        description="What is on the ticket; while that is still to be written, what would be written now."
    )
    url: str | None = Field(description="The comment, once there is one.")
    run: int | None = Field(description="The run it belongs to.")
    pending: bool = Field(description="A write is queued.")
    updated_at: datetime = Field(description="When it last changed.")


class Reason(BaseModel):
    kind: Literal["link", "ticket", "rule", "check", "policy", "notice"] = Field(description="What speaks.")
    name: str = Field(description="The rule's or check's name, the link's origin, or the key named.")
    says: str = Field(description="What it said, in a sentence.")
    matched: bool | None = Field(description="Whether it held; null where that is no question.")


class EpicOut(BaseModel):
    source: str = Field(description="The source that holds it.")
    key: str = Field(description="The tracker's present key.", examples=["SHOP-12"])
    id: str = Field(description="The tracker's own id; the key may change, this does not.")
    title: str = Field(description="As in the tracker; hostile text is passed on as it is.")
    url: str = Field(description="The ticket's page.")
    project: str = Field(description="Jira project key, or owner/repository.")
    type: str = Field(description="The tracker's name of its type.")
    status: str = Field(description="The tracker's name of its status.")
    status_category: Literal["todo", "doing", "done"] = Field(description="The status in three words.")
    labels: list[str] = Field(description="Its labels.")
    assignees: list[str] = Field(description="Names or logins.")
    alignment: Alignment | None = Field(description="Null until it is judged for the first time.")
    links: list[LinkOut] = Field(description="To key results, live or not.")
    findings: list[FindingOut] = Field(description="One for each check that ever found something.")
    notice: NoticeOut | None = Field(description="The one comment, or what would be it; null for none.")
    created_at: datetime = Field(description="In the tracker.")
    updated_at: datetime = Field(description="In the tracker.")


class EpicWithWhy(EpicOut):
    why: list[Reason] = Field(description="Each origin of links, rule and check, and what it said.")


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


def show_finding(name: EpicName, row: tables.FindingRow) -> FindingOut:
    members = {name: getattr(row, name) for name in FindingOut.model_fields if name not in ("epic", "goal")}
    return FindingOut.model_validate({**members, "epic": name, "goal": None})


def show_notice(name: EpicName, row: tables.NoticeRow, unwritten: str | None) -> NoticeOut:
    """`to_come`: the text that would be written now, None where the stored one is shown."""
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


def show_epic(
    source: str, records: EpicRecords, goals: dict[int, KeyResult], now: datetime, unwritten: str | None
) -> EpicOut:
    """`to_come` as in `show_notice`."""
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
            "links": show_links(name, records.links, goals, now),
            "findings": [show_finding(name, found) for found in records.findings],
            "notice": None if records.notice is None else show_notice(name, records.notice, unwritten),
            "created_at": row.tracker_created_at,
            "updated_at": row.tracker_updated_at,
        }
    )
