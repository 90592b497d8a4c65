"""From an epic to its key results: its links, the origin of each, and why. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mappings.goals.key_results import KeyResult, is_live, why_not_live

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from connectors.base import Epic
    from mappings.rules.index import RuleIndex

REFERENCE_TEXTS = {
    "line": "the description says `Key-Result: {key}`",
    "label": "the ticket has the label `kr:{key}`",
}


@dataclass(frozen=True, slots=True)
class ManualLink:
    """A link a person made, by the API (`manual`) or by a command on the ticket (`command`)."""

    key_result_id: int
    origin: str
    why: str
    weight: float = 1
    primary: bool = False


@dataclass(frozen=True, slots=True)
class Ancestor:
    """An epic above another one: the name of its source, its key there, and its title."""

    id: int
    source: str
    key: str
    title: str


@dataclass(frozen=True, slots=True)
class ResolvedLink:
    """An epic's link to one key result. `live`: the link counts towards alignment at this moment.

    `primary`: a person marked it, or it is the primary link of the parent. `inherited_from`: the epic whose
    own link it is, for an inherited one; `way`: the epics between, the parent first.
    """

    key_result: KeyResult
    origin: str
    why: str
    live: bool
    rule_id: int | None = None
    weight: float = 1
    primary: bool = False
    inherited_from: Ancestor | None = None
    way: tuple[Ancestor, ...] = ()


@dataclass(frozen=True, slots=True)
class Resolution:
    """The links of one epic. `unknown`: keys on the ticket that no key result has, as written there."""

    links: tuple[ResolvedLink, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def aligned(self) -> bool:
        return any(link.live for link in self.links)


@dataclass(frozen=True)
class GoalsAndRules:
    """All key results and rules at one moment, built once and used for many epics."""

    key_results: dict[int, KeyResult]
    rules: RuleIndex
    by_key: dict[str, KeyResult] = field(init=False)

    def __post_init__(self) -> None:
        keys = {known.key.lower(): known for known in self.key_results.values()}
        object.__setattr__(self, "by_key", keys)

    def live(self, now: datetime) -> list[KeyResult]:
        return [known for known in self.key_results.values() if is_live(known, now)]


def resolve(
    source: str,
    epic: Epic,
    ticket_references: Iterable[str],
    manual_links: Sequence[ManualLink],
    goals: GoalsAndRules,
    now: datetime,
) -> Resolution:
    """The epic's own links: those by hand and by ticket text; one by a rule only where none of these is live.

    `ticket_references` are the references in the ticket's text as stored: `line:KR-1` or `label:KR-1`.
    """
    links: list[ResolvedLink] = []
    unknown: list[str] = []
    for manual in manual_links:
        goal = goals.key_results[manual.key_result_id]
        live = is_live(goal, now)
        links.append(
            ResolvedLink(goal, manual.origin, manual.why, live, weight=manual.weight, primary=manual.primary)
        )
    for reference in ticket_references:
        how, _, key = reference.partition(":")
        found = goals.by_key.get(key.lower())
        if found is None:
            unknown.append(key)
        elif not any(link.origin == "ticket" and link.key_result.id == found.id for link in links):
            why = REFERENCE_TEXTS[how].format(key=found.key)
            links.append(ResolvedLink(found, "ticket", why, is_live(found, now)))
    if not any(link.live for link in links):
        rule = goals.rules.first_match(source, epic)
        if rule is not None:
            goal = goals.key_results[rule.key_result_id]
            links.append(ResolvedLink(goal, "rule", goals.rules.why(rule), is_live(goal, now), rule.id))
    return Resolution(tuple(links), tuple(unknown))


def link_text(link: ResolvedLink, now: datetime) -> str:
    """Why the link exists and, if it does not count, why not."""
    why_not = why_not_live(link.key_result, now)
    return link.why if why_not is None else f"{link.why}; it does not align the epic, {why_not}"
