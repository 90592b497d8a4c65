"""The reasons for an epic's evaluation: first the one fact that counts, then how it came about. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mappings.checks.registry import CHECKS
from mappings.evaluation.desired_notice import why_no_warning
from mappings.evaluation.model import SET_ASIDE_WORDS
from mappings.goals.key_results import live_until, why_not_live
from mappings.links.resolve import GoalsAndRules, Resolution, link_text
from mappings.policy.durations import last_day
from mappings.rules.condition import nearly_matches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from mappings.checks.check import Check
    from mappings.evaluation.model import CurrentNotice, Decision, EvaluationInput, Finding, SetAside
    from mappings.policy.document import EffectivePolicy, Scope
    from mappings.policy.modes import NoticesMode

ReasonKind = Literal["result", "read", "link", "ticket", "rule", "policy", "check", "notice", "change"]


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason. `says` is a sentence, or a few; `name` says which reason of its kind it is.

    `matched`: whether it applied, None where that question makes no sense. `at`: the moment it is about, UTC.
    `setting`: the name of the setting that decides it, such as `policy.since`.
    """

    kind: ReasonKind
    name: str
    says: str
    matched: bool | None = None
    at: datetime | None = None
    setting: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """An evaluation with what it was made from.

    `policy` and `mode` are those of the epic's project, `scope` the scope of the policy that fits it.
    `notice` is the notice as stored, `notice_detail` what it says of itself. `evaluated_at`: when the epic
    was last evaluated and the result stored, None for never.
    """

    source: str
    evaluated: EvaluationInput
    decision: Decision
    goals: GoalsAndRules
    policy: EffectivePolicy
    mode: NoticesMode
    scope: Scope | None = None
    notice: CurrentNotice | None = None
    notice_detail: str | None = None
    evaluated_at: datetime | None = None
    checks: Sequence[Check[Any]] = CHECKS

    @property
    def resolution(self) -> Resolution:
        return self.evaluated.resolution


def explain(of: Explained, now: datetime, *, all_rules: bool = False) -> list[Reason]:
    """Why the epic is evaluated so, at the moment `now`. `all_rules`: name those that do not match too."""
    return [
        _result(of, now),
        *_read(of),
        *_links(of.resolution, now),
        *_rules(of, all_rules=all_rules),
        *_policy(of),
        *_checks(of),
        *_notice(of),
        *_dispute(of),
        *_changes(of, now),
    ]


def explain_briefly(of: Explained, now: datetime) -> list[Reason]:
    """What a row of a list has room for: the one fact that counts, what the ticket names that does not count,
    and why there is a comment, or none."""
    return [_result(of, now), *_unknown(of.resolution), *_notice(of)]


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


# --- the one fact that counts -----------------------------------------------------------------


def _result(of: Explained, now: datetime) -> Reason:
    alignment = of.decision.alignment
    if alignment == "aligned":
        link = next(link for link in of.resolution.links if link.live)
        others = sum(other.live for other in of.resolution.links) - 1
        more = f", and to {others} more" if others else ""
        says = f"Aligned: linked to {link.key_result.key} ({link.key_result.title}){more}."
    elif alignment == "exempt":
        says = _exempt(of.decision.exempt_reason)
    elif of.decision.set_aside is not None:
        says = _set_aside(of.decision.set_aside)
    elif alignment == "waived":
        waiver = next(found for found in of.decision.findings if found.state == "waived")
        says = f"Waived{_until(waiver)}{_why(waiver)}."
    elif alignment is None:
        says = "Not evaluated: it is in no list."
    else:
        says = _unaligned(of.resolution, now)
    return Reason("result", alignment or "none", says, alignment == "aligned")


def _set_aside(aside: SetAside) -> str:
    day = "" if aside.until is None else f" until {last_day(aside.until)}"
    return f"Waived: {SET_ASIDE_WORDS[aside.kind]}{day} by {aside.decided}: {aside.reason.rstrip('.')}."


