"""What a file of objectives would change, whatever its lines: the same lines again change nothing. Pure."""

from __future__ import annotations

from typing import Any

from hypothesis import given, strategies as st

from mappings.goals.values import ObjectiveValues, objective_errors
from mappings.imports.cells import Line
from mappings.imports.columns import OBJECTIVES
from mappings.imports.goal_plan import GoalRules, plan_goals

RULES = GoalRules[str](
    OBJECTIVES,
    {column.name: column.default for column in OBJECTIVES.columns if column.name != "key"},
    within="cycle",
    above={"cycle": {"c1": "C1"}},
    errors=lambda values, stored_key: objective_errors(ObjectiveValues(**values), stored_key),
    prefix="O-",
    parents="parent",
)
Stored = dict[str, dict[str, Any]]
keys = st.sampled_from([None, "A", "a", "B", "C", "O-1", "o-2"])
lines = st.lists(
    st.fixed_dictionaries(
        {"key": keys, "title": st.sampled_from([None, "x", "y"])},
        optional={
            "cycle": st.sampled_from([None, "c1", "C9"]),
            "parent": keys,
            "owner": st.sampled_from([None, "Ann"]),
            "weight": st.sampled_from([None, 1.0, 2.0, -1.0]),
        },
    ),
    max_size=8,
)


def _apply(stored: Stored, file: list[dict[str, Any]]) -> tuple[Stored, list[str]]:
    """What is stored after the lines without errors, and the outcomes."""
    numbered = [Line(number, values) for number, values in enumerate(file, 2)]
    plan = plan_goals(RULES, numbered, [(key, key, values) for key, values in stored.items()])
    after = {key: dict(values) for key, values in stored.items()}
    for target in (*plan.created, *plan.changed):
        assert target.key is not None
        assert (target.stored is None) == (target.key not in stored)
        after[target.key] = dict(target.values)
    written = {key.lower(): key for key in after}
    for values in after.values():
        values["parent"] = written[values["parent"].lower()] if values["parent"] is not None else None
    return after, [line.outcome for line in plan.lines]


def _is_sound(stored: Stored) -> bool:
    """No two keys are one in any case, every parent is there, and nothing is above itself."""
    parents = {key.lower(): (values["parent"] or "").lower() for key, values in stored.items()}
    for start in parents:
        seen, at = set(), start
        while at:
            if at in seen or at not in parents:
                return False
            seen.add(at)
            at = parents[at]
    return len(parents) == len(stored)


@given(lines, lines)
def test_the_same_lines_again_change_nothing(
    before: list[dict[str, Any]], file: list[dict[str, Any]]
) -> None:
    stored, _ = _apply({}, before)
    once, outcomes = _apply(stored, file)
    assert _is_sound(once)
    assert (once == stored) == (not {"created", "changed"} & set(outcomes))
    if "error" not in outcomes:
        again, repeated = _apply(once, file)
        assert again == once
        assert set(repeated) <= {"same"}
