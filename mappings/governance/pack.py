"""The pack of a review: what a committee reads before it meets. Pure.

It is made from what the review froze, its agenda and its decisions alone, and no clock: a closed review gives
the same bytes each time. Its parts stand in one order in every format: coverage, the goals with their owners'
words, what moved, what is to be decided, what is at risk, what was decided. It lists no finished features.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mappings.files.harmless import visible
from mappings.files.write import csv_rows
from mappings.governance.agenda import MITIGATION_ASKED, coverage_words, day_words, percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

NO_MITIGATION = "No mitigation yet."
NOT_DEALT_WITH = "not dealt with"
SIDE_NAMES = {"business": "the business", "it": "IT", "partner": "partners"}
KINDS = {
    "dispute": "Dispute",
    "conflict": "Conflict",
    "findings": "Open findings",
    "closed-goal": "Closed goal",
    "to-sign": "Measures",
    "value": "Value",
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
    names_key_result: bool


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
        return ["This is the first review, so nothing can have moved since one."]
    found = []
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
                ("gained", "have one now"),
                ("lost", "lost it"),
            )
            if due[name]
        ]
        found.append(f"The due day of {_epics(due['count'])} moved: {', '.join(ways)}.")
    if changes["new"] or changes["left"]:
        found.append(f"{_epics(changes['new'])} came, {changes['left']:,} left.")
    for kind, words in (("new_key_results", "New"), ("gone_key_results", "No longer here")):
        if changes[kind]:
            found.append(f"{words}: {', '.join(changes[kind])}.")
    return found or ["Neither alignment nor due days moved."]


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


def number_words(number: float | None) -> str:
    return "–" if number is None else f"{number:,.10g}"


def share_words(share: float | None) -> str:
    return "–" if share is None else percent(share)


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
    return "no figure yet" if facts["checked_in_at"] is None else "on track"


def decision_words(one: PackDecision) -> str:
    """`Defer SHOP-8 until 2027-01-15`."""
    extra = f", {one.extra}" if one.extra else ""
    until = f" until {day_words(one.by)}" if one.by is not None else ""
    undone = " (undone)" if one.undone else ""
    return f"{_capital(one.what)} {one.about}{extra}{until}{undone}"


def item_words(one: PackItem) -> str:
    """What of, and which: `Dispute: SHOP-8`."""
    named = one.about.get("epic", {}).get("key") or one.about.get("key_result") or one.about.get("goal")
    kind = KINDS.get(one.kind, one.kind)
    return f"{kind}: {named}" if named else kind


def mitigation_words(one: PackItem) -> str | None:
    """None where none is asked, and none was given."""
    if one.mitigation:
        return f"Mitigation: {' '.join(one.mitigation.split())}"
    asked = one.kind in MITIGATION_ASKED and one.names_key_result
    return NO_MITIGATION if asked else None


def dealt_words(pack: Pack, one: PackItem) -> str:
    """Of a closed review, whether a line was dealt with."""
    if not pack.closed:
        return "" if one.state == "open" else one.state
    return NOT_DEALT_WITH if one.state == "open" else one.state


# --- Markdown ----------------------------------------------------------------------------------

# What Markdown, or a site that shows it, would take for markup or a table's border.
_SPECIAL = re.compile(r"([\\`*_\[\]#|~$])")
_AS_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_AT_THE_START = re.compile(r"^(\d{1,9}(?=[.)](?:\s|$))|(?=[-+=]))")
# An invisible character that no line breaks at: what it parts is no mention and no address any more.
_JOINER = "\u2060"
_MENTION = re.compile(r"@(?=\w)")
_ADDRESS = re.compile(r"(?i)\b(https?|ftp|mailto|xmpp):")
_WWW = re.compile(r"(?i)\b(www)\.")


def plain_text(text: str | None) -> str:
    """The text in one line as Markdown shows it letter by letter: no link, mention, table or HTML comes of
    it, and nothing that a terminal obeys."""
    line = " ".join(visible(text or "").split())
    line = "".join(_AS_ENTITIES.get(letter, letter) for letter in line)
    line = _SPECIAL.sub(r"\\\1", line)
    line = _ADDRESS.sub(rf"\1{_JOINER}:", line)
    line = _WWW.sub(rf"\1{_JOINER}.", line)
    line = _MENTION.sub(f"@{_JOINER}", line)
    return _AT_THE_START.sub(r"\1\\", line)


def pack_markdown(pack: Pack) -> str:
    """One heading a slide."""
    return "\n".join(line for part in _MD_PARTS for line in part(pack))


def _md_head(pack: Pack) -> Iterator[str]:
    yield f"# {plain_text(pack.title)}: {plain_text(pack.cycle['title'])}"
    yield ""
    yield plain_text(facts_line(pack))
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
        yield "| key result | value | progress | steady | confidence | |"
        yield "|---|---|---|---|---|---|"
        for one in key_results:
            facts = one["facts"]
            before = f" ({moved[one['key']]})" if one["key"] in moved else ""
            cells = (
                f"{one['key']} {one['title']}",
                value_words(facts),
                share_words(facts["progress"]) + before,
                share_words(facts["steady"]),
                number_words(facts["confidence"]),
                state_words(facts),
            )
            yield f"| {' | '.join(plain_text(cell) for cell in cells)} |"
        yield ""
        for one in key_results:
            if one["facts"]["note"]:
                by = one["facts"]["owner"] or "no owner"
                yield f"- {plain_text(one['key'])}: “{plain_text(one['facts']['note'])}” ({plain_text(by)})"
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
        people = ", ".join(f"{person['name']} ({person['side']})" for person in one.people)
        title = f" {plain_text(one.title)}" if one.title else ""
        what = f"**{plain_text(decision_words(one))}**{title}"
        yield f"- {what}: {plain_text(one.reason)} By {plain_text(people)}."
    yield ""


_MD_PARTS = (_md_head, _md_goals, _md_moved, _md_agenda, _md_risks, _md_log)


# --- CSV ---------------------------------------------------------------------------------------

CSV_COLUMNS = (
    *("row", "review", "cycle", "held_on", "key", "title", "objective", "driver", "owner", "unit"),
    *("baseline", "target", "current", "progress", "steady", "confidence", "state", "epics"),
    *("detail", "mitigation", "decided_by", "by", "at"),
)


def pack_csv(pack: Pack) -> str:
    """A row for coverage, each objective, key result, line of the agenda and decision."""
    return csv_rows([CSV_COLUMNS, *(_csv_row(pack, members) for members in _csv_rows(pack))])


def _csv_row(pack: Pack, members: Mapping[str, Any]) -> list[Any]:
    common = {"review": pack.id, "cycle": pack.cycle["key"], "held_on": pack.held_on}
    return [_csv_cell({**common, **members}.get(name)) for name in CSV_COLUMNS]


def _csv_cell(value: Any) -> Any:
    if isinstance(value, str):
        return visible(value)
    return f"{value:%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else value


def _csv_rows(pack: Pack) -> Iterator[dict[str, Any]]:
    yield {
        "row": "coverage",
        "progress": pack.coverage["rate"],
        "epics": pack.epics,
        "detail": coverage_words(pack.coverage, pack.changes),
        "at": pack.frozen_at,
    }
    for objective, key_results in pack.objectives:
        members = ("key", "title", "driver", "owner", "progress", "state")
        yield {"row": "objective", **{name: objective[name] for name in members}}
        for one in key_results:
            facts = one["facts"]
            kept = ("owner", "unit", "baseline", "target", "current", "progress", "steady", "confidence")
            yield {
                "row": "key result",
                "key": one["key"],
                "title": one["title"],
                "objective": one["objective"],
                "driver": objective["driver"],
                **{name: facts[name] for name in kept},
                "state": state_words(facts),
                "epics": facts["epics"],
                "detail": facts["note"],
                "by": facts["due"],
                "at": facts["checked_in_at"],
            }
    for item in pack.items:
        yield {
            "row": f"agenda: {item.kind}",
            "key": item.about.get("epic", {}).get("key") or item.about.get("key_result"),
            "title": item.title,
            "state": dealt_words(pack, item) or item.state,
            "detail": item.detail,
            "mitigation": mitigation_words(item),
        }
    for taken in pack.decisions:
        yield {
            "row": f"decision: {taken.what}",
            "key": taken.about,
            "title": taken.title,
            "detail": taken.reason,
            "objective": taken.extra,
            "state": "undone" if taken.undone else None,
            "decided_by": ", ".join(f"{person['name']} ({person['side']})" for person in taken.people),
            "by": taken.by,
            "at": taken.decided_at,
        }
