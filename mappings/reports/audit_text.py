"""The audit as a CSV file and as a report in Markdown that a committee can read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mappings.evaluation.model import SET_ASIDE_WORDS
from mappings.files.harmless import visible
from mappings.markdown import plain_text
from mappings.policy.durations import last_day
from mappings.reports.audit import DEFINITION, WHAT_MAKES_ONE
from mappings.reports.audit_signs import number
from mappings.reports.cells import csv_lines, csv_text
from mappings.words import cut_to, day_words, percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mappings.reports.audit import AuditReport
    from mappings.reports.audit_signs import AuditGoal, AuditInitiative, SeenSign

COLUMNS = (
    *("source", "key", "title", "url", "project", "type", "status", "status_category", "alignment", "value"),
    *("driver", "answered_by", "answered_at", "asked_of", "key_result", "key_result_title", "key_results"),
    *(
        "measured",
        "agreed",
        "moved",
        "owner",
        "sponsor",
        "stage",
        "stage_due",
        "score",
        "starts_on",
        "due_on",
    ),
    *("children", "children_done", "set_aside", "set_aside_until", "signs"),
)
ROWS_AT_ONCE = 1_000
SHOWN_IN_TEXT = 50  # initiatives in the report's table
NAMED_IN_TEXT = 8  # initiatives or goals under a sign


def csv_pieces(report: AuditReport) -> Iterator[str]:
    """A file with a row for each initiative, some rows at a time."""
    initiatives = report.initiatives
    yield csv_text(COLUMNS, map(_cells, initiatives[:ROWS_AT_ONCE]))
    for first in range(ROWS_AT_ONCE, len(initiatives), ROWS_AT_ONCE):
        yield csv_lines(map(_cells, initiatives[first : first + ROWS_AT_ONCE]))


def _cells(one: AuditInitiative) -> list[Any]:
    goal = one.goal
    until = None if one.set_aside_until is None else last_day(one.set_aside_until)
    cells = [
        *(one.source, one.key, one.title, one.url, one.project, one.type, one.status, one.status_category),
        *(one.alignment, one.answer, one.driver, one.answered_by, one.answered_at, one.asked_of),
        *((None, None) if goal is None else (goal.key, goal.title)),
        ", ".join(each.key for each in one.goals),
        *([None] * 5 if goal is None else _of_goal(goal)),
        *(one.stage, one.stage_due, one.score, one.starts_on, one.due_on, one.children, one.children_done),
        *(one.set_aside, until, ", ".join(one.signs)),
    ]
    # A terminal shows them, too: nothing that would control it.
    return [visible(cell) if isinstance(cell, str) else cell for cell in cells]


def _of_goal(goal: AuditGoal) -> list[Any]:
    return [
        not goal.not_measured,
        not goal.not_agreed,
        not goal.not_moved,
        goal.owner,
        goal.sponsor,
    ]


# --- sentences ----------------------------------------------------------------------------------


def summary(report: AuditReport) -> str:
    """Two sentences in figures."""
    of, counts = len(report.initiatives), report.coverage
    seen = f"{len(report.seen)} of {len(report.signs)} signs of misalignment are seen"
    if len(report.seen) == 1:
        seen = f"1 of {len(report.signs)} signs of misalignment is seen"
    coverage = (
        "no open epic counts for coverage yet"
        if counts.rate is None
        else f"coverage is {percent(counts.rate)}, and {percent(counts.steered or 0.0)} of the aligned "
        "epics serve a number that both sides agreed on and that has moved"
    )
    if not of:
        return f"There is no current initiative to audit. {seen[:1].upper()}{seen[1:]}; {coverage}."
    first = (
        f"Of {number(of, 'current initiative', 'current initiatives')}, {report.with_goal:,} "
        f"{_verb(report.with_goal, 'serves', 'serve')} a live key result, {report.answered:,} "
        f"{_verb(report.answered, 'says how it helps', 'say how they help')} the business, and "
        f"{report.steered:,} {_verb(report.steered, 'has', 'have')} a number that is measured, agreed and "
        "has moved."
    )
    return f"{first} {seen}; {coverage}."


def _verb(count: int, one: str, many: str) -> str:
    return one if count == 1 else many


def names_seen(one: SeenSign, known: Mapping[int, AuditInitiative], most: int) -> list[str]:
    """The keys of the initiatives that a sign is seen on, and then the other things, each with why; the last
    says how many more there are."""
    found = [known[id].key for id in one.initiatives if id in known]
    found += [f"{place.name}: {place.says}" for place in one.places]
    more = len(found) - most
    return found if more <= 0 else [*found[:most], f"{more:,} more"]


def planned(one: AuditInitiative) -> str:
    """Its planned days in words; empty where its tracker has none."""
    if one.starts_on and one.due_on:
        return f"{day_words(one.starts_on)} to {day_words(one.due_on)}"
    if one.due_on:
        return f"to {day_words(one.due_on)}"
    return f"from {day_words(one.starts_on)}" if one.starts_on else ""


def aside(one: AuditInitiative) -> str:
    """That a decision set it aside, in words; empty where none does."""
    if one.set_aside is None:
        return ""
    word = SET_ASIDE_WORDS[one.set_aside]
    return word if one.set_aside_until is None else f"{word} until {last_day(one.set_aside_until)}"


# --- Markdown -----------------------------------------------------------------------------------


def markdown(report: AuditReport, shown: int = SHOWN_IN_TEXT) -> str:
    """The whole report; of the initiatives the first `shown`, and how many more there are."""
    title = "# Audit of the current initiatives"
    of = f", {plain_text(report.of)}" if report.of else ""
    lines = [title, "", f"{day_words(report.at.date())}{of}", "", summary(report), ""]
    lines += _signs(report)
    lines += _table(report, shown)
    lines += ["## What the words mean", "", DEFINITION, ""]
    return "\n".join(lines)


def _signs(report: AuditReport) -> list[str]:
    known = {one.id: one for one in report.initiatives}
    lines = ["## Signs of misalignment", ""]
    if not report.seen:
        lines += ["None is seen.", ""]
    for position, one in enumerate(report.seen, 1):
        lines += [f"{position}. **{one.sign.title}.** {one.says}"]
        if on := names_seen(one, known, NAMED_IN_TEXT):
            lines += [f"   Seen on: {'; '.join(plain_text(name) for name in on)}."]
        lines += [f"   *What to do:* {one.sign.to_do}", ""]
    if report.not_seen:
        names = "; ".join(one.sign.title.lower() for one in report.not_seen)
        lines += [f"Not seen: {names}.", ""]
    return lines


def _table(report: AuditReport, shown: int) -> list[str]:
    lines = ["## The initiatives", ""]
    if not report.initiatives:
        return [*lines, f"There is none. {WHAT_MAKES_ONE}", ""]
    columns = ("Initiative", "How it helps the business", "Key result", "Measured, agreed, moved")
    more_columns = ("Owner, sponsor", "Stage", "Score", "Planned")
    header = (*columns, *more_columns)
    lines += [f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}"]
    lines += [f"| {' | '.join(_row(one))} |" for one in report.initiatives[:shown]]
    if (more := len(report.initiatives) - shown) > 0:
        lines += ["", f"And {more:,} more; `northing audit --format csv` has them all."]
    return [*lines, ""]


def _row(one: AuditInitiative) -> Sequence[str]:
    goal, set_aside = one.goal, aside(one)
    name = f"{plain_text(one.key)} {plain_text(cut_to(90, one.title))}"
    return (
        f"{name} ({set_aside})" if set_aside else name,
        plain_text(one.answer) or _unanswered(one),
        "none" if goal is None else f"{plain_text(goal.key)} {plain_text(cut_to(90, goal.title))}",
        "" if goal is None else steered_words(one),
        "" if goal is None else f"{plain_text(goal.owner) or 'none'}, {plain_text(goal.sponsor) or 'none'}",
        one.stage or "",
        "" if one.score is None else f"{one.score:.4g}",
        planned(one),
    )


def _unanswered(one: AuditInitiative) -> str:
    return f"not answered; {plain_text(one.asked_of)} is asked" if one.asked_of else "not answered"


def steered_words(one: AuditInitiative) -> str:
    """`measured, not agreed, moved`; empty without a key result."""
    goal = one.goal
    if goal is None:
        return ""
    facts = (("measured", goal.not_measured), ("agreed", goal.not_agreed), ("moved", goal.not_moved))
    return ", ".join(f"not {word}" if why else word for word, why in facts)
