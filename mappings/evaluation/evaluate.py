"""The evaluator: `decide` gives an epic's alignment, its findings and its desired notice. Pure.

Nothing else in Northing computes these. The section "Exactly" of the public contract defines the
rules; `tests/test_evaluate.py` tests them row by row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from mappings.evaluation.desired_notice import RUN_WITHDRAWN, WITHDRAWN, DesiredText, desired_text
from mappings.evaluation.model import (
    Alignment,
    CommandAnswer,
    CurrentNotice,
    Decision,
    DesiredNotice,
    EvaluationInput,
    Finding,
    History,
)
from mappings.goals.key_results import KeyResult, is_live, live_until, may_name, why_not_live
from mappings.links.resolve import Resolution
from mappings.notices.gates import Facts, Hold, Pause, first_hold
from mappings.notices.transitions import WrittenState
from mappings.policy.document import CHECKS, EffectivePolicy, exemption
from mappings.policy.modes import NoticesMode


def decide(
    epic: EvaluationInput,
    goals: Mapping[int, KeyResult],
    policy: EffectivePolicy,
    mode: NoticesMode,
    history: History,
    now: datetime,
) -> Decision:
    """Evaluate one epic at the moment `now`.

    `goals` are all key results by id, `policy` and `mode` those in force for the epic's project.
    """
    exempt_reason = None if epic.removal_reason else exemption(policy, epic.epic)
    gap = None if epic.removal_reason or exempt_reason else _gap(epic.resolution)
    findings = _findings(gap, epic, policy, history, now)
    unresolved = next((found for found in findings if found.check == gap and found.state != "resolved"), None)
    alignment = None if epic.removal_reason else _alignment(epic.resolution, exempt_reason, unresolved)
    desired = desired_text(epic, goals, policy, alignment, unresolved, now)
    moments = _moments_of_change(epic, goals, findings, now)
    if desired.grace_ends is not None:
        moments.append(desired.grace_ends)
    again = min((moment for moment in moments if moment > now), default=None)
    answer, current = history.answer, history.notice
    answer_expired = answer is not None and _answer_expired(answer, history.findings, findings)
    decision = Decision(
        alignment, findings, evaluate_at=again, exempt_reason=exempt_reason, answer_expired=answer_expired
    )
    if current is not None and current.withdrawing:
        return _withdraw(decision, epic, current)
    facts = _facts(desired, epic, policy, mode, current, now)
    hold = first_hold("evaluation", facts)
    if hold is not None and hold.reason == "off":
        return replace(decision, keep_notice=True)
    if answer is not None and not answer_expired and current is not None and current.on_ticket:
        desired = desired.with_answer(answer.text)
    if current is not None and current.state == "withdrawn" and not _reopened(decision, current):
        return replace(decision, keep_notice=True)
    if current is None or not current.on_ticket:
        return _new_notice(decision, desired, hold)
    if epic.removal_reason == "deleted":
        return replace(decision, keep_notice=True)
    return _edited_notice(decision, desired, epic, goals, facts, current)


def _answer_expired(answer: CommandAnswer, before: Mapping[str, Finding], now: Sequence[Finding]) -> bool:
    """Whether the notice drops the answer: a finding changed its state, and not by the command itself."""
    states = {check: found.state for check, found in before.items()}
    return not answer.is_new and states != {found.check: found.state for found in now}


# --- gaps, findings, alignment --------------------------------------------------------------


def _gap(resolution: Resolution) -> str | None:
    if resolution.aligned:
        return None
    return "closed-goal" if resolution.links else "no-key-result"


def _findings(
    gap: str | None, epic: EvaluationInput, policy: EffectivePolicy, history: History, now: datetime
) -> tuple[Finding, ...]:
    found: list[Finding] = []
    for check in CHECKS:
        before = history.findings.get(check)
        if gap == check and policy.checks[check].on:
            found.append(_open_finding(check, before, epic, policy, now))
        elif before is not None:
            found.append(replace(before, state="resolved", until=None, reason=None))
    return tuple(found)


def _open_finding(
    check: str, before: Finding | None, epic: EvaluationInput, policy: EffectivePolicy, now: datetime
) -> Finding:
    detail, severity = _detail(check, epic, now), policy.checks[check].severity
    if before is None or before.state == "resolved":
        return Finding(check, "open", now, detail=detail, severity=severity)
    if before.until is not None and before.until <= now:
        before = replace(before, state="open", until=None, reason=None)
    return replace(before, detail=detail, severity=severity)


def _detail(check: str, epic: EvaluationInput, now: datetime) -> str:
    unknown = "".join(f" The ticket names {key}, which does not exist." for key in epic.resolution.unknown)
    if check == "no-key-result":
        return f"No key result is linked.{unknown}"
    reasons = "; ".join(
        f"{link.key_result.key}: {why_not_live(link.key_result, now)}" for link in epic.resolution.links
    )
    return f"No linked key result is live ({reasons}).{unknown}"


def _alignment(resolution: Resolution, exempt_reason: str | None, unresolved: Finding | None) -> Alignment:
    if resolution.aligned:
        return "aligned"
    if exempt_reason:
        return "exempt"
    return "waived" if unresolved is not None and unresolved.state == "waived" else "unaligned"


# --- from the desired text to the desired notice ----------------------------------------------


def _facts(
    desired: DesiredText,
    epic: EvaluationInput,
    policy: EffectivePolicy,
    mode: NoticesMode,
    current: CurrentNotice | None,
    now: datetime,
) -> Facts:
    """What the gates of the evaluation look at."""
    quiet, quiet_ends = policy.quiet_hours, None
    if quiet is not None:
        quiet_ends = quiet.end(now)
    unread = f"{epic.epic.project} was not read completely, or the ticket could not be fetched again."
    return Facts(
        now=now,
        mode=mode,
        disputed=desired.kind == "disputed",
        grace_ends=desired.grace_ends,
        stale=None if epic.fresh else unread,
        quiet=Pause(until=quiet_ends, detail=quiet.words(quiet_ends)) if quiet and quiet_ends else None,
        guard_reason=None if current is None else current.guard_reason,
    )


def _reopened(decision: Decision, current: CurrentNotice) -> bool:
    return any(found.state != "resolved" and found.opened_at > current.since for found in decision.findings)


def _withdraw(decision: Decision, epic: EvaluationInput, current: CurrentNotice) -> Decision:
    """A person withdraws the run that made the comment; neither the mode nor later changes prevent that."""
    if epic.removal_reason == "deleted":
        return replace(decision, keep_notice=True)
    desired = WITHDRAWN
    if not current.on_ticket:
        return replace(
            decision, notice=DesiredNotice("withdrawn", desired.compose, desired.facts_hash, RUN_WITHDRAWN)
        )
    return replace(
        decision, notice=DesiredNotice(current.state, desired.compose, desired.facts_hash, target="withdrawn")
    )


def _new_notice(decision: Decision, desired: DesiredText, hold: Hold | None) -> Decision:
    """No comment of ours is on the ticket: only an open or disputed finding makes a notice."""
    if desired.kind not in ("warning", "disputed"):
        return decision
    notice = DesiredNotice("due", desired.compose, desired.facts_hash, target="posted")
    if hold is None:
        return replace(decision, notice=notice)
    if hold.reason == "shadow":
        return replace(decision, notice=replace(notice, state="shadow", target=None))
    notice = replace(notice, state="held", target=None, reason=hold.reason, detail=hold.detail)
    moments = [moment for moment in (decision.evaluate_at, hold.until) if moment is not None]
    return replace(decision, notice=notice, evaluate_at=min(moments, default=None))


def _edited_notice(
    decision: Decision,
    desired: DesiredText,
    epic: EvaluationInput,
    goals: Mapping[int, KeyResult],
    facts: Facts,
    current: CurrentNotice,
) -> Decision:
    """Our comment is on the ticket: edit it to the desired text, or keep it as it is."""
    target: WrittenState = "posted" if desired.kind == "warning" else "resolved"
    facts_hash = desired.facts_hash
    if not any(
        _may_not_be_named(goals.get(key_result_id), epic.public)
        for key_result_id in current.mentioned_key_result_ids
    ):
        done = (
            facts_hash == current.posted_hash and current.state == target and not current.comment_id_unknown
        )
        if done or _must_wait(target, facts, current):
            return replace(decision, keep_notice=True)
    return replace(decision, notice=DesiredNotice(current.state, desired.compose, facts_hash, target=target))


def _must_wait(target: WrittenState, facts: Facts, current: CurrentNotice) -> bool:
    """A gap that returns has its grace; the edit of a posted warning has none. No gate holds the edit to one
    line, and in shadow mode that is the only one that is made."""
    if target == "resolved":
        return facts.mode == "shadow" and current.state == "resolved"
    if current.state == "posted":
        facts = replace(facts, grace_ends=None)
    return first_hold("evaluation", facts, edit=True) is not None


def _may_not_be_named(goal: KeyResult | None, public: bool) -> bool:
    return goal is not None and not may_name(goal, public)


# --- when to evaluate again -------------------------------------------------------------------


def _moments_of_change(
    epic: EvaluationInput, goals: Mapping[int, KeyResult], findings: Sequence[Finding], now: datetime
) -> list[datetime]:
    """The moments at which time alone may change the evaluation."""
    moments = [found.until for found in findings if found.until is not None]
    for link in epic.resolution.links:
        if is_live(link.key_result, now) and (end := live_until(link.key_result)) is not None:
            moments.append(end)
    return moments
