"""The table of gates, row by row: what may hold a comment back, in which phase, and which comes first."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mappings.notices.gates import GATES, Facts, Hold, Pause, Phase, first_hold
from tests.support.evaluations import NOW

LATER = NOW + timedelta(hours=3)
FREE = Facts(now=NOW)
PHASES: tuple[Phase, ...] = ("evaluation", "release", "write")


def _until(detail: str) -> Pause:
    return Pause(until=LATER, detail=detail)


# Everything holds at once; each gate is named with the facts that it looks at, in the contract's order.
ALL = Facts(
    now=NOW,
    mode="shadow",
    disputed=True,
    grace_ends=LATER,
    stale="SHOP was not read",
    quiet=_until("quiet"),
    guard_reason="11 new comments",
    over_cap=_until("over the cap"),
    project_pause=_until("SHOP refuses"),
    tracker_pause=_until("too fast"),
    edits_pause=_until("60 edits"),
    unconfirmed=_until("may arrive"),
)
OPEN: dict[str, dict[str, Any]] = {
    "mode": {"mode": "live"},
    "disputed": {"disputed": False},
    "grace": {"grace_ends": None},
    "stale": {"stale": None},
    "quiet_hours": {"quiet": None},
    "guard": {"guard_reason": None},
    "cap": {"over_cap": None},
    "project": {"project_pause": None},
    "tracker": {"tracker_pause": None},
    "edits": {"edits_pause": None},
    "unconfirmed": {"unconfirmed": None},
}
EVALUATION = ["shadow", "disputed", "grace", "stale", "quiet_hours", "guard"]
RELEASE = ["guard", "cap", "project"]
WRITE = ["project", "tracker", "edits", "unconfirmed"]


@pytest.mark.parametrize(
    ("phase", "edit", "answer", "reasons"),
    [
        ("evaluation", False, False, EVALUATION),
        ("evaluation", True, False, EVALUATION[:4]),
        ("release", False, False, RELEASE),
        ("release", True, False, ["project"]),
        ("write", False, False, WRITE),
        ("write", True, False, WRITE),
        # A person waits for an answer, and one who asks is no burst.
        ("evaluation", False, True, ["shadow"]),
        ("evaluation", True, True, ["shadow"]),
        ("release", False, True, ["cap", "project"]),
        ("release", True, True, ["project"]),
        ("write", False, True, ["project", "tracker", "unconfirmed"]),
        ("write", True, True, ["project", "tracker", "unconfirmed"]),
    ],
)
def test_the_first_gate_that_holds_decides(
    phase: Phase, edit: bool, answer: bool, reasons: list[str]
) -> None:
    """Where one gate opens after the other, the reasons come in the contract's order."""
    facts = ALL
    given: list[str] = []
    for name, open_facts in OPEN.items():
        hold = first_hold(phase, facts, edit=edit, answer=answer)
        if hold is not None and (not given or given[-1] != hold.reason):
            given.append(hold.reason)
        facts = replace(facts, **open_facts)
        assert name in [gate.name for gate in GATES]
    assert given == reasons
    assert first_hold(phase, facts, edit=edit, answer=answer) is None


ALONE: list[tuple[str, Phase, dict[str, Any], Hold]] = [
    ("off", "evaluation", {"mode": "off"}, Hold("off")),
    ("shadow", "evaluation", {"mode": "shadow"}, Hold("shadow")),
    (
        "a dispute",
        "evaluation",
        {"disputed": True},
        Hold("disputed", "The finding is disputed; a person has to decide."),
    ),
    (
        "grace",
        "evaluation",
        {"grace_ends": LATER},
        Hold("grace", "Grace ends at 2026-11-16 15:00 UTC.", LATER),
    ),
    ("stale data", "evaluation", {"stale": "unread"}, Hold("stale", "unread")),
    ("quiet hours", "evaluation", {"quiet": _until("night")}, Hold("quiet_hours", "night", LATER)),
    ("the guard, seen before", "evaluation", {"guard_reason": "many"}, Hold("guard", "many")),
    ("the guard", "release", {"guard_reason": "many"}, Hold("guard", "many")),
    ("the cap", "release", {"over_cap": _until("25 a day")}, Hold("cap", "25 a day", LATER)),
    ("a project", "release", {"project_pause": _until("no")}, Hold("project", "no", LATER)),
    ("a project, later", "write", {"project_pause": _until("no")}, Hold("project", "no", LATER)),
    ("the tracker", "write", {"tracker_pause": _until("wait")}, Hold("tracker", "wait", LATER)),
    ("edits", "write", {"edits_pause": _until("60")}, Hold("edits", "60", LATER)),
    ("a lost answer", "write", {"unconfirmed": _until("look")}, Hold("unconfirmed", "look", LATER)),
]


@pytest.mark.parametrize(
    ("phase", "given", "hold"), [row[1:] for row in ALONE], ids=[row[0] for row in ALONE]
)
def test_a_gate_alone(phase: Phase, given: dict[str, Any], hold: Hold) -> None:
    assert first_hold(phase, replace(FREE, **given)) == hold
    named = {gate.name: gate for gate in GATES}.get(hold.reason)
    for other in PHASES:
        if other != phase and (named is None or other not in named.phases):
            assert first_hold(other, replace(FREE, **given)) is None


@pytest.mark.parametrize(
    "fact", ["quiet", "over_cap", "project_pause", "tracker_pause", "edits_pause", "unconfirmed"]
)
@pytest.mark.parametrize(("ends", "holds"), [(timedelta(), False), (timedelta(microseconds=1), True)])
def test_a_pause_ends_at_its_moment(fact: str, ends: timedelta, holds: bool) -> None:
    given: dict[str, Any] = {fact: Pause(until=NOW + ends, detail="why")}
    facts = replace(FREE, **given)
    held = [phase for phase in PHASES if first_hold(phase, facts) is not None]
    assert bool(held) == holds


@pytest.mark.parametrize(("ends", "holds"), [(timedelta(), False), (timedelta(microseconds=1), True)])
def test_grace_ends_at_its_moment(ends: timedelta, holds: bool) -> None:
    held = first_hold("evaluation", replace(FREE, grace_ends=NOW + ends))
    assert (held is not None) == holds


def test_nothing_holds_a_comment_that_nothing_is_known_against() -> None:
    for phase in PHASES:
        for edit in (False, True):
            assert first_hold(phase, FREE, edit=edit) is None


def test_each_gate_has_a_name_of_its_own_and_a_phase() -> None:
    assert [gate.name for gate in GATES] == list(OPEN)
    assert all(gate.phases and gate.holds for gate in GATES)
