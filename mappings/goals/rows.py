"""The value of a key result that an evaluation uses, made from rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from mappings.goals.key_results import GoalState, KeyResult, Visibility

if TYPE_CHECKING:
    from datetime import date

    from mappings.tables import KeyResultRow, ObjectiveRow


def key_result_of(row: KeyResultRow, objective: ObjectiveRow, cycle_ends: date | None) -> KeyResult:
    """The value of a key result that an evaluation uses, with the facts of its objective and cycle."""
    return KeyResult(
        id=row.id,
        key=row.key,
        title=row.title,
        objective_key=objective.key,
        objective_title=objective.title,
        driver=objective.driver,
        visibility=cast("Visibility", objective.visibility),
        public_label=objective.public_label,
        state=cast("GoalState", row.state),
        objective_state=cast("GoalState", objective.state),
        cycle_ends=cycle_ends,
    )
