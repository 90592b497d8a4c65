"""The input and the output of an epic's evaluation. Values, no behaviour.

Treat them as immutable. Those that are made for each epic are not frozen, for frozen ones take three times as
long to make.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from connectors.base import Epic, MissingReason
    from mappings.links.resolve import Resolution
    from mappings.notices.text import NoticeText
    from mappings.notices.transitions import NoticeState, WrittenState
    from mappings.suggestions.material import Suggestion

Alignment = Literal["aligned", "exempt", "waived", "unaligned"]
FindingState = Literal["open", "snoozed", "waived", "disputed", "resolved"]
# What a decision did that sets an epic aside.
SET_ASIDE_WORDS = {"stop": "stopped", "defer": "deferred"}


class Compose(Protocol):
    """Makes the text of a notice, with the key results that are suggested for the epic, best first."""

    def __call__(self, suggestions: Sequence[Suggestion] = ...) -> NoticeText: ...


@dataclass(slots=True)
class Finding:
    """A check's result on an epic, a goal or a source. `until` (exclusive), `reason`, `by` (who) and
    `changed_at` belong to a snooze, waiver or dispute. `resolved_at`: None for one that is unresolved, or
    that an older version resolved."""

    check: str
    state: FindingState
    opened_at: datetime
    until: datetime | None = None
    reason: str | None = None
    detail: str = ""
    severity: str = "warning"
    resolved_at: datetime | None = None
    by: str | None = None
    changed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CurrentNotice:
    """The notice as it is. `since`: when it last changed. `on_ticket`: a comment of ours is there, or may be
    there because a write is unconfirmed. `posted_hash` and `mentioned_key_result_ids` describe its text.
    `guard_reason`: why the burst guard holds it, until a person approves. `withdrawing`: a person withdraws
    the run that made it. `comment_id_unknown`: our comment is or may be there under an id we do not know.
    `answering`: the queued write answers a person."""

    state: NoticeState
    since: datetime
    on_ticket: bool = False
    posted_hash: str | None = None
    mentioned_key_result_ids: tuple[int, ...] = ()
    guard_reason: str | None = None
    withdrawing: bool = False
    comment_id_unknown: bool = False
    answering: bool = False


@dataclass(frozen=True, slots=True)
class SetAside:
    """A decision to stop an epic or to put it off. `until` (exclusive, UTC): None for no end. `decided`: by
    what, in words. `by`: who recorded it, `decided_at` when."""

    kind: Literal["stop", "defer"]
    until: datetime | None
    reason: str
    decided: str
    by: str | None
    decided_at: datetime

    def holds(self, now: datetime) -> bool:
        return self.until is None or self.until > now


def no_page() -> None:
    """The address of a page that people cannot open."""


@dataclass(slots=True)
class EvaluationInput:
    """An epic with all facts that its evaluation needs.

    `fresh`: the last run read its project completely and the ticket could be fetched.
    `removal_reason`: why it left every list, if it did. `page_url` gives the address of its page at Northing,
    None where people could not open it. `set_aside`: the decision that sets it aside, which may be over.
    """

    epic: Epic
    resolution: Resolution
    connected_at: datetime
    read_at: datetime
    public: bool = False
    service_desk: bool = False
    fresh: bool = True
    removal_reason: MissingReason | None = None
    page_url: Callable[[], str | None] = no_page
    set_aside: SetAside | None = None


@dataclass(frozen=True, slots=True)
class CommandAnswer:
    """The answer to the last command on the ticket. `is_new`: the epic was not evaluated after the command,
    so the command itself caused what changes now. `at`: when it was given. `key_result_ids`: of which the
    text tells why they no longer count. `is_refusal`: its author may not give commands here."""

    text: str
    is_new: bool
    at: datetime
    key_result_ids: tuple[int, ...] = ()
    is_refusal: bool = False


@dataclass(slots=True)
class History:
    """What earlier evaluations left: findings by check, the notice, and the answer to a command.
    `commanded`: a command was given after the last one, so what changes now answers a person."""

    findings: Mapping[str, Finding] = field(default_factory=dict)
    notice: CurrentNotice | None = None
    answer: CommandAnswer | None = None
    commanded: bool = False


@dataclass(slots=True)
class DesiredNotice:
    """The notice that the epic should have. A `target` means that a write is queued which leads to that
    state; until the write is done, `state` says what is on the ticket. `compose` makes the text on demand.
    `answers`: the write answers a person who gave a command on the ticket."""

    state: NoticeState
    compose: Compose
    facts_hash: str
    reason: str | None = None
    detail: str | None = None
    target: WrittenState | None = None
    answers: bool = False


@dataclass(slots=True)
class Decision:
    """The result of an evaluation. `ticket_findings`: those of `findings` whose check may write on tickets.
    `notice` None: the epic has no notice; an unwritten one is removed. `keep_notice`: the notice stays as it
    is and a queued write is cancelled. `answer_expired`: the notice no longer shows the answer to a command.
    `evaluate_at`: when time alone may change the result. `set_aside`: the decision by which the epic is
    waived; `set_aside_over`: one that is stored has ended."""

    alignment: Alignment | None
    findings: tuple[Finding, ...]
    ticket_findings: tuple[Finding, ...]
    notice: DesiredNotice | None = None
    keep_notice: bool = False
    evaluate_at: datetime | None = None
    exempt_reason: str | None = None
    answer_expired: bool = False
    set_aside: SetAside | None = None
    set_aside_over: bool = False
