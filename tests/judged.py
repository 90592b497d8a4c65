"""Builders for what is judged: goals, epics, links, policies, and the moment it all happens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from connectors.base import Epic
from connectors.markup import to_plain
from mappings.evaluate import decide
from mappings.goals import KeyResult, is_live
from mappings.linking import Linked, Resolution
from mappings.policy import EffectivePolicy, Policy, effective
from mappings.verdict import Answer, Decision, Finding, History, Mode, Standing, Subject

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
    return Resolution(tuple(Linked(known, origin, "linked by hand", is_live(known, now)) for known in goals))


def subject(resolution: Resolution | None = None, /, *, epic: Epic | None = None, **members: Any) -> Subject:
    return Subject(
        epic=epic or an_epic(),
        resolution=resolution or Resolution(),
        **{"connected_at": CONNECTED, "read_at": NOW, **members},
    )


def policy(**members: Any) -> EffectivePolicy:
    return effective(Policy.model_validate(members), "jira", "SHOP")


def found(check: str = "no-key-result", state: Any = "open", **members: Any) -> Finding:
    return Finding(check, state, **{"opened_at": OPENED, **members})


def decision_on(
    judged: Subject,
    *findings: Finding,
    mode: Mode = "live",
    notice: Standing | None = None,
    rules: EffectivePolicy | None = None,
    goals: Iterable[KeyResult] = (),
    answer: Answer | None = None,
    now: datetime = NOW,
) -> Decision:
    known = {link.key_result.id: link.key_result for link in judged.resolution.links}
    known |= {other.id: other for other in goals}
    history = History({finding.check: finding for finding in findings}, notice, answer)
    return decide(judged, known, rules or policy(), mode, history, now)


def written(decision: Decision, state: Any = "posted", **members: Any) -> Standing:
    """The notice as it stands once what `decision` wants is on the ticket."""
    wanted = decision.notice
    assert wanted is not None
    standing = Standing(state, NOW, True, wanted.facts_hash, wanted.compose().named)
    return replace(standing, **members)


def said(decision: Decision) -> tuple[str, str | None, str | None] | None:
    """State, reason and target of the notice that is wanted."""
    assert not decision.keep_notice
    wanted = decision.notice
    return None if wanted is None else (wanted.state, wanted.reason, wanted.target)


def text_of(decision: Decision) -> str:
    """The wanted text as a reader sees it."""
    assert decision.notice is not None
    return to_plain(decision.notice.compose().document)
