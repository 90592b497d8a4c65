"""The one judge: `decide` gives an epic's alignment, its findings, and what its ticket should say. Pure.

Nothing else in Northing sets these. The table of its cases is the section "Exactly" of the
public contract, and `tests/test_evaluate.py` is that table.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from mappings import notice as texts
from mappings.clock import add_grace
from mappings.goals import KeyResult, died_of_cycle, is_live, live_until, may_name, why_not_live
from mappings.linking import Resolution
from mappings.notice import Notice
from mappings.policy import CHECKS, CYCLE_GRACE, EffectivePolicy, exemption, grace_for, is_since
from mappings.verdict import (
    Alignment,
    Decision,
    Finding,
    History,
    Mode,
    NoticeState,
    Standing,
    Subject,
    Wanted,
)


def decide(
    epic: Subject,
    goals: Mapping[int, KeyResult],
    policy: EffectivePolicy,
    mode: Mode,
    history: History,
    now: datetime,
) -> Decision:
    """Judge one epic at the moment `now`.

    `goals` are all key results by id, `policy` and `mode` those in force for the epic's project.
    """
    exempt_why = None if epic.gone else exemption(policy, epic.epic)
    gap = None if epic.gone or exempt_why else _gap(epic.resolution)
    findings = _findings(gap, epic, policy, history, now)
    concern = next((found for found in findings if found.check == gap and found.state != "resolved"), None)
    alignment = None if epic.gone else _alignment(epic.resolution, exempt_why, concern)
    wish = _wish(epic, goals, policy, alignment, concern, now)
    moments = _calendar(epic, goals, findings, now)
    if wish.grace_ends is not None:
        moments.append(wish.grace_ends)
    again = min((moment for moment in moments if moment > now), default=None)
    decision = Decision(alignment, findings, look_again_at=again, exempt_why=exempt_why)
    if mode == "off":
        return replace(decision, keep_notice=True)
    return _settle(decision, wish, epic, goals, mode, history.notice, now)


# --- gaps, findings, alignment --------------------------------------------------------------


def _gap(resolution: Resolution) -> str | None:
    if resolution.aligned:
        return None
    return "closed-goal" if resolution.links else "no-key-result"


def _findings(
    gap: str | None, epic: Subject, policy: EffectivePolicy, history: History, now: datetime
) -> tuple[Finding, ...]:
    found: list[Finding] = []
    for check in CHECKS:
        before = history.findings.get(check)
        if gap == check and policy.checks[check].on:
            found.append(_opened(check, before, epic, policy, now))
        elif before is not None:
            found.append(replace(before, state="resolved", until=None, reason=None))
    return tuple(found)


def _opened(
    check: str, before: Finding | None, epic: Subject, policy: EffectivePolicy, now: datetime
) -> Finding:
    detail, severity = _detail(check, epic, now), policy.checks[check].severity
    if before is None or before.state == "resolved":
        return Finding(check, "open", now, detail=detail, severity=severity)
    if before.until is not None and before.until <= now:
        before = replace(before, state="open", until=None, reason=None)
    return replace(before, detail=detail, severity=severity)


def _detail(check: str, epic: Subject, now: datetime) -> str:
    unknown = "".join(f" The ticket names {key}, which does not exist." for key in epic.resolution.unknown)
    if check == "no-key-result":
        return f"No key result is linked.{unknown}"
    dead = "; ".join(
        f"{link.key_result.key}: {why_not_live(link.key_result, now)}" for link in epic.resolution.links
    )
    return f"No linked key result is live ({dead}).{unknown}"


def _alignment(resolution: Resolution, exempt_why: str | None, concern: Finding | None) -> Alignment:
    if resolution.aligned:
        return "aligned"
    if exempt_why:
        return "exempt"
    return "waived" if concern is not None and concern.state == "waived" else "unaligned"


# --- what the ticket should say, whatever stands there now ----------------------------------


@dataclass(frozen=True, slots=True)
class _Wish:
    """`kind` `warning` asks for the full text; any other is a one-line text for a comment that
    already stands. `facts` are hashed, never the words."""

    kind: str
    compose: Callable[[], Notice]
    facts: Mapping[str, object]
    grace_ends: datetime | None = None


def _wish(
    epic: Subject,
    goals: Mapping[int, KeyResult],
    policy: EffectivePolicy,
    alignment: Alignment | None,
    concern: Finding | None,
    now: datetime,
) -> _Wish:
    resolution = epic.resolution
    if alignment == "aligned":
        keys = sorted(link.key_result.id for link in resolution.links if link.live)
        return _Wish("aligned", partial(texts.aligned, resolution.links, epic.public), {"links": keys})
    if concern is None or not _is_wanted(epic, policy):
        return _Wish("unchecked", texts.unchecked, {})
    if concern.state == "waived" and concern.until is not None:
        reason = concern.reason or ""
        facts = {"until": concern.until.isoformat(), "reason": reason}
        return _Wish("waived", partial(texts.waived, concern.until, reason), facts)
    if concern.state == "snoozed" and concern.until is not None:
        facts = {"until": concern.until.isoformat()}
        return _Wish("snoozed", partial(texts.snoozed, concern.until), facts)
    if concern.state == "disputed":
        return _Wish("disputed", texts.disputed, {})
    return _Wish(
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
    )


def _hash(wish: _Wish) -> str:
    facts = json.dumps({"kind": wish.kind, **wish.facts}, sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()


# --- from the wish to the notice ------------------------------------------------------------


def _settle(
    decision: Decision,
    wish: _Wish,
    epic: Subject,
    goals: Mapping[int, KeyResult],
    mode: Mode,
    standing: Standing | None,
    now: datetime,
) -> Decision:
    if standing is not None and standing.state == "withdrawn" and not _reopened(decision, standing):
        return replace(decision, keep_notice=True)
    if standing is None or not standing.on_ticket:
        wanted = _unwritten(wish, epic, mode, now)
        return decision if wanted is None else replace(decision, notice=wanted)
    if epic.gone == "deleted":
        return replace(decision, keep_notice=True)
    return _written(decision, wish, epic, goals, mode, standing, now)


def _reopened(decision: Decision, standing: Standing) -> bool:
    return any(found.state != "resolved" and found.opened_at > standing.since for found in decision.findings)


def _unwritten(wish: _Wish, epic: Subject, mode: Mode, now: datetime) -> Wanted | None:
    """Nothing of ours is on the ticket: only an open or disputed finding makes a notice."""
    if wish.kind not in ("warning", "disputed"):
        return None
    wanted = Wanted("shadow", wish.compose, _hash(wish))
    if mode == "shadow":
        return wanted
    held = _held(wish, epic, now)
    if held is not None:
        return replace(wanted, state="held", reason=held[0], detail=held[1])
    return replace(wanted, state="due", target="posted")


def _held(wish: _Wish, epic: Subject, now: datetime) -> tuple[str, str] | None:
    """Why a warning has to wait, the first reason that applies, in the contract's order."""
    if wish.kind == "disputed":
        return "disputed", "Somebody disputes the finding; a person has to decide."
    if wish.grace_ends is not None and wish.grace_ends > now:
        return "grace", f"Grace ends at {wish.grace_ends:%Y-%m-%d %H:%M} UTC."
    if not epic.fresh:
        return (
            "stale",
            f"{epic.epic.project} was not read to its end, or the ticket could not be fetched again.",
        )
    return None