def _exempt(reason: str | None) -> str:
    """A reason of the policy's names the exemption itself."""
    return f"Exempt: {reason}." if reason is None or not reason.startswith("exempt") else f"E{reason[1:]}."


def _unaligned(resolution: Resolution, now: datetime) -> str:
    if not resolution.links:
        return "Unaligned: it is linked to no key result."
    dead = "; ".join(
        f"{link.key_result.key}: {why_not_live(link.key_result, now)}" for link in resolution.links
    )
    return f"Unaligned: none of the key results that it is linked to counts any more ({dead})."


def _until(found: Finding) -> str:
    return "" if found.until is None else f" until {_moment(found.until)}"


def _why(found: Finding) -> str:
    return f" ({found.reason})" if found.reason else ""


# --- what was seen, and what follows from it --------------------------------------------------


def _read(of: Explained) -> Iterator[Reason]:
    epic, read_at = of.evaluated.epic, of.evaluated.read_at
    says = (
        f"Read from {of.source} at {_moment(read_at)}, as it was changed there at {_moment(epic.updated_at)}."
    )
    yield Reason("read", "ticket", says, at=read_at)
    if not of.evaluated.fresh:
        stale = f"{epic.project} was not read to its end since, or the ticket could not be read again."
        yield Reason("read", "stale", stale, False)
    at = of.evaluated_at
    says = "It is not evaluated yet; this is what an evaluation says now."
    if at is not None:
        says = f"Evaluated at {_moment(at)}."
        if at < read_at:
            says += " It was read again since; this is what an evaluation says now."
    yield Reason("read", "evaluation", says, at=at)


def _links(resolution: Resolution, now: datetime) -> Iterator[Reason]:
    for link in resolution.links:
        says = f"Linked to {link.key_result.key} ({link.key_result.title}): {link_text(link, now)}."
        yield Reason("link", link.origin, says, link.live)
    yield from _unknown(resolution)


def _unknown(resolution: Resolution) -> Iterator[Reason]:
    for one in resolution.unknown:
        yield Reason("ticket", one.key, f"{one.sentence}, so it makes no link.", False)


def _rules(of: Explained, *, all_rules: bool) -> Iterator[Reason]:
    epic, known = of.evaluated.epic, of.goals.rules
    origins = {link.origin for link in of.resolution.links if link.live}
    linked_otherwise = not origins <= {"rule", "inherited"}
    winner = known.winner(of.source, epic)
    others = 0
    for rule, matches, says in known.explain(of.source, epic):
        if not matches and not all_rules:
            others += 1
            continue
        failing = None if matches else nearly_matches(rule.condition, of.source, epic)
        if failing is not None:
            says = f"all but one test fits: {failing}"
        if linked_otherwise:
            note = "not asked, for a link that counts comes before the rules"
        elif not matches or winner is None:
            note = "gives no link"
        elif rule is winner.rule:
            note = f"gives the link (priority {rule.priority}), for {winner.because}"
        else:
            note = "not asked, for a rule before it matches"
        yield Reason("rule", rule.name, f"{says}; {note}.", matches)
    if others:
        which = "1 rule does" if others == 1 else f"{others} rules do"
        yield Reason("rule", "others", f"{which} not match; `rules=all` names each.", False)


def _policy(of: Explained) -> Iterator[Reason]:
    policy, scope = of.policy, of.scope
    where = "the top level"
    if scope is not None and policy.scope is not None:
        fits = scope.model_dump(include={"source", "project"}, exclude_unset=True)
        named = " and ".join(f"{name} {value}" for name, value in fits.items()) or "every project"
        where = f"scope {policy.scope + 1} ({named})"
    since = "no limit" if policy.since is None else str(policy.since)
    says = f"The policy of {where} applies: grace {policy.grace}, since {since}, channel {policy.channel}."
    yield Reason("policy", "scope", says, setting=_setting(of, "scopes") if scope else "policy")
    if of.decision.exempt_reason is not None:
        setting = None if of.decision.exempt_reason == "finished" else _setting(of, "exempt")
        yield Reason("policy", "exempt", _exempt(of.decision.exempt_reason), True, setting=setting)


