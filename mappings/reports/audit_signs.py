"""The signs that work and business part ways: what each is, where it is seen, what to do then. Pure.

A sign is seen on initiatives, on goals, on cycles, or as a number of epics. `SIGNS` has them all, in the
order in which a report shows them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from mappings.words import percent

CATCH_ALL_SHARE = 1 / 3
# Of fewer aligned epics one key result easily holds a third.
CATCH_ALL_LEAST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditGoal:
    """A key result. `not_measured`, `not_agreed`, `not_moved` and `output`: why not, in words, None where it
    is; `owner` is its own, else its objective's; `sponsor` is its objective's."""

    id: int
    key: str
    title: str
    cycle: str | None
    owner: str | None
    sponsor: str | None
    live: bool
    not_measured: str | None
    not_agreed: str | None
    not_moved: str | None
    output: str | None

    @property
    def steered(self) -> bool:
        return not (self.not_measured or self.not_agreed or self.not_moved)

    @property
    def lacks(self) -> str | None:
        """Who is missing, in words."""
        missing = [name for name in ("owner", "sponsor") if not getattr(self, name)]
        return f"no {' and no '.join(missing)}" if missing else None


# Not frozen: there may be as many as epics, and a frozen one takes three times as long to make.
@dataclass(slots=True, kw_only=True)
class AuditInitiative:
    """A current initiative. `goals`: the live key results that it is linked to, the primary one first.
    `score`: None for one that is not scored for every criterion. `set_aside`: `stop` or `defer`, by a
    decision that holds now; `set_aside_until` is exclusive. `signs`: the names of those seen on it."""

    id: int
    source: str
    key: str
    title: str
    url: str
    project: str
    type: str
    status: str
    status_category: str
    alignment: str | None
    answer: str | None
    driver: str | None
    answered_by: str | None
    answered_at: datetime | None
    asked_of: str | None
    stage: str | None
    stage_due: date | None
    score: float | None
    starts_on: date | None
    due_on: date | None
    children: int | None
    children_done: int | None
    set_aside: str | None
    set_aside_until: datetime | None
    goals: Sequence[AuditGoal]
    signs: Sequence[str] = ()

    @property
    def goal(self) -> AuditGoal | None:
        return self.goals[0] if self.goals else None

    @property
    def needs_no_goal(self) -> bool:
        return self.alignment in ("exempt", "waived") or self.set_aside is not None


@dataclass(frozen=True, slots=True)
class CycleReview:
    """A cycle that is under way. `late_since`: the last day of the period that no review was held in, None
    where none is late. `missing_sides`: of its last closed review, which was held on `held_on`."""

    cycle: str
    late_since: date | None
    held_on: date | None
    missing_sides: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class OldConflict:
    """A conflict that is with the committee. `on`: what it is on; `since`: when it came to the committee."""

    id: int
    on: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFacts:
    """`aligned_epics` and `finished_epics`: how many open aligned and how many finished epics each key
    result has, by its id. `stopped_in_work`: epics that a decision stopped and whose tracker says that they
    are being done. `unscored`: open epics that are not scored for every criterion."""

    goals: Mapping[int, AuditGoal] = field(default_factory=dict)
    aligned_epics: Mapping[int, int] = field(default_factory=dict)
    finished_epics: Mapping[int, int] = field(default_factory=dict)
    aligned: int = 0
    open: int = 0
    unscored: int = 0
    criteria: int = 0
    stopped_in_work: int = 0
    cycles: Sequence[CycleReview] = ()
    conflicts: Sequence[OldConflict] = ()

    @property
    def served(self) -> list[AuditGoal]:
        """The live key results that open work is aligned by, the one with most first."""
        found = [goal for goal in self.goals.values() if goal.live and self.aligned_epics.get(goal.id)]
        return sorted(found, key=lambda goal: (-self.aligned_epics[goal.id], goal.id))


@dataclass(frozen=True, slots=True)
class SeenOn:
    """One thing that a sign is seen on: a key result, a cycle or a conflict, and why."""

    kind: str
    name: str
    says: str


@dataclass(frozen=True, slots=True)
class SeenSign:
    """`count`: how many things it is seen on, 0 for a sign that is not seen. `says`: the same in a sentence.
    `initiatives`: the ids of those that it is seen on."""

    sign: SignKind
    count: int
    says: str
    initiatives: Sequence[int] = ()
    places: Sequence[SeenOn] = ()

    @property
    def seen(self) -> bool:
        return self.count > 0


OnInitiative = Callable[[AuditInitiative], bool]
Elsewhere = Callable[[AuditFacts], tuple[int, str, Sequence[SeenOn]]]


@dataclass(frozen=True, slots=True)
class SignKind:
    """`title` names the sign in a few words, `definition` says when it is seen, `to_do` what to do then.

    `on` decides for one initiative, `elsewhere` for the whole: how many things, in a sentence, and which.
    `says` is the sentence where initiatives are counted, with `{count}` and `{of}`.
    """

    name: str
    title: str
    definition: str
    to_do: str
    on: OnInitiative | None = None
    elsewhere: Elsewhere | None = None
    says: tuple[str, str] = ("", "")


def number(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _epics(count: int, kind: str = "") -> str:
    return number(count, f"{kind}epic", f"{kind}epics")


def _goals(count: int, one: str, many: str) -> str:
    return number(count, f"key result {one}", f"key results {many}")


# --- on goals, cycles and the whole --------------------------------------------------------------

Found = tuple[int, str, Sequence[SeenOn]]


def _not_moved(facts: AuditFacts) -> Found:
    done = facts.finished_epics
    found = [goal for goal in facts.goals.values() if goal.live and goal.not_moved and done.get(goal.id)]
    found.sort(key=lambda goal: (-done[goal.id], goal.id))
    finished = "finished "
    places = [
        SeenOn("key_result", goal.key, f"{_epics(done[goal.id], finished)}, and {goal.not_moved}")
        for goal in found
    ]
    number_unmoved = (
        f"{_epics(sum(done[goal.id] for goal in found), finished)} and a number that has not moved"
    )
    return len(found), f"{_goals(len(found), 'has', 'have')} {number_unmoved}.", places


def _no_priority(facts: AuditFacts) -> Found:
    if not facts.criteria and facts.open:
        return facts.open, f"No criteria are agreed for {_epics(facts.open, 'open ')}.", ()
    verb = "is" if facts.unscored == 1 else "are"
    says = f"{facts.unscored:,} of {_epics(facts.open, 'open ')} {verb} not scored."
    return facts.unscored, says, ()


def _no_owner(facts: AuditFacts) -> Found:
    found = [goal for goal in facts.served if goal.lacks]
    places = [SeenOn("key_result", goal.key, f"it has {goal.lacks}") for goal in found]
    says = f"{_goals(len(found), 'that work serves lacks', 'that work serves lack')} an owner or a sponsor."
    return len(found), says, places


def _no_review(facts: AuditFacts) -> Found:
    places = []
    for one in facts.cycles:
        reasons = []
        if one.late_since is not None:
            reasons.append(f"no review was held in the period to {one.late_since}")
        if one.missing_sides:
            who = " and ".join("IT" if side == "it" else f"the {side}" for side in one.missing_sides)
            reasons.append(f"nobody from {who} was at the last one, on {one.held_on}")
        if reasons:
            places.append(SeenOn("cycle", one.cycle, "; ".join(reasons)))
    return len(places), f"{number(len(places), 'cycle is', 'cycles are')} not reviewed as agreed.", places


def _activity(facts: AuditFacts) -> Found:
    live = [goal for goal in facts.goals.values() if goal.live]
    outputs = [goal for goal in live if goal.output]
    places = [SeenOn("key_result", goal.key, f"“{goal.title}” names what is made") for goal in outputs]
    if live and all(goal.not_measured for goal in live):
        all_live = number(len(live), "live key result", "live key results")
        return len(live), f"Of {all_live}, none has a baseline and a target.", places
    what = "what is made, and no change that can be measured"
    return len(outputs), f"{_goals(len(outputs), 'names', 'name')} {what}.", places


def _catch_all(facts: AuditFacts) -> Found:
    has, all_aligned = facts.aligned_epics, facts.aligned
    found = [goal for goal in facts.served if has[goal.id] > all_aligned * CATCH_ALL_SHARE]
    if all_aligned < CATCH_ALL_LEAST:
        found = []
    whole = _epics(all_aligned, "aligned ")
    places = [
        SeenOn(
            "key_result",
            goal.key,
            f"{has[goal.id]:,} of {whole} ({percent(has[goal.id] / all_aligned)})",
        )
        for goal in found
    ]
    each = " each" if len(found) > 1 else ""
    third = f"more than a third of the aligned epics{each}"
    return len(found), f"{_goals(len(found), 'holds', 'hold')} {third}.", places


def _stopped(facts: AuditFacts) -> Found:
    count = facts.stopped_in_work
    one, many = "epic was stopped, and is", "epics were stopped, and are"
    return count, f"{number(count, one, many)} still being done.", ()


def _conflicts(facts: AuditFacts) -> Found:
    found = sorted(facts.conflicts, key=lambda one: (one.since, one.id))
    places = [
        SeenOn("conflict", str(one.id), f"on {one.on}, with the committee since {one.since.date()}")
        for one in found
    ]
    return len(found), f"{number(len(found), 'conflict waits', 'conflicts wait')} for the committee.", places


def _begun_before_agreed(one: AuditInitiative) -> bool:
    return one.status_category == "doing" and one.goal is not None and one.goal.not_agreed is not None


SIGNS: tuple[SignKind, ...] = (
    SignKind(
        "no-goal",
        "No goal behind the work",
        "A current initiative without a link to a live key result, unless it is exempt, waived, or set aside "
        "by a decision.",
        "Link each to the key result that it serves, or decide to stop it.",
        on=lambda one: not one.goals and not one.needs_no_goal,
        says=("{count} of {of} serves no live key result.", "{count} of {of} serve no live key result."),
    ),
    SignKind(
        "value-unanswered",
        "Value unanswered",
        "A current initiative that does not say in a sentence how it helps the business grow, cut cost, "
        "serve customers better or manage risk.",
        "Ask who wants each of them for the sentence, and write it down.",
        on=lambda one: one.answer is None,
        says=(
            "{count} of {of} does not say how it helps the business.",
            "{count} of {of} do not say how they help the business.",
        ),
    ),
    SignKind(
        "not-agreed",
        "Measures not agreed",
        "A current initiative that is being done while a side has not signed the metric of its key result as "
        "it is now: the primary live one.",
        "Have the business and IT sign each metric before more work is done.",
        on=_begun_before_agreed,
        says=(
            "{count} of {of} is being done before both sides agreed how to measure it.",
            "{count} of {of} are being done before both sides agreed how to measure them.",
        ),
    ),
    SignKind(
        "not-moved",
        "Work finished, number unmoved",
        "A live key result with finished epics whose latest value is its baseline, or that nobody has "
        "checked in.",
        "Check in the value, and ask in the review what the finished work was to change.",
        elsewhere=_not_moved,
    ),
    SignKind(
        "no-priority",
        "No priority",
        "An open epic that is not scored for every criterion, or open epics and no agreed criteria at all.",
        "Agree on the criteria and their weights, and score the open epics.",
        elsewhere=_no_priority,
    ),
    SignKind(
        "no-owner",
        "No owner or sponsor",
        "A live key result that open epics are aligned by, and that has no owner (its own or its "
        "objective's) or whose objective has no sponsor.",
        "Name an owner and a sponsor from the business for each.",
        on=lambda one: one.goal is not None and one.goal.lacks is not None,
        elsewhere=_no_owner,
    ),
    SignKind(
        "no-review",
        "Not reviewed",
        "A cycle under way in which a month or quarter, as it is to be reviewed, ended without a review, or "
        "whose last closed review nobody from the business or nobody from IT was at.",
        "Set a day for the review, and invite both sides.",
        elsewhere=_no_review,
    ),
    SignKind(
        "activity-only",
        "Activity, not outcome",
        "A live key result whose title names what is made and no change by it; or no live key result that "
        "has a baseline and a target.",
        "Reword each to what changes for the business, with a baseline and a target.",
        elsewhere=_activity,
    ),
    SignKind(
        "catch-all",
        "One goal takes everything",
        "A key result that more than a third of all aligned open epics are linked to, where there are at "
        f"least {CATCH_ALL_LEAST}.",
        "Split it, or unlink the work that does not move its number.",
        elsewhere=_catch_all,
    ),
    SignKind(
        "stopped-in-work",
        "Stopped, still in work",
        "An open epic that a decision stopped, and that is being done by its status in the tracker.",
        "Close or pause the ticket in the tracker, or take the decision back.",
        on=lambda one: one.set_aside == "stop" and one.status_category == "doing",
        elsewhere=_stopped,
    ),
    SignKind(
        "old-conflict",
        "Conflict left open",
        "A conflict between a technical constraint and a business demand that has come to the committee by "
        "its days and is not decided.",
        "Decide it in the next review.",
        elsewhere=_conflicts,
    ),
)
BY_NAME: Mapping[str, SignKind] = {sign.name: sign for sign in SIGNS}
_ON_INITIATIVES = tuple((sign.name, sign.on) for sign in SIGNS if sign.on is not None)


def signs_on(initiative: AuditInitiative) -> tuple[str, ...]:
    """The names of the signs that are seen on it, in the order of `SIGNS`."""
    return tuple(name for name, on in _ON_INITIATIVES if on(initiative))


def seen_signs(initiatives: Sequence[AuditInitiative], facts: AuditFacts) -> list[SeenSign]:
    """Every sign, seen or not. `initiatives` have their `signs`."""
    on: defaultdict[str, list[int]] = defaultdict(list)
    for one in initiatives:
        for name in one.signs:
            on[name].append(one.id)
    return [_seen(sign, on[sign.name], len(initiatives), facts) for sign in SIGNS]


def _seen(sign: SignKind, ids: list[int], of: int, facts: AuditFacts) -> SeenSign:
    if sign.elsewhere is not None:
        count, says, places = sign.elsewhere(facts)
        return SeenSign(sign, count, says, ids, places)
    words = sign.says[0 if len(ids) == 1 else 1]
    named: Any = words.format(
        count=f"{len(ids):,}", of=number(of, "current initiative", "current initiatives")
    )
    return SeenSign(sign, len(ids), named, ids)
