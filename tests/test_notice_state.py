"""The notice's states: which changes there are, that nothing else makes them, what an evaluation asks for."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest

from mappings.evaluation.model import CommandAnswer, CurrentNotice
from mappings.notices import transitions
from mappings.notices.transitions import (
    NONE,
    TRANSITIONS,
    UNCHANGED,
    ForbiddenTransition,
    NoticeState,
    Transition,
    planned_transition,
)
from mappings.policy.modes import NoticesMode
from tests.support.evaluations import (
    NOW,
    OPENED,
    decision_on,
    evaluation_input,
    found,
    goal,
    links_to,
    on,
    policy,
)

ROOT = Path(__file__).parents[1]
STATES: tuple[NoticeState, ...] = get_args(NoticeState)
ANSWER = CommandAnswer("There is no key result `KR-99`.", is_new=True, at=NOW)

# From each state to every other that the contract lets it have next, and the events that lead there.
LEADS: dict[str, dict[str, set[str]]] = {
    NONE: {"shadow": {"prepared"}, "held": {"held"}, "due": {"queued", "answer queued"}},
    "shadow": {
        "held": {"held"},
        "due": {"queued", "answer queued"},
        "posted": {"adopted"},
        "withdrawn": {"withdrawn unsent"},
        NONE: {"dropped"},
    },
    "held": {
        "shadow": {"prepared"},
        "due": {"queued", "answer queued", "approved"},
        "posted": {"adopted", "posted"},
        "resolved": {"resolved", "answer adopted"},
        "withdrawn": {"withdrawn unsent", "withdrawn", "deleted on the ticket"},
        "failed": {"failed"},
        NONE: {"dropped"},
    },
    "due": {
        "shadow": {"prepared"},
        "held": {"held", "held at release", "stale"},
        "posted": {"adopted", "posted"},
        "resolved": {"resolved", "answer adopted"},
        "withdrawn": {"withdrawn unsent", "withdrawn", "deleted on the ticket"},
        "failed": {"failed"},
        NONE: {"dropped"},
    },
    "posted": {
        "resolved": {"resolved"},
        "withdrawn": {"withdrawn", "deleted on the ticket"},
        "failed": {"failed"},
    },
    "resolved": {
        "posted": {"posted"},
        "withdrawn": {"withdrawn", "deleted on the ticket"},
        "failed": {"failed"},
    },
    "withdrawn": {
        "shadow": {"prepared"},
        "held": {"held"},
        "due": {"queued", "answer queued"},
        "posted": {"adopted", "posted"},
        "resolved": {"resolved"},
        "failed": {"failed"},
        NONE: {"dropped"},
    },
    "failed": {
        "shadow": {"prepared"},
        "held": {"held"},
        "due": {"queued", "answer queued"},
        "posted": {"adopted", "posted"},
        "resolved": {"resolved"},
        "withdrawn": {"withdrawn unsent", "withdrawn", "deleted on the ticket"},
        NONE: {"dropped"},
    },
}


@pytest.mark.parametrize("state", [NONE, *STATES])
def test_the_states_that_a_state_leads_to(state: str) -> None:
    leads: dict[str, set[str]] = {}
    for change in TRANSITIONS:
        after = state if change.after == UNCHANGED else change.after
        if state in change.before and after != state:
            leads.setdefault(after, set()).add(change.event)
    assert leads == LEADS[state]


def test_a_comment_on_a_ticket_is_never_forgotten() -> None:
    """Nothing leads from `posted` or `resolved` to a state that says that nothing is on the ticket."""
    forgetting = [change for change in TRANSITIONS if change.after in {"shadow", "held", "due", NONE}]
    assert len(forgetting) == 8
    for change in forgetting:
        for state in ("posted", "resolved"):
            with pytest.raises(ForbiddenTransition):
                change.check(state)


@pytest.mark.parametrize("change", TRANSITIONS, ids=[change.event for change in TRANSITIONS])
def test_a_change_that_the_table_does_not_have_is_an_error(change: Transition) -> None:
    for state in (None, *STATES):
        if (state or NONE) in change.before:
            change.check(state)
        else:
            with pytest.raises(ForbiddenTransition) as refused:
                change.check(state)
            assert str(refused.value) == f"{change.event}: a notice that is {state or NONE}"


# What changes no state, and the states in which it may come.
QUIET: dict[str, set[str]] = {
    "edit queued": {"held", "due", "posted", "resolved", "withdrawn", "failed"},
    "cancelled": {"shadow", "held", "due", "posted", "resolved", "withdrawn", "failed"},
    "released": {"held", "due", "posted", "resolved", "withdrawn", "failed"},
    "postponed": {"held", "due", "posted", "resolved", "withdrawn", "failed"},
    "withdrawal queued": {"held", "due", "posted", "resolved", "withdrawn", "failed"},
}


def test_what_changes_no_state() -> None:
    quiet = {change.event: set(change.before) for change in TRANSITIONS if change.after == UNCHANGED}
    assert quiet == QUIET


def test_each_event_has_one_row() -> None:
    events = [change.event for change in TRANSITIONS]
    assert len(set(events)) == len(events)
    rows = {value for value in vars(transitions).values() if isinstance(value, Transition)}
    assert rows == set(TRANSITIONS)


# --- what an evaluation asks for ----------------------------------------------------------------

CLOSED, LIVE = goal(2, state="achieved"), goal(1)
INPUTS = {
    "no link": evaluation_input(),
    "a dead link": evaluation_input(links_to(CLOSED)),
    "a live link": evaluation_input(links_to(LIVE)),
    "unread": evaluation_input(fresh=False),
    "deleted": evaluation_input(removal_reason="deleted"),
    "out of scope": evaluation_input(removal_reason="out_of_scope"),
    "service desk": evaluation_input(service_desk=True),
}
FINDINGS: dict[str, dict[str, Any]] = {
    "open": {},
    "snoozed": {"state": "snoozed", "until": on(30)},
    "waived": {"state": "waived", "until": on(30), "reason": "agreed"},
    "disputed": {"state": "disputed"},
    "resolved": {"state": "resolved"},
    "opened just now": {"opened_at": NOW},
}
HISTORIES: dict[str, dict[str, Any]] = {
    "": {},
    "held by the guard": {"guard_reason": "many"},
    "withdrawing": {"withdrawing": True},
    "of unknown id": {"comment_id_unknown": True},
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("given", INPUTS)
def test_an_evaluation_asks_only_for_changes_that_are_allowed(given: str, state: NoticeState) -> None:
    """Over every input, finding, mode and history: a change that the table has not would end the run."""
    asked = 0
    for finding, mode, history, on_ticket, answer in product(
        FINDINGS, get_args(NoticesMode), HISTORIES, (False, True), (None, ANSWER)
    ):
        if not on_ticket and (state in ("posted", "resolved") or history == "of unknown id"):
            continue  # what was written is on the ticket, until it is withdrawn
        if on_ticket and state == "shadow":
            continue  # no request was sent for it
        current = CurrentNotice(state, OPENED, on_ticket, "hash" if on_ticket else None, **HISTORIES[history])
        decision = decision_on(
            INPUTS[given],
            found(**FINDINGS[finding]),
            mode=mode,
            notice=current,
            answer=answer,
            rules=policy(quiet_hours={"from": "11:00", "to": "13:00", "zone": "UTC"}),
        )
        if decision.notice is not None:
            desired = decision.notice
            planned_transition(desired.state, desired.target, on_ticket=on_ticket).check(state)
            asked += 1
        elif not decision.keep_notice:
            transitions.DROPPED.check(state)
    assert asked or given == "deleted"


# --- nothing else changes it ----------------------------------------------------------------------

COLUMNS = {"state", "reason", "target", "due_at"}
OWNER = Path("mappings/notices/state.py")
SQL = re.compile(
    r"(?:UPDATE notices\b|INSERT INTO notices\b)[^;]*?\b(?:SET|\()[^;]*?\b(?:state|reason|target|due_at)\b",
    re.IGNORECASE | re.DOTALL,
)


def _modules() -> Iterator[tuple[Path, ast.Module]]:
    for package in ("app", "mappings"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.relative_to(ROOT) != OWNER:
                yield path.relative_to(ROOT), ast.parse(path.read_text("utf-8"))


def _stores(tree: ast.Module) -> Iterator[ast.Attribute]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and node.attr in COLUMNS:
            yield node


# Rows of other tables that have columns of these names.
OTHER_ROWS = {"delivery", "run", "outcome", "ending"}


def test_no_other_module_sets_a_notice_by_attribute() -> None:
    """In a module that handles notices, `row.state = …` on anything that is not plainly another row."""
    found_here = []
    for path, tree in _modules():
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        if "NoticeRow" not in names:
            continue
        found_here += [
            f"{path}:{target.lineno}: {ast.unparse(target)}"
            for target in _stores(tree)
            if ast.unparse(target.value) not in OTHER_ROWS
        ]
    assert found_here == []


def _statement(node: ast.AST) -> bool:
    """Whether a call updates or inserts notices, with a column that only the owner sets."""
    if not isinstance(node, ast.Call) or not re.search(
        r"(update|insert)\(NoticeRow\)|^NoticeRow\(", ast.unparse(node)
    ):
        return False
    calls = [call for call in ast.walk(node) if isinstance(call, ast.Call)]
    columns = {word.arg for call in calls for word in call.keywords}
    texts = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
    return bool(COLUMNS & (columns | texts))


def test_no_other_module_sets_a_notice_by_a_statement() -> None:
    found_here = []
    for path, tree in _modules():
        for node in ast.walk(tree):
            text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            if SQL.search(text) or _statement(node):
                found_here.append(f"{path}:{getattr(node, 'lineno', 0)}")
    assert found_here == []


def test_such_a_change_would_be_found() -> None:
    stored = ast.parse("row.state = 'due'\nrow.due_at, row.body = now, ''\nrow.state == 'due'")
    assert sorted(found.attr for found in _stores(stored)) == ["due_at", "state"]
    assert SQL.search("UPDATE notices SET target = NULL FROM rows")
    assert not SQL.search("UPDATE notices SET epic_id = :kept WHERE epic_id = :double")
    (made,) = ast.parse("update(NoticeRow).where(a).values(b=1, due_at=None)").body
    assert _statement(made.value)  # type: ignore[attr-defined]
    (claimed,) = ast.parse("update(NoticeRow).values(claimed_by=None)").body
    assert not _statement(claimed.value)  # type: ignore[attr-defined]