def _setting(of: Explained, member: str) -> str:
    """The name of a policy's setting: in the scope that fits where that has it, else at the top level."""
    scope = of.scope
    if scope is not None and (member == "scopes" or member.partition(".")[0] in scope.model_fields_set):
        position = f"policy.scopes[{of.policy.scope}]"
        return position if member == "scopes" else f"{position}.{member}"
    return f"policy.{member}"


def _checks(of: Explained) -> Iterator[Reason]:
    found = {finding.check: finding for finding in of.decision.findings}
    for check in of.checks:
        if check.about != "epic" or check.name in found:
            continue
        if not of.policy.checks[check.name].on:
            says, setting = "It is off here.", _setting(of, f"checks.{check.name}.on")
            yield Reason("check", check.name, says, setting=setting)
        elif of.decision.exempt_reason is not None:
            yield Reason("check", check.name, "Not asked, for the epic is exempt.")
        else:
            yield Reason("check", check.name, "Found nothing.", True)
    for finding in found.values():
        yield _finding(finding)


def _finding(finding: Finding) -> Reason:
    if finding.state != "resolved":
        since = "" if finding.changed_at is None else f" at {_moment(finding.changed_at)}"
        state = f"{finding.state.capitalize()}{since}{_until(finding)}{_why(finding)}"
        says = f"{finding.detail} {state}, found at {_moment(finding.opened_at)}."
        says += " An editor decides." if finding.state == "disputed" else ""
        return Reason("check", finding.check, says, False, finding.opened_at)
    at = finding.resolved_at
    when = "Resolved" if at is None else f"Resolved at {_moment(at)}"
    return Reason("check", finding.check, f"{when}; before that: {finding.detail}", True, at)


# --- the notice -------------------------------------------------------------------------------

_MODE = "notices.mode of the source"


def _notice(of: Explained) -> Iterator[Reason]:
    desired, stored = of.decision.notice, of.notice
    if of.decision.keep_notice:
        yield _kept(of)
    elif desired is None:
        yield _none(of)
    else:
        held = f", {desired.reason}: {(desired.detail or '').rstrip('.')}" if desired.reason else ""
        towards = f", to become {desired.target}" if desired.target else ""
        setting = _HELD_BY.get(desired.reason or desired.state)
        if setting is not None and setting.startswith("policy."):
            setting = _setting(of, setting.removeprefix("policy."))
        says = f"The notice is {desired.state}{towards}{held}."
        yield Reason("notice", desired.state, says, setting=setting)
    if stored is not None and stored.state == "failed" and of.notice_detail:
        yield Reason("notice", "failed", f"The last write failed: {of.notice_detail}", False, stored.since)


_HELD_BY = {
    "shadow": _MODE,
    "grace": "policy.grace",
    "quiet_hours": "policy.quiet_hours",
    "guard": "notices.per_run and notices.max_share of the source",
    "cap": "notices.per_day of the source",
}


_THERE = {
    "posted": "The comment is on the ticket in full",
    "resolved": "The comment is one line",
}


def _kept(of: Explained) -> Reason:
    stored = of.notice
    if of.mode == "off":
        says = "Notices are off here, so what is on the ticket, if anything, stays as it is."
        return Reason("notice", "off", says, setting=_MODE)
    if stored is not None and stored.state == "withdrawn":
        why = f" ({of.notice_detail.rstrip('.')})" if of.notice_detail else ""
        says = (
            f"The comment was withdrawn at {_moment(stored.since)}{why}, and stays so until the gap returns."
        )
        return Reason("notice", "withdrawn", says, at=stored.since)
    if stored is not None and stored.state in _THERE:
        says = f"{_THERE[stored.state]} since {_moment(stored.since)}, and it stays as it is."
        return Reason("notice", "kept", says, at=stored.since)
    return Reason("notice", "kept", "What is on the ticket, if anything, stays as it is.")


