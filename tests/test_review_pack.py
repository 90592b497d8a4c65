"""The agenda and the pack of a review, from plain values."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from markdown_it import MarkdownIt

from mappings.governance.agenda import (
    LINES_OF,
    AgendaFacts,
    ClosedGoalFact,
    ConflictFact,
    EpicFact,
    ProjectFact,
    Some,
    make_agenda,
)
from mappings.governance.pack import (
    PackItem,
    change_lines,
    decision_words,
    pack_markdown,
)
from mappings.governance.pack_csv import pack_csv
from mappings.governance.pack_html import pack_html
from mappings.markdown import plain_text
from tests.support.packs import CHANGES, COVERAGE, a_pack, agenda_facts, figures
from tests.support.snapshots import assert_snapshot

HOSTILE = [
    "<script>alert(1)</script>",
    "[click](javascript:alert(1))",
    "@everyone look at https://evil.example",
    "a | b | c",
    "# heading",
    "- list",
    "1. first",
    "~~gone~~ **bold** _it_ `code`",
    "![x](https://evil.example/x.png)",
    "<https://evil.example>",
    "&lt;b&gt; www.evil.example",
    "mail bob@evil.example",
    "line\n\n# two\n| x |",
    "\x1b]0;title\x07\x1b[31mred, \u202eturned\u2028",
]


# --- the agenda -------------------------------------------------------------------------------


def test_the_lines_stand_in_one_order() -> None:
    lines = make_agenda(agenda_facts())
    kinds = [line.kind for line in lines]
    assert kinds == sorted(kinds, key=list(LINES_OF).index)
    assert kinds[:4] == ["coverage", "at-risk", "late-red", "dispute"]


def test_an_empty_company_has_one_line() -> None:
    nothing = COVERAGE | {"rate": None, "steered": None}
    (line,) = make_agenda(AgendaFacts(coverage=nothing))
    assert (line.kind, line.detail) == ("coverage", "No open epic counts yet.")


def test_the_worst_of_the_goals_at_risk_comes_first() -> None:
    goals = [
        figures(1, "KR-1", "a", at_risk=True, confidence=0.4),
        figures(2, "KR-2", "b", at_risk=True, confidence=0.1),
        figures(3, "KR-3", "c", at_risk=True, confidence=0.4, progress=0.0),
        figures(4, "KR-4", "d", at_risk=False),
    ]
    lines = make_agenda(AgendaFacts(coverage=COVERAGE, key_results=goals))
    assert [line.about.get("key_result") for line in lines[1:]] == ["KR-2", "KR-3", "KR-1"]


def test_whatever_is_open_an_agenda_has_forty_lines_at_most_and_counts_the_rest() -> None:
    assert sum(LINES_OF.values()) == 40
    epic = agenda_facts().disputes.first[0]
    many: Some[EpicFact] = Some([epic] * 8, 90_000)
    decision: EpicFact = agenda_facts().decisions.first[0]
    conflict: ConflictFact = agenda_facts().conflicts.first[0]
    goals = [figures(id, f"KR-{id}", "t", at_risk=True, late_red=id > 20) for id in range(1, 41)]
    goals += [figures(99, "KR-99", "t", not_agreed="nobody has signed")] * 200
    lines = make_agenda(
        agenda_facts(
            key_results=goals,
            disputes=many,
            conflicts=Some([conflict] * 4, 70),
            projects=Some([ProjectFact("acme", "SHOP", 9)] * 4, 500),
            closed_goals=Some([ClosedGoalFact(1, "KR-1", "t", "missed", 3)] * 2, 30),
            unanswered=many,
            waivers=many,
            decisions=Some([decision] * 3, 90_000),
            pilots=many,
            stopped=many,
        )
    )
    assert len(lines) == 40
    by_kind = {kind: [line for line in lines if line.kind == kind] for kind in LINES_OF}
    assert {kind: len(found) for kind, found in by_kind.items()} == LINES_OF
    rest = by_kind["dispute"][-1]
    assert (rest.facts["count"], rest.about["list"]) == (90_000 - 4, "findings")
    assert by_kind["at-risk"][-1].title == "13 more key results at risk"
    assert "90,000 initiatives" in by_kind["value"][0].detail
    assert len(by_kind["to-sign"][0].detail) < 200


# --- the pack ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "make"), [("md", pack_markdown), ("csv", pack_csv)])
def test_a_pack_reads_as_reviewed(name: str, make: Any) -> None:
    assert_snapshot(f"packs/review.{name}", make(a_pack()))


def test_the_parts_stand_in_the_order_of_a_pre_read() -> None:
    parts = re.findall(r"<h2.*?>(.*?)</h2>", pack_html(a_pack()))
    assert parts == ["Coverage", "Goals", "What moved", "To decide", "At risk", "Decided"]
    headings = re.findall(r"^## (.*)$", pack_markdown(a_pack()), re.MULTILINE)
    assert headings == [
        "Coverage",
        "O-1: A shop that people come back to",
        "What moved",
        "To decide",
        "At risk",
        "Decided",
    ]


def test_a_missing_mitigation_is_said_in_each_format() -> None:
    for make in (pack_markdown, pack_html, pack_csv):
        text = make(a_pack())
        assert text.count("No mitigation yet.") == 1, make
        assert "Mitigation: Two people move over from the shop." in text, make


def test_a_confidential_goal_is_named_at_the_top() -> None:
    """The file leaves the pages behind the login."""
    ((objective, key_results),) = a_pack().objectives
    hidden = a_pack(objectives=[({**objective, "visibility": "confidential"}, key_results)])
    for make in (pack_markdown, pack_html):
        line = "O-1 is confidential: keep this pack within the committee."
        assert line in make(hidden), make
        assert line not in make(a_pack()), make


def test_what_moved_begins_with_the_numbers() -> None:
    assert change_lines(a_pack())[0] == "KR-1 is at 60% of its way, from 40%."
    due = {"count": 3, "later": 0, "earlier": 0, "gained": 2, "lost": 1, "epics": []}
    moved = change_lines(a_pack(changes=CHANGES | {"due": due}))
    assert "The due day of 3 epics moved: 2 set for the first time, 1 taken away." in moved


def test_a_decision_says_what_its_key_result_is_for() -> None:
    taken = a_pack().decisions[0]
    cases = {
        "remap": "Remap SHOP-1 to KR-4 until 15 Jan 2027",
        "pilot": "Pilot SHOP-1, measured by KR-4, until 15 Jan 2027",
    }
    for what, words in cases.items():
        assert decision_words(replace(taken, what=what, about="SHOP-1", extra="KR-4")) == words


def test_of_a_closed_review_open_lines_were_not_dealt_with() -> None:
    assert "not dealt with" not in pack_markdown(a_pack())
    for make in (pack_markdown, pack_html, pack_csv):
        assert "not dealt with" in make(a_pack(closed=True)), make


def _hostile_pack(text: str) -> Any:
    items = [PackItem("own", text, text, "open", {"epic": {"source": text, "key": text}}, text, False)]
    goal = figures(1, "KR-1", text, note=text, owner=text, unit=text)
    objective = {
        "key": "O-1",
        "title": text,
        "driver": None,
        "owner": text,
        "sponsor": text,
        "progress": None,
    }
    decision = replace(a_pack().decisions[0], about=text, title=text, reason=text)
    return a_pack(
        objectives=[({**objective, "state": "active"}, [goal])],
        items=items,
        decisions=[decision],
        attendees=[{"name": text, "side": "it"}],
        cycle={"key": "2026-Q4", "title": text, "review": "monthly"},
    )


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)


def test_a_hostile_text_brings_no_tag_into_the_html() -> None:
    plain, hostile = _Tags(), _Tags()
    plain.feed(pack_html(_hostile_pack("harmless")))
    for text in HOSTILE:
        hostile.feed(pack_html(_hostile_pack(text)))
    assert hostile.tags == plain.tags
    assert not {"script", "a", "img", "link", "iframe"} & plain.tags
    assert not {
        name for name in hostile.attributes if name.startswith("on") or name in ("style", "href", "src")
    }


@pytest.mark.parametrize("make", [pack_markdown, pack_html, pack_csv])
def test_nothing_in_a_pack_steers_a_terminal_or_turns_the_text(make: Any) -> None:
    for text in HOSTILE:
        assert not re.search(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e\u2028]", make(_hostile_pack(text)))


def _tokens(markdown: str) -> set[str]:
    parser = MarkdownIt("gfm-like", {"html": True, "linkify": False}).enable("table")
    found: set[str] = set()
    for token in parser.parse(markdown):
        found.add(token.type)
        found.update(child.type for child in token.children or ())
    return found


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_brings_no_markup_into_the_markdown(text: str) -> None:
    assert _tokens(pack_markdown(_hostile_pack(text))) <= _tokens(pack_markdown(_hostile_pack("harmless")))
    shown = plain_text(text)
    assert "\n" not in shown
    assert not re.search(r"@\w|https?:|www\.", shown)


def test_the_table_keeps_its_columns() -> None:
    rows = [line for line in pack_markdown(_hostile_pack("a | b \\| c")).splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {7}


def test_no_cell_of_the_csv_is_a_formula() -> None:
    for text in ("=1+1", "+A1", "@SUM(A1)", "-2+3", "\t=1"):
        rows = list(csv.reader(io.StringIO(pack_csv(_hostile_pack(text)))))
        assert not [cell for row in rows for cell in row if cell.lstrip()[:1] in ("=", "+", "@", "-")], text
