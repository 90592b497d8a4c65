"""The text that an epic's ticket should have, whatever is on the ticket now. Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from connectors.document import Document
from mappings.checks.check import Check, EpicFacts
from mappings.goals.key_results import KeyResult, ended_with_cycle, is_live, may_name
from mappings.notices.text import (
    NoticeText,
    aligned_text,
    disputed_text,
    snoozed_text,
    unchecked_text,
    waived_text,
    warning_text,
    with_answer,
    withdrawn_text,
)
from mappings.policy.document import CYCLE_GRACE, EffectivePolicy, grace_for, is_recent_enough
from mappings.policy.durations import add_grace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from mappings.evaluation.model import Alignment, Compose, EvaluationInput, Finding, SetAside
    from mappings.suggestions.material import Suggestion


@dataclass(slots=True)  # as in `mappings.evaluation.model`
class DesiredText:
    """The text to have on the ticket. Kind `warning` is the full text; every other kind is one line, for a
    comment that is already on the ticket. The hash covers `facts`, never the words."""

    kind: str
    compose: Compose
    facts: Mapping[str, object]
    grace_ends: datetime | None = None

    @property
    def facts_hash(self) -> str:
        facts = json.dumps({"kind": self.kind, **self.facts}, sort_keys=True)
        return hashlib.sha256(facts.encode()).hexdigest()

    def with_answer(self, answer: str, key_result_ids: Sequence[int] = ()) -> DesiredText:
        """This text with the answer to a command, which becomes one more fact. `key_result_ids` are those of
        which it tells why they no longer count."""
        compose, first = self.compose, self.kind == "warning"
        return replace(
            self,
            compose=lambda suggestions=(): with_answer(
                compose(suggestions), answer, key_result_ids, first=first
            ),
            facts={**self.facts, "answer": answer},
        )


def _line(text: Callable[..., NoticeText], *arguments: object) -> Compose:
    """Composes a text of one line, in which no key result is suggested."""
    return lambda suggestions=(): text(*arguments)


# With an answer to a command this is a text: the answer alone.
NO_WORDS = DesiredText("answer", _line(NoticeText, Document(())), {})
RUN_WITHDRAWN = "run_withdrawn"
WITHDRAWN = DesiredText(RUN_WITHDRAWN, _line(withdrawn_text), {})


def desired_text(
    epic: EvaluationInput,
    goals: Mapping[int, KeyResult],
    policy: EffectivePolicy,
    alignment: Alignment | None,
    shown: tuple[Check[Any], Finding] | None,
    now: datetime,
    aside: SetAside | None = None,
) -> DesiredText:
    """The text for one epic. `shown` is the finding that its ticket shows, with its check; None where no
    finding that may be on the ticket is unresolved. `aside`: the decision by which it is waived."""
    resolution = epic.resolution
    if shown is None and alignment == "aligned":
        keys = sorted(link.key_result.id for link in resolution.links if link.live)
        return DesiredText("aligned", _line(aligned_text, resolution.links, epic.public), {"links": keys})
    may_warn = why_no_warning(epic, policy) is None
    if shown is None and alignment == "waived" and aside is not None and may_warn:
        return _waived(aside.until, reason_on_ticket(None, aside, epic))
    if shown is None or not may_warn:
        return DesiredText("unchecked", _line(unchecked_text), {})
    check, unresolved = shown
    if unresolved.state == "waived":
        return _waived(unresolved.until, reason_on_ticket(unresolved, aside, epic))
    if unresolved.state == "snoozed" and unresolved.until is not None:
        facts = {"until": unresolved.until.isoformat()}
        return DesiredText("snoozed", _line(snoozed_text, unresolved.until), facts)
    if unresolved.state == "disputed":
        return DesiredText("disputed", _line(disputed_text), {})
    return DesiredText(
        "warning",
        partial(_warning, epic, goals, check, now),
        {
            "check": check.name,
            "unknown": sorted(one.key for one in resolution.unknown),
            "links": sorted(_shown_as(link.key_result, epic) for link in resolution.links),
        },
        grace_ends=_grace_ends(epic, policy, unresolved, now),
    )


# What a committee gave as its reason is for the company: everybody may read a public ticket.
_FOR_EVERYBODY = {"stop": "stopped by its committee", "defer": "put off by its committee"}


def reason_on_ticket(waived: Finding | None, aside: SetAside | None, epic: EvaluationInput) -> str:
    """Why the epic is waived, as its ticket may say it: by this finding, or by the decision `aside`."""
    if aside is not None and (waived is None or waived.changed_at == aside.decided_at):
        return _FOR_EVERYBODY[aside.kind] if epic.public else aside.reason
    return "" if waived is None else waived.reason or ""


def _waived(until: datetime | None, reason: str) -> DesiredText:
    facts = {"until": None if until is None else until.isoformat(), "reason": reason}
    return DesiredText("waived", _line(waived_text, until, reason), facts)


def _shown_as(goal: KeyResult, epic: EvaluationInput) -> str:
    # "label" was the word of a version that told the goal's state beside it.
    shown = "title" if may_name(goal, epic.public) else "key"
    return f"{goal.id}:{shown}"


def why_no_warning(
    epic: EvaluationInput, policy: EffectivePolicy
) -> Literal["service_desk", "channel", "since"] | None:
    """Why this epic gets no warning whatever its findings are: the kind of its project, the policy's channel,
    or its age; None where it may have one."""
    if epic.service_desk:
        return "service_desk"
    if policy.channel == "none":
        return "channel"
    return None if is_recent_enough(policy, epic.epic.created_at, epic.connected_at) else "since"


def _grace_ends(
    epic: EvaluationInput, policy: EffectivePolicy, unresolved: Finding, now: datetime
) -> datetime:
    """The end of the epic's grace. Each link that is not live has its own; the longest counts."""
    start = max(epic.epic.created_at, unresolved.opened_at)
    of_policy = grace_for(policy, unresolved.check)
    graces = {
        CYCLE_GRACE if ended_with_cycle(link.key_result, now) else of_policy for link in epic.resolution.links
    }
    return max(add_grace(start, grace) for grace in graces or {of_policy})


def _can_link(goals: Mapping[int, KeyResult], now: datetime) -> bool:
    """Whether a key result is live. Confidential ones do not count: no ticket tells that they are there."""
    return any(is_live(goal, now) and may_name(goal, ticket_is_public=False) for goal in goals.values())


def _warning(
    epic: EvaluationInput,
    goals: Mapping[int, KeyResult],
    check: Check[Any],
    now: datetime,
    suggestions: Sequence[Suggestion] = (),
) -> NoticeText:
    assert check.words is not None  # every check that may write on tickets has them
    return warning_text(
        check.name,
        check.words(EpicFacts(epic.epic, epic.resolution), epic.public, now),
        unknown=epic.resolution.unknown,
        suggestions=suggestions,
        can_link=_can_link(goals, now),
        public=epic.public,
        now=now,
        read_at=epic.read_at,
        page_url=epic.page_url(),
    )