def _none(of: Explained) -> Reason:
    """Why there is no notice, in the order in which the questions are asked."""
    unresolved = [found for found in of.decision.ticket_findings if found.state != "resolved"]
    if not unresolved:
        return Reason(
            "notice", "none", "There is no comment, for no check has anything to say on the ticket."
        )
    setting: str | None = None
    match why_no_warning(of.evaluated, of.policy):
        case "service_desk":
            name, says = "service_desk", "in a service desk project a comment would reach customers"
        case "channel":
            name, says, setting = "channel", "the policy's channel here is none", _setting(of, "channel")
        case "since":
            name, says, setting = "since", _too_old(of), _setting(of, "since")
        case None if of.mode == "off":
            name, says, setting = "off", "notices are off here", _MODE
        case None:
            shown = unresolved[0]
            name, says = shown.state, f"the finding is {shown.state}{_until(shown)}"
    return Reason("notice", name, f"There is no comment, for {says}.", setting=setting)


def _too_old(of: Explained) -> str:
    created, since = of.evaluated.epic.created_at, of.policy.since
    before = f"{since}, the day that since names"
    if since == "connected":
        before = f"its source was connected at {_moment(of.evaluated.connected_at)}, and since is connected"
    return f"the epic was created at {_moment(created)}, before {before}"


# --- what would change it ---------------------------------------------------------------------


def _dispute(of: Explained) -> Iterator[Reason]:
    if any(found.state == "disputed" for found in of.decision.findings):
        decided = "upheld, the finding is open again; dismissed with a reason, it is waived"
        yield Reason("change", "dispute", f"An editor decides the dispute: {decided}.")


def _changes(of: Explained, now: datetime) -> Iterator[Reason]:
    alignment = of.decision.alignment
    if of.decision.set_aside is not None:
        yield _end_of(of.decision.set_aside)
    elif alignment in ("unaligned", "waived"):
        yield from _would_align(of)
    if alignment == "aligned":
        ends = [live_until(link.key_result) for link in of.resolution.links if link.live]
        if all(ends):
            last = max(end for end in ends if end is not None)
            says = f"Its last link stops counting when the cycle ends, at {_moment(last)}."
            yield Reason("change", "cycle", says, at=last)
    if of.decision.exempt_reason is not None:
        says = (
            "Open again, it is asked."
            if of.decision.exempt_reason == "finished"
            else ("Without what exempts it, it is asked.")
        )
        yield Reason("change", "exempt", says)
    if of.mode == "shadow" and of.decision.notice is not None and of.decision.notice.state == "shadow":
        says = "Set to live, the source writes the comment."
        yield Reason("change", "mode", says, setting=_MODE)
    if of.decision.notice is None and why_no_warning(of.evaluated, of.policy) == "since":
        unresolved = any(found.state != "resolved" for found in of.decision.ticket_findings)
        if unresolved:
            says = "With `since` null, or a day before the epic, it may have a comment."
            yield Reason("change", "since", says, setting=_setting(of, "since"))
    again = of.decision.evaluate_at
    if again is not None and again > now:
        yield Reason("change", "time", f"Time alone may change this at {_moment(again)}.", at=again)


def _would_align(of: Explained) -> Iterator[Reason]:
    yield Reason("change", "link", _how_to_link(of))
    if any(link.origin != "inherited" for link in of.resolution.links):
        yield Reason("change", "goal", "A linked key result that counts again aligns it too.")


def _end_of(aside: SetAside) -> Reason:
    ends = "" if aside.until is None else f"from {_moment(aside.until)}, or "
    says = f"Its links count again {ends}once the decision is undone, or another one is taken."
    return Reason("change", "decision", says, at=aside.until)


def _how_to_link(of: Explained) -> str:
    by = [
        "a link by hand",
        "a line `Key-Result: KEY` or a label `kr:KEY` on the ticket",
        "the comment `/northing link KEY`",
        "a rule that matches it",
    ]
    parent = of.evaluated.epic.parent
    if parent is not None:
        by.append(f"a link of its parent {parent.key}")
    return f"It is aligned by {', '.join(by[:-1])}, or {by[-1]}."
