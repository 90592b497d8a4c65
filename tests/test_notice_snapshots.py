"""Each kind of text on a ticket as both trackers get it: `tests/snapshots/*.md` and `*.adf.json`.

A changed word is a changed line there. What must be in which text, `test_notice_text.py` says.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from connectors.markup import to_adf, to_markdown
from mappings.notices.text import (
    NoticeText,
    aligned_text,
    disputed_text,
    snoozed_text,
    unchecked_text,
    waived_text,
    with_answer,
    withdrawn_text,
)
from mappings.suggestions.material import Suggestion
from tests.support.adf import adf_problems
from tests.support.evaluations import goal, links_to, on, unknown_keys
from tests.support.notice_texts import closed, warn
from tests.support.snapshots import SNAPSHOTS, adf_by_lines, assert_snapshot

FITTING = [
    Suggestion(goal(12, title="Checkout conversion from 2.1% to 3%"), ("shares “checkout” with the title",)),
    Suggestion(goal(7, title="Half of all orders on mobile"), ("2 other epics of SHOP are linked to it",)),
    Suggestion(
        goal(31, title="Returns below 4%"),
        ("shares “returns” with a label or component", "1 other epic of SHOP is linked to it"),
    ),
]
UNSURE = [
    Suggestion(goal(5, title="Churn below 2%"), ("shares “shop” with the title",), 0.1, confident=False)
]
MISSED = goal(8, title="Basket in one click", state="missed")
OVER = goal(9, title="Search in 200 ms", cycle_ends=on(15).date())
SECRET = goal(6, title="Takeover", visibility="confidential", public_label="Platform work", state="archived")
ANSWER = "There is no key result `KR-99`. Perhaps `KR-12`?"
HELP = "Start a line with one of these:\n- `/northing link KR-12` links this epic\n- `/northing help`"
YEAR_END = datetime(2027, 1, 1, tzinfo=UTC)

TEXTS: dict[str, NoticeText] = {
    "no-key-result": warn(suggestions=FITTING),
    "no-key-result-one-fits": warn(suggestions=FITTING[:1]),
    "no-key-result-nothing-fits": warn(suggestions=UNSURE),
    "no-key-result-nothing-fits-no-page": warn(suggestions=[], page_url=None),
    "no-key-result-no-goals": warn(suggestions=[], can_link=False),
    "no-key-result-unknown-key": warn(suggestions=FITTING, unknown=unknown_keys("KR-99")),
    "no-key-result-unknown-words": warn(suggestions=[], unknown=unknown_keys("the checkout one", "KR-98")),
    "no-key-result-unknown-key-no-goals": warn(suggestions=[], unknown=unknown_keys("KR-99"), can_link=False),
    "no-key-result-answered": with_answer(warn(suggestions=FITTING), ANSWER, first=True),
    "no-key-result-answered-by-help": with_answer(warn(suggestions=[]), HELP, first=True),
    "closed-goal": warn("closed-goal", closed(MISSED), suggestions=FITTING),
    "closed-goal-many": warn("closed-goal", closed(MISSED, OVER, SECRET), suggestions=FITTING[:1]),
    "closed-goal-public": warn("closed-goal", closed(MISSED, SECRET), suggestions=[], public=True),
    "closed-goal-nothing-fits-no-page": warn("closed-goal", closed(OVER), suggestions=[], page_url=None),
    "closed-goal-no-goals": warn("closed-goal", closed(OVER), suggestions=[], can_link=False),
    "closed-goal-unknown-key": warn(
        "closed-goal", closed(MISSED), suggestions=FITTING, unknown=unknown_keys("KR-99")
    ),
    "closed-goal-answered": with_answer(
        warn("closed-goal", closed(MISSED), suggestions=FITTING), ANSWER, first=True
    ),
    "aligned": aligned_text(links_to(goal(12, title="Churn below 2%")).links, False),
    "aligned-by-key": aligned_text(links_to(goal(12)).links, True),
    "aligned-many": aligned_text(links_to(goal(12), goal(7), goal(31)).links, False),
    "aligned-by-label": aligned_text(links_to(goal(6, public_label="Platform work")).links, True),
    "aligned-answered": with_answer(aligned_text(links_to(goal(12)).links, False), ANSWER, first=False),
    "waived": waived_text(YEAR_END, "the law asks for it."),
    "snoozed": snoozed_text(YEAR_END),
    "disputed": disputed_text(),
    "unchecked": unchecked_text(),
    "withdrawn": withdrawn_text(),
}


@pytest.mark.parametrize("name", TEXTS)
def test_in_markdown(name: str) -> None:
    assert_snapshot(f"{name}.md", to_markdown(TEXTS[name].document) + "\n")


@pytest.mark.parametrize("name", TEXTS)
def test_in_adf(name: str) -> None:
    document = to_adf(TEXTS[name].document)
    shown = adf_by_lines(document)
    assert json.loads(shown) == document
    assert adf_problems(document) == []
    assert_snapshot(f"{name}.adf.json", shown)


def test_there_is_a_file_for_each_text_and_no_other() -> None:
    files = {path.name for path in SNAPSHOTS.iterdir() if path.is_file()}
    assert files == {f"{name}{end}" for name in TEXTS for end in (".md", ".adf.json")}
