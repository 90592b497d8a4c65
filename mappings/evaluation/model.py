"""What goes into judging an epic and what comes out. Frozen values, no behaviour."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from connectors.base import Epic, MissingReason
from mappings.links.resolve import Resolution
from mappings.notices.text import NoticeText
from mappings.suggestions.rank import Suggestion

Alignment = Literal["aligned", "exempt", "waived", "unaligned"]
NoticeState = Literal["shadow", "held", "due", "posted", "resolved", "withdrawn", "failed"]
FindingState = Literal["open", "snoozed", "waived", "disputed", "resolved"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A check's result on an epic. `until` (exclusive) and `reason` belong to a snooze or waiver."""

    check: str
    state: FindingState
    opened_at: datetime
    until: datetime | None = None
    reason: str | None = None
    detail: str = ""
    severity: str = "warning"


@dataclass(frozen=True, slots=True)
class CurrentNotice:
    """The notice as it stands, `since` a moment. `on_ticket`: a comment of ours is there, or may
    be there because an answer was lost. `posted_hash` and `named` describe its text. `guarded`: why the
    guard holds it, until a person lets it go. `taken_back`: a person withdraws the run that made it. `lost`:
    our comment is there under an id we do not know, and is to be looked for."""

    state: NoticeState
    since: datetime
    on_ticket: bool = False
    posted_hash: str | None = None
    mentioned_key_result_ids: tuple[int, ...] = ()
    guard_reason: str | None = None
    withdrawing: bool = False
    comment_id_unknown: bool = False


@dataclass(frozen=True, slots=True)
class EvaluationInput:
    """An epic with all that bears on judging it.

    `fresh`: the last run read its project to the end and the ticket could be fetched.
    `gone`: why it left every list, if it did. `page`: its page at Northing, None where a link
    would lead nowhere. `hears`: commands on the ticket reach us. `suggest` is asked only when a
    warning is composed.
    """

    epic: Epic
    resolution: Resolution
    connected_at: datetime
    read_at: datetime
    public: bool = False
    service_desk: bool = False
    fresh: bool = True
    removal_reason: MissingReason | None = None
    page: str | None = None
    accepts_commands: bool = False
    suggest: Callable[[], Sequence[Suggestion]] = tuple


@dataclass(frozen=True, slots=True)
class CommandAnswer:
    """The answer to the last command on the ticket. `is_new`: the epic was not judged since, so what
    changes now is the command's own doing."""

    text: str
    is_new: bool


@dataclass(frozen=True, slots=True)
class History:
    findings: Mapping[str, Finding] = field(default_factory=dict)
    notice: CurrentNotice | None = None
    answer: CommandAnswer | None = None


@dataclass(frozen=True, slots=True)
class DesiredNotice:
    """What the ticket should come to. With a `target` a write is queued that leads there; until it
    is done `state` tells what is on the ticket. `compose` makes the text, when it is needed."""

    state: NoticeState
    compose: Callable[[], NoticeText]
    facts_hash: str
    reason: str | None = None
    detail: str | None = None
    target: NoticeState | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """`notice` None means that the epic has none (an unwritten one is removed), `keep_notice` that
    what stands is left as it is and a queued write is called off, `answer_over` that the answer to a
    command has had its time."""

    alignment: Alignment | None
    findings: tuple[Finding, ...]
    notice: DesiredNotice | None = None
    keep_notice: bool = False
    evaluate_at: datetime | None = None
    exempt_reason: str | None = None
    answer_expired: bool = False
