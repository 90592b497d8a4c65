"""What a ticket shows of goals that it must not name: the key, and whether it counts, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any, get_args

from hypothesis import assume, given, strategies as st

from connectors.markup import to_adf, to_markdown, to_plain
from mappings.checks.registry import CHECKS
from mappings.commands.answers import not_live_text, unknown_keys_text
from mappings.evaluation.desired_notice import DesiredText, desired_text
from mappings.evaluation.model import EvaluationInput, FindingState
from mappings.goals.key_results import (
    CLOSED,
    GoalState,
    KeyResult,
    is_live,
    may_name,
    why_not_live,
)
from mappings.links.resolve import Resolution
from mappings.suggestions.material import GoalText, Suggestion, TicketText
from mappings.suggestions.rank import SuggestionIndex
from tests.support.evaluations import (
    NOW,
    an_epic,
    evaluation_input,
    found,
    goal,
    links_to,
    on,
    policy,
    unknown_keys,
)

FATES: list[dict[str, Any]] = [
    *({"state": state} for state in sorted(CLOSED)),
    *({"objective_state": state} for state in sorted(CLOSED)),
    {"cycle_ends": date(2026, 11, 15)},
    {"cycle_ends": date(2026, 7, 9)},
    {"state": "missed", "cycle_ends": date(2026, 3, 31)},
]
LIFE: list[dict[str, Any]] = [{}, {"state": "draft"}, {"cycle_ends": date(2027, 5, 28)}]
WORDS = ("amberfox", "brightowl", "coldheron", "dimotter", "evenlynx", "faintmole")


def _members(id: int, words: Sequence[str]) -> dict[str, str]:
    """What only a goal that may be named shows; the epic's title has some of these words."""
    return {
        "title": f"{words[0]} {words[1]}",
        "objective_key": f"OBJ{id}{words[2]}",
        "objective_title": words[3],
        "driver": words[4],
    }


@st.composite
def _goals(draw: st.DrawFn) -> list[tuple[KeyResult, KeyResult]]:
    """Key results, each with one that differs in what must not be shown and counts alike."""
    pairs = []
    for id in range(1, draw(st.integers(1, 5)) + 1):
        fates = draw(st.sampled_from([FATES, LIFE]))
        common = {
            "visibility": draw(st.sampled_from(["public", "internal", "confidential"])),
            "public_label": draw(st.sampled_from([None, "Plan", "Checkout plan"])),
        }
        one, other = (
            goal(id, **common, **_members(id, draw(st.permutations(WORDS))), **draw(st.sampled_from(fates)))
            for _ in range(2)
        )
        pairs.append((one, other))
    return pairs


def _renderings(text: DesiredText, suggestions: Sequence[Suggestion]) -> tuple[str, str, str]:
    document = text.compose(suggestions).document
    return to_plain(document), to_markdown(document), json.dumps(to_adf(document), ensure_ascii=False)


EPIC = an_epic(title="Amberfox brightowl checkout", labels=("coldheron",))


def _suggested(goals: Sequence[KeyResult], public: bool) -> Sequence[Suggestion]:
    index = SuggestionIndex(
        [GoalText(key_result=one, text=one.title) for one in goals if may_name(one, public)]
    )
    ticket = TicketText(
        id=1, source_id=1, project=EPIC.project, key=EPIC.key, title=EPIC.title, labels=EPIC.labels
    )
    return index.fitting(ticket, NOW)


def _input(goals: Sequence[KeyResult], linked: Sequence[int], public: bool) -> EvaluationInput:
    links = links_to(*(one for one in goals if one.id in linked)).links
    return evaluation_input(Resolution(links, unknown_keys("KR-99")), epic=EPIC, public=public)


def _text(
    goals: Sequence[KeyResult], linked: Sequence[int], public: bool, state: FindingState
) -> DesiredText:
    evaluated = _input(goals, linked, public)
    aligned = evaluated.resolution.aligned
    name = "closed-goal" if evaluated.resolution.links else "no-key-result"
    (check,) = (one for one in CHECKS if one.name == name)
    until = on(20) if state in ("waived", "snoozed") else None
    shown = None if aligned or state == "resolved" else (check, found(name, state, until=until, reason="R"))
    known = {one.id: one for one in goals}
    alignment: Any = "aligned" if aligned else "unaligned"
    text = desired_text(evaluated, known, policy(), alignment, shown, NOW)
    answers = [
        not_live_text(one.key, why_not_live(one, NOW) if may_name(one, public) else None)
        for one in goals
        if one.id in linked and not is_live(one, NOW)
    ]
    answers.append(unknown_keys_text(["KR-98"], [one.key_result.key for one in _suggested(goals, public)]))
    return text.with_answer("\n".join(answers))


@given(
    pairs=_goals(),
    linked=st.sets(st.integers(1, 5)),
    public=st.booleans(),
    state=st.sampled_from(get_args(FindingState)),
)
def test_what_is_shown_does_not_depend_on_what_must_not_be(
    pairs: list[tuple[KeyResult, KeyResult]], linked: set[int], public: bool, state: FindingState
) -> None:
    """Neither the words nor the facts that decide whether a comment is edited, nor the suggestions."""
    ones = [one for one, _ in pairs]
    others = [one if may_name(one, public) else other for one, other in pairs]
    assume(ones != others)
    first, second = (_text(goals, sorted(linked), public, state) for goals in (ones, others))
    suggested, likewise = _suggested(ones, public), _suggested(others, public)
    assert _renderings(first, suggested) == _renderings(second, likewise)
    assert first.facts_hash == second.facts_hash
    mentioned = first.compose(suggested).mentioned_key_result_ids
    assert mentioned == second.compose(likewise).mentioned_key_result_ids


@given(
    pairs=_goals(),
    linked=st.sets(st.integers(1, 5)),
    public=st.booleans(),
    state=st.sampled_from(get_args(FindingState)),
)
def test_no_word_of_a_goal_that_may_not_be_named_is_shown(
    pairs: list[tuple[KeyResult, KeyResult]], linked: set[int], public: bool, state: FindingState
) -> None:
    # No goal here may be named, so none of their words may be anywhere.
    goals = [replace(one, visibility="confidential", title="Hidden Gem") for one, _ in pairs]
    text_of_ticket = _text(goals, sorted(linked), public, state)
    for text in _renderings(text_of_ticket, _suggested(goals, public)):
        for word in ("hidden", "gem", "obj", *CLOSED, "draft", "cycle ended", "2026-07-09", "2027-05-28"):
            assert word not in text.replace("objective", "").lower(), word
        for one in goals:
            assert one.objective_title not in text


def test_every_state_has_a_fate() -> None:
    fates = {fate.get("state", fate.get("objective_state")) for fate in FATES + LIFE}
    assert fates - {None} == {state for state in get_args(GoalState) if state != "active"}
