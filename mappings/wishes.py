"""What a ticket should say of an epic, whatever stands there now. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from mappings import notice as texts
from mappings.clock import add_grace
from mappings.goals import KeyResult, died_of_cycle, is_live, may_name, why_not_live
from mappings.notice import Notice
from mappings.policy import CYCLE_GRACE, EffectivePolicy, grace_for, is_since
from mappings.verdict import Alignment, Finding, Subject


@dataclass(frozen=True, slots=True)
class Wish:
    """`kind` `warning` asks for the full text; any other is a one-line text for a comment that
    already stands. `facts` are hashed, never the words."""

    kind: str
    compose: Callable[[], Notice]
    facts: Mapping[str, object]
    grace_ends: datetime | None = None

    @property
    def facts_hash(self) -> str:
        facts = json.dumps({"kind": self.kind, **self.facts}, sort_keys=True)
        return hashlib.sha256(facts.encode()).hexdigest()

    def with_answer(self, answer: str) -> Wish:
        """The same with the answer to a command, which is a fact of its own."""
        compose = self.compose
        return replace(
            self,
            compose=lambda: texts.answered(compose(), answer, first=self.kind == "warning"),
            facts={**self.facts, "answer": answer},
        )


RUN_WITHDRAWN = "run_withdrawn"
TAKEN_BACK = Wish(RUN_WITHDRAWN, texts.withdrawn, {})


def wish_for(
    epic: Subject,
    goals: Mapping[int, KeyResult],
    policy: EffectivePolicy,
    alignment: Alignment | None,
    concern: Finding | None,
    now: datetime,
) -> Wish:
    """`concern` is the finding that is not resolved, if there is one."""
    resolution = epic.resolution
    if alignment == "aligned":
        keys = sorted(link.key_result.id for link in resolution.links if link.live)
        return Wish("aligned", partial(texts.aligned, resolution.links, epic.public), {"links": keys})
    if concern is None or not _is_wanted(epic, policy):
        return Wish("unchecked", texts.unchecked, {})
    if concern.state == "waived" and concern.until is not None:
        reason = concern.reason or ""
        facts = {"until": concern.until.isoformat(), "reason": reason}
        return Wish("waived", partial(texts.waived, concern.until, reason), facts)
    if concern.state == "snoozed" and concern.until is not None:
        facts = {"until": concern.until.isoformat()}
        return Wish("snoozed", partial(texts.snoozed, concern.until), facts)
    if concern.state == "disputed":
        return Wish("disputed", texts.disputed, {})
    return Wish(
        "warning",
        partial(_warning, epic, goals, concern, now),
        {
            "check": concern.check,
            "unknown": sorted(resolution.unknown),
            "links": sorted(_naming(link.key_result, epic) for link in resolution.links),
        },
        grace_ends=_grace_ends(epic, policy, concern, now),
    )


def _naming(goal: KeyResult, epic: Subject) -> str:
    shown = "title" if may_name(goal, epic.public) else "label"
    return f"{goal.id}:{shown}"


def _is_wanted(epic: Subject, policy: EffectivePolicy) -> bool:
    """Whether this epic may carry a warning at all: the channel, the kind of project, and its age."""
    if epic.service_desk or policy.channel == "none":
        return False
    return is_since(policy, epic.epic.created_at, epic.connected_at)


def _grace_ends(epic: Subject, policy: EffectivePolicy, concern: Finding, now: datetime) -> datetime:
    """Each dead link has its own grace, and the epic that of the link that has the longest."""
    start = max(epic.epic.created_at, concern.opened_at)
    of_policy = grace_for(policy, concern.check)
    graces = {
        CYCLE_GRACE if died_of_cycle(link.key_result, now) else of_policy for link in epic.resolution.links
    }
    return max(add_grace(start, grace) for grace in graces or {of_policy})


def _warning(epic: Subject, goals: Mapping[int, KeyResult], concern: Finding, now: datetime) -> Notice:
    links = epic.resolution.links
    suggestions = epic.suggest()
    some_live = next((goal.key for goal in goals.values() if is_live(goal, now)), None)
    return texts.warning(
        concern.check,
        project=epic.epic.project,
        links=links,
        reasons=[why_not_live(link.key_result, now) or "" for link in links],
        unknown=epic.resolution.unknown,
        suggestions=suggestions,
        example=suggestions[0].key_result.key if suggestions else some_live,
        public=epic.public,
        read_at=epic.read_at,
        page=epic.page,
        hears=epic.hears,
    )