def _written(
    decision: Decision,
    wish: _Wish,
    epic: Subject,
    goals: Mapping[int, KeyResult],
    mode: Mode,
    standing: Standing,
    now: datetime,
) -> Decision:
    """Our comment is on the ticket: bring it to the wish, or leave it as it is."""
    target: NoticeState = "posted" if wish.kind == "warning" else "resolved"
    facts_hash = _hash(wish)
    if not any(_may_not_be_named(goals.get(named), epic.public) for named in standing.named):
        done = facts_hash == standing.posted_hash and standing.state == target
        if done or _must_wait(wish, target, epic, mode, standing, now):
            return replace(decision, keep_notice=True)
    return replace(decision, notice=Wanted(standing.state, wish.compose, facts_hash, target=target))


def _must_wait(
    wish: _Wish, target: NoticeState, epic: Subject, mode: Mode, standing: Standing, now: datetime
) -> bool:
    """Shadow only resolves. A gap that returns has its grace; a standing warning is set right at once."""
    if mode == "shadow":
        return target == "posted" or standing.state == "resolved"
    if target == "resolved":
        return False
    held = _held(wish, epic, now)
    return held is not None and not (held[0] == "grace" and standing.state == "posted")


def _may_not_be_named(goal: KeyResult | None, public: bool) -> bool:
    return goal is not None and not may_name(goal, public)


# --- when to look again ---------------------------------------------------------------------


def _calendar(
    epic: Subject, goals: Mapping[int, KeyResult], findings: Sequence[Finding], now: datetime
) -> list[datetime]:
    """The moments at which time alone may change the verdict."""
    moments = [found.until for found in findings if found.until is not None]
    for link in epic.resolution.links:
        if is_live(link.key_result, now) and (end := live_until(link.key_result)) is not None:
            moments.append(end)
    return moments
