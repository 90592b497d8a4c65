"""The pack of a review: what a committee reads before it meets. Pure.

It is made from what the review froze, its agenda and its decisions alone, and no clock: a closed review gives
the same bytes each time. Its parts stand in one order in every format: coverage, the goals with their owners'
words, what moved, what is to be decided, what is at risk, what was decided. It lists no finished features.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mappings.governance.agenda import MITIGATION_ASKED, coverage_words
from mappings.markdown import plain_text
from mappings.words import day_words, number_words, percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

# Of the way, between what is on track and what is at risk.
NOTICEABLY_BEHIND = 0.1
NO_MITIGATION = "No mitigation yet."
NOT_DEALT_WITH = "not dealt with"
SIDE_NAMES = {"business": "the business", "it": "IT", "partner": "partners"}
OF_SIDES = {"business": "business", "it": "IT", "partner": "partner"}
KINDS = {
    "dispute": "Dispute",
    "conflict": "Conflict",
    "findings": "Open findings",
    "closed-goal": "Closed goal",
    "to-sign": "To sign",
    "value": "To answer",
    "waiver": "Waiver ends",
    "decision": "Date has come",
    "pilot": "Pilot is over",
    "stopped": "Stopped",
    "own": "Added",
}


@dataclass(frozen=True, slots=True)
class PackItem:
    kind: str
    title: str
    detail: str
    state: str
    about: Mapping[str, Any]
    mitigation: str | None
    asks_mitigation: bool


@dataclass(frozen=True, slots=True)
class PackDecision:
    """`what` is about `about`: an epic's key and title, or a goal's key. `extra`: the key result or the
    measure that it names."""

    what: str
    about: str
    title: str
    extra: str | None
    by: date | None
    reason: str
    people: Sequence[Mapping[str, Any]]
    decided_at: datetime
    undone: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """Objectives and key results as the review froze them; `missing_sides`: nobody came from them."""

    id: int
    cycle: Mapping[str, Any]
    held_on: date
    closed: bool
    frozen_at: datetime
    attendees: Sequence[Mapping[str, Any]]
    missing_sides: Sequence[str]
    coverage: Mapping[str, Any]
    changes: Mapping[str, Any] | None
    epics: int
    objectives: Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]]
    items: Sequence[PackItem] = ()
    decisions: Sequence[PackDecision] = ()

    @property
    def title(self) -> str:
        return f"Review of {self.held_on.day} {self.held_on:%B %Y}"

    @property
    def at_risk(self) -> list[PackItem]:
        return [one for one in self.items if one.kind in MITIGATION_ASKED]

    @property
    def to_decide(self) -> list[PackItem]:
        return [one for one in self.items if one.kind not in (*MITIGATION_ASKED, "coverage")]

    @property
    def filename(self) -> str:
        return f"review-{self.cycle['key']}-{self.held_on.isoformat()}"


# --- sentences that all formats have in common --------------------------------------------------


def facts_line(pack: Pack) -> str:
    state = "closed" if pack.closed else "open"
    return (
        f"{pack.cycle['key']}, reviewed {pack.cycle['review']}; {state}. Figures of "
        f"{day_words(pack.frozen_at)}, {pack.frozen_at:%H:%M} UTC, {pack.epics:,} open epics."
    )


def confidential_line(pack: Pack) -> str | None:
    """Which goals of the pack are confidential; None where none is."""
    keys = [one["key"] for one, _ in pack.objectives if one.get("visibility") == "confidential"]
    what = f"{', '.join(keys)} {'is' if len(keys) == 1 else 'are'}"
    return f"{what} confidential: keep this pack within the committee." if keys else None


def people_lines(pack: Pack) -> list[str]:
    """Who came from which side, and which side was missing."""
    found = []
    for side, name in SIDE_NAMES.items():
        people = [one["name"] for one in pack.attendees if one["side"] == side]
        if people:
            found.append(f"{_capital(name)}: {', '.join(people)}.")
    return [*found, *(f"Nobody from {SIDE_NAMES[side]}." for side in pack.missing_sides)]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def change_lines(pack: Pack) -> list[str]:
    """What moved since the review before, in sentences; of nothing none."""
    changes = pack.changes
    if changes is None:
        return ["This is the first review. The next one says what moved since."]
    found = _moved_figures(pack)
    if changes["alignment"]["count"]:
        ways = [
            f"{one['epics']:,} from {one['before'] or 'not evaluated'} to {one['after'] or 'not evaluated'}"
            for one in changes["alignment"]["moves"]
        ]
        found.append(f"Alignment of {_epics(changes['alignment']['count'])} moved: {', '.join(ways)}.")
    due = changes["due"]
    if due["count"]:
        ways = [
            f"{due[name]:,} {words}"
            for name, words in (
                ("later", "later"),
                ("earlier", "earlier"),
                ("gained", "set for the first time"),
                ("lost", "taken away"),
            )
            if due[name]
        ]
        found.append(f"The due day of {_epics(due['count'])} moved: {', '.join(ways)}.")
    if changes["new"] or changes["left"]:
        found.append(
            f"{_epics(changes['new'])} new in the open work; {changes['left']:,} finished or gone from it."
        )
    for kind, words in (
        ("new_key_results", "New key results"),
        ("gone_key_results", "Key results no longer here"),
    ):
        if changes[kind]:
            found.append(f"{words}: {', '.join(changes[kind])}.")
    return found or ["Neither a key result nor alignment nor a due day moved."]


def _moved_figures(pack: Pack) -> list[str]:
    """How far each key result is whose progress moved, in one sentence."""
    moved = moved_progress(pack)
    keys = [one["key"] for _, of in pack.objectives for one in of if one["key"] in moved]
    after = {one["key"]: one["facts"]["progress"] for _, of in pack.objectives for one in of}
    ways = [f"{key} is at {percent(after[key])} of its way, {moved[key]}" for key in keys]
    return [f"{'; '.join(ways)}."] if ways else []


def _epics(count: int) -> str:
    return "1 epic" if count == 1 else f"{count:,} epics"


def moved_progress(pack: Pack) -> dict[str, str]:
    """By the key of a key result, how its progress moved since the review before."""
    found = {}
    for one in (pack.changes or {}).get("key_results", ()):
        before, after = one.get("progress", {}).get("before"), one.get("progress", {}).get("after")
        if before is not None and after is not None:
            found[one["key"]] = f"from {percent(before)}"
    return found


def value_words(facts: Mapping[str, Any]) -> str:
    """Current value, and from where to where it is to go: `2.6 % (2 → 4)`."""
    current, baseline, target = (number_words(facts[name]) for name in ("current", "baseline", "target"))
    unit = f" {facts['unit']}" if facts["unit"] else ""
    if facts["baseline"] is None or facts["target"] is None:
        return f"{current}{unit}" if facts["current"] is not None else current
    return f"{current}{unit} ({baseline} → {target})"


def state_words(facts: Mapping[str, Any]) -> str:
    """In a word or two how it stands."""
    if facts["late_red"]:
        return "late red"
    if facts["at_risk"]:
        return "at risk"
    if not facts["live"]:
        return str(facts["state"]) if facts["state"] not in ("active", "draft") else "over"
    if facts["not_measured"] is not None:
        return "not measured"
    if facts["checked_in_at"] is None:
        return "no figure yet"
    behind = (facts["steady"] or 0) - (facts["progress"] or 0)
    return "behind" if behind > NOTICEABLY_BEHIND else "on track"


# What joins a decision to the key result that it names.
_EXTRA = {"remap": " to", "pilot": ", measured by", "scale": ", measured by"}


def owner_words(facts: Mapping[str, Any]) -> str | None:
    """What the owner says of the figure, or that nothing is said of a live one."""
    owner = facts["owner"] or "no owner"
    if facts["note"]:
        return f"“{' '.join(facts['note'].split())}” ({owner})"
    return f"No sentence with the latest figure ({owner})." if facts["live"] else None


def decision_words(one: PackDecision) -> str:
    """`Defer SHOP-8 until 2027-01-15`."""
    extra = f"{_EXTRA.get(one.what, ',')} {one.extra}" if one.extra else ""
    until = f"{',' if extra.startswith(',') else ''} until {day_words(one.by)}" if one.by is not None else ""
    undone = " (undone)" if one.undone else ""
    return f"{_capital(one.what)} {one.about}{extra}{until}{undone}"


def people_words(people: Sequence[Mapping[str, Any]]) -> str:
    """`Ann Lee (business), cto (IT)`."""
    return ", ".join(f"{person['name']} ({OF_SIDES[person['side']]})" for person in people)


def objective_words(objective: Mapping[str, Any]) -> str:
    """`Driver: growth. Owner: ann. Sponsor: coo.`"""
    named = [
        f"{label}: {objective[member]}"
        for label, member in (("Driver", "driver"), ("Owner", "owner"), ("Sponsor", "sponsor"))
        if objective[member]
    ]
    if not objective["sponsor"]:
        named.append("No sponsor")
    if objective.get("visibility") == "confidential":
        named.append("Confidential")
    return ". ".join(named) + "."


def item_words(one: PackItem) -> str:
    """What of, and which: `Dispute: SHOP-8`."""
    named = one.about.get("epic", {}).get("key") or one.about.get("key_result") or one.about.get("goal")
    kind = KINDS.get(one.kind, one.kind)
    return f"{kind}: {named}" if named else kind


def mitigation_words(one: PackItem) -> str | None:
    """None where none is asked, and none was given."""
    if one.mitigation:
        return f"Mitigation: {' '.join(one.mitigation.split())}"
    return NO_MITIGATION if one.asks_mitigation else None


def dealt_words(pack: Pack, one: PackItem) -> str:
    """Of a closed review, whether a line was dealt with."""
    if not pack.closed:
        return "" if one.state == "open" else one.state
    return NOT_DEALT_WITH if one.state == "open" else one.state


# --- Markdown ----------------------------------------------------------------------------------


# What Markdown, or a site that shows it, would take for markup or a table's border.
def pack_markdown(pack: Pack) -> str:
    """One heading a slide."""
    return "\n".join(line for part in _MD_PARTS for line in part(pack))


def _md_head(pack: Pack) -> Iterator[str]:
    yield f"# {plain_text(pack.title)}: {plain_text(pack.cycle['title'])}"
    yield ""
    yield plain_text(facts_line(pack))
    yield ""
    if (confidential := confidential_line(pack)) is not None:
        yield f"**{plain_text(confidential)}**"
        yield ""
    yield from (f"- {plain_text(line)}" for line in people_lines(pack))
    yield ""
    yield "## Coverage"
    yield ""
    yield plain_text(coverage_words(pack.coverage, pack.changes))
    yield ""


def _md_moved(pack: Pack) -> Iterator[str]:
    yield "## What moved"
    yield ""
    yield from (f"- {plain_text(line)}" for line in change_lines(pack))
    yield ""


def _md_goals(pack: Pack) -> Iterator[str]:
    moved = moved_progress(pack)
    for objective, key_results in pack.objectives:
        yield f"## {plain_text(objective['key'])}: {plain_text(objective['title'])}"
        yield ""
        yield plain_text(objective_words(objective))
        yield ""
        yield "| key result | value | progress | steady pace | confidence | state |"
        yield "|---|---|---|---|---|---|"
        for one in key_results:
            facts = one["facts"]
            before = f" ({moved[one['key']]})" if one["key"] in moved else ""
            cells = (
                f"{one['key']} {one['title']}",
                value_words(facts),
                percent(facts["progress"]) + before,
                percent(facts["steady"]),
                number_words(facts["confidence"]),
                state_words(facts),
            )
            yield f"| {' | '.join(plain_text(cell) for cell in cells)} |"
        yield ""
        for one in key_results:
            if (words := owner_words(one["facts"])) is not None:
                yield f"- {plain_text(one['key'])}: {plain_text(words)}"
        yield ""


def _md_risks(pack: Pack) -> Iterator[str]:
    yield "## At risk"
    yield ""
    if not pack.at_risk:
        yield "No key result is at risk."
    for one in pack.at_risk:
        named = one.about.get("key_result")
        head = f"**{plain_text(named)} {plain_text(one.title)}**" if named else f"**{plain_text(one.title)}**"
        yield f"- {head}: {plain_text(one.detail)}"
        if (mitigation := mitigation_words(one)) is not None:
            yield f"  {plain_text(mitigation)}"
    yield ""


def _md_agenda(pack: Pack) -> Iterator[str]:
    yield "## To decide"
    yield ""
    if not pack.to_decide:
        yield "Nothing waits for a decision."
    for number, one in enumerate(pack.to_decide, 1):
        dealt = dealt_words(pack, one)
        state = f" ({dealt})" if dealt else ""
        about = f"**{plain_text(item_words(one))}** {plain_text(one.title)}"
        yield f"{number}. {about}: {plain_text(one.detail)}{state}"
        if (mitigation := mitigation_words(one)) is not None:
            yield f"   {plain_text(mitigation)}"
    yield ""


def _md_log(pack: Pack) -> Iterator[str]:
    yield "## Decided"
    yield ""
    if not pack.decisions:
        yield "Nothing was decided." if pack.closed else "Nothing is decided yet."
    for one in pack.decisions:
        people = people_words(one.people)
        title = f" {plain_text(one.title)}" if one.title else ""
        what = f"**{plain_text(decision_words(one))}**{title}"
        yield f"- {what}: {plain_text(one.reason)} By {plain_text(people)}."
    yield ""


_MD_PARTS = (_md_head, _md_goals, _md_moved, _md_agenda, _md_risks, _md_log)
