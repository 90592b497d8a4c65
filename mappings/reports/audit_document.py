"""The audit as a document of plain values, as the API and the command line answer it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mappings.policy.durations import last_day
from mappings.reports.audit import DEFINITION
from mappings.reports.audit_text import summary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mappings.reports.audit import AuditReport
    from mappings.reports.audit_signs import AuditGoal, AuditInitiative, SeenSign

NAMED = 20  # things that each sign is seen on
_AS_THEY_ARE = (
    *("source", "key", "title", "url", "project", "type", "status", "status_category", "alignment", "driver"),
    *("answered_by", "answered_at", "asked_of", "stage", "stage_due", "score", "starts_on", "due_on"),
    *("children", "children_done", "set_aside"),
)


def audit_document(report: AuditReport, limit: int | None) -> dict[str, Any]:
    """The first `limit` initiatives, None for all, and how many more there are. Days and moments are values
    of Python."""
    shown = report.initiatives if limit is None else report.initiatives[:limit]
    known = {one.id: one for one in report.initiatives}
    return {
        "at": report.at,
        "definition": DEFINITION,
        "summary": summary(report),
        "total": len(report.initiatives),
        "with_goal": report.with_goal,
        "answered": report.answered,
        "steered_initiatives": report.steered,
        "scored": report.scored,
        "set_aside": report.set_aside,
        "coverage": report.coverage.rate,
        "steered": report.coverage.steered,
        "signs": [_sign(one, known) for one in report.signs],
        "initiatives": [_initiative(one) for one in shown],
        "more": len(report.initiatives) - len(shown),
    }


def _sign(one: SeenSign, known: Mapping[int, AuditInitiative]) -> dict[str, Any]:
    named = [known[id] for id in one.initiatives[:NAMED]]
    return {
        "sign": one.sign.name,
        "title": one.sign.title,
        "seen": one.seen,
        "count": one.count,
        "says": one.says,
        "definition": one.sign.definition,
        "to_do": one.sign.to_do,
        "initiatives": [{"source": each.source, "key": each.key} for each in named],
        "more_initiatives": len(one.initiatives) - len(named),
        "places": [{"kind": of.kind, "name": of.name, "says": of.says} for of in one.places[:NAMED]],
        "more_places": max(0, len(one.places) - NAMED),
    }


def _initiative(one: AuditInitiative) -> dict[str, Any]:
    return {
        **{name: getattr(one, name) for name in _AS_THEY_ARE},
        "value": one.answer,
        "key_result": None if one.goal is None else _goal(one.goal),
        "key_results": [each.key for each in one.goals],
        "set_aside_until": None if one.set_aside_until is None else last_day(one.set_aside_until),
        "signs": list(one.signs),
    }


def _goal(goal: AuditGoal) -> dict[str, Any]:
    reasons = {"measured": goal.not_measured, "agreed": goal.not_agreed, "moved": goal.not_moved}
    return {
        **{name: getattr(goal, name) for name in ("key", "title", "cycle", "owner", "sponsor")},
        **{name: why is None for name, why in reasons.items()},
        "not_steered_because": [why for why in reasons.values() if why is not None],
    }
