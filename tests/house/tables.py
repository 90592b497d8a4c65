"""The tables of docs/architecture.md that are printed from the code."""

from __future__ import annotations

from mappings.notices.gates import GATES
from mappings.notices.transitions import TRANSITIONS


def transitions_table() -> str:
    """Every allowed change of a notice's state."""
    rows = ["| event | from | to | when |", "|---|---|---|---|"]
    for change in TRANSITIONS:
        before = " ".join(f"`{state}`" for state in change.before)
        rows.append(f"| {change.event} | {before} | `{change.after}` | {change.when} |")
    return "\n".join(rows)


def gates_table() -> str:
    """What may hold a comment back, in the order in which the gates are asked."""
    rows = [
        "| gate | asked in | holds edits too | holds answers too | holds where |",
        "|---|---|---|---|---|",
    ]
    for gate in GATES:
        edits, answers = ("yes" if holds else "no" for holds in (gate.edits, gate.answers))
        rows.append(f"| `{gate.name}` | {', '.join(gate.phases)} | {edits} | {answers} | {gate.holds} |")
    return "\n".join(rows)
