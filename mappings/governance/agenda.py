"""The agenda of a review: from what is open at its opening to an ordered list of at most 40 lines. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from mappings.goals.progress import whole_percent
from mappings.governance.values import DECIDED
from mappings.words import cut_to, day_words, percent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

Fact = TypeVar("Fact")

# Of lines of these kinds that name a key result a mitigation is asked.
MITIGATION_ASKED = ("at-risk", "late-red")
# The kinds in their order, and how many lines each may have. What is more is counted in the last of them.
LINES_OF: dict[str, int] = {
    "coverage": 1,
    "at-risk": 8,
    "late-red": 3,
    "dispute": 5,
    "conflict": 4,
    "findings": 4,
    "closed-goal": 2,
    "to-sign": 1,
    "value": 1,
    "waiver": 3,
    "decision": 3,
    "pilot": 3,
    "stopped": 2,
}
NAMED_AT_MOST = 8  # key results or epics in one sentence
_SEEN = {
    "alignment": "unaligned",
    "open": "true",
}  # of epics that a line counts, so that its list has as many
WORDS_AT_MOST = 300  # characters of what a person wrote, in a sentence; `facts` have all of it


def asks_mitigation(kind: str, key_result_id: int | None) -> bool:
    """Whether a line asks what is done about it."""
    return kind in MITIGATION_ASKED and key_result_id is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """`kind` says what of, `about` names it (`{"epic": {"source", "key"}}`, `{"key_result"}`, …), `facts` are
    its figures at the opening."""

    kind: str
    title: str
    detail: str
    about: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    epic_id: int | None = None
    key_result_id: int | None = None


@dataclass(frozen=True, slots=True)
class Some(Generic[Fact]):
    """The first of them, and how many there are in all."""

    first: Sequence[Fact] = ()
    all: int = 0


@dataclass(frozen=True, slots=True)
class EpicName:
    id: int
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EpicFact:
    """`words`: what a person wrote about it; `by` and `at`: who and when. `day`: until when, or since when
    something is due. `id` and `what` are of the decision that it is about, if any. `epic` None: a decision
    about a goal, whose key is `key`."""

    epic: EpicName | None
    key: str
    title: str
    words: str | None = None
    by: str | None = None
    at: datetime | None = None
    day: date | None = None
    id: int | None = None
    what: str | None = None


@dataclass(frozen=True, slots=True)
class ConflictFact:
    """`about` as in `Line`."""

    id: int
    about: dict[str, Any]
    title: str
    technical: str
    business: str
    raised_at: datetime
    since: datetime
    epic_id: int | None = None
    key_result_id: int | None = None


@dataclass(frozen=True, slots=True)
class ProjectFact:
    source: str
    project: str
    findings: int


@dataclass(frozen=True, slots=True)
class ClosedGoalFact:
    """`epics`: how many have no live key result beside this one. `why`: why it is not live, in words."""

    key_result_id: int
    key: str
    title: str
    why: str
    epics: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AgendaFacts:
    """`coverage`, `changes` and `key_results` as the review has frozen them."""

    coverage: Mapping[str, Any]
    changes: Mapping[str, Any] | None = None
    key_results: Sequence[Mapping[str, Any]] = ()
    disputes: Some[EpicFact] = Some()
    conflicts: Some[ConflictFact] = Some()
    projects: Some[ProjectFact] = Some()
    closed_goals: Some[ClosedGoalFact] = Some()
    unanswered: Some[EpicFact] = Some()
    waivers: Some[EpicFact] = Some()
    decisions: Some[EpicFact] = Some()
    pilots: Some[EpicFact] = Some()
    stopped: Some[EpicFact] = Some()


def make_agenda(facts: AgendaFacts) -> list[Line]:
    """Each kind in its place, the worst first within it."""
    at_risk = sorted((one for one in facts.key_results if one["facts"]["at_risk"]), key=_worst_first)
    late = [one for one in at_risk if one["facts"]["late_red"]]
    early = [one for one in at_risk if not one["facts"]["late_red"]]
    goals_at_risk = {"list": "goals", "filters": {"risk": "1"}}
    return [
        _coverage(facts.coverage, facts.changes),
        *_lines("at-risk", Some(early, len(early)), _at_risk, "key results at risk", goals_at_risk),
        *_lines("late-red", Some(late, len(late)), _late_red, "that turned red late", goals_at_risk),
        *_lines("dispute", facts.disputes, _dispute, "disputes", _findings(state="disputed")),
        *_lines("conflict", facts.conflicts, _conflict, "conflicts", {"list": "conflicts", "filters": {}}),
        *_lines("findings", facts.projects, _project, "projects", _findings(state="open")),
        *_lines(
            "closed-goal",
            facts.closed_goals,
            _closed_goal,
            "closed goals",
            _epics(check="closed-goal", **_SEEN),
        ),
        *_to_sign([one for one in facts.key_results if _unsigned(one)]),
        *_unanswered(facts.unanswered),
        *_lines("waiver", facts.waivers, _waiver, "waivers", _findings(state="waived")),
        *_lines("decision", facts.decisions, _decision, "decisions", {"list": "decisions", "filters": {}}),
        *_lines("pilot", facts.pilots, _pilot, "pilots past their day", {"list": "stages", "filters": {}}),
        *_lines("stopped", facts.stopped, _stopped, "stopped epics", {"list": "decisions", "filters": {}}),
    ]


def _findings(**filters: str) -> dict[str, Any]:
    return {"list": "findings", "filters": filters}


def _epics(**filters: str) -> dict[str, Any]:
    return {"list": "epics", "filters": filters}


def _lines(
    kind: str, some: Some[Fact], line: Callable[[Fact], Line], what: str, rest: dict[str, Any]
) -> list[Line]:
    most = LINES_OF[kind]
    if some.all <= most:
        return [line(one) for one in some.first]
    shown = list(some.first)[: most - 1]
    left = some.all - len(shown)
    more = Line(
        kind=kind,
        title=f"{left:,} more {what}",
        detail="Northing lists them all.",
        about=rest,
        facts={"count": left},
    )
    return [*(line(one) for one in shown), more]


# --- coverage and goals ------------------------------------------------------------------------


def _coverage(coverage: Mapping[str, Any], changes: Mapping[str, Any] | None) -> Line:
    counts = ("rate", "steered", "total", "aligned", "unaligned", "exempt", "waived", "not_evaluated")
    return Line(
        kind="coverage",
        title="Coverage",
        detail=coverage_words(coverage, changes),
        facts={name: coverage[name] for name in counts},
    )


def coverage_words(coverage: Mapping[str, Any], changes: Mapping[str, Any] | None) -> str:
    """How much of the open work serves a goal, and how that moved."""
    rate, steered = coverage["rate"], coverage["steered"]
    if rate is None:
        return "No open epic counts yet."
    counted = coverage["total"] - coverage["exempt"] - coverage["waived"]
    found = [f"{percent(rate)}: {coverage['aligned']:,} of {counted:,} open epics serve a live key result."]
    if counted < coverage["total"]:
        left = f"{coverage['total'] - counted:,} of all {coverage['total']:,}"
        found.append(f"Not counted: {left}, which are waived, exempt or set aside.")
    if steered is not None:
        of = f"{percent(steered)} of the {coverage['aligned']:,}"
        found.append(f"{of} serve one that is measured, agreed and has moved.")
    before = None if changes is None else changes["coverage"]["rate"]["before"]
    if changes is not None and before is not None:
        points = whole_percent(rate) - whole_percent(before)
        then = f"the review of {day_words(date.fromisoformat(changes['previous']['held_on']))}"
        way = "up" if points > 0 else "down"
        moved = f"{abs(points)} points {way} since {then}" if points else f"as it was at {then}"
        found.append(f"Coverage is {moved}.")
    return " ".join(found)


def _worst_first(one: Mapping[str, Any]) -> tuple[float, float]:
    facts = one["facts"]
    behind = (facts["steady"] or 0) - (facts["progress"] or 0) if facts["progress"] is not None else 0
    return (1 if facts["confidence"] is None else facts["confidence"]), -behind


def _at_risk(one: Mapping[str, Any]) -> Line:
    return _of_key_result("at-risk", one, risk_words(one["facts"]))


def _late_red(one: Mapping[str, Any]) -> Line:
    return _of_key_result(
        "late-red", one, f"Late red: it was fine two weeks before its end. {risk_words(one['facts'])}"
    )


def _of_key_result(kind: str, one: Mapping[str, Any], detail: str) -> Line:
    return Line(
        kind=kind,
        title=one["title"],
        detail=detail,
        about={"key_result": one["key"]},
        facts=dict(one["facts"]),
        key_result_id=one["key_result_id"],
    )


def risk_words(facts: Mapping[str, Any]) -> str:
    """Progress against a steady pace, and the confidence of the latest check-in."""
    found = []
    if facts["progress"] is not None:
        steady = facts["steady"]
        pace = "" if steady is None else f", where a steady pace would be at {percent(steady)}"
        found.append(f"{percent(facts['progress'])} of the way{pace}")
    if facts["confidence"] is not None:
        moving = f", {facts['trend']}" if facts["trend"] in ("rising", "falling") else ""
        found.append(f"confidence {facts['confidence']:.2g}{moving}")
    owner = f"Owner: {facts['owner']}." if facts["owner"] else "It has no owner."
    first = "; ".join(found)
    return f"{first[:1].upper()}{first[1:]}. {owner}" if first else owner


def _unsigned(one: Mapping[str, Any]) -> bool:
    return one["facts"]["live"] and one["facts"]["not_agreed"] is not None


def _to_sign(unsigned: Sequence[Mapping[str, Any]]) -> list[Line]:
    if not unsigned:
        return []
    keys = [one["key"] for one in unsigned]
    what = "measure" if len(keys) == 1 else "measures"
    return [
        Line(
            kind="to-sign",
            title=f"{len(keys):,} {what} to sign",
            detail=f"Not agreed by both sides as they are now: {_named(keys)}.",
            about={"list": "goals", "filters": {"check": "not-agreed"}},
            facts={"count": len(keys), "key_results": keys[:100]},
        )
    ]


def _named(names: Sequence[str], of: int | None = None) -> str:
    shown, count = names[:NAMED_AT_MOST], of or len(names)
    more = f" and {count - len(shown):,} more" if count > len(shown) else ""
    return ", ".join(shown) + more


def _closed_goal(one: ClosedGoalFact) -> Line:
    epics = "1 open epic serves" if one.epics == 1 else f"{one.epics:,} open epics serve"
    return Line(
        kind="closed-goal",
        title=one.title,
        detail=f"{one.why[:1].upper()}{one.why[1:]}, and {epics} nothing else.",
        about={
            "key_result": one.key,
            "list": "epics",
            "filters": {"check": "closed-goal", "key_result": one.key, **_SEEN},
        },
        facts={"epics": one.epics, "why": one.why},
        key_result_id=one.key_result_id,
    )


# --- epics -------------------------------------------------------------------------------------


def _of_epic(kind: str, one: EpicFact, detail: str, **about: Any) -> Line:
    facts = {"words": one.words, "by": one.by, "at": one.at, "day": one.day}
    named: dict[str, Any] = {"goal": one.key}
    if one.epic is not None:
        named = {"epic": {"source": one.epic.source, "key": one.key}}
    return Line(
        kind=kind,
        title=one.title,
        detail=detail,
        about={**named, **about},
        facts={name: value for name, value in facts.items() if value is not None},
        epic_id=None if one.epic is None else one.epic.id,
    )


def shortened(words: str | None) -> str:
    return cut_to(WORDS_AT_MOST, " ".join((words or "").split()))


def _day(words: str, one: EpicFact) -> str:
    return words if one.day is None else f"{words} {day_words(one.day)}"


def person_of(by: str) -> str:
    """Who gave a command, without where: of `acme-jira: dev-lead on SHOP-12` the name alone."""
    return by.partition(": ")[2].rpartition(" on ")[0] or by


def _dispute(one: EpicFact) -> Line:
    words = f"“{shortened(one.words)}”" if one.words else "No reason was given."
    signed = [person_of(one.by)] if one.by else []
    if one.at is not None:
        signed.append(day_words(one.at))
    signatures = f" {', '.join(signed)}." if signed else ""
    return _of_epic("dispute", one, f"{words}{signatures}")


def _conflict(one: ConflictFact) -> Line:
    return Line(
        kind="conflict",
        title=one.title,
        detail=f"IT: “{shortened(one.technical)}” The business: “{shortened(one.business)}” "
        f"With the committee since {day_words(one.since)}.",
        about={**one.about, "conflict": one.id},
        facts={
            "technical": one.technical,
            "business": one.business,
            "raised_at": one.raised_at,
            "since": one.since,
        },
        epic_id=one.epic_id,
        key_result_id=one.key_result_id,
    )


def _project(one: ProjectFact) -> Line:
    epics = "1 open epic serves" if one.findings == 1 else f"{one.findings:,} open epics serve"
    return Line(
        kind="findings",
        title=one.project,
        detail=f"{epics} no key result. Source: {one.source}.",
        about={
            "list": "epics",
            "filters": {"source": one.source, "project": one.project, "check": "no-key-result", **_SEEN},
        },
        facts={"source": one.source, "project": one.project, "findings": one.findings},
    )


def _unanswered(some: Some[EpicFact]) -> list[Line]:
    if not some.all:
        return []
    initiatives = "initiative does" if some.all == 1 else "initiatives do"
    return [
        Line(
            kind="value",
            title="The value question",
            detail=f"{some.all:,} {initiatives} not say how they help the business: "
            f"{_named([one.key for one in some.first], some.all)}.",
            about=_epics(initiative="true", value="unanswered", open="true"),
            facts={"count": some.all},
        )
    ]


def _waiver(one: EpicFact) -> Line:
    reason = f" Reason: “{shortened(one.words)}”" if one.words else ""
    return _of_epic("waiver", one, f"{_day('Its waiver ends on', one)}.{reason}")


def _decision(one: EpicFact) -> Line:
    reason = f" Reason: “{shortened(one.words)}”" if one.words else ""
    assert one.what is not None
    return _of_epic(
        "decision",
        one,
        f"{_day(f'{DECIDED[one.what]} until', one)}: that day has come.{reason}",
        decision=one.id,
    )


def _pilot(one: EpicFact) -> Line:
    measure = f" Measured by {one.what}." if one.what else " It has no measure."
    return _of_epic("pilot", one, f"{_day('Its pilot ended on', one)}.{measure}")


def _stopped(one: EpicFact) -> Line:
    at = f" on {day_words(one.at)}" if one.at is not None else ""
    reason = f" Reason: “{shortened(one.words)}”" if one.words else ""
    return _of_epic("stopped", one, f"Stopped{at}, and still in work.{reason}", decision=one.id)
