"""The one judge: `decide` gives an epic's alignment, its findings, and what its ticket should say. Pure.

Nothing else in Northing sets these. The table of its cases is the section "Exactly" of the
public contract, and `tests/test_evaluate.py` is that table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from mappings.goals import KeyResult, is_live, live_until, may_name, why_not_live
from mappings.linking import Resolution
from mappings.policy import CHECKS, EffectivePolicy, exemption
from mappings.verdict import (
    Alignment,
    Answer,
    Decision,
    Finding,
    History,
    Mode,
    NoticeState,
    Standing,
    Subject,
    Wanted,
)
from mappings.wishes import RUN_WITHDRAWN, TAKEN_BACK, Wish, wish_for


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
    wish = wish_for(epic, goals, policy, alignment, concern, now)
    moments = _calendar(epic, goals, findings, now)
    if wish.grace_ends is not None:
        moments.append(wish.grace_ends)
    again = min((moment for moment in moments if moment > now), default=None)
    answer, standing = history.answer, history.notice
    over = answer is not None and _has_had_its_time(answer, history.findings, findings)
    decision = Decision(alignment, findings, look_again_at=again, exempt_why=exempt_why, answer_over=over)
    if standing is not None and standing.taken_back:
        return _taken_back(decision, epic, standing)
    if mode == "off":
        return replace(decision, keep_notice=True)
    if answer is not None and not over and standing is not None and standing.on_ticket:
        wish = wish.with_answer(answer.text)
    return _settle(decision, wish, epic, goals, policy, mode, standing, now)


def _has_had_its_time(answer: Answer, before: Mapping[str, Finding], now: Sequence[Finding]) -> bool:
    """The answer to a command stands until a finding changes its state, the command's own change apart."""
    states = {check: found.state for check, found in before.items()}
    return not answer.is_new and states != {found.check: found.state for found in now}


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


# --- from the wish to the notice ------------------------------------------------------------


def _settle(
    decision: Decision,
    wish: Wish,
    epic: Subject,
    goals: Mapping[int, KeyResult],
    policy: EffectivePolicy,
    mode: Mode,
    standing: Standing | None,
    now: datetime,
) -> Decision:
    if standing is not None and standing.state == "withdrawn" and not _reopened(decision, standing):
        return replace(decision, keep_notice=True)
    if standing is None or not standing.on_ticket:
        return _unwritten(decision, wish, epic, policy, mode, standing, now)
    if epic.gone == "deleted":
        return replace(decision, keep_notice=True)
    return _written(decision, wish, epic, goals, mode, standing, now)


def _reopened(decision: Decision, standing: Standing) -> bool:
    return any(found.state != "resolved" and found.opened_at > standing.since for found in decision.findings)


def _taken_back(decision: Decision, epic: Subject, standing: Standing) -> Decision:
    """A person withdraws the run that made the comment, whatever the mode and whatever became true since."""
    if epic.gone == "deleted":
        return replace(decision, keep_notice=True)
    wish = TAKEN_BACK
    if not standing.on_ticket:
        return replace(decision, notice=Wanted("withdrawn", wish.compose, wish.facts_hash, RUN_WITHDRAWN))
    return replace(decision, notice=Wanted(standing.state, wish.compose, wish.facts_hash, target="withdrawn"))


def _unwritten(
    decision: Decision,
    wish: Wish,
    epic: Subject,
    policy: EffectivePolicy,
    mode: Mode,
    standing: Standing | None,
    now: datetime,
) -> Decision:
    """Nothing of ours is on the ticket: only an open or disputed finding makes a notice."""
    if wish.kind not in ("warning", "disputed"):
        return decision
    wanted = Wanted("shadow", wish.compose, wish.facts_hash)
    if mode == "shadow":
        return replace(decision, notice=wanted)
    held = _held(wish, epic, now)
    if held is not None:
        return replace(decision, notice=replace(wanted, state="held", reason=held[0], detail=held[1]))
    quiet = policy.quiet_hours
    if quiet is not None and (end := quiet.end(now)) is not None:
        waits = replace(wanted, state="held", reason="quiet_hours", detail=quiet.words(end))
        return replace(decision, notice=waits, look_again_at=min(decision.look_again_at or end, end))
    if standing is not None and standing.guarded is not None:
        waits = replace(wanted, state="held", reason="guard", detail=standing.guarded)
        return replace(decision, notice=waits)
    return replace(decision, notice=replace(wanted, state="due", target="posted"))


def _held(wish: Wish, epic: Subject, now: datetime) -> tuple[str, str] | None:
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
    wish: Wish,
    epic: Subject,
    goals: Mapping[int, KeyResult],
    mode: Mode,
    standing: Standing,
    now: datetime,
) -> Decision:
    """Our comment is on the ticket: bring it to the wish, or leave it as it is."""
    target: NoticeState = "posted" if wish.kind == "warning" else "resolved"
    facts_hash = wish.facts_hash
    if not any(_may_not_be_named(goals.get(named), epic.public) for named in standing.named):
        done = facts_hash == standing.posted_hash and standing.state == target and not standing.lost
        if done or _must_wait(wish, target, epic, mode, standing, now):
            return replace(decision, keep_notice=True)
    return replace(decision, notice=Wanted(standing.state, wish.compose, facts_hash, target=target))


def _must_wait(
    wish: Wish, target: NoticeState, epic: Subject, mode: Mode, standing: Standing, now: datetime
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
