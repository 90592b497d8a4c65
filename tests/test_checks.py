"""Checks: the two there are as tables, the registry, and a third one made here, which is on no ticket."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import mappings.checks
from connectors.markup import to_plain
from mappings.checks.check import Check, EpicFacts, TicketWords
from mappings.checks.closed_goal import CHECK as CLOSED_GOAL
from mappings.checks.no_key_result import CHECK as NO_KEY_RESULT
from mappings.checks.registry import CHECK_NAMES, CHECKS, checks_on_tickets
from mappings.evaluation.model import CommandAnswer, Decision, EvaluationInput, Finding
from mappings.goals.key_results import KeyResult
from mappings.links.resolve import Resolution
from mappings.policy.document import Policy
from tests.support.evaluations import (
    NOW,
    an_epic,
    decision_on,
    evaluation_input,
    found,
    goal,
    links_to,
    on,
    policy,
    state_reason_target,
    text_of,
    unknown_keys,
    written,
)

ROOT = Path(__file__).parents[1]
LIVE, CLOSED = goal(1), goal(2, state="achieved")
OVER = goal(3, cycle_ends=on(15).date())
UNKNOWN = " The ticket names KR-99, which does not exist."

# --- the two ------------------------------------------------------------------------------------

GAPS: list[tuple[str, Resolution, str | None, str | None]] = [
    ("no link", Resolution(), "No key result is linked.", None),
    (
        "no link and a key that does not exist",
        Resolution(unknown=unknown_keys("KR-99", "KR-98")),
        f"No key result is linked.{UNKNOWN} The ticket names KR-98, which does not exist.",
        None,
    ),
    ("a live link", links_to(LIVE), None, None),
    ("a live link beside others", links_to(CLOSED, LIVE, OVER), None, None),
    ("a link to a draft", links_to(goal(state="draft")), None, None),
    (
        "a link to what was closed by hand",
        links_to(CLOSED),
        None,
        "No linked key result is live (KR-2: it is achieved).",
    ),
    (
        "several links and a key that does not exist",
        replace(links_to(OVER, CLOSED), unknown=unknown_keys("KR-99")),
        None,
        "No linked key result is live (KR-3: its cycle ended on 2026-11-15; KR-2: it is achieved)." + UNKNOWN,
    ),
]


@pytest.mark.parametrize(
    ("resolution", "missing", "closed"), [row[1:] for row in GAPS], ids=[row[0] for row in GAPS]
)
def test_what_each_finds(resolution: Resolution, missing: str | None, closed: str | None) -> None:
    facts = EpicFacts(an_epic(), resolution)
    assert (NO_KEY_RESULT.find(facts, NOW), CLOSED_GOAL.find(facts, NOW)) == (missing, closed)


def _words(check: Check[EpicFacts], *goals: KeyResult, public: bool = False) -> TicketWords:
    assert check.words is not None
    return check.words(EpicFacts(an_epic(), links_to(*goals)), public, NOW)


def test_the_words_of_each_on_a_ticket() -> None:
    question = "Which key result does this epic serve?"
    assert _words(NO_KEY_RESULT) == TicketWords(question, "Answer it with any of these:")
    secret = goal(4, state="missed", visibility="confidential", public_label="Platform work")
    for public, first in ((False, "its cycle ended on 2026-11-15"), (True, "no longer counts")):
        assert _words(CLOSED_GOAL, OVER, secret, public=public) == TicketWords(
            question,
            "Link one that counts:",
            "Those it is linked to no longer count:",
            ((OVER, first), (secret, "no longer counts")),
        )
    assert _words(CLOSED_GOAL, OVER).statement == "The one it is linked to no longer counts:"


# --- the registry -------------------------------------------------------------------------------


def test_the_registry_holds_every_module_of_the_room_once_under_its_own_name() -> None:
    folder = Path(next(iter(mappings.checks.__path__)))
    modules = {path.stem for path in folder.glob("[!_]*.py")} - {"check", "registry"}
    assert sorted(CHECK_NAMES) == sorted(name.replace("_", "-") for name in modules)
    assert len(set(CHECK_NAMES)) == len(CHECK_NAMES)


def test_the_two_of_today_and_no_other_write_on_tickets_and_bear_on_alignment() -> None:
    two = ["no-key-result", "closed-goal"]
    assert checks_on_tickets() == two
    assert [check.name for check in CHECKS if check.bears_on_alignment] == two


def test_a_check_writes_on_tickets_only_with_words_about_an_epic() -> None:
    with pytest.raises(ValueError, match=r"vague-title: only a check about epics that has words"):
        replace(VAGUE, channel="comment")
    with pytest.raises(ValueError, match=r"vague-title: only a check about epics that has words"):
        replace(VAGUE, about="goal", channel="comment", words=NO_KEY_RESULT.words)


NEW_FILE = '''"""The check `vague-title`: an epic whose title says nothing. Pure."""

from __future__ import annotations

from datetime import datetime

from mappings.checks.check import Check, EpicFacts


def _find(facts: EpicFacts, now: datetime) -> str | None:
    return "The title says nothing." if facts.epic.title == "Misc" else None


CHECK = Check(name="vague-title", about="epic", find=_find, severity="info")
'''
SHOW = """
import json
from types import SimpleNamespace
from app.server.application import create_app
from mappings.checks.registry import checks_on_tickets
from mappings.clock import DatabaseClock
from mappings.policy.document import Policy, effective_policy
runtime = SimpleNamespace(clock=DatabaseClock(), settings=SimpleNamespace(oidc_issuer=None))
policy = Policy.model_validate({"checks": {"vague-title": {"on": False}}})
[check] = [
    one for one in create_app(runtime, None, b"").openapi()["paths"]["/api/v1/findings"]["get"]["parameters"]
    if one["name"] == "check"
]
print(json.dumps({
    "policy": Policy().model_dump(mode="json")["checks"],
    "partly given": policy.model_dump(mode="json")["checks"]["vague-title"],
    "effective": list(effective_policy(policy, "jira", "SHOP").checks),
    "asked": check["schema"]["anyOf"][0]["enum"],
    "on tickets": checks_on_tickets(),
}))
"""


def test_a_new_check_is_one_file_and_its_place_in_the_registry(tmp_path: Path) -> None:
    """The policy, the API and the evaluation know it then, and it is on no ticket."""
    for package in ("app", "connectors", "mappings", "migrations"):
        # With what is compiled, which is as new, but nothing that another process compiles at this moment.
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("*.pyc.*"))
    registry = tmp_path / "mappings/checks/registry.py"
    text, lines = registry.read_text(encoding="utf-8"), 0
    for old, new in (
        ("import closed_goal, no_key_result\n", "import closed_goal, no_key_result, vague_title\n"),
        ("    closed_goal.CHECK,\n", "    closed_goal.CHECK,\n    vague_title.CHECK,\n"),
    ):
        lines += text.count(old)
        text = text.replace(old, new)
    assert lines == 2, "the import and the line"
    registry.write_text(text, encoding="utf-8")
    (tmp_path / "mappings/checks/vague_title.py").write_text(NEW_FILE, encoding="utf-8")
    command = [sys.executable, "-c", SHOW]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, text=True).stdout
    names = [*CHECK_NAMES, "vague-title"]
    defaults = {name: {"on": True, "severity": "warning", "grace": None} for name in CHECK_NAMES}
    third = {"on": True, "severity": "info", "grace": None}
    assert json.loads(shown) == {
        "policy": {**defaults, "vague-title": third},
        "partly given": {**third, "on": False},
        "effective": names,
        "asked": names,
        "on tickets": list(CHECK_NAMES),
    }


# --- a third, about epics -----------------------------------------------------------------------


def _says_nothing(facts: EpicFacts, now: datetime) -> str | None:
    return "The title says nothing." if re.match(r"Misc\b", facts.epic.title) else None


VAGUE = Check(name="vague-title", about="epic", find=_says_nothing, severity="info")
THREE = (*CHECKS, VAGUE)
MISC = an_epic(title="Misc")
ALIGNED, UNLINKED = evaluation_input(links_to(LIVE), epic=MISC), evaluation_input(epic=MISC)


def _states(decision: Decision) -> dict[str, str]:
    return {finding.check: finding.state for finding in decision.findings}


def _decision(evaluated: EvaluationInput, *findings: Finding, **options: Any) -> Decision:
    return decision_on(evaluated, *findings, checks=THREE, **options)


def test_it_opens_beside_the_others_and_resolves_and_opens_again() -> None:
    first = _decision(UNLINKED)
    assert [(one.check, one.state, one.severity, one.detail) for one in first.findings] == [
        ("no-key-result", "open", "warning", "No key result is linked."),
        ("vague-title", "open", "info", "The title says nothing."),
    ]
    later = _decision(evaluation_input(), *first.findings, now=on(17))
    assert _states(later) == {"no-key-result": "open", "vague-title": "resolved"}
    again = _decision(UNLINKED, *later.findings, now=on(18))
    assert [(one.check, one.opened_at) for one in again.findings] == [
        ("no-key-result", NOW),
        ("vague-title", on(18)),
    ]


def test_nothing_is_asked_of_an_epic_that_left_or_is_exempt() -> None:
    for evaluated, rules in (
        (replace(UNLINKED, removal_reason="deleted"), None),
        (evaluation_input(epic=replace(MISC, status_category="done")), None),
        (UNLINKED, policy(THREE, exempt={"types": ["epic"]})),
    ):
        assert _states(_decision(evaluated, found("vague-title"), rules=rules)) == {"vague-title": "resolved"}
        assert _states(_decision(evaluated, rules=rules)) == {}


@pytest.mark.parametrize("state", ["open", "snoozed", "waived", "disputed"])
def test_what_a_person_does_to_it_bears_on_no_alignment_and_on_no_ticket(state: Any) -> None:
    third = found("vague-title", state, until=None if state in ("open", "disputed") else on(30))
    for evaluated, alignment in ((ALIGNED, "aligned"), (UNLINKED, "unaligned")):
        before, now = (_decision(evaluated, *known) for known in ((), (third,)))
        assert now.alignment == before.alignment == alignment
        assert _states(now)["vague-title"] == state
        assert state_reason_target(now) == state_reason_target(before)
    assert state_reason_target(_decision(ALIGNED, third)) is None
    assert _decision(ALIGNED, third).evaluate_at == third.until, "its end is waited for"


def test_a_posted_notice_resolves_while_it_is_open() -> None:
    posted = written(_decision(UNLINKED, found()))
    resolved = _decision(ALIGNED, found(), found("vague-title"), notice=posted)
    assert (state_reason_target(resolved), _states(resolved)["vague-title"]) == (
        ("posted", None, "resolved"),
        "open",
    )
    assert text_of(resolved) == "Aligned with KR-1 (Title 1). Thank you."
    current = written(resolved, "resolved")
    assert _decision(ALIGNED, found("vague-title"), notice=current).keep_notice


def test_the_text_and_its_facts_are_those_of_the_two_alone() -> None:
    posted = written(decision_on(evaluation_input(), found()))
    for known in ((), (found("vague-title"),), (found("vague-title", "resolved"),)):
        assert _decision(UNLINKED, found(), *known, notice=posted).keep_notice


def test_its_opening_ends_no_withdrawal() -> None:
    withdrawn = replace(written(_decision(UNLINKED, found())), state="withdrawn", on_ticket=False, since=NOW)
    assert _decision(UNLINKED, found(), notice=withdrawn, now=on(20)).keep_notice
    opened_now = _decision(UNLINKED, found(), found("vague-title", "resolved"), notice=withdrawn, now=on(20))
    assert (opened_now.keep_notice, _states(opened_now)["vague-title"]) == (True, "open")
    other = _decision(UNLINKED, found(state="resolved"), notice=withdrawn, now=on(20))
    assert not other.keep_notice, "a finding of the two ends it"


def test_its_change_drops_no_answer() -> None:
    answer = CommandAnswer("There is no key result `KR-99`.", is_new=False, at=NOW)
    for known in ((), (found("vague-title", "resolved"),), (found("vague-title", "waived", until=NOW),)):
        assert not _decision(UNLINKED, found(), *known, answer=answer).answer_expired
    assert _decision(UNLINKED, found("vague-title"), answer=answer).answer_expired, "the gap is new"


def test_the_policy_turns_it_off_and_says_how_severe_it_is() -> None:
    off = replace(policy(THREE), checks={**policy(THREE).checks, "vague-title": _setting(on=False)})
    assert _states(_decision(UNLINKED, found("vague-title"), rules=off))["vague-title"] == "resolved"
    error = replace(off, checks={**off.checks, "vague-title": _setting(severity="error")})
    assert _decision(ALIGNED, rules=error).findings[0].severity == "error"
    assert Policy().checks.keys() == set(CHECK_NAMES), "it is not in this build"


def _setting(**members: Any) -> Any:
    return replace(policy(THREE).checks["vague-title"], **members)


def test_a_third_that_may_write_on_tickets_has_its_turn_after_the_two() -> None:
    """The channel of a check decides; no check of today but the two has it."""

    def words(facts: EpicFacts, public: bool, now: datetime) -> TicketWords:
        return replace(_words(NO_KEY_RESULT), goals=())

    checks = (*CHECKS, replace(VAGUE, channel="comment", words=words))
    both = (found(), found("vague-title"))
    on_ticket = decision_on(UNLINKED, *both, checks=checks).notice
    alone = decision_on(ALIGNED, *both, checks=checks).notice
    snoozed = found(state="snoozed", until=on(30))
    beside = decision_on(UNLINKED, snoozed, found("vague-title"), checks=checks).notice
    shown = [to_plain(one.compose().document) for one in (on_ticket, alone, beside) if one is not None]
    assert [re.findall(r"Check (\S+) on data", text) for text in shown] == [
        ["no-key-result"],
        ["vague-title"],
        ["vague-title"],
    ]
