"""Builders for what an evaluation takes: goals, epics, links, policies, and the time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from connectors.base import Epic
from connectors.markup import to_plain
from mappings.checks.check import Check
from mappings.checks.registry import CHECKS
from mappings.evaluation.evaluate import decide
from mappings.evaluation.model import (
    CommandAnswer,
    CurrentNotice,
    Decision,
    EvaluationInput,
    Finding,
    History,
)
from mappings.goals.key_results import KeyResult, is_live
from mappings.links.resolve import Resolution, ResolvedLink, Unknown
from mappings.policy.document import EffectivePolicy, Policy, effective_policy
from mappings.policy.modes import NoticesMode

NOW = datetime(2026, 11, 16, 12, tzinfo=UTC)  # a Monday
CONNECTED = datetime(2026, 11, 1, 8, tzinfo=UTC)
CREATED = datetime(2026, 11, 2, 9, tzinfo=UTC)
OPENED = datetime(2026, 11, 3, 10, tzinfo=UTC)  # so that a grace of P5D is over by now


def on(day: int, hour: int = 0, month: int = 11) -> datetime:
    """A moment of 2026."""
    return datetime(2026, month, day, hour, tzinfo=UTC)


def goal(id: int = 1, **members: Any) -> KeyResult:
    return KeyResult(
        **{
            "id": id,
            "key": f"KR-{id}",
            "title": f"Title {id}",
            "objective_key": f"O-{id}",
            "objective_title": f"Objective {id}",
            **members,
        }
    )


def an_epic(**members: Any) -> Epic:
    return Epic(
        **{
            "remote_id": "10001",
            "key": "SHOP-1",
            "project": "SHOP",
            "title": "An epic",
            "url": "https://tracker/SHOP-1",
            "type": "Epic",
            "status": "Open",
            "status_category": "todo",
            "created_at": CREATED,
            "updated_at": CREATED,
            **members,
        }
    )


def links_to(*goals: KeyResult, origin: str = "manual", now: datetime = NOW) -> Resolution:
    return Resolution(
        tuple(ResolvedLink(known, origin, "linked by hand", is_live(known, now)) for known in goals)
    )


def unknown_keys(*keys: str) -> tuple[Unknown, ...]:
    """What is told of `Key-Result:` lines with keys that no key result has."""
    return tuple(map(Unknown, keys))


def evaluation_input(
    resolution: Resolution | None = None, /, *, epic: Epic | None = None, **members: Any
) -> EvaluationInput:
    return EvaluationInput(
        epic=epic or an_epic(),
        resolution=resolution or Resolution(),
        **{"connected_at": CONNECTED, "read_at": NOW, **members},
    )


def policy(in_force: Sequence[Check[Any]] = CHECKS, /, **members: Any) -> EffectivePolicy:
    return effective_policy(Policy.model_validate(members), "jira", "SHOP", in_force)


def found(check: str = "no-key-result", state: Any = "open", **members: Any) -> Finding:
    return Finding(check, state, **{"opened_at": OPENED, **members})


def decision_on(
    evaluated: EvaluationInput,
    *findings: Finding,
    mode: NoticesMode = "live",
    notice: CurrentNotice | None = None,
    rules: EffectivePolicy | None = None,
    goals: Iterable[KeyResult] = (),
    answer: CommandAnswer | None = None,
    commanded: bool | None = None,
    now: datetime = NOW,
    checks: Sequence[Check[Any]] = CHECKS,
) -> Decision:
    known = {link.key_result.id: link.key_result for link in evaluated.resolution.links}
    known |= {other.id: other for other in goals}
    if commanded is None:
        commanded = answer is not None and answer.is_new
    history = History({finding.check: finding for finding in findings}, notice, answer, commanded)
    return decide(evaluated, known, rules or policy(checks), mode, history, now, checks)


def written(decision: Decision, state: Any = "posted", **members: Any) -> CurrentNotice:
    """The notice as it stands once what `decision` wants is on the ticket."""
    desired = decision.notice
    assert desired is not None
    current = CurrentNotice(state, NOW, True, desired.facts_hash, desired.compose().mentioned_key_result_ids)
    return replace(current, **members)


def state_reason_target(decision: Decision) -> tuple[str, str | None, str | None] | None:
    """State, reason and target of the notice that is wanted."""
    assert not decision.keep_notice
    desired = decision.notice
    return None if desired is None else (desired.state, desired.reason, desired.target)


def text_of(decision: Decision) -> str:
    """The wanted text as a reader sees it."""
    assert decision.notice is not None
    return to_plain(decision.notice.compose().document)
