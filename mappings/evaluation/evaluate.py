"""The evaluator: `decide` gives an epic's alignment, its findings and its desired notice. Pure.

Nothing else in Northing computes these. The section "Exactly" of the public contract defines the
rules; `tests/test_evaluate.py` tests them row by row.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mappings.checks.check import Check, EpicFacts
from mappings.checks.registry import CHECKS
from mappings.evaluation.answers import ANSWERED_WITHIN, is_over, may_be_given, with_answer
from mappings.evaluation.desired_notice import RUN_WITHDRAWN, WITHDRAWN, DesiredText, desired_text
from mappings.evaluation.findings import UNANSWERED, next_finding, shown_finding
from mappings.evaluation.model import (
    Alignment,
    CommandAnswer,
    CurrentNotice,
    Decision,
    DesiredNotice,
    EvaluationInput,
    Finding,
    History,
    SetAside,
)
from mappings.goals.key_results import KeyResult, is_live, live_until, may_name
from mappings.notices.gates import Facts, Hold, Pause, first_hold
from mappings.policy.document import EffectivePolicy, exemption

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from mappings.links.resolve import Resolution
    from mappings.notices.transitions import WrittenState
    from mappings.policy.modes import NoticesMode

# Only an open or disputed finding makes a notice.
NEW_NOTICE = ("warning", "disputed")
CheckedFinding = tuple[Check[Any], Finding]


def decide(
    epic: EvaluationInput,
    goals: Mapping[int, KeyResult],
    policy: EffectivePolicy,
    mode: NoticesMode,
    history: History,
    now: datetime,
    checks: Sequence[Check[Any]] = CHECKS,
) -> Decision:
    """Evaluate one epic at the moment `now`.

    `goals` are all key results by id, `policy` and `mode` those in force for the epic's project. The policy
    has a setting for each of `checks`.
    """
    exempt_reason = None if epic.removal_reason else exemption(policy, epic.epic)
    is_asked = not epic.removal_reason and not exempt_reason
    aside = epic.set_aside if epic.set_aside is not None and epic.set_aside.holds(now) else None
    found = _found(checks, epic, policy, history, now, is_asked=is_asked)
    if aside is not None:
        found = _waived_by(aside, found)
    findings = tuple(finding for _, finding in found)
    if history.findings:
        findings += _of_no_check(checks, history, now)
    on_ticket = [(check, finding) for check, finding in found if check.channel == "comment"]
    alignment = None if epic.removal_reason else _alignment(epic.resolution, exempt_reason, found, aside)
    desired = desired_text(epic, goals, policy, alignment, _shown(on_ticket), now, aside)
    moments = _moments_of_change(epic, goals, findings, now)
    if desired.grace_ends is not None:
        moments.append(desired.grace_ends)
    if aside is not None and aside.until is not None:
        moments.append(aside.until)
    again = min([moment for moment in moments if moment > now], default=None)
    decision = Decision(
        alignment,
        findings,
        tuple(finding for _, finding in on_ticket),
        evaluate_at=again,
        exempt_reason=exempt_reason,
        set_aside=None if epic.removal_reason else aside,
        set_aside_over=epic.set_aside is not None and aside is None,
    )
    current = history.notice
    if current is None and history.answer is None and desired.kind not in NEW_NOTICE:
        return decision  # most epics: there is nothing to hold back
    facts = _facts(desired, epic, policy, mode, current, now)
    answers = history.commanded or (current is not None and current.answering)
    answer = history.answer
    if answer is not None:
        shown = with_answer(desired, answer, facts, current)
        ends = (
            _tells_too_much(answer, epic, goals)
            or _is_withdrawn(decision, current)
            or not may_be_given(answer, epic, policy, facts, current)
            or is_over(shown, current, changed=_changed(answer, history, on_ticket), answers=answers)
        )
        answer, desired = (None, desired) if ends else (answer, shown)
        decision = replace(decision, answer_expired=ends)
    return _decide_notice(decision, desired, answer, epic, goals, facts, current, answers=answers)


def _changed(answer: CommandAnswer, history: History, on_ticket: Sequence[CheckedFinding]) -> bool:
    """Whether a finding that may be on the ticket changed its state, and not by the command itself. A finding
    that was there before is there now, resolved at least."""
    before = history.findings
    return not answer.is_new and any(
        check.name not in before or before[check.name].state != finding.state for check, finding in on_ticket
    )


# --- findings, alignment ----------------------------------------------------------------------


def _found(
    checks: Sequence[Check[Any]],
    epic: EvaluationInput,
    policy: EffectivePolicy,
    history: History,
    now: datetime,
    *,
    is_asked: bool,
) -> list[CheckedFinding]:
    """The findings of the given checks about epics, resolved ones too, in the order of the registry."""
    facts, found = EpicFacts(epic.epic, epic.resolution), []
    for check in checks:
        if check.about != "epic":
            continue
        setting = policy.checks[check.name]
        gap = check.find(facts, now) if is_asked and setting.on else None
        before = history.findings.get(check.name)
        if gap is None and before is None:
            continue
        finding = next_finding(check.name, before, gap, setting.severity, now)
        if finding is not None:
            found.append((check, finding))
    links = epic.resolution.links
    if history.findings and links and all(link.origin == "inherited" for link in links):
        return _still_answered(found, history, now)
    return found


def _waived_by(aside: SetAside, found: Sequence[CheckedFinding]) -> list[CheckedFinding]:
    """No gap is open that bears on alignment: what a person made of one stays, and is followed by the
    decision."""
    waived: dict[str, Any] = {
        "state": "waived",
        "until": aside.until,
        "reason": aside.reason,
        "by": aside.by,
        "changed_at": aside.decided_at,
    }
    return [
        (check, replace(finding, **waived))
        if check.bears_on_alignment and finding.state == "open"
        else (check, finding)
        for check, finding in found
    ]


def _still_answered(found: Sequence[CheckedFinding], history: History, now: datetime) -> list[CheckedFinding]:
    """A gap that a person has accepted, put off or disputed stays so where it is only another one now by what
    is above: nobody has changed this epic, and it has not been aligned in between."""
    left = [
        history.findings[check.name]
        for check, finding in found
        if check.bears_on_alignment and finding.state == "resolved" and finding.resolved_at == now
    ]
    answered = next((before for before in left if _is_answered(before, now)), None)
    if answered is None:
        return list(found)
    members = {name: getattr(answered, name) for name in UNANSWERED}
    return [
        (check, replace(finding, state=answered.state, **members))
        if check.bears_on_alignment and finding.state == "open" and finding.opened_at == now
        else (check, finding)
        for check, finding in found
    ]


def _is_answered(finding: Finding, now: datetime) -> bool:
    return finding.state in ("waived", "snoozed", "disputed") and (
        finding.until is None or finding.until > now
    )


def _of_no_check(checks: Sequence[Check[Any]], history: History, now: datetime) -> tuple[Finding, ...]:
    """The findings of checks that left the registry, resolved."""
    present = {check.name for check in checks if check.about == "epic"}
    left = [finding for name, finding in history.findings.items() if name not in present]
    resolved = [next_finding(before.check, before, None, before.severity, now) for before in left]
    return tuple(finding for finding in resolved if finding is not None)


def _shown(on_ticket: Sequence[CheckedFinding]) -> CheckedFinding | None:
    """The finding that the ticket shows, with its check."""
    if not on_ticket:
        return None
    shown = shown_finding([finding for _, finding in on_ticket])
    return next((checked for checked in on_ticket if checked[1] is shown), None)


def _alignment(
    resolution: Resolution,
    exempt_reason: str | None,
    found: Sequence[CheckedFinding],
    aside: SetAside | None,
) -> Alignment:
    if aside is not None:
        return "waived"
    if resolution.aligned:
        return "aligned"
    if exempt_reason:
        return "exempt"
    is_waived = any([check.bears_on_alignment and finding.state == "waived" for check, finding in found])
    return "waived" if is_waived else "unaligned"


# --- from the desired text to the desired notice ----------------------------------------------


def _decide_notice(
    decision: Decision,
    desired: DesiredText,
    answer: CommandAnswer | None,
    epic: EvaluationInput,
    goals: Mapping[int, KeyResult],
    facts: Facts,
    current: CurrentNotice | None,
    *,
    answers: bool,
) -> Decision:
    """`answer`: the one that `desired` shows. `answers`: an edit answers a person."""
    if current is not None and current.withdrawing:
        return _withdraw(decision, epic, current)
    hold = first_hold("evaluation", facts)
    if (hold is not None and hold.reason == "off") or _is_withdrawn(decision, current):
        return replace(decision, keep_notice=True)
    if current is None or not current.on_ticket:
        return _new_notice(decision, desired, hold, answer)
    if epic.removal_reason == "deleted":
        return replace(decision, keep_notice=True)
    if answer is not None and hold is not None:
        decision = replace(decision, evaluate_at=_first(decision.evaluate_at, hold.until))
    return _edited_notice(decision, desired, epic, goals, facts, current, answers=answers)


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


def _is_withdrawn(decision: Decision, current: CurrentNotice | None) -> bool:
    """Whether the comment was withdrawn or deleted, and no finding was opened since."""
    return (
        current is not None
        and current.state == "withdrawn"
        and not any(
            found.state != "resolved" and found.opened_at > current.since
            for found in decision.ticket_findings
        )
    )


def _tells_too_much(answer: CommandAnswer, epic: EvaluationInput, goals: Mapping[int, KeyResult]) -> bool:
    return any(_may_not_be_named(goals.get(id), epic.public) for id in answer.key_result_ids)


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


def _new_notice(
    decision: Decision, desired: DesiredText, hold: Hold | None, answer: CommandAnswer | None
) -> Decision:
    """No comment of ours is on the ticket. With an answer one is made, whatever holds a warning back."""
    compose, facts_hash = desired.compose, desired.facts_hash
    if answer is not None:
        notice = DesiredNotice("due", compose, facts_hash, target=_target(desired), answers=True)
        over = answer.at + ANSWERED_WITHIN
        moments = (decision.evaluate_at, None if hold is None else hold.until, over)
        return replace(decision, notice=notice, evaluate_at=_first(*moments))
    if desired.kind not in NEW_NOTICE:
        return decision
    if hold is None:
        return replace(decision, notice=DesiredNotice("due", compose, facts_hash, target="posted"))
    if hold.reason == "shadow":
        return replace(decision, notice=DesiredNotice("shadow", compose, facts_hash))
    notice = DesiredNotice("held", compose, facts_hash, hold.reason, hold.detail)
    return replace(decision, notice=notice, evaluate_at=_first(decision.evaluate_at, hold.until))


def _first(*moments: datetime | None) -> datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)


def _target(desired: DesiredText) -> WrittenState:
    return "posted" if desired.kind == "warning" else "resolved"


def _edited_notice(
    decision: Decision,
    desired: DesiredText,
    epic: EvaluationInput,
    goals: Mapping[int, KeyResult],
    facts: Facts,
    current: CurrentNotice,
    *,
    answers: bool,
) -> Decision:
    """Our comment is on the ticket: edit it to the desired text, or keep it as it is. `answers`: the edit
    answers a person."""
    target, facts_hash = _target(desired), desired.facts_hash
    if not any(
        _may_not_be_named(goals.get(key_result_id), epic.public)
        for key_result_id in current.mentioned_key_result_ids
    ):
        done = (
            facts_hash == current.posted_hash and current.state == target and not current.comment_id_unknown
        )
        if done or _must_wait(target, facts, current):
            return replace(decision, keep_notice=True)
    notice = DesiredNotice(current.state, desired.compose, facts_hash, target=target, answers=answers)
    return replace(decision, notice=notice)


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
    live = [link.key_result for link in epic.resolution.links if is_live(link.key_result, now)]
    return moments + [end for goal in live if (end := live_until(goal)) is not None]
