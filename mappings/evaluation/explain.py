"""The reasons for an epic's evaluation, in words: its links, the rules, the checks, the notice. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from mappings.links.resolve import GoalsAndRules, Resolution, link_text

if TYPE_CHECKING:
    from connectors.base import Epic
    from mappings.evaluation.model import Decision


@dataclass(frozen=True, slots=True)
class Reason:
    """`kind` is `link`, `ticket`, `rule`, `check`, `policy` or `notice`; `says` is a sentence."""

    kind: str
    name: str
    says: str
    matched: bool | None = None


def explain(
    source: str, epic: Epic, resolution: Resolution, decision: Decision, goals: GoalsAndRules, now: datetime
) -> list[Reason]:
    return [
        *_links(resolution, now),
        *_rules(source, epic, resolution, goals),
        *_checks(decision),
        *_notice(decision),
    ]


def _links(resolution: Resolution, now: datetime) -> Iterator[Reason]:
    for link in resolution.links:
        says = f"Linked to {link.key_result.key} ({link.key_result.title}): {link_text(link, now)}."
        yield Reason("link", link.origin, says, link.live)
    for key in resolution.unknown:
        yield Reason(
            "ticket", key, f"The ticket names {key}, which does not exist, so it makes no link.", False
        )


def _rules(source: str, epic: Epic, resolution: Resolution, goals: GoalsAndRules) -> Iterator[Reason]:
    first = next((link.rule_id for link in resolution.links if link.origin == "rule"), None)
    linked_otherwise = any(link.live for link in resolution.links if link.origin not in ("rule", "inherited"))
    for rule, matches, says in goals.rules.explain(source, epic):
        if linked_otherwise:
            note = "not asked, for a link that counts comes before the rules"
        elif rule.id == first:
            note = "gives the link"
        elif matches and first is not None:
            note = "not asked, for a rule before it matches"
        else:
            note = "gives no link"
        yield Reason("rule", rule.name, f"{says}; {note}.", matches)


def _checks(decision: Decision) -> Iterator[Reason]:
    if decision.exempt_reason is not None:
        yield Reason("policy", "exempt", f"Exempt: {decision.exempt_reason}.")
    if not decision.findings:
        yield Reason("check", "all", "No check has found anything.", True)
    for found in decision.findings:
        state = found.state.capitalize()
        if found.until is not None:
            state += f" until {found.until:%Y-%m-%d %H:%M} UTC"
        if found.reason:
            state += f" ({found.reason})"
        opened = f"since {found.opened_at:%Y-%m-%d %H:%M} UTC"
        yield Reason("check", found.check, f"{found.detail} {state}, {opened}.", found.state == "resolved")


def _notice(decision: Decision) -> Iterator[Reason]:
    desired = decision.notice
    if decision.keep_notice:
        yield Reason("notice", "kept", "What is on the ticket, if anything, stays as it is.")
    elif desired is None:
        yield Reason("notice", "none", "Nothing is to be said on the ticket.")
    else:
        held = f", {desired.reason}: {(desired.detail or '').rstrip('.')}" if desired.reason else ""
        towards = f", to become {desired.target}" if desired.target else ""
        yield Reason("notice", desired.state, f"The notice is {desired.state}{towards}{held}.")
